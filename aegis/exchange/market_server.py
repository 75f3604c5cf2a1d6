"""Market sockets: what the books publish, to every session that subscribed it on the right route.

Each session has a mask of the streams that it wants of every symbol; the compiled encoder writes its frames from the
published records straight into the bytes that are sent. Nothing is encoded for nobody.

Streams of events: `<s>@bookTicker`, `<s>@trade`, `<s>@aggTrade`, `<s>@markPrice[@1s]`, `!markPrice@arr[@1s]`. Streams
of state, sent by the clock: `!bookTicker` and those of `timed_streams`. Streams of news: `!contractInfo`,
`<s>@forceOrder`, `!forceOrder@arr`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import attrs
import msgspec
import numpy as np
import numpy.typing as npt

from aegis.exchange.books import Books
from aegis.exchange.coin_margined import coin_quotes, force_order, with_coin_margined
from aegis.exchange.fault_draws import FaultPlan
from aegis.exchange.frames import Encoder, combined
from aegis.exchange.history import History, aggregates
from aegis.exchange.listing import Listing
from aegis.exchange.news import ContractNews, ForceOrders, News, contract_info
from aegis.exchange.session import Session
from aegis.exchange.subscriptions import Stream, StreamKind, parse_stream
from aegis.exchange.timed_streams import TIMED, TimedStream
from aegis.exchange.websocket import Opcode, encode_frame
from aegis.kernels import books as kernels
from aegis.kernels import encode

__all__ = ["Feed", "MarketHub"]

_NS_PER_MS = 1_000_000
#: Unread by a subscriber: a fraction of what cuts it off.
_MUCH_BYTES = 1 << 20
_BITS = {
    (StreamKind.BOOK_TICKER, 0): encode.QUOTES,
    (StreamKind.TRADE, 0): encode.TRADES,
    (StreamKind.AGG_TRADE, 0): encode.AGGREGATES,
    (StreamKind.MARK_PRICE, 1_000): encode.MARKS,
    (StreamKind.MARK_PRICE, 3_000): encode.MARKS_SLOW,
}
#: Streams of state instead of events, sent by the clock.
_TIMED = TIMED | {StreamKind.ALL_BOOK_TICKERS}
_NEWS = frozenset({StreamKind.CONTRACT_INFO, StreamKind.FORCE_ORDER, StreamKind.ALL_FORCE_ORDERS})


@attrs.define(eq=False)
class Feed:
    """The streams of events that one session wants."""

    #: uint8 [symbols]: bits of `kernels.encode`.
    wanted: npt.NDArray[np.uint8]
    #: Wants the arrays of all marks: those of every second, those of every third.
    arrays: bool = False
    slow_arrays: bool = False

    @classmethod
    def of(cls, symbols: int) -> Feed:
        """Wants nothing of so many symbols."""
        return cls(np.zeros(symbols, np.uint8))

    def want(self, stream: Stream, symbol: int, wanted: bool) -> None:
        """Take a stream up or leave it off; `symbol` counts for streams of one symbol."""
        if stream.kind is StreamKind.ALL_MARK_PRICES:
            if stream.period_ms > 1_000:
                self.slow_arrays = wanted
            else:
                self.arrays = wanted
            return
        bit = _BITS[stream.kind, stream.period_ms]
        self.wanted[symbol] = self.wanted[symbol] | bit if wanted else self.wanted[symbol] & ~np.uint8(bit)

    def push(
        self, session: Session, encoder: Encoder, records: npt.NDArray[np.void], sums: npt.NDArray[np.void]
    ) -> None:
        """Send what of the records (and of `history.aggregates` of them) is wanted."""
        wrapped = session.combined
        for piece in encoder.frames(records, sums, self.wanted, wrapped=wrapped):
            session.connection.send_frame(bytes(piece))
        for slow, wants in ((False, self.arrays), (True, self.slow_arrays)):
            if wants:
                for piece in encoder.mark_arrays(records, slow=slow, wrapped=wrapped):
                    session.connection.send_frame(bytes(piece))


@attrs.define(eq=False)
class _Topic:
    """One stream with its subscribers; `source` is None for `!bookTicker`, which the encoder writes, and for news."""

    name: str
    stream: Stream
    source: TimedStream | None = None
    sessions: dict[Session, None] = attrs.field(factory=dict)
    slot: int = 0

    def push(self, payload: bytes) -> None:
        bare = wrapped = b""
        for session in self.sessions:
            if session.combined:
                wrapped = wrapped or encode_frame(Opcode.TEXT, combined(self.name, payload))
                session.connection.send_frame(wrapped)
            else:
                bare = bare or encode_frame(Opcode.TEXT, payload)
                session.connection.send_frame(bare)


class MarketHub:
    """Subscribers of public streams."""

    def __init__(
        self, books: Books, listings: Sequence[Listing], history: History, faults: FaultPlan | None = None
    ) -> None:
        """With faults, what subscribers get is not all that happened."""
        self._faults = faults
        self._stale: dict[int, int] = {}
        self._next_stale_ns = 0
        self._books = books
        self._history = history
        self._encoder = Encoder(listings)
        self._symbols = {listing.symbol.lower(): listing.index for listing in listings}
        self._feeds: dict[Session, Feed] = {}
        self._timed: dict[str, _Topic] = {}
        self._news: dict[str, _Topic] = {}
        self._force_orders = ForceOrders(listings)

    def add(self, session: Session, name: str) -> None:
        """Subscribe; a stream that this route does not carry, or that does not exist, stays silent."""
        stream = self._stream(session, name)
        if stream is None:
            return
        if stream.kind in _NEWS:
            self._news.setdefault(name, _Topic(name, stream)).sessions[session] = None
        elif stream.kind in _TIMED:
            if name not in self._timed:
                self._timed[name] = _Topic(name, stream, self._source(stream))
            self._timed[name].sessions[session] = None
        else:
            feed = self._feeds.setdefault(session, Feed.of(len(self._symbols)))
            feed.want(stream, self._symbols.get(stream.symbol, -1), True)

    def discard(self, session: Session, name: str) -> None:
        stream = self._stream(session, name)
        if stream is None:
            return
        if stream.kind in _TIMED | _NEWS:
            topics = self._timed if stream.kind in _TIMED else self._news
            topic = topics[name]
            del topic.sessions[session]
            if not topic.sessions:
                del topics[name]
        else:
            feed = self._feeds[session]
            feed.want(stream, self._symbols.get(stream.symbol, -1), False)
            if not (feed.wanted.any() or feed.arrays or feed.slow_arrays):
                del self._feeds[session]

    def _stream(self, session: Session, name: str) -> Stream | None:
        """The stream of this name where it is one that this session's route ever pushes."""
        stream = parse_stream(name)
        if stream is None or not session.route.carries(stream):
            return None
        return stream if not stream.symbol or stream.symbol in self._symbols else None

    def crowded(self) -> bool:
        """Some subscriber has much unread."""
        topics = (session for topic in self._timed.values() for session in topic.sessions)
        return any(session.connection.backlog_bytes > _MUCH_BYTES for session in chain(self._feeds, topics))

    @property
    def timed(self) -> bool:
        """Whether anybody listens to a stream that the clock sends."""
        return bool(self._timed)

    def publish(self, records: npt.NDArray[np.void], now_ns: int, news: Sequence[News] = ()) -> None:
        """Send what happened up to `now_ns`; records are those of `Books.published`, in time order."""
        self._tell(records, now_ns, news)
        if self._faults is not None:
            records = self._without_stale(self._faults, records, now_ns)
        if self._feeds and len(records):
            sums = aggregates(records)
            for session, feed in self._feeds.items():
                feed.push(session, self._encoder, records, sums)
        for topic in self._timed.values():
            slot = now_ns // _NS_PER_MS // topic.stream.period_ms
            if slot != topic.slot:
                topic.slot = slot
                self._push_state(topic)

    def _tell(self, records: npt.NDArray[np.void], now_ns: int, news: Sequence[News]) -> None:
        contracts = self._news.get("!contractInfo")
        if contracts is not None:
            for item in news:
                if isinstance(item, ContractNews):
                    contracts.push(contract_info(item))
        if not self._news:  # nobody asks, so nobody is told of what was before
            records, news = records[:0], ()
        for listing, event in self._force_orders.take(news, records, now_ns):
            single = self._news.get(f"{listing.symbol.lower()}@forceOrder")
            if single is not None:
                single.push(msgspec.json.encode(event))
            every = self._news.get("!forceOrder@arr")
            if every is not None:
                labelled = event | {"st": 1, "ps": listing.pair}
                for told in with_coin_margined(listing, labelled, force_order):
                    every.push(msgspec.json.encode(told))

    def _source(self, stream: Stream) -> TimedStream | None:
        if stream.kind is StreamKind.ALL_BOOK_TICKERS:
            return None
        return TimedStream(stream, self._symbols.get(stream.symbol, -1), self._books, self._history)

    def _push_state(self, topic: _Topic) -> None:
        if topic.source is None:
            self._push_quotes(topic)
            return
        for payload in topic.source.payloads():
            depth = topic.stream.kind in (StreamKind.DEPTH, StreamKind.DEPTH_DIFF)
            if depth and self._faults and self._faults.happens("depth_gap", self._faults.faults.market.depth_gap):
                continue
            topic.push(payload)

    def _without_stale(
        self, faults: FaultPlan, records: npt.NDArray[np.void], now_ns: int
    ) -> npt.NDArray[np.void]:
        """Without the quotes of symbols whose quotes stand still."""
        told = faults.faults.market
        if not told.stale_every_s and not self._stale:
            return records
        if told.stale_every_s and now_ns >= self._next_stale_ns:
            if self._next_stale_ns:
                quoted = np.flatnonzero(self._books.bid > 0)
                symbol = int(quoted[int(faults.uniform("stale_symbol", len(quoted) - 1e-9))])
                self._stale[symbol] = now_ns + round(told.stale_for_s * 1e9)
                faults.counts["stale"] += 1
            self._next_stale_ns = now_ns + round(faults.waiting_s("stale", told.stale_every_s) * 1e9)
        self._stale = {symbol: until_ns for symbol, until_ns in self._stale.items() if until_ns > now_ns}
        stale = np.isin(records["symbol"], list(self._stale))
        still: npt.NDArray[np.bool_] = stale & (records["kind"] == kernels.QUOTE)
        moving: npt.NDArray[np.void] = records[~still]
        return moving

    def _push_quotes(self, topic: _Topic) -> None:
        """The present quote of every symbol that has one."""
        books = self._books
        rows = np.zeros(len(books.bid), kernels.PUBLIC)
        rows["time_ns"], rows["symbol"], rows["kind"] = books.now_ns, np.arange(len(rows)), kernels.QUOTE
        rows["bid"], rows["ask"], rows["id"] = books.bid, books.ask, books.update_id
        rows["bid_qty"], rows["ask_qty"] = books.bid_qty[:, 0], books.ask_qty[:, 0]
        rows = rows[rows["bid"] > 0]
        all_quotes = Feed(np.full(len(books.bid), encode.ALL_QUOTES, np.uint8))
        for session in topic.sessions:
            all_quotes.push(session, self._encoder, rows, aggregates(rows))
        for payload in coin_quotes(books):
            topic.push(payload)
