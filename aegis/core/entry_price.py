"""The price of an entry and what the round trip will cost: exact arithmetic, no state."""

from __future__ import annotations

from decimal import Decimal

import attrs

from aegis.core.filters import Rounding, SymbolSpec, price_for
from aegis.core.messages import OrderRequest
from aegis.core.partial_book import Displayed
from aegis.core.partials import mean_target
from aegis.core.risk_context import EntryCandidate, EntryContext, EntryStyle, Quote
from aegis.core.risk_limits import RiskLimits
from aegis.core.values import OrderType, Side, TimeInForce

__all__ = [
    "BPS", "RoundTrip", "displayed", "entry_order", "entry_price", "expected_net_r", "round_trip", "stop_slippage",
    "touch",
]  # fmt: skip

ZERO = Decimal(0)
BPS = Decimal(10_000)
_TIF = {
    EntryStyle.IOC: TimeInForce.IOC,
    EntryStyle.LIMIT: TimeInForce.GTC,
    EntryStyle.POST_ONLY: TimeInForce.GTX,
}


@attrs.frozen(kw_only=True)
class RoundTrip:
    """Costs and distances of one unit, in price units, from the price that the entry is expected to get."""

    distance: Decimal
    """To the stop: one R."""
    reward: Decimal
    """To the target."""
    cost: Decimal
    """Fees, spread, slippage, and funding that falls due before the time limit; never negative."""

    @property
    def cost_r(self) -> Decimal:
        return self.cost / self.distance

    @property
    def net_r(self) -> Decimal:
        """R that is left when every target is reached."""
        return (self.reward - self.cost) / self.distance


def touch(quote: Quote, side: Side) -> Decimal:
    """The price at which a taker of `side` starts to trade."""
    return quote.ask if side is Side.BUY else quote.bid


def displayed(context: EntryContext, side: Side, limit: Decimal) -> Displayed:
    """What a taker of `side` finds from the touch to `limit`; the touch alone where nobody knows what is behind it."""
    quote, book = context.quote, context.book
    qty = quote.ask_qty if side is Side.BUY else quote.bid_qty
    if book is None:
        return Displayed(qty=qty, touch_qty=qty)
    return book.displayed(side, touch(quote, side), qty, limit)


def entry_price(candidate: EntryCandidate, context: EntryContext, limits: RiskLimits) -> Decimal:
    """The limit price, on the grid, rounded to the candidate's own side: the worst price at which it can fill."""
    spec, side, quote = context.spec, candidate.side, context.quote
    collar = touch(quote, side) * (1 + side.sign * limits.max_slippage_bps / BPS)
    if candidate.style is EntryStyle.IOC:
        return price_for(spec, collar, side)
    own = quote.bid if side is Side.BUY else quote.ask
    other = collar if candidate.style is EntryStyle.LIMIT else own
    best = min if side is Side.BUY else max
    return price_for(spec, best(candidate.level, other), side, Rounding.PASSIVE)


def entry_order(candidate: EntryCandidate, price: Decimal, qty: Decimal) -> OrderRequest:
    return OrderRequest(
        cid=candidate.cid,
        symbol=candidate.symbol,
        side=candidate.side,
        type=OrderType.LIMIT,
        qty=qty,
        price=price,
        tif=_TIF[candidate.style],
    )


def stop_slippage(spec: SymbolSpec, stop: Decimal, limits: RiskLimits) -> Decimal:
    """Expected slippage of a stop in price units, at least one tick."""
    return max(spec.tick, stop * limits.stop_slippage_bps / BPS)


def round_trip(candidate: EntryCandidate, context: EntryContext, price: Decimal, limits: RiskLimits) -> RoundTrip:
    """What one unit costs and may earn. Funding that we would receive is not counted on."""
    side, quote, fees = candidate.side, context.quote, context.fees
    taking = candidate.style is EntryStyle.IOC
    expected = touch(quote, side) if taking else price
    exit_price = max(candidate.stop, candidate.target)
    entry_fee = expected * (fees.maker if candidate.style is EntryStyle.POST_ONLY else fees.taker)
    entry_slippage = expected * limits.expected_slippage_bps / BPS if taking else ZERO
    payments = context.funding.payments(candidate.time_limit_ns)
    funding = max(ZERO, context.funding.rate * side.sign) * context.mark * payments
    return RoundTrip(
        distance=(expected - candidate.stop) * side.sign,
        reward=(mean_target(candidate.parts, candidate.target) - expected) * side.sign,
        cost=entry_fee
        + exit_price * fees.taker
        + (quote.ask - quote.bid)
        + entry_slippage
        + stop_slippage(context.spec, candidate.stop, limits)
        + funding,
    )


def expected_net_r(candidate: EntryCandidate, context: EntryContext, limits: RiskLimits) -> Decimal | None:
    """Net R after cost of an entry made now; None where prices are missing or the stop is not behind the entry."""
    if not (ZERO < context.quote.bid < context.quote.ask and context.mark > ZERO):
        return None
    trip = round_trip(candidate, context, entry_price(candidate, context, limits), limits)
    return trip.net_r if trip.distance > ZERO else None
