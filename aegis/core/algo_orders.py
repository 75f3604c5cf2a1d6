"""The life of one conditional order and of the child that it becomes (PROTOCOL section 3.7).

The child is an ordinary order with the same client id; its events may come before the ALGO_UPDATE that announces it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

import attrs

from aegis.core.errors import InvariantBroken
from aegis.core.fills import Fill, FillTape
from aegis.core.messages import AlgoRequest, AlgoUpdate, OrderUpdate, TradeLite
from aegis.core.order_life import Change, OrderState, TrackedOrder
from aegis.core.orders import is_execution
from aegis.core.values import AlgoStatus, ClientId, SymbolName

__all__ = ["ALGO_TABLE", "AlgoOrder", "VenueAlgo"]

_S = OrderState
_ENDS = frozenset({_S.FINISHED, _S.REJECTED, _S.EXPIRED, _S.CANCELED})
_ALIVE = frozenset({_S.ACKED, _S.TRIGGERING, _S.TRIGGERED})
#: The one transition table of a conditional order.
ALGO_TABLE: Mapping[OrderState, frozenset[OrderState]] = {
    _S.INTENT: frozenset({_S.SENT, _S.UNKNOWN, _S.REFUSED}) | _ALIVE | _ENDS,
    _S.SENT: frozenset({_S.UNKNOWN, _S.REFUSED}) | _ALIVE | _ENDS,
    _S.UNKNOWN: frozenset({_S.REFUSED, _S.ABSENT}) | _ALIVE | _ENDS,
    _S.ACKED: frozenset({_S.UNKNOWN, _S.TRIGGERING, _S.TRIGGERED}) | _ENDS,
    _S.TRIGGERING: frozenset({_S.UNKNOWN, _S.TRIGGERED}) | _ENDS,
    _S.TRIGGERED: frozenset({_S.UNKNOWN}) | _ENDS,
    **{end: frozenset() for end in (*_ENDS, _S.REFUSED, _S.ABSENT)},
}

_STATE_OF = {
    AlgoStatus.NEW: _S.ACKED,
    AlgoStatus.TRIGGERING: _S.TRIGGERING,
    AlgoStatus.TRIGGERED: _S.TRIGGERED,
    AlgoStatus.FINISHED: _S.FINISHED,
    AlgoStatus.CANCELED: _S.CANCELED,
    AlgoStatus.EXPIRED: _S.EXPIRED,
    AlgoStatus.REJECTED: _S.REJECTED,
}


@attrs.frozen(kw_only=True)
class VenueAlgo:
    """A row of GET algoOrder or openAlgoOrders: the reconciler's evidence."""

    cid: ClientId
    symbol: SymbolName
    algo_id: int
    status: AlgoStatus
    order_id: int | None
    filled_qty: Decimal


@attrs.define(kw_only=True, eq=False)
class AlgoOrder(TrackedOrder):
    """One AlgoRequest and what became of it. Every method is evidence; illegal evidence raises InvariantBroken."""

    TABLE: ClassVar[Mapping[OrderState, frozenset[OrderState]]] = ALGO_TABLE

    request: AlgoRequest
    tape: FillTape = attrs.field(factory=lambda: FillTape(limit=None))
    child_id: int | None = attrs.field(default=None, init=False)
    """The child's orderId: another id space than `venue_id`."""
    triggered_ms: int | None = attrs.field(default=None, init=False)
    """Venue time at which the condition was first known to be met."""

    @property
    def triggered(self) -> bool:
        """Its condition was met and its child is not done: an exit is under way."""
        return self.state in (_S.TRIGGERING, _S.TRIGGERED)

    def on_update(self, update: AlgoUpdate, now_ns: int) -> Change:
        """ALGO_UPDATE in any order, any number of times."""
        before = self.state
        self._belongs(update.symbol)
        self._identify(update.algo_id)
        if update.order_id is not None:
            self._child(update.order_id)
        if update.status in (AlgoStatus.TRIGGERING, AlgoStatus.TRIGGERED):
            self._trigger(update.transaction_ms)
        self.tape.report(update.filled_qty)
        self._on_status(update.status, now_ns)
        return self._change(before)

    def on_child(self, update: OrderUpdate, now_ns: int) -> Change:
        """ORDER_TRADE_UPDATE of the child, which may be the first news of the trigger."""
        before = self.state
        self._belongs(update.symbol)
        self._child(update.order_id)
        self._trigger(update.transaction_ms)
        self.tape.limit = update.qty if self.tape.limit is None else min(self.tape.limit, update.qty)
        fill = self.tape.add(Fill.of(update)) if is_execution(update) else None
        self.tape.report(update.filled_qty)
        self._on_status(AlgoStatus.FINISHED if update.status.final else AlgoStatus.TRIGGERED, now_ns)
        return self._change(before, fill)

    def on_trade_lite(self, lite: TradeLite, now_ns: int) -> Change:
        """TRADE_LITE of the child."""
        return self._executed(Fill.of(lite), now_ns)

    def on_fill(self, fill: Fill, now_ns: int) -> Change:
        """An execution of the child found by userTrades."""
        return self._executed(fill, now_ns)

    def found(self, row: VenueAlgo, now_ns: int) -> Change:
        """The reconciler found it. A row older than what is known already is ignored."""
        before = self.state
        self._belongs(row.symbol)
        self._identify(row.algo_id)
        if row.order_id is not None:
            self._child(row.order_id)
        self.tape.report(row.filled_qty)
        self._on_status(row.status, now_ns, asked=True)
        return self._change(before)

    def _executed(self, fill: Fill, now_ns: int) -> Change:
        before = self.state
        self._child(fill.order_id)
        self._trigger(fill.time_ms)
        new = self.tape.add(fill)
        self._alive(_S.TRIGGERED, now_ns)
        return self._change(before, new)

    def _on_status(self, status: AlgoStatus, now_ns: int, *, asked: bool = False) -> None:
        target = _STATE_OF[status]
        if target.final:
            self._move(target)
        else:
            self._alive(target, now_ns, asked=asked)

    def _belongs(self, symbol: SymbolName) -> None:
        if symbol != self.symbol:
            raise InvariantBroken(f"conditional order {self.cid}: the venue has it on {symbol}")

    def _child(self, order_id: int) -> None:
        if self.child_id is None:
            self.child_id = order_id
        elif self.child_id != order_id:
            raise InvariantBroken(f"conditional order {self.cid}: children {self.child_id} and {order_id}")

    def _trigger(self, venue_ms: int) -> None:
        if self.triggered_ms is None or venue_ms < self.triggered_ms:
            self.triggered_ms = venue_ms
