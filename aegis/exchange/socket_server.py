"""Accepts WebSockets on the one stream port and gives each to what its path names."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import trio

from aegis.core.errors import VenueUnavailable
from aegis.exchange.connection import Connection
from aegis.exchange.pace import Pace
from aegis.exchange.settings import SocketLimits
from aegis.exchange.subscriptions import Endpoint, Route, parse_endpoint
from aegis.exchange.websocket import Handshake, HandshakeRefused, accept_handshake, parse_handshake, refuse_handshake

__all__ = ["bind_listener", "serve_sockets", "shake_hands"]

_HEAD_BYTES = 1 << 17  # 1,024 stream names fit in a URL
_BACKLOG = 512

Serve = Callable[[Connection, Endpoint], Awaitable[None]]


def bind_listener(host: str, port: int) -> socket.socket:
    """A bound TCP socket, not yet listening; port 0 takes a free one. Raises VenueUnavailable with one line."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        # A second bind to the same port succeeds until somebody listens.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise VenueUnavailable(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return listener


async def serve_sockets(
    listener: socket.socket,
    limits: SocketLimits,
    serve: Serve,
    *,
    pace: Pace | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. `serve` runs a connection to its end; a path that does not exist answers 404."""

    async def handle(stream: trio.SocketStream) -> None:
        try:
            with trio.fail_after(limits.handshake_s):
                endpoint = await shake_hands(stream)
        except (trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError):
            endpoint = None
        if endpoint is None:
            await trio.aclose_forcefully(stream)
            return
        control = limits.trade_control_frames_per_s if endpoint.route is Route.TRADE else None
        await serve(Connection(stream, limits, control_frames_per_s=control, pace=pace), endpoint)

    listener.setblocking(False)
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
    task_status.started()  # the kernel has been queueing clients since the bind
    await trio.serve_listeners(handle, listeners)


async def shake_hands(stream: trio.abc.Stream) -> Endpoint | None:
    """Answer the upgrade; None when there is nothing to serve (refused, or the client left). The caller closes."""
    try:
        handshake = await _read_handshake(stream)
        if handshake is None:
            return None
        endpoint = _endpoint(handshake)
    except HandshakeRefused as refusal:
        await stream.send_all(refuse_handshake(refusal))
        if isinstance(stream, trio.abc.HalfCloseableStream):
            await stream.send_eof()
        while await stream.receive_some(_HEAD_BYTES):  # unread bytes would turn the answer into a reset
            pass
        return None
    await stream.send_all(accept_handshake(handshake.key))
    return endpoint


def _endpoint(handshake: Handshake) -> Endpoint:
    endpoint = parse_endpoint(handshake.path, handshake.query)
    if endpoint is None:
        raise HandshakeRefused(404, "no such path")
    return endpoint


async def _read_handshake(stream: trio.abc.Stream) -> Handshake | None:
    head = bytearray()
    while (end := head.find(b"\r\n\r\n")) < 0:
        if len(head) > _HEAD_BYTES:
            raise HandshakeRefused(400, "request head too large")
        data = await stream.receive_some(4096)
        if not data:
            return None
        head += data
    if end + 4 != len(head):
        raise HandshakeRefused(400, "data before the handshake was answered")
    return parse_handshake(bytes(head[:end]))
