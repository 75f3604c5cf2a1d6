"""One trading session with one venue: the tasks, in the order in which they start and the reverse in which they stop.

Two nurseries: the outer one holds what must live until the account is settled (service, execution, private stream),
the inner one what only brings new work (feed, warm-up, housekeeping).
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

import attrs
import trio

from aegis.config import Config
from aegis.core.values import SymbolName
from aegis.engine.bar_store import BarStore
from aegis.engine.build import Market, build_machine
from aegis.engine.desk import Scribe
from aegis.engine.drain import patience_s, unsettled
from aegis.engine.execution import Execution
from aegis.engine.feed import MarketFeed
from aegis.engine.inputs import Tap
from aegis.engine.learn import prepare_symbol
from aegis.engine.machine import Machine
from aegis.engine.mend import Mender
from aegis.engine.observe import SESSION_COUNTS, Observer
from aegis.engine.reconcile import Reconciler
from aegis.engine.recovery import Recovered, recover
from aegis.engine.rehearsal import Rehearsal
from aegis.engine.roster import Roster
from aegis.engine.service import Service
from aegis.engine.shards import Shard, plan_shards, stream_url
from aegis.engine.warmup import Warmup
from aegis.engine.watch import DepthWatch
from aegis.runtime.clock import Clock, seeded_random
from aegis.runtime.cpu import CpuRunner
from aegis.runtime.metrics import Metrics, probe_lateness
from aegis.runtime.supervise import ConnectionBudget, Lifecycle, Phase, RestartPolicy, supervise
from aegis.venue.clock_sync import ClockEstimate, ClockSync
from aegis.venue.decode import Ignored
from aegis.venue.endpoints import Endpoints
from aegis.venue.rest import RestClient
from aegis.venue.signing import Signer
from aegis.venue.trade_socket import TradeSocket
from aegis.venue.user_socket import UserSocket
from aegis.venue.websocket import dialer

__all__ = ["Access", "PrivateDelivery", "PrivateStream", "Session", "session_shards"]

#: Settled sooner than this, a stop needs no explanation.
_QUIET_S = 1.0
_WINDOW_S = 300.0
_TRADE_SOCKET_WAIT_S = 5.0
#: Failures of one socket in five minutes that end the run: more than the back-off lets happen, so that a run outlives
#: an outage of its venue.
_PATIENT = 60


#: Gets every message of the private stream, raw and decoded.
PrivateDelivery = Callable[[bytes, object], Awaitable[None]]


class PrivateStream(Protocol):
    """The account's events. One `run` is one life: `started()` once it is up, and Restartable when it has ended."""

    @property
    def connected(self) -> bool: ...

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None: ...


@attrs.frozen(kw_only=True)
class Access:
    """How this venue is reached: addresses, key, and the one REST client.

    `private_stream` makes the private stream where that is no socket of the venue's.
    """

    endpoints: Endpoints
    signer: Signer
    rest: RestClient
    ssl_context: ssl.SSLContext | None = None
    private_stream: Callable[[PrivateDelivery], PrivateStream] | None = None


class Session:
    """Built from what was learnt; `run` trades until the lifecycle drains, then settles and returns."""

    def __init__(
        self,
        config: Config,
        access: Access,
        market: Market,
        *,
        clock: Clock,
        cpu: CpuRunner,
        metrics: Metrics,
        scribe: Scribe,
        tap: Tap,
        run: str,
        start_ns: int,
        lifecycle: Lifecycle,
        past: Recovered | None,
        synced: Callable[[], Awaitable[None]] | None = None,
        bars: BarStore | None = None,
    ) -> None:
        self.config, self.access, self.market = config, access, market
        self.lifecycle = lifecycle
        self._clock = clock
        self._metrics = metrics
        self._past = past
        self.failure = ""
        shards = session_shards(config, access, market)
        self.machine: Machine = build_machine(
            config, market, [shard.channel() for shard in shards],
            run=run, start_ns=start_ns, scribe=scribe, tap=tap, send=self._send, lane_full=self._lane_full,
            on_reseed=lambda symbols: self.warmup.request(symbols), on_mend=lambda wanted: self.mender.request(wanted),
            spare=config.universe.spare,
        )  # fmt: skip
        self.service = Service(
            self.machine, clock, cpu, metrics,
            interval_ms=config.conflation.interval_ms, analysis_latency_ms=0, fatal=self._fatal,
        )  # fmt: skip
        self.trade_socket = self._make_trade_socket()
        self.execution = Execution(
            rest=access.rest, socket=self.trade_socket, deliver=self.service.outcome, synced=synced
        )
        self.rehearsal = Rehearsal(
            self.machine.decision, self.execution.rehearse, clock.venue_ns, hot=config.execution.hot_loop
        )
        self.user = self._make_private_stream()
        self.reconciler = Reconciler(
            access.rest, self.machine, clock.venue_ns, lambda: self.user.connected, self.service.answer
        )
        self.machine.decision.ask = self.reconciler.ask
        self._configs: dict[SymbolName, Any] = {}
        specs = self.machine.decision.specs
        self.warmup = Warmup(
            venue=access.rest, specs=specs, timeframes_ms=config.bars.timeframes_ms,
            bars=config.bars.warmup_bars, venue_ns=clock.venue_ns, deliver=self.service.seed, prepare=self._prepare,
            store=bars,
        )  # fmt: skip
        self.mender = Mender(
            venue=access.rest, specs=specs, wait_s=config.feed.mend_wait_s, deliver=self.service.fill
        )
        self.clock_sync = ClockSync(access.rest.server_time, clock.wall_ns, self._on_clock)
        access.rest.on_clock_error(self.clock_sync.request_resync)
        self.feeds: Sequence[MarketFeed] = self._make_feeds(shards)
        self.roster = self._make_roster()
        self.watch = self._make_watch()
        self.machine.on_contract = self.roster.ring
        self._show(metrics)
        self.late_ns = metrics.histogram("loop.late_ns")
        self.observer = Observer(
            machine=self.machine, metrics=metrics, venue_ns=clock.venue_ns, run=run, mode=config.mode,
            phase=lambda: lifecycle.phase.name, started_ns=start_ns,
        )  # fmt: skip

    def _show(self, metrics: Metrics) -> None:
        """What the ways in and out have counted, for the summary."""
        counts: dict[str, Callable[[], int]] = {
            "requests_by_socket": lambda: self.execution.by_socket,
            "requests_by_rest": lambda: self.execution.by_rest,
            "histories_fetched": lambda: self.warmup.fetched,
            "histories_failed": lambda: self.warmup.failed,
            "analyses_given_up": lambda: self.service.stuck,
        }
        socket = self.trade_socket
        if socket is not None:
            counts |= {"replies_malformed": lambda: socket.malformed, "replies_unmatched": lambda: socket.unmatched}
        for name, read in counts.items():
            metrics.gauge(f"{SESSION_COUNTS}{name}", read)

    # -- phases --------------------------------------------------------------------------------------------------------
    async def run(
        self,
        *,
        flatten: bool,
        settle: Callable[[], Awaitable[None]],
        on_ready: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        """Trade until DRAINING; stop; `settle` runs while the private stream is still up.

        `say` is told what a stop waits for. Raises VenueUnavailable and ConfigError from the start-up;
        RestartBudgetExceeded when a task cannot be kept up.
        """
        async with trio.open_nursery() as outer:
            await outer.start(self.service.run)
            outer.start_soon(self.execution.run, name="execution")
            if await self._unless_draining(partial(self._start_up, outer)):
                await self._trade(flatten, on_ready, say)
                await settle()
            elif self._past is not None and self._past.plans:
                self.failure = self.failure or (
                    f"stopped before the account was read: {len(self._past.plans)} trades of the run before are unseen"
                )
            self._command("finish")
            self.lifecycle.advance(Phase.STOPPED, self.lifecycle.reason)
            outer.cancel_scope.cancel(reason="stopped")

    async def _unless_draining(self, body: Callable[[], Awaitable[None]]) -> bool:
        """Run `body`; False where it was given up because the run is to stop."""
        done = False

        async def give_up() -> None:
            await self.lifecycle.wait(Phase.DRAINING)
            nursery.cancel_scope.cancel(reason="draining")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up)
            await body()
            done = True
            nursery.cancel_scope.cancel(reason="done")
        return done

    async def _start_up(self, outer: trio.Nursery) -> None:
        await outer.start(self._supervised_clock)
        up = trio.Event()
        outer.start_soon(self._supervise, "private stream", partial(self._private_life, up))
        if self.trade_socket is not None:
            outer.start_soon(self._supervise, "trade socket", self.trade_socket.run)
        await up.wait()
        await self._start_trading()
        outer.start_soon(self.reconciler.run, name="reconciler")

    async def _trade(self, flatten: bool, on_ready: Callable[[], None], say: Callable[[str], None]) -> None:
        async with trio.open_nursery() as inner:
            inner.start_soon(self.warmup.run, name="warm-up")
            inner.start_soon(self.mender.run, name="mender")
            inner.start_soon(self.roster.run, name="universe")
            inner.start_soon(self.watch.run, name="depth")
            inner.start_soon(probe_lateness, self.late_ns, name="lateness probe")
            if self.trade_socket is not None:
                inner.start_soon(self.rehearsal.run, name="rehearsal")
            for feed in self.feeds:
                inner.start_soon(self._supervise, f"feed {feed.shard.number}", feed.run)
            self.lifecycle.advance(Phase.RUNNING, "reconciled")
            on_ready()
            await self.lifecycle.wait(Phase.DRAINING)
            await self._drain(flatten, say)
            inner.cancel_scope.cancel(reason="draining")

    def _command(self, name: str) -> None:
        """A command that has taken effect when this returns."""
        self.service.command(name)
        while self.service.fast.pump():
            pass

    async def _start_trading(self) -> None:
        """Recovery is the start-up path: what the journal knows, then what the venue says, then trade."""
        if self._past is not None:
            recover(self.machine.decision, self._past, self._clock.venue_ns())
        await self.reconciler.start(None if self._past is None else self._past.last_ns)
        self._configs = {row.symbol: row for row in await self.access.rest.symbol_configs()}
        if self.trade_socket is not None:
            with trio.move_on_after(_TRADE_SOCKET_WAIT_S):  # REST alone suffices: this is only about latency
                while not self.trade_socket.ready:  # noqa: ASYNC110 - asked once, at the start
                    await trio.sleep(0.01)
        self.service.command("activate reconciled")

    async def _drain(self, flatten: bool, say: Callable[[str], None]) -> None:
        """No new entries; working entries end; positions keep their stops, or are closed; every doubt is settled."""
        self._command(f"reduce {self.lifecycle.reason or 'stopping'}")
        self._command("flatten" if flatten else "cancel")
        desk, begin_s, quiet = self.machine.decision.desk, trio.current_time(), True
        limit_s = patience_s(desk)
        while left := "; ".join(unsettled(desk, flatten=flatten)):
            waited_s = trio.current_time() - begin_s
            if waited_s >= limit_s:
                self.failure = "; ".join(filter(None, (self.failure, f"not settled within {limit_s:g} s: {left}")))
                return
            if quiet and waited_s >= _QUIET_S:
                quiet = False
                say(f"waiting up to {limit_s:g} s for the venue: {left}")
            await trio.sleep(0.02)

    # -- tasks ---------------------------------------------------------------------------------------------------------
    async def _supervise(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        policy = RestartPolicy(
            jitter=seeded_random(self.config.seed, "restart", name), cap_s=self.config.feed.backoff_max_s,
            max_failures=_PATIENT,
        )
        await supervise(name, body, policy)

    async def _supervised_clock(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await self.clock_sync.measure(4)
        task_status.started()
        await self._supervise("clock", self.clock_sync.run)

    async def _private_life(self, up: trio.Event) -> None:
        """One life of the private stream. While it is down nothing is opened; when it is back the account is read."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.user.run)
                if up.is_set():
                    await self.reconciler.resync()
                self.service.command("reconciled")  # also the first time, which may not be the first attempt
                up.set()
        finally:
            if self.lifecycle.phase is not Phase.STOPPED:
                self.service.command("reconciling")

    async def _prepare(self, symbol: SymbolName) -> None:
        if symbol not in self._configs:  # it has joined since
            self._configs.update({row.symbol: row for row in await self.access.rest.symbol_configs(symbol)})
        await prepare_symbol(self.access.rest, symbol, self.config.risk.leverage, self._configs)

    # -- wires ---------------------------------------------------------------------------------------------------------
    def _make_roster(self) -> Roster:
        config = self.config
        return Roster(
            venue=self.access.rest, config=config.universe, machine=self.machine, service=self.service,
            feeds=self.feeds, trade_source=config.feed.trade_source, answer_s=config.feed.first_message_s,
            venue_ns=self._clock.venue_ns,
        )  # fmt: skip

    def _make_watch(self) -> DepthWatch:
        url = stream_url(self.access.endpoints.market_public)
        return DepthWatch(
            decision=self.machine.decision, table=self.machine.table, most=self.config.feed.depth_symbols,
            lines=[feed for feed in self.feeds if feed.shard.url == url], spare=self.config.universe.spare,
        )  # fmt: skip

    def _make_feeds(self, shards: Sequence[Shard]) -> list[MarketFeed]:
        budget = ConnectionBudget(self.config.feed.connections_per_5min, _WINDOW_S)
        read_ns = MarketFeed.histogram(self._metrics)
        return [
            MarketFeed(
                shard=shard, machine=self.machine, config=self.config.feed, budget=budget,
                venue_ns=self._clock.venue_ns, monotonic_ns=self._clock.monotonic_ns, pump=self.service.fast.pump,
                read_ns=read_ns, jitter=seeded_random(self.config.seed, "rotation", str(shard.number)),
                ssl_context=self.access.ssl_context,
            )
            for shard in shards
        ]  # fmt: skip

    def _make_private_stream(self) -> PrivateStream:
        if self.access.private_stream is not None:
            return self.access.private_stream(self._on_private)
        access = self.access
        return UserSocket(access.rest, access.endpoints, self._on_private, dial=dialer(access.ssl_context))

    def _make_trade_socket(self) -> TradeSocket | None:
        url = self.access.endpoints.trade
        if url is None or not self.config.execution.trade_socket:
            return None
        return TradeSocket(
            url, self.access.signer, self._clock.venue_ns, self.service.outcome,
            limits=self.access.rest.limits, dial=dialer(self.access.ssl_context),
            recv_window_ms=self.config.execution.recv_window_ms, metrics=self._metrics,
        )  # fmt: skip

    def _send(self, approved: Any) -> None:
        self.execution.send(approved)

    def _lane_full(self) -> bool:
        return self.execution.full()

    async def _on_private(self, payload: bytes, event: object) -> None:
        if not isinstance(event, Ignored):
            await self.service.private(payload)

    def _on_clock(self, estimate: ClockEstimate) -> None:
        self._clock.offset_ns = estimate.offset_ns

    def _fatal(self, reason: str) -> None:
        self.failure = self.failure or reason
        self.lifecycle.advance(Phase.DRAINING, reason)


def session_shards(config: Config, access: Access, market: Market) -> tuple[Shard, ...]:
    """The market sockets of a session; a recording keeps them too."""
    names = [spec.symbol for spec in market.specs]
    return plan_shards(names, access.endpoints, config.feed, config.universe.spare)
