"""The tasks between the lanes, on the virtual clock with computing in the loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest
import trio

from aegis.core.errors import InvariantBroken
from aegis.core.messages import Unknown
from aegis.core.risk import TradingState
from aegis.core.values import Side
from aegis.engine.decision import Decision
from aegis.engine.desk import Desk
from aegis.engine.inputs import InputKind
from aegis.engine.service import Service, _Work
from aegis.kernels.layout import BAR
from aegis.runtime.clock import VirtualClock
from aegis.runtime.cpu import CpuOverdue, InlineCpu
from aegis.runtime.metrics import Metrics
from aegis.signals.strategy import Setup
from tests.support.core_cases import make_order
from tests.support.engine_rig import (
    MS,
    NO_HIGHER,
    SECOND,
    START_NS,
    Rig,
    contract,
    history,
    make_rig,
    marks,
    quote,
    trade,
)


class Worker:
    """`InlineCpu` that takes `seconds` for each job, and gives up those that `lost` names by number."""

    def __init__(self, metrics: Metrics, seconds: float = 0.0, lost: tuple[int, ...] = ()) -> None:
        self._inline = InlineCpu(metrics)
        self.seconds, self.lost = seconds, lost
        self.jobs: list[Any] = []
        self.running = self.most = 0

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        number = len(self.jobs)
        self.jobs.append(args[2])
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await trio.sleep(self.seconds)
            if number in self.lost:
                raise CpuOverdue("gone")
            return await self._inline.run(function, *args)
        finally:
            self.running -= 1


@attrs.define(eq=False)
class Stand:
    rig: Rig
    service: Service
    worker: Worker
    clock: VirtualClock
    fatal: list[str]

    def go(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self.service.run)

    async def tick(self, seconds: float, step_s: float = 0.05) -> None:
        """Prices go on for so long."""
        for n in range(round(seconds / step_s)):
            await trio.sleep(step_s)
            self.rig.now_ns = self.clock.venue_ns()
            ms = self.rig.now_ns // MS
            price = 5000.0 + n % 7
            self.rig.read(0, quote(ms, ms, price - 0.1, price + 0.1))
            self.rig.read(1, trade(ms, int(self.rig.machine.table.symbols["last_id"][0]) + 1, price) + marks(ms))


def make_stand(autojump_clock: Any, *, latency_ms: int = 0, phase_ns: int = 37 * MS, **worker: Any) -> Stand:
    rig, metrics, fatal = make_rig(), Metrics(), []
    clock = VirtualClock(START_NS + phase_ns, autojump_clock)
    cpu = Worker(metrics, **worker)
    service = Service(
        rig.machine, clock, cpu, metrics, interval_ms=100, analysis_latency_ms=latency_ms, fatal=fatal.append
    )
    rig.now_ns = clock.venue_ns()
    return Stand(rig, service, cpu, clock, fatal)


async def test_boundaries_lie_on_the_grid_of_venue_time(autojump_clock: Any, nursery: trio.Nursery) -> None:
    stand = make_stand(autojump_clock)
    stand.go(nursery)
    await trio.sleep(2.0)
    times = stand.rig.tape.times(InputKind.BOUNDARY)
    assert times == [START_NS + 100 * MS * n for n in range(1, 21)]


async def test_one_job_is_in_flight_and_what_comes_meanwhile_is_in_the_next(
    autojump_clock: Any, nursery: trio.Nursery
) -> None:
    stand = make_stand(autojump_clock, seconds=0.33)
    stand.rig.up(0, 1)
    stand.go(nursery)
    await stand.tick(5.0)
    await trio.sleep(2.0)
    assert stand.worker.most == 1
    assert len(stand.worker.jobs) > 8
    trades = sum(int(job.rows["trades"].sum()) for job in stand.worker.jobs)
    assert trades == 100, "every trade is in exactly one job"
    kinds = [kind for kind, *_ in stand.rig.tape.inputs if kind in (InputKind.ANALYSE, InputKind.RESULT)]
    assert kinds == [InputKind.ANALYSE, InputKind.RESULT] * (len(kinds) // 2)


async def test_a_history_that_comes_with_a_result_does_not_start_a_second_job(
    autojump_clock: Any, nursery: trio.Nursery
) -> None:
    """Result, history and boundary wait on one lane: the worker's task has not had its turn between them."""
    stand = make_stand(autojump_clock, seconds=0.01)
    stand.rig.up(0, 1)
    machine, service = stand.rig.machine, stand.service
    taken = machine.result

    def result(*args: Any) -> None:
        taken(*args)
        ms = stand.clock.venue_ns() // MS
        stand.rig.read(0, quote(ms, ms * 1000 + len(stand.worker.jobs), 4999.0, 5001.0))
        machine.boundary(stand.clock.venue_ns())
        service.seed(1, history(1, ms, 50), NO_HIGHER)
        service._want(_Work.ANALYSE)

    machine.result = result  # type: ignore[method-assign]
    stand.go(nursery)
    await stand.tick(1.0)
    assert stand.worker.most == 1
    kinds = [kind for kind, *_ in stand.rig.tape.inputs if kind in (InputKind.ANALYSE, InputKind.RESULT)]
    assert len(kinds) > 20
    assert all(one is not other for one, other in itertools.pairwise(kinds))


async def test_a_job_that_is_given_up_is_done_again_with_the_next(
    autojump_clock: Any, nursery: trio.Nursery, log_lines: Any
) -> None:
    steady, shaky = make_stand(autojump_clock), make_stand(autojump_clock, lost=(2, 3, 7))
    for stand in (steady, shaky):
        stand.rig.up(0, 1)
        stand.go(nursery)
        nursery.start_soon(stand.tick, 6.0)
    await trio.sleep(8.0)
    assert shaky.service.stuck == 3
    assert len(log_lines.events("analysis.stuck")) == 3
    assert [kind for kind, _, _, data in shaky.rig.tape.inputs if kind is InputKind.RESULT and data == b"\0"]
    assert shaky.rig.machine.bars == steady.rig.machine.bars > 3
    ring = [stand.rig.machine.analysis.front.bars[0, 0] for stand in (steady, shaky)]
    assert ring[0].tobytes() == ring[1].tobytes()


async def test_a_result_is_held_back_by_the_modelled_latency(autojump_clock: Any, nursery: trio.Nursery) -> None:
    stand = make_stand(autojump_clock, latency_ms=20)
    stand.rig.up(0, 1)
    stand.go(nursery)
    await stand.tick(1.0)
    begun, ended = (stand.rig.tape.times(kind) for kind in (InputKind.ANALYSE, InputKind.RESULT))
    assert begun
    assert [b - a for a, b in zip(begun, ended, strict=False)] == [20 * MS] * min(len(begun), len(ended))


def start_over(stand: Stand, seconds: int) -> None:
    """Each symbol turns cold, and warm with history until then: the strategy is shown what that has left standing."""
    stand.rig.now_ns = stand.clock.venue_ns()
    stand.rig.machine.connection(1, None, stand.rig.now_ns)
    stand.rig.up(1)
    for symbol in range(3):
        stand.service.seed(symbol, history(symbol, (stand.rig.now_ns + seconds * SECOND) // MS, 2600), NO_HIGHER)


async def test_three_slow_calls_put_the_strategy_off(
    autojump_clock: Any, nursery: trio.Nursery, log_lines: Any
) -> None:
    stand = make_stand(autojump_clock)
    decision = stand.rig.machine.decision
    calls = 0

    def slow(*args: Any) -> tuple[()]:
        nonlocal calls
        calls += 1
        slept["ns"] += 6 * MS
        return ()

    slept = {"ns": 0}
    stand.clock.cpu_ns = lambda: slept["ns"]  # type: ignore[method-assign]
    stand.rig.warm((0, 1, 2))
    decision.strategy.on_events = slow  # type: ignore[method-assign]
    stand.go(nursery)
    start_over(stand, 3)
    await trio.sleep(1.0)
    assert calls == 3
    assert decision.quarantined
    assert len(log_lines.events("strategy.slow")) == 3
    assert any(
        name.startswith(b"quarantine") for kind, _, _, name in stand.rig.tape.inputs if kind is InputKind.COMMAND
    )
    start_over(stand, 4)
    await trio.sleep(1.0)
    assert calls == 3, "it is not asked again"


async def test_a_broken_invariant_in_a_handler_halts_trading_and_is_told(
    autojump_clock: Any, nursery: trio.Nursery, log_lines: Any
) -> None:
    stand = make_stand(autojump_clock)
    stand.rig.up(0, 1)
    stand.service.command("activate test")
    stand.go(nursery)
    await trio.sleep(0.01)
    gate = stand.rig.machine.decision.gate
    assert gate.state is TradingState.ACTIVE

    stand.rig.notes.broken = "no space left"
    stand.service.outcome(Unknown(request=make_order(), reason="x"))
    await trio.sleep(0.01)
    assert gate.state is TradingState.HALTED
    assert stand.fatal == ["no space left"]
    assert log_lines.events("invariant.broken")
    stand.rig.notes.broken = ""
    stand.service.command("reconciling")  # the drainers live on: exits and cancels must leave
    await trio.sleep(0.01)
    assert stand.rig.machine.decision.contexts.reconciling
    assert gate.state is TradingState.HALTED


def hit(stand: Stand) -> None:
    """Arm a level below the market, and let the market come to it."""
    stand.rig.now_ns = stand.clock.venue_ns()
    ms = stand.rig.now_ns // MS
    stand.rig.read(0, quote(ms, 10, 4999.0, 5001.0))
    setup = Setup(
        strategy="test", symbol=0, name="BTCUSDT", side=Side.BUY, zone=5, timeframe="1s", entry=4990.0, stop=4900.0,
        target=5200.0, known_at_ms=ms, expires_ms=ms + 60_000, time_limit_ms=60_000,
    )  # fmt: skip
    assert stand.rig.machine.decision.setups.arm(setup, np.zeros(1, BAR)[0], stand.rig.now_ns)
    stand.rig.read(0, quote(ms, 11, 4988.0, 4989.0))


@pytest.mark.parametrize("where", ["answer", "private", "hit", "contract", "slice", "timer"])
async def test_every_way_into_the_fold_is_guarded(
    autojump_clock: Any, nursery: trio.Nursery, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand = make_stand(autojump_clock)
    machine, decision = stand.rig.machine, stand.rig.machine.decision
    stand.rig.warm((0, 1, 2))
    stand.go(nursery)
    await trio.sleep(0.01)
    stand.rig.notes.broken = where

    def broken(*args: Any) -> None:
        raise InvariantBroken(where)

    if where == "answer":
        stand.service.answer("account", b'{"wallet":"5"}')
    elif where == "private":
        stand.service.private_now(b'{"e":"listenKeyExpired","E":1,"listenKey":"x"}')
    elif where == "hit":
        hit(stand)
    elif where == "contract":
        stand.rig.read(1, contract(stand.clock.venue_ns() // MS, "BREAK"))
    elif where == "timer":
        monkeypatch.setattr(Decision, "on_timer", broken)
    else:
        decision.strategy.on_events = broken  # type: ignore[method-assign]
        start_over(stand, 3)
    await trio.sleep(2.0)
    assert where in stand.fatal
    assert decision.gate.state is TradingState.HALTED
    assert machine.decision.setups.armed == {}


async def test_a_bug_passes_through_and_ends_the_run(autojump_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stand = make_stand(autojump_clock)

    def bug(*args: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Decision, "on_timer", bug)
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        with trio.fail_after(10):
            await stand.service.run()
            await trio.sleep_forever()
    assert stand.fatal == []


async def test_deadlines_are_looked_at_when_due_and_once_a_second_otherwise(
    autojump_clock: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand = make_stand(autojump_clock)
    stand.go(nursery)
    await trio.sleep(3.2)
    times = stand.rig.tape.times(InputKind.TIMER)
    assert 3 <= len(times) <= 5
    due = stand.clock.venue_ns() + 120 * MS
    monkeypatch.setattr(Desk, "next_ns", lambda desk: due if stand.clock.venue_ns() <= due + 50 * MS else None)
    stand.service.private_now(b'{"e":"listenKeyExpired","E":1,"listenKey":"x"}')  # a deadline comes with an input
    await trio.sleep(0.3)
    after = [t for t in stand.rig.tape.times(InputKind.TIMER) if t >= due]
    assert after
    assert after[0] - due <= 50 * MS


async def test_a_full_execution_lane_stops_entries_and_loses_nothing(
    autojump_clock: Any, nursery: trio.Nursery
) -> None:
    stand = make_stand(autojump_clock)
    stand.service.command("activate test")
    for n in range(4200):  # more than the lane takes; nobody drains yet
        stand.service.outcome(Unknown(request=make_order(cid=f"a-{n}"), reason="x"))
    nursery.start_soon(stand.service.private, b'{"e":"listenKeyExpired","E":1,"listenKey":"x"}')
    await trio.sleep(0.2)
    stand.go(nursery)
    await trio.sleep(0.5)
    assert len(stand.rig.tape.times(InputKind.OUTCOME)) == 4200
    assert len(stand.rig.tape.times(InputKind.PRIVATE)) == 1
    assert stand.rig.machine.decision.gate.state is TradingState.REDUCING
