"""Lines of a bare recording as the simulated exchange's events, and what kind of line each was."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aegis.kernels.books import EVENT, MARK, QUOTE, TRADE
from aegis.kernels.compile import kernel
from aegis.kernels.depth import judge_depth
from aegis.kernels.fields import (
    CELL_AT,
    DECIMAL,
    DECIMALS,
    END,
    FALSE,
    INTEGER,
    KIND,
    MANTISSA,
    REFUSED,
    START,
    TEXT,
    TRUE,
    Bytes,
    byte_at,
    cell,
    read_object,
    read_value,
    text_equals,
)
from aegis.kernels.lines import (
    AGG_TRADE_LINE,
    BOOK_TICKER_LINE,
    DEPTH_LINE,
    LINE,
    MARK_LINE,
    TRADE_LINE,
    UNREAD_LINE,
)
from aegis.kernels.market import Table, example_table, find_symbol
from aegis.kernels.number import lots

__all__ = [
    "ALL", "COUNTS", "LINE_LEFT", "MARKED", "MARKS_DUE", "MID_E8", "NEXT_MARK_NS", "NOW_NS", "OFFSET_NS", "ORDER",
    "ORDER_MAKER", "ORDER_MS", "SCALARS", "SMOOTHED_E8", "STATE", "TERMS", "TRADES_LINE", "UPDATE", "Reader",
    "read_lines",
]  # fmt: skip

# Statuses of `read_lines`.
ALL = 0
LINE_LEFT = 1  # the line at `next` is for Python to read
MARKS_DUE = 2  # before the line at `next` come marks of the whole seconds that have passed

# Columns of `Reader.state`, one row a symbol.
UPDATE, ORDER, ORDER_MS, ORDER_MAKER, SMOOTHED_E8, MID_E8, MARKED = range(7)
STATE = 7
# Columns of `Reader.terms`.
_PRICE_DECIMALS, _TICK_UNITS, _QTY_DECIMALS, _STEP_UNITS, _TICK_E8 = range(5)
TERMS = 5
# Indexes of `Reader.scalars`.
NOW_NS, OFFSET_NS, NEXT_MARK_NS, TRADES_LINE = range(4)
SCALARS = 4
#: What became of lines, in this order in `Reader.counts`.
COUNTS = ("bookTicker", "trade", "aggTrade", "markPriceUpdate", "ignored", "old", "other")
_QUOTES, _TRADES, _AGG_TRADES, _MARKS, _IGNORED, _OLD, _OTHER = range(7)

_LARGEST = 2**53
_LARGEST_TICKS = 2**31
#: Sums of such quantities do not overflow within a chunk.
_LARGEST_LOTS = 2**40
_LARGEST_E8 = 2**61

_HEAD = np.frombuffer(b'{"stream":', np.uint8).copy()
_DATA = np.frombuffer(b',"data":', np.uint8).copy()
_DATA_KEY = np.frombuffer(b'"data"', np.uint8).copy()
_STREAM_KEY = np.frombuffer(b'"stream"', np.uint8).copy()
_QUOTE_EVENT = np.frombuffer(b"bookTicker", np.uint8).copy()
_AGG_TRADE_EVENT = np.frombuffer(b"aggTrade", np.uint8).copy()
_TRADE_EVENT = np.frombuffer(b"trade", np.uint8).copy()
_MARK_EVENT = np.frombuffer(b"markPriceUpdate", np.uint8).copy()
_MARKET = np.frombuffer(b"MARKET", np.uint8).copy()

_E, _S, _X, _Q = cell("e"), cell("s"), cell("X"), cell("q")
_U, _B, _BQ, _A, _AQ = cell("u"), cell("b"), cell("B"), cell("a"), cell("A")
_P, _I, _T, _M = cell("p"), cell("i"), cell("T"), cell("m")


class Reader(NamedTuple):
    """What reading carries from line to line. Python reads the lines that are left to it into the same arrays."""

    table: Table  # names, and cells for scratch; it holds no market
    terms: npt.NDArray[np.int64]  # [n, TERMS]
    state: npt.NDArray[np.int64]  # [n, STATE]
    scalars: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]


@kernel(bare=True)
def _has_wrapping_key(data: Bytes, start: int, end: int) -> bool:
    """Whether a frame that is not in the usual wrapper may be in an unusual one."""
    for position in range(start, end - _STREAM_KEY.shape[0]):
        if byte_at(data, position) == 34:  # noqa: SIM102
            if text_equals(data, position, position + 6, _DATA_KEY) or text_equals(
                data, position, position + 8, _STREAM_KEY
            ):
                return True
    return False


@kernel(bare=True)
def _payload(table: Table, data: Bytes, start: int, end: int) -> tuple[int, bool]:
    """(position of the event's object or REFUSED, whether a wrapper is around it) of a frame in the venue's form."""
    if end - start > 2 and text_equals(data, start, min(end, start + _HEAD.shape[0]), _HEAD):
        position = read_value(data, start + _HEAD.shape[0], end, table.cells, CELL_AT)
        if position < 0 or table.cells[KIND, CELL_AT] != TEXT:
            return REFUSED, True
        behind = position + _DATA.shape[0]
        if behind >= end or not text_equals(data, position, behind, _DATA) or byte_at(data, end - 1) != 125:
            return REFUSED, True
        return behind, True
    return (REFUSED if _has_wrapping_key(data, start, end) else start), False


@kernel(bare=True, inline=True)
def _scaled(reader: Reader, index: int, decimals: int, unit: int) -> int:
    """A decimal in the cells as a whole number of units, or -1 where it is none or absurd."""
    cells = reader.table.cells
    if cells[KIND, index] != DECIMAL:
        return -1
    value = lots(cells[MANTISSA, index], cells[DECIMALS, index], decimals)
    if value < 0 or value >= _LARGEST or value % unit != 0:
        return -1
    return value // unit


@kernel(bare=True, inline=True)
def _put(event: np.void, time_ns: int, symbol: int, kind: int) -> None:
    event["time_ns"] = time_ns
    event["symbol"] = symbol
    event["kind"] = kind
    event["side"] = 0
    event["bid"] = event["ask"] = event["bid_qty"] = event["ask_qty"] = 0
    event["price"] = event["qty"] = event["order"] = event["mark_e8"] = event["index_e8"] = 0


@kernel(bare=True)
def _quote(reader: Reader, symbol: int, events: npt.NDArray[np.void], count: int) -> int:
    """The number of events after a quote in the cells, or -1 where Python must judge it."""
    cells, terms, state = reader.table.cells, reader.terms[symbol], reader.state[symbol]
    bid = _scaled(reader, _B, terms[_PRICE_DECIMALS], terms[_TICK_UNITS])
    ask = _scaled(reader, _A, terms[_PRICE_DECIMALS], terms[_TICK_UNITS])
    bid_qty = _scaled(reader, _BQ, terms[_QTY_DECIMALS], terms[_STEP_UNITS])
    ask_qty = _scaled(reader, _AQ, terms[_QTY_DECIMALS], terms[_STEP_UNITS])
    if not (0 < bid < ask < _LARGEST_TICKS and bid_qty > 0 and ask_qty > 0 and cells[KIND, _U] == INTEGER):
        return -1
    if bid + ask > _LARGEST_E8 // terms[_TICK_E8]:
        return -1
    if cells[MANTISSA, _U] <= state[UPDATE]:
        reader.counts[_OLD] += 1
        return count
    reader.counts[_QUOTES] += 1
    state[UPDATE] = cells[MANTISSA, _U]
    now_ns = reader.scalars[NOW_NS]
    event = events[count]
    _put(event, now_ns, symbol, QUOTE)
    event["bid"] = bid
    event["ask"] = ask
    event["bid_qty"] = bid_qty
    event["ask_qty"] = ask_qty
    count += 1
    mid_e8 = (bid + ask) * terms[_TICK_E8] // 2
    state[MID_E8] = mid_e8
    if state[SMOOTHED_E8] == 0:
        state[SMOOTHED_E8] = mid_e8
        if state[MARKED] == 0:
            _put(events[count], now_ns, symbol, MARK)
            events[count]["mark_e8"] = mid_e8
            events[count]["index_e8"] = mid_e8
            count += 1
    return count


@kernel(bare=True)
def _trade(
    reader: Reader, data: Bytes, symbol: int, line: np.void, kind: int, events: npt.NDArray[np.void], count: int
) -> int:
    """The number of events after a trade in the cells, or -1; what the market traded goes to the line."""
    cells, terms, state = reader.table.cells, reader.terms[symbol], reader.state[symbol]
    if cells[KIND, _X] != 0 and cells[KIND, _X] != TEXT:
        return -1
    market = cells[KIND, _X] == 0 or text_equals(data, cells[START, _X], cells[END, _X], _MARKET)
    if market:
        if cells[KIND, _Q] != DECIMAL:
            return -1
        traded = lots(cells[MANTISSA, _Q], cells[DECIMALS, _Q], terms[_QTY_DECIMALS])
        if not 0 <= traded < _LARGEST_LOTS:
            return -1
        line["lots"] = traded
    elif cells[KIND, _Q] != DECIMAL and cells[KIND, _Q] != TEXT and cells[KIND, _Q] != 0:
        return -1
    if kind != reader.scalars[TRADES_LINE] or not market:
        reader.counts[_OTHER] += 1
        return count
    price = _scaled(reader, _P, terms[_PRICE_DECIMALS], terms[_TICK_UNITS])
    qty = _scaled(reader, _Q, terms[_QTY_DECIMALS], terms[_STEP_UNITS])
    maker = cells[KIND, _M]
    if not (0 < price < _LARGEST_TICKS and qty > 0 and cells[KIND, _T] == INTEGER and (maker in (TRUE, FALSE))):
        return -1
    stamp = cells[MANTISSA, _T]
    if stamp != state[ORDER_MS] or (maker == TRUE) != (state[ORDER_MAKER] == 1):
        state[ORDER] += 1
        state[ORDER_MS] = stamp
        state[ORDER_MAKER] = maker == TRUE
    event = events[count]
    _put(event, reader.scalars[NOW_NS], symbol, TRADE)
    event["side"] = -1 if maker == TRUE else 1
    event["price"] = price
    event["qty"] = qty
    event["order"] = state[ORDER]
    reader.counts[_TRADES if kind == TRADE_LINE else _AGG_TRADES] += 1
    return count + 1


@kernel(bare=True)
def _mark(reader: Reader, symbol: int, events: npt.NDArray[np.void], count: int) -> int:
    mark, index = _scaled(reader, _P, 8, 1), _scaled(reader, _I, 8, 1)
    if mark <= 0 or index <= 0:
        return -1
    reader.state[symbol, MARKED] = 1
    _put(events[count], reader.scalars[NOW_NS], symbol, MARK)
    events[count]["mark_e8"] = mark
    events[count]["index_e8"] = index
    reader.counts[_MARKS] += 1
    return count + 1


@kernel(bare=True)
def _kind(data: Bytes, start: int, end: int) -> int:
    if text_equals(data, start, end, _QUOTE_EVENT):
        return BOOK_TICKER_LINE
    if text_equals(data, start, end, _TRADE_EVENT):
        return TRADE_LINE
    if text_equals(data, start, end, _AGG_TRADE_EVENT):
        return AGG_TRADE_LINE
    return MARK_LINE if text_equals(data, start, end, _MARK_EVENT) else UNREAD_LINE


@kernel(bare=True)
def _read_line(reader: Reader, data: Bytes, line: np.void, events: npt.NDArray[np.void], count: int) -> int:
    """The number of events after the line, or -1 where it is left to Python; then nothing was changed."""
    table, cells = reader.table, reader.table.cells
    start, wrapped = _payload(table, data, line["start"], line["end"])
    if start < 0:
        return -1
    end = line["end"] - (1 if wrapped else 0)
    if judge_depth(data, start, end, cells) == end:
        reader.counts[_IGNORED] += 1
        line["kind"] = DEPTH_LINE
        return count
    if read_object(data, start, end, cells) != end or cells[KIND, _E] != TEXT or cells[KIND, _S] != TEXT:
        return -1
    kind = _kind(data, cells[START, _E], cells[END, _E])
    symbol = find_symbol(table, data, cells[START, _S], cells[END, _S])
    if kind == UNREAD_LINE or symbol < 0:
        return -1
    if kind in (TRADE_LINE, AGG_TRADE_LINE):
        after = _trade(reader, data, symbol, line, kind, events, count)
    elif (cells[KIND, _Q] != 0 and cells[KIND, _Q] > DECIMAL) or (cells[KIND, _X] != 0 and cells[KIND, _X] > DECIMAL):
        return -1  # fields of trades, which the account of the lines takes for text wherever they are
    elif kind == BOOK_TICKER_LINE:
        after = _quote(reader, symbol, events, count)
    else:
        after = _mark(reader, symbol, events, count)
    if after >= 0:
        line["kind"] = kind
        line["symbol"] = symbol
    return after


def _read_example() -> tuple[object, ...]:
    reader = Reader(
        example_table(), np.ones((1, TERMS), np.int64), np.zeros((1, STATE), np.int64), np.zeros(SCALARS, np.int64),
        np.zeros(len(COUNTS), np.int64),
    )  # fmt: skip
    return reader, np.zeros(1, np.uint8), np.zeros(1, LINE), 0, np.zeros(2, EVENT), 0


@kernel(example=_read_example, bare=True)
def read_lines(
    reader: Reader,
    data: Bytes,
    lines: npt.NDArray[np.void],
    start: int,
    events: npt.NDArray[np.void],
    count: int,
) -> tuple[int, int, int]:
    """Read `lines[start:]` into events; fill `now_ns` and, where the line is read here, `kind`, `symbol`, `lots`.

    Args:
        reader: see there.
        data: the bytes the lines lie in.
        lines: LINE.
        start: the first line that is not read.
        events: EVENT, with room for two a line from `count` on.
        count: how many it holds.

    Returns:
        (status, next line, events held).
    """
    scalars = reader.scalars
    for number in range(start, lines.shape[0]):
        line = lines[number]
        now_ns = max(scalars[NOW_NS], line["recv_ns"] + scalars[OFFSET_NS])
        if now_ns >= scalars[NEXT_MARK_NS]:
            return MARKS_DUE, number, count
        scalars[NOW_NS] = now_ns
        line["now_ns"] = now_ns
        after = _read_line(reader, data, line, events, count)
        if after < 0:
            return LINE_LEFT, number, count
        count = after
    return ALL, lines.shape[0], count
