"""Which stream goes over which socket."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.config import FeedConfig
from aegis.core.values import SymbolName
from aegis.engine.shards import plan_shards
from aegis.venue.endpoints import LIVE

WIDE = {"!markPrice@arr@1s", "!contractInfo", "!forceOrder@arr"}


def names(count: int) -> list[SymbolName]:
    return [SymbolName(f"S{i}USDT") for i in range(count)]


@pytest.mark.parametrize("source", ["aggTrade", "trade"])
@given(count=st.integers(1, 700), room=st.integers(4, 1024))
def test_every_stream_once_on_its_route(source: str, count: int, room: int) -> None:
    symbols = names(count)
    shards = plan_shards(symbols, LIVE, FeedConfig(trade_source=source, streams_per_socket=room))
    streams = Counter(stream for shard in shards for stream in shard.streams)
    wanted = {f"{s.lower()}@{kind}" for s in symbols for kind in ("bookTicker", source)} | WIDE
    assert set(streams) == wanted
    assert set(streams.values()) == {1}
    public = {"bookTicker", "trade"}
    for number, shard in enumerate(shards):
        assert shard.number == number
        assert 0 < len(shard.streams) <= room
        kinds = {stream.rpartition("@")[2] for stream in shard.streams if not stream.startswith("!")}
        assert len(kinds) <= 1
        host = LIVE.market_public if kinds & public else LIVE.market_market
        assert shard.url == f"{host}/stream"
        assert (shard.quotes, shard.trades) == (kinds == {"bookTicker"}, kinds == {source})
        mine = [stream for stream in shard.streams if not stream.startswith("!")]
        assert mine == [f"{symbols[i].lower()}@{kind}" for i in shard.symbols for kind in kinds]
    for flag in ("quotes", "trades"):
        carried = [i for shard in shards if getattr(shard, flag) for i in shard.symbols]
        assert carried == list(range(count)), "each symbol's quotes and trades have one socket"


@pytest.mark.parametrize("source", ["aggTrade", "trade"])
@pytest.mark.parametrize("count", [300, 297])
def test_three_hundred_symbols_need_at_most_four_sockets(source: str, count: int) -> None:
    assert len(plan_shards(names(count), LIVE, FeedConfig(trade_source=source))) <= 4


def test_the_channel_of_a_shard_carries_the_same_symbols() -> None:
    for shard in plan_shards(names(5), LIVE, FeedConfig(streams_per_socket=4)):
        channel = shard.channel()
        assert attrs.astuple(shard, recurse=False)[3:6] == (channel.symbols, channel.quotes, channel.trades)
        assert channel.number == shard.number
        assert not channel.up


@given(st.integers(1, 700), st.integers(4, 1024), st.integers(0, 200))
def test_all_that_may_join_find_room_on_any_socket(count: int, room: int, spare: int) -> None:
    shards = plan_shards(names(count), LIVE, FeedConfig(streams_per_socket=room), spare)
    assert all(len(shard.streams) + spare <= 1024 for shard in shards)


@given(st.integers(1, 20), st.data())
def test_a_symbol_that_joins_and_leaves_changes_nothing_else(count: int, data: st.DataObject) -> None:
    shard = data.draw(st.sampled_from(plan_shards(names(count), LIVE, FeedConfig(streams_per_socket=8))))
    grown = shard.joined(900, "new@bookTicker").joined(901, "next@bookTicker")
    assert dict(zip(grown.symbols, grown.streams, strict=False)) == {
        **dict(zip(shard.symbols, shard.streams, strict=False)), 900: "new@bookTicker", 901: "next@bookTicker",
    }  # fmt: skip
    assert set(grown.streams) == {*shard.streams, "new@bookTicker", "next@bookTicker"}
    assert grown.left(900).left(901) == shard
