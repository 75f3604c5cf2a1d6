"""The books that partial depth streams tell: the newest whole one of each symbol, or none."""

from __future__ import annotations

from typing import Any

import pytest

from aegis.engine.depths import FRESH_NS, LEVELS, Depths
from aegis.kernels.market import AGG_TRADE, new_table
from aegis.venue import strict
from aegis.venue.market_events import Depth
from tests.support.depth_cases import depth_text, ladder

MS = 1_000_000
NOW_MS = 1_790_000_000_000
NOW_NS = NOW_MS * MS
BIDS = ladder(100.0, -0.1, "1.000", "2.500")
ASKS = ladder(100.1, 0.1, "4.000", "0.250", "9.000")


def make() -> tuple[Any, Depths]:
    table = new_table(["ETHUSDT", "BTCUSDT"], [3, 3], 60_000, AGG_TRADE)
    return table, Depths(table)


def take(depths: Depths, table: Any, u: int = 1, bids: Any = BIDS, asks: Any = ASKS, **more: Any) -> None:
    (event,) = strict.decode(depth_text(NOW_MS, u, bids, asks, **more), table, NOW_NS)
    assert isinstance(event, Depth)
    assert event.partial
    depths.take(event, NOW_NS)


def test_a_book_is_told_level_by_level_with_what_they_display_together() -> None:
    table, depths = make()
    take(depths, table)
    book = depths.fresh(1, NOW_NS + 30 * MS)
    assert book is not None
    assert (book.qty_decimals, book.age_ns) == (3, 30 * MS)
    bids, asks = book.ranks
    assert bids[:3] == [-100.0, -99.9, float("inf")]
    assert asks[:4] == [100.1, 100.2, 100.3, float("inf")]
    assert [list(lots[:4]) for lots in book.lots] == [[0, 1000, 3500, 0], [0, 4000, 4250, 13250]]
    assert depths.fresh(0, NOW_NS) is None, "the other symbol has none"


def test_a_newer_book_replaces_all_of_the_one_before() -> None:
    table, depths = make()
    take(depths, table, 1)
    take(depths, table, 2, BIDS[:1], [])
    book = depths.fresh(1, NOW_NS)
    assert book is not None
    assert book.ranks[0][:2] == [-100.0, float("inf")]
    assert book.ranks[1] == [float("inf")] * LEVELS
    assert depths.counts == {"applied": 2}


@pytest.mark.parametrize("u", [4, 5])
def test_an_older_or_repeated_update_never_overwrites_a_newer_one(u: int) -> None:
    table, depths = make()
    take(depths, table, 5)
    before = depths.fresh(1, NOW_NS)
    take(depths, table, u, ladder(90.0, -0.1, "1"), ladder(95.0, 0.1, "1"))
    assert depths.fresh(1, NOW_NS) == before
    assert depths.counts == {"applied": 1, "stale": 1}


@pytest.mark.parametrize(
    ("bids", "asks"),
    [
        (ladder(100.1, -0.1, "1"), ladder(100.1, 0.1, "1")),  # locked
        (ladder(100.3, -0.1, "1"), ladder(100.1, 0.1, "1")),  # crossed
        (ladder(100.0, 0.1, "1", "1"), []),  # bids that rise
        (BIDS, ladder(100.5, -0.1, "1", "1")),  # asks that fall
        (BIDS, ladder(100.1, 0.0, "1", "1")),  # a price twice
        (BIDS, [("100.1", "0")]),
        (BIDS, [("0", "1")]),
        (BIDS, [("100.1", "0.0001")]),  # no whole lots
        (BIDS, [("1" * 16, "1")]),
        (BIDS, [("100.1", "9" * 16)]),
        (BIDS, ladder(100.1, 0.1, *["999999999999"] * 20)),  # more than exact numbers reach
        (ladder(100.0, -0.1, *["1"] * 21), ASKS),
    ],
)
def test_what_is_no_book_is_counted_and_dropped(bids: Any, asks: Any) -> None:
    table, depths = make()
    take(depths, table, 1)
    before = depths.fresh(1, NOW_NS)
    take(depths, table, 2, bids, asks)
    assert depths.counts == {"applied": 1, "bad": 1}
    assert depths.fresh(1, NOW_NS) == before
    take(depths, table, 2, BIDS[:1], ASKS)
    assert depths.counts == {"applied": 2, "bad": 1}


def test_a_symbol_that_nobody_trades_is_counted() -> None:
    table, depths = make()
    take(depths, table, symbol="XRPUSDT")
    assert depths.counts == {"unknown": 1}


@pytest.mark.parametrize(("event_ms", "recv_ms"), [(0, 0), (-100, 0), (0, 100)])
def test_a_book_ages_by_the_venues_clock_and_by_ours(event_ms: int, recv_ms: int) -> None:
    table, depths = make()
    (event,) = strict.decode(depth_text(NOW_MS + event_ms, 1, BIDS, ASKS), table, NOW_NS)
    assert isinstance(event, Depth)
    depths.take(event, NOW_NS + recv_ms * MS)
    since_ns = NOW_NS + min(event_ms, recv_ms) * MS
    assert depths.fresh(1, since_ns + FRESH_NS) is not None
    assert depths.fresh(1, since_ns + FRESH_NS + 1) is None


@pytest.mark.parametrize(
    ("stream", "partial"),
    [
        ("depth5", True), ("depth10@500ms", True), ("depth20@100ms", True), ("depth", False), ("depth@100ms", False),
        ("depth@500ms", False), ("rpiDepth@500ms", False), ("depth20@100msx", False), (None, False),
    ],
)  # fmt: skip
def test_only_the_name_of_its_stream_makes_a_message_a_whole_book(stream: str | None, partial: bool) -> None:
    table, _ = make()
    (event,) = strict.decode(depth_text(NOW_MS, 1, BIDS, ASKS, stream=stream), table, NOW_NS)
    assert isinstance(event, Depth)
    assert event.partial is partial
