"""Exact money as whole numbers: amounts in 1e-8, products of price and quantity in 1e-16, and their texts.

Nothing here is ever a float or a Decimal; what comes in from outside is turned into these units once, what goes out is
written from them once.
"""

from __future__ import annotations

from decimal import Context, Decimal

from aegis.exchange.brackets import E8
from aegis.exchange.listing import decimal_text

__all__ = ["E8", "E16", "MONEY", "amount_of", "decimal_of", "divide", "money", "plain"]

#: `amount * 10**16`: the unit of notionals and of average entry prices.
E16 = 10**16
#: Arithmetic context for numbers from outside: wide enough that what they are compared with is exact.
MONEY = Context(prec=80)


def divide(numerator: int, denominator: int) -> int:
    """The quotient rounded half-even. `denominator` is positive."""
    quotient, rest = divmod(numerator, denominator)
    if not rest:
        return quotient
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient


def amount_of(value: Decimal) -> int:
    """A decimal amount in 1e-8; further digits are cut off."""
    return int(value * E8)


def decimal_of(amount: int) -> Decimal:
    """An amount as a Decimal with eight digits after the point."""
    return Decimal(amount).scaleb(-8)


def money(amount: int) -> str:
    """With eight decimals, as most amounts are given."""
    return decimal_text(amount, 8)


def plain(value: int, decimals: int = 8) -> str:
    """Shortest exact text of `value / 10**decimals`, without an exponent; zero is "0"."""
    if not decimals:
        return str(value)
    return decimal_text(value, decimals).rstrip("0").rstrip(".")
