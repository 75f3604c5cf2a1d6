"""Indicators against TA-Lib, against themselves bar by bar, and where TA-Lib is not to be followed."""

from __future__ import annotations

from typing import Any

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


PRICES = [1e-8, 1e-5, 1.0, 60_000.0, 1e5]


def _agree(ours: Any, theirs: Any, name: str, rtol: float = 1e-11, atol: float = 0.0) -> None:
    assert np.array_equal(np.isnan(ours), np.isnan(theirs)), name
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize("period", [2, 14, 50])
def test_indicators_equal_talib_at_every_price_scale(price: float, period: int) -> None:
    talib = pytest.importorskip("talib", reason="TA-Lib, the oracle, is not installed")
    high, low, close = _walk(7, 1_000, price)
    _agree(indicators.true_range(high, low, close), talib.TRANGE(high, low, close), "true range")
    _agree(indicators.atr(high, low, close, period), talib.ATR(high, low, close, period), "atr")
    _agree(indicators.natr(high, low, close, period), talib.NATR(high, low, close, period), "natr")
    _agree(indicators.rsi(close, period)[0], talib.RSI(close, period), "rsi")
    _agree(indicators.sma(close, period), talib.SMA(close, period), "sma")
    _agree(indicators.ema(close, period), talib.EMA(close, period), "ema")
    bands = indicators.bollinger(close, period)
    upper, middle, lower = talib.BBANDS(close, period, 2.0, 2.0)
    # TA-Lib's variance is a difference of large sums: it is worth about 1e-8 of the band's width, ours is exact.
    for ours, theirs in ((bands.mid, middle), (bands.upper, upper), (bands.lower, lower)):
        _agree(ours, theirs, "bands", rtol=1e-9)


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize("period", [2, 14, 50])
def test_directional_movement_equals_talib_at_every_price_scale(price: float, period: int) -> None:
    talib = pytest.importorskip("talib", reason="TA-Lib, the oracle, is not installed")
    high, low, close = _walk(8, 1_000, price)
    ours = indicators.directional(high, low, close, period)
    _agree(ours.plus, talib.PLUS_DI(high, low, close, period), "+DI", rtol=1e-9)
    _agree(ours.minus, talib.MINUS_DI(high, low, close, period), "-DI", rtol=1e-9)
    _agree(ours.adx, talib.ADX(high, low, close, period), "ADX", rtol=1e-9)


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize(("fast", "slow", "signal"), [(12, 26, 9), (3, 10, 1), (2, 3, 20)])
def test_macd_equals_talib_and_its_line_begins_sooner(price: float, fast: int, slow: int, signal: int) -> None:
    talib = pytest.importorskip("talib", reason="TA-Lib, the oracle, is not installed")
    close = _walk(9, 600, price)[2]
    ours, theirs = indicators.macd(close, fast, slow, signal), talib.MACD(close, fast, slow, signal)
    assert np.flatnonzero(~np.isnan(ours.line))[0] == slow - 1
    shown = ~np.isnan(theirs[0])
    assert np.flatnonzero(shown)[0] == slow + signal - 2
    # differences of prices: what they are worth is their own size, not the price's
    for mine, other, name in zip(ours, theirs, ("line", "signal", "histogram"), strict=True):
        np.testing.assert_allclose(mine[shown], other[shown], rtol=0, atol=1e-12 * price, err_msg=name)
    assert np.isnan(ours.signal[~shown]).all()


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize(("n", "k", "d"), [(14, 3, 3), (5, 1, 1), (1, 2, 4)])
def test_the_stochastic_equals_talib(price: float, n: int, k: int, d: int) -> None:
    talib = pytest.importorskip("talib", reason="TA-Lib, the oracle, is not installed")
    high, low, close = _walk(10, 600, price)
    ours, theirs = indicators.stochastic(high, low, close, n, k, d), talib.STOCH(high, low, close, n, k, 0, d, 0)
    _agree(ours.d, theirs[1], "%D", rtol=1e-9)
    shown = ~np.isnan(theirs[0])
    np.testing.assert_allclose(ours.k[shown], theirs[0][shown], rtol=1e-9)
    assert np.flatnonzero(~np.isnan(ours.k))[0] == n + k - 2


def test_averages_by_volume_equal_their_definition() -> None:
    rng = np.random.default_rng(11)
    high, low, close = _walk(11, 200, 50.0)
    volume, hour = rng.integers(0, 5, 200).astype(float), 3_600_000
    times = EPOCH + MINUTE * np.arange(200) + 7 * MINUTE  # begins seven minutes into an hour
    ours = indicators.vwap(times, high, low, close, volume, session_ms=hour)
    anchored = indicators.anchored_vwap(high, low, close, volume, 50)
    for t in range(200):
        since = next(j for j in range(t, -1, -1) if j == 0 or times[j] % hour == 0)
        for value, first in ((ours[t], None if since == 0 else since), (anchored[t], 50 if t >= 50 else None)):
            total = 0.0 if first is None else volume[first : t + 1].sum()
            if first is None or total == 0.0:
                assert np.isnan(value)
                continue
            part = slice(first, t + 1)
            assert value == pytest.approx(((high + low + close)[part] / 3 * volume[part]).sum() / total, rel=1e-13)


def test_delta_is_bought_less_sold_and_its_sum_begins_with_the_session() -> None:
    volume, bought = np.array([10.0, 4.0, 0.0, 6.0, 5.0]), np.array([7.0, 0.0, 0.0, 3.0, 5.0])
    assert indicators.volume_delta(volume, bought).tolist() == [4.0, -4.0, 0.0, 0.0, 5.0]
    times = EPOCH + MINUTE * np.arange(5)
    assert indicators.cumulative_delta(times, volume, bought, 3 * MINUTE).tolist() == [4.0, 0.0, 0.0, 0.0, 5.0]
    late = indicators.cumulative_delta(times + MINUTE, volume, bought, 3 * MINUTE)
    assert np.isnan(late[:2]).all()
    assert late[2:].tolist() == [0.0, 0.0, 5.0]


def test_realised_volatility_is_the_root_mean_square_of_returns() -> None:
    close = _walk(12, 100, 3e-6)[2]
    returns = np.diff(np.log(close))
    ours = indicators.realised_volatility(close, 20)
    assert np.isnan(ours[:20]).all()
    expected = [np.sqrt((returns[t - 20 : t] ** 2).mean()) for t in range(20, 100)]
    np.testing.assert_allclose(ours[20:], expected, rtol=1e-10)


def test_a_market_without_movement_has_neutral_values_and_no_division_by_zero() -> None:
    flat = np.full(60, 1e-8)
    bands = indicators.bollinger(flat, 20)
    assert set(bands.width[19:]) == {0.0}
    assert set(bands.percent_b[19:]) == {0.5}
    k, d = indicators.stochastic(flat, flat, flat)
    assert set(k[15:]) == set(d[17:]) == {50.0}
    found = indicators.directional(flat, flat, flat)
    assert set(found.adx[27:]) == set(found.plus[14:]) == set(found.minus[14:]) == {0.0}
    assert set(indicators.realised_volatility(flat)[20:]) == {0.0}
    assert set(indicators.atr(flat, flat, flat)[14:]) == {0.0}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -1.0])
def test_what_is_no_price_is_refused_by_its_place(bad: float) -> None:
    high, low, close = _walk(13, 30, 5.0)
    close[17] = bad
    with pytest.raises(ValueError, match=r"close\[17\]"):
        indicators.rsi(close)
    with pytest.raises(ValueError, match=r"close\[17\]"):
        indicators.atr(high, low, close)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda h, lo, c: indicators.atr(h, lo, c, 0), "n must be at least 1, not 0"),
        (lambda h, lo, c: indicators.atr(h[1:], lo, c), "arrays must have one length"),
        (lambda h, lo, c: indicators.atr(lo, h, c), "is not between low and high"),
        (lambda h, lo, c: indicators.macd(c, 26, 12), "fast must be shorter than slow"),
        (lambda h, lo, c: indicators.sma(c.reshape(2, -1), 3), "one dimension, not 2"),
        (lambda h, lo, c: indicators.anchored_vwap(h, lo, c, c, 99), "the index of a bar"),
        (lambda h, lo, c: indicators.vwap([5] * 30, h, lo, c, c), r"open_time\[1\] = 5 is not later"),
        (lambda h, lo, c: indicators.volume_delta(c, 2 * c), "is more than the volume"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_in_one_line(call: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        call(*_walk(14, 30, 5.0))
    assert "\n" not in str(caught.value)


def test_any_kind_of_numbers_will_do_and_is_left_alone() -> None:
    close = [3, 1, 4, 1, 5, 9, 2, 6]
    assert indicators.sma(close, 4).tolist()[3:] == [2.25, 2.75, 4.75, 4.25, 5.5]
    array = np.array(close, np.float32)[::-1]
    array.flags.writeable = False
    assert indicators.sma(array, 4).tolist()[3:] == [5.5, 4.25, 4.75, 2.75, 2.25]


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
    mid, sigma = indicators.bollinger(close, 20)[:2]
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
