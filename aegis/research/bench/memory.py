"""Memory of the real engine process under load: how much, whether it grows, and whether the collector ever stops it.

`aegis run` with its exchange in another process; resident memory is read from outside, once a second, and the slope is
a straight line through minutes 2 to 10.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import numpy as np
import trio

from aegis.research.bench.process import EngineProcess, Unmeasured, start_engine
from aegis.research.bench.table import Bench, Row, invalid

__all__ = ["measure", "slope_per_hour"]

_SYMBOLS, _RATE = 300, 100_000
_SETTLE_S, _WINDOW_S = 120.0, 480.0
_START_S, _STOP_S = 300.0, 120.0
_SAMPLE_S = 1.0
_LEAST_SHARE = 0.98
_MIB = 1 << 20
_NAMES = ("resident memory", "growth of resident memory", "full collections")


@attrs.frozen(kw_only=True)
class _Outcome:
    """Samples as (second, bytes) of the window; ticks a second in it; the run's summary."""

    samples: tuple[tuple[float, int], ...]
    rate: float
    summary: Any


def slope_per_hour(samples: tuple[tuple[float, int], ...]) -> tuple[float, float]:
    """Growth by least squares and its standard error, both in bytes an hour; at least three samples."""
    seconds, sizes = np.array(samples, np.float64).T
    (slope, _), covariance = np.polyfit(seconds - seconds.mean(), sizes, 1, cov="unscaled")
    fitted = sizes.mean() + slope * (seconds - seconds.mean())
    variance = float(((sizes - fitted) ** 2).sum()) / max(1, len(sizes) - 2)
    return float(slope) * 3600, float(np.sqrt(covariance[0, 0] * variance)) * 3600


def measure(bench: Bench) -> Iterator[Row]:
    """Three rows of one run."""
    settle_s, window_s = bench.effort.seconds(_SETTLE_S), bench.effort.seconds(_WINDOW_S)
    bench.say(f"memory: {settle_s + window_s:.0f} s of {_SYMBOLS} symbols at {_RATE:,} ticks/s")
    with TemporaryDirectory(prefix="aegis-bench-", ignore_cleanup_errors=True) as home:
        try:
            yield from _rows(trio.run(_run, Path(home), settle_s, window_s), settle_s, window_s)
        except* Unmeasured as errors:
            for name in _NAMES:
                yield invalid("memory", name, str(errors.exceptions[0]))


def _rows(outcome: _Outcome, settle_s: float, window_s: float) -> Iterator[Row]:
    sizes = [size / _MIB for _, size in outcome.samples]
    slope, error = (value / _MIB for value in slope_per_hour(outcome.samples))
    reached = outcome.rate / _RATE
    doubt = "" if reached >= _LEAST_SHARE else f"only {outcome.rate:,.0f} of {_RATE:,} ticks/s came"
    note = "" if window_s >= _WINDOW_S else f"window of {window_s:.0f} s after {settle_s:.0f} s, not minutes 2 to 10"
    yield Row(
        group="memory", name=_NAMES[0], target=350.0, figure=max(sizes), samples=(sizes[0], sizes[-1]), unit="MiB",
        better="less", note=note, invalid=doubt, detail={"ticks/s": round(outcome.rate)},
    )  # fmt: skip
    yield Row(
        group="memory", name=_NAMES[1], target=1.0, figure=slope, unit="MiB/h", better="less", note=note, invalid=doubt,
        detail={"standard error MiB/h": error, "first MiB": sizes[0], "last MiB": sizes[-1]},
    )  # fmt: skip
    garbage = outcome.summary["garbage"]
    yield Row(
        group="memory", name=_NAMES[2], target=0.0, figure=float(garbage["full_collections"]), unit="", better="less",
        note=note, invalid=doubt, detail={"pauses": garbage["pauses"]},
    )  # fmt: skip


async def _run(home: Path, settle_s: float, window_s: float) -> _Outcome:
    arguments = ("--symbols", str(_SYMBOLS), "--rate", str(_RATE))
    async with start_engine(home, arguments) as engine:
        await engine.said("first tick", _START_S)
        await trio.sleep(settle_s)
        begin_s, before = trio.current_time(), engine.status()
        samples = await _sample(engine, begin_s, window_s)
        after = engine.status()
        summary = await engine.summary(_STOP_S)
    seconds = after["uptime_s"] - before["uptime_s"]
    rate = (after["ticks"] - before["ticks"]) / seconds if seconds > 0 else 0.0
    return _Outcome(samples=samples, rate=rate, summary=summary)


async def _sample(engine: EngineProcess, begin_s: float, window_s: float) -> tuple[tuple[float, int], ...]:
    """One reading a second, and at least four of a window that is shorter."""
    pause_s = min(_SAMPLE_S, window_s / 4)
    samples = []
    for number in range(round(window_s / pause_s) + 1):
        await trio.sleep_until(begin_s + number * pause_s)
        samples.append((trio.current_time() - begin_s, engine.rss_bytes()))
    return tuple(samples)
