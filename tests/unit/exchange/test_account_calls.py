"""Isolated margin, position mode and the older reads."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.support.exchange_rig import make_rig

D = Decimal
MARGIN = "/fapi/v1/positionMargin"


def isolated_rig():
    rig = make_rig()
    rig.call("POST", "/fapi/v1/marginType", symbol="AAAUSDT", marginType="ISOLATED")
    rig.order("BUY", "2")
    return rig


def test_margin_moves_between_wallet_and_position_and_no_money_is_made():
    rig = isolated_rig()
    wallet, before = rig.wallet(), rig.call("GET", "/fapi/v3/positionRisk")[0]
    answer = rig.call("POST", MARGIN, symbol="AAAUSDT", amount="7.5", type=1)
    assert answer == {"amount": 7.5, "code": 200, "msg": "Successfully modify position margin.", "type": 1}
    after = rig.call("GET", "/fapi/v3/positionRisk")[0]
    assert D(after["isolatedWallet"]) - D(before["isolatedWallet"]) == D("7.5")
    assert D(after["liquidationPrice"]) < D(before["liquidationPrice"])
    assert rig.wallet() == wallet
    assert rig.call("POST", MARGIN, symbol="AAAUSDT", amount="7", type=2)["type"] == 2
    left = D(rig.call("GET", "/fapi/v3/positionRisk")[0]["isolatedWallet"])
    assert left == D(before["isolatedWallet"]) + D("0.5")
    (event, _) = (row["a"] for row in rig.heard("ACCOUNT_UPDATE") if row["a"]["m"] == "MARGIN_TRANSFER")
    assert D(event["P"][0]["iw"]) == D(after["isolatedWallet"])


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"type": 3}, -1130), ({"amount": "0"}, -1130), ({"amount": "-1"}, -1100), ({"amount": "1000000"}, -4050),
     ({"amount": "5", "type": 2}, -4051), ({"positionSide": "LONG"}, -4060), ({"symbol": "BBBUSDT"}, -1020)],
)  # fmt: skip
def test_a_margin_change_is_refused(changes, code):
    rig = isolated_rig()
    held = rig.call("GET", "/fapi/v3/positionRisk")[0]["isolatedWallet"]
    plain = {"symbol": "AAAUSDT", "amount": "5", "type": 1}
    assert rig.call("POST", MARGIN, **(plain | changes)) == ("refused", code)
    assert rig.call("GET", "/fapi/v3/positionRisk")[0]["isolatedWallet"] == held


def test_the_older_reads_list_flat_symbols_and_agree_with_the_newer():
    rig = isolated_rig()
    risks = {row["symbol"]: row for row in rig.call("GET", "/fapi/v2/positionRisk")}
    (new,) = rig.call("GET", "/fapi/v3/positionRisk")
    assert set(risks) == {"AAAUSDT", "BBBUSDT", "CCCUSDT", "DDDUSDT"}
    mine = risks["AAAUSDT"]
    shared = set(mine) & set(new)
    assert {name: mine[name] for name in shared} == {name: new[name] for name in shared}
    assert (mine["marginType"], mine["leverage"], risks["BBBUSDT"]["positionAmt"]) == ("isolated", "20", "0")
    old, account = rig.call("GET", "/fapi/v2/account"), rig.call("GET", "/fapi/v3/account")
    assert {name: old[name] for name in account if name != "positions"} == {
        name: value for name, value in account.items() if name != "positions"
    }
    assert len(old["positions"]) == 4
    assert rig.call("GET", "/fapi/v2/balance") == rig.call("GET", "/fapi/v3/balance")


def test_k_the_accounts_order_limits_and_a_liquidation_among_forced_orders():
    rig = isolated_rig()
    limits = [(row["interval"], row["limit"]) for row in rig.call("GET", "/fapi/v1/rateLimit/order")]
    assert limits == [("SECOND", 300), ("MINUTE", 1200)]
    assert rig.call("GET", "/fapi/v1/forceOrders") == []
    rig.quote(900, 902)
    rig.mark(901)
    rig.wait(1_500)
    (row,) = rig.call("GET", "/fapi/v1/forceOrders", symbol="AAAUSDT")
    assert row["clientOrderId"].startswith("autoclose-")
    assert rig.call("GET", "/fapi/v1/forceOrders", autoCloseType="ADL") == []
