"""What lasts moves onto large pages unchanged; what is hardly used stays where it is; other systems are borne."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from aegis.runtime import large_pages
from aegis.runtime.large_pages import LARGE_BYTES, gather_pages

#: In a process of its own: one region in full use and one of which every tenth large page is begun.
SETTLED = """
import mmap, re
from pathlib import Path
from aegis.runtime.large_pages import LARGE_BYTES, gather_pages

def told(name):
    return int(re.search(rf"^{name}: +([0-9]+) kB", Path("/proc/self/smaps_rollup").read_text(), re.M)[1]) << 10

used, sparse = (mmap.mmap(-1, 40 * LARGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(2))
pattern = bytes(range(251)) * 1000
for at in range(0, len(used) - len(pattern), len(pattern)):
    used[at : at + len(pattern)] = pattern
for at in range(0, len(sparse), 10 * LARGE_BYTES):
    sparse[at] = 1
texts = [str(number) for number in range(200_000)]
before, resident = bytes(used), told("Rss")
moved = gather_pages()
assert bytes(used) == before and texts == [str(number) for number in range(200_000)]
print(moved, told("AnonHugePages"), resident, told("Rss"))
"""


def test_what_is_used_moves_and_what_is_not_does_not_begin_to_be() -> None:
    done = subprocess.run([sys.executable, "-c", SETTLED], capture_output=True, check=True, text=True)
    moved, large, before, after = (int(word) for word in done.stdout.split())
    if moved == 0:
        pytest.skip("this system does not collapse pages when asked")
    assert moved >= 40 * LARGE_BYTES
    assert large >= moved
    # at most half of every page that moved was not there before; the copies of the test itself are within the rest
    assert after - before <= moved // 4 + (50 << 20)


@pytest.mark.parametrize("missing", ["madvise", "maps"])
def test_another_system_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    if missing == "madvise":
        monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    else:
        monkeypatch.setattr(large_pages, "Path", lambda name: Path("/nowhere"))
    with mmap.mmap(-1, 4 * LARGE_BYTES) as used:
        used.write(b"x" * len(used))
        assert gather_pages() == 0
