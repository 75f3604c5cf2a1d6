"""The market socket that will take over: while the one before it still serves, it listens, and holds what it hears.

Nothing of it reaches the engine before the old socket is done; then what was held is read from the start. Trade ids and
update ids drop what both sockets brought, so that every trade counts once, and show what neither did.
"""

from __future__ import annotations

from collections import deque

import attrs

from aegis.engine.subscriptions import Subscriptions
from aegis.venue.market_socket import MarketSocket

__all__ = ["Successor"]

#: Every payload of a stream begins with it; the answer to SUBSCRIBE has none.
_STREAM = b'"stream":'


@attrs.define(kw_only=True, eq=False)
class Successor:
    """`held` are the raw reads, oldest first, `size` their bytes. It takes `limit_bytes` and at most one read more.
    `subscriptions` are what it was asked for.

    `delivering`: the streams that were asked for have begun to come.
    """

    socket: MarketSocket
    subscriptions: Subscriptions
    limit_bytes: int
    held: deque[bytes] = attrs.field(factory=deque, init=False)
    size: int = attrs.field(default=0, init=False)
    delivering: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._keep()  # frames that came in one packet with the handshake

    @property
    def full(self) -> bool:
        """No more is held: take over now, or let it go."""
        return self.size >= self.limit_bytes

    async def begin(self) -> None:
        """Hold until the first data have come. Raises Restartable when the connection ends."""
        while not (self.delivering or self.full):
            await self._receive()

    async def hold(self) -> None:
        """Hold until `full`. Raises Restartable when the connection ends."""
        while not self.full:
            await self._receive()

    async def _receive(self) -> None:
        await self.socket.receive()
        self._keep()

    def _keep(self) -> None:
        read = self.socket.inbox.drain()
        if read:
            self.held.append(read)
            self.size += len(read)
            self.delivering = self.delivering or _STREAM in read
