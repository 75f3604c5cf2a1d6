"""The stream under a WebSocket of orders: Trio's as any other, and one whose owner may also write at once.

An order that waits for a task to get its turn waits for everything else that the loop has to do. `send_now` is one
`write` in the caller's own turn; what the kernel does not take of it goes first with the next `send_all`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from aegis.runtime.clock import random_bytes
from aegis.venue.market_socket import client_frame
from aegis.venue.transport import Transport, one_line

__all__ = ["Line", "text_frame"]

_READ_BYTES = 1 << 16
_TEXT = 1


def text_frame(payload: bytes) -> bytes:
    """One text message of a client, masked."""
    return client_frame(_TEXT, payload, random_bytes(4))


class Line(trio.abc.Stream):
    """A transport as a Trio stream; `stream` is the one below it and is closed for sure."""

    def __init__(self, transport: Transport, stream: trio.abc.Stream) -> None:
        self._transport = transport
        self._stream = stream
        self._room = memoryview(bytearray(_READ_BYTES))

    @property
    def unsent(self) -> bool:
        """Something of `send_now` waits for the next `send_all`, which may be an empty one."""
        return self._transport.unsent

    def send_text_now(self, payload: bytes) -> bool:
        """Send one text message as a client, at once. False: nothing of it was or will be sent."""
        return self._transport.send_now(text_frame(payload))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with _broken():
            await self._transport.send(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        with _broken():
            count = await self._transport.receive_into(self._room[:max_bytes])
        return bytes(self._room[:count])

    async def aclose(self) -> None:
        try:
            await self._transport.aclose()
        finally:
            await trio.aclose_forcefully(self._stream)


@contextmanager
def _broken() -> Iterator[None]:
    """Below, the network's errors come as they are; users of a Trio stream expect one kind."""
    try:
        yield
    except OSError as error:
        raise trio.BrokenResourceError(one_line(error)) from error
