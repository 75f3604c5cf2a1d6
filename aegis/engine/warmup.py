"""History for the analysis: closed klines of every symbol, most traded first, within the bulk share of the weight.

The same path serves the start, a symbol that comes back, and the mending of a hole. The bar in progress is used for
nothing: history ends with the last closed bar, and it is asked for only once the first whole live bar has begun.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

import attrs
import numpy as np
import trio

from aegis.core.errors import VenueRefusal, VenueUnavailable
from aegis.core.filters import SymbolSpec
from aegis.core.values import SymbolName
from aegis.kernels.layout import BAR
from aegis.kernels.state import Records
from aegis.runtime.logs import get_logger
from aegis.signals.timeframes import timeframe_name

__all__ = ["Klines", "Warmup"]

#: Bar lengths that the venue serves itself; others are built here, from base bars.
_VENUE_INTERVALS = frozenset(["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"])
_PAGE = 1500
_RETRY_S = 2.0
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
    workers: int = 2
    fetched: int = 0
    failed: int = 0
    _wanted: dict[int, int] = attrs.field(factory=dict, init=False)
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
                self.failed += 1
                get_logger().warning("warmup.failed", symbol=self.specs[symbol].symbol, reason=str(error))
                await trio.sleep(_RETRY_S)
                self.request((symbol,))
                continue
            self.fetched += 1
            self.deliver(symbol, base, higher)

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
        if higher_ms and not built:
            deep = max(deep, max(higher_ms) // base_ms + 2)  # to complete the forming higher bar
        return await self._closed(symbol, 0, base_ms, deep), tuple(higher)

    async def _closed(self, symbol: int, index: int, ms: int, count: int) -> Records:
        """The last `count` closed bars, oldest first, in pages from the newest back."""
        spec, pages, have = self.specs[symbol], list[Records](), 0
        now_ms = self.venue_ns() // _NS_PER_MS
        end_ms = now_ms // ms * ms - 1
        while have < count:
            page = await self.venue.klines(
                spec.symbol, timeframe_name(ms), min(_PAGE, count - have), end_ms=end_ms,
                qty_decimals=spec.qty_decimals, symbol_index=symbol, timeframe_index=index,
            )  # fmt: skip
            page = page[page["open_time"] + ms <= now_ms]
            if not len(page):
                break  # the symbol is younger than that
            pages.append(page)
            have += len(page)
            end_ms = int(page["open_time"][0]) - 1
        return np.concatenate(pages[::-1]) if pages else np.zeros(0, BAR)
