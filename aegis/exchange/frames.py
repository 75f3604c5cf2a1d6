"""Published records as WebSocket frames with Binance's stream payloads (PROTOCOL 2), and partial books as payloads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from aegis.exchange.books import Books
from aegis.exchange.listing import Listing
from aegis.kernels import encode as kernels

__all__ = ["Encoder", "combined", "depth_snapshot", "partial_depth"]

_NS_PER_MS = 1_000_000
#: Frames of one step go out in pieces of about this size.
_BUFFER_BYTES = 1 << 20


class Encoder:
    """The compiled encoder (`kernels/encode.py`) for the given listings, with the buffer that it writes into."""

    def __init__(self, listings: Sequence[Listing]) -> None:
        names = [listing.symbol for listing in listings]
        units = [(row.tick_units, row.price_decimals, row.step_units, row.qty_decimals) for row in listings]
        self._labels = kernels.new_labels(names, units)
        least = max(kernels.frame_bytes(self._labels), kernels.array_bytes(self._labels))
        self._out = np.zeros(max(_BUFFER_BYTES, least), np.uint8)
        self._cursor = np.zeros(kernels.CURSOR, np.int64)

    def frames(
        self,
        records: npt.NDArray[np.void],
        aggregates: npt.NDArray[np.void],
        wanted: npt.NDArray[np.uint8],
        *,
        wrapped: bool,
    ) -> Iterator[memoryview]:
        """The frames of a connection in order, several at a time; each piece holds good until the next is asked for.

        Args:
            records: `kernels.books.PUBLIC`, in time order.
            aggregates: `history.aggregates` of them; each stands at its last print.
            wanted: mask of `kernels.encode` bits by symbol.
            wrapped: in the wrapper of combined streams.
        """
        self._cursor[:] = 0
        done = not len(records)
        while not done:
            done = kernels.encode(records, aggregates, self._labels, wanted, wrapped, self._out, self._cursor)
            yield from self._piece()

    def mark_arrays(self, records: npt.NDArray[np.void], *, slow: bool, wrapped: bool) -> Iterator[memoryview]:
        """Frames of `!markPrice@arr@1s`, or `!markPrice@arr` (`slow`): an array for each time that marks have."""
        self._cursor[:] = 0
        done = not len(records)
        while not done:
            done = kernels.encode_mark_arrays(records, self._labels, slow, wrapped, self._out, self._cursor)
            yield from self._piece()

    def _piece(self) -> Iterator[memoryview]:
        end = int(self._cursor[kernels.POSITION])
        if end:
            yield self._out.data[:end]
        self._cursor[kernels.POSITION] = 0


def depth_snapshot(books: Books, symbol: int, limit: int) -> tuple[list[list[str]], list[list[str]]]:
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


def partial_depth(books: Books, symbol: int, limit: int = 20, previous: int | None = None) -> bytes:
    """`<s>@depth<limit>` of this moment; `previous` is the `u` of the event before it (0 when there was none)."""
    listing = books.listings[symbol]
    bids, asks = depth_snapshot(books, symbol, limit)
    name = listing.symbol.encode()
    now = books.now_ns // _NS_PER_MS
    update = int(books.update_id[symbol])
    return (
        b'{"e":"depthUpdate","E":%d,"T":%d,"s":"%b","U":%d,"u":%d,"pu":%d,"b":%b,"a":%b,"st":1,"ps":"%b"}'
        % (now, now, name, min(update, (previous or update - 1) + 1), update, previous or update - 1,
           _levels(bids), _levels(asks), name)
    )  # fmt: skip


def _levels(levels: list[list[str]]) -> bytes:
    return ("[" + ",".join(f'["{price}","{quantity}"]' for price, quantity in levels) + "]").encode()


def combined(stream: str, payload: bytes) -> bytes:
    """The wrapper of combined streams; `stream` is the name as subscribed."""
    return b'{"stream":"%b","data":%b}' % (stream.encode(), payload)
