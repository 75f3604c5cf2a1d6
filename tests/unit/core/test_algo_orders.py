"""A conditional order and its child."""

from __future__ import annotations

import pytest

from aegis.core.algo_orders import AlgoOrder, VenueAlgo
from aegis.core.errors import InvariantBroken
from aegis.core.messages import Accepted, Refused, Unknown
from aegis.core.order_life import AbsenceRule, OrderState
from aegis.core.values import AlgoStatus, ClientId, OrderStatus, Side, SymbolName
from tests.support.core_cases import BIG_ID, BTC, D, algo_update, make_algo, make_fill, order_update, trade_lite

S = OrderState
ALGO_ID = 4_000_000_230_627_731


def live() -> AlgoOrder:
    order = AlgoOrder(request=make_algo(), created_ns=0)
    order.sent(100, 1_000)
    order.on_outcome(Accepted(request=order.request, venue_id=ALGO_ID), 200)
    return order


def row(status: AlgoStatus, **changes: object) -> VenueAlgo:
    fields = {"cid": ClientId("a-2"), "symbol": BTC, "algo_id": ALGO_ID, "status": status, "order_id": None}
    return VenueAlgo(**{**fields, "filled_qty": D(0), **changes})  # type: ignore[arg-type]


def test_the_documented_life() -> None:
    order = live()
    assert order.state is S.ACKED
    for status, moment in ((AlgoStatus.TRIGGERING, 19), (AlgoStatus.TRIGGERED, 30)):
        child = BIG_ID if status is AlgoStatus.TRIGGERED else None
        order.on_update(algo_update(order.request, status, transaction_ms=moment, order_id=child), 300)
        assert order.triggered
    done = order_update(order.request, OrderStatus.FILLED, trade_id=1, last_qty=D(3), filled_qty=D(3))
    assert order.on_child(done, 400).fill is not None
    assert order.state is S.FINISHED
    order.on_update(algo_update(order.request, AlgoStatus.FINISHED, order_id=BIG_ID, filled_qty=D(3)), 500)
    assert (order.triggered_ms, order.child_id, order.settled, order.triggered) == (19, BIG_ID, True, False)


def test_the_child_may_come_before_the_algo_update() -> None:
    order = live()
    part = order_update(order.request, OrderStatus.PARTIALLY_FILLED, trade_id=1, filled_qty=D(1), transaction_ms=31)
    order.on_child(part, 300)
    assert order.state is S.TRIGGERED
    order.on_update(algo_update(order.request, AlgoStatus.TRIGGERING, transaction_ms=19), 310)
    assert (order.state, order.triggered_ms) == (S.TRIGGERED, 19)
    order.on_child(order_update(order.request, OrderStatus.NEW, transaction_ms=30), 320)
    assert order.state is S.TRIGGERED


def test_finished_before_the_executions_leaves_them_missing() -> None:
    order = live()
    order.on_update(algo_update(order.request, AlgoStatus.FINISHED, order_id=BIG_ID, filled_qty=D(3)), 300)
    assert (order.state, order.settled, order.tape.missing) == (S.FINISHED, False, D(3))
    order.on_fill(make_fill(Side.SELL, "3", "49000", 9, cid=ClientId("a-2")), 400)
    assert order.settled


def test_trade_lite_of_the_child_is_an_execution() -> None:
    order = live()
    assert order.on_trade_lite(trade_lite(order.request, 5, D(1)), 300).after is S.TRIGGERED
    assert order.tape.qty == D(1)


def test_an_untriggered_end() -> None:
    for status, state in ((AlgoStatus.CANCELED, S.CANCELED), (AlgoStatus.EXPIRED, S.EXPIRED)):
        order = live()
        assert order.on_update(algo_update(order.request, status), 300).after is state
        assert order.on_update(algo_update(order.request, AlgoStatus.NEW), 310).after is state


def test_unknown_is_settled_by_a_row() -> None:
    order = AlgoOrder(request=make_algo(), created_ns=0)
    order.sent(100, 1_000)
    order.on_outcome(Unknown(request=order.request, reason="timeout"), 200)
    assert order.found(row(AlgoStatus.NEW), 300).after is S.ACKED
    assert order.found(row(AlgoStatus.TRIGGERED, order_id=BIG_ID), 400).after is S.TRIGGERED


def test_unknown_is_settled_by_absence_or_refusal() -> None:
    rule = AbsenceRule(recv_window_ns=3_000, margin_ns=1_000)
    for refuse in (False, True):
        order = AlgoOrder(request=make_algo(), created_ns=0)
        order.sent(100, 1_000)
        order.on_deadline(1_000)
        if refuse:
            order.on_outcome(Refused(request=order.request, code=-2021, message="would trigger"), 1_100)
        else:
            order.not_found(5_000, rule, stream_alive=True)
            order.not_found(9_000, rule, stream_alive=True)
        assert order.state is (S.REFUSED if refuse else S.ABSENT)


def test_cancel_request_names_the_algo_service() -> None:
    cancel = live().request_cancel(900)
    assert cancel is not None
    assert cancel.algo


@pytest.mark.parametrize(
    "event",
    [
        algo_update(make_algo(), AlgoStatus.NEW, algo_id=7),
        algo_update(make_algo(), AlgoStatus.NEW, symbol=SymbolName("ETHUSDT")),
        algo_update(make_algo(), AlgoStatus.TRIGGERED, order_id=7),
        algo_update(make_algo(), AlgoStatus.CANCELED, order_id=BIG_ID),
    ],
)
def test_contradictions_break_the_invariant(event: object) -> None:
    order = live()
    order.on_child(order_update(order.request, OrderStatus.EXPIRED), 300)
    assert order.state is S.FINISHED
    with pytest.raises(InvariantBroken):
        order.on_update(event, 400)  # type: ignore[arg-type]
