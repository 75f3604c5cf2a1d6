"""How much of a side of the book an order may take: what is displayed from the touch to its limit price."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import attrs

from aegis.core.values import Side

__all__ = ["Displayed", "PartialBook"]


class PartialBook(NamedTuple):
    """The best levels of both sides; of each pair the first is of the bids, the second of the asks.

    Prices are floats here, because they are only compared: those of one grid keep their order as floats.
    """

    ranks: Sequence[Sequence[float]]
    """Prices, best first, those of the bids negative, so that both rise; infinity behind the last."""
    lots: Sequence[Sequence[int]]
    """What the first k levels display together, from k = 0 on."""
    qty_decimals: int
    """A lot is 10**-qty_decimals."""
    age_ns: int

    def displayed(self, side: Side, touch: Decimal, touch_qty: Decimal, limit: Decimal) -> Displayed:
        """What a taker of `side` finds up to `limit`: `touch_qty` at the touch, and the levels behind it.

        The quote is newer than the book, so the touch is the quote's and levels before it are gone; one that has come
        into the spread since leaves those behind it where they were. A touch that crosses the other side of the book is
        of another moment: then it is all.
        """
        at = int(side is Side.BUY)
        ranks, sign = self.ranks[at], side.sign
        first_rank = float(touch) * sign
        if first_rank <= -self.ranks[1 - at][0]:
            return Displayed(qty=touch_qty, touch_qty=touch_qty)
        first = bisect_right(ranks, first_rank)
        levels = max(0, bisect_right(ranks, float(limit) * sign) - first)
        lots = self.lots[at]
        behind = Decimal(lots[first + levels] - lots[first]).scaleb(-self.qty_decimals)
        return Displayed(qty=touch_qty + behind, touch_qty=touch_qty, levels=levels, age_ns=self.age_ns)


@attrs.frozen(kw_only=True)
class Displayed:
    """A displayed size and what it was made of: the touch, and `levels` behind it."""

    qty: Decimal
    touch_qty: Decimal
    levels: int = 0
    age_ns: int | None = None
    """Of the book; None where it was the touch alone."""
