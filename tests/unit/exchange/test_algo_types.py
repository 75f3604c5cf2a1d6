"""Conditional orders of every type: stop and target limits, trailing stops, quantities. PROTOCOL.md §4.4, §12 (h)."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from tests.support.exchange_rig import make_rig

D = Decimal


def states(rig, algo):
    return [event["o"]["X"] for event in rig.heard("ALGO_UPDATE") if event["o"]["aid"] == algo["algoId"]]


def place(rig, side, kind, **params):
    common = {"algoType": "CONDITIONAL", "symbol": "AAAUSDT", "side": side, "type": kind, "quantity": "1"}
    sent = {name: value for name, value in (common | params).items() if value is not None}
    return rig.call("POST", "/fapi/v1/algoOrder", **sent)


def move(rig, ticks):
    """The market goes there, and one small print shows it."""
    rig.quote(ticks - 1, ticks + 1)
    rig.trade(1, ticks, 1)


@pytest.mark.parametrize(
    ("side", "kind", "trigger", "towards"),
    [("BUY", "STOP_MARKET", "102.0", 1021), ("SELL", "STOP_MARKET", "98.0", 979),
     ("BUY", "TAKE_PROFIT_MARKET", "98.0", 979), ("SELL", "TAKE_PROFIT_MARKET", "102.0", 1021)],
)  # fmt: skip
def test_h_a_triggered_quantity_becomes_a_market_order_of_the_same_client_id(side, kind, trigger, towards):
    rig = make_rig()
    algo = place(rig, side, kind, triggerPrice=trigger, clientAlgoId="mine")
    assert (algo["quantity"], algo["closePosition"], algo["reduceOnly"]) == ("1", False, False)
    move(rig, 1000)
    assert rig.position() == 0
    move(rig, towards)
    assert rig.position() == (1 if side == "BUY" else -1)
    assert states(rig, algo) == ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"]
    child = rig.call("GET", "/fapi/v1/order", symbol="AAAUSDT", origClientOrderId="mine")
    assert (child["type"], child["origType"], child["status"]) == ("MARKET", kind, "FILLED")
    assert (child["closePosition"], child["reduceOnly"]) == (False, False)


def test_a_stop_limit_rests_as_triggered_and_finishes_with_its_child():
    rig = make_rig()
    algo = place(rig, "BUY", "STOP", triggerPrice="102.0", price="101.0", timeInForce="GTC", clientAlgoId="mine")
    move(rig, 1021)
    read = rig.call("GET", "/fapi/v1/algoOrder", algoId=algo["algoId"])
    assert (read["algoStatus"], read["actualType"]) == ("TRIGGERED", "LIMIT")
    assert rig.call("DELETE", "/fapi/v1/algoOrder", algoId=algo["algoId"]) == ("refused", -4117)
    child = rig.call("GET", "/fapi/v1/openOrder", symbol="AAAUSDT", origClientOrderId="mine")
    assert (str(child["orderId"]), child["price"], child["stopPrice"]) == (read["actualOrderId"], "101.0", "102.0")
    move(rig, 1005)  # through its price: it fills
    assert rig.position() == 1
    assert states(rig, algo) == ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"]
    last = [event["o"] for event in rig.heard("ALGO_UPDATE")][-1]
    assert (last["act"], last["aq"], last["ap"]) == ("LIMIT", "1", "101")


def test_a_cancelled_child_finishes_its_conditional_order():
    rig = make_rig()
    algo = place(rig, "SELL", "TAKE_PROFIT", triggerPrice="102.0", price="104.0", clientAlgoId="mine")
    move(rig, 1021)
    rig.call("DELETE", "/fapi/v1/order", symbol="AAAUSDT", origClientOrderId="mine")
    assert states(rig, algo)[-1] == "FINISHED"
    assert (rig.view.only.open_orders, rig.view.only.open_algo_orders) == ({}, {})


@pytest.mark.parametrize(
    ("params", "text"),
    [({"timeInForce": "GTX", "price": "103.0"}, "maker"), ({"timeInForce": "FOK", "price": "101.0"}, "FOK"),
     ({"price": "101.0", "quantity": "900", "reduceOnly": "true"}, "ReduceOnly")],
)  # fmt: skip
def test_what_the_matching_engine_refuses_is_rejected_with_its_reason(params, text):
    rig = make_rig()
    algo = place(rig, "BUY", "STOP", triggerPrice="102.0", **params)  # no position and no margin are asked for yet
    move(rig, 1021)
    assert states(rig, algo) == ["NEW", "TRIGGERING", "REJECTED"]
    assert text in [event["o"] for event in rig.heard("ALGO_UPDATE")][-1]["rm"]


def test_price_match_is_resolved_when_it_triggers():
    rig = make_rig()
    place(rig, "BUY", "STOP", triggerPrice="102.0", priceMatch="QUEUE", clientAlgoId="mine")
    move(rig, 1021)
    child = rig.call("GET", "/fapi/v1/openOrder", symbol="AAAUSDT", origClientOrderId="mine")
    assert (child["price"], child["priceMatch"]) == ("102.0", "QUEUE")


@pytest.mark.parametrize(("side", "away", "back", "short"), [("SELL", 1100, 1089, 1090), ("BUY", 900, 909, 908)])
def test_a_trailing_stop_follows_and_triggers_at_its_distance(side, away, back, short):
    rig = make_rig()
    algo = place(rig, side, "TRAILING_STOP_MARKET", callbackRate="1")
    assert (algo["callbackRate"], algo["triggerPrice"]) == ("1", "0.0")
    middle = (1000 + away) // 2
    for ticks in (1000, middle, away, short):
        move(rig, ticks)
    assert states(rig, algo) == ["NEW"]
    move(rig, back)
    assert states(rig, algo)[-1] == "FINISHED"
    assert abs(rig.position()) == 1


def test_a_trailing_stop_waits_for_its_activation_price_and_tells_of_it_once():
    rig = make_rig()
    algo = place(rig, "SELL", "TRAILING_STOP_MARKET", callbackRate="2", activatePrice="105.0")
    move(rig, 1040)
    move(rig, 1000)  # more than two percent back, but it does not follow yet
    assert states(rig, algo) == ["NEW"]
    move(rig, 1050)
    move(rig, 1060)
    news = [event["o"]["ia"] for event in rig.heard("ALGO_UPDATE")]
    assert news == [False, True]
    move(rig, 1038)
    assert states(rig, algo)[-1] == "FINISHED"


def test_a_trailing_stop_on_the_mark_price_and_its_state_outlive_a_restart():
    rig = make_rig()
    algo = place(rig, "SELL", "TRAILING_STOP_MARKET", callbackRate="1", workingType="MARK_PRICE")
    rig.mark(1100)
    saved = json.loads(json.dumps(rig.simulator.snapshot()))
    again = make_rig(ledger=rig.ledger)
    again.now_ns = rig.now_ns
    again.simulator.restore(saved)
    again.quote(1088, 1090)  # the books have a snapshot of their own
    again.mark(1090)
    assert states(again, algo) == []
    again.mark(1089)
    assert states(again, algo)[-1] == "FINISHED"


@pytest.mark.parametrize(
    ("kind", "params", "code"),
    [
        ("STOP", {"triggerPrice": "102.0"}, -1102),
        ("STOP", {"triggerPrice": "102.0", "price": "101.0", "closePosition": "true"}, -4136),
        ("STOP", {"triggerPrice": "102.0", "price": "101.0", "priceMatch": "QUEUE"}, -1106),
        ("STOP", {"triggerPrice": "102.0", "priceMatch": "QUEUE_7"}, -5037),
        ("STOP_MARKET", {"triggerPrice": "102.0", "priceMatch": "QUEUE"}, -5038),
        ("STOP_MARKET", {"triggerPrice": "102.0", "quantity": None}, -1102),
        ("STOP_MARKET", {"triggerPrice": "102.0", "quantity": "501"}, -4005),
        ("STOP_MARKET", {"triggerPrice": "102.0", "callbackRate": "1"}, -1106),
        ("STOP_MARKET", {"triggerPrice": "102.0", "timeInForce": "GTE_GTC"}, -4509),
        ("STOP_MARKET", {"triggerPrice": "102.0", "timeInForce": "GTD"}, -1102),
        ("STOP_MARKET", {"triggerPrice": "102.0", "selfTradePreventionMode": "ALL"}, -5039),
        ("TRAILING_STOP_MARKET", {"callbackRate": "1", "triggerPrice": "102.0"}, -2021),
        ("TRAILING_STOP_MARKET", {}, -1102),
        ("TRAILING_STOP_MARKET", {"callbackRate": "0.05"}, -1130),
        ("TRAILING_STOP_MARKET", {"callbackRate": "20.1"}, -1130),
        ("TRAILING_STOP_MARKET", {"callbackRate": "1", "activatePrice": "101.0"}, -4135),
    ],
)
def test_parameters_of_each_type_are_checked(kind, params, code):
    assert place(make_rig(), "BUY", kind, **params) == ("refused", code)


def test_cancelling_all_leaves_other_symbols_alone_and_the_past_can_be_read():
    rig = make_rig()
    rig.order("BUY", "1", "99.0")
    mine = [place(rig, "BUY", "STOP_MARKET", triggerPrice=price) for price in ("102.0", "103.0")]
    other = place(rig, "BUY", "STOP_MARKET", triggerPrice="103.0", symbol="BBBUSDT")
    answer = rig.call("DELETE", "/fapi/v1/algoOpenOrders", symbol="AAAUSDT")
    assert answer["code"] == 200  # a number here, and "200" for a single one
    assert set(rig.view.only.open_algo_orders) == {other["algoId"]}
    assert len(rig.view.only.open_orders) == 1
    rows = rig.call("GET", "/fapi/v1/allAlgoOrders", symbol="AAAUSDT")
    assert [(row["algoId"], row["algoStatus"]) for row in rows] == [(row["algoId"], "CANCELED") for row in mine]
    assert len(rig.call("GET", "/fapi/v1/allAlgoOrders", symbol="AAAUSDT", algoId=mine[1]["algoId"])) == 1
