"""When a symbol counts as warm: its bars are whole, whatever a job says that began before they broke."""

from __future__ import annotations

import numpy as np

from aegis.engine.analysis import Analysis, Job, Result, no_rows
from aegis.kernels.layout import BAR, EVENT
from aegis.kernels.state import Records
from aegis.signals.strategy import Advice
from aegis.signals.view import SymbolView
from tests.support.engine_rig import SECOND, Rig, make_rig, marks

MS = 1_000_000


def begun(rig: Rig) -> object:
    """A job in flight, with its result as the worker will bring it."""
    rig.now_ns += SECOND
    rig.read(1, marks(rig.now_ns // MS))
    rig.machine.boundary(rig.now_ns)
    rig.seed(1)  # something to do, of another symbol
    return Analysis.compute(*rig.machine.analysis.begin(rig.machine.analyse(rig.now_ns)))


def broken(rig: Rig) -> None:
    """The socket of the trades is lost, and back: the bars start over."""
    rig.machine.connection(1, None, rig.now_ns)
    rig.up(1)


def warm(rig: Rig) -> list[bool]:
    found: list[bool] = rig.machine.decision.contexts.warm.tolist()
    return found


def test_a_job_that_was_in_flight_when_the_bars_broke_makes_nothing_warm() -> None:
    rig = make_rig()
    rig.warm((0,))
    assert warm(rig) == [True, False, False]
    result = begun(rig)
    broken(rig)
    assert not any(warm(rig))
    rig.machine.result(result, rig.now_ns)
    assert not warm(rig)[0], "the worker had not heard of it"
    for _ in range(3):  # nor does it turn warm by waiting
        rig.now_ns += SECOND
        rig.machine.result(begun(rig), rig.now_ns)
        assert not warm(rig)[0]


def test_a_history_that_was_on_its_way_when_the_bars_broke_makes_nothing_warm() -> None:
    rig = make_rig()
    rig.up(0, 1)
    rig.machine.command("activate test", rig.now_ns)
    rig.now_ns += 2 * SECOND
    rig.read(1, marks(rig.now_ns // MS))
    rig.analyse()
    rig.seed(0)
    result = begun(rig)
    broken(rig)
    rig.machine.result(result, rig.now_ns)
    assert not warm(rig)[0]


def test_a_symbol_is_shown_to_the_strategy_once_it_is_warm_and_again_after_it_was_cold() -> None:
    rig = make_rig()
    asked: list[tuple[int, int]] = []

    def on_events(view: SymbolView, events: Records, now_ms: int) -> list[Advice]:
        asked.append((view.symbol, len(events)))
        return []

    rig.machine.decision.strategy.on_events = on_events  # type: ignore[method-assign]
    rig.warm((0,))
    assert (0, 0) in asked
    broken(rig)
    asked.clear()
    rig.now_ns += 2 * SECOND
    rig.read(1, marks(rig.now_ns // MS))
    rig.analyse()
    assert asked == []
    rig.seed(0)
    rig.analyse()
    assert asked == [(0, 0)]
    assert warm(rig) == [True, False, False]


def test_news_that_waited_are_told_in_one_call_in_their_order() -> None:
    rig = make_rig()
    rig.warm((0, 1))
    events = np.zeros(4, EVENT)
    events["id"], events["symbol"] = (1, 2, 3, 4), (0, 1, 0, 0)
    told: list[tuple[int, list[int]]] = []

    def on_events(view: SymbolView, news: Records, now_ms: int) -> list[Advice]:
        told.append((view.symbol, news["id"].tolist()))
        return []

    strategy = rig.machine.decision.strategy
    strategy.on_events, strategy.hears = on_events, None  # type: ignore[method-assign]
    for part in (events[:2], events[2:]):
        rig.machine.analysis.begin(Job(rows=no_rows(), watermark_ms=0))
        rig.machine.result(Result(bars=np.zeros(0, BAR), events=part, seeds=()), rig.now_ns)
    while rig.machine.has_slices():
        rig.machine.slice(rig.now_ns)
    assert told == [(0, [1, 3, 4]), (1, [2])]
