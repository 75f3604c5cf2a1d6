"""`aegis exchange` as a user has it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.support.processes import Aegis


@pytest.fixture
def aegis(tmp_path: Path) -> Aegis:
    (tmp_path / "cwd").mkdir()
    return Aegis(home=tmp_path / "home", cwd=tmp_path / "cwd")


def test_ready_line_port_in_use_and_the_end(aegis: Aegis, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with aegis.start("exchange", "--symbols", "3", "--state", str(state)) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert {"rest", "stream", "trade", "api_key", "api_secret"} <= set(ready)
        port = ready["rest"].rpartition(":")[2]
        second = aegis.run("exchange", "--symbols", "3", "--rest-port", port)
        assert (second.code, second.out) == (69, "")
        assert second.err.splitlines() == [f"aegis exchange: cannot listen on 127.0.0.1:{port}: Address already in use"]
        process.send_signal(signal.SIGTERM)
        ended = aegis.ended(process)
    assert (ended.code, ended.out) == (0, "")
    assert [line for line in ended.err.splitlines() if "compiled" not in line] == []
    assert sorted(path.name for path in state.iterdir()) == ["exchange.npz", "ledger.jsonl"]
    assert list(aegis.cwd.iterdir()) == []


def test_a_state_directory_has_one_exchange_at_a_time(aegis: Aegis, tmp_path: Path) -> None:
    """The next one waits until the one before has saved, so that it never begins from less than the ledger knows."""
    arguments = ("exchange", "--symbols", "3", "--state", str(tmp_path / "state"))
    with aegis.start(*arguments) as first:
        assert first.stdout is not None
        assert "rest" in json.loads(first.stdout.readline())
        with aegis.start(*arguments) as second:
            assert second.stdout is not None
            first.send_signal(signal.SIGTERM)
            assert "rest" in json.loads(second.stdout.readline())
            assert aegis.ended(first).code == 0
            second.send_signal(signal.SIGTERM)
            assert aegis.ended(second).code == 0
    entries = [json.loads(line) for line in (tmp_path / "state" / "ledger.jsonl").read_text().splitlines()]
    assert [entry["event"] for entry in entries if entry["kind"] == "session"] == ["start", "restore"]
