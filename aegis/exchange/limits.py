"""Request weights an IP and order counts an account, in fixed windows of venue time. PROTOCOL.md §6."""

from __future__ import annotations

import attrs

from aegis.exchange.errors import Refusal

__all__ = ["BAN_MS", "ORDERS_10S", "ORDERS_MINUTE", "RateLimits"]

ORDERS_MINUTE = 1200
ORDERS_10S = 300
_MINUTE_MS = 60_000
_TEN_SECONDS_MS = 10_000
#: Requests after the first 429 of a minute that are still answered with 429; the next one is a ban.
_PATIENCE = 10
BAN_MS = 120_000
_SWEEP_ABOVE = 10_000


@attrs.define
class _Window:
    """A counter of one fixed window."""

    number: int = 0
    used: int = 0

    def add(self, number: int, amount: int) -> int:
        if number != self.number:
            self.number, self.used = number, 0
        self.used += amount
        return self.used


class RateLimits:
    """Counts and refuses; each count is in the answer's headers."""

    def __init__(
        self, weight_limit: int, *, orders_10s: int = ORDERS_10S, orders_minute: int = ORDERS_MINUTE
    ) -> None:
        self.weight_limit = weight_limit
        self.orders_10s = orders_10s
        self.orders_minute = orders_minute
        self._weights: dict[str, _Window] = {}
        self._banned_until_ms: dict[str, int] = {}
        self._orders: dict[tuple[str, int], _Window] = {}

    def spend_weight(self, ip: str, weight: int, now_ms: int) -> None:
        """Raises Refusal -1003: HTTP 429 beyond the limit, 418 for an IP that went on regardless."""
        banned_until_ms = self._banned_until_ms.get(ip, 0)
        if now_ms < banned_until_ms:
            raise _ban(banned_until_ms)
        if len(self._weights) > _SWEEP_ABOVE:
            self._weights.clear()
            self._banned_until_ms.clear()
        window = self._weights.setdefault(ip, _Window())
        used = window.add(now_ms // _MINUTE_MS, weight)
        if used <= self.weight_limit:
            return
        if used > self.weight_limit + _PATIENCE * max(1, weight):
            self._banned_until_ms[ip] = now_ms + BAN_MS
            raise _ban(now_ms + BAN_MS)
        raise Refusal(-1003, self.weight_limit)

    def weight_used(self, ip: str, now_ms: int) -> int:
        window = self._weights.get(ip)
        return window.used if window is not None and window.number == now_ms // _MINUTE_MS else 0

    def spend_order(self, account: str, now_ms: int) -> None:
        """Raises Refusal -1015 when the account sent too many orders."""
        counts = self.orders_used(account, now_ms)
        limits = (self.orders_10s, self.orders_minute)
        for used, limit, words in zip(counts, limits, ("10 SECOND", "MINUTE"), strict=True):
            if used >= limit:
                raise Refusal(-1015, limit, words)
        for length in (_TEN_SECONDS_MS, _MINUTE_MS):
            self._orders.setdefault((account, length), _Window()).add(now_ms // length, 1)

    def orders_used(self, account: str, now_ms: int) -> tuple[int, int]:
        """Orders in the current 10 s and in the current minute."""
        windows = ((self._orders.get((account, length)), length) for length in (_TEN_SECONDS_MS, _MINUTE_MS))
        ten, minute = (
            window.used if window is not None and window.number == now_ms // length else 0 for window, length in windows
        )
        return ten, minute


def _ban(until_ms: int) -> Refusal:
    return Refusal(-1003, message=f"Way too many requests; IP banned until {until_ms}. "
                   "Please use the websocket for live updates to avoid bans.", status=418)  # fmt: skip
