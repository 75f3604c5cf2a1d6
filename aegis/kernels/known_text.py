"""Pieces of text in the form in which the venue always writes them: names, whole numbers, times, decimals.

Each is read in a few wide steps, or refused: what is refused costs a second, general reading and nothing else.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aegis.kernels.compile import inner
from aegis.kernels.fields import Bytes, byte_at
from aegis.kernels.market import HASH_START, hash_step
from aegis.kernels.number import MAX_DIGITS, decimal_fits

__all__ = ["eight", "expect", "read_identity", "read_name", "read_price", "read_time", "text"]

_TIME_DIGITS = 13
_QUOTE, _POINT, _BACKSLASH, _ZERO = 34, 46, 92, 48

#: SWAR constants: the same byte, or the same group, throughout.
_HIGH, _LOW, _DIGIT = (np.uint64(byte * 0x0101010101010101) for byte in (0xF0, 0x0F, 0x30))
_SIX, _CARRY = np.uint64(0x0606060606060606), np.uint64(0x1010101010101010)
_PAIR, _FOUR, _EIGHT = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF), np.uint64(0xFFFFFFFF)


def text(characters: str) -> Bytes:
    """ASCII as the array that `expect` compares with."""
    return np.frombuffer(characters.encode(), np.uint8).copy()


@inner(inline=True)
def expect(data: Bytes, position: int, end: int, text: Bytes) -> int:
    """The position behind `text`, or -1 where something else stands there or `position` is negative."""
    length = len(text)
    if position < 0 or end - position < length:
        return -1
    difference = 0
    for offset in range(length):  # no early exit: a few wide loads and comparisons
        difference |= byte_at(data, position + offset) ^ int(text[offset])
    return position + length if difference == 0 else -1


@inner(inline=True)
def eight(data: Bytes, position: int) -> Any:
    """Eight bytes as one word, the first lowest."""
    word = np.uint64(0)
    for offset in range(8):
        word |= np.uint64(data[np.uint64(position + offset)]) << np.uint64(8 * offset)
    return word


@inner(inline=True)
def _are_digits(word: Any) -> bool:
    return bool((word & _HIGH) == _DIGIT and ((word & _LOW) + _SIX) & _CARRY == np.uint64(0))


@inner(inline=True)
def _number(word: Any) -> int:
    """The value of eight digits; no step overflows."""
    word = word & _LOW
    word = (word * np.uint64(10) + (word >> np.uint64(8))) & _PAIR
    word = (word * np.uint64(100) + (word >> np.uint64(16))) & _FOUR
    word = (word * np.uint64(10_000) + (word >> np.uint64(32))) & _EIGHT
    return int(np.int64(word))


@inner(inline=True)
def read_time(data: Bytes, position: int, end: int) -> tuple[int, int]:
    """Milliseconds of 13 digits: (position behind them or -1, value)."""
    if position < 0 or end - position < _TIME_DIGITS:
        return -1, 0
    front, back = eight(data, position), eight(data, position + _TIME_DIGITS - 8)
    if not (_are_digits(front) and _are_digits(back)) or byte_at(data, position) == _ZERO:
        return -1, 0
    return position + _TIME_DIGITS, _number(front) // 1000 * 100_000_000 + _number(back)


@inner(inline=True)
def read_identity(data: Bytes, position: int, end: int) -> tuple[int, int]:
    """A whole number: (position behind its digits or -1, value)."""
    if position < 0 or end - position < MAX_DIGITS or byte_at(data, position) == _ZERO:
        return -1, 0
    start = position
    value = 0
    word = eight(data, position)
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


@inner(inline=True)
def read_price(data: Bytes, position: int, end: int) -> tuple[int, int, int]:
    """Digits with one point inside at most, and the quote that ends them: (position behind or -1, digits, decimals).

    What is read here `number.decimal` makes an exact double of.
    """
    if position < 0 or end - position < MAX_DIGITS + 2:
        return -1, 0, 0
    start = position
    mantissa = 0
    byte = byte_at(data, position)
    while 48 <= byte <= 57 and position < start + MAX_DIGITS:
        mantissa = mantissa * 10 + (byte - _ZERO)
        position += 1
        byte = byte_at(data, position)
    decimals = 0
    if position == start:
        return -1, 0, 0
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
            return -1, 0, 0
    if byte != _QUOTE or not decimal_fits(mantissa, decimals):
        return -1, 0, 0
    return position + 1, mantissa, decimals


@inner(inline=True)
def read_name(data: Bytes, position: int, end: int, last: int) -> tuple[int, int]:
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
