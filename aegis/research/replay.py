"""`aegis replay`: recorded frames through the engine's own tasks, on the data's clock, with simulated fills.

A recording of ours holds every input of the run that made it: replaying it takes those inputs, fills included, and must
come to the same signals and decisions (`replay_inputs.py`). Bare frames hold only the market: a simulated exchange in
this process fills the orders from the recorded prices (here).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import trio

from aegis import config as configs
from aegis.config import Config
from aegis.core.errors import AegisError, ConfigError
from aegis.engine import journal_format
from aegis.engine.account_files import journal_of
from aegis.engine.journal import Journal
from aegis.engine.summary import Summary
from aegis.research.frames_run import FramesRun
from aegis.research.replay_inputs import compare, replay_inputs
from aegis.research.walk import WARM_BARS
from aegis.research.witness import Witness
from aegis.runtime.clock import SystemClock, run_virtual
from aegis.runtime.garbage import settle as settle_garbage
from aegis.runtime.warm import warm

__all__ = ["ReplayOptions", "replay"]

Say = Callable[[str], None]


@attrs.frozen(kw_only=True)
class ReplayOptions:
    """What the command line gives."""

    config_name: str | None = None
    base_bar: str | None = None
    compare: str | None = None
    home: Path | None = None


def replay(files: Sequence[str], options: ReplayOptions, *, say: Say, witness: Witness | None = None) -> Summary:
    """Replay one recording directory, or bare files in order; a witness looks on.

    Raises ConfigError or RecordingError in one line.
    """
    paths = [Path(name) for name in files]
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path}: no such file or directory")
    trio.run(_warm, say)
    settle_garbage()
    clock = SystemClock()
    begin_ns, begin_cpu_ns = clock.monotonic_ns(), clock.cpu_ns()
    with tempfile.TemporaryDirectory(prefix="aegis-replay-") as scratch:
        journal = Path(scratch) / "replay.journal"
        if any(path.is_dir() for path in paths):
            if len(paths) > 1:
                raise ConfigError("a recording directory is replayed by itself")
            summary = replay_inputs(paths[0], journal, say=say, witness=witness)
        else:
            summary = _replay_frames(paths, options, journal, say, witness)
        spent_ns, spent_cpu_ns = clock.monotonic_ns() - begin_ns, clock.cpu_ns() - begin_cpu_ns
        speed = _speed(summary, spent_ns / 1e9, spent_cpu_ns / 1e9)
        if witness is not None:
            witness.end(journal)
        sections = {**summary.sections, "speed": speed, "digest": {"sha256": journal_format.digest(journal)}}
        differences = summary.differences
        if options.compare is not None:
            found = compare(journal_of(options.home, options.compare), journal)
            sections["compare"] = {"run": options.compare, "first_difference": found or "none"}
            differences = (*differences, f"decisions differ: {found}") if found else differences
    return attrs.evolve(summary, sections=sections, differences=differences)


def _speed(summary: Summary, seconds: float, cpu_seconds: float) -> dict[str, float]:
    """How long the data took once the kernels were there, beside how long it is."""
    speed = {"seconds": round(seconds, 3), "cpu_seconds": round(cpu_seconds, 3)}
    data_seconds = summary.sections["run"].get("data_seconds")
    return speed if data_seconds is None else {**speed, "times_real_time": round(data_seconds / seconds, 1)}


async def _warm(say: Say) -> None:
    await warm(lambda step: None if step.cached else say(f"compiling kernels {step.done}/{step.total}: {step.name}"))


def replay_config(options: ReplayOptions, config: Config | None = None) -> Config:
    """The config of a replay of bare frames: the given one, a preset or file, with what the data forces upon it."""
    config = config or configs.load(options.config_name or "sim")
    bars = config.bars
    if options.base_bar is not None:
        bars = _with_base(bars, options.base_bar)
    try:
        return attrs.evolve(config, bars=bars)
    except ValueError as error:  # a strategy names a timeframe that is no more
        raise ConfigError(f"--base-bar: {error}") from None


def _with_base(bars: configs.BarsConfig, base: str) -> configs.BarsConfig:
    """Another base bar; the longer ones keep their multiples."""
    try:
        factor, old = configs.duration_ms(base), bars.timeframes_ms[0]
        lengths = tuple(configs.duration_text(ms // old * factor) for ms in bars.timeframes_ms)
        return attrs.evolve(bars, timeframes=lengths)
    except ValueError as error:
        raise ConfigError(f"--base-bar: {error}") from None


def _replay_frames(
    paths: Sequence[Path], options: ReplayOptions, journal_path: Path, say: Say, witness: Witness | None
) -> Summary:
    config = replay_config(options)
    run = FramesRun(config, paths, warmup_bars=WARM_BARS, say=say, witness=witness)
    journal = Journal.create(journal_path, run="1", config_hash=configs.decision_hash(config), at_ns=run.start_ns)
    try:
        return run_virtual(run.run, journal, epoch_ns=run.start_ns, seed=None)
    except BaseExceptionGroup as group:
        raise _ours(group) from None
    finally:
        journal.close()


def _ours(group: BaseExceptionGroup) -> BaseException:
    """The first error of ours in it, which tells the user; else the group as it is, which is a bug."""
    for error in group.exceptions:
        found = _ours(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, AegisError):
            return found
    return group
