"""Accounts and positions, one-way mode, USDT alone; all money is exact Decimal.

Rounding, the only places where it happens: a commission, a realised PnL, a funding payment and an isolated margin
transfer are rounded half-even to 8 decimals; an average entry price half-even to 16 decimals when a position is added
to. Wallets are sums of such amounts, so `wallet - start == realised - fees + funding + insurance` to the last digit.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

import attrs

from aegis.exchange.listing import Bracket, Listing
from aegis.exchange.security import AccountSetup

__all__ = ["MONEY", "ZERO", "Account", "Fees", "FillMoney", "Position", "plain", "round_money"]

#: Arithmetic context of everything here: wide enough that products of prices, quantities and rates are exact.
MONEY = Context(prec=80)
ZERO = Decimal(0)
_CENT = Decimal("1e-8")
_ENTRY_QUANTUM = Decimal("1e-16")


def round_money(amount: Decimal) -> Decimal:
    """Half-even to 8 decimals, the venue's smallest amount."""
    return amount.quantize(_CENT, ROUND_HALF_EVEN, MONEY)


def plain(value: Decimal) -> str:
    """Shortest exact text without an exponent; zero of any kind is "0"."""
    return format(value.normalize(MONEY), "f") if value else "0"


@attrs.frozen(kw_only=True)
class Fees:
    """Commission as a fraction of notional."""

    maker: Decimal = Decimal("0.0002")
    taker: Decimal = Decimal("0.0005")


@attrs.frozen(kw_only=True)
class FillMoney:
    """What one fill moved: realised PnL before fees, and the commission paid (positive)."""

    realized: Decimal
    commission: Decimal


@attrs.define(kw_only=True)
class Position:
    """One symbol of an account: its settings and its signed position in steps."""

    listing: Listing
    leverage: int = 20
    isolated: bool = False
    steps: int = 0
    entry: Decimal = ZERO
    isolated_wallet: Decimal = ZERO
    realized: Decimal = ZERO
    """Accumulated since the account was opened, before fees."""
    updated_ms: int = 0

    @property
    def amount(self) -> Decimal:
        """Signed quantity."""
        return self.listing.quantity(self.steps)

    @property
    def sign(self) -> int:
        return (self.steps > 0) - (self.steps < 0)

    def notional(self, mark: Decimal) -> Decimal:
        """Signed notional at mark."""
        return self.amount * mark

    def unrealized(self, mark: Decimal) -> Decimal:
        return round_money((mark - self.entry) * self.amount) if self.steps else ZERO

    def initial_margin(self, mark: Decimal) -> Decimal:
        return round_money(abs(self.notional(mark)) / self.leverage)

    def maintenance_margin(self, mark: Decimal) -> Decimal:
        """`notional * mmr - cum` of the bracket that the notional lies in."""
        notional = abs(self.notional(mark))
        bracket = bracket_of(self.listing, notional)
        return round_money(notional * bracket.mmr - bracket.cum) if notional else ZERO

    @property
    def notional_cap(self) -> Decimal:
        """Largest position at the chosen leverage."""
        return notional_cap(self.listing, self.leverage)


def bracket_of(listing: Listing, notional: Decimal) -> Bracket:
    """The bracket of a notional; beyond the last cap the last one goes on."""
    return next((row for row in listing.brackets if notional < row.cap), listing.brackets[-1])


def notional_cap(listing: Listing, leverage: int) -> Decimal:
    """Cap of the largest bracket that still allows this leverage."""
    return max((row.cap for row in listing.brackets if row.leverage >= leverage), default=ZERO)


class Account:
    """One account's money. Only `apply_fill` and `credit` move it."""

    def __init__(self, setup: AccountSetup) -> None:
        self.setup = setup
        self.id = setup.id
        self.wallet = setup.wallet
        self.positions: dict[int, Position] = {}
        """By symbol index; also of flat symbols, whose settings live here."""
        self.updated_ms = 0

    def position(self, listing: Listing) -> Position:
        found = self.positions.get(listing.index)
        if found is None:
            leverage = min(20, max((row.leverage for row in listing.brackets), default=20))
            found = self.positions[listing.index] = Position(listing=listing, leverage=leverage)
        return found

    def held(self) -> list[Position]:
        """Positions that are not flat."""
        return [position for position in self.positions.values() if position.steps]

    @property
    def cross_wallet(self) -> Decimal:
        return self.wallet - sum((position.isolated_wallet for position in self.held()), ZERO)

    def credit(self, amount: Decimal) -> None:
        """Move money into the wallet (out of it when negative)."""
        self.wallet += amount

    def apply_fill(
        self, position: Position, signed_steps: int, price: Decimal, rate: Decimal, now_ms: int
    ) -> FillMoney:
        """Book one fill.

        Args:
            signed_steps: positive bought, negative sold; not zero.
            rate: commission as a fraction of notional.

        Returns:
            What it realised and cost; both are in the wallet already.
        """
        assert signed_steps != 0
        before = position.steps
        realized = ZERO
        closed = min(abs(before), abs(signed_steps)) if before * signed_steps < 0 else 0
        opened = abs(signed_steps) - closed
        if closed:
            realized = self._close(position, closed, price)
        if opened:
            _open(position, opened if signed_steps > 0 else -opened, price)
        assert position.steps == before + signed_steps
        commission = round_money(position.listing.quantity(abs(signed_steps)) * price * rate)
        self.wallet += realized - commission
        position.realized += realized
        position.updated_ms = self.updated_ms = now_ms
        return FillMoney(realized=realized, commission=commission)

    def _close(self, position: Position, steps: int, price: Decimal) -> Decimal:
        """Take `steps` off; a share of the isolated margin goes back to the cross wallet."""
        sign = position.sign
        realized = round_money((price - position.entry) * position.listing.quantity(steps) * sign)
        before = abs(position.steps)
        position.steps -= sign * steps
        if position.steps == 0:
            position.entry = position.isolated_wallet = ZERO
        else:
            position.isolated_wallet -= round_money(position.isolated_wallet * steps / before)
        return realized


def _open(position: Position, signed_steps: int, price: Decimal) -> None:
    """Add to a position (or open one); an isolated one takes its initial margin out of the cross wallet."""
    held, added = abs(position.steps), abs(signed_steps)
    if held:
        average = MONEY.divide(held * position.entry + added * price, Decimal(held + added))
        position.entry = average.quantize(_ENTRY_QUANTUM, ROUND_HALF_EVEN, MONEY)
    else:
        position.entry = price
    position.steps += signed_steps
    if position.isolated:
        position.isolated_wallet += round_money(position.listing.quantity(added) * price / position.leverage)
