"""The strategy: which zones bring a setup, with which levels, and when it is withdrawn."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.config import FvgRetestConfig
from aegis.core.values import Side
from aegis.kernels.analysis import analyse_all, new_state, seed, set_live_from
from aegis.kernels.layout import EVENT
from aegis.kernels.state import State
from aegis.signals.fvg_retest import FvgRetest
from aegis.signals.strategy import Advice, Setup, Signal, Withdraw
from aegis.signals.view import PHASE_FILLED, PHASE_FRESH, PHASE_TOUCHED, Quote, SymbolView
from tests.support.analysis_cases import EPOCH, MINUTE, make_bars, rows_of

FRAMES = ("1m", "5m")
PARAMS = FvgRetestConfig(min_gap_atr=0.1, trigger_swing=3, structure_swing=2, max_zone_age_bars=60, min_stop_bps=1.0)
NO_EVENTS = np.zeros(0, EVENT)
BORN = EPOCH + 100 * MINUTE


def make(params: FvgRetestConfig = PARAMS) -> FvgRetest:
    return FvgRetest(params, FRAMES)


@pytest.fixture
def state() -> State:
    """A symbol whose structure and zones the test writes by hand."""
    state = new_state(1, (MINUTE, 5 * MINUTE), make().analysis(500), ring=512)
    state.symbols["warm"] = 1
    return state


def put_zone(state: State, k: int, *, direction: int = 1, top: float = 104.0, bottom: float = 101.0) -> None:
    zone = state.zones[0, 0, k]
    index = BORN // MINUTE - 1
    zone["id"], zone["direction"], zone["known"], zone["formed"] = 500 + k, direction, index, index
    zone["top"], zone["bottom"], zone["scale"], zone["phase"] = top, bottom, 2.0, PHASE_FRESH
    state.structure[0, 0]["zones"] = max(int(state.structure[0, 0]["zones"]), k + 1)


def put_trend(state: State, direction: int) -> None:
    state.structure[0, 1]["trend"] = direction
    state.structure[0, 1]["trend_index"] = (BORN - 10 * MINUTE) // (5 * MINUTE) - 1


def ask(strategy: FvgRetest, state: State) -> list[Advice]:
    return strategy.on_events(SymbolView(state, 0, "BTCUSDT", Quote()), NO_EVENTS, BORN)


def test_a_bullish_gap_in_a_bullish_structure_is_bought_at_its_near_edge(state: State) -> None:
    put_zone(state, 0)
    put_trend(state, 1)
    (setup,) = ask(make(), state)
    assert isinstance(setup, Setup)
    assert (setup.side, setup.entry, setup.stop, setup.target) == (Side.BUY, 104.0, 100.0, 112.0)
    assert (setup.zone, setup.timeframe, setup.symbol, setup.name) == (500, "1m", 0, "BTCUSDT")
    assert setup.known_at_ms == BORN
    assert setup.expires_ms == BORN + 60 * MINUTE
    assert setup.time_limit_ms == 60 * MINUTE
    assert setup.risk == 4.0


def test_a_bearish_gap_in_a_bearish_structure_is_sold_at_its_near_edge(state: State) -> None:
    put_zone(state, 0, direction=-1)
    put_trend(state, -1)
    (setup,) = ask(make(), state)
    assert isinstance(setup, Setup)
    assert (setup.side, setup.entry, setup.stop, setup.target) == (Side.SELL, 101.0, 105.0, 93.0)


@pytest.mark.parametrize(("zone", "trend"), [(1, -1), (1, 0), (-1, 1), (-1, 0)])
def test_a_gap_against_the_structure_is_left_alone(state: State, zone: int, trend: int) -> None:
    put_zone(state, 0, direction=zone)
    put_trend(state, trend)
    assert ask(make(), state) == []


def test_a_narrow_stop_is_widened_to_the_least_distance(state: State) -> None:
    put_zone(state, 0)
    put_trend(state, 1)
    (setup,) = ask(make(attrs.evolve(PARAMS, min_stop_bps=1_000.0)), state)
    assert isinstance(setup, Setup)
    assert setup.risk == pytest.approx(10.4)
    assert setup.target - setup.entry == pytest.approx(20.8)
    assert ("stop", "widened to min_stop_bps") in setup.reasons


def test_a_stop_or_target_below_zero_is_no_setup(state: State) -> None:
    put_zone(state, 0, top=1.0, bottom=0.5)
    put_trend(state, 1)
    assert ask(make(), state) == []
    put_zone(state, 0, direction=-1, top=4.0, bottom=2.0)
    put_trend(state, -1)
    assert ask(make(), state) == []


def test_a_setup_is_told_once(state: State) -> None:
    put_zone(state, 0)
    put_trend(state, 1)
    strategy = make()
    assert len(ask(strategy, state)) == 1
    assert ask(strategy, state) == []


def test_a_touched_zone_keeps_its_setup_and_gets_no_new_one(state: State) -> None:
    put_zone(state, 0)
    put_trend(state, 1)
    strategy = make()
    ask(strategy, state)
    state.zones[0, 0, 0]["phase"] = PHASE_TOUCHED
    assert ask(strategy, state) == []
    assert ask(make(), state) == []


def _fill(state: State) -> None:
    state.zones[0, 0, 0]["phase"] = PHASE_FILLED


def _end(state: State) -> None:
    state.structure[0, 0]["zones"] = 0


def _turn(state: State) -> None:
    put_trend(state, -1)


@pytest.mark.parametrize(
    ("change", "reason"), [(_fill, "zone filled"), (_end, "zone inverted or expired"), (_turn, "structure turned")]
)
def test_a_setup_is_withdrawn_when_its_ground_is_gone(state: State, change: Any, reason: str) -> None:
    put_zone(state, 0)
    put_trend(state, 1)
    strategy = make()
    ask(strategy, state)
    change(state)
    expected = Withdraw(strategy="fvg_retest", symbol=0, timeframe="1m", zone=500, reason=reason)
    assert ask(strategy, state) == [expected]
    assert ask(strategy, state) == []


def test_a_merged_zone_replaces_its_setup(state: State) -> None:
    put_zone(state, 0)
    put_trend(state, 1)
    strategy = make()
    ask(strategy, state)
    state.zones[0, 0, 0]["top"] = 106.0
    state.zones[0, 0, 0]["formed"] += 1
    (setup,) = ask(strategy, state)
    assert isinstance(setup, Setup)
    assert (setup.zone, setup.entry, setup.known_at_ms) == (500, 106.0, BORN + MINUTE)


def test_a_symbol_that_is_not_warm_gets_no_setup(state: State) -> None:
    put_zone(state, 0)
    put_trend(state, 1)
    state.symbols["warm"] = 0
    assert ask(make(), state) == []


def test_a_forgotten_symbol_starts_anew(state: State) -> None:
    put_zone(state, 0)
    put_trend(state, 1)
    strategy = make()
    first = ask(strategy, state)
    strategy.forget(0)
    assert ask(strategy, state) == first


def test_a_signal_of_a_zone_has_one_id_whenever_it_is_made(state: State) -> None:
    put_zone(state, 0)
    put_trend(state, 1)
    (setup,) = ask(make(), state)
    assert isinstance(setup, Setup)
    assert Signal.of(setup, 103.9, 1).id == Signal.of(setup, 103.5, 2).id == "fvg_retest:BTCUSDT:1m:500"


@pytest.mark.parametrize("wrong", [
    {"stop_atr": -1.0}, {"target_r": 0.0},
    {"min_stop_bps": -1.0}, {"time_limit_bars": 0}, {"max_zone_age_bars": 0}, {"trigger_swing": 0},
])  # fmt: skip
def test_parameters_out_of_range_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FvgRetestConfig(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"stop": 104.0},
        {"target": 104.0},
        {"stop": 0.0},
        {"target": float("inf")},
        {"entry": float("nan")},
        {"side": Side.SELL},
    ],
)
def test_a_setup_whose_levels_are_out_of_order_cannot_be_made(state: State, wrong: dict[str, Any]) -> None:
    put_zone(state, 0)
    put_trend(state, 1)
    (setup,) = ask(make(), state)
    assert isinstance(setup, Setup)
    with pytest.raises(ValueError, match="out of order"):
        attrs.evolve(setup, **wrong)


# -- on the real analysis ----------------------------------------------------------------------------------------------
def run(bars: Any, start: int) -> tuple[FvgRetest, State, list[list[Advice]]]:
    """Seeded with the bars before `start`, asked after every later one."""
    state = new_state(1, (MINUTE, 5 * MINUTE), make().analysis(20), ring=512)
    set_live_from(state, 0, EPOCH + start * MINUTE)
    assert seed(state, 0, bars[:start]).code == 0
    strategy, said = make(), []
    for t in range(start, len(bars)):
        _, events = analyse_all(state, rows_of(bars[t : t + 1], 0, t + 1), EPOCH + (t + 1) * MINUTE)
        view = SymbolView(state, 0, "BTCUSDT", Quote())
        said.append(strategy.on_events(view, events, EPOCH + (t + 1) * MINUTE))
    return strategy, state, said


@given(number=st.integers(0, 2**32 - 1))
def test_every_setup_is_sound_and_known_when_it_is_told(number: int) -> None:
    bars = make_bars(number, 240)
    _, _, said = run(bars, 120)
    standing: set[int] = set()
    for t, advice in enumerate(said, start=120):
        now = EPOCH + (t + 1) * MINUTE
        for word in advice:
            if isinstance(word, Withdraw):
                standing.remove(word.zone)
                continue
            standing.add(word.zone)
            assert word.known_at_ms <= now < word.expires_ms
            assert word.risk >= word.entry * PARAMS.min_stop_bps * 1e-4 * (1 - 1e-12)
            assert word.side.sign * (word.entry - word.stop) > 0
            assert bars["close"][t] * word.side.sign >= word.entry * word.side.sign  # the retest is still to come


@given(number=st.integers(0, 2**32 - 1), restart=st.integers(180, 260))
def test_after_a_restart_the_untouched_zones_bring_the_same_setups(number: int, restart: int) -> None:
    bars = make_bars(number, restart)
    strategy, state, _ = run(bars, 120)
    fresh = {zone.id for zone in SymbolView(state, 0, "BTCUSDT", Quote()).zones("1m") if zone.phase == PHASE_FRESH}
    before = {k: setup for k, setup in strategy.standing.of(0).items() if k in fresh}
    again = new_state(1, (MINUTE, 5 * MINUTE), make().analysis(20), ring=512)
    set_live_from(again, 0, EPOCH + restart * MINUTE)
    assert seed(again, 0, bars).code == 0
    told = make().on_events(SymbolView(again, 0, "BTCUSDT", Quote()), NO_EVENTS, EPOCH + restart * MINUTE)
    now = {word.zone: word for word in told if isinstance(word, Setup)}
    assert now.keys() == before.keys()
    for zone, setup in now.items():
        assert (setup.entry, setup.stop, setup.target) == (before[zone].entry, before[zone].stop, before[zone].target)
        assert Signal.of(setup, 1.0, 1).id == Signal.of(before[zone], 1.0, 1).id
