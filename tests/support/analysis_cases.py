"""Bars, trades and rows for tests of the analysis; plain definitions to judge it by."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from aegis.kernels.layout import BAR, ROW

Rows = npt.NDArray[Any]

MINUTE = 60_000
#: Any time of day: a multiple of a week, so that every timeframe is aligned there.
EPOCH = 2_800 * 604_800_000


def make_bars(seed: int, n: int, *, timeframe_ms: int = MINUTE, step: int = 6, start: int = EPOCH) -> Rows:
    """A random walk in whole ticks with plateaus, gaps and bars of one price; contiguous from `start`."""
    rng = np.random.default_rng(seed)
    bars = np.zeros(n, BAR)
    bars["open_time"] = start + timeframe_ms * np.arange(n)
    price = 5_000
    for t in range(n):
        o = price + (int(rng.integers(-step, step + 1)) if rng.random() < 0.3 else 0)
        c = o + (int(rng.integers(-step, step + 1)) if rng.random() < 0.9 else 0)
        wick = rng.integers(0, max(1, step // 2), 2)
        bars[t]["open"], bars[t]["close"] = o, c
        bars[t]["high"], bars[t]["low"] = max(o, c) + wick[0], min(o, c) - wick[1]
        price = max(c, 1_000)
    bars["volume"] = rng.integers(0, 1_000, n)
    bars["taker_buy"] = bars["volume"] // 2
    bars["trades"] = 1
    return bars


def walk(ohlc: list[tuple[float, float, float, float]], *, timeframe_ms: int = MINUTE, start: int = EPOCH) -> Rows:
    """Bars with given open, high, low, close."""
    bars = np.zeros(len(ohlc), BAR)
    bars["open_time"] = start + timeframe_ms * np.arange(len(ohlc))
    for t, (o, h, low, c) in enumerate(ohlc):
        bars[t]["open"], bars[t]["high"], bars[t]["low"], bars[t]["close"] = o, h, low, c
    bars["volume"] = bars["trades"] = 1
    return bars


def roll_up(bars: Rows, timeframe_ms: int) -> Rows:
    """Whole higher bars of a contiguous series, by definition."""
    out = []
    for start in sorted(set((bars["open_time"] // timeframe_ms * timeframe_ms).tolist())):
        part = bars[bars["open_time"] // timeframe_ms * timeframe_ms == start]
        step = int(bars["open_time"][1] - bars["open_time"][0])
        if len(part) * step != timeframe_ms:
            continue
        bar = np.zeros((), BAR)
        bar["open_time"], bar["open"], bar["close"] = start, part["open"][0], part["close"][-1]
        bar["high"], bar["low"] = part["high"].max(), part["low"].min()
        for name in ("volume", "taker_buy", "trades"):
            bar[name] = part[name].sum()
        out.append(bar)
    return np.array(out, BAR) if out else np.zeros(0, BAR)


def rows_of(bars: Rows, symbol: int = 0, first_id: int = 1) -> Rows:
    """One row for each bar, as if conflation had seen the whole bar at once."""
    rows = np.zeros(len(bars), ROW)
    for name in ("open", "high", "low", "close", "volume", "taker_buy"):
        rows[name] = bars[name]
    rows["symbol"], rows["bar"], rows["trades"] = symbol, bars["open_time"], 1
    rows["first_id"] = rows["last_id"] = first_id + np.arange(len(bars))
    return rows


def same(left: Rows, right: Rows) -> bool:
    """Equal bit for bit."""
    return left.dtype == right.dtype and left.tobytes() == right.tobytes()


# -- smart-money concepts by their definitions, slowly -----------------------------------------------------------------
def swings(bars: Rows, length: int) -> list[tuple[int, int, int, float, bool]]:
    """(known at bar, bar, direction, level, extends) of every confirmed swing, from the whole series."""
    found: list[tuple[int, int, int, float, bool]] = []
    for i in range(length - 1, len(bars) - length):
        window = slice(i - length + 1, i + length + 1)
        if bars["high"][i] == bars["high"][window].max():
            d, level = 1, float(bars["high"][i])
        elif bars["low"][i] == bars["low"][window].min():
            d, level = -1, float(bars["low"][i])
        else:
            continue
        extends = bool(found) and found[-1][2] == d
        if not extends or d * level > d * found[-1][3]:
            found.append((i + length, i, d, level, extends))
    return found


def alternating(bars: Rows, length: int) -> list[tuple[int, int]]:
    """(bar, direction) of the final swing list: of each run of one direction the most extreme, the first on ties."""
    raw = []
    for i in range(length - 1, len(bars) - length):
        window = slice(i - length + 1, i + length + 1)
        if bars["high"][i] == bars["high"][window].max():
            raw.append((i, 1, float(bars["high"][i])))
        elif bars["low"][i] == bars["low"][window].min():
            raw.append((i, -1, -float(bars["low"][i])))
    runs: list[list[tuple[int, int, float]]] = []
    for swing in raw:
        if runs and runs[-1][-1][1] == swing[1]:
            runs[-1].append(swing)
        else:
            runs.append([swing])
    best = [max(run, key=lambda swing: (swing[2], -swing[0])) for run in runs]
    return [(i, d) for i, d, _ in best]


def breaks(bars: Rows, length: int, max_age: int) -> list[tuple[int, int, int, str]]:
    """(bar of the break, broken swing's bar, direction, class), from the list of confirmed swings."""
    found = []
    listed = swings(bars, length)
    for j, (known, p, d, level, _) in enumerate(listed):
        replaced = next((k for k, _, e, _, _ in listed[j + 1 :] if e == d), len(bars) - 1)
        before = [swing for swing in listed[:j] if swing[2] == -d]
        for t in range(known + 1, min(replaced, p + max_age, len(bars) - 1) + 1):
            if d * (bars["close"][t] - level) > 0:
                inside = bars[p + 1 : t]
                deepest = inside["low"].min() if d > 0 else inside["high"].max()
                name = "BREAK" if not before else "BOS" if d * (deepest - before[-1][3]) > 0 else "CHOCH"
                found.append((t, p, d, name))
                break
    return sorted(found, key=lambda b: (b[0], -b[2]))


def gaps(bars: Rows, min_gap_atr: float, period: int) -> list[tuple[int, int, float, float]]:
    """(bar that confirms, direction, top, bottom) of every gap wide enough."""
    found = []
    high, low, close, open_ = (bars[name] for name in ("high", "low", "close", "open"))
    for t in range(max(2, period), len(bars)):
        ranges = [max(high[j], close[j - 1]) - min(low[j], close[j - 1]) for j in range(t - period + 1, t + 1)]
        least = min_gap_atr * (sum(ranges) / period)
        if high[t - 2] < low[t] and close[t - 1] > open_[t - 1] and low[t] - high[t - 2] >= least:
            found.append((t, 1, float(low[t]), float(high[t - 2])))
        if low[t - 2] > high[t] and close[t - 1] < open_[t - 1] and low[t - 2] - high[t] >= least:
            found.append((t, -1, float(low[t - 2]), float(high[t])))
    return found
