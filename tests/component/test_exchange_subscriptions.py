"""Paths, stream names and control messages of PROTOCOL 1.2 and 1.3, without a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.exchange.subscriptions import (
    Control,
    Endpoint,
    ForcedClose,
    Route,
    Stream,
    StreamKind,
    parse_endpoint,
    parse_stream,
)


class Client:
    def __init__(self, *, combined: bool = False) -> None:
        self.combined = combined
        self.names: dict[str, None] = {}

    def subscribe(self, name: str) -> None:
        self.names[name] = None

    def unsubscribe(self, name: str) -> None:
        self.names.pop(name, None)


def ask(control: Control, **request: Any) -> Any:
    return json.loads(control.answer(json.dumps(request).encode()))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/public/ws", Endpoint(route=Route.PUBLIC, combined=False)),
        ("/public/ws/a@trade/b@trade", Endpoint(route=Route.PUBLIC, combined=False, names=("a@trade", "b@trade"))),
        ("/market/stream?streams=a@aggTrade/b@aggTrade/a@aggTrade",
         Endpoint(route=Route.MARKET, combined=True, names=("a@aggTrade", "b@aggTrade"))),
        ("/market/stream", Endpoint(route=Route.MARKET, combined=True)),
        ("/ws/a@bookTicker", Endpoint(route=Route.UNROUTED, combined=False, names=("a@bookTicker",))),
        ("/stream?streams=a@bookTicker", Endpoint(route=Route.UNROUTED, combined=True, names=("a@bookTicker",))),
        ("/private/ws/KEY", Endpoint(route=Route.PRIVATE, combined=False, names=("KEY",))),
        ("/private/ws?listenKey=KEY", Endpoint(route=Route.PRIVATE, combined=False, names=("KEY",))),
        ("/private/stream?listenKey=K1&events=A/B&listenKey=K2&events=C",
         Endpoint(route=Route.PRIVATE, combined=True, names=("K1", "K2"),
                  events={"K1": frozenset("AB"), "K2": frozenset("C")})),
        ("/public/stream?streams=%E6%B5%8Busdt@trade",
         Endpoint(route=Route.PUBLIC, combined=True, names=("测usdt@trade",))),
        ("/ws-fapi/v1", Endpoint(route=Route.TRADE, combined=False)),
        ("/ws-fapi/v1?returnRateLimits=false", Endpoint(route=Route.TRADE, combined=False, rate_limits=False)),
        ("/", None),
        ("/public", None),
        ("/public/other", None),
        ("/ws-fapi/v2", None),
        ("/elsewhere/ws", None),
    ],
)  # fmt: skip
def test_path_names_route_form_and_streams(url: str, expected: Endpoint | None) -> None:
    path, _, query = url.partition("?")
    assert parse_endpoint(path, query) == expected


@pytest.mark.parametrize(
    ("name", "stream", "route"),
    [
        ("btcusdt@bookTicker", Stream(StreamKind.BOOK_TICKER, "btcusdt"), Route.PUBLIC),
        ("!bookTicker", Stream(StreamKind.ALL_BOOK_TICKERS, "", 5_000), Route.PUBLIC),
        ("btcusdt@trade", Stream(StreamKind.TRADE, "btcusdt"), Route.PUBLIC),
        ("btcusdt@depth20@100ms", Stream(StreamKind.DEPTH, "btcusdt", 100, 20), Route.PUBLIC),
        ("btcusdt@depth5", Stream(StreamKind.DEPTH, "btcusdt", 250, 5), Route.PUBLIC),
        ("测试usdt@aggTrade", Stream(StreamKind.AGG_TRADE, "测试usdt"), Route.MARKET),
        ("btcusdt@markPrice", Stream(StreamKind.MARK_PRICE, "btcusdt", 3_000), Route.MARKET),
        ("btcusdt@markPrice@1s", Stream(StreamKind.MARK_PRICE, "btcusdt", 1_000), Route.MARKET),
        ("!markPrice@arr@1s", Stream(StreamKind.ALL_MARK_PRICES, "", 1_000), Route.MARKET),
        ("!contractInfo", Stream(StreamKind.CONTRACT_INFO), Route.MARKET),
        ("!forceOrder@arr", Stream(StreamKind.ALL_FORCE_ORDERS), Route.MARKET),
    ],
)
def test_stream_names_and_the_one_route_that_carries_them(name: str, stream: Stream, route: Route) -> None:
    parsed = parse_stream(name)
    assert parsed == stream
    carrying = {candidate for candidate in Route if candidate.carries(stream)}
    assert carrying == ({Route.PUBLIC, Route.UNROUTED} if route is Route.PUBLIC else {route})


@pytest.mark.parametrize(
    "name", ["", "BTCUSDT@trade", "btcusdt", "@trade", "btcusdt@depth7", "btcusdt@markPrice@2s", "!x"]
)
def test_other_names_are_no_streams(name: str) -> None:
    assert parse_stream(name) is None


def test_subscribe_list_unsubscribe_life() -> None:
    client = Client()
    control = Control(client, 10)
    assert ask(control, method="SUBSCRIBE", params=["b@trade", "nonsense"], id=1) == {"result": None, "id": 1}
    assert ask(control, method="SUBSCRIBE", params=["a@trade", "b@trade"], id=2) == {"result": None, "id": 2}
    listed = ask(control, method="LIST_SUBSCRIPTIONS", id=3)
    assert listed == {"result": ["b@trade", "nonsense", "a@trade"], "id": 3}
    assert ask(control, method="UNSUBSCRIBE", params=["b@trade", "never"], id=4) == {"result": None, "id": 4}
    assert list(client.names) == ["nonsense", "a@trade"]


@pytest.mark.parametrize("combined", [False, True])
def test_combined_property_starts_as_the_path_says_and_can_be_set(combined: bool) -> None:
    control = Control(Client(combined=combined), 10)
    assert ask(control, method="GET_PROPERTY", params=["combined"], id=1)["result"] is combined
    assert ask(control, method="SET_PROPERTY", params=["combined", not combined], id=2) == {"result": None, "id": 2}
    assert ask(control, method="GET_PROPERTY", params=["combined"], id=3)["result"] is not combined


@pytest.mark.parametrize(
    ("message", "code", "text", "request_id"),
    [
        ('{"method":"SET_PROPERTY","params":["other",true],"id":7}', 0, "Unknown property", 7),
        ('{"method":"GET_PROPERTY","params":["other"],"id":7}', 0, "Unknown property", 7),
        ('{"method":"SET_PROPERTY","params":["combined","x"],"id":7}', 1, "Invalid value type: expected Boolean", 7),
        ('{"method":"SET_PROPERTY","params":["combined"],"id":7}', 1, "Invalid value type: expected Boolean", 7),
        ('{"method":"SET_PROPERTY","params":[1,true],"id":7}', 2,
         "Invalid request: property name must be a string", 7),
        ('{"method":"GET_PROPERTY","params":["combined",1],"id":7}', 2, "Invalid request: too many parameters", 7),
        ('{"method":"LIST_SUBSCRIPTIONS","params":["x"],"id":7}', 2, "Invalid request: too many parameters", 7),
        ('{"method":"NOPE","id":7}', 2, "Invalid request: unknown variant `NOPE`, expected one of `SUBSCRIBE`", 7),
        ('{"method":3,"id":7}', 2, "Invalid request: unknown variant", 7),
        ('{"params":[],"id":7}', 2, "Invalid request: missing field `method`", 7),
        ('{"method":"SUBSCRIBE","params":[1],"id":7}', 2, "Invalid request: stream name must be a string", 7),
        ('{"method":"SUBSCRIBE","params":"x","id":7}', 2, "Invalid request: params must be an array", 7),
        ('{"method":"SUBSCRIBE","params":[]}', 2, "Invalid request: request ID must be an unsigned integer", None),
        ('{"method":"SUBSCRIBE","id":-1}', 2, "Invalid request: request ID must be an unsigned integer", None),
        ('{"method":"SUBSCRIBE","id":""}', 2, "Invalid request: request ID must be an unsigned integer", None),
        ('{"method":"SUBSCRIBE","id":true}', 2, "Invalid request: request ID must be an unsigned integer", None),
        ("[]", 2, "Invalid request:", None),
        ('{"method":', 3, "Invalid JSON: ", None),
        ("", 3, "Invalid JSON: ", None),
        ("[" * 100_000, 3, "Invalid JSON: ", None),
    ],
)  # fmt: skip
def test_wrong_control_message_gets_its_error(message: str, code: int, text: str, request_id: int | None) -> None:
    reply = json.loads(Control(Client(), 10).answer(message.encode()))
    assert reply["error"]["code"] == code
    assert reply["error"]["msg"].startswith(text)
    assert reply.get("id") == request_id


def test_more_streams_than_allowed_end_the_connection_and_repeats_do_not_count() -> None:
    client = Client()
    control = Control(client, 3)
    control.open(("a@trade", "b@trade"))
    ask(control, method="SUBSCRIBE", params=["a@trade", "b@trade", "c@trade", "c@trade"], id=1)
    with pytest.raises(ForcedClose):
        ask(control, method="SUBSCRIBE", params=["d@trade"], id=2)
    assert list(client.names) == ["a@trade", "b@trade", "c@trade"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
METHODS = st.sampled_from(["SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY", "x"])


FIELDS = {"method": METHODS | JSON, "params": JSON, "id": JSON}
REQUESTS = st.fixed_dictionaries({}, optional=FIELDS).map(lambda request: json.dumps(request).encode())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=50) | REQUESTS)
def test_any_message_gets_a_result_or_an_error(message: bytes) -> None:
    reply = json.loads(Control(Client(), 10).answer(message))
    assert ("result" in reply) != ("error" in reply)
