"""Steps of indicators for many series side by side: what `kernels/steps.py` does with one number, here with a row each.

The sums of a window run over it in the same order as there, but for all series at once, which a processor does several
at a time: results are equal bit for bit. A window is a ring of rows, of a power of two; the rows of a block of series
are the columns from `at` on, as many as `out` has.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from aegis.kernels import steps
from aegis.kernels.compile import inner

__all__ = ["copy", "deviation", "extremes", "mean", "root_mean_square", "smooth", "smooth_ema", "smooth_sum"]

FloatArray = npt.NDArray[np.float64]


@inner()
def copy(out: npt.NDArray[Any], values: npt.NDArray[Any]) -> None:
    for i in range(len(out)):
        out[i] = values[i]


@inner()
def smooth(held: FloatArray, values: FloatArray, n: int, t: int) -> None:
    for i in range(len(held)):
        held[i] = steps.smooth(held[i], values[i], n, t)


@inner()
def smooth_sum(held: FloatArray, values: FloatArray, n: int, t: int) -> None:
    for i in range(len(held)):
        held[i] = steps.smooth_sum(held[i], values[i], n, t)


@inner()
def smooth_ema(held: FloatArray, values: FloatArray, n: int, t: int) -> None:
    for i in range(len(held)):
        held[i] = steps.smooth_ema(held[i], values[i], n, t)


@inner()
def mean(window: FloatArray, at: int, t: int, n: int, out: FloatArray) -> None:
    """`steps.mean` of the n rows that end with row t, of the columns from `at` on."""
    mask, count = window.shape[0] - 1, len(out)
    last = window[t & mask, at : at + count]
    for i in range(count):
        out[i] = 0.0
    for j in range(t - n + 1, t):
        row = window[j & mask, at : at + count]
        for i in range(count):
            out[i] += row[i] - last[i]
    for i in range(count):
        out[i] = last[i] + out[i] / n


@inner()
def deviation(window: FloatArray, at: int, t: int, n: int, middle: FloatArray, out: FloatArray) -> None:
    mask, count = window.shape[0] - 1, len(out)
    for i in range(count):
        out[i] = 0.0
    for j in range(t - n + 1, t + 1):
        row = window[j & mask, at : at + count]
        for i in range(count):
            out[i] += (row[i] - middle[i]) * (row[i] - middle[i])
    for i in range(count):
        out[i] = math.sqrt(out[i] / n)


@inner()
def root_mean_square(window: FloatArray, at: int, t: int, n: int, out: FloatArray) -> None:
    mask, count = window.shape[0] - 1, len(out)
    for i in range(count):
        out[i] = 0.0
    for j in range(t - n + 1, t + 1):
        row = window[j & mask, at : at + count]
        for i in range(count):
            out[i] += row[i] * row[i]
    for i in range(count):
        out[i] = math.sqrt(out[i] / n)


@inner()
def extremes(highs: FloatArray, lows: FloatArray, at: int, t: int, n: int, top: FloatArray, low: FloatArray) -> None:
    mask, count = highs.shape[0] - 1, len(top)
    for i in range(count):
        top[i] = highs[t & mask, at + i]
        low[i] = lows[t & mask, at + i]
    for j in range(t - n + 1, t):
        row = highs[j & mask, at : at + count]
        for i in range(count):
            top[i] = row[i] if row[i] > top[i] else top[i]
        row = lows[j & mask, at : at + count]
        for i in range(count):
            low[i] = row[i] if row[i] < low[i] else low[i]
