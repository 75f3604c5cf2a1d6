"""The queue of auto-deleveraging as its reads tell it, the fund before it, and how risky a symbol is."""

from __future__ import annotations

import json
from decimal import Decimal

from aegis.exchange.security import AccountSetup
from tests.support.exchange_rig import LISTINGS, ApiRequest, make_rig

D = Decimal
PEOPLE = tuple(AccountSetup(id=f"p{n}", api_key=f"{n}" * 64, secret=f"s{n}", wallet=D(1_000)) for n in range(6))
A = {"symbol": "AAAUSDT"}


def call(rig, person, method, path, **params):
    return rig.call(method, f"/fapi/{path}", PEOPLE[person].api_key, PEOPLE[person].secret, **params)


def order(rig, person, side, quantity, **more):
    params = A | {"side": side, "type": "MARKET", "quantity": quantity} | more
    assert call(rig, person, "POST", "v1/order", **params)["status"] == "NEW"


def isolated(rig, person, leverage):
    call(rig, person, "POST", "v1/marginType", **A, marginType="ISOLATED")
    call(rig, person, "POST", "v1/leverage", **A, leverage=leverage)


def both(rig, person):
    """BOTH of AAAUSDT as `adlQuantile` and as `positionRisk` give it, which must be the same."""
    (row,) = call(rig, person, "GET", "v1/adlQuantile", **A)
    (risk,) = call(rig, person, "GET", "v3/positionRisk", **A)
    assert row["adlQuantile"] == {"LONG": 0, "SHORT": 0, "BOTH": risk["adl"]}
    return risk["adl"]


def get(rig, path, **params):
    query = "&".join(f"{name}={value}" for name, value in params.items())
    return json.loads(rig.send(ApiRequest(method="GET", path=f"/fapi/v1/{path}", query=query.encode())).body)


def test_a_position_that_nobodys_liquidation_can_reach_has_quantile_zero():
    rig = make_rig(accounts=PEOPLE)
    assert call(rig, 0, "GET", "v1/adlQuantile") == []
    order(rig, 0, "BUY", "1")
    assert both(rig, 0) == 0
    order(rig, 1, "SELL", "1", symbol="BBBUSDT")
    assert both(rig, 0) == 0
    order(rig, 1, "SELL", "1")
    assert [both(rig, person) for person in (0, 1)] == [4, 4]
    assert call(rig, 0, "GET", "v1/adlQuantile", symbol="BBBUSDT") == []
    assert call(rig, 0, "GET", "v1/adlQuantile", symbol="NOPE") == ("refused", -1121)


def test_the_quantiles_are_in_the_order_in_which_positions_are_deleveraged():
    rig = make_rig(accounts=PEOPLE, insurance=D(0))
    isolated(rig, 0, 50)
    order(rig, 0, "BUY", "3")
    for person, leverage in ((1, 5), (2, 50), (3, 20), (4, 2), (5, 10)):
        isolated(rig, person, leverage)
        order(rig, person, "SELL", "2")
    rig.mark(990)
    quantiles = [both(rig, person) for person in range(1, 6)]
    assert quantiles == [1, 4, 3, 0, 2]
    rig.quote(960, 961)
    rig.mark(960)
    rig.wait(1_000)
    left = [[D(row["positionAmt"]) for row in call(rig, n, "GET", "v3/positionRisk")] for n in range(6)]
    assert left == [[], [-2], [], [-1], [-2], [-2]]  # all of 4, and of 3 what was left to close


def test_in_hedge_mode_each_side_has_its_own_quantile_and_a_cross_one_says_hedge():
    rig = make_rig(accounts=PEOPLE)
    call(rig, 0, "POST", "v1/positionSide/dual", dualSidePosition="true")
    order(rig, 0, "BUY", "2", positionSide="LONG")
    order(rig, 0, "SELL", "1", positionSide="SHORT")
    order(rig, 1, "SELL", "1")
    (row,) = call(rig, 0, "GET", "v1/adlQuantile")
    assert row == {"symbol": "AAAUSDT", "adlQuantile": {"LONG": 4, "SHORT": 0, "HEDGE": 0}}
    risks = {one["positionSide"]: one["adl"] for one in call(rig, 0, "GET", "v3/positionRisk")}
    assert risks == {"LONG": 4, "SHORT": 0}
    call(rig, 2, "POST", "v1/positionSide/dual", dualSidePosition="true")
    isolated(rig, 2, 20)
    order(rig, 2, "BUY", "1", positionSide="LONG")
    (row,) = call(rig, 2, "GET", "v1/adlQuantile", **A)
    assert set(row["adlQuantile"]) == {"LONG", "SHORT", "BOTH"}


def test_the_fund_is_told_as_it_is():
    rig = make_rig(accounts=PEOPLE, insurance=D(50))
    (row,) = get(rig, "insuranceBalance")
    assert row == get(rig, "insuranceBalance", symbol="BBBUSDT")
    assert row["symbols"] == [one.symbol for one in LISTINGS]
    (asset,) = row["assets"]
    assert (set(asset), asset["asset"], asset["marginBalance"]) == (
        {"asset", "marginBalance", "updateTime"}, "USDT", "50.00000000",
    )  # fmt: skip
    isolated(rig, 0, 50)
    order(rig, 0, "BUY", "2")
    rig.quote(970, 971)
    rig.mark(970)
    rig.wait(1_000)
    (asset,) = get(rig, "insuranceBalance", **A)["assets"]
    assert D(asset["marginBalance"]) == rig.simulator.house()["INSURANCE_CLEAR"] < 50
    assert get(rig, "insuranceBalance", symbol="NOPE")["code"] == -1121


def test_the_risk_of_a_symbol_is_what_the_fund_could_bear_of_its_positions():
    rig = make_rig(accounts=PEOPLE, insurance=D(10))
    rig.quote(999, 1001, ask_qty=100_000)
    seen = []
    for quantity in ("0.1", "0.1", "1.8", "0.1"):  # 10, 20, 200 and 210 at mark; 5 % of 200 are 10
        order(rig, 0, "BUY", quantity)
        seen.append(get(rig, "symbolAdlRisk", **A)["adlRisk"])
    assert seen == ["low", "medium", "medium", "high"]
    rows = get(rig, "symbolAdlRisk")
    assert [row["symbol"] for row in rows] == [one.symbol for one in LISTINGS]
    assert rows[0] == {"symbol": "AAAUSDT", "adlRisk": "high", "updateTime": rows[0]["updateTime"]}
    assert {row["adlRisk"] for row in rows[1:]} == {"low"}
    assert get(rig, "symbolAdlRisk", symbol="NOPE")["code"] == -1121
