"""What others may know of a running engine: a file that is always fresh, and a word when the first tick has come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import trio

from aegis.engine.observe import Observer, ticks

__all__ = ["publish", "tell_first_tick"]


async def tell_first_tick(observer: Observer, say: Callable[[str], None]) -> None:
    """The moment at which a start is over for whoever waits for it."""
    while not ticks(observer.machine):  # noqa: ASYNC110 - the feed rings no bell for anybody
        await trio.sleep(0.01)
    say("first tick")


async def publish(observer: Observer, path: Path) -> None:
    """Keep the status file fresh for `aegis status`; the disk is touched on a thread."""
    while True:
        data = msgspec.json.encode(observer.snapshot())
        await trio.to_thread.run_sync(_replace, path, data)
        await trio.sleep(1.0)


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.replace(path)
