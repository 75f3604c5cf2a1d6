"""The arithmetic of one step of each indicator. Over an array and bar by bar the same steps run, so results are equal.

Windows are read from an array or from a ring of a power of two: value j is at `j & mask`, with mask -1 for an array.
They are summed in order of time and twice for a deviation: the result depends on the window alone, never on what was
before it (a running sum keeps the rounding of every value that ever left it).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from aegis.kernels.compile import inner

__all__ = [
    "begins",
    "deviation",
    "directional",
    "highest",
    "indexes",
    "log_change",
    "lowest",
    "mean",
    "percent_b",
    "position",
    "root_mean_square",
    "smooth",
    "smooth_dx",
    "smooth_ema",
    "smooth_sum",
    "strength",
    "true_range",
]

FloatArray = npt.NDArray[np.float64]


@inner()
def true_range(high: float, low: float, previous_close: float) -> float:
    """Wilder's true range of a bar that has a predecessor."""
    top = high if high > previous_close else previous_close
    bottom = low if low < previous_close else previous_close
    return top - bottom


@inner()
def smooth(held: float, value: float, n: int, t: int) -> float:
    """Wilder's average: `t` counts values from 1. Before t == n it holds their sum, then the average.

    Written with a product where his has a quotient: the next step waits for this one, and a division is slow.
    """
    if t < n:
        return held + value
    if t == n:
        return (held + value) / n
    return held + (value - held) * (1.0 / n)


@inner()
def smooth_sum(held: float, value: float, n: int, t: int) -> float:
    """Wilder's sum as TA-Lib seeds it for directional movement: of the first n - 1 values, then decayed by 1/n."""
    if t < n:
        return held + value
    return held - held / n + value


@inner()
def smooth_ema(held: float, value: float, n: int, t: int) -> float:
    """Exponential average seeded with the mean of the first n values; `t` counts from 1."""
    if t < n:
        return held + value
    if t == n:
        return (held + value) / n
    return held + (2.0 / (n + 1)) * (value - held)


@inner()
def strength(gain: float, loss: float) -> float:
    """RSI without a division by the loss; 50 where nothing moved."""
    total = gain + loss
    if total == 0.0:
        return 50.0
    return 100.0 * gain / total


@inner()
def directional(high: float, low: float, previous_high: float, previous_low: float) -> tuple[float, float]:
    """Wilder's directional movement (plus, minus): only the greater of the two counts."""
    up = high - previous_high
    down = previous_low - low
    if down > 0.0 and up < down:
        return 0.0, down
    if up > 0.0 and up > down:
        return up, 0.0
    return 0.0, 0.0


@inner()
def indexes(plus: float, minus: float, ranges: float) -> tuple[float, float]:
    """+DI and -DI from the sums of directional movement and of true range; 0 where nothing moved."""
    if ranges == 0.0:
        return 0.0, 0.0
    return 100.0 * plus / ranges, 100.0 * minus / ranges


@inner()
def smooth_dx(held: float, plus: float, minus: float, n: int, t: int) -> float:
    """Wilder's average of DX, `t` from 1. Without a direction it stays as it is (in the seed DX is then 0)."""
    total = plus + minus
    if total == 0.0:
        return held if t > n else smooth(held, 0.0, n, t)
    return smooth(held, 100.0 * abs(plus - minus) / total, n, t)


@inner()
def begins(open_time: int, previous: int, session: int, offset: int) -> bool:
    """Is a bar the first of its session? `previous` is the open time before it, -1 if there is none."""
    return previous < 0 or (open_time - offset) // session != (previous - offset) // session


@inner()
def position(value: float, low: float, high: float) -> float:
    """Where a value lies in a range, in percent; the middle of a range that is a point."""
    if high == low:
        return 50.0
    return 100.0 * (value - low) / (high - low)


@inner()
def percent_b(close: float, lower: float, upper: float) -> float:
    """Where a close lies between its bands, 0 to 1 and beyond; 0.5 where they are one."""
    if upper == lower:
        return 0.5
    return (close - lower) / (upper - lower)


@inner()
def log_change(close: float, previous_close: float) -> float:
    """Logarithmic return."""
    return math.log(close / previous_close)


@inner()
def mean(values: FloatArray, end: int, n: int, mask: int) -> float:
    """Of the n values that end with number `end`, summed as distances from the last: exact where all are equal."""
    last = float(values[end & mask])
    total = 0.0
    for j in range(end - n + 1, end):
        total += values[j & mask] - last
    return last + total / n


@inner()
def deviation(values: FloatArray, end: int, n: int, mask: int, middle: float) -> float:
    """Population standard deviation of the n values that end with number `end` from their mean `middle`."""
    squares = 0.0
    for j in range(end - n + 1, end + 1):
        distance = values[j & mask] - middle
        squares += distance * distance
    return math.sqrt(squares / n)


@inner()
def root_mean_square(values: FloatArray, end: int, n: int, mask: int) -> float:
    """Of the n values that end with number `end`."""
    squares = 0.0
    for j in range(end - n + 1, end + 1):
        squares += values[j & mask] * values[j & mask]
    return math.sqrt(squares / n)


@inner()
def highest(values: FloatArray, end: int, n: int, mask: int) -> float:
    """Of the n values that end with number `end`."""
    best = float(values[end & mask])
    for j in range(end - n + 1, end):
        best = max(best, float(values[j & mask]))
    return best


@inner()
def lowest(values: FloatArray, end: int, n: int, mask: int) -> float:
    """Of the n values that end with number `end`."""
    best = float(values[end & mask])
    for j in range(end - n + 1, end):
        best = min(best, float(values[j & mask]))
    return best
