"""Trades that went by unheard, while they are asked for: which symbols miss which ids, and the bars' share of them.

Rows of a bar are merged by trade id, so trades that come late complete it as long as it is open. Therefore no bar of
any symbol closes while a hole is open; that lasts `wait_ns` at most, then the symbol starts over from history.
"""

from __future__ import annotations

import attrs
import numpy as np

from aegis.kernels.layout import ROW
from aegis.kernels.market import CLOSED_BEFORE, COUNTERS, Table
from aegis.kernels.state import Records

__all__ = ["FILL", "MOST_TRADES", "Hole", "Holes"]

#: A trade that was fetched: lots of 10**-qty_decimals, `maker` 1 where the buyer was.
FILL = np.dtype(
    [("id", np.int64), ("time_ms", np.int64), ("price", np.float64), ("lots", np.int64), ("maker", np.int64)]
)
#: One page of the venue: a larger hole is not worth its weight, the symbol starts over.
MOST_TRADES = 1000


@attrs.frozen
class Hole:
    """Missing ids; `last` is -1 as long as no trade has come after them."""

    first: int
    last: int
    deadline_ns: int


@attrs.define(eq=False)
class Holes:
    """The open holes by symbol index, and what became of the others.

    Attributes:
        filled: holes; `given_up` likewise.
        trades: how many were filled in.
        found: those of them that the table had counted as missed.
    """

    table: Table
    base_ms: int
    wait_ns: int
    open: dict[int, Hole] = attrs.field(factory=dict, init=False)
    filled: int = attrs.field(default=0, init=False)
    given_up: int = attrs.field(default=0, init=False)
    trades: int = attrs.field(default=0, init=False)
    found: int = attrs.field(default=0, init=False)
    _missed: int = attrs.field(default=0, init=False)

    def begin(self, symbol: int, first: int, last: int, now_ns: int) -> None:
        """Trades from `first` on are missing; the wait counts from now."""
        self.open[symbol] = Hole(first, last, now_ns + self.wait_ns)

    def give_up(self, symbol: int) -> None:
        """The hole, if there is one, is not filled."""
        self.given_up += self.open.pop(symbol, None) is not None

    def overdue(self, now_ns: int) -> list[int]:
        """Symbols whose trades have not come in time; they are given up."""
        late = [symbol for symbol, hole in self.open.items() if now_ns >= hole.deadline_ns]
        for symbol in late:
            self.give_up(symbol)
        return late

    def seen(self) -> tuple[dict[int, tuple[int, int]], bool]:
        """(first and last missing id by symbol, whether they are exact) that the table has noted since the last call.

        They are not exact where a symbol lost trades twice: then trades that did come lie between them.
        """
        before, self._missed = self._missed, int(self.table.counters[COUNTERS["missed_ids"]])
        if before == self._missed:
            return {}, True
        states = self.table.symbols
        symbols = np.flatnonzero(states["hole_from"] >= 0)
        found = {int(i): (int(states["hole_from"][i]), int(states["hole_to"][i])) for i in symbols}
        states["hole_from"][symbols] = states["hole_to"][symbols] = -1
        return found, sum(last - first + 1 for first, last in found.values()) == self._missed - before

    def fill(self, symbol: int, trades: Records | None) -> Records | None:
        """Close the symbol's hole with FILL rows, ascending by id, from its first missing trade on.

        Returns ROW rows for the bars, or None where the hole cannot be filled: no trades were to be had (None), some
        are missing, or a bar they belong to is closed.
        """
        hole = self.open[symbol]
        missing = None if trades is None else self._missing(symbol, hole, trades)
        if missing is None:
            self.give_up(symbol)
            return None
        del self.open[symbol]
        self.filled += 1
        self.trades += len(missing)
        self.found += len(missing) if hole.last >= 0 else 0
        if hole.last < 0 and len(missing):  # nothing has come behind them yet: they are the newest
            state = self.table.symbols[symbol]
            state["last_id"], state["last_ms"] = missing["id"][-1], missing["time_ms"][-1]
            state["last"] = missing["price"][-1]
        return self._rows(symbol, missing)

    def _missing(self, symbol: int, hole: Hole, trades: Records) -> Records | None:
        last = hole.last
        if last < 0 and self.table.symbols["last_id"][symbol] >= hole.first:
            last = hole.first - 1  # the trades that came were the next ones: nothing was missed
        elif last < 0:
            if len(trades) >= MOST_TRADES:
                return None  # there may be more of them
            last = int(trades["id"][-1]) if len(trades) else hole.first - 1
        part: Records = trades[trades["id"] <= last]
        if len(part) != last - hole.first + 1 or (part["id"] != np.arange(hole.first, last + 1)).any():
            return None
        closed = max(int(self.table.scalars[CLOSED_BEFORE]), int(self.table.symbols["closed_before"][symbol]))
        return None if (part["time_ms"] < closed).any() else part

    def _rows(self, symbol: int, trades: Records) -> Records:
        if not len(trades):
            return np.zeros(0, ROW)
        bars = trades["time_ms"] // self.base_ms * self.base_ms
        starts = np.append(0, np.flatnonzero(np.diff(bars)) + 1)
        ends = np.append(starts[1:], len(trades)) - 1
        rows = np.zeros(len(starts), ROW)
        rows["symbol"] = symbol
        rows["bar"] = bars[starts]
        rows["trades"] = ends - starts + 1
        rows["open"], rows["close"] = trades["price"][starts], trades["price"][ends]
        rows["first_id"], rows["last_id"] = trades["id"][starts], trades["id"][ends]
        rows["high"] = np.maximum.reduceat(trades["price"], starts)
        rows["low"] = np.minimum.reduceat(trades["price"], starts)
        rows["volume"] = np.add.reduceat(trades["lots"], starts)
        rows["taker_buy"] = np.add.reduceat(np.where(trades["maker"] != 0, 0, trades["lots"]), starts)
        for name in ("bid", "bid_qty", "ask", "ask_qty", "mark"):
            rows[name] = self.table.symbols[name][symbol]
        return rows
