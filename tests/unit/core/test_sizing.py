"""The size formula, cap by cap."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from aegis.core.brackets import LeverageBracket, LeverageBrackets
from aegis.core.sizing import Cap, Size, SizeDenial, SizeDenied, SizeInput, size_entry
from aegis.core.values import Side
from tests.support.core_cases import BTC, D, make_brackets, make_spec


def make_input(**changes: Any) -> SizeInput:
    fields: dict[str, Any] = {
        "spec": make_spec(),
        "side": Side.BUY,
        "price": D(50000),
        "stop": D(49500),
        "mark": D(50000),
        "equity": D(10000),
        "free_margin": D(10000),
        "risk_rate": D("0.004"),
        "taker_rate": D("0.0005"),
        "stop_slippage": D(10),
        "max_notional": D(50000),
        "displayed_qty": D(5),
        "displayed_rate": D("0.2"),
        "brackets": make_brackets(),
        "leverage": 5,
    }
    return SizeInput(**{**fields, **changes})


def test_the_risk_share_bounds_a_normal_entry() -> None:
    size = size_entry(make_input())
    assert isinstance(size, Size)
    unit = D(500) + D("0.0005") * (50000 + 49500) + 10
    assert size.qty == D("0.071") == (D(40) / unit).quantize(D("0.001"), rounding="ROUND_FLOOR")
    assert size.risk == size.qty * unit
    assert size.risk <= D(40)
    assert (size.bound_by, size.notional) == (Cap.RISK, D("0.071") * 50000)


@pytest.mark.parametrize(
    ("changes", "cap", "qty"),
    [
        ({"max_notional": D(1000)}, Cap.NOTIONAL, "0.02"),
        ({"leverage": 125, "equity": D(10**9), "free_margin": D(10**9), "max_notional": D(10**9)}, Cap.BRACKET, "1"),
        ({"spec": make_spec(market_max_qty=D("0.01"))}, Cap.LOT, "0.01"),
        ({"spec": make_spec(max_qty=D("0.02"))}, Cap.LOT, "0.02"),
        ({"free_margin": D(100)}, Cap.MARGIN, "0.009"),
        ({"displayed_qty": D("0.1")}, Cap.DISPLAYED, "0.02"),
    ],
)
def test_each_cap_can_bind(changes: dict[str, Any], cap: Cap, qty: str) -> None:
    if cap is Cap.BRACKET:
        changes = {**changes, "displayed_qty": D(10**6), "stop": D(49999), "stop_slippage": D(0)}
    size = size_entry(make_input(**changes))
    assert isinstance(size, Size)
    assert (size.bound_by, size.qty) == (cap, D(qty))


def test_a_switched_off_lot_filter_is_no_cap() -> None:
    size = size_entry(make_input(spec=make_spec(max_qty=D(0), market_max_qty=D(0))))
    assert isinstance(size, Size)
    assert Cap.LOT not in dict(size.caps)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"stop": D(50000)}, SizeDenial.STOP_SIDE),
        ({"side": Side.SELL}, SizeDenial.STOP_SIDE),
        ({"equity": D(0)}, SizeDenial.NO_EQUITY),
        ({"free_margin": D(-5)}, SizeDenial.QTY_MIN),
        ({"displayed_qty": D("0.004")}, SizeDenial.QTY_MIN),
        ({"spec": make_spec(min_notional=D(10**5))}, SizeDenial.MIN_NOTIONAL),
        ({"mark": D(700), "max_notional": D(3000)}, SizeDenial.MIN_NOTIONAL),
        ({"stop": D(44000), "leverage": 5}, SizeDenial.LIQUIDATION),
        ({"side": Side.SELL, "stop": D(56000), "leverage": 5}, SizeDenial.LIQUIDATION),
    ],
)
def test_denials(changes: dict[str, Any], code: SizeDenial) -> None:
    denied = size_entry(make_input(**changes))
    assert isinstance(denied, SizeDenied)
    assert denied.code is code


def test_an_unleveraged_long_has_no_liquidation_to_fear() -> None:
    assert isinstance(size_entry(make_input(stop=D(30000), leverage=1, risk_rate=D("0.05"))), Size)


def test_a_liquidation_exactly_one_distance_beyond_the_stop_is_allowed() -> None:
    # the liquidation price of a long with wallet = notional / 4 at a maintenance rate of 0: three quarters of the entry
    row = LeverageBracket(floor=D(0), cap=D(10**7), rate=D(0), cum=D(0), leverage=50)
    brackets = LeverageBrackets(symbol=BTC, rows=(row,))
    exact = make_input(leverage=4, brackets=brackets, stop=D(43750), risk_rate=D("0.05"))
    assert isinstance(size_entry(exact), Size)
    beyond = size_entry(attrs.evolve(exact, stop=D("43749.9")))
    assert isinstance(beyond, SizeDenied)
    assert (beyond.code, beyond.value, beyond.limit) == (SizeDenial.LIQUIDATION, D(37500), D("37499.8"))
