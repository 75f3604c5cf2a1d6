"""bookTicker the way the venue writes it, read by its fixed text: most of all frames, at a third of the general cost.

Nothing is decided here that `kernels/payload.py` would decide otherwise: text that differs in a single byte from the
known forms (another order, white space, escapes, a name that is not ASCII, an unknown field, an odd number) is
MISSED, changes nothing, and is read there. Known forms: wrapped or bare, `T` and `E` behind the prices or in front of
the symbol, with and without `st` and `ps`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aegis.kernels.compile import kernel
from aegis.kernels.fields import Bytes, byte_at
from aegis.kernels.market import HASH_START, Table, find_hashed, hash_step
from aegis.kernels.number import MAX_DIGITS, decimal, decimal_fits
from aegis.kernels.ticks import apply_quote

__all__ = ["MISSED", "quick_quote"]

#: What `quick_quote` answers where the text is not of a known form; nothing was changed.
MISSED = -2

_TIME_DIGITS = 13
_QUOTE, _POINT, _BACKSLASH, _AT, _COMMA, _ZERO, _LETTER_E = 34, 46, 92, 64, 44, 48, 69

#: SWAR constants: the same byte, or the same group, throughout.
_HIGH, _LOW, _DIGIT = (np.uint64(byte * 0x0101010101010101) for byte in (0xF0, 0x0F, 0x30))
_SIX, _CARRY = np.uint64(0x0606060606060606), np.uint64(0x1010101010101010)
_PAIR, _FOUR, _EIGHT = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF), np.uint64(0xFFFFFFFF)


def _text(text: str) -> Bytes:
    return np.frombuffer(text.encode(), np.uint8).copy()


_WRAPPER, _AT_STREAM = _text('{"stream":"'), _text('@bookTicker","data":')
_EVENT, _EARLY, _EARLY_T, _SYMBOL = _text('{"e":"bookTicker","u":'), _text(',"E":'), _text(',"T":'), _text(',"s":"')
_B, _BQ, _A, _AQ = _text(',"b":"'), _text(',"B":"'), _text(',"a":"'), _text(',"A":"')
_STATE, _PAIR_NAME, _CLOSE = _text(',"st":1'), _text(',"ps":"'), _text("}")


@kernel(bare=True, inline=True)
def _expect(data: Bytes, position: int, end: int, text: Bytes) -> int:
    """The position behind `text`, or -1 where something else stands there or `position` is negative."""
    length = len(text)
    if position < 0 or end - position < length:
        return -1
    difference = 0
    for offset in range(length):  # no early exit: a few wide loads and comparisons
        difference |= byte_at(data, position + offset) ^ int(text[offset])
    return position + length if difference == 0 else -1


@kernel(bare=True, inline=True)
def _eight(data: Bytes, position: int) -> Any:
    """Eight bytes as one word, the first lowest."""
    word = np.uint64(0)
    for offset in range(8):
        word |= np.uint64(data[np.uint64(position + offset)]) << np.uint64(8 * offset)
    return word


@kernel(bare=True, inline=True)
def _are_digits(word: Any) -> bool:
    return bool((word & _HIGH) == _DIGIT and ((word & _LOW) + _SIX) & _CARRY == np.uint64(0))


@kernel(bare=True, inline=True)
def _number(word: Any) -> int:
    """The value of eight digits; no step overflows."""
    word = word & _LOW
    word = (word * np.uint64(10) + (word >> np.uint64(8))) & _PAIR
    word = (word * np.uint64(100) + (word >> np.uint64(16))) & _FOUR
    word = (word * np.uint64(10_000) + (word >> np.uint64(32))) & _EIGHT
    return int(np.int64(word))


@kernel(bare=True, inline=True)
def _time(data: Bytes, position: int, end: int) -> tuple[int, int]:
    """Milliseconds of 13 digits: (position behind them or -1, value)."""
    if position < 0 or end - position < _TIME_DIGITS:
        return -1, 0
    front, back = _eight(data, position), _eight(data, position + _TIME_DIGITS - 8)
    if not (_are_digits(front) and _are_digits(back)) or byte_at(data, position) == _ZERO:
        return -1, 0
    return position + _TIME_DIGITS, _number(front) // 1000 * 100_000_000 + _number(back)


@kernel(bare=True, inline=True)
def _identity(data: Bytes, position: int, end: int) -> tuple[int, int]:
    """A whole number: (position behind its digits or -1, value)."""
    if position < 0 or end - position < MAX_DIGITS or byte_at(data, position) == _ZERO:
        return -1, 0
    start = position
    value = 0
    word = _eight(data, position)
    if _are_digits(word):
        value = _number(word)
        position += 8
    while position < start + MAX_DIGITS:
        digit = byte_at(data, position) - _ZERO
        if digit < 0 or digit > 9:
            return (position, value) if position > start else (-1, 0)
        value = value * 10 + digit
        position += 1
    return -1, 0


@kernel(bare=True, inline=True)
def _price(data: Bytes, position: int, end: int) -> tuple[int, float]:
    """Digits with at most one point inside, and the quote that ends them: (position behind it or -1, value)."""
    if position < 0 or end - position < MAX_DIGITS + 2:
        return -1, 0.0
    start = position
    mantissa = 0
    byte = byte_at(data, position)
    while 48 <= byte <= 57 and position < start + MAX_DIGITS:
        mantissa = mantissa * 10 + (byte - _ZERO)
        position += 1
        byte = byte_at(data, position)
    decimals = 0
    if position == start:
        return -1, 0.0
    if byte == _POINT:
        point = position
        position += 1
        byte = byte_at(data, position)
        while 48 <= byte <= 57 and position < start + MAX_DIGITS + 1:
            mantissa = mantissa * 10 + (byte - _ZERO)
            position += 1
            byte = byte_at(data, position)
        decimals = position - point - 1
        if decimals == 0:
            return -1, 0.0
    if byte != _QUOTE or not decimal_fits(mantissa, decimals):
        return -1, 0.0
    return position + 1, decimal(mantissa, decimals)


@kernel(bare=True, inline=True)
def _name(data: Bytes, position: int, end: int, last: int) -> tuple[int, int]:
    """Printable ASCII without escapes up to the byte `last`: (its position or -1, hash of the name)."""
    value = HASH_START
    while 0 <= position < end:
        byte = byte_at(data, position)
        if byte == last:
            return position, value
        if not 32 <= byte <= 126 or byte in (_QUOTE, _BACKSLASH):
            return -1, 0
        value = hash_step(value, byte)
        position += 1
    return -1, 0


@kernel(bare=True, inline=True)
def _same(data: Bytes, first: int, second: int, length: int) -> bool:
    difference = 0
    for offset in range(length):
        difference |= byte_at(data, first + offset) ^ byte_at(data, second + offset)
    return difference == 0


@kernel(bare=True, inline=True)
def _tail(data: Bytes, position: int, end: int, name: int, length: int) -> int:
    """The optional `st` and `ps` behind the quote; the position of the closing brace, or -1."""
    if not 0 <= position < end or byte_at(data, position) != _COMMA:
        return position
    position = _expect(data, position, end, _STATE)
    if not 0 <= position < end or byte_at(data, position) != _COMMA:
        return position
    position = _expect(data, position, end, _PAIR_NAME)
    if position < 0 or end - position <= length or not _same(data, name, position, length):
        return -1
    return position + length + 1 if byte_at(data, position + length) == _QUOTE else -1


@kernel(bare=True, inline=True)
def quick_quote(table: Table, data: Bytes, position: int, end: int, recv_ns: int) -> int:
    """Read `data[position:end]` as a bookTicker of a known form and apply it; MISSED where it is none."""
    inner = _expect(data, position, end, _WRAPPER)
    wrapped = inner >= 0
    if wrapped:
        position = _expect(data, _name(data, inner, end, _AT)[0], end, _AT_STREAM)
    position, update_id = _identity(data, _expect(data, position, end, _EVENT), end)
    if position < 0 or end - position < 3:
        return MISSED
    event_ms, match_ms = 0, 0
    early = byte_at(data, position + 2) == _LETTER_E
    if early:
        position, event_ms = _time(data, _expect(data, position, end, _EARLY), end)
        position, match_ms = _time(data, _expect(data, position, end, _EARLY_T), end)
    name = _expect(data, position, end, _SYMBOL)
    close, hashed = _name(data, name, end, _QUOTE)
    if close < 0:
        return MISSED
    position, bid = _price(data, _expect(data, close + 1, end, _B), end)
    position, bid_qty = _price(data, _expect(data, position, end, _BQ), end)
    position, ask = _price(data, _expect(data, position, end, _A), end)
    position, ask_qty = _price(data, _expect(data, position, end, _AQ), end)
    if not early:
        position, match_ms = _time(data, _expect(data, position, end, _EARLY_T), end)
        position, event_ms = _time(data, _expect(data, position, end, _EARLY), end)
    position = _expect(data, _tail(data, position, end, name, close - name), end, _CLOSE)
    if wrapped:
        position = _expect(data, position, end, _CLOSE)
    if position != end:
        return MISSED
    symbol = find_hashed(table, hashed, data, name, close)
    if symbol < 0:
        return MISSED
    return apply_quote(table, symbol, update_id, event_ms, match_ms, bid, bid_qty, ask, ask_qty, recv_ns)
