"""The engine's half of the composition root: builds every part of it, and runs one session.

`app.py` imports it while the simulated exchange starts, because importing and loading kernels takes a second.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import attrs
import trio

from aegis.config import Config, dump
from aegis.core.secret import Secret
from aegis.engine.bar_store import BarStore
from aegis.engine.build import Market
from aegis.engine.inputs import NoTap, Tap
from aegis.engine.journal import TimedScribe
from aegis.engine.learn import choose, learn_market
from aegis.engine.machine import Machine
from aegis.engine.observe import Observer
from aegis.engine.readmodel import follow
from aegis.engine.session import Access, Session, session_shards
from aegis.engine.summary import Summary, summarize
from aegis.engine.universe import Choice
from aegis.exchange.ledger_view import LedgerView, read_ledger
from aegis.exchange.settings import LEDGER_FILE, ExchangeAddresses
from aegis.research.ledger import compare_ledger
from aegis.research.recording import RecordingHeader
from aegis.research.tap import RecordingTap, Start
from aegis.run_state import RunOptions, RunState
from aegis.runtime.clock import SystemClock
from aegis.runtime.cpu import Cpu
from aegis.runtime.garbage import GarbageWatch, freeze_when, sweep
from aegis.runtime.garbage import settle as settle_garbage
from aegis.runtime.large_pages import gather_pages
from aegis.runtime.logs import get_logger
from aegis.runtime.metrics import Metrics
from aegis.runtime.supervise import Lifecycle, Phase
from aegis.runtime.warm import WarmProgress, warm
from aegis.surface import status, view
from aegis.venue.credentials import read_signer
from aegis.venue.endpoints import DEMO, LIVE, Endpoints, simulated
from aegis.venue.http import HttpxPort
from aegis.venue.limits import Limits
from aegis.venue.rest import RestClient
from aegis.venue.signing import HmacSigner, Signer

__all__ = ["Run", "open_access", "read_account", "read_universe", "warm_kernels"]

Say = Callable[[str], None]
ReadLedger = Callable[[], LedgerView]

_NS_PER_MS = 1_000_000
_AGREE_S = 5.0


async def warm_kernels(say: Say) -> None:
    """Compile the kernels; silent when they all come from the cache."""

    def progress(step: WarmProgress) -> None:
        if not step.cached:
            say(f"compiling kernels {step.done}/{step.total}: {step.name} {step.seconds:.1f} s")

    await warm(progress)


# -- the venue ---------------------------------------------------------------------------------------------------------
def read_account(config: Config) -> Signer | None:
    """Who we are to the venue; None in mode "sim", whose exchange makes a key for each run. Raises ConfigError."""
    if config.mode == "sim":
        return None
    if config.mode == "paper":
        from aegis.research.paper import paper_signer

        return paper_signer()
    return read_signer(config.credentials, os.environ)


def open_access(
    stack: AsyncExitStack, config: Config, signer: Signer | None, found: ExchangeAddresses | None, clock: SystemClock
) -> Access:
    """How to reach the config's venue, or the simulated one that was `found`, which has its own key."""
    if found is not None:
        endpoints = simulated(rest=found.rest, stream=found.stream, trade=found.trade)
        signer = HmacSigner(Secret(found.api_key), Secret(found.api_secret))
    else:
        endpoints = _endpoints(config)
    assert signer is not None
    port = HttpxPort(endpoints.rest)
    stack.push_async_callback(port.aclose)
    shown = None if config.mode == "paper" else signer  # on paper nothing is ever signed for the venue
    rest = RestClient(port, shown, clock.venue_ns, Limits(), config.execution.recv_window_ms)
    return Access(endpoints=endpoints, signer=signer, rest=rest)


async def read_universe(access: Access, config: Config, clock: SystemClock) -> tuple[Choice, ...]:
    """The verdict on every symbol of the venue."""
    return await choose(access.rest, config.universe, clock.wall_ns() // _NS_PER_MS)


def _endpoints(config: Config) -> Endpoints:
    """The venue that the config names, else its mode's own hosts."""
    if config.venue.named:
        told = config.venue
        return simulated(rest=told.rest.rstrip("/"), stream=told.stream.rstrip("/"), trade=told.trade or None)
    return DEMO if config.mode == "testnet" else LIVE


# -- one session -------------------------------------------------------------------------------------------------------
@attrs.frozen(kw_only=True)
class Run:
    """What `app.py` has opened for one run."""

    config: Config
    options: RunOptions
    say: Say
    clock: SystemClock
    lifecycle: Lifecycle
    state: RunState
    root: trio.Nursery

    async def trade(self, stack: AsyncExitStack, signer: Signer | None, found: ExchangeAddresses | None) -> Summary:
        """Learn the market, trade until the lifecycle drains, settle; `stack` closes what is opened on the way."""
        config, clock, state, metrics = self.config, self.clock, self.state, Metrics()
        access = open_access(stack, config, signer, found, clock)
        choices = await read_universe(access, config, clock)
        directory = state.exchange_directory
        ledger: ReadLedger | None = partial(read_ledger, directory / LEDGER_FILE) if found is not None else None
        paper = None
        if config.mode == "paper":
            from aegis.research.paper import open_paper

            paper = await stack.enter_async_context(open_paper(config, access, choices, clock))
            access, ledger = paper.access, paper.ledger
            self.root.start_soon(paper.run, name="paper account")
        market = await learn_market(access.rest, choices, config, clock.wall_ns())
        self.say(f"{len(market.specs)} symbols of {len(choices)}, warming up")
        start_ns = clock.wall_ns()
        session = Session(
            config, access, market, clock=clock, cpu=Cpu(trio.CapacityLimiter(4), metrics, clock.monotonic_ns),
            metrics=metrics, tap=self._tap(stack, access, market, metrics, start_ns),
            scribe=TimedScribe(state.journal, metrics.histogram("journal.append_ns"), clock.monotonic_ns),
            synced=state.journal.sync if config.journal.durability == "power" else None,
            run=state.run, start_ns=start_ns, lifecycle=self.lifecycle, past=state.past,
            bars=_bars(config, access, state),
        )  # fmt: skip
        if paper is not None:
            paper.watch(session.machine.table)
        return await self._until_drained(stack, session, metrics, ledger)

    def _tap(self, stack: AsyncExitStack, access: Access, market: Market, metrics: Metrics, start_ns: int) -> Tap:
        """Where every input is shown to: a recording, until the stack ends, or nowhere."""
        if self.options.record is None:
            return NoTap()
        symbols = tuple(spec.symbol for spec in market.specs)
        header = RecordingHeader(run=self.state.run, symbols=symbols, config_toml=dump(self.config))
        start = Start.of(market, [shard.channel() for shard in session_shards(self.config, access, market)])
        return stack.enter_context(RecordingTap(self.options.record, header, metrics, start, start_ns))

    async def _until_drained(
        self, stack: AsyncExitStack, session: Session, metrics: Metrics, ledger: ReadLedger | None
    ) -> Summary:
        config, state = self.config, self.state
        differences: list[tuple[str, ...]] = []

        async def settle() -> None:
            if ledger is not None:
                differences.append(await _agree(session.machine, ledger))

        garbage = GarbageWatch(metrics, self.clock.monotonic_ns)
        stack.callback(garbage.remove)

        def ready() -> None:
            self.say("trading" if not sys.stderr.isatty() else "")
            settle_garbage()
            garbage.install()
            self.root.start_soon(_settle_memory, lambda: session.machine.decision.contexts.all_warm)
            self.root.start_soon(sweep)

        _look_on(self.root, session.observer, state, self.say)
        if self.options.seconds is not None:
            self.root.start_soon(_stop_after, self.options.seconds, self.lifecycle)
        state.begun = True
        await session.run(flatten=self.options.flatten, settle=settle, on_ready=ready, say=self.say)
        await status.leave_bars(state.journal.path, session.machine)
        return summarize(
            session.machine, session.observer, self.clock.venue_ns(),
            run={"run": state.run, "mode": config.mode, "seed": config.seed, "journal": str(state.journal.path),
                 "stopped": self.lifecycle.reason},
            fill_model=fill_model(config),
            synthetic=config.mode == "sim",
            differences=differences[0] if differences else None,
            failure=session.failure,
        )  # fmt: skip


def _bars(config: Config, access: Access, state: RunState) -> BarStore:
    """Closed bars by venue. A simulated exchange is the same one on every port: it belongs to the run, as they do."""
    return BarStore(state.directory / "bars", "sim" if config.mode == "sim" else access.endpoints.rest)


def _look_on(root: trio.Nursery, observer: Observer, state: RunState, say: Say) -> None:
    """Start what people look at: status file, read model, live view."""
    root.start_soon(status.publish, observer, state.directory / "status.json")
    root.start_soon(follow, state.journal.path.with_suffix(".sqlite"), state.journal.path, state.run)
    root.start_soon(view.show, observer.snapshot)
    if not sys.stderr.isatty():  # there the view shows it
        root.start_soon(status.tell_first_tick, observer, say)


def fill_model(config: Config) -> str:
    """How fills come about, in one line."""
    told = config.exchange
    if config.mode not in ("sim", "paper"):
        return "the venue's own"
    how = "simulated"
    if config.mode == "paper":
        from aegis.research.paper import PAPER_FILLS

        how = PAPER_FILLS
    return (
        f"{how}: latency lognormal, median {told.latency_median_ms:g} ms, p99 {told.latency_p99_ms:g} ms each way; "
        f"displayed size once; maker {told.maker_fee_bps:g} bp, taker {told.taker_fee_bps:g} bp"
    )


async def _settle_memory(complete: Callable[[], bool]) -> None:
    """Once `complete`, nearly all that the run will ever hold has been made."""
    await freeze_when(complete)
    moved = await trio.to_thread.run_sync(gather_pages, abandon_on_cancel=True)
    get_logger().info("memory.gathered", mib=moved >> 20)


async def _stop_after(seconds: float, lifecycle: Lifecycle) -> None:
    await trio.sleep(seconds)
    lifecycle.advance(Phase.DRAINING, f"{seconds:g} s are over")


async def _agree(machine: Machine, ledger: ReadLedger) -> tuple[str, ...]:
    """Compare until both sides have seen the same events, or the time for that is over."""
    found: tuple[str, ...] = ("the ledger was never read",)
    with trio.move_on_after(_AGREE_S):
        while found:
            view = await trio.to_thread.run_sync(ledger)
            found = compare_ledger(machine, view.only)
            if found:
                await trio.sleep(0.1)
    return found
