"""The compiled decoder against plain Python over `json.loads`: right to the last bit, or handed back; never misread."""

from __future__ import annotations

import json
import math

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.kernels import market, wire
from aegis.venue.inbox import Closed, Inbox, Ping
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
    ticks,
    written_quotes,
    written_trades,
)

sources = st.sampled_from((market.AGG_TRADE, market.TRADE))
any_texts = payloads() | written_quotes() | written_trades()


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.lists(any_texts, max_size=20), st.lists(st.integers(0, 10**6), max_size=8), sources)
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


def mutate(data: st.DataObject, raw: bytearray, places: st.SearchStrategy[int] | None = None) -> None:
    """Flip, drop, insert or repeat bytes, one to three times."""
    for _ in range(data.draw(st.integers(1, 3))):
        if not raw:
            return
        at = data.draw(st.integers(0, len(raw) - 1) if places is None else places) % len(raw)
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


@given(any_texts, st.data())
@settings(max_examples=10_000 if EXAMPLES >= 1000 else EXAMPLES * 2)
def test_a_mutated_payload_is_never_misread(text: str, data: st.DataObject) -> None:
    """Whatever the compiled pass applies, a JSON parser reads too, and to the same values."""
    raw = bytearray(text.encode())
    mutate(data, raw)
    source = data.draw(sources)
    table, model = make_table(source), PlainMarket(source)
    before = table.symbols.copy()
    framed = np.frombuffer(wire.frame(bytes(raw)), np.uint8).copy()  # nothing lies behind the frame
    if wire.scan(framed, 0, len(framed), NOW_NS, table, wire.new_result()) == wire.SLOW:
        assert table.symbols.tobytes() == before.tobytes()
        return
    model.payload(bytes(raw).decode())  # raises where it is no JSON
    assert_equal(table, model)


@attrs.frozen
class Part:
    """One frame by itself, as RFC 6455 reads it."""

    opcode: int
    final: bool
    payload: bytes


def plain_frames(data: bytes) -> tuple[list[Part], int, bool]:
    """The whole frames at the head of a server's stream, where they end, and whether a violation stands there."""
    parts: list[Part] = []
    at, fragmented = 0, False
    while len(data) - at >= 2:
        first, second = data[at], data[at + 1]
        opcode, final, length, start = first & 15, first >= 128, second, at + 2
        control = opcode >= 8
        if first & 0x70 or second >= 128 or opcode in (3, 4, 5, 6, 7) or opcode > 10:
            return parts, at, True
        if control and (not final or length > 125):
            return parts, at, True
        if size := {126: 2, 127: 8}.get(length):
            if len(data) < start + size:
                break
            length, start = int.from_bytes(data[start : start + size], "big"), start + size
            if length < {2: 126, 8: 65_536}[size] or length >= 2**40:
                return parts, at, True
        if len(data) < start + length:
            break
        if not control and (opcode == 0) != fragmented:
            return parts, at, True
        fragmented = fragmented if control else not final
        parts.append(Part(opcode, final, data[start : start + length]))
        at = start + length
    return parts, at, False


@given(st.lists(any_texts, min_size=1, max_size=5), st.data())
def test_a_mutated_stream_is_cut_into_the_frames_that_are_in_it(texts: list[str], data: st.DataObject) -> None:
    """Headers, lengths, fragments and control frames too, in chunks: applied, handed back whole, or a violation."""
    raw, heads = bytearray(), []
    for text in texts:
        pieces = [text.encode()]
        if data.draw(st.booleans()):
            pieces = chunks(pieces[0], [data.draw(st.integers(0, 10**6))])
        for place, piece in enumerate(pieces):
            framed = bytearray(wire.frame(piece))
            framed[0] = (1 if place == 0 else 0) | (0x80 if place == len(pieces) - 1 else 0)
            heads += range(len(raw), len(raw) + 4)
            raw += framed
            raw += data.draw(st.sampled_from((b"", b"", b"\x89\x02hi", b"\x8a\x00")))
    mutate(data, raw, st.sampled_from(heads) | st.integers(0, 10**6))
    parts, behind, violation = plain_frames(bytes(raw))
    inbox, table, model = Inbox(1 << 18), make_table(), PlainMarket(market.AGG_TRADE)
    handed: list[Part] = []
    status = wire.NEED_MORE
    for chunk in chunks(bytes(raw), data.draw(st.lists(st.integers(0, 10**6), max_size=5))):
        inbox.extend(chunk)
        status = wire.SLOW
        while status == wire.SLOW:
            done = int(table.counters[market.FRAMES])
            status = int(wire.scan(inbox.buffer, inbox.start, inbox.filled, NOW_NS, table, inbox.result))
            inbox.start = int(inbox.result[wire.NEXT])
            applied = int(table.counters[market.FRAMES]) - done - (status == wire.SLOW)
            for part in parts[done : done + applied]:
                assert (part.opcode, part.final) == (1, True)
                model.payload(part.payload.decode())
            if status == wire.SLOW:
                start, end = int(inbox.result[wire.PAYLOAD_START]), int(inbox.result[wire.PAYLOAD_END])
                payload = bytes(inbox.buffer[start:end])
                handed.append(Part(int(inbox.result[wire.OPCODE]), bool(inbox.result[wire.FIN]), payload))
                assert handed[-1] == parts[done + applied]
        if status == wire.BAD_FRAME:
            break
    assert status == (wire.BAD_FRAME if violation else wire.NEED_MORE)
    assert int(table.counters[market.FRAMES]) == len(parts)
    if not violation:
        assert inbox.filled - inbox.start == len(raw) - behind
    assert_equal(table, model)


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
