"""Each pattern by hand: one scene, the events it must give, and nothing else."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
import numpy as np
import pytest

from aegis.kernels import smc
from aegis.kernels.analysis import AnalysisParams
from tests.support.analysis_cases import EPOCH, MINUTE, make_bars, walk

#: Short look-backs, so that a scene needs few bars.
SHORT = AnalysisParams(atr_period=2, swing_lengths=(2,), min_gap_atr=0.0, max_age_bars=20)
FLAT = (100.0, 101.0, 99.0, 100.0)


def told(bars: Any, params: AnalysisParams = SHORT) -> list[tuple[int, str, int]]:
    """(bar at which it is known, kind, direction) of every event."""
    events = smc.detect(bars, MINUTE, params)
    return [
        ((int(e["known_at"]) - EPOCH) // MINUTE - 1, smc.KIND_NAMES[int(e["kind"])], int(e["direction"]))
        for e in events
    ]


def bullish_gap(*after: tuple[float, float, float, float]) -> Any:
    """Two quiet bars, a gap 101..104 known at bar 4, then what follows."""
    return walk([FLAT, FLAT, FLAT, (100.0, 106.0, 100.0, 105.0), (105.0, 108.0, 104.0, 107.0), *after])


def gaps_of(bars: Any, params: AnalysisParams = SHORT) -> list[tuple[int, str, int]]:
    """Events of bullish gaps: the fall that fills one often leaves a bearish one behind."""
    return [event for event in told(bars, params) if event[1].startswith("FVG") and event[2] > 0]


def test_a_gap_is_known_at_its_third_bar_with_its_edges_and_times() -> None:
    event = next(e for e in smc.detect(bullish_gap(), MINUTE, SHORT) if e["kind"] == smc.FVG)
    assert (event["direction"], event["top"], event["bottom"]) == (1, 104.0, 101.0)
    assert event["origin"] == EPOCH + 3 * MINUTE
    assert event["formed_at"] == event["known_at"] == EPOCH + 5 * MINUTE


def test_a_bar_that_sinks_through_a_gap_tells_every_stage_once_and_in_order() -> None:
    through = bullish_gap((107.0, 107.0, 106.0, 106.0), (106.0, 106.0, 100.0, 100.5), (100.5, 101.0, 100.0, 100.5))
    assert gaps_of(through)[1:] == [
        (6, "FVG_TOUCHED", 1),
        (6, "FVG_MID", 1),
        (6, "FVG_FILLED", 1),
        (6, "FVG_INVERTED", 1),
    ]


def test_a_gap_filled_by_a_wick_lives_until_a_close_beyond_it() -> None:
    wick = bullish_gap((107.0, 107.0, 101.0, 103.0), (103.0, 103.5, 101.0, 101.0), (101.0, 101.0, 100.0, 100.9))
    assert gaps_of(wick)[1:] == [
        (5, "FVG_TOUCHED", 1),
        (5, "FVG_MID", 1),
        (5, "FVG_FILLED", 1),
        (7, "FVG_INVERTED", 1),
    ]


def test_reaching_an_edge_exactly_touches_and_a_tick_short_does_not() -> None:
    assert gaps_of(bullish_gap((107.0, 107.0, 104.0, 106.0)))[1:] == [(5, "FVG_TOUCHED", 1)]
    assert gaps_of(bullish_gap((107.0, 107.0, 104.1, 106.0)))[1:] == []
    assert gaps_of(bullish_gap((107.0, 107.0, 102.5, 106.0)))[1:] == [(5, "FVG_TOUCHED", 1), (5, "FVG_MID", 1)]


def test_a_gap_without_touch_expires_at_its_age() -> None:
    quiet = [(107.0, 108.0, 106.0, 107.0)] * 30
    assert gaps_of(bullish_gap(*quiet))[1:] == [(24, "FVG_EXPIRED", 1)]


def test_a_gap_around_a_doji_or_of_equal_prices_is_none() -> None:
    doji = walk([FLAT, FLAT, FLAT, (103.0, 106.0, 102.0, 103.0), (105.0, 108.0, 104.0, 107.0)])
    touching = walk([FLAT, FLAT, FLAT, (100.0, 106.0, 100.0, 105.0), (105.0, 108.0, 101.0, 107.0)])
    assert gaps_of(doji) == []
    assert gaps_of(touching) == []


def test_a_gap_narrower_than_the_least_size_is_none() -> None:
    mean_range = (6.0 + 4.0) / 2  # of bars 3 and 4
    exact = AnalysisParams(atr_period=2, swing_lengths=(2,), min_gap_atr=3.0 / mean_range, max_age_bars=20)
    above = AnalysisParams(atr_period=2, swing_lengths=(2,), min_gap_atr=3.001 / mean_range, max_age_bars=20)
    assert len(gaps_of(bullish_gap(), exact)) == 1
    assert gaps_of(bullish_gap(), above) == []


def test_a_gap_right_after_a_gap_widens_it_and_keeps_its_id() -> None:
    events = smc.detect(bullish_gap((107.0, 112.0, 107.0, 111.0)), MINUTE, SHORT)
    first, merged = (e for e in events if e["kind"] in (smc.FVG, smc.FVG_MERGE))
    assert (first["kind"], merged["kind"]) == (smc.FVG, smc.FVG_MERGE)
    assert first["id"] == merged["id"]
    assert (merged["top"], merged["bottom"]) == (107.0, 101.0)
    assert merged["known_at"] == EPOCH + 6 * MINUTE


def test_when_there_is_no_room_the_oldest_zone_expires() -> None:
    stair = [(100.0 + 10 * k, 109.0 + 10 * k, 100.0 + 10 * k, 109.0 + 10 * k) for k in range(9)]
    spaced = [FLAT, FLAT, FLAT]
    for o, h, low, c in stair:  # two rising bars, then one that overlaps both: gaps that do not merge
        spaced += [(o, h, low, c), (o + 9, h + 9, low + 9, c + 9), (o + 9, h + 9, low + 2, c + 1)]
    params = AnalysisParams(atr_period=2, swing_lengths=(2,), min_gap_atr=0.0, max_age_bars=1_000, max_zones=2)
    events = smc.detect(walk(spaced), MINUTE, params)
    born = [int(e["id"]) for e in events if e["kind"] == smc.FVG]
    expired = [int(e["id"]) for e in events if e["kind"] == smc.FVG_EXPIRED]
    ended = {int(e["id"]) for e in events if e["kind"] == smc.FVG_INVERTED}
    assert len(expired) >= 1
    assert expired == [zone for zone in born if zone not in ended][: len(expired)]


def swing_scene(*highs: float) -> Any:
    return walk([(h - 1, h, h - 2, h - 1) for h in highs])


def test_a_swing_is_known_two_bars_later_and_drawn_where_it_was() -> None:
    event = smc.detect(swing_scene(100, 101, 105, 103, 102), MINUTE, SHORT)[0]
    assert (event["kind"], event["direction"], event["top"]) == (smc.SWING, 1, 105.0)
    assert event["origin"] == EPOCH + 2 * MINUTE
    assert event["known_at"] == EPOCH + 5 * MINUTE


def test_a_higher_high_without_a_low_between_extends_the_swing() -> None:
    highs = (100, 101, 105, 104, 103, 104, 107, 106, 105, 106.5, 106.9, 106)
    rising = walk([(50.0 + k, float(h), 50.0 + k, 51.0 + k) for k, h in enumerate(highs)])  # lows rise: none is a swing
    assert [e for e in told(rising) if e[1].startswith("SWING")] == [(4, "SWING", 1), (8, "SWING_EXTEND", 1)]


def test_of_a_plateau_the_first_bar_is_the_swing() -> None:
    events = smc.detect(swing_scene(100, 101, 105, 105, 105, 105, 103, 102, 101), MINUTE, SHORT)
    highs = [int(e["origin"] - EPOCH) // MINUTE for e in events if e["direction"] == 1 and e["kind"] == smc.SWING]
    assert highs == [2]


def test_a_bar_that_is_both_high_and_low_is_a_high() -> None:
    outside = walk([FLAT, FLAT, (100.0, 120.0, 80.0, 100.0), FLAT, FLAT])
    assert next(e for e in told(outside) if e[1] == "SWING") == (4, "SWING", 1)


def test_flat_bars_give_one_swing_and_nothing_else() -> None:
    assert told(walk([(100.0, 100.0, 100.0, 100.0)] * 50)) == [(3, "SWING", 1)]


@pytest.mark.parametrize("n", range(4))
def test_fewer_bars_than_a_swing_needs_give_no_event(n: int) -> None:
    assert [e for e in told(make_bars(1, n)) if e[1].startswith("SWING")] == []


def closes(*values: float) -> Any:
    return walk([(v, v + 0.5, v - 0.5, v) for v in values])


def structure_of(bars: Any) -> list[tuple[str, int]]:
    return [(kind, d) for _, kind, d in told(bars) if kind in ("BOS", "CHOCH", "BREAK")]


def test_a_break_without_an_earlier_swing_has_no_class() -> None:
    assert structure_of(closes(100, 102, 105, 103, 102, 104, 106)) == [("BREAK", 1)]


LOW_THEN_HIGH = (103, 101, 100, 102, 104, 106, 105, 104)


def test_a_break_after_a_higher_low_continues_the_structure() -> None:
    assert structure_of(closes(*LOW_THEN_HIGH, 103, 105, 108)) == [("BOS", 1)]


def test_a_break_after_a_lower_low_changes_its_character() -> None:
    """The deepest low between is below the low before; closes stay above that low, which is broken by a wick only."""
    bars = closes(*LOW_THEN_HIGH, 103, 105, 108)
    bars["low"][8] = 99.0
    assert structure_of(bars) == [("CHOCH", 1)]


def test_a_break_after_an_equal_low_changes_its_character() -> None:
    bars = closes(*LOW_THEN_HIGH, 103, 105, 108)
    bars["low"][8] = 99.5  # the low before
    assert structure_of(bars) == [("CHOCH", 1)]


def test_a_close_at_the_level_or_a_wick_beyond_it_breaks_nothing() -> None:
    bars = closes(*LOW_THEN_HIGH, 103, 105, 106.0)
    bars["high"][10], bars["close"][10] = 120.0, 106.5  # the swing's high is 106.5
    assert structure_of(bars) == []


def test_a_swing_is_broken_once() -> None:
    assert structure_of(closes(*LOW_THEN_HIGH, 103, 105, 108, 107, 108.5, 109)) == [("BOS", 1)]


def test_an_old_swing_is_no_longer_broken() -> None:
    wait = [104 - 0.01 * k for k in range(20)]
    assert structure_of(closes(*LOW_THEN_HIGH, *wait, 108)) == []


def test_events_of_one_bar_come_lives_first_then_structure_then_new_gaps() -> None:
    stages = (
        "FVG_TOUCHED FVG_MID FVG_FILLED FVG_INVERTED FVG_EXPIRED",
        "BLOCK_TOUCHED BLOCK_MITIGATED BLOCK_BREAKER BLOCK_DEAD",
        "POOL_SWEPT POOL_BROKEN POOL_EXPIRED",
        "BREAK BOS CHOCH BLOCK",
        "SWING SWING_EXTEND POOL POOL_JOINED",
        "FVG FVG_MERGE",
    )
    stage = {name: k for k, names in enumerate(stages) for name in names.split()}
    events = told(make_bars(11, 2_000), attrs.evolve(SHORT, max_blocks=99, max_pools=99))
    assert len(events) > 500
    for (t, kind, _), (u, other, _) in itertools.pairwise(events):
        assert t <= u
        if t == u:
            assert stage[kind] <= stage[other]


@pytest.mark.parametrize("scale", [1e-8, 1e5])
def test_patterns_do_not_depend_on_the_size_of_prices(scale: float) -> None:
    bars = make_bars(12, 500)
    tall = bars.copy()
    for name in ("open", "high", "low", "close"):
        tall[name] = np.round(bars[name]) * scale
    assert [e[1:] for e in told(tall)].count(("FVG", 1)) == [e[1:] for e in told(bars)].count(("FVG", 1))
