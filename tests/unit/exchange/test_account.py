"""Money: positions against a long-hand fold, margin formulas, liquidation price."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.exchange.account import Account, Position, plain, round_money
from aegis.exchange.listing import Bracket
from aegis.exchange.margin import AccountMargin, account_margin, liquidation_price, symbol_margin
from aegis.exchange.orders import OrderStore
from aegis.exchange.security import AccountSetup
from tests.support.exchange_rig import LISTINGS

D = Decimal
FILLS = st.lists(st.tuples(st.integers(-5_000, 5_000).filter(bool), st.integers(1, 50_000)), min_size=1, max_size=40)


def account(wallet="10000"):
    return Account(AccountSetup(id="a", api_key="k", secret="s", wallet=D(wallet)))


@settings(max_examples=200)
@given(FILLS, st.booleans())
def test_position_and_wallet_follow_the_exact_rational_fold(fills, isolated):
    mine = account()
    position = mine.position(LISTINGS[0])
    position.isolated = isolated
    steps, cost, realized, fees = 0, Fraction(0), D(0), D(0)
    for signed, ticks in fills:
        price = LISTINGS[0].price(ticks)
        money = mine.apply_fill(position, signed, price, D("0.0005"), 1)
        closing = min(abs(steps), abs(signed)) if steps * signed < 0 else 0
        if closing:
            entry = cost / steps  # signed cost over signed steps
            exact = (Fraction(price) - entry) * Fraction(closing, 1000) * (1 if steps > 0 else -1)
            assert abs(Fraction(money.realized) - exact) < Fraction(1, 10**8)
            cost -= entry * closing * (1 if steps > 0 else -1)
        opening = abs(signed) - closing
        cost += Fraction(price) * opening * (1 if signed > 0 else -1)
        steps += signed
        realized += money.realized
        fees += money.commission
        assert money.commission == round_money(LISTINGS[0].quantity(abs(signed)) * price * D("0.0005"))
        assert position.steps == steps
        assert position.steps == 0 or abs(Fraction(position.entry) - cost / steps) < Fraction(1, 10**12)
        assert position.isolated_wallet >= 0
        assert (position.isolated_wallet > 0) == (isolated and steps != 0)
    assert mine.wallet == 10_000 + realized - fees
    assert mine.cross_wallet == mine.wallet - position.isolated_wallet


def test_an_isolated_position_takes_its_margin_and_gives_back_the_share_that_is_closed():
    mine = account()
    position = mine.position(LISTINGS[0])
    position.isolated, position.leverage = True, 5
    mine.apply_fill(position, 2_000, D(100), D(0), 1)
    assert (position.isolated_wallet, mine.cross_wallet) == (D(40), D(9_960))
    mine.apply_fill(position, -500, D(110), D(0), 1)
    assert (position.isolated_wallet, mine.wallet, mine.cross_wallet) == (D(30), D(10_005), D(9_975))
    mine.apply_fill(position, -2_500, D(90), D(0), 1)  # turns it round: short 1.0 from 90
    assert (position.amount, position.entry, position.isolated_wallet) == (D("-1.000"), D(90), D(18))
    assert mine.wallet == D(9_990)


def test_margins_of_a_position_and_open_orders_on_both_sides():
    position = Position(listing=LISTINGS[0], leverage=10, steps=2_000, entry=D(95))
    row = symbol_margin(position, D(100), bid=D(50), ask=D(500))
    assert (row.notional, row.unrealized, row.position_initial, row.maintenance) == (200, 10, 20, D("0.8"))
    assert row.open_order_initial == D(10)  # |200 - 500| = 300 is the worse side
    quiet = symbol_margin(position, D(100), bid=D(0), ask=D(150))
    assert quiet.open_order_initial == 0  # orders that only reduce tie up nothing


def test_maintenance_margin_is_continuous_at_the_bracket():
    position = Position(listing=LISTINGS[0], steps=500_000, entry=D(100))
    below, above = position.maintenance_margin(D("99.9999999")), position.maintenance_margin(D("100.0000001"))
    assert abs(above - below) < D("0.0001")


@pytest.mark.parametrize("isolated", [True, False])
def test_liquidation_price_of_the_protocol_page(isolated):
    bracket = Bracket(bracket=1, leverage=125, floor=D(0), cap=D(10**9), mmr=D("0.004"), cum=D(0))
    btc = attrs.evolve(LISTINGS[0], brackets=(bracket,))
    mine = account("1000")
    position = mine.positions[0] = Position(listing=btc, steps=100, entry=D(50_000), isolated=isolated)
    position.isolated_wallet = D(1_000) if isolated else D(0)
    margin = account_margin(mine, OrderStore(), lambda _: D(50_000))
    price = liquidation_price(margin.symbols[0], margin)
    assert round(price, 6) == D("40160.642570")
    balance = 1_000 + position.unrealized(price)
    assert abs(balance - position.maintenance_margin(price)) < D("0.00001")
    assert round(balance, 6) == D("16.064257")


def test_no_liquidation_price_for_a_position_that_the_wallet_covers_in_full():
    mine = account("1000")
    mine.positions[0] = Position(listing=LISTINGS[0], steps=1_000, entry=D(100))
    margin: AccountMargin = account_margin(mine, OrderStore(), lambda _: D(100))
    assert liquidation_price(margin.symbols[0], margin) == 0


@pytest.mark.parametrize(
    ("value", "text"), [("0", "0"), ("-0.00", "0"), ("1E+3", "1000"), ("1.500", "1.5"), ("-0.00000001", "-0.00000001")]
)
def test_plain_texts_have_no_exponent_and_no_idle_zeros(value, text):
    assert plain(D(value)) == text
