"""The only place that reads a clock or makes randomness. Everything else is handed a `Clock` or a seeded generator.

Two clocks: `monotonic_ns` for every timeout, and the wall, corrected by the measured offset of the venue, for
signatures and records. A virtual clock jumps whenever every task is blocked, so it must never meet a worker thread or a
real socket: neither counts as activity, and the time would run away from them.
"""

from __future__ import annotations

import hashlib
import heapq
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, MutableSequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, TypeVarTuple

import trio

if TYPE_CHECKING:
    from trio.testing import MockClock

__all__ = [
    "Clock",
    "SystemClock",
    "VirtualClock",
    "deterministic_scheduling",
    "fresh_seed",
    "random_bytes",
    "run_virtual",
    "seeded_random",
]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Clock(Protocol):
    """What the engine may ask about time. `offset_ns` is venue time minus local time; the feed of `/time` sets it."""

    offset_ns: int

    def wall_ns(self) -> int:
        """Unix time of this machine, nanoseconds. It may jump."""
        ...

    def venue_ns(self) -> int:
        """Unix time as the venue sees it: `wall_ns() + offset_ns`."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds since some moment; never goes back, never jumps with the wall."""
        ...

    def cpu_ns(self) -> int:
        """Processor time of this thread: what a call itself has cost, whoever else the machine was busy with."""
        ...

    async def sleep(self, seconds: float) -> None:
        """`trio.sleep`, for what sleeps so often that a virtual clock has a cheaper way."""
        ...


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self.offset_ns = 0

    def wall_ns(self) -> int:
        return time.time_ns()

    def venue_ns(self) -> int:
        return time.time_ns() + self.offset_ns

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def cpu_ns(self) -> int:
        return time.thread_time_ns()

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class VirtualClock:
    """Time that passes only when every task is blocked, and then at once.

    Args:
        epoch_ns: Unix time at which `trio_clock` shows 0.
        trio_clock: the clock that Trio runs on; tests pass their `autojump_clock`.
    """

    def __init__(self, epoch_ns: int, trio_clock: MockClock | None = None) -> None:
        if trio_clock is None:
            from trio.testing import MockClock  # which imports pytest where that is installed, and no run needs it

            trio_clock = MockClock(autojump_threshold=0)
        self.trio_clock = trio_clock
        self.epoch_ns = epoch_ns
        self.offset_ns = 0
        self._driven = False
        self._order = 0
        self._sleepers: list[_Sleeper] = []

    def wall_ns(self) -> int:
        return self.epoch_ns + self.monotonic_ns()

    def venue_ns(self) -> int:
        return self.epoch_ns + self.offset_ns + round(self.trio_clock._virtual_base * 1e9)

    def cpu_ns(self) -> int:
        return self.monotonic_ns()

    def monotonic_ns(self) -> int:
        return round(self.trio_clock._virtual_base * 1e9)  # `current_time()`, which asks the real clock for nothing

    # -- driven by one task --------------------------------------------------------------------------------------------
    @contextmanager
    def driven(self) -> Iterator[None]:
        """For the length of the block the calling task alone moves the time, by `jump`, and no deadline is Trio's.

        The caller must be the oldest task: each turn runs it last (`deterministic_scheduling` without a seed), so it
        finds the others blocked, or runnable in the next.
        """
        self._driven = True
        try:
            yield
        finally:
            self._driven = False
            for _, _, task in self._sleepers:
                if task is not None:
                    trio.lowlevel.reschedule(task)
            self._sleepers.clear()

    async def sleep(self, seconds: float) -> None:
        """`trio.sleep`; while the clock is driven, without the cancel scope and its deadline that make it dear."""
        deadline = self.trio_clock.current_time() + seconds
        if self._driven:
            self._order += 1
            sleeper: _Sleeper = [deadline, self._order, trio.lowlevel.current_task()]

            def abort(_: object) -> trio.lowlevel.Abort:
                sleeper[2] = None
                return trio.lowlevel.Abort.SUCCEEDED

            heapq.heappush(self._sleepers, sleeper)
            await trio.lowlevel.wait_task_rescheduled(abort)
        if self.trio_clock.current_time() < deadline:
            await trio.sleep_until(deadline)

    def jump(self, seconds: float) -> None:
        """Move the time, and wake who slept until then."""
        self.trio_clock.jump(seconds)
        now = self.trio_clock.current_time()
        while self._sleepers and self._sleepers[0][0] <= now:
            task = heapq.heappop(self._sleepers)[2]
            if task is not None:
                trio.lowlevel.reschedule(task)

    def next_wake_s(self) -> float:
        """Seconds until the next task wakes; 0 where one can run now, infinite where all wait for something else.

        What `trio.lowlevel.current_statistics` says of it, without the rest of what that finds out.
        """
        runner = _runner()
        if runner.runq:
            return 0.0
        deadline = float(runner.deadlines.next_deadline())
        if self._sleepers:
            deadline = min(deadline, self._sleepers[0][0])
        return max(0.0, deadline - self.trio_clock.current_time())

    async def settle(self) -> None:
        """Let every other task run until all are blocked: `trio.testing.wait_all_tasks_blocked` in a turn less."""
        runq = _runner().runq
        await trio.lowlevel.checkpoint()
        while runq:
            await trio.lowlevel.checkpoint()


#: Deadline by Trio's clock, a number that tells equals apart, and who sleeps until then; None: it was cancelled.
_Sleeper = list[Any]


def _runner() -> Any:
    """Trio's own state of the run that calls this."""
    return trio._core._run.GLOBAL_RUN_CONTEXT.runner


@contextmanager
def deterministic_scheduling(seed: int | None) -> Iterator[None]:
    """Fix the order in which Trio runs tasks that are ready together: same seed, same order; None: always by age.

    A seed explores orders, but its draws count the turns of the scheduler: one more turn anywhere, and everything after
    it is shuffled otherwise. What must come out the same after a change that means nothing takes None.

    Trio has no public way: it seeds the private names below under Hypothesis, and so do we. A Trio without them, or
    without the deadlines that `VirtualClock` looks at, raises RuntimeError instead of giving runs that only look
    reproducible.
    """
    scheduler = trio._core._run
    generator = getattr(scheduler, "_r", None)
    switch = getattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", None)
    deadlines = hasattr(getattr(scheduler, "Deadlines", None), "next_deadline")
    if generator is None or switch is None or not deadlines:
        raise RuntimeError(f"trio {trio.__version__} cannot schedule deterministically: use a version pyproject allows")
    state = generator.getstate()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    if seed is None:
        scheduler._r = _Unshuffled()
    else:
        generator.seed(seed)
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = switch  # type: ignore[misc]
        scheduler._r = generator
        generator.setstate(state)


class _Unshuffled(random.Random):
    """Trio sorts what is ready by age and then shuffles it: this leaves it sorted."""

    def shuffle(self, x: MutableSequence[Any]) -> None:
        return None


def run_virtual(
    body: Callable[[VirtualClock, *Ts], Awaitable[T]], *args: *Ts, epoch_ns: int, seed: int | None
) -> T:
    """Run `body(clock, *args)` as a whole Trio program on a virtual clock with fixed scheduling; return its result."""
    clock = VirtualClock(epoch_ns)
    with deterministic_scheduling(seed):
        return trio.run(body, clock, *args, clock=clock.trio_clock, strict_exception_groups=True)


def seeded_random(seed: int, *names: str) -> random.Random:
    """A generator for one purpose; draws of one purpose never shift those of another, nor do versions of Python."""
    digest = hashlib.sha256("\0".join((str(seed), *names)).encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))  # noqa: S311 - simulation and jitter, not secrets


def fresh_seed() -> int:
    """A seed of a run that was given none, below 2**31; the run writes it down."""
    return secrets.randbelow(2**31)


def random_bytes(size: int) -> bytes:
    """Bytes that nobody can predict, for WebSocket keys and masks: they decide nothing, so no seed governs them."""
    return secrets.token_bytes(size)
