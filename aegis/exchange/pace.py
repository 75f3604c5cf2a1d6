"""How fast the venue's time goes: like the machine's, so many times as fast, or as fast as it can be computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import trio

__all__ = ["Pace", "RealPace", "ScaledPace", "UnboundPace", "pace_of"]

_LOOK_S = 0.005
#: What is still ahead of an exchange that never waits: enough for its driver to take the next step at once.
_AHEAD_NS = 1_500_000_000


class Pace(Protocol):
    """Venue time. `time` counts its seconds for everything that waits: heartbeats, limits, the life of a connection."""

    def now_ns(self) -> int:
        """Venue time, ns since the epoch."""
        ...

    def time(self) -> float:
        """Seconds of venue time since some moment."""
        ...

    async def sleep_until(self, time_s: float) -> None:
        """Wait until `time` has come to this."""
        ...

    def stepped(self, now_ns: int) -> None:
        """The exchange stands at this time."""
        ...


class RealPace:
    """Time as it passes; `clock` gives the venue's. Waits by Trio's clock, which tests may make virtual."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock

    def now_ns(self) -> int:
        return self._clock()

    def time(self) -> float:
        return trio.current_time()

    async def sleep_until(self, time_s: float) -> None:
        await trio.sleep_until(time_s)

    def stepped(self, now_ns: int) -> None:
        """Time does not wait for the exchange."""


class ScaledPace:
    """`speed` times as fast as `clock`, from the moment at which this was made.

    An exchange that cannot follow is waited for, and never made to catch up: then time is slower than asked.
    """

    def __init__(self, clock: Callable[[], int], speed: float) -> None:
        self._clock = clock
        self._speed = speed
        self._born_ns = self._at_ns = clock()
        self._lost_ns = 0

    def now_ns(self) -> int:
        return min(self._wanted_ns(), self._at_ns + _AHEAD_NS)

    def _wanted_ns(self) -> int:
        return self._born_ns + int((self._clock() - self._born_ns) * self._speed) - self._lost_ns

    def time(self) -> float:
        return self.now_ns() / 1e9

    async def sleep_until(self, time_s: float) -> None:
        await trio.lowlevel.checkpoint()
        while (left_s := time_s - self.time()) > 0.0:  # noqa: ASYNC110 - it may have been slower than asked
            await trio.sleep(left_s / self._speed)

    def stepped(self, now_ns: int) -> None:
        self._at_ns = now_ns
        self._lost_ns += max(0, self._wanted_ns() - now_ns - _AHEAD_NS)


class UnboundPace:
    """As fast as the exchange steps; what waits looks again and again whether its time has come."""

    def __init__(self, start_ns: int) -> None:
        self._at_ns = start_ns

    def now_ns(self) -> int:
        return self._at_ns + _AHEAD_NS

    def time(self) -> float:
        return self._at_ns / 1e9

    async def sleep_until(self, time_s: float) -> None:
        await trio.lowlevel.checkpoint()
        while self.time() < time_s:  # noqa: ASYNC110 - steps are many, and no event of each
            await trio.sleep(_LOOK_S)

    def stepped(self, now_ns: int) -> None:
        self._at_ns = now_ns


def pace_of(speed: float, clock: Callable[[], int]) -> Pace:
    """1: as time passes; 0: as fast as can be."""
    if speed == 1.0:
        return RealPace(clock)
    return UnboundPace(clock()) if speed == 0.0 else ScaledPace(clock, speed)
