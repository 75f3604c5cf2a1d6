"""The classification table of PROTOCOL.md §6, row by row, for every kind of request."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.core.messages import Accepted, AlgoRequest, CancelRequest, OrderRequest, Refused, Unknown
from aegis.core.values import AlgoType, ClientId, OrderType, Side, SymbolName, WorkingType
from aegis.venue.outcomes import classify, classify_error

CID, SYMBOL = ClientId("1-7"), SymbolName("BTCUSDT")
ORDER = OrderRequest(cid=CID, symbol=SYMBOL, side=Side.BUY, type=OrderType.MARKET, qty=Decimal("0.1"))
ALGO = AlgoRequest(
    cid=CID, symbol=SYMBOL, side=Side.SELL, type=AlgoType.STOP_MARKET, trigger=Decimal("9"),
    working_type=WorkingType.MARK_PRICE,
)  # fmt: skip
CANCEL = CancelRequest(cid=CID, symbol=SYMBOL)
CANCEL_ALGO = CancelRequest(cid=CID, symbol=SYMBOL, algo=True)
ALL = [ORDER, ALGO, CANCEL, CANCEL_ALGO]

BIG = 8389765739703625592


def error(code: int, text: str = "text") -> bytes:
    return json.dumps({"code": code, "msg": text}).encode()


UNKNOWN = {
    "503 unknown error as text": (503, b"Unknown error, please check your request or try again later."),
    "503 unknown error as json": (503, error(-1000, "Unknown error, please check your request or try again later.")),
    "5xx occur unknown": (500, error(-1000, "Request occur unknown error.")),
    "500 occur unknown text": (500, b"Request occur unknown error."),
    "-1006": (400, error(-1006, "An unexpected response was received from the message bus. Execution status unknown.")),
    "-1007 408": (408, error(-1007, "Timeout waiting for response from backend server.")),
    "-1007 504": (504, error(-1007)),
    "-1000": (400, error(-1000, "An unknown error occured while processing the request.")),
    "408 bare": (408, b""),
    "502 page": (502, b"<html>bad gateway</html>"),
    "503 other text": (503, b"upstream connect error"),
    "503 empty": (503, b""),
    "500 with a refusal code": (500, error(-2019)),
    "400 page": (400, b"<html>"),
    "400 truncated": (400, b'{"code":-20'),
    "400 positive code": (400, error(7)),
    "302": (302, b""),
    "200 garbage": (200, b"\xff\xfe"),
    "200 truncated": (200, b'{"orderId":1'),
    "200 without id": (200, b"{}"),
    "200 array": (200, b"[]"),
    "200 error body": (200, error(-2019)),
    "200 id as float": (200, b'{"orderId":1.5,"algoId":1.5}'),
    "200 someone else's": (200, b'{"orderId":1,"algoId":1,"clientOrderId":"2-1","clientAlgoId":"2-1"}'),
}
REFUSED = {
    "503 service unavailable": (503, b"Service Unavailable.", -503),
    "503 service unavailable json": (503, error(-1016, "Service Unavailable."), -1016),
    "503 internal error": (
        503,
        error(-1001, "Internal error; unable to process your request. Please try again."),
        -1001,
    ),
    "503 throttled": (503, error(-1008, "Request throttled by system-level protection."), -1008),
    "429 weight": (429, error(-1003, "Too many requests"), -1003),
    "429 orders": (429, error(-1015, "Too many new orders; current limit is 300 orders per 10 SECOND."), -1015),
    "429 unparsable": (429, b"<html>", -1003),
    "418": (418, error(-1003, "Way too many requests; IP banned until 1791702613943."), -1003),
    "403 firewall": (403, b"<html>", -403),
    "-1021": (400, error(-1021), -1021),
    "-1022": (400, error(-1022), -1022),
    "-2010": (400, error(-2010), -2010),
    "-2011": (400, error(-2011, "Unknown order sent."), -2011),
    "-2013": (400, error(-2013), -2013),
    "-2014 401": (401, error(-2014), -2014),
    "-2015 401": (401, error(-2015), -2015),
    "-2019": (400, error(-2019), -2019),
    "-2021": (400, error(-2021), -2021),
    "-2022": (400, error(-2022), -2022),
    "-4117": (400, error(-4117, "stop order is triggering"), -4117),
    "-4120": (400, error(-4120), -4120),
    "-4164": (400, error(-4164), -4164),
    "-5022": (400, error(-5022), -5022),
    "-5028": (400, error(-5028), -5028),
}


@pytest.mark.parametrize("request_", ALL, ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("row", UNKNOWN)
def test_unknown(row, request_):
    outcome = classify(request_, *UNKNOWN[row])
    assert isinstance(outcome, Unknown)
    assert outcome.request is request_
    assert outcome.reason


@pytest.mark.parametrize("request_", ALL, ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("row", REFUSED)
def test_refused(row, request_):
    status, body, code = REFUSED[row]
    outcome = classify(request_, status, body)
    assert isinstance(outcome, Refused)
    assert outcome.code == code


@pytest.mark.parametrize("request_", [ORDER, ALGO])
def test_a_duplicate_id_means_that_an_earlier_copy_lives(request_):
    assert isinstance(classify(request_, 400, error(-4116, "ClientOrderId is duplicated.")), Unknown)


def test_a_cancel_has_no_id_to_duplicate():
    assert isinstance(classify(CANCEL, 400, error(-4116)), Refused)


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (ORDER, {"orderId": BIG, "clientOrderId": CID, "status": "NEW", "algoId": 5}),
        (ORDER, {"orderId": BIG}),
        (ALGO, {"algoId": BIG, "clientAlgoId": CID, "algoStatus": "NEW", "orderId": 5}),
        (CANCEL, {"orderId": BIG, "clientOrderId": CID, "status": "CANCELED"}),
        (CANCEL_ALGO, {"algoId": BIG, "clientAlgoId": CID, "code": "200", "msg": "success"}),
    ],
)
def test_accepted_keeps_ids_above_two_to_53(request_, body):
    assert classify(request_, 200, json.dumps(body).encode()) == Accepted(request=request_, venue_id=BIG)


@given(st.integers(100, 599), st.binary(max_size=200))
@settings(max_examples=200)
def test_no_answer_escapes_as_an_exception_and_only_a_named_id_is_accepted(status, body):
    for request in ALL:
        outcome = classify(request, status, body)
        assert isinstance(outcome, Unknown | Refused)


@given(st.integers(-6000, 300), st.text(max_size=80), st.integers(500, 599))
@settings(max_examples=200)
def test_a_server_error_is_unknown_unless_it_proves_failure(code, text, status):
    outcome = classify_error(ORDER, status, code, text)
    proves = code in (-1001, -1008) or text.startswith(("Service Unavailable", "Internal error; unable"))
    assert isinstance(outcome, Unknown) or proves
