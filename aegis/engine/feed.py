"""Market sockets: which streams go over which, and the task that keeps one of them alive.

One life of a socket is: connect within the budget, subscribe in one message, read until it breaks; before the venue
ends the connection by its age, another one is made and takes over. A stream that was accepted and stays silent is a
wrong route or a dead symbol: the venue says nothing about it, so a watchdog does.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Sequence

import attrs
import trio

from aegis.config import FeedConfig
from aegis.core.errors import Restartable, VenueUnavailable
from aegis.core.values import SymbolName
from aegis.engine.channel import Channel
from aegis.engine.machine import Machine
from aegis.engine.successor import Successor
from aegis.kernels.market import COUNTERS
from aegis.runtime.logs import get_logger
from aegis.runtime.metrics import Histogram, Metrics
from aegis.runtime.supervise import ConnectionBudget, first_fault
from aegis.venue.endpoints import Endpoints
from aegis.venue.inbox import RECEIVE_BYTES
from aegis.venue.market_socket import MarketSocket, connect, subscribe

__all__ = ["MarketFeed", "Shard", "plan_shards"]

_MARKET_WIDE = ("!markPrice@arr@1s", "!contractInfo", "!forceOrder@arr")
#: With this many streams, or the mark prices that come every second, silence can only be the socket's.
_BUSY_STREAMS = 50
_QUIET_FACTOR = 6
_NAMES = 10
#: How much earlier than its time a connection may be replaced, so that sockets do not all do so at once.
_JITTER = 0.05
_RETRY_S = 60.0
#: A socket that has more than one read takes is read on at once, so many times: half a millisecond in which nobody else
#: gets a turn, and ten times the data that a turn for each read would take.
_READ_ON = 8


@attrs.frozen(kw_only=True)
class Shard:
    """One market socket: its address and streams, and the symbols (by index) whose quotes or trades it carries."""

    number: int
    url: str
    streams: tuple[str, ...]
    symbols: tuple[int, ...]
    quotes: bool
    trades: bool

    def channel(self) -> Channel:
        return Channel(number=self.number, symbols=self.symbols, quotes=self.quotes, trades=self.trades)


def plan_shards(symbols: Sequence[SymbolName], endpoints: Endpoints, config: FeedConfig) -> tuple[Shard, ...]:
    """Spread the live set of streams over as few sockets as the config allows; quotes and trades have their own routes.

    `trade` streams come on the public route, `aggTrade` on the market route; never both, because two trade sources
    would count every trade twice.
    """
    most = config.streams_per_socket
    trade_host = endpoints.market_market if config.trade_source == "aggTrade" else endpoints.market_public
    shards: list[Shard] = []

    def add(host: str, suffix: str, *, quotes: bool, trades: bool, room: int, extra: tuple[str, ...] = ()) -> None:
        for start in range(0, len(symbols), room):
            part = range(start, min(start + room, len(symbols)))
            streams = tuple(f"{symbols[i].lower()}@{suffix}" for i in part) + (extra if start == 0 else ())
            shards.append(
                Shard(
                    number=len(shards), url=f"{host}/stream", streams=streams, symbols=tuple(part), quotes=quotes,
                    trades=trades,
                )
            )  # fmt: skip

    add(endpoints.market_public, "bookTicker", quotes=True, trades=False, room=most)
    if config.trade_source == "aggTrade":
        add(trade_host, "aggTrade", quotes=False, trades=True, room=most - len(_MARKET_WIDE), extra=_MARKET_WIDE)
    else:
        add(trade_host, "trade", quotes=False, trades=True, room=most)
        shards.append(
            Shard(
                number=len(shards), url=f"{endpoints.market_market}/stream", streams=_MARKET_WIDE, symbols=(),
                quotes=False, trades=False,
            )
        )  # fmt: skip
    return tuple(shards)


@attrs.define(kw_only=True, eq=False)
class MarketFeed:
    """The task of one shard. `pump` drains the urgent lanes, so that what is older than a read is decided before it."""

    shard: Shard
    machine: Machine
    config: FeedConfig
    budget: ConnectionBudget
    venue_ns: Callable[[], int]
    monotonic_ns: Callable[[], int]
    pump: Callable[[], int]
    read_ns: Histogram
    jitter: random.Random
    ssl_context: ssl.SSLContext | None = None
    lives: int = 0
    _heard: bool = attrs.field(default=False, init=False)
    _reads: int = attrs.field(default=0, init=False)
    _next: Successor | None = attrs.field(default=None, init=False)

    @classmethod
    def histogram(cls, metrics: Metrics) -> Histogram:
        """Time from bytes in hand to everything in them decided."""
        return metrics.histogram("feed.read_ns")

    async def run(self) -> None:
        """One life: connections that follow one another without a break. Ends with Restartable, or is cancelled."""
        current = await self._open()
        self.lives += 1
        self.machine.connection(self.shard.number, current.socket.inbox, self.venue_ns())
        get_logger().info("feed.connected", socket=self.shard.number, streams=len(self.shard.streams), life=self.lives)
        old: MarketSocket | None = None
        try:
            while True:
                following = await self._live(current, old)
                old, current = current.socket, following
                self.machine.take_over(self.shard.number, current.socket.inbox, current.size, self.venue_ns())
        finally:
            self.machine.connection(self.shard.number, None, self.venue_ns())
            await _close(current.socket)

    async def _open(self) -> Successor:
        """A connection within the budget, its streams asked for. Raises VenueUnavailable."""
        await self.budget.take()
        try:
            with trio.fail_after(self.config.connect_timeout_s):
                socket = await connect(self.shard.url, ssl_context=self.ssl_context)
        except trio.TooSlowError:
            raise VenueUnavailable(f"market socket {self.shard.number}: no connection in time") from None
        asked = False
        try:
            with trio.fail_after(self.config.connect_timeout_s):
                await socket.send_text(subscribe(self.shard.streams, self.shard.number + 1))
            asked = True
        except trio.TooSlowError:
            raise VenueUnavailable(f"market socket {self.shard.number}: it takes no subscription") from None
        finally:
            if not asked:
                await _close(socket)
        return Successor(socket=socket, limit_bytes=self.config.overlap_max_mib << 20)

    # -- one connection ------------------------------------------------------------------------------------------------
    async def _live(self, current: Successor, old: MarketSocket | None) -> Successor:
        """Read one connection until the next may take over, which is returned, also where this one breaks first."""
        self._heard = False
        reason, ended = "its time has come", False
        try:
            try:
                async with trio.open_nursery() as nursery:
                    if old is not None:
                        nursery.start_soon(_close, old)
                    nursery.start_soon(self._watch, self.venue_ns())
                    nursery.start_soon(self._rotate, nursery.cancel_scope)
                    await self._read(current)
            except* Restartable as group:
                if self._next is None or not self._next.delivering:
                    raise
                reason = str(first_fault(group))
            ended = True
        finally:
            following, self._next = self._next, None
            if following is not None and not ended:
                await _close(following.socket)
        assert following is not None, "a connection ends with the next one or with an error"
        get_logger().info(
            "feed.rotated", socket=self.shard.number, reason=reason, held=following.size, full=following.full
        )
        return following

    async def _rotate(self, scope: trio.CancelScope) -> None:
        """Make before break: the venue ends every connection at 24 h. Cancels `scope` when the next one is ready."""
        await trio.sleep(self.config.rotate_after_s * (1.0 - _JITTER * self.jitter.random()))
        while True:
            try:
                await self._prepare()
            except Restartable as error:
                get_logger().warning("feed.not_rotated", socket=self.shard.number, reason=str(error))
            else:
                scope.cancel(reason="the next connection takes over")
                return
            await trio.sleep(_RETRY_S * (0.5 + self.jitter.random()))

    async def _prepare(self) -> None:
        """Let the next connection run beside this one until both have brought the same trades."""
        following = self._next = await self._open()
        try:
            await self._overlap(following)
        except Restartable:
            self._next = None
            await _close(following.socket)
            raise

    async def _overlap(self, following: Successor) -> None:
        with trio.move_on_after(self.config.first_message_s):
            await following.begin()
        if not following.delivering:
            raise Restartable(f"market socket {self.shard.number}: the next connection brings no data")
        with trio.move_on_after(self.config.overlap_s):
            await following.hold()

    async def _read(self, current: Successor) -> None:
        """What was held while another connection served (or came with the handshake), then everything that comes."""
        socket, held = current.socket, current.held
        while held:
            socket.inbox.extend(held[0])
            await self._take(socket, len(held.popleft()))
            await trio.lowlevel.checkpoint()
        while True:
            count = await socket.receive()
            await self._take(socket, count)
            for _ in range(_READ_ON):
                if count < RECEIVE_BYTES:  # all that was there
                    break
                count = socket.receive_now()
                if count:
                    await self._take(socket, count)

    async def _take(self, socket: MarketSocket, count: int) -> None:
        self.pump()
        self._reads += 1
        before = self._data_frames()
        begin_ns = self.monotonic_ns()
        messages = self.machine.read(self.shard.number, count, self.venue_ns())
        self.read_ns.record(self.monotonic_ns() - begin_ns)
        self._heard = self._heard or self._data_frames() > before
        for message in messages:
            await socket.answer(message)

    def _data_frames(self) -> int:
        """Frames of all sockets so far that carried data: neither control frames nor answers to SUBSCRIBE."""
        counters = self.machine.table.counters
        answers = self.machine.other_messages["Control"]
        return int(counters[COUNTERS["frames"]] - counters[COUNTERS["control_frames"]]) - answers

    async def _watch(self, since_ns: int) -> None:
        """A socket that says nothing once it has accepted its streams is on the wrong route, or dead; one that falls
        silent later is half open. Single streams that stay silent are named, because the venue says nothing of them."""
        first_s = self.config.first_message_s
        await trio.sleep(first_s)
        if not self._heard:
            raise Restartable(f"market socket {self.shard.number}: subscribed, and silent for {first_s:g} s")
        unheard = self._unheard(since_ns)
        if unheard:
            get_logger().warning(
                "feed.silent", socket=self.shard.number, count=len(unheard), streams=unheard[:_NAMES]
            )
        busy = len(self.shard.streams) >= _BUSY_STREAMS or _MARKET_WIDE[0] in self.shard.streams
        limit_s = first_s if busy else _QUIET_FACTOR * first_s
        while True:
            reads = self._reads
            await trio.sleep(limit_s)
            await trio.sleep(limit_s / 20)  # where it was this program that stood still, the reader goes first
            if self._reads == reads:
                raise Restartable(f"market socket {self.shard.number}: silent for {limit_s:g} s")

    def _unheard(self, since_ns: int) -> list[str]:
        """Streams of symbols that have delivered nothing: quotes since `since_ns`, trades ever."""
        states = self.machine.table.symbols
        if self.shard.quotes:
            silent = [i for i in self.shard.symbols if states["quote_recv_ns"][i] < since_ns]
        else:
            silent = [i for i in self.shard.symbols if states["last_id"][i] < 0]
        first = self.shard.symbols[0] if self.shard.symbols else 0
        return [self.shard.streams[i - first] for i in silent]


async def _close(socket: MarketSocket) -> None:
    with trio.move_on_after(1.0, shield=True):
        await socket.close()
