"""The venue of the latency bench, as a process of its own: the simulated exchange over a market of stairs.

It is the exchange that `aegis run` starts, with other prices, no latency of its own and raised limits. It notes when it
called `send` with each batch of quotes, and which of them changed a price; on the way out it writes that down for the
join (`latency_join.py`). Both stamps, this one and the one of the arriving order, are of the system's monotonic clock.

    python -m aegis.research.bench.latency_venue SETTINGS FILE
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import trio

from aegis.exchange.books import Books
from aegis.exchange.connection import Connection
from aegis.exchange.driver import Driver
from aegis.exchange.history import History
from aegis.exchange.ledger import Ledger
from aegis.exchange.listing import Listing, synthetic_listings
from aegis.exchange.market import Arrays, EventArray
from aegis.exchange.market_server import MarketHub
from aegis.exchange.private_server import PrivateHub
from aegis.exchange.rest_server import RestGateway, serve_rest
from aegis.exchange.server import ACCOUNT
from aegis.exchange.session import Session
from aegis.exchange.settings import ExchangeAddresses, ExchangeSettings
from aegis.exchange.simulator import AccountSetup, Fees, Latency, Simulator
from aegis.exchange.socket_server import bind_listener, serve_sockets
from aegis.exchange.subscriptions import Endpoint, Route
from aegis.exchange.synthetic import SyntheticSource
from aegis.exchange.trade_server import TradeSession
from aegis.kernels import books as kernels
from aegis.kernels import staircase
from aegis.runtime import garbage
from aegis.runtime.clock import SystemClock
from aegis.runtime.warm import warm

__all__ = ["Stairs", "bench_listings", "main"]

_monotonic_ns = SystemClock().monotonic_ns

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000
#: A basis point is a step of the stairs: prices with coarser ticks are left out.
_LEAST_TICKS = 10_000
_CANDIDATES = 2
_ORDERS = 10**9


def bench_listings(symbols: int, seed: int, now_ms: int) -> tuple[Listing, ...]:
    """`symbols` tradable contracts whose tick is below a basis point."""
    candidates = synthetic_listings(_CANDIDATES * symbols + 10, seed, now_ms)[: _CANDIDATES * symbols + 10]
    fine = [one for one in candidates if one.start_ticks >= _LEAST_TICKS and one.status == "TRADING"]
    return tuple(attrs.evolve(one, index=index) for index, one in enumerate(fine[:symbols]))


class Stairs:
    """A `MarketSource` over `kernels/staircase.py`; the past before it is the synthetic market's."""

    def __init__(self, listings: Sequence[Listing], *, rate: float, seed: int, start_ns: int) -> None:
        self._rate = round(rate)
        self._begin_ms = self._next_ms = start_ns // _NS_PER_MS
        # The impulse of a stair lies inside one bar: stairs begin on whole seconds.
        self._first_ms = (self._begin_ms // 1_000 + 2) * 1_000
        self._state = np.array([1 + seed % 1_000_003, 0, 0, 0], np.int64)
        self._params = np.array([_row(one, len(listings)) for one in listings], np.int64)
        self._opened = False

    def events(self, until_ns: int) -> EventArray:
        """See `MarketSource`."""
        until_ms = until_ns // _NS_PER_MS
        if not self._opened:
            self._opened = True
            return self._opening(until_ns)
        count = max(0, until_ms - self._next_ms)
        marks = (count // 1_000 + 2) * len(self._params)  # of every second that is touched
        out = np.zeros(count * self._rate // 1_000 + 1 + marks, kernels.EVENT)
        used = staircase.stairs(
            self._first_ms, self._next_ms, max(until_ms, self._next_ms), self._rate, self._params, self._state, out
        )
        self._next_ms = max(until_ms, self._next_ms)
        return out[:used]

    def _opening(self, at_ns: int) -> EventArray:
        events = np.zeros(len(self._params), kernels.EVENT)
        events["time_ns"], events["symbol"], events["kind"] = at_ns, np.arange(len(events)), kernels.QUOTE
        events["bid"] = self._params[:, staircase.START]
        events["ask"] = events["bid"] + self._params[:, staircase.SPREAD]
        events["bid_qty"] = events["ask_qty"] = self._params[:, staircase.TOUCH]
        return events

    def snapshot(self) -> Arrays:
        return {"state": self._state.copy(), "next_ms": np.array([self._begin_ms, self._next_ms], np.int64)}

    def restore(self, state: Arrays) -> None:
        self._state[:] = state["state"]
        self._begin_ms, self._next_ms = (int(value) for value in state["next_ms"])


def _row(listing: Listing, symbols: int) -> list[int]:
    stairs = staircase.CYCLE_MS // 1_000
    return [
        listing.start_ticks, 1, 1 if listing.index % 2 else -1, max(1, listing.start_ticks // 10_000),
        4 * listing.touch_steps, 2 * listing.trade_steps, listing.index * stairs // symbols * 1_000, listing.tick_e8,
    ]  # fmt: skip


class _Notes:
    """What the join needs: for each batch its stamp, lateness and size, and every change of a price.

    A batch is stamped by the call that sends its quotes, the first where several subscribers get them. What closes bars
    (trades and marks) leaves no earlier than it is published, which is noted by the wall.
    """

    def __init__(self, symbols: int) -> None:
        self._last = np.zeros((symbols, 2), np.int64)
        self._moves: list[npt.NDArray[np.void]] = []
        self._batches: list[tuple[int, int]] = []
        self._closers: list[tuple[int, int]] = []
        self._stamps: list[int] = []

    def batch(self, records: npt.NDArray[np.void], late_ns: int) -> None:
        """`records` are published: the next call of `sending` sends them."""
        out = np.zeros(len(records), staircase.MOVE)
        count = staircase.price_moves(records, len(self._batches), self._last, out)
        self._moves.append(out[:count].copy())
        self._batches.append((late_ns, len(records)))
        closing = records["time_ns"][records["kind"] != kernels.QUOTE]
        if len(closing):
            self._closers.append((int(records["time_ns"][0]) + late_ns, int(closing[-1]) // _NS_PER_MS))

    def sending(self) -> None:
        """Quotes are about to be sent, in the order in which they were published."""
        waiting = len(self._batches) - len(self._stamps)
        if waiting:
            self._stamps += [_monotonic_ns()] * waiting

    def write(self, path: Path) -> None:
        moves = np.concatenate(self._moves) if self._moves else np.zeros(0, staircase.MOVE)
        with path.open("wb") as file:
            sent = [(stamp, *batch) for stamp, batch in zip(self._stamps, self._batches, strict=False)]
            np.savez(
                file, moves=moves, batches=np.array(sent, np.int64).reshape(-1, 3),
                closers=np.array(self._closers, np.int64).reshape(-1, 2),
            )  # fmt: skip


class _Noted(trio.abc.Stream):
    """The stream of a subscriber of quotes: each call of `send_all` is noted before it."""

    def __init__(self, stream: trio.abc.Stream, notes: _Notes) -> None:
        self._inner, self._notes = stream, notes

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._notes.sending()
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Market:
    """Between driver and hub: notes what is published."""

    def __init__(self, books: Books, history: History, hub: MarketHub, notes: _Notes, now_ns: Any) -> None:
        self._books, self._history, self._hub, self._notes, self._now_ns = books, history, hub, notes, now_ns

    def published(self, at_ns: int) -> None:
        records = self._books.published()
        if len(records):
            late_ns = self._now_ns() - int(records["time_ns"][0])
            self._notes.batch(records, late_ns)
        self._hub.publish(records, at_ns)
        self._history.apply(records, at_ns)


async def _serve(settings: ExchangeSettings, path: Path) -> None:
    await warm(lambda _: None)
    now_ns = SystemClock().wall_ns
    start_ns = now_ns()
    listings = bench_listings(settings.symbols, settings.seed, start_ns // _NS_PER_MS)
    past = SyntheticSource(listings, seed=settings.seed, start_ns=start_ns, volatility=0.5).history()
    source = Stairs(listings, rate=settings.rate, seed=settings.seed, start_ns=start_ns)
    books = Books(listings, source, start_ns=start_ns)
    history = History(listings, past, start_ns // _NS_PER_MS)
    account = AccountSetup(id=ACCOUNT, api_key=settings.api_key, secret=settings.api_secret, wallet=settings.wallet)
    simulator = Simulator(
        books, history, listings, accounts=[account], fees=Fees(maker=settings.maker_fee, taker=settings.taker_fee),
        latency=Latency(median_ms=settings.latency_median_ms, p99_ms=settings.latency_p99_ms), ledger=Ledger(None),
        seed=settings.seed, weight_limit=settings.weight_limit, orders_10s=_ORDERS, orders_minute=_ORDERS,
    )  # fmt: skip
    hub, private, notes = MarketHub(books, listings, history), PrivateHub(simulator.account_of), _Notes(len(listings))
    simulator.user_events = private.publish
    market = _Market(books, history, hub, notes, now_ns)
    driver = Driver(
        clock=now_ns, advance=simulator.advance, next_ns=simulator.next_ns, published=market.published,
        start_ns=books.now_ns, tick_s=settings.tick_ms / 1e3,
    )  # fmt: skip

    async def serve(connection: Connection, endpoint: Endpoint) -> None:
        if endpoint.route is Route.TRADE:
            session = TradeSession(
                connection, simulator, driver.submit, settings.sockets, rate_limits=endpoint.rate_limits
            )
            await session.run()
        else:
            chosen = private if endpoint.route is Route.PRIVATE else hub
            if endpoint.route is Route.PUBLIC:
                connection.stream = _Noted(connection.stream, notes)
            await Session(connection, endpoint, chosen, settings.sockets).run()

    with bind_listener(settings.host, 0) as rest, bind_listener(settings.host, 0) as sockets:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_end_of_input, nursery.cancel_scope)
            await driver.catch_up()
            nursery.start_soon(driver.run)
            addresses = _addresses(settings, rest.getsockname()[1], sockets.getsockname()[1])
            await nursery.start(serve_rest, RestGateway(simulator, driver.submit), rest)
            await nursery.start(partial(serve_sockets, sockets, settings.sockets, serve))
            garbage.settle()
            sys.stdout.buffer.write(addresses.to_json() + b"\n")
            sys.stdout.buffer.flush()
    notes.write(path)


def _addresses(settings: ExchangeSettings, rest: int, stream: int) -> ExchangeAddresses:
    host = settings.host
    return ExchangeAddresses(
        rest=f"http://{host}:{rest}", stream=f"ws://{host}:{stream}", trade=f"ws://{host}:{stream}/ws-fapi/v1",
        api_key=settings.api_key, api_secret=settings.api_secret, seed=settings.seed, symbols=settings.symbols,
    )  # fmt: skip


async def _until_end_of_input(scope: trio.CancelScope) -> None:
    """The bench closes our stdin when it has seen enough, or has died."""
    while True:
        await trio.lowlevel.wait_readable(0)
        if not os.read(0, 4096):
            scope.cancel(reason="end of input")
            return


def main(arguments: Sequence[str]) -> None:
    """Serve until stdin ends."""
    settings, path = arguments
    trio.run(_serve, ExchangeSettings.from_json(settings), Path(path))


if __name__ == "__main__":
    main(sys.argv[1:])
