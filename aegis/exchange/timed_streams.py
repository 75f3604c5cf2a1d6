"""Payloads of the streams that follow the clock: depth diffs, klines and tickers. PROTOCOL.md §2.4, §2.6, §2.8."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

from aegis.exchange.books import Books
from aegis.exchange.coin_margined import ticker, with_coin_margined
from aegis.exchange.frames import partial_depth
from aegis.exchange.history import History, bar_open
from aegis.exchange.listing import Listing
from aegis.exchange.subscriptions import Stream, StreamKind

__all__ = ["TIMED", "TimedStream"]

TIMED = frozenset(
    {
        StreamKind.DEPTH,
        StreamKind.DEPTH_DIFF,
        StreamKind.KLINE,
        StreamKind.CONTINUOUS_KLINE,
        StreamKind.TICKER,
        StreamKind.MINI_TICKER,
        StreamKind.ALL_TICKERS,
        StreamKind.ALL_MINI_TICKERS,
    }
)
_TICKERS = (StreamKind.TICKER, StreamKind.ALL_TICKERS)
#: Field of the 24 h ticker -> key of the full event, of the small one.
_FULL = {
    "priceChange": "p", "priceChangePercent": "P", "weightedAvgPrice": "w", "lastPrice": "c", "lastQty": "Q",
    "openPrice": "o", "highPrice": "h", "lowPrice": "l", "volume": "v", "quoteVolume": "q", "openTime": "O",
    "closeTime": "C", "firstId": "F", "lastId": "L", "count": "n",
}  # fmt: skip
_MINI = {"lastPrice": "c", "openPrice": "o", "highPrice": "h", "lowPrice": "l", "volume": "v", "quoteVolume": "q"}


@attrs.define(eq=False)
class TimedStream:
    """One stream and what it told last; it begins when its first subscriber comes.

    `symbol` is the symbol's index, -1 for streams of all symbols.
    """

    stream: Stream
    symbol: int
    _books: Books
    _history: History
    _update_id: int = 0
    _levels: tuple[dict[int, int], dict[int, int]] = attrs.field(factory=lambda: ({}, {}))
    _bar: tuple[int, int] = (0, -1)
    _told: dict[int, int] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.stream.kind is StreamKind.DEPTH_DIFF:
            self._update_id, self._levels = int(self._books.update_id[self.symbol]), self._displayed()
        elif self.stream.interval:
            self._bar = bar_open(self.stream.interval, self._history.now_ms), -1

    def payloads(self) -> list[bytes]:
        """What there is to tell now, oldest first; nothing where nothing changed."""
        match self.stream.kind:
            case StreamKind.DEPTH:
                return self._partial()
            case StreamKind.DEPTH_DIFF:
                return self._diff()
            case StreamKind.KLINE | StreamKind.CONTINUOUS_KLINE:
                return self._klines()
            case _:
                return self._tickers()

    # -- depth -------------------------------------------------------------------------------------------------------

    def _partial(self) -> list[bytes]:
        previous, self._update_id = self._update_id, int(self._books.update_id[self.symbol])
        if self._update_id == previous:
            return []
        return [partial_depth(self._books, self.symbol, self.stream.levels, previous or None)]

    def _displayed(self) -> tuple[dict[int, int], dict[int, int]]:
        """{ticks: steps} of the bids, of the asks."""
        books, symbol = self._books, self.symbol
        sides = []
        for touch, sizes, away in (
            (int(books.bid[symbol]), books.bid_qty[symbol], -1),
            (int(books.ask[symbol]), books.ask_qty[symbol], 1),
        ):
            shown = enumerate(sizes.tolist()) if touch > 0 else ()
            sides.append({touch + away * k: size for k, size in shown if size > 0})
        return sides[0], sides[1]

    def _diff(self) -> list[bytes]:
        """Every level that differs from the event before; 0 for one that is gone or lies beyond the book's depth."""
        books, listing = self._books, self._books.listings[self.symbol]
        update, previous = int(books.update_id[self.symbol]), self._update_id
        if update == previous:
            return []
        before, self._levels = self._levels, self._displayed()
        self._update_id = update
        changed = [
            [
                [listing.price_text(ticks), listing.quantity_text(new.get(ticks, 0))]
                for ticks in sorted(old.keys() | new.keys())
                if old.get(ticks) != new.get(ticks)
            ]
            for old, new in zip(before, self._levels, strict=True)
        ]
        now = self._history.now_ms
        event = {"e": "depthUpdate", "E": now, "T": now, "s": listing.symbol, "U": previous + 1, "u": update,
                 "pu": previous, "b": changed[0], "a": changed[1], "st": 1, "ps": listing.symbol}  # fmt: skip
        return [msgspec.json.encode(event)]

    # -- klines ------------------------------------------------------------------------------------------------------

    def _klines(self) -> list[bytes]:
        """The bars that ended since the last event, then the one in progress where it changed."""
        opened, trades = self._bar
        rows = self._history.klines(self.symbol, self.stream.interval, start_ms=opened, limit=1500)
        out = []
        last_id = int(self._books.trade_id[self.symbol])
        for row in reversed(rows):
            closed = row is not rows[-1]
            if closed or row[0] != opened or row[8] != trades:
                out.append(self._kline(row, last_id, closed=closed))
            last_id -= row[8]
        if rows:
            self._bar = rows[-1][0], rows[-1][8]
        return out[::-1]

    def _kline(self, row: list[Any], last_id: int, *, closed: bool) -> bytes:
        """Trade ids of a symbol are consecutive, so the last one and the count give the first."""
        listing = self._books.listings[self.symbol]
        opened, o, h, low, c, v, close_ms, quote, trades, taker, taker_quote, _ = row
        first_id, last_id = (last_id - trades + 1, last_id) if trades else (-1, -1)
        bar = {"t": opened, "T": close_ms, "s": listing.symbol, "i": self.stream.interval, "f": first_id, "L": last_id,
               "o": o, "c": c, "h": h, "l": low, "v": v, "n": trades, "x": closed, "q": quote, "V": taker,
               "Q": taker_quote, "B": "0"}  # fmt: skip
        event: dict[str, Any] = {"e": "kline", "E": self._history.now_ms, "s": listing.symbol, "k": bar}
        if self.stream.kind is StreamKind.CONTINUOUS_KLINE:
            del bar["s"], event["s"]
            event |= {"e": "continuous_kline", "ps": listing.symbol, "ct": "PERPETUAL"}
        return msgspec.json.encode(event)

    # -- tickers -----------------------------------------------------------------------------------------------------

    def _tickers(self) -> list[bytes]:
        """One symbol's, or an array of those that traded since the last one."""
        last = self._books.trade_id
        if self.symbol >= 0:
            return [msgspec.json.encode(self._ticker(self._books.listings[self.symbol]))]
        now_ms = self._history.now_ms
        listed = [row for row in self._books.listings if row.onboard_ms <= now_ms]
        changed = [row for row in listed if self._told.get(row.index) != int(last[row.index])]
        self._told.update((listing.index, int(last[listing.index])) for listing in changed)
        rows = [row for listing in changed for row in with_coin_margined(listing, self._ticker(listing), ticker)]
        return [msgspec.json.encode(rows)] if rows else []

    def _ticker(self, listing: Listing) -> dict[str, Any]:
        full = self.stream.kind in _TICKERS
        last_id = int(self._books.trade_id[listing.index])
        values = self._history.ticker_24hr(listing.index, last_id)
        event = {"e": "24hrTicker" if full else "24hrMiniTicker", "E": self._history.now_ms, "s": listing.symbol}
        event |= {key: values[name] for name, key in (_FULL if full else _MINI).items()}
        return event | {"st": 1, "ps": listing.symbol}
