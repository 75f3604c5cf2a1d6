"""Requests out: by the trade socket where it is up, by REST otherwise; outcomes come back as lane-1 messages.

Nothing here waits for an answer and nothing is sent twice: a request goes to exactly one of the two ways. With
durability `power` a request first waits until its intent is on the disk.
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

__all__ = ["Execution", "RestOrders", "SocketOrders"]

#: Requests that may wait for a REST worker: more than the venue takes in ten seconds.
_QUEUE = 512
_WORKERS = 4  # as many as the HTTP port has turns


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
    _held: trio.MemorySendChannel[Request] = attrs.field(init=False)
    _releasing: trio.MemoryReceiveChannel[Request] = attrs.field(init=False)
    _queue: trio.MemorySendChannel[Request] = attrs.field(init=False)
    _served: trio.MemoryReceiveChannel[Request] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._queue, self._served = trio.open_memory_channel[Request](_QUEUE)
        self._held, self._releasing = trio.open_memory_channel[Request](_QUEUE)

    def send(self, approved: Approved[Any]) -> None:
        """Put an approved request on its way. What cannot even be queued is reported as not sent."""
        request: Request = approved.request
        if self.synced is None:
            self._out(request)
            return
        try:
            self._held.send_nowait(request)
        except trio.WouldBlock:
            self.deliver(not_sent(request, "the outbound queue is full"))

    def rehearse(self, request: Request) -> None:
        """All that `send` does with a request for the trade socket but the sending."""
        if self.socket is not None:
            self.socket.rehearse(request)

    def _out(self, request: Request) -> None:
        if self.socket is not None and self.socket.send(request):
            self.by_socket += 1
            return
        try:
            self._queue.send_nowait(request)
            self.by_rest += 1
        except trio.WouldBlock:
            self.deliver(not_sent(request, "the outbound queue is full"))

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
            requests = [await self._releasing.receive()]
            while self._releasing.statistics().current_buffer_used:
                requests.append(self._releasing.receive_nowait())
            try:
                await synced()
            except InvariantBroken as error:
                opening = [one for one in requests if isinstance(one, OrderRequest) and not one.reduce_only]
                for request in opening:  # without its intent on the disk no entry leaves; exits and cancels do
                    self.deliver(not_sent(request, str(error)))
                requests = [one for one in requests if one not in opening]
            for leaving in requests:
                self._out(leaving)

    async def _work(self) -> None:
        while True:
            request = await self._served.receive()
            self.deliver(await self.rest.submit(request))
