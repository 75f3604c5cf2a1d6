from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from aegis.runtime.clock import (
    SystemClock,
    VirtualClock,
    deterministic_scheduling,
    fresh_seed,
    random_bytes,
    run_virtual,
    seeded_random,
)

EPOCH_NS = 1_700_000_000_000_000_000


async def trace_of_a_race(clock: VirtualClock, tasks: int) -> list[tuple[int, int]]:
    """Which of several tasks that are ready together runs first, over and over, and when."""
    trace: list[tuple[int, int]] = []
    send, receive = trio.open_memory_channel[int](0)

    async def task(number: int) -> None:
        for round_ in range(6):
            await trio.sleep(0.1 * (round_ % 3))
            trace.append((number, clock.wall_ns()))
            with trio.move_on_after(0.05):
                await (send.send(number) if number % 2 else receive.receive())

    async with trio.open_nursery() as nursery:
        for number in range(tasks):
            nursery.start_soon(task, number)
    return trace


def test_equal_seeds_give_equal_schedules_and_other_seeds_others() -> None:
    traces = {
        seed: [run_virtual(trace_of_a_race, 7, epoch_ns=EPOCH_NS, seed=seed) for _ in range(3)] for seed in range(5)
    }
    assert all(trace == runs[0] for runs in traces.values() for trace in runs)
    assert len({tuple(runs[0]) for runs in traces.values()}) == 5


def test_without_a_seed_a_turn_more_of_others_changes_no_order() -> None:
    async def with_strangers(clock: VirtualClock, tasks: int, strangers: int) -> list[tuple[int, int]]:
        async def stranger() -> None:
            for _ in range(7):
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            for _ in range(strangers):
                nursery.start_soon(stranger)
            return await trace_of_a_race(clock, tasks)

    traces = {
        seed: [run_virtual(with_strangers, 7, strangers, epoch_ns=EPOCH_NS, seed=seed) for strangers in range(4)]
        for seed in (None, 1)
    }
    assert traces[None] == [traces[None][0]] * 4
    assert traces[1] != [traces[1][0]] * 4


def test_virtual_time_starts_at_the_epoch_and_jumps() -> None:
    async def main(clock: VirtualClock) -> tuple[int, int, int, int]:
        start = clock.wall_ns()
        await trio.sleep(80_000.25)
        clock.offset_ns = -5_000_000_000
        return start, clock.monotonic_ns(), clock.wall_ns(), clock.venue_ns()

    start, monotonic, wall, venue = run_virtual(main, epoch_ns=EPOCH_NS, seed=1)
    assert start == EPOCH_NS
    assert monotonic == 80_000_250_000_000
    assert wall == EPOCH_NS + monotonic
    assert venue == wall - 5_000_000_000


def test_scheduling_is_restored_afterwards() -> None:
    generator = trio._core._run._r
    before = trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING, generator.getstate()
    with deterministic_scheduling(3):
        assert trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING is True
        generator.random()
    assert (trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING, generator.getstate()) == before


def test_a_trio_without_the_private_names_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio._core, "_run", SimpleNamespace(_r=random.Random(1)))
    with pytest.raises(RuntimeError, match="cannot schedule deterministically"), deterministic_scheduling(1):
        pass


def test_system_clock_goes_forward_and_knows_the_venue() -> None:
    clock = SystemClock()
    first = clock.monotonic_ns()
    clock.offset_ns = 10**18
    assert clock.monotonic_ns() >= first
    assert clock.venue_ns() - clock.wall_ns() == pytest.approx(10**18, abs=10**9)


def test_draws_of_one_purpose_do_not_shift_another() -> None:
    jitter = [seeded_random(7, "backoff", "feed").random() for _ in range(2)]
    assert jitter[0] == jitter[1]
    assert jitter[0] != seeded_random(7, "backoff", "trade").random()
    assert seeded_random(7, "ab", "c").random() != seeded_random(7, "a", "bc").random()
    assert seeded_random(7, "golden").randrange(2**32) == seeded_random(7, "golden").randrange(2**32)


def test_fresh_seeds_fit_the_configuration() -> None:
    seeds = {fresh_seed() for _ in range(50)}
    assert len(seeds) > 40
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_random_bytes_do_not_repeat() -> None:
    assert len({random_bytes(16) for _ in range(50)}) == 50
    assert len(random_bytes(4)) == 4
