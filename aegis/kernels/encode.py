"""The wire encoder: published records of the simulated market as WebSocket frames with Binance's JSON in them.

The mirror image of `kernels/wire.py`: frames go straight into a byte buffer and no Python object is made. Numbers go
from integers to decimal text without a float in between; event time `E` equals the matching time `T`. Field order is
the venue's own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aegis.kernels.books import PUBLIC, QUOTE, TRADE
from aegis.kernels.compile import inner, kernel
from aegis.kernels.digits import put, put_decimal, put_integer, put_slice
from aegis.kernels.history import AGGREGATE

__all__ = [
    "AGGREGATES", "ALL_QUOTES", "CURSOR", "MARKS", "MARKS_SLOW", "POSITION", "QUOTES", "RECORD", "TRADES", "Labels",
    "array_bytes", "encode", "encode_mark_arrays", "frame_bytes", "group_ends", "new_labels",
]  # fmt: skip

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]

# Streams that a connection wants of a symbol, as bits of its mask.
QUOTES = 1  # <s>@bookTicker
TRADES = 2  # <s>@trade
AGGREGATES = 4  # <s>@aggTrade
MARKS = 8  # <s>@markPrice@1s
MARKS_SLOW = 16  # <s>@markPrice, every third second
ALL_QUOTES = 32  # !bookTicker

# Places of `cursor`, which `encode` moves.
RECORD = 0  # the first record that is not encoded
AGGREGATE_AT = 1  # the first aggregate that is not encoded
POSITION = 2  # behind the last byte written
CURSOR = 3  # its length

# Columns of `Labels.spec`.
_NAME, _NAME_END, _STREAM, _STREAM_END, _PRICE_UNITS, _PRICE_DECIMALS, _STEP_UNITS, _QTY_DECIMALS = range(8)

#: Marks are published once a second; the slow streams take those of every third.
SLOW_SECONDS = 3
_NS_PER_MS = 1_000_000
_NS_PER_SECOND = 1_000_000_000
#: Room of a frame's header before its length is known.
_HEAD = 4
#: More than the fixed text and the longest numbers of any frame take.
_FRAME_BYTES = 512
_NAMES_PER_FRAME = 4


class Labels(NamedTuple):
    """What of the symbols' messages never changes."""

    text: Bytes  # upper- and lower-case names, one after another
    spec: Int64  # [n, 8]: where the two names start and end, the size and decimals of a tick and of a step
    longest: int  # bytes of the longest name


def new_labels(names: list[str], units: list[tuple[int, int, int, int]]) -> Labels:
    """Labels of symbols.

    Args:
        names: upper case, as in `s`; stream names carry the lower-case form.
        units: of each symbol (units of 10**-price_decimals in a tick, price_decimals, the same two of a step).
    """
    texts = [text.encode() for name in names for text in (name, name.lower())]
    ends = np.cumsum([len(text) for text in texts])
    spec = np.zeros((len(names), 8), np.int64)
    spec[:, _NAME_END], spec[:, _STREAM_END] = ends[::2], ends[1::2]
    spec[:, _STREAM] = ends[::2]
    spec[1:, _NAME] = ends[1:-1:2]
    spec[:, _PRICE_UNITS:] = units
    return Labels(np.frombuffer(b"".join(texts), np.uint8).copy(), spec, max(map(len, texts)))


def _example() -> Labels:
    return new_labels(["BTCUSDT"], [(1, 1, 1, 3)])


def frame_bytes(labels: Labels) -> int:
    """Bytes of room that `encode` wants for each record: it may become two frames."""
    return 2 * (_FRAME_BYTES + _NAMES_PER_FRAME * labels.longest)


def array_bytes(labels: Labels) -> int:
    """Bytes that an array of all mark prices may need."""
    return (len(labels.spec) + 1) * (_FRAME_BYTES + labels.longest)


def _text(text: str) -> Bytes:
    return np.frombuffer(text.encode(), np.uint8).copy()


_STREAM_OPEN, _DATA, _WRAP_CLOSE = _text('{"stream":"'), _text('","data":'), _text("}")
_AT_QUOTE, _AT_TRADE, _AT_AGGREGATE = _text("@bookTicker"), _text("@trade"), _text("@aggTrade")
_AT_MARK, _AT_MARK_SLOW = _text("@markPrice@1s"), _text("@markPrice")
_ALL_QUOTES, _ARRAY, _ARRAY_SLOW = _text("!bookTicker"), _text("!markPrice@arr@1s"), _text("!markPrice@arr")

_QUOTE_U, _S, _B, _BQ, _A, _AQ = (
    _text(part) for part in ('{"e":"bookTicker","u":', ',"s":"', '","b":"', '","B":"', '","a":"', '","A":"')
)
_QUOTED_T, _E, _ST_PS, _PS_CLOSE = _text('","T":'), _text(',"E":'), _text(',"st":1,"ps":"'), _text('"}')
_TRADE_E, _T, _NAME_T, _P, _Q = (
    _text(part) for part in ('{"e":"trade","E":', ',"T":', '","t":', ',"p":"', '","q":"')
)
_X_TRUE, _X_FALSE = _text('","X":"MARKET","m":true,"st":1}'), _text('","X":"MARKET","m":false,"st":1}')
_AGGREGATE_E, _AGGREGATE_A = _text('{"e":"aggTrade","E":'), _text(',"a":')
_NAME_P, _NQ, _F, _L = _text('","p":"'), _text('","nq":"'), _text('","f":'), _text(',"l":')
_M_TRUE, _M_FALSE = _text(',"m":true,"st":1}'), _text(',"m":false,"st":1}')
_MARK_E, _AP, _SETTLE, _I, _R, _MINUS = (
    _text(part) for part in ('{"e":"markPriceUpdate","E":', '","ap":"', '","P":"', '","i":"', '","r":"', "-")
)
_ST_CLOSE, _OPEN_ARRAY, _COMMA, _CLOSE_ARRAY = _text(',"st":1}'), _text("["), _text(","), _text("]")


# -- frames ------------------------------------------------------------------------------------------------------------
@inner(inline=True)
def _put_name(out: Bytes, at: int, labels: Labels, symbol: int) -> int:
    return put_slice(out, at, labels.text, labels.spec[symbol, _NAME], labels.spec[symbol, _NAME_END])


@inner(inline=True)
def _put_price(out: Bytes, at: int, labels: Labels, symbol: int, ticks: int) -> int:
    return put_decimal(out, at, ticks * labels.spec[symbol, _PRICE_UNITS], labels.spec[symbol, _PRICE_DECIMALS])


@inner(inline=True)
def _put_quantity(out: Bytes, at: int, labels: Labels, symbol: int, steps: int) -> int:
    return put_decimal(out, at, steps * labels.spec[symbol, _STEP_UNITS], labels.spec[symbol, _QTY_DECIMALS])


@inner(inline=True)
def _begin(out: Bytes, start: int, wrapped: bool, labels: Labels, symbol: int, stream: Bytes) -> int:
    """Start a frame at `start`: room for its header, and the wrapper where it is wrapped; symbol -1 has no name."""
    at = start + _HEAD
    if wrapped:
        at = put(out, at, _STREAM_OPEN)
        if symbol >= 0:
            spec = labels.spec[symbol]
            at = put_slice(out, at, labels.text, spec[_STREAM], spec[_STREAM_END])
        at = put(out, at, stream)
        at = put(out, at, _DATA)
    return at


@inner()
def _finish(out: Bytes, start: int, at: int, wrapped: bool) -> int:
    """End the frame whose text ends before `at`: close the wrapper, write the header; returns the position behind."""
    if wrapped:
        at = put(out, at, _WRAP_CLOSE)
    length = at - start - _HEAD
    head = 2 if length < 126 else 4 if length < 1 << 16 else 10
    if head < _HEAD:
        for offset in range(length):
            out[start + head + offset] = out[start + _HEAD + offset]
    elif head > _HEAD:
        for offset in range(length - 1, -1, -1):
            out[start + head + offset] = out[start + _HEAD + offset]
    out[start] = 0x81
    if head == 2:
        out[start + 1] = length
        return start + head + length
    out[start + 1] = 126 if head == 4 else 127
    rest = length
    for offset in range(head - 1, 1, -1):
        out[start + offset] = rest & 255
        rest >>= 8
    return start + head + length


# -- payloads ----------------------------------------------------------------------------------------------------------
@inner(inline=True)
def _put_quote(out: Bytes, at: int, labels: Labels, row: np.void) -> int:
    symbol, now = row["symbol"], row["time_ns"] // _NS_PER_MS
    at = put_integer(out, put(out, at, _QUOTE_U), row["id"])
    at = _put_name(out, put(out, at, _S), labels, symbol)
    at = _put_price(out, put(out, at, _B), labels, symbol, row["bid"])
    at = _put_quantity(out, put(out, at, _BQ), labels, symbol, row["bid_qty"])
    at = _put_price(out, put(out, at, _A), labels, symbol, row["ask"])
    at = _put_quantity(out, put(out, at, _AQ), labels, symbol, row["ask_qty"])
    stamp = put(out, at, _QUOTED_T)
    at = put_integer(out, stamp, now)
    at = put_slice(out, put(out, at, _E), out, stamp, at)
    return put(out, _put_name(out, put(out, at, _ST_PS), labels, symbol), _PS_CLOSE)


@inner()
def _put_trade(out: Bytes, at: int, labels: Labels, row: np.void) -> int:
    symbol, now = row["symbol"], row["time_ns"] // _NS_PER_MS
    at = put_integer(out, put(out, at, _TRADE_E), now)
    at = put_integer(out, put(out, at, _T), now)
    at = _put_name(out, put(out, at, _S), labels, symbol)
    at = put_integer(out, put(out, at, _NAME_T), row["id"])
    at = _put_price(out, put(out, at, _P), labels, symbol, row["price"])
    at = _put_quantity(out, put(out, at, _Q), labels, symbol, row["qty"])
    return put(out, at, _X_TRUE if row["side"] < 0 else _X_FALSE)


@inner()
def _put_aggregate(out: Bytes, at: int, labels: Labels, row: np.void) -> int:
    symbol, now = row["symbol"], row["time_ns"] // _NS_PER_MS
    at = put_integer(out, put(out, at, _AGGREGATE_E), now)
    at = put_integer(out, put(out, at, _AGGREGATE_A), row["id"])
    at = _put_name(out, put(out, at, _S), labels, symbol)
    at = _put_price(out, put(out, at, _NAME_P), labels, symbol, row["price"])
    at = _put_quantity(out, put(out, at, _Q), labels, symbol, row["qty"])
    at = _put_quantity(out, put(out, at, _NQ), labels, symbol, row["qty"])
    at = put_integer(out, put(out, at, _F), row["first_id"])
    at = put_integer(out, put(out, at, _L), row["last_id"])
    at = put_integer(out, put(out, at, _T), now)
    return put(out, at, _M_TRUE if row["side"] < 0 else _M_FALSE)


@inner()
def _put_mark(out: Bytes, at: int, labels: Labels, row: np.void) -> int:
    at = put_integer(out, put(out, at, _MARK_E), row["time_ns"] // _NS_PER_MS)
    at = _put_name(out, put(out, at, _S), labels, row["symbol"])
    at = put_decimal(out, put(out, at, _NAME_P), row["mark_e8"], 8)
    at = put_decimal(out, put(out, at, _AP), row["average_e8"], 8)
    at = put_decimal(out, put(out, at, _SETTLE), row["mark_e8"], 8)
    at = put_decimal(out, put(out, at, _I), row["index_e8"], 8)
    at = put(out, at, _R)
    if row["funding_e8"] < 0:
        at = put(out, at, _MINUS)
    at = put_decimal(out, at, abs(row["funding_e8"]), 8)
    at = put_integer(out, put(out, at, _QUOTED_T), row["next_funding_ms"])
    return put(out, at, _ST_CLOSE)


# -- streams -----------------------------------------------------------------------------------------------------------
def _no_records() -> Records:
    return np.zeros(0, PUBLIC)


@inner()
def _marks_of(out: Bytes, at: int, labels: Labels, row: np.void, wants: int, wrapped: bool) -> int:
    symbol = row["symbol"]
    if wants & MARKS:
        end = _put_mark(out, _begin(out, at, wrapped, labels, symbol, _AT_MARK), labels, row)
        at = _finish(out, at, end, wrapped)
    if wants & MARKS_SLOW and row["time_ns"] // _NS_PER_SECOND % SLOW_SECONDS == 0:
        end = _put_mark(out, _begin(out, at, wrapped, labels, symbol, _AT_MARK_SLOW), labels, row)
        at = _finish(out, at, end, wrapped)
    return at


@kernel(
    example=lambda: (
        _no_records(), np.zeros(0, AGGREGATE), _example(), np.zeros(1, np.uint8), False, np.zeros(1, np.uint8),
        np.zeros(CURSOR, np.int64),
    ),
    bare=True,
)  # fmt: skip
def encode(
    records: Records, aggregates: Records, labels: Labels, wanted: Bytes, wrapped: bool, out: Bytes, cursor: Int64
) -> bool:
    """Encode from `cursor` on until the records or the room in `out` are over.

    Args:
        records: `kernels.books.PUBLIC`, in time order.
        aggregates: of these records, `kernels.history.AGGREGATE`; each stands at its last print.
        wanted: uint8 [symbols], the mask of what this connection has subscribed.
        wrapped: payloads stand in `{"stream":...,"data":...}`.
        out: uint8; holds at least `frame_bytes(labels)`.
        cursor: int64 [CURSOR], zeros at the start; the frames are in `out[:cursor[POSITION]]`.

    Returns:
        Whether all records are done. If not: take the bytes, set `cursor[POSITION]` to 0 and call again.
    """
    room = 2 * (_FRAME_BYTES + _NAMES_PER_FRAME * labels.longest)
    at, due = cursor[POSITION], cursor[AGGREGATE_AT]
    record = cursor[RECORD]
    while record < len(records) and len(out) - at >= room:
        row = records[record]
        symbol, kind = row["symbol"], row["kind"]
        wants = int(wanted[symbol])
        record += 1
        if kind == QUOTE:
            if wants & QUOTES:
                end = _put_quote(out, _begin(out, at, wrapped, labels, symbol, _AT_QUOTE), labels, row)
                at = _finish(out, at, end, wrapped)
            if wants & ALL_QUOTES:
                end = _put_quote(out, _begin(out, at, wrapped, labels, -1, _ALL_QUOTES), labels, row)
                at = _finish(out, at, end, wrapped)
        elif kind == TRADE:
            if wants & TRADES:
                end = _put_trade(out, _begin(out, at, wrapped, labels, symbol, _AT_TRADE), labels, row)
                at = _finish(out, at, end, wrapped)
            if due < len(aggregates):
                whole = aggregates[due]
                if whole["last_id"] == row["id"] and whole["symbol"] == symbol:
                    due += 1
                    if wants & AGGREGATES:
                        end = _put_aggregate(
                            out, _begin(out, at, wrapped, labels, symbol, _AT_AGGREGATE), labels, whole
                        )
                        at = _finish(out, at, end, wrapped)
        else:
            at = _marks_of(out, at, labels, row, wants, wrapped)
    cursor[POSITION], cursor[AGGREGATE_AT], cursor[RECORD] = at, due, record
    return bool(record == len(records))


@kernel(
    example=lambda: (_no_records(), _example(), False, False, np.zeros(1, np.uint8), np.zeros(CURSOR, np.int64)),
    bare=True,
)
def encode_mark_arrays(
    records: Records, labels: Labels, slow: bool, wrapped: bool, out: Bytes, cursor: Int64
) -> bool:
    """Encode `!markPrice@arr@1s` (`slow`: `!markPrice@arr`), one array for each time at which marks were published.

    As `encode`; a call ends behind each array, and `out` holds at least `array_bytes(labels)` behind its position.
    """
    start = cursor[POSITION]
    at = start
    time_ns = np.int64(-1)
    record = cursor[RECORD]
    while record < len(records):
        row = records[record]
        beat = not slow or row["time_ns"] // _NS_PER_SECOND % SLOW_SECONDS == 0
        if row["kind"] != QUOTE and row["kind"] != TRADE and beat:
            if time_ns < 0:
                time_ns = row["time_ns"]
                at = _begin(out, start, wrapped, labels, -1, _ARRAY_SLOW if slow else _ARRAY)
                at = put(out, at, _OPEN_ARRAY)
            elif row["time_ns"] == time_ns:
                at = put(out, at, _COMMA)
            else:
                break
            at = _put_mark(out, at, labels, row)
        record += 1
    if time_ns >= 0:
        at = _finish(out, start, put(out, at, _CLOSE_ARRAY), wrapped)
    cursor[POSITION], cursor[RECORD] = at, record
    return bool(record == len(records))


@kernel(example=lambda: (np.zeros(4, np.uint8), 4, 1, np.zeros(1, np.int64)), bare=True)
def group_ends(data: Bytes, end: int, frames: int, ends: Int64) -> int:
    """Positions behind every `frames`-th frame of the whole frames in `data[:end]`, and behind the last one.

    Returns:
        How many were written to `ends`, which has room for one a frame.
    """
    at = 0
    count = 0
    waiting = 0
    while at < end:
        length = int(data[at + 1])
        if length < 126:
            at += 2 + length
        elif length == 126:
            at += 4 + (int(data[at + 2]) << 8) + int(data[at + 3])
        else:
            length = 0
            for offset in range(2, 10):
                length = (length << 8) + int(data[at + offset])
            at += 10 + length
        waiting += 1
        if waiting == frames or at >= end:
            ends[count] = at
            count += 1
            waiting = 0
    return count
