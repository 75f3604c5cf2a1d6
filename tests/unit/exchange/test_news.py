"""Forced orders in public: the largest of a symbol and second, and silence where nothing is forced."""

from __future__ import annotations

import numpy as np

from aegis.exchange.listing import synthetic_listings
from aegis.exchange.news import ForceOrders
from aegis.kernels.book_events import PUBLIC, QUOTE, TRADE

LISTINGS = synthetic_listings(3, 7, 1_700_000_000_000)
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def trades(symbol: int, rows: list[tuple[int, int, int, int]]) -> np.ndarray:
    """(price, qty, side, order) of a symbol, a millisecond apart."""
    out = np.zeros(len(rows), PUBLIC)
    out["symbol"], out["kind"] = symbol, TRADE
    for place, (price, qty, side, order) in enumerate(rows):
        out[place]["time_ns"] = START + place * 1_000_000
        out[place]["price"], out[place]["qty"], out[place]["side"], out[place]["order"] = price, qty, side, order
    return out


def test_a_second_without_a_trade_forces_nothing() -> None:
    forced = ForceOrders(LISTINGS)
    quotes = np.zeros(5, PUBLIC)
    quotes["kind"] = QUOTE
    for second in range(3):
        assert forced.take([], quotes, START + second * SECOND) == []
        assert forced.take([], quotes[:0], START + second * SECOND) == []


def test_a_cascade_tells_the_largest_order_of_its_side_once_the_second_is_over() -> None:
    forced = ForceOrders(LISTINGS)
    falling = [(100_000, 5, -1, 1), (99_900, 7, 1, 2), (99_600, 4, -1, 3), (99_500, 4, -1, 3), (99_400, 6, -1, 4)]
    calm = [(50_000, 900, 1, 9), (50_001, 900, 1, 9)]
    rows = np.concatenate([trades(0, falling), trades(1, calm)])
    assert forced.take([], rows, START) == []
    ((listing, event),) = forced.take([], rows[:0], START + SECOND)
    assert (listing, event["e"]) == (LISTINGS[0], "forceOrder")
    assert (event["o"]["S"], event["o"]["q"]) == ("SELL", LISTINGS[0].quantity_text(8))
    assert forced.take([], rows[:0], START + 2 * SECOND) == []
