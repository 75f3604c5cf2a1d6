"""Where analysis could show a seam: between history and live bars, between batches, between copies of the state."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aegis.kernels.analysis import (
    OK,
    OUT_FULL,
    AnalysisParams,
    SeedCode,
    analyse,
    analyse_all,
    copy_into,
    copy_state,
    new_peek,
    new_state,
    out_room,
    peek,
    seed,
    set_live_from,
    state_bytes,
)
from aegis.kernels.layout import BAR, EVENT, ROW
from aegis.kernels.state import State
from tests.support.analysis_cases import EPOCH, MINUTE, make_bars, roll_up, rows_of, same

FIVE = 5 * MINUTE
PARAMS = AnalysisParams(
    atr_period=5, rsi_period=5, bollinger_period=6, swing_lengths=(3, 2), max_age_bars=40, warm_bars=20
)
SEEDS = st.integers(0, 2**32 - 1)


def fresh(live_from: int, symbols: int = 1) -> State:
    state = new_state(symbols, (MINUTE, FIVE), PARAMS, ring=128)
    for s in range(symbols):
        set_live_from(state, s, live_from)
    return state


def live(state: State, bars: Any, *, chunk: int = 1, symbol: int = 0) -> tuple[Any, Any]:
    """Feed live bars one by one; each closes with the watermark at its end."""
    closed, events = [np.zeros(0, BAR)], [np.zeros(0, EVENT)]
    for t in range(0, len(bars), chunk):
        part = bars[t : t + chunk]
        more, told = analyse_all(state, rows_of(part, symbol, t + 1), int(part["open_time"][-1]) + MINUTE)
        closed.append(more)
        events.append(told)
    return np.concatenate(closed), np.concatenate(events)


def whole_history(bars: Any) -> tuple[Any, State]:
    """Events of a symbol that was live from the first bar on."""
    state = fresh(EPOCH)
    assert seed(state, 0, bars[:0]).code is SeedCode.OK
    return live(state, bars)[1], state


@given(
    number=SEEDS, n=st.integers(200, 330), history=st.integers(110, 190), late=st.integers(0, 12), higher=st.booleans()
)
def test_history_and_live_bars_join_without_a_seam(number: int, n: int, history: int, late: int, higher: bool) -> None:
    """The stream begins before the history ends; the seed comes `late` bars after it; nothing shows."""
    bars = make_bars(number, n)
    expected, full = whole_history(bars)
    begin = history - min(3, late)
    state = fresh(EPOCH + begin * MINUTE)
    _, before = live(state, bars[begin : history + late])
    fives = [roll_up(bars[:history], FIVE)] if higher else []
    assert seed(state, 0, bars[:history], fives).code is SeedCode.OK
    _, events = live(state, bars[history + late :])
    seam = EPOCH + (history + late) * MINUTE
    assert len(before) == 0
    assert same(events, expected[expected["known_at"] > seam])
    for ours, theirs in (
        (state.values, full.values),
        (state.zones, full.zones),
        (state.legs, full.legs),
        (state.structure, full.structure),
        (state.bars, full.bars),
    ):
        assert same(ours, theirs)


@given(number=SEEDS, late=st.integers(0, 4))
def test_a_higher_bar_in_progress_at_the_seed_is_completed_from_base_bars(number: int, late: int) -> None:
    bars = make_bars(number, 150)
    history = 133  # three minutes into a five-minute bar
    state = fresh(EPOCH + history * MINUTE)
    live(state, bars[history : history + late])
    assert seed(state, 0, bars[100:history], [roll_up(bars[:history], FIVE)]).code is SeedCode.OK
    closed, _ = live(state, bars[history + late :])
    fives = closed[closed["timeframe"] == 1]
    expected = roll_up(bars, FIVE)
    expected["timeframe"] = 1
    expected = expected[expected["open_time"] >= EPOCH + (history + late) // 5 * FIVE]
    assert same(fives, expected)


@given(number=SEEDS, n=st.integers(165, 260), start=st.integers(0, 60))
def test_a_restart_with_less_history_tells_the_same_zones_with_the_same_ids(number: int, n: int, start: int) -> None:
    bars = make_bars(number, n + 60)
    expected, _ = whole_history(bars)
    state = fresh(EPOCH + n * MINUTE)
    cut = start // 5 * 5
    assert seed(state, 0, bars[cut:n]).code is SeedCode.OK
    _, events = live(state, bars[n:])
    zone_kinds = np.arange(3, 10)
    now = EPOCH + max(n, cut + 60) * MINUTE
    left = expected[(expected["known_at"] > now) & (expected["timeframe"] == 0) & np.isin(expected["kind"], zone_kinds)]
    right = events[(events["known_at"] > now) & (events["timeframe"] == 0) & np.isin(events["kind"], zone_kinds)]
    assert same(right, left)


@given(number=SEEDS, symbols=st.integers(1, 4), chunk=st.integers(1, 60))
def test_small_outputs_lose_no_bar_and_no_event(number: int, symbols: int, chunk: int) -> None:
    series = [make_bars(number + s, 180) for s in range(symbols)]
    large, small = fresh(EPOCH, symbols), fresh(EPOCH, symbols)
    for state in (large, small):
        for s in range(symbols):
            seed(state, s, np.zeros(0, BAR))
    least_bars, least_events = out_room(small)
    bars_out, events_out = np.zeros(least_bars, BAR), np.zeros(least_events, EVENT)
    for t in range(0, 180, chunk):
        rows = np.concatenate([rows_of(bars[t : t + chunk], s, t + 1) for s, bars in enumerate(series)])
        watermark = EPOCH + min(t + chunk, 180) * MINUTE
        bars, events = analyse_all(large, rows, watermark)
        got_bars, got_events, n_rows, status = [bars_out[:0].copy()], [events_out[:0].copy()], len(rows), OUT_FULL
        while status == OUT_FULL:
            nb, ne, status = analyse(small, rows, n_rows, watermark, bars_out, events_out)
            got_bars.append(bars_out[:nb].copy())
            got_events.append(events_out[:ne].copy())
            n_rows = 0
        assert status == OK
        assert same(np.concatenate(got_bars), bars)
        assert same(np.concatenate(got_events), events)
    assert state_bytes(large) == state_bytes(small)


@given(number=SEEDS, cut=st.integers(0, 150), peeks=st.sets(st.integers(0, 149)))
def test_a_copy_carries_on_like_its_original_and_peeks_do_not_matter(number: int, cut: int, peeks: set[int]) -> None:
    bars = make_bars(number, 150)
    expected, full = whole_history(bars)
    state = fresh(EPOCH)
    seed(state, 0, bars[:0])
    _, first = live(state, bars[:cut])
    other = copy_state(state)
    spare = fresh(EPOCH)
    copy_into(spare, state)
    live(state, bars[cut:])  # the original goes its own way
    out, events = new_peek(other), [first]
    for t in range(cut, 150):
        if t in peeks:
            peek(other, out)
        events.append(live(other, bars[t : t + 1])[1])
    assert same(np.concatenate(events), expected)
    assert same(np.concatenate([first, live(spare, bars[cut:])[1]]), expected)
    assert same(other.zones, full.zones)
    assert same(other.values, full.values)


BAD = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e300, 1e16])


@given(number=SEEDS, field=st.sampled_from(["open", "high", "low", "close"]), bad=BAD)
def test_an_impossible_price_is_rejected_with_the_state_unchanged(number: int, field: str, bad: float) -> None:
    bars = make_bars(number, 60)
    _, state = whole_history(bars)
    before, counters = state_bytes(state._replace(counters=np.zeros(0, np.int64))), state.counters.copy()
    rows = np.concatenate([rows_of(bars[-1:])] * 2)
    rows["bar"] += MINUTE
    rows[field] = bad
    analyse_all(state, rows, 0)
    assert state_bytes(state._replace(counters=np.zeros(0, np.int64))) == before
    counters[3] += 2  # rejected rows
    assert state.counters.tolist() == counters.tolist()


@given(number=SEEDS, spoiled=st.integers(0, 59), field=st.sampled_from(["open", "high", "low", "close"]), bad=BAD)
def test_history_with_an_impossible_bar_is_refused_whole(number: int, spoiled: int, field: str, bad: float) -> None:
    bars = make_bars(number, 60)
    bars[field][spoiled] = bad
    state = fresh(EPOCH + 60 * MINUTE)
    before = state_bytes(state)
    assert seed(state, 0, bars) == (SeedCode.BAD_BAR, EPOCH + spoiled * MINUTE, 0)
    assert state_bytes(state) == before


def test_rows_without_trades_touch_nothing() -> None:
    state = fresh(EPOCH)
    before = state_bytes(state)
    rows = np.zeros(3, ROW)
    rows["bid"], rows["close"] = 5.0, np.nan
    analyse_all(state, rows, -1)
    assert state_bytes(state) == before
