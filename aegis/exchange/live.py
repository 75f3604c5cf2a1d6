"""A live market as the simulated exchange's prices: whoever watches it pushes what changed, a sample at a time.

A sample is not the whole tape: between two of them only the latest quote, print and mark of a symbol are known, so a
print counts as one step of quantity, by whoever the touch says it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from aegis.exchange.listing import Listing
from aegis.exchange.market import Arrays, EventArray
from aegis.kernels.books import EVENT, MARK, QUOTE, TRADE

__all__ = ["LiveSource"]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_LARGEST_TICKS = 2.0**31
_LARGEST = 2.0**53
_E8 = 1e8


class LiveSource:
    """A `MarketSource` that is pushed to. All pushes take arrays of one length, one entry a symbol, no symbol twice.

    Numbers are floats as the venue said them; a price is taken to the tick that it is nearest to. Times never run
    backwards: a push that is older than the one before it counts as made with that.

    Attributes:
        counts: events by kind ("quote", "trade", "mark"), and "refused": a crossed or one-sided quote, a price or a
            quantity that is no positive number or absurdly large. What is refused leaves everything as it was.
    """

    def __init__(self, listings: Sequence[Listing]) -> None:
        self.counts: Counter[str] = Counter()
        self._tick = np.array([float(listing.tick) for listing in listings])
        self._step = np.array([float(listing.step) for listing in listings])
        self._bid = np.zeros(len(listings), np.int64)
        self._ask = np.zeros(len(listings), np.int64)
        self._pending: list[EventArray] = []
        self._now_ns = 0
        self._order = 0

    def quotes(
        self, now_ns: int, symbols: Int64, *, bid: Float64, bid_qty: Float64, ask: Float64, ask_qty: Float64
    ) -> None:
        """The best bid and ask of these symbols are these now."""
        tick, step = self._tick[symbols], self._step[symbols]
        columns = {
            "bid": _whole(bid, tick), "ask": _whole(ask, tick),
            "bid_qty": _whole(bid_qty, step), "ask_qty": _whole(ask_qty, step),
        }  # fmt: skip
        good = (
            _between(columns["bid"], _LARGEST_TICKS) & _between(columns["ask"], _LARGEST_TICKS)
            & _between(columns["bid_qty"], _LARGEST) & _between(columns["ask_qty"], _LARGEST)
            & (columns["bid"] < columns["ask"])
        )  # fmt: skip
        taken = self._put(now_ns, QUOTE, symbols, good, columns)
        self._bid[taken["symbol"]] = taken["bid"]
        self._ask[taken["symbol"]] = taken["ask"]
        self.counts["quote"] += len(taken)

    def trades(self, now_ns: int, symbols: Int64, *, price: Float64) -> None:
        """These symbols last traded at these prices; a print is one step, its aggressor the side that is nearer."""
        ticks = _whole(price, self._tick[symbols])
        good = _between(ticks, _LARGEST_TICKS)
        side = np.where(2.0 * ticks >= self._bid[symbols] + self._ask[symbols], 1, -1)
        orders = self._order + 1 + np.arange(len(symbols))
        columns = {"price": ticks, "side": side, "qty": np.ones(len(symbols), np.int64), "order": orders}
        self._order += len(symbols)
        self.counts["trade"] += len(self._put(now_ns, TRADE, symbols, good, columns))

    def marks(self, now_ns: int, symbols: Int64, *, mark: Float64, index: Float64) -> None:
        """Mark and index price of these symbols; an index that is not known (NaN) is taken to be the mark."""
        mark_e8 = np.rint(mark * _E8)
        index_e8 = np.where(np.isnan(index), mark_e8, np.rint(index * _E8))
        good = _between(mark_e8, _LARGEST) & _between(index_e8, _LARGEST)
        columns = {"mark_e8": mark_e8, "index_e8": index_e8}
        self.counts["mark"] += len(self._put(now_ns, MARK, symbols, good, columns))

    def _put(
        self, now_ns: int, kind: int, symbols: Int64, good: Mask, columns: dict[str, npt.NDArray[Any]]
    ) -> EventArray:
        self._now_ns = max(self._now_ns, now_ns)
        self.counts["refused"] += len(symbols) - int(good.sum())
        events = np.zeros(int(good.sum()), EVENT)
        events["time_ns"], events["kind"], events["symbol"] = self._now_ns, kind, symbols[good]
        for name, values in columns.items():
            events[name] = values[good]
        if len(events):
            self._pending.append(events)
        return events

    # --------------------------------------------------------------------------------------------------- MarketSource

    def events(self, until_ns: int) -> EventArray:
        """Everything pushed up to `until_ns` that was not returned before, in the order of the pushes."""
        if not self._pending:
            return np.zeros(0, EVENT)
        pushed = np.concatenate(self._pending)
        due = int(np.searchsorted(pushed["time_ns"], until_ns, side="right"))
        self._pending = [pushed[due:]] if due < len(pushed) else []
        return pushed[:due]

    def snapshot(self) -> Arrays:
        """Touch, order number, and what was pushed and not yet returned."""
        return {
            "scalars": np.array([self._now_ns, self._order], np.int64),
            "touch": np.array([self._bid, self._ask]),
            "pending": np.concatenate([np.zeros(0, EVENT), *self._pending]),
        }

    def restore(self, state: Arrays) -> None:
        """Go on from `snapshot`: the same pushes then bring the same events."""
        self._now_ns, self._order = (int(value) for value in state["scalars"])
        self._bid[:], self._ask[:] = state["touch"]
        self._pending = [state["pending"].copy()] if len(state["pending"]) else []


def _whole(values: Float64, unit: Float64) -> Float64:
    return np.rint(values / unit)


def _between(values: Float64, largest: float) -> Mask:
    """Positive and not absurd; NaN is neither."""
    return (values > 0.0) & (values < largest)
