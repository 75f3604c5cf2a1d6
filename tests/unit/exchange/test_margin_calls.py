"""What is told of moved margin, of multi-assets mode, and of an account's switches."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from aegis.exchange.listing import TRADFI
from tests.support.exchange_rig import LISTINGS, MS, START_NS, listing, make_rig

D = Decimal
HISTORY = "/fapi/v1/positionMargin/history"
MULTI = "/fapi/v1/multiAssetsMargin"
DAY_MS = 86_400_000
A = {"symbol": "AAAUSDT"}


def moved_rig():
    """A position of which 7 and then 8 were added, a second apart, and 2 taken away."""
    rig = make_rig()
    rig.call("POST", "/fapi/v1/marginType", **A, marginType="ISOLATED")
    rig.order("BUY", "2")
    for amount, kind in (("7", 1), ("8.5", 1), ("2", 2)):
        rig.wait(1_000)
        rig.call("POST", "/fapi/v1/positionMargin", **A, amount=amount, type=kind)
    return rig


def reopened(rig):
    """The exchange's process ends and goes on from its saved state."""
    saved = json.loads(json.dumps(rig.simulator.snapshot()))
    new = make_rig(ledger=rig.ledger, listings=rig.books.listings)
    new.books.restore(rig.books.snapshot())
    new.simulator.restore(saved)
    new.now_ns = rig.now_ns
    return new


def test_the_history_of_margin_lists_what_its_owner_moved():
    rig = moved_rig()
    rows = rig.call("GET", HISTORY, **A)
    assert [(row["amount"], row["type"]) for row in rows] == [("7.00000000", 1), ("8.50000000", 1), ("2.00000000", 2)]
    assert rows[0] == {
        "symbol": "AAAUSDT", "type": 1, "deltaType": "USER_ADJUST", "amount": "7.00000000", "asset": "USDT",
        "time": START_NS // MS + 1_000, "positionSide": "BOTH",
    }  # fmt: skip
    assert rig.call("GET", HISTORY, symbol="BBBUSDT") == []
    assert rig.call("POST", "/fapi/v1/positionMargin", **A, amount="1000000", type=1) == ("refused", -4050)
    assert rig.call("GET", HISTORY, **A) == rows


def test_the_history_of_margin_is_filtered_by_type_and_time_and_limited():
    rig = moved_rig()
    first, second, third = rig.call("GET", HISTORY, **A)
    assert rig.call("GET", HISTORY, **A, type=2) == [third]
    assert rig.call("GET", HISTORY, **A, startTime=second["time"]) == [second, third]
    assert rig.call("GET", HISTORY, **A, startTime=first["time"], limit=1) == [first]
    assert rig.call("GET", HISTORY, **A, endTime=second["time"]) == [first, second]
    assert rig.call("GET", HISTORY, **A, limit=2) == [second, third]


@pytest.mark.parametrize(
    ("params", "code"),
    [({}, -1102), ({"symbol": "NOPE"}, -1121), (A | {"type": 3}, -1130), (A | {"limit": 0}, -1130),
     (A | {"startTime": 1, "endTime": 2 + 30 * DAY_MS}, -1130), (A | {"startTime": 2, "endTime": 1}, -1130),
     (A | {"startTime": "x"}, -1100)],
)  # fmt: skip
def test_the_history_of_margin_refuses(params, code):
    assert make_rig().call("GET", HISTORY, **params) == ("refused", code)


def test_the_history_of_margin_forgets_after_thirty_days_and_survives_a_restart():
    rig = moved_rig()
    rows = rig.call("GET", HISTORY, **A)
    rig.order("SELL", "2")  # while anything is held, margin is checked every second
    rig = reopened(rig)
    assert rig.call("GET", HISTORY, **A) == rows
    rig.wait(30 * DAY_MS - 1_500)
    assert rig.call("GET", HISTORY, **A) == rows[1:]
    assert rig.call("GET", HISTORY, **A, startTime=0) == rows[1:]


def test_a_state_of_before_these_were_kept_is_taken_over():
    rig = moved_rig()
    saved = rig.simulator.snapshot()
    for name in ("margin_moves", "funding_rates"):
        del saved[name]
    for row in saved["accounts"].values():
        del row["fee_burn"], row["tradfi_signed"]
    new = make_rig(ledger=rig.ledger)
    new.simulator.restore(saved)
    assert new.call("GET", HISTORY, **A) == []
    assert new.call("GET", "/fapi/v1/feeBurn") == {"feeBurn": False}


# -- multi-assets mode -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("params", "code"),
    [({}, -1102), ({"multiAssetsMargin": "both"}, -1130), ({"multiAssetsMargin": "false"}, -4171),
     ({"multiAssetsMargin": "true"}, -1020)],
)  # fmt: skip
def test_single_asset_mode_is_the_only_one(params, code):
    rig = make_rig()
    assert rig.call("POST", MULTI, **params) == ("refused", code)
    assert rig.call("GET", MULTI) == {"multiAssetsMargin": False}
    assert rig.view.only.refused == {code: 1}


def test_multi_assets_mode_is_refused_for_what_is_in_its_way():
    rig = make_rig()
    rig.order("BUY", "1", "99.0", newClientOrderId="o")
    assert rig.call("POST", MULTI, multiAssetsMargin="true") == ("refused", -4170)
    rig.call("DELETE", "/fapi/v1/order", **A, origClientOrderId="o")
    rig.call("POST", "/fapi/v1/marginType", **A, marginType="ISOLATED")
    assert rig.call("POST", MULTI, multiAssetsMargin="true") == ("refused", -4167)


# -- switches ----------------------------------------------------------------------------------------------------------
def test_the_fee_discount_is_switched_and_takes_nothing_off_without_bnb():
    rig = make_rig()
    assert rig.call("GET", "/fapi/v1/feeBurn") == {"feeBurn": False}
    assert rig.call("POST", "/fapi/v1/feeBurn", feeBurn="true") == {"code": 200, "msg": "success"}
    assert rig.call("GET", "/fapi/v1/feeBurn") == {"feeBurn": True}
    rig.order("BUY", "2")
    assert rig.view.only.fees == D("0.1001")  # 2 x 100.1 x 0.05 %
    rig = reopened(rig)
    assert rig.call("GET", "/fapi/v1/feeBurn") == {"feeBurn": True}
    assert rig.call("POST", "/fapi/v1/feeBurn", feeBurn="false")["code"] == 200
    assert rig.call("GET", "/fapi/v1/feeBurn") == {"feeBurn": False}
    assert rig.call("POST", "/fapi/v1/feeBurn") == ("refused", -1102)
    assert rig.call("POST", "/fapi/v1/feeBurn", feeBurn="1") == ("refused", -1130)


def test_contracts_on_traditional_assets_need_a_signed_agreement():
    rig = make_rig(listings=(*LISTINGS, listing("XAUUSDT", 4, contract_type=TRADFI, underlying_type="COMMODITY")))
    gold = {"symbol": "XAUUSDT"}
    assert rig.order("BUY", "1", **gold) == ("refused", -4411)
    trigger = {"quantity": "1", "closePosition": "false"}
    assert rig.algo("BUY", "STOP_MARKET", "105.0", **gold, **trigger) == ("refused", -4411)
    assert rig.order("BUY", "1")["status"] == "FILLED"
    assert rig.call("POST", "/fapi/v1/stock/contract") == {"code": 200, "msg": "success"}
    assert rig.order("BUY", "1", **gold)["status"] == "FILLED"
    rig = reopened(rig)
    assert rig.algo("BUY", "STOP_MARKET", "105.0", **gold, **trigger)["algoStatus"] == "NEW"
    assert rig.call("POST", "/fapi/v1/stock/contract")["code"] == 200


def test_the_trading_status_has_no_indicators():
    rig = make_rig()
    empty = {"indicators": {}, "updateTime": START_NS // MS}
    assert rig.call("GET", "/fapi/v1/apiTradingStatus") == empty
    assert rig.call("GET", "/fapi/v1/apiTradingStatus", **A) == empty
    assert rig.call("GET", "/fapi/v1/apiTradingStatus", symbol="NOPE") == ("refused", -1121)
