"""Requests out: by the trade socket where it is up, by REST otherwise; outcomes come back as lane-1 messages.

Nothing here waits for an answer and nothing is sent twice: a request goes to exactly one of the two ways.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import attrs
import trio

from aegis.core.approval import Approved
from aegis.core.messages import Outcome, Request
from aegis.venue.outcomes import not_sent

__all__ = ["Execution", "RestOrders", "SocketOrders"]

#: Requests that may wait for a REST worker: more than the venue takes in ten seconds.
_QUEUE = 512
_WORKERS = 4  # as many as the HTTP port has turns


class SocketOrders(Protocol):
    """The part of `TradeSocket` that is needed."""

    def send(self, request: Request) -> bool: ...


class RestOrders(Protocol):
    """The part of `RestClient` that is needed."""

    async def submit(self, request: Request) -> Outcome: ...


@attrs.define(kw_only=True, eq=False)
class Execution:
    """`send` is synchronous; `run` serves what goes by REST. `deliver` takes every outcome, from either way."""

    rest: RestOrders
    socket: SocketOrders | None
    deliver: Callable[[Outcome], None]
    by_socket: int = 0
    by_rest: int = 0
    _queue: trio.MemorySendChannel[Request] = attrs.field(init=False)
    _served: trio.MemoryReceiveChannel[Request] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._queue, self._served = trio.open_memory_channel[Request](_QUEUE)

    def send(self, approved: Approved[Any]) -> None:
        """Put an approved request on its way. What cannot even be queued is reported as not sent."""
        request: Request = approved.request
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
        return self._queue.statistics().current_buffer_used > _QUEUE - 16

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(_WORKERS):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            request = await self._served.receive()
            self.deliver(await self.rest.submit(request))
