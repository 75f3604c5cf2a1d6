"""Orders meet the book: taking, resting with a place in the queue, filling, expiring.

What fills: an incoming order takes what is displayed, level by level. A resting order fills when prints consume what
was displayed ahead of it when it came, or go through its price, and never for more than was printed; and when the other
side's quote comes to or through its price, for the size displayed there, which is thereby taken. Always at its own
price. Cancellations of others never move it up the queue.
"""

from __future__ import annotations

from collections.abc import Callable

from aegis.core.values import OrderStatus, OrderType, TimeInForce
from aegis.exchange.account import Account
from aegis.exchange.booking import Booking, ExpiryReason
from aegis.exchange.errors import Refusal
from aegis.exchange.listing import Listing
from aegis.exchange.margin import require_margin
from aegis.exchange.money import E8
from aegis.exchange.orders import Amendment, Order
from aegis.exchange.state import State
from aegis.kernels.books import NEVER

__all__ = ["MAX_OPEN_ORDERS", "RESTING", "Matching"]

MAX_OPEN_ORDERS = 200
#: Times in force of orders that wait in the book.
RESTING = (TimeInForce.GTC, TimeInForce.GTX, TimeInForce.GTD)
_IOC, _FOK, _GTX = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTX
#: Self-trade prevention that stops the taker.
_STOPPING = ("EXPIRE_TAKER", "EXPIRE_BOTH")
_LIMIT, _MARKET = OrderType.LIMIT, OrderType.MARKET
#: What a MARKET buy is assumed to cost when margin is checked, in 1/10000 of the ask.
_MARKET_BUY_ALLOWANCE = 10_005


class Matching:
    """The matching engine of every symbol. For the callbacks see `Booking`."""

    def __init__(
        self,
        state: State,
        position_changed: Callable[[Account, Listing], None],
        child_ended: Callable[[Order], None],
    ) -> None:
        self._state = state
        self._books, self._orders, self._accounts = state.books, state.orders, state.accounts
        self._booking = Booking(state, position_changed, child_ended)
        self.finish = self._booking.finish

    # -- placing -----------------------------------------------------------------------------------------------------

    def place(self, order: Order, *, liquidation: bool = False) -> Order:
        """Accept an order that passed the filters, and let it meet the book.

        Raises:
            Refusal: nothing was accepted.
        """
        orders, listing = self._orders, order.listing
        if listing.status != "TRADING" and not liquidation:  # where a conditional order's child meets a halt
            raise Refusal(-4141)
        if not order.algo_id and not liquidation:
            if orders.open_client(order.account, order.client_id) is not None:
                raise Refusal(-4116)
            if orders.count_open(order.account, listing.index) >= MAX_OPEN_ORDERS:
                raise Refusal(-2025)
        self.draft(order)
        limit = order.ticks if order.type is _LIMIT else self._market_limit(order, unbounded=liquidation)
        if order.reduce_only:
            order.steps = self._reducible(order, order.steps)
        else:
            self._require_margin(order, order.ticks, order.steps)
        tif = order.tif
        if tif is _GTX and self._crosses(order, limit):  # post-only
            raise Refusal(-5022)
        if tif is _FOK and self._displayed_within(order, limit) < order.steps:
            raise Refusal(-5021)
        order.order_id = orders.next_id(listing.index)
        orders.add(order)
        self._booking.record(order, "NEW")
        self._take(order, limit, "CALCULATED" if liquidation else "TRADE")
        return order

    def draft(self, order: Order) -> Order:
        """Complete an order by what follows from the account's mode and the time; nobody knows it yet."""
        side = order.position_side
        order.created_ms = order.updated_ms = self._books.now_ms
        order.position = self._accounts[order.account].position(order.listing, side)
        if side != "BOTH" and side == ("SHORT" if order.side.sign > 0 else "LONG"):
            order.reduce_only = True  # in hedge mode what closes a side may only reduce, without being told so
        return order

    def restore(self, order: Order) -> None:
        """Put an open order of a saved state back into the book."""
        order.position = self._accounts[order.account].position(order.listing, order.position_side)
        self._booking.rest(order)

    def _touch(self, order: Order) -> int:
        """The other side's best price, ticks."""
        books = self._books
        return (books.ask if order.side.sign > 0 else books.bid).item(order.listing.index)

    def _require_margin(self, order: Order, ticks: int, steps: int) -> None:
        """For so much at a price (0: at market). Raises Refusal -2027 or -2019: see `require_margin`."""
        side, price_e16 = order.side, order.listing.tick_e8 * E8
        if side.sign < 0:
            touch = self._touch(order)
            price_e16 *= touch if touch > ticks else ticks
        elif ticks:
            price_e16 *= ticks
        else:
            price_e16 = price_e16 * self._touch(order) * _MARKET_BUY_ALLOWANCE // 10_000
        require_margin(self._state.margins[order.account], order.position, side, steps, price_e16)

    def _market_limit(self, order: Order, *, unbounded: bool) -> int:
        """Worst price a MARKET order takes at, ticks: it is bounded by the symbol's marketTakeBound at mark.

        Raises:
            Refusal: -4131 when not even the best price lies within the bound.
        """
        sign, listing = order.side.sign, order.listing
        if unbounded:
            return sign * NEVER
        part, whole = listing.market_take_bound.as_integer_ratio()
        mark_e8, unit = self._state.mark_e8(listing), listing.tick_e8 * whole
        limit = mark_e8 * (whole + part) // unit if sign > 0 else -(-mark_e8 * (whole - part) // unit)
        if (self._touch(order) - limit) * sign > 0:
            raise Refusal(-4131)
        return limit

    def _reducible(self, order: Order, steps: int) -> int:
        """The wanted quantity of a reduce-only order, cut to what there is to reduce.

        Orders that take at once compete with nobody; those that may rest share the position with the resting ones.
        """
        state, position = self._state, order.position
        if position.sign != -order.side.sign:
            raise Refusal(-2022)
        free = abs(position.steps)
        if order.type is _LIMIT and order.tif in RESTING:
            free -= sum(
                resting.open_steps
                for resting in state.orders.open_orders(order.account, order.listing.index)
                if resting.reduce_only
                and resting is not order
                and (resting.side, resting.position_side) == (order.side, order.position_side)
            )
        if free <= 0:
            raise Refusal(-2022)
        return min(steps, free)

    def _displayed_within(self, order: Order, limit: int) -> int:
        books, symbol, sign = self._books, order.listing.index, order.side.sign
        sizes = (books.ask_qty if sign > 0 else books.bid_qty)[symbol]
        reach = max(0, (limit - self._touch(order)) * sign + 1)
        return int(sizes[:reach].sum())

    def force(self, order: Order, ticks: int, *, free: bool = False) -> None:
        """Fill an order of the exchange's own in full outside the book: delivery, a chosen counterparty."""
        self.draft(order)
        order.order_id = self._orders.next_id(order.listing.index)
        self._orders.add(order)
        self._booking.record(order, "NEW")
        self._booking.fill(order, order.steps, ticks, maker=False, execution="CALCULATED", free=free)
        self._booking.settle(order)
        self._booking.after_fills(order)

    # -- modifying ---------------------------------------------------------------------------------------------------

    def modify(self, order: Order, ticks: int, steps: int, *, price_match: str, modify_id: int | None) -> None:
        """Change price and quantity of an open LIMIT order: it goes to the back of the queue, or takes, or ends.

        Raises:
            Refusal: nothing was changed.
        """
        state = self._state
        if steps <= order.filled or (order.tif is _GTX and self._crosses(order, ticks)):
            self.finish(order, OrderStatus.CANCELED, ExpiryReason.NONE)
            return
        before = order.ticks, order.steps
        after = ticks, self._modified_steps(order, ticks, steps)
        self._booking.unrest(order)
        order.ticks, order.steps = after
        order.stp, order.price_match, order.updated_ms = "NONE", price_match, state.now_ms
        number = state.count("amendment")
        order.amendments += (
            Amendment(number=number, ms=state.now_ms, before=before, after=after, modify_id=modify_id),
        )
        self._booking.record(order, "AMENDMENT", modify_id=modify_id)
        self._take(order, order.ticks, "TRADE")

    def _modified_steps(self, order: Order, ticks: int, steps: int) -> int:
        """The quantity that a modification leads to. Raises Refusal; the order keeps its place in the book."""
        if order.reduce_only:
            return order.filled + self._reducible(order, steps - order.filled)
        self._booking.tie(order, -order.open_steps)
        try:
            self._require_margin(order, ticks, steps - order.filled)
        finally:
            self._booking.tie(order, order.open_steps)
        return steps

    def _crosses(self, order: Order, ticks: int) -> bool:
        return (ticks - self._touch(order)) * order.side.sign >= 0

    # -- taking ------------------------------------------------------------------------------------------------------

    def _take(self, order: Order, limit: int, execution: str) -> None:
        """Walk the book, then rest or expire what is left."""
        state, booking, symbol, sign = self._state, self._booking, order.listing.index, order.side.sign
        met = self._own_order_met(order, limit) if order.stp in _STOPPING else None
        if met is not None:
            limit = met.ticks - sign
        prints = state.books.take(symbol, sign, order.open_steps, limit) if self._crosses(order, limit) else []
        if order.stp == "EXPIRE_MAKER" and (prints or order.type is _LIMIT):
            self._expire_crossed(order, limit if order.type is _LIMIT else prints[-1][0])
        if prints:
            for ticks, steps in prints:
                booking.fill(order, steps, ticks, maker=False, execution=execution)
            booking.after_fills(order)
            for ticks, steps in prints:
                state.prints.append((symbol, ticks))
                self.on_print(symbol, ticks, steps, sign)
        if order.status.final:
            booking.settle(order)
        elif met is not None:
            self._expire_taker(order, met)
        elif order.type is _MARKET:
            self.finish(order, OrderStatus.EXPIRED, ExpiryReason.MARKET_REMAINDER)
        elif order.tif is _IOC or order.tif is _FOK:
            self.finish(order, OrderStatus.EXPIRED, ExpiryReason.IOC_REMAINDER)
        else:
            order.ahead = state.books.displayed(symbol, sign, order.ticks)
            booking.rest(order)
            if order.reduce_only and prints:
                booking.cut_reduce_only(order)
            if order.good_till_ms:
                state.timetable.add(order.good_till_ms * 1_000_000, "orders")

    def _own_order_met(self, order: Order, limit: int) -> Order | None:
        """The best own resting order that a taker under EXPIRE_TAKER or EXPIRE_BOTH stops at; it is not traded with."""
        if order.tif is _FOK or order.tif is _GTX:
            return None
        sign = order.side.sign
        own = [
            resting
            for resting in self._orders.open_orders(order.account, order.listing.index)
            if resting.side is not order.side and (limit - resting.ticks) * sign >= 0
        ]
        return min(own, key=lambda resting: resting.ticks * sign, default=None)

    def _expire_taker(self, order: Order, met: Order) -> None:
        """Self-trade prevention ends the incoming order, and with EXPIRE_BOTH what it met at that price."""
        self.finish(order, OrderStatus.EXPIRED_IN_MATCH, ExpiryReason.SELF_TRADE)
        if order.stp == "EXPIRE_BOTH":
            for resting in self._orders.open_orders(order.account, order.listing.index):
                if resting.side is met.side and resting.ticks == met.ticks:
                    self.finish(resting, OrderStatus.EXPIRED_IN_MATCH, ExpiryReason.SELF_TRADE)

    def _expire_crossed(self, order: Order, reach: int) -> None:
        """Self-trade prevention EXPIRE_MAKER: own resting orders that this one would have met."""
        for resting in self._orders.open_orders(order.account, order.listing.index):
            if resting.side is not order.side and (reach - resting.ticks) * order.side.sign >= 0:
                self.finish(resting, OrderStatus.EXPIRED_IN_MATCH, ExpiryReason.SELF_TRADE)

    # -- resting -----------------------------------------------------------------------------------------------------

    def on_print(self, symbol: int, ticks: int, steps: int, aggressor: int) -> None:
        """A public print: serve the resting orders it reaches, best price first, then first come."""
        used = 0
        resting = list(self._orders.resting(symbol))
        if len(resting) > 1:
            resting.sort(key=lambda order: -order.ticks * order.side.sign)
        for order in resting:
            through = (order.ticks - ticks) * order.side.sign
            if order.status.final or through < 0 or (through == 0 and aggressor == order.side.sign):
                continue
            served = min(order.ahead, steps) if through == 0 else 0
            order.ahead = order.ahead - served if through == 0 else 0
            share = min(steps - served - used, order.open_steps)
            if share > 0:
                used += share
                self._fill_resting(order, share)

    def on_quote(self, symbol: int) -> None:
        """The quote moved: resting orders that it has come to or through take what is displayed there."""
        books = self._books
        for order in list(self._orders.resting(symbol)):
            touch = self._touch(order)
            if order.status.final or touch <= 0 or (order.ticks - touch) * order.side.sign < 0:
                continue
            prints = books.take(symbol, order.side.sign, order.open_steps, order.ticks)
            self._state.prints.extend((symbol, ticks) for ticks, _ in prints)
            steps = sum(steps for _, steps in prints)
            if steps:
                order.ahead = 0
                self._fill_resting(order, steps)

    def _fill_resting(self, order: Order, steps: int) -> None:
        self._booking.fill(order, steps, order.ticks, maker=True, execution="TRADE")
        if order.status.final:
            self._booking.settle(order)
        self._booking.after_fills(order)

    def bounds(self, symbol: int, low: int, high: int) -> tuple[int, int]:
        """The highest of `low` and the resting buys, the lowest of `high` and the resting sells, ticks.

        `on_print` and `on_quote` must see prices at or beyond these.
        """
        for order in self._orders.resting(symbol):
            ticks = order.ticks
            if order.side.sign < 0:
                high = ticks if ticks < high else high
            else:
                low = ticks if ticks > low else low
        return low, high
