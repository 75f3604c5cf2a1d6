"""What an order's life leaves behind: fills in accounts and ledger, its end, and the events that tell of both."""

from __future__ import annotations

from collections.abc import Callable

from aegis.core.values import OrderStatus, Side
from aegis.exchange.account import Account, Position, commission
from aegis.exchange.listing import Listing
from aegis.exchange.money import money, plain
from aegis.exchange.news import Liquidation
from aegis.exchange.orders import Order
from aegis.exchange.state import Fill, State
from aegis.exchange.userstream import account_update, average, order_trade_update, trade_lite

__all__ = ["Booking", "ExpiryReason"]


class ExpiryReason:
    """The venue's `er`."""

    NONE = 0
    SELF_TRADE = 1
    IOC_REMAINDER = 2
    REDUCE_ONLY = 4
    LIQUIDATED = 5
    DELISTED = 7
    MARKET_REMAINDER = 9


class Booking:
    """Books fills and ends of orders everywhere they count.

    Args:
        position_changed: called after fills changed a position.
        child_ended: called when an order that a conditional order became is final.
    """

    def __init__(
        self,
        state: State,
        position_changed: Callable[[Account, Listing], None],
        child_ended: Callable[[Order], None],
    ) -> None:
        self._state = state
        self._position_changed = position_changed
        self._child_ended = child_ended

    def fill(self, order: Order, steps: int, ticks: int, *, maker: bool, execution: str, free: bool = False) -> None:
        """Book one fill everywhere and tell the account; a `free` one costs no commission."""
        state, listing = self._state, order.listing
        account = state.accounts[order.account]
        position = account.position(listing, order.position_side)
        ratio = state.fees.maker_ratio if maker else state.fees.taker_ratio
        fee = 0 if free else commission(steps * ticks * listing.unit_e16, ratio)
        if order.resting:
            self.tie(order, -steps)
        realized = account.apply_fill(position, steps * order.side.sign, ticks, state.now_ms)
        order.fill(steps, ticks, state.now_ms)
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
            commission=fee,
            realized=realized,
            position_side=position.side,
        )
        state.fills.append(fill)
        self._record_fill(fill, account, position)
        self.record(order, execution, ExpiryReason.NONE, fill)
        state.tell(account.id, trade_lite(order, fill, state.now_ms))
        changed = [(side, state.mark_e8(listing)) for side in account.sides(listing)]
        state.tell(account.id, account_update(account, state.now_ms, "ORDER", changed))
        if execution == "CALCULATED" and not order.client_id.startswith("settlement"):
            self._announce(order, fill)

    def _announce(self, order: Order, fill: Fill) -> None:
        """The public hears of a forced order."""
        self._state.news.append(
            Liquidation(
                listing=order.listing, side=order.side.value, ticks=order.ticks or fill.ticks, steps=order.steps,
                last_steps=fill.steps, filled=order.filled, average=average(order), ms=fill.ms,
            )
        )  # fmt: skip

    def _record_fill(self, fill: Fill, account: Account, position: Position) -> None:
        """Ledger: the match; then realised PnL and commission move the wallet."""
        state, listing = self._state, fill.listing
        state.ledger.write(
            state.now_ns,
            "match",
            {
                "account": fill.account,
                "symbol": listing.symbol,
                "position_side": fill.position_side,
                "order_id": fill.order_id,
                "client_id": fill.client_id,
                "trade_id": fill.trade_id,
                "side": fill.side.value,
                "price": listing.price_text(fill.ticks),
                "qty": listing.quantity_text(fill.steps),
                "maker": fill.maker,
                "commission": money(fill.commission),
                "realized": money(fill.realized),
                "position": listing.quantity_text(position.steps),
            },
        )
        if fill.realized:
            state.pay(account, listing.symbol, "REALIZED_PNL", fill.realized, fill.trade_id)
        if fill.commission:
            state.pay(account, listing.symbol, "COMMISSION", -fill.commission, fill.trade_id)

    def after_fills(self, order: Order) -> None:
        """Cut reduce-only orders to the position that is left, then tell the conditional orders."""
        self.cut_reduce_only(order)
        self._position_changed(self._state.accounts[order.account], order.listing)

    def cut_reduce_only(self, order: Order) -> None:
        """Expire reduce-only orders on the position of `order` for which there is nothing left, newest first."""
        state, symbol = self._state, order.listing.index
        if not state.orders.count_open(order.account, symbol):
            return
        position = state.accounts[order.account].position(order.listing, order.position_side)
        left = abs(position.steps)
        for resting in state.orders.open_orders(order.account, symbol):
            if not resting.reduce_only or resting.position_side != position.side:
                continue
            left -= resting.open_steps
            if resting.side.sign != -position.sign or left < 0:
                left += resting.open_steps
                self.finish(resting, OrderStatus.EXPIRED, ExpiryReason.REDUCE_ONLY)

    # -- in and out of the book --------------------------------------------------------------------------------------

    def rest(self, order: Order) -> None:
        """Put an order into the book: it ties up margin from now on."""
        self._state.orders.rest(order)
        self.tie(order, order.open_steps)

    def unrest(self, order: Order) -> None:
        """Take an order out of the book."""
        self.tie(order, -order.open_steps)
        self._state.orders.unrest(order)

    def tie(self, order: Order, steps: int) -> None:
        """Count steps of an open order among those that may add to a position; reduce-only ones tie up nothing."""
        if order.reduce_only:
            return
        account = self._state.accounts[order.account]
        position = account.position(order.listing, order.position_side)
        if order.side is Side.BUY:
            position.bids += order.ticks * steps
        else:
            position.asks += order.ticks * steps
        account.changed[position] = None

    def finish(self, order: Order, status: OrderStatus, reason: int) -> None:
        """End an order that is not filled: CANCELED, EXPIRED or EXPIRED_IN_MATCH."""
        order.move(status, self._state.now_ms)
        self._state.dirty.add(order.listing.index)
        self.record(order, "CANCELED" if status is OrderStatus.CANCELED else "EXPIRED", reason)
        self.settle(order)

    def settle(self, order: Order) -> None:
        """Take a final order out of the book; a conditional order hears of its child's end."""
        if order.resting:
            self.unrest(order)
        self._state.orders.settle(order)
        if order.algo_id:
            self._child_ended(order)

    def record(self, order: Order, execution: str, reason: int, fill: Fill | None = None) -> None:
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
                "position_side": order.position_side,
                "price": listing.price_text(order.ticks),
                "qty": listing.quantity_text(order.steps),
                "filled": listing.quantity_text(order.filled),
                "reduce_only": order.reduce_only,
                "close_position": order.close_position,
                "status": order.status.value,
                "reason": reason,
            },
        )
        position = state.accounts[order.account].position(listing, order.position_side)
        notional = plain(position.bids * listing.unit_e16, 16), plain(position.asks * listing.unit_e16, 16)
        event = order_trade_update(order, state.now_ms, execution, fill=fill, notional=notional, expiry_reason=reason)
        state.tell(order.account, event)
