"""Executions of our orders, counted once each by the venue's trade id."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import attrs

from aegis.core.errors import InvariantBroken
from aegis.core.messages import OrderUpdate, TradeLite
from aegis.core.values import ClientId, Side, SymbolName

__all__ = ["Fill", "FillTape", "average_price"]

ZERO = Decimal(0)


@attrs.frozen(kw_only=True)
class Fill:
    """One execution. `commission` and `realized` are None while only the fast copy (TRADE_LITE) has come."""

    symbol: SymbolName
    cid: ClientId
    side: Side
    order_id: int
    trade_id: int
    qty: Decimal
    price: Decimal
    maker: bool
    commission: Decimal | None
    commission_asset: str
    realized: Decimal | None
    time_ms: int

    @property
    def complete(self) -> bool:
        """The fee and the venue's realised profit are known: the portfolio may book it."""
        return self.commission is not None

    @classmethod
    def of(cls, event: OrderUpdate | TradeLite) -> Fill:
        """The execution that a TRADE or CALCULATED event, or a TRADE_LITE, reports."""
        full = None if isinstance(event, TradeLite) else event
        return cls(
            symbol=event.symbol,
            cid=event.cid,
            side=event.side,
            order_id=event.order_id,
            trade_id=event.trade_id,
            qty=event.last_qty,
            price=event.last_price,
            maker=event.maker,
            commission=None if full is None else full.commission,
            commission_asset="" if full is None else full.commission_asset,
            realized=None if full is None else full.realized_pnl,
            time_ms=event.transaction_ms,
        )


def average_price(fills: Iterable[Fill]) -> Decimal:
    """Quantity-weighted; 0 for no fill."""
    known = tuple(fills)
    qty = sum((fill.qty for fill in known), ZERO)
    return sum((fill.qty * fill.price for fill in known), ZERO) / qty if qty else ZERO


@attrs.define(kw_only=True, eq=False)
class FillTape:
    """The executions of one order, and the cumulative quantity that the venue claims for it."""

    limit: Decimal | None
    """The order's quantity, which is never exceeded; None while a conditional order has no child yet."""
    fills: dict[int, Fill] = attrs.field(factory=dict)
    qty: Decimal = ZERO
    """Sum of the executions seen."""
    reported: Decimal = ZERO
    """The highest cumulative quantity that the venue has told; above `qty` while executions are on their way."""

    @property
    def missing(self) -> Decimal:
        """Executed at the venue, but the execution itself has not reached us: ask userTrades if it lasts."""
        return max(ZERO, self.reported - self.qty)

    @property
    def unpriced(self) -> bool:
        """An execution is known by its fast copy alone: its fee and realised profit are still on their way."""
        return any(not fill.complete for fill in self.fills.values())

    @property
    def incomplete(self) -> bool:
        """An execution is missing, or known without its fee."""
        return self.reported > self.qty or self.unpriced

    @property
    def average(self) -> Decimal:
        """Quantity-weighted average price of the executions seen; 0 when there is none."""
        return average_price(self.fills.values())

    def add(self, fill: Fill) -> Fill | None:
        """Takes an execution; returns it when it is new *or* completes a fast copy, None for a duplicate.

        Raises InvariantBroken when two reports of one trade differ, or more than the order's quantity would be filled.
        """
        known = self.fills.get(fill.trade_id)
        if known is None:
            if fill.qty <= ZERO or fill.price <= ZERO:
                raise InvariantBroken(f"order {fill.cid}: trade {fill.trade_id} of {fill.qty} at {fill.price}")
            if self.limit is not None and self.qty + fill.qty > self.limit:
                raise InvariantBroken(f"order {fill.cid}: filled {self.qty + fill.qty} of {self.limit}")
            self.qty += fill.qty
        elif (known.qty, known.price) != (fill.qty, fill.price):
            raise InvariantBroken(f"order {fill.cid}: trade {fill.trade_id} was reported with two contents")
        elif known.complete or not fill.complete:
            return None
        self.fills[fill.trade_id] = fill
        return fill

    def report(self, cumulative: Decimal) -> None:
        """Takes a cumulative quantity. Raises InvariantBroken when it exceeds the order's quantity."""
        if self.limit is not None and cumulative > self.limit:
            raise InvariantBroken(f"the venue reports {cumulative} filled of {self.limit}")
        self.reported = max(self.reported, cumulative)
