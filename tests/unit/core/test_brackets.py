"""Maintenance margin and liquidation price."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aegis.core.brackets import LeverageBracket, LeverageBrackets
from tests.support.core_cases import BTC, D, make_brackets


def one(rate: str = "0.004") -> LeverageBrackets:
    row = LeverageBracket(floor=D(0), cap=D(10**6), rate=D(rate), cum=D(0), leverage=125)
    return LeverageBrackets(symbol=BTC, rows=(row,))


def test_the_check_value_of_the_specification() -> None:
    price = one().liquidation(D("0.1"), D(50_000), D(1000))
    assert price is not None
    assert round(price, 6) == D("40160.642570")
    assert round(D("0.1") * price * D("0.004"), 6) == D("16.064257")


def test_margin_balance_equals_maintenance_at_the_liquidation_price() -> None:
    brackets = make_brackets()
    for amount in ("0.1", "-0.1", "2", "-2", "15", "-15", "200"):
        entry, size = D(50_000), abs(D(amount))
        wallet = size * entry / 5
        price = brackets.liquidation(D(amount), entry, wallet)
        assert price is not None
        balance = wallet + (price - entry) * D(amount)
        assert abs(balance - brackets.maintenance(price * size)) < D("1e-15")


def test_maintenance_is_continuous_at_every_border() -> None:
    brackets = make_brackets()
    for row, following in zip(brackets.rows, brackets.rows[1:], strict=False):
        below = row.cap * row.rate - row.cum
        assert below == brackets.maintenance(row.cap) == row.cap * following.rate - following.cum


def test_no_liquidation_price_when_the_wallet_covers_everything_or_nothing_is_open() -> None:
    assert one().liquidation(D("0.1"), D(50_000), D(6000)) is None
    assert one().liquidation(D(0), D(50_000), D(1000)) is None


def test_other_positions_move_the_price() -> None:
    alone = one().liquidation(D("0.1"), D(50_000), D(1000))
    helped = one().liquidation(D("0.1"), D(50_000), D(1000), others=D(500))
    assert alone is not None
    assert helped is not None
    assert helped < alone


@pytest.mark.parametrize(("amount", "choose"), [("1", max), ("-1", min)])
def test_a_crack_between_brackets_takes_the_price_that_liquidates_first(amount: str, choose: object) -> None:
    # cum of the second bracket is off by a rounding: no candidate lies in its own bracket
    rows = (
        LeverageBracket(floor=D(0), cap=D(100), rate=D("0.1"), cum=D(0), leverage=10),
        LeverageBracket(floor=D(100), cap=D(10**9), rate=D("0.2"), cum=D(11) if amount == "1" else D(9), leverage=5),
    )
    brackets = LeverageBrackets(symbol=BTC, rows=rows)
    sign = D(amount)
    wallet, entry = (D("39.5"), D(130)) if sign > 0 else (D("40.5"), D(70))
    candidates = [(wallet + row.cum - sign * entry) / (row.rate - sign) for row in rows]
    assert not any(row.floor <= price < row.cap for row, price in zip(rows, candidates, strict=True))
    expected: Decimal = max(candidates) if choose is max else min(candidates)
    assert brackets.liquidation(sign, entry, wallet) == expected


def test_notional_cap_of_a_leverage() -> None:
    brackets = make_brackets()
    assert brackets.cap_at(5) == D(10_000_000)
    assert brackets.cap_at(60) == D(500_000)
    assert brackets.cap_at(126) == D(0)
    assert brackets.at(D(10**9)) is brackets.rows[-1]


@pytest.mark.parametrize(
    "rows",
    [
        (),
        ((0, 10, "0.1", 5), (11, 20, "0.1", 5)),
        ((0, 0, "0.1", 5),),
        ((0, 10, "1", 5),),
        ((0, 10, "0.1", 0),),
    ],
)
def test_impossible_tables_are_refused(rows: tuple[tuple[int, int, str, int], ...]) -> None:
    made = tuple(
        LeverageBracket(floor=D(low), cap=D(high), rate=D(rate), cum=D(0), leverage=leverage)
        for low, high, rate, leverage in rows
    )
    with pytest.raises(ValueError, match="leverage brackets"):
        LeverageBrackets(symbol=BTC, rows=made)
