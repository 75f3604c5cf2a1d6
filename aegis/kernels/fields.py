"""Reads one flat JSON object into a table of cells, one cell for each one-letter key.

The grammar is JSON's, no more: whatever is read here a strict JSON parser reads too, and to the same values. What needs
more than this (nesting, escapes, floats, exponents, huge integers, a key that comes twice) is refused and left to the
strict decoder.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from aegis.kernels.compile import inner
from aegis.kernels.number import MAX_DIGITS, utf8_ok

__all__ = [
    "CELL_AT", "CELL_STATE", "DECIMAL", "DECIMALS", "END", "FALSE", "INTEGER", "KIND", "MANTISSA", "NULL", "REFUSED",
    "START", "TEXT", "TRUE", "byte_at", "cell", "read_decimal", "read_object", "read_value", "skip_space",
    "text_equals",
]  # fmt: skip

Bytes = npt.NDArray[np.uint8]
Cells = npt.NDArray[np.int64]  # [5, 64]: the property of a cell, the cell

# Properties of a cell.
KIND = 0
START = 1  # of the text, without its quotes
END = 2
MANTISSA = 3  # of a DECIMAL, or the value of an INTEGER
DECIMALS = 4

# Kinds. 0: the key is absent.
TEXT = 1
DECIMAL = 2  # a string of digits with at most one point inside
INTEGER = 3  # a JSON number without sign, point or exponent
TRUE = 4
FALSE = 5
NULL = 6

REFUSED = -1  # as a position: not readable here

CELL_STATE = 0  # the cell of the key `st`
CELL_AT = 63  # the cell of keys that nobody reads

_QUOTE = 34
_BACKSLASH = 92
_POINT = 46
_COMMA = 44
_COLON = 58
_OPEN = 123
_CLOSE = 125


def cell(letter: str) -> int:
    """Index of the cell of a one-letter key."""
    return ord(letter) & 63


@inner(inline=True)
def byte_at(data: Bytes, position: int) -> Any:
    """`data[position]` as a signed integer, for a position that is not negative: none is counted from the end."""
    return np.int64(data[np.uint64(position)])


@inner(inline=True)
def skip_space(data: Bytes, position: int, end: int) -> int:
    """The first position that holds no JSON white space."""
    while position < end:
        byte = byte_at(data, position)
        if byte > 32 or not (byte == 32 or byte == 10 or byte == 13 or byte == 9):
            break
        position += 1
    return position


@inner(inline=True)
def text_equals(data: Bytes, start: int, end: int, text: Bytes) -> bool:
    """Whether `data[start:end]` is `text`."""
    if end - start != text.shape[0]:
        return False
    for offset in range(text.shape[0]):  # noqa: SIM110
        if byte_at(data, start + offset) != text[offset]:
            return False
    return True


@inner(inline=True)
def _close_text(data: Bytes, start: int, position: int, end: int) -> int:
    """Position of the quote that ends a string without escapes whose bytes before `position` were read, or REFUSED."""
    high = False
    while position < end:
        byte = byte_at(data, position)
        if byte == _QUOTE:
            return position if not high or utf8_ok(data, start, position) else REFUSED
        if byte == _BACKSLASH or byte < 32:
            return REFUSED
        high |= byte >= 128
        position += 1
    return REFUSED


@inner(inline=True)
def _read_text(data: Bytes, position: int, end: int, cells: Cells, index: int) -> int:
    """A string whose opening quote is behind `position`; digits with one point inside become a DECIMAL on the way."""
    start = position
    mantissa = 0
    point = -1
    digits = 0
    while position < end:
        byte = byte_at(data, position)
        if 48 <= byte <= 57:
            if digits == MAX_DIGITS:
                break
            mantissa = mantissa * 10 + (byte - 48)
            digits += 1
        elif byte == _POINT and point < 0 and digits > 0:
            point = position
        else:
            break
        position += 1
    cells[START, index] = start
    if position < end and byte_at(data, position) == _QUOTE and digits > 0 and point != position - 1:
        cells[KIND, index] = DECIMAL
        cells[MANTISSA, index] = mantissa
        cells[DECIMALS, index] = position - point - 1 if point >= 0 else 0
    else:
        position = _close_text(data, start, position, end)
        if position < 0:
            return REFUSED
        cells[KIND, index] = TEXT
    cells[END, index] = position
    return position + 1


@inner(inline=True)
def _read_integer(data: Bytes, position: int, end: int, cells: Cells, index: int) -> int:
    start = position
    value = 0
    while position < end and 48 <= byte_at(data, position) <= 57:
        if position - start == MAX_DIGITS:
            return REFUSED
        value = value * 10 + (byte_at(data, position) - 48)
        position += 1
    if byte_at(data, start) == 48 and position - start > 1:
        return REFUSED
    cells[KIND, index] = INTEGER
    cells[MANTISSA, index] = value
    return position


_TRUE = np.frombuffer(b"true", np.uint8).copy()
_FALSE = np.frombuffer(b"false", np.uint8).copy()
_NULL = np.frombuffer(b"null", np.uint8).copy()


@inner(inline=True)
def read_value(data: Bytes, position: int, end: int, cells: Cells, index: int) -> int:
    """A string, whole number, true, false or null into `cells[index]`.

    Returns:
        The position behind it, or REFUSED.
    """
    if position >= end:
        return REFUSED
    byte = byte_at(data, position)
    if byte == _QUOTE:
        return _read_text(data, position + 1, end, cells, index)
    if 48 <= byte <= 57:
        return _read_integer(data, position, end, cells, index)
    if text_equals(data, position, min(position + 4, end), _TRUE):
        cells[KIND, index] = TRUE
        return position + 4
    if text_equals(data, position, min(position + 5, end), _FALSE):
        cells[KIND, index] = FALSE
        return position + 5
    if text_equals(data, position, min(position + 4, end), _NULL):
        cells[KIND, index] = NULL
        return position + 4
    return REFUSED


@inner(inline=True)
def _read_key(data: Bytes, position: int, end: int) -> tuple[int, int]:
    """A key whose opening quote is at `position`: (position behind its closing quote or REFUSED, its cell)."""
    if position + 2 >= end or byte_at(data, position) != _QUOTE:
        return REFUSED, CELL_AT
    first = byte_at(data, position + 1)
    if byte_at(data, position + 2) == _QUOTE and first != _QUOTE and first != _BACKSLASH:
        letter = first | 32
        if 97 <= letter <= 122:
            return position + 3, first & 63
        return (position + 3 if 32 <= first < 128 else REFUSED), CELL_AT
    close = _close_text(data, position + 1, position + 1, end)
    if close < 0:
        return REFUSED, CELL_AT
    if close - position == 3 and first == 115 and byte_at(data, position + 2) == 116:
        return close + 1, CELL_STATE
    return close + 1, CELL_AT


@inner()
def read_decimal(data: Bytes, start: int, end: int, cells: Cells, index: int) -> bool:
    """Read `data[start:end]`, digits with at most one point inside, into `cells[index]`; false where it is not that."""
    mantissa = 0
    point = -1
    if end - start > MAX_DIGITS or end == start:
        return False
    for position in range(start, end):
        byte = byte_at(data, position)
        if 48 <= byte <= 57:
            mantissa = mantissa * 10 + (byte - 48)
        elif byte == _POINT and point < 0 and start < position < end - 1:
            point = position
        else:
            return False
    cells[KIND, index] = DECIMAL
    cells[MANTISSA, index] = mantissa
    cells[DECIMALS, index] = end - point - 1 if point >= 0 else 0
    return True


@inner()
def read_object(data: Bytes, position: int, end: int, cells: Cells) -> int:
    """A flat object whose `{` is at `position`, into `cells`; the cells of absent keys get KIND 0.

    Returns:
        The position behind its `}`, or REFUSED.
    """
    if position >= end or byte_at(data, position) != _OPEN:
        return REFUSED
    cells[KIND, :] = 0
    position = skip_space(data, position + 1, end)
    if position < end and byte_at(data, position) == _CLOSE:
        return position + 1
    while True:
        position, index = _read_key(data, position, end)
        if position < 0:
            return REFUSED
        if cells[KIND, index] != 0 and index != CELL_AT:
            return REFUSED
        position = skip_space(data, position, end)
        if position >= end or byte_at(data, position) != _COLON:
            return REFUSED
        position = read_value(data, skip_space(data, position + 1, end), end, cells, index)
        if position < 0:
            return REFUSED
        position = skip_space(data, position, end)
        if position >= end:
            return REFUSED
        byte = byte_at(data, position)
        if byte == _CLOSE:
            return position + 1
        if byte != _COMMA:
            return REFUSED
        position = skip_space(data, position + 1, end)
