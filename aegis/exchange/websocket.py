"""The server's half of the WebSocket protocol (RFC 6455) as plain functions over bytes: no task, no socket.

Public market data is too fast for a general library, and a simulated venue must be able to be strict where the
standard is: unmasked or malformed frames end a connection with the code that the standard names.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
from urllib.parse import unquote

import attrs

__all__ = [
    "CloseCode",
    "FrameDecoder",
    "Handshake",
    "HandshakeRefused",
    "Opcode",
    "ProtocolViolation",
    "accept_handshake",
    "encode_close",
    "encode_frame",
    "parse_handshake",
    "refuse_handshake",
]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_REASONS = {400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 426: "Upgrade Required"}


class Opcode(enum.IntEnum):
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(enum.IntEnum):
    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    INVALID_PAYLOAD = 1007
    POLICY = 1008
    TOO_BIG = 1009


class ProtocolViolation(Exception):
    """The peer broke the protocol: the connection ends with `code`."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class HandshakeRefused(Exception):
    """The upgrade request is not one; `status` is the HTTP status to answer with."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@attrs.frozen(kw_only=True)
class Handshake:
    """A good upgrade request: percent-decoded path, raw query text, the client's key."""

    path: str
    query: str
    key: bytes


def _headers(lines: list[bytes]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise HandshakeRefused(400, "malformed header")
        name = name.lower()
        found[name] = found[name] + b"," + value.strip() if name in found else value.strip()
    return found


def _tokens(value: bytes) -> set[bytes]:
    return {token.strip().lower() for token in value.split(b",")}


def parse_handshake(head: bytes) -> Handshake:
    """Read an upgrade request up to its empty line. Raises HandshakeRefused."""
    first, *lines = head.split(b"\r\n")
    parts = first.split(b" ")
    if len(parts) != 3 or parts[2] != b"HTTP/1.1" or not parts[1].startswith(b"/"):
        raise HandshakeRefused(400, "malformed request line")
    if parts[0] != b"GET":
        raise HandshakeRefused(405, "an upgrade is a GET")
    headers = _headers([line for line in lines if line])
    if b"host" not in headers:
        raise HandshakeRefused(400, "no Host")
    if b"websocket" not in _tokens(headers.get(b"upgrade", b"")) or b"upgrade" not in _tokens(
        headers.get(b"connection", b"")
    ):
        raise HandshakeRefused(426, "this port speaks WebSocket")
    if headers.get(b"sec-websocket-version") != b"13":
        raise HandshakeRefused(426, "only WebSocket version 13")
    key = headers.get(b"sec-websocket-key", b"")
    try:
        if len(base64.b64decode(key, validate=True)) != 16:
            raise HandshakeRefused(400, "bad Sec-WebSocket-Key")
    except binascii.Error:
        raise HandshakeRefused(400, "bad Sec-WebSocket-Key") from None
    path, _, query = parts[1].decode("utf-8", "replace").partition("?")
    return Handshake(path=unquote(path), query=query, key=key)


def accept_handshake(key: bytes) -> bytes:
    """The 101 answer for a client's key."""
    digest = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + digest + b"\r\n\r\n"
    )


def refuse_handshake(refusal: HandshakeRefused) -> bytes:
    """A plain HTTP answer that ends the connection."""
    body = refusal.reason.encode()
    extra = "Sec-WebSocket-Version: 13\r\n" if refusal.status == 426 else ""
    return (
        f"HTTP/1.1 {refusal.status} {_REASONS[refusal.status]}\r\nConnection: close\r\n{extra}"
        f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def encode_frame(opcode: Opcode, payload: bytes) -> bytes:
    """One unmasked, unfragmented frame, as a server sends them."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


def encode_close(code: int, reason: str = "") -> bytes:
    """A close frame; the reason is cut to what a control frame holds."""
    return encode_frame(Opcode.CLOSE, code.to_bytes(2, "big") + reason.encode()[:123])


def _unmask(mask: bytes, payload: bytes) -> bytes:
    size = len(payload)
    repeated = mask * (size // 4) + mask[: size % 4]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


@attrs.define
class FrameDecoder:
    """Turns a client's bytes into whole messages; holds at most one message and one unfinished frame.

    `feed` returns (opcode, payload) pairs of TEXT, BINARY, CLOSE, PING and PONG; fragments are joined. Raises
    ProtocolViolation, after which the decoder must not be fed again.
    """

    max_bytes: int
    _buffer: bytearray = attrs.field(factory=bytearray, init=False)
    _fragments: bytearray = attrs.field(factory=bytearray, init=False)
    _opcode: Opcode | None = attrs.field(default=None, init=False)

    def feed(self, data: bytes) -> list[tuple[Opcode, bytes]]:
        self._buffer += data
        messages: list[tuple[Opcode, bytes]] = []
        while (frame := self._next_frame()) is not None:
            message = self._join(*frame)
            if message is not None:
                messages.append(message)
        return messages

    def _next_frame(self) -> tuple[Opcode, bool, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        if first & 0x70:
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, "reserved bits set")
        if not second & 0x80:
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, "frame is not masked")
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError:
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, "unknown opcode") from None
        final, size, start = bool(first & 0x80), second & 0x7F, 2
        if opcode >= Opcode.CLOSE and (size > 125 or not final):
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, "control frame too long or fragmented")
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            least = 126 if size == 126 else 1 << 16
            size = int.from_bytes(buffer[2:start], "big")
            if size < least:
                raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, "length is not minimal")
        if size + len(self._fragments) > self.max_bytes:
            raise ProtocolViolation(CloseCode.TOO_BIG, "message too big")
        end = start + 4 + size
        if len(buffer) < end:
            return None
        payload = _unmask(bytes(buffer[start : start + 4]), bytes(buffer[start + 4 : end]))
        del buffer[:end]
        return opcode, final, payload

    def _join(self, opcode: Opcode, final: bool, payload: bytes) -> tuple[Opcode, bytes] | None:
        if opcode >= Opcode.CLOSE:
            return opcode, payload
        if (opcode is Opcode.CONTINUATION) != (self._opcode is not None):
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, "continuation out of place")
        started = self._opcode if self._opcode is not None else opcode
        if not final:
            self._opcode = started
            self._fragments += payload
            return None
        whole = bytes(self._fragments) + payload if self._fragments else payload
        self._opcode = None
        self._fragments.clear()
        if started is Opcode.TEXT:
            try:
                whole.decode()
            except UnicodeDecodeError:
                raise ProtocolViolation(CloseCode.INVALID_PAYLOAD, "text is not UTF-8") from None
        return started, whole
