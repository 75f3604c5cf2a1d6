"""Public books of all symbols: arrays that a compiled kernel steps through the events of a market source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from aegis.core.errors import ConfigError
from aegis.exchange.listing import Listing
from aegis.exchange.market import Arrays, EventArray, MarketSource
from aegis.kernels import books as kernels

__all__ = ["UNTOUCHED", "Books"]

Int64 = npt.NDArray[np.int64]

#: Bounds that nothing reaches, for `Books.watch`.
UNTOUCHED = (-kernels.NEVER, kernels.NEVER, -kernels.NEVER, kernels.NEVER)
#: The longest stretch of events that is held at once.
_FETCH_NS = 1_000_000_000
_NS_PER_MS = 1_000_000


class Books:
    """The market that everybody sees.

    Attributes (arrays by symbol index are live views: read them, do not write them):
        now_ns: market time; now_ms: the same in whole milliseconds.
        bid, ask, last: int64 ticks; 0 while a symbol has no price yet.
        bid_size, ask_size: int64 steps displayed at the touch.
        bid_qty, ask_qty: int64 steps [symbol, depth]; level k is k ticks away from the touch, and may be empty.
        mark_e8, index_e8, average_e8: int64, prices in 1e-8; `average_e8` is the moving average of the mark.
        funding_e8: int64, funding rate in 1e-8; next_funding_ms: int64.
        update_id, trade_id, agg_id: int64, the last ones given.
    """

    def __init__(
        self, listings: Sequence[Listing], source: MarketSource, *, depth: int = 20, start_ns: int, mute: bool = False
    ) -> None:
        """Open the market: the source's events up to `start_ns` are applied at once.

        Args:
            mute: publish marks and what our own orders do, not the source's quotes and trades: they are known already.
        """
        self.listings = tuple(listings)
        self.depth = depth
        self._stand_at(start_ns)
        self._source = source
        self._fetched_ns = start_ns - 1
        self._events: EventArray = np.zeros(0, kernels.EVENT)
        self._cursor = 0
        self._public = np.zeros(4096, kernels.PUBLIC)
        self._count = 0
        self._order = 0
        self._watched: dict[int, tuple[int, int, int, int]] = {}
        """Bounds by symbol, where anything can touch them."""
        self.version = 0
        """Grows whenever events of the source were applied: marks change at no other time."""
        self._mute = mute
        n = len(self.listings)
        self._state = np.zeros((n, len(kernels.STATE)), np.int64)
        self._levels = np.zeros((n, 2, depth), np.int64)
        self._taken = np.zeros((n, 2, kernels.DEPTH_SLOTS, 3), np.int64)
        self._prints = np.zeros((depth, 2), np.int64)
        self._scratch = (np.zeros_like(self._state), np.zeros_like(self._levels), np.zeros_like(self._taken))
        self._scratch_rows = (np.zeros(1, kernels.EVENT), np.zeros(2, kernels.PUBLIC))
        self._expose()
        self._begin(start_ns)
        self.advance(start_ns)

    def _expose(self) -> None:
        column = {name: self._state[:, k] for k, name in enumerate(kernels.STATE)}
        self.bid, self.ask, self.last = column["bid"], column["ask"], column["last"]
        self.bid_size, self.ask_size = self._levels[:, 0, 0], self._levels[:, 1, 0]
        self.mark_e8, self.index_e8, self.average_e8 = column["mark_e8"], column["index_e8"], column["average_e8"]
        self.funding_e8, self.next_funding_ms = column["funding_e8"], column["next_funding_ms"]
        self.update_id, self.trade_id, self.agg_id = column["update_id"], column["trade_id"], column["agg_id"]
        self._low, self._high = column["low"], column["high"]
        self._mark_low, self._mark_high = column["mark_low_e8"], column["mark_high_e8"]
        self._column = column

    def _begin(self, start_ns: int) -> None:
        start_ms = start_ns // _NS_PER_MS
        self.update_id[:] = start_ms * 1000  # sparse and large, below 2**53, and above those of any earlier run
        self.trade_id[:] = start_ms
        self.agg_id[:] = start_ms // 2
        self.last[:] = [listing.start_ticks for listing in self.listings]
        self.funding_e8[:] = 10_000
        interval = kernels.FUNDING_INTERVAL_MS
        self.next_funding_ms[:] = (start_ms // interval + 1) * interval
        self._column["unit"][:] = [listing.touch_steps for listing in self.listings]
        self._low[:], self._high[:], self._mark_low[:], self._mark_high[:] = UNTOUCHED

    @property
    def bid_qty(self) -> Int64:
        return self._displayed()[:, 0]

    @property
    def ask_qty(self) -> Int64:
        return self._displayed()[:, 1]

    def _displayed(self) -> Int64:
        kernels.deepen(0, len(self.listings), self._state, self._levels, self._taken)
        return self._levels

    # ------------------------------------------------------------------------------------------------------- time

    def advance(self, until_ns: int) -> int:
        """Apply the source's events in time order.

        Returns:
            The symbol index whose bounds the last applied event touched (`now_ns` is that event's time and
            `last_event` that event), or -1 when `until_ns` is reached. Time never goes back.
        """
        while True:
            count = len(self._events) - self._cursor
            self._reserve(2 * count)
            before = self._cursor
            self._cursor, self._count, touched = kernels.step(
                self._events, before, until_ns,
                self._state, self._levels, self._taken, self._public, self._count, self._mute,
            )  # fmt: skip
            self.version += self._cursor > before
            if touched >= 0:
                self._stand_at(max(self.now_ns, int(self.last_event["time_ns"])))
                return touched
            if self._fetched_ns >= until_ns:
                self._stand_at(max(self.now_ns, until_ns))
                return -1
            self._fetch(min(until_ns, self._fetched_ns + _FETCH_NS))

    def _stand_at(self, now_ns: int) -> None:
        self.now_ns, self.now_ms = now_ns, now_ns // _NS_PER_MS

    def _fetch(self, until_ns: int) -> None:
        self._fetched_ns = until_ns
        fresh = self._source.events(until_ns)
        left = self._events[self._cursor :]
        self._events = np.concatenate((left, fresh)) if len(left) else fresh  # structured: concatenation is slow
        self._cursor = 0

    def next_touch_ns(self, until_ns: int) -> int | None:
        """When `advance` would stop first, up to `until_ns`, or None; nothing is applied."""
        if not self._watched:
            return None
        if self._fetched_ns < until_ns:
            self._fetch(until_ns)
        if self._cursor == len(self._events) or self._events["time_ns"][self._cursor] > until_ns:
            return None
        symbols = list(self._watched)
        watched = np.zeros(len(self.listings), np.bool_)
        watched[symbols] = True
        for scratch, own in zip(self._scratch, (self._state, self._levels, self._taken), strict=True):
            scratch[symbols] = own[symbols]
        found = kernels.first_touch(
            self._events, self._cursor, until_ns, watched, *self._scratch, *self._scratch_rows
        )
        return int(self._events["time_ns"][found]) if found >= 0 else None

    @property
    def last_event(self) -> np.void:
        """The event applied last (`kernels.books.EVENT`), with prices and sizes as displayed; read it after a touch.

        Raises:
            LookupError: nothing was applied since the last fetch.
        """
        if self._cursor == 0:
            raise LookupError("no event was applied")
        event: np.void = self._events[self._cursor - 1]
        return event

    # ---------------------------------------------------------------------------------------------------- watching

    def watch(self, symbol: int, low: int, high: int, mark_low_e8: int, mark_high_e8: int) -> None:
        """Make `advance` stop after an event that touches one of these bounds (one set a symbol, replaced each time).

        Touched: a print at or below `low` or at or above `high`; ask <= `low`; bid >= `high`; mark <= `mark_low_e8` or
        >= `mark_high_e8`. `UNTOUCHED` are bounds that nothing reaches. A set stays until it is replaced, so every
        further event beyond it stops again.
        """
        bounds = low, high, mark_low_e8, mark_high_e8
        if bounds == self._watched.get(symbol, UNTOUCHED):
            return
        self._low[symbol], self._high[symbol] = low, high
        self._mark_low[symbol], self._mark_high[symbol] = mark_low_e8, mark_high_e8
        if bounds == UNTOUCHED:
            del self._watched[symbol]
        else:
            self._watched[symbol] = bounds

    @property
    def watching(self) -> bool:
        """Whether any price can touch anything; if not, `advance` may be put off until the market is looked at."""
        return bool(self._watched)

    def unwatch(self, symbol: int) -> None:
        """No bound of this symbol stops `advance`."""
        self.watch(symbol, *UNTOUCHED)

    def touched(self, symbol: int) -> bool:
        """Whether the book, the last print or the mark of this moment lies on or beyond the symbol's bounds.

        `take` moves the book without stopping anything: ask here afterwards.
        """
        low, high = self._low[symbol], self._high[symbol]
        mark_low, mark_high = self._mark_low[symbol], self._mark_high[symbol]
        quoted = self.bid[symbol] > 0
        return bool(
            self.last[symbol] <= low
            or self.last[symbol] >= high
            or (quoted and (self.ask[symbol] <= low or self.bid[symbol] >= high))
            or self.mark_e8[symbol] <= mark_low
            or self.mark_e8[symbol] >= mark_high
        )

    def thin(self, factors: Sequence[float]) -> None:
        """Show so many times the usual size behind the touch, a factor a symbol."""
        usual = [max(1, round(row.touch_steps * factor)) for row, factor in zip(self.listings, factors, strict=True)]
        self._column["unit"][:] = usual

    # ----------------------------------------------------------------------------------------------------- trading

    def take(self, symbol: int, side: int, qty_steps: int, limit_ticks: int | None) -> list[tuple[int, int]]:
        """An incoming aggressor consumes what is displayed now, level by level, at most `depth` ticks deep.

        What is consumed comes back over four seconds; an exhausted touch moves the quote. Prints and the new quote are
        published, all prints as of one aggressive order.

        Args:
            side: +1 buys from the asks, -1 sells to the bids.
            limit_ticks: worst price, or None.

        Returns:
            [(ticks, steps), ...] best price first; less than asked, or nothing, when the book does not hold more.
        """
        if self.bid.item(symbol) <= 0:
            return []
        self._reserve(self.depth + 1)
        self._order -= 1  # sources count upwards, so these never meet theirs
        limit = side * kernels.NEVER if limit_ticks is None else limit_ticks
        self._count, filled, ticks, steps = kernels.take(
            symbol, side, qty_steps, limit, self.now_ns, self._order,
            self._state, self._levels, self._taken, self._public, self._count, self._prints,
        )  # fmt: skip
        if filled <= 1:  # by far the most frequent
            return [(ticks, steps)] if filled else []
        return [(ticks, steps) for ticks, steps in self._prints[:filled].tolist()]

    def displayed(self, symbol: int, side: int, ticks: int) -> int:
        """Steps displayed now at a price, on the bids (`side` +1, where buys rest) or the asks (-1)."""
        book = 0 if side > 0 else 1
        return kernels.size_at(self._state, self._taken, symbol, book, ticks, self.now_ms)

    # --------------------------------------------------------------------------------------------------- publishing

    def published(self) -> npt.NDArray[np.void]:
        """All `kernels.books.PUBLIC` records since the last call, in the order in which they happened.

        The caller drains this regularly: nothing is dropped here.
        """
        records = self._public[: self._count].copy()
        self._public[: self._count] = np.zeros(1, kernels.PUBLIC)
        self._count = 0
        self._column["agg_order"][:] = 0  # an aggregate ends where its publication ends
        return records

    def _reserve(self, rows: int) -> None:
        if self._count + rows > len(self._public):
            grown = np.zeros(max(2 * len(self._public), self._count + rows), kernels.PUBLIC)
            grown[: self._count] = self._public[: self._count]
            self._public = grown

    # ------------------------------------------------------------------------------------------------------- state

    def snapshot(self) -> Arrays:
        """Everything that `restore` needs, the source's state included, as arrays for `numpy.savez`."""
        state: Arrays = {
            "books.scalars": np.array([self.now_ns, self._fetched_ns, self._order, self.depth], np.int64),
            "books.state": self._state.copy(),
            "books.levels": self._displayed().copy(),
            "books.taken": self._taken.copy(),
            "books.events": self._events[self._cursor :].copy(),
            "books.public": self._public[: self._count].copy(),
        }
        return state | {f"source.{name}": array for name, array in self._source.snapshot().items()}

    def restore(self, state: Arrays) -> None:
        """Go on where `snapshot` was taken; the next `advance` catches up with the present.

        Raises:
            ConfigError: the state was taken of other listings or another depth.
        """
        if state["books.state"].shape != self._state.shape or state["books.levels"].shape != self._levels.shape:
            raise ConfigError("the saved exchange state was made with other symbols or another depth")
        now_ns, self._fetched_ns, self._order, _ = (int(value) for value in state["books.scalars"])
        self._stand_at(now_ns)
        self._state[:] = state["books.state"]
        self.version += 1
        columns = (self._low, self._high, self._mark_low, self._mark_high)
        bounds = enumerate(zip(*(column.tolist() for column in columns), strict=True))
        self._watched = {symbol: row for symbol, row in bounds if row != UNTOUCHED}
        self._levels[:] = state["books.levels"]
        self._taken[:] = state["books.taken"]
        self._events, self._cursor = state["books.events"].copy(), 0
        public = state["books.public"]
        self._public = np.zeros(max(4096, 2 * len(public)), kernels.PUBLIC)
        self._count = len(public)
        self._public[: self._count] = public
        self._source.restore(
            {name.removeprefix("source."): array for name, array in state.items() if name[:7] == "source."}
        )
