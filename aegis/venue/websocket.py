"""What the private and the trade socket share: opening one on trio-websocket, a heartbeat, and one kind of loss.

The public market does not come this way: at 20 us a message it cannot (DESIGN.md §2.1).
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

import trio
import trio_websocket
from wsproto.utilities import LocalProtocolError

from aegis.core.errors import Restartable
from aegis.venue.http import verifying_context
from aegis.venue.line import Line
from aegis.venue.transport import PlainTransport, TlsTransport

__all__ = ["Dial", "DirectSocket", "Socket", "connection", "dialer", "heartbeat", "live", "loss"]

MESSAGE_BYTES_MAX = 4 << 20
CONNECT_S = 5.0
DISCONNECT_S = 1.0  # the venue may keep TCP open for seconds after the close frame

#: How the library tells that an open connection is lost. No OSError: in here it would be ours, a full disk say.
SOCKET_ERRORS: tuple[type[Exception], ...] = (
    trio_websocket.ConnectionClosed,
    trio_websocket.HandshakeError,
    trio.TooSlowError,
    LocalProtocolError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
)


class Socket(Protocol):
    """An open WebSocket."""

    async def get_message(self) -> str | bytes: ...

    async def send_message(self, message: str | bytes) -> None: ...

    async def ping(self, payload: bytes | None = None) -> None: ...


class DirectSocket:
    """A WebSocket over a line on which a message can also leave at once."""

    def __init__(self, socket: trio_websocket.WebSocketConnection, line: Line) -> None:
        self.get_message = socket.get_message
        self.send_message = socket.send_message
        self.ping = socket.ping
        self.send_text_now = line.send_text_now
        self.flush = partial(line.send_all, b"")
        self._line = line

    @property
    def unsent(self) -> bool:
        """Part of a message waits for `flush`."""
        return self._line.unsent


#: Opens a socket to an address; leaving the context closes it.
Dial = Callable[[str], AbstractAsyncContextManager[Socket]]


def dialer(ssl_context: ssl.SSLContext | None = None) -> Dial:
    """Sockets over TCP. `ssl_context`: for `wss`; the default verifies certificate and host."""
    logging.getLogger("trio-websocket").setLevel(logging.WARNING)
    context = ssl_context or verifying_context()

    @asynccontextmanager
    async def dial(url: str) -> AsyncIterator[Socket]:
        parts = urlsplit(url)
        host = parts.hostname or ""
        with trio.move_on_after(CONNECT_S) as connecting:
            stream = await _connect(host, parts.port, context if parts.scheme == "wss" else None)
        if connecting.cancelled_caught:
            raise Restartable(f"cannot connect within {CONNECT_S:g} s")
        resource = f"{parts.path}?{parts.query}" if parts.query else parts.path
        async with trio.open_nursery() as nursery:
            try:
                with trio.fail_after(CONNECT_S):
                    socket = await trio_websocket.wrap_client_stream(
                        nursery,
                        stream,
                        parts.netloc,
                        resource,
                        receive_buffer_size=None,  # the default of 4 KiB costs many passes a frame
                        max_message_size=MESSAGE_BYTES_MAX,
                    )
                try:
                    yield DirectSocket(socket, stream)
                finally:  # by hand: the library waits up to a minute for the peer
                    with trio.move_on_after(DISCONNECT_S, shield=True):
                        await socket.aclose()
            finally:  # the library leaves the stream open when the handshake is refused
                await trio.aclose_forcefully(stream)
            nursery.cancel_scope.cancel(reason="socket closed")

    return dial


async def _connect(host: str, port: int | None, context: ssl.SSLContext | None) -> Line:
    try:
        stream = await trio.open_tcp_stream(host, port or (443 if context else 80))
    except OSError as error:
        raise Restartable(f"cannot connect: {error.strerror or type(error).__name__}") from None
    transport = PlainTransport(stream) if context is None else TlsTransport(stream, context, host)
    try:
        await transport.start()
    except (OSError, trio.BrokenResourceError) as error:
        await trio.aclose_forcefully(stream)
        why = getattr(error, "verify_message", "") or type(error).__name__
        raise Restartable(f"TLS handshake failed: {why}") from None
    except trio.Cancelled:
        await trio.aclose_forcefully(stream)
        raise
    return Line(transport, stream)


def loss(error: BaseException) -> Restartable:
    """One line that says how a socket was lost; never an address, which may hold a listen key."""
    if isinstance(error, trio_websocket.ConnectionClosed):
        closed = error.reason
        return Restartable(f"closed with {closed.code} {closed.name}" if closed is not None else "closed")
    if isinstance(error, trio_websocket.ConnectionRejected):
        return Restartable(f"handshake refused with status {error.status_code}")
    return Restartable(f"socket failed ({type(error).__name__})")


async def heartbeat(socket: Socket, interval_s: float, timeout_s: float) -> None:
    """Ping for ever. A ping that times out ends the connection: the library leaks its entry, so it is not reused."""
    while True:
        await trio.sleep(interval_s)
        with trio.move_on_after(timeout_s) as waiting:
            await socket.ping()
        if waiting.cancelled_caught:
            raise Restartable(f"no pong within {timeout_s:g} s")


async def connection(dial: Dial, url: str, serve: Callable[[Socket], Awaitable[Restartable]]) -> Restartable:
    """Open, `serve`, close; return why it ended. A bug in `serve` comes out as itself, whatever closing does."""
    ended: list[Restartable] = []
    try:
        async with dial(url) as socket:
            ended.append(await serve(socket))
    except* Restartable as group:
        ended.append(Restartable(str(_leaf(group))))
    except* SOCKET_ERRORS as group:
        ended.append(loss(_leaf(group)))
    return ended[0]


def _leaf(group: BaseExceptionGroup[Exception]) -> Exception:
    first: Exception | BaseExceptionGroup[Exception] = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


async def live(bodies: Sequence[Callable[[], Awaitable[None]]]) -> Restartable:
    """Run the tasks of one connection until the first of them is lost; return why. Bugs pass through."""
    lost: list[Restartable] = []
    async with trio.open_nursery() as nursery:

        async def guard(body: Callable[[], Awaitable[None]]) -> None:
            try:
                await body()
            except Restartable as error:
                lost.append(error)
            except SOCKET_ERRORS as error:
                lost.append(loss(error))
            nursery.cancel_scope.cancel(reason="a task of this connection ended")

        for body in bodies:
            nursery.start_soon(guard, body)
    return lost[0] if lost else Restartable("connection ended")
