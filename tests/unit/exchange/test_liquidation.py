"""Forced closing, number by number: the book, the insurance fund, auto-deleveraging."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aegis.exchange.security import AccountSetup
from tests.support.exchange_rig import make_rig

D = Decimal
PEOPLE = tuple(AccountSetup(id=f"p{n}", api_key=f"{n}" * 64, secret=f"s{n}", wallet=D(1_000)) for n in range(4))
ISOLATED = {"symbol": "AAAUSDT", "marginType": "ISOLATED"}


def rig_with(insurance="0"):
    return make_rig(accounts=PEOPLE, insurance=D(insurance))


def call(rig, person, method, path, **params):
    return rig.call(method, f"/fapi/{path}", PEOPLE[person].api_key, PEOPLE[person].secret, **params)


def order(rig, person, side, quantity, **more):
    params = {"symbol": "AAAUSDT", "side": side, "type": "MARKET", "quantity": quantity, **more}
    answer = call(rig, person, "POST", "v1/order", **params)
    assert answer["status"] == "NEW"


def amounts(rig):
    """Positions of everybody in AAAUSDT."""
    rows = [call(rig, n, "GET", "v3/positionRisk", symbol="AAAUSDT") for n in range(len(PEOPLE))]
    return [D(found[0]["positionAmt"]) if found else D(0) for found in rows]


def fills(rig, person):
    return rig.view.accounts[f"p{person}"].fills


def income(rig, person, kind):
    return [D(row["income"]) for row in call(rig, person, "GET", "v1/income", incomeType=kind)]


def wallet(rig, person):
    return rig.simulator.wallets()[f"p{person}"]


def leveraged_long(rig, quantity="2"):
    """Person 0 holds an isolated long at 100.1, 50 x, with the liquidation price in reach."""
    call(rig, 0, "POST", "v1/marginType", **ISOLATED)
    call(rig, 0, "POST", "v1/leverage", symbol="AAAUSDT", leverage=50)
    order(rig, 0, "BUY", quantity)
    (row,) = call(rig, 0, "GET", "v3/positionRisk", symbol="AAAUSDT")
    return D(row["liquidationPrice"]), D(row["isolatedWallet"])


def test_m_a_liquidation_within_the_bankruptcy_price_pays_the_fee_to_the_fund():
    rig = rig_with()
    price, margin = leveraged_long(rig)
    assert (price, margin) == (D("98.49196787"), D("4.00400000"))
    before = wallet(rig, 0)
    rig.quote(985, 986)  # 98.5 bid
    rig.mark(984.8)
    rig.wait(1_000)
    assert amounts(rig)[0] == 0
    (fill,) = fills(rig, 0)[1:]
    assert (fill["price"], fill["qty"], fill["commission"]) == ("98.5", "2.000", "0.09850000")
    left = margin - D("3.2") - D("0.0985")  # less the loss from 100.1 and the commission
    fee = min(D("2.463750"), left)  # 1.25 % of the bankruptcy price's notional would be more than there is
    assert income(rig, 0, "INSURANCE_CLEAR") == [-left] == [-fee]
    assert wallet(rig, 0) == before - margin
    assert rig.simulator.house()["INSURANCE_CLEAR"] == left


def test_m_the_fund_bears_what_the_book_takes_beyond_the_bankruptcy_price():
    rig = rig_with("50")
    _, margin = leveraged_long(rig)
    before = wallet(rig, 0)
    rig.quote(970, 971)
    rig.mark(970)
    rig.wait(1_000)
    assert amounts(rig)[0] == 0
    loss = D("6.2") + D("0.097")
    assert income(rig, 0, "INSURANCE_CLEAR") == [loss - margin]
    assert rig.simulator.house()["INSURANCE_CLEAR"] == 50 - (loss - margin)
    assert wallet(rig, 0) == before - margin
    closing = [event["o"] for _, event in rig.events if event.get("o", {}).get("c", "").startswith("autoclose-")]
    assert [(event["o"], event["x"]) for event in closing] == [
        ("LIMIT", "NEW"), ("LIMIT", "EXPIRED"), ("MARKET", "NEW"), ("MARKET", "CALCULATED"),
    ]  # fmt: skip


def test_m_without_a_fund_the_most_profitable_and_leveraged_counterparty_is_deleveraged():
    rig = rig_with()
    price, margin = leveraged_long(rig, "3")
    for person, leverage in ((1, 5), (2, 50), (3, 20)):
        call(rig, person, "POST", "v1/marginType", **ISOLATED)
        call(rig, person, "POST", "v1/leverage", symbol="AAAUSDT", leverage=leverage)
        order(rig, person, "SELL", "2")
    call(rig, 2, "POST", "v1/order", symbol="AAAUSDT", side="BUY", type="LIMIT", timeInForce="GTC", price="95.0",
         quantity="1", reduceOnly="true")  # fmt: skip
    entries = [D(call(rig, n, "GET", "v3/positionRisk")[0]["entryPrice"]) for n in range(4)]
    before = wallet(rig, 0)
    rig.quote(960, 961)
    rig.mark(960)
    rig.wait(1_000)
    assert amounts(rig) == [0, -2, 0, -1]
    bankrupt = D("98.2")  # (100.1 - 100.1 / 50) / (1 - 0.0005), up to the next tick
    assert bankrupt < price
    for person, quantity in ((2, "2.000"), (3, "1.000")):
        fill = fills(rig, person)[-1]
        assert (fill["client_id"], D(fill["price"]), fill["qty"]) == ("adl_autoclose", bankrupt, quantity)
        assert D(fill["commission"]) == 0
        assert D(fill["realized"]) == (entries[person] - bankrupt) * D(quantity)
        (row,) = call(rig, person, "GET", "v1/forceOrders", autoCloseType="ADL")
        assert (row["clientOrderId"], row["status"], row["executedQty"]) == ("adl_autoclose", "FILLED", quantity)
    assert call(rig, 1, "GET", "v1/forceOrders") == []
    assert call(rig, 0, "GET", "v1/forceOrders", autoCloseType="ADL") == []
    assert call(rig, 0, "GET", "v1/forceOrders", autoCloseType="BOTH") == ("refused", -1130)
    assert wallet(rig, 0) == before - margin
    told = [event["o"] for account, event in rig.events if account == "p2" and event["e"] == "ORDER_TRADE_UPDATE"]
    assert [(event["x"], event["X"]) for event in told if event["c"] == "adl_autoclose"] == [
        ("NEW", "NEW"), ("CALCULATED", "FILLED"),
    ]  # fmt: skip
    assert (told[-1]["x"], told[-1]["er"]) == ("EXPIRED", "4")  # the reduce-only order that it had


def test_m_where_nobody_of_ours_is_on_the_other_side_the_public_is_deleveraged():
    rig = rig_with()
    _, margin = leveraged_long(rig)
    before = wallet(rig, 0)
    rig.quote(960, 961)
    rig.mark(960)
    rig.wait(1_000)
    assert amounts(rig)[0] == 0
    assert [fill["price"] for fill in fills(rig, 0)] == ["100.1", "98.2"]
    assert wallet(rig, 0) == before - margin
    assert rig.simulator.house()["INSURANCE_CLEAR"] >= 0


@pytest.mark.parametrize("side", ["LONG", "SHORT"])
def test_m_one_isolated_side_of_hedge_mode_is_liquidated_alone(side):
    rig = rig_with("100")
    call(rig, 0, "POST", "v1/positionSide/dual", dualSidePosition="true")
    call(rig, 0, "POST", "v1/marginType", **ISOLATED)
    call(rig, 0, "POST", "v1/leverage", symbol="AAAUSDT", leverage=50)
    order(rig, 0, "BUY", "1", positionSide="LONG")
    order(rig, 0, "SELL", "1", positionSide="SHORT")
    call(rig, 0, "POST", "v1/order", symbol="AAAUSDT", side="BUY", type="LIMIT", timeInForce="GTC", price="97.0",
         quantity="1", positionSide="LONG")  # fmt: skip
    away = 980 if side == "LONG" else 1020
    rig.quote(away, away + 1)
    rig.mark(away)
    rig.wait(1_000)
    (left,) = call(rig, 0, "GET", "v3/positionRisk")
    assert left["positionSide"] == ("SHORT" if side == "LONG" else "LONG")
    assert len(call(rig, 0, "GET", "v1/openOrders")) == (side == "SHORT")


def test_m_a_cross_account_is_closed_at_bankruptcy_prices_that_share_its_balance():
    rig = rig_with()
    for symbol in ("AAAUSDT", "BBBUSDT"):
        call(rig, 0, "POST", "v1/leverage", symbol=symbol, leverage=20)
    order(rig, 0, "BUY", "100")
    order(rig, 0, "SELL", "40", symbol="BBBUSDT")
    for symbol, price in ((0, 910), (1, 1_020)):
        rig.quote(price - 40, price + 40, symbol=symbol)  # nobody buys or sells near the mark
        rig.mark(price, symbol=symbol)
    rig.wait(1_000)
    assert amounts(rig)[0] == 0
    assert call(rig, 0, "GET", "v3/positionRisk") == []
    closed = [fill for fill in fills(rig, 0) if fill["client_id"].startswith("autoclose-")]
    assert {fill["symbol"] for fill in closed} == {"AAAUSDT", "BBBUSDT"}
    assert 0 <= wallet(rig, 0) < 8  # a tick of each
    assert sum(income(rig, 0, "INSURANCE_CLEAR")) <= 0


def test_m_a_loss_beyond_the_wallet_that_was_closed_in_time_is_paid_by_the_fund():
    rig = rig_with("1000")
    call(rig, 0, "POST", "v1/leverage", symbol="AAAUSDT", leverage=20)
    order(rig, 0, "BUY", "150")
    rig.quote(900, 901, bid_qty=500_000)
    rig.mark(900)
    order(rig, 0, "SELL", "150")  # before anybody looks at the margin
    owed = wallet(rig, 0)
    assert owed < 0
    rig.wait(1_000)
    assert wallet(rig, 0) == 0
    assert income(rig, 0, "INSURANCE_CLEAR") == [-owed]
    assert rig.simulator.house()["INSURANCE_CLEAR"] == 1000 + owed
