"""Order blocks, pools and awkward bars by hand: one scene, the events it must give, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aegis.kernels import smc
from aegis.kernels.analysis import AnalysisParams
from tests.support.analysis_cases import EPOCH, MINUTE, make_bars, walk

SHORT = AnalysisParams(atr_period=2, swing_lengths=(2,), min_gap_atr=0.0, max_age_bars=30, pool_atr=0.5)
#: Swing high 106.5 at bar 5 (known at 7), pullback to 102.5 at bar 8, broken at bar 10.
BROKEN = (103, 101, 100, 102, 104, 106, 105, 104, 103, 105, 108)


def closes(*prices: float) -> Any:
    """Bars that open at the close before, with wicks of half a point."""
    rows = []
    for before, price in zip((prices[0], *prices), prices, strict=False):
        rows.append((float(before), max(before, price) + 0.5, min(before, price) - 0.5, float(price)))
    return walk(rows)


def told(bars: Any, start: str, params: AnalysisParams = SHORT) -> list[tuple[int, str, int]]:
    events = smc.detect(bars, MINUTE, params)
    named = [((int(e["known_at"]) - EPOCH) // MINUTE - 1, smc.KIND_NAMES[int(e["kind"])], e) for e in events]
    return [(t, name, int(e["direction"])) for t, name, e in named if name.startswith(start)]


def life(bars: Any) -> list[tuple[int, str]]:
    """Of the block that bar 10 of `BROKEN` makes."""
    events = smc.detect(bars, MINUTE, SHORT)
    born = next(e for e in events if e["kind"] == smc.BLOCK and e["known_at"] == EPOCH + 11 * MINUTE)
    mine = [e for e in events if e["id"] == born["id"]]
    return [((int(e["known_at"]) - EPOCH) // MINUTE - 1, smc.KIND_NAMES[int(e["kind"])]) for e in mine]


def test_a_break_makes_the_deepest_bar_of_the_pullback_an_order_block() -> None:
    events = smc.detect(closes(*BROKEN), MINUTE, SHORT)
    block = [e for e in events if e["kind"] == smc.BLOCK][-1]
    broken = next(e for e in events if e["kind"] == smc.BOS)
    assert (block["direction"], block["top"], block["bottom"]) == (1, 105.5, 102.5)
    assert block["origin"] == EPOCH + 9 * MINUTE  # bars 8 and 9 are equally low: the last counts
    assert block["known_at"] == broken["known_at"] == EPOCH + 11 * MINUTE
    assert block["id"] != broken["id"]


def test_a_block_is_touched_mitigated_turned_and_lost() -> None:
    """The near edge is 105.5, the far one 102.5."""
    bars = closes(*BROKEN, 107, 105.8, 103, 104, 102, 101, 104, 107)
    bars["low"][13] = 102.5  # reaches the far edge, and no further
    bars["low"][14] = 102.4
    assert life(bars) == [
        (10, "BLOCK"), (12, "BLOCK_TOUCHED"), (14, "BLOCK_MITIGATED"), (15, "BLOCK_BREAKER"), (18, "BLOCK_DEAD"),
    ]  # fmt: skip


def test_a_block_nobody_comes_back_to_dies_of_age() -> None:
    up = [108 + 0.1 * k for k in range(40)]
    assert life(closes(*BROKEN, *up)) == [(10, "BLOCK"), (40, "BLOCK_DEAD")]


def test_without_room_for_blocks_and_pools_there_are_none() -> None:
    none = AnalysisParams(atr_period=2, swing_lengths=(2,), max_blocks=0, max_pools=0)
    wave = make_bars(1, 300)
    assert told(wave, "BLOCK", none) == told(wave, "POOL", none) == []
    assert told(wave, "BLOCK")
    assert told(wave, "POOL")


#: Highs of 104.5 at bars 3 and 9, known two bars later.
TWIN = (101, 102, 103, 104, 103, 102, 101, 102, 103, 104, 103, 102)


@pytest.mark.parametrize(("last", "end"), [(104.5, "POOL_SWEPT"), (104.6, "POOL_BROKEN")])
def test_two_equal_highs_are_a_pool_that_is_swept_or_broken(last: float, end: str) -> None:
    bars = closes(*TWIN, 103, last)
    bars["high"][13] = 106.0
    highs = [event for event in told(bars, "POOL") if event[2] > 0]
    assert highs == [(11, "POOL", 1), (13, end, 1)]


def test_a_close_back_within_the_allowed_bars_is_a_sweep_at_that_bar() -> None:
    params = AnalysisParams(atr_period=2, swing_lengths=(2,), pool_atr=0.5, sweep_bars=3)
    bars = closes(*TWIN, 103, 105, 105, 104)
    assert [e for e in told(bars, "POOL", params) if e[2] > 0] == [(11, "POOL", 1), (15, "POOL_SWEPT", 1)]
    bars = closes(*TWIN, 103, 105, 105, 105)
    assert [e for e in told(bars, "POOL", params) if e[2] > 0] == [(11, "POOL", 1), (15, "POOL_BROKEN", 1)]


def test_a_touch_of_the_level_takes_nothing() -> None:
    bars = closes(*TWIN, 103, 103)
    bars["high"][13] = 104.5
    assert [e for e in told(bars, "POOL") if e[2] > 0] == [(11, "POOL", 1)]


def test_highs_too_far_apart_are_no_pool() -> None:
    bars = closes(*TWIN[:7], 101.5, 102, 102.5, 102, 101.5)  # 1.5 apart; half a mean range is about 1
    assert [e for e in told(bars, "POOL") if e[2] > 0] == []


def test_the_place_in_the_leg_is_premium_near_its_end_and_discount_near_its_origin() -> None:
    bars = closes(103, 101, 100, 102, 104, 106, 105, 104, 101, 100.5)
    rows = smc.retracements(bars, MINUTE, SHORT)
    assert rows["direction"].tolist() == [0, 0, 0, 1, -1, -1, -1, 1, 1, 1]  # it turns when its swing is confirmed
    assert rows["valid"].tolist() == [0] * 4 + [1] * 6
    top, bottom = 106.5, 99.5
    assert rows["position"][7] == 100 * (104 - bottom) / (top - bottom)
    assert rows["position"][7] > 50 > rows["position"][9]
    assert rows["deepest"][9] == rows["current"][9] == 100 * (top - 100.0) / (top - bottom)


# -- awkward bars ------------------------------------------------------------------------------------------------------
def flat(n: int, price: float) -> Any:
    return walk([(price, price, price, price)] * n)


@pytest.mark.parametrize("price", [1e-8, 1.0, 1e5])
def test_a_dead_market_has_one_swing_no_break_no_block_and_no_pool(price: float) -> None:
    kinds = {smc.KIND_NAMES[int(e["kind"])] for e in smc.detect(flat(400, price), MINUTE)}
    assert kinds == {"SWING"}


@pytest.mark.parametrize("n", range(12))
def test_fewer_bars_than_a_swing_needs_give_nothing(n: int) -> None:
    params = AnalysisParams(swing_lengths=(6,))
    wave = closes(*(100 + (k % 5) for k in range(n))) if n else flat(0, 1.0)
    assert len(smc.detect(wave, MINUTE, params)) == 0


def test_an_outside_bar_is_a_high_and_not_a_low_as_well() -> None:
    bars = flat(20, 100.0)
    bars["high"][10], bars["low"][10] = 120.0, 80.0
    swings = [e for e in told(bars, "SWING") if e[0] == 12]
    assert [d for _, _, d in swings] == [1]


def test_equal_highs_of_a_plateau_are_one_swing_at_the_first() -> None:
    bars = closes(100, 101, 102, 103, 103, 103, 103, 102, 101, 100, 99)
    highs = [e for e in smc.detect(bars, MINUTE, SHORT) if e["kind"] == smc.SWING and e["direction"] > 0]
    assert [(int(e["origin"]) - EPOCH) // MINUTE for e in highs] == [3]


def test_a_gap_around_a_bar_without_a_body_is_none() -> None:
    bars = walk([(100.0, 101.0, 99.0, 100.0)] * 4 + [(103.0, 104.0, 102.0, 103.0), (107.0, 108.0, 106.0, 107.0)])
    assert told(bars, "FVG") == []
    bars["close"][4] = 103.5
    assert told(bars, "FVG") == [(5, "FVG", 1)]


def test_volume_says_nothing_about_patterns() -> None:
    bars = closes(*BROKEN, *TWIN)
    silent = bars.copy()
    silent["volume"] = silent["taker_buy"] = silent["trades"] = 0
    assert told(bars, "") == told(silent, "") != []


def test_levels_survive_prices_of_any_size_exactly() -> None:
    bars = closes(*BROKEN)
    for scale in (2.0**-30, 2.0**10):
        other = bars.copy()
        for name in ("open", "high", "low", "close"):
            other[name] *= scale
        left, right = smc.detect(bars, MINUTE, SHORT), smc.detect(other, MINUTE, SHORT)
        assert np.array_equal(left["top"] * scale, right["top"])
        assert np.array_equal(left["kind"], right["kind"])
