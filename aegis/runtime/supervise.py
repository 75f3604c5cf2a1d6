"""Long tasks that restart inside a budget, the phases of a run, signals, and the connection budget.

A fault of the outside world (`Restartable`) starts the task again after a back-off; everything else is a bug or an
order to stop, and passes through so that the root nursery falls. Recovery is the start-up path.
"""

from __future__ import annotations

import enum
import random
import signal
from collections import deque
from collections.abc import Awaitable, Callable

import attrs
import trio

from aegis.core.errors import AegisError, Restartable
from aegis.runtime.logs import get_logger, named

__all__ = [
    "ConnectionBudget",
    "Lifecycle",
    "Phase",
    "RestartBudgetExceeded",
    "RestartPolicy",
    "first_fault",
    "supervise",
    "watch_signals",
]


class RestartBudgetExceeded(AegisError):
    """A task failed too often; not restartable itself, so it ends the run."""


@attrs.frozen(kw_only=True)
class RestartPolicy:
    """Capped exponential back-off with full jitter: after the n-th failure in the window, uniform in
    [0, min(cap_s, base_s * 2**(n-1))]; at `max_failures` within `window_s` the budget is spent."""

    jitter: random.Random
    max_failures: int = attrs.field(default=8, validator=attrs.validators.ge(1))
    window_s: float = attrs.field(default=300.0, validator=attrs.validators.gt(0))
    base_s: float = attrs.field(default=0.25, validator=attrs.validators.gt(0))
    cap_s: float = attrs.field(default=30.0, validator=attrs.validators.gt(0))

    def ceiling_s(self, failures: int) -> float:
        """Longest pause after that many failures; the exponent is bounded so that it cannot overflow."""
        return min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 60))

    def delay_s(self, failures: int) -> float:
        """Pause before the next life."""
        return self.jitter.uniform(0.0, self.ceiling_s(failures))


async def supervise(name: str, body: Callable[[], Awaitable[None]], policy: RestartPolicy) -> None:
    """Run `body` until it returns; start it again when it raises `Restartable` and nothing else.

    Helpers that a life started die with it. Raises RestartBudgetExceeded, and every error that is not Restartable.
    """
    recent: deque[float] = deque(maxlen=policy.max_failures)
    while True:
        fault: BaseExceptionGroup[Restartable] | None = None
        try:
            async with trio.open_nursery() as life:
                life.start_soon(named, name, body, name=name)
        except* Restartable as group:
            fault = group
        if fault is None:
            return
        now = trio.current_time()
        while recent and now - recent[0] >= policy.window_s:
            recent.popleft()
        recent.append(now)
        if len(recent) == policy.max_failures:
            raise RestartBudgetExceeded(
                f"{name}: {len(recent)} failures in {policy.window_s:g} s, the last: {first_fault(fault)}"
            ) from fault
        delay_s = policy.delay_s(len(recent))
        get_logger().warning(
            "task.restarting",
            task=name,
            failures=len(recent),
            delay_s=round(delay_s, 3),
            reason=str(first_fault(fault)),
        )
        await trio.sleep(delay_s)


def first_fault(error: BaseException) -> BaseException:
    """The first error inside nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Phase(enum.Enum):
    """Where a run is. Phases only go forward; a run may stop from any of them."""

    STARTING = 0
    RUNNING = 1
    DRAINING = 2
    STOPPED = 3


class Lifecycle:
    """The phase as a value that tasks read and wait for; shutdown is not an exception."""

    def __init__(self) -> None:
        self._phase = Phase.STARTING
        self._reached = {phase: trio.Event() for phase in Phase}
        self._reached[Phase.STARTING].set()
        self.reason = ""

    @property
    def phase(self) -> Phase:
        return self._phase

    def advance(self, phase: Phase, reason: str) -> bool:
        """Go on to `phase`; False, and nothing happens, where the run is there already or beyond."""
        if phase.value <= self._phase.value:
            return False
        get_logger().info("phase.changed", before=self._phase.name, now=phase.name, reason=reason)
        self._phase, self.reason = phase, reason
        for passed in Phase:
            if passed.value <= phase.value:
                self._reached[passed].set()
        return True

    async def wait(self, phase: Phase) -> None:
        """Return once the run is in `phase` or beyond."""
        await self._reached[phase].wait()


async def watch_signals(
    on_drain: Callable[[str], None],
    root: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """First SIGINT or SIGTERM: `on_drain(reason)`; any after it: cancel `root`. Main thread only.

    The receiver stays open until the end, because a signal that nobody took is delivered again when it closes.
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        draining = False
        async for number in signals:
            reason = f"signal {signal.Signals(number).name}"
            if draining:
                root.cancel(reason=f"second {reason}")
            else:
                draining = True
                on_drain(reason)


class ConnectionBudget:
    """At most `attempts` connection attempts in any `window_s`, over all sockets, in order of arrival."""

    def __init__(self, attempts: int, window_s: float) -> None:
        self._made: deque[float] = deque(maxlen=attempts)
        self._attempts = attempts
        self._window_s = window_s
        self._turn = trio.Lock()

    def available(self) -> int:
        """Attempts that may be made now."""
        horizon = trio.current_time() - self._window_s
        return self._attempts - sum(1 for moment in self._made if moment > horizon)

    async def take(self) -> None:
        """Wait until one more attempt is allowed, and count it. A cancelled wait counts nothing."""
        async with self._turn:
            if self.available() <= 0:
                await trio.sleep_until(self._made[0] + self._window_s)
            self._made.append(trio.current_time())
