"""The compiled reading of recorded lines against the plain one, on sound, odd and damaged lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.exchange import recorded
from aegis.exchange.lines import FrameLines, chunk_of
from aegis.exchange.recorded import RecordedSource, listing_from_frames
from aegis.kernels import lines as kernels
from aegis.kernels import wire
from aegis.kernels.depth import judge_depth
from aegis.kernels.lines import Chunk, apply_lines
from aegis.kernels.market import AGG_TRADE, counts, new_table
from aegis.kernels.recorded import ALL, LINE_LEFT, MARKS_DUE
from aegis.kernels.recorded_events import NEXT_MARK_NS, NOW_NS, OFFSET_NS, Reader
from aegis.venue import strict
from aegis.venue.market_events import Depth
from tests.support.compiled import compiled
from tests.support.recorded_lines import market_lines

LINES = market_lines(seconds=4)
LISTINGS = listing_from_frames(LINES)
judge = compiled(judge_depth)
DEPTH = (
    b'{"e":"depthUpdate","E":1723161256299,"T":1723161256298,"s":"BTCUSDT","U":5123,"u":5128,"pu":5121,'
    b'"b":[["58710.20","0.014"],["61496.50","0"]],"a":[["61800.30","3.330"]]}'
)
AT = int(LINES[5].partition(b" ")[0])


def left_to_python(reader: Reader, data: Any, lines: Any, start: int, events: Any, count: int) -> tuple[int, int, int]:
    """`read_lines` that reads nothing itself."""
    if start == len(lines):
        return ALL, start, count
    now_ns = max(int(reader.scalars[NOW_NS]), int(lines[start]["recv_ns"]) + int(reader.scalars[OFFSET_NS]))
    return (MARKS_DUE if now_ns >= reader.scalars[NEXT_MARK_NS] else LINE_LEFT), start, count


def read(texts: list[bytes]) -> tuple[Any, Any, Chunk]:
    chunk = chunk_of(texts)
    source = RecordedSource([chunk], LINES, LISTINGS)
    return source.events(2**62).copy(), source.counts, chunk


def account(chunk: Chunk, frames: FrameLines) -> tuple[Any, Any]:
    frames.count(chunk, LISTINGS)
    return frames.counts, {key: value.normalize() for key, value in frames.traded.items()}


oddities = st.sampled_from([
    b'{"e":"aggTrade","E":1,"T":5,"s":"BTCUSDT","p":"1.5","q":"9","m":true,"data":7}',
    b'{"e":"trade","E":1,"T":5,"s":"BTCUSDT","t":1,"p":"1.5","q":"9","m":true,"X":"NA"}',
    b'{"e":"trade","E":1,"T":5,"s":"BTCUSDT","t":1,"p":"1.5","q":9,"m":true}',
    b'{"stream":"x","e":"bookTicker","s":"BTCUSDT"}', b'{"e":"bookTicker","s":"BTCUSDT","q":5,"u":1}',
    b'{"stream":"x","data":' + DEPTH + b"}", DEPTH, b"[]", b"null", b"{}",
    b'{"e":"markPriceUpdate","s":"BTCUSDT","p":"60000.1","i":"60000"}', b'{"stream":"x","data":{"e":"kline","s":"A"}}',
])  # fmt: skip


@st.composite
def texts(draw: st.DrawFn) -> list[bytes]:
    """Recorded lines with some bytes changed, and oddities between them."""
    start = draw(st.integers(0, len(LINES) - 12))
    out = list(LINES[start : start + 12])
    for _ in range(draw(st.integers(0, 4))):
        number = draw(st.integers(0, len(out) - 1))
        head, space, payload = out[number].partition(b" ")
        place = draw(st.integers(0, len(payload) - 1))
        byte = draw(st.sampled_from([*b'0123456789.,:"{}[]\\ tBTCX-eE', 0x80, 0x01]))
        out[number] = head + space + payload[:place] + bytes([byte]) + payload[place + 1 :]
    for odd in draw(st.lists(oddities, max_size=3)):
        out.insert(draw(st.integers(0, len(out))), b"%d %b" % (AT, odd))
    return out


@settings(max_examples=150, deadline=None)
@given(texts())
def test_compiled_and_plain_reading_agree_on_events_counts_and_the_account(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("head") / "lines"
    path.write_bytes(LINES[0])
    events, told, chunk = read(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorded, "read_lines", left_to_python)
        plain, plain_told, plain_chunk = read(lines)
    np.testing.assert_array_equal(events, plain)
    assert told == plain_told
    np.testing.assert_array_equal(chunk.lines["now_ns"], plain_chunk.lines["now_ns"])
    assert account(chunk, FrameLines([path])) == account(plain_chunk, FrameLines([path]))


def test_usual_lines_are_read_by_compiled_code() -> None:
    _, _, chunk = read(list(LINES))
    assert (chunk.lines["kind"] != kernels.UNREAD_LINE).sum() == len(LINES) - 1  # all but the snapshot


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(DEPTH) - 1), st.sampled_from([*b'0123456789.,:"{}[]\\ tu-eE', 0x80]), st.booleans())
def test_a_depth_update_that_is_judged_sound_is_one_to_the_strict_decoder(at: int, byte: int, cut: bool) -> None:
    text = DEPTH[:at] + bytes([byte]) + DEPTH[at + (not cut) :]
    table = new_table(["BTCUSDT"], [3], 60_000, AGG_TRADE)
    data = np.frombuffer(text, np.uint8).copy()
    if judge(data, 0, len(data), table.cells) == len(data):
        assert [type(outcome) for outcome in strict.decode(text, table, 1)] == [Depth]


def test_a_sound_depth_update_is_judged_sound() -> None:
    table = new_table(["BTCUSDT"], [3], 60_000, AGG_TRADE)
    data = np.frombuffer(DEPTH, np.uint8).copy()
    assert judge(data, 0, len(data), table.cells) == len(data)


@given(st.lists(st.integers(0, len(LINES)), max_size=6), st.booleans())
def test_lines_change_the_table_as_frames_of_a_socket_do_wherever_they_are_cut(cuts: list[int], known: bool) -> None:
    _, _, chunk = read(list(LINES[:-1]))
    names, decimals = [one.symbol for one in LISTINGS], [one.qty_decimals for one in LISTINGS]
    tables = [new_table(names, decimals, 1_000, AGG_TRADE) for _ in range(2)]
    symbols = np.array([place if known else -1 for place in range(len(LISTINGS))], np.int32)
    number = 0
    for cut in [*sorted(cuts), len(chunk.lines)]:
        until_ns = int(chunk.lines["now_ns"][cut]) if cut < len(chunk.lines) else 2**62
        status, number, _ = apply_lines(chunk.data, chunk.lines, number, until_ns, symbols, tables[0])
        assert status == kernels.DONE
        assert number == len(chunk.lines) or chunk.lines["now_ns"][number] >= until_ns
    result = wire.new_result()
    for line in chunk.lines:
        data = np.frombuffer(wire.frame(bytes(chunk.data[line["start"] : line["end"]])), np.uint8).copy()
        assert wire.scan(data, 0, len(data), int(line["now_ns"]), tables[1], result) == wire.NEED_MORE
    assert counts(tables[0]) == counts(tables[1])
    for ours, theirs in zip(tables[0][:-1], tables[1][:-1], strict=True):
        assert ours.tobytes() == theirs.tobytes()
