"""Lines of a bare recording as the simulated exchange's events, and what kind of line each was."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aegis.kernels.compile import inner, kernel
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
from aegis.kernels.market import AGG_TRADE, Table, find_hashed, find_symbol
from aegis.kernels.number import decimal, lots
from aegis.kernels.quick import MISSED, read_quote, read_trade
from aegis.kernels.recorded_events import (
    IGNORED,
    LARGEST_LOTS,
    NEXT_MARK_NS,
    NOW_NS,
    OFFSET_NS,
    OTHER,
    PRICE_DECIMALS,
    QTY_DECIMALS,
    STEP_UNITS,
    TICK_UNITS,
    TRADES_LINE,
    Reader,
    add_mark,
    add_quote,
    add_trade,
    example_events,
    example_reader,
    units,
)

__all__ = ["ALL", "LINE_LEFT", "MARKS_DUE", "read_lines"]

# Statuses of `read_lines`.
ALL = 0
LINE_LEFT = 1  # the line at `next` is for Python to read
MARKS_DUE = 2  # before the line at `next` come marks of the whole seconds that have passed

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


@inner()
def _has_wrapping_key(data: Bytes, start: int, end: int) -> bool:
    """Whether a frame that is not in the usual wrapper may be in an unusual one."""
    for position in range(start, end - _STREAM_KEY.shape[0]):
        if byte_at(data, position) == 34:  # noqa: SIM102
            if text_equals(data, position, position + 6, _DATA_KEY) or text_equals(
                data, position, position + 8, _STREAM_KEY
            ):
                return True
    return False


@inner()
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


@inner(inline=True)
def _scaled(reader: Reader, index: int, decimals: int, unit: int) -> int:
    """`_units` of a decimal in the cells, -1 also where it is none."""
    cells = reader.table.cells
    if cells[KIND, index] != DECIMAL:
        return -1
    return units(cells[MANTISSA, index], cells[DECIMALS, index], decimals, unit)


@inner(inline=True)
def _quote_cells(reader: Reader, symbol: int, events: npt.NDArray[np.void], count: int) -> int:
    cells, terms = reader.table.cells, reader.terms[symbol]
    if cells[KIND, _U] != INTEGER:
        return -1
    return add_quote(
        reader, symbol, cells[MANTISSA, _U],
        _scaled(reader, _B, terms[PRICE_DECIMALS], terms[TICK_UNITS]),
        _scaled(reader, _A, terms[PRICE_DECIMALS], terms[TICK_UNITS]),
        _scaled(reader, _BQ, terms[QTY_DECIMALS], terms[STEP_UNITS]),
        _scaled(reader, _AQ, terms[QTY_DECIMALS], terms[STEP_UNITS]), events, count,
    )  # fmt: skip


@inner()
def _trade_cells(
    reader: Reader, data: Bytes, symbol: int, line: np.void, kind: int, events: npt.NDArray[np.void], count: int
) -> int:
    """The number of events after a trade in the cells, or -1; what the market traded goes to the line."""
    cells, terms = reader.table.cells, reader.terms[symbol]
    if cells[KIND, _X] != 0 and cells[KIND, _X] != TEXT:
        return -1
    market = cells[KIND, _X] == 0 or text_equals(data, cells[START, _X], cells[END, _X], _MARKET)
    if market:
        if cells[KIND, _Q] != DECIMAL:
            return -1
        traded = lots(cells[MANTISSA, _Q], cells[DECIMALS, _Q], terms[QTY_DECIMALS])
        if not 0 <= traded < LARGEST_LOTS:
            return -1
        line["lots"] = traded
    elif cells[KIND, _Q] != DECIMAL and cells[KIND, _Q] != TEXT and cells[KIND, _Q] != 0:
        return -1
    if kind != reader.scalars[TRADES_LINE] or not market:
        reader.counts[OTHER] += 1
        return count
    maker = cells[KIND, _M]
    if cells[KIND, _T] != INTEGER or (maker not in (TRUE, FALSE)):
        return -1
    return add_trade(
        reader, symbol, kind, cells[MANTISSA, _T], maker == TRUE,
        _scaled(reader, _P, terms[PRICE_DECIMALS], terms[TICK_UNITS]),
        _scaled(reader, _Q, terms[QTY_DECIMALS], terms[STEP_UNITS]), events, count,
    )  # fmt: skip


@inner()
def _mark_cells(reader: Reader, symbol: int, events: npt.NDArray[np.void], count: int) -> int:
    return add_mark(reader, symbol, _scaled(reader, _P, 8, 1), _scaled(reader, _I, 8, 1), events, count)


@inner()
def _kind(data: Bytes, start: int, end: int) -> int:
    if text_equals(data, start, end, _QUOTE_EVENT):
        return BOOK_TICKER_LINE
    if text_equals(data, start, end, _TRADE_EVENT):
        return TRADE_LINE
    if text_equals(data, start, end, _AGG_TRADE_EVENT):
        return AGG_TRADE_LINE
    return MARK_LINE if text_equals(data, start, end, _MARK_EVENT) else UNREAD_LINE


@inner(inline=True)
def _read_quick_quote(reader: Reader, data: Bytes, line: np.void, events: npt.NDArray[np.void], count: int) -> int:
    """The number of events after a quote of a known form, -1 where it is left to Python, or MISSED."""
    quote = read_quote(data, line["start"], line["end"])
    if quote.end != line["end"]:
        return MISSED
    symbol = find_hashed(reader.table, quote.hashed, data, quote.name, quote.close)
    if symbol < 0:
        return -1
    terms = reader.terms[symbol]
    after = add_quote(
        reader, symbol, quote.update_id,
        units(quote.bid, quote.bid_decimals, terms[PRICE_DECIMALS], terms[TICK_UNITS]),
        units(quote.ask, quote.ask_decimals, terms[PRICE_DECIMALS], terms[TICK_UNITS]),
        units(quote.bid_qty, quote.bid_qty_decimals, terms[QTY_DECIMALS], terms[STEP_UNITS]),
        units(quote.ask_qty, quote.ask_qty_decimals, terms[QTY_DECIMALS], terms[STEP_UNITS]), events, count,
    )  # fmt: skip
    if after >= 0:
        _tick(line, symbol, BOOK_TICKER_LINE, quote.update_id)
        line["event_ms"] = quote.event_ms
        line["time_ms"] = quote.match_ms
        line["price"] = decimal(quote.bid, quote.bid_decimals)
        line["bid_qty"] = decimal(quote.bid_qty, quote.bid_qty_decimals)
        line["ask"] = decimal(quote.ask, quote.ask_decimals)
        line["ask_qty"] = decimal(quote.ask_qty, quote.ask_qty_decimals)
    return after


@inner(inline=True)
def _tick(line: np.void, symbol: int, kind: int, identity: int) -> None:
    line["kind"] = kind
    line["symbol"] = symbol
    line["tick"] = 1
    line["id"] = identity


@inner()
def _read_quick_trade(reader: Reader, data: Bytes, line: np.void, events: npt.NDArray[np.void], count: int) -> int:
    """The same of a trade."""
    trade = read_trade(data, line["start"], line["end"])
    if trade.end != line["end"]:
        return MISSED
    symbol = find_hashed(reader.table, trade.hashed, data, trade.name, trade.close)
    if symbol < 0:
        return -1
    terms = reader.terms[symbol]
    traded = lots(trade.qty, trade.qty_decimals, terms[QTY_DECIMALS])
    if not 0 <= traded < LARGEST_LOTS:
        return -1
    kind = AGG_TRADE_LINE if trade.source == AGG_TRADE else TRADE_LINE
    after = count
    if kind != reader.scalars[TRADES_LINE]:
        reader.counts[OTHER] += 1
    else:
        after = add_trade(
            reader, symbol, kind, trade.trade_ms, trade.buyer_is_maker,
            units(trade.price, trade.price_decimals, terms[PRICE_DECIMALS], terms[TICK_UNITS]),
            units(trade.qty, trade.qty_decimals, terms[QTY_DECIMALS], terms[STEP_UNITS]), events, count,
        )  # fmt: skip
    if after >= 0:
        _tick(line, symbol, kind, trade.trade_id)
        line["lots"] = traded
        line["event_ms"] = trade.event_ms
        line["time_ms"] = trade.trade_ms
        line["price"] = decimal(trade.price, trade.price_decimals)
        line["maker"] = trade.buyer_is_maker
    return after


@inner()
def _read_cells(reader: Reader, data: Bytes, line: np.void, events: npt.NDArray[np.void], count: int) -> int:
    """The number of events after a line of any form, or -1 where it is left to Python; then nothing was changed."""
    table, cells = reader.table, reader.table.cells
    start, wrapped = _payload(table, data, line["start"], line["end"])
    if start < 0:
        return -1
    end = line["end"] - (1 if wrapped else 0)
    if judge_depth(data, start, end, cells) == end:
        reader.counts[IGNORED] += 1
        line["kind"] = DEPTH_LINE
        return count
    if read_object(data, start, end, cells) != end or cells[KIND, _E] != TEXT or cells[KIND, _S] != TEXT:
        return -1
    kind = _kind(data, cells[START, _E], cells[END, _E])
    symbol = find_symbol(table, data, cells[START, _S], cells[END, _S])
    if kind == UNREAD_LINE or symbol < 0:
        return -1
    if kind in (TRADE_LINE, AGG_TRADE_LINE):
        after = _trade_cells(reader, data, symbol, line, kind, events, count)
    elif (cells[KIND, _Q] != 0 and cells[KIND, _Q] > DECIMAL) or (cells[KIND, _X] != 0 and cells[KIND, _X] > DECIMAL):
        return -1  # fields of trades, which the account of the lines takes for text wherever they are
    elif kind == BOOK_TICKER_LINE:
        after = _quote_cells(reader, symbol, events, count)
    else:
        after = _mark_cells(reader, symbol, events, count)
    if after >= 0:
        line["kind"] = kind
        line["symbol"] = symbol
    return after


@inner(inline=True)
def _read_line(reader: Reader, data: Bytes, line: np.void, events: npt.NDArray[np.void], count: int) -> int:
    """The number of events after the line, or -1 where it is left to Python; then nothing was changed."""
    after = _read_quick_quote(reader, data, line, events, count)
    if after == MISSED:
        after = _read_quick_trade(reader, data, line, events, count)
    if after == MISSED:
        after = _read_cells(reader, data, line, events, count)
    return after


def _read_example() -> tuple[object, ...]:
    return example_reader(), np.zeros(1, np.uint8), np.zeros(1, LINE), 0, example_events(), 0


@kernel(example=_read_example, bare=True)
def read_lines(
    reader: Reader,
    data: Bytes,
    lines: npt.NDArray[np.void],
    start: int,
    events: npt.NDArray[np.void],
    count: int,
) -> tuple[int, int, int]:
    """Read `lines[start:]` into events; fill `now_ns` and, where the line is read here, what LINE has room for.

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
