"""What one connection carries over between reads: the bytes not yet scanned, and a message that came in fragments.

A socket fills it in place; a replay fills it with recorded reads. Both then scan the same bytes in the same way.
"""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

from aegis.core.errors import Restartable
from aegis.kernels import wire
from aegis.kernels.market import Table

__all__ = ["Closed", "Inbox", "Message", "Ping", "Pong", "Text"]

#: At most this much is received at a time, so that a burst cannot hold the loop for long.
RECEIVE_BYTES = 1 << 16


@attrs.frozen(kw_only=True)
class Text:
    """A whole text message that the compiled pass did not read: for the strict decoder."""

    payload: bytes


@attrs.frozen(kw_only=True)
class Ping:
    """The peer wants the same payload back."""

    payload: bytes


@attrs.frozen(kw_only=True)
class Pong:
    payload: bytes


@attrs.frozen(kw_only=True)
class Closed:
    """The peer ends the connection. `code` is 1005 where it gave none."""

    code: int
    reason: str


Message = Text | Ping | Pong | Closed


class Inbox:
    """A buffer of `size` bytes that never moves in memory while it is scanned.

    Attributes:
        buffer: uint8 [size].
        start: position of the first byte that is not consumed.
        filled: position behind the last byte received.
        result: of `wire.scan`; it belongs to this connection alone.
    """

    def __init__(self, size: int = 1 << 20) -> None:
        if size < 2 * RECEIVE_BYTES:
            raise ValueError(f"an inbox needs at least {2 * RECEIVE_BYTES} bytes")
        self.buffer: npt.NDArray[np.uint8] = np.zeros(size, np.uint8)
        self.start = 0
        self.filled = 0
        self.result = wire.new_result()
        self._view = self.buffer.data
        self._fragments: list[bytes] = []

    def room(self) -> memoryview:
        """Where the next bytes go: between 1 byte and RECEIVE_BYTES. Report what was written with `advance`.

        Raises:
            Restartable: a frame does not fit into the buffer.
        """
        if self.start == self.filled:
            self.start = self.filled = 0
        elif len(self.buffer) - self.filled < RECEIVE_BYTES and self.start > 0:
            left = self.filled - self.start
            self.buffer[:left] = self.buffer[self.start : self.filled].copy()
            self.start, self.filled = 0, left
        if self.filled == len(self.buffer):
            raise Restartable(f"market socket: a frame is larger than {len(self.buffer)} bytes")
        return self._view[self.filled : self.filled + RECEIVE_BYTES]

    def advance(self, count: int) -> None:
        """`count` bytes were written into `room()`."""
        self.filled += count

    def extend(self, data: bytes) -> None:
        """Append one recorded read. Scan before the next: what is not consumed and `data` must fit together.

        Raises:
            Restartable: they do not fit.
        """
        rest = memoryview(data)
        while rest:
            room = self.room()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            self.advance(count)
            rest = rest[count:]

    def drain(self) -> bytes:
        """Take out every byte that is not scanned; `extend` with them brings them back."""
        left = bytes(self._view[self.start : self.filled])
        self.start = self.filled = 0
        return left

    def scan(self, table: Table, recv_ns: int) -> int:
        """`wire.scan` from `start`; moves `start` and returns the status.

        Raises:
            Restartable: the peer broke the WebSocket protocol.
        """
        status = int(wire.scan(self.buffer, self.start, self.filled, recv_ns, table, self.result))
        self.start = int(self.result[wire.NEXT])
        if status == wire.BAD_FRAME:
            raise Restartable("market socket: the peer broke the WebSocket protocol")
        return status

    def whole(self) -> tuple[int, int] | None:
        """Where in the buffer the text lies that `scan` handed back with SLOW; None where it is no text, or a part."""
        result = self.result
        if result[wire.OPCODE] != 1 or not result[wire.FIN]:
            return None
        return int(result[wire.PAYLOAD_START]), int(result[wire.PAYLOAD_END])

    def slow(self) -> Message | None:
        """The message of the frame that `scan` handed back with SLOW; None while its fragments are incomplete.

        Raises:
            Restartable: a binary message, a close frame that is none, or a message larger than the buffer.
        """
        opcode = int(self.result[wire.OPCODE])
        payload = bytes(self._view[int(self.result[wire.PAYLOAD_START]) : int(self.result[wire.PAYLOAD_END])])
        if opcode == 8:
            return _closed(payload)
        if opcode == 9:
            return Ping(payload=payload)
        if opcode == 10:
            return Pong(payload=payload)
        return self._text(opcode, bool(self.result[wire.FIN]), payload)

    def _text(self, opcode: int, final: bool, payload: bytes) -> Text | None:
        if opcode != 0:
            if opcode != 1:
                raise Restartable("market socket: the peer sent a binary message")
            self._fragments = []
        self._fragments.append(payload)
        if sum(map(len, self._fragments)) > len(self.buffer):
            raise Restartable(f"market socket: a message is larger than {len(self.buffer)} bytes")
        if not final:
            return None
        whole = b"".join(self._fragments)
        self._fragments = []
        return Text(payload=whole)


def _closed(payload: bytes) -> Closed:
    if not payload:
        return Closed(code=1005, reason="")
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not 1000 <= code <= 4999:
        raise Restartable("market socket: the peer sent a malformed close frame")
    # The reason is for a log line: what is not UTF-8 in it is shown as such.
    return Closed(code=code, reason=payload[2:].decode(errors="replace"))
