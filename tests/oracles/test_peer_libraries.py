"""Against talipp and smartmoneyconcepts, where their definitions are ours. `nox -s oracles` installs both.

What is not compared, and why: talipp's ATR has another seed, its RSI of a flat market is 100. smartmoneyconcepts makes
up a swing at the first and the last bar (the first may displace a real one), deletes order blocks after the fact, and
takes the tolerance of its pools from the future; its breaks are known only after they are told, and some are deleted
later; its previous high and low are wrong on the first bar of each period.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest

from aegis.kernels import indicators, smc
from aegis.kernels.analysis import AnalysisParams
from tests.support.analysis_cases import EPOCH, MINUTE, make_bars

LENGTH = 5
SEEDS = [1, 2, 3]
PARAMS = AnalysisParams(swing_lengths=(LENGTH,), min_gap_atr=0.0, max_age_bars=100_000, max_zones=256)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(name="library", scope="module")
def _library() -> Any:
    pytest.importorskip("pandas")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints a banner
        return pytest.importorskip("smartmoneyconcepts").smc


def frame(bars: Any) -> Any:
    pandas = pytest.importorskip("pandas")
    columns = {name: bars[name] for name in ("open", "high", "low", "close", "volume")}
    return pandas.DataFrame(columns, index=pandas.to_datetime(bars["open_time"], unit="ms"))


def market(seed: int) -> Any:
    return make_bars(seed, 4_000, step=40)


def origin(event: Any) -> int:
    return (int(event["origin"]) - EPOCH) // MINUTE


def rows_of(column: Any) -> dict[int, int]:
    return {i: int(value) for i, value in enumerate(column) if value == value}


@pytest.mark.parametrize("seed", SEEDS)
def test_swings_equal_the_librarys_without_its_made_up_ones(library: Any, seed: int) -> None:
    bars = market(seed)
    theirs = list(rows_of(library.swing_highs_lows(frame(bars), swing_length=LENGTH)["HighLow"]).items())[1:-1]
    ours: list[tuple[int, int]] = []
    for event in smc.detect(bars, MINUTE, PARAMS):
        if event["kind"] in (smc.SWING, smc.SWING_EXTEND):
            kept = ours[:-1] if event["kind"] == smc.SWING_EXTEND else ours
            ours = [*kept, (origin(event), int(event["direction"]))]
    assert len(ours) > 300
    assert theirs in (ours, ours[1:])


@pytest.mark.parametrize("seed", SEEDS)
def test_gaps_equal_the_librarys_once_there_is_a_mean_range(library: Any, seed: int) -> None:
    bars = market(seed)
    first = PARAMS.atr_period - 1
    theirs = {(i, d) for i, d in rows_of(library.fvg(frame(bars))["FVG"]).items() if i >= first}
    events = smc.detect(bars, MINUTE, PARAMS)
    gaps = events[np.isin(events["kind"], (smc.FVG, smc.FVG_MERGE))]
    assert {(origin(e) if e["kind"] == smc.FVG else _middle(e), int(e["direction"])) for e in gaps} == theirs


def _middle(event: Any) -> int:
    return (int(event["known_at"]) - EPOCH) // MINUTE - 2


@pytest.mark.parametrize("seed", SEEDS)
def test_most_breaks_of_the_library_are_ours_at_the_same_bar(library: Any, seed: int) -> None:
    bars = market(seed)
    table = library.bos_choch(frame(bars), library.swing_highs_lows(frame(bars), swing_length=LENGTH))
    classes = rows_of(table["BOS"].fillna(2 * table["CHOCH"]))  # CHoCH as +-2
    ends = rows_of(table["BrokenIndex"])
    weight = {smc.BOS: 1, smc.CHOCH: 2}
    ours = {
        origin(e): (_middle(e) + 1, int(e["direction"]) * weight.get(int(e["kind"]), 0))
        for e in smc.detect(bars, MINUTE, PARAMS)
        if e["kind"] in (smc.BOS, smc.CHOCH, smc.BREAK)
    }
    shared = set(ours) & set(classes)
    assert len(shared) >= 0.9 * len(classes) > 100
    assert sum(ours[i][0] == ends[i] for i in shared) >= 0.9 * len(shared)
    assert sum(ours[i][1] == classes[i] for i in shared) >= 0.9 * len(shared)


@pytest.mark.parametrize("seed", SEEDS)
def test_previous_high_and_low_equal_the_librarys_inside_a_period(library: Any, seed: int) -> None:
    bars = market(seed)
    theirs = library.previous_high_low(frame(bars), time_frame="1h")
    rows, _ = smc.previous_period(bars, MINUTE, 60 * MINUTE)
    inside = (np.arange(len(bars)) % 60 != 0) & (np.arange(len(bars)) >= 120)
    for ours, name in (("previous_high", "PreviousHigh"), ("previous_low", "PreviousLow")):
        left, right = rows[ours][inside], theirs[name].to_numpy()[inside]
        assert np.array_equal(left.astype(np.float32), right.astype(np.float32))


@pytest.mark.parametrize("price", [1e-5, 1.0, 60_000.0])
def test_incremental_indicators_agree_with_ours(price: float) -> None:
    talipp = pytest.importorskip("talipp.indicators")
    rng = np.random.default_rng(4)
    close = price * np.exp(np.cumsum(rng.normal(0, 0.002, 400)))

    def told(values: Any) -> Any:
        return np.array([np.nan if value is None else value for value in values], float)

    bands = indicators.bollinger(close, 20)
    theirs = list(talipp.BB(20, 2.0, input_values=close.tolist()))
    pairs = {
        "rsi": (indicators.rsi(close, 14)[0], told(talipp.RSI(14, input_values=close.tolist()))),
        "sma": (indicators.sma(close, 20), told(talipp.SMA(20, input_values=close.tolist()))),
        "ema": (indicators.ema(close, 20), told(talipp.EMA(20, input_values=close.tolist()))),
        "upper": (bands.upper, told([band and band.ub for band in theirs])),
        "lower": (bands.lower, told([band and band.lb for band in theirs])),
    }
    for name, (ours, other) in pairs.items():
        assert np.array_equal(np.isnan(ours), np.isnan(other)), name
        np.testing.assert_allclose(ours, other, rtol=1e-9, err_msg=name)
