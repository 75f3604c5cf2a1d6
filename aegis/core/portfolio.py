"""Positions and money from fills and account events. The venue is the truth; our own arithmetic checks it.

A fill is booked once, by (symbol, trade id), and only when its fee is known. Wallet and positions are folded from fills
and movements, so that the order in which the venue's events arrive cannot count a profit twice.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping
from decimal import Decimal

import attrs

from aegis.core.errors import InvariantBroken
from aegis.core.fills import Fill
from aegis.core.movements import Movement, Movements
from aegis.core.values import SymbolName

__all__ = ["Booked", "Difference", "Exposure", "Portfolio", "Position"]

ZERO = Decimal(0)


@attrs.frozen(kw_only=True)
class Position:
    """Signed amount (positive long) and quantity-weighted entry price."""

    amount: Decimal = ZERO
    entry_price: Decimal = ZERO

    def unrealized(self, mark: Decimal) -> Decimal:
        return (mark - self.entry_price) * self.amount


@attrs.frozen(kw_only=True)
class Booked:
    """What a fill did to its position."""

    before: Position
    after: Position
    realized: Decimal
    """The venue's figure."""
    expected: Decimal
    """Ours; it differs when fills before it were missed or the venue rounds."""


@attrs.frozen(kw_only=True)
class Difference:
    """A symbol on which the venue's position is not ours."""

    symbol: SymbolName
    ours: Decimal
    venue: Decimal


@attrs.frozen(kw_only=True)
class Exposure:
    """Notional at mark over a run; the means are weighted by time."""

    gross: Decimal
    net: Decimal
    gross_max: Decimal
    net_max: Decimal
    """Largest absolute net exposure."""
    gross_mean: Decimal
    net_mean: Decimal
    in_market: Decimal
    """Share of the time with a position, 0..1."""


class Portfolio:
    """One account in one margin asset; fees in other assets are kept apart."""

    def __init__(
        self, margin_asset: str, wallet: Decimal, now_ns: int, *, tolerance: Decimal = Decimal("0.01")
    ) -> None:
        self.margin_asset = margin_asset
        self.wallet_start = wallet
        self.equity_start = wallet
        self.realized = ZERO
        self.funding = ZERO
        self.transfers = ZERO
        self.fees: dict[str, Decimal] = {}
        self.mismatches = 0
        self.duplicates = 0
        self.max_drawdown = ZERO
        self._tolerance = tolerance
        self._positions: dict[SymbolName, Position] = {}
        self._marks: dict[SymbolName, Decimal] = {}
        self._trades: dict[SymbolName, array[int]] = {}  # ids in order, eight bytes each: they are kept for ever
        self._movements = Movements()
        self._peak = wallet
        self._start_ns = self._observed_ns = now_ns
        # At the marks told last; what every decision asks is ready.
        self.gross = self.net = self.unrealized = ZERO
        self._gross_max = self._net_max = ZERO
        self._gross_integral = self._net_integral = ZERO
        self._in_market_ns = 0

    # -- what happens --------------------------------------------------------------------------------------------------
    def begin(self, wallet: Decimal, now_ns: int) -> None:
        """What the run begins with: the venue's wallet now, or, before anything is booked, the journal's first one."""
        self._advance(now_ns)
        self.wallet_start = wallet - (self.wallet - self.wallet_start)
        self.equity_start = self.equity
        self._peak = self.equity - self.transfers

    def apply_fill(self, fill: Fill, now_ns: int) -> Booked | None:
        """Books an execution; None for a duplicate. Raises InvariantBroken on one whose fee is not known yet."""
        if fill.commission is None or fill.realized is None:
            raise InvariantBroken(f"trade {fill.trade_id} of {fill.symbol} has no fee yet")
        known = self._trades.setdefault(fill.symbol, array("q"))
        at, booked = _place(known, fill.trade_id)
        if booked:
            self.duplicates += 1
            return None
        self._advance(now_ns)
        known.insert(at, fill.trade_id)
        before = self.position(fill.symbol)
        after, expected = _fold(before, fill.qty * fill.side.sign, fill.price)
        if abs(expected - fill.realized) > self._tolerance:
            self.mismatches += 1
        self.realized += fill.realized
        if fill.commission:
            self.fees[fill.commission_asset] = self.fees.get(fill.commission_asset, ZERO) + fill.commission
        self._set(fill.symbol, after)
        if after.amount:
            self._marks.setdefault(fill.symbol, fill.price)
        self._revalue()
        return Booked(before=before, after=after, realized=fill.realized, expected=expected)

    def apply_movement(self, movement: Movement, now_ns: int) -> bool:
        """Books money that came or went without an order; False for a repetition."""
        if not self._movements.new(movement):
            self.duplicates += 1
            return False
        if movement.asset == self.margin_asset:
            self._advance(now_ns)
            if movement.funding:
                self.funding += movement.change
            else:
                self.transfers += movement.change
            self._revalue()
        return True

    def mark(self, symbol: SymbolName, price: Decimal, now_ns: int) -> None:
        """A mark price; only those of open positions move equity and exposure."""
        self.mark_all({symbol: price}, now_ns)

    def mark_all(self, prices: Mapping[SymbolName, Decimal], now_ns: int) -> None:
        """Mark prices of one moment."""
        held = self._positions
        moved = {s: price for s, price in prices.items() if s in held and self._marks[s] != price}
        if moved:
            self._marks.update(moved)
            self._advance(now_ns)
            self._revalue()

    # -- questions -----------------------------------------------------------------------------------------------------
    def booked(self, symbol: SymbolName, trade_id: int) -> bool:
        """The execution is known already."""
        known = self._trades.get(symbol)
        return known is not None and _place(known, trade_id)[1]

    def position(self, symbol: SymbolName) -> Position:
        return self._positions.get(symbol, Position())

    @property
    def positions(self) -> Mapping[SymbolName, Position]:
        """Open positions."""
        return dict(self._positions)

    @property
    def wallet(self) -> Decimal:
        """Start + realised - fees in the margin asset + funding + transfers."""
        fees = self.fees.get(self.margin_asset, ZERO)
        return self.wallet_start + self.realized - fees + self.funding + self.transfers

    @property
    def equity(self) -> Decimal:
        """Margin balance: wallet plus unrealised profit at mark."""
        return self.wallet + self.unrealized

    def exposure(self, now_ns: int) -> Exposure:
        """Exposure now, at most, and on average since the start."""
        self._advance(now_ns)
        elapsed = Decimal(now_ns - self._start_ns) or Decimal(1)
        return Exposure(
            gross=self.gross,
            net=self.net,
            gross_max=self._gross_max,
            net_max=self._net_max,
            gross_mean=self._gross_integral / elapsed,
            net_mean=self._net_integral / elapsed,
            in_market=Decimal(self._in_market_ns) / elapsed,
        )

    def compare(self, venue: Mapping[SymbolName, Decimal]) -> tuple[Difference, ...]:
        """Symbols whose signed amount at the venue differs from ours, in order of name."""
        pairs = ((s, self.position(s).amount, venue.get(s, ZERO)) for s in sorted({*self._positions, *venue}))
        return tuple(Difference(symbol=s, ours=ours, venue=theirs) for s, ours, theirs in pairs if ours != theirs)

    # -- inside --------------------------------------------------------------------------------------------------------
    def _set(self, symbol: SymbolName, position: Position) -> None:
        if position.amount:
            self._positions[symbol] = position
        else:
            self._positions.pop(symbol, None)
            self._marks.pop(symbol, None)  # too old by the time of the next position

    def _advance(self, now_ns: int) -> None:
        """Integrates what has been held since the last event."""
        elapsed = now_ns - self._observed_ns
        if elapsed <= 0:
            return
        self._observed_ns = now_ns
        self._gross_integral += self.gross * elapsed
        self._net_integral += self.net * elapsed
        self._in_market_ns += elapsed if self._positions else 0

    def _revalue(self) -> None:
        values = [position.amount * self._marks[symbol] for symbol, position in self._positions.items()]
        self.gross = sum(map(abs, values), ZERO)
        self.net = sum(values, ZERO)
        self.unrealized = sum((p.unrealized(self._marks[symbol]) for symbol, p in self._positions.items()), ZERO)
        self._gross_max = max(self._gross_max, self.gross)
        self._net_max = max(self._net_max, abs(self.net))
        equity = self.equity
        # A transfer is neither profit nor loss: it moves the peak with the equity.
        self._peak = max(self._peak, equity - self.transfers)
        self.max_drawdown = max(self.max_drawdown, self._peak - (equity - self.transfers))


def _place(known: array[int], trade_id: int) -> tuple[int, bool]:
    """Where an id belongs, and whether it is there."""
    at = bisect_left(known, trade_id)
    return at, at < len(known) and known[at] == trade_id


def _fold(position: Position, change: Decimal, price: Decimal) -> tuple[Position, Decimal]:
    """The position after a signed change, and the profit that it realises (PROTOCOL section 9)."""
    amount, entry = position.amount, position.entry_price
    after = amount + change
    if amount * change >= ZERO:
        return Position(amount=after, entry_price=(amount * entry + change * price) / after), ZERO
    closed = min(abs(change), abs(amount)) * (1 if amount > ZERO else -1)
    if not after:
        left = Position()
    elif after * amount > ZERO:
        left = Position(amount=after, entry_price=entry)
    else:
        left = Position(amount=after, entry_price=price)  # flipped: the rest opened at this price
    return left, (price - entry) * closed
