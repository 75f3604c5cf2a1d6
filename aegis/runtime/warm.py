"""Compile every kernel before the engine starts, with progress, and then forbid compilation for good.

Compiling while trading would hold the compiler lock and the GIL for seconds. A kernel that is called later with a type
its example did not name raises TypeError at that call instead of compiling silently.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numba
import trio

from aegis.kernels.compile import REGISTRY

__all__ = ["WarmProgress", "warm"]


@attrs.frozen(kw_only=True)
class WarmProgress:
    """`done` of `total` kernels are ready; `name` took `seconds`, or came from the cache."""

    done: int
    total: int
    name: str
    seconds: float
    cached: bool


def _compile(dispatcher: Any, example: Callable[[], tuple[Any, ...]]) -> bool:
    """Compile for the types of the example; True where the machine code came from the cache."""
    hits = sum(dispatcher.stats.cache_hits.values())
    dispatcher.compile(tuple(numba.typeof(argument) for argument in example()))
    return bool(sum(dispatcher.stats.cache_hits.values()) > hits)


def prune_cache(keep: int = 8) -> None:
    """Delete compiled code of kernels that are long gone: every change of a kernel makes a directory of its own."""
    current = Path(numba.config.CACHE_DIR)
    try:
        others = [path for path in current.parent.iterdir() if path.is_dir() and path != current]
        others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    except OSError:
        return  # another process prunes, or there is no cache: nothing is lost
    for old in others[keep:]:
        shutil.rmtree(old, ignore_errors=True)


async def warm(
    progress: Callable[[WarmProgress], None],
    registry: list[tuple[Any, Callable[[], tuple[Any, ...]]]] | None = None,
) -> int:
    """Compile the registry in a worker thread, so that the loop stays alive; returns the number of kernels.

    Without a `registry` these are the kernels of the modules that this process has imported: engine, exchange and
    replay need different ones, and on a first start engine and exchange compile theirs side by side.
    Nothing to do where numba is disabled. Cancellation: the kernel being compiled ends in its thread.
    """
    kernels = [entry for entry in (REGISTRY if registry is None else registry) if hasattr(entry[0], "disable_compile")]
    for done, (dispatcher, example) in enumerate(kernels, start=1):
        begin = trio.current_time()
        dispatcher.disable_compile(False)  # it may have been warmed before in this process
        cached = await trio.to_thread.run_sync(_compile, dispatcher, example, abandon_on_cancel=True)
        name = dispatcher.py_func.__qualname__
        seconds = trio.current_time() - begin
        progress(WarmProgress(done=done, total=len(kernels), name=name, seconds=seconds, cached=cached))
    for dispatcher, _ in kernels:
        dispatcher.disable_compile()
    await trio.to_thread.run_sync(prune_cache)
    return len(kernels)
