"""What a desk's tests do again and again: have an entry sent, filled, protected, closed."""

from __future__ import annotations

from aegis.core.bracket import TradeState
from aegis.core.messages import Accepted, AlgoRequest, OrderRequest, Request
from aegis.core.values import OrderStatus, OrderType, Side, SymbolName
from tests.support.core_cases import order_update
from tests.support.decision_rig import Rig

BTC = SymbolName("BTCUSDT")


def entry_of(rig: Rig) -> OrderRequest:
    """A signal that is taken; the entry it sends."""
    assert rig.signal()["taken"]
    (request,) = rig.take()
    assert isinstance(request, OrderRequest)
    return request


def fill(rig: Rig, request: OrderRequest, **changes: object) -> None:
    fields = {"trade_id": 1, "last_qty": request.qty, "filled_qty": request.qty, **changes}
    rig.decision.on_user_event(order_update(request, OrderStatus.FILLED, **fields), rig.now_ns)


def protect(rig: Rig) -> tuple[OrderRequest, AlgoRequest, AlgoRequest]:
    """Filled, and both conditional orders confirmed."""
    entry = entry_of(rig)
    fill(rig, entry)
    stop, target = rig.take()
    assert isinstance(stop, AlgoRequest)
    assert isinstance(target, AlgoRequest)
    for number, request in enumerate((stop, target)):
        rig.decision.on_outcome(Accepted(request=request, venue_id=900 + number), rig.now_ns)
    assert rig.decision.desk.trades[BTC].state is TradeState.PROTECTED
    return entry, stop, target


def market_exit(requests: list[Request]) -> OrderRequest:
    (exit_,) = [request for request in requests if isinstance(request, OrderRequest)]
    assert (exit_.type, exit_.reduce_only, exit_.side) == (OrderType.MARKET, True, Side.SELL)
    return exit_
