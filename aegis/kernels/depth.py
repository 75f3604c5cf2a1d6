"""Judges a depth update: whether the strict decoder would take it, without reading its levels."""

from __future__ import annotations

import numpy as np

from aegis.kernels.compile import inner
from aegis.kernels.fields import (
    CELL_AT,
    CELL_STATE,
    INTEGER,
    KIND,
    MANTISSA,
    REFUSED,
    START,
    TEXT,
    Bytes,
    Cells,
    byte_at,
    cell,
    read_value,
    text_equals,
)
from aegis.kernels.payload import MAX_MS

__all__ = ["judge_depth"]

_DEPTH_EVENT = np.frombuffer(b'{"e":"depthUpdate",', np.uint8).copy()
_LONGEST_NUMBER = 24
_OPEN, _CLOSE, _COMMA, _QUOTE, _POINT = 91, 93, 44, 34, 46
_EVENT_MS, _TIME_MS, _FIRST, _FINAL = cell("E"), cell("T"), cell("U"), cell("u")
_BIDS, _ASKS, _SYMBOL = cell("b"), cell("a"), cell("s")
#: No key of one letter that anybody sends has this cell.
_PREVIOUS = cell("p")
_LISTED = 7  # KIND of a list of levels


@inner()
def _skip_number(data: Bytes, position: int, end: int) -> int:
    """Position behind `"digits[.digits]"`, or REFUSED."""
    start = position + 1
    if position >= end or byte_at(data, position) != _QUOTE:
        return REFUSED
    position = start
    point = -1
    while position < end and byte_at(data, position) != _QUOTE:
        byte = byte_at(data, position)
        if byte == _POINT and point < 0 and position > start:
            point = position
        elif not 48 <= byte <= 57:
            return REFUSED
        position += 1
    if position >= end or position == start or point == position - 1 or position - start > _LONGEST_NUMBER:
        return REFUSED
    return position + 1


@inner()
def _skip_levels(data: Bytes, position: int, end: int) -> int:
    """Position behind `[["price","quantity"],...]` without white space, or REFUSED."""
    if position + 1 >= end or byte_at(data, position) != _OPEN:
        return REFUSED
    position += 1
    if byte_at(data, position) == _CLOSE:
        return position + 1
    while True:
        if position >= end or byte_at(data, position) != _OPEN:
            return REFUSED
        position = _skip_number(data, position + 1, end)
        if position < 0 or position >= end or byte_at(data, position) != _COMMA:
            return REFUSED
        position = _skip_number(data, position + 1, end)
        if position < 0 or position + 1 >= end or byte_at(data, position) != _CLOSE:
            return REFUSED
        position += 1
        if byte_at(data, position) == _CLOSE:
            return position + 1
        if byte_at(data, position) != _COMMA:
            return REFUSED
        position += 1


@inner()
def _key(data: Bytes, position: int, end: int) -> tuple[int, int]:
    """A key and its colon: (position behind them or REFUSED, its cell)."""
    if position + 5 >= end or byte_at(data, position) != _QUOTE:
        return REFUSED, 0
    first, second = byte_at(data, position + 1), byte_at(data, position + 2)
    if second == _QUOTE and byte_at(data, position + 3) == 58:
        known = first in (69, 84, 85, 97, 98, 115, 117)  # E T U a b s u
        return (position + 4 if known else REFUSED), first & 63
    if byte_at(data, position + 3) != _QUOTE or byte_at(data, position + 4) != 58:
        return REFUSED, 0
    if first == 112 and second == 117:  # pu
        return position + 5, _PREVIOUS
    if first == 112 and second == 115:  # ps
        return position + 5, CELL_AT
    if first == 115 and second == 116:  # st
        return position + 5, CELL_STATE
    return REFUSED, 0


@inner()
def _complete(cells: Cells) -> bool:
    """Every field is there and of the right kind and size."""
    if cells[KIND, _BIDS] != _LISTED or cells[KIND, _ASKS] != _LISTED or cells[KIND, _SYMBOL] != TEXT:
        return False
    if cells[KIND, CELL_STATE] != 0 and (cells[KIND, CELL_STATE] != INTEGER or cells[MANTISSA, CELL_STATE] != 1):
        return False
    if cells[KIND, _EVENT_MS] != INTEGER or cells[KIND, _TIME_MS] != INTEGER:
        return False
    if cells[MANTISSA, _EVENT_MS] >= MAX_MS or cells[MANTISSA, _TIME_MS] >= MAX_MS:
        return False
    return bool(
        cells[KIND, _FIRST] == INTEGER and cells[KIND, _FINAL] == INTEGER and cells[KIND, _PREVIOUS] == INTEGER
    )


@inner()
def judge_depth(data: Bytes, position: int, end: int, cells: Cells) -> int:
    """Position behind a depth update in the venue's own form (`e` first, no white space), or REFUSED.

    What is accepted here, `venue/strict.py` decodes to a Depth; what is refused, it must judge. The ids are below
    10**18, as `fields.read_value` takes no more digits. START of the cells `b` and `a` is where their lists begin.
    """
    head = _DEPTH_EVENT.shape[0]
    if position + head > end or not text_equals(data, position, position + head, _DEPTH_EVENT):
        return REFUSED
    cells[KIND, :] = 0
    position += head
    while True:
        position, index = _key(data, position, end)
        if position < 0 or (cells[KIND, index] != 0 and index != CELL_AT):
            return REFUSED
        if index in (_BIDS, _ASKS):
            cells[KIND, index], cells[START, index] = _LISTED, position
            position = _skip_levels(data, position, end)
        else:
            position = read_value(data, position, end, cells, index)
        if position < 0 or position >= end:
            return REFUSED
        if byte_at(data, position) == 125:
            return position + 1 if _complete(cells) else REFUSED
        if byte_at(data, position) != _COMMA:
            return REFUSED
        position += 1
