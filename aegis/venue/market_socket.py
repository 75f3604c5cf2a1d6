"""The public market's WebSocket on a raw Trio stream: handshake, bytes into the scan buffer, few frames out.

TLS runs in an `SSLObject` over memory BIOs that decrypts straight into that buffer. There is no frame and no Python
object a tick here; what the frames say is read by `kernels/wire.py`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ssl
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

import attrs
import h11
import msgspec
import trio

from aegis.core.errors import ConfigError, Restartable, VenueUnavailable
from aegis.runtime.clock import random_bytes
from aegis.venue.inbox import Closed, Inbox, Message, Ping
from aegis.venue.transport import PlainTransport, TlsTransport, Transport, one_line

__all__ = ["MarketSocket", "Target", "connect", "handshake", "parse_url", "subscribe", "unsubscribe"]

_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE_S = 1.0  # the demo venue answers a close frame only after seconds: say goodbye and go
_HANDSHAKE_BYTES = 1 << 16


@attrs.frozen(kw_only=True)
class Target:
    """A WebSocket URL taken apart; `path` is percent-encoded, with its query."""

    tls: bool
    host: str
    port: int
    path: str


def parse_url(url: str) -> Target:
    """Take a `ws://` or `wss://` URL apart; text that is not ASCII (there are such symbols) is percent-encoded.

    Raises:
        ConfigError: it is no such URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"not a WebSocket URL: {url!r}: {error}") from None
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ConfigError(f"not a WebSocket URL: {url!r}")
    tls = parts.scheme == "wss"
    path = parts.path or "/"
    if parts.query:
        path += "?" + parts.query
    return Target(
        tls=tls, host=parts.hostname, port=port or (443 if tls else 80), path=quote(path, safe="/?=&@!:%,._-~")
    )


def _control(method: str, streams: Sequence[str], request_id: int) -> bytes:
    return msgspec.json.encode({"method": method, "params": list(streams), "id": request_id})


def subscribe(streams: Sequence[str], request_id: int) -> bytes:
    """One SUBSCRIBE message for all `streams`; the answer carries `request_id`."""
    return _control("SUBSCRIBE", streams, request_id)


def unsubscribe(streams: Sequence[str], request_id: int) -> bytes:
    """One UNSUBSCRIBE message for all `streams`."""
    return _control("UNSUBSCRIBE", streams, request_id)


def client_frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """A final client frame, masked as the protocol demands of clients."""
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, 0x80 | length))
    elif length < 1 << 16:
        head = bytes((0x80 | opcode, 0xFE)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + length.to_bytes(8, "big")
    if not payload:
        return head + mask
    key = (mask * (length // 4 + 1))[:length]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return head + mask + masked.to_bytes(length, "big")


class MarketSocket:
    """An open market connection; one task receives, any task may send.

    `buffer`, `start` and `filled` are those of `inbox`. Every method raises `Restartable` with one line of reason when
    the connection is over.
    """

    def __init__(self, transport: Transport, inbox: Inbox, name: str) -> None:
        self.inbox = inbox
        self.name = name
        self._transport = transport
        self._sending = trio.Lock()

    async def receive(self) -> int:
        """Wait for bytes, put at most 64 KiB of them into the inbox, and return how many."""
        room = self.inbox.room()
        try:
            count = await self._transport.receive_into(room)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Restartable(f"{self.name}: receiving failed: {one_line(error)}") from error
        if count == 0:
            raise Restartable(f"{self.name}: the peer closed the connection without a close frame")
        self.inbox.advance(count)
        return count

    def receive_now(self) -> int:
        """What has come already, as `receive` without waiting; 0: nothing, or an end that `receive` will tell."""
        room = self.inbox.room()
        try:
            count = self._transport.receive_now(room)
        except OSError as error:
            raise Restartable(f"{self.name}: receiving failed: {one_line(error)}") from error
        self.inbox.advance(count)
        return count

    async def _send(self, opcode: int, payload: bytes) -> None:
        data = client_frame(opcode, payload, random_bytes(4))
        try:
            async with self._sending:
                await self._transport.send(data)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Restartable(f"{self.name}: sending failed: {one_line(error)}") from error

    async def send_text(self, payload: bytes) -> None:
        """Send one text message."""
        await self._send(1, payload)

    async def pong(self, payload: bytes) -> None:
        """Answer a ping with its own payload."""
        await self._send(10, payload)

    async def answer(self, message: Message) -> None:
        """Do what a control message asks for: a ping gets its pong; a close ends in `Restartable` with its code."""
        if isinstance(message, Ping):
            await self.pong(message.payload)
        elif isinstance(message, Closed):
            await self.close()
            raise Restartable(f"{self.name}: closed by the peer: {message.code} {message.reason}".rstrip())

    async def close(self) -> None:
        """Say goodbye, within a second, and close. Never raises for the network's sake; may be called again."""
        with trio.move_on_after(_CLOSE_S), contextlib.suppress(Restartable):
            await self._send(8, (1000).to_bytes(2, "big"))
        await self._transport.aclose()


async def connect(url: str, *, ssl_context: ssl.SSLContext | None = None, buffer_bytes: int = 1 << 20) -> MarketSocket:
    """Open a market socket; the caller sets the deadline.

    Args:
        url: `ws://` or `wss://`, with route and streams.
        ssl_context: for `wss://`; the system's certificates where none is given. Certificate and host are verified.
        buffer_bytes: size of the scan buffer: the largest frame it takes.

    Raises:
        VenueUnavailable: the venue could not be reached, is not who it should be, or refused the upgrade.
        ConfigError: the URL is none.
    """
    target = parse_url(url)
    try:
        stream = await trio.open_tcp_stream(target.host, target.port)
    except OSError as error:
        raise VenueUnavailable(f"cannot connect to {target.host}:{target.port}: {one_line(error)}") from error
    return await handshake(stream, target, ssl_context=ssl_context, buffer_bytes=buffer_bytes)


async def handshake(
    stream: trio.abc.Stream,
    target: Target,
    *,
    ssl_context: ssl.SSLContext | None = None,
    buffer_bytes: int = 1 << 20,
) -> MarketSocket:
    """Make a market socket of a connected stream; on failure, or when cancelled, the stream is closed.

    Raises:
        VenueUnavailable: as `connect`.
    """
    name = f"market socket {target.host}:{target.port}"
    inbox = Inbox(buffer_bytes)
    transport: Transport
    if target.tls:
        transport = TlsTransport(stream, ssl_context or ssl.create_default_context(), target.host)
    else:
        transport = PlainTransport(stream)
    try:
        await transport.start()
        inbox.extend(await _upgrade(transport, target))
    except (OSError, trio.BrokenResourceError, h11.ProtocolError, _Refused) as error:
        await transport.aclose()
        raise VenueUnavailable(f"{name}: handshake failed: {one_line(error)}") from error
    except trio.Cancelled:
        await trio.aclose_forcefully(stream)
        raise
    return MarketSocket(transport, inbox, name)


class _Refused(Exception):
    """The peer answered the upgrade with something else than yes."""


async def _upgrade(transport: Transport, target: Target) -> bytes:
    """The HTTP/1.1 upgrade; returns what came behind it, the first frames."""
    key = base64.b64encode(random_bytes(16))
    default_port = target.port == (443 if target.tls else 80)
    literal = f"[{target.host}]" if ":" in target.host else target.host
    headers = [
        ("Host", literal if default_port else f"{literal}:{target.port}"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key.decode()),
        ("Sec-WebSocket-Version", "13"),
    ]
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HANDSHAKE_BYTES)
    request = http.send(h11.Request(method="GET", target=target.path, headers=headers))
    assert request is not None
    await transport.send(request)
    room = memoryview(bytearray(4096))
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            count = await transport.receive_into(room)
            http.receive_data(bytes(room[:count]))
        elif isinstance(event, h11.InformationalResponse) and event.status_code == 101:
            _check_accept(event, key)
            return http.trailing_data[0]
        elif not isinstance(event, h11.InformationalResponse):
            status = event.status_code if isinstance(event, h11.Response) else "no"
            raise _Refused(f"status {status} instead of 101")


def _check_accept(event: h11.InformationalResponse, key: bytes) -> None:
    found: dict[bytes, bytes] = dict(event.headers)
    expected = base64.b64encode(hashlib.sha1(key + _ACCEPT_GUID, usedforsecurity=False).digest())
    if found.get(b"upgrade", b"").lower() != b"websocket" or b"upgrade" not in found.get(b"connection", b"").lower():
        raise _Refused("no upgrade to websocket")
    if found.get(b"sec-websocket-accept") != expected:
        raise _Refused("wrong Sec-WebSocket-Accept")
    if b"sec-websocket-extensions" in found or b"sec-websocket-protocol" in found:
        raise _Refused("an extension or subprotocol that was not asked for")
