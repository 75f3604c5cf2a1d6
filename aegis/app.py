"""The composition root: opens the state and the root nursery, starts the simulated exchange, runs the phases.

Start: state and journal -> exchange process -> meanwhile everything else is imported and its kernels are loaded -> what
the venue says -> reconcile -> execution and private stream -> feed, analysis, warm-up -> trade. Stop is the reverse, by
phases with deadlines: no new entries, working entries cancelled, positions kept with their stops (or closed), the
account compared, sockets closed, the journal last.

This module imports only what the exchange process needs to start; `trading.py` builds the engine. The two processes are
the longest of a start, and go side by side.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from aegis.config import Config, load
from aegis.core.errors import ConfigError
from aegis.engine import account_files
from aegis.exchange.settings import ExchangeAddresses, exchange_settings
from aegis.exchange.spawn import exchange_command, spawn_exchange
from aegis.run_state import CONFIG_FILE, RunOptions, open_state
from aegis.runtime.clock import SystemClock
from aegis.runtime.heap import settle_heap
from aegis.runtime.supervise import Lifecycle, Phase, watch_signals

if TYPE_CHECKING:
    from aegis.engine.summary import Summary
    from aegis.engine.universe import Choice

__all__ = ["RunOptions", "refuse_unready", "run", "universe"]

Say = Callable[[str], None]

_READY_S = 300.0  # the very first start compiles kernels in both processes


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
        saved = account_files.state_home(options.home) / "sim" / options.resume / CONFIG_FILE
        if saved.exists():  # else the state tells what is missing
            config = load(str(saved))
    settle_heap()
    return trio.run(_run, config, options, say, strict_exception_groups=True)


def universe(config: Config, *, say: Say) -> tuple[Choice, ...]:
    """The verdict on every symbol of the config's venue."""
    return trio.run(_universe, config, say)


async def _universe(config: Config, say: Say) -> tuple[Choice, ...]:
    from aegis import trading

    clock = SystemClock()
    async with AsyncExitStack() as stack:
        signer, addresses = trading.read_account(config), None
        if signer is None:
            addresses = await stack.enter_async_context(_simulated_exchange(config, None, say))
        access = trading.open_access(stack, config, signer, addresses, clock)
        return await trading.read_universe(access, config, clock)


# -- the simulated exchange --------------------------------------------------------------------------------------------
@asynccontextmanager
async def _simulated_exchange(config: Config, directory: Path | None, say: Say) -> AsyncIterator[ExchangeAddresses]:
    """A process of its own, which ends last. Raises VenueUnavailable when it does not start, or dies in the block."""
    say("starting the simulated exchange")
    command = exchange_command(["--settings", exchange_settings(config, directory).to_json()])
    async with spawn_exchange(command, ready_deadline_s=_READY_S) as exchange, trio.open_nursery() as watchers:
        watchers.start_soon(exchange.watch, name="exchange watch")
        yield exchange.addresses
        watchers.cancel_scope.cancel(reason="the exchange may end now")


# -- one run -----------------------------------------------------------------------------------------------------------
async def _run(config: Config, options: RunOptions, say: Say) -> Summary | None:
    clock, lifecycle = SystemClock(), Lifecycle()
    signer = None
    if config.mode != "sim":  # a simulated exchange makes a key for each run
        from aegis import trading

        signer = trading.read_account(config)
    with open_state(config, options, clock, signer) as state:
        async with trio.open_nursery() as root:

            def drain(reason: str) -> None:
                say(f"stopping: {reason}")
                lifecycle.advance(Phase.DRAINING, reason)
                if not state.begun:
                    root.cancel_scope.cancel(reason=reason)

            await root.start(watch_signals, drain, root.cancel_scope)
            say(f"run {state.run}, state in {state.directory}")
            warmed = trio.Event()
            root.start_soon(_warm, say, warmed)
            async with AsyncExitStack() as stack:
                addresses = None
                if signer is None:
                    exchange = _simulated_exchange(config, state.exchange_directory, say)
                    addresses = await stack.enter_async_context(exchange)
                await warmed.wait()
                from aegis import trading

                run = trading.Run(config=config, options=options, say=say, clock=clock, lifecycle=lifecycle,
                                  state=state, root=root)  # fmt: skip
                state.summary = await run.trade(stack, signer, addresses)
            root.cancel_scope.cancel(reason="the run is over")
        return state.outcome()


async def _warm(say: Say, warmed: trio.Event) -> None:
    """Import the engine and load its kernels, in a worker thread: the loop hears Ctrl-C and the exchange meanwhile.

    An import that has begun is waited for, also when cancelled: a thread that still imports can keep the interpreter
    from ending.
    """
    await trio.to_thread.run_sync(importlib.import_module, "aegis.trading")
    from aegis import trading

    await trading.warm_kernels(say)
    warmed.set()
