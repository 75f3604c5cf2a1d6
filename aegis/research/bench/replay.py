"""Replay: frames to bars in compiled code alone, the whole engine on a recording and on 300 symbols."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs

from aegis.config import BarsConfig
from aegis.exchange.listing import synthetic_listings
from aegis.kernels import market as tables
from aegis.kernels import wire
from aegis.kernels.analysis import AnalysisParams, analyse_all, new_state, set_live_from
from aegis.kernels.market import AGG_TRADE, counts, new_table
from aegis.kernels.state import State
from aegis.research.bench.made_recording import START_NS, market_frames, write_recording
from aegis.research.bench.process import Unmeasured
from aegis.research.bench.table import Bench, Row, median_row
from aegis.runtime.clock import SystemClock
from aegis.venue.inbox import Inbox

__all__ = ["measure"]

_FRAMES = 5_000_000
_SYMBOLS, _RATE = 300, 100_000
#: As the recording of a busy evening of one symbol, which it stands for where none is given.
_ONE_RATE, _ONE_SECONDS = 260.0, 340.0
_MANY_SECONDS = 10.0
_VOLATILITY = 8.0  # as the shipped config: trades come about
_LIMIT_S = 1_800.0
_BATCH_NS = 100_000_000
_LATENESS_MS = 250
_NS_PER_MS = 1_000_000


def measure(bench: Bench) -> Iterator[Row]:
    """Three rows; the engine runs as `aegis replay`, in a process of its own, timed once its kernels are there."""
    samples = bench.repeat("frames to bars, frames/s", lambda: _to_bars(bench.effort.amount(_FRAMES, 50_000)))
    yield median_row(
        "replay", "frames to bars, kernels alone", samples, target=2_000_000, unit="frames/s",
        note=f"{_SYMBOLS} symbols, fresh frames in place of a loop whose ids would be stale; by processor time",
    )  # fmt: skip
    with TemporaryDirectory(prefix="aegis-bench-") as scratch:
        yield _one(bench, Path(scratch) / "one")
        yield _many(bench, Path(scratch) / "many")


def _one(bench: Bench, made: Path) -> Row:
    path, note = bench.file, ""
    if path is None:
        write_recording(made, 1, _ONE_RATE, bench.effort.seconds(_ONE_SECONDS, 2.0), volatility=_VOLATILITY)
        path, note = made, "one made-up symbol; --file takes a real recording"
    told = [_replay(path) for _ in range(bench.effort.repeats)]
    return median_row(
        "replay", "full engine on a recording", [one["speed"]["times_real_time"] for one in told], target=300.0,
        unit="x real time", note=note, detail=_detail(told[-1]),
    )  # fmt: skip


def _many(bench: Bench, made: Path) -> Row:
    seconds = bench.effort.seconds(_MANY_SECONDS)
    lines = write_recording(made, _SYMBOLS, _RATE, seconds, volatility=_VOLATILITY)
    bench.say(f"replaying {lines:,} frames of {_SYMBOLS} symbols, {seconds:g} s of data")
    told = [_replay(made) for _ in range(bench.effort.repeats)]
    return median_row(
        "replay", "full engine on 300 symbols", [lines / one["speed"]["seconds"] for one in told], target=1_000_000,
        unit="frames/s", note=f"{lines / seconds:,.0f} frames a second of data; too little data to warm a strategy",
        detail=_detail(told[-1]),
    )  # fmt: skip


def _detail(summary: Any) -> dict[str, float | int | str]:
    return {
        "lines": summary["lines"]["total"],
        "seconds": summary["speed"]["seconds"],
        "bars": summary["market"]["bars"],
        "signals": summary["signals"]["signals"],
    }


def _replay(path: Path) -> Any:
    """The summary of `aegis replay` on a file. Raises Unmeasured."""
    command = [sys.executable, "-m", "aegis", "replay", str(path), "--base-bar", "1s", "--json"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_LIMIT_S, check=False)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        raise Unmeasured(f"a replay took longer than {_LIMIT_S:g} s") from None
    try:
        return json.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise Unmeasured(f"a replay ended with {done.returncode}: {last}") from None


# -- kernels alone -----------------------------------------------------------------------------------------------------
@attrs.define(eq=False)
class _Decoder:
    """Table and analysis without the engine around them: a batch each 100 ms of data, bars of one second."""

    table: tables.Table
    state: State
    inbox: Inbox
    bars: int = 0

    @classmethod
    def new(cls) -> _Decoder:
        listings = synthetic_listings(_SYMBOLS, 1, START_NS // _NS_PER_MS)[:_SYMBOLS]
        bars = BarsConfig(base="1s", structure="5s")
        base_ms = bars.timeframes_ms[0]
        names, decimals = [row.symbol for row in listings], [row.qty_decimals for row in listings]
        state = new_state(_SYMBOLS, bars.timeframes_ms, AnalysisParams())
        for symbol in range(_SYMBOLS):
            set_live_from(state, symbol, START_NS // _NS_PER_MS)
        return cls(new_table(names, decimals, base_ms, AGG_TRADE), state, Inbox(1 << 22))

    def take(self, data: bytes, now_ns: int) -> None:
        inbox = self.inbox
        while data:
            room = inbox.room()
            count = min(len(room), len(data))
            room[:count] = data[:count]
            data = data[count:]
            inbox.advance(count)
            while (status := inbox.scan(self.table, now_ns)) != wire.NEED_MORE:
                if status != wire.ROWS_FULL:
                    raise Unmeasured(f"the compiled pass stopped with status {status}")
                self.close(now_ns)

    def close(self, now_ns: int) -> None:
        batch = tables.batch_buffer(self.table)
        count = tables.take_batch(self.table, batch)
        bars, _ = analyse_all(self.state, batch[:count], now_ns // _NS_PER_MS - _LATENESS_MS)
        self.bars += len(bars)


def _to_bars(frames: int) -> float:
    """Frames a second of processor time, that of making the frames left out."""
    clock, decoder = SystemClock(), _Decoder.new()
    spent_ns, batch_ns = 0, START_NS
    for now_ns, data, _ in market_frames(_SYMBOLS, _RATE, frames / _RATE, volatility=1.0):
        begin_ns = clock.cpu_ns()
        decoder.take(data, now_ns)
        if now_ns - batch_ns >= _BATCH_NS:
            decoder.close(now_ns)
            batch_ns = now_ns
        spent_ns += clock.cpu_ns() - begin_ns
    seen = counts(decoder.table)
    if not decoder.bars and frames >= 2 * _RATE:
        raise Unmeasured("the frames made no bars")
    return seen["frames"] / (spent_ns / 1e9)
