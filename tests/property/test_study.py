"""Bar by bar equals over the array, bit for bit; looking changes nothing; bad bars change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.kernels import indicators
from aegis.kernels.indicators import READINGS, Study, StudyParams
from aegis.kernels.layout import BAR
from tests.support.analysis_cases import EPOCH, MINUTE, make_bars, same

SEEDS = st.integers(0, 2**32 - 1)
HOUR = 60 * MINUTE
PARAMS = StudyParams(
    atr=5, rsi=4, sma=7, ema=6, macd_fast=4, macd_slow=9, macd_signal=3, bollinger=8, adx=5, stochastic=6, smooth_k=2,
    smooth_d=4, volatility=5, session_ms=HOUR,
)  # fmt: skip


@st.composite
def markets(draw: Any, most: int = 160) -> Any:
    """Contiguous bars of any scale, often flat, that begin anywhere in an hour."""
    seed, n = draw(SEEDS), draw(st.integers(1, most))
    bars = make_bars(seed, n, step=draw(st.sampled_from([1, 6, 400])), start=EPOCH + draw(st.integers(0, 59)) * MINUTE)
    scale = 2.0 ** draw(st.sampled_from([-40, 0, 5]))
    for name in ("open", "high", "low", "close"):
        bars[name] *= scale
    return bars


def by_arrays(bars: Any, anchor: int) -> dict[str, Any]:
    """Every reading from the functions over arrays."""
    p, (high, low, close) = PARAMS, (np.ascontiguousarray(bars[name]) for name in ("high", "low", "close"))
    volume, bought = bars["volume"].astype(float), bars["taker_buy"].astype(float)
    bands = indicators.bollinger(close, p.bollinger, p.width)
    line, signal, histogram = indicators.macd(close, p.macd_fast, p.macd_slow, p.macd_signal)
    plus, minus, adx = indicators.directional(high, low, close, p.adx)
    k, d = indicators.stochastic(high, low, close, p.stochastic, p.smooth_k, p.smooth_d)
    strength, valid = indicators.rsi(close, p.rsi)
    return {
        "bars": np.arange(1, len(bars) + 1),
        "true_range": indicators.true_range(high, low, close),
        "atr": indicators.atr(high, low, close, p.atr),
        "natr": indicators.natr(high, low, close, p.atr),
        "rsi": strength,
        "rsi_valid": valid.astype(np.int64),
        "sma": indicators.sma(close, p.sma),
        "ema": indicators.ema(close, p.ema),
        "macd": line,
        "macd_signal": signal,
        "macd_histogram": histogram,
        **bands._asdict(),
        "plus_di": plus,
        "minus_di": minus,
        "adx": adx,
        "stochastic_k": k,
        "stochastic_d": d,
        "vwap": indicators.vwap(bars["open_time"], high, low, close, volume, p.session_ms),
        "anchored_vwap": indicators.anchored_vwap(high, low, close, volume, anchor),
        "delta": indicators.volume_delta(volume, bought),
        "cumulative_delta": indicators.cumulative_delta(bars["open_time"], volume, bought, p.session_ms),
        "volatility": indicators.realised_volatility(close, p.volatility),
    }


@given(bars=markets(), data=st.data())
def test_committed_bars_give_the_values_over_the_array_bit_for_bit(bars: Any, data: Any) -> None:
    """With looks at other forming bars, and a restart from a snapshot, at random bars."""
    anchor = data.draw(st.integers(0, len(bars)))
    looks = set(data.draw(st.lists(st.integers(0, len(bars)), max_size=6)))
    restart = data.draw(st.integers(0, len(bars)))
    study, wild = Study(timeframe_ms=MINUTE, params=PARAMS), make_bars(7, len(bars), step=300)
    wild["open_time"] = bars["open_time"]
    if anchor < len(bars):
        study.anchor(int(bars["open_time"][anchor]))
    out = np.zeros(len(bars), READINGS)
    for t in range(len(bars)):
        if t in looks:
            before = study.snapshot()
            study.peek(wild[t : t + 1])
            assert study.snapshot() == before
        if t == restart:
            other = Study(timeframe_ms=MINUTE, params=PARAMS)
            other.restore(study.snapshot())
            study = other
        out[t] = study.commit(bars[t : t + 1])[0]
    expected = by_arrays(bars, anchor)
    assert set(expected) == set(READINGS.names or ())
    for name, series in expected.items():
        assert out[name].tobytes() == series.tobytes(), name


@given(bars=markets(80))
def test_a_look_shows_what_the_close_commits(bars: Any) -> None:
    study = Study(timeframe_ms=MINUTE, params=PARAMS)
    for t in range(len(bars)):
        seen = study.peek(bars[t : t + 1]).copy()
        assert same(seen, study.commit(bars[t : t + 1]))


@given(bars=markets(), cut=st.floats(0, 1))
def test_in_chunks_or_at_once_is_the_same_and_no_value_depends_on_the_future(bars: Any, cut: float) -> None:
    whole, parts = Study(timeframe_ms=MINUTE, params=PARAMS), Study(timeframe_ms=MINUTE, params=PARAMS)
    m = int(cut * len(bars))
    first, second = parts.run(bars[:m]), parts.run(bars[m:])
    assert same(whole.run(bars), np.concatenate([first, second]))
    assert whole.snapshot() == parts.snapshot()


@given(seeds=st.lists(SEEDS, min_size=1, max_size=5), n=st.integers(1, 60))
def test_many_series_at_once_are_as_many_alone(seeds: list[int], n: int) -> None:
    markets_ = np.stack([make_bars(seed, n) for seed in seeds])
    together = Study(len(seeds), timeframe_ms=MINUTE, params=PARAMS)
    alone = [Study(timeframe_ms=MINUTE, params=PARAMS) for _ in seeds]
    for t in range(n):
        column = np.ascontiguousarray(markets_[:, t])
        assert same(together.peek(column), np.concatenate([a.peek(column[i : i + 1]) for i, a in enumerate(alone)]))
        assert same(together.commit(column), np.concatenate([a.commit(column[i : i + 1]) for i, a in enumerate(alone)]))


@given(seed=SEEDS, power=st.integers(-40, 30))
def test_scaling_prices_by_a_power_of_two_scales_values_exactly(seed: int, power: int) -> None:
    bars = make_bars(seed, 120)
    scaled = bars.copy()
    for name in ("open", "high", "low", "close"):
        scaled[name] *= 2.0**power
    left = Study(timeframe_ms=MINUTE, params=PARAMS).run(bars)
    right = Study(timeframe_ms=MINUTE, params=PARAMS).run(scaled)
    priced = {
        "true_range", "atr", "sma", "ema", "macd", "macd_signal", "macd_histogram", "mid", "sigma", "upper", "lower",
        "vwap", "anchored_vwap",
    }  # fmt: skip
    for name in READINGS.names or ():
        factor = 2.0**power if name in priced else 1
        assert (left[name] * factor).tobytes() == right[name].tobytes(), name


def test_a_series_that_began_later_has_the_same_values_once_warm() -> None:
    params = StudyParams()
    bars = make_bars(3, params.warm_bars + 400, step=40)
    whole, later = Study(timeframe_ms=MINUTE), Study(timeframe_ms=MINUTE)
    left, right = whole.run(bars)[300:], later.run(bars[300:])
    assert later.warm
    names = [name for name in READINGS.names or () if name not in ("bars", "cumulative_delta", "vwap")]
    for t in range(params.warm_bars, len(right)):
        for name in names:
            np.testing.assert_array_max_ulp(left[t][name], right[t][name], maxulp=4)


BAD = {
    "close": [np.nan, np.inf, -1.0, 0.0, 1e300],
    "high": [np.nan, 1.0, 1e16],
    "low": [-np.inf, 0.0, 1e9],
    "open": [np.nan],
    "volume": [-1],
    "taker_buy": [-1, 1 << 60],
    "open_time": [-MINUTE, EPOCH, EPOCH + 19 * MINUTE, EPOCH + 21 * MINUTE, EPOCH + 20 * MINUTE + 1],
}


@pytest.mark.parametrize(("field", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_bars_that_must_not_be_taken_leave_the_state_as_it_was(field: str, value: float) -> None:
    good = np.stack([make_bars(seed, 21) for seed in (1, 2)])
    study = Study(2, timeframe_ms=MINUTE, params=PARAMS)
    for t in range(20):
        study.commit(np.ascontiguousarray(good[:, t]))
    bad = np.ascontiguousarray(good[:, 20])
    bad[field][1] = value
    before = study.snapshot()
    for call in (study.commit, study.peek):
        with pytest.raises(ValueError, match="series 1"):
            call(bad)
    assert study.snapshot() == before
    study.commit(np.ascontiguousarray(good[:, 20]))


def test_other_rows_snapshots_and_lengths_are_refused_in_one_line() -> None:
    study, bars = Study(2, timeframe_ms=MINUTE), np.zeros(2, BAR)
    for call, told in (
        (lambda: study.commit(bars[:1]), "2 BAR rows are needed"),
        (lambda: study.commit(np.zeros(2)), "2 BAR rows are needed"),
        (lambda: study.run(bars), "a study of one series"),
        (lambda: study.restore(b"1"), "no snapshot of such a study"),
        (lambda: Study(0, timeframe_ms=MINUTE), "at least one series"),
        (lambda: StudyParams(macd_fast=30), "macd_fast must be shorter"),
        (lambda: Study(timeframe_ms=MINUTE).run(make_bars(1, 9)[::2]), "bar 1 .* a bar is missing"),
    ):
        with pytest.raises(ValueError, match=told):
            call()
