"""Order types, times in force and changes of the exchange, by the letters of PROTOCOL.md §12 that they answer."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from aegis.exchange.api import ApiRequest
from tests.support.exchange_rig import MS, START_NS, make_rig, signed

D = Decimal
BATCH = "/fapi/v1/batchOrders"


def modify(rig, order, price, quantity, **more):
    return rig.call(
        "PUT", "/fapi/v1/order", symbol="AAAUSDT", orderId=order["orderId"], side=order["side"], price=price,
        quantity=quantity, **more,
    )  # fmt: skip


def read(rig, order):
    return rig.call("GET", "/fapi/v1/order", symbol="AAAUSDT", orderId=order["orderId"])


def executions(rig, order):
    return [event["o"]["x"] for event in rig.heard("ORDER_TRADE_UPDATE") if event["o"]["i"] == order["orderId"]]


# ------------------------------------------------------------------------------------------------------- modification


def test_g_a_modified_order_has_no_average_price_and_tells_what_was_changed():
    rig = make_rig()
    order = rig.order("BUY", "1", "99.0")
    changed = modify(rig, order, "98.0", "2", modifyId=5)
    assert (changed["price"], changed["origQty"], changed["modifyId"]) == ("98.0", "2.000", 5)
    assert not {"avgPrice", "cumQuote"} & set(changed)
    assert {"avgPrice", "cumQuote"} <= set(read(rig, order))
    (row,) = rig.call("GET", "/fapi/v1/orderAmendment", symbol="AAAUSDT", orderId=order["orderId"])
    assert row["amendment"]["price"] == {"before": "99.0", "after": "98.0"}
    assert row["amendment"]["origQty"] == {"before": "1.000", "after": "2.000"}
    assert executions(rig, order) == ["NEW", "AMENDMENT"]
    event = [event["o"] for event in rig.heard("ORDER_TRADE_UPDATE")][-1]
    assert (event["M"], event["X"], event["V"]) == ("5", "NEW", "NONE")
    assert D(rig.view.only.open_orders[order["orderId"]]["qty"]) == 2


def test_f_a_refused_change_leaves_the_order_and_its_place_as_they_were():
    rig = make_rig()
    first, second = rig.order("BUY", "1", "99.9"), rig.order("BUY", "1", "99.9")
    for price, quantity, code in (
        ("99.9", "1", -5027), ("99.95", "1", -1111), ("20.0", "0.001", -5029), ("98", "0.0001", -4004),
        ("104.0", "1000", -2027), ("110.0", "1", -4016),
    ):  # fmt: skip
        assert modify(rig, first, price, quantity) == ("refused", code)
    assert modify(rig, first, "98.0", "1", reduceOnly="true") == ("refused", -5047)
    rig.trade(-1, 998, 6_000)  # what was ahead of them, and one of the two
    assert read(rig, first)["executedQty"] != "0.000"
    assert D(read(rig, first)["executedQty"]) >= D(read(rig, second)["executedQty"])


def test_a_modified_order_goes_to_the_back_of_the_queue():
    rig = make_rig()
    first, second = rig.order("BUY", "1", "99.0"), rig.order("BUY", "1", "99.0")
    modify(rig, first, "99.0", "1.5")
    assert [order["orderId"] for order in rig.call("GET", "/fapi/v1/openOrders", symbol="AAAUSDT")] == [
        second["orderId"], first["orderId"],
    ]  # fmt: skip


def test_a_change_that_crosses_takes_and_a_crossing_post_only_order_is_cancelled():
    rig = make_rig()
    plain, maker = rig.order("BUY", "1", "99.0"), rig.order("BUY", "1", "99.0", tif="GTX")
    modify(rig, plain, "100.1", "1")
    assert (read(rig, plain)["status"], rig.position()) == ("FILLED", 1)
    assert modify(rig, maker, "100.2", "1")["status"] == "CANCELED"
    assert rig.view.only.open_orders == {}


def test_a_change_below_what_is_filled_cancels():
    rig = make_rig()
    order = rig.order("BUY", "6", "100.1")  # five are displayed
    filled = D(read(rig, order)["executedQty"])
    assert 0 < filled < 6
    assert modify(rig, order, "100.1", str(filled))["status"] == "CANCELED"


# --------------------------------------------------------------------------------- times in force, price match, batch


def test_a_good_till_date_order_ends_at_its_second():
    rig = make_rig()
    now_ms = rig.now_ns // MS
    assert rig.order("BUY", "1", "99.0", tif="GTD", goodTillDate=now_ms + 600_000) == ("refused", -5040)
    assert rig.order("BUY", "1", "99.0", goodTillDate=now_ms + 700_000) == ("refused", -1106)
    order = rig.order("BUY", "1", "99.0", tif="GTD", goodTillDate=now_ms + 700_999)
    assert order["goodTillDate"] == (now_ms + 700_999) // 1000 * 1000
    rig.wait(order["goodTillDate"] - rig.now_ns // MS - 1)
    assert read(rig, order)["status"] == "NEW"
    rig.wait(2)
    assert read(rig, order)["status"] == "EXPIRED"
    assert rig.view.only.open_orders == {}


@pytest.mark.parametrize(
    ("match", "price"), [("QUEUE", "99.9"), ("QUEUE_5", "99.5"), ("OPPONENT", "100.1"), ("OPPONENT_5", "100.5")]
)
def test_price_match_takes_the_price_of_a_displayed_level(match, price):
    rig = make_rig()
    order = rig.call(
        "POST", "/fapi/v1/order", symbol="AAAUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.1",
        priceMatch=match,
    )  # fmt: skip
    assert (order["price"], order["priceMatch"]) == (price, match)


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"priceMatch": "QUEUE", "price": "99.0"}, -1106), ({"priceMatch": "OPPONENT_10"}, -5037),
     ({"type": "MARKET", "timeInForce": "", "priceMatch": "QUEUE"}, -5038)],
)  # fmt: skip
def test_price_match_is_refused(changes, code):
    rig = make_rig()
    plain = {"symbol": "AAAUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1"}
    assert rig.call("POST", "/fapi/v1/order", **(plain | changes)) == ("refused", code)


@pytest.mark.parametrize(
    ("mode", "taker", "maker"),
    [("EXPIRE_TAKER", "EXPIRED_IN_MATCH", "NEW"), ("EXPIRE_BOTH", "EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH"),
     ("EXPIRE_MAKER", "FILLED", "EXPIRED_IN_MATCH")],
)  # fmt: skip
def test_self_trade_prevention_ends_who_the_takers_mode_says(mode, taker, maker):
    rig = make_rig()
    resting = rig.order("SELL", "1", "100.2")
    taking = rig.order("BUY", "6", "100.3", selfTradePreventionMode=mode)
    assert (read(rig, taking)["status"], read(rig, resting)["status"]) == (taker, maker)
    worst = {"EXPIRE_MAKER": "100.2"}.get(mode, "100.1")
    assert max(D(fill["price"]) for fill in rig.view.only.fills) == D(worst)


def test_r_a_batch_answers_each_row_by_itself_and_counts_five():
    rig = make_rig()
    row = {"symbol": "AAAUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1"}
    rows = [row | {"price": "99.0", "newClientOrderId": "a"}, row | {"price": "50.0"}, row | {"price": 200.0}]
    request = signed("POST", BATCH, {"batchOrders": json.dumps(rows)}, rig.now_ns // MS)
    answer = rig.send(request)
    headers = dict(answer.headers)
    assert (headers["X-MBX-ORDER-COUNT-10S"], headers["X-MBX-ORDER-COUNT-1M"]) == ("5", "1")
    made = json.loads(answer.body)
    assert [row.get("code") for row in made] == [None, None, -4016]
    assert rig.view.only.accepted["a"] == 1
    gone = rig.call("DELETE", BATCH, symbol="AAAUSDT", orderIdList=json.dumps([made[0]["orderId"], 999]))
    assert (gone[0]["status"], gone[1]["code"]) == ("CANCELED", -2011)
    assert list(rig.view.only.open_orders) == [made[1]["orderId"]]
    changes = [{"symbol": "AAAUSDT", "orderId": made[1]["orderId"], "side": "BUY", "quantity": "2", "price": "51"}]
    assert rig.call("PUT", BATCH, batchOrders=json.dumps(changes))[0]["origQty"] == "2.000"


@pytest.mark.parametrize(("value", "code"), [("[]", -4082), ("{}", -1130), ("[1]", -1130), ("[", -1130), ("", -1102)])
def test_a_malformed_batch_is_refused_whole(value, code):
    assert make_rig().call("POST", BATCH, batchOrders=value) == ("refused", code)
    too_many = json.dumps([{}] * 6)
    assert make_rig().call("POST", BATCH, batchOrders=too_many) == ("refused", -4082)


def test_a_test_order_changes_nothing_but_is_checked():
    rig = make_rig()
    order = {"symbol": "AAAUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1"}
    assert rig.call("POST", "/fapi/v1/order/test", **order, price="99.0")["status"] == "NEW"
    assert rig.call("POST", "/fapi/v1/order/test", **order, price="200.0") == ("refused", -4016)
    assert (rig.view.only.open_orders, rig.call("GET", "/fapi/v1/allOrders")) == ({}, [])


def test_n_the_countdown_cancels_the_orders_of_its_symbol_and_no_algo_order():
    rig = make_rig()
    mine, other = rig.order("BUY", "1", "99.0"), rig.order("BUY", "1", "99.0", symbol="BBBUSDT")
    rig.algo("BUY", "STOP_MARKET", "102.0", closePosition="false", quantity="1")
    path = "/fapi/v1/countdownCancelAll"
    assert rig.call("POST", path, symbol="AAAUSDT", countdownTime=1_000)["countdownTime"] == "1000"
    rig.wait(900)
    rig.call("POST", path, symbol="AAAUSDT", countdownTime=1_000)  # in time
    rig.wait(900)
    assert mine["orderId"] in rig.view.only.open_orders
    rig.wait(101)
    assert list(rig.view.only.open_orders) == [other["orderId"]]
    assert len(rig.view.only.open_algo_orders) == 1
    rig.call("POST", path, symbol="BBBUSDT", countdownTime=1_000)
    rig.call("POST", path, symbol="BBBUSDT", countdownTime=0)
    rig.wait(2_000)
    assert list(rig.view.only.open_orders) == [other["orderId"]]


def test_countdowns_and_dates_outlive_a_restart():
    rig = make_rig()
    order = rig.order("BUY", "1", "99.0")
    rig.call("POST", "/fapi/v1/countdownCancelAll", symbol="AAAUSDT", countdownTime=5_000)
    modify(rig, order, "98.0", "2")
    saved = json.loads(json.dumps(rig.simulator.snapshot()))
    again = make_rig(ledger=rig.ledger)
    again.now_ns = rig.now_ns
    again.simulator.restore(saved)
    assert len(again.call("GET", "/fapi/v1/orderAmendment", symbol="AAAUSDT", orderId=order["orderId"])) == 1
    again.wait(6_000 + (rig.now_ns - START_NS) / MS)
    assert again.view.only.open_orders == {}


def test_reads_of_all_orders_are_bounded_by_time_and_id():
    rig = make_rig()
    orders = [rig.order("BUY", "1", price) for price in ("99.0", "98.0", "97.0")]
    rows = rig.call("GET", "/fapi/v1/allOrders", symbol="AAAUSDT", orderId=orders[1]["orderId"])
    assert [row["orderId"] for row in rows] == [order["orderId"] for order in orders[1:]]
    assert len(rig.call("GET", "/fapi/v1/allOrders", limit=2)) == 2
    week = {"startTime": 1, "endTime": 2 + 7 * 86_400_000}
    assert rig.call("GET", "/fapi/v1/allOrders", **week) == ("refused", -1130)
    unsigned = ApiRequest(method="GET", path="/fapi/v1/allOrders")
    assert json.loads(rig.send(unsigned).body)["code"] == -2014
