"""Memory on pages of 2 MiB: code that has not run for a while waits for what it touches to be found again.

A way through the engine that runs once a second touches hundreds of small pages whose places the processor has long
forgotten, and in a virtual machine looking one up costs up to 24 reads. The whole heap on large pages is some hundred
places. Linux 6.1 or later; elsewhere nothing happens.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

__all__ = ["LARGE_BYTES", "gather_pages"]

LARGE_BYTES = 2 << 20
_MADV_COLLAPSE = 25
_SMALL_BYTES = 4096
_ENTRIES = LARGE_BYTES // _SMALL_BYTES
_PRESENT = np.uint64(1 << 63)


def gather_pages(least: float = 0.5) -> int:
    """Move private memory that is in use onto large pages; returns how many bytes are on them.

    To be called once what lasts has been made, in a worker thread: copying 100 MiB takes some tenths of a second.

    Args:
        least: share of a large page that must be in use already; what is added to it counts as resident from then on.
    """
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is None:
        return 0
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    try:
        places = [place for place, used in _large_places() if used >= least * _ENTRIES]
    except OSError:  # not Linux, or a /proc that is closed to us
        return 0
    moved = [place for place in places if madvise(place, LARGE_BYTES, _MADV_COLLAPSE) == 0]
    return LARGE_BYTES * len(moved)


def _large_places() -> Iterator[tuple[int, int]]:
    """(address, small pages in use) of every aligned large page within the heap and anonymous writable memory."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    table = os.open("/proc/self/pagemap", os.O_RDONLY)
    try:
        for fields in (line.split() for line in maps):
            name = fields[5] if len(fields) > 5 else ""
            if not fields[1].startswith("rw-p") or name not in ("", "[heap]"):
                continue
            begin, end = (int(address, 16) for address in fields[0].split("-"))
            for place in range(-(-begin // LARGE_BYTES) * LARGE_BYTES, end - LARGE_BYTES + 1, LARGE_BYTES):
                entries = os.pread(table, 8 * _ENTRIES, place // _SMALL_BYTES * 8)
                yield place, int((np.frombuffer(entries, np.uint64) >= _PRESENT).sum())
    finally:
        os.close(table)
