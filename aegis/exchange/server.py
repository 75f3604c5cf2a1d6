"""The simulated exchange as a server: its parts put together, and the tasks that serve them."""

from __future__ import annotations

import io
import os
import socket
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

import attrs
import msgspec
import numpy as np
import trio

from aegis.config.faults import Faults
from aegis.core.errors import ConfigError
from aegis.exchange.books import Books
from aegis.exchange.connection import Connection
from aegis.exchange.control_server import ControlGateway
from aegis.exchange.driver import SLICE_NS, Driver
from aegis.exchange.fault_draws import FaultPlan
from aegis.exchange.faulty_core import FaultyCore
from aegis.exchange.faulty_feeds import FaultyPush, break_connection
from aegis.exchange.history import History, Past
from aegis.exchange.ledger import Ledger
from aegis.exchange.listing import Listing, synthetic_listings
from aegis.exchange.market import Arrays
from aegis.exchange.market_server import MarketHub
from aegis.exchange.pace import Pace, pace_of
from aegis.exchange.planted import PlantedEdge
from aegis.exchange.private_server import PrivateHub
from aegis.exchange.rest_server import RestGateway, serve_rest
from aegis.exchange.scenario import NO_PLAN, Plan, plan_of, with_scenario
from aegis.exchange.session import Hub, Session
from aegis.exchange.settings import LEDGER_FILE, ExchangeAddresses, ExchangeSettings
from aegis.exchange.simulator import AccountSetup, Fees, Latency, Simulator
from aegis.exchange.socket_server import bind_listener, serve_sockets
from aegis.exchange.state_dir import alone_in
from aegis.exchange.subscriptions import Endpoint, Route
from aegis.exchange.synthetic import SyntheticSource
from aegis.exchange.trade_server import TradeSession
from aegis.runtime.clock import SystemClock

if TYPE_CHECKING:
    from aegis.exchange.replayed import ReplayedSource

__all__ = ["ACCOUNT", "EDGE_FILE", "STATE_FILE", "Exchange", "serve_exchange"]

#: Id of the one account.
ACCOUNT = "main"
STATE_FILE = "exchange.npz"
#: What a planted edge did, in the state directory.
EDGE_FILE = "edge.jsonl"
#: Member of the state file that holds everything that is no array, as JSON.
_JSON = "exchange.json"
_NS_PER_MS = 1_000_000
#: What a step covers when time runs as fast as it can and nobody listens to a stream that the clock sends.
_LONG_SLICE_NS = 1_000_000_000


class _Saved(msgspec.Struct, kw_only=True):
    """Everything of a saved state that is no array."""

    born_ns: int
    seed: int
    simulator: dict[str, Any]


@attrs.frozen(kw_only=True)
class Exchange:
    """Market and trading side of one exchange, fresh or restored. Synchronous; the driver alone moves it."""

    settings: ExchangeSettings
    born_ns: int
    listings: tuple[Listing, ...]
    books: Books
    history: History
    simulator: Simulator
    ledger: Ledger

    @classmethod
    def build(cls, settings: ExchangeSettings, now_ns: int) -> Exchange:
        """Open the market at `now_ns`, or where the saved state ends.

        Raises:
            ConfigError: the saved state or the ledger is damaged, or belongs to other settings.
        """
        saved = _load(settings)
        born_ns = now_ns if saved is None else saved[0].born_ns
        source, past, plan = _market(settings, born_ns)
        listings = source.listings
        books = Books(listings, source, start_ns=born_ns)
        history = History(listings, past, born_ns // _NS_PER_MS)
        ledger = _open_ledger(settings)
        if saved is None and settings.state_dir is not None and ledger.seq:
            ledger.close()
            raise ConfigError(f"{settings.state_dir}: a ledger without a saved state: its exchange was killed")
        exchange = cls(
            settings=settings, born_ns=born_ns, listings=listings, books=books, history=history, ledger=ledger,
            simulator=_simulator(settings, books, history, listings, ledger, plan=plan),
        )  # fmt: skip
        if saved is not None:
            exchange._restore(*saved)
        return exchange

    def _restore(self, values: _Saved, arrays: Arrays) -> None:
        try:
            self.books.restore(arrays)
            self.history.restore(arrays)
            self.simulator.restore(values.simulator)
        except (KeyError, ValueError, TypeError) as error:
            raise ConfigError(f"the saved exchange state is damaged: {error!r}") from error

    def save(self, path: Path) -> None:
        """Write the state in one file that replaces the old one at once."""
        values = _Saved(born_ns=self.born_ns, seed=self.settings.seed, simulator=self.simulator.snapshot())
        arrays: Arrays = {**self.books.snapshot(), **self.history.snapshot()}
        arrays[_JSON] = np.frombuffer(msgspec.json.encode(values), np.uint8)
        buffer = io.BytesIO()
        # Not numpy's own compression: its level takes three times as long for a tenth less.
        with ZipFile(buffer, "w", ZIP_DEFLATED, compresslevel=1) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)

    def close(self, *, save: bool) -> None:
        """Save where a state directory is set and `save` holds; close the ledger. Raises ConfigError."""
        try:
            if save and self.settings.state_dir is not None:
                self.save(self.settings.state_dir / STATE_FILE)
        except OSError as error:
            raise ConfigError(f"the exchange state could not be saved: {error}") from error
        finally:
            self.ledger.close()


def _market(settings: ExchangeSettings, born_ns: int) -> tuple[SyntheticSource | ReplayedSource, Past | None, Plan]:
    """Prices, what was before them, and what shall happen. Raises ConfigError."""
    if settings.recording is not None:
        from aegis.exchange.replayed import ReplayedSource  # its kernels take long to compile, and few need them

        return ReplayedSource(settings.recording, born_ns), None, NO_PLAN
    listings = synthetic_listings(settings.symbols, settings.seed, born_ns // _NS_PER_MS)
    listings = with_scenario(settings.scenario, listings, settings.seed, born_ns)
    plan = plan_of(settings.scenario, listings, born_ns)
    source = SyntheticSource(
        listings, seed=settings.seed, start_ns=born_ns, rate=settings.rate, volatility=settings.volatility, plan=plan,
        edge=_edge(settings, listings, born_ns),
    )  # fmt: skip
    return source, source.history(), plan


def _edge(settings: ExchangeSettings, listings: Sequence[Listing], born_ns: int) -> PlantedEdge | None:
    """Raises ConfigError where its truth would have no place."""
    edge = settings.scenario.edge
    if not edge.strength_bps:
        return None
    if settings.state_dir is None:
        raise ConfigError("exchange: a planted edge needs a state directory, where its truth is written")
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    return PlantedEdge(edge, listings, born_ns, settings.state_dir / EDGE_FILE)


def _open_ledger(settings: ExchangeSettings) -> Ledger:
    path = settings.ledger
    if path is None and settings.state_dir is not None:
        path = settings.state_dir / LEDGER_FILE  # a state means nothing without the ledger that it continues
    try:
        return Ledger(path)
    except OSError as error:
        raise ConfigError(f"the exchange ledger cannot be opened: {error}") from None


def _simulator(
    settings: ExchangeSettings,
    books: Books,
    history: History,
    listings: tuple[Listing, ...],
    ledger: Ledger,
    *,
    plan: Plan,
) -> Simulator:
    accounts = [
        AccountSetup(id=f"account-{n}" if n > 1 else ACCOUNT, api_key=key, secret=secret, wallet=settings.wallet)
        for n, (key, secret) in enumerate(settings.keys(), start=1)
    ]
    return Simulator(
        books, history, listings,
        accounts=accounts,
        insurance=settings.insurance,
        fees=Fees(maker=settings.maker_fee, taker=settings.taker_fee),
        latency=Latency(median_ms=settings.latency_median_ms, p99_ms=settings.latency_p99_ms),
        ledger=ledger,
        seed=settings.seed,
        weight_limit=settings.weight_limit,
        orders_10s=settings.orders_10s,
        orders_minute=settings.orders_minute,
        plan=plan,
    )  # fmt: skip


def _load(settings: ExchangeSettings) -> tuple[_Saved, Arrays] | None:
    if settings.state_dir is None or not (path := settings.state_dir / STATE_FILE).exists():
        return None
    try:
        # A file of our own: numpy leaves one that it opened itself open when it turns out to be damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays: Arrays = {name: archive[name] for name in archive.files}
        values = msgspec.json.decode(arrays.pop(_JSON).tobytes(), type=_Saved)
    except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile, zlib.error, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: no saved exchange state ({error})") from None
    if values.seed != settings.seed:
        raise ConfigError(f"{path}: saved with seed {values.seed}, started with {settings.seed}")
    return values, arrays


async def serve_exchange(
    settings: ExchangeSettings,
    *,
    clock: Callable[[], int] | None = None,
    task_status: trio.TaskStatus[ExchangeAddresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run an exchange until cancelled; `started` gives its addresses and keys once everything listens.

    On the way out its state is saved, if a state directory is set and no step of it failed half-way.

    Args:
        clock: venue time in ns since the epoch; the machine's wall clock by default.

    Raises:
        VenueUnavailable: a port is taken. ConfigError: see `Exchange.build`.
    """
    wall_ns = clock if clock is not None else SystemClock().wall_ns
    # Taken first: a port in use is known before anything expensive happens.
    with ExitStack() as ports:
        bound = [
            ports.enter_context(bind_listener(settings.host, port))
            for port in (settings.rest_port, settings.socket_port, settings.control_port)
            if port is not None
        ]
        async with alone_in(settings.state_dir):
            await _serve(settings, wall_ns, bound, task_status)


async def _serve(
    settings: ExchangeSettings,
    wall_ns: Callable[[], int],
    bound: Sequence[socket.socket],
    task_status: trio.TaskStatus[ExchangeAddresses],
) -> None:
    faults = FaultPlan(settings.faults, wall_ns())
    pace = pace_of(settings.speed, partial(_skewed, faults, wall_ns))
    exchange = await trio.to_thread.run_sync(Exchange.build, settings, pace.now_ns())
    serving = _Serving.of(exchange, faults, pace)
    rest, sockets, *control = bound
    try:
        await serving.driver.catch_up()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving.driver.run)
            addresses = _addresses(settings, [one.getsockname()[1] for one in bound])
            await nursery.start(serve_rest, RestGateway(serving.core, serving.driver.submit), rest)
            await nursery.start(
                partial(serve_sockets, pace=pace), sockets, settings.sockets, serving.serve_connection
            )
            for port in control:
                await nursery.start(serve_rest, ControlGateway(faults), port)
            task_status.started(addresses)
    finally:
        exchange.close(save=serving.driver.consistent)


def _skewed(faults: FaultPlan, wall_ns: Callable[[], int]) -> int:
    """The venue's clock, which may be wrong."""
    now_ns, told = wall_ns(), faults.faults.clock
    return now_ns + round(told.skew_ms * 1e6) + round((now_ns - faults.born_ns) * told.drift_ppm * 1e-6)


@attrs.frozen(eq=False)
class _Serving:
    """The parts of a running exchange. `core` is the simulator, or what stands before it."""

    exchange: Exchange
    core: Simulator | FaultyCore
    driver: Driver
    market: MarketHub
    private: PrivateHub
    faults: FaultPlan | None

    @classmethod
    def of(cls, exchange: Exchange, faults: FaultPlan, pace: Pace) -> _Serving:
        """With faults only where there are any, or where some may come."""
        settings, simulator = exchange.settings, exchange.simulator
        troubled = settings.faults != Faults() or settings.control_port is not None
        market = MarketHub(exchange.books, exchange.listings, exchange.history, faults if troubled else None)
        private = PrivateHub(simulator.account_of)
        core, steps = FaultyCore(simulator, faults), [pace.stepped, private.step]
        simulator.user_events = private.publish
        if troubled:
            push = FaultyPush(private.publish, faults)
            simulator.user_events = push.push
            steps += [core.step, push.step]

        def published(at_ns: int) -> None:
            records = exchange.books.published()
            exchange.history.apply(records, at_ns)
            market.publish(records, at_ns, simulator.news())
            for step in steps:
                step(at_ns)

        driver = Driver(
            clock=pace.now_ns,
            advance=simulator.advance,
            next_ns=simulator.next_ns,
            published=published,
            start_ns=exchange.books.now_ns,
            tick_s=settings.tick_ms / 1e3,
            slice_ns=lambda: SLICE_NS if settings.speed or market.timed else _LONG_SLICE_NS,
            crowded=market.crowded,
        )
        faults.born_ns = exchange.born_ns
        return cls(exchange, core if troubled else simulator, driver, market, private, faults if troubled else None)

    async def serve_connection(self, connection: Connection, endpoint: Endpoint) -> None:
        """Serve one socket to its end."""
        async with trio.open_nursery() as nursery:
            if self.faults is not None:
                nursery.start_soon(break_connection, connection, self.faults)
            await self._session(connection, endpoint).run()
            nursery.cancel_scope.cancel(reason="connection ended")

    def _session(self, connection: Connection, endpoint: Endpoint) -> Session | TradeSession:
        limits = self.exchange.settings.sockets
        if endpoint.route is Route.TRADE:
            submit, told = self.driver.submit, endpoint.rate_limits
            return TradeSession(connection, self.core, submit, limits, rate_limits=told)
        hub: Hub = self.private if endpoint.route is Route.PRIVATE else self.market
        return Session(connection, endpoint, hub, limits)


def _addresses(settings: ExchangeSettings, ports: Sequence[int]) -> ExchangeAddresses:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    rest_port, socket_port, *control = ports
    return ExchangeAddresses(
        rest=f"http://{host}:{rest_port}",
        stream=f"ws://{host}:{socket_port}",
        trade=f"ws://{host}:{socket_port}/ws-fapi/v1",
        api_key=settings.api_key,
        api_secret=settings.api_secret,
        more_keys=tuple(settings.keys()[1:]),
        seed=settings.seed,
        symbols=settings.symbols,
        control=f"http://{host}:{control[0]}" if control else "",
    )
