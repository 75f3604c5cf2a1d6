"""Exact prices and quantities."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from aegis.core.filters import (
    Rounding,
    Rule,
    Unrepresentable,
    ceil_to,
    check_notional,
    check_order,
    check_percent_price,
    check_price,
    check_qty,
    decimals_of,
    exact,
    floor_qty,
    floor_to,
    plain,
    price_for,
)
from aegis.core.values import Side
from tests.support.core_cases import D, make_spec


@pytest.mark.parametrize(
    ("x", "side", "rounding", "price"),
    [
        (50000.17, Side.BUY, Rounding.PASSIVE, "50000.1"),
        (50000.17, Side.SELL, Rounding.PASSIVE, "50000.2"),
        (50000.17, Side.BUY, Rounding.AGGRESSIVE, "50000.2"),
        (50000.17, Side.SELL, Rounding.AGGRESSIVE, "50000.1"),
        (50000.17, Side.SELL, Rounding.FLOOR, "50000.1"),
        (50000.17, Side.BUY, Rounding.CEIL, "50000.2"),
        (50000.1, Side.BUY, Rounding.PASSIVE, "50000.1"),
        (50000.1, Side.SELL, Rounding.PASSIVE, "50000.1"),
        (D("99.95"), Side.BUY, Rounding.PASSIVE, "99.9"),
        (np.float64(0.3), Side.BUY, Rounding.PASSIVE, "0.3"),
    ],
)
def test_price_takes_the_grid_point_on_the_named_side(
    x: float | Decimal, side: Side, rounding: Rounding, price: str
) -> None:
    assert price_for(make_spec(), x, side, rounding) == D(price)


def test_grid_starts_at_the_minimum_price() -> None:
    spec = make_spec(min_price=D("0.05"), tick=D("0.1"))
    assert price_for(spec, 1.0, Side.BUY) == D("0.95")
    assert check_price(spec, D("0.95")) is None


def test_float_from_the_wire_comes_back_as_sent() -> None:
    assert exact(float("16697.80000")) == D("16697.8")
    assert exact(np.float32(0.5)) == D("0.5")
    assert exact(7) == D("7")


@pytest.mark.parametrize("x", [float("nan"), float("inf"), -float("inf"), D("NaN"), D("1e400"), 1e300, D("-1e16")])
def test_numbers_that_cannot_be_prices_raise_a_typed_error(x: float | Decimal) -> None:
    with pytest.raises(Unrepresentable):
        exact(x)


def test_decimals_and_plain_text() -> None:
    assert [decimals_of(D(x)) for x in ("0.10", "1", "1e-7", "10")] == [1, 0, 7, 0]
    assert make_spec().price_decimals == 1
    assert make_spec().qty_decimals == 3
    assert [plain(D(x)) for x in ("1E+3", "0.100", "1e-7", "-0", "-0.0", "5")] == [
        "1000", "0.1", "0.0000001", "0", "0", "5",
    ]  # fmt: skip
    with pytest.raises(Unrepresentable):
        decimals_of(D("NaN"))


def test_floor_and_ceil_hold_below_zero() -> None:
    assert floor_to(D("-0.15"), D("0.1")) == D("-0.2")
    assert ceil_to(D("-0.15"), D("0.1")) == D("-0.1")


@pytest.mark.parametrize(
    ("x", "market", "qty"),
    [(1.23456, False, "1.234"), (0.0009, False, "0"), (5000, False, "1000"), (500, True, "120"), (D("-1"), False, "0")],
)
def test_quantity_is_floored_capped_and_never_raised(x: float | Decimal, market: bool, qty: str) -> None:
    assert floor_qty(make_spec(), x, market=market) == D(qty)


def test_zero_maximum_switches_the_filter_off() -> None:
    spec = make_spec(max_qty=D(0), max_price=D(0))
    assert floor_qty(spec, 123456) == D(123456)
    assert check_qty(spec, D(123456)) is None
    assert check_price(spec, D(99_999_999)) is None


@pytest.mark.parametrize(
    ("price", "rule"), [("99.9", Rule.PRICE_MIN), ("1000000.1", Rule.PRICE_MAX), ("50000.05", Rule.PRICE_TICK)]
)
def test_price_filter(price: str, rule: Rule) -> None:
    breach = check_price(make_spec(), D(price))
    assert breach is not None
    assert (breach.rule, breach.value) == (rule, D(price))


@pytest.mark.parametrize(
    ("qty", "market", "rule"),
    [
        ("0", False, Rule.QTY_MIN),
        ("0.0001", False, Rule.QTY_MIN),
        ("1000.001", False, Rule.QTY_MAX),
        ("121", True, Rule.QTY_MAX),
        ("1.0001", False, Rule.QTY_STEP),
    ],
)
def test_lot_filters(qty: str, market: bool, rule: Rule) -> None:
    breach = check_qty(make_spec(), D(qty), market=market)
    assert breach is not None
    assert breach.rule is rule


def test_notional_and_percent_price_limits_are_inclusive() -> None:
    spec = make_spec()
    assert check_notional(spec, D("0.001"), D("50000")) is None
    assert check_notional(spec, D("0.001"), D("49999")) is not None
    mark = D("100000")
    assert check_percent_price(spec, D("105000"), Side.BUY, mark) is None
    assert check_percent_price(spec, D("105000.1"), Side.BUY, mark) is not None
    assert check_percent_price(spec, D("95000"), Side.SELL, mark) is None
    assert check_percent_price(spec, D("94999.9"), Side.SELL, mark) is not None
    assert check_percent_price(spec, D("200000"), Side.SELL, mark) is None


def test_whole_order_is_checked_filter_by_filter() -> None:
    spec, mark = make_spec(), D("50000")
    assert check_order(spec, Side.BUY, D("0.01"), D("50000"), mark) is None
    assert check_order(spec, Side.BUY, D("0.01"), None, mark) is None
    small = check_order(spec, Side.BUY, D("0.001"), None, D("40000"))
    assert small is not None
    assert small.rule is Rule.MIN_NOTIONAL
    far = check_order(spec, Side.BUY, D("0.01"), D("60000"), mark)
    assert far is not None
    assert far.rule is Rule.PERCENT_PRICE


def test_a_spec_without_a_tick_is_refused() -> None:
    with pytest.raises(ValueError, match="tick"):
        make_spec(tick=D(0))
