"""The one task that moves the simulated exchange: everything that touches its state happens in here, in order."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable

import trio

__all__ = ["SLICE_NS", "Driver"]

#: Simulated time that one step may cover; after a pause (a stopped process, a resumed run) the rest comes in further
#: steps with a checkpoint between them, so that sockets stay alive and no step publishes more than they can take.
SLICE_NS = 100_000_000
#: Closer than this to the wall clock is the present.

_PATIENCE_S = 1.0
_LOOK_S = 0.001


class Driver:
    """Steps the exchange every `tick_s`, at its next scheduled item, and at once when a request comes in.

    Args:
        clock: venue time, ns since the epoch.
        advance: moves the exchange to a time.
        next_ns: the earliest time at which something is scheduled, or None.
        published: called after every step with its time; hands on what the market published.
        start_ns: the time the exchange stands at.
        tick_s: longest pause between two steps.
        slice_ns: how much time one step may cover now.
        crowded: whether subscribers have much unread. Asked while there is time to make up for, or no end of it: they
            are waited for, a second at most, instead of being cut off for what they were sent too fast.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], int],
        advance: Callable[[int], None],
        next_ns: Callable[[], int | None],
        published: Callable[[int], None],
        start_ns: int,
        tick_s: float,
        slice_ns: Callable[[], int] = lambda: SLICE_NS,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._clock = clock
        self._advance = advance
        self._next_ns = next_ns
        self._published = published
        self._tick_s = tick_s
        self._slice_ns = slice_ns
        self._crowded = crowded
        self._requests: deque[Callable[[int], None]] = deque()
        self._bell_in, self._bell = trio.open_memory_channel[None](1)
        self.now_ns = start_ns
        #: False while a step is under way: a step that raised leaves a state that must not be saved.
        self.consistent = True

    def submit(self, request: Callable[[int], None]) -> None:
        """Have `request(now_ns)` called by the driver at once. The number waiting is bounded by the callers."""
        self._requests.append(request)
        if len(self._requests) == 1:
            with contextlib.suppress(trio.WouldBlock):  # rung already, and not yet heard
                self._bell_in.send_nowait(None)

    async def catch_up(self) -> None:
        """Step to the present, or less than a slice before it; used before anyone listens."""
        while self._behind():
            self._step()
            await trio.lowlevel.checkpoint()

    async def run(self) -> None:
        while True:
            if self._behind():
                await self._give_way()
            else:
                with trio.move_on_after(self._pause_s()):
                    await self._bell.receive()
            self._step()

    async def _give_way(self) -> None:
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(_PATIENCE_S):
            while self._crowded():  # noqa: ASYNC110 - several sockets, none of which tells when it has been read
                await trio.sleep(_LOOK_S)

    def _behind(self) -> bool:
        return self._clock() - self.now_ns > SLICE_NS

    def _pause_s(self) -> float:
        due_ns = self._next_ns()
        if due_ns is None:
            return self._tick_s
        return min(self._tick_s, max(0.0, (due_ns - self._clock()) / 1e9))

    def _step(self) -> None:
        # Venue time never runs backwards, whatever the wall clock does.
        self.now_ns = max(self.now_ns, min(self._clock(), self.now_ns + self._slice_ns()))
        self.consistent = False
        requests, self._requests = self._requests, deque()
        for request in requests:
            request(self.now_ns)
        self._advance(self.now_ns)
        self._published(self.now_ns)
        self.consistent = True
