"""Bytes off a socket into the table: how many ticks a second, and what one costs the process that receives them.

The other end is a process that encodes fresh frames, whose ids rise for ever. This end is the engine's own: market
sockets, machine and lanes on Trio, conflation and analysis with their thread. All of it counts as cost.
"""

from __future__ import annotations

import resource
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import numpy as np
import trio

from aegis import config as configs
from aegis.config import BarsConfig
from aegis.engine.inputs import InputKind, NoTap
from aegis.research.bench.certificate import make_certificate
from aegis.research.bench.encoder import encoder_rows
from aegis.research.bench.firehose import Source, Tally, mixed_shard, open_source, quotes_shard
from aegis.research.bench.stage import Stage, open_stage
from aegis.research.bench.table import Bench, Row, median_row
from aegis.runtime.clock import SystemClock

__all__ = ["measure"]

_SYMBOLS = 300
_SECONDS = 5.0
_LEAST_APPLIED = 0.999
_BUSY = 0.9
_WAITED = "this side was waiting for the feeding process or for the machine: see the ticks a CPU second"
_BURST_TARGET = 1_500_000
_BURST_RATE, _BURST_FACTOR = 1_600_000, 10  # a little above the target, which it can only come near
_BURST_AFTER_S, _BURST_S = 5.0, 5.0
#: Frames a record (0: records of 16 KiB) -> the promised ticks a second.
_RECORDS = {0: 1_500_000, 10: 600_000, 1: 150_000}
_NS_PER_MS = 1_000_000


@attrs.frozen(kw_only=True)
class _Window:
    """One stretch of receiving."""

    seconds: float
    cpu_s: float
    tally: Tally

    @property
    def rate(self) -> float:
        """Applied ticks a second."""
        return self.tally.applied / self.seconds

    @property
    def cost_us(self) -> float:
        """Processor time of this process, all threads, for each applied tick."""
        return self.cpu_s * 1e6 / max(1, self.tally.applied)

    @property
    def busy(self) -> float:
        """Processor time per second: below 1, this side waited for the other, or for the processor."""
        return self.cpu_s / self.seconds

    @property
    def core_rate(self) -> float:
        """Applied ticks for each second of processor time: what a core would do that never has to wait."""
        return self.tally.applied / max(1e-9, self.cpu_s)


def measure(bench: Bench) -> Iterator[Row]:
    """bookTicker, live mix, three kinds of TLS, and the encoder that feeds them."""
    windows = trio.run(_plain, bench)
    yield _row("wire, bookTicker", windows, 3_000_000)
    yield _cost("wire, bookTicker, CPU of a tick", windows, 1 / 3)
    windows, lags = trio.run(_mix, bench)
    burst = f"{_BURST_S:g} s of {_BURST_RATE:,} ticks/s after {_BURST_RATE // _BURST_FACTOR:,}"
    yield _row("wire, live mix in a 10x burst", windows, _BURST_TARGET, burst)
    yield _cost("wire, live mix, CPU of a tick", windows, None)
    yield median_row(
        "wire", "event lag p99 in the burst", lags, unit="ms", better="less",
        note="of the oldest frame of each read, from its event time to the read",
    )  # fmt: skip
    with TemporaryDirectory(prefix="aegis-bench-") as scratch:
        pem = Path(scratch) / "bench.pem"
        make_certificate(pem, SystemClock().wall_ns())
        for frames, target in _RECORDS.items():
            windows = trio.run(_tls, bench, pem, frames)
            size = f"{frames} frame{'s' * (frames > 1)}" if frames else "16 KiB"
            yield _row(f"wire, TLS, records of {size}", windows, target)
            yield _cost(f"wire, TLS, records of {size}, CPU of a tick", windows, None)
    yield from encoder_rows(bench)


def _row(name: str, windows: Sequence[_Window], target: float, how: str = "") -> Row:
    worst = min(window.tally.share for window in windows)
    busy = float(np.median([window.busy for window in windows]))
    return median_row(
        "wire", name, [window.rate for window in windows], target=target, unit="ticks/s",
        invalid="" if worst >= _LEAST_APPLIED else f"only {worst:.3%} of the ticks were applied",
        note="; ".join(filter(None, (how, "" if busy >= _BUSY else _WAITED))),
        detail={
            "applied": f"{worst:.3%}",
            "processor use": f"{busy:.0%}",
            "ticks a CPU second": float(np.median([window.core_rate for window in windows])),
        },
    )  # fmt: skip


def _cost(name: str, windows: Sequence[_Window], target: float | None) -> Row:
    return median_row(
        "wire", name, [window.cost_us for window in windows], target=target, unit="us/tick", better="less"
    )


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _window(stage: Stage, source: Source, seconds: float) -> _Window:
    begin_s, cpu_s, before = trio.current_time(), _cpu_s(), Tally.of(stage.machine)
    await trio.sleep(seconds)
    source.check()
    return _Window(
        seconds=trio.current_time() - begin_s, cpu_s=_cpu_s() - cpu_s, tally=Tally.of(stage.machine).since(before)
    )


_CONFIG = attrs.evolve(configs.load("sim"), bars=BarsConfig())


async def _receive(bench: Bench, source: Source, what: str, tls: ssl.SSLContext | None = None) -> list[_Window]:
    """Windows on bookTicker of every symbol over one socket."""
    found = []
    shards = [quotes_shard(source)]
    async with open_stage(_CONFIG, source.listings, shards, SystemClock(), ssl_context=tls) as stage:
        await source.flowing(stage.machine)
        for number in range(1, bench.effort.repeats + 1):
            found.append(await _window(stage, source, bench.effort.seconds(_SECONDS)))
            last = found[-1]
            bench.say(f"{what} {number}: {last.rate:,.0f} ticks/s, {last.cost_us:.3f} us a tick, {last.busy:.0%} busy")
    return found


async def _plain(bench: Bench) -> list[_Window]:
    async with open_source(symbols=_SYMBOLS) as source:
        return await _receive(bench, source, "bookTicker")


async def _tls(bench: Bench, pem: Path, frames: int) -> list[_Window]:
    context = ssl.create_default_context(cafile=pem)
    async with open_source("--tls", str(pem), "--record-frames", str(frames), symbols=_SYMBOLS) as source:
        return await _receive(bench, source, f"TLS, {frames or 'many'} frames a record", context)


# -- the burst ---------------------------------------------------------------------------------------------------------
class _Lags(NoTap):
    """A tap that notes how old the first whole frame of each read is."""

    def __init__(self) -> None:
        self.lags_ms: list[float] = []

    def record(self, kind: InputKind, now_ns: int, channel: int, payload: bytes | memoryview) -> None:
        if kind is InputKind.READ:
            head = bytes(payload[:1024])
            at = head.find(b'"E":') + 4
            end = head.find(b",", at)
            if at >= 4 and end > at:
                self.lags_ms.append(now_ns / _NS_PER_MS - int(head[at:end]))


async def _mix(bench: Bench) -> tuple[list[_Window], list[float]]:
    """A burst a repeat, each on a socket of its own: (windows within the bursts, lag p99 of each, ms)."""
    after_s, lasting_s = bench.effort.seconds(_BURST_AFTER_S, 1.0), bench.effort.seconds(_BURST_S, 1.0)
    told = ("--burst", str(_BURST_FACTOR), "--burst-after", str(after_s + 1.0), "--burst-for", str(lasting_s + 1.0))
    windows, lags = [], []
    for number in range(1, bench.effort.repeats + 1):
        tap = _Lags()
        async with (
            open_source(*told, symbols=_SYMBOLS, rate=_BURST_RATE / _BURST_FACTOR) as source,
            open_stage(_CONFIG, source.listings, [mixed_shard(source)], SystemClock(), tap=tap) as stage,
        ):
            await source.flowing(stage.machine)
            await trio.sleep(after_s + 0.2)  # flowing() took a second of what comes before the burst
            tap.lags_ms.clear()
            windows.append(await _window(stage, source, lasting_s))
        lags.append(float(np.percentile(tap.lags_ms, 99)) if tap.lags_ms else float("inf"))
        bench.say(f"burst {number}: {windows[-1].rate:,.0f} ticks/s, event lag p99 {lags[-1]:.2f} ms")
    return windows, lags
