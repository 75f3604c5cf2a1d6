"""Requests become exactly the parameters that the venue documents."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from aegis.core.errors import InvariantBroken
from aegis.core.messages import AlgoRequest, CancelRequest, OrderRequest
from aegis.core.values import AlgoType, ClientId, OrderType, Side, SymbolName, TimeInForce, WorkingType
from aegis.venue.encode import encode
from aegis.venue.limits import Priority

CID, SYMBOL = ClientId("a-1"), SymbolName("测试USDT")
LIMIT = OrderRequest(
    cid=CID, symbol=SYMBOL, side=Side.BUY, type=OrderType.LIMIT, qty=Decimal("1E+3"), price=Decimal("1E-7"),
    tif=TimeInForce.IOC,
)  # fmt: skip


def test_limit_order():
    call = encode(LIMIT)
    assert (call.method, call.path, call.ws_method) == ("POST", "/fapi/v1/order", "order.place")
    assert (call.weight, call.orders, call.priority) == (0, 1, Priority.NORMAL)
    assert call.params == {
        "symbol": "测试USDT", "side": "BUY", "type": "LIMIT", "quantity": "1000", "price": "0.0000001",
        "timeInForce": "IOC", "newClientOrderId": "a-1", "newOrderRespType": "ACK",
    }  # fmt: skip


def test_reduce_only_market_exit_is_urgent():
    request = OrderRequest(
        cid=CID, symbol=SYMBOL, side=Side.SELL, type=OrderType.MARKET, qty=Decimal("0.10"), reduce_only=True
    )
    call = encode(request)
    assert call.priority is Priority.URGENT
    assert call.params == {
        "symbol": "测试USDT", "side": "SELL", "type": "MARKET", "quantity": "0.1", "reduceOnly": "true",
        "newClientOrderId": "a-1", "newOrderRespType": "ACK",
    }  # fmt: skip


def test_protective_stop_always_says_what_triggers_it_and_never_a_quantity():
    request = AlgoRequest(
        cid=CID, symbol=SYMBOL, side=Side.SELL, type=AlgoType.STOP_MARKET, trigger=Decimal("9.50"),
        working_type=WorkingType.CONTRACT_PRICE,
    )  # fmt: skip
    call = encode(request)
    assert (call.path, call.ws_method, call.priority) == ("/fapi/v1/algoOrder", "algoOrder.place", Priority.URGENT)
    assert call.params == {
        "algoType": "CONDITIONAL", "symbol": "测试USDT", "side": "SELL", "type": "STOP_MARKET", "triggerPrice": "9.5",
        "workingType": "CONTRACT_PRICE", "priceProtect": "false", "closePosition": "true", "clientAlgoId": "a-1",
        "newOrderRespType": "ACK",
    }  # fmt: skip


def test_a_partial_target_has_a_quantity_and_can_only_reduce():
    request = AlgoRequest(
        cid=CID, symbol=SYMBOL, side=Side.SELL, type=AlgoType.TAKE_PROFIT_MARKET, trigger=Decimal("9.50"),
        working_type=WorkingType.CONTRACT_PRICE, qty=Decimal("0.250"),
    )  # fmt: skip
    params = encode(request).params
    assert (params["quantity"], params["reduceOnly"], "closePosition" in params) == ("0.25", "true", False)


def test_cancels_cost_weight_and_no_order_count():
    call = encode(CancelRequest(cid=CID, symbol=SYMBOL))
    assert (call.method, call.path, call.ws_method) == ("DELETE", "/fapi/v1/order", "order.cancel")
    assert call.params == {"symbol": "测试USDT", "origClientOrderId": "a-1"}
    assert (call.weight, call.orders, call.priority) == (1, 0, Priority.URGENT)
    algo = encode(CancelRequest(cid=CID, symbol=SYMBOL, algo=True))
    assert (algo.path, algo.ws_method, algo.params) == (
        "/fapi/v1/algoOrder", "algoOrder.cancel", {"clientAlgoId": "a-1"},
    )  # fmt: skip


@pytest.mark.parametrize("change", [{"price": None}, {"tif": None}, {"type": OrderType.MARKET}])
def test_a_request_that_contradicts_itself_is_a_bug(change):
    with pytest.raises(InvariantBroken):
        encode(attrs.evolve(LIMIT, **change))
