"""How long the indicators and patterns of the library take: the figures of `aegis bench signals`.

Each function makes its own bars from a fixed seed, compiles what it needs before it looks at the clock, and returns one
figure. Nothing of an engine runs.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import attrs
import numpy as np

from aegis.kernels import indicators, smc
from aegis.kernels.layout import BAR
from aegis.kernels.state import Records
from aegis.runtime.clock import SystemClock

__all__ = ["CycleTimes", "batch_s", "cycle_times", "detect_s", "walk"]

_MINUTE_MS = 60_000
_START_MS = 2_800 * 604_800_000


def walk(n: int, seed: int = 1) -> Records:
    """Bars of one minute: a random walk with wicks, in ticks of 0.01 around 100."""
    draw = np.random.Generator(np.random.Philox(seed))
    close = np.round(100.0 * np.exp(np.cumsum(draw.normal(0.0, 0.0005, n))), 2)
    bars = np.zeros(n, BAR)
    bars["open_time"] = _START_MS + _MINUTE_MS * np.arange(n)
    bars["open"] = np.concatenate([close[:1], close[:-1]])
    bars["close"] = close
    bars["high"] = np.round(np.maximum(bars["open"], close) * (1.0 + draw.exponential(0.0003, n)), 2)
    bars["low"] = np.round(np.minimum(bars["open"], close) * (1.0 - draw.exponential(0.0003, n)), 2)
    bars["volume"] = draw.integers(0, 1_000, n)
    bars["taker_buy"] = bars["volume"] // 2
    bars["trades"] = 1
    return bars


def _seconds(work: Callable[[], object]) -> float:
    clock = SystemClock()
    begin_ns = clock.monotonic_ns()
    work()
    return (clock.monotonic_ns() - begin_ns) / 1e9


@attrs.frozen(kw_only=True)
class CycleTimes:
    """Medians over the closings of all series at once, everything on.

    Attributes:
        bar_ns: indicators and patterns of one closed bar of one series.
        close_ms: all series closing at once.
        peek_ms: all indicators of all series at forming bars.
    """

    bar_ns: float
    close_ms: float
    peek_ms: float


def cycle_times(series: int = 1_200, bars: int = 600) -> CycleTimes:
    """Of `series` series (300 symbols in 4 timeframes are 1,200); the second half of `bars` closings counts."""
    minutes = np.ascontiguousarray(walk(series * bars).reshape(series, bars).T)  # each series goes its own way
    minutes["open_time"] = (_START_MS + _MINUTE_MS * np.arange(bars))[:, None]
    study = indicators.Study(series, timeframe_ms=_MINUTE_MS)
    stream = smc.Stream(series, timeframe_ms=_MINUTE_MS)
    closes, peeks = [], []
    for column in minutes:
        peeks.append(_seconds(lambda column=column: study.peek(column)))  # type: ignore[misc]
        closes.append(_seconds(lambda column=column: (study.commit(column), stream.commit(column))))  # type: ignore[misc]
    close_s = statistics.median(closes[bars // 2 :])
    return CycleTimes(
        bar_ns=close_s / series * 1e9, close_ms=close_s * 1e3, peek_ms=statistics.median(peeks[bars // 2 :]) * 1e3
    )


def batch_s(n: int = 1_000_000) -> float:
    """ATR, RSI and Bollinger's bands over n bars, with the checks of what comes in."""
    bars = walk(n)
    high, low, close = (np.ascontiguousarray(bars[name]) for name in ("high", "low", "close"))

    def work(k: int = n) -> None:
        indicators.atr(high[:k], low[:k], close[:k], 14)
        indicators.rsi(close[:k], 14)
        indicators.bollinger(close[:k], 20)

    work(min(n, 100))
    return _seconds(work)


def detect_s(n: int = 5 * 525_960) -> float:
    """Every event of n bars; the default is five years of minutes."""
    bars = walk(n)
    smc.detect(bars[:100], _MINUTE_MS)
    return _seconds(lambda: smc.detect(bars, _MINUTE_MS))
