"""Control C9: orders counted in rolling windows, with room held back for the protection of every entry."""

from __future__ import annotations

from collections import deque

from aegis.core.risk_limits import RiskLimits
from aegis.core.values import SymbolName

__all__ = ["ALGO_SLOTS", "ENTRY_COUNTS", "OrderRate"]

#: An entry reserves itself, its stop and its target before it leaves, and its partial targets.
ENTRY_COUNTS = 3
ALGO_SLOTS = 2
_WINDOWS_NS = (10 * 10**9, 60 * 10**9)


class OrderRate:
    """What was sent in the last 10 s and 1 min, plus what entries have reserved. The venue does not count cancels."""

    def __init__(self, limits: RiskLimits) -> None:
        share = limits.order_rate_pct / 100
        self.limits = (int(limits.orders_10s * share), int(limits.orders_1m * share))
        self.algo_limit = int(limits.open_algos * share)
        self._sent: tuple[deque[int], deque[int]] = (deque(), deque())
        self._reserved: dict[SymbolName, int] = {}
        self.reserved = 0
        """Counts held back for protection that has not been sent yet."""

    def used(self, now_ns: int) -> tuple[int, int]:
        """Counts of the two windows, reservations included."""
        for sent, window_ns in zip(self._sent, _WINDOWS_NS, strict=True):
            while sent and now_ns - sent[0] >= window_ns:
                sent.popleft()
        recent, minute = self._sent
        return len(recent) + self.reserved, len(minute) + self.reserved

    def room(self, now_ns: int, parts: int = 0) -> tuple[int, int] | None:
        """None when an entry and its protection fit; else (what it would come to, the limit)."""
        for used, limit in zip(self.used(now_ns), self.limits, strict=True):
            if used + ENTRY_COUNTS + parts > limit:
                return used + ENTRY_COUNTS + parts, limit
        return None

    def entry(self, symbol: SymbolName, now_ns: int, parts: int = 0) -> None:
        """Counts an entry and reserves its protection."""
        self._count(now_ns)
        self._reserve(symbol, self._reserved.get(symbol, 0) + ENTRY_COUNTS - 1 + parts)

    def protection(self, symbol: SymbolName, now_ns: int) -> None:
        """Counts a protective or closing order, out of the symbol's reserve while there is one."""
        self._count(now_ns)
        self._reserve(symbol, self._reserved.get(symbol, 0) - 1)

    def release(self, symbol: SymbolName) -> None:
        """The entry ended without a fill, or the trade is over: its reserve is free again."""
        self._reserve(symbol, 0)

    def forget(self) -> None:
        """As if nothing had been sent or reserved."""
        for sent in self._sent:
            sent.clear()
        self._reserved.clear()
        self.reserved = 0

    def _count(self, now_ns: int) -> None:
        for sent in self._sent:
            sent.append(now_ns)

    def _reserve(self, symbol: SymbolName, counts: int) -> None:
        self.reserved -= self._reserved.pop(symbol, 0)
        if counts > 0:
            self._reserved[symbol] = counts
            self.reserved += counts
