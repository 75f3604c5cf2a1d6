"""What a past or a running engine has to tell: read from its directory, never from the process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import msgspec

from aegis.core.errors import ConfigError
from aegis.engine import account_files, journal_format, readmodel
from aegis.engine.snapshot import Snapshot
from aegis.surface.tables import columns
from aegis.surface.why import iso, moment, tell

__all__ = ["export", "status", "trades", "why"]

_ALL = 1_000_000


def _records(home: Path | None, run: str | None, kind: str, symbol: str | None = None) -> list[dict[str, Any]]:
    """Records of a kind, out of the read model, which is brought up to the journal first."""
    journal = account_files.journal_of(home, run)
    database, number = journal.with_suffix(".sqlite"), journal.stem
    readmodel.catch_up(database, journal, number)
    return readmodel.records(database, run=number, kind=kind, symbol=symbol, last=_ALL)


def status(home: Path | None, run: str | None, *, as_json: bool) -> str:
    """The last snapshot that the engine has written."""
    path = account_files.journal_of(home, run).parent / "status.json"
    try:
        text = path.read_bytes()
        data = attrs.asdict(msgspec.json.decode(text, type=Snapshot))
    except FileNotFoundError:
        raise ConfigError(f"{path}: this run has written no status") from None
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if as_json:
        return text.decode()
    positions = data.pop("positions")
    lines = [f"{key.replace('_', ' '):<16}{_plain(value)}" for key, value in data.items()]
    return "\n".join([*lines, columns(positions, empty="no positions")])


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items()) or "none"
    return str(value)


def trades(home: Path | None, run: str | None, *, as_json: bool) -> str:
    """Closed trades, oldest first."""
    rows = [row | {"closed": iso(row["at"])} for row in _records(home, run, "trade")]
    if as_json:
        return json.dumps(rows, indent=2)
    shown = ("closed", "symbol", "side", "qty", "entry", "exit", "reason", "net", "r")
    return columns([{name: row[name] for name in shown} for row in rows], empty="no closed trades")


def why(home: Path | None, run: str | None, symbol: str, *, at: str | None = None, as_json: bool) -> str:
    """Every decision on a symbol, or the last one at or before a time. Raises ConfigError where that is none."""
    name = symbol.upper()
    rows = _records(home, run, "decision", name)
    if at is not None:
        limit_ns = moment(at)
        until = [row for row in rows if row["at"] <= limit_ns]
        if rows and not until:
            raise ConfigError(f"--at: the first decision on {name} is of {iso(rows[0]['at'])}")
        rows = until[-1:]
    if as_json:
        return json.dumps([row | {"at": iso(row["at"])} for row in rows], indent=2)
    states = _records(home, run, "state", name)
    story = [*states, *_records(home, run, "trade", name)]
    story.sort(key=lambda row: row["seq"])
    told = [tell(row, story) for row in rows] or [f"{name}: no signal in this run"]
    told += [
        f"{iso(row['at'])} {name}: the strategy failed and is off for this symbol: {row['reason']}"
        for row in states
        if row.get("strategy") == "quarantined"
    ]
    return "\n".join(told)


def export(home: Path | None, run: str | None) -> Iterator[bytes]:
    """Canonical JSON lines of a run's journal."""
    return journal_format.export(account_files.journal_of(home, run))
