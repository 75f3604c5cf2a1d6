"""Frames say exactly what the records say, in Binance's words, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import attrs
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.exchange.books import Books
from aegis.exchange.frames import Encoder, combined, partial_depth
from aegis.exchange.history import aggregates
from aegis.exchange.listing import Listing, decimal_text, synthetic_listings
from aegis.exchange.synthetic import SyntheticSource
from aegis.exchange.websocket import Opcode, encode_frame
from aegis.kernels import encode
from aegis.kernels.books import MARK, PUBLIC, QUOTE, TRADE
from aegis.kernels.history import AGGREGATE
from tests.support.frames import texts

START_NS = 1_790_000_000_123_456_789
SECOND = 1_000_000_000
LISTINGS = synthetic_listings(40, 1, START_NS // 1_000_000)
EVERYTHING = 63


# -- the oracle: dictionaries and the standard library's JSON --------------------------------------------------------
def message(row: np.void, listing: Listing) -> dict[str, Any]:
    """What a QUOTE, TRADE or MARK record says."""
    now = int(row["time_ns"]) // 1_000_000
    if row["kind"] == QUOTE:
        return {
            "e": "bookTicker", "u": int(row["id"]), "s": listing.symbol, "b": listing.price_text(row["bid"]),
            "B": listing.quantity_text(row["bid_qty"]), "a": listing.price_text(row["ask"]),
            "A": listing.quantity_text(row["ask_qty"]), "T": now, "E": now, "st": 1, "ps": listing.symbol,
        }  # fmt: skip
    if row["kind"] == TRADE:
        return {
            "e": "trade", "E": now, "T": now, "s": listing.symbol, "t": int(row["id"]),
            "p": listing.price_text(row["price"]), "q": listing.quantity_text(row["qty"]), "X": "MARKET",
            "m": bool(row["side"] < 0), "st": 1,
        }  # fmt: skip
    mark, average, index, funding = (
        decimal_text(int(row[name]), 8) for name in ("mark_e8", "average_e8", "index_e8", "funding_e8")
    )
    return {
        "e": "markPriceUpdate", "E": now, "s": listing.symbol, "p": mark, "ap": average, "P": mark, "i": index,
        "r": funding, "T": int(row["next_funding_ms"]), "st": 1,
    }  # fmt: skip


def aggregate_message(row: np.void, listing: Listing) -> dict[str, Any]:
    now, quantity = int(row["time_ns"]) // 1_000_000, listing.quantity_text(row["qty"])
    return {
        "e": "aggTrade", "E": now, "a": int(row["id"]), "s": listing.symbol, "p": listing.price_text(row["price"]),
        "q": quantity, "nq": quantity, "f": int(row["first_id"]), "l": int(row["last_id"]), "T": now,
        "m": bool(row["side"] < 0), "st": 1,
    }  # fmt: skip


def expected(
    records: np.ndarray, sums: np.ndarray, masks: np.ndarray, listings: tuple[Listing, ...]
) -> Iterator[tuple[str, Any]]:
    """(stream, message) of everything that is wanted, arrays apart."""
    waiting = list(sums)
    for row in records:
        listing, wants = listings[row["symbol"]], masks[row["symbol"]]
        stream, text, third = listing.symbol.lower(), message(row, listing), row["time_ns"] // SECOND % 3 == 0
        streams = {
            QUOTE: ((1, f"{stream}@bookTicker", True), (32, "!bookTicker", True)),
            TRADE: ((2, f"{stream}@trade", True),),
            MARK: ((8, f"{stream}@markPrice@1s", True), (16, f"{stream}@markPrice", third)),
        }[int(row["kind"])]
        yield from ((name, text) for bit, name, due in streams if wants & bit and due)
        if row["kind"] == TRADE and waiting and waiting[0]["last_id"] == row["id"]:
            whole = waiting.pop(0)
            if wants & 4:
                yield f"{stream}@aggTrade", aggregate_message(whole, listing)


def framed(payload: Any, stream: str, wrapped: bool) -> bytes:
    value = {"stream": stream, "data": payload} if wrapped else payload
    return encode_frame(Opcode.TEXT, json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def all_frames(encoder: Encoder, records: np.ndarray, masks: np.ndarray, wrapped: bool = True) -> bytes:
    return b"".join(map(bytes, encoder.frames(records, aggregates(records), masks, wrapped=wrapped)))


# -- anything that a record can hold -----------------------------------------------------------------------------------
units = st.integers(0, 8)
ids = st.integers(0, 2**53)


@st.composite
def listings(draw: st.DrawFn) -> tuple[Listing, ...]:
    name = st.sampled_from(("BTCUSDT", "1000PEPEUSDT", "测试USDT", "A", "X" * 60))
    names = draw(st.lists(name, unique=True, min_size=1))
    out = []
    for index, name in enumerate(names):
        price, step = draw(units), draw(units)
        out.append(
            attrs.evolve(
                LISTINGS[0], symbol=name, index=index, price_decimals=price, qty_decimals=step,
                tick=draw(st.integers(1, 500)) * Decimal(1).scaleb(-price),
                step=draw(st.integers(1, 500)) * Decimal(1).scaleb(-step),
            )
        )
    return tuple(out)


@st.composite
def public(draw: st.DrawFn, symbols: int) -> np.ndarray:
    """Records in time order whose trades have rising ids, some of them of one order at one price."""
    records = np.zeros(draw(st.integers(0, 12)), PUBLIC)
    time_ns, last_id = draw(st.integers(0, 2**60)), draw(ids)
    for row in records:
        time_ns += draw(st.sampled_from((0, 0, 1, SECOND)))
        last_id += 1
        row["time_ns"], row["id"], row["symbol"] = time_ns, last_id, draw(st.integers(0, symbols - 1))
        row["kind"], row["side"] = draw(st.sampled_from((QUOTE, TRADE, MARK))), draw(st.sampled_from((-1, 1)))
        for name in ("bid", "ask", "bid_qty", "ask_qty", "price", "qty"):
            row[name] = draw(st.integers(0, 2**53))
        for name in ("mark_e8", "index_e8", "average_e8", "next_funding_ms"):
            row[name] = draw(st.integers(0, 2**62))
        row["funding_e8"] = draw(st.integers(-(10**8), 10**8))
        row["order"], row["agg_id"] = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    return records


@given(st.data(), listings(), st.booleans())
def test_any_records_are_encoded_as_json_says_them(
    data: st.DataObject, rows: tuple[Listing, ...], wrapped: bool
) -> None:
    records = data.draw(public(len(rows)))
    masks = np.array(data.draw(st.lists(st.integers(0, 63), min_size=len(rows), max_size=len(rows))), np.uint8)
    sums = np.zeros(0, AGGREGATE) if data.draw(st.booleans()) else aggregates(records)
    pieces = list(map(bytes, Encoder(rows).frames(records, sums, masks, wrapped=wrapped)))
    said = [framed(text, stream, wrapped) for stream, text in expected(records, sums, masks, rows)]
    assert b"".join(pieces) == b"".join(said)


@given(st.data(), listings(), st.booleans(), st.booleans())
def test_any_marks_are_arrays_by_their_time(
    data: st.DataObject, rows: tuple[Listing, ...], slow: bool, wrapped: bool
) -> None:
    records = data.draw(public(len(rows)))
    arrays: dict[int, list[Any]] = {}
    for row in records[records["kind"] == MARK]:
        if not slow or row["time_ns"] // SECOND % 3 == 0:
            arrays.setdefault(int(row["time_ns"]), []).append(message(row, rows[row["symbol"]]))
    stream = "!markPrice@arr" if slow else "!markPrice@arr@1s"
    said = b"".join(framed(array, stream, wrapped) for array in arrays.values())
    assert b"".join(map(bytes, Encoder(rows).mark_arrays(records, slow=slow, wrapped=wrapped))) == said


@given(st.integers(0, 10**18), st.integers(0, 18))
def test_decimals_are_exact_over_their_whole_range(value: int, decimals: int) -> None:
    listing = attrs.evolve(
        LISTINGS[0], tick=Decimal(1).scaleb(-decimals), price_decimals=decimals, step=Decimal(1), qty_decimals=0
    )
    record = np.zeros(1, PUBLIC)
    record["kind"], record["price"], record["qty"] = TRADE, value, value
    (text,) = texts(all_frames(Encoder([listing]), record, np.array([encode.TRADES], np.uint8)))
    told = msgspec.json.decode(text)["data"]
    assert (told["p"], told["q"]) == (listing.price_text(value), str(value))


# -- a market ----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def market() -> tuple[Books, np.ndarray]:
    source = SyntheticSource(LISTINGS, seed=3, start_ns=START_NS, rate=500.0)
    books = Books(LISTINGS, source, start_ns=START_NS)
    books.advance(START_NS + 10 * SECOND)
    books.take(0, 1, int(books.ask_qty[0, :3].sum()), None)
    books.advance(START_NS + 15 * SECOND)
    return books, books.published()


@pytest.fixture(scope="module")
def decoded(market: tuple[Books, np.ndarray]) -> dict[str, list[Any]]:
    """stream -> [message, ...]"""
    out: dict[str, list[Any]] = {}
    for text in texts(all_frames(Encoder(LISTINGS), market[1], np.full(len(LISTINGS), EVERYTHING, np.uint8))):
        value = msgspec.json.decode(text)
        out.setdefault(value["stream"], []).append(value["data"])
    return out


def test_a_market_is_encoded_as_json_says_it_however_small_the_buffer(
    market: tuple[Books, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = market[1][:3000]
    masks = (np.arange(len(LISTINGS)) % 64).astype(np.uint8)
    said = b"".join(framed(*pair[::-1], True) for pair in expected(records, aggregates(records), masks, LISTINGS))
    assert all_frames(Encoder(LISTINGS), records, masks) == said
    monkeypatch.setattr("aegis.exchange.frames._BUFFER_BYTES", 1)
    encoder = Encoder(LISTINGS)
    pieces = [len(piece) for piece in encoder.frames(records, aggregates(records), masks, wrapped=True)]
    assert len(pieces) > 10
    assert sum(pieces) == len(said)
    assert all_frames(encoder, records, masks) == said


def test_a_room_for_one_record_is_enough(market: tuple[Books, np.ndarray]) -> None:
    """The frames end exactly where the buffer's promise says, whatever the record."""
    records = market[1][-500:]
    labels = encode.new_labels(
        [row.symbol for row in LISTINGS],
        [(row.tick_units, row.price_decimals, row.step_units, row.qty_decimals) for row in LISTINGS],
    )
    out, cursor = np.zeros(encode.frame_bytes(labels), np.uint8), np.zeros(encode.CURSOR, np.int64)
    masks, got = np.full(len(LISTINGS), EVERYTHING, np.uint8), b""
    while not encode.encode(records, aggregates(records), labels, masks, False, out, cursor):
        got += bytes(out[: cursor[encode.POSITION]])
        cursor[encode.POSITION] = 0
    got += bytes(out[: cursor[encode.POSITION]])
    assert got == all_frames(Encoder(LISTINGS), records, masks, wrapped=False)


def test_aggregates_are_the_sum_of_their_trades_and_follow_each_other(decoded: dict[str, list[Any]]) -> None:
    trades = {trade["t"]: trade for trade in decoded["btcusdt@trade"]}
    sums = decoded["btcusdt@aggTrade"]
    assert len(trades) > len(sums) > 5
    for one in sums:
        parts = [trades.pop(number) for number in range(one["f"], one["l"] + 1)]
        assert Decimal(one["q"]) == sum(Decimal(part["q"]) for part in parts)
        assert {(part["p"], part["m"]) for part in parts} == {(one["p"], one["m"])}
    assert not trades
    for before, after in pairwise(sums):
        assert (after["a"], after["f"]) == (before["a"] + 1, before["l"] + 1)


def test_update_ids_rise(decoded: dict[str, list[Any]]) -> None:
    for symbol in ("btcusdt", "测试usdt"):
        ids = [message["u"] for message in decoded[f"{symbol}@bookTicker"]]
        assert sorted(set(ids)) == ids


def test_all_marks_come_as_one_array_a_second(market: tuple[Books, np.ndarray]) -> None:
    arrays = [
        msgspec.json.decode(text)
        for text in texts(b"".join(map(bytes, Encoder(LISTINGS).mark_arrays(market[1], slow=False, wrapped=False))))
    ]
    assert len(arrays) == 16  # the opening and fifteen seconds
    for array in arrays:
        assert [message["s"] for message in array] == [listing.symbol for listing in LISTINGS]


def test_nothing_is_encoded_that_nobody_wants(market: tuple[Books, np.ndarray]) -> None:
    assert all_frames(Encoder(LISTINGS), market[1], np.zeros(len(LISTINGS), np.uint8)) == b""
    assert all_frames(Encoder(LISTINGS), market[1][:0], np.full(len(LISTINGS), EVERYTHING, np.uint8)) == b""


@pytest.mark.parametrize("frames", [1, 3, 10, 10_000])
def test_frames_are_counted_off_into_groups(market: tuple[Books, np.ndarray], frames: int) -> None:
    encoder, masks = Encoder(LISTINGS), np.full(len(LISTINGS), EVERYTHING, np.uint8)
    arrays = b"".join(map(bytes, encoder.mark_arrays(market[1], slow=False, wrapped=True)))
    data = all_frames(encoder, market[1][:500], masks) + arrays + encode_frame(Opcode.PING, b"1")
    data += encode_frame(Opcode.TEXT, bytes(70_000))
    array = np.frombuffer(data, np.uint8).copy()
    ends = np.zeros(len(array), np.int64)
    places = [0, *ends[: encode.group_ends(array, len(array), frames, ends)].tolist()]
    assert places[-1] == len(data)
    counts = [len(headers(data[start:end])) for start, end in pairwise(places)]
    assert counts[:-1] == [frames] * (len(counts) - 1)
    assert 1 <= counts[-1] <= frames


def headers(data: bytes) -> list[int]:
    """Lengths of the frames in `data`, which holds whole ones."""
    found, at = [], 0
    while at < len(data):
        size = {126: 2, 127: 8}.get(data[at + 1], 0)
        length = int.from_bytes(data[at + 2 : at + 2 + size], "big") if size else data[at + 1]
        found.append(length)
        at += 2 + size + length
    assert at == len(data)
    return found


def test_depth_lists_the_displayed_levels_best_first(market: tuple[Books, np.ndarray]) -> None:
    books, _ = market
    told = msgspec.json.decode(partial_depth(books, 0, 10, previous=17))
    assert (told["s"], told["u"], told["pu"]) == ("BTCUSDT", books.update_id[0], 17)
    assert told["U"] <= told["u"]
    bids = [Decimal(price) for price, _ in told["b"]]
    asks = [Decimal(price) for price, _ in told["a"]]
    assert len(bids) == len(asks) == 10
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
    listing = LISTINGS[0]
    for side, levels in ((1, told["b"]), (-1, told["a"])):
        for price, quantity in levels:
            assert Decimal(quantity) == listing.quantity(books.displayed(0, side, listing.ticks(Decimal(price)))) > 0


def test_combined_streams_wrap_the_payload() -> None:
    assert msgspec.json.decode(combined("测试usdt@trade", b'{"e":1}')) == {"stream": "测试usdt@trade", "data": {"e": 1}}
