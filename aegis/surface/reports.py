"""What a past or a running engine has to tell: read from its directory, never from the process."""

from __future__ import annotations

import datetime
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
    rows = [row | {"closed": _iso(row["at"])} for row in _records(home, run, "trade")]
    if as_json:
        return json.dumps(rows, indent=2)
    shown = ("closed", "symbol", "side", "qty", "entry", "exit", "reason", "net", "r")
    return columns([{name: row[name] for name in shown} for row in rows], empty="no closed trades")


def why(home: Path | None, run: str | None, symbol: str, *, as_json: bool) -> str:
    """Every decision record of a symbol."""
    rows = _records(home, run, "decision", symbol.upper())
    if as_json:
        return json.dumps([row | {"at": _iso(row["at"])} for row in rows], indent=2)
    return "\n".join(_told(row) for row in rows) or f"{symbol.upper()}: no signal in this run"


def _told(data: dict[str, Any]) -> str:
    seen = "; ".join(f"{name}: {text}" for name, text in data["reasons"].items())
    if data["taken"]:
        size = f"{data['side']} {data['qty']} at most at {data['price']}"
        verdict = f"taken: {size}, risk {data['risk']} (bound by {data['bound_by']})"
    else:
        verdict = f"refused {data['code']}: {data['value']}, limit {data['limit']}"
    return (
        f"{_iso(data['at'])} {data['symbol']} {data['side']} {data['strategy']}\n"
        f"  seen     {seen}\n"
        f"  market   bid {data['bid']} ask {data['ask']} mark {data['mark']}; "
        f"level {data['level']} reached at {data['seen']}\n"
        f"  plan     stop {data['stop']}, target {data['target']}, equity {data['equity']}\n"
        f"  verdict  {verdict}"
    )


def export(home: Path | None, run: str | None) -> Iterator[bytes]:
    """Canonical JSON lines of a run's journal."""
    return journal_format.export(account_files.journal_of(home, run))


def _iso(at_ns: int) -> str:
    at = datetime.datetime.fromtimestamp(at_ns / 1e9, datetime.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
