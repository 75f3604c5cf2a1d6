"""The filters that an order passes before anything else looks at it, with the venue's codes. PROTOCOL.md §4.2."""

from __future__ import annotations

from decimal import Decimal

from aegis.core.values import OrderType, Side
from aegis.exchange.account import Account
from aegis.exchange.books import Books
from aegis.exchange.errors import Refusal
from aegis.exchange.listing import TRADFI, Listing

__all__ = [
    "check_percent_price",
    "check_tradable",
    "matched_price",
    "notional_allowed",
    "price_ticks",
    "quantity_steps",
]

#: priceMatch -> (of one's own side, level from the touch).
_PRICE_MATCHES = {
    "OPPONENT": (False, 1), "OPPONENT_5": (False, 5),
    "QUEUE": (True, 1), "QUEUE_5": (True, 5), "QUEUE_10": (True, 10), "QUEUE_20": (True, 20),
}  # fmt: skip


def check_tradable(account: Account, listing: Listing) -> None:
    """Raises Refusal -4141 unless the contract trades, -4411 where the account has no agreement for it."""
    if listing.status != "TRADING":
        raise Refusal(-4141)
    if listing.contract_type == TRADFI and not account.tradfi_signed:
        raise Refusal(-4411)


def price_ticks(listing: Listing, price: Decimal) -> int:
    """PRICE_FILTER: the price in ticks. Raises Refusal -4013, -4002, -1111 or -4014."""
    if price < listing.min_price:
        raise Refusal(-4013)
    if price > listing.max_price:
        raise Refusal(-4002)
    if _decimals(price) > listing.price_decimals:
        raise Refusal(-1111)
    if (price - listing.min_price) % listing.tick:
        raise Refusal(-4014)
    return listing.ticks(price)


def quantity_steps(listing: Listing, quantity: Decimal, type: OrderType) -> int:
    """LOT_SIZE, or MARKET_LOT_SIZE's maximum: the quantity in steps. Raises Refusal -4003..-4005, -1111 or -4023."""
    if quantity <= 0:
        raise Refusal(-4003)
    if quantity < listing.min_qty:
        raise Refusal(-4004)
    if quantity > (listing.market_max_qty if type is OrderType.MARKET else listing.max_qty):
        raise Refusal(-4005)
    if _decimals(quantity) > listing.qty_decimals:
        raise Refusal(-1111)
    if quantity % listing.step:
        raise Refusal(-4023)
    return listing.steps(quantity)


def check_percent_price(listing: Listing, side: Side, price: Decimal, mark: Decimal) -> None:
    """PERCENT_PRICE, one-sided against mark. Raises Refusal -4016 or -4024."""
    if side is Side.BUY and price > mark * listing.multiplier_up:
        raise Refusal(-4016, f"{round(mark * listing.multiplier_up, listing.price_decimals):f}")
    if side is Side.SELL and price < mark * listing.multiplier_down:
        raise Refusal(-4024, f"{round(mark * listing.multiplier_down, listing.price_decimals):f}")


def notional_allowed(listing: Listing, notional: Decimal) -> None:
    """MIN_NOTIONAL; reduce-only orders are not asked. Raises Refusal -4164."""
    if notional < listing.min_notional:
        raise Refusal(-4164, f"{listing.min_notional:f}")


def _decimals(value: Decimal) -> int:
    """Digits after the point that mean something: 1.10 has one."""
    exponent = value.normalize().as_tuple().exponent
    assert isinstance(exponent, int)  # parameters are finite
    return max(0, -exponent)


def matched_price(books: Books, listing: Listing, side: Side, match: str) -> int:
    """priceMatch: the price in ticks that it means now, of the n-th displayed level of one side.

    Raises:
        Refusal: -5037 for a mode that is not offered (OPPONENT_10 and _20 are not since 2025-10), -5041 without depth.
    """
    if match not in _PRICE_MATCHES:
        raise Refusal(-5037)
    own, level = _PRICE_MATCHES[match]
    bids = (side is Side.BUY) == own
    sizes = (books.bid_qty if bids else books.ask_qty)[listing.index]
    touch = int((books.bid if bids else books.ask)[listing.index])
    displayed = [k for k, steps in enumerate(sizes.tolist()) if steps > 0]
    if touch <= 0 or len(displayed) < level:
        raise Refusal(-5041)
    return touch + (-1 if bids else 1) * displayed[level - 1]
