"""Patterns never repaint, equal their plain definitions, and do not care about direction or scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aegis.kernels import smc
from aegis.kernels.analysis import AnalysisParams
from tests.support.analysis_cases import EPOCH, MINUTE, alternating, breaks, gaps, make_bars, same, swings

SEEDS = st.integers(0, 2**32 - 1)
LENGTHS = st.integers(1, 6)


def params_of(length: int, max_age: int = 60, max_zones: int = 32, min_gap: float = 0.1) -> AnalysisParams:
    return AnalysisParams(
        atr_period=5, swing_lengths=(length,), min_gap_atr=min_gap, max_age_bars=max_age, max_zones=max_zones
    )


def bar_of(event: Any, field: str) -> int:
    return (int(event[field]) - EPOCH) // MINUTE - (field == "known_at")


@given(seed=SEEDS, length=LENGTHS, n=st.integers(0, 250), cut=st.floats(0, 1), zones=st.integers(1, 8))
def test_events_of_a_prefix_are_a_prefix_of_the_events(seed: int, length: int, n: int, cut: float, zones: int) -> None:
    bars, params = make_bars(seed, n), params_of(length, max_zones=zones)
    m = int(cut * n)
    whole = smc.detect(bars, MINUTE, params)
    assert same(smc.detect(bars[:m], MINUTE, params), whole[whole["known_at"] <= EPOCH + m * MINUTE])


@given(seed=SEEDS, n=st.integers(3, 200), length=LENGTHS, cut=st.integers(1, 199))
def test_a_changed_future_changes_no_event_of_the_past(seed: int, n: int, length: int, cut: int) -> None:
    bars, params = make_bars(seed, n), params_of(length)
    other = bars.copy()
    cut = min(cut, n)
    other[cut:] = make_bars(seed + 1, n)[cut:]
    now = EPOCH + cut * MINUTE
    left, right = smc.detect(bars, MINUTE, params), smc.detect(other, MINUTE, params)
    assert same(left[left["known_at"] <= now], right[right["known_at"] <= now])


@given(seed=SEEDS, n=st.integers(0, 250), length=LENGTHS, step=st.integers(1, 12))
def test_swings_equal_their_definition_and_end_as_the_alternating_list(
    seed: int, n: int, length: int, step: int
) -> None:
    bars = make_bars(seed, n, step=step)
    events = smc.detect(bars, MINUTE, params_of(length))
    events = events[np.isin(events["kind"], (smc.SWING, smc.SWING_EXTEND))]
    ours = [
        (
            bar_of(e, "known_at"),
            bar_of(e, "origin"),
            int(e["direction"]),
            float(e["top"]),
            bool(e["kind"] == smc.SWING_EXTEND),
        )
        for e in events
    ]
    assert ours == swings(bars, length)
    final: list[tuple[int, int]] = []
    for _, i, d, _, extends in ours:
        final = [*(final[:-1] if extends else final), (i, d)]
    assert final == alternating(bars, length)


@given(seed=SEEDS, n=st.integers(0, 300), length=LENGTHS, max_age=st.integers(5, 100))
def test_breaks_equal_their_definition(seed: int, n: int, length: int, max_age: int) -> None:
    bars = make_bars(seed, n)
    events = smc.detect(bars, MINUTE, params_of(length, max_age))
    ours = [
        (bar_of(e, "known_at"), bar_of(e, "origin"), int(e["direction"]), smc.KIND_NAMES[int(e["kind"])])
        for e in events
        if e["kind"] in (smc.BOS, smc.CHOCH, smc.BREAK)
    ]
    assert ours == breaks(bars, length, max_age)


@given(seed=SEEDS, n=st.integers(0, 250), min_gap=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_gaps_equal_their_definition(seed: int, n: int, min_gap: float) -> None:
    bars = make_bars(seed, n)
    events = smc.detect(bars, MINUTE, params_of(3, min_gap=min_gap))
    opened = events[np.isin(events["kind"], (smc.FVG, smc.FVG_MERGE))]
    expected = gaps(bars, min_gap, 5)
    assert [(bar_of(e, "known_at"), int(e["direction"])) for e in opened] == [g[:2] for g in expected]
    for event, (_, _, top, bottom) in zip(opened, expected, strict=True):
        if event["kind"] == smc.FVG:
            assert (event["top"], event["bottom"]) == (top, bottom)
        else:
            assert event["top"] >= top
            assert event["bottom"] <= bottom


@given(seed=SEEDS, n=st.integers(0, 250), max_age=st.integers(3, 80))
def test_the_life_of_a_gap_equals_its_definition(seed: int, n: int, max_age: int) -> None:
    bars = make_bars(seed, n)
    events = smc.detect(bars, MINUTE, params_of(3, max_age, max_zones=256))
    merged = set(events["id"][events["kind"] == smc.FVG_MERGE].tolist())
    for born in events[events["kind"] == smc.FVG]:
        if int(born["id"]) in merged:
            continue
        life = [
            (bar_of(e, "known_at"), smc.KIND_NAMES[int(e["kind"])])
            for e in events
            if e["id"] == born["id"] and smc.KIND_NAMES[int(e["kind"])].startswith("FVG_")
        ]
        assert life == _life(bars, born, max_age)


def _life(bars: Any, born: Any, max_age: int) -> list[tuple[int, str]]:
    """Stages of one gap, each the first bar that reaches it."""
    start, d = bar_of(born, "known_at"), int(born["direction"])
    near, far = (born["top"], born["bottom"]) if d > 0 else (born["bottom"], born["top"])
    probe, close = d * bars["low" if d > 0 else "high"], d * bars["close"]
    last = min(start + max_age, len(bars) - 1)
    ends = [j for j in range(start + 1, last + 1) if close[j] < d * far]
    stop = ends[0] if ends else last
    life = []
    for name, level in (("FVG_TOUCHED", near), ("FVG_MID", (near + far) / 2), ("FVG_FILLED", far)):
        reached = [j for j in range(start + 1, stop + 1) if probe[j] <= d * level]
        life += [(reached[0], name)] if reached else []
    if ends:
        life.append((stop, "FVG_INVERTED"))
    elif stop == start + max_age:
        life.append((stop, "FVG_EXPIRED"))
    return life


@given(seed=SEEDS, n=st.integers(0, 250), length=LENGTHS)
def test_a_market_upside_down_gives_the_mirrored_events(seed: int, n: int, length: int) -> None:
    bars = make_bars(seed, n)
    mirrored = bars.copy()
    for name, other in (("open", "open"), ("close", "close"), ("high", "low"), ("low", "high")):
        mirrored[name] = 20_000 - bars[other]
    params = params_of(length)
    left, right = smc.detect(bars, MINUTE, params), smc.detect(mirrored, MINUTE, params)
    if _has_outside_swing(bars, length):
        keep = [smc.FVG, smc.FVG_MERGE, smc.FVG_TOUCHED, smc.FVG_MID, smc.FVG_FILLED, smc.FVG_INVERTED, smc.FVG_EXPIRED]
        left, right = left[np.isin(left["kind"], keep)], right[np.isin(right["kind"], keep)]
    key = [(int(e["known_at"]), int(e["kind"]), int(e["direction"]), float(e["top"]), float(e["bottom"])) for e in left]
    twin = [
        (
            int(e["known_at"]),
            int(e["kind"]),
            -int(e["direction"]),
            20_000 - float(e["bottom"]),
            20_000 - float(e["top"]),
        )
        for e in right
    ]
    assert sorted(key) == sorted(twin)


def _has_outside_swing(bars: Any, length: int) -> bool:
    for i in range(length - 1, len(bars) - length):
        window = bars[i - length + 1 : i + length + 1]
        if bars["high"][i] == window["high"].max() and bars["low"][i] == window["low"].min():
            return True
    return False


@given(seed=SEEDS, n=st.integers(0, 200), power=st.integers(-40, 30))
def test_scaling_by_a_power_of_two_scales_every_level_exactly(seed: int, n: int, power: int) -> None:
    bars, params = make_bars(seed, n), params_of(3)
    scaled = bars.copy()
    for name in ("open", "high", "low", "close"):
        scaled[name] = bars[name] * 2.0**power
    expected = smc.detect(bars, MINUTE, params)
    expected["top"] *= 2.0**power
    expected["bottom"] *= 2.0**power
    assert same(smc.detect(scaled, MINUTE, params), expected)


@given(seed=SEEDS, n=st.integers(150, 400), start=st.integers(0, 100), length=LENGTHS)
def test_zones_born_after_a_later_start_are_the_same_zones(seed: int, n: int, start: int, length: int) -> None:
    """A restart: only what began before the bars that were fetched may be missing, and it is at most `max_age` old."""
    max_age = 40
    bars, params = make_bars(seed, n), params_of(length, max_age, max_zones=256)
    whole, later = smc.detect(bars, MINUTE, params), smc.detect(bars[start:], MINUTE, params)
    since = EPOCH + (start + max_age + 10) * MINUTE
    zones = [smc.FVG, smc.FVG_MERGE, smc.FVG_TOUCHED, smc.FVG_MID, smc.FVG_FILLED, smc.FVG_INVERTED, smc.FVG_EXPIRED]
    left = whole[(whole["known_at"] > since) & np.isin(whole["kind"], zones)]
    right = later[(later["known_at"] > since) & np.isin(later["kind"], zones)]
    assert same(left, right)


def test_structure_after_a_later_start_is_the_same_structure() -> None:
    """Swings and breaks forget where the stream began: 500 bars after it nothing differs in any of 25 markets."""
    for seed in range(25):
        bars = make_bars(seed, 800, step=8)
        whole = smc.detect(bars, MINUTE, AnalysisParams())
        later = smc.detect(bars[200:], MINUTE, AnalysisParams())
        since = EPOCH + 700 * MINUTE
        assert same(whole[whole["known_at"] > since], later[later["known_at"] > since]), seed
