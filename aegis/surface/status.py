"""What a run shows to others: a status file while it lives, a word at its first tick, its bars when it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import trio

from aegis.engine.machine import Machine
from aegis.engine.observe import Observer, ticks
from aegis.research.kept_bars import keep_bars

__all__ = ["leave_bars", "publish", "tell_first_tick"]


async def tell_first_tick(observer: Observer, say: Callable[[str], None]) -> None:
    """The moment at which a start is over for whoever waits for it."""
    while not ticks(observer.machine):  # noqa: ASYNC110 - the feed rings no bell for anybody
        await trio.sleep(0.01)
    say("first tick")


async def publish(observer: Observer, path: Path) -> None:
    """Keep the status file fresh for `aegis status`; the disk is touched on a thread. Until cancelled."""
    while True:
        data = msgspec.json.encode(observer.snapshot())
        await trio.to_thread.run_sync(_replace, path, data)
        await trio.sleep(1.0)


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.replace(path)


async def leave_bars(journal: Path, machine: Machine) -> None:
    """For `aegis chart` and `aegis signals`: the closed base bars that the engine still has."""
    names = [spec.symbol for spec in machine.decision.specs]
    await trio.to_thread.run_sync(keep_bars, journal, names, machine.analysis.front)
