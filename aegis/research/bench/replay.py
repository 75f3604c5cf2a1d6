"""Replay: lines to bars in compiled code alone, the whole engine on a recording, and on 300 symbols.

All of it is one thread that never waits, so a figure is by processor time: what a core that nobody else uses does.
The time by the clock stands beside it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs

from aegis import config as configs
from aegis.config import BarsConfig
from aegis.config.strategy import FvgRetestConfig
from aegis.research.bench.process import Unmeasured
from aegis.research.bench.table import Bench, Row, median_row
from aegis.research.fold import Folder
from aegis.research.generated import write_generated
from aegis.runtime.child import module_command
from aegis.runtime.clock import SystemClock

__all__ = ["measure"]

_FRAMES = 5_000_000
_SYMBOLS, _RATE = 300, 100_000
#: Two swings of structure bars and a gap behind them take most of it: only then do signals come.
_MANY_SECONDS = 60
#: As the recording of a busy evening of one symbol, which it stands for where none is given.
_ONE_RATE, _ONE_SECONDS = 260, 340
_LIMIT_S = 1_800.0
_OWN = "one made-up symbol; --file takes a real recording"


def measure(bench: Bench) -> Iterator[Row]:
    """Three rows; the engine runs as `aegis replay`, in a process of its own, timed once its kernels are there."""
    with TemporaryDirectory(prefix="aegis-bench-") as scratch:
        path, note = bench.file, ""
        if path is None:
            seconds = bench.effort.amount(_ONE_SECONDS, 3)
            path, note = write_generated(Path(scratch) / "one", symbols=1, seconds=seconds, rate=_ONE_RATE), _OWN
        yield _bars(bench, path, note)
        told = _replays(bench, "engine on a recording", (str(path), "--base-bar", "1s"))
        yield median_row(
            "replay", "replay, full engine on a recording", [_data_s(one) / _cpu_s(one) for one in told],
            target=300.0, unit="x real time", note=note, detail=_detail(told),
        )  # fmt: skip
        yield _many(bench, Path(scratch))


def _bars(bench: Bench, path: Path, note: str) -> Row:
    """The file over and over, in memory."""
    clock, folder, frames = SystemClock(), Folder([path]), bench.effort.amount(_FRAMES, 1_000)

    def once() -> float:
        begin_ns = clock.cpu_ns()
        folded = folder.run(frames)
        spent_ns = clock.cpu_ns() - begin_ns
        if not folded.bars or len(set(folded.lots)) != 1:
            raise Unmeasured("the frames made no bars, or not the same in each pass")
        return folded.frames / (spent_ns / 1e9)

    samples = bench.repeat("lines to bars, frames/s", once)
    return median_row(
        "replay", "replay, lines to bars, kernels alone", samples, target=2_000_000, unit="frames/s", note=note
    )


def _many(bench: Bench, scratch: Path) -> Row:
    seconds = bench.effort.amount(_MANY_SECONDS, 2)
    bench.say(f"writing {seconds} s of {_SYMBOLS} symbols")
    path = write_generated(scratch / "many", symbols=_SYMBOLS, seconds=seconds, rate=_RATE)
    config = scratch / "many.toml"
    config.write_text(configs.dump(_many_config()), encoding="utf-8")
    told = _replays(bench, f"engine on {_SYMBOLS} symbols", (str(path), "--config", str(config)))
    frames = told[0]["lines"]["total"]
    return median_row(
        "replay", "replay, full engine on 300 generated symbols", [frames / _cpu_s(one) for one in told],
        target=1_000_000, unit="frames/s", note=f"{frames / seconds:,.0f} frames a second of data",
        detail=_detail(told),
    )  # fmt: skip


def _many_config() -> configs.Config:
    """As shipped for the simulator, with structure that a minute of data is long enough for."""
    config = configs.load("sim")
    assert isinstance(config.strategy, FvgRetestConfig)
    strategy = attrs.evolve(config.strategy, trigger_swing=2, structure_swing=2, min_gap_atr=0.1)
    return attrs.evolve(config, bars=BarsConfig(timeframes=("1s", "2s")), strategy=strategy)


def _data_s(summary: Any) -> float:
    return float(summary["run"]["data_seconds"])


def _cpu_s(summary: Any) -> float:
    return float(summary["speed"]["cpu_seconds"])


def _detail(told: Sequence[Any]) -> dict[str, float | int | str]:
    last = told[-1]
    return {
        "frames": last["lines"]["total"],
        "bars": last["market"]["bars"],
        "signals": last["signals"]["signals"],
        "entries filled": last["trades"]["entries_filled"],
        "CPU s": _cpu_s(last),
        "s by the clock": last["speed"]["seconds"],
    }


def _replays(bench: Bench, what: str, arguments: Sequence[str]) -> list[Any]:
    """A summary a repeat. Raises Unmeasured."""
    told = []
    for number in range(1, bench.effort.repeats + 1):
        told.append(_replay(arguments))
        bench.say(f"{what} {number}: {_cpu_s(told[-1]):.2f} s of CPU for {_data_s(told[-1]):.0f} s of data")
    return told


def _replay(arguments: Sequence[str]) -> Any:
    """The summary of `aegis replay`. Raises Unmeasured."""
    command = module_command("aegis", "replay", *arguments, "--json")
    try:
        done = subprocess.run(command, capture_output=True, timeout=_LIMIT_S, check=False)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        raise Unmeasured(f"a replay took longer than {_LIMIT_S:g} s") from None
    try:
        return json.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise Unmeasured(f"a replay ended with {done.returncode}: {last}") from None
