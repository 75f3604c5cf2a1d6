"""Large arrays stay out of the heap, also once larger ones were freed; a C library without the switch is borne."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from aegis.runtime.heap import settle_heap

#: What is mapped for one buffer of 4 MiB, after some of 8 MiB have been freed.
MAPPED = """
import ctypes, sys
from aegis.runtime.heap import settle_heap

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keep")]

told = ctypes.CDLL(None).mallinfo2
told.restype = Info
if sys.argv[1] == "settled":
    settle_heap()
for _ in range(4):
    bytearray(8 << 20)
before = told().hblkhd
kept = bytearray(4 << 20)
print(told().hblkhd - before)
"""
GLIBC = hasattr(ctypes.CDLL(None), "mallinfo2")


def mapped(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", MAPPED, how], capture_output=True, check=True, text=True)
    return int(done.stdout)


@pytest.mark.skipif(not GLIBC, reason="not glibc, or one that cannot tell")
def test_a_large_array_is_outside_of_the_heap_whatever_was_freed_before() -> None:
    assert mapped("settled") >= 4 << 20
    assert mapped("as it was") == 0, "else there is nothing to settle"


def test_another_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    settle_heap()
