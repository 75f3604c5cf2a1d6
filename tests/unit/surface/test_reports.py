"""Reports are read from files that any process may have written, or cut off."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import attrs
import msgspec
import pytest

from aegis.core.errors import AegisError, ConfigError
from aegis.engine import journal_format
from aegis.engine.account_files import journal_of, new_sim_run
from aegis.engine.journal import Journal
from aegis.engine.snapshot import Snapshot
from aegis.surface import reports
from tests.unit.surface.test_view import EMPTY, POSITION

AT = 1_790_000_000_123_000_000
DECISION = {
    "symbol": "BTCUSDT", "side": "BUY", "strategy": "fvg_retest", "reasons": {"zone": "1 to 2", "trend": "up"},
    "bid": "1.0", "ask": "1.1", "mark": "1.05", "level": "1.1", "seen": "1.1", "stop": "0.9", "target": "1.5",
    "equity": "10000", "signal": "BTCUSDT:1m:7", "taken": False, "code": "COST", "value": "0.3 R",
    "limit": "0.2 R", "bound_by": None, "parts": [],
}  # fmt: skip
TAKEN = DECISION | {"taken": True, "qty": "5", "price": "1.11", "risk": "1", "bound_by": "RISK"}
TRADE = {
    "symbol": "BTCUSDT", "side": "BUY", "qty": "5", "entry": "1.1", "exit": "1.5", "reason": "TARGET", "net": "2",
    "r": "2", "id": "x",
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    run, account = new_sim_run(tmp_path)
    with account:
        journal = Journal.create(account.journal_path(run), run=run, config_hash="x", at_ns=AT)
        for kind, data in (("decision", DECISION), ("decision", TAKEN), ("trade", TRADE)):
            journal.append(kind, data, AT)
        journal.close()
    return tmp_path


def test_why_tells_what_was_seen_and_which_gate_refused_with_its_numbers(home: Path) -> None:
    told = reports.why(home, None, "btcusdt", as_json=False)
    assert "  seen     trend: up\n           zone: 1 to 2\n" in told
    assert "refused COST (round trip costs, in R): 0.3 R, limit 0.2 R" in told
    assert "taken: BUY 5 at most at 1.11, risk 1 (bound by RISK)" in told
    assert told.count("2026-09-21T14:13:20.123Z BTCUSDT BUY fvg_retest") == 2
    rows = json.loads(reports.why(home, "1", "BTCUSDT", as_json=True))
    assert [row["taken"] for row in rows] == [False, True]
    assert reports.why(home, None, "XUSDT", as_json=False) == "XUSDT: no signal in this run"
    assert json.loads(reports.why(home, None, "XUSDT", as_json=True)) == []


def test_closed_trades_as_a_table_and_as_json(home: Path) -> None:
    head, line = reports.trades(home, None, as_json=False).split("\n")
    assert head.split() == ["closed", "symbol", "side", "qty", "entry", "exit", "reason", "net", "r"]
    assert line.split()[1:] == ["BTCUSDT", "BUY", "5", "1.1", "1.5", "TARGET", "2", "2"]
    (row,) = json.loads(reports.trades(home, None, as_json=True))
    assert row.items() >= (TRADE | {"closed": "2026-09-21T14:13:20.123Z"}).items()


def test_the_export_is_canonical_lines_whose_sum_is_the_digest(home: Path) -> None:
    lines = list(reports.export(home, None))
    assert [json.loads(line)["kind"] for line in lines] == ["header", "decision", "decision", "trade"]
    assert all(
        line == json.dumps(json.loads(line), sort_keys=True, separators=(",", ":")).encode() + b"\n" for line in lines
    )
    assert hashlib.sha256(b"".join(lines)).hexdigest() == journal_format.digest(journal_of(home, None))


def test_the_status_of_a_run_is_read_as_it_was_written(home: Path) -> None:
    path = journal_of(home, None).parent / "status.json"
    with pytest.raises(ConfigError, match="has written no status"):
        reports.status(home, None, as_json=True)
    now = attrs.evolve(EMPTY, refused={"COST": 2}, positions=(POSITION,))
    path.write_bytes(msgspec.json.encode(now))
    assert msgspec.json.decode(reports.status(home, None, as_json=True), type=Snapshot) == now
    shown = [" ".join(line.split()) for line in reports.status(home, None, as_json=False).split("\n")]
    assert {"run 1", "trading HALTED", "refused COST 2", "latency ms none"} <= set(shown)
    assert shown[-1].startswith("1000PEPEUSDT SELL 1 2 3 1")
    path.write_bytes(msgspec.json.encode(EMPTY))
    assert reports.status(home, None, as_json=False).endswith("no positions")


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "{}", '{"positions": 5}', "\ud800"])
def test_a_status_that_is_none_is_one_line_with_its_path(home: Path, text: str) -> None:
    path = journal_of(home, None).parent / "status.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError) as caught:
        reports.status(home, None, as_json=False)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_run_and_an_unknown_run_are_one_line(tmp_path: Path, home: Path) -> None:
    with pytest.raises(AegisError, match="no run 99"):
        reports.trades(home, "99", as_json=False)
    with pytest.raises(AegisError, match="no runs yet"):
        reports.trades(tmp_path / "elsewhere", None, as_json=False)
