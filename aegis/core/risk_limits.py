"""The limits of the risk gate: from the config, with ranges, under ceilings that no config can lift."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import attrs

__all__ = ["CEILING_ORDER_NOTIONAL", "CEILING_ORDER_QTY", "RiskLimits"]

#: Control C3: compiled in, so that a typing error in a config cannot send more.
CEILING_ORDER_NOTIONAL = Decimal(1_000_000)
CEILING_ORDER_QTY = Decimal(1_000_000_000)


def _decimal(value: object) -> Decimal:
    """TOML gives ints, floats and strings; each stands for the decimal that was written."""
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"not a number: {value!r}") from None
    if not number.is_finite():
        raise ValueError(f"not a number: {value!r}")
    return number


class _Within:
    """Validator: a number in (low, high], or in [low, high] with `closed`."""

    def __init__(self, low: str | int, high: str | int | Decimal, *, closed: bool = False) -> None:
        self.low, self.high, self.closed = Decimal(low), Decimal(high), closed

    def __call__(self, _: object, field: attrs.Attribute[Any], value: Decimal | int) -> None:
        if not (self.low <= value <= self.high) or (value == self.low and not self.closed):
            raise ValueError(f"{field.name}: {value} is not in {'[' if self.closed else '('}{self.low}, {self.high}]")


class _Count(_Within):
    """Validator: a whole number in [low, high]."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__(low, high, closed=True)

    def __call__(self, instance: object, field: attrs.Attribute[Any], value: Decimal | int) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{field.name}: {value!r} is not a whole number")
        super().__call__(instance, field, value)


@attrs.frozen(kw_only=True)
class RiskLimits:
    """Numbers of the gate. `_pct` are percent, `_bps` hundredths of a percent, money in the margin asset."""

    # size
    risk_pct: Decimal = attrs.field(default=Decimal("0.4"), converter=_decimal, validator=_Within(0, 5))
    max_order_notional: Decimal = attrs.field(
        default=Decimal("50000"), converter=_decimal, validator=_Within(0, CEILING_ORDER_NOTIONAL)
    )
    max_order_qty: Decimal = attrs.field(
        default=Decimal("100000000"), converter=_decimal, validator=_Within(0, CEILING_ORDER_QTY)
    )
    displayed_pct: Decimal = attrs.field(default=Decimal("20"), converter=_decimal, validator=_Within(0, 100))
    leverage: int = attrs.field(default=5, validator=_Count(1, 20))
    # account
    max_positions: int = attrs.field(default=5, validator=_Count(1, 100))
    max_open_risk_pct: Decimal = attrs.field(default=Decimal("2"), converter=_decimal, validator=_Within(0, 20))
    max_gross_leverage: Decimal = attrs.field(default=Decimal("2"), converter=_decimal, validator=_Within(0, 10))
    max_net_leverage: Decimal = attrs.field(default=Decimal("2"), converter=_decimal, validator=_Within(0, 10))
    max_position_notional: Decimal = attrs.field(
        default=Decimal("50000"), converter=_decimal, validator=_Within(0, CEILING_ORDER_NOTIONAL)
    )
    max_open_orders_symbol: int = attrs.field(default=20, validator=_Count(1, 200))
    max_open_orders_total: int = attrs.field(default=50, validator=_Count(1, 1000))
    max_unknown: int = attrs.field(default=2, validator=_Count(0, 20))
    # price and cost
    max_slippage_bps: Decimal = attrs.field(default=Decimal("5"), converter=_decimal, validator=_Within(0, 100))
    collar_bps: Decimal = attrs.field(default=Decimal("50"), converter=_decimal, validator=_Within(0, 1000))
    expected_slippage_bps: Decimal = attrs.field(
        default=Decimal("1"), converter=_decimal, validator=_Within(0, 100, closed=True)
    )
    stop_slippage_bps: Decimal = attrs.field(
        default=Decimal("2"), converter=_decimal, validator=_Within(0, 500, closed=True)
    )
    max_cost_r: Decimal = attrs.field(default=Decimal("0.2"), converter=_decimal, validator=_Within(0, 1))
    min_net_r: Decimal = attrs.field(default=Decimal("1"), converter=_decimal, validator=_Within(0, 10))
    # data
    socket_silence_ms: int = attrs.field(default=500, validator=_Count(10, 60_000))
    event_lag_ms: int = attrs.field(default=500, validator=_Count(10, 60_000))
    mark_age_ms: int = attrs.field(default=3_000, validator=_Count(100, 60_000))
    spec_age_h: int = attrs.field(default=24, validator=_Count(1, 168))
    # rate
    order_rate_pct: Decimal = attrs.field(default=Decimal("50"), converter=_decimal, validator=_Within(0, 100))
    orders_10s: int = attrs.field(default=300, validator=_Count(1, 100_000))
    orders_1m: int = attrs.field(default=1_200, validator=_Count(1, 1_000_000))
    open_algos: int = attrs.field(default=200, validator=_Count(1, 10_000))
    """What the venue takes of the account: orders in 10 s and in 1 min, open conditional orders. A share of
    `order_rate_pct` is used."""
