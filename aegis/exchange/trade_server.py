"""The trade socket: WebSocket API frames to the simulator, its replies back (PROTOCOL 1.5)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Protocol

import msgspec

from aegis.exchange.connection import Connection
from aegis.exchange.settings import SocketLimits
from aegis.exchange.websocket import CloseCode

__all__ = ["TradeCore", "TradeSession"]


class TradeCore(Protocol):
    """The simulator's side of a trade socket."""

    def ws_api(
        self, message: bytes, now_ns: int, deliver: Callable[[bytes | None], None], connection: Hashable
    ) -> None:
        """Answer with a frame, or with None: then the connection is cut."""


class TradeSession:
    """One client of the trade socket.

    A request that cannot be answered any more because its client left is still carried out: that is what a venue does.

    Args:
        submit: hands a call to the driver.
        rate_limits: False when the URL asked for replies without `rateLimits`.
    """

    def __init__(
        self,
        connection: Connection,
        core: TradeCore,
        submit: Callable[[Callable[[int], None]], None],
        limits: SocketLimits,
        *,
        rate_limits: bool,
    ) -> None:
        self._connection = connection
        self._core = core
        self._submit = submit
        self._limits = limits
        self._rate_limits = rate_limits
        self._in_flight = 0

    async def run(self) -> None:
        await self._connection.run(self.on_message)

    def on_message(self, message: bytes) -> None:
        if self._in_flight >= self._limits.trade_in_flight:
            self._connection.close(CloseCode.POLICY, "Too many requests")
            return
        self._in_flight += 1
        self._submit(partial(self._call, message))

    def _call(self, message: bytes, now_ns: int) -> None:
        self._core.ws_api(message, now_ns, self._deliver, self)

    def _deliver(self, reply: bytes | None) -> None:
        self._in_flight -= 1
        if reply is None:
            self._connection.abort("cut")
            return
        self._connection.send_text(reply if self._rate_limits else _without_rate_limits(reply))


def _without_rate_limits(reply: bytes) -> bytes:
    fields = msgspec.json.decode(reply, type=dict[str, msgspec.Raw])  # Raw keeps every number as it was written
    fields.pop("rateLimits", None)
    return msgspec.json.encode(fields)
