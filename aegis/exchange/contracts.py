"""Contracts that change while the exchange runs: listed, halted, delisted, other brackets, thinner books."""

from __future__ import annotations

import attrs

from aegis.core.values import OrderStatus, OrderType, Side, TimeInForce
from aegis.exchange.account import Account, Position
from aegis.exchange.booking import ExpiryReason
from aegis.exchange.brackets import Brackets
from aegis.exchange.conditional import Conditional
from aegis.exchange.listing import Listing
from aegis.exchange.matching import Matching
from aegis.exchange.news import ContractNews
from aegis.exchange.orders import Order
from aegis.exchange.scenario import SETTLING, Plan, Step
from aegis.exchange.state import State

__all__ = ["Contracts"]

_NS_PER_MS = 1_000_000


class Contracts:
    """Carries a plan out: keeps one entry, its next moment, in the timetable."""

    def __init__(self, state: State, matching: Matching, conditional: Conditional, plan: Plan) -> None:
        self._state = state
        self._matching = matching
        self._conditional = conditional
        self._plan = plan
        #: How many steps are done.
        self.done = 0

    def start(self) -> None:
        """Put the next moment into the timetable."""
        edges = [phase.start_ns for phase in self._plan.phases] + [phase.end_ns for phase in self._plan.phases]
        times = [step.ns for step in self._plan.steps[self.done :]] + edges
        later = [ns for ns in times if ns > self._state.now_ns]
        self.due()  # what a plan says of the very start
        if later:
            self._state.timetable.add(min(later), "scenario")

    def due(self) -> None:
        """Everything that the plan has for the present and has not been done; books get the depth of their phase."""
        while self.done < len(self._plan.steps) and self._plan.steps[self.done].ns <= self._state.now_ns:
            step = self._plan.steps[self.done]
            self.done += 1
            self._carry_out(step)
        self._set_depth()

    def restore(self, done: int) -> None:
        """After a restore: the contracts as they are once so many steps are done; nobody is told again."""
        self.done = done
        for step in self._plan.steps[:done]:
            _change(self._state.listings[step.symbol], step)

    def _carry_out(self, step: Step) -> None:
        listing = self._state.listings[step.symbol]
        _change(listing, step)
        if step.status == SETTLING:
            self._settle(listing)
        if step.max_leverage is not None:
            for account in self._state.accounts.values():
                setting = account.setting(listing)
                setting.leverage = min(setting.leverage, step.max_leverage)
        news = ContractNews(listing, self._state.now_ms, brackets=step.max_leverage is not None)
        self._state.news.append(news)

    def _set_depth(self) -> None:
        """Behind the touch; the touch itself is the source's."""
        if not self._plan.phases:
            return
        factors = [1.0] * len(self._state.listings)
        for phase in self._plan.phases:
            if phase.start_ns <= self._state.now_ns < phase.end_ns:
                for symbol in phase.symbols:
                    factors[symbol] *= phase.what.depth
        self._state.books.thin(factors)

    # -- delivery ----------------------------------------------------------------------------------------------------

    def _settle(self, listing: Listing) -> None:
        """Orders end, and what anybody holds is closed at the mark."""
        for account in self._state.accounts.values():
            for order in self._state.orders.open_orders(account.id, listing.index):
                self._matching.finish(order, OrderStatus.EXPIRED, ExpiryReason.DELISTED)
            for position in list(account.held()):
                if position.listing.index == listing.index:
                    self._deliver(account, position)
            self._conditional.cancel_all(account.id, listing.index)

    def _deliver(self, account: Account, position: Position) -> None:
        state, listing = self._state, position.listing
        ticks = max(1, round(state.mark(listing) / listing.tick))
        self._matching.force(
            Order(
                account=account.id,
                listing=listing,
                side=Side.SELL if position.steps > 0 else Side.BUY,
                type=OrderType.MARKET,
                tif=TimeInForce.IOC,
                ticks=0,
                steps=abs(position.steps),
                client_id=f"settlement_autoclose-{state.now_ms}{state.count('autoclose')}",
                position_side=position.side,
                reduce_only=True,
            ),
            ticks,
        )


def _change(listing: Listing, step: Step) -> None:
    if step.status is not None:
        listing.status = step.status
    if step.delivery_ms is not None:
        listing.delivery_ms = step.delivery_ms
    if step.max_leverage is not None:
        most = step.max_leverage
        listing.brackets = Brackets(attrs.evolve(row, leverage=min(row.leverage, most)) for row in listing.brackets)
