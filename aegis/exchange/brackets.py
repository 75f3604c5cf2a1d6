"""Notional brackets of a contract: the larger a position, the less leverage and the more maintenance margin."""

from __future__ import annotations

from decimal import Decimal
from functools import cache, cached_property

import attrs

__all__ = ["E8", "Bracket", "Brackets", "usual_brackets"]

#: `value * 10**8`: the unit of money, mark and index prices.
E8 = 100_000_000


@attrs.frozen(kw_only=True)
class Bracket:
    """One notional bracket: `floor <= notional < cap`; maintenance margin is `notional * mmr - cum`."""

    bracket: int
    leverage: int
    floor: Decimal
    cap: Decimal
    mmr: Decimal
    cum: Decimal


class Brackets(tuple[Bracket, ...]):
    """From the smallest notional to the largest."""

    @cached_property
    def tiers(self) -> tuple[tuple[int, int, int], ...]:
        """Of each: (cap in 1e-16, maintenance margin rate in 1e-8, cum in 1e-16)."""
        return tuple((int(row.cap * E8) * E8, int(row.mmr * E8), int(row.cum * E8) * E8) for row in self)

    @cached_property
    def _caps_e16(self) -> list[int]:
        """By leverage."""
        rows = [(row.leverage, int(row.cap * E8) * E8) for row in self]
        highest = max((leverage for leverage, _ in rows), default=0)
        return [max(cap for most, cap in rows if most >= leverage) for leverage in range(highest + 1)]

    def cap_e16(self, leverage: int) -> int:
        """Cap of the largest that still allows this leverage, in 1e-16; 0 where none does."""
        return self._caps_e16[leverage] if leverage < len(self._caps_e16) else 0


def usual_brackets(rank: int) -> Brackets:
    """Of a synthetic contract, by its place among all: contracts of one class share theirs."""
    return _of_class(0 if rank < 2 else 1 if rank <= 60 else 2)


@cache
def _of_class(size: int) -> Brackets:
    """`cum` by PROTOCOL's recurrence, so that maintenance margin is continuous."""
    if size == 0:
        rows = [(125, "0.004", 300_000), (100, "0.005", 3_000_000), (50, "0.01", 12_000_000), (20, "0.025", 70_000_000),
                (10, "0.05", 200_000_000), (5, "0.1", 400_000_000), (2, "0.25", 800_000_000)]  # fmt: skip
    else:
        unit = 1 if size == 2 else 5
        rows = [(75, "0.01", 10_000 * unit), (50, "0.015", 50_000 * unit), (25, "0.02", 250_000 * unit),
                (20, "0.025", 600_000 * unit), (10, "0.05", 1_500_000 * unit), (5, "0.1", 3_000_000 * unit),
                (2, "0.25", 8_000_000 * unit)]  # fmt: skip
    brackets: list[Bracket] = []
    floor, cum, previous = Decimal(0), Decimal(0), Decimal(rows[0][1])
    for number, (leverage, rate, cap) in enumerate(rows, start=1):
        mmr = Decimal(rate)
        cum += floor * (mmr - previous)
        brackets.append(
            Bracket(bracket=number, leverage=leverage, floor=floor, cap=Decimal(cap), mmr=mmr, cum=cum.normalize() + 0)
        )
        floor, previous = Decimal(cap), mmr
    return Brackets(brackets)
