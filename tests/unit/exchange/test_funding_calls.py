"""Funding rates as they were charged, their settings, and the limit that both reads share."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from aegis.kernels.books import FUNDING_INTERVAL_MS
from tests.support.exchange_rig import LISTINGS, MS, START_NS, ApiRequest, listing, make_rig

D = Decimal
FIRST_MS = (START_NS // MS // FUNDING_INTERVAL_MS + 1) * FUNDING_INTERVAL_MS
TRADED = ["AAAUSDT", "BBBUSDT", "DDDUSDT"]


def get(rig, path, ip="127.0.0.1", **params):
    query = "&".join(f"{name}={value}" for name, value in params.items())
    answer = rig.send(ApiRequest(method="GET", path=f"/fapi/v1/{path}", query=query.encode(), ip=ip))
    return answer.status, json.loads(answer.body), dict(answer.headers)


def rates(rig, **params):
    status, body, _ = get(rig, "fundingRate", **params)
    return body if status == 200 else ("refused", body["code"])


def funded_rig(times=3):
    """So many funding times went by, the mark of AAAUSDT one tick higher at each."""
    rig = make_rig()
    for n in range(times):
        rig.mark(1000 + n)
        rig.wait(FIRST_MS + n * FUNDING_INTERVAL_MS - rig.now_ns // MS)
    return rig


def test_nothing_was_charged_before_the_first_funding_time():
    rig = make_rig()
    rig.wait(FIRST_MS - 1 - rig.now_ns // MS)
    assert rates(rig) == []
    rig.wait(1)
    assert [row["symbol"] for row in rates(rig)] == TRADED  # CCCUSDT is settling


def test_a_rate_is_the_one_that_a_holder_paid():
    rig = make_rig()
    rig.order("BUY", "2")
    rig.mark(1010)
    rig.wait(FIRST_MS - rig.now_ns // MS)
    (row,) = rates(rig, symbol="AAAUSDT")
    assert row == {"symbol": "AAAUSDT", "fundingRate": "0.00010000", "fundingTime": FIRST_MS,
                   "markPrice": "101.00000000", "rateType": "Regular"}  # fmt: skip
    (paid,) = rig.call("GET", "/fapi/v1/income", incomeType="FUNDING_FEE")
    assert D(paid["income"]) == -2 * D(row["markPrice"]) * D(row["fundingRate"])
    assert paid["time"] == row["fundingTime"]


def test_rates_are_bounded_by_time_both_ends_included_and_limited():
    rig = funded_rig()
    all_three = rates(rig, symbol="AAAUSDT")
    assert [row["fundingTime"] for row in all_three] == [FIRST_MS + n * FUNDING_INTERVAL_MS for n in range(3)]
    assert [row["markPrice"] for row in all_three] == ["100.00000000", "100.10000000", "100.20000000"]
    first, second, third = all_three
    assert rates(rig, symbol="AAAUSDT", startTime=second["fundingTime"]) == [second, third]
    assert rates(rig, symbol="AAAUSDT", startTime=first["fundingTime"], limit=1) == [first]
    assert rates(rig, symbol="AAAUSDT", endTime=second["fundingTime"]) == [first, second]
    assert rates(rig, symbol="AAAUSDT", limit=2) == [second, third]
    only = second["fundingTime"]
    assert [row["symbol"] for row in rates(rig, startTime=only, endTime=only)] == TRADED
    assert [row["fundingTime"] for row in rates(rig)] == sorted(row["fundingTime"] for row in rates(rig))


def test_two_hundred_rates_without_any_bound_and_a_hundred_from_a_start():
    rig = make_rig(listings=tuple(listing(f"S{n}USDT", n) for n in range(130)))
    for n in range(2):
        rig.wait(FIRST_MS + n * FUNDING_INTERVAL_MS - rig.now_ns // MS)
    assert [len(rates(rig, **more)) for more in ({}, {"startTime": 0}, {"limit": 1000}, {"limit": 7})] == [
        200, 100, 260, 7,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("params", "code"),
    [({"symbol": "NOPE"}, -1121), ({"limit": 1001}, -1130), ({"limit": 0}, -1130), ({"startTime": "x"}, -1100),
     ({"startTime": 2, "endTime": 1}, -1130)],
)  # fmt: skip
def test_rates_are_refused(params, code):
    assert rates(make_rig(), **params) == ("refused", code)


def test_rates_survive_a_restart():
    rig = funded_rig(2)
    before = rates(rig)
    new = make_rig(ledger=rig.ledger, listings=LISTINGS)
    new.books.restore(rig.books.snapshot())
    new.simulator.restore(json.loads(json.dumps(rig.simulator.snapshot())))
    new.now_ns = rig.now_ns
    assert rates(new) == before
    new.wait(FUNDING_INTERVAL_MS)
    assert len(rates(new)) == len(before) + len(TRADED)


def test_no_contract_has_funding_settings_of_its_own():
    assert get(make_rig(), "fundingInfo")[:2] == (200, [])


def test_both_reads_share_five_hundred_in_five_minutes_and_weigh_nothing():
    rig = make_rig()
    for n in range(500):
        status, _, headers = get(rig, "fundingRate" if n % 2 else "fundingInfo")
        assert (status, headers["X-MBX-USED-WEIGHT-1M"]) == (200, "0")
    status, body, headers = get(rig, "fundingInfo")
    assert (status, body["code"]) == (429, -1003)
    assert get(rig, "fundingRate", ip="10.0.0.1")[0] == 200
    assert get(rig, "time")[0] == 200
    rig.wait(1_000 * (int(headers["Retry-After"]) - 1) - 1)
    assert get(rig, "fundingRate")[0] == 429
    rig.wait(1_001)
    assert get(rig, "fundingRate")[0] == 200
