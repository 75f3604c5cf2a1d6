"""Recorded Binance frames as the simulated exchange's prices: lines of `<receive time, ns> <json>`.

The market's time is the frame's receive time moved by one constant onto the venue's clock, so that the order of the
recording stays and a recorder's wrong clock does not matter. A symbol whose recording holds no mark price gets one:
index = mark = its mid, smoothed over ten seconds, once a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from aegis.core.errors import ConfigError
from aegis.exchange.listing import Listing
from aegis.exchange.market import Arrays, EventArray
from aegis.exchange.recorded_text import event_ms, listing_from_frames, listing_from_spec, parse, scaled, unwrapped
from aegis.kernels.books import EVENT, MARK, QUOTE, TRADE
from aegis.kernels.lines import AGG_TRADE_LINE, TRADE_LINE, Chunk
from aegis.kernels.market import TRADE as TABLE_TRADE
from aegis.kernels.market import new_table
from aegis.kernels.recorded import ALL, MARKS_DUE, read_lines
from aegis.kernels.recorded_events import (
    COUNTS,
    MARKED,
    MID_E8,
    NEXT_MARK_NS,
    NOW_NS,
    OFFSET_NS,
    ORDER,
    ORDER_MAKER,
    ORDER_MS,
    SCALARS,
    SMOOTHED_E8,
    STATE,
    TERMS,
    TRADES_LINE,
    UPDATE,
    Reader,
)

__all__ = ["RecordedSource", "listing_from_frames", "listing_from_spec"]

_NS_PER_MS = 1_000_000
_NS_PER_SECOND = 1_000_000_000
#: How many frames are looked at to find the recorder's clock offset and the kind of trades.
_SAMPLE = 2_000
_SMOOTHING = 10
#: A silence longer than this brings no marks of its own.
_LONGEST_SILENCE_S = 60
_LARGEST_TICKS = 2**31
#: Room for events besides those of lines: marks of our own.
_SPARE = 1024


class RecordedSource:
    """A `MarketSource` that reads chunks of lines as they are needed, and writes into them when each line is taken.

    Compiled code reads what is in the venue's usual form, `_read` everything else; both keep the same state.

    Attributes:
        start_ns: venue time of the first frame.
        offset_ns: what is added to receive times: the largest (event time - receive time) of the first frames, so that
            the quickest of them took no time.
        chunks_read: how many chunks are read as a whole.
    """

    def __init__(
        self, chunks: Iterable[Chunk], head: Iterable[bytes], listings: Sequence[Listing], *, trades: str | None = None
    ) -> None:
        """
        Args:
            chunks: the lines; those without a receive time must have been left out.
            head: the first lines as bytes, for a look ahead.
            trades: "trade" or "aggTrade", the one source of prints; None takes "trade" where there is any.

        Raises:
            ConfigError: among the first lines there is no frame with an event time.
        """
        self._chunks = iter(chunks)
        frames = [frame for frame in map(parse, islice(head, _SAMPLE)) if frame is not None]
        stamps = [(stamp, frame.received_ns) for frame in frames if (stamp := event_ms(frame)) is not None]
        if not stamps:
            raise ConfigError("the recording holds no frame with an event time")
        self.offset_ns = max(stamp * _NS_PER_MS - received for stamp, received in stamps)
        self.start_ns = frames[0].received_ns + self.offset_ns
        kinds = {frame.data.get("e") for frame in frames if isinstance(frame.data, dict)}
        self._trades = trades or ("trade" if "trade" in kinds else "aggTrade")
        self.listings = tuple(listings)
        self._counts: Counter[str] = Counter()
        self._index = {listing.symbol: k for k, listing in enumerate(listings)}
        self._events: EventArray = np.zeros(0, EVENT)
        self._count = self._given = 0
        self._returned = 0
        self._exhausted = False
        self.chunks_read = 0
        self._reader = _reader(self.listings, self._trades, self.start_ns, self.offset_ns)
        self._now_ns = self.start_ns

    @property
    def exhausted(self) -> bool:
        """Whether every line was read and every event returned."""
        return self._exhausted and self._given == self._count

    @property
    def counts(self) -> Counter[str]:
        """Lines by what became of them: the event type for those used, and "ignored", "malformed", "unlisted", "old" (a
        quote older than one before it), "other" (a trade that is no market trade, or of the other kind)."""
        compiled = {name: count for name, count in zip(COUNTS, self._reader.counts.tolist(), strict=True) if count}
        return self._counts + Counter(compiled)

    # --------------------------------------------------------------------------------------------------- MarketSource

    def events(self, until_ns: int) -> EventArray:
        """All events up to `until_ns` that were not returned before, in time order."""
        while not self._exhausted and self._now_ns <= until_ns:
            self.read()
        first = self._given
        self._given += int(np.searchsorted(self._events["time_ns"][first : self._count], until_ns, side="right"))
        self._returned += self._given - first
        return self._events[first : self._given]

    def read(self) -> None:
        """Read one more chunk."""
        chunk = next(self._chunks, None)
        if chunk is None:
            self._exhausted = True
            return
        self.chunks_read += 1
        left = self._events[self._given : self._count]
        self._events = np.empty(len(left) + 2 * len(chunk.lines) + _SPARE, EVENT)  # those given out stay what they are
        self._events.view(np.uint8)[: left.nbytes] = left.view(np.uint8)  # record by record it takes ten times as long
        self._given, self._count = 0, len(left)
        number = 0
        while True:
            self._make_room(2 * (len(chunk.lines) - number))
            status, number, self._count = map(
                int, read_lines(self._reader, chunk.data, chunk.lines, number, self._events, self._count)
            )
            if status == ALL:
                break
            line = chunk.lines[number]
            now_ns = max(int(self._reader.scalars[NOW_NS]), int(line["recv_ns"]) + self.offset_ns)
            if status == MARKS_DUE:
                self._put_smoothed_marks(now_ns)
                continue
            self._reader.scalars[NOW_NS] = line["now_ns"] = now_ns
            line["lots"] = 0
            self._read(bytes(chunk.data[line["start"] : line["end"]]))
            number += 1
        self._now_ns = int(self._reader.scalars[NOW_NS])

    def snapshot(self) -> Arrays:
        """How many events were returned."""
        return {"scalars": np.array([self._returned], np.int64)}

    def restore(self, state: Arrays) -> None:
        """Read a fresh source of the same lines up to where `snapshot` was taken.

        Raises:
            ConfigError: the recording is shorter than the one that the state was made of.
        """
        (returned,) = (int(value) for value in state["scalars"])
        while self._returned + self._count - self._given < returned:
            if self._exhausted:
                raise ConfigError("the recording is shorter than the saved state")
            self.read()
        self._given += returned - self._returned
        self._returned = returned

    # --------------------------------------------------------------------------------------------------------- frames

    def _read(self, payload: bytes) -> None:
        """Turn one line's frame into events; what cannot be used is counted."""
        data = unwrapped(payload)
        if data is None:
            self._counts["malformed"] += 1
            return
        for one in data if isinstance(data, list) else (data,):
            try:
                self._counts[self._use(one)] += 1
            except (KeyError, ValueError, TypeError, OverflowError):
                self._counts["malformed"] += 1

    def _use(self, data: Any) -> str:
        """Events of one payload; returns under which name to count it."""
        kind = data.get("e") if isinstance(data, dict) else None
        if kind not in ("bookTicker", "trade", "aggTrade", "markPriceUpdate"):
            return "ignored"
        symbol = self._index.get(data["s"])
        if symbol is None:
            return "unlisted"
        if kind == "bookTicker":
            return self._use_quote(symbol, data)
        if kind == "markPriceUpdate":
            mark, index = scaled(data["p"], 8, 1), scaled(data["i"], 8, 1)
            if mark <= 0 or index <= 0:
                raise ValueError("a mark price that is not positive")
            self._reader.state[symbol, MARKED] = 1
            self._put(symbol, MARK, mark_e8=mark, index_e8=index)
            return str(kind)
        if kind != self._trades or data.get("X", "MARKET") != "MARKET":
            return "other"
        return self._use_trade(symbol, data)

    def _price(self, symbol: int, text: object) -> int:
        listing = self.listings[symbol]
        ticks = scaled(text, listing.price_decimals, listing.tick_units)
        if not 0 < ticks < _LARGEST_TICKS:
            raise ValueError("a price that cannot be")
        return ticks

    def _quantity(self, symbol: int, text: object) -> int:
        listing = self.listings[symbol]
        return scaled(text, listing.qty_decimals, listing.step_units)

    def _use_quote(self, symbol: int, data: dict[str, Any]) -> str:
        update = int(data["u"])
        bid, ask = self._price(symbol, data["b"]), self._price(symbol, data["a"])
        bid_qty, ask_qty = self._quantity(symbol, data["B"]), self._quantity(symbol, data["A"])
        mid_e8 = (bid + ask) * self.listings[symbol].tick_e8 // 2
        if bid >= ask or bid_qty <= 0 or ask_qty <= 0 or max(update, mid_e8) >= 2**63:
            raise ValueError("a quote that cannot be")
        state = self._reader.state[symbol]
        if update <= state[UPDATE]:
            return "old"
        state[UPDATE] = update
        self._put(symbol, QUOTE, bid=bid, ask=ask, bid_qty=bid_qty, ask_qty=ask_qty)
        state[MID_E8] = mid_e8
        if state[SMOOTHED_E8] == 0:
            state[SMOOTHED_E8] = mid_e8
            if not state[MARKED]:
                self._put(symbol, MARK, mark_e8=mid_e8, index_e8=mid_e8)
        return "bookTicker"

    def _use_trade(self, symbol: int, data: dict[str, Any]) -> str:
        price, qty = self._price(symbol, data["p"]), self._quantity(symbol, data["q"])
        maker, stamp = data["m"], data["T"]
        if qty <= 0 or not isinstance(maker, bool) or not isinstance(stamp, int) or not 0 <= stamp < 2**63:
            raise ValueError("a trade that cannot be")
        state = self._reader.state[symbol]
        if (stamp, maker) != (state[ORDER_MS], state[ORDER_MAKER]):  # prints of one millisecond and side: one order's
            state[ORDER] += 1
            state[ORDER_MS], state[ORDER_MAKER] = stamp, maker
        self._put(symbol, TRADE, side=-1 if maker else 1, price=price, qty=qty, order=int(state[ORDER]))
        return self._trades

    def _put_smoothed_marks(self, now_ns: int) -> None:
        """Marks of whole seconds that have passed at `now_ns`, for symbols without any of their own."""
        state, scalars = self._reader.state, self._reader.scalars
        last = now_ns // _NS_PER_SECOND * _NS_PER_SECOND
        time_ns = max(int(scalars[NEXT_MARK_NS]), last - _LONGEST_SILENCE_S * _NS_PER_SECOND)
        while time_ns <= last:
            for symbol in np.flatnonzero((state[:, SMOOTHED_E8] > 0) & (state[:, MARKED] == 0)).tolist():
                smoothed = int(state[symbol, SMOOTHED_E8])
                smoothed += (int(state[symbol, MID_E8]) - smoothed) // _SMOOTHING
                state[symbol, SMOOTHED_E8] = smoothed
                self._put(symbol, MARK, time_ns=time_ns, mark_e8=smoothed, index_e8=smoothed)
            time_ns += _NS_PER_SECOND
        scalars[NEXT_MARK_NS] = last + _NS_PER_SECOND

    def _put(
        self, symbol: int, kind: int, *, time_ns: int | None = None, side: int = 0, bid: int = 0, ask: int = 0,
        bid_qty: int = 0, ask_qty: int = 0, price: int = 0, qty: int = 0, order: int = 0, mark_e8: int = 0,
        index_e8: int = 0,
    ) -> None:  # fmt: skip
        when = int(self._reader.scalars[NOW_NS]) if time_ns is None else time_ns
        self._make_room(1)
        self._events[self._count] = (
            when, symbol, kind, side, bid, ask, bid_qty, ask_qty, price, qty, order, mark_e8, index_e8,
        )  # fmt: skip
        self._count += 1

    def _make_room(self, events: int) -> None:
        if self._count + events > len(self._events):
            self._events = np.concatenate((self._events, np.empty(events + _SPARE, EVENT)))


def _reader(listings: Sequence[Listing], trades: str, start_ns: int, offset_ns: int) -> Reader:
    state = np.zeros((len(listings), STATE), np.int64)
    scalars = np.zeros(SCALARS, np.int64)
    scalars[NOW_NS], scalars[OFFSET_NS] = start_ns, offset_ns
    scalars[NEXT_MARK_NS] = (start_ns // _NS_PER_SECOND + 1) * _NS_PER_SECOND
    scalars[TRADES_LINE] = TRADE_LINE if trades == "trade" else AGG_TRADE_LINE
    terms = [
        (one.price_decimals, one.tick_units, one.qty_decimals, one.step_units, max(1, one.tick_e8)) for one in listings
    ]
    return Reader(
        table=new_table([one.symbol for one in listings], [one.qty_decimals for one in listings], 1, TABLE_TRADE),
        terms=np.array(terms, np.int64).reshape(len(listings), TERMS),
        state=state,
        scalars=scalars,
        counts=np.zeros(len(COUNTS), np.int64),
    )
