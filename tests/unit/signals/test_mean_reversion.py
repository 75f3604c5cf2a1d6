"""Mean reversion: the band that the RSI allows, for one bar; mirrored prices bring mirrored setups."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.config import MeanReversionConfig
from aegis.core.values import Side
from aegis.kernels.analysis import analyse_all, new_state, seed, set_live_from
from aegis.kernels.layout import EVENT
from aegis.kernels.state import State
from aegis.signals.mean_reversion import MeanReversion
from aegis.signals.strategy import Setup
from aegis.signals.view import Quote, SymbolView
from tests.support.analysis_cases import EPOCH, MINUTE, make_bars, rows_of

FRAMES = ("1m", "5m")
NO_EVENTS = np.zeros(0, EVENT)
PARAMS = MeanReversionConfig(min_stop_bps=50.0)
LAST = EPOCH + 99 * MINUTE


@pytest.fixture
def state() -> State:
    """One symbol: mean 100, deviation 2, close 97, RSI 35; the test changes what it wants."""
    state = new_state(1, (MINUTE, 5 * MINUTE), MeanReversion(PARAMS, FRAMES).analysis(500), ring=512)
    state.symbols["warm"] = 1
    row = state.values[0, 0]
    row["mid"], row["sigma"], row["rsi"], row["rsi_valid"] = 100.0, 2.0, 35.0, 1
    bar = state.bars[0, 0, LAST // MINUTE % 512]
    bar["open_time"], bar["close"] = LAST, 97.0
    return state


def ask(state: State, params: MeanReversionConfig = PARAMS) -> list[Any]:
    return MeanReversion(params, FRAMES).on_events(SymbolView(state, 0, "BTCUSDT", Quote()), NO_EVENTS, LAST + MINUTE)


def test_a_low_rsi_buys_the_lower_band_back_to_the_mean(state: State) -> None:
    (setup,) = ask(state)
    assert isinstance(setup, Setup)
    assert (setup.side, setup.entry, setup.stop, setup.target) == (Side.BUY, 96.0, 94.0, 100.0)
    assert (setup.known_at_ms, setup.expires_ms) == (LAST + MINUTE, LAST + 2 * MINUTE)
    assert setup.time_limit_ms == 20 * MINUTE
    assert dict(setup.reasons)["rsi"] == "35.0"


def test_a_high_rsi_sells_the_upper_band(state: State) -> None:
    state.values[0, 0]["rsi"] = 65.0
    state.bars["close"][0, 0] = 103.0
    (setup,) = ask(state)
    assert (setup.side, setup.entry, setup.stop, setup.target) == (Side.SELL, 104.0, 106.0, 100.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [("rsi", 40.1), ("rsi", 59.9), ("rsi_valid", 0), ("sigma", 0.0), ("sigma", 0.24), ("sigma", np.nan)],
)
def test_no_setup_without_its_reason(state: State, field: str, value: float) -> None:
    state.values[0, 0][field] = value
    assert ask(state) == []


def test_no_setup_where_the_close_is_beyond_the_band_or_the_symbol_is_cold(state: State) -> None:
    state.bars["close"][0, 0] = 96.0
    assert ask(state) == []
    state.bars["close"][0, 0] = 97.0
    state.symbols["warm"] = 0
    assert ask(state) == []


def test_no_stop_below_zero(state: State) -> None:
    state.values[0, 0]["sigma"] = 49.0
    state.bars["close"][0, 0] = 97.0
    assert ask(state, attrs.evolve(PARAMS, stop_sigma=1.5)) == []


@given(number=st.integers(0, 2**32 - 1))
def test_on_any_bars_a_setup_is_known_sound_and_to_be_reached_within_its_bar(number: int) -> None:
    bars = make_bars(number, 160)
    params = MeanReversionConfig(min_stop_bps=1.0)
    strategy = MeanReversion(params, FRAMES)
    state = new_state(1, (MINUTE, 5 * MINUTE), strategy.analysis(20), ring=512)
    set_live_from(state, 0, EPOCH + 100 * MINUTE)
    assert seed(state, 0, bars[:100]).code == 0
    zones = []
    for t in range(100, len(bars)):
        now = EPOCH + (t + 1) * MINUTE
        _, events = analyse_all(state, rows_of(bars[t : t + 1], 0, t + 1), now)
        for setup in strategy.on_events(SymbolView(state, 0, "X", Quote()), events, now):
            assert isinstance(setup, Setup)
            assert (setup.known_at_ms, setup.expires_ms) == (now, now + MINUTE)
            window = bars["close"][t - 19 : t + 1]
            assert setup.target == pytest.approx(window.mean())
            assert abs(setup.entry - setup.target) == pytest.approx(2.0 * window.std())
            assert setup.side.sign * (window[-1] - setup.entry) > 0.0
            zones.append(setup.zone)
    assert len(set(zones)) == len(zones)
