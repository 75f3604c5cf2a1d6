"""How much to trade: the one formula of DESIGN section 7, exact, and never rounded up."""

from __future__ import annotations

import enum
from decimal import Decimal

import attrs

from aegis.core.brackets import LeverageBrackets
from aegis.core.filters import SymbolSpec, check_notional, floor_qty
from aegis.core.values import Side

__all__ = ["Cap", "Size", "SizeDenial", "SizeDenied", "SizeInput", "size_entry"]

ZERO = Decimal(0)
#: Share of the free margin that an entry may use: the rest absorbs fees and the mark's distance from the entry price.
MARGIN_SHARE = Decimal("0.9")


class Cap(enum.Enum):
    """What a quantity is limited by."""

    RISK = "RISK"
    NOTIONAL = "NOTIONAL"
    BRACKET = "BRACKET"
    LOT = "LOT"
    """The largest order of the symbol, by LOT_SIZE and by MARKET_LOT_SIZE, so that one market order can close it."""
    MARGIN = "MARGIN"
    DISPLAYED = "DISPLAYED"


class SizeDenial(enum.Enum):
    NO_EQUITY = "NO_EQUITY"
    STOP_SIDE = "STOP_SIDE"
    QTY_MIN = "QTY_MIN"
    MIN_NOTIONAL = "MIN_NOTIONAL"
    LIQUIDATION = "LIQUIDATION"


@attrs.frozen(kw_only=True)
class SizeInput:
    """All that the size depends on. Rates are fractions, prices and money exact."""

    spec: SymbolSpec
    side: Side
    price: Decimal
    """The collar price: the worst price at which the entry can fill."""
    stop: Decimal
    mark: Decimal
    equity: Decimal
    """The venue's margin balance."""
    free_margin: Decimal
    risk_rate: Decimal
    taker_rate: Decimal
    stop_slippage: Decimal
    """Expected, in price units."""
    max_notional: Decimal
    displayed_qty: Decimal
    displayed_rate: Decimal
    brackets: LeverageBrackets
    leverage: int


@attrs.frozen(kw_only=True)
class Size:
    """A quantity on the grid, the money at risk with it (fees and slippage included), and what bound it."""

    qty: Decimal
    risk: Decimal
    notional: Decimal
    bound_by: Cap
    caps: tuple[tuple[Cap, Decimal], ...]
    """Each cap as a quantity, before rounding."""


@attrs.frozen(kw_only=True)
class SizeDenied:
    """No size. `value` is what came out, `limit` what it had to reach."""

    code: SizeDenial
    value: Decimal
    limit: Decimal
    bound_by: Cap | None = None


def size_entry(ask: SizeInput) -> Size | SizeDenied:
    """The largest quantity on the grid within every cap, or why there is none.

    Below MIN_NOTIONAL at mark it is denied, not rounded up; the liquidation price of the isolated position must lie
    beyond the stop by one stop distance.
    """
    distance = (ask.price - ask.stop) * ask.side.sign
    if distance <= ZERO:
        return SizeDenied(code=SizeDenial.STOP_SIDE, value=ask.stop, limit=ask.price)
    if ask.equity <= ZERO:
        return SizeDenied(code=SizeDenial.NO_EQUITY, value=ask.equity, limit=ZERO)
    unit_risk = distance + ask.taker_rate * (ask.price + ask.stop) + ask.stop_slippage
    caps = _caps(ask, unit_risk)
    bound_by, raw = caps[0]
    for cap, most in caps:  # of equals the first, in the order of the formula
        if most < raw:
            bound_by, raw = cap, most
    qty = floor_qty(ask.spec, max(ZERO, raw))
    if not qty:
        return SizeDenied(code=SizeDenial.QTY_MIN, value=raw, limit=ask.spec.min_qty, bound_by=bound_by)
    breach = check_notional(ask.spec, qty, min(ask.price, ask.mark))
    if breach is not None:
        return SizeDenied(code=SizeDenial.MIN_NOTIONAL, value=breach.value, limit=breach.limit, bound_by=bound_by)
    liquidation = ask.brackets.liquidation(qty * ask.side.sign, ask.price, qty * ask.price / ask.leverage)
    furthest = ask.stop - distance * ask.side.sign
    if liquidation is not None and (liquidation - furthest) * ask.side.sign > ZERO:
        return SizeDenied(code=SizeDenial.LIQUIDATION, value=liquidation, limit=furthest, bound_by=bound_by)
    return Size(qty=qty, risk=qty * unit_risk, notional=qty * ask.price, bound_by=bound_by, caps=caps)


def _caps(ask: SizeInput, unit_risk: Decimal) -> tuple[tuple[Cap, Decimal], ...]:
    spec = ask.spec
    lots = [limit for limit in (spec.market_max_qty, spec.max_qty) if limit]  # 0: the filter is switched off
    caps = [
        (Cap.RISK, ask.risk_rate * ask.equity / unit_risk),
        (Cap.NOTIONAL, ask.max_notional / ask.price),
        (Cap.BRACKET, ask.brackets.cap_at(ask.leverage) / max(ask.price, ask.mark)),
        (Cap.MARGIN, max(ZERO, ask.free_margin) * ask.leverage * MARGIN_SHARE / ask.price),
        (Cap.DISPLAYED, ask.displayed_qty * ask.displayed_rate),
    ]
    if lots:
        caps.insert(3, (Cap.LOT, min(lots)))
    return tuple(caps)
