"""Fetches the trades that a market socket did not bring, by id, in the bulk share of the weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import attrs
import numpy as np
import trio

from aegis.core.errors import VenueRefusal, VenueUnavailable
from aegis.core.filters import SymbolSpec
from aegis.core.values import SymbolName
from aegis.engine.holes import FILL, MOST_TRADES
from aegis.kernels.state import Records
from aegis.runtime.logs import get_logger
from aegis.venue.replies import AggTrade

__all__ = ["AggTrades", "Mender"]


class AggTrades(Protocol):
    """The part of `RestClient` that is needed."""

    async def agg_trades(
        self, symbol: SymbolName, *, from_id: int | None = None, limit: int = 1000
    ) -> tuple[AggTrade, ...]: ...


@attrs.define(kw_only=True, eq=False)
class Mender:
    """`request` (symbol, first missing id) at any time; `deliver(symbol, trades)` gets FILL rows, or None.

    Whoever waited longer than `wait_s` is told None: the engine has given him up as well.
    """

    venue: AggTrades
    specs: Sequence[SymbolSpec]
    wait_s: float
    deliver: Callable[[int, Records | None], None]
    workers: int = 4
    _wanted: dict[int, tuple[int, float]] = attrs.field(factory=dict, init=False)
    _bell: trio.Event = attrs.field(factory=trio.Event, init=False)

    def request(self, wanted: Iterable[tuple[int, int]]) -> None:
        deadline = trio.current_time() + self.wait_s
        self._wanted.update((symbol, (first, deadline)) for symbol, first in wanted)
        self._bell.set()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(self.workers):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            if not self._wanted:
                if self._bell.is_set():
                    self._bell = trio.Event()
                await self._bell.wait()
                continue
            symbol = min(self._wanted)  # in the order of turnover
            first, deadline = self._wanted.pop(symbol)
            trades = None
            with trio.move_on_at(deadline):
                trades = await self._fetch(symbol, first)
            self.deliver(symbol, trades)

    async def _fetch(self, symbol: int, first: int) -> Records | None:
        spec = self.specs[symbol]
        try:
            page = await self.venue.agg_trades(spec.symbol, from_id=first, limit=MOST_TRADES)
        except (VenueUnavailable, VenueRefusal) as error:
            get_logger().warning("feed.gap", symbol=spec.symbol, first=first, reason=str(error))
            return None
        rows = [(t.id, t.time_ms, float(t.price), int(t.qty.scaleb(spec.qty_decimals)), t.buyer_is_maker) for t in page]
        return np.array(rows, FILL)
