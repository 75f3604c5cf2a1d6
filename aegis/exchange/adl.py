"""Auto-deleveraging: in which order positions are closed for somebody else's liquidation. PROTOCOL.md §4.5 and §9.

The venue does not say how exactly it ranks; the order is ours. Everything that tells of it asks here.
"""

from __future__ import annotations

from fractions import Fraction
from typing import get_args

from aegis.exchange.account import Account, Position, PositionSide
from aegis.exchange.listing import Listing
from aegis.exchange.money import E8
from aegis.exchange.state import State

__all__ = ["quantile", "ranked"]

#: Quantiles go from 0 to 4.
_PARTS = 5
_SIDES: tuple[PositionSide, ...] = get_args(PositionSide)


def ranked(state: State, listing: Listing, sign: int, but: Account | None = None) -> list[tuple[Account, Position]]:
    """Positions of one direction, the most profitable and most leveraged first: these are closed first.

    Args:
        sign: 1 for the long positions, -1 for the short ones.
        but: whose positions are left out, the account that is being liquidated.
    """
    found = [
        (owner, position)
        for owner in state.accounts.values()
        if owner is not but
        for side in _SIDES
        if (position := owner.positions.get((listing.index, side))) is not None and position.sign == sign
    ]
    return sorted(found, key=lambda row: _rank(state, *row), reverse=True)


def _rank(state: State, owner: Account, position: Position) -> Fraction:
    """Profit as a share of the entry's notional, times the leverage in use, or, of a loss, divided by it."""
    mark_e8 = state.mark_e8(position.listing)
    profit = position.unrealized(mark_e8)
    margin = position.isolated_wallet + profit
    if not position.setting.isolated:
        margin = state.margins[owner.id].now().balance
    entry_e24 = abs(position.steps) * position.listing.step_e8 * position.entry_e16
    share = Fraction(profit * E8 * E8, entry_e24)
    leverage = Fraction(abs(position.notional_e16(mark_e8)), max(1, margin) * E8)
    return share * leverage if profit > 0 else share / leverage


def quantile(state: State, owner: Account, position: Position) -> int:
    """The position's part of that queue in fifths: 4 for the first, 0 for the last ones.

    0 too where nobody else holds the other side, and for no position: the public is never liquidated, so nothing can
    reach it.
    """
    if not position.steps or not ranked(state, position.listing, -position.sign, but=owner):
        return 0
    queue = [other for _, other in ranked(state, position.listing, position.sign)]
    return _PARTS - 1 - _PARTS * queue.index(position) // len(queue)
