from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from aegis.core.values import SymbolName
from aegis.engine.universe import Choice
from aegis.surface import tables
from tests.support.core_cases import make_spec

cells = st.one_of(st.integers(-9, 10**9), st.text(alphabet="abcXYZ09.", min_size=1, max_size=8))


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=6))
def test_every_cell_is_shown_and_columns_never_touch(rows: list[tuple[object, object]]) -> None:
    shown = tables.columns([{"one": one, "two": two} for one, two in rows], empty="-")
    assert [line.split() for line in shown.split("\n")] == [
        ["one", "two"],
        *([str(one), str(two)] for one, two in rows),
    ]


def test_numbers_stand_right_and_texts_left() -> None:
    rows = [{"name": "a", "count": 5}, {"name": "long", "count": 12345}]
    assert tables.columns(rows, empty="-").split("\n") == ["name  count", "a         5", "long  12345"]


def test_no_rows_say_so() -> None:
    assert tables.columns([], empty="no trades") == "no trades"
    assert "0 in, 0 out" in tables.universe([], as_json=False)


def test_the_universe_names_every_symbol_with_its_reason() -> None:
    choices = (
        Choice(spec=make_spec(), reason="", volume_quote=1_234_567.8),
        Choice(spec=make_spec(symbol=SymbolName("测试USDT")), reason="spread 50 bp, limit 10", volume_quote=0.0),
    )
    shown = tables.universe(choices, as_json=False)
    assert "1,234,568" in shown
    assert "spread 50 bp, limit 10" in shown
    assert shown.endswith("1 in, 1 out")
    told = json.loads(tables.universe(choices, as_json=True))
    assert [row["in"] for row in told] == ["yes", "no"]
    assert told[1]["symbol"] == "测试USDT"
