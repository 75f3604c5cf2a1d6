"""A symbol's trading rules, and the one place where floats become exact prices and quantities."""

from __future__ import annotations

import enum
from decimal import Decimal

import attrs
from attrs import validators

from aegis.core.errors import AegisError
from aegis.core.values import Side, SymbolName

__all__ = [
    "Breach", "Rounding", "Rule", "SymbolSpec", "Unrepresentable", "ceil_to", "check_notional", "check_order",
    "check_percent_price", "check_price", "check_qty", "decimals_of", "exact", "floor_qty", "floor_to", "plain",
    "price_for",
]  # fmt: skip

ZERO = Decimal(0)
#: Nothing that is traded comes near it; beyond it Decimal's 28 digits would no longer hold price x quantity exactly.
LARGEST = Decimal(10) ** 15


class Unrepresentable(AegisError):
    """A number that can be no price and no quantity: NaN, infinite, or absurdly large."""


class Rounding(enum.Enum):
    """Which grid point a price takes.

    PASSIVE gives the order's own side the better price: a buy never pays more, a sell never gets less, than asked for.
    For protective stops that is also the tighter, hence safer, side. AGGRESSIVE is the opposite.
    """

    PASSIVE = "passive"
    AGGRESSIVE = "aggressive"
    FLOOR = "floor"
    CEIL = "ceil"


class Rule(enum.Enum):
    """The venue's filters, by the error that breaking them would bring."""

    PRICE_TICK = "PRICE_TICK"
    PRICE_MIN = "PRICE_MIN"
    PRICE_MAX = "PRICE_MAX"
    QTY_STEP = "QTY_STEP"
    QTY_MIN = "QTY_MIN"
    QTY_MAX = "QTY_MAX"
    MIN_NOTIONAL = "MIN_NOTIONAL"
    PERCENT_PRICE = "PERCENT_PRICE"


@attrs.frozen(kw_only=True)
class Breach:
    """A filter that a value breaks, with the value and the limit it passed."""

    rule: Rule
    value: Decimal
    limit: Decimal


@attrs.frozen(kw_only=True)
class SymbolSpec:
    """One row of exchangeInfo, reduced to what trading needs. Precision comes from tick and step alone."""

    symbol: SymbolName
    base: str
    quote: str
    margin: str
    contract_type: str
    status: str
    underlying_type: str
    onboard_ms: int
    delivery_ms: int
    tick: Decimal = attrs.field(validator=validators.gt(ZERO))
    min_price: Decimal
    max_price: Decimal
    step: Decimal = attrs.field(validator=validators.gt(ZERO))
    min_qty: Decimal
    max_qty: Decimal
    market_step: Decimal = attrs.field(validator=validators.gt(ZERO))
    market_min_qty: Decimal
    market_max_qty: Decimal
    min_notional: Decimal
    multiplier_up: Decimal
    multiplier_down: Decimal
    trigger_protect: Decimal
    liquidation_fee: Decimal

    @property
    def price_decimals(self) -> int:
        return decimals_of(self.tick)

    @property
    def qty_decimals(self) -> int:
        return decimals_of(self.step)


def exact(x: float | Decimal) -> Decimal:
    """The decimal that was written: a float gives its shortest text, so a price from the wire comes back as sent.

    Raises Unrepresentable for NaN, infinities and magnitudes above 10**15.
    """
    # float.__repr__, because a numpy scalar's own repr is not a number
    value = x if isinstance(x, Decimal) else Decimal(float.__repr__(float(x)))
    if not value.is_finite() or not -LARGEST <= value <= LARGEST:
        raise Unrepresentable(f"not a price or quantity: {x!r}")
    return value


def decimals_of(unit: Decimal) -> int:
    """Decimal places of a tick or step; trailing zeros do not count (0.10 -> 1)."""
    exponent = unit.normalize().as_tuple().exponent
    if not isinstance(exponent, int):
        raise Unrepresentable(f"not a unit: {unit}")
    return max(0, -exponent)


def plain(x: Decimal) -> str:
    """Text for the wire: no exponent, no trailing zeros, no minus before zero."""
    text = format(x, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def floor_to(x: Decimal, unit: Decimal, origin: Decimal = ZERO) -> Decimal:
    """The largest `origin + k * unit` that is not above x, written with the unit's decimals."""
    steps = (x - origin) // unit  # exact, but towards zero
    if origin + steps * unit > x:
        steps -= 1
    return origin + steps * unit


def ceil_to(x: Decimal, unit: Decimal, origin: Decimal = ZERO) -> Decimal:
    """The smallest `origin + k * unit` that is not below x."""
    return -floor_to(-x, unit, -origin)


def price_for(spec: SymbolSpec, x: float | Decimal, side: Side, rounding: Rounding = Rounding.PASSIVE) -> Decimal:
    """The exact price on the symbol's grid for an order of `side`; it is not clamped to the filters' limits.

    The grid starts at minPrice, as the venue checks it. Raises Unrepresentable.
    """
    down = rounding is Rounding.FLOOR or (
        rounding is not Rounding.CEIL and (rounding is Rounding.PASSIVE) == (side is Side.BUY)
    )
    return (floor_to if down else ceil_to)(exact(x), spec.tick, spec.min_price)


def floor_qty(spec: SymbolSpec, x: float | Decimal, *, market: bool = False) -> Decimal:
    """The largest tradable quantity not above x, 0 when that is below the filter's minimum. Raises Unrepresentable."""
    step, low, high = _lot(spec, market)
    value = min(exact(x), high) if high else exact(x)
    return floor_to(value, step, low) if value >= low and value > ZERO else ZERO


def check_price(spec: SymbolSpec, price: Decimal) -> Breach | None:
    """PRICE_FILTER: limits of 0 are switched off."""
    if price < spec.min_price or price <= ZERO:
        return Breach(rule=Rule.PRICE_MIN, value=price, limit=spec.min_price)
    if spec.max_price and price > spec.max_price:
        return Breach(rule=Rule.PRICE_MAX, value=price, limit=spec.max_price)
    if (price - spec.min_price) % spec.tick:
        return Breach(rule=Rule.PRICE_TICK, value=price, limit=spec.tick)
    return None


def check_qty(spec: SymbolSpec, qty: Decimal, *, market: bool = False) -> Breach | None:
    """LOT_SIZE, or MARKET_LOT_SIZE for a market order."""
    step, low, high = _lot(spec, market)
    if qty < low or qty <= ZERO:
        return Breach(rule=Rule.QTY_MIN, value=qty, limit=low)
    if high and qty > high:
        return Breach(rule=Rule.QTY_MAX, value=qty, limit=high)
    if (qty - low) % step:
        return Breach(rule=Rule.QTY_STEP, value=qty, limit=step)
    return None


def check_notional(spec: SymbolSpec, qty: Decimal, price: Decimal) -> Breach | None:
    """MIN_NOTIONAL; the venue takes the order's price, the mark for a market order. Reduce-only orders are exempt."""
    notional = qty * price
    return (
        Breach(rule=Rule.MIN_NOTIONAL, value=notional, limit=spec.min_notional)
        if notional < spec.min_notional
        else None
    )


def check_percent_price(spec: SymbolSpec, price: Decimal, side: Side, mark: Decimal) -> Breach | None:
    """PERCENT_PRICE, one sided: a buy not above mark x multiplierUp, a sell not below mark x multiplierDown."""
    limit = mark * (spec.multiplier_up if side is Side.BUY else spec.multiplier_down)
    beyond = price > limit if side is Side.BUY else price < limit
    return Breach(rule=Rule.PERCENT_PRICE, value=price, limit=limit) if beyond else None


def check_order(spec: SymbolSpec, side: Side, qty: Decimal, price: Decimal | None, mark: Decimal) -> Breach | None:
    """Every filter of an opening order; `price` None is a market order. The first breach, or None."""
    if price is None:
        return check_qty(spec, qty, market=True) or check_notional(spec, qty, mark)
    return (
        check_price(spec, price)
        or check_qty(spec, qty)
        or check_notional(spec, qty, price)
        or check_percent_price(spec, price, side, mark)
    )


def _lot(spec: SymbolSpec, market: bool) -> tuple[Decimal, Decimal, Decimal]:
    if market:
        return spec.market_step, spec.market_min_qty, spec.market_max_qty
    return spec.step, spec.min_qty, spec.max_qty
