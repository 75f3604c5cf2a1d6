"""The tasks of a running engine, and the lanes between them and the machine.

    market sockets -> machine.read             every 100 ms: machine.boundary -> lane 3 -> worker -> lane 3
    private stream, outcomes -> lane 1         deadlines -> lane 2         halts -> lane 0

The same tasks run live and in a replay; only the clock, the CPU runner and the ports differ.
"""

from __future__ import annotations

import contextlib
import enum
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import trio

from aegis.core.errors import InvariantBroken
from aegis.core.messages import Outcome
from aegis.engine.analysis import Analysis, Job, Result, Seed
from aegis.engine.joining import Terms
from aegis.engine.machine import Machine
from aegis.runtime.clock import Clock
from aegis.runtime.cpu import CpuOverdue, CpuRunner
from aegis.runtime.lanes import FAST, SLOW, Drainer, Item, LaneFull, Lanes, Priority
from aegis.runtime.logs import get_logger
from aegis.runtime.metrics import Metrics

__all__ = ["Service"]

_BEAT_NS = 50_000_000
_IDLE_TIMER_NS = 1_000_000_000
_SLOW_CALL_NS = 5_000_000
#: No further symbol in the same turn once so much of a handler's budget is used.
_SLICES_NS = 125_000
_SLOW_CALLS = 3


class _Work(enum.Enum):
    """What the slow drainer may have to do; each waits at most once on its lane."""

    ANALYSE = "analyse"
    SLICE = "slice"


@attrs.frozen(kw_only=True)
class _Private:
    payload: bytes


@attrs.frozen(kw_only=True)
class _Outcome:
    outcome: Outcome


@attrs.frozen(kw_only=True)
class _Command:
    name: str


@attrs.frozen(kw_only=True)
class _Timer:
    pass


@attrs.frozen(kw_only=True)
class _Finished:
    result: Result | None


class Service:
    """Owns the lanes and the drainers. `fatal` is called once when an invariant broke: trading is halted already."""

    def __init__(
        self,
        machine: Machine,
        clock: Clock,
        cpu: CpuRunner,
        metrics: Metrics,
        *,
        interval_ms: int,
        analysis_latency_ms: int,
        fatal: Callable[[str], None],
    ) -> None:
        """
        Args:
            interval_ms: of the conflation.
            analysis_latency_ms: how long a result is held back; 0 live, the modelled latency on a virtual clock.
        """
        self.machine = machine
        self.metrics = metrics
        self.stuck = 0
        self._clock = clock
        self._cpu = cpu
        self._interval_ns = interval_ms * 1_000_000
        self._latency_s = analysis_latency_ms / 1000
        self._fatal = fatal
        self._slow_calls = 0
        self._in_flight = False
        self._late: deque[Outcome] = deque()
        self._last_timer_ns = 0
        self._rouse, self._roused = trio.open_memory_channel[None](1)
        self._beat_ns = 0
        self._jobs, self._work = trio.open_memory_channel[Job](1)
        now = clock.monotonic_ns
        machine.on_hits = self._decide_hits
        machine.on_broken = self.broken
        self.lanes = Lanes(now, metrics, on_expired=lambda message, reason: None, on_blocked=self._on_blocked)
        self.fast = Drainer(self.lanes, FAST, self._handle_fast, now, metrics)
        self.slow = Drainer(self.lanes, SLOW, self._handle_slow, now, metrics)
        self.job_ns = metrics.histogram("analysis.job_ns")
        self.hit_ns = metrics.histogram("decision.hit_ns")
        self.boundary_late_ns = metrics.histogram("conflation.late_ns")

    # -- what others bring ---------------------------------------------------------------------------------------------
    async def private(self, payload: bytes) -> None:
        """One message of the private stream; its reader waits while the lane is full."""
        await self.lanes.submit_wait(_Private(payload=payload))

    def private_now(self, payload: bytes) -> None:
        """The same from a stream in memory, whose events are bounded by our own orders. Raises LaneFull."""
        self.lanes.submit(Priority.EXECUTION, _Private(payload=payload))

    def outcome(self, outcome: Outcome) -> None:
        """What became of a request. Where the lane has no room it waits here: requests bound their outcomes."""
        try:
            self.lanes.submit(Priority.EXECUTION, _Outcome(outcome=outcome))
        except LaneFull:
            self._late.append(outcome)
            self.rouse()

    def command(self, name: str) -> None:
        """See `Decision.on_command`; overtakes everything."""
        self.lanes.submit(Priority.CRITICAL, _Command(name=name))

    def answer(self, what: str, payload: bytes) -> None:
        """What the venue said when it was asked; taken at once, because the asker goes on from what it proves."""
        with _guard(self):
            self.machine.answer(what, payload, self._clock.venue_ns())

    def terms(self, terms: Terms) -> None:
        """A symbol joins, or its rules have changed; taken at once, because the asker goes on from it."""
        with _guard(self):
            self.machine.terms(terms, self._clock.venue_ns())

    def seed(self, symbol: int, base: Any, higher: tuple[Any, ...]) -> None:
        """History of a symbol; one waits per symbol, the newest."""
        seed = Seed(symbol=symbol, base=base, higher=higher)
        self.lanes.submit_merge(("seed", symbol), seed, lambda _, newer: newer)

    def fill(self, symbol: int, trades: Any) -> None:
        """Trades that no socket brought; taken at once, because bars wait for them."""
        with _guard(self):
            self.machine.fill(symbol, trades, self._clock.venue_ns())

    # -- tasks ---------------------------------------------------------------------------------------------------------
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Drainers, conflation, worker, timer; until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.fast.run, name="fast drainer")
            nursery.start_soon(self.slow.run, name="slow drainer")
            nursery.start_soon(self._analyse, name="analysis")
            nursery.start_soon(self._conflate, name="conflation")
            nursery.start_soon(self._tick, name="timer")
            task_status.started()

    async def _conflate(self) -> None:
        """Boundaries lie on the grid of venue time, so that every run cuts the same stream at the same places."""
        while True:
            now_ns = self._clock.venue_ns()
            due_ns = (now_ns // self._interval_ns + 1) * self._interval_ns
            await self._clock.sleep((due_ns - now_ns) / 1e9)
            now_ns = self._clock.venue_ns()
            self.boundary_late_ns.record(max(0, now_ns - due_ns))
            if self.machine.boundary(now_ns) and not self.slow.serve(Priority.ANALYSIS, _Work.ANALYSE):
                self._want(_Work.ANALYSE)

    async def _analyse(self) -> None:
        """One job in flight; a job that is given up is done again, with the next."""
        while True:
            job = await self._work.receive()
            begin_ns = self._clock.monotonic_ns()
            result: Result | None
            try:
                result = await self._cpu.run(Analysis.compute, *self.machine.analysis.begin(job))
            except CpuOverdue as error:
                self.stuck += 1
                get_logger().error("analysis.stuck", reason=str(error))
                result = None
            if self._latency_s:
                await self._clock.sleep(self._latency_s)
            self.job_ns.record(self._clock.monotonic_ns() - begin_ns)
            finished = _Finished(result=result)
            if not self.slow.serve(Priority.ANALYSIS, finished):
                self.lanes.submit_merge("finished", finished, lambda _, newer: newer)

    async def _tick(self) -> None:
        """Deadlines, and once a second whatever else time brings: at the first beat of the timer when one has passed.

        It sleeps through the beats at which nothing can be due; whatever brings a deadline before them rouses it.
        """
        start_ns = self._clock.venue_ns()
        while True:
            now_ns = self._clock.venue_ns()
            beats = (now_ns - start_ns) // _BEAT_NS + 1
            if not self._late:
                beats = max(beats, -(-(self._deadline_ns() - start_ns) // _BEAT_NS))
            self._beat_ns = start_ns + beats * _BEAT_NS
            with trio.move_on_after((self._beat_ns - now_ns) / 1e9):
                await self._roused.receive()
                continue
            while self._late and self.lanes.room(Priority.EXECUTION):
                self.outcome(self._late.popleft())
            now_ns = self._clock.venue_ns()
            if self._deadline_ns() <= now_ns:
                self._last_timer_ns = now_ns
                self.lanes.submit(Priority.DECISION, _Timer())

    def _deadline_ns(self) -> int:
        """When the timer has something to look at."""
        idle_ns, due_ns = self._last_timer_ns + _IDLE_TIMER_NS, self.machine.decision.desk.next_ns()
        return idle_ns if due_ns is None else min(idle_ns, due_ns)

    def rouse(self) -> None:
        """Something was decided: wake the timer where a beat before the one it sleeps for has something to do."""
        if self._late or self._deadline_ns() <= self._beat_ns - _BEAT_NS:
            with contextlib.suppress(trio.WouldBlock):  # roused already
                self._rouse.send_nowait(None)

    def _decide_hits(self, now_ns: int) -> None:
        """Hits are decided inside the read that brought them: the feed has drained lanes 0 to 2 before it."""
        begin_ns = self._clock.monotonic_ns()
        with _guard(self):
            self.machine.decide_hits(now_ns)
        self.hit_ns.record(self._clock.monotonic_ns() - begin_ns)

    # -- handlers: synchronous -----------------------------------------------------------------------------------------
    def _handle_fast(self, item: Item) -> None:
        now_ns = self._clock.venue_ns()
        with _guard(self):
            match item.message:
                case _Private(payload=payload):
                    self.machine.private(payload, now_ns)
                case _Outcome(outcome=outcome):
                    self.machine.outcome(outcome, now_ns)
                case _Command(name=name):
                    self.machine.command(name, now_ns)
                case _Timer():
                    self.machine.timer(now_ns)
                case other:
                    raise AssertionError(f"no handler for {other!r}")

    def _handle_slow(self, item: Item) -> None:
        now_ns = self._clock.venue_ns()
        with _guard(self):
            match item.message:
                case _Work.ANALYSE:
                    self._begin_analysis(now_ns)
                case _Work.SLICE:
                    self._slice(now_ns)
                case _Finished(result=result):
                    self._in_flight = False
                    self.machine.result(result, now_ns)
                    self._begin_analysis(now_ns)
                    if self.machine.has_slices():
                        self._want(_Work.SLICE)
                case Seed() as seed:
                    self.machine.seed(seed.symbol, seed.base, seed.higher, now_ns)
                case other:
                    raise AssertionError(f"no handler for {other!r}")

    def _begin_analysis(self, now_ns: int) -> None:
        """Start the next job if none is in flight; else the one in flight starts it when it ends."""
        if not self._in_flight and self.machine.pending():
            self._in_flight = True  # from here on, not from when the worker's task gets its turn
            self._jobs.send_nowait(self.machine.analyse(now_ns))

    def _slice(self, now_ns: int) -> None:
        """One symbol after another goes to the strategy, as long as that keeps the urgent lanes waiting for no time."""
        begin_ns = call_ns = self._clock.cpu_ns()
        while self.machine.has_slices() and call_ns - begin_ns < _SLICES_NS:
            self.machine.slice(now_ns)
            before_ns, call_ns = call_ns, self._clock.cpu_ns()
            if call_ns - before_ns > _SLOW_CALL_NS:
                self._slow_calls += 1
                get_logger().warning("strategy.slow", calls=self._slow_calls)
                if self._slow_calls == _SLOW_CALLS:
                    self.command("quarantine three calls above 5 ms")
        if self.machine.has_slices():
            self._want(_Work.SLICE)

    def _want(self, work: _Work) -> None:
        self.lanes.submit_merge(work, work, lambda waiting, _: waiting)

    def _on_blocked(self) -> None:
        self.command("reduce the execution lane was full for 100 ms")

    def broken(self, error: InvariantBroken) -> None:
        """Something that cannot be is: no entry leaves any more, exits and cancels do."""
        get_logger().error("invariant.broken", reason=str(error))
        self.machine.halt(str(error), self._clock.venue_ns())
        self._fatal(str(error))


class _guard:
    """Turns a broken invariant into a halt; bugs pass through and end the run."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> bool:
        if error is None:
            self._service.rouse()
        if not isinstance(error, InvariantBroken):
            return False
        self._service.broken(error)
        self._service.rouse()
        return True
