"""A stage for socket tests: a scripted venue on memory streams, so that time can be virtual."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import urlsplit

import trio
import trio.testing
from trio_websocket import WebSocketConnection, wrap_client_stream, wrap_server_stream

Script = Callable[[WebSocketConnection], Awaitable[None]]


class Stage:
    """`dial` connects to `script`, which plays the venue; `lives` counts the connections."""

    def __init__(self, nursery: trio.Nursery, script: Script) -> None:
        self._nursery = nursery
        self._script = script
        self.lives = 0
        self.paths: list[str] = []
        self.server_stream: trio.abc.Stream | None = None

    def dial(self, url: str) -> AbstractAsyncContextManager[WebSocketConnection]:
        return self._open(url)

    @asynccontextmanager
    async def _open(self, url: str) -> AsyncIterator[WebSocketConnection]:
        self.lives += 1
        parts = urlsplit(url)
        resource = parts.path + (f"?{parts.query}" if parts.query else "")
        ours, theirs = trio.testing.memory_stream_pair()
        self.server_stream = theirs
        self._nursery.start_soon(self._serve, theirs)
        socket = await wrap_client_stream(self._nursery, ours, "exchange.test", resource)
        try:
            yield socket
        finally:
            with trio.move_on_after(1, shield=True):
                await socket.aclose()

    async def _serve(self, stream: trio.abc.Stream) -> None:
        request = await wrap_server_stream(self._nursery, stream)
        self.paths.append(request.path)
        socket = await request.accept()
        await self._script(socket)

    async def cut(self) -> None:
        """TCP ends without a close frame."""
        assert self.server_stream is not None
        await self.server_stream.aclose()
