"""User events: captured payloads, the shapes of the reference, and mutations."""

from __future__ import annotations

import json
from decimal import Decimal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.core import messages
from aegis.core.values import AlgoStatus, OrderStatus, Side
from aegis.venue.decode import Ignored, decode_user_event
from aegis.venue.wire_types import Malformed

BIG = 8389765739703625592

#: As captured on the wire on 2026-05-21.
CAPTURED = (
    b'{"e":"ORDER_TRADE_UPDATE","T":1779367929401,"E":1779367929402,"o":{"s":"SOLUSDT","c":"bot-1","S":"BUY",'
    b'"o":"LIMIT","f":"GTC","q":"21.26","p":"85.67","ap":"0","sp":"0","x":"NEW","X":"NEW","i":215456450616,"l":"0",'
    b'"z":"0","L":"0","n":"0","N":"USDT","T":1779367929401,"t":0,"b":"2520.672","a":"0","m":false,"R":true,'
    b'"wt":"CONTRACT_PRICE","ot":"LIMIT","ps":"SHORT","cp":false,"rp":"0","pP":false,"si":0,"ss":0,"V":"EXPIRE_MAKER",'
    b'"pm":"NONE","gtd":0,"er":"0"}}'
)
FILL = {
    "e": "ORDER_TRADE_UPDATE", "E": 2, "T": 1,
    "o": {"s": "BTCUSDT", "c": "1-1", "S": "SELL", "o": "MARKET", "f": "GTC", "q": "0.002", "p": "0",
          "ap": "27785.123456789", "sp": "0", "x": "TRADE", "X": "PARTIALLY_FILLED", "i": BIG, "l": "0.001",
          "z": "0.001", "L": "27785.10", "n": "0.01389255", "N": "USDT", "T": 1, "t": 77, "m": True, "R": False,
          "ot": "STOP_MARKET", "ps": "BOTH", "cp": True, "rp": "-1.25", "er": "2", "future": {"x": [1]}},
}  # fmt: skip
LITE = {"e": "TRADE_LITE", "E": 2, "T": 1, "s": "BTCUSDT", "q": "0.001", "p": "0", "m": False, "c": "1-1", "S": "BUY",
        "L": "27785.10", "l": "0.001", "t": 77, "i": BIG}  # fmt: skip
ALGO = {
    "e": "ALGO_UPDATE", "T": 19, "E": 20,
    "o": {"caid": "1-2", "aid": 4000000230627731, "at": "CONDITIONAL", "o": "STOP_MARKET", "s": "BTCUSDT", "S": "SELL",
          "ps": "BOTH", "f": "GTC", "q": "0", "X": "TRIGGERING", "ai": "", "tp": "27000.0", "p": "0", "V": "NONE",
          "wt": "MARK_PRICE", "pm": "NONE", "cp": True, "pP": False, "R": False, "tt": 19, "gtd": 0},
}  # fmt: skip
FINISHED = {**ALGO, "o": {**ALGO["o"], "X": "FINISHED", "ai": "88937381063", "ap": "0.13856", "aq": "38", "rm": "why"}}
ACCOUNT = {
    "e": "ACCOUNT_UPDATE", "T": 1, "E": 2,
    "a": {"B": [{"a": "USDT", "wb": "-122624.12345678", "cw": "100.1", "bc": "50.12345678"}],
          "P": [{"s": "BTCUSDT", "pa": "-0.5", "ep": "27000.1", "bep": "27001", "cr": "200", "up": "-1.5",
                 "mt": "isolated", "iw": "10.5", "ps": "BOTH"}],
          "m": "ORDER"},
}  # fmt: skip
FUNDING = {
    "e": "ACCOUNT_UPDATE", "T": 1, "E": 2,
    "a": {"B": [{"a": "USDT", "wb": "1", "cw": "1", "bc": "-0.1"}], "P": [], "m": "FUNDING_FEE", "S": "BTCUSDT"},
}  # fmt: skip
LEVERAGE = {"e": "ACCOUNT_CONFIG_UPDATE", "E": 2, "T": 1, "ac": {"s": "BTCUSDT", "l": 25}}
ASSETS = {"e": "ACCOUNT_CONFIG_UPDATE", "E": 2, "T": 1, "ai": {"j": True}}
CALL = {"e": "MARGIN_CALL", "E": 2, "cw": "3.16", "p": [{"s": "ETHUSDT", "ps": "LONG", "pa": "1", "mt": "CROSSED"}]}
EXPIRED = {"e": "listenKeyExpired", "E": 1736996475556, "listenKey": "K" * 64}
EVENTS = [FILL, LITE, ALGO, FINISHED, ACCOUNT, FUNDING, LEVERAGE, ASSETS, CALL, EXPIRED]


def decode(event: object):
    return decode_user_event(json.dumps(event).encode())


def test_captured_new_order():
    event = decode_user_event(CAPTURED)
    assert isinstance(event, messages.OrderUpdate)
    assert (event.event_ms, event.transaction_ms) == (1779367929402, 1779367929401)
    assert (event.symbol, event.cid, event.side, event.order_id) == ("SOLUSDT", "bot-1", Side.BUY, 215456450616)
    assert (event.status, event.execution, event.qty, event.price) == (
        OrderStatus.NEW, "NEW", Decimal("21.26"), Decimal("85.67"),
    )  # fmt: skip
    assert event.reduce_only
    assert event.trade_id == 0


def test_fill_is_exact():
    event = decode(FILL)
    assert isinstance(event, messages.OrderUpdate)
    assert event.order_id == BIG
    assert event.average_price == Decimal("27785.123456789")
    assert (event.last_qty, event.filled_qty, event.commission) == (
        Decimal("0.001"), Decimal("0.001"), Decimal("0.01389255"),
    )  # fmt: skip
    assert (event.type, event.original_type, event.maker, event.close_position) == ("MARKET", "STOP_MARKET", True, True)
    assert (event.realized_pnl, event.expiry_reason, event.trade_id) == (Decimal("-1.25"), "2", 77)


def test_trade_lite():
    assert decode(LITE) == messages.TradeLite(
        event_ms=2, transaction_ms=1, symbol="BTCUSDT", cid="1-1", side=Side.BUY, order_id=BIG, trade_id=77,
        last_qty=Decimal("0.001"), last_price=Decimal("27785.10"), maker=False,
    )  # fmt: skip


def test_algo_before_and_after_its_trigger():
    event = decode(ALGO)
    assert isinstance(event, messages.AlgoUpdate)
    assert (event.status, event.order_id, event.algo_id) == (AlgoStatus.TRIGGERING, None, 4000000230627731)
    assert (event.trigger, event.filled_qty) == (Decimal(27000), Decimal(0))
    done = decode(FINISHED)
    assert isinstance(done, messages.AlgoUpdate)
    assert (done.order_id, done.filled_qty, done.average_price) == (88937381063, Decimal(38), Decimal("0.13856"))
    assert done.reason == "why"


def test_account_update_position_and_funding():
    event = decode(ACCOUNT)
    assert isinstance(event, messages.AccountUpdate)
    assert event.balances[0].wallet == Decimal("-122624.12345678")
    (position,) = event.positions
    assert (position.amount, position.isolated, position.isolated_wallet) == (Decimal("-0.5"), True, Decimal("10.5"))
    funding = decode(FUNDING)
    assert isinstance(funding, messages.AccountUpdate)
    assert (funding.reason, funding.symbol, funding.positions) == ("FUNDING_FEE", "BTCUSDT", ())


def test_the_small_events():
    assert decode(LEVERAGE) == messages.ConfigUpdate(event_ms=2, symbol="BTCUSDT", leverage=25, multi_assets=None)
    assert decode(ASSETS) == messages.ConfigUpdate(event_ms=2, symbol=None, leverage=None, multi_assets=True)
    assert decode(CALL) == messages.MarginCall(event_ms=2, symbols=("ETHUSDT",))
    assert decode(EXPIRED) == messages.ListenKeyExpired(event_ms=1736996475556)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["e"])
def test_wrapped_and_shuffled_events_decode_to_the_same(event):
    shuffled = dict(reversed(event.items()))
    assert decode({"stream": "anything", "data": shuffled}) == decode(event)


@pytest.mark.parametrize(
    "event", [{"e": "GRID_UPDATE"}, {"result": None, "id": 1}, {}, {"stream": "x", "data": {"e": "STRATEGY_UPDATE"}}]
)
def test_unknown_events_are_ignored(event):
    assert isinstance(decode(event), Ignored)


def test_legacy_states_of_liquidations_are_new():
    event = decode({**FILL, "o": {**FILL["o"], "X": "NEW_ADL"}})
    assert isinstance(event, messages.OrderUpdate)
    assert event.status is OrderStatus.NEW


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("q", "NaN", "q"), ("q", "1e400", "q"), ("q", "9" * 30, "q"), ("q", 1.5, "q"), ("q", "1\n", "q"),
        ("q", "", "q"), ("q", "٣", "q"), ("q", None, "q"), ("i", -1, "i"), ("i", 2**63, "i"), ("i", "12", "i"),
        ("i", 1e30, "i"), ("S", "HOLD", "S"), ("X", "WEIRD", "status"), ("m", "true", "m"), ("t", 1.5, "t"),
        ("s", "", "s"), ("s", "X" * 100, "s"), ("c", 5, "c"),
    ],
)  # fmt: skip
def test_a_bad_field_is_named_and_nothing_is_half_used(field, value, named):
    event = decode({**FILL, "o": {**FILL["o"], field: value}})
    assert isinstance(event, Malformed)
    assert named in event.reason
    assert event.size > 0


@pytest.mark.parametrize("text", ["-1", "x", "9" * 30, "1.0", "٣"])
def test_a_child_order_id_that_is_no_id_is_malformed(text):
    assert isinstance(decode({**FINISHED, "o": {**FINISHED["o"], "ai": text}}), Malformed)


@pytest.mark.parametrize(
    "payload",
    [b"", b"null", b"[]", b'"x"', b"\xff\xfe", b'{"e":"\xff"}', b"[" * 100_000, b'{"data":' * 100_000,
     CAPTURED[:-1], CAPTURED + b"x", b'{"e":5}', b'{"data":null}', b'{"data":[1]}', b'{"e":"\\ud800"}'],
    ids=range(14),
)  # fmt: skip
def test_hostile_bytes_are_malformed_or_ignored(payload):
    assert isinstance(decode_user_event(payload), Malformed | Ignored)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_mutated_payloads_never_raise_and_stay_typed(data):
    payload = bytearray(json.dumps(data.draw(st.sampled_from(EVENTS))).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(payload) - 1))
        match data.draw(st.integers(0, 2)):
            case 0:
                payload[at] = data.draw(st.integers(0, 255))
            case 1:
                del payload[at : at + data.draw(st.integers(1, 9))]
            case _:
                payload[at:at] = data.draw(st.binary(max_size=6))
        if not payload:
            break
    event = decode_user_event(bytes(payload))
    if isinstance(event, messages.OrderUpdate):
        numbers = [v for v in attrs.asdict(event).values() if isinstance(v, Decimal)]
        assert all(v.is_finite() and abs(v) < Decimal(10) ** 20 for v in numbers)
        assert type(event.order_id) is int
