"""PROTOCOL.md §12, the letters of the trading side: each line of the checklist once, through the API alone.

Every rule has tests of its own in tests/unit/exchange, which go into its corners.
"""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from urllib.parse import urlencode

import pytest

from aegis.exchange.latency import Latency
from aegis.exchange.security import AccountSetup
from aegis.exchange.simulator import ApiRequest
from aegis.kernels.books import FUNDING_INTERVAL_MS
from tests.support.exchange_rig import KEY, MS, SECRET, make_rig, signed

D = Decimal
SLOW = Latency(median_ms=30.0, p99_ms=150.0)
ORDER = {"symbol": "AAAUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "99.0"}


def answer(rig, request):
    got = rig.send(request)
    return got.status, json.loads(got.body), dict(got.headers)


# -- (e) ---------------------------------------------------------------------------------------------------------------
def test_12e_the_signature_is_over_the_raw_bytes_and_last():
    rig = make_rig()
    ms = rig.now_ns // MS
    good = signed("POST", "/fapi/v1/order/test", ORDER, ms)
    assert answer(rig, good)[0] == 200
    query, _, signature = good.query.partition(b"&signature=")
    reordered = b"&".join(reversed(query.split(b"&"))) + b"&signature=" + signature
    early = b"signature=" + signature + b"&" + query
    escaped = query.replace(b"AAAUSDT", b"%41AAUSDT") + b"&signature=" + signature  # decodes to the same
    for wrong in (reordered, early, escaped, query + b"&signature=" + b"0" * 64):
        request = ApiRequest(method="POST", path="/fapi/v1/order/test", query=wrong, api_key=KEY)
        assert answer(rig, request)[:2] == (400, {"code": -1022, "msg": "Signature for this request is not valid."})


@pytest.mark.parametrize(("offset_ms", "window", "code"), [(999, 5000, 0), (1000, 5000, -1021), (-5000, 5000, 0),
                                                           (-5001, 5000, -1021), (-50, 20, -1021)])  # fmt: skip
def test_12e_the_timestamp_fits_the_window_on_both_sides(offset_ms, window, code):
    rig = make_rig()
    ms = rig.now_ns // MS + offset_ms
    status, body, _ = answer(rig, signed("GET", "/fapi/v3/balance", {"recvWindow": window}, ms))
    assert (status, 0 if status == 200 else body["code"]) == ((200, 0) if code == 0 else (400, code))


@pytest.mark.parametrize(("key", "code"), [(None, -2014), ("not a key!", -2014), ("z" * 64, -2015)])
def test_12e_a_key_that_is_none_or_of_nobody(key, code):
    rig = make_rig()
    query = urlencode({"timestamp": rig.now_ns // MS, "signature": "0" * 64}).encode()
    status, body, _ = answer(rig, ApiRequest(method="GET", path="/fapi/v3/balance", query=query, api_key=key))
    assert (status, body["code"]) == (401, code)


# -- (f) ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "code"),
    [({"price": "0.05"}, -4013), ({"price": "20000"}, -4002), ({"price": "99.05"}, -1111), ({"quantity": "0"}, -4003),
     ({"quantity": "0.0001"}, -4004), ({"quantity": "1001"}, -4005), ({"quantity": "1.0005"}, -1111),
     ({"price": "105.1"}, -4016), ({"side": "SELL", "price": "94.9"}, -4024), ({"quantity": "0.05"}, -4164)],
)  # fmt: skip
def test_12f_each_filter_refuses_with_its_code(changes, code):
    rig = make_rig()
    assert rig.call("POST", "/fapi/v1/order", **(ORDER | changes)) == ("refused", code)
    assert rig.view.only.open_orders == {}


def test_12f_percent_price_is_measured_from_the_mark_not_from_the_last_price():
    rig = make_rig()
    rig.mark(980)
    assert rig.call("POST", "/fapi/v1/order", **ORDER | {"price": "102.9"})["status"] == "NEW"
    assert rig.call("POST", "/fapi/v1/order", **ORDER | {"price": "103.0"}) == ("refused", -4016)


# -- (g) ---------------------------------------------------------------------------------------------------------------
def test_12g_what_left_the_answers_of_changes_is_in_the_reads():
    rig = make_rig()
    placed = rig.call("POST", "/fapi/v1/order", **ORDER, newClientOrderId="a")
    known = {"symbol": "AAAUSDT", "origClientOrderId": "a"}
    changed = rig.call("PUT", "/fapi/v1/order", **known, side="BUY", quantity="2", price="98.0")
    read = [rig.call("GET", "/fapi/v1/order", **known), rig.call("GET", "/fapi/v1/openOrders")[0]]
    cancelled = rig.call("DELETE", "/fapi/v1/order", **known)
    for shape in (placed, changed, cancelled):
        assert not {"avgPrice", "cumQuote"} & set(shape)
        assert "cumQty" in shape
    for shape in read:
        assert {"avgPrice", "cumQuote", "time"} <= set(shape)
        assert "cumQty" not in shape


# -- (h) ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"])
def test_12h_the_order_endpoint_sends_conditional_types_to_the_algo_service(kind):
    rig = make_rig()
    asked = {"symbol": "AAAUSDT", "side": "SELL", "type": kind, "quantity": "1", "stopPrice": "95.0"}
    assert rig.call("POST", "/fapi/v1/order", **asked) == ("refused", -4120)


def test_12h_an_algo_order_goes_through_its_states_with_delays_and_lends_its_child_its_id():
    rig = make_rig(latency=SLOW)
    rig.order("BUY", "1")
    rig.algo("SELL", "STOP_MARKET", "99.0", clientAlgoId="stop")
    rig.trade(-1, 990, 10)
    path, known = "/fapi/v1/algoOrder", {"clientAlgoId": "stop"}
    assert rig.call("GET", path, **known)["algoStatus"] == "TRIGGERING"
    rig.wait(5_000)
    algo = rig.call("GET", path, **known)
    assert (algo["algoStatus"], algo["actualQty"]) == ("FINISHED", "1")
    updates = [event for event in rig.heard("ALGO_UPDATE") if event["o"]["caid"] == "stop"]
    assert [event["o"]["X"] for event in updates] == ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"]
    assert updates[1]["T"] < updates[2]["T"]
    assert [event["o"]["ai"] for event in updates] == ["", "", algo["actualOrderId"], algo["actualOrderId"]]
    child = next(event["o"] for event in rig.heard("ORDER_TRADE_UPDATE") if event["o"]["c"] == "stop")
    assert str(child["i"]) == algo["actualOrderId"]


def test_12h_the_childs_event_comes_before_and_after_the_algo_orders():
    firsts = set()
    for seed in range(25):
        rig = make_rig(latency=SLOW, seed=seed)
        rig.order("BUY", "1")
        rig.algo("SELL", "STOP_MARKET", "99.0", clientAlgoId="stop")
        rig.trade(-1, 990, 10)
        rig.wait(5_000)
        kinds = [
            event["e"]
            for _, event in rig.events
            if event.get("o", {}).get("c") == "stop" or event.get("o", {}).get("X") == "TRIGGERED"
        ]
        firsts.add(kinds[0])
    assert firsts == {"ORDER_TRADE_UPDATE", "ALGO_UPDATE"}


# -- (i) ---------------------------------------------------------------------------------------------------------------
def test_12i_three_events_tell_of_a_fill_in_any_order():
    firsts = Counter()
    for seed in range(30):
        rig = make_rig(latency=SLOW, seed=seed)
        rig.order("BUY", "1")
        rig.wait(5_000)
        told = [event for _, event in rig.events if event.get("o", {}).get("x") != "NEW"]
        assert {event["e"] for event in told} == {"TRADE_LITE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"}
        assert len(told) == 3
        firsts[told[0]["e"]] += 1
    assert len(firsts) == 3


# -- (k) ---------------------------------------------------------------------------------------------------------------
def test_12k_weight_and_order_counts_are_in_the_headers_and_a_broken_limit_is_429_then_418():
    rig = make_rig(weight_limit=60, orders_10s=2)
    ms = rig.now_ns // MS
    _, _, headers = answer(rig, signed("POST", "/fapi/v1/order", ORDER, ms))
    assert (headers["X-MBX-ORDER-COUNT-10S"], headers["X-MBX-ORDER-COUNT-1M"]) == ("1", "1")
    assert answer(rig, signed("POST", "/fapi/v1/order", ORDER, ms))[0] == 200
    status, body, _ = answer(rig, signed("POST", "/fapi/v1/order", ORDER, ms))
    assert (status, body["code"]) == (429, -1015)
    read = signed("GET", "/fapi/v3/account", {}, ms)
    used = [int(answer(rig, read)[2]["X-MBX-USED-WEIGHT-1M"]) for _ in range(3)]
    assert [after - before for before, after in pairwise(used)] == [5, 5]
    statuses = []
    while 418 not in statuses:
        status, body, _ = answer(rig, read)
        statuses.append(status)
        assert status == 200 or body["code"] == -1003
        assert len(statuses) < 200
    assert statuses == sorted(statuses, key=(200, 429, 418).index)
    assert set(statuses) == {200, 429, 418}


# -- (m) ---------------------------------------------------------------------------------------------------------------
def test_12m_funding_liquidation_and_adl_are_told_with_their_reasons_and_ids():
    other = AccountSetup(id="other", api_key="o" * 64, secret="o", wallet=D(1_000))
    main = AccountSetup(id="main", api_key=KEY, secret=SECRET, wallet=D(1_000))
    rig = make_rig(accounts=(main, other), insurance=D(0))
    rig.call("POST", "/fapi/v1/marginType", symbol="AAAUSDT", marginType="ISOLATED")
    rig.call("POST", "/fapi/v1/leverage", symbol="AAAUSDT", leverage=50)
    rig.order("BUY", "2")
    rig.order("SELL", "1", "104.0")
    sell = {"symbol": "AAAUSDT", "side": "SELL", "type": "MARKET", "quantity": "2"}
    assert rig.call("POST", "/fapi/v1/order", other.api_key, "o", **sell)["status"] == "NEW"
    now_ms = rig.now_ns // MS
    rig.wait((now_ms // FUNDING_INTERVAL_MS + 1) * FUNDING_INTERVAL_MS - now_ms)
    rig.quote(960, 961)
    rig.mark(960)
    rig.wait(1_000)
    reasons = {(account, event["a"]["m"]) for account, event in rig.events if event["e"] == "ACCOUNT_UPDATE"}
    assert {("main", "FUNDING_FEE"), ("other", "FUNDING_FEE")} <= reasons
    kinds = {"autoclose-": "main", "adl_autoclose": "other"}
    for prefix, owner in kinds.items():
        told = [
            (account, event["o"]["x"])
            for account, event in rig.events
            if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["c"].startswith(prefix)
        ]
        assert {account for account, _ in told} == {owner}
        assert told[0][1] == "NEW"
        assert told[-1][1] == "CALCULATED"
    assert ("104", "EXPIRED", "5") in {
        (event["o"]["p"], event["o"]["X"], event["o"]["er"])
        for _, event in rig.events
        if event["e"] == "ORDER_TRADE_UPDATE"
    }


# -- (n) ---------------------------------------------------------------------------------------------------------------
def test_12n_the_countdown_ends_its_symbols_orders_and_leaves_algo_orders_alone():
    rig = make_rig()
    rig.order("BUY", "1", "98.0")
    rig.order("BUY", "1", "98.0", symbol="BBBUSDT")
    rig.algo("SELL", "STOP_MARKET", "90.0", closePosition="false", quantity="1")
    path = "/fapi/v1/countdownCancelAll"
    told = rig.call("POST", path, symbol="AAAUSDT", countdownTime=1_000)
    assert told == {"symbol": "AAAUSDT", "countdownTime": "1000"}
    rig.wait(900)
    rig.call("POST", path, symbol="AAAUSDT", countdownTime=1_000)
    rig.wait(900)
    assert len(rig.call("GET", "/fapi/v1/openOrders")) == 2
    rig.wait(150)
    assert [row["symbol"] for row in rig.call("GET", "/fapi/v1/openOrders")] == ["BBBUSDT"]
    assert len(rig.call("GET", "/fapi/v1/openAlgoOrders")) == 1


# -- (o) ---------------------------------------------------------------------------------------------------------------
def test_12o_one_account_in_hedge_mode_beside_one_in_one_way_mode():
    other = AccountSetup(id="other", api_key="o" * 64, secret="o")
    rig = make_rig(accounts=(AccountSetup(id="main", api_key=KEY, secret=SECRET), other))
    rig.call("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
    rig.order("BUY", "2", positionSide="LONG")
    rig.order("SELL", "1", positionSide="SHORT")
    for side, quantity in (("BUY", "2"), ("SELL", "3")):
        order = {"symbol": "AAAUSDT", "side": side, "type": "MARKET", "quantity": quantity}
        rig.call("POST", "/fapi/v1/order", other.api_key, "o", **order)
    hedged = {row["positionSide"]: row["positionAmt"] for row in rig.call("GET", "/fapi/v3/positionRisk")}
    (plain,) = rig.call("GET", "/fapi/v3/positionRisk", other.api_key, "o")
    assert hedged == {"LONG": "2", "SHORT": "-1"}
    assert (plain["positionSide"], plain["positionAmt"]) == ("BOTH", "-1")


# -- (q) ---------------------------------------------------------------------------------------------------------------
def test_12q_some_symbols_number_their_orders_beyond_what_a_float_holds():
    rig = make_rig()
    ids = [rig.order("BUY", "1", "98.0", symbol=symbol)["orderId"] for symbol in ("DDDUSDT", "DDDUSDT", "AAAUSDT")]
    assert 2**53 < ids[0] < ids[1] < 2**63
    assert float(ids[0]) == float(ids[1])
    assert ids[2] < 2**53
    known = {"symbol": "DDDUSDT", "orderId": ids[1]}
    assert rig.call("GET", "/fapi/v1/order", **known)["orderId"] == ids[1]
    assert rig.call("DELETE", "/fapi/v1/order", **known)["orderId"] == ids[1]
    assert rig.call("GET", "/fapi/v1/order", symbol="DDDUSDT", orderId=ids[0])["status"] == "NEW"


# -- (r) ---------------------------------------------------------------------------------------------------------------
def test_12r_success_is_the_number_200_here_and_the_text_200_there():
    rig = make_rig()
    algo = rig.algo("SELL", "STOP_MARKET", "90.0", closePosition="false", quantity="1")
    assert rig.call("DELETE", "/fapi/v1/algoOrder", algoId=algo["algoId"])["code"] == "200"
    for path in ("algoOpenOrders", "allOpenOrders"):
        assert rig.call("DELETE", f"/fapi/v1/{path}", symbol="AAAUSDT")["code"] == 200
    kind = rig.call("POST", "/fapi/v1/marginType", symbol="AAAUSDT", marginType="ISOLATED")
    assert kind == {"code": 200, "msg": "success"}
