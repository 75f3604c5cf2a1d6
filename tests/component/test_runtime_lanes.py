"""Lanes on the virtual clock: strict order, every full-policy, the drainers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from aegis.core.errors import InvariantBroken
from aegis.runtime.clock import VirtualClock
from aegis.runtime.lanes import FAST, SLOW, Drainer, Item, LaneFull, Lanes, Priority
from aegis.runtime.metrics import Metrics


class Bench:
    """Lanes with small depths, two drainers, and everything that happened."""

    def __init__(self, clock: Callable[[], int] = lambda: 0, depths: tuple[int, ...] = (4, 4, 4, 4, 4)) -> None:
        self.metrics = Metrics()
        self.seen: list[Any] = []
        self.expired: list[tuple[Any, str]] = []
        self.blocked: list[float] = []
        self.on_item: Callable[[Item], None] = lambda item: None
        self.lanes = Lanes(
            clock,
            self.metrics,
            on_expired=lambda message, reason: self.expired.append((message, reason)),
            on_blocked=lambda: self.blocked.append(trio.current_time()),
            depths=depths,
        )
        self.fast = Drainer(self.lanes, FAST, self.handle, clock, self.metrics)
        self.slow = Drainer(self.lanes, SLOW, self.handle, clock, self.metrics)

    def handle(self, item: Item) -> None:
        self.seen.append(item.message)
        self.on_item(item)

    def count(self, name: str) -> float:
        return self.metrics.snapshot()[name]


@given(st.lists(st.sampled_from(FAST), max_size=40))
def test_pump_serves_by_lane_then_by_arrival(arrivals: list[Priority]) -> None:
    bench = Bench(depths=(64,) * 5)
    for index, lane in enumerate(arrivals):
        bench.lanes.submit(lane, (lane, index))
    assert bench.fast.pump() == len(arrivals)
    assert bench.seen == sorted((lane, index) for index, lane in enumerate(arrivals))


def test_a_handler_that_raises_the_alarm_is_followed_by_the_alarm() -> None:
    bench = Bench()

    def alarm(item: Item) -> None:
        if item.message == "fill 1":
            bench.lanes.submit(Priority.CRITICAL, "halt")

    bench.on_item = alarm
    for message in ("fill 1", "fill 2"):
        bench.lanes.submit(Priority.EXECUTION, message)
    bench.fast.pump()
    assert bench.seen == ["fill 1", "halt", "fill 2"]


def test_slow_drainer_returns_to_analysis_after_each_background_item() -> None:
    bench = Bench()
    bench.on_item = lambda item: (
        bench.lanes.submit_merge("rows", "batch", lambda old, new: new) if item.message == "chore 1" else None
    )
    for message in ("chore 1", "chore 2"):
        bench.lanes.submit(Priority.BACKGROUND, message)
    bench.slow.pump()
    assert bench.seen == ["chore 1", "batch", "chore 2"]


def test_full_critical_lane_is_a_broken_invariant() -> None:
    bench = Bench()
    for number in range(4):
        bench.lanes.submit(Priority.CRITICAL, number)
    with pytest.raises(InvariantBroken):
        bench.lanes.submit(Priority.CRITICAL, 4)
    bench.fast.pump()
    assert bench.seen == [0, 1, 2, 3]


def test_full_decision_lane_lets_the_oldest_signal_go_with_a_reason() -> None:
    bench = Bench()
    bench.lanes.submit(Priority.DECISION, "hit")
    for number in range(3):
        bench.lanes.submit(Priority.DECISION, f"signal {number}", expires=True)
    bench.lanes.submit(Priority.DECISION, "deadline")
    assert bench.expired == [("signal 0", "the decision lane is full")]
    bench.fast.pump()
    assert bench.seen == ["hit", "signal 1", "signal 2", "deadline"]
    assert bench.count("lane.decision.expired") == 1


def test_full_decision_lane_without_signals_leaves_the_hit_with_its_producer() -> None:
    bench = Bench()
    for number in range(4):
        bench.lanes.submit(Priority.DECISION, number)
    assert bench.lanes.room(Priority.DECISION) == 0
    with pytest.raises(LaneFull):
        bench.lanes.submit(Priority.DECISION, "hit")
    bench.fast.pump()
    assert bench.seen == [0, 1, 2, 3]
    assert bench.count("lane.decision.refused") == 1


def test_full_background_lane_drops_its_oldest_and_counts() -> None:
    bench = Bench()
    for number in range(7):
        bench.lanes.submit(Priority.BACKGROUND, number)
    bench.slow.pump()
    assert bench.seen == [3, 4, 5, 6]
    assert bench.count("lane.background.dropped") == 3


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=60))
def test_analysis_lane_merges_by_key_and_loses_nothing(arrivals: list[tuple[str, int]]) -> None:
    bench = Bench()
    for key, value in arrivals:
        bench.lanes.submit_merge(key, (key, [value]), lambda old, new: (old[0], old[1] + new[1]))
    bench.slow.pump()
    keys = list(dict.fromkeys(key for key, _ in arrivals))
    assert bench.seen == [(key, [value for other, value in arrivals if other == key]) for key in keys]


def test_analysis_lane_refuses_a_key_too_many_and_still_merges() -> None:
    bench = Bench()
    for key in range(4):
        bench.lanes.submit_merge(key, 1, lambda old, new: old + new)
    with pytest.raises(LaneFull):
        bench.lanes.submit_merge(4, 1, lambda old, new: old + new)
    bench.lanes.submit_merge(0, 1, lambda old, new: old + new)
    bench.slow.pump()
    assert bench.seen == [2, 1, 1, 1]


def test_execution_lane_refuses_a_producer_that_cannot_wait() -> None:
    bench = Bench()
    for number in range(4):
        bench.lanes.submit(Priority.EXECUTION, number)
    with pytest.raises(LaneFull):
        bench.lanes.submit(Priority.EXECUTION, 4)


async def test_full_execution_lane_blocks_its_reader_and_raises_the_condition_after_100_ms(autojump_clock: Any) -> None:
    bench = Bench()

    async def reader() -> None:
        for number in range(6):
            await bench.lanes.submit_wait(number)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            await trio.sleep(0.5)
            assert bench.blocked == [pytest.approx(0.1)]
            assert bench.fast.pump() == 5  # the fifth moved up from the blocked reader
            await trio.testing.wait_all_tasks_blocked()
            bench.fast.pump()
    assert bench.seen == [0, 1, 2, 3, 4, 5]
    assert bench.count("lane.execution.blocked") == 1


async def test_a_short_wait_for_room_raises_no_condition(autojump_clock: Any) -> None:
    bench = Bench()
    for number in range(4):
        bench.lanes.submit(Priority.EXECUTION, number)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.lanes.submit_wait, 4)
        await trio.sleep(0.05)
        bench.fast.pump()
    assert bench.blocked == []


async def test_drainers_finish_what_is_queued_when_the_lanes_close(autojump_clock: Any) -> None:
    bench = Bench()
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.fast.run)
        await nursery.start(bench.slow.run)
        await trio.testing.wait_all_tasks_blocked()
        bench.lanes.submit(Priority.BACKGROUND, "chore")
        bench.lanes.submit(Priority.EXECUTION, "fill")
        bench.lanes.submit(Priority.CRITICAL, "halt")
        bench.lanes.close()
    assert set(bench.seen) == {"chore", "fill", "halt"}
    assert bench.seen.index("halt") < bench.seen.index("fill")
    with pytest.raises(trio.ClosedResourceError):
        bench.lanes.submit(Priority.CRITICAL, "late")


async def test_a_blocked_reader_wakes_the_drainer_again() -> None:
    bench = Bench()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.fast.run)
            for number in range(50):
                await bench.lanes.submit_wait(number)
            await trio.testing.wait_all_tasks_blocked()
            bench.lanes.close()
    assert bench.seen == list(range(50))


class Steps(trio.abc.Instrument):
    """How many items each step of a task served."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._before = 0
        self.served: list[int] = []

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        served = len(self._bench.seen) - self._before
        self._before += served
        if served:
            self.served.append(served)


async def test_drainer_yields_after_64_items() -> None:
    bench = Bench(depths=(256,) * 5)
    steps = Steps(bench)
    for number in range(200):
        bench.lanes.submit(Priority.EXECUTION, number)
    bench.lanes.close()
    trio.lowlevel.add_instrument(steps)
    await bench.fast.run()
    trio.lowlevel.remove_instrument(steps)
    assert steps.served[:3] == [64, 64, 64]
    assert len(bench.seen) == 200


async def test_drainer_yields_after_a_millisecond_of_work() -> None:
    now_ns = 0

    def work(item: Item) -> None:
        nonlocal now_ns
        now_ns += 300_000

    bench = Bench(lambda: now_ns, depths=(256,) * 5)
    bench.on_item = work
    steps = Steps(bench)
    for number in range(50):
        bench.lanes.submit(Priority.DECISION, number)
    bench.lanes.close()
    trio.lowlevel.add_instrument(steps)
    await bench.fast.run()
    trio.lowlevel.remove_instrument(steps)
    assert steps.served[:12] == [4] * 12
    assert bench.count("drainer.fast.handler_overruns") == 50
    assert bench.count("drainer.fast.handler_ns.max") == 300_000


async def test_a_failing_handler_ends_the_drainer() -> None:
    bench = Bench()

    def fail(item: Item) -> None:
        raise KeyError("a bug")

    bench.on_item = fail
    bench.lanes.submit(Priority.EXECUTION, "fill")
    with pytest.raises(KeyError):
        await bench.fast.run()


def test_a_handler_must_not_drain_its_own_lanes() -> None:
    bench = Bench()
    bench.on_item = lambda item: bench.fast.pump() and None
    bench.lanes.submit(Priority.EXECUTION, "fill")
    with pytest.raises(AssertionError):
        bench.fast.pump()


def test_analysis_takes_no_plain_submission() -> None:
    with pytest.raises(AssertionError):
        Bench().lanes.submit(Priority.ANALYSIS, "batch")


async def test_waiting_and_starvation_are_measured(autojump_clock: trio.testing.MockClock) -> None:
    bench = Bench(VirtualClock(0, autojump_clock).monotonic_ns)
    bench.lanes.submit(Priority.BACKGROUND, "chore 1")
    await trio.sleep(1)
    bench.lanes.submit(Priority.BACKGROUND, "chore 2")
    await trio.sleep(1)
    assert bench.count("lane.background.depth") == 2
    assert bench.count("lane.background.stalled_ns") == 2_000_000_000
    bench.slow.pump()
    assert bench.count("lane.background.stalled_ns") == 0
    assert bench.count("lane.background.wait_ns.max") == 2_000_000_000
    assert bench.count("lane.background.handled") == 2
