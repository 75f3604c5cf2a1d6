"""`aegis bench` as a process: what it starts ends with it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Aegis, alive, running, until


@contextmanager
def inherited(handler: Any) -> Iterator[None]:
    """What is started here has SIGINT ignored where the handler is SIG_IGN, as by a shell that starts it with `&`."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("number", "handler"), [(signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_IGN)]
)
def test_an_ended_bench_leaves_no_engine_behind(tmp_path: Path, number: signal.Signals, handler: Any) -> None:
    """An engine in a hot loop that nobody knows of takes a core for ever."""
    aegis = Aegis(tmp_path / "home", tmp_path)
    with inherited(handler), aegis.start("bench", "start", "--quick") as bench:
        engines = until(lambda: running(bench.pid, "run"), "the bench runs an engine")
        bench.send_signal(number)
        ended = aegis.ended(bench)
    assert (ended.code, ended.last) == (1, "aegis: interrupted")
    assert [pid for pid in engines if alive(pid)] == []
