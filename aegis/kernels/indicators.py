"""Indicators after TA-Lib's conventions: over whole arrays here, bar by bar in `Study`. No engine is needed.

    from aegis.kernels import indicators
    atr = indicators.atr(high, low, close, 14)                  # float64[n], NaN before the first value
    study = indicators.Study(300, timeframe_ms=60_000)          # 300 series, bar by bar
    study.commit(bars); study.peek(forming)["rsi"]              # a closed bar of each; a look at the forming ones

Every function takes one-dimensional arrays of one length n, oldest first, and returns float64 arrays of length n, NaN
before the first value, whose index is given with each function. Prices must be finite and positive, other values
finite; anything else is a ValueError that names the first bad index. No value depends on a later bar.

Wilder's averages never quite forget their start: after 36 periods what is left of it is below float64's resolution, so
that a series which began later has the same values bit for bit. Until then they are right, but not comparable.

Differences from TA-Lib, all on purpose: RSI and %K of a window in which nothing moves are 50 (TA-Lib says 0, which
reads as oversold); deviations are computed in two passes over the window, so they do not drift and are right at any
price; the MACD line begins at its own first bar, not at that of its signal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from aegis.kernels import batch
from aegis.kernels.batch import BoolArray, FloatArray
from aegis.kernels.study import READINGS, Study, StudyParams

__all__ = [
    "MACD",
    "READINGS",
    "Bollinger",
    "Directional",
    "Stochastic",
    "Study",
    "StudyParams",
    "anchored_vwap",
    "atr",
    "bollinger",
    "cumulative_delta",
    "directional",
    "ema",
    "macd",
    "natr",
    "realised_volatility",
    "rsi",
    "sma",
    "stochastic",
    "true_range",
    "volume_delta",
    "vwap",
]

_DAY_MS = 86_400_000


class Bollinger(NamedTuple):
    """Mean, population deviation, bands, place of the close (0 lower, 1 upper band), and (upper - lower) / mid."""

    mid: FloatArray
    sigma: FloatArray
    upper: FloatArray
    lower: FloatArray
    percent_b: FloatArray
    width: FloatArray


class MACD(NamedTuple):
    """Fast less slow average, its own average, and their difference; in the unit of the prices."""

    line: FloatArray
    signal: FloatArray
    histogram: FloatArray


class Directional(NamedTuple):
    """+DI, -DI and ADX, 0 to 100."""

    plus: FloatArray
    minus: FloatArray
    adx: FloatArray


class Stochastic(NamedTuple):
    """Slow %K and its average %D, 0 to 100."""

    k: FloatArray
    d: FloatArray


# -- input -------------------------------------------------------------------------------------------------------------
def _values(name: str, values: npt.ArrayLike) -> FloatArray:
    found = np.ascontiguousarray(values, dtype=np.float64)
    if found.ndim != 1:
        raise ValueError(f"{name} must have one dimension, not {found.ndim}")
    _refuse(name, found, ~np.isfinite(found), "is not finite")
    return found


def _prices(name: str, values: npt.ArrayLike) -> FloatArray:
    found = np.ascontiguousarray(values, dtype=np.float64)
    if found.ndim != 1 or not batch.are_prices(found):
        found = _values(name, found)
        _refuse(name, found, found <= 0.0, "is not a price")
    return found


def _refuse(name: str, values: npt.NDArray[Any], bad: npt.NDArray[np.bool_], why: str) -> None:
    if bad.any():
        at = int(np.argmax(bad))
        raise ValueError(f"{name}[{at}] = {values[at]} {why}")


def _period(name: str, n: int, least: int = 1) -> int:
    if n < least:
        raise ValueError(f"{name} must be at least {least}, not {n}")
    return int(n)


def _same_length(**arrays: npt.NDArray[Any]) -> None:
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"arrays must have one length, not {lengths}")


def _bars(high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    h, low_, c = (np.ascontiguousarray(values, dtype=np.float64) for values in (high, low, close))
    if not (h.shape == low_.shape == c.shape == (c.size,) and batch.are_bars(h, low_, c)):
        h, low_, c = _prices("high", high), _prices("low", low), _prices("close", close)
        _same_length(high=h, low=low_, close=c)
        _refuse("close", c, (c > h) | (c < low_), "is not between low and high")
    return h, low_, c


def _times(open_time: npt.ArrayLike, session_ms: int) -> npt.NDArray[np.int64]:
    found = np.ascontiguousarray(open_time, dtype=np.int64)
    _period("session_ms", session_ms)
    if len(found):
        backward = np.append(False, np.diff(found) <= 0)
        _refuse("open_time", found, backward | (found < 0), "is not later than the one before")
    return found


def _volumes(name: str, values: npt.ArrayLike) -> FloatArray:
    found = _values(name, values)
    _refuse(name, found, found < 0.0, "is not a volume")
    return found


# -- range and volatility ----------------------------------------------------------------------------------------------
def true_range(high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike) -> FloatArray:
    """max(H - L, |H - C'|, |L - C'|), C' the close before, in the prices' unit. First value at 1. TA-Lib TRANGE."""
    return batch.true_ranges(*_bars(high, low, close))


def atr(high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike, n: int = 14) -> FloatArray:
    """Average true range (Wilder, 1978), in the unit of the prices. First value at n: the mean of the first n ranges.

    TA-Lib ATR: the first bar has no true range, as it has no close before it.
    """
    h, low_, c = _bars(high, low, close)
    out = np.empty(len(c))
    out[: _period("n", n)] = np.nan
    batch.atr(h, low_, c, n, out)
    return out


def natr(high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike, n: int = 14) -> FloatArray:
    """Average true range in percent of the close. First value at n. TA-Lib NATR."""
    return np.asarray(100.0 * atr(high, low, close, n) / _prices("close", close))


def bollinger(close: npt.ArrayLike, n: int = 20, k: float = 2.0) -> Bollinger:
    """Bands `mid +/- k * sigma` over n closes (Bollinger), sigma of the population. First at n - 1. TA-Lib BBANDS.

    In a window without movement sigma and width are exactly 0 and %B is 0.5.
    """
    c, n = _prices("close", close), _period("n", n, 2)
    found = Bollinger(*(np.empty(len(c)) for _ in Bollinger._fields))
    for array in found:
        array[: n - 1] = np.nan
    batch.bollinger(c, n, float(k), *found)
    return found


def realised_volatility(close: npt.ArrayLike, n: int = 20) -> FloatArray:
    """Root mean square of the last n logarithmic returns, per bar (Andersen and Bollerslev, 1998). First value at n.

    Multiply by the root of the bars a year for a figure per year. Returns are not reduced by their mean.
    """
    return batch.realised_volatility(_prices("close", close), _period("n", n))


# -- averages ----------------------------------------------------------------------------------------------------------
def sma(values: npt.ArrayLike, n: int) -> FloatArray:
    """Mean of the last n values. First value at n - 1. TA-Lib SMA."""
    return batch.sma(_values("values", values), _period("n", n))


def ema(values: npt.ArrayLike, n: int) -> FloatArray:
    """Exponential average, weight 2 / (n + 1), seeded with the mean of the first n, at n - 1. TA-Lib EMA."""
    return batch.ema(_values("values", values), _period("n", n))


def macd(values: npt.ArrayLike, fast: int = 12, slow: int = 26, signal: int = 9) -> MACD:
    """Convergence and divergence of two exponential averages (Appel). TA-Lib MACD.

    Both averages begin at slow - 1, the fast one with the mean of the last `fast` values there (so TA-Lib does it).
    The line begins at slow - 1, signal and histogram at slow + signal - 2.
    """
    if _period("fast", fast) >= _period("slow", slow):
        raise ValueError(f"fast must be shorter than slow, not {fast} and {slow}")
    return MACD(*batch.macd(_values("values", values), fast, slow, _period("signal", signal)))


# -- momentum ----------------------------------------------------------------------------------------------------------
def rsi(close: npt.ArrayLike, n: int = 14) -> tuple[FloatArray, BoolArray]:
    """Relative strength (Wilder, 1978), 0 to 100, and whether anything moved: bool[n]. First value at n. TA-Lib RSI.

    Where nothing has ever moved it is 50 and not valid.
    """
    c = _prices("close", close)
    out, valid = np.empty(len(c)), np.zeros(len(c), np.bool_)
    out[: _period("n", n)] = np.nan
    batch.rsi(c, n, out, valid)
    return out, valid


def directional(high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike, n: int = 14) -> Directional:
    """Directional movement (Wilder, 1978). +DI and -DI begin at n, ADX at 2n - 1. TA-Lib PLUS_DI, MINUS_DI, ADX."""
    return Directional(*batch.directional(*_bars(high, low, close), _period("n", n, 2)))


def stochastic(
    high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike, n: int = 14, smooth_k: int = 3, smooth_d: int = 3
) -> Stochastic:
    """Place of the close in the range of n bars, averaged over `smooth_k`, that over `smooth_d` (Lane). TA-Lib STOCH.

    %K begins at n + smooth_k - 2, %D another smooth_d - 1 bars later.
    """
    h, low_, c = _bars(high, low, close)
    lengths = _period("n", n), _period("smooth_k", smooth_k), _period("smooth_d", smooth_d)
    return Stochastic(*batch.stochastic(h, low_, c, *lengths))


# -- volume ------------------------------------------------------------------------------------------------------------
def vwap(
    open_time: npt.ArrayLike, high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike, volume: npt.ArrayLike,
    session_ms: int = _DAY_MS, offset_ms: int = 0,
) -> FloatArray:  # fmt: skip
    """Mean of (H + L + C) / 3 weighted by volume, since the session began: at each (open_time - offset) // session_ms.

    `open_time` int64 milliseconds UTC, rising. NaN until a session has volume, and in a first session that has begun
    before the first bar.
    """
    h, low_, c = _bars(high, low, close)
    times, v = _times(open_time, session_ms), _volumes("volume", volume)
    _same_length(open_time=times, close=c, volume=v)
    return batch.vwap(times, h, low_, c, v, int(session_ms), int(offset_ms))


def anchored_vwap(
    high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike, volume: npt.ArrayLike, anchor: int
) -> FloatArray:
    """Mean of (H + L + C) / 3 weighted by volume, since bar `anchor` (an index). NaN until there is volume."""
    h, low_, c = _bars(high, low, close)
    v = _volumes("volume", volume)
    _same_length(close=c, volume=v)
    if not 0 <= anchor <= len(c):
        raise ValueError(f"anchor must be the index of a bar, 0 to {len(c)}, not {anchor}")
    return batch.anchored_vwap(h, low_, c, v, int(anchor))


def volume_delta(volume: npt.ArrayLike, taker_buy: npt.ArrayLike) -> FloatArray:
    """Volume of takers that bought less that of takers that sold, in the unit of the volume. First value at 0."""
    v, bought = _volumes("volume", volume), _volumes("taker_buy", taker_buy)
    _same_length(volume=v, taker_buy=bought)
    _refuse("taker_buy", bought, bought > v, "is more than the volume")
    return np.asarray(2.0 * bought - v)


def cumulative_delta(
    open_time: npt.ArrayLike,
    volume: npt.ArrayLike,
    taker_buy: npt.ArrayLike,
    session_ms: int = _DAY_MS,
    offset_ms: int = 0,
) -> FloatArray:
    """Sum of `volume_delta` since the session began; sessions, and NaN in an incomplete first one, as in `vwap`."""
    delta, times = volume_delta(volume, taker_buy), _times(open_time, session_ms)
    _same_length(open_time=times, volume=delta)
    return batch.cumulative(times, delta, int(session_ms), int(offset_ms))
