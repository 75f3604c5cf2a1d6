"""Signals of one instant compete: who goes first is a matter of what they promise, not of whose tick came first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.core.errors import Restartable
from aegis.kernels.wire import frame
from tests.support.decision_rig import MS, Rig
from tests.support.market_feed import make_quote

NAMES = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT", "LTCUSDT")
#: Target, lots traded.
Promise = tuple[int, int]
promises = st.lists(
    st.tuples(st.sampled_from([52_500, 53_000, 53_500]), st.sampled_from([0, 4, 9])), min_size=2, max_size=len(NAMES)
)


def tick(rig: Rig, name: str, bid: float = 49_999.0, ask: float = 50_000.0) -> bytes:
    rig.updates += 1
    now_ms = rig.now_ns // MS
    return frame(make_quote(rig.updates, s=name, b=f"{bid}", a=f"{ask}", B="900", A="900", E=now_ms, T=now_ms))


def read(rig: Rig, *ticks: bytes) -> None:
    data = b"".join(ticks)
    rig.channel.inbox.extend(data)
    rig.machine.read(0, len(data), rig.now_ns)


def promise(rig: Rig, wanted: list[Promise]) -> None:
    state = rig.machine.analysis.front
    for symbol, (target, lots) in enumerate(wanted):
        rig.arm(symbol=symbol, zone=symbol + 1, target=float(target))
        state.bars["volume"][symbol, 0, 0], state.symbols["close"][symbol] = lots, 50_000.0


def decided(rig: Rig) -> list[tuple[str, bool]]:
    return [(record["symbol"], record["taken"]) for record in rig.pages.of("decision")]


@settings(max_examples=40, deadline=None)
@given(wanted=promises, places=st.integers(1, 4), data=st.data())
def test_the_places_go_to_the_best_whatever_the_order_of_the_ticks(
    wanted: list[Promise], places: int, data: st.DataObject
) -> None:
    names = NAMES[: len(wanted)]
    best = sorted(zip(names, wanted, strict=True), key=lambda one: (-one[1][0], -one[1][1], one[0]))
    expected = [(name, number < places) for number, (name, _) in enumerate(best)]
    for _ in range(2):
        rig = Rig.make(names, max_positions=places)
        promise(rig, wanted)
        read(rig, *(tick(rig, name) for name in data.draw(st.permutations(names))))
        assert decided(rig) == expected
        assert [request.cid for request in rig.sent] == [f"1-{number + 1}" for number in range(min(places, len(names)))]
        assert rig.pools() == (0, 0)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations([52_000, 52_500, 53_000, 53_500]))
def test_of_several_levels_of_one_symbol_the_best_is_taken(order: list[int]) -> None:
    rig = Rig.make()
    for zone, target in enumerate(order):
        rig.arm(zone=zone + 1, target=float(target))
    read(rig, tick(rig, "BTCUSDT"))
    taken = [record for record in rig.pages.of("decision") if record["taken"]]
    assert [record["target"] for record in taken] == ["53500"]
    assert rig.decision.refused == {"POSITION_OPEN": 3}


def test_what_fires_in_a_later_read_finds_the_places_taken() -> None:
    rig = Rig.make(NAMES[:2], max_positions=1)
    promise(rig, [(52_500, 0), (53_500, 9)])
    for name in NAMES[:2]:
        read(rig, tick(rig, name))
    assert decided(rig) == [("BTCUSDT", True), ("ETHUSDT", False)]


def test_a_candidate_whose_prices_make_no_sense_comes_last() -> None:
    rig = Rig.make(NAMES[:3], max_positions=1)
    promise(rig, [(53_500, 9), (53_000, 9), (52_500, 9)])
    rig.machine.table.symbols["mark"][0] = np.nan
    # The second level fires, and then its price falls through the stop before the read ends.
    read(rig, *(tick(rig, name) for name in NAMES[:3]), tick(rig, "ETHUSDT", 48_000.0, 48_001.0))
    assert decided(rig) == [("SOLUSDT", True), ("BTCUSDT", False), ("ETHUSDT", False)]


def test_a_setup_that_an_earlier_decision_ends_is_decided_no_more() -> None:
    rig = Rig.make(NAMES[:2])
    promise(rig, [(53_500, 0), (53_000, 0)])
    rig.pages.watch = lambda: rig.decision.setups.withdraw_all(1)
    read(rig, *(tick(rig, name) for name in reversed(NAMES[:2])))
    assert decided(rig) == [("BTCUSDT", True)]
    assert rig.pools() == (0, 0)


def test_hits_before_a_broken_frame_are_decided_all_the_same() -> None:
    rig = Rig.make(NAMES[:2], max_positions=1)
    promise(rig, [(52_500, 0), (53_500, 0)])
    with pytest.raises(Restartable):
        read(rig, *(tick(rig, name) for name in NAMES[:2]), b"\xff\xff")
    assert decided(rig) == [("ETHUSDT", True), ("BTCUSDT", False)]
