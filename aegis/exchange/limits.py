"""Request weights an IP and order counts an account, in fixed windows of venue time. PROTOCOL.md §6."""

from __future__ import annotations

import attrs

from aegis.exchange.errors import Refusal

__all__ = ["BAN_MS", "FUNDING_READS", "ORDERS_10S", "ORDERS_MINUTE", "RateLimits"]

ORDERS_MINUTE = 1200
ORDERS_10S = 300
#: Reads of funding rates and of their settings, together, in five minutes: they have no weight.
FUNDING_READS = 500
_MINUTE_MS = 60_000
_FIVE_MINUTES_MS = 300_000
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
        self._funding_reads: dict[str, _Window] = {}
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

    def spend_funding_read(self, ip: str, now_ms: int) -> None:
        """Raises Refusal -1003 for more than `FUNDING_READS` of an IP in five minutes; nobody is banned for that."""
        if len(self._funding_reads) > _SWEEP_ABOVE:
            self._funding_reads.clear()
        window = self._funding_reads.setdefault(ip, _Window())
        if window.add(now_ms // _FIVE_MINUTES_MS, 1) > FUNDING_READS:
            wait_s = (_FIVE_MINUTES_MS - now_ms % _FIVE_MINUTES_MS) // 1000 + 1
            message = f"Too many requests; current limit is {FUNDING_READS} requests per 5 minutes."
            raise Refusal(-1003, message=message, wait_s=wait_s)

    def spend_order(self, account: str, now_ms: int, ten: int, minute: int) -> None:
        """Count orders of the ten seconds and of the minute. Raises Refusal -1015 when the account sent too many."""
        rows = (
            (_TEN_SECONDS_MS, ten, self.orders_10s, "10 SECOND"),
            (_MINUTE_MS, minute, self.orders_minute, "MINUTE"),
        )
        for used, (_, count, limit, words) in zip(self.orders_used(account, now_ms), rows, strict=True):
            if used + count > limit:
                raise Refusal(-1015, limit, words)
        for length, count, _, _ in rows:
            self._orders.setdefault((account, length), _Window()).add(now_ms // length, count)

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
