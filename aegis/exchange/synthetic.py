"""Synthetic prices for the simulated exchange: deterministic by seed, one independent stream a symbol and purpose."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from zlib import crc32

import numpy as np
import numpy.typing as npt

from aegis.core.errors import ConfigError
from aegis.exchange.history import Past
from aegis.exchange.listing import Listing
from aegis.exchange.market import Arrays, EventArray
from aegis.exchange.planted import PlantedEdge
from aegis.exchange.scenario import NO_PLAN, PENDING, Plan
from aegis.exchange.synthetic_course import Course
from aegis.kernels import books, past, synthetic
from aegis.kernels.history import TAPE_BAR

__all__ = ["SyntheticSource"]

_STATE = ("market", "levels", "counts")
_NS_PER_SECOND = 1_000_000_000
_NEVER = 2**62


class SyntheticSource:
    """A `MarketSource` of made-up prices: what happens depends on the seed, the start and the symbol's own listing.

    `rate` is the number of frames a second (bookTicker, aggTrade, markPrice of all symbols) that the market comes near.
    It is reached by changes of displayed size, more of them where there is more trading, and moves no price; a market
    whose trading alone makes more is left alone. Adding a symbol changes nothing about another but the number of those
    changes of size.
    """

    def __init__(
        self, listings: Sequence[Listing], *, seed: int, start_ns: int, rate: float = 0.0, volatility: float = 1.0,
        plan: Plan = NO_PLAN, edge: PlantedEdge | None = None,
    ) -> None:  # fmt: skip
        self.listings = tuple(listings)
        self.seed = seed
        self.start_ns = start_ns
        self.volatility = volatility
        n = len(self.listings)
        self._course = Course(_parameters(self.listings, rate), plan)
        self._params, self._factor = self._course.at(start_ns // synthetic.BIN_NS)
        self._keys = np.array([_keys(seed, listing.symbol) for listing in self.listings], np.uint64)
        self._market_keys = np.array(_keys(seed, "MARKET"), np.uint64)
        self._tick_e8 = np.array([listing.tick_e8 for listing in self.listings], np.int64)
        self._market = np.zeros(len(synthetic.MARKET))
        self._levels = np.zeros((n, len(synthetic.LEVELS)))
        self._counts = _opening(self.listings)
        self._bin = start_ns // synthetic.BIN_NS + 1
        self._entered = self._course.passed(self._bin - 1)
        self._edge = edge
        self._close_bin = _NEVER if edge is None else edge.due(self._bin)
        self._pending: EventArray = self._opening_events()
        padding = int(self._params[:, synthetic.PADDING].sum()) + n
        self._room = n * synthetic.ROOM_PER_BIN + padding
        self._out = np.zeros(self._room + 4_096, books.EVENT)

    def _opening_events(self) -> EventArray:
        there = np.flatnonzero(self._params[:, synthetic.OPEN] >= 0.0)
        return np.concatenate((self._quotes(there, self.start_ns), self._marks(there, self.start_ns)))

    def _quotes(self, symbols: npt.NDArray[np.intp], time_ns: int) -> EventArray:
        """The present quotes of these symbols."""
        rows = np.zeros(len(symbols), books.EVENT)
        rows["time_ns"], rows["symbol"], rows["kind"] = time_ns, symbols, books.QUOTE
        for field, column in (
            ("bid", synthetic.BID), ("ask", synthetic.ASK),
            ("bid_qty", synthetic.BID_QTY), ("ask_qty", synthetic.ASK_QTY),
        ):  # fmt: skip
            rows[field] = self._counts[symbols, column]
        return rows

    def _marks(self, symbols: npt.NDArray[np.intp], time_ns: int) -> EventArray:
        """The first marks of these symbols: the prices at which they start."""
        rows = np.zeros(len(symbols), books.EVENT)
        rows["time_ns"], rows["symbol"], rows["kind"] = time_ns, symbols, books.MARK
        start = self._params[symbols, synthetic.START].astype(np.int64) * self._tick_e8[symbols]
        rows["mark_e8"] = rows["index_e8"] = start
        return rows

    def _close_bar(self) -> None:
        """A bar of the planted edge is over."""
        assert self._edge is not None
        self._edge.close(self._close_bin)
        self._set_course(self._close_bin)
        self._close_bin = self._edge.due(self._close_bin + 1)

    def _set_course(self, place: int) -> None:
        self._params[:], self._factor = self._course.at(place)
        if self._edge is not None:
            self._params[:, synthetic.DRIFT] += self._edge.drift

    def _enter(self, place: int) -> EventArray:
        """The plan has something new at this bin: other parameters, jumps, symbols that open."""
        before = self._params[:, synthetic.OPEN].copy()
        self._set_course(place)
        for symbol, jump in self._course.jumps(place):
            self._levels[symbol, synthetic.OWN] += jump
        open_now = self._params[:, synthetic.OPEN] > 0.0
        time_ns = place * synthetic.BIN_NS
        quotes = self._quotes(np.flatnonzero(open_now & (before <= 0.0)), time_ns)
        return np.concatenate((quotes, self._marks(np.flatnonzero(open_now & (before < 0.0)), time_ns)))

    # --------------------------------------------------------------------------------------------------- MarketSource

    def events(self, until_ns: int) -> EventArray:
        """All events up to `until_ns` that were not returned before, in time order."""
        batches = [self._pending]
        last = until_ns // synthetic.BIN_NS
        while self._bin <= last:
            edge = self._course.edge(self._entered)
            if edge <= self._bin:
                batches.append(self._enter(edge))
                self._entered += 1
                continue
            if self._close_bin <= self._bin:
                self._close_bar()
                continue
            self._bin, count = synthetic.run_bins(
                self._bin, min(last, edge - 1, self._close_bin - 1), self._params, self._keys, self._market_keys[0],
                self._market, self._levels, self._counts, self._tick_e8, self.volatility * self._factor, self._out,
                self._room,
            )  # fmt: skip
            rows = self._out[:count]
            if self._edge is not None:
                self._edge.add(rows)
            batches.append(rows[np.argsort(rows["time_ns"], kind="stable")])
            rows[:] = np.zeros(1, books.EVENT)
        events = np.concatenate(batches)
        due = int(np.searchsorted(events["time_ns"], until_ns, side="right"))
        self._pending = events[due:].copy()
        return events[:due]

    def snapshot(self) -> Arrays:
        """State from which an equal source goes on exactly as this one would."""
        state: Arrays = {name: getattr(self, f"_{name}").copy() for name in _STATE}
        state["pending"] = self._pending.copy()
        if self._edge is not None:
            state["planted"] = self._edge.state.copy()
        state["scalars"] = np.array([self.seed, self.start_ns, self._bin], np.int64)
        return state

    def restore(self, state: Arrays) -> None:
        """Take over the state of `snapshot`; the start moves to that of the source that made it.

        Raises:
            ConfigError: the state was made with another seed or other listings.
        """
        seed, start_ns, place = (int(value) for value in state["scalars"])
        if seed != self.seed or state["levels"].shape != self._levels.shape:
            raise ConfigError("the saved market was made with another seed or other symbols")
        self.start_ns, self._bin = start_ns, place
        for name in _STATE:
            getattr(self, f"_{name}")[...] = state[name]
        self._pending = state["pending"].copy()
        self._entered = self._course.passed(place - 1)
        if self._edge is not None:
            self._edge.state[...] = state["planted"]
            self._close_bin = self._edge.due(place)
        self._set_course(place - 1)

    # ------------------------------------------------------------------------------------------------------- the past

    def history(self, *, seconds: int = 3_600, minutes: int = 3_000) -> Past:
        """Bars from before the start: at least `seconds` of one second, and `minutes` of one minute in all.

        The last bar closes at the price at which the live market starts; minutes of the detailed part are for the
        reader to fold from its seconds, so the two never disagree.
        """
        end = self.start_ns // _NS_PER_SECOND
        detailed = -(-seconds // 60)
        first_second = (end // 60 - detailed) * 60
        first_minute = first_second // 60 - max(0, minutes - detailed)
        market = np.zeros(len(synthetic.MARKET))
        key = self._market_keys[synthetic.KINDS.index("past")]
        minute_factor = np.zeros(first_second // 60 - first_minute)
        second_factor = np.zeros(end - first_second)
        past.factor_path(key, first_minute, 60.0, self.volatility, minute_factor, market)
        past.factor_path(key, first_second, 1.0, self.volatility, second_factor, market)
        n = len(self.listings)
        minute_bars = np.zeros((n, len(minute_factor)), TAPE_BAR)
        second_bars = np.zeros((n, len(second_factor)), TAPE_BAR)
        def bars_of(some: slice) -> None:
            past.past_bars(
                self._params[some], self._keys[some], first_minute, first_second, self.volatility, minute_factor,
                second_factor, minute_bars[some], second_bars[some],
            )  # fmt: skip

        # Symbols do not meet here, and the kernel holds no GIL: it is most of an exchange's start.
        with ThreadPoolExecutor(2) as halves:
            list(halves.map(bars_of, (slice(n // 2), slice(n // 2, n))))
        return Past(start_ms=self.start_ns // 1_000_000, seconds=second_bars, minutes=minute_bars)


def _keys(seed: int, symbol: str) -> list[list[int]]:
    """The key of each purpose: SeedSequence([seed, crc32(symbol), crc32(kind)]), never Python's salted hash."""
    name = crc32(symbol.encode())
    return [
        np.random.SeedSequence([seed, name, crc32(kind.encode())]).generate_state(2).tolist()
        for kind in synthetic.KINDS
    ]


def _parameters(listings: Sequence[Listing], rate: float) -> npt.NDArray[np.float64]:
    params = np.zeros((len(listings), len(synthetic.PARAMETERS)))
    for row, listing in zip(params, listings, strict=True):
        lag = np.random.Generator(np.random.Philox(crc32(listing.symbol.encode()))).uniform(0.35, 2.0)
        top, majors = listing.index == 0, listing.index < 2
        row[:] = (
            listing.start_ticks, listing.beta, listing.annual_vol, 0.15 if majors else lag, listing.activity,
            0.88 if top else 0.7, 0.35, listing.spread_ticks, listing.touch_steps, listing.trade_steps,
            0.0, listing.status == "TRADING" and listing.activity > 0.0, 0.0, 0.0,
        )  # fmt: skip
        if listing.status == PENDING:
            row[synthetic.OPEN] = -1.0
    # A trade of ours is about 2.6 records: its prices, its quote, and now and then the quote's way back.
    natural = len(listings) + 2.6 * params[:, synthetic.ACTIVITY].sum()
    weight = np.where(params[:, synthetic.OPEN] > 0.0, params[:, synthetic.ACTIVITY] + 0.3, 0.0)
    if weight.sum() > 0.0:
        params[:, synthetic.PADDING] = max(0.0, rate - natural) * weight / weight.sum() / 10.0
    return params


def _opening(listings: Sequence[Listing]) -> npt.NDArray[np.int64]:
    """Integer state in which the start price lies on the bid."""
    counts = np.zeros((len(listings), len(synthetic.COUNTS)), np.int64)
    for row, listing in zip(counts, listings, strict=True):
        bid, width = listing.start_ticks, listing.spread_ticks
        row[:] = (2 * bid + width, width, bid, bid + width, listing.touch_steps, listing.touch_steps, 1, 0, 0)
    return counts
