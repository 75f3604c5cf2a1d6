"""The task that moves the exchange, on a virtual clock."""

from __future__ import annotations

import pytest
import trio

from aegis.exchange.driver import Driver

SECOND = 1_000_000_000


class World:
    """Records what the driver does to it."""

    def __init__(self, start_ns: int = 0) -> None:
        self.offset_ns = start_ns
        self.steps: list[int] = []
        self.due_ns: int | None = None
        self.broken = False
        self.crowded = False
        self.driver = Driver(
            clock=self.clock,
            advance=self.advance,
            next_ns=lambda: self.due_ns,
            published=lambda now_ns: None,
            start_ns=start_ns,
            tick_s=0.005,
            crowded=lambda: self.crowded,
        )

    def clock(self) -> int:
        return self.offset_ns + round(trio.current_time() * SECOND)

    def advance(self, now_ns: int) -> None:
        if self.broken:
            raise ZeroDivisionError
        self.steps.append(now_ns)
        if self.due_ns is not None and self.due_ns <= now_ns:
            self.due_ns = None


async def test_steps_every_tick_and_at_what_is_due(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    world = World()
    world.due_ns = 7_000_000
    nursery.start_soon(world.driver.run)
    await trio.sleep(0.0201)
    start = world.steps[0] - 5_000_000
    assert [step - start for step in world.steps[:4]] == [5_000_000, 7_000_000, 12_000_000, 17_000_000]


async def test_request_runs_at_once_with_the_present_time(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    world = World()
    nursery.start_soon(world.driver.run)
    await trio.sleep(0.002)
    served: list[tuple[int, int]] = []
    for number in range(3):
        world.driver.submit(lambda now_ns, number=number: served.append((number, now_ns)))
    asked_ns = world.clock()
    await trio.testing.wait_all_tasks_blocked()
    assert served == [(number, asked_ns) for number in range(3)]
    assert world.clock() == asked_ns  # no tick had to pass


async def test_a_long_absence_is_caught_up_in_slices(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    world.offset_ns = 600 * SECOND
    await world.driver.catch_up()
    behind = world.clock() - world.driver.now_ns
    assert 0 <= behind <= SECOND // 10
    gaps = {later - earlier for earlier, later in zip([0, *world.steps], world.steps, strict=False)}
    assert gaps == {SECOND // 10}


async def test_time_never_goes_back(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    world = World(start_ns=10 * SECOND)
    nursery.start_soon(world.driver.run)
    await trio.sleep(0.05)
    reached = world.driver.now_ns
    world.offset_ns -= 5 * SECOND
    await trio.sleep(0.05)
    assert world.steps == sorted(world.steps)
    assert set(world.steps[world.steps.index(reached) + 1 :]) == {reached}


async def test_a_step_that_fails_leaves_an_inconsistent_state(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    world.broken = True
    with pytest.raises(ZeroDivisionError):
        await world.driver.run()
    assert not world.driver.consistent


async def test_who_has_much_unread_is_waited_for_while_there_is_time_to_make_up_for_but_not_for_ever(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    world = World()
    world.crowded = True
    nursery.start_soon(world.driver.run)
    await trio.sleep(0.5)
    assert len(world.steps) > 90, "nobody is waited for in the present"
    world.offset_ns = 10 * SECOND
    count = len(world.steps)
    await trio.sleep(2.5)
    assert len(world.steps) - count <= 4
    world.crowded = False
    await trio.sleep(0.01)
    assert world.clock() - world.driver.now_ns < SECOND
