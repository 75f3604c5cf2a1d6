"""ATR, RSI, EMA and Bollinger bands after TA-Lib's conventions: over an array, or bar by bar.

Over an array: `atr`, `rsi`, `ema`, `bollinger` return an array as long as their input, NaN before the first output.
Bar by bar: `commit` advances a series with a closed bar, `peek` shows the values of a forming bar and stores nothing.
Both ways run the same steps, so their results are equal bit for bit.

Prices are float64, periods count bars. Inputs must be finite and positive: bad bars are refused before they get here.
Differences from TA-Lib, both on purpose: RSI of a flat window is 50 with `valid` False (TA-Lib says 0, which reads as
oversold), and Bollinger's deviation is computed in two passes over the window, so it does not drift and depends on
nothing but the window.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from aegis.kernels.compile import kernel
from aegis.kernels.state import Records

__all__ = ["atr", "bollinger", "commit", "ema", "peek", "rsi", "true_range"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@kernel(bare=True)
def true_range(high: float, low: float, previous_close: float) -> float:
    """Wilder's true range of a bar that has a predecessor."""
    top = high if high > previous_close else previous_close
    bottom = low if low < previous_close else previous_close
    return top - bottom


@kernel(bare=True)
def _smooth(held: float, value: float, n: int, t: int) -> float:
    """Wilder's average: `t` counts values from 1. Before t == n it holds their sum, then the average."""
    if t < n:
        return held + value
    if t == n:
        return (held + value) / n
    return (held * (n - 1) + value) / n


@kernel(bare=True)
def _smooth_ema(held: float, value: float, n: int, t: int) -> float:
    """Exponential average seeded with the mean of the first n values; `t` counts from 1."""
    if t < n:
        return held + value
    if t == n:
        return (held + value) / n
    return held + (2.0 / (n + 1)) * (value - held)


@kernel(bare=True)
def _strength(gain: float, loss: float) -> float:
    """RSI without a division by the loss; 50 where nothing moved."""
    total = gain + loss
    if total == 0.0:
        return 50.0
    return 100.0 * gain / total


def _example_hlc() -> tuple[object, ...]:
    return np.full(20, 2.0), np.full(20, 1.0), np.full(20, 1.5), 3


def _example_close() -> tuple[object, ...]:
    return np.full(20, 1.5), 3


@kernel(example=_example_hlc)
def atr(high: FloatArray, low: FloatArray, close: FloatArray, n: int) -> FloatArray:
    """Average true range (Wilder). The first output is at index n: the first bar has no true range."""
    out = np.full(len(close), np.nan)
    held = 0.0
    for t in range(1, len(close)):
        held = _smooth(held, true_range(high[t], low[t], close[t - 1]), n, t)
        if t >= n:
            out[t] = held
    return out


@kernel(example=_example_close)
def rsi(close: FloatArray, n: int) -> tuple[FloatArray, BoolArray]:
    """Relative strength index (Wilder) and whether it means something. First output at index n."""
    out = np.full(len(close), np.nan)
    valid = np.zeros(len(close), np.bool_)
    gain = 0.0
    loss = 0.0
    for t in range(1, len(close)):
        change = close[t] - close[t - 1]
        gain = _smooth(gain, change if change > 0.0 else 0.0, n, t)
        loss = _smooth(loss, -change if change < 0.0 else 0.0, n, t)
        if t >= n:
            out[t] = _strength(gain, loss)
            valid[t] = gain + loss != 0.0
    return out, valid


@kernel(example=_example_close)
def ema(values: FloatArray, n: int) -> FloatArray:
    """Exponential moving average seeded with the mean of the first n values. First output at index n - 1."""
    out = np.full(len(values), np.nan)
    held = 0.0
    for t in range(len(values)):
        held = _smooth_ema(held, values[t], n, t + 1)
        if t >= n - 1:
            out[t] = held
    return out


@kernel(example=_example_close)
def bollinger(values: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
    """Middle band and population standard deviation (bands are mid +/- k * sigma). First output at index n - 1."""
    mid = np.full(len(values), np.nan)
    sigma = np.full(len(values), np.nan)
    for t in range(n - 1, len(values)):
        total = 0.0
        for j in range(t - n + 1, t + 1):
            total += values[j]
        mean = total / n
        squares = 0.0
        for j in range(t - n + 1, t + 1):
            squares += (values[j] - mean) * (values[j] - mean)
        mid[t] = mean
        sigma[t] = math.sqrt(squares / n)
    return mid, sigma


@kernel(bare=True)
def _moments(ring: Records, index: int, close: float, n: int) -> tuple[float, float]:
    """Mean and population deviation of the n closes ending with bar `index`, whose own close is given."""
    mask = len(ring) - 1
    total = 0.0
    for j in range(index - n + 1, index):
        total += ring[j & mask]["close"]
    mean = (total + close) / n
    squares = 0.0
    for j in range(index - n + 1, index):
        distance = ring[j & mask]["close"] - mean
        squares += distance * distance
    squares += (close - mean) * (close - mean)
    return mean, math.sqrt(squares / n)


@kernel(bare=True)
def _advance(held: np.void, high: float, low: float, close: float, p: np.void) -> tuple[float, float, float, float]:
    """The recurrences after one more bar: true range, gain, loss, EMA. Nothing is stored."""
    t = held["count"]
    average = _smooth_ema(held["ema"], close, p["ema_period"], t + 1)
    if t == 0:
        return 0.0, 0.0, 0.0, average
    change = close - held["close"]
    n = p["rsi_period"]
    return (
        _smooth(held["range"], true_range(high, low, held["close"]), p["atr_period"], t),
        _smooth(held["gain"], change if change > 0.0 else 0.0, n, t),
        _smooth(held["loss"], -change if change < 0.0 else 0.0, n, t),
        average,
    )


@kernel(bare=True)
def _show(
    out: np.void, t: int, held: tuple[float, float, float, float], ring: Records, index: int, close: float, p: np.void
) -> None:
    """Write the values at the series' bar number t (from 0) into a VALUES record."""
    if t >= p["atr_period"]:
        out["atr"] = held[0]
    if t >= p["rsi_period"]:
        out["rsi"] = _strength(held[1], held[2])
        out["rsi_valid"] = 1 if held[1] + held[2] != 0.0 else 0
    if t >= p["ema_period"] - 1:
        out["ema"] = held[3]
    if t >= p["bollinger_period"] - 1:
        mean, sigma = _moments(ring, index, close, p["bollinger_period"])
        out["mid"] = mean
        out["sigma"] = sigma


@kernel(bare=True)
def commit(held: np.void, values: np.void, ring: Records, index: int, p: np.void) -> None:
    """Advance a series with the closed bar `index`, which is already in its ring (one record of each state array)."""
    bar = ring[index & (len(ring) - 1)]
    close = bar["close"]
    t = held["count"]
    after = _advance(held, bar["high"], bar["low"], close, p)
    held["range"], held["gain"], held["loss"], held["ema"] = after
    held["close"] = close
    held["count"] = t + 1
    _show(values, t, after, ring, index, close, p)


@kernel(bare=True)
def peek(
    held: np.void, out: np.void, ring: Records, index: int, high: float, low: float, close: float, p: np.void
) -> None:
    """Values as if the forming bar `index` closed now; writes `out` alone."""
    _show(out, held["count"], _advance(held, high, low, close, p), ring, index, close, p)
