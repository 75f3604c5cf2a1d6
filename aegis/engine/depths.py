"""The best 20 levels of each side of the symbols that are watched, as partial depth streams tell them.

Each message is the whole truth of its moment: nothing is merged. What is no book is counted and dropped, and the one
before it ages until nobody uses it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from aegis.core.partial_book import PartialBook
from aegis.kernels.fields import Bytes
from aegis.kernels.market import Table, symbol_index
from aegis.kernels.number import MAX_LOTS
from aegis.kernels.partial_depth import ABSURD, APPLIED, LEFT, LEVELS, STALE, UNKNOWN, new_books, read_book
from aegis.venue.market_events import Depth

__all__ = ["FRESH_NS", "LEVELS", "Depths"]

#: Older than this a book is not used: five messages that did not come.
FRESH_NS = 500_000_000
_NS_PER_MS = 1_000_000
_BIDS, _ASKS = 0, 1
_BECAME = {APPLIED: "applied", STALE: "stale", UNKNOWN: "unknown"}

Side = Sequence[tuple[str, str]]


class Depths:
    """Preallocated, a row for each row of the market table; on the loop thread only.

    Attributes:
        books: the newest of each symbol.
        counts: messages by what became of them: applied, stale, bad, unknown.
    """

    def __init__(self, table: Table) -> None:
        self.books = new_books(len(table.symbols))
        self.counts: Counter[str] = Counter()
        self._table = table

    def read(self, data: Bytes, start: int, end: int, recv_ns: int) -> bool:
        """Take a payload in the venue's own form from its bytes; False where the strict decoder must read it."""
        became = read_book(data, start, end, self._table, self.books, recv_ns)
        if became == LEFT:
            return False
        self.counts[_BECAME[became]] += 1
        return True

    def take(self, event: Depth, recv_ns: int) -> None:
        """A partial depth message takes the place of the book before it, unless that is as new."""
        symbol = symbol_index(self._table, event.symbol)
        self.counts[self._take(symbol, event, recv_ns) if symbol >= 0 else "unknown"] += 1

    def _take(self, symbol: int, event: Depth, recv_ns: int) -> str:
        books = self.books
        if event.final_id <= books.final_id[symbol]:
            return "stale"
        decimals = int(self._table.symbols["qty_decimals"][symbol])
        bids, asks = _ladder(event.bids, -1, decimals), _ladder(event.asks, 1, decimals)
        if bids is None or asks is None:
            return "bad"
        if bids[0] and asks[0] and asks[0][0] <= -bids[0][0]:
            return "bad"
        for side, (ranks, lots) in ((_BIDS, bids), (_ASKS, asks)):
            books.ranks[symbol, side, : len(ranks)] = ranks
            books.ranks[symbol, side, len(ranks) :] = np.inf
            books.lots[symbol, side, : len(lots)] = lots
        books.final_id[symbol], books.event_ms[symbol], books.recv_ns[symbol] = event.final_id, event.event_ms, recv_ns
        return "applied"

    def fresh(self, symbol: int, now_ns: int) -> PartialBook | None:
        """The book of a symbol; None where there is none that is fresh, by the venue's clock and by ours."""
        books = self.books
        since_ns = min(int(books.recv_ns[symbol]), int(books.event_ms[symbol]) * _NS_PER_MS)
        age_ns = now_ns - since_ns
        if age_ns > FRESH_NS:
            return None
        return PartialBook(
            ranks=books.ranks[symbol].tolist(),
            lots=books.lots[symbol].tolist(),
            qty_decimals=int(self._table.symbols["qty_decimals"][symbol]),
            age_ns=max(0, age_ns),
        )


def _ladder(levels: Side, sign: int, decimals: int) -> tuple[list[float], list[int]] | None:
    """Ranks and lots of one side; None where it is none: too long, not best first, no price, no whole lots."""
    if len(levels) > LEVELS:
        return None
    scale = 10**decimals
    ranks, lots, total, last = [], [0], 0, -np.inf
    for price_text, qty_text in levels:
        price, qty = float(price_text), float(qty_text)
        rank = price * sign
        if not (0.0 < price < ABSURD and 0.0 < qty < ABSURD and rank > last):
            return None
        count = round(qty * scale)
        total += count
        if count / scale != qty or total > MAX_LOTS:
            return None
        ranks.append(rank)
        lots.append(total)
        last = rank
    return ranks, lots
