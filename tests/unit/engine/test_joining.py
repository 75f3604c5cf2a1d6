"""A symbol's terms put into effect while the engine runs: it joins, or its rules change, or nothing does."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aegis.core.errors import InvariantBroken
from aegis.core.values import SymbolName
from aegis.engine.joining import Terms
from tests.support.engine_rig import MS, NAMES, make_rig, make_terms, quote


def test_a_symbol_that_joins_while_a_socket_is_down_begins_when_it_is_back() -> None:
    rig = make_rig(names=NAMES[:1], spare=2)
    rig.warm((0,))
    rig.machine.connection(1, None, rig.now_ns)
    rig.wanted.clear()
    rig.machine.terms(make_terms(NAMES[1]), rig.now_ns)
    table = rig.machine.table
    assert rig.wanted == []
    assert table.symbols["suspended"].tolist() == [1, 1, 0]
    rig.up(1)
    assert rig.wanted == [0, 1]
    assert not table.symbols["suspended"].any()
    rig.read(0, quote(rig.now_ns // MS, 5, 4999.0, 5001.0, 1))
    assert table.symbols["bid"][1] == 4999.0
    assert rig.machine.decision.contexts.heard_ns(1) == rig.now_ns


def test_new_rules_of_a_known_symbol_are_taken_over() -> None:
    rig = make_rig()
    rig.machine.decision.on_contract(NAMES[1], "BREAK", rig.now_ns)
    rig.machine.terms(make_terms(NAMES[1], tick=Decimal("0.5")), rig.now_ns)
    contexts = rig.machine.decision.contexts
    assert [spec.tick for spec in contexts.specs] == [Decimal("0.10"), Decimal("0.5"), Decimal("0.10")]
    assert contexts.status(SymbolName(NAMES[1])) == "TRADING", "exchangeInfo is newer than what was told before"
    assert rig.wanted == []
    assert [data["terms"] for data in rig.notes.of("state") if "terms" in data] == ["changed"]


@pytest.mark.parametrize(
    "terms",
    [
        make_terms("NEWUSDT", trades=2),
        make_terms("NEWUSDT", quotes=-1),
        make_terms("N" * 129),
        make_terms(NAMES[0], step=Decimal(1)),
    ],
)
def test_what_cannot_join_changes_nothing(terms: Terms) -> None:
    rig = make_rig(spare=1)
    with pytest.raises(InvariantBroken):
        rig.machine.terms(terms, rig.now_ns)
    assert [spec.symbol for spec in rig.machine.decision.specs] == list(NAMES)
    assert all(channel.symbols == (0, 1, 2) for channel in rig.machine.channels)
    rig.machine.terms(make_terms("NEWUSDT"), rig.now_ns)
    with pytest.raises(InvariantBroken, match="0 are spare"):
        rig.machine.terms(make_terms("LATEUSDT"), rig.now_ns)
