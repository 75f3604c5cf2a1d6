"""Bars from conflated rows are the bars of the trades, whatever the batches."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aegis.kernels.analysis import AnalysisParams, analyse_all, counter, new_state, seed, set_live_from, state_bytes
from aegis.kernels.layout import BAR, ROW
from aegis.kernels.state import State
from tests.support.analysis_cases import EPOCH, same

SECOND = 1_000
PARAMS = AnalysisParams(
    atr_period=3, rsi_period=3, ema_period=3, bollinger_period=4, swing_lengths=(2,), max_age_bars=20, warm_bars=4
)


def make_trades(seed_: int, n: int, symbols: int, gap_ms: int) -> list[tuple[int, int, int, float, int]]:
    """(time, symbol, id, price, lots) in order of time, many of them right at a boundary."""
    rng = np.random.default_rng(seed_)
    times = EPOCH + np.cumsum(rng.integers(0, gap_ms + 1, n))
    edge = rng.random(n) < 0.4
    times = np.sort(np.where(edge, times // SECOND * SECOND + rng.choice([0, 999], n), times))
    prices = np.round(100 + np.cumsum(rng.integers(-2, 3, n)) * 0.5, 1).clip(1)
    ids = np.zeros(symbols, int)
    trades = []
    for t in range(n):
        s = int(rng.integers(symbols))
        ids[s] += 1
        trades.append((int(times[t]), s, int(ids[s]), float(prices[t]), int(rng.integers(0, 50))))
    return trades


def conflate(trades: list[tuple[int, int, int, float, int]]) -> Any:
    """One row for each (symbol, base bar) of a batch, by definition."""
    groups: dict[tuple[int, int], list[Any]] = {}
    for trade in trades:
        groups.setdefault((trade[1], trade[0] // SECOND * SECOND), []).append(trade)
    rows = np.zeros(len(groups), ROW)
    for row, ((s, bar), part) in zip(rows, groups.items(), strict=True):
        prices = [trade[3] for trade in part]
        row["symbol"], row["bar"], row["trades"] = s, bar, len(part)
        row["open"], row["close"], row["high"], row["low"] = prices[0], prices[-1], max(prices), min(prices)
        row["volume"] = sum(trade[4] for trade in part)
        row["taker_buy"] = sum(trade[4] // 3 for trade in part)
        row["first_id"], row["last_id"] = part[0][2], part[-1][2]
    return rows


def expected_bars(trades: list[tuple[int, int, int, float, int]], symbols: int, until: int) -> Any:
    """Base bars of every symbol from its first trade on, in order of (bar, symbol)."""
    out = []
    for s in range(symbols):
        mine = [trade for trade in trades if trade[1] == s]
        last = None
        for bar in range(EPOCH, until, SECOND):
            part = [trade for trade in mine if trade[0] // SECOND * SECOND == bar]
            if not part and last is None:
                continue
            record = np.zeros((), BAR)
            prices = [trade[3] for trade in part] or [last]
            record["symbol"], record["open_time"], record["trades"] = s, bar, len(part)
            record["open"], record["close"], record["high"], record["low"] = (
                prices[0],
                prices[-1],
                max(prices),
                min(prices),
            )
            record["volume"] = sum(trade[4] for trade in part)
            record["taker_buy"] = sum(trade[4] // 3 for trade in part)
            last = prices[-1]
            out.append(record)
    out.sort(key=lambda b: (int(b["open_time"]), int(b["symbol"])))
    return np.array(out, BAR) if out else np.zeros(0, BAR)


def started(symbols: int) -> State:
    state = new_state(symbols, (SECOND, 5 * SECOND), PARAMS, ring=64)
    for s in range(symbols):
        set_live_from(state, s, EPOCH)
        assert seed(state, s, np.zeros(0, BAR)).code == 0
    return state


def run(state: State, trades: list[Any], cuts: list[int], shuffle: int = 0) -> tuple[Any, Any]:
    """Feed batches that end at the cuts; the watermark is the last trade's time, and the end closes all."""
    bars, events = [np.zeros(0, BAR)], []
    edges = [0, *sorted(min(cut, len(trades)) for cut in cuts), len(trades)]
    for a, b in itertools.pairwise(edges):
        batch = conflate(trades[a:b])
        if shuffle:
            np.random.default_rng(shuffle).shuffle(batch)
        some, told = analyse_all(state, batch, trades[b - 1][0] if b else 0)
        bars.append(some)
        events.append(told)
    some, told = analyse_all(state, np.zeros(0, ROW), trades[-1][0] + SECOND)
    return np.concatenate([*bars, some]), np.concatenate([*events, told])


TRADES = st.builds(
    make_trades, st.integers(0, 2**32 - 1), st.integers(1, 120), st.just(3), st.sampled_from([50, 400, 3_000])
)
CUTS = st.lists(st.integers(0, 120), max_size=12)


def coarse(trades: list[Any], most: int = 60) -> list[int]:
    """Cuts that keep a batch within the bars that may be open at once."""
    cuts, since = [], 0
    for k, trade in enumerate(trades):
        if trade[0] - trades[since][0] > (most - 2) * SECOND:
            cuts.append(k)
            since = k
    return cuts


@given(trades=TRADES, cuts=CUTS)
def test_bars_of_rows_equal_bars_of_every_trade(trades: list[Any], cuts: list[int]) -> None:
    state = started(3)
    bars, _ = run(state, trades, cuts + coarse(trades))
    until = trades[-1][0] // SECOND * SECOND + SECOND
    end = until if trades[-1][0] + SECOND >= until else until - SECOND
    assert same(bars[bars["timeframe"] == 0], expected_bars(trades, 3, end))
    assert counter(state, "late_rows") == counter(state, "far_rows") == counter(state, "rejected_rows") == 0


@given(trades=TRADES, cuts=CUTS, shuffle=st.integers(0, 9))
def test_any_batches_give_the_same_bars_events_and_state(trades: list[Any], cuts: list[int], shuffle: int) -> None:
    one, other = started(3), started(3)
    bars, events = run(one, trades, coarse(trades))
    bars2, events2 = run(other, trades, cuts + coarse(trades), shuffle)
    assert same(bars, bars2)
    assert same(events, events2)
    assert state_bytes(one) == state_bytes(other)


@given(trades=TRADES, late=st.lists(st.integers(0, 119), min_size=1, max_size=20))
def test_a_trade_after_its_bar_has_closed_is_counted_and_changes_no_bar(trades: list[Any], late: list[int]) -> None:
    state = started(3)
    bars, _ = run(state, trades, coarse(trades))
    before = state.bars.tobytes(), state.values.tobytes(), state.zones.tobytes()
    again = conflate([trades[k % len(trades)] for k in late])
    more, events = analyse_all(state, again, 0)
    assert len(more) == len(events) == 0
    assert counter(state, "late_rows") == len(again)
    assert (state.bars.tobytes(), state.values.tobytes(), state.zones.tobytes()) == before
    assert len(bars) > 0
