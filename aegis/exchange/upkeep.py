"""What happens to positions without an order: funding payments and liquidation. PROTOCOL.md §9."""

from __future__ import annotations

from decimal import Decimal

from aegis.core.values import OrderStatus, OrderType, Side, TimeInForce
from aegis.exchange.account import ZERO, Account, Position, round_money
from aegis.exchange.booking import ExpiryReason
from aegis.exchange.listing import E8, Listing
from aegis.exchange.matching import Matching, NewOrder
from aegis.exchange.state import State
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
        self._checking = False

    def start(self) -> None:
        """Put the next funding time into the timetable."""
        interval_ns = FUNDING_INTERVAL_MS * _NS_PER_MS
        self._state.timetable.add((self._state.now_ns // interval_ns + 1) * interval_ns, "funding")

    def resume(self) -> None:
        """After a restore, whose timetable holds these entries already."""
        self._checking = any(due == "margin" for _, due in self._state.timetable.durable())

    def watch_margins(self) -> None:
        """Have margins checked from now on if anybody holds a position."""
        if not self._checking and any(account.held() for account in self._state.accounts.values()):
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
        for account in self._state.accounts.values():
            for position in account.held():
                self._pay_funding(account, position)
        self.start()

    def _pay_funding(self, account: Account, position: Position) -> None:
        state, listing = self._state, position.listing
        rate = Decimal(int(state.books.funding_e8[listing.index])) / E8
        mark = state.mark(listing)
        amount = -round_money(position.notional(mark) * rate)
        if not amount:
            return
        account.credit(amount)
        if position.isolated:
            position.isolated_wallet += amount
        state.book_income(account, listing.symbol, "FUNDING_FEE", amount)
        positions = [(position, mark)] if position.isolated else []
        event = account_update(account, state.now_ms, "FUNDING_FEE", positions, change=amount, symbol=listing.symbol)
        state.tell(account.id, event)

    # -- liquidation -------------------------------------------------------------------------------------------------

    def check_margins(self) -> None:
        """Liquidate isolated positions, and cross accounts as a whole, whose margin fell to the maintenance margin."""
        self._checking = False
        for account in self._state.accounts.values():
            crossed: list[Position] = []
            balance, maintenance = account.cross_wallet, ZERO
            for position in account.held():
                mark = self._state.mark(position.listing)
                if position.isolated:
                    margin = position.isolated_wallet + position.unrealized(mark)
                    if margin <= position.maintenance_margin(mark):
                        self._liquidate(account, position)
                else:
                    crossed.append(position)
                    balance += position.unrealized(mark)
                    maintenance += position.maintenance_margin(mark)
            if crossed and balance <= maintenance:
                for position in crossed:
                    self._liquidate(account, position)
                self._clear(account, crossed[0].listing.symbol, max(ZERO, -account.cross_wallet))
        self.watch_margins()

    def _liquidate(self, account: Account, position: Position) -> None:
        """Cancel the symbol's orders and close at market; the insurance fund takes what the margin does not cover.

        What the book does not take at once stays and is liquidated at the next check.
        """
        state, listing = self._state, position.listing
        for order in state.orders.open_orders(account.id, listing.index):
            self._matching.finish(order, OrderStatus.EXPIRED, ExpiryReason.LIQUIDATED)
        isolated, margin = position.isolated, position.isolated_wallet
        realized = position.realized
        order = self._matching.place(
            NewOrder(
                account=account,
                listing=listing,
                side=Side.SELL if position.steps > 0 else Side.BUY,
                type=OrderType.MARKET,
                tif=TimeInForce.IOC,
                ticks=0,
                steps=abs(position.steps),
                client_id=f"autoclose-{state.now_ms}{state.count('autoclose')}",
                reduce_only=True,
                liquidation=True,
            )
        )
        if not isolated:
            return
        left = margin - position.isolated_wallet + position.realized - realized
        fee = round_money(order.quote * listing.liquidation_fee)
        self._clear(account, listing.symbol, -left if left < 0 else -min(fee, left))

    def _clear(self, account: Account, symbol: str, amount: Decimal) -> None:
        """A payment of the insurance fund (a liquidation fee when negative)."""
        if not amount:
            return
        account.credit(amount)
        self._state.book_income(account, symbol, "INSURANCE_CLEAR", amount)
        self._state.tell(account.id, account_update(account, self._state.now_ms, "INSURANCE_CLEAR", change=amount))
