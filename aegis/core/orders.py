"""The life of one plain order: intent, wire, venue, end."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

import attrs

from aegis.core.errors import InvariantBroken
from aegis.core.fills import Fill, FillTape
from aegis.core.messages import OrderRequest, OrderUpdate, TradeLite
from aegis.core.order_life import AbsenceRule, CancelState, Change, OrderState, TrackedOrder
from aegis.core.values import ClientId, OrderStatus, Side, SymbolName

__all__ = [
    "ORDER_TABLE",
    "AbsenceRule",
    "CancelState",
    "Change",
    "OrderState",
    "VenueOrder",
    "WorkingOrder",
    "is_execution",
]  # fmt: skip

_S = OrderState
ZERO = Decimal(0)

_ENDS = frozenset({_S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REJECTED})
#: The one transition table of a plain order.
ORDER_TABLE: Mapping[OrderState, frozenset[OrderState]] = {
    _S.INTENT: frozenset({_S.SENT, _S.UNKNOWN, _S.REFUSED, _S.ACKED, _S.PARTIAL}) | _ENDS,
    _S.SENT: frozenset({_S.UNKNOWN, _S.REFUSED, _S.ACKED, _S.PARTIAL}) | _ENDS,
    _S.UNKNOWN: frozenset({_S.REFUSED, _S.ABSENT, _S.ACKED, _S.PARTIAL}) | _ENDS,
    _S.ACKED: frozenset({_S.UNKNOWN, _S.PARTIAL}) | _ENDS,
    _S.PARTIAL: frozenset({_S.UNKNOWN}) | _ENDS,
    **{end: frozenset() for end in (*_ENDS, _S.REFUSED, _S.ABSENT)},
}

_STATE_OF = {
    OrderStatus.NEW: _S.ACKED,
    OrderStatus.PARTIALLY_FILLED: _S.PARTIAL,
    OrderStatus.FILLED: _S.FILLED,
    OrderStatus.CANCELED: _S.CANCELED,
    OrderStatus.EXPIRED: _S.EXPIRED,
    OrderStatus.EXPIRED_IN_MATCH: _S.EXPIRED,
    OrderStatus.REJECTED: _S.REJECTED,
}


def is_execution(update: OrderUpdate) -> bool:
    """The event carries an execution (TRADE, or CALCULATED for a liquidation), not only a state."""
    return update.trade_id != 0 and update.execution in ("TRADE", "CALCULATED")


@attrs.frozen(kw_only=True)
class VenueOrder:
    """A row of GET order or openOrders: the reconciler's evidence."""

    cid: ClientId
    symbol: SymbolName
    side: Side
    order_id: int
    status: OrderStatus
    qty: Decimal
    filled_qty: Decimal


def _tape(order: WorkingOrder) -> FillTape:
    return FillTape(limit=order.request.qty)


@attrs.define(kw_only=True, eq=False)
class WorkingOrder(TrackedOrder):
    """One OrderRequest and what became of it. Every method is evidence; illegal evidence raises InvariantBroken."""

    TABLE: ClassVar[Mapping[OrderState, frozenset[OrderState]]] = ORDER_TABLE

    request: OrderRequest
    tape: FillTape = attrs.field(default=attrs.Factory(_tape, takes_self=True))

    @property
    def qty(self) -> Decimal:
        """Quantity at the venue; a reduce-only order may have been shrunk to the position."""
        return self.request.qty if self.tape.limit is None else self.tape.limit

    @property
    def remaining(self) -> Decimal:
        """What it may still execute: 0 once final, the whole rest while its fate is unknown."""
        return ZERO if self.state.final else self.qty - max(self.tape.qty, self.tape.reported)

    @property
    def opens(self) -> bool:
        """It can add to a position: what the gate counts as a working order."""
        return not self.request.reduce_only

    def on_update(self, update: OrderUpdate, now_ns: int) -> Change:
        """ORDER_TRADE_UPDATE in any order, any number of times."""
        before = self.state
        self._belongs(update.symbol, update.side, update.qty)
        self._identify(update.order_id)
        fill = self.tape.add(Fill.of(update)) if is_execution(update) else None
        self.tape.report(update.filled_qty)
        self._on_status(update.status, now_ns)
        self._check()
        return self._change(before, fill)

    def on_trade_lite(self, lite: TradeLite, now_ns: int) -> Change:
        """TRADE_LITE, the fast copy of an execution."""
        before = self.state
        self._identify(lite.order_id)
        fill = self.tape.add(Fill.of(lite))
        self._alive(OrderState.PARTIAL, now_ns)
        self._check()
        return self._change(before, fill)

    def on_fill(self, fill: Fill, now_ns: int) -> Change:
        """An execution found by userTrades."""
        before = self.state
        self._identify(fill.order_id)
        new = self.tape.add(fill)
        self._alive(OrderState.PARTIAL, now_ns)
        self._check()
        return self._change(before, new)

    def found(self, row: VenueOrder, now_ns: int) -> Change:
        """The reconciler found it. A row older than what is known already is ignored."""
        before = self.state
        self._belongs(row.symbol, row.side, row.qty)
        self._identify(row.order_id)
        if row.status.final or row.filled_qty >= max(self.tape.reported, self.tape.qty):
            self.tape.report(row.filled_qty)
            self._on_status(row.status, now_ns, asked=True)
        self._check()
        return self._change(before)

    def _on_status(self, status: OrderStatus, now_ns: int, *, asked: bool = False) -> None:
        target = _STATE_OF[status]
        if not target.final:
            filled = self.tape.reported or self.tape.qty
            self._alive(OrderState.PARTIAL if filled else OrderState.ACKED, now_ns, asked=asked)
            return
        if target is OrderState.FILLED and self.tape.reported != self.qty:
            raise InvariantBroken(f"order {self.cid}: FILLED with {self.tape.reported} of {self.qty}")
        if self.state is OrderState.REFUSED and not self.tape.reported:
            return  # refused by the matching engine, told twice: by the reply and by the stream
        self._move(target)

    def _belongs(self, symbol: SymbolName, side: Side, qty: Decimal) -> None:
        if symbol != self.symbol or side is not self.side:
            raise InvariantBroken(f"order {self.cid}: the venue has it on {symbol} {side.value}")
        if qty == self.qty:
            return
        if not self.request.reduce_only or qty > self.qty or qty < self.tape.qty:
            raise InvariantBroken(f"order {self.cid}: quantity {self.qty} became {qty}")
        self.tape.limit = qty

    def _check(self) -> None:
        if self.refusal is not None and self.tape.qty:
            raise InvariantBroken(f"order {self.cid}: executed after it was refused ({self.refusal.code})")
        if self.state.final and self.tape.qty > self.tape.reported:
            raise InvariantBroken(f"order {self.cid}: {self.tape.qty} executed, ended with {self.tape.reported}")
