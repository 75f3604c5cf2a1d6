"""Market sockets: what the books publish, to every session that subscribed it on the right route.

Each payload is encoded once and framed at most twice (bare and wrapped), however many sessions get it; nothing is
encoded for nobody.

Streams: `<s>@bookTicker`, `!bookTicker`, `<s>@trade`, `<s>@depth{5,10,20}[@100ms|@500ms]` (partial books of the
displayed levels), `<s>@aggTrade`, `<s>@markPrice[@1s]`, `!markPrice@arr[@1s]`. `!contractInfo` and `!forceOrder@arr`
are accepted and silent, because nothing is listed, delisted or liquidated in public. Klines, tickers and depth
differences are not offered.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import numpy.typing as npt

from aegis.exchange.books import Books
from aegis.exchange.frames import MARK_ARRAY_STREAM, Frames, combined
from aegis.exchange.listing import Listing
from aegis.exchange.session import Session
from aegis.exchange.subscriptions import Stream, StreamKind, parse_stream
from aegis.exchange.websocket import Opcode, encode_frame
from aegis.kernels import books as kernels

__all__ = ["MarketHub"]

_NS_PER_MS = 1_000_000
#: Marks are published once a second; slower streams take those of every n-th second.
_MARK_MS = 1_000
#: Streams of state instead of events, sent by the clock.
_TIMED = (StreamKind.DEPTH, StreamKind.ALL_BOOK_TICKERS)
_SILENT = (StreamKind.CONTRACT_INFO, StreamKind.ALL_FORCE_ORDERS)


@attrs.define(eq=False)
class _Topic:
    """One stream with its subscribers; `slot` and `update_id` belong to timed streams alone."""

    name: str
    stream: Stream
    sessions: dict[Session, None] = attrs.field(factory=dict)
    slot: int = 0
    update_id: int = 0

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

    def __init__(self, books: Books, listings: Sequence[Listing]) -> None:
        self._books = books
        self._frames = Frames(listings)
        self._symbols = {listing.symbol.lower(): listing.index for listing in listings}
        self._topics: dict[str, _Topic] = {}
        #: Topics by the name under which `Frames.encode` gives their payloads: without a speed.
        self._encoded: dict[str, list[_Topic]] = {}
        self._timed: list[_Topic] = []

    def add(self, session: Session, name: str) -> None:
        """Subscribe; a stream that this route does not carry, or that does not exist, stays silent."""
        stream = parse_stream(name)
        if stream is None or not session.route.carries(stream) or stream.kind in _SILENT:
            return
        if stream.symbol and stream.symbol not in self._symbols:
            return
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = _Topic(name, stream)
            self._siblings(topic).append(topic)
        topic.sessions[session] = None

    def discard(self, session: Session, name: str) -> None:
        topic = self._topics.get(name)
        if topic is None:
            return
        topic.sessions.pop(session, None)
        if not topic.sessions:
            del self._topics[name]
            siblings = self._siblings(topic)
            siblings.remove(topic)
            if not siblings:
                self._encoded.pop(_encoded_name(topic.stream), None)  # nothing is encoded for nobody

    def _siblings(self, topic: _Topic) -> list[_Topic]:
        """The list that holds a topic: the timed ones, or those that share an encoded payload."""
        if topic.stream.kind in _TIMED:
            return self._timed
        return self._encoded.setdefault(_encoded_name(topic.stream), [])

    def publish(self, records: npt.NDArray[np.void], now_ns: int) -> None:
        """Send what happened up to `now_ns`; records are those of `Books.published`, in time order."""
        if self._encoded and len(records):
            for name, payload in self._frames.encode(records, self._encoded):
                for topic in self._encoded[name]:
                    if topic.stream.period_ms <= _MARK_MS or _on_beat(payload, topic.stream.period_ms):
                        topic.push(payload)
        for topic in self._timed:
            slot = now_ns // _NS_PER_MS // topic.stream.period_ms
            if slot != topic.slot:
                topic.slot = slot
                self._push_state(topic)

    def _push_state(self, topic: _Topic) -> None:
        if topic.stream.kind is StreamKind.ALL_BOOK_TICKERS:
            for payload in self._book_tickers():
                topic.push(payload)
            return
        symbol = self._symbols[topic.stream.symbol]
        update_id = int(self._books.update_id[symbol])
        if update_id != topic.update_id:
            topic.push(self._frames.partial_depth(self._books, symbol, topic.stream.levels, topic.update_id or None))
            topic.update_id = update_id

    def _book_tickers(self) -> list[bytes]:
        """The present quote of every symbol that has one."""
        books = self._books
        rows = np.zeros(len(books.bid), kernels.PUBLIC)
        rows["time_ns"], rows["symbol"], rows["kind"] = books.now_ns, np.arange(len(rows)), kernels.QUOTE
        rows["bid"], rows["ask"], rows["id"] = books.bid, books.ask, books.update_id
        rows["bid_qty"], rows["ask_qty"] = books.bid_qty[:, 0], books.ask_qty[:, 0]
        return [self._frames.book_ticker(row) for row in rows[rows["bid"] > 0].tolist()]


def _encoded_name(stream: Stream) -> str:
    if stream.kind is StreamKind.ALL_MARK_PRICES:
        return MARK_ARRAY_STREAM
    return f"{stream.symbol}@{stream.kind.value[1]}"


def _on_beat(payload: bytes, period_ms: int) -> bool:
    """Whether a payload's event time lies in a second that a slower stream shows."""
    start = payload.index(b'"E":') + 4
    second = int(payload[start : payload.index(b",", start)]) // _MARK_MS
    return second % (period_ms // _MARK_MS) == 0
