"""Margin in single-asset, one-way mode: what positions and open orders tie up, and what is left. PROTOCOL.md §9."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

import attrs

from aegis.core.values import Side
from aegis.exchange.account import ZERO, Account, Position, round_money
from aegis.exchange.errors import Refusal
from aegis.exchange.listing import Listing
from aegis.exchange.orders import Order, OrderStore

__all__ = [
    "AccountMargin",
    "SymbolMargin",
    "account_margin",
    "liquidation_price",
    "open_notional",
    "require_margin",
    "symbol_margin",
]

Mark = Callable[[Listing], Decimal]


@attrs.frozen(kw_only=True)
class SymbolMargin:
    """One symbol's share; `notional` is signed, everything else as the venue's positionRisk names it."""

    position: Position
    mark: Decimal
    notional: Decimal
    unrealized: Decimal
    position_initial: Decimal
    open_order_initial: Decimal
    maintenance: Decimal
    bid_notional: Decimal
    ask_notional: Decimal

    @property
    def initial(self) -> Decimal:
        return self.position_initial + self.open_order_initial

    @property
    def isolated_margin(self) -> Decimal:
        return self.position.isolated_wallet + self.unrealized if self.position.isolated else ZERO


@attrs.frozen(kw_only=True)
class AccountMargin:
    """Totals over all symbols with a position or open orders."""

    symbols: tuple[SymbolMargin, ...]
    wallet: Decimal
    cross_wallet: Decimal
    unrealized: Decimal
    cross_unrealized: Decimal
    position_initial: Decimal
    open_order_initial: Decimal
    maintenance: Decimal
    available: Decimal

    @property
    def balance(self) -> Decimal:
        """Margin balance: wallet plus unrealised PnL."""
        return self.wallet + self.unrealized


def open_notional(orders: Iterable[Order]) -> tuple[Decimal, Decimal]:
    """Bid and ask notional of open orders of one symbol; reduce-only orders tie up nothing."""
    bid = ask = ZERO
    for order in orders:
        if order.reduce_only:
            continue
        notional = order.price * order.listing.quantity(order.open_steps)
        if order.side is Side.BUY:
            bid += notional
        else:
            ask += notional
    return bid, ask


def symbol_margin(position: Position, mark: Decimal, bid: Decimal, ask: Decimal) -> SymbolMargin:
    """Open orders tie up what the worse of "all bids fill" and "all asks fill" would need beyond the position's own."""
    notional = position.notional(mark)
    required = max(abs(notional + bid), abs(notional - ask), abs(notional))
    initial = position.initial_margin(mark)
    return SymbolMargin(
        position=position,
        mark=mark,
        notional=notional,
        unrealized=position.unrealized(mark),
        position_initial=initial,
        open_order_initial=round_money(required / position.leverage) - initial,
        maintenance=position.maintenance_margin(mark),
        bid_notional=bid,
        ask_notional=ask,
    )


def account_margin(account: Account, orders: OrderStore, mark: Mark) -> AccountMargin:
    """Everything at the given marks."""
    by_symbol: dict[int, list[Order]] = {}
    for order in orders.open_orders(account.id):
        by_symbol.setdefault(order.listing.index, []).append(order)
    used = {position.listing.index for position in account.held()} | set(by_symbol)
    rows = tuple(
        symbol_margin(position, mark(position.listing), *open_notional(by_symbol.get(index, ())))
        for index, position in sorted(account.positions.items())
        if index in used
    )
    cross = [row for row in rows if not row.position.isolated]
    cross_unrealized = sum((row.unrealized for row in cross), ZERO)
    open_order_initial = sum((row.open_order_initial for row in rows), ZERO)
    free = account.cross_wallet + cross_unrealized - sum((row.position_initial for row in cross), ZERO)
    return AccountMargin(
        symbols=rows,
        wallet=account.wallet,
        cross_wallet=account.cross_wallet,
        unrealized=sum((row.unrealized for row in rows), ZERO),
        cross_unrealized=cross_unrealized,
        position_initial=sum((row.position_initial for row in rows), ZERO),
        open_order_initial=open_order_initial,
        maintenance=sum((row.maintenance for row in rows), ZERO),
        available=max(ZERO, free - open_order_initial),
    )


def require_margin(account: Account, orders: OrderStore, mark: Mark, new: Order, price: Decimal) -> None:
    """Raise unless an order that is not reduce-only may be opened.

    Args:
        price: what each unit is assumed to cost (the limit price, or the touch with a margin for MARKET).

    Raises:
        Refusal: -2027 beyond the notional cap of the leverage, -2019 when the available balance does not cover it.
    """
    listing = new.listing
    position = account.position(listing)
    at_mark = mark(listing)
    bid, ask = open_notional(orders.open_orders(account.id, listing.index))
    before = symbol_margin(position, at_mark, bid, ask)
    added = price * listing.quantity(new.open_steps)
    buys = new.side is Side.BUY
    after = symbol_margin(position, at_mark, bid + added if buys else bid, ask if buys else ask + added)
    # The side of the order decides: what the position becomes when every order on that side fills.
    exposure = abs(after.notional + after.bid_notional) if buys else abs(after.notional - after.ask_notional)
    if exposure > position.notional_cap and exposure > abs(before.notional):
        raise Refusal(-2027)
    cost = after.open_order_initial - before.open_order_initial
    if cost <= 0:
        return
    adverse = max(ZERO, (price - at_mark) * new.side.sign) * listing.quantity(new.open_steps)
    if cost + adverse > account_margin(account, orders, mark).available:
        raise Refusal(-2019)


def liquidation_price(row: SymbolMargin, margin: AccountMargin) -> Decimal:
    """Mark at which the position (or, cross, the account) is liquidated, other marks unchanged; 0 for none.

    `(wallet - other maintenance + other unrealised + cum - S*P*EP) / (P*mmr - S*P)`, with the bracket of that price.
    """
    position = row.position
    if not position.steps:
        return ZERO
    wallet = position.isolated_wallet
    if not position.isolated:
        others = [other for other in margin.symbols if not other.position.isolated and other is not row]
        wallet = margin.cross_wallet + sum((other.unrealized - other.maintenance for other in others), ZERO)
    amount, sign = abs(position.amount), position.sign
    found = ZERO
    for bracket in position.listing.brackets:
        price = (wallet + bracket.cum - sign * amount * position.entry) / (amount * bracket.mmr - sign * amount)
        if price <= 0:
            continue
        found = round_money(price)
        if bracket.floor <= amount * found < bracket.cap:
            return found
    return found
