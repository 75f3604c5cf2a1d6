"""The other side of the wire: how fast frames are made, in memory and as offered over a socket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import numpy as np
import trio

from aegis.exchange.frames import Encoder
from aegis.exchange.history import aggregates
from aegis.exchange.listing import synthetic_listings
from aegis.kernels import encode
from aegis.kernels.books import PUBLIC
from aegis.kernels.fresh import fresh, new_walk
from aegis.research.bench.firehose import open_source
from aegis.research.bench.process import Unmeasured
from aegis.research.bench.table import Bench, Row, median_row
from aegis.runtime.clock import SystemClock
from aegis.venue.market_socket import client_frame, subscribe

__all__ = ["SETTLE_S", "encoder_rows", "read_for", "subscribed"]

_SYMBOLS = 300
_FRAMES = 3_000_000
_BATCH = 1024
_SECONDS = 5.0
SETTLE_S = 1.0
_ROOM = 1 << 20
#: Each quote's payload begins with it once.
_MARK = b'"e":"bookTicker"'


def encoder_rows(bench: Bench) -> Iterator[Row]:
    """Two rows of group wire."""
    frames = bench.effort.amount(_FRAMES, _BATCH)
    samples = bench.repeat("encoder in memory, frames/s", lambda: _in_memory(frames))
    yield median_row(
        "wire", "encoder, in memory", samples, target=3_000_000, unit="frames/s",
        note="bookTicker of 300 symbols, fresh prices, times and ids made for each; by processor time",
    )  # fmt: skip
    rates, costs = trio.run(_offered, bench)
    yield median_row(
        "wire", "encoder, offered over a socket", rates, target=1_500_000, unit="frames/s",
        note="to a reader that throws all of it away, on this machine too",
        detail={"frames a CPU second of the encoding process": float(np.median(costs))},
    )  # fmt: skip


def _in_memory(frames: int) -> float:
    clock = SystemClock()
    now_ns = clock.wall_ns()
    listings = synthetic_listings(_SYMBOLS, 1, now_ns // 1_000_000)[:_SYMBOLS]
    encoder, records = Encoder(listings), np.zeros(_BATCH, PUBLIC)
    walk = new_walk(
        [row.start_ticks for row in listings], [row.tick_e8 for row in listings], [row.touch_steps for row in listings],
        now_ns, 1,
    )  # fmt: skip
    every, nothing = np.arange(_SYMBOLS), np.zeros(0, np.int64)
    wanted = np.full(_SYMBOLS, encode.QUOTES, np.uint8)
    size, made, begin_ns = 0, 0, clock.cpu_ns()
    while made < frames:
        fresh(walk, every, nothing, 0, clock.wall_ns(), records)
        size += sum(map(len, encoder.frames(records, aggregates(records), wanted, wrapped=True)))
        made += _BATCH
    seconds = (clock.cpu_ns() - begin_ns) / 1e9
    assert size > 100 * made, "the encoder wrote nothing"
    return made / seconds


async def _offered(bench: Bench) -> tuple[list[float], list[float]]:
    """Of each window, from the bytes that came and the length of the frames among them: frames a second, and frames a
    second of the encoding process's time."""
    found, costs = [], []
    async with open_source(symbols=_SYMBOLS) as source:
        stream = await subscribed(source.url, [listing.symbol for listing in source.listings])
        async with stream:
            room = memoryview(bytearray(_ROOM))
            await read_for(stream, room, SETTLE_S)
            for number in range(1, bench.effort.repeats + 1):
                before_s = source.cpu_s()
                size, length, seconds = await read_for(stream, room, bench.effort.seconds(_SECONDS))
                found.append(size / length / seconds)
                costs.append(size / length / max(1e-9, source.cpu_s() - before_s))
                bench.say(f"encoder over a socket {number}: {found[-1]:,.0f} frames/s")
    return found, costs


async def subscribed(url: str, symbols: Sequence[str]) -> trio.SocketStream:
    """A bare socket that gets bookTicker of these symbols; what it says is nobody's business here."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    assert host is not None
    assert port is not None
    stream = await trio.open_tcp_stream(host, port)
    request = (
        f"GET /public/stream HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await stream.send_all(request.encode())
    await stream.receive_some(4096)
    streams = [f"{symbol.lower()}@bookTicker" for symbol in symbols]
    await stream.send_all(client_frame(1, subscribe(streams, 1), bytes(4)))
    return stream


async def read_for(stream: trio.SocketStream, room: memoryview, seconds: float) -> tuple[int, float, float]:
    """(bytes, mean bytes of a frame in the largest read, seconds)."""
    begin_s, size, sample = trio.current_time(), 0, b""
    while trio.current_time() - begin_s < seconds:
        count = await stream.socket.recv_into(room)
        if not count:
            raise Unmeasured("the feeding process closed its socket")
        size += count
        if count > len(sample):
            sample = bytes(room[:count])
    return size, len(sample) / max(1, sample.count(_MARK)), trio.current_time() - begin_s
