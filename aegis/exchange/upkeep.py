"""What the clock brings: funding payments, checks of margin, countdowns, and orders that end by themselves."""

from __future__ import annotations

from aegis.core.values import OrderStatus
from aegis.exchange.account import Account, Position
from aegis.exchange.booking import ExpiryReason
from aegis.exchange.liquidation import Liquidation
from aegis.exchange.listing import Listing
from aegis.exchange.matching import Matching
from aegis.exchange.money import E16, divide
from aegis.exchange.scenario import PENDING, SETTLING
from aegis.exchange.state import FundingRate, State
from aegis.exchange.userstream import account_update
from aegis.kernels.books import FUNDING_INTERVAL_MS

__all__ = ["Upkeep"]

_MARGIN_CHECK_NS = 1_000_000_000
_NS_PER_MS = 1_000_000


class Upkeep:
    """Keeps two entries in the timetable: the next funding time, and, while positions are held, a check every second.

    Margin is checked once a second because that is how often marks change.
    """

    def __init__(self, state: State, matching: Matching) -> None:
        self._state = state
        self._matching = matching
        self._liquidation = Liquidation(state, matching)
        self._checking = False

    def start(self) -> None:
        """Put the next funding time into the timetable."""
        interval_ns = FUNDING_INTERVAL_MS * _NS_PER_MS
        self._state.timetable.add((self._state.now_ns // interval_ns + 1) * interval_ns, "funding")

    def resume(self) -> None:
        """After a restore, whose timetable holds these entries already."""
        self._checking = any(due == "margin" for _, due in self._state.timetable.durable())

    def watch_margins(self) -> None:
        """Have margins checked from now on if anybody holds a position, or owes."""
        if not self._checking and any(map(self._liquidation.due, self._state.accounts.values())):
            self._checking = True
            next_ns = (self._state.now_ns // _MARGIN_CHECK_NS + 1) * _MARGIN_CHECK_NS
            self._state.timetable.add(next_ns, "margin")

    # -- orders that end by the clock --------------------------------------------------------------------------------

    def count_down(self, account: Account, listing: Listing, wait_ms: int) -> None:
        """Cancel the account's orders of a symbol in so many ms unless this is called again; 0 calls it off."""
        state = self._state
        state.countdowns.pop((account.id, listing.index), None)
        if wait_ms:
            state.countdowns[account.id, listing.index] = state.now_ms + wait_ms
            state.timetable.add((state.now_ms + wait_ms) * _NS_PER_MS, "orders")

    def end_orders(self) -> None:
        """Carry out countdowns that ran down, and let GTD orders expire that are over."""
        state = self._state
        for (account, symbol), due_ms in list(state.countdowns.items()):
            if due_ms <= state.now_ms:
                del state.countdowns[account, symbol]
                for order in state.orders.open_orders(account, symbol):
                    self._matching.finish(order, OrderStatus.CANCELED, ExpiryReason.NONE)
        for account in state.accounts:
            for order in state.orders.open_orders(account):
                if 0 < order.good_till_ms <= state.now_ms:
                    self._matching.finish(order, OrderStatus.EXPIRED, ExpiryReason.NONE)

    # -- funding -----------------------------------------------------------------------------------------------------

    def funding(self) -> None:
        """Every holder pays (or receives) amount x mark x rate; an isolated position pays from its own margin."""
        self._note_rates()
        for account in self._state.accounts.values():
            for position in account.held():
                self._pay_funding(account, position)
        self.start()

    def _note_rates(self) -> None:
        """Remember the rates of all contracts that anybody may hold: whoever does is charged by them."""
        state = self._state
        for listing in state.listings:
            mark_e8 = state.mark_e8(listing)
            if mark_e8 > 0 and listing.status not in (PENDING, SETTLING):
                rate_e8 = int(state.books.funding_e8[listing.index])
                state.funding_rates.append(FundingRate(listing.symbol, state.now_ms, rate_e8, mark_e8))

    def _pay_funding(self, account: Account, position: Position) -> None:
        state, listing = self._state, position.listing
        rate_e8, mark_e8 = int(state.books.funding_e8[listing.index]), state.mark_e8(listing)
        amount = -divide(position.notional_e16(mark_e8) * rate_e8, E16)
        if not amount:
            return
        if position.setting.isolated:
            account.shift_margin(position, amount)
        state.pay(account, listing.symbol, "FUNDING_FEE", amount)
        positions = [(position, mark_e8)] if position.setting.isolated else []
        event = account_update(account, state.now_ms, "FUNDING_FEE", positions, change=amount, symbol=listing.symbol)
        state.tell(account.id, event)

    # -- liquidation -------------------------------------------------------------------------------------------------

    def check_margins(self) -> None:
        """Liquidate what the margin no longer carries."""
        self._checking = False
        for account in self._state.accounts.values():
            self._liquidation.check(account)
        self.watch_margins()
