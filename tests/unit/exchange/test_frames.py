"""Frames say exactly what the records say, in Binance's words."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import attrs
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from aegis.exchange.books import Books
from aegis.exchange.frames import MARK_ARRAY_STREAM, Frames, combined, ws_frame
from aegis.exchange.listing import synthetic_listings
from aegis.exchange.synthetic import SyntheticSource
from aegis.kernels.books import MARK, PUBLIC, QUOTE, TRADE

START_NS = 1_790_000_000_123_456_789
SECOND = 1_000_000_000
LISTINGS = synthetic_listings(40, 1, START_NS // 1_000_000)
FRAMES = Frames(LISTINGS)


class Everything:
    def __contains__(self, stream):
        return True


@pytest.fixture(scope="module")
def market():
    source = SyntheticSource(LISTINGS, seed=3, start_ns=START_NS, rate=500.0)
    books = Books(LISTINGS, source, start_ns=START_NS)
    books.advance(START_NS + 10 * SECOND)
    books.take(0, 1, int(books.ask_qty[0, :3].sum()), None)
    books.advance(START_NS + 15 * SECOND)
    return books, books.published()


@pytest.fixture(scope="module")
def decoded(market):
    """stream -> [message, ...]"""
    out = {}
    for stream, payload in FRAMES.encode(market[1], Everything()):
        out.setdefault(stream, []).append(msgspec.json.decode(payload))
    return out


def rows(records, symbol, kind):
    return [row for row in records if row["symbol"] == symbol and row["kind"] == kind]


@pytest.mark.parametrize("symbol", [0, 1, 20, 40])
def test_quotes_decode_to_their_record(market, decoded, symbol):
    listing = LISTINGS[symbol]
    messages = decoded[f"{listing.symbol.lower()}@bookTicker"]
    records = rows(market[1], symbol, QUOTE)
    assert len(messages) == len(records) > 5
    for message, record in zip(messages, records, strict=True):
        now = int(record["time_ns"]) // 1_000_000
        assert set(message) == {"e", "u", "s", "b", "B", "a", "A", "T", "E", "st", "ps"}
        assert (message["e"], message["s"], message["ps"], message["st"]) == (
            "bookTicker",
            listing.symbol,
            listing.symbol,
            1,
        )
        assert (message["T"], message["E"], message["u"]) == (now, now, record["id"])
        assert Decimal(message["b"]) == int(record["bid"]) * listing.tick
        assert Decimal(message["a"]) == int(record["ask"]) * listing.tick
        assert Decimal(message["B"]) == int(record["bid_qty"]) * listing.step
        assert Decimal(message["A"]) == int(record["ask_qty"]) * listing.step
        assert len(message["b"].partition(".")[2]) == listing.price_decimals
    assert sorted({message["u"] for message in messages}) == [message["u"] for message in messages]


@pytest.mark.parametrize("symbol", [0, 1, 2])
def test_trades_decode_to_their_record_and_aggregates_to_their_sum(market, decoded, symbol):
    listing = LISTINGS[symbol]
    trades = decoded[f"{listing.symbol.lower()}@trade"]
    records = rows(market[1], symbol, TRADE)
    assert len(trades) == len(records) > 5
    expected = {}
    for message, record in zip(trades, records, strict=True):
        assert message == {
            "e": "trade", "E": int(record["time_ns"]) // 1_000_000, "T": int(record["time_ns"]) // 1_000_000,
            "s": listing.symbol, "t": record["id"], "p": listing.price_text(record["price"]),
            "q": listing.quantity_text(record["qty"]), "X": "MARKET", "m": bool(record["side"] < 0), "st": 1,
        }  # fmt: skip
        group = expected.setdefault((int(record["order"]), int(record["price"])), [0, [], message])
        group[0] += int(record["qty"])
        group[1].append(message["t"])
    aggregates = decoded[f"{listing.symbol.lower()}@aggTrade"]
    assert len(aggregates) == len(expected)
    for message, (total, ids, trade) in zip(aggregates, expected.values(), strict=True):
        assert set(message) == {"e", "E", "a", "s", "p", "q", "nq", "f", "l", "T", "m", "st"}
        assert (message["f"], message["l"]) == (ids[0], ids[-1])
        assert message["q"] == message["nq"] == listing.quantity_text(total)
        assert (message["p"], message["m"], message["T"]) == (trade["p"], trade["m"], trade["T"])
    for before, after in pairwise(aggregates):
        assert (after["a"], after["f"]) == (before["a"] + 1, before["l"] + 1)


def test_marks_come_single_and_as_one_array_a_second(market, decoded):
    arrays = decoded[MARK_ARRAY_STREAM]
    assert len(arrays) == 16  # the opening and fifteen seconds
    for k, array in enumerate(arrays):
        assert [message["s"] for message in array] == [listing.symbol for listing in LISTINGS]
        assert array[5] == decoded[f"{LISTINGS[5].symbol.lower()}@markPrice"][k]
    record = rows(market[1], 5, MARK)[-1]
    message = arrays[-1][5]
    assert set(message) == {"e", "E", "s", "p", "ap", "P", "i", "r", "T", "st"}
    assert message["e"] == "markPriceUpdate"
    assert Decimal(message["p"]) == Decimal(int(record["mark_e8"])).scaleb(-8)
    assert Decimal(message["i"]) == Decimal(int(record["index_e8"])).scaleb(-8)
    assert Decimal(message["ap"]) == Decimal(int(record["average_e8"])).scaleb(-8)
    assert Decimal(message["r"]) == Decimal(int(record["funding_e8"])).scaleb(-8)
    assert message["T"] == record["next_funding_ms"] > message["E"]


def test_a_negative_funding_rate_keeps_its_sign():
    record = np.zeros(1, PUBLIC)
    record["kind"], record["funding_e8"] = MARK, -12_345
    assert msgspec.json.decode(FRAMES.mark_price(record[0].item()))["r"] == "-0.00012345"


def test_nothing_is_encoded_that_nobody_wants(market):
    assert FRAMES.encode(market[1], set()) == []
    wanted = {f"{LISTINGS[0].symbol.lower()}@aggTrade", f"{LISTINGS[1].symbol.lower()}@markPrice"}
    assert {stream for stream, _ in FRAMES.encode(market[1], wanted)} == wanted


def test_a_symbol_that_is_not_ascii_travels_as_utf8(market, decoded):
    assert LISTINGS[40].symbol == "测试USDT"
    assert decoded["测试usdt@bookTicker"][0]["s"] == "测试USDT"


def test_depth_lists_the_displayed_levels_best_first(market):
    books, _ = market
    message = msgspec.json.decode(FRAMES.partial_depth(books, 0, 10, previous=17))
    assert (message["s"], message["u"], message["pu"]) == ("BTCUSDT", books.update_id[0], 17)
    assert message["U"] <= message["u"]
    bids = [Decimal(price) for price, _ in message["b"]]
    asks = [Decimal(price) for price, _ in message["a"]]
    assert len(bids) == len(asks) == 10
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
    listing = LISTINGS[0]
    for side, levels in ((1, message["b"]), (-1, message["a"])):
        for price, quantity in levels:
            assert Decimal(quantity) == listing.quantity(books.displayed(0, side, listing.ticks(Decimal(price)))) > 0


@given(st.integers(0, 10**15), st.integers(0, 8))
def test_decimal_text_of_frames_is_exact(value, decimals):
    listing = attrs.evolve(
        LISTINGS[0], tick=Decimal(1).scaleb(-decimals), price_decimals=decimals, step=Decimal(1), qty_decimals=0
    )
    record = np.zeros(1, PUBLIC)
    record["kind"], record["price"], record["qty"] = TRADE, value, value
    message = msgspec.json.decode(Frames([listing]).trade(record[0].item()))
    assert (message["p"], message["q"]) == (listing.price_text(value), str(value))


def test_combined_streams_wrap_the_payload():
    assert msgspec.json.decode(combined("测试usdt@trade", b'{"e":1}')) == {"stream": "测试usdt@trade", "data": {"e": 1}}


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_a_websocket_client_reads_the_frame_back(size):
    protocol = FrameProtocol(client=True, extensions=[])
    protocol.receive_bytes(ws_frame(b"x" * size))
    frames = list(protocol.received_frames())
    assert all(frame.opcode is Opcode.TEXT for frame in frames)
    assert frames[-1].message_finished
    assert "".join(frame.payload for frame in frames) == "x" * size
