"""A local order book from depth diffs. A gap in the `U/u/pu` chain is always seen (PROTOCOL section 2.6)."""

from __future__ import annotations

import enum
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from decimal import Decimal

import attrs

from aegis.core.values import SymbolName

__all__ = ["BookState", "DepthDelta", "Level", "LocalBook"]

Level = tuple[Decimal, Decimal]
"""Price and absolute quantity; 0 removes the price."""


class BookState(enum.Enum):
    WAITING = "WAITING"
    """No snapshot, or the chain broke: a new snapshot is needed. The book is empty."""
    BRIDGING = "BRIDGING"
    """A snapshot is in; the first event that spans it has not come yet. Not to be used."""
    VALID = "VALID"


@attrs.frozen(kw_only=True)
class DepthDelta:
    """One depthUpdate."""

    first_id: int
    final_id: int
    previous_id: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class _Side:
    """Prices in ascending order and their quantities."""

    def __init__(self) -> None:
        self.prices: list[Decimal] = []
        self.qty: dict[Decimal, Decimal] = {}

    def clear(self) -> None:
        self.prices.clear()
        self.qty.clear()

    def set(self, levels: Iterable[Level]) -> None:
        for price, qty in levels:
            if qty:
                if price not in self.qty:
                    insort(self.prices, price)
                self.qty[price] = qty
            elif self.qty.pop(price, None) is not None:
                del self.prices[bisect_left(self.prices, price)]


class LocalBook:
    """One symbol's book. Deltas that come before the snapshot wait in a bounded buffer.

    A cut or crossed book empties itself and goes back to WAITING, so a reader can never see levels across a gap.
    """

    def __init__(self, symbol: SymbolName, *, buffer: int = 1000) -> None:
        self.symbol = symbol
        self.state = BookState.WAITING
        self.last_id = 0
        self.gaps = 0
        self.stale = 0
        """Events that repeat or precede what was applied already."""
        self.crossed = 0
        self._bids, self._asks = _Side(), _Side()
        self._waiting: deque[DepthDelta] = deque(maxlen=buffer)

    def on_snapshot(self, last_id: int, bids: Iterable[Level], asks: Iterable[Level]) -> BookState:
        """GET depth. Applies what waits; WAITING again when the snapshot is older than the buffer reaches back."""
        self._empty()
        self._bids.set(bids)
        self._asks.set(asks)
        self.last_id = last_id
        self.state = BookState.BRIDGING
        waiting, self._waiting = self._waiting, deque(maxlen=self._waiting.maxlen)
        for delta in waiting:
            self.on_delta(delta)
        return self.state

    def on_delta(self, delta: DepthDelta) -> BookState:
        """One event of the diff stream, in the order of arrival."""
        if self.state is BookState.WAITING:
            self._waiting.append(delta)
        elif self.state is BookState.BRIDGING:
            if delta.final_id < self.last_id:
                self.stale += 1
            elif delta.first_id <= self.last_id:
                self._apply(delta)
            else:
                self._cut(delta)
        elif delta.final_id <= self.last_id:
            self.stale += 1  # its content has been applied: quantities are absolute
        elif delta.previous_id == self.last_id:
            self._apply(delta)
        else:
            self._cut(delta)
        return self.state

    @property
    def best_bid(self) -> Level | None:
        """None where that side is empty or the book is not VALID."""
        return next(iter(self.bids(1)), None)

    @property
    def best_ask(self) -> Level | None:
        return next(iter(self.asks(1)), None)

    def bids(self, depth: int) -> list[Level]:
        """The best `depth` levels, best first; empty unless VALID."""
        side = self._bids
        return [(price, side.qty[price]) for price in side.prices[: -depth - 1 : -1]] if self._usable else []

    def asks(self, depth: int) -> list[Level]:
        side = self._asks
        return [(price, side.qty[price]) for price in side.prices[:depth]] if self._usable else []

    @property
    def _usable(self) -> bool:
        return self.state is BookState.VALID

    def _apply(self, delta: DepthDelta) -> None:
        self._bids.set(delta.bids)
        self._asks.set(delta.asks)
        self.last_id = delta.final_id
        self.state = BookState.VALID
        bids, asks = self._bids.prices, self._asks.prices
        if bids and asks and bids[-1] >= asks[0]:
            self.crossed += 1
            self._empty()

    def _cut(self, delta: DepthDelta) -> None:
        self.gaps += 1
        self._empty()
        self._waiting.append(delta)

    def _empty(self) -> None:
        self._bids.clear()
        self._asks.clear()
        self.state = BookState.WAITING
