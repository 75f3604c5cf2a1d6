"""The endless market over real sockets into the table: everything that is sent is applied, plain and over TLS."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from aegis.core.errors import ConfigError, VenueUnavailable
from aegis.exchange.firehose import FirehoseReady, FirehoseSettings, firehose_command, read_ready, serve_firehose
from aegis.exchange.socket_server import bind_listener
from aegis.kernels import market, wire
from aegis.runtime.clock import SystemClock
from aegis.venue.inbox import Text
from aegis.venue.market_socket import MarketSocket, connect, subscribe, unsubscribe
from tests.component.test_market_socket import certificate

SYMBOLS = 20
HARMLESS = {"frames", "quotes", "agg_trades", "marks", "slow_frames"}


@attrs.define
class Reader:
    """One connection of a firehose into a table of its market."""

    sock: MarketSocket
    table: market.Table
    texts: list[bytes] = attrs.Factory(list)

    async def until(self, done: Callable[[], bool]) -> dict[str, int]:
        """Read until it is done; the counters, in which nothing went wrong."""
        out = market.batch_buffer(self.table)
        while not done():
            await self.sock.receive()
            while (status := self.sock.inbox.scan(self.table, SystemClock().wall_ns())) != wire.NEED_MORE:
                if status == wire.SLOW:
                    message = self.sock.inbox.slow()
                    assert isinstance(message, Text)
                    self.texts.append(message.payload)
                else:
                    assert status == wire.ROWS_FULL
                    market.take_batch(self.table, out)
        counts = {name: count for name, count in market.counts(self.table).items() if count}
        assert set(counts) <= HARMLESS
        assert counts.get("slow_frames", 0) == len(self.texts)
        return counts

    def count(self, name: str) -> int:
        return int(self.table.counters[market.COUNTERS[name]])


@asynccontextmanager
async def reading(
    ready: FirehoseReady, names: list[str], context: ssl.SSLContext | None = None
) -> AsyncIterator[Reader]:
    sock = await connect(f"{ready.url}/public/stream?streams={'/'.join(names)}", ssl_context=context)
    try:
        yield Reader(sock, market.new_table(ready.symbols, ready.qty_decimals, 60_000, market.AGG_TRADE))
    finally:
        await sock.close()


def streams(ready: FirehoseReady, *kinds: str) -> list[str]:
    return [f"{symbol.lower()}@{kind}" for symbol in ready.symbols for kind in kinds]


async def started(nursery: trio.Nursery, **settings: object) -> FirehoseReady:
    ready = await nursery.start(serve_firehose, FirehoseSettings(symbols=SYMBOLS, **settings))  # type: ignore[arg-type]
    assert isinstance(ready, FirehoseReady)
    return ready


async def test_every_quote_is_applied_and_none_comes_twice(nursery: trio.Nursery) -> None:
    with trio.fail_after(60):
        ready = await started(nursery)
        async with reading(ready, streams(ready, "bookTicker")) as reader:
            counts = await reader.until(lambda: reader.count("quotes") >= 50_000)
            assert counts.keys() == {"frames", "quotes"}
            before = reader.table.symbols["update_id"].copy()
            assert (before > 0).all()
            async with reading(ready, streams(ready, "bookTicker")) as later:
                await later.until(lambda: later.count("quotes") >= 1000)
                assert (later.table.symbols["update_id"] >= 0).all()


async def test_the_mix_is_that_of_a_real_evening_with_marks_every_second(nursery: trio.Nursery) -> None:
    with trio.fail_after(60):
        ready = await started(nursery)
        names = [*streams(ready, "bookTicker", "aggTrade"), "!markPrice@arr@1s"]
        async with reading(ready, names) as reader:
            counts = await reader.until(
                lambda: reader.count("quotes") >= 100_000 and reader.count("marks") >= 2 * SYMBOLS
            )
            assert counts["agg_trades"] / counts["quotes"] == pytest.approx(21_313 / 66_089, rel=0.05)
            assert counts["marks"] % SYMBOLS == 0
            assert (abs(reader.table.symbols["mark"] / reader.table.symbols["bid"] - 1) < 0.1).all()


async def test_a_client_subscribes_and_leaves_off_on_the_way(nursery: trio.Nursery) -> None:
    with trio.fail_after(60):
        ready = await started(nursery, rate=20_000.0)
        async with reading(ready, []) as reader:
            await reader.sock.send_text(subscribe(["btcusdt@bookTicker", "nothing@bookTicker", "btcusdt@depth5"], 1))
            await reader.until(lambda: reader.count("quotes") >= 100)
            await reader.sock.send_text(subscribe(["ethusdt@aggTrade", "!markPrice@arr@1s"], 2))
            await reader.until(lambda: reader.count("agg_trades") >= 100 and reader.count("marks") >= SYMBOLS)
            assert set(reader.table.symbols["update_id"][1:]) == {-1}
            await reader.sock.send_text(unsubscribe(["btcusdt@bookTicker", "ethusdt@aggTrade"], 3))
            await reader.until(lambda: len(reader.texts) == 3)
            ended = reader.count("frames")
            await reader.until(lambda: reader.count("frames") >= ended + 2)
            assert reader.count("marks") > SYMBOLS
            answers = [{"result": None, "id": number} for number in (1, 2, 3)]
            assert [json.loads(text) for text in reader.texts] == answers


@pytest.mark.parametrize("record_frames", [0, 10, 1])
async def test_every_tick_comes_through_tls_whatever_its_records(
    tmp_path: Path, nursery: trio.Nursery, record_frames: int
) -> None:
    _, client = certificate(tmp_path, "127.0.0.1")
    with trio.fail_after(60):
        ready = await started(nursery, certificate=tmp_path / "server.pem", record_frames=record_frames)
        async with reading(ready, [*streams(ready, "bookTicker", "aggTrade"), "!markPrice@arr@1s"], client) as reader:
            await reader.until(lambda: reader.count("frames") >= 20_000 and reader.count("marks") >= SYMBOLS)


@pytest.mark.parametrize(("elapsed_s", "due"), [(0, 0), (1, 100), (2, 200), (3, 1200), (4, 2200), (5, 2300)])
def test_a_burst_is_so_many_times_the_rate_for_so_long(elapsed_s: float, due: float) -> None:
    settings = FirehoseSettings(rate=100.0, burst=10.0, burst_after_s=2.0, burst_for_s=2.0)
    assert settings.due(elapsed_s) == due
    assert FirehoseSettings().due(elapsed_s) == float("inf")


@pytest.mark.parametrize(
    "wrong", [{"rate": 0.0}, {"rate": float("nan")}, {"symbols": 0}, {"burst": 0.0}, {"record_frames": -1}]
)
def test_a_wrong_setting_is_an_error(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="firehose"):
        FirehoseSettings(**wrong)  # type: ignore[arg-type]


async def test_a_missing_certificate_and_a_taken_port_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no certificate with its key"):
        await serve_firehose(FirehoseSettings(certificate=tmp_path / "none.pem"))
    with bind_listener("127.0.0.1", 0) as taken, pytest.raises(VenueUnavailable, match="cannot listen"):
        await serve_firehose(FirehoseSettings(port=taken.getsockname()[1]))


async def test_the_process_says_where_it_listens_and_ends_with_its_stdin() -> None:
    with trio.fail_after(120):  # the first on a machine compiles
        process = await trio.lowlevel.open_process(
            firehose_command("--symbols", "3", "--rate", "1000"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        async with process.stdout:
            line = b""
            while not line.endswith(b"\n"):
                line += await process.stdout.receive_some()
            ready = read_ready(line)
            async with reading(ready, streams(ready, "bookTicker")) as reader:
                await reader.until(lambda: reader.count("quotes") >= 10)
                await process.stdin.aclose()
                assert await process.wait() == 0
    wrong = partial(trio.run_process, firehose_command("--rate", "0"), capture_stderr=True, check=False)
    ended = await wrong()
    assert (ended.returncode, ended.stderr.decode().count("\n")) == (2, 1)
    assert b"rate must be above 0" in ended.stderr
