"""A market socket as the fold sees it, whatever carries its bytes."""

from __future__ import annotations

import attrs

from aegis.kernels.market import COUNTERS, Table
from aegis.venue.inbox import Inbox

__all__ = ["Channel", "repeated"]

_REPEATED = [COUNTERS[name] for name in ("duplicate_trades", "stale_quotes", "stale_marks")]


@attrs.define(kw_only=True, eq=False)
class Channel:
    """One market socket as the fold sees it. `symbols` are those whose trades (or quotes) come over it."""

    number: int
    symbols: tuple[int, ...]
    quotes: bool
    trades: bool
    inbox: Inbox = attrs.field(factory=Inbox)
    up: bool = False
    recv_ns: int = 0
    overlap: int = 0
    """Bytes still to come that another socket may have brought already."""


def repeated(table: Table) -> int:
    """Ticks so far that said nothing new: they were there before, or came out of order."""
    return int(table.counters[_REPEATED].sum())
