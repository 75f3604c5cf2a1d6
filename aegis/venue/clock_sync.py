"""How far the venue's clock is from ours, and how well we know it."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

import attrs
import trio

from aegis.core.errors import Restartable

__all__ = ["ClockEstimate", "ClockSync", "OffsetFilter"]

_DRIFT_PPM = 200  # what a bad oscillator loses; an old sample is worth less by that
_QUANTUM_NS = 500_000  # the venue tells whole milliseconds: half of one either way


@attrs.frozen(kw_only=True)
class ClockEstimate:
    """Venue time is local wall time + `offset_ns`, give or take `error_ns`."""

    offset_ns: int
    error_ns: int


@attrs.frozen(kw_only=True)
class _Sample:
    offset_ns: int
    error_ns: int
    taken_ns: int


class OffsetFilter:
    """Keeps the last round trips and believes the one with the smallest error bound (half the round trip, aged)."""

    def __init__(self, size: int = 8) -> None:
        self._samples: deque[_Sample] = deque(maxlen=size)

    def add(self, sent_ns: int, received_ns: int, venue_ms: int) -> None:
        """One round trip; both local times from the same uncorrected wall clock."""
        if received_ns < sent_ns:
            return  # the wall clock jumped back in between: the trip says nothing
        middle = (sent_ns + received_ns) // 2
        self._samples.append(
            _Sample(
                offset_ns=venue_ms * 1_000_000 + _QUANTUM_NS - middle,
                error_ns=(received_ns - sent_ns) // 2 + _QUANTUM_NS,
                taken_ns=received_ns,
            )
        )

    def clear(self) -> None:
        """Forget everything: the venue found our clock wrong, so the samples are."""
        self._samples.clear()

    def estimate(self, now_ns: int) -> ClockEstimate | None:
        """The best sample at local time `now_ns`, None before the first."""
        if not self._samples:
            return None

        def error(sample: _Sample) -> int:
            return sample.error_ns + abs(now_ns - sample.taken_ns) * _DRIFT_PPM // 1_000_000

        best = min(self._samples, key=error)
        return ClockEstimate(offset_ns=best.offset_ns, error_ns=error(best))


class ClockSync:
    """Measures at start, then every `interval_s`, and at once when the venue complains."""

    def __init__(
        self,
        server_time: Callable[[], Awaitable[int]],
        wall_ns: Callable[[], int],
        apply: Callable[[ClockEstimate], None],
        *,
        interval_s: float = 60.0,
        burst: int = 4,
    ) -> None:
        """`server_time`: venue ms; `wall_ns`: the local clock, uncorrected; `apply` is told every new estimate."""
        self._server_time = server_time
        self._wall_ns = wall_ns
        self._apply = apply
        self._interval_s = interval_s
        self._burst = burst
        self._filter = OffsetFilter()
        self._ring, self._bell = trio.open_memory_channel[None](1)

    def request_resync(self) -> None:
        """-1021: throw the samples away and measure now. May be called any number of times."""
        with contextlib.suppress(trio.WouldBlock):  # one is due already
            self._ring.send_nowait(None)

    async def measure(self, trips: int) -> ClockEstimate:
        """`trips` round trips, one after the other.

        Raises:
            VenueUnavailable: the venue did not answer.
        """
        for _ in range(trips):
            sent_ns = self._wall_ns()
            venue_ms = await self._server_time()
            self._filter.add(sent_ns, self._wall_ns(), venue_ms)
        estimate = self._filter.estimate(self._wall_ns())
        if estimate is None:
            raise Restartable("the wall clock jumped during every measurement")
        self._apply(estimate)
        return estimate

    async def run(self, *, task_status: trio.TaskStatus[ClockEstimate] = trio.TASK_STATUS_IGNORED) -> None:
        """`started()` with the first estimate; raises Restartable when the venue cannot be asked."""
        task_status.started(await self.measure(self._burst))
        while True:
            with trio.move_on_after(self._interval_s) as waited:
                await self._bell.receive()
            if waited.cancelled_caught:
                await self.measure(1)
            else:
                self._filter.clear()
                await self.measure(self._burst)
                with contextlib.suppress(trio.WouldBlock):
                    self._bell.receive_nowait()  # complaints of meanwhile are answered too
