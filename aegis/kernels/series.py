"""The indicators that the engine keeps of every series: ATR, RSI, EMA, Bollinger's mean and deviation.

`commit` advances a series with a closed bar, `peek` shows the values of a forming bar and stores nothing. The steps are
those of `kernels/steps.py`, so the values equal `kernels/indicators.py` over an array bit for bit.
"""

from __future__ import annotations

import math

import numpy as np

from aegis.kernels.compile import inner
from aegis.kernels.state import Records
from aegis.kernels.steps import smooth, smooth_ema, strength, true_range

__all__ = ["commit", "peek"]


@inner()
def _moments(ring: Records, index: int, close: float, n: int) -> tuple[float, float]:
    """Mean and population deviation of the n closes ending with bar `index`, whose own close is given."""
    mask = len(ring) - 1
    total = 0.0
    for j in range(index - n + 1, index):
        total += ring[j & mask]["close"] - close
    mean = close + total / n
    squares = 0.0
    for j in range(index - n + 1, index):
        distance = ring[j & mask]["close"] - mean
        squares += distance * distance
    squares += (close - mean) * (close - mean)
    return mean, math.sqrt(squares / n)


@inner()
def _advance(held: np.void, high: float, low: float, close: float, p: np.void) -> tuple[float, float, float, float]:
    """The recurrences after one more bar: true range, gain, loss, EMA. Nothing is stored."""
    t = held["count"]
    average = smooth_ema(held["ema"], close, p["ema_period"], t + 1)
    if t == 0:
        return 0.0, 0.0, 0.0, average
    change = close - held["close"]
    n = p["rsi_period"]
    return (
        smooth(held["range"], true_range(high, low, held["close"]), p["atr_period"], t),
        smooth(held["gain"], change if change > 0.0 else 0.0, n, t),
        smooth(held["loss"], -change if change < 0.0 else 0.0, n, t),
        average,
    )


@inner()
def _show(
    out: np.void, t: int, held: tuple[float, float, float, float], ring: Records, index: int, close: float, p: np.void
) -> None:
    """Write the values at the series' bar number t (from 0) into a VALUES record."""
    if t >= p["atr_period"]:
        out["atr"] = held[0]
    if t >= p["rsi_period"]:
        out["rsi"] = strength(held[1], held[2])
        out["rsi_valid"] = 1 if held[1] + held[2] != 0.0 else 0
    if t >= p["ema_period"] - 1:
        out["ema"] = held[3]
    if t >= p["bollinger_period"] - 1:
        mean, sigma = _moments(ring, index, close, p["bollinger_period"])
        out["mid"] = mean
        out["sigma"] = sigma


@inner()
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


@inner()
def peek(
    held: np.void, out: np.void, ring: Records, index: int, high: float, low: float, close: float, p: np.void
) -> None:
    """Values as if the forming bar `index` closed now; writes `out` alone."""
    _show(out, held["count"], _advance(held, high, low, close, p), ring, index, close, p)
