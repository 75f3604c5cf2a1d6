"""Requests out: by the trade socket where it is up, by REST otherwise; outcomes come back as lane-1 messages.

Nothing here waits for an answer and nothing is sent twice: a request goes to exactly one of the two ways. With
durability `power` a request first waits until its intent is on the disk. One that has waited too long for its turn does
not leave any more: later its order may have been given up as one that never arrived. A disk that takes too long keeps
entries from leaving; exits and cancels leave all the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import attrs
import trio

from aegis.core.approval import Approved
from aegis.core.errors import InvariantBroken
from aegis.core.messages import OrderRequest, Outcome, Request
from aegis.venue.outcomes import not_sent

__all__ = ["LEAVES_WITHIN_S", "Execution", "RestOrders", "SocketOrders"]

#: From `send` to the latest moment at which a request may leave.
LEAVES_WITHIN_S = 1.0

#: Requests that may wait for a REST worker: more than the venue takes in ten seconds.
_QUEUE = 512
_WORKERS = 4  # as many as the HTTP port has turns

#: A request, and until when (Trio's time) it may leave.
_Waiting = tuple[Request, float]


class SocketOrders(Protocol):
    """The part of `TradeSocket` that is needed."""

    def send(self, request: Request) -> bool: ...

    def rehearse(self, request: Request) -> None: ...


class RestOrders(Protocol):
    """The part of `RestClient` that is needed."""

    async def submit(self, request: Request) -> Outcome: ...


@attrs.define(kw_only=True, eq=False)
class Execution:
    """`send` is synchronous; `run` serves what goes by REST. `deliver` takes every outcome, from either way."""

    rest: RestOrders
    socket: SocketOrders | None
    deliver: Callable[[Outcome], None]
    synced: Callable[[], Awaitable[None]] | None = None
    """Returns once everything journalled so far is on the disk; None where the operating system's word is enough."""
    by_socket: int = 0
    by_rest: int = 0
    _held: trio.MemorySendChannel[_Waiting] = attrs.field(init=False)
    _releasing: trio.MemoryReceiveChannel[_Waiting] = attrs.field(init=False)
    _queue: trio.MemorySendChannel[_Waiting] = attrs.field(init=False)
    _served: trio.MemoryReceiveChannel[_Waiting] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._queue, self._served = trio.open_memory_channel[_Waiting](_QUEUE)
        self._held, self._releasing = trio.open_memory_channel[_Waiting](_QUEUE)

    def send(self, approved: Approved[Any]) -> None:
        """Put an approved request on its way. What cannot even be queued is reported as not sent."""
        request, until_s = approved.request, trio.current_time() + LEAVES_WITHIN_S
        if self.synced is None:
            self._out(request, until_s)
        else:
            self._queue_up(self._held, request, until_s)

    def rehearse(self, request: Request) -> None:
        """All that `send` does with a request for the trade socket but the sending."""
        if self.socket is not None:
            self.socket.rehearse(request)

    def _out(self, request: Request, until_s: float) -> None:
        if self.socket is not None and self.socket.send(request):
            self.by_socket += 1
        elif self._queue_up(self._queue, request, until_s):
            self.by_rest += 1

    def _queue_up(self, queue: trio.MemorySendChannel[_Waiting], request: Request, until_s: float) -> bool:
        try:
            queue.send_nowait((request, until_s))
        except trio.WouldBlock:
            self.deliver(not_sent(request, "the outbound queue is full"))
            return False
        return True

    def _too_late(self, request: Request, until_s: float) -> bool:
        late = trio.current_time() > until_s
        if late:
            self.deliver(not_sent(request, f"it could not leave within {LEAVES_WITHIN_S:g} s"))
        return late

    def full(self) -> bool:
        """No room for an entry and its protection."""
        waiting = (self._queue.statistics(), self._held.statistics())
        return any(queue.current_buffer_used > _QUEUE - 16 for queue in waiting)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            if self.synced is not None:
                nursery.start_soon(self._release, self.synced)
            for _ in range(_WORKERS):
                nursery.start_soon(self._work)

    async def _release(self, synced: Callable[[], Awaitable[None]]) -> None:
        """Let requests out once their intents are on the disk; one sync serves all that wait."""
        while True:
            waiting = [await self._releasing.receive()]
            while self._releasing.statistics().current_buffer_used:
                waiting.append(self._releasing.receive_nowait())
            broken = ""
            try:
                await synced()
            except InvariantBroken as error:
                broken = str(error)
            for request, until_s in waiting:
                if not isinstance(request, OrderRequest) or request.reduce_only:
                    self._out(request, trio.current_time() + LEAVES_WITHIN_S)
                elif broken:
                    self.deliver(not_sent(request, broken))
                elif not self._too_late(request, until_s):
                    self._out(request, until_s)

    async def _work(self) -> None:
        while True:
            request, until_s = await self._served.receive()
            if not self._too_late(request, until_s):
                self.deliver(await self.rest.submit(request))
