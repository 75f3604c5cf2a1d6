from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.core.errors import Restartable, VenueUnavailable
from aegis.venue.clock_sync import ClockEstimate, ClockSync, OffsetFilter

MS = 1_000_000


@given(
    st.integers(-5000 * MS, 5000 * MS),
    st.lists(st.tuples(st.integers(0, 400 * MS), st.integers(0, 400 * MS)), min_size=1, max_size=20),
)
@settings(max_examples=150)
def test_the_true_offset_is_always_within_the_stated_error(offset, trips):
    found, now = OffsetFilter(), 1_790_000_000_000 * MS
    for there, back in trips:
        venue_ms = (now + there + offset) // MS
        found.add(now, now + there + back, venue_ms)
        now += there + back + 1000 * MS
    estimate = found.estimate(now)
    assert estimate is not None
    assert abs(estimate.offset_ns - offset) <= estimate.error_ns
    assert estimate.error_ns <= min(sum(trip) for trip in trips[-8:]) / 2 + 5 * MS  # half a trip, quantum, drift


def test_the_shortest_round_trip_wins():
    found = OffsetFilter()
    found.add(0, 100 * MS, 1000)
    found.add(200 * MS, 202 * MS, 1200)
    estimate = found.estimate(202 * MS)
    assert estimate == ClockEstimate(offset_ns=1200 * MS + MS // 2 - 201 * MS, error_ns=MS + MS // 2)


def test_an_estimate_gets_worse_with_age_and_no_sample_is_no_estimate():
    found = OffsetFilter()
    assert found.estimate(0) is None
    found.add(0, MS, 5)
    fresh, old = found.estimate(MS), found.estimate(MS + 3600 * 1000 * MS)
    assert fresh is not None
    assert old is not None
    assert old.error_ns - fresh.error_ns == 720 * MS  # 200 ppm of an hour
    found.add(10, 5, 5)  # the wall jumped back: ignored
    assert found.estimate(MS) == fresh


async def test_measures_at_start_each_interval_and_when_the_venue_complains(autojump_clock):
    calls: list[float] = []
    applied: list[ClockEstimate] = []
    wall = lambda: round(trio.current_time() * 1e9)  # noqa: E731

    async def server_time() -> int:
        calls.append(trio.current_time())
        await trio.sleep(0.002)
        return round(trio.current_time() * 1000) + 777

    sync = ClockSync(server_time, wall, applied.append, interval_s=60, burst=3)
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        first = await nursery.start(sync.run)
        assert abs(first.offset_ns - 777 * MS) <= first.error_ns
        assert len(calls) == 3
        await trio.sleep(61)
        assert len(calls) == 4
        assert calls[3] - start >= 60
        sync.request_resync()
        sync.request_resync()
        await trio.sleep(1)
        assert len(calls) == 7
        assert len(applied) == 3
        nursery.cancel_scope.cancel()


async def test_a_silent_venue_ends_the_task_as_restartable(autojump_clock):
    async def server_time() -> int:
        raise VenueUnavailable("down")

    with pytest.raises(Restartable):
        await ClockSync(server_time, lambda: 0, lambda _: None).run()


async def test_a_wall_that_always_jumps_back_gives_no_estimate(autojump_clock):
    ticks = iter(range(1000, 0, -1))

    async def server_time() -> int:
        return 5

    with pytest.raises(Restartable, match="jumped"):
        await ClockSync(server_time, lambda: next(ticks), lambda _: None).run()
