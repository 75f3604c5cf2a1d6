"""Routing and counting of our orders."""

from __future__ import annotations

import attrs
import pytest

from aegis.core.errors import InvariantBroken
from aegis.core.messages import Accepted, Refused, Unknown
from aegis.core.order_life import OrderState
from aegis.core.order_store import OrderStore
from aegis.core.values import AlgoStatus, ClientId, OrderStatus, Side, SymbolName
from tests.support.core_cases import BIG_ID, BTC, D, algo_update, make_algo, make_order, order_update, trade_lite

ETH = SymbolName("ETHUSDT")


def cid(number: int) -> ClientId:
    return ClientId(f"a-{number}")


def test_events_find_their_order_and_foreign_ones_find_none() -> None:
    store = OrderStore()
    plain, algo = make_order(cid=cid(1)), make_algo(cid=cid(2))
    store.add(plain, 0)
    store.add(algo, 0)
    store.sent(cid(1), 1, 100)
    assert store.on_outcome(Accepted(request=plain, venue_id=BIG_ID), 2) is not None
    assert store.on_order_update(order_update(plain, OrderStatus.NEW), 3) is not None
    assert store.on_trade_lite(trade_lite(plain, 1, D(1)), 4) is not None
    assert store.on_algo_update(algo_update(algo, AlgoStatus.NEW), 5) is not None
    child = order_update(algo, OrderStatus.FILLED, trade_id=2, last_qty=D(3), filled_qty=D(3))
    assert store.on_order_update(child, 6) is not None
    assert store.get(cid(2)) not in tuple(store.open())

    foreign, foreign_algo = make_order(cid=cid(9)), make_algo(cid=cid(1))
    assert store.on_outcome(Unknown(request=foreign, reason=""), 7) is None
    assert store.on_order_update(order_update(foreign, OrderStatus.NEW), 7) is None
    assert store.on_trade_lite(trade_lite(foreign, 1, D(1)), 7) is None
    assert store.on_algo_update(algo_update(foreign_algo, AlgoStatus.NEW), 7) is None
    store.changed(cid(9))


def test_a_client_id_is_used_once() -> None:
    store = OrderStore()
    store.add(make_order(), 0)
    with pytest.raises(InvariantBroken, match="a-1"):
        store.add(make_order(), 0)


def test_exposure_counts_opening_orders_in_the_worst_case() -> None:
    store = OrderStore()
    store.add(make_order(cid=cid(1), qty=D(3)), 0)
    store.add(make_order(cid=cid(2), side=Side.SELL, qty=D(2), price=D(51000)), 0)
    store.add(make_order(cid=cid(3), side=Side.SELL, reduce_only=True), 0)
    store.add(make_algo(cid=cid(4)), 0)
    store.add(make_order(cid=cid(5), symbol=ETH), 0)
    store.sent(cid(1), 0, 10)
    assert store.on_deadlines(9) == []
    assert store.on_deadlines(10) == [cid(1)]
    assert store.unknown() == store.unknown(BTC) == [cid(1)]
    assert store.unknown(ETH) == []
    exposure = store.exposure(BTC)
    assert (exposure.buy_qty, exposure.sell_qty) == (D(3), D(2))
    assert exposure.worst(D(1)) == D(4)
    assert exposure.worst(D(-3)) == D(5)
    assert exposure.worst(D(0)) == D(3)
    assert (store.working_count(BTC), store.working_count()) == (2, 3)
    assert store.algo_count() == 1


def test_an_ended_order_with_missing_executions_stays_open_to_questions() -> None:
    store = OrderStore()
    request = make_order()
    store.add(request, 0)
    store.on_order_update(order_update(request, OrderStatus.CANCELED, filled_qty=D(1)), 1)
    assert [order.cid for order in store.in_doubt()] == [cid(1)]
    assert store.working_count() == 0
    order = store.get(cid(1))
    assert order is not None
    order.on_trade_lite(trade_lite(request, 1, D(1)), 2)
    store.changed(cid(1))
    assert [order.cid for order in store.in_doubt()] == [cid(1)], "the fast copy has no fee"
    order.on_fill(attrs.evolve(order.tape.fills[1], commission=D("0.1"), realized=D(0)), 3)
    store.changed(cid(1))
    assert store.in_doubt() == []
    assert tuple(store.open()) == ()
    store.changed(cid(1))


def test_ended_orders_are_remembered_up_to_a_limit() -> None:
    store = OrderStore(keep=2)
    for number in range(1, 5):
        request = make_order(cid=cid(number))
        store.add(request, 0)
        store.on_outcome(Refused(request=request, code=-1, message=""), 1)
    assert store.get(cid(2)) is None
    kept = store.get(cid(3))
    assert kept is not None
    assert kept.state is OrderState.REFUSED
