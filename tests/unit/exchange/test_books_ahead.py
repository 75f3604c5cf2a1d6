"""Books of a replay: looking ahead to the next touch, and keeping quiet about what is known already."""

from __future__ import annotations

import numpy as np

from aegis.exchange.books import Books
from aegis.exchange.synthetic import SyntheticSource
from aegis.kernels.books import MARK, TRADE
from tests.unit.exchange.test_books import LISTINGS, START_NS


def test_a_look_ahead_sees_the_next_touch_and_changes_nothing():
    listings = LISTINGS
    books = Books(listings, SyntheticSource(listings, seed=5, start_ns=START_NS, rate=300.0), start_ns=START_NS)
    stops = 0
    for round_ in range(40):
        books.take(round_ % 2, 1, 50, None)  # what is taken is missing for seconds
        for symbol in range(2):
            bid = int(books.bid[symbol])
            books.watch(symbol, bid - 3, bid + 3, 0, 2**62)
        until_ns = books.now_ns + 200_000_000
        before = books.snapshot()
        expected = books.next_touch_ns(until_ns)
        after = books.snapshot()
        for name in ("books.state", "books.levels", "books.taken", "books.public"):
            np.testing.assert_array_equal(before[name], after[name])
        touched = books.advance(until_ns)
        assert (touched >= 0) == (expected is not None)
        if touched >= 0:
            assert books.now_ns == expected
            stops += 1
        books.unwatch(0)
        books.unwatch(1)
        books.advance(until_ns)
    assert 5 < stops < 40


def test_muted_books_publish_marks_and_our_own_doing_and_stand_where_others_do():
    def stand(mute):
        source = SyntheticSource(LISTINGS, seed=5, start_ns=START_NS, rate=300.0)
        books = Books(LISTINGS, source, start_ns=START_NS, mute=mute)
        books.advance(START_NS + 2_000_000_000)
        books.published()
        fills = books.take(0, 1, 50, None)
        books.advance(START_NS + 4_000_000_000)
        return books, fills, books.published()

    (loud, fills, everything), (muted, same, some) = stand(False), stand(True)
    assert fills == same
    np.testing.assert_array_equal(loud.snapshot()["books.state"], muted.snapshot()["books.state"])
    np.testing.assert_array_equal(loud.bid_qty, muted.bid_qty)
    assert (some["kind"] == MARK).sum() == (everything["kind"] == MARK).sum() > 0
    assert (some["kind"] == TRADE).sum() == len(fills) > 0
