"""Which streams go over which market socket."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from aegis.config import FeedConfig
from aegis.core.values import SymbolName
from aegis.engine.channel import Channel
from aegis.venue.endpoints import Endpoints

__all__ = ["MARKET_WIDE", "VENUE_STREAMS", "Shard", "plan_shards", "stream_url"]

#: Streams of all symbols at once.
MARKET_WIDE = ("!markPrice@arr@1s", "!contractInfo", "!forceOrder@arr")
#: What the venue takes on one socket.
VENUE_STREAMS = 1024


@attrs.frozen(kw_only=True)
class Shard:
    """One market socket: its address and streams, and the symbols (by index) whose quotes or trades it carries.

    Of `streams` those of the symbols come first, in their order. `depth` are streams besides, which come and go.
    """

    number: int
    url: str
    streams: tuple[str, ...]
    symbols: tuple[int, ...]
    quotes: bool
    trades: bool
    depth: tuple[str, ...] = ()

    @property
    def wanted(self) -> tuple[str, ...]:
        return self.streams + self.depth

    def joined(self, symbol: int, stream: str) -> Shard:
        """With one symbol more."""
        count = len(self.symbols)
        streams = (*self.streams[:count], stream, *self.streams[count:])
        return attrs.evolve(self, streams=streams, symbols=(*self.symbols, symbol))

    def left(self, symbol: int) -> Shard:
        """Without a symbol."""
        at = self.symbols.index(symbol)
        streams = self.streams[:at] + self.streams[at + 1 :]
        return attrs.evolve(self, streams=streams, symbols=self.symbols[:at] + self.symbols[at + 1 :])

    def channel(self) -> Channel:
        return Channel(number=self.number, symbols=self.symbols, quotes=self.quotes, trades=self.trades)


def stream_url(host: str) -> str:
    """Where a socket with combined streams of a route is."""
    return f"{host}/stream"


def plan_shards(
    symbols: Sequence[SymbolName], endpoints: Endpoints, config: FeedConfig, spare: int = 0
) -> tuple[Shard, ...]:
    """Spread the live set of streams over as few sockets as the config allows; quotes and trades have their own routes.

    Every socket keeps room for the streams of `spare` symbols that may join, within what the venue takes.

    `trade` streams come on the public route, `aggTrade` on the market route; never both, because two trade sources
    would count every trade twice.
    """
    most = min(config.streams_per_socket, VENUE_STREAMS - spare)
    trade_host = endpoints.market_market if config.trade_source == "aggTrade" else endpoints.market_public
    shards: list[Shard] = []

    def add(host: str, suffix: str, *, quotes: bool, trades: bool, room: int, extra: tuple[str, ...] = ()) -> None:
        for start in range(0, len(symbols), room):
            part = range(start, min(start + room, len(symbols)))
            streams = tuple(f"{symbols[i].lower()}@{suffix}" for i in part) + (extra if start == 0 else ())
            shards.append(
                Shard(
                    number=len(shards), url=stream_url(host), streams=streams, symbols=tuple(part), quotes=quotes,
                    trades=trades,
                )
            )  # fmt: skip

    add(endpoints.market_public, "bookTicker", quotes=True, trades=False, room=most)
    if config.trade_source == "aggTrade":
        add(trade_host, "aggTrade", quotes=False, trades=True, room=most - len(MARKET_WIDE), extra=MARKET_WIDE)
    else:
        add(trade_host, "trade", quotes=False, trades=True, room=most)
        shards.append(
            Shard(
                number=len(shards), url=stream_url(endpoints.market_market), streams=MARKET_WIDE, symbols=(),
                quotes=False, trades=False,
            )
        )  # fmt: skip
    return tuple(shards)
