"""Hedge mode: two sides of a symbol, each a position of its own."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aegis.exchange.security import AccountSetup
from tests.support.exchange_rig import KEY, SECRET, make_rig

D = Decimal
DUAL = "/fapi/v1/positionSide/dual"


@pytest.fixture
def rig():
    rig = make_rig()
    assert rig.call("POST", DUAL, dualSidePosition="true") == {"code": 200, "msg": "success"}
    return rig


def sides(rig, path="/fapi/v3/positionRisk", **params):
    return {row["positionSide"]: row for row in rig.call("GET", path, **params)}


def test_o_the_mode_changes_only_without_orders_and_positions():
    rig = make_rig()
    assert rig.call("GET", DUAL) == {"dualSidePosition": False}
    assert rig.call("POST", DUAL) == ("refused", -1102)
    assert rig.call("POST", DUAL, dualSidePosition="maybe") == ("refused", -1130)
    assert rig.call("POST", DUAL, dualSidePosition="false") == ("refused", -4059)
    rig.order("BUY", "1", "99.0", newClientOrderId="a")
    assert rig.call("POST", DUAL, dualSidePosition="true") == ("refused", -4067)
    rig.call("DELETE", "/fapi/v1/allOpenOrders", symbol="AAAUSDT")
    rig.algo("SELL", "STOP_MARKET", "90.0", closePosition="false", quantity="1")
    assert rig.call("POST", DUAL, dualSidePosition="true") == ("refused", -4067)
    rig.call("DELETE", "/fapi/v1/algoOpenOrders", symbol="AAAUSDT")
    rig.order("BUY", "1")
    assert rig.call("POST", DUAL, dualSidePosition="true") == ("refused", -4068)
    rig.order("SELL", "1", reduceOnly="true")
    assert rig.call("POST", DUAL, dualSidePosition="true") == {"code": 200, "msg": "success"}
    assert rig.call("POST", DUAL, dualSidePosition="true") == ("refused", -4059)
    assert rig.call("GET", DUAL) == {"dualSidePosition": True}
    assert rig.call("GET", "/fapi/v1/accountConfig")["dualSidePosition"] is True
    assert rig.call("POST", DUAL, dualSidePosition="false") == {"code": 200, "msg": "success"}
    assert rig.order("BUY", "1")["positionSide"] == "BOTH"


def test_o_orders_must_name_a_side_of_the_accounts_mode(rig):
    assert rig.order("BUY", "1") == ("refused", -4061)
    assert rig.order("BUY", "1", positionSide="BOTH") == ("refused", -4061)
    assert rig.order("BUY", "1", positionSide="UP") == ("refused", -4060)
    assert rig.algo("SELL", "STOP_MARKET", "90.0") == ("refused", -4061)
    one_way = make_rig()
    assert one_way.order("BUY", "1", positionSide="LONG") == ("refused", -4061)
    assert one_way.algo("SELL", "STOP_MARKET", "90.0", positionSide="LONG") == ("refused", -4061)


@pytest.mark.parametrize("value", ["true", "false"])
def test_o_reduce_only_is_not_taken_in_hedge_mode(rig, value):
    rig.order("BUY", "1", positionSide="LONG")
    assert rig.order("SELL", "1", positionSide="LONG", reduceOnly=value) == ("refused", -1106)
    more = {"closePosition": "false", "quantity": "1", "reduceOnly": value}
    assert rig.algo("SELL", "STOP_MARKET", "90.0", positionSide="LONG", **more) == ("refused", -1106)


def test_o_both_sides_are_held_at_the_same_time_and_closed_each_by_its_own_orders(rig):
    assert rig.order("SELL", "1", positionSide="LONG") == ("refused", -2022)
    assert rig.order("BUY", "1", positionSide="SHORT") == ("refused", -2022)
    rig.order("BUY", "2", positionSide="LONG")
    rig.order("SELL", "3", positionSide="SHORT")
    rows = sides(rig)
    assert {side: row["positionAmt"] for side, row in rows.items()} == {"LONG": "2", "SHORT": "-3"}
    assert {side: row["entryPrice"] for side, row in rows.items()} == {"LONG": "100.1", "SHORT": "99.9"}
    answer = rig.order("SELL", "5", positionSide="LONG")  # more than there is: cut to it
    assert (answer["origQty"], answer["executedQty"], answer["reduceOnly"]) == ("2.000", "2.000", True)
    assert {side: row["positionAmt"] for side, row in sides(rig).items()} == {"SHORT": "-3"}
    view = rig.view.only
    assert set(view.positions) == {"AAAUSDT LONG", "AAAUSDT SHORT"}
    assert view.open_positions["AAAUSDT SHORT"].amount == -3
    assert [row["positionSide"] for row in rig.call("GET", "/fapi/v1/userTrades", symbol="AAAUSDT")] == [
        "LONG", "SHORT", "LONG",
    ]  # fmt: skip


def test_o_events_tell_the_side_and_an_account_update_lists_both(rig):
    rig.order("BUY", "2", positionSide="LONG")
    rig.order("SELL", "1", "101.0", positionSide="LONG")
    update = rig.heard("ACCOUNT_UPDATE")[-1]["a"]
    assert [(row["ps"], row["pa"]) for row in update["P"]] == [("LONG", "2"), ("SHORT", "0")]
    orders = [event["o"] for event in rig.heard("ORDER_TRADE_UPDATE")]
    assert {event["ps"] for event in orders} == {"LONG"}
    assert [event["R"] for event in orders if event["x"] == "NEW"] == [False, True]


def test_o_a_closing_order_ties_up_no_margin_and_ends_with_its_position(rig):
    rig.order("BUY", "2", positionSide="LONG")
    before = D(rig.call("GET", "/fapi/v3/account")["availableBalance"])
    rig.order("SELL", "2", "101.0", positionSide="LONG")
    assert rig.order("SELL", "1", "101.0", positionSide="LONG") == ("refused", -2022)
    rig.order("SELL", "2", "101.0", positionSide="SHORT")
    assert D(rig.call("GET", "/fapi/v3/account")["totalOpenOrderInitialMargin"]) == D("10.1")
    assert D(rig.call("GET", "/fapi/v3/account")["availableBalance"]) == before - D("10.1")
    rig.order("SELL", "2", positionSide="LONG")
    (left,) = rig.call("GET", "/fapi/v1/openOrders")
    assert (left["positionSide"], left["reduceOnly"]) == ("SHORT", False)
    assert ("EXPIRED", "4") in {(event["o"]["X"], event["o"]["er"]) for event in rig.heard("ORDER_TRADE_UPDATE")}


def test_o_close_position_closes_its_side_alone(rig):
    rig.order("BUY", "2", positionSide="LONG")
    rig.order("SELL", "3", positionSide="SHORT")
    assert rig.algo("BUY", "STOP_MARKET", "110.0", positionSide="LONG") == ("refused", -4136)
    assert rig.algo("SELL", "STOP_MARKET", "90.0", positionSide="SHORT") == ("refused", -4136)
    stop = rig.algo("SELL", "STOP_MARKET", "99.0", positionSide="LONG")
    assert (stop["positionSide"], stop["reduceOnly"]) == ("LONG", True)
    assert rig.algo("SELL", "STOP_MARKET", "98.0", positionSide="LONG") == ("refused", -4130)
    rig.algo("BUY", "TAKE_PROFIT_MARKET", "98.0", positionSide="SHORT")
    rig.trade(-1, 989, 10)
    rig.wait(1)
    assert {side: row["positionAmt"] for side, row in sides(rig).items()} == {"SHORT": "-3"}
    (left,) = rig.call("GET", "/fapi/v1/openAlgoOrders")
    assert left["positionSide"] == "SHORT"


def test_o_a_stop_without_its_side_has_nothing_to_close(rig):
    rig.order("SELL", "3", positionSide="SHORT")
    assert rig.algo("SELL", "STOP_MARKET", "90.0", positionSide="LONG") == ("refused", -4509)
    rig.algo("BUY", "STOP_MARKET", "110.0", positionSide="SHORT", clientAlgoId="s")
    rig.order("BUY", "3", positionSide="SHORT")
    assert rig.call("GET", "/fapi/v1/algoOrder", clientAlgoId="s")["algoStatus"] == "EXPIRED"


def test_n_the_countdown_cancels_both_sides_of_its_symbol(rig):
    rig.order("BUY", "1", "95.0", positionSide="LONG")
    rig.order("SELL", "1", "104.0", positionSide="SHORT")
    rig.order("BUY", "1", "95.0", positionSide="LONG", symbol="BBBUSDT")
    rig.call("POST", "/fapi/v1/countdownCancelAll", symbol="AAAUSDT", countdownTime=1_000)
    rig.wait(1_001)
    assert [row["symbol"] for row in rig.call("GET", "/fapi/v1/openOrders")] == ["BBBUSDT"]


def test_o_settings_are_shared_and_isolated_margin_is_of_one_side(rig):
    rig.call("POST", "/fapi/v1/marginType", symbol="AAAUSDT", marginType="ISOLATED")
    rig.order("BUY", "1", positionSide="LONG")
    rig.order("SELL", "1", positionSide="SHORT")
    assert rig.call("POST", "/fapi/v1/marginType", symbol="AAAUSDT", marginType="CROSSED") == ("refused", -4048)
    assert rig.call("POST", "/fapi/v1/leverage", symbol="AAAUSDT", leverage=3) == ("refused", -4161)
    path = "/fapi/v1/positionMargin"
    assert rig.call("POST", path, symbol="AAAUSDT", amount="5", type=1) == ("refused", -4060)
    assert rig.call("POST", path, symbol="AAAUSDT", amount="5", type=1, positionSide="LONG")["code"] == 200
    wallets = {side: D(row["isolatedWallet"]) for side, row in sides(rig).items()}
    assert wallets == {"LONG": D("10.005"), "SHORT": D("4.995")}
    v2 = sides(rig, "/fapi/v2/positionRisk", symbol="AAAUSDT")
    assert {side: row["positionAmt"] for side, row in v2.items()} == {"LONG": "1", "SHORT": "-1"}


def test_o_the_mode_and_both_sides_outlive_the_process(rig):
    rig.order("BUY", "2", positionSide="LONG")
    rig.order("SELL", "3", positionSide="SHORT")
    rig.order("BUY", "1", "95.0", positionSide="LONG")
    before = rig.call("GET", "/fapi/v3/account"), sides(rig)
    other = make_rig(ledger=rig.ledger)
    other.books.restore(rig.books.snapshot())
    other.simulator.restore(rig.simulator.snapshot())
    other.now_ns = rig.now_ns
    assert (other.call("GET", "/fapi/v3/account"), sides(other)) == before
    assert other.order("BUY", "1") == ("refused", -4061)


def test_each_account_has_a_mode_of_its_own():
    second = AccountSetup(id="b", api_key="b" * 64, secret="b", wallet=D(500))
    rig = make_rig(accounts=(AccountSetup(id="a", api_key=KEY, secret=SECRET), second))
    rig.call("POST", DUAL, dualSidePosition="true")
    assert rig.call("GET", DUAL, second.api_key, "b") == {"dualSidePosition": False}
    rig.order("BUY", "1", positionSide="LONG")
    assert rig.call("GET", "/fapi/v3/positionRisk", second.api_key, "b") == []
    assert rig.call("GET", "/fapi/v3/account", second.api_key, "b")["totalWalletBalance"] == "500.00000000"
