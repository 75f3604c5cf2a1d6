"""The server's side of TLS on memory BIOs: as many WebSocket frames a record as a measurement asks for."""

from __future__ import annotations

import ssl

import numpy as np
import trio

from aegis.kernels.encode import group_ends
from aegis.runtime.tls import feed, shake_hands

__all__ = ["TlsStream"]

_READ_BYTES = 1 << 16
#: A frame is never shorter.
_LEAST_FRAME = 2


class TlsStream(trio.abc.Stream):
    """An accepted connection. `start` shakes hands; one task may send while another receives.

    Attributes:
        record_frames: WebSocket frames in one TLS record from now on; 0: records of 16 KiB. Set it once nothing but
            whole frames is sent.
    """

    def __init__(self, stream: trio.abc.Stream, context: ssl.SSLContext) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._writing = trio.Lock()
        self.record_frames = 0

    async def start(self) -> None:
        """The handshake. Raises trio.BrokenResourceError where it fails."""
        try:
            await shake_hands(self._tls, self._flush, self._fill)
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error

    async def _flush(self) -> None:
        async with self._writing:
            if self._outgoing.pending:
                await self._stream.send_all(self._outgoing.read())

    async def _fill(self) -> None:
        feed(self._incoming, await self._stream.receive_some(_READ_BYTES))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send. Raises trio.BrokenResourceError."""
        view = memoryview(data)
        start = 0
        for end in self._record_ends(view):
            self._tls.write(view[start:end])
            start = end
        await self._flush()

    def _record_ends(self, view: memoryview) -> list[int]:
        if self.record_frames == 0 or len(view) == 0:
            return [len(view)] if len(view) else []
        frames = np.frombuffer(view, np.uint8).copy()  # a read-only array is another type to compiled code
        ends = np.zeros(len(frames) // _LEAST_FRAME, np.int64)
        count: list[int] = ends[: group_ends(frames, len(frames), self.record_frames, ends)].tolist()
        return count

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Decrypted bytes, b"" at the end. Raises trio.BrokenResourceError."""
        while True:
            try:
                return self._tls.read(max_bytes or _READ_BYTES)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            except ssl.SSLError as error:
                raise trio.BrokenResourceError from error

    async def aclose(self) -> None:
        """Close without a goodbye: the WebSocket has said its own."""
        await self._stream.aclose()
