"""Restarts, budgets, phases and signals on the virtual clock."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from aegis.core.errors import Restartable
from aegis.runtime.supervise import (
    ConnectionBudget,
    Lifecycle,
    Phase,
    RestartBudgetExceeded,
    RestartPolicy,
    supervise,
    watch_signals,
)


def policy(**changes: Any) -> RestartPolicy:
    return RestartPolicy(**{"jitter": random.Random(1), "max_failures": 4, "window_s": 100.0, **changes})


def fails(times: int, error: BaseException, starts: list[float]) -> Callable[[], Awaitable[None]]:
    async def body() -> None:
        starts.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if len(starts) <= times:
            raise error

    return body


async def test_an_outside_fault_restarts_the_task_until_it_finishes(autojump_clock: Any, log_lines: Any) -> None:
    starts: list[float] = []
    await supervise("feed", fails(3, Restartable("reset by peer"), starts), policy())
    assert len(starts) == 4
    events = log_lines.events("task.restarting")
    assert [(event["task"], event["failures"], event["reason"]) for event in events] == [
        ("feed", 1, "reset by peer"), ("feed", 2, "reset by peer"), ("feed", 3, "reset by peer"),
    ]  # fmt: skip


async def test_the_budget_ends_the_task_with_its_last_reason(autojump_clock: Any) -> None:
    starts: list[float] = []
    with pytest.raises(RestartBudgetExceeded, match="feed: 4 failures in 100 s, the last: reset"):
        await supervise("feed", fails(99, Restartable("reset"), starts), policy())
    assert len(starts) == 4


async def test_failures_far_apart_never_spend_the_budget(autojump_clock: Any) -> None:
    lives = 0

    async def body() -> None:
        nonlocal lives
        lives += 1
        await trio.sleep(40)
        if lives < 50:
            raise Restartable("daily close")

    await supervise("feed", body, policy(base_s=0.1))
    assert lives == 50


@pytest.mark.parametrize("bug", [KeyError("x"), AssertionError("filled > quantity"), RestartBudgetExceeded("inner")])
async def test_a_bug_passes_through_and_is_not_restarted(bug: Exception, autojump_clock: Any) -> None:
    starts: list[float] = []
    with pytest.RaisesGroup(type(bug)):
        await supervise("execution", fails(99, bug, starts), policy())
    assert len(starts) == 1


async def test_a_bug_beside_an_outside_fault_passes_through(autojump_clock: Any) -> None:
    lives = 0

    async def body() -> None:
        nonlocal lives
        lives += 1
        raise ExceptionGroup("both", [Restartable("reset"), KeyError("x")])

    with pytest.RaisesGroup(KeyError, allow_unwrapped=True, flatten_subgroups=True):
        await supervise("feed", body, policy())
    assert lives == 1


async def test_cancellation_is_no_failure(autojump_clock: Any, log_lines: Any) -> None:
    with trio.move_on_after(5) as scope:
        await supervise("feed", trio.sleep_forever, policy())
    assert scope.cancelled_caught
    assert log_lines == []


async def test_helpers_of_a_failed_life_are_gone_before_the_next(autojump_clock: Any) -> None:
    alive = 0
    most = 0
    lives = 0

    async def helper() -> None:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        try:
            await trio.sleep_forever()
        finally:
            alive -= 1

    async def body() -> None:
        nonlocal lives
        lives += 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(helper)
            await trio.sleep(0.1)
            if lives < 3:
                raise Restartable("reset")
            nursery.cancel_scope.cancel()

    await supervise("feed", body, policy())
    assert (lives, most, alive) == (3, 1, 0)


def test_backoff_is_fully_jittered_under_a_capped_doubling_ceiling() -> None:
    rule = policy(base_s=0.5, cap_s=30.0)
    assert [rule.ceiling_s(n) for n in (1, 2, 3, 6, 7, 8, 10_000)] == [0.5, 1.0, 2.0, 16.0, 30.0, 30.0, 30.0]
    delays = [rule.delay_s(5) for _ in range(2_000)]
    assert 0 <= min(delays) < 0.1
    assert 7.9 < max(delays) <= 8.0
    assert 3.8 < sum(delays) / len(delays) < 4.2


def test_equal_seeds_give_equal_backoff() -> None:
    first, second = policy(jitter=random.Random(7)), policy(jitter=random.Random(7))
    assert [first.delay_s(n) for n in range(1, 9)] == [second.delay_s(n) for n in range(1, 9)]


async def test_phases_only_go_forward_and_wake_who_waits(autojump_clock: Any) -> None:
    life = Lifecycle()
    woke: list[Phase] = []

    async def wait(phase: Phase) -> None:
        await life.wait(phase)
        woke.append(phase)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, Phase.RUNNING)
        nursery.start_soon(wait, Phase.DRAINING)
        await trio.sleep(1)
        assert woke == []
        assert life.advance(Phase.DRAINING, "signal SIGINT")  # from STARTING: running is passed
    assert set(woke) == {Phase.RUNNING, Phase.DRAINING}
    assert not life.advance(Phase.RUNNING, "warm")
    assert not life.advance(Phase.DRAINING, "again")
    assert (life.phase, life.reason) == (Phase.DRAINING, "signal SIGINT")


async def test_first_signal_drains_and_second_cancels_the_root() -> None:
    reasons: list[str] = []
    drained = trio.Event()
    with trio.fail_after(5), trio.CancelScope() as root:
        async with trio.open_nursery() as nursery:

            def drain(reason: str) -> None:
                reasons.append(reason)
                drained.set()

            await nursery.start(watch_signals, drain, root)
            os.kill(os.getpid(), signal.SIGINT)
            await drained.wait()
            assert not root.cancel_called
            os.kill(os.getpid(), signal.SIGTERM)
            await trio.sleep_forever()
    assert reasons == ["signal SIGINT"]
    assert root.cancelled_caught


async def test_connection_budget_holds_over_every_window(autojump_clock: Any) -> None:
    budget = ConnectionBudget(attempts=5, window_s=10.0)
    made: list[float] = []

    async def socket(index: int) -> None:
        for _ in range(4):
            await budget.take()
            made.append(trio.current_time())
            await trio.sleep(index * 0.7)

    async with trio.open_nursery() as nursery:
        for index in range(6):
            nursery.start_soon(socket, index)
    assert len(made) == 24
    for start in made:
        assert sum(start <= moment < start + 9.999 for moment in made) <= 5
    assert made[-1] < 50  # and it is not stricter than it must be


async def test_a_cancelled_wait_takes_no_connection_attempt(autojump_clock: Any) -> None:
    budget = ConnectionBudget(attempts=1, window_s=10.0)
    await budget.take()
    with trio.move_on_after(5):
        await budget.take()
    await trio.sleep(5)
    assert budget.available() == 1
