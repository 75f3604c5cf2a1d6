"""Published records as Binance's stream payloads (PROTOCOL 2), and the WebSocket frame around a payload.

Numbers go from integers to decimal text without a float in between. Event time `E` equals the matching time `T`.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from aegis.exchange.books import Books
from aegis.exchange.history import aggregates
from aegis.exchange.listing import Listing, decimal_text
from aegis.kernels import books as kernels

__all__ = ["MARK_ARRAY_STREAM", "Frames", "combined", "ws_frame"]

_NS_PER_MS = 1_000_000
#: Key under which `Frames.encode` gives the array of all mark prices; `@1s` and the plain form share it.
MARK_ARRAY_STREAM = "!markPrice@arr"


@attrs.frozen
class _Pieces:
    """What of a symbol's payloads never changes."""

    name: bytes
    price_units: int
    price_decimals: int
    step_units: int
    qty_decimals: int
    quote_stream: str
    trade_stream: str
    aggregate_stream: str
    mark_stream: str

    def price(self, ticks: int) -> bytes:
        return _decimal(ticks * self.price_units, self.price_decimals)

    def quantity(self, steps: int) -> bytes:
        return _decimal(steps * self.step_units, self.qty_decimals)


def _decimal(value: int, decimals: int) -> bytes:
    """`decimal_text` for values that are not negative, as bytes."""
    if decimals == 0:
        return b"%d" % value
    digits = b"%0*d" % (decimals + 1, value)
    return digits[:-decimals] + b"." + digits[-decimals:]


def _pieces(listing: Listing) -> _Pieces:
    stream = listing.symbol.lower()
    return _Pieces(
        listing.symbol.encode(), listing.tick_units, listing.price_decimals, listing.step_units, listing.qty_decimals,
        f"{stream}@bookTicker", f"{stream}@trade", f"{stream}@aggTrade", f"{stream}@markPrice",
    )  # fmt: skip


class Frames:
    """Encodes `kernels.books.PUBLIC` records of the given listings."""

    def __init__(self, listings: Sequence[Listing]) -> None:
        self._pieces = [_pieces(listing) for listing in listings]

    def encode(self, records: npt.NDArray[np.void], wanted: Container[str]) -> list[tuple[str, bytes]]:
        """(stream, payload) of every record that somebody wants, in order; nothing is encoded for nobody.

        Streams are named `<s>@bookTicker`, `<s>@trade`, `<s>@aggTrade`, `<s>@markPrice` and `MARK_ARRAY_STREAM`,
        without their speed. Aggregated trades stand at their last print; the array stands at the end, one array for
        each time at which marks were published.
        """
        out: list[tuple[str, bytes]] = []
        aggregated = iter(aggregates(records).tolist())
        aggregate = next(aggregated, None)
        marks: dict[int, list[bytes]] = {}
        arrays = MARK_ARRAY_STREAM in wanted
        for row in records.tolist():
            pieces = self._pieces[row[1]]
            kind = row[2]
            if kind == kernels.QUOTE:
                if pieces.quote_stream in wanted:
                    out.append((pieces.quote_stream, self.book_ticker(row)))
            elif kind == kernels.TRADE:
                if pieces.trade_stream in wanted:
                    out.append((pieces.trade_stream, self.trade(row)))
                if aggregate is not None and aggregate[7] == row[16] and aggregate[0] == row[1]:
                    if pieces.aggregate_stream in wanted:
                        out.append((pieces.aggregate_stream, self.agg_trade(aggregate)))
                    aggregate = next(aggregated, None)
            elif arrays or pieces.mark_stream in wanted:
                payload = self.mark_price(row)
                if pieces.mark_stream in wanted:
                    out.append((pieces.mark_stream, payload))
                if arrays:
                    marks.setdefault(row[0], []).append(payload)
        out.extend((MARK_ARRAY_STREAM, self.mark_price_array(items)) for items in marks.values())
        return out

    def book_ticker(self, row: tuple[Any, ...]) -> bytes:
        """`<s>@bookTicker` of a QUOTE record (`record.item()`)."""
        p = self._pieces[row[1]]
        now = row[0] // _NS_PER_MS
        return (
            b'{"e":"bookTicker","u":%d,"s":"%b","b":"%b","B":"%b","a":"%b","A":"%b","T":%d,"E":%d,"st":1,"ps":"%b"}'
            % (row[16], p.name, p.price(row[4]), p.quantity(row[6]), p.price(row[5]), p.quantity(row[7]), now, now,
               p.name)
        )  # fmt: skip

    def trade(self, row: tuple[Any, ...]) -> bytes:
        """`<s>@trade` of a TRADE record."""
        p = self._pieces[row[1]]
        now = row[0] // _NS_PER_MS
        return b'{"e":"trade","E":%d,"T":%d,"s":"%b","t":%d,"p":"%b","q":"%b","X":"MARKET","m":%b,"st":1}' % (
            now, now, p.name, row[16], p.price(row[8]), p.quantity(row[9]), b"true" if row[3] < 0 else b"false",
        )  # fmt: skip

    def agg_trade(self, row: tuple[Any, ...]) -> bytes:
        """`<s>@aggTrade` of an aggregate (`history.aggregates(...)[k].item()`)."""
        p = self._pieces[row[0]]
        now = row[2] // _NS_PER_MS
        quantity = p.quantity(row[5])
        return (
            b'{"e":"aggTrade","E":%d,"a":%d,"s":"%b","p":"%b","q":"%b","nq":"%b","f":%d,"l":%d,"T":%d,"m":%b,"st":1}'
            % (now, row[3], p.name, p.price(row[4]), quantity, quantity, row[6], row[7], now,
               b"true" if row[1] < 0 else b"false")
        )  # fmt: skip

    def mark_price(self, row: tuple[Any, ...]) -> bytes:
        """`<s>@markPrice` of a MARK record."""
        p = self._pieces[row[1]]
        mark = _decimal(row[11], 8)
        return (
            b'{"e":"markPriceUpdate","E":%d,"s":"%b","p":"%b","ap":"%b","P":"%b","i":"%b","r":"%b","T":%d,"st":1}'
            % (row[0] // _NS_PER_MS, p.name, mark, _decimal(row[13], 8), mark, _decimal(row[12], 8),
               decimal_text(row[14], 8).encode(), row[15])
        )  # fmt: skip

    def mark_price_array(self, payloads: Sequence[bytes]) -> bytes:
        """`!markPrice@arr` of payloads of `mark_price`."""
        return b"[" + b",".join(payloads) + b"]"

    def depth_snapshot(self, books: Books, symbol: int, limit: int) -> tuple[list[list[str]], list[list[str]]]:
        """([[price, quantity], ...] of the bids, of the asks), best first, empty levels left out.

        At most `limit` levels, and no deeper than the books' depth.
        """
        listing = books.listings[symbol]
        sides = []
        for touch, sizes, away in (
            (int(books.bid[symbol]), books.bid_qty[symbol], -1),
            (int(books.ask[symbol]), books.ask_qty[symbol], 1),
        ):
            levels = [
                [listing.price_text(touch + away * k), listing.quantity_text(size)]
                for k, size in enumerate(sizes.tolist())
                if size > 0
            ]
            sides.append(levels[:limit])
        return sides[0], sides[1]

    def partial_depth(self, books: Books, symbol: int, limit: int = 20, previous: int | None = None) -> bytes:
        """`<s>@depth<limit>` of this moment; `previous` is the `u` of the event before it (0 when there was none)."""
        p = self._pieces[symbol]
        bids, asks = self.depth_snapshot(books, symbol, limit)
        now = books.now_ns // _NS_PER_MS
        update = int(books.update_id[symbol])
        return (
            b'{"e":"depthUpdate","E":%d,"T":%d,"s":"%b","U":%d,"u":%d,"pu":%d,"b":%b,"a":%b,"st":1,"ps":"%b"}'
            % (now, now, p.name, min(update, (previous or update - 1) + 1), update, previous or update - 1,
               _levels(bids), _levels(asks), p.name)
        )  # fmt: skip


def _levels(levels: list[list[str]]) -> bytes:
    return ("[" + ",".join(f'["{price}","{quantity}"]' for price, quantity in levels) + "]").encode()


def combined(stream: str, payload: bytes) -> bytes:
    """The wrapper of combined streams; `stream` is the name as subscribed."""
    return b'{"stream":"%b","data":%b}' % (stream.encode(), payload)


def ws_frame(payload: bytes) -> bytes:
    """One unmasked, final text frame (server to client)."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload
