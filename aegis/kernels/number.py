"""Numbers and text as the venue writes them, read from bytes without a Python object.

A decimal is bit-equal to `float(text)`: with a mantissa of at most 2**53 and at most 22 decimals, both the mantissa and
the power of ten are exact doubles, so the one division rounds correctly. Everything else is refused and goes to the
strict decoder. (Multiplying by 10**-d would be wrong in the last bit for a third of all prices.)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aegis.kernels.compile import inner

__all__ = ["MAX_DIGITS", "MAX_LOTS", "decimal", "decimal_fits", "lots", "utf8_ok"]

#: Digits that an int64 takes without overflow.
MAX_DIGITS = 18
_MAX_MANTISSA = 2**53
_MAX_DECIMALS = 22
#: Above this a quantity is absurd, and a sum of a bar's trades could overflow.
MAX_LOTS = 2**53

_POWERS = np.array([float(f"1e{n}") for n in range(_MAX_DECIMALS + 1)])
_INTEGER_POWERS = np.array([10**n for n in range(MAX_DIGITS + 1)], np.int64)


@inner(inline=True)
def decimal_fits(mantissa: int, decimals: int) -> bool:
    """Whether `decimal` is exact for these."""
    return mantissa <= _MAX_MANTISSA and decimals <= _MAX_DECIMALS


@inner(inline=True)
def decimal(mantissa: int, decimals: int) -> float:
    """The double nearest to mantissa / 10**decimals, given that `decimal_fits`."""
    return float(mantissa / _POWERS[decimals])


@inner(inline=True)
def lots(mantissa: int, decimals: int, qty_decimals: int) -> int:
    """mantissa / 10**decimals in whole units of 10**-qty_decimals, or -1 where that is not exact or above MAX_LOTS."""
    if decimals > MAX_DIGITS:
        return -1
    if decimals > qty_decimals:
        unit = int(_INTEGER_POWERS[decimals - qty_decimals])
        if mantissa % unit != 0:
            return -1
        value = mantissa // unit
        return value if value <= MAX_LOTS else -1
    unit = int(_INTEGER_POWERS[qty_decimals - decimals])
    if mantissa > MAX_LOTS // unit:
        return -1
    return mantissa * unit


@inner()
def utf8_ok(data: npt.NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether the bytes are well-formed UTF-8 (no overlong forms, no surrogates, nothing above U+10FFFF)."""
    position = start
    while position < end:
        first = int(data[position])
        position += 1
        if first < 0x80:
            continue
        low = 0x80
        high = 0xBF
        if 0xC2 <= first <= 0xDF:
            more = 1
        elif 0xE0 <= first <= 0xEF:
            more = 2
            if first == 0xE0:
                low = 0xA0
            elif first == 0xED:
                high = 0x9F
        elif 0xF0 <= first <= 0xF4:
            more = 3
            if first == 0xF0:
                low = 0x90
            elif first == 0xF4:
                high = 0x8F
        else:
            return False
        if position + more > end:
            return False
        for _ in range(more):
            byte = int(data[position])
            if byte < low or byte > high:
                return False
            low = 0x80
            high = 0xBF
            position += 1
    return True
