"""History for the analysis: closed klines of every symbol, most traded first, within the bulk share of the weight.

The same path serves the start, a symbol that comes back, and the mending of a hole. The bar in progress is used for
nothing: history ends with the last closed bar, and it is asked for only once the first whole live bar has begun.

With a store only the bars that it lacks are asked for. It holds the venue's own klines and never what was built from
live trades, which may lack some (a hole, a late trade, kinds that the stream does not carry): a start from it equals a
start without it. While the engine runs the store follows a few hundred bars behind, one symbol after the other, which
costs each symbol one light request in that time and makes the next start, and each mending of a hole, as cheap.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

import attrs
import numpy as np
import trio

from aegis.core.errors import VenueRefusal, VenueUnavailable
from aegis.core.filters import SymbolSpec
from aegis.core.values import SymbolName
from aegis.engine.bar_store import BarStore, Series, storable
from aegis.kernels.layout import BAR
from aegis.kernels.state import Records
from aegis.runtime.logs import get_logger
from aegis.signals.timeframes import timeframe_name

__all__ = ["Klines", "Warmup"]

#: Bar lengths that the venue serves itself; others are built here, from base bars.
_VENUE_INTERVALS = frozenset(["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"])
_PAGE = 1500
_RETRY_S = 2.0
#: How far what is stored may fall behind while we run: a request for fewer than 500 bars weighs 2.
_BEHIND_BARS = 400
#: Stored bars that are asked for once more. Where the venue says otherwise (a simulator that was started anew, klines
#: that were corrected) nothing stored is used.
_OVERLAP = 8
#: What has only just closed is not stored: the venue may still be adding its last trades.
_SETTLE_MS = 10_000
_NS_PER_MS = 1_000_000


class Klines(Protocol):
    """The part of `RestClient` that is needed."""

    async def klines(
        self,
        symbol: SymbolName,
        interval: str,
        limit: int,
        start_ms: int | None = None,
        end_ms: int | None = None,
        *,
        qty_decimals: int,
        symbol_index: int = 0,
        timeframe_index: int = 0,
    ) -> Records: ...


@attrs.define(kw_only=True, eq=False)
class Warmup:
    """`request` symbols at any time; `run` serves them in index order, which is the order of turnover.

    `prepare` makes the account ready for a symbol (leverage, margin type); `deliver(symbol, base, higher)` hands its
    history to the engine, and what is wrong with it comes back as a new request.
    """

    venue: Klines
    specs: Sequence[SymbolSpec]
    timeframes_ms: Sequence[int]
    bars: int
    venue_ns: Callable[[], int]
    deliver: Callable[[int, Records, tuple[Records, ...]], None]
    prepare: Callable[[SymbolName], Awaitable[None]]
    store: BarStore | None = None
    workers: int = 2
    fetched: int = 0
    failed: int = 0
    _wanted: dict[int, int] = attrs.field(factory=dict, init=False)
    _served: set[int] = attrs.field(factory=set, init=False)
    _bell: trio.Event = attrs.field(factory=trio.Event, init=False)

    def request(self, symbols: Iterable[int]) -> None:
        """These symbols need history, from the next whole base bar on."""
        base_ms = self.timeframes_ms[0]
        ready_ms = (self.venue_ns() // _NS_PER_MS // base_ms + 1) * base_ms
        for symbol in symbols:
            self._wanted[symbol] = ready_ms
        self._bell.set()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(self.workers):
                nursery.start_soon(self._work)
            if self.store is not None:
                nursery.start_soon(self._follow, self.store)

    async def _work(self) -> None:
        while True:
            if not self._wanted:
                if self._bell.is_set():  # one event for all who wait, or only the last of them would hear it
                    self._bell = trio.Event()
                await self._bell.wait()
                continue
            symbol = min(self._wanted, key=lambda index: (self._wanted[index], index))
            ready_ms = self._wanted.pop(symbol)
            # A little later, so that the venue has closed the bar before.
            await trio.sleep(max(0.0, ready_ms / 1e3 + 0.05 - self.venue_ns() / 1e9))
            try:
                await self.prepare(self.specs[symbol].symbol)
                base, higher = await self.fetch(symbol)
            except (VenueUnavailable, VenueRefusal) as error:
                self._failed(symbol, error)
                await trio.sleep(_RETRY_S)
                self.request((symbol,))
                continue
            self.fetched += 1
            self._served.add(symbol)
            self.deliver(symbol, base, higher)

    def _failed(self, symbol: int, error: VenueUnavailable | VenueRefusal) -> None:
        self.failed += 1
        get_logger().warning("warmup.failed", symbol=self.specs[symbol].symbol, reason=str(error))

    async def _follow(self, store: BarStore) -> None:
        """Keep what is stored at most `_BEHIND_BARS` base bars old, a symbol at a time, evenly spread."""
        await store.keep_only(
            self._series(symbol, ms) for symbol in range(len(self.specs)) for ms in self.timeframes_ms
        )
        for turn in itertools.count():
            symbol = turn % len(self.specs)  # which may become more
            await trio.sleep(_BEHIND_BARS * self.timeframes_ms[0] / 1e3 / len(self.specs))
            if symbol in self._wanted or symbol not in self._served:
                continue  # a worker fetches it anyway
            try:
                await self.fetch(symbol)
            except (VenueUnavailable, VenueRefusal) as error:
                self._failed(symbol, error)

    async def fetch(self, symbol: int) -> tuple[Records, tuple[Records, ...]]:
        """Closed bars of the base and of each higher timeframe; an empty array where the base bars suffice.

        Raises VenueUnavailable or VenueRefusal.
        """
        base_ms, *higher_ms = self.timeframes_ms
        built = [ms // base_ms for ms in higher_ms if timeframe_name(ms) not in _VENUE_INTERVALS]
        # One higher bar more than wanted, because the first one is rarely whole.
        deep = max([self.bars + 1, *((self.bars + 1) * multiple for multiple in built)])
        higher = []
        for k, ms in enumerate(higher_ms, start=1):
            native = timeframe_name(ms) in _VENUE_INTERVALS
            higher.append(await self._closed(symbol, k, ms, self.bars + 1) if native else np.zeros(0, BAR))
        if higher_ms:
            deep = max(deep, max(higher_ms) // base_ms + 2)  # to complete the forming higher bar
        return await self._closed(symbol, 0, base_ms, deep), tuple(higher)

    async def _closed(self, symbol: int, index: int, ms: int, count: int) -> Records:
        """The last `count` closed bars, oldest first: what is stored, what has closed since, and what is before."""
        now_ms = self.venue_ns() // _NS_PER_MS
        end_ms = now_ms // ms * ms
        bars = stored = await self._stored(symbol, index, ms, end_ms - count * ms, end_ms)
        if len(stored):
            bars = await self._continued(stored, symbol, index, ms, end_ms)
        pages, have, before_ms = [bars], len(bars), int(bars["open_time"][0]) if len(bars) else end_ms
        while have < count:
            page = await self._page(symbol, index, ms, min(_PAGE, count - have), before_ms)
            if not len(page):
                break  # the symbol is younger than that
            pages.append(page)
            have += len(page)
            before_ms = int(page["open_time"][0])
        bars = np.concatenate(pages[::-1])
        if self.store is not None:
            fresh = storable(bars, ms, now_ms - _SETTLE_MS)
            if len(fresh) and fresh.tobytes() != stored.tobytes():
                await self.store.save(self._series(symbol, ms), fresh)
        return bars

    async def _stored(self, symbol: int, index: int, ms: int, since_ms: int, end_ms: int) -> Records:
        """Stored bars of [since_ms, end_ms); none where what is missing behind them takes more than a page."""
        if self.store is None:
            return np.zeros(0, BAR)
        bars = await self.store.load(self._series(symbol, ms))
        opens = bars["open_time"]
        bars = bars[(opens >= since_ms) & (opens < end_ms)]
        if not len(bars) or (end_ms - int(bars["open_time"][-1])) // ms - 1 + _OVERLAP > _PAGE:
            return bars[:0]
        bars["symbol"], bars["timeframe"] = symbol, index
        return bars

    async def _continued(self, stored: Records, symbol: int, index: int, ms: int, end_ms: int) -> Records:
        """What is stored and what has closed since; nothing where the venue's klines do not go on from it."""
        assert self.store is not None
        first, last = int(stored["open_time"][0]), int(stored["open_time"][-1])
        again = min(_OVERLAP, len(stored))
        page = await self._page(symbol, index, ms, (end_ms - last) // ms - 1 + again, end_ms)
        page = page[page["open_time"] >= first]
        seam = page["open_time"] <= last
        if page[seam].tobytes() != stored[-again:].tobytes() or (np.diff(page["open_time"]) != ms).any():
            self.store.refuse(self._series(symbol, ms), "the venue's klines do not go on from it")
            return stored[:0]
        return np.concatenate([stored, page[~seam]])

    async def _page(self, symbol: int, index: int, ms: int, limit: int, before_ms: int) -> Records:
        """The last `limit` bars that open before `before_ms`, oldest first."""
        spec = self.specs[symbol]
        page = await self.venue.klines(
            spec.symbol, timeframe_name(ms), limit, end_ms=before_ms - 1,
            qty_decimals=spec.qty_decimals, symbol_index=symbol, timeframe_index=index,
        )  # fmt: skip
        return page[page["open_time"] < before_ms]

    def _series(self, symbol: int, ms: int) -> Series:
        return Series(spec=self.specs[symbol], interval=timeframe_name(ms), ms=ms)
