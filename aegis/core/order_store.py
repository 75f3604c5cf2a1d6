"""All orders of ours that matter: routed by client id, counted by symbol, bounded in number."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from decimal import Decimal
from typing import TypeVar, overload

import attrs

from aegis.core.algo_orders import AlgoOrder
from aegis.core.errors import InvariantBroken
from aegis.core.messages import AlgoRequest, AlgoUpdate, OrderRequest, OrderUpdate, Outcome, TradeLite
from aegis.core.order_life import CancelState, Change, OrderState
from aegis.core.orders import WorkingOrder
from aegis.core.values import ClientId, Side, SymbolName

__all__ = ["OrderStore", "Ours", "WorkingExposure"]

ZERO = Decimal(0)
Ours = WorkingOrder | AlgoOrder
T = TypeVar("T")


@attrs.frozen(kw_only=True)
class WorkingExposure:
    """What our opening orders could still add on one symbol if all of them filled, each side by itself."""

    buy_qty: Decimal
    sell_qty: Decimal

    def worst(self, amount: Decimal) -> Decimal:
        """Largest absolute position that a signed `amount` can become (control C7)."""
        return max(abs(amount), abs(amount + self.buy_qty), abs(amount - self.sell_qty))


class OrderStore:
    """Open orders by client id and by symbol; ended ones stay recognisable until `keep` newer ones have ended.

    An event with an unknown client id is not ours: the `on_...` methods then return None and the caller counts it.
    """

    def __init__(self, keep: int = 256) -> None:
        self._keep = keep
        self._open: dict[SymbolName, dict[ClientId, Ours]] = {}
        self._all: dict[ClientId, Ours] = {}
        self._ended: OrderedDict[ClientId, None] = OrderedDict()
        # What is asked at every event and every decision is kept up to date instead of looked for in all open orders.
        self._working: dict[ClientId, WorkingOrder] = {}
        self._algos: dict[ClientId, None] = {}
        self._unknown: dict[ClientId, None] = {}
        self._in_doubt: dict[ClientId, None] = {}

    # -- entry ---------------------------------------------------------------------------------------------------------
    @overload
    def add(self, request: OrderRequest, now_ns: int) -> WorkingOrder: ...
    @overload
    def add(self, request: AlgoRequest, now_ns: int) -> AlgoOrder: ...
    def add(self, request: OrderRequest | AlgoRequest, now_ns: int) -> Ours:
        """Starts the life of a request. Raises InvariantBroken when its client id was used before."""
        if request.cid in self._all:
            raise InvariantBroken(f"client id {request.cid} was used before")
        order: Ours
        if isinstance(request, AlgoRequest):
            order = AlgoOrder(request=request, created_ns=now_ns)
        else:
            order = WorkingOrder(request=request, created_ns=now_ns)
        self._all[request.cid] = order
        self._open.setdefault(request.symbol, {})[request.cid] = order
        self._note(order)
        return order

    # -- routing -------------------------------------------------------------------------------------------------------
    def sent(self, cid: ClientId, now_ns: int, deadline_ns: int) -> Change:
        """The first byte may have left. Raises KeyError for an id that was never added."""
        return self._after(cid, self._all[cid].sent(now_ns, deadline_ns))

    def on_outcome(self, outcome: Outcome, now_ns: int) -> Change | None:
        order = self._all.get(outcome.request.cid)
        return None if order is None else self._after(order.cid, order.on_outcome(outcome, now_ns))

    def on_order_update(self, update: OrderUpdate, now_ns: int) -> Change | None:
        """A plain order's event, or that of a conditional order's child."""
        order = self._all.get(update.cid)
        if order is None:
            return None
        if isinstance(order, AlgoOrder):
            return self._after(order.cid, order.on_child(update, now_ns))
        return self._after(order.cid, order.on_update(update, now_ns))

    def on_trade_lite(self, lite: TradeLite, now_ns: int) -> Change | None:
        order = self._all.get(lite.cid)
        return None if order is None else self._after(order.cid, order.on_trade_lite(lite, now_ns))

    def on_algo_update(self, update: AlgoUpdate, now_ns: int) -> Change | None:
        order = self._all.get(update.cid)
        return self._after(order.cid, order.on_update(update, now_ns)) if isinstance(order, AlgoOrder) else None

    def on_deadlines(self, now_ns: int) -> list[ClientId]:
        """Orders that have just become UNKNOWN because an answer is overdue."""
        late = [order for order in self.open() if order.deadline_ns is not None and order.deadline_ns <= now_ns]
        return [order.cid for order in late if self._after(order.cid, order.on_deadline(now_ns)).moved]

    def changed(self, cid: ClientId) -> None:
        """To be called after evidence was given to an order directly (`found`, `not_found`, `on_fill`, `recover`)."""
        order = self._all.get(cid)
        if order is not None:
            self._note(order)
            if order.settled:
                self._retire(order)

    # -- questions -----------------------------------------------------------------------------------------------------
    def get(self, cid: ClientId) -> Ours | None:
        return self._all.get(cid)

    def open(self, symbol: SymbolName | None = None) -> Iterator[Ours]:
        """Orders that are not settled, oldest first within a symbol."""
        if symbol is not None:
            yield from tuple(self._open.get(symbol, {}).values())
            return
        for orders in tuple(self._open.values()):
            yield from tuple(orders.values())

    def working_count(self, symbol: SymbolName | None = None) -> int:
        """Opening orders that may live; protection and exits are not counted (control C6)."""
        return len(self._working) if symbol is None else sum(1 for _ in self.working(symbol))

    def algo_count(self) -> int:
        """Conditional orders that may live, against the venue's account-wide limit."""
        return len(self._algos)

    def in_doubt(self) -> list[Ours]:
        """Orders of unknown fate, with executions missing, or whose cancel was refused."""
        return [self._all[cid] for cid in self._in_doubt]

    def unknown(self, symbol: SymbolName | None = None) -> list[ClientId]:
        """Orders whose fate must be asked (control C16)."""
        if not self._unknown:
            return []
        return [order.cid for order in self.open(symbol) if order.state is OrderState.UNKNOWN]

    def exposure(self, symbol: SymbolName) -> WorkingExposure:
        """Worst case of the opening orders of a symbol, those of unknown fate in full (control C7)."""
        sides = {Side.BUY: ZERO, Side.SELL: ZERO}
        for order in self.working(symbol):
            sides[order.side] += order.remaining
        return WorkingExposure(buy_qty=sides[Side.BUY], sell_qty=sides[Side.SELL])

    def working(self, symbol: SymbolName | None = None) -> Iterator[WorkingOrder]:
        """Opening orders that may live."""
        yield from (order for order in tuple(self._working.values()) if symbol is None or order.symbol == symbol)

    # -- inside --------------------------------------------------------------------------------------------------------
    def _note(self, order: Ours) -> None:
        """Sort an order in after anything has happened to it."""
        cid, living = order.cid, not order.state.final
        if isinstance(order, AlgoOrder):
            _keep(self._algos, cid, None, wanted=living)
        else:
            _keep(self._working, cid, order, wanted=living and order.opens)
        unknown = order.state is OrderState.UNKNOWN
        _keep(self._unknown, cid, None, wanted=unknown)
        doubt = unknown or order.tape.incomplete or order.cancel is CancelState.DOUBTFUL
        _keep(self._in_doubt, cid, None, wanted=doubt and not order.settled)

    def _after(self, cid: ClientId, change: Change) -> Change:
        self.changed(cid)
        return change

    def _retire(self, order: Ours) -> None:
        orders = self._open.get(order.symbol, {})
        if orders.pop(order.cid, None) is None:
            return
        if not orders:
            del self._open[order.symbol]
        self._ended[order.cid] = None
        if len(self._ended) > self._keep:
            oldest, _ = self._ended.popitem(last=False)
            del self._all[oldest]


def _keep(kept: dict[ClientId, T], cid: ClientId, value: T, *, wanted: bool) -> None:
    if wanted:
        kept[cid] = value
    else:
        kept.pop(cid, None)
