"""A trade whose venue answers exactly what the test says."""

from __future__ import annotations

from typing import Any

from aegis.core.bracket import BracketPolicy, Trade, TradePlan, TradeState
from aegis.core.messages import Accepted, AlgoRequest, CancelRequest, OrderRequest, Refused, Request
from aegis.core.order_store import OrderStore
from aegis.core.values import AlgoStatus, OrderStatus, OrderType, Side, TimeInForce, WorkingType
from tests.support.core_cases import BIG_ID, BTC, SECOND, Cids, D, algo_update, make_order
from tests.support.core_cases import order_update as event

T = TradeState
POLICY = BracketPolicy(
    stop_attempts=2, target_attempts=2, confirm_limit_ns=5 * SECOND, exit_retry_ns=SECOND, cancel_deadline_ns=2 * SECOND
)


class Desk:
    """A trade with the hands of the venue: every reply is given by the test."""

    def __init__(self, **plan: Any) -> None:
        self.store = OrderStore()
        self.cids = Cids()
        self.now = 10 * SECOND
        self.trade_ids = 0
        fields: dict[str, Any] = {
            "signal_id": "s-1",
            "symbol": BTC,
            "side": Side.BUY,
            "stop": D(49000),
            "target": D(52000),
            "stop_distance": D(1000),
            "decision_ns": self.now,
            "time_limit_ns": 3600 * SECOND,
            "stop_working": WorkingType.MARK_PRICE,
            "max_exit_qty": D(120),
        }
        self.trade = Trade(TradePlan(**{**fields, **plan}), self.store, self.cids, POLICY)
        self.sent: list[Request] = []

    def enter(self, **changes: Any) -> OrderRequest:
        request = make_order(cid=self.cids(), tif=TimeInForce.IOC, **changes)
        self.trade.enter(request, self.now)
        self.store.sent(request.cid, self.now, self.now + SECOND)
        return request

    def step(self, seconds: float = 0) -> tuple[Request, ...]:
        self.now += int(seconds * SECOND)
        requests = self.trade.step(self.now)
        for request in requests:
            if not isinstance(request, CancelRequest):
                self.store.sent(request.cid, self.now, self.now + SECOND)
        assert self.trade.step(self.now) == (), "a second step has nothing new to say"
        self.sent += requests
        return requests

    def fill(
        self, request: OrderRequest | AlgoRequest, qty: str, *, done: bool = True, price: str = "50000", **changes: Any
    ) -> None:
        order = self.store.get(request.cid)
        assert order is not None
        self.trade_ids += 1
        status = OrderStatus.FILLED if done else OrderStatus.PARTIALLY_FILLED
        total = order.tape.qty + D(qty)
        fields: dict[str, Any] = {
            "trade_id": self.trade_ids,
            "last_qty": D(qty),
            "last_price": D(price),
            "filled_qty": total,
            "order_id": BIG_ID + int(request.cid.split("-")[1]),
        }
        self.store.on_order_update(event(request, status, **{**fields, **changes}), self.now)

    def end(self, request: OrderRequest | AlgoRequest, status: OrderStatus, filled: str = "0") -> None:
        order_id = BIG_ID + int(request.cid.split("-")[1])
        self.store.on_order_update(event(request, status, order_id=order_id, filled_qty=D(filled)), self.now)

    def accept(self, request: Request) -> None:
        venue_id = 10**9 + int(request.cid.split("-")[1])
        self.store.on_outcome(Accepted(request=request, venue_id=venue_id), self.now)

    def refuse(self, request: Request, code: int) -> None:
        self.store.on_outcome(Refused(request=request, code=code, message=""), self.now)

    def algo(self, request: AlgoRequest, status: AlgoStatus, **changes: Any) -> None:
        venue_id = 10**9 + int(request.cid.split("-")[1])
        self.store.on_algo_update(algo_update(request, status, algo_id=venue_id, **changes), self.now)

    def protected(self) -> tuple[OrderRequest, AlgoRequest, AlgoRequest]:
        """Filled, stop and target confirmed."""
        entry = self.enter()
        self.fill(entry, "3")
        stop, target, *parts = self.step()
        assert isinstance(stop, AlgoRequest)
        assert isinstance(target, AlgoRequest)
        for part in parts:
            self.accept(part)
        self.accept(stop)
        self.accept(target)
        assert self.step(0.1) == ()
        assert self.trade.state is T.PROTECTED
        return entry, stop, target


def exit_of(requests: tuple[Request, ...]) -> OrderRequest:
    (request,) = [r for r in requests if isinstance(r, OrderRequest)]
    assert (request.type, request.reduce_only, request.side) == (OrderType.MARKET, True, Side.SELL)
    return request
