"""A pushed market: exact ticks out of floats, what cannot be is refused, time and order hold, books take it."""

from __future__ import annotations

from decimal import Decimal
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.exchange.books import Books
from aegis.exchange.live import LiveSource
from aegis.kernels.books import MARK, QUOTE, TRADE
from tests.support.exchange_rig import listing

T0 = 1_790_000_010_000_000_000
MS = 1_000_000
LISTINGS = (listing("AAAUSDT", 0), listing("BBBUSDT", 1))  # tick 0.1, step 0.001
FOREVER = 2**62


def array(*values):
    return np.array(values, np.float64)


def symbols(*values):
    return np.array(values, np.int64)


def quote(source, now_ns=T0, bid=100.0, ask=100.1, bid_qty=5.0, ask_qty=4.0, symbol=0):
    source.quotes(
        now_ns, symbols(symbol), bid=array(bid), bid_qty=array(bid_qty), ask=array(ask), ask_qty=array(ask_qty)
    )


def test_quote_becomes_ticks_and_steps():
    source = LiveSource(LISTINGS)
    quote(source, symbol=1)
    (event,) = source.events(FOREVER)
    assert event["kind"] == QUOTE
    assert event["time_ns"] == T0
    assert [int(event[name]) for name in ("symbol", "bid", "ask", "bid_qty", "ask_qty")] == [1, 1000, 1001, 5000, 4000]
    assert source.counts == {"quote": 1, "refused": 0}


@given(
    tick_decimals=st.integers(0, 8), tick_digit=st.sampled_from([1, 2, 5]), ticks=st.integers(1, 2**31 - 2),
    step_decimals=st.integers(0, 3), steps=st.integers(1, 10**9),
)  # fmt: skip
def test_float_of_a_text_on_the_grid_comes_back_as_exactly_its_tick(
    tick_decimals, tick_digit, ticks, step_decimals, steps
):
    tick, step = Decimal(tick_digit).scaleb(-tick_decimals), Decimal(1).scaleb(-step_decimals)
    source = LiveSource([listing("AAAUSDT", 0, tick=tick, step=step)])
    quote(
        source, bid=float(f"{tick * ticks:f}"), ask=float(f"{tick * (ticks + 1):f}"),
        bid_qty=float(f"{step * steps:f}"),
    )  # fmt: skip
    source.trades(T0, symbols(0), price=array(float(f"{tick * ticks:f}")))
    quoted, traded = source.events(FOREVER)
    assert (quoted["bid"], quoted["ask"], quoted["bid_qty"], traded["price"]) == (ticks, ticks + 1, steps, ticks)


@pytest.mark.parametrize(
    "wrong",
    [{"bid": 100.1}, {"bid": 100.2}, {"bid": nan}, {"ask": nan}, {"ask": inf}, {"bid": 0.0}, {"bid": -1.0},
     {"bid_qty": 0.0}, {"ask_qty": nan}, {"bid_qty": 1e300}, {"ask": 3e8}],
)  # fmt: skip
def test_quote_that_cannot_be_is_refused_and_leaves_its_neighbour_alone(wrong):
    source = LiveSource(LISTINGS)
    told = {"bid": 100.0, "ask": 100.1, "bid_qty": 5.0, "ask_qty": 4.0}
    source.quotes(
        T0,
        symbols(0, 1),
        **{name: array((told | wrong)[name], told[name]) for name in ("bid", "bid_qty", "ask", "ask_qty")},
    )
    events = source.events(FOREVER)
    assert events["symbol"].tolist() == [1]
    assert source.counts == {"quote": 1, "refused": 1}


@pytest.mark.parametrize("price", [nan, inf, 0.0, -3.0, 1e300])
def test_trade_and_mark_that_cannot_be_are_refused(price):
    source = LiveSource(LISTINGS)
    source.trades(T0, symbols(0), price=array(price))
    source.marks(T0, symbols(0), mark=array(price), index=array(100.0))
    source.marks(T0, symbols(0), mark=array(100.0), index=array(price if price == price else -1.0))
    assert len(source.events(FOREVER)) == 0
    assert source.counts == {"trade": 0, "mark": 0, "refused": 3}


@pytest.mark.parametrize(("price", "side"), [(100.3, 1), (100.2, 1), (100.0, -1), (99.0, -1), (100.1, 1)])
def test_print_is_one_step_by_the_side_that_is_nearer(price, side):
    source = LiveSource(LISTINGS)
    quote(source, bid=100.0, ask=100.2)
    source.trades(T0 + 1, symbols(0), price=array(price))
    event = source.events(FOREVER)[1]
    assert (event["kind"], event["side"], event["qty"]) == (TRADE, side, 1)


def test_every_print_is_an_order_of_its_own():
    source = LiveSource(LISTINGS)
    for _ in range(2):
        source.trades(T0, symbols(0, 1), price=array(100.0, 200.0))
    assert len(set(source.events(FOREVER)["order"].tolist())) == 4


def test_mark_keeps_eight_decimals_and_an_unknown_index_is_the_mark():
    source = LiveSource(LISTINGS)
    source.marks(T0, symbols(0, 1), mark=array(61_799.12345678, 0.00001234), index=array(61_790.00000001, nan))
    events = source.events(FOREVER)
    assert events["kind"].tolist() == [MARK, MARK]
    assert events["mark_e8"].tolist() == [6_179_912_345_678, 1_234]
    assert events["index_e8"].tolist() == [6_179_000_000_001, 1_234]


@given(pushes=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60)), max_size=30))
def test_whenever_it_is_asked_nothing_is_lost_doubled_late_or_out_of_order(pushes):
    """Each push is (time, how far events are then asked for); clocks may step back."""
    source = LiveSource(LISTINGS)
    got, highest = [], 0
    for number, (at, until) in enumerate(pushes):
        highest = max(highest, at)
        source.trades(at, symbols(0), price=array(100.0 + number))
        batch = source.events(until)
        assert all(batch["time_ns"] <= until)
        got += batch.tolist()
    got += source.events(FOREVER).tolist()
    assert [row[8] for row in got] == [1000 + 10 * number for number in range(len(pushes))]
    assert [row[0] for row in got] == sorted(row[0] for row in got)
    assert not got or got[-1][0] == highest
    assert len(source.events(FOREVER)) == 0


def test_restored_source_goes_on_exactly_like_the_one_it_was_taken_from():
    source, twin = LiveSource(LISTINGS), LiveSource(LISTINGS)
    quote(source, T0)
    source.trades(T0 + 5, symbols(0), price=array(100.0))
    source.events(T0)
    state = source.snapshot()
    twin.restore(state)
    for each in (source, twin):
        each.trades(T0 + 9, symbols(0), price=array(100.0))
    expected, found = source.events(FOREVER), twin.events(FOREVER)
    assert found.tolist() == expected.tolist()
    assert len(found) == 2
    assert len(set(found["order"].tolist())) == 2


def test_books_show_what_was_pushed_and_stop_at_a_watched_price():
    source = LiveSource(LISTINGS)
    quote(source, T0, bid=100.0, ask=100.1, ask_qty=4.0)
    quote(source, T0, bid=50.0, ask=50.5, symbol=1)
    source.marks(T0, symbols(0), mark=array(100.05), index=array(100.04))
    books = Books(LISTINGS, source, start_ns=T0)
    assert (books.bid.tolist(), books.ask.tolist()) == ([1000, 500], [1001, 505])
    assert books.ask_qty[0, 0] == 4_000
    assert books.mark_e8[0] == 10_005_000_000
    books.watch(0, 990, 2**62, -(2**62), 2**62)
    source.trades(T0 + 5 * MS, symbols(0), price=array(99.1))
    assert books.advance(T0 + 5 * MS) == -1
    source.trades(T0 + 10 * MS, symbols(0), price=array(99.0))
    assert books.advance(T0 + 20 * MS) == 0
    assert (books.now_ns, int(books.last[0])) == (T0 + 10 * MS, 990)


def test_push_between_two_questions_of_one_moment_is_not_lost():
    """A request is answered between two samples of the same millisecond; the second sample must still count."""
    source = LiveSource(LISTINGS)
    quote(source, T0)
    books = Books(LISTINGS, source, start_ns=T0)
    books.advance(T0 + MS)
    quote(source, T0 + MS, bid=101.0, ask=101.1)
    books.advance(T0 + MS)
    books.advance(T0 + MS + 1)
    assert int(books.bid[0]) == 1010
