"""The composition root: builds every part, opens the root nursery, runs the phases.

Start: state and journal -> kernels and exchange -> what the venue says -> reconcile -> execution and private stream ->
feed, analysis, warm-up -> trade. Stop is the reverse, by phases with deadlines: no new entries, working entries
cancelled, positions kept with their stops (or closed), the account compared, sockets closed, the journal last.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from aegis.config import Config, decision_hash, dump, load
from aegis.core.errors import ConfigError, Interrupted
from aegis.core.secret import Secret
from aegis.engine import account_files, journal_format
from aegis.engine.bar_store import BarStore
from aegis.engine.build import Market
from aegis.engine.inputs import NoTap, Tap
from aegis.engine.journal import Journal, TimedScribe
from aegis.engine.learn import choose, learn_market
from aegis.engine.machine import Machine
from aegis.engine.observe import Observer
from aegis.engine.readmodel import follow
from aegis.engine.recovery import Recovered, collect
from aegis.engine.session import Access, Session, session_shards
from aegis.engine.summary import Summary, summarize
from aegis.engine.universe import Choice
from aegis.exchange.ledger_view import LedgerView, read_ledger
from aegis.exchange.server import LEDGER_FILE
from aegis.exchange.settings import exchange_settings
from aegis.exchange.spawn import exchange_command, spawn_exchange
from aegis.research.ledger import compare_ledger
from aegis.research.paper import PAPER_FILLS, PaperVenue, open_paper, paper_signer
from aegis.research.recording import RecordingHeader
from aegis.research.tap import RecordingTap, Start
from aegis.runtime import logs
from aegis.runtime.clock import SystemClock
from aegis.runtime.cpu import Cpu
from aegis.runtime.garbage import GarbageWatch
from aegis.runtime.garbage import settle as settle_garbage
from aegis.runtime.metrics import Metrics
from aegis.runtime.supervise import Lifecycle, Phase, watch_signals
from aegis.runtime.warm import WarmProgress, warm
from aegis.surface import status, view
from aegis.venue.credentials import read_signer
from aegis.venue.endpoints import DEMO, LIVE, Endpoints, simulated
from aegis.venue.http import HttpxPort
from aegis.venue.limits import Limits
from aegis.venue.rest import RestClient
from aegis.venue.signing import HmacSigner, Signer

__all__ = ["RunOptions", "refuse_unready", "run", "universe"]

Say = Callable[[str], None]
ReadLedger = Callable[[], LedgerView]

_NS_PER_MS = 1_000_000
#: In the directory of a run: what it was started with, and is resumed with.
_CONFIG_FILE = "config.toml"
_READY_S = 300.0  # the very first start compiles kernels in both processes
_AGREE_S = 5.0


@attrs.frozen(kw_only=True)
class RunOptions:
    """What the command line adds to a config."""

    seconds: float | None = None
    record: Path | None = None
    flatten: bool = False
    resume: str | None = None
    home: Path | None = None


def refuse_unready(config: Config, *, live: bool) -> None:
    """Real money is not traded yet, whatever else is given. Raises ConfigError."""
    if config.mode == "live":
        missing = "the reliability work (kill switch, dead-man switch, fault proofs)"
        raise ConfigError(f'mode = "live" does not start yet: {missing} is not complete; use sim, paper or testnet')
    if live:
        raise ConfigError(f'--live goes with mode = "live", and this config says mode = "{config.mode}"')


def run(config: Config, options: RunOptions, *, say: Say) -> Summary | None:
    """Trade until told to stop; returns the summary, None where that was before trading began.

    Raises the errors of `core/errors.py`: Interrupted when told a second time.
    """
    if options.resume is not None:
        if config.mode != "sim":
            raise ConfigError("--resume is for simulated runs; other accounts always go on where they were")
        saved = account_files.state_home(options.home) / "sim" / options.resume / _CONFIG_FILE
        if saved.exists():  # else the state tells what is missing
            config = load(str(saved))
    return trio.run(_run, config, options, say, strict_exception_groups=True)


def universe(config: Config, *, say: Say) -> tuple[Choice, ...]:
    """The verdict on every symbol of the config's venue."""
    return trio.run(_universe, config, say)


async def _universe(config: Config, say: Say) -> tuple[Choice, ...]:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        access = await _access(stack, config, _signer(config), None, clock, say)
        return await choose(access.rest, config.universe, clock.wall_ns() // _NS_PER_MS)


# -- the venue ---------------------------------------------------------------------------------------------------------
def _signer(config: Config) -> Signer | None:
    """Who we are to the venue; None in mode "sim", whose exchange makes a key for each run. Raises ConfigError."""
    if config.mode == "sim":
        return None
    return paper_signer() if config.mode == "paper" else read_signer(config.credentials, os.environ)


async def _access(
    stack: AsyncExitStack, config: Config, signer: Signer | None, directory: Path | None, clock: SystemClock, say: Say
) -> Access:
    """Reach the config's venue; without a signer start the simulated one first, as a process that ends last."""
    if signer is None:
        say("starting the simulated exchange")
        settings = exchange_settings(config, directory)
        command = exchange_command(["--settings", settings.to_json()])
        exchange = await stack.enter_async_context(spawn_exchange(command, ready_deadline_s=_READY_S))
        watchers = await stack.enter_async_context(trio.open_nursery())
        stack.callback(watchers.cancel_scope.cancel, reason="the exchange may end now")
        watchers.start_soon(exchange.watch, name="exchange watch")
        found = exchange.addresses
        endpoints = simulated(rest=found.rest, stream=found.stream, trade=found.trade)
        signer = HmacSigner(Secret(found.api_key), Secret(found.api_secret))
    else:
        endpoints = _endpoints(config)
    port = HttpxPort(endpoints.rest)
    stack.push_async_callback(port.aclose)
    shown = None if config.mode == "paper" else signer  # on paper nothing is ever signed for the venue
    rest = RestClient(port, shown, clock.venue_ns, Limits(), config.execution.recv_window_ms)
    return Access(endpoints=endpoints, signer=signer, rest=rest)


def _endpoints(config: Config) -> Endpoints:
    """The venue that the config names, else its mode's own hosts."""
    if config.venue.named:
        told = config.venue
        return simulated(rest=told.rest.rstrip("/"), stream=told.stream.rstrip("/"), trade=told.trade or None)
    return DEMO if config.mode == "testnet" else LIVE


# -- one run -----------------------------------------------------------------------------------------------------------
@attrs.define(kw_only=True)
class _State:
    """Where a run writes: its directory, its journal, and what the journal knew before."""

    directory: Path
    run: str
    journal: Journal
    past: Recovered | None
    begun: bool = False
    """Trading has begun: from here on a run is settled before it ends."""
    summary: Summary | None = None

    def outcome(self) -> Summary | None:
        """None: stopped before trading began. Raises Interrupted."""
        if self.begun and self.summary is None:
            raise Interrupted(f"run {self.run} ended at once, unsettled; orders and positions stay as they were")
        return self.summary


@contextmanager
def _open_state(config: Config, options: RunOptions, clock: SystemClock, signer: Signer | None) -> Iterator[_State]:
    """Lock the account, open the journal, log into its directory. Raises errors of `account_files` and `journal`."""
    home = account_files.state_home(options.home)
    resumed = options.resume
    if config.mode != "sim":
        account = account_files.open_account(account_files.account_directory(home, config.mode, config.account))
        # A paper account is flat again at every start; a real one is as its last run has left it.
        resumed = None if config.mode == "paper" else _unfinished(account)
        run = resumed or account.next_run()
    elif resumed is not None:
        run, account = resumed, account_files.open_sim_run(home, resumed)
    else:
        run, account = account_files.new_sim_run(home)
    with account:
        path = account.journal_path(run)
        durability = config.journal.durability
        past: Recovered | None = None
        if resumed is not None:
            past = Recovered()
            journal, _ = Journal.resume(path, past.see, durability=durability)
        else:
            (account.directory / _CONFIG_FILE).write_text(dump(config), encoding="utf-8")
            journal = Journal.create(
                path, run=run, config_hash=decision_hash(config), at_ns=clock.wall_ns(), durability=durability
            )
        log = logs.LogFile(account.directory / "engine.log")
        secrets = [secret.reveal() for secret in signer.secrets] if signer is not None else []
        logs.configure(log.put, level=config.log.level, wall_ns=clock.wall_ns, secrets=secrets)
        try:
            yield _State(directory=account.directory, run=run, journal=journal, past=past)
        finally:
            journal.close()
            log.close()


def _unfinished(account: account_files.Account) -> str | None:
    """The account's last run, where it has left trades open: its journal goes on."""
    for run in account.runs()[-1:]:
        if collect(journal_format.read(account.journal_path(run))).plans:
            return run
    return None


async def _warm(say: Say, warmed: trio.Event) -> None:
    """Compile the kernels, then set `warmed`; silent when they all come from the cache."""

    def progress(step: WarmProgress) -> None:
        if not step.cached:
            say(f"compiling kernels {step.done}/{step.total}: {step.name} {step.seconds:.1f} s")

    await warm(progress)
    warmed.set()


async def _run(config: Config, options: RunOptions, say: Say) -> Summary | None:
    clock, lifecycle, metrics = SystemClock(), Lifecycle(), Metrics()
    signer = _signer(config)
    with _open_state(config, options, clock, signer) as state:
        async with trio.open_nursery() as root:

            def drain(reason: str) -> None:
                say(f"stopping: {reason}")
                lifecycle.advance(Phase.DRAINING, reason)
                if not state.begun:
                    root.cancel_scope.cancel(reason=reason)

            await root.start(watch_signals, drain, root.cancel_scope)
            async with AsyncExitStack() as stack:
                state.summary = await _trade(
                    stack, config, options, signer, say, clock, lifecycle, metrics, state, root
                )
            root.cancel_scope.cancel(reason="the run is over")
        return state.outcome()


async def _trade(
    stack: AsyncExitStack,
    config: Config,
    options: RunOptions,
    signer: Signer | None,
    say: Say,
    clock: SystemClock,
    lifecycle: Lifecycle,
    metrics: Metrics,
    state: _State,
    root: trio.Nursery,
) -> Summary:
    say(f"run {state.run}, state in {state.directory}")
    venue_dir = state.directory / "exchange" if config.mode == "sim" else None
    warmed = trio.Event()
    root.start_soon(_warm, say, warmed)  # while the exchange starts, which compiles kernels of its own
    access = await _access(stack, config, signer, venue_dir, clock, say)
    choices = await choose(access.rest, config.universe, clock.wall_ns() // _NS_PER_MS)
    await warmed.wait()
    ledger: ReadLedger | None = partial(read_ledger, venue_dir / LEDGER_FILE) if venue_dir else None
    paper: PaperVenue | None = None
    if config.mode == "paper":
        paper = await stack.enter_async_context(open_paper(config, access, choices, clock))
        access, ledger = paper.access, paper.ledger
        root.start_soon(paper.run, name="paper account")
    market = await learn_market(access.rest, choices, config, clock.wall_ns())
    say(f"{len(market.specs)} symbols of {len(choices)}, warming up")
    start_ns = clock.wall_ns()
    tap = _tap(stack, config, options, access, market, metrics, state.run, start_ns)
    scribe = TimedScribe(state.journal, metrics.histogram("journal.append_ns"), clock.monotonic_ns)
    session = Session(
        config, access, market, clock=clock, metrics=metrics, run=state.run, start_ns=start_ns, lifecycle=lifecycle,
        cpu=Cpu(trio.CapacityLimiter(4), metrics, clock.monotonic_ns), scribe=scribe, tap=tap, past=state.past,
        synced=state.journal.sync if config.journal.durability == "power" else None, bars=_bars(config, access, state),
    )  # fmt: skip
    differences: list[tuple[str, ...]] = []
    if paper is not None:
        paper.watch(session.machine.table)

    async def settle() -> None:
        if ledger is not None:
            differences.append(await _agree(session.machine, ledger))

    garbage = GarbageWatch(metrics, clock.monotonic_ns)
    stack.callback(garbage.remove)

    def ready() -> None:
        say("trading" if not sys.stderr.isatty() else "")
        settle_garbage()
        garbage.install()

    _look_on(root, session.observer, state, say)
    if options.seconds is not None:
        root.start_soon(_stop_after, options.seconds, lifecycle)
    state.begun = True
    await session.run(flatten=options.flatten, settle=settle, on_ready=ready)
    await status.leave_bars(state.journal.path, session.machine)
    return summarize(
        session.machine, session.observer, clock.venue_ns(),
        run={"run": state.run, "mode": config.mode, "seed": config.seed, "journal": str(state.journal.path),
             "stopped": lifecycle.reason},
        fill_model=fill_model(config),
        synthetic=config.mode == "sim",
        differences=differences[0] if differences else None,
        failure=session.failure,
    )  # fmt: skip


def _tap(
    stack: AsyncExitStack,
    config: Config,
    options: RunOptions,
    access: Access,
    market: Market,
    metrics: Metrics,
    run: str,
    start_ns: int,
) -> Tap:
    """Where every input is shown to: a recording, until the stack ends, or nowhere."""
    if options.record is None:
        return NoTap()
    header = RecordingHeader(run=run, symbols=tuple(spec.symbol for spec in market.specs), config_toml=dump(config))
    start = Start.of(market, [shard.channel() for shard in session_shards(config, access, market)])
    return stack.enter_context(RecordingTap(options.record, header, metrics, start, start_ns))


def _bars(config: Config, access: Access, state: _State) -> BarStore:
    """Closed bars by venue. A simulated exchange is the same one on every port: it belongs to the run, as they do."""
    return BarStore(state.directory / "bars", "sim" if config.mode == "sim" else access.endpoints.rest)


def _look_on(root: trio.Nursery, observer: Observer, state: _State, say: Say) -> None:
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
    how = "simulated" if config.mode == "sim" else PAPER_FILLS
    return (
        f"{how}: latency lognormal, median {told.latency_median_ms:g} ms, p99 {told.latency_p99_ms:g} ms each way; "
        f"displayed size once; maker {told.maker_fee_bps:g} bp, taker {told.taker_fee_bps:g} bp"
    )


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
