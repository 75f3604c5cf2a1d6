"""Nothing can be earned on the simulated market without a planted edge, and it is no easier to trade than a real one.

`nox -s market` runs ten seeds, a day each; the usual tests take a slice of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pytest

from tests.support.market_day import TAKERS, Facts, MarketDay, Passive, Round

WHOLE = os.environ.get("AEGIS_TEST_MARKET") == "whole"
SEEDS = range(1, 11) if WHOLE else range(1, 3)
HOURS, PERIOD_S = (24.0, 20.0) if WHOLE else (2.0, 6.0)


@pytest.fixture(scope="module")
def days() -> list[Facts]:
    return [MarketDay(seed, HOURS, PERIOD_S).run() for seed in SEEDS]


def of_rounds(days: list[Facts], kind: str, value: Callable[[Round], float]) -> np.ndarray:
    return np.array([value(one) for day in days for one in day.rounds[kind]])


def above(values: np.ndarray) -> tuple[float, float]:
    """Mean, and three standard errors of it."""
    assert len(values) >= 50, "too few to say anything"
    return float(values.mean()), 3.0 * float(values.std(ddof=1)) / float(np.sqrt(len(values)))


def test_random_takers_earn_no_more_than_minus_the_spread_before_fees(days: list[Facts]) -> None:
    better, error = above(of_rounds(days, "random", lambda one: one.gross + one.spread))
    assert better <= error


@pytest.mark.parametrize("kind", [kind for kind in TAKERS if kind != "random"])
def test_momentum_and_reversal_lose_net_of_fees_even_without_latency(days: list[Facts], kind: str) -> None:
    net, error = above(of_rounds(days, kind, lambda one: one.gross - one.fees))
    assert net + error < 0.0


def of_passive(days: list[Facts], value: Callable[[Passive], float]) -> np.ndarray:
    return np.array([value(one) for day in days for one in day.passive])


def test_posting_on_both_touches_loses_net_of_fees_even_where_leaving_costs_nothing(days: list[Facts]) -> None:
    net, error = above(of_passive(days, lambda one: one.net_1s))
    assert net + error < 0.0


def test_the_market_moves_against_passive_fills(days: list[Facts]) -> None:
    for value in (lambda one: one.mark_100ms, lambda one: one.mark_1s):
        mark, _ = above(of_passive(days, value))
        assert -5.0 < mark < 0.0


def test_one_aggressive_order_in_ten_takes_more_than_one_price(days: list[Facts]) -> None:
    share = sum(day.sweeps for day in days) / sum(day.orders for day in days)
    assert 0.08 <= share <= 0.16


def test_quotes_move_inside_a_bin_and_not_at_its_edge(days: list[Facts]) -> None:
    changes = sum(day.changes for day in days)
    phases = sum(day.phases for day in days) / changes
    assert sum(day.on_edge for day in days) < 0.001 * changes
    assert phases.min() > 0.04
    assert phases.max() < 0.2


def test_a_level_that_was_consumed_is_not_back_at_once(days: list[Facts]) -> None:
    at_once = np.array([share for day in days for share in day.left_at_once])
    later = np.array([share for day in days for share in day.back_after_50ms])
    assert len(at_once) >= 5
    assert (at_once == 0.0).all()
    assert np.median(later) < 0.25
