"""A socket is cut anywhere, or loses trades: what is fetched by id makes the bars whole, or the symbol starts over."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.engine.holes import FILL, MOST_TRADES
from aegis.engine.inputs import InputKind, decode_fill
from aegis.kernels.market import counts
from aegis.kernels.state import Records
from tests.property.test_overlap import Told, bars_in, bars_of, tell
from tests.support.engine_rig import MS, SECOND, Rig, make_rig, marks, trade

_WAIT_NS = 5 * SECOND
_TRADES = 60


def fetched(told: list[Told], first: int, count: int = MOST_TRADES) -> Records:
    """What the venue answers to `fromId`."""
    rows = [(n, one.ms, one.price, one.lots, one.maker) for n, one in enumerate(told, start=1) if n >= first]
    return np.array(rows[:count], FILL)


def begin(seed: int) -> tuple[Rig, list[Told]]:
    rig = make_rig(mending=True)
    rig.warm((0,))
    rig.now_ns = (rig.now_ns // SECOND + 1) * SECOND
    told = tell(rig.now_ns // MS + 1000, seed)
    rig.now_ns += 30 * SECOND  # the watermark follows the event times
    rig.wanted.clear()
    return rig, told


def read(rig: Rig, told: list[Told], rng: random.Random, analyse: float = 0.2) -> None:
    for one in told:
        rig.read(1, one.frame)
        if rng.random() < analyse:
            rig.analyse()


def end(rig: Rig, told: list[Told]) -> None:
    rig.read(1, trade(told[-1].bar + 9000, len(told) + 1, 5000.0))
    rig.analyse()
    if rig.machine.holes.open:  # the last trades are the lost ones
        rig.machine.fill(0, fetched(told, rig.machine.holes.open[0].first), rig.now_ns)
        rig.analyse()


@given(
    seed=st.integers(0, 2**20), before=st.integers(1, _TRADES), lost=st.integers(0, 30), early=st.integers(0, 30),
    cut=st.booleans(), late_answer=st.integers(0, 30),
)  # fmt: skip
@settings(max_examples=50)
def test_bars_are_those_of_every_trade_once(
    seed: int, before: int, lost: int, early: int, cut: bool, late_answer: int
) -> None:
    """`early` trades come after the hole before the answer does, which knows of `late_answer` more."""
    rig, told = begin(seed)
    rng = random.Random(seed)
    read(rig, told[:before], rng)
    if cut:
        rig.machine.connection(1, None, rig.now_ns)
        rig.analyse()
        rig.now_ns += SECOND
        rig.up(1)
        assert rig.missed[0] == (0, before + 1)
    after = min(_TRADES, before + lost)
    read(rig, told[after : after + early], rng)
    rig.analyse()
    if rig.machine.holes.open:
        assert rig.machine.table.symbols["suspended"][0], "no level fires while trades are missing"
        known = max(after, min(_TRADES, after + early + late_answer))
        rig.machine.fill(0, fetched(told[:known], before + 1), rig.now_ns)
    read(rig, told[after + early :], rng)
    end(rig, told)
    assert not rig.machine.holes.open
    assert bars_in(rig) == bars_of(told)
    assert [symbol for symbol in rig.wanted if symbol == 0] == [], "it did not start over"
    assert rig.machine.decision.contexts.warm[0]
    assert not rig.machine.table.symbols["suspended"][0]
    seen = counts(rig.machine.table)
    assert (seen["late_trades"], seen["missed_ids"]) == (0, rig.machine.holes.found)


def test_no_bar_closes_while_a_hole_is_open_and_then_it_is_whole() -> None:
    rig, told = begin(4)
    read(rig, told[:20], random.Random(1))
    rig.analyse()
    rig.machine.connection(1, None, rig.now_ns)
    rig.up(1)
    before = rig.machine.bars
    rig.read(1, marks(told[-1].bar + 5000))
    rig.analyse()
    assert rig.machine.bars == before, "the marks would close bars whose trades are being fetched"
    rig.machine.fill(0, fetched(told, 21), rig.now_ns)
    rig.analyse()
    assert rig.machine.bars > before
    assert rig.machine.holes.trades == _TRADES - 20
    assert bars_in(rig) == bars_of(told)


def lose(rig: Rig, told: list[Told]) -> None:
    """Trades 21 to 25 are lost; a hole is open."""
    read(rig, told[:20], random.Random(1))
    rig.read(1, told[25].frame)
    rig.analyse()
    assert rig.missed == [(0, 21)]
    assert rig.wanted == []


@pytest.mark.parametrize("answer", ["none", "short", "gap", "wrong start", "empty"])
def test_an_answer_that_does_not_fill_the_hole_starts_the_symbol_over(answer: str) -> None:
    rig, told = begin(5)
    lose(rig, told)
    whole = fetched(told, 21)
    answers = {
        "none": None, "short": whole[:4], "gap": np.delete(whole, 2), "wrong start": whole[1:], "empty": whole[:0]
    }  # fmt: skip
    rig.machine.fill(0, answers[answer], rig.now_ns)
    assert rig.wanted == [0]
    assert not rig.machine.decision.contexts.warm[0]
    assert not rig.machine.table.symbols["suspended"][0]
    assert (rig.machine.holes.filled, rig.machine.holes.given_up) == (0, 1)


def test_nobody_waits_for_an_answer_longer_than_the_bound() -> None:
    rig, told = begin(6)
    lose(rig, told)
    rig.now_ns += _WAIT_NS - 1
    rig.analyse()
    assert rig.wanted == []
    rig.now_ns += 1
    rig.analyse()
    assert rig.wanted == [0]
    rig.machine.fill(0, fetched(told, 21), rig.now_ns)  # too late, and no harm
    assert (rig.machine.holes.filled, rig.machine.holes.given_up) == (0, 1)


def test_a_second_loss_while_the_first_is_fetched_starts_the_symbol_over() -> None:
    rig, told = begin(7)
    lose(rig, told)
    rig.read(1, told[30].frame)
    rig.analyse()
    assert rig.wanted == [0]
    assert rig.machine.holes.given_up == 1


def test_two_losses_between_two_looks_are_not_taken_for_one() -> None:
    """The table knows where the first began and the last ended; trades that did come lie between."""
    rig, told = begin(8)
    read(rig, told[:20], random.Random(1))
    for number in (22, 25):
        rig.read(1, told[number].frame)
    rig.analyse()
    assert (rig.missed, rig.wanted) == ([], [0])


def test_a_hole_larger_than_a_page_is_not_asked_for() -> None:
    rig, told = begin(9)
    read(rig, told[:20], random.Random(1))
    rig.read(1, trade(told[20].ms, 21 + MOST_TRADES + 1, 5000.0))
    rig.analyse()
    assert (rig.missed, rig.wanted) == ([], [0])


def test_a_second_cut_and_a_long_one_end_with_history_when_the_socket_is_back() -> None:
    rig, told = begin(10)
    read(rig, told[:20], random.Random(1))
    rig.machine.connection(1, None, rig.now_ns)
    rig.now_ns += _WAIT_NS
    rig.analyse()
    assert not rig.machine.decision.contexts.warm[0]
    assert rig.machine.table.symbols["suspended"][0]
    assert (rig.wanted, rig.missed) == ([], [])
    rig.up(1)
    assert rig.wanted == [0, 1, 2]
    assert rig.missed == []


def test_fetched_trades_are_on_the_tape_bit_for_bit() -> None:
    rig, told = begin(11)
    lose(rig, told)
    rig.machine.fill(0, fetched(told, 21), rig.now_ns)
    rig.machine.fill(1, None, rig.now_ns)
    first, second = [decode_fill(data) for kind, _, _, data in rig.tape.inputs if kind is InputKind.FILL]
    assert first[0] == 0
    assert first[1] is not None
    assert first[1].tobytes() == fetched(told, 21).tobytes()
    assert second == (1, None)
