"""Funding and liquidation."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from aegis.exchange.latency import Latency
from aegis.exchange.security import AccountSetup
from aegis.kernels.books import FUNDING_INTERVAL_MS
from tests.support.exchange_rig import KEY, MS, SECRET, make_rig

D = Decimal
SLOW = Latency(median_ms=30.0, p99_ms=150.0)


# -- latency -----------------------------------------------------------------------------------------------------------


def _account():
    return AccountSetup(id="main", api_key=KEY, secret=SECRET)


def to_funding(rig):
    """Go to just before the next funding time, mark unchanged at 100."""
    interval_ns = FUNDING_INTERVAL_MS * MS
    rig.now_ns = (rig.now_ns // interval_ns + 1) * interval_ns - MS
    rig.simulator.advance(rig.now_ns)


@pytest.mark.parametrize("isolated", [False, True])
def test_holders_pay_funding_once_at_its_time(isolated):
    rig = make_rig()
    if isolated:
        rig.call("POST", "/fapi/v1/marginType", symbol="AAAUSDT", marginType="ISOLATED")
    rig.order("BUY", "2")
    rig.order("SELL", "1", symbol="BBBUSDT")
    to_funding(rig)
    before, rate = rig.wallet(), D(int(rig.books.funding_e8[0])) / 10**8
    assert rate > 0
    rig.wait(1)
    rate_b = D(int(rig.books.funding_e8[1])) / 10**8
    paid = -(D(200) * rate).quantize(D("1e-8")) + (D(100) * rate_b).quantize(D("1e-8"))
    assert rig.wallet() - before == paid
    assert rig.view.only.funding == paid
    events = {event["a"]["S"]: event["a"] for event in rig.heard("ACCOUNT_UPDATE") if event["a"]["m"] == "FUNDING_FEE"}
    assert set(events) == {"AAAUSDT", "BBBUSDT"}
    assert D(events["AAAUSDT"]["B"][0]["bc"]) == -(D(200) * rate).quantize(D("1e-8"))
    assert len(events["AAAUSDT"]["P"]) == isolated
    rig.wait(3_600_000)
    assert rig.view.only.funding == paid


def test_who_is_flat_pays_no_funding():
    rig = make_rig()
    to_funding(rig)
    rig.wait(1)
    assert rig.view.only.funding == 0
    assert rig.view.only.wallet == 10_000


def test_an_isolated_position_is_liquidated_and_loses_no_more_than_its_margin():
    rig = make_rig()
    rig.call("POST", "/fapi/v1/marginType", symbol="AAAUSDT", marginType="ISOLATED")
    rig.order("BUY", "5")
    rig.order("SELL", "5", "104.0")
    rig.algo("SELL", "STOP_MARKET", "90.0", workingType="MARK_PRICE", clientAlgoId="s")
    (row,) = rig.call("GET", "/fapi/v3/positionRisk")
    price, margin = D(row["liquidationPrice"]), D(row["isolatedWallet"])
    before = rig.wallet()
    rig.quote(940, 942)
    rig.mark(float(price * 10) + 1)
    rig.wait(1_500)
    assert rig.position() == 5
    rig.mark(float(price * 10) - 1)
    rig.wait(1_500)
    assert rig.position() == 0
    view = rig.view.only
    # The quote lies beyond the bankruptcy price: the insurance fund bears what it costs more.
    assert rig.wallet() == before - margin
    assert view.open_orders == {}
    assert view.open_algo_orders == {}
    assert view.insurance > 0
    closing = [event["o"] for event in rig.heard("ORDER_TRADE_UPDATE") if event["o"]["c"].startswith("autoclose-")]
    assert [event["x"] for event in closing] == ["NEW", "EXPIRED", "NEW", "CALCULATED"]
    assert [event["o"] for event in closing[::2]] == ["LIMIT", "MARKET"]
    assert ("EXPIRED", "5") in {(event["o"]["X"], event["o"]["er"]) for event in rig.heard("ORDER_TRADE_UPDATE")}
    assert "INSURANCE_CLEAR" in [event["a"]["m"] for event in rig.heard("ACCOUNT_UPDATE")]


def test_a_cross_account_is_liquidated_as_a_whole_and_never_owes():
    rig = make_rig(accounts=(attrs.evolve(_account(), wallet=D(40)),))
    rig.order("BUY", "4")
    rig.order("BUY", "2", symbol="BBBUSDT")
    rig.quote(850, 852)
    rig.mark(850)
    rig.wait(1_500)
    assert rig.position() == 0
    assert rig.position("BBBUSDT") == 0
    assert rig.wallet() == 0
    assert rig.view.only.insurance > 0
