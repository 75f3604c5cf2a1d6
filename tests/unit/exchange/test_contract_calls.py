"""Open interest, indices, trading hours, and the book with RPI orders."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from aegis.exchange.listing import TRADFI
from aegis.exchange.security import AccountSetup
from tests.support.exchange_rig import LISTINGS, MS, START_NS, ApiRequest, listing, make_rig

D = Decimal
NOW_MS = START_NS // MS
DAY_MS = 86_400_000
PEOPLE = tuple(AccountSetup(id=f"p{n}", api_key=f"{n}" * 64, secret=f"s{n}", wallet=D(1_000)) for n in range(3))
ODD = (
    *LISTINGS,
    listing("XAUUSDT", 4, contract_type=TRADFI, underlying_type="COMMODITY"),
    listing("DEFIUSDT", 5, underlying_type="INDEX"),
)


def get(rig, path, **params):
    query = "&".join(f"{name}={value}" for name, value in params.items())
    return json.loads(rig.send(ApiRequest(method="GET", path=f"/fapi/v1/{path}", query=query.encode())).body)


def trade(rig, person, side, quantity):
    one = PEOPLE[person]
    order = {"symbol": "AAAUSDT", "side": side, "type": "MARKET", "quantity": quantity}
    assert rig.call("POST", "/fapi/v1/order", one.api_key, one.secret, **order)["status"] == "NEW"


def test_open_interest_is_the_larger_side_of_what_the_accounts_hold():
    rig = make_rig(accounts=PEOPLE)
    assert get(rig, "openInterest", symbol="AAAUSDT") == {"openInterest": "0.000", "symbol": "AAAUSDT", "time": NOW_MS}
    seen = []
    for person, side, quantity in ((0, "BUY", "2"), (1, "SELL", "1"), (2, "SELL", "1.5"), (0, "SELL", "2")):
        trade(rig, person, side, quantity)
        seen.append(get(rig, "openInterest", symbol="AAAUSDT")["openInterest"])
    assert seen == ["2.000", "2.000", "2.500", "2.500"]
    assert get(rig, "openInterest", symbol="BBBUSDT")["openInterest"] == "0.000"
    assert get(rig, "openInterest")["code"] == -1102
    assert get(rig, "openInterest", symbol="NOPE")["code"] == -1121


def test_markets_of_traditional_assets_never_close():
    schedule = get(make_rig(listings=ODD), "tradingSchedule")
    start = NOW_MS // DAY_MS * DAY_MS - DAY_MS
    session = {"startTime": start, "endTime": start + 7 * DAY_MS, "type": "REGULAR"}
    assert schedule == {"updateTime": NOW_MS, "marketSchedules": {"COMMODITY": {"sessions": [session]}}}
    assert get(make_rig(), "tradingSchedule")["marketSchedules"] == {}


def test_indices_are_made_of_nothing_that_is_known():
    rig = make_rig(listings=ODD)
    composite = [{"symbol": "DEFIUSDT", "time": NOW_MS, "component": "baseAsset", "baseAssetList": []}]
    assert get(rig, "constituents", symbol="AAAUSDT") == {"symbol": "AAAUSDT", "time": NOW_MS, "constituents": []}
    assert get(rig, "indexInfo") == get(rig, "indexInfo", symbol="DEFIUSDT") == composite
    assert get(rig, "assetIndex") == []


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [("constituents", {}, -1102), ("constituents", {"symbol": "NOPE"}, -1121),
     ("indexInfo", {"symbol": "AAAUSDT"}, -1121), ("assetIndex", {"symbol": "ADAUSD"}, -1121),
     ("rpiDepth", {}, -1102), ("rpiDepth", {"symbol": "NOPE"}, -1121),
     ("rpiDepth", {"symbol": "AAAUSDT", "limit": 500}, -1130)],
)  # fmt: skip
def test_what_is_not_there_is_refused(path, params, code):
    assert get(make_rig(), path, **params)["code"] == code


def test_the_book_with_rpi_orders_is_the_book():
    rig = make_rig()
    rig.trade(1, 1001, 300)
    whole = get(rig, "depth", symbol="AAAUSDT", limit=1000)
    assert whole["bids"]
    assert get(rig, "rpiDepth", symbol="AAAUSDT") == get(rig, "rpiDepth", symbol="AAAUSDT", limit=1000) == whole
