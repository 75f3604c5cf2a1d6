"""Whole numbers and decimals as text into a byte buffer: the inverse of `kernels/number.py`, for the encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from aegis.kernels.compile import inner

__all__ = ["put", "put_decimal", "put_integer", "put_slice"]

Bytes = npt.NDArray[np.uint8]

#: Digits of the largest int64.
_MOST_DIGITS = 19
_POWERS = np.array([10**n for n in range(_MOST_DIGITS)], np.uint64)
#: "00" to "99": a division by 100 yields two characters.
_PAIRS = np.frombuffer(b"".join(b"%02d" % n for n in range(100)), np.uint8).copy()
_HUNDRED = np.uint64(100)
_TEN = np.uint64(10)
_POINT = 46
_ZERO = 48


@inner(inline=True)
def put(out: Bytes, at: int, text: Bytes) -> int:
    """Copy all of `text` to `out[at:]`; returns the position behind it."""
    length = len(text)
    for offset in range(length):
        out[np.uint64(at + offset)] = text[np.uint64(offset)]
    return at + length


@inner(inline=True)
def put_slice(out: Bytes, at: int, text: Bytes, start: int, end: int) -> int:
    """Copy `text[start:end]` to `out[at:]`; returns the position behind it."""
    for offset in range(end - start):
        out[np.uint64(at + offset)] = text[np.uint64(start + offset)]
    return at + end - start


@inner(inline=True)
def _length(value: Any) -> int:
    """How many digits a uint64 has, at most _MOST_DIGITS."""
    digits = 1
    while digits < _MOST_DIGITS and value >= _POWERS[np.uint64(digits)]:
        digits += 1
    return digits


@inner(inline=True)
def _put_backwards(out: Bytes, end: int, value: Any, digits: int) -> Any:
    """Write the last `digits` digits of a uint64 so that they end before `end`; returns what is left in front."""
    while digits >= 2:
        rest = value // _HUNDRED
        pair = (value - rest * _HUNDRED) * np.uint64(2)
        value = rest
        out[np.uint64(end - 1)] = _PAIRS[pair + np.uint64(1)]
        out[np.uint64(end - 2)] = _PAIRS[pair]
        end -= 2
        digits -= 2
    if digits == 1:
        rest = value // _TEN
        out[np.uint64(end - 1)] = np.uint8(value - rest * _TEN) + np.uint8(_ZERO)
        value = rest
    return value


@inner(inline=True)
def put_integer(out: Bytes, at: int, value: int) -> int:
    """A whole number that is not negative; returns the position behind it."""
    number = np.uint64(value)
    digits = _length(number)
    _put_backwards(out, at + digits, number, digits)
    return at + digits


@inner(inline=True)
def put_decimal(out: Bytes, at: int, value: int, decimals: int) -> int:
    """value / 10**decimals with exactly `decimals` digits behind the point, no point where there are none.

    `value` is not negative, `decimals` at most 18. Returns the position behind the text.
    """
    number = np.uint64(value)
    digits = max(_length(number), decimals + 1)
    if decimals == 0:
        _put_backwards(out, at + digits, number, digits)
        return at + digits
    end = at + digits + 1
    number = _put_backwards(out, end, number, decimals)
    out[np.uint64(end - decimals - 1)] = _POINT
    _put_backwards(out, end - decimals - 1, number, digits - decimals)
    return end
