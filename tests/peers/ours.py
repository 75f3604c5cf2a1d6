"""The same work of ours: `python -m tests.peers.ours wire|scan|replay|patterns|batch SOURCE SECONDS`, one JSON line."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import trio

from aegis.kernels import indicators, smc
from aegis.kernels import wire as wire_kernels
from aegis.kernels.market import AGG_TRADE, COUNTERS, Table, batch_buffer, new_table, take_batch
from aegis.kernels.wire import frame
from aegis.runtime.warm import warm
from aegis.venue.inbox import RECEIVE_BYTES, Inbox
from aegis.venue.market_socket import MarketSocket, connect
from tests.peers.meter import STRIDE, Meter

PACKAGES = ("selflearningtrader", "numba", "numpy", "trio")
FLUSH_NS = 100_000_000
BASE_MS = 60_000
BASE_BAR = "1s"
SERIES = 300


def empty_table(symbols: list[str]) -> Table:
    return new_table(symbols, [3] * len(symbols), BASE_MS, AGG_TRADE)


def applied(table: Table) -> int:
    """Quotes that changed the table."""
    return int(table.counters[COUNTERS["quotes"]] - table.counters[COUNTERS["stale_quotes"]])


def streams(url: str) -> list[str]:
    return parse_qs(urlsplit(url).query)["streams"][0].split("/")


async def wire(url: str, meter: Meter) -> None:
    """The engine's market socket: bytes, frames, JSON, table, and a batch of conflated rows every 100 ms."""
    await warm(lambda step: None)
    table = empty_table([stream.split("@")[0].upper() for stream in streams(url)])
    socket = await connect(url)
    reader = Reader(socket, table)
    while applied(table) < 100 * STRIDE:
        await reader.read()
    frames, quotes = int(table.counters[COUNTERS["frames"]]), applied(table)
    meter.start()
    over = False
    while not over:
        before = applied(table)
        await reader.read()
        over = meter.over(applied(table) - before)
    offered = int(table.counters[COUNTERS["frames"]]) - frames
    meter.report(*PACKAGES, offered=offered, symbols=len(table.symbols), applied=(applied(table) - quotes) / offered)
    await socket.close()


class Reader:
    """What the feed does with each receive."""

    def __init__(self, socket: MarketSocket, table: Table) -> None:
        self.socket, self.table = socket, table
        self.batch = batch_buffer(table)
        self.flush_ns = 0

    async def read(self) -> None:
        await self.socket.receive()
        now_ns = time.time_ns()
        while (status := self.socket.inbox.scan(self.table, now_ns)) != wire_kernels.NEED_MORE:
            if status == wire_kernels.ROWS_FULL:
                take_batch(self.table, self.batch)
            elif (message := self.socket.inbox.slow()) is not None:
                await self.socket.answer(message)
        if now_ns >= self.flush_ns:
            take_batch(self.table, self.batch)
            self.flush_ns = now_ns + FLUSH_NS


def scan(path: Path, meter: Meter) -> None:
    """The decoder alone: frames into the inbox in reads of 64 KiB, as a socket brings them, and into the table."""
    trio.run(warm, lambda step: None)
    payloads = [line.partition(b" ")[2] for line in path.read_bytes().splitlines()]
    data = b"".join(frame(payload) for payload in payloads)
    reads = [data[at : at + RECEIVE_BYTES] for at in range(0, len(data), RECEIVE_BYTES)]
    symbols = sorted({payload.partition(b"@")[0].rpartition(b'"')[2].decode().upper() for payload in payloads})
    meter.start()
    over = False
    quotes = passes = 0
    while not over:
        table, inbox = empty_table(symbols), Inbox()  # ids of the second pass would not be new to the first table
        for read in reads:
            inbox.extend(read)
            assert inbox.scan(table, 0) == wire_kernels.NEED_MORE
        passes += 1
        quotes += applied(table)
        over = meter.over(applied(table))
    meter.report(*PACKAGES, symbols=len(symbols), applied=quotes / (passes * len(payloads)))


def replay_file(path: Path, meter: Meter) -> None:
    """The whole engine, with its exchange: `aegis replay` of the file, from the first look at it on."""
    lines = path.read_bytes().count(b"\n")
    command = (sys.executable, "-m", "aegis", "replay", str(path), "--base-bar", BASE_BAR, "--json")
    summary = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    assert summary["lines"]["bookTicker"] == lines
    assert summary["market"]["lost"] == summary["market"]["malformed"] == 0
    meter.add(lines, cpu_s=summary["speed"]["cpu_seconds"])
    meter.report(*PACKAGES, applied=1.0)


def patterns(path: Path, meter: Meter) -> None:
    """Every pattern at a new bar of each of 300 series: each walks a part of the bars of its own."""
    columns = np.load(path)
    whole = len(columns[0]) // SERIES * SERIES
    bars = smc.bars_of(*columns[:, :whole])
    minutes = np.ascontiguousarray(bars.reshape(SERIES, -1).T)
    timeframe_ms = int(bars["open_time"][1] - bars["open_time"][0])
    smc.Stream(SERIES, timeframe_ms=timeframe_ms).commit(minutes[0])
    meter.start()
    over = False
    while not over:
        stream = smc.Stream(SERIES, timeframe_ms=timeframe_ms)
        for minute in minutes:
            stream.commit(minute)
        over = meter.over(whole)
    meter.report(*PACKAGES, applied=1.0)


def batch(path: Path, meter: Meter) -> None:
    """ATR, RSI and Bollinger's bands over whole arrays, with the checks of what comes in."""
    high, low, close = (np.ascontiguousarray(column) for column in np.load(path)[2:5])

    def work(n: int) -> None:
        indicators.atr(high[:n], low[:n], close[:n], 14)
        indicators.rsi(close[:n], 14)
        indicators.bollinger(close[:n], 20)

    work(100)
    meter.start()
    over = False
    while not over:
        work(len(close))
        over = meter.over(len(close))
    meter.report(*PACKAGES, applied=1.0)


FILE_TASKS = {"scan": scan, "replay": replay_file, "patterns": patterns, "batch": batch}

if __name__ == "__main__":
    task, where, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    if task == "wire":
        trio.run(wire, where, Meter(seconds))
    else:
        FILE_TASKS[task](Path(where), Meter(float(seconds)))
