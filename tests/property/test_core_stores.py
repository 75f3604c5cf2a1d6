"""Pool and book against dictionaries."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aegis.core.book import BookState, DepthDelta, LocalBook
from aegis.core.errors import InvariantBroken
from aegis.core.pool import SIGNAL, Pool, PoolExhausted
from tests.support.core_cases import BTC, D


class PoolMachine(RuleBasedStateMachine):
    """A pool of three rows beside a dict of what was written to each live handle."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool("signal", SIGNAL, 3)
        self.live: dict[int, int] = {}
        self.dead: list[int] = []

    @rule(value=st.integers(1, 10**9))
    def acquire(self, value: int) -> None:
        if len(self.live) == 3:
            with pytest.raises(PoolExhausted):
                self.pool.acquire()
            return
        handle = self.pool.acquire()
        assert handle not in self.live
        assert handle not in self.dead
        assert self.pool.row(handle)["zone"] == 0
        self.pool.row(handle)["zone"] = value
        self.live[handle] = value

    @rule(pick=st.integers(0, 2))
    def release(self, pick: int) -> None:
        if self.live:
            handle = sorted(self.live)[pick % len(self.live)]
            self.pool.release(handle)
            del self.live[handle]
            self.dead.append(handle)

    @rule(pick=st.integers(0, 100))
    def touch_a_dead_handle(self, pick: int) -> None:
        if self.dead:
            with pytest.raises(InvariantBroken):
                self.pool.release(self.dead[pick % len(self.dead)])

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert self.pool.live() == len(self.live)
        assert set(self.pool.report().oldest) == set(self.live)
        for handle, value in self.live.items():
            assert self.pool.row(handle)["zone"] == value


TestPool = PoolMachine.TestCase

LEVELS = st.dictionaries(st.integers(1, 20), st.integers(0, 3), max_size=4)
Sides = tuple[dict[int, int], dict[int, int]]


def _delta(first: int, final: int, previous: int, bids: dict[int, int], asks: dict[int, int]) -> DepthDelta:
    return DepthDelta(
        first_id=first,
        final_id=final,
        previous_id=previous,
        bids=tuple((D(price), D(qty)) for price, qty in bids.items()),
        asks=tuple((D(price), D(qty)) for price, qty in asks.items()),
    )


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[DepthDelta], dict[int, Sides]]:
    """A true stream with sparse ids (bids below 100, asks above) and the true book after each event."""
    book: Sides = ({}, {})
    truth: dict[int, Sides] = {10: ({}, {})}
    deltas, last = [], 10
    for _ in range(draw(st.integers(1, 15))):
        first = last + draw(st.integers(1, 3))
        final = first + draw(st.integers(0, 3))
        bids = draw(LEVELS)
        asks = {price + 100: qty for price, qty in draw(LEVELS).items()}
        for side, change in zip(book, (bids, asks), strict=True):
            side.update(change)
            for price in [price for price, qty in side.items() if not qty]:
                del side[price]
        deltas.append(_delta(first, final, last, bids, asks))
        truth[final] = (dict(book[0]), dict(book[1]))
        last = final
    return deltas, truth


def _sorted(side: dict[int, int], *, best_high: bool) -> list[tuple[Decimal, Decimal]]:
    return [(D(price), D(qty)) for price, qty in sorted(side.items(), reverse=best_high)]


@given(streams(), st.data())
def test_no_gap_goes_unseen_under_loss_repetition_and_disorder(
    stream: tuple[list[DepthDelta], dict[int, Sides]], data: st.DataObject
) -> None:
    deltas, truth = stream
    faults = data.draw(st.lists(st.sampled_from(["ok", "ok", "ok", "drop", "twice", "swap", "snapshot"]), min_size=1))
    arriving: list[DepthDelta | int] = []
    for number, delta in enumerate(deltas):
        fault = faults[number % len(faults)]
        if fault == "drop":
            continue
        arriving.append(delta)
        if fault == "twice":
            arriving.append(delta)
        if fault == "swap" and len(arriving) > 1:
            arriving[-1], arriving[-2] = arriving[-2], arriving[-1]
        if fault == "snapshot":
            arriving.append(data.draw(st.sampled_from(sorted(truth))))
    book = LocalBook(BTC)
    book.on_snapshot(10, (), ())
    for item in arriving:
        if isinstance(item, int):
            bids, asks = truth[item]
            book.on_snapshot(item, _sorted(bids, best_high=True), _sorted(asks, best_high=False))
        else:
            book.on_delta(item)
        if book.state is BookState.VALID:
            bids, asks = truth[book.last_id]
            assert book.bids(99) == _sorted(bids, best_high=True)
            assert book.asks(99) == _sorted(asks, best_high=False)
        else:
            assert book.best_bid is book.best_ask is None


@given(streams())
def test_an_unbroken_stream_is_followed_to_its_end(stream: tuple[list[DepthDelta], dict[int, Sides]]) -> None:
    deltas, truth = stream
    book = LocalBook(BTC)
    for delta in deltas:
        book.on_delta(delta)
    first = deltas[0]
    bids, asks = truth[first.final_id]
    book.on_snapshot(first.final_id, _sorted(bids, best_high=True), _sorted(asks, best_high=False))
    assert (book.state, book.last_id, book.gaps) == (BookState.VALID, deltas[-1].final_id, 0)
