"""The API's edges: filters and codes in a table, answers' shapes, security, limits, the WebSocket forms, any bytes."""

from __future__ import annotations

import hashlib
import hmac
import json
from decimal import Decimal

import pytest

from aegis.exchange.security import AccountSetup
from tests.support.exchange_rig import KEY, LISTINGS, MS, SECRET, ApiRequest, listing, make_rig, signed

D = Decimal
LIMIT = {"symbol": "AAAUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "99.0"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"symbol": None}, -1102),
        ({"symbol": "NOPE"}, -1121),
        ({"symbol": "CCCUSDT"}, -4141),
        ({"side": "HOLD"}, -1117),
        ({"side": None}, -1102),
        ({"type": "ICEBERG"}, -1116),
        ({"type": "STOP_MARKET"}, -4120),
        ({"type": "TRAILING_STOP_MARKET"}, -4120),
        ({"type": "MARKET"}, -1106),
        ({"timeInForce": None}, -1102),
        ({"timeInForce": "DAY"}, -1115),
        ({"positionSide": "LONG"}, -4061),
        ({"reduceOnly": "perhaps"}, -1130),
        ({"newOrderRespType": "FULL"}, -1130),
        ({"selfTradePreventionMode": "EXPIRE"}, -5039),
        ({"priceMatch": "OPPONENT_20", "price": None}, -5037),
        ({"stopPrice": "98"}, -1106),
        ({"newClientOrderId": "x" * 37}, -4015),
        ({"newClientOrderId": "a b"}, -4015),
        ({"quantity": None}, -1102),
        ({"quantity": "-1"}, -1100),
        ({"quantity": "1e3"}, -1100),
        ({"quantity": "NaN"}, -1100),
        ({"quantity": "1" * 30}, -1100),
        ({"quantity": "0"}, -4003),
        ({"quantity": "0.0001"}, -4004),
        ({"quantity": "1.0001"}, -1111),
        ({"quantity": "1000.001"}, -4005),
        ({"price": "0.01"}, -4013),
        ({"price": "10000.1"}, -4002),
        ({"price": "99.01"}, -1111),
        ({"price": "105.1"}, -4016),
        ({"side": "SELL", "price": "94.9"}, -4024),
        ({"quantity": "0.05"}, -4164),
        ({"quantity": "1000", "price": "101.0"}, -2027),
        ({"quantity": "5000", "symbol": "DDDUSDT", "price": "99.0"}, -2019),
        ({"recvWindow": "60001"}, -1130),
        ({"recvWindow": "0"}, -1130),
        ({"orderId": "x"}, 0),  # unknown parameters are ignored
    ],
)
def test_orders_are_refused_with_the_venues_codes(changes, code):
    rows = (*LISTINGS[:3], listing("DDDUSDT", 3, brackets=[_wide()], max_qty=D(9_999)))
    rig = make_rig(listings=rows)
    params = {name: value for name, value in (LIMIT | changes).items() if value is not None}
    answer = rig.call("POST", "/fapi/v1/order", **params)
    if code:
        assert answer == ("refused", code)
        assert rig.view.only.open_orders == {}
        assert rig.heard("ORDER_TRADE_UPDATE") == []
    else:
        assert answer["status"] == "NEW"


def _wide():
    row = LISTINGS[0].brackets[0]
    return type(row)(bracket=1, leverage=50, floor=D(0), cap=D(10**9), mmr=row.mmr, cum=D(0))


def test_tick_and_step_that_are_no_powers_of_ten():
    odd = listing("ODDUSDT", 0, tick=D("0.5"), step=D("0.005"), min_price=D("0.5"), start_ticks=200, min_qty=D("0.005"))
    rig = make_rig(listings=(odd,))
    base = LIMIT | {"symbol": "ODDUSDT"}
    assert rig.call("POST", "/fapi/v1/order", **(base | {"price": "99.3"})) == ("refused", -4014)
    assert rig.call("POST", "/fapi/v1/order", **(base | {"quantity": "1.003"})) == ("refused", -4023)


def test_the_answer_to_an_order_has_exactly_the_fields_of_2026():
    rig = make_rig()
    answer = rig.call("POST", "/fapi/v1/order", **LIMIT)
    assert set(answer) == {
        "clientOrderId", "cumQty", "executedQty", "orderId", "origQty", "price", "reduceOnly", "side", "positionSide",
        "status", "stopPrice", "closePosition", "symbol", "timeInForce", "type", "origType", "updateTime",
        "workingType", "priceProtect", "priceMatch", "selfTradePreventionMode", "goodTillDate",
    }  # fmt: skip
    read = rig.call("GET", "/fapi/v1/order", symbol="AAAUSDT", orderId=answer["orderId"])
    assert set(read) == (set(answer) - {"cumQty"}) | {"avgPrice", "cumQuote", "time"}
    assert rig.call("GET", "/fapi/v1/openOrder", symbol="AAAUSDT", orderId=answer["orderId"]) == read


def test_an_acknowledgement_says_new_even_when_the_order_filled_at_once():
    rig = make_rig()
    answer = rig.call("POST", "/fapi/v1/order", symbol="AAAUSDT", side="BUY", type="MARKET", quantity="1")
    assert (answer["status"], answer["executedQty"], answer["cumQty"]) == ("NEW", "0.000", "0.000")
    assert rig.position() == 1


def test_no_more_than_200_open_orders_a_symbol():
    rig = make_rig(weight_limit=10**9)
    for n in range(200):
        assert rig.order("BUY", "0.1", "98.0", newClientOrderId=f"o{n}")["status"] == "NEW"
    assert rig.order("BUY", "0.1", "98.0") == ("refused", -2025)
    assert rig.order("BUY", "0.1", "98.0", symbol="BBBUSDT")["status"] == "NEW"


def test_account_balance_and_position_agree_with_each_other():
    rig = make_rig()
    rig.order("BUY", "2")
    rig.order("BUY", "1", "99.0")
    account = rig.call("GET", "/fapi/v3/account")
    (row,) = rig.call("GET", "/fapi/v3/positionRisk")
    balance = rig.call("GET", "/fapi/v3/balance")
    assert account["totalWalletBalance"] == balance[0]["balance"] == "9999.89990000"
    assert account["availableBalance"] == balance[0]["availableBalance"] == account["assets"][0]["availableBalance"]
    assert (row["positionAmt"], row["entryPrice"], row["unRealizedProfit"]) == ("2", "100.1", "-0.20000000")
    assert (row["bidNotional"], row["askNotional"], row["notional"]) == ("99", "0", "200")
    assert D(row["openOrderInitialMargin"]) == D(99) / 20
    free = D(account["totalCrossWalletBalance"]) + D(account["totalCrossUnPnl"]) - D(account["totalInitialMargin"])
    assert D(account["availableBalance"]) == free
    assert {asset["asset"] for asset in balance} == {"USDT", "USDC", "BNB"}
    assert rig.call("GET", "/fapi/v3/positionRisk", symbol="BBBUSDT") == []
    assert [position["symbol"] for position in account["positions"]] == ["AAAUSDT"]


def test_leverage_and_margin_type_are_read_set_and_refused():
    rig = make_rig()
    symbol = {"symbol": "AAAUSDT"}
    (config,) = rig.call("GET", "/fapi/v1/symbolConfig", **symbol)
    assert config == {"symbol": "AAAUSDT", "marginType": "CROSSED", "isAutoAddMargin": False, "leverage": 20,
                      "maxNotionalValue": "100000"}  # fmt: skip
    assert rig.call("POST", "/fapi/v1/leverage", **symbol, leverage=51) == ("refused", -4028)
    assert rig.call("POST", "/fapi/v1/leverage", **symbol, leverage=0) == ("refused", -4028)
    assert rig.call("POST", "/fapi/v1/leverage", **symbol, leverage=50)["maxNotionalValue"] == "50000"
    assert rig.call("POST", "/fapi/v1/marginType", **symbol, marginType="CROSSED") == ("refused", -4046)
    assert rig.call("POST", "/fapi/v1/marginType", **symbol, marginType="ISOLATED")["code"] == 200
    assert [event["ac"] for event in rig.heard("ACCOUNT_CONFIG_UPDATE")] == [{"s": "AAAUSDT", "l": 50}]
    assert [event["a"]["m"] for event in rig.heard("ACCOUNT_UPDATE")] == ["MARGIN_TYPE_CHANGE"]
    rig.order("BUY", "1", "99.0", newClientOrderId="o")
    assert rig.call("POST", "/fapi/v1/marginType", **symbol, marginType="CROSSED") == ("refused", -4047)
    rig.call("DELETE", "/fapi/v1/order", **symbol, origClientOrderId="o")
    rig.order("BUY", "1")
    assert rig.call("POST", "/fapi/v1/marginType", **symbol, marginType="CROSSED") == ("refused", -4048)
    assert rig.call("POST", "/fapi/v1/leverage", **symbol, leverage=20) == ("refused", -4161)
    assert rig.call("GET", "/fapi/v1/symbolConfig")[0]["marginType"] == "ISOLATED"
    assert len(rig.call("GET", "/fapi/v1/symbolConfig")) == len(LISTINGS)


def test_leverage_that_the_position_or_the_wallet_does_not_allow():
    rig = make_rig(accounts=(AccountSetup(id="main", api_key=KEY, secret=SECRET, wallet=D(6_000)),))
    symbol = {"symbol": "AAAUSDT"}
    rig.quote(999, 1001, ask_qty=700_000)
    rig.order("BUY", "600", "100.2", "IOC")  # 60,000 at 20x ties up 3,000
    assert rig.call("POST", "/fapi/v1/leverage", **symbol, leverage=50) == ("refused", -2027)
    assert rig.call("POST", "/fapi/v1/leverage", **symbol, leverage=5) == ("refused", -2028)
    assert rig.call("GET", "/fapi/v1/symbolConfig", **symbol)[0]["leverage"] == 20
    assert rig.call("POST", "/fapi/v1/leverage", **symbol, leverage=20)["leverage"] == 20
    assert rig.call("POST", "/fapi/v1/marginType", **symbol, marginType="HALF") == ("refused", -1130)


def test_what_never_changes_here_is_readable():
    rig = make_rig()
    assert rig.call("GET", "/fapi/v1/positionSide/dual") == {"dualSidePosition": False}
    assert rig.call("GET", "/fapi/v1/multiAssetsMargin") == {"multiAssetsMargin": False}
    assert rig.call("GET", "/fapi/v1/accountConfig")["canTrade"] is True
    rates = rig.call("GET", "/fapi/v1/commissionRate", symbol="AAAUSDT")
    assert (rates["makerCommissionRate"], rates["takerCommissionRate"]) == ("0.0002", "0.0005")
    (one,) = rig.call("GET", "/fapi/v1/leverageBracket", symbol="AAAUSDT")
    assert one["brackets"][1] == {"bracket": 2, "initialLeverage": 20, "notionalCap": 100000.0, "notionalFloor":
                                  50000.0, "maintMarginRatio": 0.01, "cum": 300.0}  # fmt: skip


def test_trades_and_income_are_filtered_and_limited():
    rig = make_rig()
    for side in ("BUY", "SELL", "BUY"):
        rig.order(side, "1")
        rig.wait(1_000)
    trades = rig.call("GET", "/fapi/v1/userTrades", symbol="AAAUSDT")
    assert [row["id"] for row in trades] == [1, 2, 3]
    asked = {"symbol": "AAAUSDT", "fromId": 2, "limit": 1}
    assert [row["id"] for row in rig.call("GET", "/fapi/v1/userTrades", **asked)] == [2]
    later = {"symbol": "AAAUSDT", "startTime": trades[1]["time"]}
    assert [row["id"] for row in rig.call("GET", "/fapi/v1/userTrades", **later)] == [2, 3]
    assert rig.call("GET", "/fapi/v1/userTrades", **(asked | later)) == ("refused", -1128)
    assert rig.call("GET", "/fapi/v1/userTrades", symbol="AAAUSDT", limit=1001) == ("refused", -1130)
    assert rig.call("GET", "/fapi/v1/userTrades", symbol="BBBUSDT") == []
    kinds = [row["incomeType"] for row in rig.call("GET", "/fapi/v1/income")]
    assert kinds == ["COMMISSION", "REALIZED_PNL", "COMMISSION", "COMMISSION"]
    (realized,) = rig.call("GET", "/fapi/v1/income", incomeType="REALIZED_PNL")
    assert (realized["income"], realized["tradeId"]) == ("-0.20000000", "2")


# -- market data -------------------------------------------------------------------------------------------------------
def get(rig, path, **params):
    query = "&".join(f"{name}={value}" for name, value in params.items())
    answer = rig.send(ApiRequest(method="GET", path=f"/fapi/v1/{path}", query=query.encode()))
    return answer.status, json.loads(answer.body)


def test_market_data_needs_no_key_and_tells_of_the_books():
    rig = make_rig()
    assert get(rig, "ping") == (200, {})
    assert get(rig, "time") == (200, {"serverTime": rig.now_ns // MS})
    assert [row["symbol"] for row in get(rig, "exchangeInfo")[1]["symbols"]] == [one.symbol for one in LISTINGS]
    depth = get(rig, "depth", symbol="AAAUSDT", limit=5)[1]
    assert depth["bids"][0] == ["99.9", "5.000"]
    assert [price for price, _ in depth["asks"]] == ["100.1", "100.2", "100.3", "100.4", "100.5"]
    assert get(rig, "depth", symbol="AAAUSDT", limit=7)[1]["code"] == -1130
    one = get(rig, "ticker/bookTicker", symbol="AAAUSDT")[1]
    assert (one["bidPrice"], one["askQty"]) == ("99.9", "5.000")
    assert one in get(rig, "ticker/bookTicker")[1]
    premium = get(rig, "premiumIndex", symbol="AAAUSDT")[1]
    assert (premium["markPrice"], premium["indexPrice"]) == ("100.00000000", "100.00000000")
    assert premium in get(rig, "premiumIndex")[1]
    assert get(rig, "premiumIndex", symbol="NOPE")[1]["code"] == -1121


def test_klines_of_seconds_come_by_contract_only():
    rig = make_rig()
    rig.trade(1, 1001, 250)
    rig.history.apply(rig.books.published(), rig.now_ns)
    by_pair = {"pair": "AAAUSDT", "contractType": "PERPETUAL", "interval": "1s"}
    assert get(rig, "continuousKlines", **by_pair)[1][-1][1:6] == ["100.1", "100.1", "100.1", "100.1", "0.250"]
    assert get(rig, "klines", symbol="AAAUSDT", interval="1s")[1]["code"] == -1120
    assert get(rig, "klines", symbol="AAAUSDT", interval="7m")[1]["code"] == -1120
    assert get(rig, "klines", symbol="AAAUSDT", interval="1m", limit=1501)[1]["code"] == -1130
    assert get(rig, "continuousKlines", **by_pair | {"contractType": "NEXT_QUARTER"})[1]["code"] == -1130
    assert get(rig, "klines", symbol="AAAUSDT", interval="1m", limit=1)[1][0][4] == "100.1"
    (trade,) = get(rig, "aggTrades", symbol="AAAUSDT")[1]
    assert (trade["p"], trade["q"], trade["m"]) == ("100.1", "0.250", False)
    assert get(rig, "aggTrades", symbol="AAAUSDT", fromId=1, startTime=1)[1]["code"] == -1128
    assert get(rig, "ticker/24hr", symbol="AAAUSDT")[1]["lastPrice"] == "100.1"
    assert len(get(rig, "ticker/24hr")[1]) == len(LISTINGS)


# -- security and limits -----------------------------------------------------------------------------------------------
def code_of(rig, request):
    answer = rig.send(request)
    return answer.status, json.loads(answer.body)["code"]


def test_bad_senders_are_refused_before_anything_happens():
    rig = make_rig()
    ms = rig.now_ns // MS
    good = signed("POST", "/fapi/v1/order", LIMIT, ms)
    for changed, expected in (
        (signed("POST", "/fapi/v1/order", LIMIT, ms, secret="wrong"), (400, -1022)),
        (signed("POST", "/fapi/v1/order", LIMIT, ms, key="unknown"), (401, -2015)),
        (signed("POST", "/fapi/v1/order", LIMIT, ms, key="not a key!"), (401, -2014)),
        (signed("POST", "/fapi/v1/order", LIMIT, ms - 5_001), (400, -1021)),
        (signed("POST", "/fapi/v1/order", LIMIT, ms + 1_000), (400, -1021)),
        (ApiRequest(method="POST", path="/fapi/v1/order", query=b"timestamp=1", api_key=KEY), (400, -1102)),
        (ApiRequest(method="POST", path="/fapi/v1/order", query=good.query + b"&x=1", api_key=KEY), (400, -1022)),
        (ApiRequest(method="POST", path="/fapi/v1/order", query=b"a=1&a=2", api_key=KEY), (400, -1101)),
        (ApiRequest(method="POST", path="/fapi/v1/order", query=b"a=%ff", api_key=KEY), (400, -1100)),
        (ApiRequest(method="POST", path="/fapi/v1/order", query=b"\xff", api_key=KEY), (400, -1100)),
    ):
        assert code_of(rig, changed) == expected
    assert rig.view.only.accepted == {}
    assert rig.send(good).status == 200


def test_a_signed_body_counts_like_a_query_and_the_query_wins():
    rig = make_rig()
    body = "symbol=AAAUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=98.0"
    query = f"price=99.0&timestamp={rig.now_ns // MS}"
    signature = hmac.new(SECRET.encode(), (query + body).encode(), hashlib.sha256).hexdigest()
    request = ApiRequest(
        method="POST",
        path="/fapi/v1/order",
        query=query.encode(),
        body=f"{body}&signature={signature}".encode(),
        api_key=KEY,
    )
    assert json.loads(rig.send(request).body)["price"] == "99.0"


def test_unknown_paths_and_methods_are_404_in_json():
    rig = make_rig()
    assert code_of(rig, ApiRequest(method="GET", path="/nowhere")) == (404, -5000)
    assert code_of(rig, ApiRequest(method="PATCH", path="/fapi/v1/order")) == (404, -5000)


def test_headers_count_weight_and_orders():
    rig = make_rig()
    rig.send(signed("GET", "/fapi/v3/account", {}, rig.now_ns // MS))
    answer = rig.send(signed("POST", "/fapi/v1/order", LIMIT, rig.now_ns // MS))
    headers = dict(answer.headers)
    assert headers["X-MBX-USED-WEIGHT-1M"] == "5"
    assert (headers["X-MBX-ORDER-COUNT-10S"], headers["X-MBX-ORDER-COUNT-1M"]) == ("1", "1")
    rig.wait(60_000)
    assert dict(rig.send(ApiRequest(method="GET", path="/fapi/v1/ping")).headers)["X-MBX-USED-WEIGHT-1M"] == "1"


def test_beyond_the_weight_limit_429_then_418_until_the_ban_is_over():
    rig = make_rig(weight_limit=5)
    ping = ApiRequest(method="GET", path="/fapi/v1/ping")
    statuses = [rig.send(ping).status for _ in range(20)]
    assert statuses == [200] * 5 + [429] * 10 + [418] * 5
    assert int(dict(rig.send(ping).headers)["Retry-After"]) > 0
    assert rig.send(ApiRequest(method="GET", path="/fapi/v1/ping", ip="10.0.0.9")).status == 200
    rig.wait(121_000)
    assert rig.send(ping).status == 200


def test_beyond_the_order_limit_of_ten_seconds():
    rig = make_rig()
    for _ in range(300):
        rig.order("BUY", "0")
    assert rig.order("BUY", "1") == ("refused", -1015)
    rig.wait(10_000)
    assert rig.order("BUY", "1")["status"] == "FILLED"


def test_listen_key_life():
    rig = make_rig()

    def call(method, key=KEY):
        return json.loads(rig.send(ApiRequest(method=method, path="/fapi/v1/listenKey", api_key=key)).body)

    assert call("PUT")["code"] == -1125
    assert call("POST", None)["code"] == -2014
    key = call("POST")["listenKey"]
    assert len(key) == 64
    assert call("POST")["listenKey"] == key
    assert rig.simulator.account_of(key) == "main"
    assert rig.simulator.account_of("x" * 64) is None
    rig.wait(3_000_000)
    assert call("PUT")["listenKey"] == key
    rig.wait(3_000_000)
    assert rig.simulator.account_of(key) == "main"
    rig.wait(700_000)
    assert rig.simulator.account_of(key) is None
    (expired,) = rig.heard("listenKeyExpired")
    assert expired["listenKey"] == key
    fresh = call("POST")["listenKey"]
    assert fresh != key
    assert call("DELETE") == {}
    assert call("DELETE")["code"] == -1125
    assert [event["listenKey"] for event in rig.heard("listenKeyExpired")] == [key, fresh]


# -- the WebSocket API -------------------------------------------------------------------------------------------------
