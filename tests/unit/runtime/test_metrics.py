from __future__ import annotations

import math

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from aegis.runtime.metrics import Histogram, Metrics, probe_lateness


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=200), st.sampled_from([50.0, 99.0, 99.9, 100.0]))
def test_percentile_is_at_most_a_sixteenth_above_the_exact_one(values: list[int], percent: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    exact = sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]
    assert exact <= histogram.percentile(percent) <= exact + exact // 16


@given(st.lists(st.integers(-5, 2**70), min_size=1, max_size=50))
def test_count_total_and_maximum_are_exact(values: list[int]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    clipped = [max(value, 0) for value in values]
    assert (histogram.count, histogram.total, histogram.maximum) == (len(values), sum(clipped), max(clipped))


def test_empty_histogram_is_all_zero() -> None:
    assert Histogram().summary() == {"count": 0, "p50": 0, "p99": 0, "p99_9": 0, "max": 0}


def test_snapshot_has_every_number_by_name() -> None:
    metrics = Metrics()
    metrics.counter("orders.sent").add(2)
    metrics.counter("orders.sent").add()
    metrics.gauge("lane.depth", lambda: 4)
    metrics.histogram("wait_ns").record(7)
    assert metrics.snapshot() == {
        "lane.depth": 4, "orders.sent": 3, "wait_ns.count": 1, "wait_ns.max": 7, "wait_ns.p50": 7, "wait_ns.p99": 7,
        "wait_ns.p99_9": 7,
    }  # fmt: skip


def test_a_gauge_has_one_owner() -> None:
    metrics = Metrics()
    metrics.gauge("depth", lambda: 1)
    with pytest.raises(ValueError, match="depth"):
        metrics.gauge("depth", lambda: 2)


def test_lateness_probe_measures_the_delay_on_a_clock_that_jumps() -> None:
    lateness = Histogram()
    clock = trio.testing.MockClock()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(probe_lateness, lateness, 0.010)
            await trio.testing.wait_all_tasks_blocked()
            clock.jump(0.010 + 0.250)  # as if a handler had held the loop for 250 ms
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=clock)
    assert lateness.maximum == pytest.approx(250_000_000, abs=1_000)
