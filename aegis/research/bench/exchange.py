"""The simulated exchange: what it offers its subscribers, what its order core does, and how long an order takes."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import attrs
import numpy as np
import trio

from aegis.core.errors import VenueUnavailable
from aegis.core.values import OrderStatus, OrderType, Side, TimeInForce
from aegis.exchange.account import Fees
from aegis.exchange.booking import ExpiryReason
from aegis.exchange.books import Books
from aegis.exchange.core import Core
from aegis.exchange.history import History
from aegis.exchange.latency import Latency, LatencyStream
from aegis.exchange.ledger import Ledger
from aegis.exchange.limits import RateLimits
from aegis.exchange.listing import Listing, synthetic_listings
from aegis.exchange.orders import Order
from aegis.exchange.security import AccountSetup
from aegis.exchange.settings import ExchangeSettings, SocketLimits
from aegis.exchange.spawn import exchange_command, spawn_exchange
from aegis.exchange.synthetic import SyntheticSource
from aegis.research.bench.encoder import SETTLE_S, read_for, subscribed
from aegis.research.bench.exchange_day import simulated_day
from aegis.research.bench.exchange_orders import rest_round_trips, socket_round_trips
from aegis.research.bench.process import Unmeasured, cpu_s
from aegis.research.bench.table import Bench, Row, invalid, median_row
from aegis.runtime import garbage
from aegis.runtime.clock import SystemClock
from aegis.runtime.supervise import first_fault

__all__ = ["measure"]

_SYMBOLS = 300
_SUBSCRIBERS = 4
#: Events of the market a second, nearly all of them quotes: for four subscribers somewhat more than the target, then
#: less for a machine that does not come to an end with it.
_OFFERED = (500_000, 450_000, 400_000, 300_000, 200_000, 100_000)
_SECONDS = 5.0
_BACKLOG_BYTES = 256 << 20
_ROOM = 1 << 20
_OPERATIONS = 30_000
_TRADED = 50  # symbols, each with a position most of the time
_START_NS = 1_790_000_010_000_000_000
_STEP_NS = 10_000_000
_WALLET = Decimal(10) ** 9
_UNLIMITED = 10**9


def measure(bench: Bench) -> Iterator[Row]:
    """Five rows; the order core runs here, all else against `aegis exchange` without latency in its own process."""
    yield _market_row(bench)
    garbage.settle()  # as the exchange's own process does
    operations = bench.effort.amount(_OPERATIONS, 3 * _TRADED)
    samples = bench.repeat("order core, operations/s", lambda: _order_core(operations))
    yield median_row(
        "exchange", "exchange, order core in memory", samples, target=50_000, unit="operations/s",
        note=f"of {_TRADED} symbols: submit, match or cancel, each with margin, user events and ledger; processor time",
    )  # fmt: skip
    settings = _settings(rate=6_000.0)
    yield trio.run(rest_round_trips, bench, settings)
    yield trio.run(socket_round_trips, bench, settings)
    yield trio.run(simulated_day, bench, settings)


def _settings(rate: float) -> ExchangeSettings:
    """Without latency and without the limits that the venue sets to one client."""
    return ExchangeSettings(
        symbols=_SYMBOLS, rate=rate, latency_median_ms=0.0, latency_p99_ms=0.0, wallet=_WALLET,
        weight_limit=_UNLIMITED, orders_10s=_UNLIMITED, orders_minute=_UNLIMITED,
        sockets=SocketLimits(backlog_bytes=_BACKLOG_BYTES),
    )  # fmt: skip


# -- market data -------------------------------------------------------------------------------------------------------
def _market_row(bench: Bench) -> Row:
    """At the highest rate at which the exchange keeps up with its own market."""
    name, why_not = "exchange, market data to 4 subscribers", ""
    for offered in _OFFERED:
        try:
            rates, costs = trio.run(_market, bench, offered)
        except* (VenueUnavailable, Unmeasured) as errors:
            why_not = str(first_fault(errors))
        else:
            return median_row(
                "exchange", name, rates, target=1_500_000, unit="frames/s",
                note=f"bookTicker of {_SYMBOLS} symbols, a market of {offered:,} events/s, summed over the subscribers,"
                " who throw it away on this machine",
                detail={"frames a CPU second of the exchange": float(np.median(costs))},
            )  # fmt: skip
        bench.say(f"exchange at {offered:,} events/s: {why_not}")
    return invalid("exchange", name, why_not, "frames/s")


async def _market(bench: Bench, offered: int) -> tuple[list[float], list[float]]:
    """Of each window: frames a second of all subscribers, and frames a second of the exchange's processor time.

    Raises VenueUnavailable where it does not come to serve, Unmeasured where a subscriber cannot keep up and is cut.
    """
    rates, costs = [], []
    settings = _settings(rate=offered)
    command = exchange_command(["--settings", settings.to_json()])
    async with spawn_exchange(command) as running:
        listings = synthetic_listings(_SYMBOLS, settings.seed, SystemClock().wall_ns() // 1_000_000)
        symbols = [listing.symbol for listing in listings]
        streams = [await subscribed(running.addresses.stream, symbols) for _ in range(_SUBSCRIBERS)]
        try:
            await _read_all(streams, SETTLE_S)
            for number in range(1, bench.effort.repeats + 1):
                before_s = cpu_s(running.pid)
                rates.append(await _read_all(streams, seconds := bench.effort.seconds(_SECONDS)))
                costs.append(rates[-1] * seconds / max(1e-9, cpu_s(running.pid) - before_s))
                bench.say(f"exchange to {_SUBSCRIBERS} subscribers {number}: {rates[-1]:,.0f} frames/s")
        finally:
            for stream in streams:
                await trio.aclose_forcefully(stream)
    return rates, costs


async def _read_all(streams: list[trio.SocketStream], seconds: float) -> float:
    """Frames a second that all of them got."""
    found: list[float] = []

    async def read(stream: trio.SocketStream) -> None:
        size, length, spent_s = await read_for(stream, memoryview(bytearray(_ROOM)), seconds)
        found.append(size / length / spent_s)

    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(read, stream)
    return sum(found)


# -- orders in memory --------------------------------------------------------------------------------------------------
def _least_steps(listing: Listing) -> int:
    least = 2 * listing.min_notional / (listing.price(listing.start_ticks) * listing.step)
    return max(int(listing.min_qty / listing.step), int(least) + 1)


def _order_core(operations: int) -> float:
    """Operations a second of processor time: an order that rests, one that matches, and the cancel of the first."""
    desk, clock = _Desk.new(), SystemClock()
    done, begin_ns = 0, clock.cpu_ns()
    while done < operations:
        side = Side.SELL if done // (3 * _TRADED) % 2 else Side.BUY
        for listing in desk.listings[:_TRADED]:
            desk.three(listing, side)
            done += 3
        desk.step()
    return done / ((clock.cpu_ns() - begin_ns) / 1e9)


@attrs.define(eq=False)
class _Desk:
    """A core with one rich account over a made-up market."""

    core: Core
    books: Books
    listings: tuple[Listing, ...]
    sizes: dict[int, int]
    """Steps of an order by symbol index: somewhat more than the least notional."""
    orders: int = 0

    @classmethod
    def new(cls) -> _Desk:
        start_ms = _START_NS // 1_000_000
        listings = synthetic_listings(_SYMBOLS, 1, start_ms)[:_SYMBOLS]
        source = SyntheticSource(listings, seed=1, start_ns=_START_NS, rate=6_000.0, volatility=1.0)
        books = Books(listings, source, start_ns=_START_NS, mute=True)
        account = AccountSetup(id="bench", api_key="k" * 64, secret="s" * 64, wallet=_WALLET)
        core = Core(
            books, History(listings, None, start_ms), listings, [account], fees=Fees(), ledger=Ledger(),
            draws=LatencyStream(Latency(median_ms=0.0, p99_ms=0.0), 1), seed=1, limits=RateLimits(_UNLIMITED),
            insurance=0,
        )  # fmt: skip
        return cls(core, books, tuple(listings), {listing.index: _least_steps(listing) for listing in listings})

    def three(self, listing: Listing, side: Side) -> None:
        """Rest one per cent away from the touch, take at the touch, cancel what rests; each settled by itself."""
        touch = int((self.books.ask if side is Side.BUY else self.books.bid)[listing.index])
        away = touch - side.sign * max(1, touch // 100)
        resting = self._place(listing, side, away, TimeInForce.GTC)
        self._place(listing, side, touch, TimeInForce.IOC)
        self.core.matching.finish(resting, OrderStatus.CANCELED, ExpiryReason.NONE)
        self._settle()

    def step(self) -> None:
        """Ten milliseconds of market, so that what was taken is displayed again."""
        until_ns = self.books.now_ns + _STEP_NS
        while (touched := self.books.advance(until_ns)) >= 0:
            self.core.touched(touched)

    def _place(self, listing: Listing, side: Side, ticks: int, tif: TimeInForce) -> Order:
        self.orders += 1
        order = self.core.matching.place(
            Order(
                account="bench", listing=listing, side=side, type=OrderType.LIMIT, tif=tif,
                ticks=ticks, steps=self.sizes[listing.index], client_id=f"bench-{self.orders}",
            )
        )  # fmt: skip
        self._settle()
        return order

    def _settle(self) -> None:
        """End of a step; the user events leave at once."""
        self.core.settle()
        timetable = self.core.state.timetable
        while timetable.next_ns is not None and timetable.next_ns <= self.books.now_ns:
            timetable.pop()
