"""Partial targets: how much of a position leaves at each of them. The rest leaves at the last target."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import attrs
from attrs import validators

from aegis.core.filters import SymbolSpec, floor_to

__all__ = ["Lots", "Part", "mean_target", "split"]

ZERO = Decimal(0)
ONE = Decimal(1)


@attrs.frozen(kw_only=True)
class Part:
    """A target before the last one: its price, and the share of the position that leaves there."""

    price: Decimal = attrs.field(validator=validators.gt(ZERO))
    share: Decimal = attrs.field(validator=[validators.gt(ZERO), validators.lt(ONE)])


@attrs.frozen(kw_only=True)
class Lots:
    """What a market order of the symbol must be: `min_qty` and whole steps more, worth `min_notional`."""

    step: Decimal = attrs.field(validator=validators.gt(ZERO))
    min_qty: Decimal
    min_notional: Decimal

    @classmethod
    def of(cls, spec: SymbolSpec) -> Lots:
        return cls(step=spec.market_step, min_qty=spec.market_min_qty, min_notional=spec.min_notional)

    def allow(self, qty: Decimal, price: Decimal) -> bool:
        return qty > ZERO and qty >= self.min_qty and qty * price >= self.min_notional


def split(qty: Decimal, parts: Sequence[Part], last: Decimal, lots: Lots) -> tuple[tuple[Decimal, Decimal], ...]:
    """(price, quantity) of each part of a position of `qty`, in order; what they leave is for the target `last`.

    A part that comes out too small is merged into the next; nothing leaves earlier than it was asked to.
    """
    found: list[tuple[Decimal, Decimal]] = []
    carried = ZERO
    for part in parts:
        carried += part.share * qty
        lot = floor_to(carried, lots.step, lots.min_qty) if carried >= lots.min_qty else ZERO
        if lots.allow(lot, part.price):
            found.append((part.price, lot))
            carried -= lot
    rest = qty - sum((lot for _, lot in found), ZERO)
    while found and not lots.allow(rest, last):
        rest += found.pop()[1]
    return tuple(found)


def mean_target(parts: Sequence[Part], last: Decimal) -> Decimal:
    """The price at which a position leaves on average when every target is reached."""
    return last + sum((part.share * (part.price - last) for part in parts), ZERO)
