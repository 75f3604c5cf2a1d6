"""Market sockets: the task that keeps one of them alive, with the streams that it is to carry.

One life of a socket is: connect within the budget, subscribe in one message, read until it breaks; before the venue
ends the connection by its age, another one is made and takes over. A stream that was accepted and stays silent is a
wrong route or a dead symbol: the venue says nothing about it, so a watchdog does. Streams that are added or dropped
meanwhile are asked for on the live connection.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable

import attrs
import trio

from aegis.config import FeedConfig
from aegis.core.errors import Restartable, VenueUnavailable
from aegis.engine.machine import Machine
from aegis.engine.shards import MARKET_WIDE, Shard
from aegis.engine.subscriptions import Subscriptions
from aegis.engine.successor import Successor
from aegis.kernels.market import COUNTERS
from aegis.runtime.logs import get_logger
from aegis.runtime.metrics import Histogram, Metrics
from aegis.runtime.supervise import ConnectionBudget, first_fault
from aegis.venue.inbox import RECEIVE_BYTES
from aegis.venue.market_events import Control
from aegis.venue.market_socket import MarketSocket, connect

__all__ = ["MarketFeed"]

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
#: Pause behind a change of subscriptions, of two messages at most: the venue takes ten a second, pongs included.
_PACE_S = 0.5


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
    _current: Successor | None = attrs.field(default=None, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _answered: trio.Event = attrs.field(factory=trio.Event, init=False)

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
            self._current = None
            self.machine.connection(self.shard.number, None, self.venue_ns())
            await _close(current.socket)

    async def carry(self, symbol: int, stream: str) -> None:
        """Take up one symbol more; returns once the venue has agreed to its stream. `leave` takes it back."""
        self.shard = self.shard.joined(symbol, stream)
        self._change()
        while self._current is None or stream not in self._current.subscriptions.agreed:
            await self._answered.wait()

    def leave(self, symbol: int) -> None:
        """The symbol's stream is not wanted any more, if it was."""
        if symbol in self.shard.symbols:
            self.shard = self.shard.left(symbol)
            self._change()

    def watch(self, streams: tuple[str, ...]) -> None:
        """These depth streams from now on, and no others."""
        if streams != self.shard.depth:
            self.shard = attrs.evolve(self.shard, depth=streams)
            self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _open(self) -> Successor:
        """A connection within the budget, its streams asked for. Raises VenueUnavailable."""
        await self.budget.take()
        try:
            with trio.fail_after(self.config.connect_timeout_s):
                socket = await connect(self.shard.url, ssl_context=self.ssl_context)
        except trio.TooSlowError:
            raise VenueUnavailable(f"market socket {self.shard.number}: no connection in time") from None
        asked, subscriptions = False, Subscriptions()
        try:
            with trio.fail_after(self.config.connect_timeout_s):
                for message in subscriptions.towards(self.shard.wanted):
                    await socket.send_text(message)
            asked = True
        except trio.TooSlowError:
            raise VenueUnavailable(f"market socket {self.shard.number}: it takes no subscription") from None
        finally:
            if not asked:
                await _close(socket)
        limit = self.config.overlap_max_mib << 20
        return Successor(socket=socket, subscriptions=subscriptions, limit_bytes=limit)

    # -- one connection ------------------------------------------------------------------------------------------------
    async def _live(self, current: Successor, old: MarketSocket | None) -> Successor:
        """Read one connection until the next may take over, which is returned, also where this one breaks first."""
        self._heard, self._current = False, current
        reason, ended = "its time has come", False
        try:
            try:
                async with trio.open_nursery() as nursery:
                    if old is not None:
                        nursery.start_soon(_close, old)
                    nursery.start_soon(self._watch, self.venue_ns())
                    nursery.start_soon(self._ask, current)
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

    async def _ask(self, current: Successor) -> None:
        """Ask for what has been added since the connection was made, and drop what is not wanted any more."""
        while True:
            changed, messages = self._changed, current.subscriptions.towards(self.shard.wanted)
            for message in messages:
                await current.socket.send_text(message)
            if messages:
                await trio.sleep(_PACE_S)
            else:
                await changed.wait()

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
            await self._take(current, len(held.popleft()))
            await trio.lowlevel.checkpoint()
        while True:
            count = await socket.receive()
            await self._take(current, count)
            for _ in range(_READ_ON):
                if count < RECEIVE_BYTES:  # all that was there
                    break
                count = socket.receive_now()
                if count:
                    await self._take(current, count)

    async def _take(self, current: Successor, count: int) -> None:
        self.pump()
        self._reads += 1
        before = self._data_frames()
        begin_ns = self.monotonic_ns()
        messages = self.machine.read(self.shard.number, count, self.venue_ns())
        self.read_ns.record(self.monotonic_ns() - begin_ns)
        self._heard = self._heard or self._data_frames() > before
        for message in messages:
            if isinstance(message, Control):
                self._heed(current, message)
            else:
                await current.socket.answer(message)

    def _heed(self, current: Successor, answer: Control) -> None:
        """The venue has agreed to streams, or refused them."""
        streams = current.subscriptions.answered(answer)
        if answer.code is not None:
            get_logger().warning(
                "feed.refused", socket=self.shard.number, code=answer.code, reason=answer.message,
                count=len(streams), streams=streams[:_NAMES],
            )  # fmt: skip
        self._answered.set()
        self._answered = trio.Event()

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
        busy = len(self.shard.streams) >= _BUSY_STREAMS or MARKET_WIDE[0] in self.shard.streams
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
            heard = states["quote_recv_ns"] >= since_ns
        else:
            heard = states["last_id"] >= 0
        pairs = zip(self.shard.symbols, self.shard.streams, strict=False)  # those of all symbols come last
        return [stream for symbol, stream in pairs if not heard[symbol]]


async def _close(socket: MarketSocket) -> None:
    with trio.move_on_after(1.0, shield=True):
        await socket.close()
