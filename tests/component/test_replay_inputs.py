"""A recording of every input replays to the decisions of the run that made it, and damage never passes for a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest

from aegis import config as configs
from aegis.core.errors import AegisError
from aegis.engine import build, journal_format
from aegis.engine.inputs import InputKind
from aegis.engine.journal import Journal
from aegis.engine.machine import Machine
from aegis.research import frames_run
from aegis.research import replay as replays
from aegis.research import replay_inputs as inputs_module
from aegis.research.frames_run import FramesRun
from aegis.research.recording import Input, Recorder, RecordingError, RecordingHeader, read_header, read_recording
from aegis.research.replay import ReplayOptions, replay
from aegis.research.replay_inputs import compare, replay_inputs
from aegis.research.tap import RecordingTap, Start
from aegis.runtime.clock import run_virtual
from aegis.runtime.metrics import Metrics
from tests.support.recorded_lines import market_lines, quick_config, write

_WARMUP = 20
DECIDED = ("decision", "plan", "intent", "trade")


@attrs.frozen
class Run:
    """A run that traded, with its recording and its journal."""

    directory: Path
    journal: Path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """An engine with its tasks, lanes and simulated exchange on the market of `recorded_lines`, as `--record` does."""
    home = tmp_path_factory.mktemp("recorded")
    taps: list[RecordingTap] = []

    def build_recorded(config: Any, market: Any, channels: Any, **parts: Any) -> Any:
        symbols = tuple(str(spec.symbol) for spec in market.specs)
        long = attrs.evolve(config, bars=configs.load(quick_config(home)).bars)  # what a config may say
        header = RecordingHeader(run=parts["run"], symbols=symbols, config_toml=configs.dump(long))
        start = Start.of(market, channels)
        taps.append(RecordingTap(home / "recording", header, Metrics(), start, parts["start_ns"]))
        return build.build_machine(config, market, channels, **{**parts, "tap": taps[0], "from_first_trade": False})

    def build_short(config: Any, *args: Any, **parts: Any) -> Any:
        return build.build_machine(attrs.evolve(config, bars=config.bars.shortened(_WARMUP)), *args, **parts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames_run, "build_machine", build_recorded)
        patch.setattr(inputs_module, "build_machine", build_short)
        patch.setattr(Machine, "end_of_data", lambda machine, bar_ms: None)  # nothing that a live run has
        config = configs.load(quick_config(home))
        frames = FramesRun(config, [write(home / "market", market_lines())], warmup_bars=_WARMUP, say=lambda text: None)
        journal = Journal.create(home / "live.journal", run="1", config_hash="x", at_ns=0)
        summary = run_virtual(frames.run, journal, epoch_ns=frames.start_ns, seed=7)
        journal.close()
        with taps[0]:
            pass
        assert summary.ledger == "agrees"
        assert summary.sections["trades"]["closed"] >= 2
        yield Run(home / "recording", home / "live.journal")


def records(path: Path, *kinds: str) -> list[tuple[str, int, Any]]:
    return [(r.kind, r.at_ns, r.data) for r in journal_format.read(path) if r.kind in kinds]


def again(run: Run, journal: Path) -> str:
    replay_inputs(run.directory, journal, say=lambda text: None)
    return compare(run.journal, journal)


def rewrite(run: Run, directory: Path, entries: list[Input]) -> Run:
    with Recorder(directory, read_header(run.directory), Metrics()) as recorder:
        for entry in entries:
            recorder.record(*entry)
    return Run(directory, run.journal)


def test_the_replay_decides_what_the_run_decided_at_the_same_times(run: Run, tmp_path: Path) -> None:
    assert again(run, tmp_path / "replay.journal") == ""
    live = records(run.journal, *DECIDED, "fill", "outcome")
    assert len([kind for kind, _, _ in live if kind == "decision"]) >= 2
    assert live == records(tmp_path / "replay.journal", *DECIDED, "fill", "outcome")


def test_the_command_says_that_there_is_no_difference_and_gives_one_digest(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def warm(progress: Any) -> None:
        return None

    monkeypatch.setattr(replays, "warm", warm)
    monkeypatch.setattr(replays, "settle_garbage", lambda: None)
    monkeypatch.setattr(replays, "journal_of", lambda home, name: run.journal)
    told = [replay([str(run.directory)], ReplayOptions(compare="1"), say=lambda text: None) for _ in range(2)]
    assert told[0].sections["compare"] == {"run": "1", "first_difference": "none"}
    assert told[0].ok
    assert told[0].sections["digest"] == told[1].sections["digest"]

    other = tmp_path / "other.journal"
    lines = list(journal_format.read(run.journal))
    with_change = Journal.create(other, run="1", config_hash="x", at_ns=0)
    for record in lines[1:]:
        data = record.data | {"stop": "1"} if record.kind == "plan" else record.data
        with_change.append(record.kind, data, record.at_ns)
    with_change.close()
    monkeypatch.setattr(replays, "journal_of", lambda home, name: other)
    differs = replay([str(run.directory)], ReplayOptions(compare="1"), say=lambda text: None)
    assert not differs.ok
    assert "plan" in differs.sections["compare"]["first_difference"]


def test_a_recording_without_the_fills_is_found(run: Run, tmp_path: Path) -> None:
    entries = list(read_recording(run.directory))
    kept = [one for one in entries if one.kind is not InputKind.PRIVATE or b"TRADE" not in one.payload]
    assert len(kept) < len(entries)
    assert again(rewrite(run, tmp_path / "tampered", kept), tmp_path / "replay.journal").startswith("record ")


def test_other_quotes_in_the_market_are_found(run: Run, tmp_path: Path) -> None:
    changed = [
        one._replace(payload=one.payload.replace(b'"b":"3', b'"b":"2')) if one.kind is InputKind.READ else one
        for one in read_recording(run.directory)
    ]
    found = again(rewrite(run, tmp_path / "tampered", changed), tmp_path / "replay.journal")
    assert found.startswith("record 1: live plan")


@pytest.mark.parametrize("part", [0.2, 0.5, 0.99])
def test_a_truncated_recording_is_one_line_with_its_file(run: Run, tmp_path: Path, part: float) -> None:
    directory = tmp_path / "cut"
    directory.mkdir()
    (source,) = run.directory.iterdir()
    data = source.read_bytes()
    (directory / source.name).write_bytes(data[: int(len(data) * part)])
    with pytest.raises(RecordingError) as caught:
        replay_inputs(directory, tmp_path / "replay.journal", say=lambda text: None)
    assert str(directory) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", [0.001, 0.3, 0.7])
def test_a_corrupt_recording_is_one_line_with_its_file(run: Run, tmp_path: Path, place: float) -> None:
    directory = tmp_path / "corrupt"
    directory.mkdir()
    (source,) = run.directory.iterdir()
    data = bytearray(source.read_bytes())
    data[20 + int(len(data) * place)] ^= 0x55
    (directory / source.name).write_bytes(bytes(data))
    with pytest.raises(AegisError) as caught:
        replay_inputs(directory, tmp_path / "replay.journal", say=lambda text: None)
    assert str(directory) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_directory_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(RecordingError, match="no recording here"):
        replay_inputs(tmp_path / "nothing", tmp_path / "replay.journal", say=lambda text: None)


#: Bad input that a run bears too, and whether it halts for it: a broken frame costs it that connection alone.
_BORNE = {"an outcome of nobody": True, "a broken frame": False}


def _nonsense(first: Input) -> list[tuple[str, list[Input]]]:
    now = first.now_ns
    one = {
        "it does not begin with its market": [Input(InputKind.TIMER, 1, now, 0, b"")],
        "its market is none": [Input(InputKind.SNAPSHOT, 1, now, 0, b"{}")],
        "a socket that there is not": [first, Input(InputKind.READ, 2, now, 99, b"x")],
        "a result without a job": [first, Input(InputKind.RESULT, 2, now, 0, b"\1")],
        "an outcome that is none": [first, Input(InputKind.OUTCOME, 2, now, 0, b"[")],
        "an outcome of nobody": [first, Input(InputKind.OUTCOME, 2, now, 0, b'["1-9",false,"accepted",1]')],
        "a seed that is none": [first, Input(InputKind.SEED, 2, now, 0, b"\0\0\0\0rubbish")],
        "an answer that is none": [first, Input(InputKind.SNAPSHOT, 2, now, 0, b"7")],
        "a slice of nothing": [first, Input(InputKind.SLICE, 2, now, 0, b"")],
        "a broken frame": [first, Input(InputKind.READ, 2, now, 0, b"\xff" * 20)],
        "a command that is no text": [first, Input(InputKind.COMMAND, 2, now, 0, b"\xff")],
    }
    return list(one.items())


def test_inputs_that_no_engine_wrote_are_one_line_and_never_a_traceback(run: Run, tmp_path: Path) -> None:
    first = next(read_recording(run.directory))
    for number, (what, entries) in enumerate(_nonsense(first)):
        tampered = rewrite(run, tmp_path / str(number), entries)
        journal = tmp_path / f"{number}.journal"
        if what in _BORNE:
            replay_inputs(tampered.directory, journal, say=lambda text: None)
            assert bool(records(journal, "state")) == _BORNE[what], what
            continue
        with pytest.raises(RecordingError) as caught:
            replay_inputs(tampered.directory, journal, say=lambda text: None)
        assert str(tampered.directory) in str(caught.value), what
        assert "\n" not in str(caught.value), what


def test_a_header_that_is_none_is_one_line(run: Run, tmp_path: Path) -> None:
    header = read_header(run.directory)
    entries = [next(read_recording(run.directory))]
    for number, bad in enumerate((attrs.evolve(header, config_toml="= 1"), attrs.evolve(header, config_toml="a = 1"))):
        with Recorder(tmp_path / str(number), bad, Metrics()) as recorder:
            recorder.record(*entries[0])
        with pytest.raises(AegisError) as caught:
            replay_inputs(tmp_path / str(number), tmp_path / f"{number}.journal", say=lambda text: None)
        assert str(tmp_path / str(number)) in str(caught.value)


def test_the_start_of_a_recording_is_what_the_engine_was_built_from(run: Run) -> None:
    header = read_header(run.directory)
    start = msgspec.json.decode(next(read_recording(run.directory)).payload, type=Start)
    assert tuple(str(spec.symbol) for spec in start.market.specs) == header.symbols
    assert json.loads(msgspec.json.encode(start)) == json.loads(next(read_recording(run.directory)).payload)
    assert [channel.number for channel in start.channels()] == [0]
    assert not any(channel.up for channel in start.channels())
