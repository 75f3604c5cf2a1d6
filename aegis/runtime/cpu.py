"""The one way to run compiled work off the loop: under the one limiter, abandoned when it takes too long.

A kernel holds no GIL and touches only what it was given, so a job that is given up may run on: it keeps its buffers and
its limiter token until it ends, and its result is thrown away. What has side effects must not come through here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, TypeVarTuple

import trio

from aegis.core.errors import AegisError
from aegis.runtime.metrics import Counter, Histogram, Metrics

__all__ = ["Cpu", "CpuOverdue", "CpuRunner", "InlineCpu"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class CpuOverdue(AegisError):
    """A job did not end within its deadline: its result will never be used, its inputs belong to it for ever."""


class CpuRunner(Protocol):
    """What the engine needs; `Cpu` in real time, `InlineCpu` on a virtual clock."""

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Result of `function(*args)`. Raises CpuOverdue, and whatever the function raises."""
        ...


class Cpu:
    """Worker threads under one `CapacityLimiter`, which the composition root makes and everybody shares.

    Args:
        limiter: at most this many jobs at a time; a job that waits for a token spends its deadline waiting.
        deadline_s: seconds after which a job is given up.
    """

    def __init__(
        self,
        limiter: trio.CapacityLimiter,
        metrics: Metrics,
        monotonic_ns: Callable[[], int],
        *,
        deadline_s: float = 5.0,
    ) -> None:
        self.limiter = limiter
        self._deadline_s = deadline_s
        self._monotonic_ns = monotonic_ns
        self.jobs: Counter = metrics.counter("cpu.jobs")
        self.abandoned: Counter = metrics.counter("cpu.abandoned")
        self.round_trip_ns: Histogram = metrics.histogram("cpu.round_trip_ns")
        metrics.gauge("cpu.borrowed_tokens", lambda: limiter.borrowed_tokens)

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run in a worker thread.

        Cancellation: returns at once, the thread runs on and is counted as abandoned.
        """
        started = False

        def job() -> T:
            nonlocal started
            started = True
            return function(*args)

        self.jobs.add()
        begin_ns = self._monotonic_ns()
        try:
            with trio.move_on_after(self._deadline_s):
                result = await trio.to_thread.run_sync(job, abandon_on_cancel=True, limiter=self.limiter)
                self.round_trip_ns.record(self._monotonic_ns() - begin_ns)
                return result
        except trio.Cancelled:
            self.abandoned.add(started)
            raise
        self.abandoned.add(started)
        name = getattr(function, "__name__", repr(function))
        raise CpuOverdue(f"{name} {'ran' if started else 'waited for a worker'} longer than {self._deadline_s:g} s")


class InlineCpu:
    """Runs the job in the loop, for virtual time: the clock stands still meanwhile and the order is fixed."""

    def __init__(self, metrics: Metrics) -> None:
        self.jobs: Counter = metrics.counter("cpu.jobs")

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()  # a job takes no virtual time, so nobody else gets a turn
        self.jobs.add()
        return function(*args)
