"""One market payload, raw or combined, from JSON to the table. It is read whole before it acts: all or nothing."""

from __future__ import annotations

import numpy as np

from aegis.kernels.compile import inner
from aegis.kernels.fields import (
    CELL_AT,
    CELL_STATE,
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
    Cells,
    byte_at,
    cell,
    read_decimal,
    read_object,
    read_value,
    skip_space,
    text_equals,
)
from aegis.kernels.levels import ring_room
from aegis.kernels.market import (
    AGG_TRADE,
    APPLIED,
    COIN_MARGINED,
    DROPPED,
    FIRED,
    HITS_FULL,
    TRADE,
    UNKNOWN_SYMBOL,
    Table,
    find_symbol,
)
from aegis.kernels.number import decimal, decimal_fits, lots
from aegis.kernels.ticks import apply_mark, apply_quote, apply_trade

__all__ = ["MAX_MS", "NOT_READ", "apply_payload"]

#: What `apply_payload` answers when the strict decoder must read the payload; nothing was changed.
NOT_READ = -1
#: Times above this (the year 5138) are absurd and would run the watermark away.
MAX_MS = 10**14

_QUOTE_EVENT = np.frombuffer(b"bookTicker", np.uint8).copy()
_AGG_TRADE_EVENT = np.frombuffer(b"aggTrade", np.uint8).copy()
_TRADE_EVENT = np.frombuffer(b"trade", np.uint8).copy()
_MARK_EVENT = np.frombuffer(b"markPriceUpdate", np.uint8).copy()
_MARKET_TRADE = np.frombuffer(b"MARKET", np.uint8).copy()
_STREAM = np.frombuffer(b"stream", np.uint8).copy()
_DATA = np.frombuffer(b"data", np.uint8).copy()

_E = cell("e")
_S = cell("s")
_EVENT_MS = cell("E")
_TIME_MS = cell("T")
_UPDATE_ID = cell("u")
_BID, _BID_QTY, _ASK, _ASK_QTY = cell("b"), cell("B"), cell("a"), cell("A")
_AGG_ID, _TRADE_ID = cell("a"), cell("t")
_PRICE, _QTY, _MAKER, _KIND_OF_TRADE = cell("p"), cell("q"), cell("m"), cell("X")
_INDEX, _FUNDING = cell("i"), cell("r")

_MINUS = 45
_BRACKET_OPEN = 91
_BRACKET_CLOSE = 93
_OPEN = 123
_CLOSE = 125
_QUOTE = 34
_COLON = 58
_COMMA = 44


@inner(inline=True)
def _is_decimal(cells: Cells, index: int) -> bool:
    return bool(cells[KIND, index] == DECIMAL and decimal_fits(cells[MANTISSA, index], cells[DECIMALS, index]))


@inner(inline=True)
def _is_time(cells: Cells, index: int) -> bool:
    return bool(cells[KIND, index] == INTEGER and cells[MANTISSA, index] < MAX_MS)


@inner(inline=True)
def _value(cells: Cells, index: int) -> float:
    return decimal(cells[MANTISSA, index], cells[DECIMALS, index])


@inner(inline=True)
def _is_event(data: Bytes, cells: Cells, name: Bytes) -> bool:
    return cells[KIND, _E] == TEXT and text_equals(data, cells[START, _E], cells[END, _E], name)


@inner(inline=True)
def _symbol(table: Table, data: Bytes) -> int:
    """The symbol of the object in the cells: its index, -1 unknown, -2 coin-margined, -3 not readable here."""
    cells = table.cells
    state = cells[KIND, CELL_STATE]
    if state != 0 and state != INTEGER:
        return -3
    if state == INTEGER and cells[MANTISSA, CELL_STATE] != 1:
        return -2 if cells[MANTISSA, CELL_STATE] == 2 else -3
    if cells[KIND, _S] != TEXT and cells[KIND, _S] != DECIMAL:
        return -3
    return find_symbol(table, data, cells[START, _S], cells[END, _S])


@inner()
def _skipped(table: Table, symbol: int) -> int:
    table.counters[UNKNOWN_SYMBOL if symbol == -1 else COIN_MARGINED] += 1
    return DROPPED


@inner(inline=True)
def _apply_quote_cells(table: Table, data: Bytes, recv_ns: int) -> int:
    cells = table.cells
    if not (_is_decimal(cells, _BID) and _is_decimal(cells, _BID_QTY)):
        return NOT_READ
    if not (_is_decimal(cells, _ASK) and _is_decimal(cells, _ASK_QTY)):
        return NOT_READ
    if not (cells[KIND, _UPDATE_ID] == INTEGER and _is_time(cells, _EVENT_MS) and _is_time(cells, _TIME_MS)):
        return NOT_READ
    symbol = _symbol(table, data)
    if symbol < 0:
        return _skipped(table, symbol) if symbol > -3 else NOT_READ
    return apply_quote(
        table,
        symbol,
        cells[MANTISSA, _UPDATE_ID],
        cells[MANTISSA, _EVENT_MS],
        cells[MANTISSA, _TIME_MS],
        _value(cells, _BID),
        _value(cells, _BID_QTY),
        _value(cells, _ASK),
        _value(cells, _ASK_QTY),
        recv_ns,
    )


@inner()
def _apply_trade_cells(table: Table, data: Bytes, source: int, recv_ns: int) -> int:
    cells = table.cells
    identity = _AGG_ID if source == AGG_TRADE else _TRADE_ID
    if not (_is_time(cells, _EVENT_MS) and _is_time(cells, _TIME_MS) and cells[KIND, identity] == INTEGER):
        return NOT_READ
    maker = cells[KIND, _MAKER]
    if not (_is_decimal(cells, _PRICE) and cells[KIND, _QTY] == DECIMAL and (maker in (TRUE, FALSE))):
        return NOT_READ
    is_market = True
    if source == TRADE:
        if cells[KIND, _KIND_OF_TRADE] != TEXT:
            return NOT_READ
        start, end = cells[START, _KIND_OF_TRADE], cells[END, _KIND_OF_TRADE]
        is_market = text_equals(data, start, end, _MARKET_TRADE)
    price = _value(cells, _PRICE)
    if is_market and price <= 0.0:
        return NOT_READ
    symbol = _symbol(table, data)
    if symbol < 0:
        return _skipped(table, symbol) if symbol > -3 else NOT_READ
    qty = lots(cells[MANTISSA, _QTY], cells[DECIMALS, _QTY], int(table.symbols[symbol]["qty_decimals"]))
    if qty < 0:
        return NOT_READ
    return apply_trade(
        table,
        symbol,
        source,
        cells[MANTISSA, identity],
        cells[MANTISSA, _EVENT_MS],
        cells[MANTISSA, _TIME_MS],
        price,
        qty,
        maker == TRUE,
        is_market,
        recv_ns,
    )


@inner()
def _funding(data: Bytes, cells: Cells) -> tuple[bool, float]:
    """The funding rate, which alone may be negative or empty: (readable, value)."""
    if _is_decimal(cells, _FUNDING):
        return True, _value(cells, _FUNDING)
    if cells[KIND, _FUNDING] != TEXT:
        return False, np.nan
    start, end = cells[START, _FUNDING], cells[END, _FUNDING]
    if start == end:
        return True, np.nan
    if byte_at(data, start) != _MINUS or not read_decimal(data, start + 1, end, cells, CELL_AT):
        return False, np.nan
    return (True, -_value(cells, CELL_AT)) if _is_decimal(cells, CELL_AT) else (False, np.nan)


@inner()
def _mark_symbol(table: Table, data: Bytes) -> int:
    """Check the mark price in the cells: its symbol, or what `_symbol` says, -3 also where a field is not readable."""
    cells = table.cells
    if not (_is_event(data, cells, _MARK_EVENT) and _is_time(cells, _EVENT_MS) and _is_time(cells, _TIME_MS)):
        return -3
    if not (_is_decimal(cells, _PRICE) and _is_decimal(cells, _INDEX) and _value(cells, _PRICE) > 0.0):
        return -3
    if not _funding(data, cells)[0]:
        return -3
    return _symbol(table, data)


@inner()
def _apply_mark_cells(table: Table, data: Bytes, symbol: int, recv_ns: int) -> int:
    cells = table.cells
    return apply_mark(
        table,
        symbol,
        cells[MANTISSA, _EVENT_MS],
        _value(cells, _PRICE),
        _value(cells, _INDEX),
        _funding(data, cells)[1],
        cells[MANTISSA, _TIME_MS],
        recv_ns,
    )


@inner()
def _apply_cells(table: Table, data: Bytes, recv_ns: int) -> int:
    cells = table.cells
    if _is_event(data, cells, _QUOTE_EVENT):
        return _apply_quote_cells(table, data, recv_ns)
    if _is_event(data, cells, _AGG_TRADE_EVENT):
        return _apply_trade_cells(table, data, AGG_TRADE, recv_ns)
    if _is_event(data, cells, _TRADE_EVENT):
        return _apply_trade_cells(table, data, TRADE, recv_ns)
    symbol = _mark_symbol(table, data)
    if symbol == -3:
        return NOT_READ
    if symbol < 0:
        return _skipped(table, symbol)
    return _apply_mark_cells(table, data, symbol, recv_ns)


@inner()
def _check_array(table: Table, data: Bytes, position: int, end: int) -> tuple[int, int]:
    """First pass over an array: every element must be a readable mark price.

    Returns:
        (position behind its `]` or REFUSED, how many hits it can fire).
    """
    can_fire = 0
    position = skip_space(data, position + 1, end)
    if position < end and byte_at(data, position) == _BRACKET_CLOSE:
        return position + 1, 0
    while True:
        position = read_object(data, position, end, table.cells)
        if position < 0:
            return REFUSED, 0
        symbol = _mark_symbol(table, data)
        if symbol == -3:
            return REFUSED, 0
        if symbol >= 0:
            can_fire += int(table.symbols[symbol]["armed_mark"])
        position = skip_space(data, position, end)
        if position >= end:
            return REFUSED, 0
        if byte_at(data, position) == _BRACKET_CLOSE:
            return position + 1, can_fire
        if byte_at(data, position) != _COMMA:
            return REFUSED, 0
        position = skip_space(data, position + 1, end)


@inner()
def _apply_array(table: Table, data: Bytes, position: int, end: int, recv_ns: int) -> int:
    """Second pass over an array that `_check_array` has read: all its elements act, whatever fires."""
    status = DROPPED
    position = skip_space(data, position + 1, end)
    while byte_at(data, position) != _BRACKET_CLOSE:
        position = read_object(data, position, end, table.cells)
        symbol = _mark_symbol(table, data)
        answer = _skipped(table, symbol) if symbol < 0 else _apply_mark_cells(table, data, symbol, recv_ns)
        if answer == FIRED or (answer == APPLIED and status == DROPPED):
            status = answer
        position = skip_space(data, position, end)
        if byte_at(data, position) == _COMMA:
            position = skip_space(data, position + 1, end)
    return status


@inner(inline=True)
def _is_wrapped(data: Bytes, position: int, end: int) -> bool:
    """Whether the object at `position` begins with the key `stream` or `data`."""
    start = skip_space(data, position + 1, end) + 1
    if start + 7 > end or byte_at(data, start - 1) != _QUOTE:
        return False
    return (byte_at(data, start + 6) == _QUOTE and text_equals(data, start, start + 6, _STREAM)) or (
        byte_at(data, start + 4) == _QUOTE and text_equals(data, start, start + 4, _DATA)
    )


@inner()
def _unwrap(table: Table, data: Bytes, position: int, end: int) -> tuple[int, int, int]:
    """Read `{"stream":"..","data":X}` in either order, and X with it.

    Returns:
        (position behind its `}` or REFUSED, position of X, hits that X can fire if it is an array).
    """
    inner = -1
    can_fire = 0
    streams = 0
    position = skip_space(data, position + 1, end)
    while True:
        start = position + 1
        if start + 7 > end or byte_at(data, position) != _QUOTE:
            return REFUSED, inner, can_fire
        is_data = byte_at(data, start + 4) == _QUOTE and text_equals(data, start, start + 4, _DATA)
        if not is_data and not (byte_at(data, start + 6) == _QUOTE and text_equals(data, start, start + 6, _STREAM)):
            return REFUSED, inner, can_fire
        position = skip_space(data, start + (5 if is_data else 7), end)
        if position >= end or byte_at(data, position) != _COLON:
            return REFUSED, inner, can_fire
        position = skip_space(data, position + 1, end)
        if not is_data:
            streams += 1
            # The cells hold X when the stream's name comes last: its own goes to the cell that nobody reads.
            position = read_value(data, position, end, table.cells, CELL_AT)
            if position >= 0 and table.cells[KIND, CELL_AT] != TEXT:
                return REFUSED, inner, can_fire
        elif inner >= 0 or position >= end:
            return REFUSED, inner, can_fire
        else:
            inner = position
            if byte_at(data, position) == _BRACKET_OPEN:
                position, can_fire = _check_array(table, data, position, end)
            else:
                position = read_object(data, position, end, table.cells)
        if position < 0:
            return REFUSED, inner, can_fire
        position = skip_space(data, position, end)
        if position >= end:
            return REFUSED, inner, can_fire
        if byte_at(data, position) == _CLOSE:
            return (position + 1 if inner >= 0 and streams == 1 else REFUSED), inner, can_fire
        if byte_at(data, position) != _COMMA:
            return REFUSED, inner, can_fire
        position = skip_space(data, position + 1, end)


@inner()
def apply_payload(table: Table, data: Bytes, start: int, end: int, recv_ns: int) -> int:
    """Read `data[start:end]` as one market payload and apply it.

    An array of mark prices acts as a whole: when levels fire in it, the scan stops behind its frame, not inside.

    Returns:
        What the apply kernels answer, or NOT_READ. On NOT_READ, ROWS_FULL and HITS_FULL nothing was changed.
    """
    position = skip_space(data, start, end)
    if position >= end:
        return NOT_READ
    inner = position
    can_fire = 0
    if byte_at(data, position) == _BRACKET_OPEN:
        position, can_fire = _check_array(table, data, position, end)
    elif byte_at(data, position) != _OPEN:
        return NOT_READ
    elif _is_wrapped(data, position, end):
        position, inner, can_fire = _unwrap(table, data, position, end)
    else:
        position = read_object(data, position, end, table.cells)
    if position < 0 or skip_space(data, position, end) != end:
        return NOT_READ
    if byte_at(data, inner) == _BRACKET_OPEN:
        return HITS_FULL if ring_room(table) < can_fire else _apply_array(table, data, inner, end, recv_ns)
    return _apply_cells(table, data, recv_ns)
