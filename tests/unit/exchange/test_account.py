"""Money: positions against a long-hand fold, margin formulas, liquidation price."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.exchange.account import Account, Position, SymbolSetting, commission
from aegis.exchange.books import Books
from aegis.exchange.listing import Bracket
from aegis.exchange.margin import Margins, liquidation_price, symbol_margin
from aegis.exchange.money import E8, E16, amount_of, decimal_of, divide, plain
from aegis.exchange.security import AccountSetup
from tests.support.exchange_rig import LISTINGS, START_NS, Script

D = Decimal
FILLS = st.lists(st.tuples(st.integers(-5_000, 5_000).filter(bool), st.integers(1, 50_000)), min_size=1, max_size=40)


def account(wallet="10000"):
    return Account(AccountSetup(id="a", api_key="k", secret="s", wallet=D(wallet)))


def trade(mine, position, signed, ticks, ratio=(0, 1)):
    """One fill, paid for; (realised, commission)."""
    realized = mine.apply_fill(position, signed, ticks, 1)
    fee = commission(abs(signed) * ticks * position.listing.unit_e16, ratio)
    mine.wallet += realized - fee
    return decimal_of(realized), decimal_of(fee)


def at_mark(mine, listings, mark):
    """An account's margin at one mark for every symbol."""
    books = Books(listings, Script(), start_ns=START_NS)
    books.mark_e8[:] = amount_of(D(mark))
    mine.changed.update(dict.fromkeys(mine.positions.values(), True))
    return Margins(mine, books).now()


@settings(max_examples=200)
@given(FILLS, st.booleans())
def test_position_and_wallet_follow_the_exact_rational_fold(fills, isolated):
    mine = account()
    position = mine.position(LISTINGS[0])
    position.setting.isolated = isolated
    steps, cost, realized, fees = 0, Fraction(0), D(0), D(0)
    for signed, ticks in fills:
        price = LISTINGS[0].price(ticks)
        gained, fee = trade(mine, position, signed, ticks, (5, 10_000))
        closing = min(abs(steps), abs(signed)) if steps * signed < 0 else 0
        if closing:
            entry = cost / steps  # signed cost over signed steps
            exact = (Fraction(price) - entry) * Fraction(closing, 1000) * (1 if steps > 0 else -1)
            assert abs(Fraction(gained) - exact) < Fraction(1, 10**8)
            cost -= entry * closing * (1 if steps > 0 else -1)
        opening = abs(signed) - closing
        cost += Fraction(price) * opening * (1 if signed > 0 else -1)
        steps += signed
        realized += gained
        fees += fee
        assert fee == round(LISTINGS[0].quantity(abs(signed)) * price * D("0.0005"), 8)
        assert position.steps == steps
        assert position.steps == 0 or abs(Fraction(position.entry_e16, E16) - cost / steps) < Fraction(1, 10**12)
        assert position.isolated_wallet >= 0
        assert (position.isolated_wallet > 0) == (isolated and steps != 0)
    assert decimal_of(mine.wallet) == 10_000 + realized - fees
    assert mine.cross_wallet == mine.wallet - position.isolated_wallet


def test_an_isolated_position_takes_its_margin_and_gives_back_the_share_that_is_closed():
    mine = account()
    position = mine.position(LISTINGS[0])
    position.setting.isolated, position.setting.leverage = True, 5
    trade(mine, position, 2_000, 1000)
    assert (position.isolated_wallet, mine.cross_wallet) == (40 * E8, 9_960 * E8)
    trade(mine, position, -500, 1100)
    assert (position.isolated_wallet, mine.wallet, mine.cross_wallet) == (30 * E8, 10_005 * E8, 9_975 * E8)
    trade(mine, position, -2_500, 900)  # turns it round: short 1.0 from 90
    assert (position.steps, position.entry_e16, position.isolated_wallet) == (-1_000, 90 * E16, 18 * E8)
    assert mine.wallet == 9_990 * E8


def test_margins_of_a_position_and_open_orders_on_both_sides():
    position = Position(listing=LISTINGS[0], setting=SymbolSetting(10), steps=2_000, entry_e16=95 * E16)
    row = symbol_margin(position, 100 * E8, bid_e16=50 * E16, ask_e16=500 * E16)
    assert (row.notional_e16, row.unrealized, row.position_initial) == (200 * E16, 10 * E8, 20 * E8)
    assert row.maintenance == 80_000_000
    assert row.open_order_initial == 10 * E8  # |200 - 500| = 300 is the worse side
    quiet = symbol_margin(position, 100 * E8, bid_e16=0, ask_e16=150 * E16)
    assert quiet.open_order_initial == 0  # orders that only reduce tie up nothing


def test_maintenance_margin_is_continuous_at_the_bracket():
    position = Position(listing=LISTINGS[0], steps=500_000, entry_e16=100 * E16)
    below, above = position.maintenance_margin(100 * E8 - 10), position.maintenance_margin(100 * E8 + 10)
    assert abs(above - below) < 10_000


BTC = attrs.evolve(
    LISTINGS[0],
    brackets=(Bracket(bracket=1, leverage=125, floor=D(0), cap=D(10**9), mmr=D("0.004"), cum=D(0)),),
)


@pytest.mark.parametrize("isolated", [True, False])
def test_liquidation_price_of_the_protocol_page(isolated):
    mine = account("1000")
    position = mine.position(BTC)
    position.steps, position.entry_e16, position.setting.isolated = 100, 50_000 * E16, isolated
    if isolated:
        mine.shift_margin(position, 1_000 * E8)
    margins = at_mark(mine, [BTC], 50_000)
    price = liquidation_price(margins.rows[0], margins)
    assert round(decimal_of(price), 6) == D("40160.642570")
    balance = 1_000 * E8 + position.unrealized(price)
    assert abs(balance - position.maintenance_margin(price)) < 1_000
    assert round(decimal_of(balance), 6) == D("16.064257")


@pytest.mark.parametrize(("long", "short"), [(3_000, -1_000), (1_000, -3_000)])
def test_both_sides_of_a_cross_position_share_one_liquidation_price(long, short):
    mine = account("1000")
    mine.hedge = True
    for side, steps, entry in (("LONG", long, 1_000), ("SHORT", short, 1_100)):
        position = mine.position(BTC, side)
        position.steps, position.entry_e16 = steps, entry * E16
    margins = at_mark(mine, [BTC], 1_050)
    (price,) = {liquidation_price(row, margins) for row in margins.rows}
    assert price > 0
    balance = mine.wallet + sum(row.position.unrealized(price) for row in margins.rows)
    needed = sum(row.position.maintenance_margin(price) for row in margins.rows)
    assert abs(balance - needed) < 100


def test_no_liquidation_price_where_both_sides_cancel_out_or_the_wallet_covers_all():
    mine = account("1000")
    mine.hedge = True
    for side, steps in (("LONG", 1_000), ("SHORT", -1_000)):
        position = mine.position(LISTINGS[0], side)
        position.steps, position.entry_e16 = steps, 100 * E16
    margins = at_mark(mine, LISTINGS, 100)
    price = liquidation_price(margins.rows[0], margins)
    assert price > 10_000 * E8  # only the maintenance margins of both grow with the price
    one_way = account("1000")
    position = one_way.position(LISTINGS[0])
    position.steps, position.entry_e16 = 1_000, 100 * E16
    margins = at_mark(one_way, LISTINGS, 100)
    assert liquidation_price(margins.rows[0], margins) == 0


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**20))
def test_division_rounds_half_to_even(numerator, denominator):
    assert divide(numerator, denominator) == round(Fraction(numerator, denominator))


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1_000 * E8, "1000"), (150_000_000, "1.5"), (-1, "-0.00000001")]
)
def test_plain_texts_have_no_exponent_and_no_idle_zeros(value, text):
    assert plain(value) == text
    assert plain(value, 0) == str(value)
