"""Accounts and positions, USDT alone, one-way and hedge mode; all money is exact (`money.py`).

Rounding, the only places where it happens: a commission, a realised PnL, a funding payment and an isolated margin
transfer are rounded half-even to 1e-8; an average entry price half-even to 1e-16 when a position is added to. Wallets
are sums of such amounts, so `wallet - start == realised - fees + funding + insurance` to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Literal

import attrs

from aegis.exchange.listing import Listing
from aegis.exchange.money import E8, E16, amount_of, divide
from aegis.exchange.security import AccountSetup

__all__ = [
    "Account", "Fees", "Position", "PositionSide", "SymbolSetting", "commission", "maintenance_margin", "unrealized",
]  # fmt: skip

#: BOTH in one-way mode; in hedge mode every symbol has a LONG and a SHORT side.
PositionSide = Literal["BOTH", "LONG", "SHORT"]


@attrs.frozen(kw_only=True)
class Fees:
    """Commission as a fraction of notional."""

    maker: Decimal = Decimal("0.0002")
    taker: Decimal = Decimal("0.0005")

    maker_ratio: tuple[int, int] = attrs.field(init=False)
    taker_ratio: tuple[int, int] = attrs.field(init=False)

    @maker_ratio.default
    def _maker_ratio(self) -> tuple[int, int]:
        return self.maker.as_integer_ratio()

    @taker_ratio.default
    def _taker_ratio(self) -> tuple[int, int]:
        return self.taker.as_integer_ratio()


def commission(notional_e16: int, ratio: tuple[int, int]) -> int:
    """Commission on a notional, 1e-8."""
    return divide(notional_e16 * ratio[0], E8 * ratio[1])


def unrealized(listing: Listing, steps: int, entry_e16: int, mark_e8: int) -> int:
    """Unrealised PnL of a position of `steps`, 1e-8."""
    return divide((mark_e8 * E8 - entry_e16) * steps * listing.step_e8, E16)


def maintenance_margin(listing: Listing, notional_e16: int) -> int:
    """`notional * mmr - cum` of the bracket that the notional lies in, 1e-8; beyond the last cap that one goes on."""
    if not notional_e16:
        return 0
    size_e16 = abs(notional_e16)
    for tier in listing.brackets.tiers:
        if size_e16 < tier[0]:
            break
    return divide(size_e16 * tier[1] - tier[2] * E8, E16)


@attrs.define(eq=False)
class SymbolSetting:
    """What an account has set for a symbol; both sides of hedge mode share it."""

    leverage: int = 20
    isolated: bool = False


@attrs.define(kw_only=True, eq=False)
class Position:
    """One side of one symbol of an account, signed in steps. Money in 1e-8, `entry_e16` in 1e-16."""

    listing: Listing
    setting: SymbolSetting = attrs.field(factory=SymbolSetting)
    side: PositionSide = "BOTH"
    steps: int = 0
    entry_e16: int = 0
    isolated_wallet: int = 0
    realized: int = 0
    """Accumulated since the account was opened, before fees."""
    updated_ms: int = 0
    bids: int = 0
    """Ticks x steps of open buy orders that may add to it; kept up to date by `Booking`."""
    asks: int = 0

    @property
    def sign(self) -> int:
        return (self.steps > 0) - (self.steps < 0)

    @property
    def used(self) -> bool:
        """Whether there is anything: amount or open orders."""
        return bool(self.steps or self.bids or self.asks)

    def notional_e16(self, mark_e8: int) -> int:
        """Signed notional at mark."""
        return self.steps * self.listing.step_e8 * mark_e8

    def unrealized(self, mark_e8: int) -> int:
        return unrealized(self.listing, self.steps, self.entry_e16, mark_e8)

    def initial_margin(self, mark_e8: int) -> int:
        return divide(abs(self.notional_e16(mark_e8)), E8 * self.setting.leverage)

    def maintenance_margin(self, mark_e8: int) -> int:
        return maintenance_margin(self.listing, self.notional_e16(mark_e8))

    def fill(self, signed_steps: int, ticks: int) -> int:
        """Take over a fill (positive bought, negative sold, not zero); what it realises, 1e-8."""
        assert signed_steps != 0
        before = self.steps
        after = before + signed_steps
        if before * signed_steps >= 0:
            self._open(signed_steps, ticks)
            return 0
        realized = self._close(min(abs(before), abs(signed_steps)), ticks)
        if before * after < 0:  # through zero
            self._open(after, ticks)
        assert self.steps == after
        self.realized += realized
        return realized

    def _close(self, steps: int, ticks: int) -> int:
        """Take `steps` off; a share of the isolated margin goes back to the cross wallet."""
        listing, sign, before = self.listing, self.sign, abs(self.steps)
        realized = divide((ticks * listing.tick_e8 * E8 - self.entry_e16) * steps * sign * listing.step_e8, E16)
        self.steps -= sign * steps
        if self.steps == 0:
            self.entry_e16 = self.isolated_wallet = 0
        else:
            self.isolated_wallet -= divide(self.isolated_wallet * steps, before)
        return realized

    def _open(self, signed_steps: int, ticks: int) -> None:
        """Add to it (or open it); an isolated one takes its initial margin out of the cross wallet."""
        listing, held, added = self.listing, abs(self.steps), abs(signed_steps)
        price_e16 = ticks * listing.tick_e8 * E8
        self.entry_e16 = divide(held * self.entry_e16 + added * price_e16, held + added) if held else price_e16
        self.steps += signed_steps
        if self.setting.isolated:
            self.isolated_wallet += divide(added * ticks * listing.unit_e16, E8 * self.setting.leverage)


class Account:
    """One account's money, in 1e-8. Its wallet is moved by `State.pay` alone."""

    def __init__(self, setup: AccountSetup) -> None:
        self.setup = setup
        self.id = setup.id
        self.wallet = amount_of(setup.wallet)
        self.hedge = False
        """Whether positions have two sides (dualSidePosition)."""
        self.fee_burn = False
        """Whether commissions are to be paid in BNB, at a discount, as far as the wallet holds any: here none does."""
        self.tradfi_signed = False
        """Whether the agreement was signed without which no contract on traditional assets is opened."""
        self.settings: dict[int, SymbolSetting] = {}
        self.positions: dict[tuple[int, PositionSide], Position] = {}
        """By symbol index and side."""
        self.isolated = 0
        """Sum of all isolated wallets."""
        self.changed: dict[Position, bool] = {}
        """Positions whose margin must be computed anew: all of it, or only what open orders tie up (False)."""
        self.updated_ms = 0

    def setting(self, listing: Listing) -> SymbolSetting:
        found = self.settings.get(listing.index)
        if found is None:
            leverage = min(20, max((row.leverage for row in listing.brackets), default=20))
            found = self.settings[listing.index] = SymbolSetting(leverage)
        return found

    def position(self, listing: Listing, side: PositionSide = "BOTH") -> Position:
        found = self.positions.get((listing.index, side))
        if found is None:
            found = Position(listing=listing, setting=self.setting(listing), side=side)
            self.positions[listing.index, side] = found
        return found

    def sides(self, listing: Listing) -> tuple[Position, ...]:
        """Its positions of a symbol in the present mode: one, or LONG and SHORT."""
        if self.hedge:
            return self.position(listing, "LONG"), self.position(listing, "SHORT")
        return (self.position(listing),)

    def held(self) -> Iterator[Position]:
        """Positions that are not flat."""
        return (position for position in self.positions.values() if position.steps)

    @property
    def cross_wallet(self) -> int:
        return self.wallet - self.isolated

    def apply_fill(self, position: Position, signed_steps: int, ticks: int, now_ms: int) -> int:
        """Let a position take over one fill; what it realises, which is not in the wallet yet."""
        before = position.isolated_wallet
        realized = position.fill(signed_steps, ticks)
        self.isolated += position.isolated_wallet - before
        position.updated_ms = self.updated_ms = now_ms
        self.changed[position] = True
        return realized

    def shift_margin(self, position: Position, amount: int) -> None:
        """Move money from the cross wallet into an isolated position (out of it when negative)."""
        position.isolated_wallet += amount
        self.isolated += amount
        self.changed[position] = True

    def set_symbol(self, listing: Listing, *, leverage: int | None = None, isolated: bool | None = None) -> None:
        """Change leverage or margin type of a symbol."""
        setting = self.setting(listing)
        setting.leverage = setting.leverage if leverage is None else leverage
        setting.isolated = setting.isolated if isolated is None else isolated
        self.changed.update(dict.fromkeys(self.sides(listing), True))
