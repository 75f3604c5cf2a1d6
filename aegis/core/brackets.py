"""The venue's leverage brackets: maintenance margin and liquidation price (PROTOCOL section 9)."""

from __future__ import annotations

from decimal import Decimal

import attrs

from aegis.core.values import SymbolName

__all__ = ["LeverageBracket", "LeverageBrackets"]

ZERO = Decimal(0)


@attrs.frozen(kw_only=True)
class LeverageBracket:
    """One row: notional in [floor, cap) is margined at `rate`, less `cum`."""

    floor: Decimal
    cap: Decimal
    rate: Decimal
    cum: Decimal
    leverage: int


def _contiguous(_: object, __: object, rows: tuple[LeverageBracket, ...]) -> None:
    if not rows:
        raise ValueError("leverage brackets: none given")
    for row, following in zip(rows, (*rows[1:], None), strict=True):
        if not ZERO <= row.floor < row.cap or not ZERO <= row.rate < 1 or row.leverage < 1:
            raise ValueError(f"leverage brackets: impossible row {row}")
        if following is not None and following.floor != row.cap:
            raise ValueError(f"leverage brackets: gap between {row.cap} and {following.floor}")


@attrs.frozen(kw_only=True)
class LeverageBrackets:
    """A symbol's brackets, ascending and without gaps."""

    symbol: SymbolName
    rows: tuple[LeverageBracket, ...] = attrs.field(validator=_contiguous)
    _caps: dict[int, Decimal] = attrs.field(factory=dict, init=False, eq=False, repr=False)

    def at(self, notional: Decimal) -> LeverageBracket:
        """The bracket of a notional at mark; beyond the last cap the last one."""
        for row in self.rows:
            if notional < row.cap:
                return row
        return self.rows[-1]

    def maintenance(self, notional: Decimal) -> Decimal:
        """Maintenance margin of a notional at mark."""
        row = self.at(notional)
        return notional * row.rate - row.cum

    def cap_at(self, leverage: int) -> Decimal:
        """The largest notional that the venue allows at this leverage; 0 where the leverage itself is not allowed."""
        found = self._caps.get(leverage)
        if found is None:
            found = max((row.cap for row in self.rows if row.leverage >= leverage), default=ZERO)
            self._caps[leverage] = found
        return found

    def liquidation(
        self, amount: Decimal, entry: Decimal, wallet: Decimal, *, others: Decimal = ZERO
    ) -> Decimal | None:
        """Mark price at which a one-way position is liquidated; None where there is none.

        `amount` is signed; `wallet` the isolated wallet, or the cross wallet with `others` the unrealised profit less
        the maintenance margin of all other cross positions. The bracket is the one in force at the result.
        """
        if amount == ZERO:
            return None
        size = abs(amount)
        candidates = []
        for row in self.rows:
            price = (wallet + others + row.cum - amount * entry) / (size * row.rate - amount)
            if row is self.at(price * size):
                return price if price > ZERO else None
            candidates.append(price)
        # Rounded `cum` values may leave a crack between two brackets: take the price that liquidates first.
        return max(candidates) if amount > ZERO else min(candidates)
