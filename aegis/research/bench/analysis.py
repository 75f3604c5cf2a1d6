"""The analysis of 300 symbols: what a cycle costs, what closing every bar at once does to the loop, and a full feed."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import attrs
import numpy as np
import trio

from aegis import config as configs
from aegis.config import BarsConfig, Config
from aegis.engine.analysis import Analysis, Job, Seed
from aegis.engine.inputs import InputKind, NoTap
from aegis.kernels.analysis import new_state
from aegis.kernels.layout import ROW
from aegis.kernels.state import Records
from aegis.research.bench.firehose import Source, Tally, mixed_shard, open_source
from aegis.research.bench.process import Unmeasured
from aegis.research.bench.stage import Stage, history, open_stage
from aegis.research.bench.table import Bench, Row, median_row
from aegis.runtime.clock import SystemClock
from aegis.runtime.cpu import Cpu
from aegis.runtime.metrics import Histogram, Metrics, probe_lateness
from aegis.signals.choose import make_strategy

__all__ = ["measure"]

_SYMBOLS = 300
_CYCLES = 1_800
_CYCLE_MS = 100
_START_MS = 1_790_000_040_000
_FULL_RATE, _CALM_RATE = 1_000_000, 20_000
_LOAD_S, _BARS_S = 10.0, 20.0
_WARM_S, _SETTLE_S = 90.0, 1.0
_PROBE_S = 0.001
_LEAST_SHARE = 0.98


def measure(bench: Bench) -> Iterator[Row]:
    """Four rows; the sockets' other end is a process of its own."""
    cycles = bench.effort.amount(_CYCLES, 20)
    tails: list[float] = []

    def cycle() -> float:
        spent_ns = trio.run(_cycles, cycles)
        tails.append(float(np.percentile(spent_ns, 99)) / 1e6)
        return statistics.median(spent_ns) / 1e6

    samples = bench.repeat("analysis cycle, ms", cycle)
    yield median_row(
        "analysis", "analysis cycle of 300 symbols", samples, target=0.5, unit="ms", better="less",
        note="thread hop included, one row a symbol", detail={"p99 ms": statistics.median(tails), "cycles": cycles},
    )  # fmt: skip
    yield from _closing(bench)
    yield from _loaded(bench)


# -- one cycle ---------------------------------------------------------------------------------------------------------
async def _cycles(count: int) -> list[int]:
    """Nanoseconds of each of `count` cycles on warm symbols, in the course of which bars of one minute close."""
    clock, config = SystemClock(), _config("1m", "5m")
    bars = config.bars
    _, params = make_strategy(config.strategy, bars.names, warm_bars=bars.warmup_bars)
    base_ms, higher_ms = config.bars.timeframes_ms
    analysis = Analysis(new_state(_SYMBOLS, (base_ms, higher_ms), params))
    cpu = Cpu(trio.CapacityLimiter(4), Metrics(), clock.monotonic_ns)
    start_ms = _START_MS // higher_ms * higher_ms
    seeds = tuple(_seed(symbol, start_ms, base_ms, higher_ms, config.bars.warmup_bars) for symbol in range(_SYMBOLS))
    lives = tuple((symbol, start_ms) for symbol in range(_SYMBOLS))
    jobs = [Job(rows=np.zeros(0, ROW), watermark_ms=start_ms, lives=lives, seeds=seeds)]
    jobs += [_job(number, start_ms, base_ms) for number in range(count)]
    spent_ns = []
    for job in jobs:
        begin_ns = clock.monotonic_ns()
        await cpu.run(Analysis.compute, *analysis.begin(job))
        analysis.accept()
        spent_ns.append(clock.monotonic_ns() - begin_ns)
    assert analysis.front.symbols["warm"].all(), "the history did not warm every symbol"
    return spent_ns[2:]  # the first two brought the history to both copies


def _seed(symbol: int, start_ms: int, base_ms: int, higher_ms: int, bars: int) -> Seed:
    base = history(1, symbol, 0, base_ms, bars + higher_ms // base_ms, start_ms - 1, 100.0)
    return Seed(symbol=symbol, base=base, higher=(history(2, symbol, 1, higher_ms, bars + 1, start_ms - 1, 100.0),))


def _job(number: int, start_ms: int, base_ms: int) -> Job:
    """A row of each symbol whose bar is open at this cycle, and the watermark 100 ms on."""
    now_ms = start_ms + number * _CYCLE_MS
    rows: Records = np.zeros(_SYMBOLS, ROW)
    rows["symbol"] = np.arange(_SYMBOLS)
    rows["bar"] = now_ms // base_ms * base_ms
    step = 0.01 * ((number * 7 + rows["symbol"] * 13) % 41 - 20)
    for name, shift in (("open", 0.0), ("high", 0.02), ("low", -0.02), ("close", 0.01)):
        rows[name] = 100.0 + step + shift
    rows["trades"], rows["volume"], rows["taker_buy"] = 1, 100, 50
    rows["first_id"] = rows["last_id"] = number
    rows["bid"], rows["ask"] = 100.0 + step, 100.02 + step
    return Job(rows=rows, watermark_ms=now_ms)


def _config(*timeframes: str) -> Config:
    """As shipped for the simulator, with other bars."""
    return attrs.evolve(configs.load("sim"), bars=BarsConfig(timeframes=timeframes))


# -- every bar at once -------------------------------------------------------------------------------------------------
class _Closings(NoTap):
    """A tap that notes, for each result with new events, the boundary it began at and its last call of the strategy."""

    def __init__(self) -> None:
        self.windows: dict[float, float] = {}
        self.calls = 0
        self._boundary_s = self._job_s = self._result_s = 0.0

    def record(self, kind: InputKind, now_ns: int, channel: int, payload: bytes | memoryview) -> None:
        if kind is InputKind.BOUNDARY:
            self._boundary_s = trio.current_time()
        elif kind is InputKind.ANALYSE:
            self._job_s = self._boundary_s
        elif kind is InputKind.RESULT:
            self._result_s = self._job_s
        elif kind is InputKind.SLICE:
            self.calls += 1
            self.windows[self._result_s] = trio.current_time()


@attrs.frozen(kw_only=True)
class _Burst:
    """Of one window: lateness p99 while bars close and the slowest last decision; calls a closing, bars a second."""

    late_ms: float
    last_ms: float
    closings: int
    calls: int
    bars: float
    warm: int
    quarantined: bool


def _closing(bench: Bench) -> Iterator[Row]:
    bench.say("300 bars close every second")
    found = trio.run(_closing_run, bench)
    few, warm = min(burst.bars for burst in found), min(burst.warm for burst in found)
    doubt = ""
    if few < _LEAST_SHARE * _SYMBOLS or warm < _SYMBOLS:
        doubt = f"only {few:.0f} bars closed at a time, {warm} of {_SYMBOLS} symbols were warm"
    if any(burst.quarantined for burst in found):
        doubt = "the strategy was quarantined: three of its calls took more than 5 ms of processor time"
    yield median_row(
        "analysis", "loop lateness p99 while 300 bars close", [one.late_ms for one in found], target=5.0, unit="ms",
        better="less", invalid=doubt, note="within the time from the boundary to the last strategy call",
        detail={"closings": sum(one.closings for one in found), "strategy calls each": found[-1].calls},
    )  # fmt: skip
    yield median_row(
        "analysis", "last decision after 300 bars closed", [one.last_ms for one in found], target=100.0, unit="ms",
        better="less", invalid=doubt, note="the slowest closing, from the boundary that closes the bars",
    )  # fmt: skip


async def _closing_run(bench: Bench) -> list[_Burst]:
    """Bars of one second, so that every second all of them close; one stage, several windows."""
    clock, config, closings = SystemClock(), _config("1s", "5s"), _Closings()
    seconds = bench.effort.seconds(_BARS_S, 2.0)
    found = []
    async with open_source(symbols=_SYMBOLS, rate=_CALM_RATE) as source:
        shards = [mixed_shard(source)]
        async with open_stage(config, source.listings, shards, clock, tap=closings, warm_up=True) as stage:
            await _until_warm(stage, source)
            for _ in range(bench.effort.repeats):
                found.append(await _burst(stage, closings, seconds))
                bench.say(f"loop lateness p99 while 300 bars close, ms: {found[-1].late_ms:.3g}")
    return found


async def _burst(stage: Stage, closings: _Closings, seconds: float) -> _Burst:
    late: list[tuple[float, float]] = []
    closings.windows.clear()
    calls, bars = closings.calls, stage.machine.bars
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_probe, late)
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel(reason="measured")
    windows = list(closings.windows.items())
    inside = [late_s for due_s, late_s in late if any(begin <= due_s <= end for begin, end in windows)]
    return _Burst(
        late_ms=float(np.percentile(inside, 99)) * 1e3 if inside else float("inf"),
        last_ms=max((end - begin for begin, end in windows), default=float("inf")) * 1e3,
        closings=len(windows),
        calls=round((closings.calls - calls) / max(1, len(windows))),
        bars=(stage.machine.bars - bars) / max(1, int(seconds)),
        warm=int(stage.machine.decision.contexts.warm.sum()),
        quarantined=stage.machine.decision.quarantined,
    )


async def _until_warm(stage: Stage, source: Source) -> None:
    with trio.move_on_after(_WARM_S) as waiting:
        while not stage.machine.decision.contexts.all_warm:
            source.check()
            await trio.sleep(0.05)
    if waiting.cancelled_caught:
        warm = int(stage.machine.decision.contexts.warm.sum())
        raise Unmeasured(f"only {warm} of {len(source.listings)} symbols were warm after {_WARM_S:g} s")
    await trio.sleep(_SETTLE_S)  # what the histories have left standing has been asked for


async def _probe(late: list[tuple[float, float]]) -> None:
    """(due, how late) of a task that wakes every millisecond, in seconds of Trio's clock."""
    while True:
        due_s = trio.current_time() + _PROBE_S
        await trio.sleep_until(due_s)
        late.append((due_s, trio.current_time() - due_s))


# -- a full feed -------------------------------------------------------------------------------------------------------
def _loaded(bench: Bench) -> Iterator[Row]:
    bench.say(f"{_FULL_RATE:,} ticks/s")
    found = trio.run(_loaded_run, bench)
    slowest = min(rate for _, rate in found)
    doubt = "" if slowest >= _LEAST_SHARE * _FULL_RATE else f"only {slowest:,.0f} ticks/s came"
    yield median_row(
        "analysis", "loop lateness p99 at 1,000,000 ticks/s", [late_ms for late_ms, _ in found], target=2.0, unit="ms",
        better="less", invalid=doubt, note="live mix of 300 symbols, warm, bars of 5 s",
        detail={"ticks/s": round(slowest)},
    )  # fmt: skip


async def _loaded_run(bench: Bench) -> list[tuple[float, float]]:
    """(lateness p99 in ms, applied ticks a second) of each window."""
    clock, found = SystemClock(), []
    async with (
        open_source(symbols=_SYMBOLS, rate=_FULL_RATE) as source,
        open_stage(_config("5s", "30s"), source.listings, [mixed_shard(source)], clock, warm_up=True) as stage,
    ):
        await _until_warm(stage, source)
        for _ in range(bench.effort.repeats):
            late_ns, begin_s, before = Histogram(), trio.current_time(), Tally.of(stage.machine)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(probe_lateness, late_ns)
                await trio.sleep(bench.effort.seconds(_LOAD_S, 0.5))
                nursery.cancel_scope.cancel(reason="measured")
            rate = Tally.of(stage.machine).since(before).applied / (trio.current_time() - begin_s)
            found.append((late_ns.percentile(99) / 1e6, rate))
            bench.say(f"loop lateness p99 at {rate:,.0f} ticks/s, ms: {found[-1][0]:.3g}")
    return found
