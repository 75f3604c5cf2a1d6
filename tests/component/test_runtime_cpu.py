"""Worker threads need real time: these tests hold threads with events, never with sleeps."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import trio

from aegis.runtime.cpu import Cpu, CpuOverdue, InlineCpu
from aegis.runtime.metrics import Metrics


def cpu(deadline_s: float = 30.0, tokens: int = 4) -> tuple[Cpu, Metrics]:
    metrics = Metrics()
    return Cpu(trio.CapacityLimiter(tokens), metrics, time.monotonic_ns, deadline_s=deadline_s), metrics


async def test_a_job_runs_in_another_thread_and_returns_its_result() -> None:
    runner, metrics = cpu()
    assert await runner.run(lambda a, b: (a + b, threading.get_ident()), 2, 3) != (5, threading.get_ident())
    assert metrics.snapshot()["cpu.jobs"] == 1
    assert metrics.snapshot()["cpu.round_trip_ns.count"] == 1


async def test_an_error_of_the_job_reaches_the_caller() -> None:
    runner, metrics = cpu()
    with pytest.raises(ZeroDivisionError):
        await runner.run(lambda: 1 // 0)
    assert metrics.snapshot()["cpu.abandoned"] == 0


async def test_a_stuck_job_is_given_up_and_keeps_its_token_until_it_ends() -> None:
    runner, metrics = cpu(deadline_s=0.02)
    release = threading.Event()
    try:
        with trio.fail_after(10), pytest.raises(CpuOverdue, match=r"ran longer than 0\.02 s"):
            await runner.run(release.wait, 30)
        assert metrics.snapshot()["cpu.abandoned"] == 1
        assert metrics.snapshot()["cpu.borrowed_tokens"] == 1
    finally:
        release.set()
    with trio.fail_after(10):
        while runner.limiter.borrowed_tokens:
            await trio.lowlevel.checkpoint()


async def test_four_stuck_jobs_stop_analysis_but_not_the_loop() -> None:
    runner, metrics = cpu(deadline_s=0.05)
    release = threading.Event()
    overdue = 0

    async def stuck() -> None:
        nonlocal overdue
        try:
            await runner.run(release.wait, 30)
        except CpuOverdue:
            overdue += 1

    try:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(stuck)
    finally:
        release.set()
    assert overdue == 5
    assert metrics.snapshot()["cpu.abandoned"] == 4  # the fifth never got a worker


async def test_cancellation_abandons_the_job_at_once() -> None:
    runner, metrics = cpu()
    release, began = threading.Event(), threading.Event()

    def job() -> None:
        began.set()
        release.wait(30)

    try:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(runner.run, job)
                while not began.is_set():
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
    finally:
        release.set()
    assert metrics.snapshot()["cpu.abandoned"] == 1


async def test_inline_cpu_runs_on_the_loop_without_passing_virtual_time(autojump_clock: Any) -> None:
    metrics = Metrics()
    assert await InlineCpu(metrics).run(threading.get_ident) == threading.get_ident()
    assert trio.current_time() == 0
    assert metrics.snapshot()["cpu.jobs"] == 1
