"""The venue's rate limits as a synchronous budget (PROTOCOL.md §6). Time is an argument: venue nanoseconds."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping

import attrs

__all__ = ["Limits", "Priority", "RateLimit"]

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE
_INTERVALS = {"SECOND": SECOND, "MINUTE": MINUTE, "HOUR": 60 * MINUTE, "DAY": DAY}
_BANNED_UNTIL = re.compile(r"banned until ([0-9]{13})\b")


class Priority(enum.Enum):
    """How much of a limit a call may fill. What is left belongs to the more urgent."""

    BULK = 0.5  # warm-up, holes, universe
    NORMAL = 0.85  # account reads, entries
    URGENT = 0.98  # cancels, protection, exits; 2 % stay free for what the venue counts and we do not


@attrs.frozen(kw_only=True)
class RateLimit:
    """One row of `rateLimits`: `kind` REQUEST_WEIGHT | ORDERS, a limit each `number` x `interval`."""

    kind: str
    interval: str
    number: int
    limit: int


@attrs.define
class _Window:
    """A fixed bucket of venue time, as the venue counts."""

    period_ns: int
    limit: int
    index: int = -1
    used: int = 0

    def roll(self, now_ns: int) -> None:
        index = now_ns // self.period_ns
        # One step back is the clock being corrected at a boundary: what was used stays used.
        if index not in (self.index, self.index - 1):
            self.index, self.used = index, 0

    def wait_ns(self, now_ns: int, amount: int, share: float) -> int:
        """0 where `amount` fits, else the time until the next bucket. An empty bucket takes anything."""
        self.roll(now_ns)
        if amount == 0 or self.used == 0 or self.used + amount <= self.limit * share:
            return 0
        return (self.index + 1) * self.period_ns - now_ns


class Limits:
    """One budget for an IP and an account; shared by REST and (for order counts) the trade socket.

    Never a call inside a ban, however urgent.
    """

    def __init__(self, *, weight_1m: int = 2400, orders_1m: int = 1200, orders_10s: int = 300) -> None:
        self._weight = _Window(MINUTE, weight_1m)
        self._orders_1m = _Window(MINUTE, orders_1m)
        self._orders_10s = _Window(10 * SECOND, orders_10s)
        self._strikes = 0
        self.banned_until_ns = 0
        self.refused = 0

    @property
    def weight_used(self) -> int:
        return self._weight.used

    @property
    def weight_limit(self) -> int:
        return self._weight.limit

    def configure(self, rows: Iterable[RateLimit]) -> None:
        """Take the limits that exchangeInfo (or the WebSocket API) states; rows that we do not know are left."""
        for row in rows:
            window = self._window(row.kind, row.interval, row.number)
            if window is not None and row.limit > 0:
                window.limit = row.limit

    def _window(self, kind: str, interval: str, number: int) -> _Window | None:
        windows = (self._weight,) if kind == "REQUEST_WEIGHT" else (self._orders_1m, self._orders_10s)
        if kind not in ("REQUEST_WEIGHT", "ORDERS"):
            return None
        period = _INTERVALS.get(interval, 0) * number
        return next((window for window in windows if window.period_ns == period), None)

    def try_spend(self, now_ns: int, *, weight: int = 0, orders: int = 0, priority: Priority = Priority.NORMAL) -> int:
        """Spend and return 0, or spend nothing and return the nanoseconds until it is worth asking again."""
        asked = ((self._weight, weight), (self._orders_1m, orders), (self._orders_10s, orders))
        wait = max(window.wait_ns(now_ns, amount, priority.value) for window, amount in asked)
        wait = max(wait, self.banned_until_ns - now_ns)
        if wait > 0:
            self.refused += 1
            return wait
        for window, amount in asked:
            window.used += amount
        return 0

    def note_used(self, now_ns: int, kind: str, interval: str, number: int, count: int) -> None:
        """The venue's own count; the larger one holds (others may share our address)."""
        window = self._window(kind, interval, number)
        if window is not None:
            window.roll(now_ns)
            window.used = max(window.used, count)

    def note_reply(self, sent_ns: int, now_ns: int, status: int, headers: Mapping[str, str], message: str = "") -> None:
        """Learn from an answer: used counts, 429, 418, 403.

        Args:
            sent_ns: when the call left; a count is used only if no bucket boundary passed since.
            headers: lower-case names.
            message: the venue's text; it may name the end of a ban or the order limit that was broken.
        """
        for name, kind, interval, number in (
            ("x-mbx-used-weight-1m", "REQUEST_WEIGHT", "MINUTE", 1),
            ("x-mbx-order-count-1m", "ORDERS", "MINUTE", 1),
            ("x-mbx-order-count-10s", "ORDERS", "SECOND", 10),
        ):
            text = headers.get(name, "")
            period = _INTERVALS[interval] * number
            if _is_count(text) and sent_ns // period == now_ns // period:
                self.note_used(now_ns, kind, interval, number, int(text))
        if status in (403, 418, 429):
            self._strike(now_ns, status, headers.get("retry-after", ""), message)
        elif status < 400:
            self._strikes = 0

    def _strike(self, now_ns: int, status: int, retry_after: str, message: str) -> None:
        """Set the ban from the text, else from Retry-After, else by exponential back-off."""
        named = _BANNED_UNTIL.search(message)
        until = 0
        if named:
            until = int(named.group(1)) * 1_000_000
        elif _is_count(retry_after):
            until = now_ns + int(retry_after) * SECOND
        elif status == 429 and "new orders" in message:  # -1015: orders only; cancels and reads may go on
            self._fill_orders(now_ns, message)
            return
        else:
            self._strikes = min(self._strikes + 1, 16)
            base = {429: 1, 403: 60, 418: 120}[status]
            until = now_ns + base * SECOND * 2 ** (self._strikes - 1)
            if status == 429:
                until = max(until, (now_ns // MINUTE + 1) * MINUTE)
        self.banned_until_ns = max(self.banned_until_ns, min(until, now_ns + 3 * DAY))

    def _fill_orders(self, now_ns: int, message: str) -> None:
        text = message.upper()
        minute, seconds = "MINUTE" in text, "SECOND" in text
        for window, named in ((self._orders_1m, minute), (self._orders_10s, seconds)):
            if named or not (minute or seconds):
                window.roll(now_ns)
                window.used = max(window.used, window.limit)


def _is_count(text: str) -> bool:
    return len(text) <= 9 and text.isascii() and text.isdigit()
