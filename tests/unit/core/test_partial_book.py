"""What an order finds between the touch and its limit, by the quote and the levels behind it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aegis.core.entry_price import displayed
from aegis.core.partial_book import Displayed, PartialBook
from aegis.core.risk import Quote
from aegis.core.values import Side
from tests.support.core_cases import make_context

D = Decimal
INF = float("inf")
#: Bids 49999.9, 49999.8, 49999.5; asks 50000.0, 50000.3; lots of a thousandth.
BOOK = PartialBook(
    ranks=([-49999.9, -49999.8, -49999.5, INF], [50000.0, 50000.3, INF, INF]),
    lots=([0, 1000, 3000, 3500, 3500], [0, 2000, 2400, 0, 0]),
    qty_decimals=3,
    age_ns=40,
)


def make_quote(bid: str = "49999.9", ask: str = "50000.0") -> Quote:
    return Quote(bid=D(bid), bid_qty=D(7), ask=D(ask), ask_qty=D(5))


@pytest.mark.parametrize(
    ("side", "limit", "qty", "levels"),
    [
        (Side.BUY, "50000.0", "5", 0),
        (Side.BUY, "50000.2", "5", 0),
        (Side.BUY, "50000.3", "5.4", 1),
        (Side.BUY, "60000", "5.4", 1),
        (Side.SELL, "49999.9", "7", 0),
        (Side.SELL, "49999.8", "9", 1),
        (Side.SELL, "49999.6", "9", 1),
        (Side.SELL, "49999.5", "9.5", 2),
        (Side.SELL, "1", "9.5", 2),
    ],
)
def test_the_quote_says_what_is_at_the_touch_and_the_book_what_is_behind_it(
    side: Side, limit: str, qty: str, levels: int
) -> None:
    shown = displayed(make_context(quote=make_quote(), book=BOOK), side, D(limit))
    assert (shown.qty, shown.levels, shown.age_ns) == (D(qty), levels, 40)
    assert shown.touch_qty == (D(5) if side is Side.BUY else D(7))


def test_levels_before_the_touch_are_gone() -> None:
    context = make_context(quote=make_quote(bid="49999.7", ask="50000.1"), book=BOOK)
    assert displayed(context, Side.BUY, D(50010)).qty == D("5.4")
    assert displayed(context, Side.SELL, D(49990)).qty == D("7.5")


def test_an_order_that_does_not_reach_the_touch_finds_no_levels_behind_it() -> None:
    context = make_context(quote=make_quote(ask="50000.1"), book=BOOK)
    assert displayed(context, Side.BUY, D(49990)).qty == D(5)


def test_a_touch_inside_the_spread_of_the_book_has_all_of_it_behind_it() -> None:
    context = make_context(quote=make_quote(bid="49999.95", ask="49999.98"), book=BOOK)
    assert displayed(context, Side.BUY, D(50010)).qty == D("7.4")
    assert displayed(context, Side.SELL, D(49990)).qty == D("10.5")


@pytest.mark.parametrize(
    ("side", "quote"),
    [
        (Side.BUY, make_quote(bid="49999.8", ask="49999.9")),
        (Side.BUY, make_quote(bid="49990", ask="49991")),
        (Side.SELL, make_quote(bid="50000.0", ask="50000.1")),
        (Side.SELL, make_quote(bid="50010", ask="50011")),
    ],
)
def test_a_book_whose_other_side_the_touch_crosses_is_of_another_moment_and_says_nothing(
    side: Side, quote: Quote
) -> None:
    qty = D(5) if side is Side.BUY else D(7)
    for book in (BOOK, None):
        limit = D(50100) if side is Side.BUY else D(49900)
        assert displayed(make_context(quote=quote, book=book), side, limit) == Displayed(qty=qty, touch_qty=qty)


def test_a_side_that_shows_nothing_leaves_the_touch() -> None:
    book = PartialBook(ranks=([INF], [INF]), lots=([0, 0], [0, 0]), qty_decimals=3, age_ns=0)
    assert displayed(make_context(quote=make_quote(), book=book), Side.BUY, D(50010)).qty == D(5)
