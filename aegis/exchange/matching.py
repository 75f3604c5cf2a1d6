"""Orders meet the book: taking, resting with a place in the queue, filling, expiring.

What fills: an incoming order takes what is displayed, level by level. A resting order fills when prints consume what
was displayed ahead of it when it came, or go through its price, and never for more than was printed; and when the other
side's quote comes to or through its price, for the size displayed there, which is thereby taken. Always at its own
price. Cancellations of others never move it up the queue.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import attrs

from aegis.core.values import OrderStatus, OrderType, Side, TimeInForce
from aegis.exchange.account import Account, Position
from aegis.exchange.conditional_order import AlgoOrder
from aegis.exchange.errors import Refusal
from aegis.exchange.listing import Listing
from aegis.exchange.margin import open_notional, require_margin
from aegis.exchange.orders import Order
from aegis.exchange.state import Fill, State
from aegis.exchange.userstream import account_update, order_trade_update, trade_lite
from aegis.kernels.books import NEVER

__all__ = ["MAX_OPEN_ORDERS", "ExpiryReason", "Matching", "NewOrder"]

MAX_OPEN_ORDERS = 200
#: What a MARKET buy is assumed to cost above the ask when margin is checked.
_MARKET_BUY_ALLOWANCE = Decimal("1.0005")


class ExpiryReason:
    """The venue's `er`."""

    NONE = 0
    SELF_TRADE = 1
    IOC_REMAINDER = 2
    REDUCE_ONLY = 4
    LIQUIDATED = 5
    MARKET_REMAINDER = 9


@attrs.frozen(kw_only=True)
class NewOrder:
    """An order that passed the filters; what depends on position, margin and book is checked on placing."""

    account: Account
    listing: Listing
    side: Side
    type: OrderType
    tif: TimeInForce
    ticks: int
    """0 for MARKET."""
    steps: int
    client_id: str
    reduce_only: bool = False
    stp: str = "EXPIRE_MAKER"
    parent: AlgoOrder | None = None
    """The conditional order whose child this is."""
    liquidation: bool = False


class Matching:
    """The matching engine of every symbol.

    Attributes:
        position_changed: called after fills changed a position.
    """

    def __init__(self, state: State, position_changed: Callable[[Account, Listing], None]) -> None:
        self._state = state
        self._position_changed = position_changed

    # -- placing -----------------------------------------------------------------------------------------------------

    def place(self, new: NewOrder) -> Order:
        """Accept an order and let it meet the book.

        Raises:
            Refusal: nothing was accepted.
        """
        state = self._state
        if new.parent is None and not new.liquidation:
            if state.orders.open_client(new.account.id, new.client_id) is not None:
                raise Refusal(-4116)
            if len(state.orders.open_orders(new.account.id, new.listing.index)) >= MAX_OPEN_ORDERS:
                raise Refusal(-2025)
        order = self._new_order(new)
        limit = self._limit(order, unbounded=new.liquidation)
        if order.reduce_only:
            order.steps = self._reducible(order)
        else:
            require_margin(new.account, state.orders, state.mark, order, self._assumed_price(order))
        self._require_fillable(order, limit)
        order.order_id = state.orders.next_id(new.listing.index)
        state.orders.add(order)
        self._record(order, "NEW", ExpiryReason.NONE)
        self._take(order, limit, "CALCULATED" if new.liquidation else "TRADE")
        return order

    def _new_order(self, new: NewOrder) -> Order:
        parent = new.parent
        order = Order(
            account=new.account.id,
            listing=new.listing,
            order_id=0,
            client_id=new.client_id,
            side=new.side,
            type=new.type,
            tif=new.tif,
            ticks=new.ticks,
            steps=new.steps,
            reduce_only=new.reduce_only,
            created_ms=self._state.now_ms,
            updated_ms=self._state.now_ms,
            original_type=new.type.value if parent is None else parent.type.value,
            stp=new.stp,
        )
        if parent is not None:
            order.close_position = True
            order.trigger_ticks = parent.trigger_ticks
            order.working_type = parent.working_type.value
            order.price_protect = parent.price_protect
        return order

    def _touch(self, order: Order) -> int:
        """The other side's best price, ticks."""
        books = self._state.books
        return int((books.ask if order.side is Side.BUY else books.bid)[order.listing.index])

    def _assumed_price(self, order: Order) -> Decimal:
        touch = order.listing.price(self._touch(order))
        if order.type is OrderType.MARKET:
            return touch * _MARKET_BUY_ALLOWANCE if order.side is Side.BUY else touch
        return order.price if order.side is Side.BUY else max(touch, order.price)

    def _limit(self, order: Order, *, unbounded: bool) -> int:
        """Worst price the order takes at, ticks. A MARKET order is bounded by the symbol's marketTakeBound at mark.

        Raises:
            Refusal: -4131 when not even the best price lies within the bound.
        """
        if order.type is OrderType.LIMIT:
            return order.ticks
        if unbounded:
            return order.side.sign * NEVER
        listing, sign = order.listing, order.side.sign
        bound = self._state.mark(listing) * (1 + sign * listing.market_take_bound) / listing.tick
        limit = int(bound.to_integral_value(ROUND_FLOOR if sign > 0 else ROUND_CEILING))
        if (self._touch(order) - limit) * sign > 0:
            raise Refusal(-4131)
        return limit

    def _reducible(self, order: Order) -> int:
        """Quantity of a reduce-only order, cut to what there is to reduce.

        Orders that take at once compete with nobody; those that may rest share the position with the resting ones.
        """
        state = self._state
        position = state.accounts[order.account].position(order.listing)
        if position.sign != -order.side.sign:
            raise Refusal(-2022)
        free = abs(position.steps)
        if order.type is OrderType.LIMIT and order.tif in (TimeInForce.GTC, TimeInForce.GTX):
            free -= sum(
                resting.open_steps
                for resting in state.orders.open_orders(order.account, order.listing.index)
                if resting.reduce_only and resting.side is order.side
            )
        if free <= 0:
            raise Refusal(-2022)
        return min(order.steps, free)

    def _require_fillable(self, order: Order, limit: int) -> None:
        """Raise -5022 for a post-only order that would take, -5021 for a fill-or-kill order that cannot be filled."""
        crosses = (limit - self._touch(order)) * order.side.sign >= 0
        if order.tif is TimeInForce.GTX and crosses:
            raise Refusal(-5022)
        if order.tif is TimeInForce.FOK and self._displayed_within(order, limit) < order.steps:
            raise Refusal(-5021)

    def _displayed_within(self, order: Order, limit: int) -> int:
        books, symbol, sign = self._state.books, order.listing.index, order.side.sign
        sizes = (books.ask_qty if sign > 0 else books.bid_qty)[symbol]
        reach = max(0, (limit - self._touch(order)) * sign + 1)
        return int(sizes[:reach].sum())

    # -- taking ------------------------------------------------------------------------------------------------------

    def _take(self, order: Order, limit: int, execution: str) -> None:
        """Walk the book, then rest or expire what is left."""
        state, symbol = self._state, order.listing.index
        prints = state.books.take(symbol, order.side.sign, order.steps, limit)
        worst = prints[-1][0] if prints else None
        self._expire_crossed(order, limit if order.type is OrderType.LIMIT else worst)
        for ticks, steps in prints:
            self._fill(order, steps, ticks, maker=False, execution=execution)
        if prints:
            self._after_fills(order)
        for ticks, steps in prints:
            state.prints.append((symbol, ticks))
            self.on_print(symbol, ticks, steps, order.side.sign)
        if order.status.final:
            state.orders.settle(order)
        elif order.type is OrderType.MARKET:
            self.finish(order, OrderStatus.EXPIRED, ExpiryReason.MARKET_REMAINDER)
        elif order.tif in (TimeInForce.IOC, TimeInForce.FOK):
            self.finish(order, OrderStatus.EXPIRED, ExpiryReason.IOC_REMAINDER)
        else:
            order.ahead = state.books.displayed(symbol, order.side.sign, order.ticks)
            state.orders.rest(order)
        state.dirty.add(symbol)

    def _expire_crossed(self, order: Order, reach: int | None) -> None:
        """Self-trade prevention EXPIRE_MAKER: own resting orders that this one would have met."""
        if reach is None:
            return
        for resting in self._state.orders.open_orders(order.account, order.listing.index):
            if resting.side is not order.side and (reach - resting.ticks) * order.side.sign >= 0:
                self.finish(resting, OrderStatus.EXPIRED_IN_MATCH, ExpiryReason.SELF_TRADE)

    # -- resting -----------------------------------------------------------------------------------------------------

    def on_print(self, symbol: int, ticks: int, steps: int, aggressor: int) -> None:
        """A public print: serve the resting orders it reaches, best price first, then first come."""
        used = 0
        resting = self._state.orders.resting(symbol)
        for order in sorted(resting, key=lambda order: -order.ticks * order.side.sign):
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
        books = self._state.books
        for order in self._state.orders.resting(symbol):
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
        self._fill(order, steps, order.ticks, maker=True, execution="TRADE")
        if order.status.final:
            self._state.orders.settle(order)
        self._after_fills(order)
        self._state.dirty.add(order.listing.index)

    def bounds(self, symbol: int) -> tuple[int, int]:
        """(highest resting buy, lowest resting sell), ticks: prices that `on_print` and `on_quote` must see."""
        resting = self._state.orders.resting(symbol)
        low = max((order.ticks for order in resting if order.side is Side.BUY), default=-NEVER)
        return low, min((order.ticks for order in resting if order.side is Side.SELL), default=NEVER)

    # -- filling and ending ------------------------------------------------------------------------------------------

    def _fill(self, order: Order, steps: int, ticks: int, *, maker: bool, execution: str) -> None:
        """Book one fill everywhere and tell the account."""
        state, listing = self._state, order.listing
        account = state.accounts[order.account]
        position = account.position(listing)
        price = listing.price(ticks)
        rate = state.fees.maker if maker else state.fees.taker
        money = account.apply_fill(position, steps * order.side.sign, price, rate, state.now_ms)
        order.fill(steps, price, state.now_ms)
        fill = Fill(
            account=account.id,
            listing=listing,
            order_id=order.order_id,
            client_id=order.client_id,
            trade_id=state.count(f"trade:{listing.index}"),
            ms=state.now_ms,
            side=order.side,
            ticks=ticks,
            steps=steps,
            maker=maker,
            commission=money.commission,
            realized=money.realized,
        )
        state.fills.append(fill)
        self._record_fill(fill, account, position)
        self._record(order, execution, ExpiryReason.NONE, fill)
        state.tell(account.id, trade_lite(order, fill, state.now_ms))
        changed = [(position, state.mark(listing))]
        state.tell(account.id, account_update(account, state.now_ms, "ORDER", changed))

    def _record_fill(self, fill: Fill, account: Account, position: Position) -> None:
        """Ledger: the match, then realised PnL and commission, whose wallets follow each other."""
        state = self._state
        state.ledger.write(
            state.now_ns,
            "match",
            {
                "account": fill.account,
                "symbol": fill.listing.symbol,
                "order_id": fill.order_id,
                "client_id": fill.client_id,
                "trade_id": fill.trade_id,
                "side": fill.side.value,
                "price": f"{fill.price:f}",
                "qty": f"{fill.quantity:f}",
                "maker": fill.maker,
                "commission": f"{fill.commission:f}",
                "realized": f"{fill.realized:f}",
                "position": f"{position.amount:f}",
            },
        )
        if fill.realized:
            final = account.wallet
            account.wallet = final + fill.commission  # as it stood between the two movements
            state.book_income(account, fill.listing.symbol, "REALIZED_PNL", fill.realized, fill.trade_id)
            account.wallet = final
        state.book_income(account, fill.listing.symbol, "COMMISSION", -fill.commission, fill.trade_id)

    def _after_fills(self, order: Order) -> None:
        """Cut reduce-only orders to the position that is left, newest first, then tell the conditional orders."""
        state = self._state
        account = state.accounts[order.account]
        position = account.position(order.listing)
        left = abs(position.steps)
        for resting in state.orders.open_orders(account.id, order.listing.index):
            if not resting.reduce_only:
                continue
            left -= resting.open_steps
            if resting.side.sign != -position.sign or left < 0:
                left += resting.open_steps
                self.finish(resting, OrderStatus.EXPIRED, ExpiryReason.REDUCE_ONLY)
        self._position_changed(account, order.listing)

    def finish(self, order: Order, status: OrderStatus, reason: int) -> None:
        """End an order that is not filled: CANCELED, EXPIRED or EXPIRED_IN_MATCH."""
        order.move(status, self._state.now_ms)
        self._state.orders.settle(order)
        self._state.dirty.add(order.listing.index)
        self._record(order, "CANCELED" if status is OrderStatus.CANCELED else "EXPIRED", reason)

    def _record(self, order: Order, execution: str, reason: int, fill: Fill | None = None) -> None:
        """Ledger entry and ORDER_TRADE_UPDATE of a change."""
        state, listing = self._state, order.listing
        state.ledger.write(
            state.now_ns,
            "order",
            {
                "account": order.account,
                "symbol": listing.symbol,
                "order_id": order.order_id,
                "client_id": order.client_id,
                "side": order.side.value,
                "type": order.type.value,
                "tif": order.tif.value,
                "price": f"{order.price:f}",
                "qty": f"{listing.quantity(order.steps):f}",
                "filled": f"{listing.quantity(order.filled):f}",
                "reduce_only": order.reduce_only,
                "close_position": order.close_position,
                "status": order.status.value,
                "reason": reason,
            },
        )
        notional = open_notional(state.orders.open_orders(order.account, listing.index))
        event = order_trade_update(order, state.now_ms, execution, fill=fill, notional=notional, expiry_reason=reason)
        state.tell(order.account, event)
