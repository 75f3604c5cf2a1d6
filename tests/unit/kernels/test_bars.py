"""Subscription, seeding, holes and refusals of the analysis, one scene each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aegis.kernels import smc
from aegis.kernels.analysis import (
    BAD_OUT,
    BAD_WATERMARK,
    AnalysisParams,
    SeedCode,
    analyse,
    analyse_all,
    counter,
    drop_symbol,
    mark_incomplete,
    new_state,
    out_room,
    replace_bar,
    seed,
    set_live_from,
    state_bytes,
    warm,
)
from aegis.kernels.layout import BAR, EVENT, ROW
from aegis.kernels.state import PENDING_BARS, State
from tests.support.analysis_cases import EPOCH, MINUTE, make_bars, roll_up, rows_of, same

FIVE = 5 * MINUTE
PARAMS = AnalysisParams(
    atr_period=5, rsi_period=5, bollinger_period=6, swing_lengths=(3,), max_age_bars=40, warm_bars=20
)
NOTHING = np.zeros(0, BAR)


def fresh(*live_from: int) -> State:
    state = new_state(len(live_from), (MINUTE, FIVE), PARAMS, ring=128)
    for symbol, open_time in enumerate(live_from):
        set_live_from(state, symbol, open_time)
    return state


def live(state: State, bars: Any, symbol: int = 0) -> tuple[Any, Any]:
    out = [
        analyse_all(state, rows_of(bars[t : t + 1], symbol, t + 1), int(bars["open_time"][t]) + MINUTE)
        for t in range(len(bars))
    ]
    return np.concatenate([b for b, _ in out] or [NOTHING]), np.concatenate([e for _, e in out] or [np.zeros(0, EVENT)])


def seeded(n: int = 120, number: int = 1) -> tuple[State, Any]:
    bars = make_bars(number, n + 100)
    state = fresh(EPOCH + n * MINUTE)
    assert seed(state, 0, bars[:n]).code is SeedCode.OK
    return state, bars


@pytest.mark.parametrize(
    ("timeframes", "ring"),
    [
        ((), 128),
        ((0,), 128),
        ((60_000, 90_000), 128),
        ((300_000, 60_000), 128),
        ((7_000,), 128),
        ((60_000,), 100),
        ((60_000,), 8),
        ((60_000, 60_000), 128),
    ],
)
def test_timeframes_and_rings_that_do_not_fit_are_refused(timeframes: tuple[int, ...], ring: int) -> None:
    with pytest.raises(ValueError):
        new_state(1, timeframes, AnalysisParams(), ring)


@pytest.mark.parametrize(
    "wrong",
    [
        {"atr_period": 1},
        {"swing_lengths": ()},
        {"swing_lengths": (0,)},
        {"max_zones": 0},
        {"min_gap_atr": -0.1},
        {"warm_bars": 0},
        {"max_age_bars": 2},
    ],
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        AnalysisParams(**wrong)


def test_trades_before_the_first_whole_bar_are_ignored() -> None:
    state = fresh(EPOCH + MINUTE)
    bars = make_bars(1, 3)
    seed(state, 0, NOTHING)
    closed, _ = live(state, bars)
    assert closed["open_time"].tolist() == [EPOCH + MINUTE, EPOCH + 2 * MINUTE]
    assert counter(state, "early_rows") == 1


def test_a_bar_without_trades_repeats_the_close_with_no_volume() -> None:
    state = fresh(EPOCH)
    bars = make_bars(1, 4)
    seed(state, 0, NOTHING)
    closed, _ = analyse_all(state, rows_of(bars[[0, 3]]), EPOCH + 4 * MINUTE)
    empty = closed[1]
    assert {empty[name] for name in ("open", "high", "low", "close")} == {bars["close"][0]}
    assert (empty["volume"], empty["trades"], empty["open_time"]) == (0, 0, EPOCH + MINUTE)
    assert counter(state, "empty_bars") == 2


def test_a_symbol_without_a_trade_has_no_bars_until_the_first() -> None:
    state = fresh(EPOCH)
    seed(state, 0, NOTHING)
    assert len(analyse_all(state, np.zeros(0, ROW), EPOCH + 10 * MINUTE)[0]) == 0
    closed, _ = analyse_all(state, rows_of(make_bars(1, 11)[10:]), EPOCH + 11 * MINUTE)
    assert closed["open_time"].tolist() == [EPOCH + 10 * MINUTE]


def test_higher_bars_are_aligned_and_a_partial_one_is_counted_not_shown() -> None:
    state = fresh(EPOCH + 3 * MINUTE)
    bars = make_bars(1, 20)
    seed(state, 0, NOTHING)
    closed, _ = live(state, bars[3:])
    fives = closed[closed["timeframe"] == 1]
    assert fives["open_time"].tolist() == [EPOCH + FIVE, EPOCH + 2 * FIVE, EPOCH + 3 * FIVE]
    assert fives["volume"].tolist() == roll_up(bars, FIVE)["volume"][1:].tolist()
    assert counter(state, "partial_bars") == 0  # bars before the first aligned one are none of its parts


def test_bars_close_in_order_of_time_then_symbol_then_timeframe() -> None:
    state = fresh(EPOCH, EPOCH, EPOCH)
    rows = np.concatenate([rows_of(make_bars(s, 10), s) for s in (2, 0, 1)])
    for s in range(3):
        seed(state, s, NOTHING)
    closed, _ = analyse_all(state, rows, EPOCH + 10 * MINUTE)
    order = [
        (int(b["open_time"]) + (MINUTE, FIVE)[b["timeframe"]], int(b["symbol"]), int(b["timeframe"])) for b in closed
    ]
    assert order == sorted(order)
    assert len(closed) == 3 * (10 + 2)


def test_a_watermark_that_falls_back_changes_nothing() -> None:
    state, _ = seeded()
    analyse_all(state, np.zeros(0, ROW), EPOCH + 123 * MINUTE)
    before = state_bytes(state)
    analyse_all(state, np.zeros(0, ROW), EPOCH)
    assert state_bytes(state) == before


def test_an_absurd_watermark_is_refused_with_the_state_unchanged() -> None:
    state, bars = seeded()
    before = state_bytes(state)
    room = out_room(state)
    rows = rows_of(bars[120:121])
    assert analyse(state, rows, 1, 2**62, np.zeros(room[0], BAR), np.zeros(room[1], EVENT)) == (0, 0, BAD_WATERMARK)
    with pytest.raises(ValueError, match="too far ahead"):
        analyse_all(state, rows, 2**62)
    assert state_bytes(state) == before


def test_outputs_that_can_never_suffice_are_refused() -> None:
    state, bars = seeded()
    before = state_bytes(state)
    room = out_room(state)
    rows = rows_of(bars[120:121])
    assert analyse(state, rows, 1, 0, np.zeros(room[0] - 1, BAR), np.zeros(room[1], EVENT))[2] == BAD_OUT
    assert analyse(state, rows, 1, 0, np.zeros(room[0], BAR), np.zeros(room[1] - 1, EVENT))[2] == BAD_OUT
    assert state_bytes(state) == before


def test_rows_that_cannot_be_are_rejected_and_counted() -> None:
    state, bars = seeded()
    rows = np.repeat(rows_of(bars[120:121]), 7)
    rows["symbol"][0] = -1
    rows["symbol"][1] = 1
    rows["bar"][2] += 1
    rows["volume"][3] = -1
    rows["taker_buy"][4] = rows["volume"][4] + 1
    rows["high"][5] = rows["low"][5] - 1
    rows["bar"][6] = -MINUTE
    analyse_all(state, rows, 0)
    assert counter(state, "rejected_rows") == 7
    assert state.symbols[0]["pending"] == 0


def test_a_row_far_in_the_future_is_counted_and_a_gap_of_any_length_is_not() -> None:
    state, bars = seeded()
    rows = rows_of(bars[120:121])
    rows["bar"] += PENDING_BARS * MINUTE
    analyse_all(state, rows, 0)
    assert counter(state, "far_rows") == 1
    rows["bar"] = EPOCH + 5_000 * MINUTE
    closed, _ = analyse_all(state, rows, EPOCH + 5_001 * MINUTE)
    assert counter(state, "far_rows") == 1
    assert closed["open_time"][closed["timeframe"] == 0][-1] == EPOCH + 5_000 * MINUTE
    assert closed["trades"][closed["timeframe"] == 0][-1] == 1


def test_more_open_bars_than_a_symbol_may_have_are_counted() -> None:
    state = fresh(EPOCH)
    analyse_all(state, rows_of(make_bars(1, PENDING_BARS + 5)), EPOCH + 10 * MINUTE)
    assert counter(state, "far_rows") == 5


# -- seeding -----------------------------------------------------------------------------------------------------------
def test_a_symbol_is_warm_when_every_timeframe_has_enough_bars() -> None:
    bars = make_bars(1, 130)
    state = fresh(EPOCH + 99 * MINUTE)
    seed(state, 0, bars[:99])
    assert warm(state).tolist() == [False]  # 19 five-minute bars
    live(state, bars[99:100])
    assert warm(state).tolist() == [True]


def test_a_symbol_that_is_not_warm_tells_no_event() -> None:
    bars = make_bars(2, 150)
    state = fresh(EPOCH)
    seed(state, 0, NOTHING)
    _, events = live(state, bars)
    assert len(events) > 0
    assert events["known_at"].min() > EPOCH + 20 * FIVE


def test_an_unseeded_symbol_closes_bars_and_tells_no_event() -> None:
    state = fresh(EPOCH)
    closed, events = live(state, make_bars(1, 120))
    assert len(closed) == 120
    assert set(closed["timeframe"].tolist()) == {0}
    assert len(events) == 0


def test_history_that_ends_before_the_first_live_bar_names_the_gap() -> None:
    state = fresh(EPOCH + 101 * MINUTE)
    before = state_bytes(state)
    assert seed(state, 0, make_bars(1, 100)) == (SeedCode.GAP, EPOCH + 100 * MINUTE, 0)
    assert state_bytes(state) == before


def test_history_with_a_hole_names_it() -> None:
    bars = make_bars(1, 100)
    holed = np.delete(bars, 40)
    state = fresh(EPOCH + 100 * MINUTE)
    assert seed(state, 0, holed) == (SeedCode.GAP, EPOCH + 40 * MINUTE, 0)
    fives = np.delete(roll_up(bars, FIVE), 3)
    assert seed(state, 0, bars, [fives]) == (SeedCode.GAP, EPOCH + 3 * FIVE, 1)


def test_higher_history_that_the_base_bars_do_not_reach_names_the_gap() -> None:
    bars = make_bars(1, 100)
    state = fresh(EPOCH + 100 * MINUTE)
    fives = roll_up(bars, FIVE)[:10]
    assert seed(state, 0, bars[51:], [fives]) == (SeedCode.GAP, EPOCH + 50 * MINUTE, 1)
    assert seed(state, 0, bars[50:], [fives]).code is SeedCode.OK


def test_history_out_of_order_or_misaligned_is_refused() -> None:
    bars = make_bars(1, 100)
    state = fresh(EPOCH + 100 * MINUTE)
    assert seed(state, 0, bars[::-1].copy()).code is SeedCode.BAD_BAR
    bars["open_time"] += 1
    assert seed(state, 0, bars).code is SeedCode.BAD_BAR


def test_a_symbol_without_a_subscription_cannot_be_seeded() -> None:
    state = new_state(1, (MINUTE,), PARAMS, ring=128)
    assert seed(state, 0, make_bars(1, 100)).code is SeedCode.NOT_LIVE
    set_live_from(state, 0, EPOCH)
    drop_symbol(state, 0)
    assert seed(state, 0, make_bars(1, 100)).code is SeedCode.NOT_LIVE


def test_a_bar_given_twice_counts_once_and_the_later_is_right() -> None:
    bars = make_bars(1, 100)
    twice = np.insert(bars, 50, bars[50])
    twice["volume"][50] = 77_777
    clean, doubled = fresh(EPOCH + 100 * MINUTE), fresh(EPOCH + 100 * MINUTE)
    seed(clean, 0, bars)
    assert seed(doubled, 0, twice).code is SeedCode.OK
    assert counter(doubled, "duplicate_bars") == 1
    assert same(doubled.bars, clean.bars)


def test_where_history_and_live_bars_overlap_history_is_right() -> None:
    bars = make_bars(1, 110)
    state = fresh(EPOCH + 95 * MINUTE)
    wrong = bars.copy()
    wrong["volume"] += 9_999
    live(state, wrong[95:102])
    assert seed(state, 0, bars[:100]).code is SeedCode.OK
    volumes = {int(b["open_time"] - EPOCH) // MINUTE: int(b["volume"]) for b in state.bars[0, 0] if b["open_time"] >= 0}
    assert [volumes[t] for t in range(95, 100)] == bars["volume"][95:100].tolist()
    assert [volumes[t] for t in (100, 101)] == wrong["volume"][100:102].tolist()


def test_history_ahead_of_the_watermark_takes_the_place_of_open_bars() -> None:
    bars = make_bars(1, 120)
    state = fresh(EPOCH + 95 * MINUTE)
    analyse_all(state, rows_of(bars[95:103]), EPOCH + 96 * MINUTE)
    assert seed(state, 0, bars[:101]).code is SeedCode.OK
    closed, _ = analyse_all(state, np.zeros(0, ROW), EPOCH + 103 * MINUTE)
    assert closed["open_time"][closed["timeframe"] == 0].tolist() == [EPOCH + 101 * MINUTE, EPOCH + 102 * MINUTE]
    assert closed["volume"][closed["timeframe"] == 0].tolist() == bars["volume"][101:103].tolist()
    assert state.symbols[0]["pending"] == 0


def test_silence_between_history_and_the_first_live_trade_is_empty_bars() -> None:
    bars = make_bars(1, 120)
    state = fresh(EPOCH + 100 * MINUTE)
    live(state, bars[105:107])
    assert seed(state, 0, bars[:100]).code is SeedCode.OK
    assert state.accumulators[0, 0]["count"] == 107
    ring = state.bars[0, 0]
    quiet = ring[(ring["open_time"] >= EPOCH + 100 * MINUTE) & (ring["open_time"] < EPOCH + 105 * MINUTE)]
    assert len(quiet) == 5
    assert set(quiet["close"].tolist()) == {bars["close"][99]}
    assert set(quiet["volume"].tolist()) == {0}


def test_a_late_subscription_starts_at_the_next_bar_of_all() -> None:
    state = new_state(2, (MINUTE,), PARAMS, ring=128)
    assert set_live_from(state, 0, EPOCH) == EPOCH
    analyse_all(state, np.zeros(0, ROW), EPOCH + 3 * MINUTE)
    assert set_live_from(state, 1, EPOCH) == EPOCH + 3 * MINUTE
    assert set_live_from(state, 1, EPOCH + 9 * MINUTE) == EPOCH + 9 * MINUTE


def test_a_subscription_starts_at_a_bar() -> None:
    state = new_state(1, (MINUTE,), PARAMS, ring=128)
    with pytest.raises(ValueError, match="not the open time"):
        set_live_from(state, 0, EPOCH + 1)


def test_the_earliest_of_the_first_subscriptions_starts_the_clock() -> None:
    state = new_state(2, (MINUTE,), PARAMS, ring=128)
    set_live_from(state, 0, EPOCH + 5 * MINUTE)
    assert set_live_from(state, 1, EPOCH) == EPOCH
    seed(state, 1, NOTHING)
    closed, _ = live(state, make_bars(1, 2), symbol=1)
    assert len(closed) == 2


# -- holes -------------------------------------------------------------------------------------------------------------
def test_an_incomplete_bar_tells_no_event_and_no_gap_is_seen_across_it() -> None:
    for number in range(20):
        state, bars = seeded(number=number)
        clean, _ = seeded(number=number)
        assert mark_incomplete(state, 0, EPOCH + 130 * MINUTE)
        _, events = live(state, bars[120:])
        _, expected = live(clean, bars[120:])
        base = events[events["timeframe"] == 0]
        assert not (base["known_at"] == EPOCH + 131 * MINUTE).any()
        assert not (events["known_at"] == EPOCH + 135 * MINUTE)[events["timeframe"] == 1].any()
        opened = base[np.isin(base["kind"], (smc.FVG, smc.FVG_MERGE))]
        assert not np.isin(opened["known_at"] - EPOCH, np.arange(131, 134) * MINUTE).any()
        assert len(expected) > 0
        assert counter(state, "incomplete_bars") == 1


def test_a_closed_bar_cannot_be_marked_and_an_unknown_symbol_neither() -> None:
    state, bars = seeded()
    live(state, bars[120:122])
    assert not mark_incomplete(state, 0, EPOCH + 121 * MINUTE)
    drop_symbol(state, 0)
    assert not mark_incomplete(state, 0, EPOCH + 125 * MINUTE)


def test_a_replaced_bar_leaves_the_state_it_would_have_had() -> None:
    state, bars = seeded(n=100)
    spoiled = bars.copy()
    spoiled["volume"][108], spoiled["high"][108] = 1, spoiled["high"][108] + 500
    clean, _ = seeded(n=100)
    live(clean, bars[100:117])
    live(state, spoiled[100:117])
    assert not same(state.zones, clean.zones) or not same(state.values, clean.values)
    assert replace_bar(state, 0, bars[108]).code is SeedCode.OK
    assert (counter(state, "corrected_bars"), counter(clean, "corrected_bars")) == (1, 0)
    for ours, theirs in (
        (state.bars, clean.bars),
        (state.values, clean.values),
        (state.zones, clean.zones),
        (state.legs, clean.legs),
        (state.symbols, clean.symbols),
    ):
        assert same(ours, theirs)
    (_, left), (_, right) = live(state, bars[117:]), live(clean, bars[117:])
    assert same(left, right)


def test_a_bar_that_is_not_in_the_ring_cannot_be_replaced() -> None:
    state, bars = seeded()
    before = state_bytes(state)
    assert replace_bar(state, 0, bars[150]).code is SeedCode.GAP
    assert state_bytes(state) == before
