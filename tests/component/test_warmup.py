"""History: who is asked for what, in which order and when, against a venue made of arrays."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
import trio

from aegis.core.errors import VenueRefusal, VenueUnavailable
from aegis.core.values import SymbolName
from aegis.engine.warmup import Warmup
from aegis.kernels.analysis import new_state, seed, set_live_from
from aegis.kernels.layout import BAR
from aegis.kernels.seeding import SeedCode
from aegis.kernels.state import AnalysisParams
from aegis.runtime.clock import VirtualClock
from tests.support.analysis_cases import Rows, make_bars, roll_up
from tests.support.core_cases import make_spec
from tests.support.engine_rig import MS, START_MS, START_NS

UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000}
SPECS = [make_spec(symbol=SymbolName(f"S{i}USDT")) for i in range(4)]


class Venue:
    """Klines of every length out of one second-by-second past; the forming bar is served like any other."""

    def __init__(self, clock: VirtualClock, age_s: int = 6_000, fine_ms: int = 1000) -> None:
        self.clock = clock
        self.past = make_bars(5, age_s, timeframe_ms=fine_ms, start=START_MS - fine_ms * (age_s - 600))
        self.calls: list[tuple[str, str, int, float]] = []
        self.faults: dict[str, Exception] = {}

    def bars(self, interval: str) -> Rows:
        ms = int(interval[:-1]) * UNITS[interval[-1]]
        fine = int(self.past["open_time"][1] - self.past["open_time"][0])
        return self.past if ms == fine else roll_up(self.past, ms)

    async def klines(
        self, symbol: str, interval: str, limit: int, start_ms: int | None = None, end_ms: int | None = None, *,
        qty_decimals: int, symbol_index: int = 0, timeframe_index: int = 0,
    ) -> Rows:  # fmt: skip
        assert limit <= 1500
        assert start_ms is None
        assert qty_decimals == 3
        self.calls.append((symbol, interval, limit, self.clock.venue_ns() / 1e9 - START_NS / 1e9))
        await trio.sleep(0.02)
        if symbol in self.faults:
            raise self.faults.pop(symbol)
        bars = self.bars(interval)
        now_ms = self.clock.venue_ns() // MS
        seen = bars[bars["open_time"] <= (now_ms if end_ms is None else min(now_ms, end_ms))][-limit:].copy()
        seen["symbol"], seen["timeframe"] = symbol_index, timeframe_index
        return seen


@attrs.define(eq=False)
class Stand:
    warmup: Warmup
    venue: Venue
    clock: VirtualClock
    got: list[tuple[int, Rows, tuple[Rows, ...], int]]
    prepared: list[str]


def make_stand(autojump_clock: Any, frames: tuple[int, ...] = (1000, 5000), bars: int = 500, **more: Any) -> Stand:
    clock = VirtualClock(START_NS, autojump_clock)
    venue = Venue(clock, **more)
    got: list[tuple[int, Rows, tuple[Rows, ...], int]] = []
    prepared: list[str] = []

    async def prepare(symbol: SymbolName) -> None:
        prepared.append(symbol)

    warmup = Warmup(
        venue=venue, specs=SPECS, timeframes_ms=frames, bars=bars, venue_ns=clock.venue_ns,
        deliver=lambda symbol, base, higher: got.append((symbol, base, higher, clock.venue_ns() // MS)),
        prepare=prepare,
    )  # fmt: skip
    return Stand(warmup, venue, clock, got, prepared)


async def test_structure_that_the_venue_does_not_serve_is_built_from_pages_of_base_bars(autojump_clock: Any) -> None:
    stand = make_stand(autojump_clock)
    base, higher = await stand.warmup.fetch(2)
    assert [(interval, limit) for _, interval, limit, _ in stand.venue.calls] == [("1s", 1500), ("1s", 1005)]
    assert len(base) == 2505
    assert [len(one) for one in higher] == [0]
    assert (np.diff(base["open_time"]) == 1000).all()
    assert base["open_time"][-1] == START_MS - 1000, "the last closed bar, never the one in progress"
    assert (base["symbol"] == 2).all()
    state = new_state(3, (1000, 5000), AnalysisParams(warm_bars=500))
    set_live_from(state, 2, START_MS)
    assert seed(state, 2, base, higher).code is SeedCode.OK
    assert state.symbols["warm"][2], "it is enough for both timeframes"


async def test_bars_that_the_venue_serves_are_taken_from_it(autojump_clock: Any) -> None:
    stand = make_stand(autojump_clock, (60_000, 300_000), age_s=4000, fine_ms=60_000)
    base, higher = await stand.warmup.fetch(0)
    assert [(interval, limit) for _, interval, limit, _ in stand.venue.calls] == [("5m", 501), ("1m", 501)]
    assert base["open_time"][-1] == START_MS // 60_000 * 60_000 - 60_000
    assert higher[0]["open_time"][-1] == START_MS // 300_000 * 300_000 - 300_000
    assert (higher[0]["timeframe"] == 1).all()
    state = new_state(1, (60_000, 300_000), AnalysisParams(warm_bars=500))
    set_live_from(state, 0, START_MS // 60_000 * 60_000)
    assert seed(state, 0, base, higher).code is SeedCode.OK
    assert state.symbols["warm"][0]


async def test_each_of_many_timeframes_gets_its_own_warm_up(autojump_clock: Any) -> None:
    """Served or built, with base bars enough to complete the longest one that is in progress."""
    frames = (60_000, 120_000, 14_400_000, 43_200_000)
    stand = make_stand(autojump_clock, frames, bars=20, age_s=16_000, fine_ms=60_000)
    base, higher = await stand.warmup.fetch(0)
    assert [len(one) for one in (base, *higher)] == [722, 0, 21, 21]
    assert [one["timeframe"][0] for one in higher[1:]] == [2, 3]
    state = new_state(1, frames, AnalysisParams(warm_bars=20))
    set_live_from(state, 0, START_MS // 60_000 * 60_000)
    assert seed(state, 0, base, higher).code is SeedCode.OK
    assert state.symbols["warm"][0]


async def test_a_young_symbol_gives_what_it_has(autojump_clock: Any) -> None:
    stand = make_stand(autojump_clock, age_s=700)  # of which 600 lie in the future
    base, _ = await stand.warmup.fetch(0)
    assert len(base) == 100
    newborn = make_stand(autojump_clock, age_s=600)
    base, _ = await newborn.warmup.fetch(0)
    assert base.dtype == BAR
    assert len(base) == 0


async def test_symbols_are_served_in_order_after_the_first_whole_bar_has_begun(autojump_clock: Any) -> None:
    stand = make_stand(autojump_clock)
    stand.clock.epoch_ns += 400 * MS
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand.warmup.run)
        await trio.sleep(0.01)  # both workers wait
        stand.warmup.request((3, 1, 0, 2))
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    asked = list(dict.fromkeys(symbol for symbol, *_ in stand.venue.calls))
    assert [set(asked[:2]), set(asked[2:])] == [{"S0USDT", "S1USDT"}, {"S2USDT", "S3USDT"}]  # two at a time
    assert min(at for *_, at in stand.venue.calls) >= 1.05
    assert sorted(symbol for symbol, *_ in stand.got) == [0, 1, 2, 3]
    for _, base, _, _ in stand.got:
        assert base["open_time"][-1] >= START_MS, "history reaches the first live bar"
    assert stand.warmup.fetched == 4
    assert sorted(stand.prepared) == sorted(asked)


async def test_two_workers_share_what_came_while_both_waited(autojump_clock: Any) -> None:
    stand = make_stand(autojump_clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand.warmup.run)
        for turn in range(3):
            await trio.sleep(3)
            del stand.venue.calls[:]
            stand.warmup.request((0, 1))
            await trio.sleep(3)
            first = [symbol for symbol, *_ in stand.venue.calls[:2]]
            assert sorted(first) == ["S0USDT", "S1USDT"], f"turn {turn}: side by side"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("fault", [VenueUnavailable("503"), VenueRefusal(-1121, "Invalid symbol.")])
async def test_what_fails_is_asked_again_later_and_the_others_are_not_held_up(
    autojump_clock: Any, fault: Exception, log_lines: Any
) -> None:
    stand = make_stand(autojump_clock)
    stand.venue.faults = {"S0USDT": fault}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand.warmup.run)
        stand.warmup.request((0, 1, 2))
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert [symbol for symbol, *_ in stand.got][-1] == 0
    assert sorted(symbol for symbol, *_ in stand.got) == [0, 1, 2]
    assert (stand.warmup.failed, stand.warmup.fetched) == (1, 3)
    (event,) = log_lines.events("warmup.failed")
    assert event["symbol"] == "S0USDT"


async def test_a_gap_between_history_and_live_bars_is_closed_by_the_next_request(autojump_clock: Any) -> None:
    """The analysis refuses what ends too early; what is asked for a bar later fits."""
    stand = make_stand(autojump_clock)
    state = new_state(1, (1000, 5000), AnalysisParams(warm_bars=500))
    set_live_from(state, 0, START_MS + 3000)
    codes: list[SeedCode] = []

    def deliver(symbol: int, base: Rows, higher: tuple[Rows, ...]) -> None:
        codes.append(seed(state, symbol, base, higher).code)
        if codes[-1] is not SeedCode.OK:
            stand.warmup.request((symbol,))

    stand.warmup.deliver = deliver
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand.warmup.run)
        stand.warmup.request((0,))
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert codes == [SeedCode.GAP, SeedCode.GAP, SeedCode.OK]


async def test_a_bug_in_the_account_setup_is_not_taken_for_weather(autojump_clock: Any) -> None:
    stand = make_stand(autojump_clock)

    async def bug(symbol: SymbolName) -> None:
        raise ZeroDivisionError

    stand.warmup.prepare = bug
    stand.warmup.request((0,))
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        with trio.fail_after(10):
            await stand.warmup.run()
