"""The WebSocket API: an order's life, logon, errors, and anything at all that may come over it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.exchange.api_dispatch import ROUTES
from aegis.exchange.api_ws import METHODS
from aegis.exchange.security import AccountSetup
from tests.support.exchange_rig import KEY, MS, SECRET, ApiRequest, make_rig, signed

LIMIT = {"symbol": "AAAUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "99.0"}


def ws(rig, method, params=None, id=1, connection="c"):
    return ws_raw(rig, json.dumps({"id": id, "method": method, "params": params or {}}).encode(), connection)


def ws_raw(rig, message, connection="c"):
    replies = []
    rig.simulator.ws_api(message, rig.now_ns, replies.append, connection)
    rig.wait(2_000)
    (reply,) = replies
    return json.loads(reply)


def ws_signed(rig, secret=SECRET, key=KEY, **params):
    params |= {"apiKey": key, "timestamp": rig.now_ns // MS}
    payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
    return params | {"signature": hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()}


def test_an_orders_life_over_the_socket():
    rig = make_rig()
    reply = ws(rig, "order.place", ws_signed(rig, **LIMIT, newClientOrderId="w"), id="abc")
    assert (reply["id"], reply["status"]) == ("abc", 200)
    assert reply["result"]["clientOrderId"] == "w"
    assert {row["rateLimitType"]: row["count"] for row in reply["rateLimits"]}["ORDERS"] == 1
    found = {"symbol": "AAAUSDT", "origClientOrderId": "w"}
    assert ws(rig, "order.status", ws_signed(rig, **found))["result"]["status"] == "NEW"
    assert ws(rig, "order.cancel", ws_signed(rig, **found))["result"]["status"] == "CANCELED"
    again = ws(rig, "order.cancel", ws_signed(rig, **found))
    assert (again["status"], again["error"]["code"]) == (400, -2011)
    rig.order("BUY", "1")
    stop = {"algoType": "CONDITIONAL", "symbol": "AAAUSDT", "side": "SELL", "type": "STOP_MARKET", "triggerPrice":
            "98.0", "closePosition": "true", "clientAlgoId": "s"}  # fmt: skip
    assert ws(rig, "algoOrder.place", ws_signed(rig, **stop))["result"]["algoStatus"] == "NEW"
    assert ws(rig, "algoOrder.cancel", ws_signed(rig, clientAlgoId="s"))["result"]["code"] == "200"
    assert ws(rig, "v2/account.position", ws_signed(rig))["result"][0]["positionAmt"] == "1"
    assert ws(rig, "account.balance", ws_signed(rig))["result"][0]["asset"] == "USDT"
    assert dict(rig.view.only.accepted)["w"] == 1


def test_the_published_socket_signatures_are_over_sorted_raw_values():
    secret = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
    key = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
    rig = make_rig(accounts=(AccountSetup(id="main", api_key=key, secret=secret),))
    sent = {
        "symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01000000",
        "price": "52000.00", "recvWindow": 100, "timestamp": 1645423376532, "apiKey": key,
        "signature": "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24",
    }  # fmt: skip
    raw = sent | {
        "symbol": "１２３４５６", "side": "BUY", "price": "0.10000000", "quantity": "1.00000000", "recvWindow": 5000,
        "signature": "b33892ae8e687c939f4468c6268ddd4c40ac1af18ad19a064864c47bae0752cd",
    }  # fmt: skip
    # Their timestamps are years old: a good signature would get -1121, so the clock is what has to be looked past.
    rig.simulator._dispatcher.require_fresh = lambda params: None
    assert ws(rig, "order.place", sent)["error"]["code"] == -1121
    assert ws(rig, "order.place", raw)["error"]["code"] == -1121
    assert ws(rig, "order.place", sent | {"price": "52000.0"})["error"]["code"] == -1022


def test_logging_on_with_ed25519_makes_the_keys_of_later_requests_unnecessary():
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public = private.public_key().public_bytes_raw()
    rig = make_rig(accounts=(AccountSetup(id="main", api_key="ED", public_key=public),))

    def logon(signer):
        params = {"apiKey": "ED", "timestamp": rig.now_ns // MS}
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params)).encode()
        return params | {"signature": base64.b64encode(signer.sign(payload)).decode()}

    stranger = Ed25519PrivateKey.from_private_bytes(b"1" * 32)
    assert ws(rig, "session.logon", logon(stranger))["error"]["code"] == -1022
    assert ws(rig, "session.status")["result"]["apiKey"] is None
    assert ws(rig, "session.logon", logon(private))["result"]["apiKey"] == "ED"
    order = LIMIT | {"timestamp": rig.now_ns // MS}
    assert ws(rig, "order.place", order)["status"] == 200
    assert ws(rig, "order.place", LIMIT)["error"]["code"] == -1102
    assert ws(rig, "order.place", order, connection="other")["error"]["code"] == -2014
    assert ws(rig, "session.logout")["result"]["apiKey"] is None
    assert ws(rig, "order.place", order)["error"]["code"] == -2014


def test_hmac_keys_cannot_log_on():
    rig = make_rig()
    assert ws(rig, "session.logon", ws_signed(rig))["error"]["code"] == -2015


def test_listen_keys_market_data_and_rate_limits_over_the_socket():
    rig = make_rig()
    key = ws(rig, "userDataStream.start", {"apiKey": KEY})["result"]["listenKey"]
    assert ws(rig, "userDataStream.ping", {"apiKey": KEY})["result"]["listenKey"] == key
    assert ws(rig, "userDataStream.stop", {"apiKey": KEY})["result"] == {}
    assert ws(rig, "ticker.book", {"symbol": "AAAUSDT"})["result"]["bidPrice"] == "99.9"
    assert ws(rig, "depth", {"symbol": "AAAUSDT", "limit": 5})["result"]["asks"][0][0] == "100.1"
    assert "rateLimits" not in ws(rig, "depth", {"symbol": "AAAUSDT", "returnRateLimits": False})
    assert all(endpoint in ROUTES for endpoint in METHODS.values())


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", -1000),
        (b"{", -1000),
        (b"[]", -1000),
        (b"\xff\xfe", -1000),
        (b"[" * 5_000, -1000),
        (b'{"id":1}', -1102),
        (b'{"id":{},"method":"depth"}', -1102),
        (b'{"id":true,"method":"depth"}', -1102),
        (b'{"id":1.5,"method":5}', -1102),
        (b'{"id":1,"method":"nothing"}', -1020),
        (b'{"id":1,"method":"order.place","params":[1]}', -1102),
        (b'{"id":1,"method":"order.place","params":{"symbol":{}}}', -1130),
        (b'{"id":1,"method":"order.place"}', -2014),
    ],
)
def test_frames_that_are_none_get_an_error_of_the_usual_shape(message, code):
    rig = make_rig()
    reply = ws_raw(rig, message)
    assert reply["error"]["code"] == code
    assert reply["status"] in (400, 401)
    assert set(reply) == {"id", "status", "error", "rateLimits"}


TEXTS = st.text(max_size=12)
NAMES = st.sampled_from(
    ["symbol", "side", "type", "quantity", "price", "timeInForce", "limit", "interval", "orderId", "leverage",
     "startTime", "triggerPrice", "algoType", "closePosition", "marginType", "pair", "contractType", "fromId",
     "recvWindow"]
)  # fmt: skip
VALUES = st.one_of(
    TEXTS,
    st.integers(-(10**20), 10**20).map(str),
    st.sampled_from(
        ["AAAUSDT", "BUY", "MARKET", "LIMIT", "GTC", "1", "0.1", "99.9", "1m", "PERPETUAL", "CONDITIONAL", "true"]
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(ROUTES)), st.dictionaries(NAMES, VALUES, max_size=8)), max_size=6))
def test_any_signed_parameters_get_an_answer_of_the_venues_shape(calls):
    rig = make_rig(weight_limit=10**9)
    for (method, path), params in calls:
        answer = rig.send(signed(method, path, params, rig.now_ns // MS))
        body = json.loads(answer.body)
        assert answer.status in (200, 400, 401, 404, 429)
        if answer.status != 200:
            assert set(body) == {"code", "msg"}
    assert rig.view.only.wallet == rig.wallet()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from(sorted(ROUTES)))
def test_any_bytes_get_an_answer_and_change_nothing(query, body, endpoint):
    rig = make_rig()
    before = rig.ledger.seq
    method, path = endpoint
    answer = rig.send(ApiRequest(method=method, path=path, query=query, body=body, api_key=KEY))
    assert answer.status in (200, 400, 401)
    json.loads(answer.body)
    assert rig.ledger.seq == before


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=80), st.dictionaries(TEXTS, st.one_of(TEXTS, st.integers(), st.none())).map(
    lambda fields: json.dumps({"id": 1, "method": "order.place", "params": fields}).encode())))  # fmt: skip
def test_any_frame_gets_a_reply_and_changes_nothing(message):
    rig = make_rig()
    before = rig.ledger.seq
    assert "error" in ws_raw(rig, message)
    assert rig.ledger.seq == before
