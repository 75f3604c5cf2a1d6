"""closePosition stops and targets: placement, triggering, siblings, events."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aegis.core.errors import InvariantBroken
from aegis.core.values import AlgoStatus
from aegis.exchange.latency import Latency
from tests.support.exchange_rig import MS, make_rig

D = Decimal


def long_rig(**more):
    rig = make_rig(**more)
    rig.order("BUY", "2")
    return rig


def states(rig, client_id):
    return [event["o"]["X"] for event in rig.heard("ALGO_UPDATE") if event["o"]["caid"] == client_id]


def crash(rig, ticks=970):
    """The quote falls and one small print shows it."""
    rig.quote(ticks, ticks + 2)
    rig.trade(-1, ticks, 1)
    rig.wait(1)


@pytest.mark.parametrize(
    ("side", "position", "kind", "trigger", "code"),
    [
        ("SELL", "BUY", "STOP_MARKET", "100.1", -2021),  # our own buy printed there: reached already
        ("SELL", "BUY", "STOP_MARKET", "101.0", -2021),
        ("SELL", "BUY", "TAKE_PROFIT_MARKET", "99.0", -2021),
        ("BUY", "SELL", "STOP_MARKET", "99.0", -2021),
        ("BUY", "SELL", "TAKE_PROFIT_MARKET", "101.0", -2021),
        ("BUY", "BUY", "STOP_MARKET", "103.0", -4509),  # nothing to close on that side
        ("SELL", None, "STOP_MARKET", "98.0", -4509),
    ],
)
def test_placement_is_refused(side, position, kind, trigger, code):
    rig = make_rig()
    rig.trade(1, 1000, 1)
    if position:
        rig.order(position, "2")
        rig.trade(1, 1000, 1)
    assert rig.algo(side, kind, trigger) == ("refused", code)
    assert rig.call("GET", "/fapi/v1/openAlgoOrders") == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"closePosition": "false"}, -1102),
        ({"type": "STOP"}, -4136),
        ({"type": "TRAILING_STOP_MARKET"}, -4136),
        ({"type": "LIMIT"}, -1116),
        ({"quantity": "1"}, -4137),
        ({"reduceOnly": "true"}, -1106),
        ({"price": "98"}, -1106),
        ({"triggerPrice": "98.05"}, -1111),
        ({"triggerPrice": "0.01"}, -4013),
        ({"triggerPrice": "20000"}, -4002),
        ({"triggerPrice": ""}, -1102),
        ({"workingType": "INDEX"}, -1130),
        ({"algoType": "TWAP"}, -1130),
        ({"clientAlgoId": "ä"}, -4015),
        ({"symbol": "NOPE"}, -1121),
        ({"symbol": "CCCUSDT"}, -4141),
    ],
)
def test_parameters_of_a_conditional_order_are_checked(changes, code):
    rig = long_rig()
    plain = {"algoType": "CONDITIONAL", "symbol": "AAAUSDT", "side": "SELL", "type": "STOP_MARKET",
             "triggerPrice": "98.0", "closePosition": "true"}  # fmt: skip
    assert rig.call("POST", "/fapi/v1/algoOrder", **(plain | changes)) == ("refused", code)


def test_one_of_each_kind_a_side_and_unique_client_ids():
    rig = long_rig()
    assert rig.algo("SELL", "STOP_MARKET", "98.0", clientAlgoId="s")["algoStatus"] == "NEW"
    assert rig.algo("SELL", "STOP_MARKET", "97.0") == ("refused", -4130)
    assert rig.algo("SELL", "TAKE_PROFIT_MARKET", "105.0", clientAlgoId="s") == ("refused", -4116)
    assert rig.algo("SELL", "TAKE_PROFIT_MARKET", "105.0", clientAlgoId="t")["algoStatus"] == "NEW"
    assert [row["clientAlgoId"] for row in rig.call("GET", "/fapi/v1/openAlgoOrders", symbol="AAAUSDT")] == ["s", "t"]
    assert set(rig.view.only.open_algo_orders) == {row["algoId"] for row in rig.call("GET", "/fapi/v1/openAlgoOrders")}


def test_a_stop_closes_at_the_quote_after_its_trigger_and_its_sibling_expires():
    rig = long_rig()
    stop = rig.algo("SELL", "STOP_MARKET", "98.0", clientAlgoId="stop", workingType="CONTRACT_PRICE")
    rig.algo("SELL", "TAKE_PROFIT_MARKET", "105.0", clientAlgoId="target")
    crash(rig)
    assert rig.position() == 0
    assert states(rig, "stop") == ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"]
    assert states(rig, "target") == ["NEW", "EXPIRED"]
    child = rig.call("GET", "/fapi/v1/order", symbol="AAAUSDT", origClientOrderId="stop")
    assert (child["type"], child["origType"], child["closePosition"]) == ("MARKET", "STOP_MARKET", True)
    assert (child["status"], child["avgPrice"]) == ("FILLED", "97")  # the bid of the moment, not the trigger
    read = rig.call("GET", "/fapi/v1/algoOrder", algoId=stop["algoId"])
    assert (read["algoStatus"], read["actualOrderId"], read["actualPrice"]) == ("FINISHED", str(child["orderId"]), "97")
    assert rig.view.only.open_algo_orders == {}
    last = [event["o"] for event in rig.heard("ALGO_UPDATE") if event["o"]["caid"] == "stop"][-1]
    assert (last["ai"], last["ap"], last["aq"], last["act"]) == (str(child["orderId"]), "97", "2", "MARKET")


def test_a_stop_travels_before_it_meets_the_book():
    rig = make_rig(latency=Latency(median_ms=50.0, p99_ms=50.0))
    rig.order("BUY", "2")
    rig.algo("SELL", "STOP_MARKET", "98.0", clientAlgoId="stop")
    rig.quote(975, 977)
    rig.trade(-1, 979, 1)
    rig.wait(20)
    rig.quote(960, 962)  # the market falls on while the order travels
    assert rig.position() == 2
    rig.wait(60)
    assert rig.position() == 0
    assert rig.view.only.fills[-1]["price"] == "96.0"


def test_a_target_of_a_short_triggers_on_a_falling_price():
    rig = make_rig()
    rig.order("SELL", "2")
    rig.algo("BUY", "TAKE_PROFIT_MARKET", "98.0", clientAlgoId="t")
    rig.algo("BUY", "STOP_MARKET", "102.0", clientAlgoId="s")
    crash(rig, 980)
    assert rig.position() == 0
    assert states(rig, "t")[-1] == "FINISHED"
    assert states(rig, "s")[-1] == "EXPIRED"
    assert rig.view.only.realized > 0


def test_quotes_alone_do_not_trigger_the_contract_price():
    rig = long_rig()
    rig.algo("SELL", "STOP_MARKET", "98.0")
    rig.quote(970, 972)
    rig.mark(970)
    rig.wait(100)
    assert rig.position() == 2


def test_the_mark_price_triggers_what_works_on_it_and_nothing_else():
    rig = long_rig()
    rig.algo("SELL", "STOP_MARKET", "98.0", workingType="MARK_PRICE", clientAlgoId="m")
    rig.quote(970, 972)
    rig.trade(-1, 970, 1)
    rig.wait(1)
    assert rig.position() == 2
    rig.mark(980.1)
    rig.wait(1)
    assert rig.position() == 2
    rig.mark(980)
    rig.wait(1)
    assert rig.position() == 0


def test_our_own_order_can_trigger_our_own_stop():
    rig = long_rig()
    rig.algo("SELL", "STOP_MARKET", "99.8", clientAlgoId="s")
    rig.order("SELL", "1.5", "99.0", "IOC")
    assert rig.position() == D("0.5")  # that filled at 99.9
    rig.order("SELL", "4", "99.0", "IOC", newClientOrderId="turn")
    rig.wait(1)
    assert states(rig, "s")[-1] == "EXPIRED"
    assert rig.position() == D("-3.5")


def test_price_protection_holds_a_trigger_back_while_last_and_mark_are_far_apart():
    rig = long_rig()
    rig.algo("SELL", "STOP_MARKET", "98.0", priceProtect="true", clientAlgoId="p")
    rig.quote(940, 942)
    rig.trade(-1, 940, 1)  # 6 % below the mark; the symbol allows 5 %
    rig.wait(1)
    assert rig.position() == 2
    rig.mark(950)
    rig.trade(-1, 940, 1)
    rig.wait(1)
    assert rig.position() == 0


def test_siblings_expire_when_the_position_is_closed_by_another_order():
    rig = long_rig()
    rig.algo("SELL", "STOP_MARKET", "98.0", clientAlgoId="s")
    rig.algo("SELL", "TAKE_PROFIT_MARKET", "105.0", clientAlgoId="t")
    rig.order("SELL", "1", reduceOnly="true")
    assert len(rig.call("GET", "/fapi/v1/openAlgoOrders")) == 2
    rig.order("SELL", "1", reduceOnly="true")
    assert rig.call("GET", "/fapi/v1/openAlgoOrders") == []
    assert states(rig, "s") == states(rig, "t") == ["NEW", "EXPIRED"]


def test_a_triggered_order_that_finds_no_position_is_rejected_with_a_reason():
    rig = make_rig(latency=Latency(median_ms=50.0, p99_ms=50.0))
    rig.order("BUY", "2")
    rig.algo("SELL", "STOP_MARKET", "98.0", clientAlgoId="s")
    rig.order("SELL", "2", "100.3")  # waits in the book
    rig.quote(978, 980)
    rig.trade(-1, 979, 1)
    rig.trade(1, 1010, 50_000)  # and is filled while the stop is on its way
    rig.wait(200)
    assert states(rig, "s") == ["NEW", "TRIGGERING", "REJECTED"]
    rejected = rig.heard("ALGO_UPDATE")[-1]["o"]
    assert rejected["rm"] == "ReduceOnly Order is rejected."
    assert rig.position() == 0


def test_cancel_once_and_not_while_triggering():
    rig = make_rig(latency=Latency(median_ms=40.0, p99_ms=40.0))
    rig.order("BUY", "2")
    placed = rig.algo("SELL", "STOP_MARKET", "98.0", clientAlgoId="s")
    assert rig.call("DELETE", "/fapi/v1/algoOrder", clientAlgoId="s") == {
        "algoId": placed["algoId"], "clientAlgoId": "s", "code": "200", "msg": "success",
    }  # fmt: skip
    assert rig.call("DELETE", "/fapi/v1/algoOrder", clientAlgoId="s") == ("refused", -2011)
    assert rig.call("DELETE", "/fapi/v1/algoOrder", algoId=1) == ("refused", -2011)
    assert rig.call("GET", "/fapi/v1/algoOrder", algoId=1) == ("refused", -2013)
    assert rig.call("GET", "/fapi/v1/algoOrder") == ("refused", -1102)
    again = rig.algo("SELL", "STOP_MARKET", "98.0", clientAlgoId="s2")
    sent_ns = rig.now_ns
    rig.script.add(
        {"time_ns": sent_ns + 30 * MS, "symbol": 0, "kind": 2, "side": -1, "price": 979, "qty": 1, "order": 9}
    )
    assert rig.call("DELETE", "/fapi/v1/algoOrder", algoId=again["algoId"]) == ("refused", -4117)


def test_the_childs_fill_is_told_before_or_after_the_algo_update_by_chance():
    orders = set()
    for seed in range(30):
        rig = long_rig(seed=seed)
        rig.algo("SELL", "STOP_MARKET", "98.0", clientAlgoId="s")
        crash(rig)
        rig.wait(1_000)
        names = [
            (event["e"], event["o"]["X"])
            for _, event in rig.events
            if event["e"] in ("ALGO_UPDATE", "ORDER_TRADE_UPDATE")
            and "s" in (event["o"].get("c"), event["o"].get("caid"))
        ]
        filled = names.index(("ORDER_TRADE_UPDATE", "FILLED"))
        orders.add(filled < names.index(("ALGO_UPDATE", "TRIGGERED")))
        algo = [state for kind, state in names if kind == "ALGO_UPDATE"]
        assert algo == ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"]
    assert orders == {True, False}


def test_a_final_conditional_order_cannot_change_any_more():
    rig = long_rig()
    rig.algo("SELL", "STOP_MARKET", "98.0", clientAlgoId="s")
    rig.call("DELETE", "/fapi/v1/algoOrder", clientAlgoId="s")
    algo = rig.simulator._core.conditional.all()[0]
    with pytest.raises(InvariantBroken):
        algo.move(AlgoStatus.TRIGGERING, 1)
