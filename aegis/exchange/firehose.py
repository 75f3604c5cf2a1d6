"""A public market that never ends, at any rate: the load for measurements. A process, or a task of yours.

    python -m aegis.exchange.firehose [--rate N|max] [--symbols 300] [--seed 1] [--port 0]
                                      [--burst FACTOR --burst-after S --burst-for S]
                                      [--tls PEM [--record-frames 0|1|10]]

prints one JSON line `{"event": "ready", "url": "ws://127.0.0.1:PORT", "symbols": [...], "qty_decimals": [...]}` and
serves until its stdin ends (`firehose_command(...)` is the argument list for subprocess, `read_ready(line)` reads the
line). In a nursery of yours: `ready = await nursery.start(serve_firehose, FirehoseSettings(...))`.

What a connection has subscribed, by URL or by SUBSCRIBE, is what it gets, on any route:
`URL/public/stream?streams=btcusdt@bookTicker/...` yields quotes alone; with `<s>@aggTrade` (or `<s>@trade`) beside them
66,089 quotes come for each 21,313 trades, as on a real evening; `!markPrice@arr@1s` and its like come once a second on
top of the rate. Each connection is an endless market of its own: prices, times and ids are fresh in every frame and
nothing repeats; a later connection's ids are higher. `--rate` is ticks a second of one connection; `max` sends as fast
as the reader takes. `E` is the time at which the frame was written, so that `received - E` is its lag.

The building blocks below it: `kernels.fresh` (records), `exchange.frames.Encoder` (records -> frames) or the kernels of
`kernels.encode` over arrays of yours.
"""

from __future__ import annotations

import argparse
import signal
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import msgspec
import numpy as np
import trio

from aegis.core.errors import ConfigError, VenueUnavailable
from aegis.exchange.connection import Connection
from aegis.exchange.frames import Encoder
from aegis.exchange.history import aggregates
from aegis.exchange.listing import Listing, synthetic_listings
from aegis.exchange.market_server import Feed
from aegis.exchange.process import announce, stop_on_end_of_input, stop_on_signal
from aegis.exchange.session import Session
from aegis.exchange.settings import SocketLimits
from aegis.exchange.socket_server import bind_listener, shake_hands
from aegis.exchange.subscriptions import Endpoint, StreamKind, parse_stream
from aegis.exchange.timed_streams import TIMED
from aegis.exchange.tls import TlsStream
from aegis.kernels import encode, fresh, history
from aegis.kernels.books import PUBLIC
from aegis.kernels.compile import REGISTRY
from aegis.runtime import garbage
from aegis.runtime.child import module_command
from aegis.runtime.clock import SystemClock
from aegis.runtime.warm import warm

__all__ = ["FirehoseReady", "FirehoseSettings", "firehose_command", "read_ready", "serve_firehose"]

#: Trades among quotes and trades of a real evening, in 2**-16.
_TRADE_SHARE = 65_536 * 21_313 // (66_089 + 21_313)
_ALL_TRADES = 65_536
#: Records made at once: 0.3 MB of frames, well below what a socket takes.
_BATCH = 1024
_PACE_S = 0.001
_MARK_NS = 1_000_000_000
_MOST_SYMBOLS = 1000
#: A quarter of a second of a million ticks: a reader that stalls for less is late, and not cut off.
_BACKLOG_BYTES = 64 << 20
_EXIT_USAGE, _EXIT_UNAVAILABLE = 2, 69


@attrs.frozen(kw_only=True)
class FirehoseSettings:
    """What to send. A wrong value raises ConfigError.

    `rate` is ticks a second of one connection, infinite for as fast as it goes; from `burst_after_s` on, for
    `burst_for_s` seconds, it is `burst` times as high. `certificate` is a PEM file with key and certificate.
    """

    rate: float = float("inf")
    symbols: int = 300
    seed: int = 1
    host: str = "127.0.0.1"
    port: int = 0
    burst: float = 1.0
    burst_after_s: float = 0.0
    burst_for_s: float = 0.0
    certificate: Path | None = None
    record_frames: int = 0

    def __attrs_post_init__(self) -> None:
        if not self.rate > 0 or not 1 <= self.symbols <= _MOST_SYMBOLS:
            raise ConfigError(f"firehose: rate must be above 0, symbols between 1 and {_MOST_SYMBOLS}")
        if not (0 < self.burst < float("inf")) or min(self.burst_after_s, self.burst_for_s, self.record_frames) < 0:
            raise ConfigError("firehose: the burst must be above 0, its times and record frames not below 0")

    def due(self, elapsed_s: float) -> float:
        """Ticks that a connection has had by `elapsed_s`."""
        if self.rate == float("inf"):
            return self.rate
        in_burst_s = min(max(elapsed_s - self.burst_after_s, 0.0), self.burst_for_s)
        return self.rate * (elapsed_s + (self.burst - 1.0) * in_burst_s)


class FirehoseReady(msgspec.Struct, tag="ready", tag_field="event"):
    """Where it listens, and what a table of its market needs."""

    url: str
    symbols: list[str]
    qty_decimals: list[int]


def firehose_command(*arguments: str) -> list[str]:
    """The command of a firehose process with these arguments."""
    return module_command("aegis.exchange.firehose", *arguments)


def read_ready(line: bytes) -> FirehoseReady:
    """Read the process's first line. Raises msgspec.DecodeError."""
    return msgspec.json.decode(line, type=FirehoseReady)


class _Stream:
    """The endless market of one connection, and the hub of its one session."""

    def __init__(self, listings: Sequence[Listing], settings: FirehoseSettings, start_ns: int) -> None:
        self._settings = settings
        self._symbols = {listing.symbol.lower(): listing.index for listing in listings}
        self._feed = Feed.of(len(listings))
        self._changed = trio.Event()
        self._wall_ns = SystemClock().wall_ns
        self._encoder = Encoder(listings)
        self._walk = fresh.new_walk(
            [row.start_ticks for row in listings], [row.tick_e8 for row in listings],
            [row.touch_steps for row in listings], start_ns, settings.seed,
        )  # fmt: skip
        self._records = np.zeros(_BATCH, PUBLIC)
        self._marks = np.zeros(len(listings), PUBLIC)
        self._aim()

    def add(self, session: Session, name: str) -> None:
        self._want(name, True)

    def discard(self, session: Session, name: str) -> None:
        self._want(name, False)

    def _want(self, name: str, wanted: bool) -> None:
        stream = parse_stream(name)
        if stream is None or stream.kind in TIMED | {StreamKind.ALL_BOOK_TICKERS}:
            return
        if stream.kind is StreamKind.ALL_MARK_PRICES or stream.symbol in self._symbols:
            self._feed.want(stream, self._symbols.get(stream.symbol, -1), wanted)
            self._aim()
            self._changed.set()

    def _aim(self) -> None:
        wanted = self._feed.wanted
        self._quoted = np.flatnonzero(wanted & encode.QUOTES)
        self._traded = np.flatnonzero(wanted & (encode.TRADES | encode.AGGREGATES))
        self._share = (_TRADE_SHARE if len(self._quoted) else _ALL_TRADES) if len(self._traded) else 0
        self._marking = self._feed.arrays or self._feed.slow_arrays or bool((wanted & encode.MARKS).any())

    async def run(self, session: Session) -> None:
        """Send until the connection closes."""
        await self._changed.wait()
        begun, sent, marked_ns = trio.current_time(), 0, 0
        while not session.connection.closing:
            now_ns = self._wall_ns()
            due = self._settings.due(trio.current_time() - begun) - sent
            ticking = len(self._quoted) + len(self._traded) > 0
            count = int(min(_BATCH, due)) if ticking else 0
            if count:
                fresh.fresh(self._walk, self._quoted, self._traded, self._share, now_ns, self._records[:count])
                self._push(session, self._records[:count])
                sent += count
            if self._marking and now_ns // _MARK_NS != marked_ns:
                marked_ns = now_ns // _MARK_NS
                fresh.fresh_marks(self._walk, now_ns, self._marks)
                self._push(session, self._marks)
            if count == _BATCH:
                await session.connection.drained()
            else:
                await trio.sleep(_PACE_S)

    def _push(self, session: Session, records: np.ndarray[tuple[int], np.dtype[np.void]]) -> None:
        self._feed.push(session, self._encoder, records, aggregates(records))


async def serve_firehose(
    settings: FirehoseSettings, *, task_status: trio.TaskStatus[FirehoseReady] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled; `started` gives the address and the symbols.

    Raises:
        VenueUnavailable: the port is taken. ConfigError: there is no such certificate.
    """
    context = _context(settings.certificate)
    start_ns = SystemClock().wall_ns()
    listings = synthetic_listings(settings.symbols, settings.seed, start_ns // 1_000_000)[: settings.symbols]
    limits = SocketLimits(backlog_bytes=_BACKLOG_BYTES)

    async def handle(stream: trio.SocketStream) -> None:
        tls = TlsStream(stream, context) if context is not None else None
        endpoint: Endpoint | None = None
        try:
            with trio.move_on_after(limits.handshake_s):
                if tls is not None:
                    await tls.start()
                endpoint = await shake_hands(tls or stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            endpoint = None
        if endpoint is None:
            await trio.aclose_forcefully(stream)
            return
        if tls is not None:
            tls.record_frames = settings.record_frames
        market = _Stream(listings, settings, SystemClock().wall_ns())
        session = Session(Connection(tls or stream, limits), endpoint, market, limits)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(market.run, session)
            await session.run()
            nursery.cancel_scope.cancel(reason="connection ended")

    with bind_listener(settings.host, settings.port) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        scheme = "ws" if context is None else "wss"
        task_status.started(
            FirehoseReady(
                f"{scheme}://{settings.host}:{port}",
                [row.symbol for row in listings],
                [row.qty_decimals for row in listings],
            )
        )
        await trio.serve_listeners(handle, [trio.SocketListener(trio.socket.from_stdlib_socket(listener))])


def _context(certificate: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{certificate}: no certificate with its key: {error}") from None
    return context


async def _serve(settings: FirehoseSettings) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_on_signal, signals, nursery.cancel_scope)
            nursery.start_soon(stop_on_end_of_input, nursery.cancel_scope)
            own = (encode.__name__, fresh.__name__, history.__name__)
            await warm(lambda _: None, [entry for entry in REGISTRY if entry[0].__module__ in own])
            ready = await nursery.start(serve_firehose, settings)
            garbage.settle()
            announce(msgspec.json.encode(ready) + b"\n", nursery.cancel_scope)


def _arguments() -> FirehoseSettings:
    parser = argparse.ArgumentParser(prog="python -m aegis.exchange.firehose", description="An endless public market.")
    parser.add_argument("--rate", type=lambda text: float("inf") if text == "max" else float(text), default="max")
    for name, kind in (("symbols", int), ("seed", int), ("port", int), ("record-frames", int), ("burst", float)):
        field = getattr(attrs.fields(FirehoseSettings), name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=kind, default=field.default)
    parser.add_argument("--burst-after", dest="burst_after_s", type=float, default=0.0)
    parser.add_argument("--burst-for", dest="burst_for_s", type=float, default=0.0)
    parser.add_argument("--tls", dest="certificate", type=Path, metavar="PEM")
    return FirehoseSettings(**vars(parser.parse_args()))


def _main() -> int:
    """Serve until told to stop: 0; one line on stderr and 2 or 69 where that cannot be."""
    code, reason = 0, ""
    try:
        trio.run(_serve, _arguments())
    except* ConfigError as group:
        code, reason = _EXIT_USAGE, str(_first(group))
    except* VenueUnavailable as group:
        code, reason = _EXIT_UNAVAILABLE, str(_first(group))
    if reason:
        sys.stderr.write(f"firehose: {reason}\n")
    return code


def _first(group: BaseExceptionGroup[Exception]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    sys.exit(_main())
