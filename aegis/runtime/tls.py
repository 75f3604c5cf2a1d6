"""What both ends of a TLS connection on memory BIOs have in common: the handshake, and ciphertext that came in."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

__all__ = ["feed", "shake_hands"]


async def shake_hands(
    tls: ssl.SSLObject, flush: Callable[[], Awaitable[None]], fill: Callable[[], Awaitable[None]]
) -> None:
    """Both directions until the handshake is done, and what it left behind.

    Args:
        flush: sends what the object has written.
        fill: waits for ciphertext and feeds it.

    Raises ssl.SSLError, and whatever `flush` and `fill` do.
    """
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            await flush()
            await fill()
    await flush()


def feed(incoming: ssl.MemoryBIO, data: bytes | bytearray | memoryview) -> None:
    """Ciphertext for the object to read; nothing means that the peer has ended."""
    if data:
        incoming.write(data)
    else:
        incoming.write_eof()
