"""Every rule of armed levels, tick by tick."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from aegis.kernels import levels, market, wire
from aegis.kernels.layout import HIT
from aegis.kernels.levels import (
    ASK,
    BID,
    BUY,
    DEFAULT,
    FULL,
    LAST,
    MARK,
    NEVER_NS,
    PASSED,
    REFUSED,
    RING_FULL,
    SELL,
    arm,
    disarm,
    disarm_all,
    take_hits,
)
from aegis.kernels.market import AGG_TRADE, APPLIED, DROPPED, FIRED, HITS_FULL, mark_gap, new_table, resume, suspend
from aegis.kernels.ticks import apply_mark, apply_quote, apply_trade


@pytest.fixture
def table() -> market.Table:
    return new_table(["BTCUSDT", "ETHUSDT"], [3, 3], 60_000, AGG_TRADE)


class Ticks:
    """Says the next tick of BTCUSDT; ids and times rise by themselves."""

    def __init__(self, table: market.Table) -> None:
        self.table, self.id = table, 0

    def quote(self, bid: float, ask: float, now_ns: int = 0, symbol: int = 0) -> int:
        self.id += 1
        return int(apply_quote(self.table, symbol, self.id, self.id, self.id, bid, 1.0, ask, 1.0, now_ns))

    def trade(self, price: float) -> int:
        self.id += 1
        return int(apply_trade(self.table, 0, AGG_TRADE, self.id, self.id, self.id, price, 1, False, True, 0))

    def mark(self, price: float) -> int:
        self.id += 1
        return int(apply_mark(self.table, 0, self.id, price, price, 0.0, 0, 0))


@pytest.fixture
def say(table: market.Table) -> Ticks:
    return Ticks(table)


def hits(table: market.Table) -> list[Any]:
    out = np.zeros(64, HIT)
    return list(out[: take_hits(table, out)])


def arm_plain(table: market.Table, side: int, price: float, identity: int = 1, source: int = DEFAULT) -> int:
    return int(arm(table, 0, side, source, price, identity, NEVER_NS, False, 0))


@pytest.mark.parametrize(
    ("side", "source", "far", "reached"),
    [
        # the price watched is the second of the pair for ASK, the first for BID
        (BUY, DEFAULT, (90.0, 100.1), (90.0, 100.0)),
        (SELL, DEFAULT, (99.9, 110.0), (100.0, 110.0)),
        (BUY, BID, (100.1, 101.0), (99.0, 101.0)),
        (SELL, ASK, (90.0, 99.9), (90.0, 100.5)),
    ],
)
def test_a_quote_level_fires_at_its_price_and_not_before(
    table: market.Table, say: Ticks, side: int, source: int, far: tuple[float, float], reached: tuple[float, float]
) -> None:
    assert arm_plain(table, side, 100.0, source=source) >= 0
    assert say.quote(*far) == APPLIED
    assert say.trade(100.0) == APPLIED
    assert say.mark(100.0) == APPLIED
    assert say.quote(*reached) == FIRED
    (hit,) = hits(table)
    assert (hit["id"], hit["side"], hit["level"], hit["first_after_gap"]) == (1, side, 100.0, 0)
    assert hit["source"] == (source or (ASK if side == BUY else BID))
    assert hit["price"] == reached[0 if hit["source"] == BID else 1]
    assert hit["event_ms"] == say.id


@pytest.mark.parametrize("side", [BUY, SELL])
@pytest.mark.parametrize("source", [LAST, MARK])
def test_a_named_source_alone_fires_its_level(table: market.Table, say: Ticks, side: int, source: int) -> None:
    arm_plain(table, side, 100.0, source=source)
    here, other = (say.trade, say.mark) if source == LAST else (say.mark, say.trade)
    assert say.quote(100.0, 100.0) == APPLIED
    assert other(100.0) == APPLIED
    assert here(100.0 + side) == APPLIED
    assert here(100.0) == FIRED
    assert [hit["source"] for hit in hits(table)] == [source]


def test_a_level_fires_once_and_disarms_itself(table: market.Table, say: Ticks) -> None:
    arm_plain(table, BUY, 100.0)
    assert say.quote(99.0, 99.5) == FIRED
    assert say.quote(98.0, 98.5) == APPLIED
    assert len(hits(table)) == 1
    assert table.symbols["armed_quote"][0] == 0
    assert disarm(table, 0, 1) == 0


def test_a_tick_fires_every_level_it_reaches_in_slot_order(table: market.Table, say: Ticks) -> None:
    for identity, price in ((5, 100.0), (6, 90.0), (7, 101.0)):
        arm_plain(table, BUY, price, identity)
    say.quote(94.0, 95.0)
    assert [hit["id"] for hit in hits(table)] == [5, 7]


def test_eight_levels_fit_and_an_unread_hit_keeps_its_slot(table: market.Table, say: Ticks) -> None:
    for identity in range(8):
        assert arm_plain(table, BUY, 100.0 - identity, identity) == identity
    assert arm_plain(table, BUY, 50.0, 99) == FULL
    say.quote(99.0, 100.0)
    assert arm_plain(table, BUY, 50.0, 99) == FULL
    assert [hit["id"] for hit in hits(table)] == [0]
    assert arm_plain(table, BUY, 50.0, 99) == 0


def test_a_level_already_passed_is_refused_or_fires_by_flag(table: market.Table, say: Ticks) -> None:
    say.quote(98.0, 99.0)
    assert arm(table, 0, BUY, DEFAULT, 100.0, 1, NEVER_NS, False, 0) == PASSED
    assert not hits(table)
    assert arm(table, 0, BUY, DEFAULT, 100.0, 1, NEVER_NS, True, 0) >= 0
    (hit,) = hits(table)
    assert (hit["price"], hit["event_ms"]) == (99.0, say.id)
    assert say.quote(98.0, 99.0) == APPLIED


def test_a_refused_re_arming_leaves_the_old_level(table: market.Table, say: Ticks) -> None:
    say.quote(98.0, 99.0)
    arm_plain(table, BUY, 90.0, 1)
    assert arm_plain(table, BUY, 100.0, 1) == PASSED
    assert say.quote(89.0, 89.5) == FIRED
    assert hits(table)[0]["level"] == 90.0


def test_re_arming_an_id_replaces_its_level_under_a_new_generation(table: market.Table, say: Ticks) -> None:
    slot = arm_plain(table, BUY, 100.0, 1)
    first = table.levels["generation"][0, slot]
    assert arm_plain(table, SELL, 120.0, 1) == slot
    assert table.levels["generation"][0, slot] > first
    assert say.quote(99.0, 100.0) == APPLIED
    assert say.quote(120.0, 121.0) == FIRED


@pytest.mark.parametrize("how", ["disarm", "disarm_all", "re-arm"])
def test_an_unread_hit_of_a_stale_generation_is_dropped_and_counted(table: market.Table, say: Ticks, how: str) -> None:
    arm_plain(table, BUY, 100.0, 1)
    say.quote(99.0, 99.5)
    if how == "disarm":
        assert disarm(table, 0, 1) == 1
    elif how == "disarm_all":
        assert disarm_all(table, 0) == 1
    else:
        assert arm_plain(table, BUY, 50.0, 1) >= 0
    assert levels.pending_hits(table) == 1
    assert not hits(table)
    assert market.counts(table)["stale_hits"] == 1
    assert levels.pending_hits(table) == 0


def test_an_expired_level_does_not_fire_and_gives_its_slot_back(table: market.Table, say: Ticks) -> None:
    assert arm(table, 0, BUY, DEFAULT, 100.0, 1, 1000, False, 0) == 0
    assert say.quote(99.0, 101.0, now_ns=999) == APPLIED
    assert say.quote(99.0, 99.5, now_ns=1000) == APPLIED
    assert market.counts(table)["levels_expired"] == 1
    assert table.symbols["armed_quote"][0] == 0
    assert arm(table, 0, BUY, DEFAULT, 90.0, 2, 2000, False, 1000) == 0


def test_an_expired_level_makes_room_when_the_symbol_is_silent(table: market.Table) -> None:
    for identity in range(8):
        arm(table, 0, BUY, LAST, 100.0, identity, 1000, False, 0)
    assert arm(table, 0, BUY, DEFAULT, 90.0, 99, 2000, False, 999) == FULL
    assert arm(table, 0, BUY, DEFAULT, 90.0, 99, 2000, False, 1000) == 0
    assert (table.symbols["armed_last"][0], table.symbols["armed_quote"][0]) == (7, 1)


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_a_price_that_is_none_is_refused(table: market.Table, price: float) -> None:
    assert arm_plain(table, BUY, price) == REFUSED


def test_arguments_out_of_range_are_refused(table: market.Table) -> None:
    assert arm(table, 2, BUY, DEFAULT, 1.0, 1, NEVER_NS, False, 0) == REFUSED
    assert arm(table, -1, BUY, DEFAULT, 1.0, 1, NEVER_NS, False, 0) == REFUSED
    assert arm(table, 0, 0, DEFAULT, 1.0, 1, NEVER_NS, False, 0) == REFUSED
    assert arm(table, 0, BUY, MARK + 1, 1.0, 1, NEVER_NS, False, 0) == REFUSED
    assert arm(table, 0, BUY, DEFAULT, 1.0, 1, 5, False, 5) == REFUSED


def test_the_empty_side_of_a_book_reaches_nothing(table: market.Table, say: Ticks) -> None:
    arm_plain(table, BUY, 100.0)
    assert say.quote(99.0, 0.0) == APPLIED
    assert not hits(table)


def test_an_older_quote_fires_nothing(table: market.Table, say: Ticks) -> None:
    say.quote(110.0, 111.0)
    arm_plain(table, BUY, 100.0)
    assert apply_quote(table, 0, 0, 1, 1, 98.0, 1.0, 99.0, 1.0, 0) == DROPPED
    assert not hits(table)


def test_another_symbols_tick_fires_nothing(table: market.Table, say: Ticks) -> None:
    arm_plain(table, BUY, 100.0)
    assert say.quote(98.0, 99.0, symbol=1) == APPLIED


def test_a_suspended_symbol_fires_after_resume_and_says_that_it_did_not_watch(table: market.Table, say: Ticks) -> None:
    arm_plain(table, BUY, 100.0)
    suspend(table, 0)
    assert say.quote(98.0, 99.0) == APPLIED
    # While nobody watches, the newest price is no reason to refuse.
    assert arm_plain(table, BUY, 100.0, 2) >= 0
    resume(table, 0)
    assert say.quote(97.0, 98.0) == FIRED
    assert [hit["first_after_gap"] for hit in hits(table)] == [1, 1]


def test_only_the_first_tick_of_each_source_after_a_gap_is_marked(table: market.Table, say: Ticks) -> None:
    arm_plain(table, BUY, 100.0, 1)
    arm_plain(table, BUY, 90.0, 2)
    arm_plain(table, BUY, 100.0, 3, source=LAST)
    mark_gap(table, 0)
    say.mark(50.0)
    say.quote(99.0, 99.5)
    say.quote(89.0, 89.5)
    say.trade(99.0)
    assert [(hit["id"], hit["first_after_gap"]) for hit in hits(table)] == [(1, 1), (2, 0), (3, 1)]


def test_a_full_ring_stops_the_tick_before_it_changes_anything(table: market.Table, say: Ticks) -> None:
    ring = len(table.hits)
    for turn in range(ring):  # stale hits stay in the ring until they are read
        arm_plain(table, BUY, 1e6 - turn, 1)
        say.quote(1.0, 1e6 - turn)
        disarm(table, 0, 1)
        mark_gap(table, 0)  # so that the next arming is not refused as passed
    assert levels.pending_hits(table) == ring
    say.quote(1.0, 200.0)
    arm_plain(table, BUY, 100.0, 2)
    before = table.symbols.copy()
    assert say.quote(98.0, 99.0) == HITS_FULL
    assert table.symbols.tobytes() == before.tobytes()
    assert arm(table, 0, BUY, DEFAULT, 300.0, 3, NEVER_NS, True, 0) == RING_FULL
    assert not hits(table)
    assert say.quote(98.0, 99.0) == FIRED
    assert [hit["id"] for hit in hits(table)] == [2]


def framed(**event: object) -> bytes:
    return wire.frame(json.dumps(event).encode())


def test_the_scan_stops_behind_the_tick_that_fires_and_resumes_there(table: market.Table) -> None:
    def quote(u: int, ask: str) -> bytes:
        return framed(e="bookTicker", u=u, E=u, T=u, s="BTCUSDT", b="1", B="1", a=ask, A="1")

    frames = [quote(1, "101"), quote(2, "100"), quote(3, "90")]
    arm_plain(table, BUY, 100.0, 1)
    data = np.frombuffer(b"".join(frames), np.uint8).copy()
    result = wire.new_result()
    assert wire.scan(data, 0, len(data), 0, table, result) == wire.HIT
    assert result[wire.NEXT] == len(frames[0]) + len(frames[1])
    assert table.symbols["ask"][0] == 100.0
    assert [hit["price"] for hit in hits(table)] == [100.0]
    # A level armed because of the hit sees the rest of the same read.
    arm_plain(table, BUY, 95.0, 2)
    assert wire.scan(data, int(result[wire.NEXT]), len(data), 0, table, result) == wire.HIT
    assert [hit["price"] for hit in hits(table)] == [90.0]


def test_an_array_acts_whole_and_the_scan_stops_behind_it(table: market.Table) -> None:
    marks = [
        {"e": "markPriceUpdate", "E": 5, "s": symbol, "p": price, "i": "1", "r": "0", "T": 9}
        for symbol, price in (("BTCUSDT", "99"), ("XUSDT", "1"), ("ETHUSDT", "7"))
    ]
    arm_plain(table, BUY, 100.0, 1, source=MARK)
    arm(table, 1, SELL, MARK, 6.0, 2, NEVER_NS, False, 0)
    data = np.frombuffer(wire.frame(json.dumps(marks).encode()), np.uint8).copy()
    result = wire.new_result()
    assert wire.scan(data, 0, len(data), 0, table, result) == wire.HIT
    assert result[wire.NEXT] == len(data)
    assert list(table.symbols["mark"]) == [99.0, 7.0]
    assert [hit["id"] for hit in hits(table)] == [1, 2]
    assert market.counts(table)["unknown_symbol"] == 1


def test_hits_are_read_one_at_a_time_so_that_a_handler_can_disarm_the_next(table: market.Table, say: Ticks) -> None:
    arm_plain(table, BUY, 100.0, 1)
    arm_plain(table, BUY, 100.0, 2)
    say.quote(98.0, 99.0)
    one = np.zeros(1, HIT)
    assert take_hits(table, one) == 1
    disarm(table, 0, 2)
    assert take_hits(table, one) == 0
