"""One more bar for all indicators of many series, compiled; `kernels/study.py` is its face.

The steps are those of the functions over arrays, so each reading equals theirs bit for bit. Series lie side by side in
memory, a row for each thing that is held, and are advanced together, block by block: the compiler does the same step
for several of them at once. Every series has the same number of bars, so that all are at one place of their rings. A
forming bar is committed to a copy, so that nothing is stored.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aegis.kernels import abreast, steps
from aegis.kernels.compile import inner, kernel
from aegis.kernels.sane import OK, fault
from aegis.kernels.state import Records

__all__ = ["BLOCK", "HELD", "LENGTHS", "PARAMETERS", "READINGS", "TIMES", "WINDOWS", "WORK"]

_I, _F = np.int64, np.float64

_READ = (
    "true_range", "atr", "natr", "rsi", "sma", "ema", "macd", "macd_signal", "macd_histogram",
    "mid", "sigma", "upper", "lower", "percent_b", "width", "plus_di", "minus_di", "adx",
    "stochastic_k", "stochastic_d", "vwap", "anchored_vwap", "delta", "cumulative_delta", "volatility",
)  # fmt: skip

#: Values at a bar; NaN before the first one. Units and definitions are in `kernels/indicators.py`.
READINGS = np.dtype([("bars", _I), ("rsi_valid", _I)] + [(name, _F) for name in _READ])
_FIRST = 2

#: Rows of what is computed of a block: the readings in their order, then the bars, then room for a step's own.
(
    _TRUE_RANGE, _ATR, _NATR, _RSI, _SMA, _EMA, _MACD, _MACD_SIGNAL, _MACD_HISTOGRAM,
    _MID, _SIGMA, _UPPER, _LOWER, _PERCENT_B, _WIDTH, _PLUS_DI, _MINUS_DI, _ADX,
    _STOCHASTIC_K, _STOCHASTIC_D, _VWAP, _ANCHORED_VWAP, _DELTA, _CUMULATIVE_DELTA, _VOLATILITY,
    _HIGH, _LOW, _CLOSE, _VOLUME, _WORTH, _ONE, _TWO,
) = range(32)  # fmt: skip
WORK = 32

#: Rows of what a series remembers beside its windows: numbers, and times.
(
    _LAST_HIGH, _LAST_LOW, _LAST_CLOSE, _RANGE, _GAIN, _LOSS, _AVERAGE, _QUICK, _CALM, _SIGNAL, _UPS, _DOWNS, _RANGES,
    _DIRECTED, _SESSION_WORTH, _SESSION_VOLUME, _SESSION_DELTA, _ANCHORED_WORTH, _ANCHORED_VOLUME,
) = range(19)  # fmt: skip
HELD = 19
_OPEN_TIME, _SESSION_END, _WHOLE, ANCHOR = range(4)
TIMES = 4
ANCHORED = (_ANCHORED_WORTH, _ANCHORED_VOLUME)

LENGTHS = (
    "atr", "rsi", "sma", "ema", "macd_fast", "macd_slow", "macd_signal", "bollinger", "adx",
    "stochastic", "smooth_k", "smooth_d", "volatility",
)  # fmt: skip

#: `settled`: a bar number after which every reading but those of volume has a value.
PARAMETERS = np.dtype(
    [("session_ms", _I), ("offset_ms", _I), ("width", _F), ("settled", _I)] + [(name, _I) for name in LENGTHS]
)

#: Windows of a series.
WINDOWS = 6
_CLOSES, _HIGHS, _LOWS, _RAW_K, _SLOW_K, _CHANGES = range(WINDOWS)

#: Series that are advanced together: what is computed of them stays in the fastest cache.
BLOCK = 64

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


# -- groups of indicators ----------------------------------------------------------------------------------------------
@inner()
def _averages(held: FloatArray, at: int, t: int, p: np.void, work: FloatArray, m: int) -> None:
    """Exponential averages, of which MACD is made."""
    end, close = at + m, work[_CLOSE, :m]
    average, out = held[_AVERAGE, at:end], work[_EMA, :m]
    abreast.smooth_ema(average, close, p["ema"], t + 1)
    if t >= p["ema"] - 1:
        abreast.copy(out, average)
    slow, fast, signal = p["macd_slow"], p["macd_fast"], p["macd_signal"]
    calm, quick = held[_CALM, at:end], held[_QUICK, at:end]
    abreast.smooth_ema(calm, close, slow, t + 1)
    if t >= slow - fast:
        abreast.smooth_ema(quick, close, fast, t - (slow - fast) + 1)
    if t < slow - 1:
        return
    line, told, histogram = work[_MACD, :m], work[_MACD_SIGNAL, :m], work[_MACD_HISTOGRAM, :m]
    for i in range(m):
        line[i] = quick[i] - calm[i]
    average = held[_SIGNAL, at:end]
    abreast.smooth_ema(average, line, signal, t - slow + 2)
    if t >= slow + signal - 2:
        abreast.copy(told, average)
        for i in range(m):
            histogram[i] = line[i] - average[i]


@inner()
def _ranges(held: FloatArray, at: int, t: int, p: np.void, work: FloatArray, m: int) -> None:
    """What compares a bar with the one before: ranges and strength. `held` still has that bar."""
    end, close, last = at + m, work[_CLOSE, :m], held[_LAST_CLOSE, at : at + m]
    high, low, reach = work[_HIGH, :m], work[_LOW, :m], work[_TRUE_RANGE, :m]
    for i in range(m):
        reach[i] = steps.true_range(high[i], low[i], last[i])
    average, out, natr = held[_RANGE, at:end], work[_ATR, :m], work[_NATR, :m]
    abreast.smooth(average, reach, p["atr"], t)
    if t >= p["atr"]:
        abreast.copy(out, average)
        for i in range(m):
            natr[i] = 100.0 * average[i] / close[i]
    ups, downs = work[_ONE, :m], work[_TWO, :m]
    for i in range(m):
        change = close[i] - last[i]
        ups[i] = change if change > 0.0 else 0.0
        downs[i] = -change if change < 0.0 else 0.0
    gain, loss, strength = held[_GAIN, at:end], held[_LOSS, at:end], work[_RSI, :m]
    abreast.smooth(gain, ups, p["rsi"], t)
    abreast.smooth(loss, downs, p["rsi"], t)
    if t >= p["rsi"]:
        for i in range(m):
            strength[i] = steps.strength(gain[i], loss[i])


@inner()
def _direction(held: FloatArray, at: int, t: int, n: int, work: FloatArray, m: int) -> None:
    end, high, low = at + m, work[_HIGH, :m], work[_LOW, :m]
    last_high, last_low = held[_LAST_HIGH, at:end], held[_LAST_LOW, at:end]
    up, down = work[_ONE, :m], work[_TWO, :m]
    for i in range(m):
        up[i], down[i] = steps.directional(high[i], low[i], last_high[i], last_low[i])
    ups, downs, ranges = held[_UPS, at:end], held[_DOWNS, at:end], held[_RANGES, at:end]
    abreast.smooth_sum(ups, up, n, t)
    abreast.smooth_sum(downs, down, n, t)
    abreast.smooth_sum(ranges, work[_TRUE_RANGE, :m], n, t)
    if t < n:
        return
    plus, minus, adx = work[_PLUS_DI, :m], work[_MINUS_DI, :m], held[_DIRECTED, at:end]
    for i in range(m):
        plus[i], minus[i] = steps.indexes(ups[i], downs[i], ranges[i])
    for i in range(m):
        adx[i] = steps.smooth_dx(adx[i], plus[i], minus[i], n, t - n + 1)
    if t >= 2 * n - 1:
        abreast.copy(work[_ADX, :m], adx)


@inner()
def _bands(windows: FloatArray, at: int, t: int, p: np.void, work: FloatArray, m: int) -> None:
    """Means and deviations of the last n closes, and of their changes."""
    closes, close = windows[_CLOSES], work[_CLOSE, :m]
    if t >= p["sma"] - 1:
        abreast.mean(closes, at, t, p["sma"], work[_SMA, :m])
    if t >= p["volatility"]:
        abreast.root_mean_square(windows[_CHANGES], at, t, p["volatility"], work[_VOLATILITY, :m])
    n, k = p["bollinger"], p["width"]
    if t < n - 1:
        return
    mid, sigma, place, width = work[_MID, :m], work[_SIGMA, :m], work[_PERCENT_B, :m], work[_WIDTH, :m]
    upper, lower = work[_UPPER, :m], work[_LOWER, :m]
    if n == p["sma"]:
        abreast.copy(mid, work[_SMA, :m])
    else:
        abreast.mean(closes, at, t, n, mid)
    abreast.deviation(closes, at, t, n, mid, sigma)
    for i in range(m):
        upper[i] = mid[i] + k * sigma[i]
        lower[i] = mid[i] - k * sigma[i]
    for i in range(m):
        place[i] = steps.percent_b(close[i], lower[i], upper[i])
    for i in range(m):
        width[i] = (upper[i] - lower[i]) / mid[i]


@inner()
def _stochastic(windows: FloatArray, at: int, t: int, p: np.void, work: FloatArray, m: int) -> None:
    n, k, d = p["stochastic"], p["smooth_k"], p["smooth_d"]
    if t < n - 1:
        return
    slot = t & (windows.shape[1] - 1)
    top, bottom, close = work[_ONE, :m], work[_TWO, :m], work[_CLOSE, :m]
    abreast.extremes(windows[_HIGHS], windows[_LOWS], at, t, n, top, bottom)
    raw, slow = windows[_RAW_K, slot, at : at + m], windows[_SLOW_K, slot, at : at + m]
    for i in range(m):
        raw[i] = steps.position(close[i], bottom[i], top[i])
    if t >= n + k - 2:
        abreast.mean(windows[_RAW_K], at, t, k, slow)
        abreast.copy(work[_STOCHASTIC_K, :m], slow)
    if t >= n + k + d - 3:
        abreast.mean(windows[_SLOW_K], at, t, d, work[_STOCHASTIC_D, :m])


@inner()
def _begin_sessions(held: FloatArray, times: IntArray, at: int, t: int, p: np.void, bars: Records, m: int) -> None:
    """Series whose bar is the first of a session: only there is a time divided."""
    for i in range(m):
        opened = bars[i]["open_time"]
        if t > 0 and opened < times[_SESSION_END, at + i]:
            continue
        start = (opened - p["offset_ms"]) // p["session_ms"] * p["session_ms"] + p["offset_ms"]
        times[_SESSION_END, at + i] = start + p["session_ms"]
        times[_WHOLE, at + i] = 1 if t > 0 or opened == start else 0
        held[_SESSION_WORTH, at + i] = 0.0
        held[_SESSION_VOLUME, at + i] = 0.0
        held[_SESSION_DELTA, at + i] = 0.0


@inner()
def _volume(held: FloatArray, times: IntArray, at: int, bars: Records, work: FloatArray, m: int) -> None:
    end, volume, worth, delta = at + m, work[_VOLUME, :m], work[_WORTH, :m], work[_DELTA, :m]
    session, total, balance = held[_SESSION_WORTH, at:end], held[_SESSION_VOLUME, at:end], held[_SESSION_DELTA, at:end]
    whole, out, sums = times[_WHOLE, at:end], work[_VWAP, :m], work[_CUMULATIVE_DELTA, :m]
    for i in range(m):
        session[i] += worth[i]
        total[i] += volume[i]
    for i in range(m):
        out[i] = session[i] / total[i] if whole[i] == 1 and total[i] > 0.0 else np.nan
    for i in range(m):
        balance[i] += delta[i]
        sums[i] = balance[i] if whole[i] == 1 else np.nan
    anchor, anchored = times[ANCHOR, at:end], work[_ANCHORED_VWAP, :m]
    session, total = held[_ANCHORED_WORTH, at:end], held[_ANCHORED_VOLUME, at:end]
    for i in range(m):
        if bars[i]["open_time"] >= anchor[i]:
            session[i] += worth[i]
            total[i] += volume[i]
        anchored[i] = session[i] / total[i] if total[i] > 0.0 else np.nan


# -- a bar of every series ---------------------------------------------------------------------------------------------
@inner()
def _enter(windows: FloatArray, at: int, held: FloatArray, t: int, bars: Records, work: FloatArray, own: int) -> None:
    """The bars' prices and volumes as rows, and into the windows. `own`: place of the block in `held`."""
    slot, m = t & (windows.shape[1] - 1), len(bars)
    for i in range(m):
        bar = bars[i]
        high, low, close, volume = bar["high"], bar["low"], bar["close"], float(bar["volume"])
        work[_HIGH, i] = high
        work[_LOW, i] = low
        work[_CLOSE, i] = close
        work[_VOLUME, i] = volume
        work[_WORTH, i] = (high + low + close) / 3.0 * volume
        work[_DELTA, i] = 2.0 * bar["taker_buy"] - volume
        windows[_CLOSES, slot, at + i] = close
        windows[_HIGHS, slot, at + i] = high
        windows[_LOWS, slot, at + i] = low
        windows[_CHANGES, slot, at + i] = steps.log_change(close, held[_LAST_CLOSE, own + i]) if t > 0 else 0.0


@inner()
def _advance(
    held: FloatArray, times: IntArray, own: int, windows: FloatArray, at: int, t: int, bars: Records, p: np.void,
    work: FloatArray,
) -> None:  # fmt: skip
    """Advance a block by one bar each: columns from `own` on of what is held, from `at` on of the windows."""
    m = len(bars)
    if t <= p["settled"]:
        for k in range(_HIGH):
            for i in range(m):
                work[k, i] = np.nan
    _enter(windows, at, held, t, bars, work, own)
    _averages(held, own, t, p, work, m)
    if t > 0:
        _ranges(held, own, t, p, work, m)
        _direction(held, own, t, p["adx"], work, m)
    _bands(windows, at, t, p, work, m)
    _stochastic(windows, at, t, p, work, m)
    _begin_sessions(held, times, own, t, p, bars, m)
    _volume(held, times, own, bars, work, m)
    abreast.copy(held[_LAST_HIGH, own : own + m], work[_HIGH, :m])
    abreast.copy(held[_LAST_LOW, own : own + m], work[_LOW, :m])
    abreast.copy(held[_LAST_CLOSE, own : own + m], work[_CLOSE, :m])
    for i in range(m):
        times[_OPEN_TIME, own + i] = bars[i]["open_time"]


@inner()
def _show(
    numbers: FloatArray, counts: IntArray, held: FloatArray, own: int, t: int, p: np.void, work: FloatArray
) -> None:
    """A block's readings, field by field, into its rows of READINGS: seen as numbers and as counts."""
    for i in range(len(numbers)):
        counts[i, 0] = t + 1
        counts[i, 1] = 1 if t >= p["rsi"] and held[_GAIN, own + i] + held[_LOSS, own + i] != 0.0 else 0
        for k in range(_HIGH):
            numbers[i, _FIRST + k] = work[k, i]


@kernel(bare=True)
def commit(
    held: FloatArray, times: IntArray, windows: FloatArray, t: int, bars: Records, parameters: Records,
    numbers: FloatArray, counts: IntArray, work: FloatArray,
) -> None:  # fmt: skip
    """Bar number t of every series."""
    p = parameters[0]
    for at in range(0, len(bars), BLOCK):
        end = min(at + BLOCK, len(bars))
        _advance(held, times, at, windows, at, t, bars[at:end], p, work)
        _show(numbers[at:end], counts[at:end], held, at, t, p, work)


@kernel(bare=True)
def peek(
    held: FloatArray, times: IntArray, windows: FloatArray, t: int, bars: Records, parameters: Records,
    numbers: FloatArray, counts: IntArray, work: FloatArray, spare: FloatArray, spare_times: IntArray,
    column: FloatArray,
) -> None:  # fmt: skip
    """As `commit`, but to copies; what it writes into the windows is put back."""
    p, slot = parameters[0], t & (windows.shape[1] - 1)
    for at in range(0, len(bars), BLOCK):
        end = min(at + BLOCK, len(bars))
        m = end - at
        for k in range(HELD):
            abreast.copy(spare[k, :m], held[k, at:end])
        for k in range(TIMES):
            abreast.copy(spare_times[k, :m], times[k, at:end])
        for k in range(WINDOWS):
            abreast.copy(column[k, :m], windows[k, slot, at:end])
        _advance(spare, spare_times, 0, windows, at, t, bars[at:end], p, work)
        _show(numbers[at:end], counts[at:end], spare, 0, t, p, work)
        for k in range(WINDOWS):
            abreast.copy(windows[k, slot, at:end], column[k, :m])


@kernel(bare=True)
def run(
    held: FloatArray, times: IntArray, windows: FloatArray, t: int, bars: Records, parameters: Records,
    numbers: FloatArray, counts: IntArray, work: FloatArray,
) -> None:  # fmt: skip
    """Bars of one series, the first being its number t."""
    p = parameters[0]
    for k in range(len(bars)):
        _advance(held, times, 0, windows, 0, t + k, bars[k : k + 1], p, work)
        _show(numbers[k : k + 1], counts[k : k + 1], held, 0, t + k, p, work)


@kernel(bare=True)
def first_fault(times: IntArray, t: int, bars: Records, timeframe_ms: int) -> tuple[int, int]:
    """(series, fault) of the first bar that must not be taken, else (-1, OK)."""
    for i in range(len(bars)):
        after = times[_OPEN_TIME, i] + timeframe_ms if t > 0 else -1
        code = fault(bars[i], timeframe_ms, after)
        if code != OK:
            return i, code
    return -1, OK
