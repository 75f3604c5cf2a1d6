"""The C library's heap: one for all threads, and large arrays outside of it, so that it soon stops growing."""

from __future__ import annotations

import ctypes

__all__ = ["settle_heap"]

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE_BYTES = 128 << 10


def settle_heap() -> None:
    """To be called before the first thread. Where the C library is not glibc, nothing happens.

    Left alone, glibc gives each thread an arena of its own, and what was freed there serves that thread only. And with
    every large array that is freed it takes larger ones into the arena, where what lasts settles behind them and keeps
    their room from being given back. With a threshold that stays, a large array returns to the system.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
