"""`aegis bench` as a process: what it starts ends with it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.processes import Aegis, alive, running, until


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_ended_bench_leaves_no_engine_behind(tmp_path: Path, number: signal.Signals) -> None:
    """An engine in a hot loop that nobody knows of takes a core for ever."""
    aegis = Aegis(tmp_path / "home", tmp_path)
    with aegis.start("bench", "start", "--quick") as bench:
        engines = until(lambda: running(bench.pid, "run"), "the bench runs an engine")
        bench.send_signal(number)
        ended = aegis.ended(bench)
    assert (ended.code, ended.last) == (1, "aegis: interrupted")
    assert [pid for pid in engines if alive(pid)] == []
