"""Who is traded while the engine runs: chosen anew every day, and soon after the venue has told of a contract.

What has left takes no entries and keeps its exits. What is new takes a spare row: its terms are read and its streams
are asked for on the sockets that carry the fewest; once the venue has agreed it joins the fold, warms up as all do, and
trades. Rules of a symbol that have changed (status, price grid, brackets) are taken over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import attrs
import trio

from aegis.config import UniverseConfig
from aegis.core.brackets import LeverageBrackets
from aegis.core.errors import VenueRefusal, VenueUnavailable
from aegis.core.risk import Fees
from aegis.core.values import SymbolName
from aegis.engine import learn
from aegis.engine.feed import MarketFeed
from aegis.engine.joining import Terms
from aegis.engine.machine import Machine
from aegis.engine.service import Service
from aegis.engine.universe import Choice
from aegis.runtime.logs import get_logger

__all__ = ["Roster"]

#: Contracts come in groups, and what the venue pushes is not yet in what it answers.
_GATHER_S = 5.0
_RETRY_S = 60.0

Tables = dict[SymbolName, LeverageBrackets]


class _Venue(learn.Listings, learn.Terms, Protocol):
    """What is asked."""


@attrs.define(kw_only=True, eq=False)
class Roster:
    """`ring` where the venue tells of a contract. `answer_s`: how long it may take to agree to streams."""

    venue: _Venue
    config: UniverseConfig
    machine: Machine
    service: Service
    feeds: Sequence[MarketFeed]
    trade_source: str
    answer_s: float
    venue_ns: Callable[[], int]
    _bell: trio.Event = attrs.field(factory=trio.Event, init=False)

    def ring(self) -> None:
        """Look again, soon."""
        self._bell.set()

    async def run(self) -> None:
        while True:
            with trio.move_on_after(self.config.refresh_hours * 3600):
                await self._bell.wait()
                await trio.sleep(_GATHER_S)
            self._bell = trio.Event()
            try:
                await self.refresh()
            except (VenueUnavailable, VenueRefusal) as error:
                get_logger().warning("universe.unread", reason=str(error))
                await trio.sleep(_RETRY_S)
                self.ring()

    async def refresh(self) -> None:
        """Read the listings and act upon them. Raises VenueUnavailable or VenueRefusal; the old ones stay then."""
        choices = await learn.choose(self.venue, self.config, self.venue_ns() // 1_000_000)
        tables = await learn.brackets(self.venue)
        self._update(choices, tables)
        await self._join(choices, tables)

    # -- who is here already -------------------------------------------------------------------------------------------
    def _update(self, choices: Sequence[Choice], tables: Tables) -> None:
        contexts = self.machine.decision.contexts
        chosen = {choice.spec.symbol for choice in choices if choice.included}
        for choice in choices:
            name = choice.spec.symbol
            index = contexts.index(name)
            if index is None:
                continue
            if choice.spec.qty_decimals != contexts.specs[index].qty_decimals:
                chosen.discard(name)  # its bars are counted in the old lots: it is traded from the next start on
            elif self._changed(choice, index, tables):
                brackets = tables.get(name, contexts.brackets[name])
                terms = Terms(spec=choice.spec, brackets=brackets, fees=contexts.fees[name], quotes=0, trades=0)
                self.service.terms(terms)
        left = sorted({spec.symbol for spec in contexts.specs} - chosen)
        for name in left:
            if name not in contexts.dropped:
                get_logger().info("symbol.left", symbol=name)
        self.service.command(" ".join(["universe", *left]))

    def _changed(self, choice: Choice, index: int, tables: Tables) -> bool:
        contexts = self.machine.decision.contexts
        spec, name = contexts.specs[index], choice.spec.symbol
        if attrs.evolve(spec, status=contexts.status(name)) != choice.spec:
            return True
        return tables.get(name, contexts.brackets[name]) != contexts.brackets[name]

    # -- who is new ----------------------------------------------------------------------------------------------------
    async def _join(self, choices: Sequence[Choice], tables: Tables) -> None:
        """The most traded first."""
        contexts = self.machine.decision.contexts
        fees = None
        for choice in choices:
            name = choice.spec.symbol
            if not choice.included or contexts.index(name) is not None:
                continue
            if len(contexts.specs) == len(contexts.warm):
                reason = "no row is spare"
            elif name not in tables:
                reason = "the venue gives no leverage brackets"
            else:
                fees = fees or await learn.fees(self.venue, name)
                reason = await self._take(choice, tables[name], fees)
            if reason:
                get_logger().warning("symbol.waiting", symbol=name, reason=reason)
            else:
                get_logger().info("symbol.entered", symbol=name)

    async def _take(self, choice: Choice, brackets: LeverageBrackets, fees: Fees) -> str:
        """One symbol joins; returns why it does not."""
        spec, index = choice.spec, len(self.machine.decision.specs)
        quotes = self._emptiest([feed for feed in self.feeds if feed.shard.quotes])
        trades = self._emptiest([feed for feed in self.feeds if feed.shard.trades])
        agreed = False
        with trio.move_on_after(self.answer_s):
            async with trio.open_nursery() as nursery:
                for feed, suffix in ((quotes, "bookTicker"), (trades, self.trade_source)):
                    nursery.start_soon(partial(feed.carry, index, f"{spec.symbol.lower()}@{suffix}"))
            agreed = True
        if not agreed:
            for feed in (quotes, trades):
                feed.leave(index)
            return "the venue has not agreed to its streams"
        self.service.terms(
            Terms(
                spec=spec, brackets=brackets, fees=fees, quotes=quotes.shard.number, trades=trades.shard.number
            )
        )  # fmt: skip
        return ""

    @staticmethod
    def _emptiest(feeds: Sequence[MarketFeed]) -> MarketFeed:
        return min(feeds, key=lambda feed: len(feed.shard.streams))
