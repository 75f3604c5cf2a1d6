"""Recordings of a made-up market, in the form of real ones: lines of `<receive time, ns> <frame as received>`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aegis.exchange.books import Books
from aegis.exchange.frames import Encoder
from aegis.exchange.history import aggregates
from aegis.exchange.listing import synthetic_listings
from aegis.exchange.synthetic import SyntheticSource
from aegis.kernels import encode

__all__ = ["START_NS", "frames_of", "market_frames", "write_recording"]

#: A whole hour.
START_NS = 1_790_002_800_000_000_000
_STEP_NS = 10_000_000
_WANTED = encode.QUOTES | encode.AGGREGATES


def market_frames(symbols: int, rate: float, seconds: float, *, volatility: float) -> Iterator[tuple[int, bytes, int]]:
    """(time in ns, WebSocket frames, how many records made them) of each 10 ms of a market that begins at START_NS.

    bookTicker and aggTrade of every symbol and the array of marks, about `rate` ticks a second.
    """
    listings = synthetic_listings(symbols, 1, START_NS // 1_000_000)[:symbols]
    source = SyntheticSource(listings, seed=1, start_ns=START_NS, rate=rate, volatility=volatility)
    books, encoder = Books(listings, source, start_ns=START_NS), Encoder(listings)
    wanted = np.full(symbols, _WANTED, np.uint8)
    for now_ns in range(START_NS + _STEP_NS, START_NS + round(seconds * 1e9) + 1, _STEP_NS):
        books.advance(now_ns)
        records = books.published()
        data = b"".join(bytes(piece) for piece in encoder.frames(records, aggregates(records), wanted, wrapped=True))
        data += b"".join(bytes(piece) for piece in encoder.mark_arrays(records, slow=False, wrapped=True))
        yield now_ns, data, len(records)


def frames_of(data: bytes) -> Iterator[bytes]:
    """The payloads of whole, unmasked WebSocket frames."""
    at = 0
    while at < len(data):
        length, at = data[at + 1], at + 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        yield data[at : at + length]
        at += length


def write_recording(path: Path, symbols: int, rate: float, seconds: float, *, volatility: float = 1.0) -> int:
    """Write such a market as a plain recording; the number of its lines."""
    lines = 0
    with path.open("wb") as file:
        for now_ns, data, _ in market_frames(symbols, rate, seconds, volatility=volatility):
            for payload in frames_of(data):
                file.write(b"%d %b\n" % (now_ns, payload))
                lines += 1
    return lines
