"""Partial depth messages in the venue's own form, from their bytes to the book of their symbol.

What is not exactly that (other stream names, white space, numbers that are not exact here, a book that is none) is left
to the strict decoder, and nothing is changed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aegis.kernels.compile import inner, kernel
from aegis.kernels.depth import judge_depth
from aegis.kernels.fields import DECIMALS, END, MANTISSA, START, Bytes, Cells, byte_at, cell, read_decimal, text_equals
from aegis.kernels.market import Table, example_table, find_symbol
from aegis.kernels.number import decimal, decimal_fits, lots

__all__ = ["ABSURD", "APPLIED", "LEFT", "LEVELS", "STALE", "UNKNOWN", "Books", "new_books", "read_book"]

LEVELS = 20
#: Prices and quantities from here on are none: the wire takes any 24 characters.
ABSURD = 1e15

#: What `read_book` answers. LEFT: the strict decoder must read it.
LEFT, APPLIED, STALE, UNKNOWN = range(4)

_HEAD = np.frombuffer(b'{"stream":"', np.uint8).copy()
_KIND = np.frombuffer(b'@depth20@100ms","data":', np.uint8).copy()
_FINAL, _EVENT_MS, _SYMBOL, _BIDS, _ASKS = cell("u"), cell("E"), cell("s"), cell("b"), cell("a")
_AT, _OPEN, _QUOTE, _COMMA, _BRACE = 64, 91, 34, 44, 125
_NUMBER = 0  # a cell that no key has
#: Sums up to here are the same whether numbers are taken as decimals or as doubles.
_SURE_LOTS = 2**50


class Books(NamedTuple):
    """The newest whole book of each of n symbols.

    ranks: float64 [n, 2, 20] and lots: int64 [n, 2, 21], bids first, see `core.partial_book.PartialBook`; final_id:
    int64 [n], `u`, -1 before the first; event_ms: int64 [n], `E`; recv_ns: int64 [n], when it came, venue time; the
    last row of ranks and lots is scratch.
    """

    ranks: npt.NDArray[np.float64]
    lots: npt.NDArray[np.int64]
    final_id: npt.NDArray[np.int64]
    event_ms: npt.NDArray[np.int64]
    recv_ns: npt.NDArray[np.int64]


def new_books(rows: int) -> Books:
    """Of `rows` symbols, none of which has a book."""
    return Books(
        ranks=np.full((rows + 1, 2, LEVELS), np.inf),
        lots=np.zeros((rows + 1, 2, LEVELS + 1), np.int64),
        final_id=np.full(rows, -1, np.int64),
        event_ms=np.full(rows, -1, np.int64),
        recv_ns=np.zeros(rows, np.int64),
    )


@inner()
def _number(data: Bytes, start: int, cells: Cells) -> int:
    """The number behind a quote into the cell for it; the position of its closing quote, -1 where it is not exact."""
    close = start
    while byte_at(data, close) != _QUOTE:
        close += 1
    if not read_decimal(data, start, close, cells, _NUMBER):
        return -1
    return close if decimal_fits(cells[MANTISSA, _NUMBER], cells[DECIMALS, _NUMBER]) else -1


@inner()
def _read_side(data: Bytes, position: int, side: int, qty_decimals: int, cells: Cells, books: Books) -> bool:
    """Levels that were judged sound, whose list begins at `position`, into the scratch row."""
    ranks, sums = books.ranks[-1, side], books.lots[-1, side]
    sign = 1.0 if side == 1 else -1.0
    last, total, n = -np.inf, 0, 0
    position += 1
    while byte_at(data, position) == _OPEN:
        close = _number(data, position + 2, cells)
        if n == LEVELS or close < 0:
            return False
        price = decimal(cells[MANTISSA, _NUMBER], cells[DECIMALS, _NUMBER])
        close = _number(data, close + 3, cells)
        if close < 0 or not 0.0 < price < ABSURD or sign * price <= last:
            return False
        quantity = decimal(cells[MANTISSA, _NUMBER], cells[DECIMALS, _NUMBER])
        count = lots(cells[MANTISSA, _NUMBER], cells[DECIMALS, _NUMBER], qty_decimals)
        if count <= 0 or not quantity < ABSURD or total + count > _SURE_LOTS:
            return False
        last, total = sign * price, total + count
        ranks[n] = last
        n += 1
        sums[n] = total
        position = close + 2
        if byte_at(data, position) == _COMMA:
            position += 1
    ranks[n:] = np.inf
    return True


@kernel(
    example=lambda: (np.zeros(8, np.uint8), 0, 8, example_table(), new_books(len(example_table().symbols)), 0),
    bare=True,
)
def read_book(data: Bytes, start: int, end: int, table: Table, books: Books, recv_ns: int) -> int:
    """The payload `data[start:end]` takes the place of its symbol's book, unless that is as new.

    Returns:
        APPLIED, STALE, UNKNOWN (a symbol that is not in the table), or LEFT.
    """
    cells = table.cells
    position = start + _HEAD.shape[0]
    if position > end or not text_equals(data, start, position, _HEAD):
        return LEFT
    while position < end and byte_at(data, position) != _AT:
        byte = byte_at(data, position)
        if not (48 <= byte <= 57 or 97 <= byte <= 122):
            return LEFT
        position += 1
    behind = position + _KIND.shape[0]
    if behind > end or not text_equals(data, position, behind, _KIND):
        return LEFT
    position = judge_depth(data, behind, end, cells)
    if position != end - 1 or byte_at(data, position) != _BRACE:
        return LEFT
    symbol = find_symbol(table, data, cells[START, _SYMBOL], cells[END, _SYMBOL])
    if symbol < 0:
        return UNKNOWN
    final_id, event_ms = cells[MANTISSA, _FINAL], cells[MANTISSA, _EVENT_MS]
    if final_id <= books.final_id[symbol]:
        return STALE
    qty_decimals, bids, asks = table.symbols[symbol]["qty_decimals"], cells[START, _BIDS], cells[START, _ASKS]
    if not _read_side(data, bids, 0, qty_decimals, cells, books):
        return LEFT
    if not _read_side(data, asks, 1, qty_decimals, cells, books):
        return LEFT
    if books.ranks[-1, 1, 0] <= -books.ranks[-1, 0, 0]:
        return LEFT
    for side in range(2):
        for level in range(LEVELS):
            books.ranks[symbol, side, level] = books.ranks[-1, side, level]
            books.lots[symbol, side, level + 1] = books.lots[-1, side, level + 1]
    books.final_id[symbol], books.event_ms[symbol], books.recv_ns[symbol] = final_id, event_ms, recv_ns
    return APPLIED
