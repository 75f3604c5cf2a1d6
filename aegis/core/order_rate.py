"""Control C9: orders counted in rolling windows, with room held back for the protection of every entry."""

from __future__ import annotations

from collections import deque

from aegis.core.risk_limits import OrderBudget
from aegis.core.values import SymbolName

__all__ = ["ALGO_SLOTS", "ENTRY_COUNTS", "OrderRate"]

#: An entry reserves itself, its stop and its target before it leaves.
ENTRY_COUNTS = 3
ALGO_SLOTS = 2
_WINDOWS_NS = (10 * 10**9, 60 * 10**9)


class OrderRate:
    """What was sent in the last 10 s and 1 min, plus what entries have reserved. The venue does not count cancels."""

    def __init__(self, budget: OrderBudget, rate_pct: int | float) -> None:
        share = rate_pct / 100
        self.limits = (int(budget.orders_10s * share), int(budget.orders_1m * share))
        self.algo_limit = int(budget.open_algos * share)
        self._sent: deque[int] = deque()
        self._reserved: dict[SymbolName, int] = {}

    def used(self, now_ns: int) -> tuple[int, int]:
        """Counts of the two windows, reservations included."""
        while self._sent and now_ns - self._sent[0] >= _WINDOWS_NS[1]:
            self._sent.popleft()
        recent = sum(1 for sent_ns in self._sent if now_ns - sent_ns < _WINDOWS_NS[0])
        reserved = self.reserved
        return recent + reserved, len(self._sent) + reserved

    @property
    def reserved(self) -> int:
        """Counts held back for protection that has not been sent yet."""
        return sum(self._reserved.values())

    def room(self, now_ns: int) -> tuple[int, int] | None:
        """None when an entry and its protection fit; else (what it would come to, the limit)."""
        for used, limit in zip(self.used(now_ns), self.limits, strict=True):
            if used + ENTRY_COUNTS > limit:
                return used + ENTRY_COUNTS, limit
        return None

    def entry(self, symbol: SymbolName, now_ns: int) -> None:
        """Counts an entry and reserves its protection."""
        self._sent.append(now_ns)
        self._reserved[symbol] = self._reserved.get(symbol, 0) + ENTRY_COUNTS - 1

    def protection(self, symbol: SymbolName, now_ns: int) -> None:
        """Counts a protective or closing order, out of the symbol's reserve while there is one."""
        self._sent.append(now_ns)
        held = self._reserved.pop(symbol, 0)
        if held > 1:
            self._reserved[symbol] = held - 1

    def release(self, symbol: SymbolName) -> None:
        """The entry ended without a fill, or the trade is over: its reserve is free again."""
        self._reserved.pop(symbol, None)
