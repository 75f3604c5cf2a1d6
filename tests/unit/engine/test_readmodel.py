from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

from aegis.engine import readmodel
from aegis.engine.journal import Journal
from aegis.engine.journal_format import JournalCorrupt
from aegis.engine.readmodel import ReadModelFailed, catch_up, follow, kinds, records


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    journal = Journal.create(tmp_path / "1.journal", run="1", config_hash="", at_ns=0)
    yield journal
    journal.close()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "read.sqlite"


def fill(journal: Journal, number: int, symbol: str = "BTCUSDT") -> None:
    journal.append("fill", {"symbol": symbol, "cid": f"1-{number}", "price": "1.50", "id": 2**62 + number}, number)


def test_records_are_found_by_kind_symbol_and_order(journal: Journal, database: Path) -> None:
    for number in range(3):
        fill(journal, number, "BTCUSDT" if number else "ETHUSDT")
    journal.append("state", {"halted": True}, 9)
    assert catch_up(database, journal.path, "1") == 5
    assert [row["id"] - 2**62 for row in records(database, run="1", kind="fill")] == [0, 1, 2]
    assert records(database, run="1", symbol="ETHUSDT") == [
        {"seq": 1, "kind": "fill", "at": 0, "symbol": "ETHUSDT", "cid": "1-0", "price": "1.50", "id": 2**62}
    ]
    assert [row["cid"] for row in records(database, run="1", cid="1-2")] == ["1-2"]
    assert [row["seq"] for row in records(database, run="1", last=2)] == [3, 4]
    assert records(database, run="2") == []
    assert kinds(database, run="1") == {"fill": 3, "header": 1, "state": 1}


def test_catching_up_adds_only_what_is_new(journal: Journal, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readmodel, "_BATCH", 3)
    total = 0
    for number in range(10):
        fill(journal, number)
        if number % 4 == 3:
            total += catch_up(database, journal.path, "1")
    total += catch_up(database, journal.path, "1")
    assert total == 11
    assert catch_up(database, journal.path, "1") == 0
    assert len(records(database, run="1")) == 11


def test_runs_share_a_database(journal: Journal, database: Path, tmp_path: Path) -> None:
    other = Journal.create(tmp_path / "2.journal", run="2", config_hash="", at_ns=0)
    fill(journal, 1)
    fill(other, 2)
    fill(other, 3)
    other.close()
    catch_up(database, journal.path, "1")
    catch_up(database, other.path, "2")
    assert (len(records(database, run="1", kind="fill")), len(records(database, run="2", kind="fill"))) == (1, 2)


@pytest.mark.parametrize("damage", ["garbage", "version", "ahead", "deleted"])
def test_a_database_that_does_not_fit_is_built_again(journal: Journal, database: Path, damage: str) -> None:
    fill(journal, 1)
    fill(journal, 2)
    catch_up(database, journal.path, "1")
    before = records(database, run="1")
    if damage == "garbage":
        database.write_bytes(b"no database at all" * 500)
    elif damage == "deleted":
        database.unlink()
    else:
        statement = {"version": "PRAGMA user_version = 99", "ahead": "UPDATE progress SET end = 1000000"}[damage]
        with sqlite3.connect(database) as connection:
            connection.execute(statement)
        connection.close()
    catch_up(database, journal.path, "1")
    assert records(database, run="1") == before


def test_every_view_shows_its_kind(journal: Journal, database: Path) -> None:
    for kind in readmodel.KINDS.values():
        journal.append(kind, {"symbol": "BTCUSDT"}, 1)
    catch_up(database, journal.path, "1")
    connection = sqlite3.connect(database)
    for view in readmodel.KINDS:
        assert connection.execute(f"SELECT run, symbol FROM {view}").fetchall() == [("1", "BTCUSDT")]
    connection.close()


def test_odd_symbols_and_ids_do_not_hurt(journal: Journal, database: Path) -> None:
    journal.append("fill", {"symbol": 7, "cid": None}, 0)
    journal.append("fill", {"symbol": "x'; DROP TABLE record; --"}, 0)
    catch_up(database, journal.path, "1")
    assert len(records(database, run="1", symbol="x'; DROP TABLE record; --")) == 1


def test_failures_are_one_typed_error(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(ReadModelFailed):
        catch_up(tmp_path / "none" / "read.sqlite", journal.path, "1")
    with pytest.raises(ReadModelFailed):
        catch_up(tmp_path / "read.sqlite", tmp_path / "none.journal", "1")
    with pytest.raises(ReadModelFailed):
        records(tmp_path / "none" / "read.sqlite", run="1")


def test_a_locked_database_is_not_deleted(journal: Journal, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catch_up(database, journal.path, "1")
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: connect(path, timeout=0.01, **options))
    fill(journal, 1)
    blocker = connect(database, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(ReadModelFailed, match="locked"):
        catch_up(database, journal.path, "1")
    blocker.execute("ROLLBACK")
    blocker.close()
    assert len(records(database, run="1")) == 1
    assert catch_up(database, journal.path, "1") == 1


async def test_following_survives_failures_and_catches_up(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_lines: Any
) -> None:
    outcomes = iter([ReadModelFailed("busy"), JournalCorrupt(journal.path, 7, "half cut"), None])
    calls: list[int] = []
    caught_up = trio.Event()

    def attempt(database: Path, path: Path, run: str) -> int:
        calls.append(threading.get_ident())
        error = next(outcomes)
        if error is not None:
            raise error
        trio.from_thread.run_sync(caught_up.set)
        return 0

    monkeypatch.setattr(readmodel, "catch_up", attempt)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: follow(tmp_path / "read.sqlite", journal.path, "1", interval_s=0.0001))
            await caught_up.wait()
            nursery.cancel_scope.cancel()
    reasons = [event["reason"] for event in log_lines.events("readmodel.failed")]
    assert reasons == ["busy", f"{journal.path}: corrupt at byte 7: half cut"]
    assert threading.get_ident() not in calls
