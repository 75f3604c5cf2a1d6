"""Indicators and patterns of the library: one closed bar, 300 symbols in four timeframes at once, whole years."""

from __future__ import annotations

from collections.abc import Iterator

from aegis.research.bench.table import Bench, Row, median_row
from aegis.research.signal_timings import CycleTimes, batch_s, cycle_times, detect_s

__all__ = ["measure"]

_GROUP = "signals"
_MOST_BARS = 2_628_000


def measure(bench: Bench) -> Iterator[Row]:
    """Targets: 150 ns a bar, 1 ms a closing of all, 0.5 ms a peek cycle, five years of minutes below a second."""
    rounds: list[CycleTimes] = []

    def one() -> float:
        rounds.append(cycle_times())
        return rounds[-1].bar_ns

    name = "one closed bar, indicators and patterns, everything on"
    yield median_row(_GROUP, name, bench.repeat(name, one), target=150.0, unit="ns", better="less")
    name = "300 symbols in 4 timeframes, all closing at once"
    closings = [cycle.close_ms for cycle in rounds]
    yield median_row(_GROUP, name, closings, target=1.0, unit="ms", better="less")
    name = "a peek cycle of 300 symbols in 4 timeframes"
    peeks = [cycle.peek_ms for cycle in rounds]
    yield median_row(_GROUP, name, peeks, target=0.5, unit="ms", better="less")
    bars = bench.effort.amount(_MOST_BARS)
    name = f"all events of {bars:,} bars of one symbol"
    target = 1.0 if bars == _MOST_BARS else None
    yield median_row(
        _GROUP, name, bench.repeat(name, lambda: detect_s(bars)), target=target, unit="s", better="less",
        note="five years of one minute" if target else "",
    )  # fmt: skip
    name = "ATR, RSI and Bollinger over 1,000,000 bars"
    yield median_row(
        _GROUP, name, bench.repeat(name, batch_s), unit="s", better="less", note="target: 3 times TA-Lib's, in peers"
    )
