"""One more bar for all indicators of a series, compiled; `kernels/study.py` is its face.

The steps are those of the functions over arrays, so each reading equals theirs bit for bit. A series' windows are rings
that its bar numbers index; a forming bar is committed to a copy, so that nothing is stored.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aegis.kernels import steps
from aegis.kernels.compile import kernel
from aegis.kernels.sane import OK, fault
from aegis.kernels.state import Records

__all__ = ["HELD", "LENGTHS", "PARAMETERS", "READINGS", "WINDOWS"]

_I, _F = np.int64, np.float64

#: Values at a bar; NaN before the first one. Units and definitions are in `kernels/indicators.py`.
READINGS = np.dtype(
    [("bars", _I), ("rsi_valid", _I)]
    + [
        (name, _F)
        for name in (
            "true_range", "atr", "natr", "rsi", "sma", "ema", "macd", "macd_signal", "macd_histogram",
            "mid", "sigma", "upper", "lower", "percent_b", "width", "plus_di", "minus_di", "adx",
            "stochastic_k", "stochastic_d", "vwap", "anchored_vwap", "delta", "cumulative_delta", "volatility",
        )
    ]
)  # fmt: skip

#: What a series remembers beside its windows.
HELD = np.dtype(
    [("count", _I), ("open_time", _I), ("whole", _I), ("anchor", _I)]
    + [
        (name, _F)
        for name in (
            "high", "low", "close", "range", "gain", "loss", "ema", "quick", "calm", "signal",
            "ups", "downs", "ranges", "adx", "worth", "volume", "anchored_worth", "anchored_volume", "delta",
        )
    ]
)  # fmt: skip

LENGTHS = (
    "atr", "rsi", "sma", "ema", "macd_fast", "macd_slow", "macd_signal", "bollinger", "adx",
    "stochastic", "smooth_k", "smooth_d", "volatility",
)  # fmt: skip

PARAMETERS = np.dtype(
    [("timeframe_ms", _I), ("session_ms", _I), ("offset_ms", _I), ("width", _F)] + [(name, _I) for name in LENGTHS]
)

#: Rows of a series' windows.
WINDOWS = 6
_CLOSE, _HIGH, _LOW, _RAW_K, _SLOW_K, _CHANGE = range(WINDOWS)

FloatArray = npt.NDArray[np.float64]


@kernel(bare=True)
def _trend(held: np.void, out: np.void, high: float, low: float, close: float, p: np.void) -> None:
    """Averages and ranges: whatever needs no window. `held` still has the bar before."""
    t = held["count"]
    held["ema"] = steps.smooth_ema(held["ema"], close, p["ema"], t + 1)
    if t >= p["ema"] - 1:
        out["ema"] = held["ema"]
    slow, fast, signal = p["macd_slow"], p["macd_fast"], p["macd_signal"]
    held["calm"] = steps.smooth_ema(held["calm"], close, slow, t + 1)
    if t >= slow - fast:
        held["quick"] = steps.smooth_ema(held["quick"], close, fast, t - (slow - fast) + 1)
    if t >= slow - 1:
        line = held["quick"] - held["calm"]
        out["macd"] = line
        held["signal"] = steps.smooth_ema(held["signal"], line, signal, t - slow + 2)
        if t >= slow + signal - 2:
            out["macd_signal"] = held["signal"]
            out["macd_histogram"] = line - held["signal"]
    if t == 0:
        return
    reach = steps.true_range(high, low, held["close"])
    out["true_range"] = reach
    held["range"] = steps.smooth(held["range"], reach, p["atr"], t)
    if t >= p["atr"]:
        out["atr"] = held["range"]
        out["natr"] = 100.0 * held["range"] / close
    change = close - held["close"]
    held["gain"] = steps.smooth(held["gain"], change if change > 0.0 else 0.0, p["rsi"], t)
    held["loss"] = steps.smooth(held["loss"], -change if change < 0.0 else 0.0, p["rsi"], t)
    if t >= p["rsi"]:
        out["rsi"] = steps.strength(held["gain"], held["loss"])
        out["rsi_valid"] = 1 if held["gain"] + held["loss"] != 0.0 else 0
    _direction(held, out, high, low, reach, p["adx"])


@kernel(bare=True)
def _direction(held: np.void, out: np.void, high: float, low: float, reach: float, n: int) -> None:
    t = held["count"]
    up, down = steps.directional(high, low, held["high"], held["low"])
    held["ups"] = steps.smooth_sum(held["ups"], up, n, t)
    held["downs"] = steps.smooth_sum(held["downs"], down, n, t)
    held["ranges"] = steps.smooth_sum(held["ranges"], reach, n, t)
    if t < n:
        return
    plus, minus = steps.indexes(held["ups"], held["downs"], held["ranges"])
    out["plus_di"] = plus
    out["minus_di"] = minus
    held["adx"] = steps.smooth_dx(held["adx"], plus, minus, n, t - n + 1)
    if t >= 2 * n - 1:
        out["adx"] = held["adx"]


@kernel(bare=True)
def _windows(windows: FloatArray, t: int, out: np.void, high: float, low: float, close: float, p: np.void) -> None:
    """What is computed over the last n bars; `t` is the bar's number in the series."""
    mask = windows.shape[1] - 1
    closes = windows[_CLOSE]
    if t >= p["sma"] - 1:
        out["sma"] = steps.mean(closes, t, p["sma"], mask)
    if t >= p["bollinger"] - 1:
        mid = steps.mean(closes, t, p["bollinger"], mask)
        sigma = steps.deviation(closes, t, p["bollinger"], mask, mid)
        out["mid"] = mid
        out["sigma"] = sigma
        out["upper"] = mid + p["width"] * sigma
        out["lower"] = mid - p["width"] * sigma
        out["percent_b"] = steps.percent_b(close, out["lower"], out["upper"])
        out["width"] = (out["upper"] - out["lower"]) / mid
    if t >= p["volatility"]:
        out["volatility"] = steps.root_mean_square(windows[_CHANGE], t, p["volatility"], mask)
    n, k, d = p["stochastic"], p["smooth_k"], p["smooth_d"]
    if t < n - 1:
        return
    bottom, top = steps.lowest(windows[_LOW], t, n, mask), steps.highest(windows[_HIGH], t, n, mask)
    windows[_RAW_K, t & mask] = steps.position(close, bottom, top)
    if t >= n + k - 2:
        slow = steps.mean(windows[_RAW_K], t, k, mask)
        windows[_SLOW_K, t & mask] = slow
        out["stochastic_k"] = slow
    if t >= n + k + d - 3:
        out["stochastic_d"] = steps.mean(windows[_SLOW_K], t, d, mask)


@kernel(bare=True)
def _volume(held: np.void, out: np.void, bar: np.void, p: np.void) -> None:
    opened, volume = bar["open_time"], float(bar["volume"])
    previous = held["open_time"] if held["count"] > 0 else -1
    if steps.begins(opened, previous, p["session_ms"], p["offset_ms"]):
        held["whole"] = 1 if held["count"] > 0 or (opened - p["offset_ms"]) % p["session_ms"] == 0 else 0
        held["worth"] = 0.0
        held["volume"] = 0.0
        held["delta"] = 0.0
    worth = (bar["high"] + bar["low"] + bar["close"]) / 3.0 * volume
    delta = 2.0 * bar["taker_buy"] - volume
    held["worth"] += worth
    held["volume"] += volume
    held["delta"] += delta
    out["delta"] = delta
    if held["whole"] == 1:
        out["cumulative_delta"] = held["delta"]
        if held["volume"] > 0.0:
            out["vwap"] = held["worth"] / held["volume"]
    if opened >= held["anchor"]:
        held["anchored_worth"] += worth
        held["anchored_volume"] += volume
        if held["anchored_volume"] > 0.0:
            out["anchored_vwap"] = held["anchored_worth"] / held["anchored_volume"]


@kernel(bare=True)
def _advance(held: np.void, windows: FloatArray, out: np.void, bar: np.void, p: np.void) -> None:
    """Advance one series by one bar and write what is known after it."""
    high, low, close = bar["high"], bar["low"], bar["close"]
    t = held["count"]
    slot = t & (windows.shape[1] - 1)
    windows[_CLOSE, slot] = close
    windows[_HIGH, slot] = high
    windows[_LOW, slot] = low
    windows[_CHANGE, slot] = steps.log_change(close, held["close"]) if t > 0 else 0.0
    _trend(held, out, high, low, close, p)
    _windows(windows, t, out, high, low, close, p)
    _volume(held, out, bar, p)
    held["count"] = t + 1
    held["open_time"] = bar["open_time"]
    held["high"] = high
    held["low"] = low
    held["close"] = close
    out["bars"] = t + 1


@kernel(bare=True)
def commit(
    held: Records, windows: FloatArray, out: Records, blank: Records, bars: Records, parameters: Records
) -> None:
    for i in range(len(bars)):
        out[i] = blank[0]
        _advance(held[i], windows[i], out[i], bars[i], parameters[0])


@kernel(bare=True)
def peek(
    held: Records, windows: FloatArray, out: Records, blank: Records, bars: Records, parameters: Records,
    spare: Records, column: FloatArray,
) -> None:  # fmt: skip
    """As `commit`, but what it writes is put back."""
    for i in range(len(bars)):
        slot = held[i]["count"] & (windows.shape[2] - 1)
        spare[0] = held[i]
        for k in range(windows.shape[1]):
            column[k] = windows[i, k, slot]
        out[i] = blank[0]
        _advance(spare[0], windows[i], out[i], bars[i], parameters[0])
        for k in range(windows.shape[1]):
            windows[i, k, slot] = column[k]


@kernel(bare=True)
def run(held: Records, windows: FloatArray, out: Records, blank: Records, bars: Records, parameters: Records) -> None:
    for t in range(len(bars)):
        out[t] = blank[0]
        _advance(held[0], windows[0], out[t], bars[t], parameters[0])


@kernel(bare=True)
def first_fault(held: Records, bars: Records, timeframe_ms: int) -> tuple[int, int]:
    """(series, fault) of the first bar that must not be taken, else (-1, OK)."""
    for i in range(len(bars)):
        after = held[i]["open_time"] + timeframe_ms if held[i]["count"] > 0 else -1
        code = fault(bars[i], timeframe_ms, after)
        if code != OK:
            return i, code
    return -1, OK
