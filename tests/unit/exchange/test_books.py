"""Books: time order, touched bounds, takings that stay taken, publication, state."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.core.errors import ConfigError
from aegis.exchange.books import Books
from aegis.exchange.listing import synthetic_listings
from aegis.exchange.synthetic import SyntheticSource
from aegis.kernels.books import EVENT, MARK, NEVER, QUOTE, TRADE

START_NS = 1_790_000_000_000_000_000
MS = 1_000_000
SECOND = 1_000_000_000
LISTINGS = tuple(attrs.evolve(one, touch_steps=50) for one in synthetic_listings(3, 1, START_NS // MS)[:3])


class Script:
    """A market source that says what it is told."""

    def __init__(self, *events):
        self.left = sorted(events, key=lambda event: event["time_ns"])

    def events(self, until_ns):
        due = [event for event in self.left if event["time_ns"] <= until_ns]
        self.left = self.left[len(due) :]
        out = np.zeros(len(due), EVENT)
        for row, event in zip(out, due, strict=True):
            for name, value in event.items():
                row[name] = value
        return out

    def snapshot(self):
        return {}

    def restore(self, state):
        return None


def quote(at_ms, bid, ask, bid_qty=50, ask_qty=60, symbol=0):
    return {"time_ns": START_NS + at_ms * MS, "symbol": symbol, "kind": QUOTE, "bid": bid, "ask": ask,
            "bid_qty": bid_qty, "ask_qty": ask_qty}  # fmt: skip


def trade(at_ms, side, price, qty, order=1, symbol=0):
    return {"time_ns": START_NS + at_ms * MS, "symbol": symbol, "kind": TRADE, "side": side, "price": price, "qty": qty,
            "order": order}  # fmt: skip


def mark(at_ms, mark_e8, index_e8=None, symbol=0):
    return {"time_ns": START_NS + at_ms * MS, "symbol": symbol, "kind": MARK, "mark_e8": mark_e8,
            "index_e8": index_e8 or mark_e8}  # fmt: skip


def make(*events, depth=20):
    return Books(LISTINGS, Script(*events), depth=depth, start_ns=START_NS)


def at(ms):
    return START_NS + ms * MS


def test_events_are_applied_in_order_up_to_the_moment_asked_for():
    books = make(quote(0, 100, 101), quote(10, 102, 103), trade(15, 1, 103, 7), quote(20, 104, 105))
    assert (books.bid[0], books.ask[0]) == (100, 101)
    assert books.advance(at(19)) == -1
    assert (books.bid[0], books.ask[0], books.last[0]) == (102, 103, 103)
    assert books.now_ns == at(19)
    assert books.advance(at(5)) == -1
    assert books.now_ns == at(19)
    assert books.advance(at(20)) == -1
    assert books.bid[0] == 104


def test_the_touch_shows_the_sources_size_and_levels_lie_a_tick_apart():
    books = make(quote(0, 100, 101))
    assert books.bid_qty.shape == books.ask_qty.shape == (3, 20)
    assert (books.bid_qty[0, 0], books.ask_qty[0, 0]) == (50, 60)
    assert (books.bid_qty[0] > 0).all()
    assert [books.displayed(0, 1, 100 - k) for k in range(20)] == books.bid_qty[0].tolist()
    assert [books.displayed(0, -1, 101 + k) for k in range(20)] == books.ask_qty[0].tolist()
    assert books.displayed(0, 1, 101) == 0
    assert books.displayed(0, -1, 100) == 0


def test_sizes_behind_the_touch_grow_with_distance_and_stay_while_the_touch_does():
    books = make(quote(0, 500, 501), quote(10, 500, 501, 70, 80))
    before = [books.displayed(0, 1, price) for price in range(440, 500)]
    books.advance(at(10))
    assert [books.displayed(0, 1, price) for price in range(440, 500)] == before
    assert sum(before[:30]) > sum(before[30:])
    assert len(set(before)) > 30


# ------------------------------------------------------------------------------------------------------------ watches


@pytest.mark.parametrize(
    ("event", "bounds", "stops"),
    [
        (trade(10, -1, 99, 1), (99, NEVER, -NEVER, NEVER), True),
        (trade(10, -1, 100, 1), (99, NEVER, -NEVER, NEVER), False),
        (trade(10, 1, 105, 1), (-NEVER, 105, -NEVER, NEVER), True),
        (trade(10, 1, 104, 1), (-NEVER, 105, -NEVER, NEVER), False),
        (quote(10, 97, 98), (98, NEVER, -NEVER, NEVER), True),
        (quote(10, 97, 99), (98, NEVER, -NEVER, NEVER), False),
        (quote(10, 105, 106), (-NEVER, 105, -NEVER, NEVER), True),
        (quote(10, 104, 106), (-NEVER, 105, -NEVER, NEVER), False),
        (mark(10, 900), (-NEVER, NEVER, 900, NEVER), True),
        (mark(10, 901), (-NEVER, NEVER, 900, NEVER), False),
        (mark(10, 1100), (-NEVER, NEVER, -NEVER, 1100), True),
        (mark(10, 1099), (-NEVER, NEVER, -NEVER, 1100), False),
    ],
)
def test_an_event_that_reaches_a_bound_stops_the_market_right_after_it(event, bounds, stops):
    books = make(quote(0, 100, 101), mark(0, 1000), event, quote(20, 50, 51), mark(20, 1000))
    books.watch(0, *bounds)
    touched = books.advance(at(15))
    assert touched == (0 if stops else -1)
    if stops:
        assert books.now_ns == event["time_ns"] == books.last_event["time_ns"]
        assert all(books.last_event[name] == value for name, value in event.items())
        assert books.touched(0)
        assert books.advance(at(15)) == -1
    assert books.bid[0] > 50


def test_without_a_watch_nothing_stops_and_other_symbols_do_not_either():
    books = make(quote(0, 100, 101), quote(0, 100, 101, symbol=1), trade(5, 1, 500, 1), trade(6, 1, 500, 1, symbol=1))
    books.watch(1, -NEVER, 200, -NEVER, NEVER)
    assert books.advance(at(10)) == 1
    assert books.now_ns == at(6)
    books.unwatch(1)
    assert books.advance(at(10)) == -1


def test_the_market_stops_exactly_where_a_plain_reading_of_its_events_says():
    listings = synthetic_listings(3, 1, START_NS // MS)[:3]
    events = SyntheticSource(listings, seed=4, start_ns=START_NS, rate=200.0).events(START_NS + 30 * SECOND)
    low, high = int(events["bid"][0]) - 20, int(events["ask"][0]) + 20
    expected = []
    for row in events[events["time_ns"] > START_NS]:
        if row["symbol"] != 0:
            continue
        if row["kind"] == TRADE and (row["price"] <= low or row["price"] >= high):
            expected.append((row["time_ns"], TRADE))
        if row["kind"] == QUOTE and (row["ask"] <= low or row["bid"] >= high):
            expected.append((row["time_ns"], QUOTE))
    watched = Books(listings, SyntheticSource(listings, seed=4, start_ns=START_NS, rate=200.0), start_ns=START_NS)
    watched.watch(0, low, high, -NEVER, NEVER)
    stops = []
    while watched.advance(START_NS + 30 * SECOND) == 0:
        stops.append((watched.last_event["time_ns"], watched.last_event["kind"]))
    assert len(expected) > 10
    assert stops == expected


# ------------------------------------------------------------------------------------------------------------- taking


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("limit_away", [None, 0, 3])
def test_an_aggressor_walks_the_displayed_levels_in_order(side, limit_away):
    books = make(quote(0, 100, 101))
    touch, sizes = (101, books.ask_qty[0].tolist()) if side > 0 else (100, books.bid_qty[0].tolist())
    wanted = sum(sizes[:5]) + 1
    limit = None if limit_away is None else touch + side * limit_away
    expected, left = [], wanted
    for k, size in enumerate(sizes):
        if left and (limit_away is None or k <= limit_away):
            expected.append((touch + side * k, min(size, left)))
            left -= min(size, left)
    assert books.take(0, side, wanted, limit) == expected
    moved = int(books.ask[0]) - 101 if side > 0 else 100 - int(books.bid[0])
    assert moved == (5 if limit_away is None else limit_away + 1)
    assert books.last[0] == expected[-1][0]


def test_what_was_taken_is_gone_for_the_next_and_comes_back_over_seconds():
    books = make(quote(0, 100, 101, 50, 60), *(quote(ms, 100, 101, 50, 60) for ms in (1, 1000, 2000, 3999, 4000)))
    assert books.take(0, 1, 60, 101) == [(101, 60)]
    assert books.take(0, 1, 60, 101) == []
    books.advance(at(1))
    assert books.displayed(0, -1, 101) == 1  # one part in four thousand, rounded up
    assert books.displayed(0, 1, 100) == 50
    shown = []
    for ms in (1000, 2000, 3999, 4000):
        books.advance(at(ms))
        shown.append(int(books.ask_qty[0, 0]))
    assert shown == [15, 30, 60, 60]
    assert books.ask[0] == 101


def test_a_partial_taking_leaves_the_rest_for_others_at_that_moment():
    books = make(quote(0, 100, 101, 50, 60))
    assert books.take(0, 1, 25, None) == [(101, 25)]
    assert books.displayed(0, -1, 101) == 35
    assert books.take(0, 1, 35, 101) == [(101, 35)]
    assert books.displayed(0, -1, 101) == 0


def test_a_silent_book_shows_what_came_back_at_the_next_mark():
    books = make(quote(0, 100, 101), mark(500, 1000), mark(5000, 1000))
    books.take(0, 1, 60, 101)
    assert books.ask[0] == 102
    books.advance(at(500))
    assert (books.ask[0], books.ask_qty[0, 0]) == (101, 8)
    books.advance(at(5000))
    assert books.ask_qty[0, 0] == 60


def test_prints_of_others_do_not_pass_through_what_we_left():
    books = make(quote(0, 100, 101), trade(10, 1, 101, 3), trade(11, -1, 100, 3))
    books.take(0, 1, 60, 101)
    books.published()
    books.advance(at(11))
    prints = [(row["side"], row["price"]) for row in books.published() if row["kind"] == TRADE]
    assert prints == [(1, 102), (-1, 100)]


def test_taking_never_changes_what_the_source_says_later():
    listings = synthetic_listings(3, 1, START_NS // MS)[:3]
    plain, taken = (
        Books(listings, SyntheticSource(listings, seed=2, start_ns=START_NS, rate=100.0), start_ns=START_NS)
        for _ in range(2)
    )
    for second in range(1, 6):
        for books in (plain, taken):
            books.advance(START_NS + second * SECOND)
        taken.take(0, 1, int(taken.ask_qty[0, :4].sum()), None)
        assert taken.ask[0] > plain.ask[0]
    for books in (plain, taken):
        books.advance(START_NS + 12 * SECOND)
    for name in ("bid", "ask", "mark_e8", "index_e8", "bid_qty", "ask_qty"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(taken, name))


def test_a_symbol_without_a_price_gives_nothing():
    assert make(quote(0, 100, 101)).take(1, 1, 10, None) == []


moves = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(["quote", "trade", "mark", "take"]),
        st.integers(30, 60),
        st.integers(1, 5),
        st.integers(1, 400),
        st.sampled_from([1, -1]),
        st.integers(0, 900),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(moves)
def test_no_sequence_of_events_and_takings_breaks_the_book(steps):
    opening = [quote(0, 40, 41, symbol=symbol) for symbol in (0, 1)]
    script, when, takes = list(opening), 0, []
    for symbol, kind, price, width, qty, side, wait in steps:
        when += wait
        if kind == "quote":
            script.append(quote(when, price, price + width, qty, qty + 1, symbol=symbol))
        elif kind == "trade":
            script.append(trade(when, side, price, qty, order=when, symbol=symbol))
        elif kind == "mark":
            script.append(mark(when, price * 1000, symbol=symbol))
        else:
            takes.append((when, symbol, side, qty))
    books = make(*script)
    for moment, symbol, side, qty in takes:
        books.advance(at(moment))
        shown = books.ask_qty[symbol] if side > 0 else books.bid_qty[symbol]
        available = int(shown.sum())
        fills = books.take(symbol, side, qty, None)
        assert sum(steps for _, steps in fills) == min(qty, available)
        assert (books.bid[:2] < books.ask[:2]).all()
        assert (books.bid_qty >= 0).all()
        assert (books.ask_qty >= 0).all()
        assert (books.bid_qty[:2, 0] > 0).all()
        assert (books.ask_qty[:2, 0] > 0).all()
    books.advance(at(when))
    records = books.published()
    assert (np.diff(records["time_ns"]) >= 0).all()
    for symbol in (0, 1):
        mine = records[records["symbol"] == symbol]
        for kind in (QUOTE, TRADE):
            assert (np.diff(mine["id"][mine["kind"] == kind]) > 0).all()
        assert (np.diff(mine["agg_id"][mine["kind"] == TRADE]) >= 0).all()
        quotes = mine[mine["kind"] == QUOTE]
        assert (quotes["bid"] < quotes["ask"]).all()
        assert (quotes["bid_qty"] > 0).all()


# -------------------------------------------------------------------------------------------------------- publication


def test_published_drains_once_and_prints_of_one_order_at_one_price_share_an_aggregate():
    prints = [(5, 101, 3, 9), (5, 101, 4, 9), (5, 102, 1, 9), (6, 102, 1, 10)]
    books = make(quote(0, 100, 101), *(trade(ms, 1, price, qty, order) for ms, price, qty, order in prints))
    books.advance(at(10))
    records = books.published()
    assert len(books.published()) == 0
    trades = records[records["kind"] == TRADE]
    first = trades["agg_id"][0]
    assert (trades["agg_id"] - first).tolist() == [0, 0, 1, 2]
    assert np.diff(trades["id"]).tolist() == [1, 1, 1]


def test_our_own_takings_are_published_as_one_order():
    books = make(quote(0, 100, 101))
    books.published()
    fills = books.take(0, 1, 60 + 5, None)
    records = books.published()
    trades, quotes = records[records["kind"] == TRADE], records[records["kind"] == QUOTE]
    assert list(zip(trades["price"].tolist(), trades["qty"].tolist(), strict=True)) == fills
    assert len(set(trades["order"].tolist())) == 1
    assert (trades["side"] == 1).all()
    assert (quotes["ask"][0], quotes["ask_qty"][0]) == (102, books.ask_qty[0, 0])
    books.take(0, 1, 1, None)
    assert books.published()["order"][0] != trades["order"][0]


def test_an_unchanged_quote_is_not_published_again():
    books = make(quote(0, 100, 101), quote(5, 100, 101), quote(6, 100, 101, 51))
    books.advance(at(6))
    assert books.published()["time_ns"].tolist() == [at(0), at(6)]


def test_marks_carry_average_and_funding_and_funding_time_moves_on():
    index = 100 * 10**8
    marks = [mark(k * 60_000, index + index // 100, index) for k in range(600)]
    books = make(quote(0, 100, 101), *marks)
    first = int(books.next_funding_ms[0])
    assert 0 < first - START_NS // MS <= 8 * 3_600_000
    assert first % (8 * 3_600_000) == 0
    assert books.advance(at(600 * 60_000)) == -1
    assert books.next_funding_ms[0] == first + 16 * 3_600_000  # ten hours, and the first was two hours away
    # A premium of 1 % for long: the average tends to it and the clamp takes 0.05 % off.
    assert 0.5 * 1_000_000 < books.funding_e8[0] < 1_000_000 - 50_000
    assert books.average_e8[0] == pytest.approx(index * 1.01, rel=1e-6)


def test_how_often_the_market_is_advanced_does_not_matter():
    listings = synthetic_listings(5, 1, START_NS // MS)
    once, often = (
        Books(listings, SyntheticSource(listings, seed=3, start_ns=START_NS, rate=300.0), start_ns=START_NS)
        for _ in range(2)
    )
    once.advance(START_NS + 5 * SECOND)
    for k in range(1, 1001):
        often.advance(START_NS + k * 5 * MS)
    np.testing.assert_array_equal(once.published(), often.published())


# --------------------------------------------------------------------------------------------------------------- state


def test_a_restored_exchange_goes_on_as_if_it_had_never_stopped():
    listings = synthetic_listings(6, 1, START_NS // MS)

    def new():
        source = SyntheticSource(listings, seed=3, start_ns=START_NS, rate=200.0)
        return Books(listings, source, start_ns=START_NS)

    whole, part = new(), new()
    for books in (whole, part):
        books.advance(START_NS + 3 * SECOND + 50 * MS)
        books.take(2, -1, int(books.bid_qty[2, :3].sum()), None)
        books.watch(0, 1, 2, 3, 4)
    state = part.snapshot()
    resumed = new()
    resumed.advance(START_NS + SECOND)  # state that the snapshot must replace altogether
    resumed.restore(state)
    part.advance(START_NS + 9 * SECOND)  # and that must not reach into the snapshot
    for books in (whole, resumed):
        books.unwatch(0)
        books.advance(START_NS + 8 * SECOND)
    np.testing.assert_array_equal(whole.published(), resumed.published())
    for name in ("bid", "ask", "last", "bid_qty", "ask_qty", "mark_e8", "funding_e8", "update_id"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(resumed, name))
    assert whole.take(2, -1, 10, None) == resumed.take(2, -1, 10, None)


def test_a_state_of_other_symbols_is_refused():
    listings = synthetic_listings(2, 1, START_NS // MS)
    other = Books(listings, SyntheticSource(listings, seed=3, start_ns=START_NS), start_ns=START_NS)
    with pytest.raises(ConfigError, match="other symbols"):
        make(quote(0, 100, 101)).restore(other.snapshot())
