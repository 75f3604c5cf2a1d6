"""Bytes in and out of a Trio stream, plain or TLS, received into memory that the caller owns."""

from __future__ import annotations

import contextlib
import os
import ssl
from typing import Protocol, cast

import trio

from aegis.runtime.tls import feed, shake_hands

__all__ = ["PlainTransport", "TlsTransport", "Transport", "one_line"]

_RECORD_BYTES = 1 << 16


def one_line(error: BaseException) -> str:
    """An error's text on one line, its class name where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


class Transport(Protocol):
    """A connection; `receive_into` returns 0 at its end. Raises OSError and Trio's resource errors."""

    async def start(self) -> None: ...
    async def receive_into(self, room: memoryview) -> int: ...
    def receive_now(self, room: memoryview) -> int:
        """As `receive_into` without waiting; 0 where that cannot be told from an end, or nothing has come."""
        ...

    async def send(self, data: bytes) -> None: ...
    async def aclose(self) -> None: ...

    @property
    def unsent(self) -> bool: ...
    def send_now(self, data: bytes) -> bool: ...


class _Outlet:
    """The writing side of a stream: one writer after the other, or at once where nobody writes."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._turn = trio.Lock()
        self.rest = b""

    @property
    def free(self) -> bool:
        """Nobody writes and nothing is left over."""
        return isinstance(self._stream, trio.SocketStream) and not self._turn.locked() and not self.rest

    def put(self, data: bytes) -> bool:
        """Write without waiting; only while `free`. False: the kernel took nothing of it."""
        assert isinstance(self._stream, trio.SocketStream)
        try:
            count = os.write(self._stream.socket.fileno(), data)
        except OSError:  # no room now, or the connection is gone: whoever reads or writes in turn is told
            return False
        self.rest = data[count:]
        return True

    async def send(self, data: bytes) -> None:
        async with self._turn:
            data, self.rest = self.rest + data, b""
            await self._stream.send_all(data)


async def _receive_into(stream: trio.abc.Stream, room: memoryview) -> int:
    if isinstance(stream, trio.SocketStream):
        return await stream.socket.recv_into(room)
    data = await stream.receive_some(len(room))
    room[: len(data)] = data
    return len(data)


def _read_now(stream: trio.abc.Stream, room: memoryview) -> int:
    if not isinstance(stream, trio.SocketStream):
        return 0
    try:
        return os.readv(stream.socket.fileno(), [room])
    except OSError:  # nothing there, or the connection is gone: whoever waits for it is told
        return 0


class PlainTransport:
    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._outlet = _Outlet(stream)

    @property
    def unsent(self) -> bool:
        return bool(self._outlet.rest)

    def send_now(self, data: bytes) -> bool:
        return self._outlet.free and self._outlet.put(data)

    async def start(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_into(self, room: memoryview) -> int:
        return await _receive_into(self._stream, room)

    def receive_now(self, room: memoryview) -> int:
        return _read_now(self._stream, room)

    async def send(self, data: bytes) -> None:
        await self._outlet.send(data)

    async def aclose(self) -> None:
        await self._stream.aclose()


class TlsTransport:
    """TLS on memory BIOs: a record is decrypted straight into the caller's memory.

    `trio.SSLStream` would cost a lock, two checkpoints and a copy a record. One task receives; sends are serialised by
    the caller, and what a receive itself must send (key updates) goes out under the same lock.
    """

    def __init__(self, stream: trio.abc.Stream, context: ssl.SSLContext, host: str) -> None:
        self._stream = stream
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._cipher = memoryview(bytearray(_RECORD_BYTES))
        self._outlet = _Outlet(stream)

    @property
    def unsent(self) -> bool:
        return bool(self._outlet.rest or self._outgoing.pending)

    def send_now(self, data: bytes) -> bool:
        if not self._outlet.free or self._outgoing.pending:
            return False
        self._tls.write(data)
        record = self._outgoing.read()
        if not self._outlet.put(record):
            self._outlet.rest = record  # its number is used up: it must be the next to leave
        return True

    async def _flush(self) -> None:
        while self.unsent:
            await self._outlet.send(self._outgoing.read())

    async def _fill(self) -> None:
        count = await _receive_into(self._stream, self._cipher)
        feed(self._incoming, self._cipher[:count])

    async def start(self) -> None:
        await shake_hands(self._tls, self._flush, self._fill)

    async def receive_into(self, room: memoryview) -> int:
        await trio.lowlevel.checkpoint_if_cancelled()
        waited = False
        while True:
            filled = self._decrypt(room)
            await self._flush()
            if filled is not None:
                if not waited:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                return filled
            await self._fill()
            waited = True

    def receive_now(self, room: memoryview) -> int:
        return self._decrypt(room) or 0  # of what has been received; what decrypting wants to answer waits its turn

    def _decrypt(self, room: memoryview) -> int | None:
        """Decrypt what is there, as much as fits; None where a record is incomplete and nothing was decrypted."""
        filled = 0
        while filled < len(room):
            try:
                # One record at most. The stubs know only the form without a buffer, which returns bytes.
                count = cast(int, self._tls.read(len(room) - filled, room[filled:]))
            except ssl.SSLWantReadError:
                return filled or None
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return filled
            if count == 0:
                return filled
            filled += count
        return filled

    async def send(self, data: bytes) -> None:
        self._tls.write(data)
        await self._flush()

    async def aclose(self) -> None:
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()  # the peer has not said goodbye yet: ours is in the BIO and goes out below
        with trio.move_on_after(1.0), contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._flush()
        await self._stream.aclose()
