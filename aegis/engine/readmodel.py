"""A SQLite picture of the journals, for `why`, `trades`, `status` and reports. It can be deleted at any time.

The engine never writes to it: `follow` reads the journal's new records every second and inserts them on a thread, which
is the only writer (WAL, so that readers never wait). Records stay whole JSON in one table; views name the common kinds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio

from aegis.core.errors import AegisError
from aegis.engine.journal_format import JournalCorrupt, Record, Tail, scan
from aegis.runtime.logs import get_logger

__all__ = ["KINDS", "ReadModelFailed", "catch_up", "follow", "kinds", "records"]

#: View name to record kind.
KINDS = {
    "runs": "run",
    "signals": "signal",
    "decisions": "decision",
    "intents": "intent",
    "outcomes": "outcome",
    "orders": "order",
    "algos": "algo",
    "fills": "fill",
    "trades": "trade",
}
_Row = tuple[str, int, str, str | None, str | None, int, str]
_VERSION = 1
_BATCH = 2_000
_SCHEMA = """
CREATE TABLE progress (run TEXT PRIMARY KEY, end INTEGER NOT NULL, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE record (
    run TEXT NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL, symbol TEXT, cid TEXT, at INTEGER NOT NULL,
    data TEXT NOT NULL, PRIMARY KEY (run, seq)
) WITHOUT ROWID;
CREATE INDEX record_kind ON record (run, kind, seq);
CREATE INDEX record_symbol ON record (run, symbol, seq) WHERE symbol IS NOT NULL;
CREATE INDEX record_cid ON record (cid) WHERE cid IS NOT NULL;
"""


class ReadModelFailed(AegisError):
    """The read model could not be written or read; the journal is not concerned."""


def catch_up(database: Path, journal: Path, run: str) -> int:
    """Insert the journal's records that the database has not got; returns how many. Blocks: call it on a thread.

    A database of another version, damaged, or ahead of the journal is deleted and built again. Raises JournalCorrupt,
    ReadModelFailed.
    """
    try:
        try:
            return _catch_up(database, journal, run)
        except sqlite3.OperationalError:  # busy, or no space: not the database's fault
            raise
        except (sqlite3.DatabaseError, _Stale):
            for suffix in ("", "-wal", "-shm"):
                database.with_name(database.name + suffix).unlink(missing_ok=True)
            return _catch_up(database, journal, run)
    except (sqlite3.Error, OSError) as error:
        raise ReadModelFailed(f"{database}: {error}") from None


class _Stale(Exception):
    """The database describes another journal than this one."""


def _catch_up(database: Path, journal: Path, run: str) -> int:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -512")  # KiB: what it keeps of its pages is memory of the engine
        _prepare(connection)
        row = connection.execute("SELECT end, seq FROM progress WHERE run = ?", (run,)).fetchone()
        tail = Tail(end=row[0], seq=row[1]) if row else Tail()
        if tail.end > journal.stat().st_size:
            raise _Stale
        inserted = 0
        rows: list[_Row] = []  # not the records: as text they take a tenth of the memory
        for record in scan(journal, tail):
            rows.append(_row(run, record))
            if len(rows) == _BATCH:
                inserted += _insert(connection, run, rows, tail)
        return inserted + _insert(connection, run, rows, tail)


def _prepare(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == _VERSION:
        return
    if version:
        raise _Stale
    views = [
        f"CREATE VIEW {view} AS SELECT run, seq, symbol, cid, at, data FROM record WHERE kind = '{kind}';"  # noqa: S608
        for view, kind in KINDS.items()
    ]
    connection.executescript(f"BEGIN; {_SCHEMA} {' '.join(views)} PRAGMA user_version = {_VERSION}; COMMIT;")


def _insert(connection: sqlite3.Connection, run: str, rows: list[_Row], tail: Tail) -> int:
    """Insert and empty the rows in one transaction, with the progress they make."""
    if not rows:
        return 0
    count = len(rows)
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.execute("INSERT OR REPLACE INTO progress VALUES (?, ?, ?)", (run, tail.end, tail.seq))
    connection.execute("COMMIT")
    rows.clear()
    return count


def _row(run: str, record: Record) -> _Row:
    symbol, cid = record.data.get("symbol"), record.data.get("cid")
    return (
        run,
        record.seq,
        record.kind,
        symbol if isinstance(symbol, str) else None,
        cid if isinstance(cid, str) else None,
        record.at_ns,
        msgspec.json.encode(record.data).decode(),
    )


async def follow(database: Path, journal: Path, run: str, *, interval_s: float = 1.0) -> None:
    """Keep the read model `interval_s` behind the journal until cancelled. At the end the caller does `catch_up`.

    A failure is logged and tried again: what people look at must not stop what trades.

    Cancellation: a write that has begun is finished, because it holds the database.
    """
    limiter = trio.CapacityLimiter(1)
    while True:
        try:
            await trio.to_thread.run_sync(catch_up, database, journal, run, abandon_on_cancel=False, limiter=limiter)
        except (ReadModelFailed, JournalCorrupt) as error:
            get_logger().warning("readmodel.failed", reason=str(error))
        await trio.sleep(interval_s)


@contextmanager
def _reader(database: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA query_only = 1")
            yield connection
    except sqlite3.Error as error:
        raise ReadModelFailed(f"{database}: {error}") from None


def records(
    database: Path,
    *,
    run: str,
    kind: str | None = None,
    symbol: str | None = None,
    cid: str | None = None,
    last: int = 1_000,
) -> list[dict[str, Any]]:
    """The last records that match, oldest first: `{"seq", "kind", "at", **data}`. Raises ReadModelFailed."""
    wanted = {"run": run, "kind": kind, "symbol": symbol, "cid": cid}
    given = {column: value for column, value in wanted.items() if value is not None}
    where = " AND ".join(f"{column} = :{column}" for column in given)  # column names are ours
    query = f"SELECT seq, kind, at, data FROM record WHERE {where} ORDER BY seq DESC LIMIT :last"  # noqa: S608
    with _reader(database) as connection:
        rows = connection.execute(query, {**given, "last": last}).fetchall()
    return [{"seq": seq, "kind": kind, "at": at, **msgspec.json.decode(data)} for seq, kind, at, data in reversed(rows)]


def kinds(database: Path, *, run: str) -> dict[str, int]:
    """How many records of each kind a run has. Raises ReadModelFailed."""
    query = "SELECT kind, count(*) FROM record WHERE run = ? GROUP BY kind ORDER BY kind"
    with _reader(database) as connection:
        return dict(connection.execute(query, (run,)).fetchall())
