"""What an order's life leaves behind: fills in accounts and ledger, its end, and the events that tell of both."""

from __future__ import annotations

from collections.abc import Callable

from aegis.core.values import OrderStatus
from aegis.exchange.account import Account, Position, plain
from aegis.exchange.listing import Listing
from aegis.exchange.margin import open_notional
from aegis.exchange.news import Liquidation
from aegis.exchange.orders import Order
from aegis.exchange.state import Fill, State
from aegis.exchange.userstream import account_update, order_trade_update, round_average, trade_lite

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

    def fill(self, order: Order, steps: int, ticks: int, *, maker: bool, execution: str) -> None:
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
        self.record(order, execution, ExpiryReason.NONE, fill)
        state.tell(account.id, trade_lite(order, fill, state.now_ms))
        changed = [(position, state.mark(listing))]
        state.tell(account.id, account_update(account, state.now_ms, "ORDER", changed))
        if execution == "CALCULATED" and not order.client_id.startswith("settlement"):
            self._announce(order, fill)

    def _announce(self, order: Order, fill: Fill) -> None:
        """The public hears of a forced order."""
        self._state.news.append(
            Liquidation(
                listing=order.listing, side=order.side.value, ticks=order.ticks or fill.ticks, steps=order.steps,
                last_steps=fill.steps, filled=order.filled, average=plain(round_average(order)), ms=fill.ms,
            )
        )  # fmt: skip

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

    def after_fills(self, order: Order) -> None:
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
        self._state.dirty.add(order.listing.index)
        self.record(order, "CANCELED" if status is OrderStatus.CANCELED else "EXPIRED", reason)
        self.settle(order)

    def settle(self, order: Order) -> None:
        """Take a final order out of the book; a conditional order hears of its child's end."""
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
