"""Every call that PROTOCOL.md §4 lists is answered, asks of its sender what it says, and weighs what it says."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest

from aegis.exchange.api import Params, Security
from aegis.exchange.api_dispatch import ROUTES

NONE, KEY, SIGNED = Security.NONE, Security.KEY, Security.SIGNED
ONE = "symbol=AAAUSDT"

#: Call, its security, and its weight by parameters.
CALLS: list[tuple[str, Security, dict[str, int]]] = [
    # 4.1 market data
    ("GET v1/ping", NONE, {"": 1}),
    ("GET v1/time", NONE, {"": 1}),
    ("GET v1/exchangeInfo", NONE, {"": 1}),
    ("GET v1/depth", NONE, {"": 10, "limit=5": 2, "limit=50": 2, "limit=100": 5, "limit=500": 10, "limit=1000": 20}),
    ("GET v1/rpiDepth", NONE, {"": 20, "limit=1000": 20}),
    ("GET v1/trades", NONE, {"": 5}),
    ("GET v1/historicalTrades", KEY, {"": 200}),
    ("GET v1/aggTrades", NONE, {"": 20}),
    ("GET v1/klines", NONE, {"": 5, "limit=99": 1, "limit=100": 2, "limit=499": 2, "limit=1000": 5, "limit=1001": 10}),
    ("GET v1/continuousKlines", NONE, {"": 5, "limit=1500": 10}),
    ("GET v1/premiumIndex", NONE, {ONE: 1, "": 10}),
    ("GET v1/fundingRate", NONE, {"": 0}),
    ("GET v1/fundingInfo", NONE, {"": 0}),
    ("GET v1/ticker/24hr", NONE, {ONE: 1, "": 40}),
    ("GET v1/ticker/price", NONE, {ONE: 1, "": 2}),
    ("GET v2/ticker/price", NONE, {ONE: 1, "": 2}),
    ("GET v1/ticker/bookTicker", NONE, {ONE: 2, "": 5}),
    ("GET v1/openInterest", NONE, {ONE: 1}),
    ("GET v1/tradingSchedule", NONE, {"": 5}),
    ("GET v1/symbolAdlRisk", NONE, {"": 1}),
    ("GET v1/constituents", NONE, {ONE: 2}),
    ("GET v1/insuranceBalance", NONE, {"": 1}),
    ("GET v1/assetIndex", NONE, {ONE: 1, "": 10}),
    ("GET v1/indexInfo", NONE, {"": 1}),
    # 4.3 orders
    ("POST v1/order", SIGNED, {"": 0}),
    ("POST v1/order/test", SIGNED, {"": 0}),
    ("GET v1/order", SIGNED, {"": 1}),
    ("GET v1/openOrder", SIGNED, {"": 1}),
    ("GET v1/openOrders", SIGNED, {ONE: 1, "": 40}),
    ("GET v1/allOrders", SIGNED, {"": 5}),
    ("DELETE v1/order", SIGNED, {"": 1}),
    ("DELETE v1/allOpenOrders", SIGNED, {"": 1}),
    ("POST v1/batchOrders", SIGNED, {"": 5}),
    ("DELETE v1/batchOrders", SIGNED, {"": 1}),
    ("PUT v1/order", SIGNED, {"": 0}),
    ("PUT v1/batchOrders", SIGNED, {"": 5}),
    ("GET v1/orderAmendment", SIGNED, {"": 1}),
    ("POST v1/countdownCancelAll", SIGNED, {"": 10}),
    ("GET v1/forceOrders", SIGNED, {ONE: 20, "": 50}),
    # 4.4 conditional orders
    ("POST v1/algoOrder", SIGNED, {"": 0}),
    ("DELETE v1/algoOrder", SIGNED, {"": 1}),
    ("DELETE v1/algoOpenOrders", SIGNED, {"": 1}),
    ("GET v1/algoOrder", SIGNED, {"": 1}),
    ("GET v1/openAlgoOrders", SIGNED, {ONE: 1, "": 40}),
    ("GET v1/allAlgoOrders", SIGNED, {"": 5}),
    # 4.5 account
    ("GET v2/account", SIGNED, {"": 5}),
    ("GET v3/account", SIGNED, {"": 5}),
    ("GET v2/balance", SIGNED, {"": 5}),
    ("GET v3/balance", SIGNED, {"": 5}),
    ("GET v2/positionRisk", SIGNED, {"": 5}),
    ("GET v3/positionRisk", SIGNED, {"": 5}),
    ("GET v1/symbolConfig", SIGNED, {"": 5}),
    ("GET v1/accountConfig", SIGNED, {"": 5}),
    ("POST v1/leverage", SIGNED, {"": 1}),
    ("POST v1/marginType", SIGNED, {"": 1}),
    ("GET v1/positionSide/dual", SIGNED, {"": 30}),
    ("POST v1/positionSide/dual", SIGNED, {"": 1}),
    ("GET v1/multiAssetsMargin", SIGNED, {"": 30}),
    ("POST v1/multiAssetsMargin", SIGNED, {"": 1}),
    ("POST v1/positionMargin", SIGNED, {"": 1}),
    ("GET v1/positionMargin/history", SIGNED, {"": 1}),
    ("GET v1/commissionRate", SIGNED, {"": 20}),
    ("GET v1/leverageBracket", SIGNED, {"": 1}),
    ("GET v1/userTrades", SIGNED, {"": 5}),
    ("GET v1/income", SIGNED, {"": 30}),
    ("GET v1/rateLimit/order", SIGNED, {"": 1}),
    ("GET v1/feeBurn", SIGNED, {"": 30}),
    ("POST v1/feeBurn", SIGNED, {"": 1}),
    ("GET v1/adlQuantile", SIGNED, {"": 5}),
    ("GET v1/apiTradingStatus", SIGNED, {ONE: 1, "": 10}),
    ("POST v1/stock/contract", SIGNED, {"": 50}),
    # 3.1 listen keys
    ("POST v1/listenKey", KEY, {"": 1}),
    ("PUT v1/listenKey", KEY, {"": 1}),
    ("DELETE v1/listenKey", KEY, {"": 1}),
]
#: Not answered: no history of marks and indices is kept, nor of what others held, and there are no files to fetch.
LEFT_OUT = (
    "v1/indexPriceKlines", "v1/markPriceKlines", "v1/premiumIndexKlines", "v1/order/asyn", "v1/trade/asyn",
    "v1/income/asyn",
)  # fmt: skip


def key(call: str) -> tuple[str, str]:
    method, _, path = call.partition(" ")
    return method, f"/fapi/{path}"


@pytest.mark.parametrize(("call", "security", "weights"), CALLS, ids=[call for call, _, _ in CALLS])
def test_a_call_is_routed_with_its_security_and_weight(call, security, weights):
    route = ROUTES[key(call)]
    assert route.security is security
    assert {text: route.cost(Params(parse_qsl(text))) for text in weights} == weights


def test_no_route_is_missing_from_the_list_and_what_is_left_out_is_not_answered():
    assert set(ROUTES) == {key(call) for call, _, _ in CALLS}
    assert {path for _, path in ROUTES}.isdisjoint(f"/fapi/{path}" for path in LEFT_OUT)
