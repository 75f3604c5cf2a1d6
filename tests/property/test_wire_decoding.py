"""The compiled decoder against plain Python over `json.loads`: right to the last bit, or handed back; never misread."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aegis.kernels import market, number, wire
from aegis.kernels.fields import CELL_AT, DECIMALS, MANTISSA, read_decimal
from aegis.venue.inbox import Closed, Ping
from aegis.venue.market_events import Malformed
from tests.conftest import EXAMPLES
from tests.support.market_feed import (
    NOW_NS,
    SYMBOLS,
    Feed,
    PlainMarket,
    assert_equal,
    make_quote,
    make_table,
    merge,
    payloads,
    same,
    ticks,
)

sources = st.sampled_from((market.AGG_TRADE, market.TRADE))


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.lists(payloads(), max_size=20), st.lists(st.integers(0, 10**6), max_size=8), sources)
def test_generated_frames_in_random_chunks_say_what_json_says(texts: list[str], cuts: list[int], source: int) -> None:
    feed, model = Feed(make_table(source)), PlainMarket(source)
    for part in chunks(b"".join(wire.frame(text.encode()) for text in texts), cuts):
        feed.read(part)
    for text in texts:
        model.payload(text)
    feed.take()
    assert not [outcome for outcome in feed.outcomes if isinstance(outcome, Malformed)]
    assert_equal(feed.table, model)
    assert merge(feed.rows) == model.bars
    assert feed.counts().get("frames", 0) == len(texts)


@given(payloads(), st.data())
@settings(max_examples=EXAMPLES * 5)
def test_a_mutated_payload_is_never_misread(text: str, data: st.DataObject) -> None:
    """Whatever the compiled pass applies, a JSON parser reads too, and to the same values."""
    raw = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        how = data.draw(st.sampled_from(("flip", "drop", "insert", "repeat")))
        byte = data.draw(st.sampled_from(list(b'"\\{}[]:,.-+eE0159 \x00\x1f\x7f\x80\xc3\xff')) | st.integers(0, 255))
        if how == "flip":
            raw[at] = byte
        elif how == "drop" and len(raw) > 1:
            del raw[at]
        elif how == "insert":
            raw.insert(at, byte)
        else:
            end = data.draw(st.integers(at, len(raw)))
            raw[at:at] = raw[at:end]
    source = data.draw(sources)
    feed, model = Feed(make_table(source)), PlainMarket(source)
    before = feed.table.symbols.copy()
    feed.inbox.extend(wire.frame(bytes(raw)))
    status = feed.inbox.scan(feed.table, NOW_NS)
    if status == wire.SLOW:
        assert feed.table.symbols.tobytes() == before.tobytes()
        return
    model.payload(bytes(raw).decode())  # raises where it is no JSON
    assert_equal(feed.table, model)


@given(payloads(), st.data())
def test_the_strict_decoder_agrees_with_the_compiled_one(text: str, data: st.DataObject) -> None:
    source = data.draw(sources)
    fast, slow = Feed(make_table(source)), Feed(make_table(source))
    fast.read(wire.frame(text.encode()))
    slow.strict(text.encode(), NOW_NS)
    fast.take()
    slow.take()
    assert fast.table.symbols.tobytes() == slow.table.symbols.tobytes()
    assert [row.tobytes() for row in fast.rows] == [row.tobytes() for row in slow.rows]
    ways = ("frames", "slow_frames")
    assert {k: v for k, v in fast.counts().items() if k not in ways} == slow.counts()


@given(st.binary(max_size=80) | st.text(max_size=40).map(str.encode))
def test_arbitrary_bytes_never_raise_from_the_strict_decoder(payload: bytes) -> None:
    feed = Feed(make_table())
    feed.strict(payload, NOW_NS)
    assert feed.outcomes


@given(st.from_regex(r"\A[0-9]{1,12}(\.[0-9]{1,12})?\Z") | st.from_regex(r"\A[0-9]{0,3}[.+\-e0-9]{0,20}\Z"))
@example("9007199254740993")
@example("0.0000000000000000000001")
def test_a_decimal_is_bit_equal_to_float_or_not_read(text: str) -> None:
    data = np.frombuffer(text.encode() or b"x", np.uint8).copy()
    cells = make_table().cells
    if not read_decimal(data, 0, len(text), cells, CELL_AT):
        return
    mantissa, places = int(cells[MANTISSA, CELL_AT]), int(cells[DECIMALS, CELL_AT])
    if number.decimal_fits(mantissa, places):
        assert same(number.decimal(mantissa, places), float(text))


@given(st.integers(0, 2**53 - 1), st.integers(0, 22))
def test_the_division_is_exact_over_its_whole_range(mantissa: int, places: int) -> None:
    assert number.decimal(mantissa, places) == float(f"{mantissa}e-{places}")


@given(st.binary(max_size=6) | st.text(max_size=4).map(str.encode))
@example("\ud7ff".encode())
@example(b"\xed\xa0\x80")
@example(b"\xf4\x90\x80\x80")
@example(b"\xe0\x9f\xbf")
def test_utf8_is_judged_as_python_judges_it(data: bytes) -> None:
    try:
        data.decode()
        valid = True
    except UnicodeDecodeError:
        valid = False
    assert bool(number.utf8_ok(np.frombuffer(data + b"x", np.uint8).copy(), 0, len(data))) == valid


@given(st.lists(ticks(SYMBOLS, ("aggTrade",)), max_size=40), st.lists(st.booleans()))
def test_bars_from_conflated_rows_equal_bars_from_every_trade(events: list[dict], flushes: list[bool]) -> None:  # type: ignore[type-arg]
    """Times jump back and forth over bar boundaries, batches are taken anywhere, and the pool has room for two rows."""
    feed, model = Feed(make_table(rows=2)), PlainMarket(market.AGG_TRADE)
    for position, event in enumerate(events):
        event["a"] = position
        feed.read(wire.frame(json.dumps(event).encode()))
        model.event(event)
        if position < len(flushes) and flushes[position]:
            feed.take()
    feed.take()
    assert merge(feed.rows) == model.bars


@given(st.lists(ticks(SYMBOLS, ("aggTrade",)), min_size=1, max_size=20))
def test_a_trade_of_a_closed_bar_is_late_and_changes_nothing(events: list[dict]) -> None:  # type: ignore[type-arg]
    feed = Feed(make_table())
    market.close_before(feed.table, max(event["T"] for event in events) // 1000 * 1000 + 1000)
    for position, event in enumerate(events):
        feed.read(wire.frame(json.dumps(event | {"a": position, "st": 1}).encode()))
    feed.take()
    assert feed.rows == []
    assert feed.counts()["late_trades"] == len(events)
    assert all(math.isnan(last) for last in feed.table.symbols["last"])


@pytest.mark.parametrize("size", [0, 124, 125, 126, 127, 65535, 65536])
def test_every_length_form_is_read_with_the_frame_at_the_buffers_very_end(size: int) -> None:
    payload = make_quote(7).ljust(size)
    framed = wire.frame(payload)
    table, result = make_table(), wire.new_result()
    data = np.frombuffer(framed, np.uint8).copy()
    for cut in {0, 1, 2, 3, 9, 10, len(data) // 2, len(data) - 1}:
        assert wire.scan(data[:cut].copy(), 0, cut, 1, table, result) == wire.NEED_MORE
        assert result[wire.NEXT] == 0
    assert wire.scan(data, 0, len(data), 1, table, result) == wire.NEED_MORE
    assert result[wire.NEXT] == len(data)
    assert table.symbols["update_id"][0] == 7


@given(st.integers(0, 200))
def test_a_truncated_payload_is_not_read_past_its_end(length: int) -> None:
    payload = make_quote(7)[:length]
    data = np.frombuffer(wire.frame(payload), np.uint8).copy()
    table = make_table()
    status = wire.scan(data, 0, len(data), 1, table, wire.new_result())
    assert status == (wire.SLOW if length < len(make_quote(7)) else wire.NEED_MORE)


@pytest.mark.parametrize(
    "head",
    [
        bytes((0xC1, 1)),  # reserved bit
        bytes((0x81, 0x81)),  # masked
        bytes((0x83, 1)),  # reserved opcode
        bytes((0x8B, 1)),
        bytes((0x09, 1)),  # a ping in fragments
        bytes((0x89, 126, 0, 126)),  # a long ping
        bytes((0x81, 126, 0, 125)),  # length not in its shortest form
        bytes((0x81, 127)) + (65535).to_bytes(8, "big"),
        bytes((0x81, 127)) + (2**63).to_bytes(8, "big"),
        bytes((0x81, 127)) + (2**63 - 1).to_bytes(8, "big"),
        bytes((0x80, 1)),  # continues nothing
    ],
)
def test_a_protocol_violation_is_a_bad_frame_that_consumes_nothing(head: bytes) -> None:
    good = wire.frame(make_quote(7))
    data = np.frombuffer(good + head + bytes(300), np.uint8).copy()
    table, result = make_table(), wire.new_result()
    assert wire.scan(data, 0, len(data), 1, table, result) == wire.BAD_FRAME
    assert result[wire.NEXT] == len(good)


def test_a_new_message_inside_a_fragmented_one_is_a_bad_frame() -> None:
    data = np.frombuffer(b"\x01\x01{" + wire.frame(make_quote(7)), np.uint8).copy()
    table, result = make_table(), wire.new_result()
    assert wire.scan(data, 0, len(data), 1, table, result) == wire.SLOW
    assert wire.scan(data, int(result[wire.NEXT]), len(data), 1, table, result) == wire.BAD_FRAME
    assert table.symbols["update_id"][0] == -1


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=4), st.lists(st.integers(0, 10**6), max_size=5))
def test_fragments_with_control_frames_between_make_one_message(splits: list[int], cuts: list[int]) -> None:
    parts = chunks(make_quote(9), splits)
    stream = b""
    for position, part in enumerate(parts):
        opcode = (0x01 if position == 0 else 0) | (0x80 if position == len(parts) - 1 else 0)
        stream += (
            bytes((opcode, 126)) + len(part).to_bytes(2, "big") + part
            if len(part) > 125
            else bytes((opcode, len(part))) + part
        )
        stream += b"\x89\x02hi"
    feed = Feed(make_table())
    for chunk in chunks(stream + wire.frame(make_quote(10)) + b"\x88\x06\x03\xf0busy", cuts):
        feed.read(chunk)
    assert feed.table.symbols["update_id"][0] == 10
    assert feed.messages == [Ping(payload=b"hi")] * len(parts) + [Closed(code=1008, reason="busy")]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"b": "NaN"}, "$.b"),
        ({"a": "1e400"}, "$.a"),
        ({"B": "-1"}, "$.B"),
        ({"A": "1" * 30}, "$.A"),
        ({"b": 1.5}, "$.b"),
        ({"b": ""}, "$.b"),
        ({"b": "1."}, "$.b"),
        ({"b": ".5"}, "$.b"),
        ({"u": "7"}, "$.u"),
        ({"u": -1}, "$.u"),
        ({"u": 2**62}, "$.u"),
        ({"u": 1e300}, "$.u"),
        ({"E": 10**14}, "$.E"),
        ({"T": None}, "$.T"),
        ({"s": 5}, "$.s"),
        ({"st": "1"}, "$.st"),
    ],
)
def test_absurd_fields_are_malformed_by_name_and_change_nothing(changes: dict[str, object], field: str) -> None:
    feed = Feed(make_table())
    before = feed.table.symbols.copy()
    feed.read(wire.frame(make_quote(7, **changes)))
    (outcome,) = feed.outcomes
    assert isinstance(outcome, Malformed)
    assert field in outcome.reason
    assert feed.table.symbols.tobytes() == before.tobytes()
    assert feed.counts() == {"frames": 1, "slow_frames": 1, "malformed": 1}


def test_seventeen_digits_are_left_to_the_strict_decoder_and_read_right() -> None:
    feed = Feed(make_table())
    feed.read(wire.frame(make_quote(7, b="9007199254740993.1", B="0.1000000000000000000000")))
    assert feed.counts()["slow_frames"] == 1
    assert feed.table.symbols["bid"][0] == float("9007199254740993.1")


def test_an_older_update_id_never_overwrites_a_newer_one() -> None:
    feed = Feed(make_table())
    feed.read(wire.frame(make_quote(8)) + wire.frame(make_quote(7, b="1.4")) + wire.frame(make_quote(8, b="1.3")))
    assert feed.table.symbols["bid"][0] == 1.5
    assert feed.counts() == {"frames": 3, "quotes": 3, "stale_quotes": 2}


def test_symbols_with_equal_hashes_are_told_apart_by_their_bytes() -> None:
    table = market.new_table(["BTCUSDT"], [3], 1000, market.AGG_TRADE)
    table.slots[:] = 0  # every hash now leads to BTCUSDT
    assert market.symbol_index(table, "BTCUSDT") == 0
    table.slots[1:] = -1
    data = np.frombuffer(b"ETHUSDT", np.uint8).copy()
    assert market.find_symbol(table, data, 0, 7) == -1
