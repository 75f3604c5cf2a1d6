"""Money that comes and goes without an order: funding, transfers, rebates. Each movement is booked once.

The private stream tells a movement when it happens, the income history tells it again later, and neither names what the
other said. So the two reports of one movement are matched by what they agree on: kind, symbol, amount, about the time.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from aegis.core.values import SymbolName

__all__ = ["Movement", "Movements"]

#: Funding is paid once an hour at most; the times that the two sources give for one payment differ by seconds.
_SAME_MS = 60_000
#: More than can come within the time in which a report may still be repeated.
_KEPT = 1024


@attrs.frozen(kw_only=True)
class Movement:
    """A change of the wallet in one asset. `number` tells reports of one source apart."""

    funding: bool
    symbol: SymbolName | None
    asset: str
    change: Decimal
    time_ms: int
    income: bool
    """From the income history, else from the private stream."""
    number: tuple[object, ...]

    def repeats(self, other: Movement) -> bool:
        """The same movement, told by the other source."""
        return (
            self.income is not other.income
            and (self.funding, self.symbol, self.asset, self.change)
            == (other.funding, other.symbol, other.asset, other.change)
            and abs(self.time_ms - other.time_ms) <= _SAME_MS
        )


class Movements:
    """The latest movements, those of one source that the other has not repeated yet among them."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[object, ...], None] = {}
        self._alone: list[Movement] = []

    def new(self, movement: Movement) -> bool:
        """Whether it is to be booked; False for a repetition by either source."""
        number = (movement.income, *movement.number)
        if number in self._numbers:
            return False
        self._numbers[number] = None
        if len(self._numbers) > _KEPT:
            del self._numbers[next(iter(self._numbers))]
        twin = next((other for other in self._alone if movement.repeats(other)), None)
        if twin is not None:
            self._alone.remove(twin)
            return False
        self._alone.append(movement)
        del self._alone[:-_KEPT]
        return True
