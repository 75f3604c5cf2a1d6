"""The local order book."""

from __future__ import annotations

from aegis.core.book import BookState, DepthDelta, Level, LocalBook
from tests.support.core_cases import BTC, D


def levels(*pairs: tuple[int, int]) -> tuple[Level, ...]:
    return tuple((D(price), D(qty)) for price, qty in pairs)


Levels = tuple[Level, ...]


def delta(first: int, final: int, previous: int, bids: Levels = (), asks: Levels = ()) -> DepthDelta:
    return DepthDelta(first_id=first, final_id=final, previous_id=previous, bids=bids, asks=asks)


def seeded() -> LocalBook:
    book = LocalBook(BTC)
    book.on_snapshot(100, levels((9, 1), (8, 2)), levels((10, 1), (11, 2)))
    assert book.on_delta(delta(99, 105, 98)) is BookState.VALID
    return book


def test_the_venues_algorithm_bridges_snapshot_and_stream() -> None:
    book = LocalBook(BTC)
    book.on_delta(delta(80, 90, 79, bids=levels((1, 1))))
    book.on_delta(delta(95, 105, 90, bids=levels((9, 5))))
    book.on_delta(delta(110, 120, 105, asks=levels((10, 0), (12, 3))))
    assert book.state is BookState.WAITING
    assert book.on_snapshot(100, levels((9, 1), (8, 2)), levels((10, 1), (11, 2))) is BookState.VALID
    assert book.bids(5) == list(levels((9, 5), (8, 2)))
    assert book.asks(5) == list(levels((11, 2), (12, 3)))
    assert (book.best_bid, book.best_ask) == ((D(9), D(5)), (D(11), D(2)))
    assert (book.stale, book.gaps, book.last_id) == (1, 0, 120)


def test_a_snapshot_alone_is_not_used() -> None:
    book = LocalBook(BTC)
    assert book.on_snapshot(100, levels((9, 1)), levels((10, 1))) is BookState.BRIDGING
    assert (book.best_bid, book.best_ask, book.bids(1), book.asks(1)) == (None, None, [], [])


def test_a_snapshot_older_than_the_stream_is_a_gap() -> None:
    book = LocalBook(BTC)
    book.on_delta(delta(110, 120, 105))
    assert book.on_snapshot(100, levels((9, 1)), ()) is BookState.WAITING
    assert book.gaps == 1
    assert book.on_snapshot(115, levels((9, 1)), ()) is BookState.VALID


def test_a_broken_chain_empties_the_book() -> None:
    book = seeded()
    assert book.on_delta(delta(120, 130, 119)) is BookState.WAITING
    assert (book.gaps, book.best_bid) == (1, None)


def test_a_repeated_or_older_event_changes_nothing() -> None:
    book = seeded()
    assert book.on_delta(delta(99, 105, 98, bids=levels((9, 7)))) is BookState.VALID
    assert (book.stale, book.best_bid) == (1, (D(9), D(1)))


def test_removing_an_unknown_level_is_normal() -> None:
    book = seeded()
    assert book.on_delta(delta(106, 107, 105, bids=levels((5, 0), (9, 0)))) is BookState.VALID
    assert book.best_bid == (D(8), D(2))


def test_a_crossed_book_is_not_believed() -> None:
    book = seeded()
    assert book.on_delta(delta(106, 107, 105, bids=levels((10, 1)))) is BookState.WAITING
    assert book.crossed == 1


def test_the_waiting_buffer_is_bounded() -> None:
    book = LocalBook(BTC, buffer=2)
    for number in range(5):
        book.on_delta(delta(number, number, number - 1))
    assert book.on_snapshot(2, levels((9, 1)), ()) is BookState.WAITING
    assert book.on_snapshot(3, levels((9, 1)), ()) is BookState.VALID
