"""Quotes and bars of a market from its ticks: what a trade is judged by where no engine runs.

A tape keeps every change of the touch's price, with the sizes there at that moment, and the closed bars of the trades.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt

from aegis.core.errors import ConfigError
from aegis.exchange.lines import FrameLines
from aegis.exchange.listing import Listing, synthetic_listings
from aegis.exchange.market import EventArray
from aegis.exchange.recorded import RecordedSource, listing_from_frames
from aegis.exchange.synthetic import SyntheticSource
from aegis.kernels.books import QUOTE, TRADE
from aegis.kernels.layout import BAR
from aegis.kernels.state import Records

__all__ = ["Tape", "recorded_tapes", "synthetic_tapes"]

_NS_PER_MS = 1_000_000
_CHUNK_NS = 1_800_000_000_000
#: A moment of no meaning at which a made-up market begins: midnight, UTC.
SYNTHETIC_START_NS = 1_790_035_200_000_000_000
Floats = npt.NDArray[np.float64]


@attrs.frozen(kw_only=True, eq=False)
class Tape:
    """One symbol: quotes by time (prices, and sizes at their change), and its closed, contiguous base bars."""

    listing: Listing
    time_ns: npt.NDArray[np.int64]
    bid: Floats
    ask: Floats
    bid_qty: Floats
    ask_qty: Floats
    bars: Records

    def at(self, time_ns: int) -> int:
        """The quote that stands at a time; -1 before the first."""
        return int(np.searchsorted(self.time_ns, time_ns, side="right")) - 1


def synthetic_tapes(
    symbols: int, hours: float, base_ms: int, *, seed: int, volatility: float, say: Callable[[str], None]
) -> list[Tape]:
    """The simulator's seeded market, of its `symbols` most active contracts, from midnight on."""
    listings = synthetic_listings(symbols, seed, SYNTHETIC_START_NS // _NS_PER_MS)[:symbols]
    source = SyntheticSource(listings, seed=seed, start_ns=SYNTHETIC_START_NS, volatility=volatility)
    end_ns = SYNTHETIC_START_NS + int(hours * 3.6e12)

    def chunks() -> Iterator[EventArray]:
        for until_ns in range(SYNTHETIC_START_NS + _CHUNK_NS, end_ns + _CHUNK_NS, _CHUNK_NS):
            yield source.events(min(until_ns, end_ns))
            say(f"{(min(until_ns, end_ns) - SYNTHETIC_START_NS) / 3.6e12:.1f} of {hours:g} h of the market")

    return _tapes(listings, chunks(), base_ms)


def recorded_tapes(file: str, base_ms: int) -> list[Tape]:
    """Of a bare recording. Raises ConfigError."""
    path = Path(file)
    if not path.is_file():
        raise ConfigError(f"{file}: not a file of recorded frames")
    lines = FrameLines([path])
    trades = "trade" if b'"e":"trade"' in b"\n".join(lines.head) else "aggTrade"
    try:
        listings = listing_from_frames(lines.head)
        source = RecordedSource(iter(lines), lines.head, listings, trades=trades)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None

    def chunks() -> Iterator[EventArray]:
        until_ns = source.start_ns
        while not source.exhausted:
            until_ns += _CHUNK_NS
            yield source.events(until_ns).copy()

    return _tapes(listings, chunks(), base_ms)


def _tapes(listings: Sequence[Listing], chunks: Iterator[EventArray], base_ms: int) -> list[Tape]:
    quotes: list[list[EventArray]] = [[] for _ in listings]
    bars: list[list[Records]] = [[] for _ in listings]
    for chunk in chunks:
        for listing in listings:
            mine = chunk[chunk["symbol"] == listing.index]
            told = mine[mine["kind"] == QUOTE]
            if len(told):
                changed = np.append(True, (np.diff(told["bid"]) != 0) | (np.diff(told["ask"]) != 0))
                quotes[listing.index].append(told[changed])
            traded = mine[mine["kind"] == TRADE]
            if len(traded):
                bars[listing.index].append(_bars(traded, listing, base_ms))
    return [_tape(listing, quotes[listing.index], bars[listing.index], base_ms) for listing in listings]


def _bars(trades: EventArray, listing: Listing, base_ms: int) -> Records:
    """Bars of a stretch of trades in order; the first and last may go on in the stretches beside it."""
    opens = trades["time_ns"] // _NS_PER_MS // base_ms * base_ms
    starts = np.flatnonzero(np.append(True, np.diff(opens) != 0))
    price = trades["price"] * float(listing.tick)
    bars = np.zeros(len(starts), BAR)
    bars["open_time"] = opens[starts]
    bars["open"], bars["close"] = price[starts], price[np.append(starts[1:], len(price)) - 1]
    bars["high"], bars["low"] = np.maximum.reduceat(price, starts), np.minimum.reduceat(price, starts)
    bars["volume"] = np.add.reduceat(trades["qty"], starts)
    bars["taker_buy"] = np.add.reduceat(np.where(trades["side"] > 0, trades["qty"], 0), starts)
    bars["trades"] = np.diff(np.append(starts, len(price)))
    return bars


def _tape(listing: Listing, quotes: list[EventArray], parts: list[Records], base_ms: int) -> Tape:
    told = np.concatenate(quotes) if quotes else None
    if told is None or not parts:
        raise ConfigError(f"{listing.symbol}: the data has no quotes, or no trades, of it")
    tick, step = float(listing.tick), float(listing.step)
    return Tape(
        listing=listing,
        time_ns=told["time_ns"].astype(np.int64),
        bid=told["bid"] * tick,
        ask=told["ask"] * tick,
        bid_qty=told["bid_qty"] * step,
        ask_qty=told["ask_qty"] * step,
        bars=_contiguous(np.concatenate(parts), base_ms),
    )


def _contiguous(parts: Records, base_ms: int) -> Records:
    """Joined where a bar lies in two stretches, with a bar of the last close where nothing was traded."""
    joined = parts[np.append(True, np.diff(parts["open_time"]) != 0)].copy()
    place = np.cumsum(np.append(0, np.diff(parts["open_time"]) != 0))
    np.maximum.at(joined["high"], place, parts["high"])
    np.minimum.at(joined["low"], place, parts["low"])
    for name in ("volume", "taker_buy", "trades"):
        joined[name] = np.bincount(place, weights=parts[name]).astype(np.int64)
    joined["close"][place] = parts["close"]  # in order: the later one stays
    opened = joined["open_time"]
    whole = np.zeros((int(opened[-1]) - int(opened[0])) // base_ms + 1, BAR)
    whole["open_time"] = int(opened[0]) + base_ms * np.arange(len(whole))
    index = (opened - opened[0]) // base_ms
    last = joined[np.searchsorted(index, np.arange(len(whole)), side="right") - 1]
    for name in ("open", "high", "low", "close"):
        whole[name] = last["close"]
    whole[index] = joined
    return whole[1:-1]  # the first and the last may have lost trades
