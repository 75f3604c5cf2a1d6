"""The exchange's own record: append-only JSON lines. What one step of the exchange
leaves is with the operating system before its answers and events go out, so that no kill of a process loses an entry
of anything that somebody was told.

Every line has `seq` (from 1, no gaps), `ns` (venue time) and `kind`:

========= ==============================================================================================================
open      an account and its starting wallet
request   a request that asks for a change: `endpoint`, `client_id`, `code` (0 when accepted)
order     an order's state after a change: `status`, `filled`, `qty`, `reason` (the venue's `er`)
algo      a conditional order's state after a change
match     one fill: `trade_id`, `price`, `qty`, `maker`
balance   one wallet movement: `reason` (REALIZED_PNL, COMMISSION, FUNDING_FEE, INSURANCE_CLEAR), `amount`, `wallet`
setting   leverage or margin type of a symbol
session   the exchange started, or went on from a saved state
========= ==============================================================================================================

Amounts are exact decimal texts. `ledger_view.py` reads it back, and is offered here too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from aegis.core.errors import ConfigError
from aegis.exchange.ledger_view import AccountView, Entry, LedgerView, fold_ledger, parse_entries, read_ledger

__all__ = ["AccountView", "Entry", "Ledger", "LedgerView", "fold_ledger", "read_ledger"]

Render = Callable[[Any], Entry]


class Ledger:
    """Writer of the record; in memory where no path is given (`entries`), else in the file alone."""

    def __init__(self, path: Path | None = None) -> None:
        """Open or continue a ledger.

        A last line that was cut off by a crash is removed.

        Raises:
            ConfigError: the file is there and is no ledger.
        """
        self.path = path
        self._rendered_seq = 0
        self._noted: list[tuple[int, str, Render, Any]] = []
        self._entries: list[Entry] = []
        self._fd = -1
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            entries, size = parse_entries(path.read_bytes(), path)
        except ConfigError:
            self.close()
            raise
        os.ftruncate(self._fd, size)
        if entries:
            self._rendered_seq = int(entries[-1]["seq"])

    @property
    def seq(self) -> int:
        """Of the last entry; 0 before the first."""
        return self._rendered_seq + len(self._noted)

    def write(self, ns: int, kind: str, fields: Entry) -> None:
        """Append one entry. It is with the operating system when this returns."""
        self.note(ns, kind, dict, fields)
        self.commit()

    def note(self, ns: int, kind: str, render: Render, value: Any) -> None:
        """Append one entry whose fields `render(value)` makes of something that never changes; see `commit`."""
        self._noted.append((ns, kind, render, value))

    def commit(self) -> None:
        """Hand all that was noted to the operating system, with one write; in memory it waits to be read."""
        if self.path is None or not self._noted:
            return
        lines = b"".join([msgspec.json.encode(entry) + b"\n" for entry in self._rendered()])
        while lines:  # a short write is legal, if unheard of, for a regular file
            lines = lines[os.write(self._fd, lines) :]

    def _rendered(self) -> Iterator[Entry]:
        first, noted = self._rendered_seq + 1, self._noted
        self._rendered_seq, self._noted = self.seq, []
        return (
            {"seq": seq, "ns": ns, "kind": kind, **render(value)}
            for seq, (ns, kind, render, value) in enumerate(noted, first)
        )

    @property
    def entries(self) -> list[Entry]:
        """Of a ledger in memory."""
        if self.path is None:
            self._entries.extend(self._rendered())
        return self._entries

    def close(self) -> None:
        """Close the file; harmless when done twice."""
        if self._fd >= 0:
            self.commit()
            os.close(self._fd)
            self._fd = -1
