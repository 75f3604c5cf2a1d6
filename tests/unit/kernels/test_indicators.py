"""Indicators against TA-Lib, against themselves bar by bar, and where TA-Lib is not to be followed."""

from __future__ import annotations

import numpy as np
import pytest

from aegis.kernels import indicators
from aegis.kernels.analysis import (
    AnalysisParams,
    analyse_all,
    new_peek,
    new_state,
    peek,
    seed,
    set_live_from,
    state_bytes,
)
from tests.support.analysis_cases import EPOCH, MINUTE, make_bars, roll_up, rows_of


def _walk(seed_: int, n: int, price: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed_)
    close = price * np.exp(np.cumsum(rng.normal(0, 0.002, n)))
    high = close * (1 + rng.exponential(0.001, n))
    low = close * (1 - rng.exponential(0.001, n))
    return high, low, close


@pytest.mark.parametrize("price", [1e-8, 1e-5, 1.0, 60_000.0, 1e5])
@pytest.mark.parametrize("period", [2, 14, 50])
def test_indicators_equal_talib_at_every_price_scale(price: float, period: int) -> None:
    talib = pytest.importorskip("talib", reason="TA-Lib, the oracle, is not installed")
    high, low, close = _walk(7, 1_000, price)
    mid, sigma = indicators.bollinger(close, period)
    upper, middle, lower = talib.BBANDS(close, period, 2.0, 2.0)
    pairs = {
        "atr": (indicators.atr(high, low, close, period), talib.ATR(high, low, close, period)),
        "rsi": (indicators.rsi(close, period)[0], talib.RSI(close, period)),
        "ema": (indicators.ema(close, period), talib.EMA(close, period)),
        "mid": (mid, middle),
    }
    for name, (ours, theirs) in pairs.items():
        assert np.array_equal(np.isnan(ours), np.isnan(theirs)), name
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, err_msg=name)
    # TA-Lib's variance is a difference of large sums: it is worth about 1e-8 of the band's width, ours is exact.
    np.testing.assert_allclose(mid + 2 * sigma, upper, rtol=1e-9)
    np.testing.assert_allclose(mid - 2 * sigma, lower, rtol=1e-9)


def test_first_outputs_are_where_talib_has_them() -> None:
    high, low, close = _walk(1, 60, 100.0)
    assert np.flatnonzero(~np.isnan(indicators.atr(high, low, close, 14)))[0] == 14
    assert np.flatnonzero(~np.isnan(indicators.rsi(close, 14)[0]))[0] == 14
    assert np.flatnonzero(~np.isnan(indicators.ema(close, 20)))[0] == 19
    assert np.flatnonzero(~np.isnan(indicators.bollinger(close, 20)[0]))[0] == 19


def test_rsi_of_a_dead_symbol_is_fifty_and_not_valid() -> None:
    values, valid = indicators.rsi(np.full(40, 3.0), 14)
    assert set(values[14:]) == {50.0}
    assert not valid.any()


@pytest.mark.parametrize(("direction", "expected"), [(1.0, 100.0), (-1.0, 0.0)])
def test_rsi_of_a_one_way_market_is_at_its_end(direction: float, expected: float) -> None:
    values, valid = indicators.rsi(1_000.0 + direction * np.arange(40), 14)
    assert set(values[14:]) == {expected}
    assert valid[14:].all()


def test_bollinger_of_a_flat_window_after_a_spike_is_exactly_zero_wide() -> None:
    close = np.concatenate([np.array([1e8, 1e-3, 5e7]), np.full(30, 0.25)])
    mid, sigma = indicators.bollinger(close, 20)
    assert set(sigma[22:]) == {0.0}
    assert set(mid[22:]) == {0.25}


def test_arrays_shorter_than_the_period_give_no_value_and_no_error() -> None:
    for n in (0, 1, 5):
        high, low, close = _walk(2, max(n, 1), 10.0)
        assert np.isnan(indicators.atr(high[:n], low[:n], close[:n], 14)).all()
        assert np.isnan(indicators.rsi(close[:n], 14)[0]).all()
        assert np.isnan(indicators.ema(close[:n], 20)).all()
        assert np.isnan(indicators.bollinger(close[:n], 20)[1]).all()


def test_bar_by_bar_equals_over_the_array_bit_for_bit() -> None:
    bars = make_bars(3, 300)
    state = new_state(1, (MINUTE,), AnalysisParams(), ring=64)
    set_live_from(state, 0, EPOCH)
    seed(state, 0, bars[:0])
    high, low, close = (np.ascontiguousarray(bars[name]) for name in ("high", "low", "close"))
    expected = {
        "atr": indicators.atr(high, low, close, 14),
        "rsi": indicators.rsi(close, 14)[0],
        "ema": indicators.ema(close, 20),
        "mid": indicators.bollinger(close, 20)[0],
        "sigma": indicators.bollinger(close, 20)[1],
    }
    rows = rows_of(bars)
    for t in range(len(bars)):
        analyse_all(state, rows[t : t + 1], EPOCH + MINUTE * (t + 1))
        for name, series in expected.items():
            assert state.values[0, 0][name].tobytes() == series[t].tobytes(), (name, t)


def test_peek_shows_what_the_close_will_commit_and_changes_nothing() -> None:
    bars = make_bars(4, 203)
    state = new_state(1, (MINUTE, 5 * MINUTE), AnalysisParams(), ring=64)
    set_live_from(state, 0, EPOCH)
    seed(state, 0, bars[:0])
    rows, out = rows_of(bars), new_peek(state)
    for t in range(len(bars)):
        analyse_all(state, rows[t : t + 1], EPOCH + MINUTE * t)
        before = state_bytes(state)
        peek(state, out)
        assert state_bytes(state) == before
        seen = out.copy()
        analyse_all(state, rows[:0], EPOCH + MINUTE * (t + 1))
        assert seen[0, 0].tobytes() == state.values[0, 0].tobytes()
        if t % 5 == 4:
            assert seen[0, 1].tobytes() == state.values[0, 1].tobytes()


def test_peek_of_a_higher_bar_in_progress_equals_a_series_that_ends_there() -> None:
    bars = make_bars(5, 153)  # 30 higher bars and three minutes of the next
    state = new_state(1, (MINUTE, 5 * MINUTE), AnalysisParams(), ring=64)
    set_live_from(state, 0, EPOCH)
    seed(state, 0, bars[:0])
    for t in range(len(bars)):
        analyse_all(state, rows_of(bars)[t : t + 1], EPOCH + MINUTE * t)
    out = new_peek(state)
    peek(state, out)
    whole = roll_up(bars[:150], 5 * MINUTE)
    high = np.append(whole["high"], bars["high"][150:].max())
    low = np.append(whole["low"], bars["low"][150:].min())
    close = np.append(whole["close"], bars["close"][-1])
    assert out[0, 1]["atr"] == indicators.atr(high, low, close, 14)[-1]
    assert out[0, 1]["rsi"] == indicators.rsi(close, 14)[0][-1]
    assert out[0, 1]["sigma"] == indicators.bollinger(close, 20)[1][-1]
