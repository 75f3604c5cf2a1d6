"""A session from its start to its end: by a venue of the test's own on the virtual clock, once on a real exchange."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any

import attrs
import pytest
import trio

from aegis.core.errors import ConfigError, InvariantBroken, Restartable, VenueUnavailable
from aegis.core.messages import Outcome, Request, Unknown
from aegis.core.risk import TradingState
from aegis.core.secret import Secret
from aegis.engine.inputs import InputKind
from aegis.engine.learn import choose, learn_market
from aegis.engine.recovery import Recovered
from aegis.engine.session import Access, Session
from aegis.exchange.server import serve_exchange
from aegis.exchange.settings import ExchangeSettings
from aegis.runtime.clock import SystemClock, VirtualClock
from aegis.runtime.cpu import InlineCpu
from aegis.runtime.metrics import Metrics
from aegis.runtime.supervise import Lifecycle, Phase
from aegis.venue import replies
from aegis.venue.endpoints import simulated
from aegis.venue.http import HttpxPort
from aegis.venue.limits import Limits
from aegis.venue.rest import RestClient
from aegis.venue.signing import HmacSigner
from aegis.venue.user_socket import UserSocket
from aegis.venue.websocket import dialer
from tests.component.test_reconcile import Venue
from tests.support.engine_rig import MS, START_NS, Notes, Tape, make_config, make_market
from tests.support.venue_desk import SIGNER


class Stream:
    """A private stream that does as it is told: it fails, hangs or is up until it is cut."""

    def __init__(self, *lives: str) -> None:
        self.lives = list(lives)
        self.connected = False
        self.cut = trio.Event()
        self.started = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.started += 1
        life = self.lives.pop(0) if self.lives else "up"
        await trio.sleep(0.01)
        if life == "fail":
            raise VenueUnavailable("no listen key")
        if life == "hang":
            await trio.sleep_forever()
        self.connected, self.cut = True, trio.Event()
        task_status.started()
        await self.cut.wait()
        self.connected = False
        raise Restartable("cut")


@attrs.define(eq=False)
class Desk(Venue):
    """An account with what a session asks besides."""

    clock: Any = None
    hangs: str = ""
    limits: Limits = attrs.field(factory=Limits)

    def on_clock_error(self, told: Callable[[], None]) -> None:
        return None

    async def server_time(self) -> int:
        await self._stuck("time")
        return int(self.clock.wall_ns() // MS)

    async def account_config(self) -> replies.AccountConfig:
        await self._stuck("account")
        return await super().account_config()

    async def symbol_configs(self, symbol: str | None = None) -> tuple[replies.SymbolConfig, ...]:
        await self._stuck("configs")
        return ()

    async def submit(self, request: Request) -> Outcome:
        """It never arrives, and nobody can tell."""
        return Unknown(request=request, reason="no whole answer")

    async def _stuck(self, what: str) -> None:
        await trio.sleep(0.01)
        if self.hangs == what:
            await trio.sleep_forever()
        if self.hangs == f"no {what}":
            raise VenueUnavailable(f"no {what}")


@attrs.define(eq=False)
class Stage:
    session: Session
    stream: Stream
    desk: Desk
    tape: Tape
    lifecycle: Lifecycle
    notes: Notes
    events: list[tuple[str, float]] = attrs.field(factory=list)
    said: list[str] = attrs.field(factory=list)
    settling_s: float = 0.0

    async def run(self, flatten: bool = False) -> None:
        async def settle() -> None:
            await trio.sleep(self.settling_s)
            self.events.append(("settled", trio.current_time()))

        await self.session.run(
            flatten=flatten, settle=settle, on_ready=lambda: self.events.append(("ready", trio.current_time())),
            say=self.said.append,
        )  # fmt: skip
        self.events.append(("over", trio.current_time()))

    def commands(self) -> list[str]:
        return [data.decode() for kind, _, _, data in self.tape.inputs if kind is InputKind.COMMAND]


def make_stage(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch, *lives: str, past: Recovered | None = None, hangs: str = ""
) -> Stage:
    async def connect(url: str, *, ssl_context: Any = None) -> Any:
        raise VenueUnavailable("no market data here")

    monkeypatch.setattr("aegis.engine.feed.connect", connect)
    clock, metrics, tape, lifecycle = VirtualClock(START_NS, autojump_clock), Metrics(), Tape(), Lifecycle()
    desk, stream, notes = Desk(clock=clock, hangs=hangs), Stream(*lives), Notes()
    access = Access(
        endpoints=simulated(rest="http://x.test", stream="ws://x.test", trade=None), signer=SIGNER,
        rest=desk, private_stream=lambda deliver: stream,  # type: ignore[arg-type]
    )  # fmt: skip
    session = Session(
        make_config(), access, make_market(), clock=clock, cpu=InlineCpu(metrics), metrics=metrics, scribe=notes,
        tap=tape, run="1", start_ns=START_NS, lifecycle=lifecycle, past=past,
    )  # fmt: skip
    return Stage(session, stream, desk, tape, lifecycle, notes)


async def drain_at(stage: Stage, at_s: float) -> None:
    await trio.sleep_until(at_s)
    stage.lifecycle.advance(Phase.DRAINING, "signal SIGTERM")


@pytest.mark.parametrize("when", [0.0, 0.005, 0.5])
@pytest.mark.parametrize("stuck", ["time", "stream", "account", "configs"])
async def test_a_start_that_hangs_is_given_up_when_the_run_is_to_stop(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch, stuck: str, when: float
) -> None:
    lives = ("hang",) if stuck == "stream" else ()
    stage = make_stage(autojump_clock, monkeypatch, *lives, hangs=stuck)
    if when == 0.0:
        stage.lifecycle.advance(Phase.DRAINING, "signal SIGTERM")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain_at, stage, when)
        with trio.fail_after(5):
            await stage.run()
    assert [name for name, _ in stage.events] == ["over"], "neither ready nor settled"
    assert stage.events[0][1] <= when + 1.0
    assert stage.lifecycle.phase is Phase.STOPPED
    assert stage.session.machine.decision.gate.state is TradingState.HALTED
    assert stage.session.failure == ""
    assert stage.commands()[-1] == "finish"


async def test_a_start_given_up_says_that_the_trades_before_are_unseen(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = Recovered(plans={"BTCUSDT:1s:1": {}})
    stage = make_stage(autojump_clock, monkeypatch, hangs="time", past=past)
    stage.lifecycle.advance(Phase.DRAINING, "signal SIGTERM")
    with trio.fail_after(5):
        await stage.run()
    assert "1 trades of the run before are unseen" in stage.session.failure


async def test_phases_of_a_quiet_run(autojump_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make_stage(autojump_clock, monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain_at, stage, 3.0)
        with trio.fail_after(20):
            await stage.run()
    assert [name for name, _ in stage.events] == ["ready", "settled", "over"]
    assert stage.events[-1][1] == pytest.approx(3.0, abs=1.0)
    assert stage.commands() == ["reconciled", "activate reconciled", "reduce signal SIGTERM", "cancel", "finish"]
    assert stage.session.failure == ""
    assert stage.session.observer.snapshot().unheard == 3


async def test_the_second_attempt_at_the_private_stream_is_as_good_as_the_first(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch, log_lines: Any
) -> None:
    stage = make_stage(autojump_clock, monkeypatch, "fail", "fail", "up")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain_at, stage, 10.0)
        await stage.run()
    assert stage.events[0][0] == "ready"
    assert not stage.session.machine.decision.contexts.reconciling, "entries are allowed"
    assert stage.commands()[:4] == ["reconciling", "reconciling", "reconciled", "activate reconciled"]


async def test_a_lost_private_stream_stops_entries_until_the_account_is_read(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch, log_lines: Any
) -> None:
    stage = make_stage(autojump_clock, monkeypatch)
    contexts = stage.session.machine.decision.contexts
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.run)
        await trio.sleep(2)
        asked = stage.desk.asked["positions"]
        assert not contexts.reconciling
        stage.stream.lives = ["fail", "up"]
        stage.stream.cut.set()
        await trio.sleep(0.001)
        await trio.testing.wait_all_tasks_blocked()
        assert contexts.reconciling
        await trio.sleep(5)
        assert not contexts.reconciling
        assert stage.desk.asked["positions"] == asked + 1
        stage.lifecycle.advance(Phase.DRAINING, "over")
    assert stage.events[-1][0] == "over"


async def test_an_outage_of_minutes_does_not_end_the_run(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch, log_lines: Any
) -> None:
    """No market data and no private stream for two minutes: back-off, not the end."""
    stage = make_stage(autojump_clock, monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.run)
        await trio.sleep(2)
        stage.stream.lives = ["fail"] * 10
        stage.stream.cut.set()
        await trio.sleep(130)
        assert not stage.session.machine.decision.contexts.reconciling
        stage.lifecycle.advance(Phase.DRAINING, "over")
    assert stage.events[-1][0] == "over"


@pytest.mark.parametrize(("mode", "text"), [("hedge_mode", "hedge"), ("multi_assets", "multi-assets")])
async def test_an_account_mode_that_is_not_ours_ends_the_start(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch, mode: str, text: str
) -> None:
    stage = make_stage(autojump_clock, monkeypatch)
    stage.desk.modes[mode] = True
    with pytest.RaisesGroup(pytest.RaisesExc(ConfigError, match=text), flatten_subgroups=True):
        await stage.run()
    assert stage.session.machine.decision.gate.state is TradingState.HALTED


async def test_a_venue_that_cannot_be_reached_at_the_start_is_an_error(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_stage(autojump_clock, monkeypatch, hangs="no time")
    with pytest.RaisesGroup(VenueUnavailable, flatten_subgroups=True):
        await stage.run()


async def test_a_broken_invariant_drains_the_run_and_is_its_failure(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch, log_lines: Any
) -> None:
    stage = make_stage(autojump_clock, monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.run)
        await trio.sleep(2)
        stage.session.service.broken(InvariantBroken("filled above its quantity"))
        stage.session.service.broken(InvariantBroken("and another"))
    assert stage.session.failure == "filled above its quantity"
    assert [name for name, _ in stage.events] == ["ready", "settled", "over"]
    assert stage.lifecycle.phase is Phase.STOPPED


# -- a real exchange on loopback ---------------------------------------------------------------------------------------
class Wire:
    """The venue's own private stream, with a cutter in it."""

    def __init__(self, inner: UserSocket) -> None:
        self.inner = inner
        self.scope = trio.CancelScope()
        self.lives = 0

    @property
    def connected(self) -> bool:
        return self.inner.connected

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.lives += 1
        with trio.CancelScope() as self.scope:
            await self.inner.run(task_status=task_status)
        raise Restartable("cut by the test")


async def test_a_session_on_a_real_exchange_warms_trades_survives_a_cut_and_drains(log_lines: Any) -> None:
    settings = ExchangeSettings(
        symbols=4, seed=7, rate=400.0, latency_median_ms=2.0, latency_p99_ms=5.0, weight_limit=24_000
    )
    config, clock, metrics, tape, notes = make_config(), SystemClock(), Metrics(), Tape(), Notes()
    lifecycle, wires = Lifecycle(), list[Wire]()
    ready, settled = trio.Event(), list[Decimal]()
    with trio.fail_after(300):
        async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
            at = await nursery.start(lambda **status: serve_exchange(settings, **status))
            signer = HmacSigner(Secret(at.api_key), Secret(at.api_secret))
            port = HttpxPort(at.rest)
            stack.push_async_callback(port.aclose)
            rest = RestClient(port, signer, clock.venue_ns, Limits())
            endpoints = simulated(rest=at.rest, stream=at.stream, trade=at.trade)

            def private_stream(deliver: Any) -> Wire:
                wires.append(Wire(UserSocket(rest, endpoints, deliver, dial=dialer())))
                return wires[-1]

            access = Access(endpoints=endpoints, signer=signer, rest=rest, private_stream=private_stream)
            choices = await choose(rest, config.universe, clock.wall_ns() // MS)
            market = await learn_market(rest, choices, config, clock.wall_ns())
            session = Session(
                config, access, market, clock=clock, cpu=InlineCpu(metrics), metrics=metrics, scribe=notes, tap=tape,
                run="1", start_ns=clock.wall_ns(), lifecycle=lifecycle, past=None,
            )  # fmt: skip
            decision = session.machine.decision

            async def settle() -> None:
                while (await rest.account()).wallet != decision.portfolio.wallet:  # noqa: ASYNC110 - fills are on their way
                    await trio.sleep(0.02)
                settled.append(decision.portfolio.wallet)

            async def run() -> None:
                await session.run(flatten=True, settle=settle, on_ready=ready.set, say=print)

            nursery.start_soon(run)
            await ready.wait()
            assert decision.gate.state is TradingState.ACTIVE
            assert session.trade_socket is not None
            assert session.trade_socket.ready
            while not decision.contexts.all_warm:  # noqa: ASYNC110
                await trio.sleep(0.05)
            while session.observer.snapshot().unheard:  # noqa: ASYNC110 - the quietest symbol trades when it trades
                await trio.sleep(0.05)
            wires[0].scope.cancel()
            while wires[0].lives < 2 or decision.contexts.reconciling:  # noqa: ASYNC110
                await trio.sleep(0.02)
            lifecycle.advance(Phase.DRAINING, "signal SIGTERM")
            await lifecycle.wait(Phase.STOPPED)
            nursery.cancel_scope.cancel()
    assert session.failure == ""
    assert settled == [decision.portfolio.wallet]
    assert decision.desk.trades == {}
    told = [data.decode() for kind, _, _, data in tape.inputs if kind is InputKind.COMMAND]
    # The first calls of a strategy load its kernels, which a real run has done before: that may look slow here.
    commands = [name for name in told if not name.startswith("quarantine")]
    assert commands[:2] == ["reconciled", "activate reconciled"]
    assert commands[-3:] == ["reduce signal SIGTERM", "flatten", "finish"]
    outage = commands[2:-3]  # a machine that is busy elsewhere may need more than one attempt
    assert (outage[0], outage[-1], set(outage)) == ("reconciling", "reconciled", {"reconciling", "reconciled"})
    assert [feed.lives for feed in session.feeds] == [1, 1]
