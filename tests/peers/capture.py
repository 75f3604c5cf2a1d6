"""What a market socket sends, as lines `<receive time, ns> <json>`: the same messages for all who read a file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import trio

from aegis.venue.market_socket import connect

__all__ = ["capture"]

_DEADLINE_S = 120


async def capture(url: str, count: int, path: Path) -> None:
    """Write the first `count` messages of the socket at `url`. Raises TooSlowError after two minutes."""
    with trio.fail_after(_DEADLINE_S):
        socket = await connect(url)
        inbox = socket.inbox
        written = 0
        with path.open("wb") as file:
            while written < count:
                await socket.receive()
                stamp = b"%d " % time.time_ns()
                for payload, end in _payloads(inbox.buffer.data[: inbox.filled], inbox.start):
                    inbox.start = end
                    if written < count:
                        file.write(stamp + payload + b"\n")
                        written += 1
        await socket.close()


def _payloads(data: memoryview, start: int) -> Iterator[tuple[bytes, int]]:
    """The complete frames from `start`: (payload, position behind it). They are text of at most 64 KiB."""
    while start + 4 <= len(data):
        assert data[start] == 0x81
        length, head = data[start + 1], 2
        if length == 126:
            length, head = int.from_bytes(data[start + 2 : start + 4], "big"), 4
        assert length != 127
        end = start + head + length
        if end > len(data):
            return
        yield bytes(data[start + head : end]), end
        start = end
