"""Indicators over whole arrays, compiled. `kernels/indicators.py` is their face: it checks what comes in here.

Long outputs that matter for speed are made by the caller: numpy asks for large pages, compiled code does not.
Only the library calls these, so they are not in the warm-up's registry: each is compiled at its first use and cached.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from aegis.kernels import steps
from aegis.kernels.compile import inner, kernel

__all__ = ["BoolArray", "FloatArray"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

#: Index mask of an array: every index is itself.
_ALL = -1

#: Windows that are summed side by side: what they touch fits into the fastest cache.
_BLOCK = 512


@kernel()
def are_prices(values: FloatArray) -> bool:
    """Every value is finite and positive."""
    good = 0
    for t in range(len(values)):
        good += (values[t] > 0.0) & (values[t] < np.inf)
    return good == len(values)


@kernel()
def are_bars(high: FloatArray, low: FloatArray, close: FloatArray) -> bool:
    """As `are_prices` of arrays of one length, with every close between low and high."""
    good = 0
    for t in range(len(close)):
        good += (low[t] > 0.0) & (low[t] <= close[t]) & (close[t] <= high[t]) & (high[t] < np.inf)
    return good == len(close)


@kernel()
def true_ranges(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    out = np.full(len(close), np.nan)
    for t in range(1, len(close)):
        out[t] = steps.true_range(high[t], low[t], close[t - 1])
    return out


@kernel()
def atr(high: FloatArray, low: FloatArray, close: FloatArray, n: int, out: FloatArray) -> None:
    held = 0.0
    for t in range(1, len(close)):
        held = steps.smooth(held, steps.true_range(high[t], low[t], close[t - 1]), n, t)
        if t >= n:
            out[t] = held


@kernel()
def rsi(close: FloatArray, n: int, out: FloatArray, valid: BoolArray) -> None:
    gain = 0.0
    loss = 0.0
    for t in range(1, len(close)):
        change = close[t] - close[t - 1]
        gain = steps.smooth(gain, change if change > 0.0 else 0.0, n, t)
        loss = steps.smooth(loss, -change if change < 0.0 else 0.0, n, t)
        if t >= n:
            out[t] = steps.strength(gain, loss)
            valid[t] = gain + loss != 0.0


@kernel()
def sma(values: FloatArray, n: int) -> FloatArray:
    out = np.full(len(values), np.nan)
    for t in range(n - 1, len(values)):
        out[t] = steps.mean(values, t, n, _ALL)
    return out


@kernel()
def ema(values: FloatArray, n: int) -> FloatArray:
    out = np.full(len(values), np.nan)
    held = 0.0
    for t in range(len(values)):
        held = steps.smooth_ema(held, values[t], n, t + 1)
        if t >= n - 1:
            out[t] = held
    return out


@kernel()
def macd(values: FloatArray, fast: int, slow: int, signal: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    line = np.full(len(values), np.nan)
    average = np.full(len(values), np.nan)
    histogram = np.full(len(values), np.nan)
    quick = 0.0
    calm = 0.0
    held = 0.0
    for t in range(len(values)):
        calm = steps.smooth_ema(calm, values[t], slow, t + 1)
        if t >= slow - fast:
            quick = steps.smooth_ema(quick, values[t], fast, t - (slow - fast) + 1)
        if t < slow - 1:
            continue
        line[t] = quick - calm
        held = steps.smooth_ema(held, line[t], signal, t - slow + 2)
        if t >= slow + signal - 2:
            average[t] = held
            histogram[t] = line[t] - held
    return line, average, histogram


@inner()
def _add_four(total: FloatArray, values: FloatArray, start: int, base: FloatArray) -> None:
    """Four steps of a sum at once, in order: the totals are fetched and put back a quarter as often."""
    count = len(total)
    a, b = values[start : start + count], values[start + 1 : start + 1 + count]
    c, d = values[start + 2 : start + 2 + count], values[start + 3 : start + 3 + count]
    for i in range(count):
        total[i] = (((total[i] + (a[i] - base[i])) + (b[i] - base[i])) + (c[i] - base[i])) + (d[i] - base[i])


@inner()
def _add_four_squares(total: FloatArray, values: FloatArray, start: int, base: FloatArray) -> None:
    count = len(total)
    a, b = values[start : start + count], values[start + 1 : start + 1 + count]
    c, d = values[start + 2 : start + 2 + count], values[start + 3 : start + 3 + count]
    for i in range(count):
        one, two, three, four = a[i] - base[i], b[i] - base[i], c[i] - base[i], d[i] - base[i]
        total[i] = (((total[i] + one * one) + two * two) + three * three) + four * four


@inner()
def _moments(close: FloatArray, n: int, first: int, mid: FloatArray, sigma: FloatArray) -> None:
    """`steps.mean` and `steps.deviation` of the windows that end with the bars from `first` on, len(mid) of them.

    Each window is summed in the same order as there, but all windows side by side: a processor adds four at once.
    """
    count = len(mid)
    ends = close[first : first + count]
    for i in range(count):
        mid[i] = 0.0
        sigma[i] = 0.0
    back = n - 1
    while back > 3:
        _add_four(mid, close, first - back, ends)
        back -= 4
    for k in range(back, 0, -1):
        values = close[first - k : first - k + count]
        for i in range(count):
            mid[i] += values[i] - ends[i]
    for i in range(count):
        mid[i] = ends[i] + mid[i] / n
    back = n - 1
    while back > 2:
        _add_four_squares(sigma, close, first - back, mid)
        back -= 4
    for k in range(back, -1, -1):
        values = close[first - k : first - k + count]
        for i in range(count):
            sigma[i] += (values[i] - mid[i]) * (values[i] - mid[i])
    for i in range(count):
        sigma[i] = math.sqrt(sigma[i] / n)


@kernel()
def bollinger(
    close: FloatArray, n: int, k: float, mid: FloatArray, sigma: FloatArray, upper: FloatArray, lower: FloatArray,
    place: FloatArray, width: FloatArray,
) -> None:  # fmt: skip
    """Fill the last six arrays from index n - 1 on."""
    for first in range(n - 1, len(close), _BLOCK):
        last = min(first + _BLOCK, len(close))
        _moments(close, n, first, mid[first:last], sigma[first:last])
        # loops of few arrays each: of many the compiler does not see that they are apart
        for t in range(first, last):
            upper[t] = mid[t] + k * sigma[t]
            lower[t] = mid[t] - k * sigma[t]
        for t in range(first, last):
            place[t] = steps.percent_b(close[t], lower[t], upper[t])
        for t in range(first, last):
            width[t] = (upper[t] - lower[t]) / mid[t]


@kernel()
def realised_volatility(close: FloatArray, n: int) -> FloatArray:
    out = np.full(len(close), np.nan)
    changes = np.zeros(len(close))
    for t in range(1, len(close)):
        changes[t] = steps.log_change(close[t], close[t - 1])
        if t >= n:
            out[t] = steps.root_mean_square(changes, t, n, _ALL)
    return out


@kernel()
def directional(
    high: FloatArray, low: FloatArray, close: FloatArray, n: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    plus = np.full(len(close), np.nan)
    minus = plus.copy()
    adx = plus.copy()
    ups = 0.0
    downs = 0.0
    ranges = 0.0
    held = 0.0
    for t in range(1, len(close)):
        up, down = steps.directional(high[t], low[t], high[t - 1], low[t - 1])
        ups = steps.smooth_sum(ups, up, n, t)
        downs = steps.smooth_sum(downs, down, n, t)
        ranges = steps.smooth_sum(ranges, steps.true_range(high[t], low[t], close[t - 1]), n, t)
        if t < n:
            continue
        plus[t], minus[t] = steps.indexes(ups, downs, ranges)
        held = steps.smooth_dx(held, plus[t], minus[t], n, t - n + 1)
        if t >= 2 * n - 1:
            adx[t] = held
    return plus, minus, adx


@kernel()
def stochastic(
    high: FloatArray, low: FloatArray, close: FloatArray, n: int, smooth_k: int, smooth_d: int
) -> tuple[FloatArray, FloatArray]:
    raw = np.full(len(close), np.nan)
    k = raw.copy()
    d = raw.copy()
    for t in range(n - 1, len(close)):
        raw[t] = steps.position(close[t], steps.lowest(low, t, n, _ALL), steps.highest(high, t, n, _ALL))
        if t >= n + smooth_k - 2:
            k[t] = steps.mean(raw, t, smooth_k, _ALL)
        if t >= n + smooth_k + smooth_d - 3:
            d[t] = steps.mean(k, t, smooth_d, _ALL)
    return k, d


@kernel()
def vwap(
    open_time: IntArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    session: int,
    offset: int,
) -> FloatArray:
    out = np.full(len(close), np.nan)
    whole = False
    worth = 0.0
    total = 0.0
    for t in range(len(close)):
        if steps.begins(open_time[t], open_time[t - 1] if t > 0 else -1, session, offset):
            whole = t > 0 or (open_time[t] - offset) % session == 0
            worth = 0.0
            total = 0.0
        worth += (high[t] + low[t] + close[t]) / 3.0 * volume[t]
        total += volume[t]
        if whole and total > 0.0:
            out[t] = worth / total
    return out


@kernel()
def anchored_vwap(high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, anchor: int) -> FloatArray:
    out = np.full(len(close), np.nan)
    worth = 0.0
    total = 0.0
    for t in range(anchor, len(close)):
        worth += (high[t] + low[t] + close[t]) / 3.0 * volume[t]
        total += volume[t]
        if total > 0.0:
            out[t] = worth / total
    return out


@kernel()
def cumulative(open_time: IntArray, delta: FloatArray, session: int, offset: int) -> FloatArray:
    out = np.full(len(delta), np.nan)
    whole = False
    held = 0.0
    for t in range(len(delta)):
        if steps.begins(open_time[t], open_time[t - 1] if t > 0 else -1, session, offset):
            whole = t > 0 or (open_time[t] - offset) % session == 0
            held = 0.0
        held += delta[t]
        if whole:
            out[t] = held
    return out
