"""The view shows the state as it is, and gives nothing away that could change it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.kernels import indicators
from aegis.kernels.analysis import AnalysisParams, analyse_all, new_state, seed, set_live_from, state_bytes
from aegis.kernels.state import State
from aegis.signals.view import Quote, SymbolView
from tests.support.analysis_cases import EPOCH, MINUTE, make_bars, roll_up, rows_of, same

PARAMS = AnalysisParams(atr_period=5, swing_lengths=(3,), max_age_bars=40, warm_bars=10)


@pytest.fixture
def market() -> tuple[State, Any]:
    bars = make_bars(3, 300)
    state = new_state(2, (MINUTE, 5 * MINUTE), PARAMS, ring=128)
    set_live_from(state, 1, EPOCH + 290 * MINUTE)
    seed(state, 1, bars[:290])
    analyse_all(state, rows_of(bars[290:], 1), EPOCH + 300 * MINUTE)
    return state, bars


def view_of(state: State, symbol: int = 1) -> SymbolView:
    return SymbolView(state, symbol, "BTCUSDT", Quote(bid=1.0, ask=2.0))


def test_bars_come_oldest_first_and_are_a_copy(market: tuple[State, Any]) -> None:
    state, bars = market
    before = state_bytes(state)
    seen = view_of(state).bars("1m", 7)
    assert seen["close"].tolist() == bars["close"][-7:].tolist()
    assert view_of(state).bars("5m", 3)["high"].tolist() == roll_up(bars, 5 * MINUTE)["high"][-3:].tolist()
    assert len(view_of(state).bars("1m", 1_000)) == 128
    seen["close"] = -1
    assert state_bytes(state) == before


def test_indicators_zones_and_trend_are_those_of_the_state(market: tuple[State, Any]) -> None:
    state, _ = market
    view = view_of(state)
    values = view.indicators("5m")
    assert (values.atr, values.ema, values.sigma) == tuple(state.values[1, 1][name] for name in ("atr", "ema", "sigma"))
    n = int(state.structure[1, 0]["zones"])
    assert n > 0
    zones = view.zones("1m")
    assert [zone.id for zone in zones] == state.zones[1, 0]["id"][:n].tolist()
    for zone in zones:
        assert zone.top > zone.bottom
        assert {zone.near, zone.far} == {zone.top, zone.bottom}
        assert (zone.near > zone.far) == (zone.direction > 0)
        assert zone.born_ms <= zone.known_at_ms <= EPOCH + 300 * MINUTE
    trend = view.trend("1m")
    assert trend.direction in (-1, 1)
    assert trend.known_at_ms <= EPOCH + 300 * MINUTE


@given(number=st.integers(0, 2**32 - 1), late=st.integers(0, 59))
def test_of_any_timeframe_only_whole_bars_are_seen_and_only_once_they_have_closed(number: int, late: int) -> None:
    """Aligned to UTC: the stream begins `late` minutes after an hour, and what is not whole is not there."""
    frames = {"1m": MINUTE, "3m": 3 * MINUTE, "5m": 5 * MINUTE, "15m": 15 * MINUTE, "1h": 60 * MINUTE}
    bars = make_bars(number, 200, start=EPOCH + late * MINUTE)
    state = new_state(1, tuple(frames.values()), PARAMS, ring=256)
    set_live_from(state, 0, int(bars["open_time"][0]))
    seed(state, 0, bars[:0])
    for t in range(len(bars)):
        analyse_all(state, rows_of(bars[t : t + 1], 0, t + 1), int(bars["open_time"][t]) + MINUTE)
        if t % 7:
            continue
        view = SymbolView(state, 0, "X", Quote())
        assert view.closed_ms == int(bars["open_time"][t]) + MINUTE
        for name, ms in frames.items():
            seen, whole = view.bars(name, 256), roll_up(bars[: t + 1], ms) if t else bars[:1]
            if not t and ms > MINUTE:
                whole = whole[:0]
            for field in ("open_time", "open", "high", "low", "close", "volume", "taker_buy"):
                assert seen[field].tolist() == whole[field].tolist()
            study = [one["atr"] for one in indicators_of(whole)]
            assert np.array_equal(view.indicators(name).atr, study[-1] if study else np.nan, equal_nan=True)


def indicators_of(bars: Any) -> list[dict[str, float]]:
    """By the array function, which knows nothing of timeframes."""
    atr = indicators.atr(*(np.ascontiguousarray(bars[name]) for name in ("high", "low", "close")), PARAMS.atr_period)
    return [{"atr": float(value)} for value in atr]


def test_a_symbol_without_bars_has_no_values_and_no_trend(market: tuple[State, Any]) -> None:
    view = view_of(market[0], 0)
    assert not view.warm
    assert math.isnan(view.indicators("1m").atr)
    assert not view.indicators("1m").rsi_valid
    assert (view.trend("1m").direction, view.zones("1m"), len(view.bars("1m", 5)), view.count("1m")) == (0, (), 0, 0)


def test_timeframes_go_by_name(market: tuple[State, Any]) -> None:
    view = view_of(market[0])
    assert view.timeframes == ("1m", "5m")
    assert (view.timeframe_index("5m"), view.timeframe_ms("5m"), view.count("5m")) == (1, 300_000, 60)
    assert view.warm
    with pytest.raises(KeyError):
        view.trend("15m")


def test_the_same_bars_are_seen_from_any_place_in_the_ring(market: tuple[State, Any]) -> None:
    _, bars = market
    for extra in range(1, 140, 13):
        later = make_bars(9, extra)
        later["open_time"] = bars["open_time"][-1] + MINUTE * np.arange(1, extra + 1)
        other = new_state(1, (MINUTE,), PARAMS, ring=128)
        set_live_from(other, 0, int(later["open_time"][-1]) + MINUTE)
        whole = np.concatenate([bars, later])
        seed(other, 0, whole)
        assert same(
            SymbolView(other, 0, "X", Quote()).bars("1m", 50)["open_time"].copy(), whole["open_time"][-50:].copy()
        )
