"""What an order's life leaves behind: fills in accounts and ledger, its end, and the events that tell of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aegis.core.values import OrderStatus
from aegis.exchange.account import Account, commission
from aegis.exchange.listing import Listing
from aegis.exchange.money import money
from aegis.exchange.news import Liquidation
from aegis.exchange.orders import Order
from aegis.exchange.state import Fill, State
from aegis.exchange.userstream import (
    MoneyShot,
    OrderShot,
    money_moved,
    order_trade_update,
    position_shot,
    trade_lite,
)

__all__ = ["Booking", "ExpiryReason"]

_CANCELED = OrderStatus.CANCELED


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
        state, listing, position = self._state, order.listing, order.position
        books, ledger, account = state.books, state.ledger, state.accounts[order.account]
        now_ms = books.now_ms
        ratio = state.fees.maker_ratio if maker else state.fees.taker_ratio
        fee = 0 if free else commission(steps * ticks * listing.unit_e16, ratio)
        if order.resting:
            self.tie(order, -steps)
        realized = account.apply_fill(position, steps * order.side.sign, ticks, now_ms)
        order.fill(steps, ticks, now_ms)
        fill = Fill(
            account.id, listing, order.order_id, order.client_id, state.count(f"trade:{listing.index}"), now_ms,
            order.side, ticks, steps, maker, fee, realized, position.side,
        )  # fmt: skip
        state.fills.append(fill)
        ledger.note(books.now_ns, "match", _match, (fill, position.steps))
        if realized:
            state.pay(account, listing.symbol, "REALIZED_PNL", realized, fill.trade_id)
        if fee:
            state.pay(account, listing.symbol, "COMMISSION", -fee, fill.trade_id)
        shot = self.record(order, execution, fill=fill)
        state.tell_later(account.id, "TRADE_LITE", trade_lite, shot)
        mark_e8 = books.mark_e8.item(listing.index)
        sides = [position_shot(side, mark_e8) for side in account.sides(listing)]
        moved = MoneyShot(account.wallet, account.cross_wallet, now_ms, "ORDER", sides)
        state.tell_later(account.id, "ACCOUNT_UPDATE", money_moved, moved)
        if execution == "CALCULATED" and not order.client_id.startswith("settlement"):
            self._announce(order, fill)

    def _announce(self, order: Order, fill: Fill) -> None:
        """The public hears of a forced order."""
        self._state.news.append(
            Liquidation(
                listing=order.listing, side=order.side.value, ticks=order.ticks or fill.ticks, steps=order.steps,
                last_steps=fill.steps, filled=order.filled, average=order.average, ms=fill.ms,
            )
        )  # fmt: skip

    def after_fills(self, order: Order) -> None:
        """Cut reduce-only orders to the position that is left, then tell the conditional orders."""
        self.cut_reduce_only(order)
        self._position_changed(self._state.accounts[order.account], order.listing)

    def cut_reduce_only(self, order: Order) -> None:
        """Expire reduce-only orders on the position of `order` for which there is nothing left, newest first."""
        position = order.position
        left = abs(position.steps)
        for resting in self._state.orders.open_orders(order.account, order.listing.index):
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
        self._state.dirty.add(order.listing.index)
        self.tie(order, order.open_steps)

    def unrest(self, order: Order) -> None:
        """Take an order out of the book."""
        self.tie(order, -order.open_steps)
        self._state.orders.unrest(order)
        self._state.dirty.add(order.listing.index)

    def tie(self, order: Order, steps: int) -> None:
        """Count steps of an open order among those that may add to a position; reduce-only ones tie up nothing."""
        if order.reduce_only:
            return
        position = order.position
        if order.side.sign > 0:
            position.bids += order.ticks * steps
        else:
            position.asks += order.ticks * steps
        self._state.accounts[order.account].changed.setdefault(position, False)

    def finish(self, order: Order, status: OrderStatus, reason: int) -> None:
        """End an order that is not filled: CANCELED, EXPIRED or EXPIRED_IN_MATCH."""
        order.move(status, self._state.now_ms)
        self.record(order, "CANCELED" if status is _CANCELED else "EXPIRED", reason)
        self.settle(order)

    def settle(self, order: Order) -> None:
        """Take a final order out of the book; a conditional order hears of its child's end."""
        if order.resting:
            self.unrest(order)
        self._state.orders.settle(order)
        if order.algo_id:
            self._child_ended(order)

    def record(
        self,
        order: Order,
        execution: str,
        reason: int = ExpiryReason.NONE,
        *,
        fill: Fill | None = None,
        modify_id: int | None = None,
    ) -> OrderShot:
        """The order as it is, with its ledger entry and its ORDER_TRADE_UPDATE on the way."""
        state, position = self._state, order.position
        shot = OrderShot(
            order, state.books.now_ms, order.status, order.ticks, order.steps, order.filled, order.quote_e16,
            order.stp, order.price_match, position.bids, position.asks, execution, reason, fill, modify_id,
        )  # fmt: skip
        state.ledger.note(state.books.now_ns, "order", _order, shot)
        state.tell_later(order.account, "ORDER_TRADE_UPDATE", order_trade_update, shot)
        return shot


def _order(shot: OrderShot) -> dict[str, Any]:
    """Ledger entry of an order's state."""
    order, listing = shot.order, shot.order.listing
    return {
        "account": order.account,
        "symbol": listing.symbol,
        "order_id": order.order_id,
        "client_id": order.client_id,
        "side": order.side.value,
        "type": order.type.value,
        "tif": order.tif.value,
        "position_side": order.position_side,
        "price": listing.price_text(shot.ticks),
        "qty": listing.quantity_text(shot.steps),
        "filled": listing.quantity_text(shot.filled),
        "reduce_only": order.reduce_only,
        "close_position": order.close_position,
        "status": shot.status.value,
        "reason": shot.reason,
    }


def _match(noted: tuple[Fill, int]) -> dict[str, Any]:
    """Ledger entry of a fill, and of the position's steps after it."""
    fill, position_steps = noted
    listing = fill.listing
    return {
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
        "position": listing.quantity_text(position_steps),
    }
