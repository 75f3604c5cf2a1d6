"""Margin in single-asset mode: what positions and open orders tie up, and what is left. PROTOCOL.md §9.

Amounts are in 1e-8, notionals in 1e-16. Each position's share is kept, and the one sum that every order asks for; only
what changed (a position, its orders, its symbol's mark) is computed anew when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import numpy as np

from aegis.core.values import Side
from aegis.exchange.account import Account, Position, maintenance_margin
from aegis.exchange.books import Books
from aegis.exchange.errors import Refusal
from aegis.exchange.money import E8, E16, divide

__all__ = ["Margins", "SymbolMargin", "liquidation_price", "require_margin", "symbol_margin"]


@attrs.define(eq=False)
class SymbolMargin:
    """One position's share; `notional_e16` is signed, everything else as the venue's positionRisk names it."""

    position: Position
    isolated: bool = False
    mark_e8: int = 0
    """0 while it was never valued."""
    notional_e16: int = 0
    unrealized: int = 0
    position_initial: int = 0
    open_order_initial: int = 0
    bid_e16: int = 0
    ask_e16: int = 0
    carried: int = 0
    """What the cross wallet has to carry of it: its open orders, and a cross position with its loss."""

    def value(self, mark_e8: int) -> None:
        """Compute what follows from the position itself; what its open orders tie up is for `tie`."""
        position = self.position
        self.isolated, self.mark_e8 = position.setting.isolated, mark_e8
        if position.steps:
            self.notional_e16, self.unrealized = position.notional_e16(mark_e8), position.unrealized(mark_e8)
            self.position_initial = divide(abs(self.notional_e16), E8 * position.setting.leverage)
        else:
            self.notional_e16 = self.unrealized = self.position_initial = 0

    def tie(self, bid_e16: int, ask_e16: int) -> None:
        """Open orders tie up what the worse of "all bids fill" and "all asks fill" would need beyond its own margin."""
        self.bid_e16, self.ask_e16 = bid_e16, ask_e16
        if bid_e16 or ask_e16:
            required = _required(self.notional_e16, bid_e16, ask_e16, self.position.setting.leverage)
            self.open_order_initial = required - self.position_initial
        else:
            self.open_order_initial = 0
        own = 0 if self.isolated else self.position_initial - self.unrealized
        self.carried = self.open_order_initial + own

    @property
    def maintenance(self) -> int:
        return maintenance_margin(self.position.listing, self.notional_e16)

    @property
    def initial(self) -> int:
        return self.position_initial + self.open_order_initial

    @property
    def isolated_margin(self) -> int:
        return self.position.isolated_wallet + self.unrealized if self.isolated else 0


def symbol_margin(position: Position, mark_e8: int, bid_e16: int, ask_e16: int) -> SymbolMargin:
    """The share of a position with such open orders."""
    row = SymbolMargin(position)
    row.value(mark_e8)
    row.tie(bid_e16, ask_e16)
    return row


def _required(notional_e16: int, bid_e16: int, ask_e16: int, leverage: int) -> int:
    """Initial margin of the largest that a position can become when all bids or all asks fill."""
    long, short = notional_e16 + bid_e16, ask_e16 - notional_e16  # the larger is no less than the position as it is
    return divide(long if long > short else short, E8 * leverage)


class Margins:
    """One account's margin. `now` brings it up to date; everything is then of that moment."""

    def __init__(self, account: Account, books: Books) -> None:
        self.account = account
        self._books = books
        self._rows: dict[Position, SymbolMargin] = {}
        """Of every position that was ever used."""
        self._version = -1
        self._symbols = np.zeros(0, np.int64)
        """Of `_rows`."""
        self._marks: list[int] = []
        self._carried = 0
        """Sum of what the cross wallet has to carry of each."""

    def now(self) -> Margins:
        """Itself, up to date."""
        changed = self.account.changed
        if changed:
            for position, whole in changed.items():
                row = self._rows.get(position)
                if row is None:
                    row = self._rows[position] = SymbolMargin(position)
                before, unit = row.carried, position.listing.unit_e16
                if whole or not row.mark_e8:
                    row.value(self._books.mark_e8.item(position.listing.index))
                row.tie(position.bids * unit, position.asks * unit)
                self._carried += row.carried - before
            changed.clear()
        if self._version != self._books.version:
            self._version = self._books.version
            self._follow_marks()
        return self

    def _follow_marks(self) -> None:
        if len(self._symbols) != len(self._rows):
            self._symbols = np.array([position.listing.index for position in self._rows], np.int64)
            self._marks = []
        marks: list[int] = self._books.mark_e8[self._symbols].tolist()
        if marks == self._marks:
            return
        self._marks = marks
        for row, mark_e8 in zip(self._rows.values(), marks, strict=True):
            if row.mark_e8 != mark_e8:
                before = row.carried
                row.value(mark_e8)
                row.tie(row.bid_e16, row.ask_e16)
                self._carried += row.carried - before

    @property
    def rows(self) -> tuple[SymbolMargin, ...]:
        """Positions with an amount or open orders, by symbol and side."""
        used = [row for row in self._rows.values() if row.position.used]
        return tuple(sorted(used, key=lambda row: (row.position.listing.index, row.position.side)))

    def row(self, position: Position) -> SymbolMargin:
        """One position's share, also of one that there is nothing of."""
        found = self._rows.get(position)
        return found or symbol_margin(position, self._books.mark_e8.item(position.listing.index), 0, 0)

    @property
    def unrealized(self) -> int:
        return sum(row.unrealized for row in self._rows.values())

    @property
    def position_initial(self) -> int:
        return sum(row.position_initial for row in self._rows.values())

    @property
    def open_order_initial(self) -> int:
        return sum(row.open_order_initial for row in self._rows.values())

    @property
    def maintenance(self) -> int:
        return sum(row.maintenance for row in self._rows.values())

    @property
    def cross_unrealized(self) -> int:
        """Of those that share the cross wallet."""
        return sum(row.unrealized for row in self._rows.values() if not row.isolated)

    @property
    def cross_maintenance(self) -> int:
        return sum(row.maintenance for row in self._rows.values() if not row.isolated)

    @property
    def balance(self) -> int:
        """Margin balance: wallet plus unrealised PnL."""
        return self.account.wallet + self.unrealized

    @property
    def free(self) -> int:
        """What the cross wallet holds beyond initial margin (of cross positions, of all open orders) and loss."""
        account = self.account
        return account.wallet - account.isolated - self._carried

    @property
    def available(self) -> int:
        free = self.free
        return free if free > 0 else 0


def require_margin(margins: Margins, position: Position, side: Side, steps: int, price_e16: int) -> None:
    """Raise unless an order that is not reduce-only may be opened.

    Args:
        price_e16: what each unit is assumed to cost (the limit price, or the touch with a margin for MARKET).

    Raises:
        Refusal: -2027 beyond the notional cap of the leverage, -2019 when the available balance does not cover it.
    """
    before, listing, leverage = margins.now().row(position), position.listing, position.setting.leverage
    notional, bid, ask, sign = before.notional_e16, before.bid_e16, before.ask_e16, side.sign
    added = price_e16 * steps * listing.step_e8 // E8
    # The side of the order decides: what the position becomes when every order on that side fills.
    if sign > 0:
        bid += added
        exposure = abs(notional + bid)
    else:
        ask += added
        exposure = abs(notional - ask)
    if exposure > listing.brackets.cap_e16(leverage) and exposure > abs(notional):
        raise Refusal(-2027)
    cost = _required(notional, bid, ask, leverage) - before.position_initial - before.open_order_initial
    if cost <= 0:
        return
    free = margins.free
    short, adverse_e16 = cost - free if free > 0 else cost, (price_e16 - before.mark_e8 * E8) * sign
    if short > 0 or (adverse_e16 > 0 and short * E16 + adverse_e16 * steps * listing.step_e8 > 0):
        raise Refusal(-2019)


def liquidation_price(row: SymbolMargin, margins: Margins) -> int:
    """Mark at which the position (or, cross, the account) is liquidated, other marks unchanged, 1e-8; 0 for none.

    `(wallet - other maintenance + other unrealised + cum - sum(S*P*EP)) / (sum(P*mmr) - sum(S*P))`, with the brackets
    of that price, the sums over the sides of the symbol that share a wallet: one in one-way mode or isolated, both
    sides of a cross position in hedge mode.
    """
    position = row.position
    if not position.steps:
        return 0
    if row.isolated:
        return _price([position], position.isolated_wallet)
    legs = [other.position for other in margins.rows if other.position.listing is position.listing]
    others = [other for other in margins.rows if not other.isolated and other.position not in legs]
    wallet = margins.account.cross_wallet + sum(other.unrealized - other.maintenance for other in others)
    return _price([leg for leg in legs if leg.steps], wallet)


def _price(legs: list[Position], wallet: int) -> int:
    """Of sides that share `wallet`; each side's bracket is that of its own notional at the price."""
    found = 0
    listing = legs[0].listing
    sizes = [(leg.steps * listing.step_e8, leg.entry_e16) for leg in legs]
    # Each side has a bracket of its own: try those that fit together, from the smallest.
    for tiers in _combinations(listing.brackets.tiers, len(legs)):
        top_e16 = wallet * E8 + sum(tier[2] for tier in tiers) - sum(size * entry for size, entry in sizes) // E8
        bottom_e16 = sum(abs(size) * tier[1] for (size, _), tier in zip(sizes, tiers, strict=True))
        bottom_e16 -= sum(size for size, _ in sizes) * E8
        if not bottom_e16 or top_e16 * bottom_e16 <= 0:
            continue
        found = divide(top_e16 * E8, bottom_e16) if bottom_e16 > 0 else divide(-top_e16 * E8, -bottom_e16)
        rows = zip(sizes, tiers, strict=True)
        if all(_lies_in(abs(size) * found, tier, listing.brackets.tiers) for (size, _), tier in rows):
            return found
    return found


Tier = tuple[int, int, int]


def _combinations(tiers: tuple[Tier, ...], legs: int) -> Iterable[tuple[Tier, ...]]:
    if legs == 1:
        return ((tier,) for tier in tiers)
    return ((first, second) for first in tiers for second in tiers)


def _lies_in(notional_e16: int, tier: Tier, tiers: tuple[Tier, ...]) -> bool:
    place = tiers.index(tier)
    floor = tiers[place - 1][0] if place else 0
    return floor <= notional_e16 < tier[0]

