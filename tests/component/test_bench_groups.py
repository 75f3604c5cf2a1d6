"""Every group of the bench at a tiny size, over real sockets: what is measured, never how fast.

What feeds is a process only where a test is about that: starting one takes longer than all that is looked at here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from click.testing import CliRunner

from aegis import cli
from aegis import config as configs
from aegis.exchange.firehose import FirehoseSettings, serve_firehose
from aegis.exchange.listing import synthetic_listings
from aegis.research import replay as replays
from aegis.research.bench import analysis, encoder, firehose, lanes, memory, replay, stage, start, wire
from aegis.research.bench.firehose import Source, Tally, open_source
from aegis.research.bench.process import Unmeasured, start_engine
from aegis.research.bench.table import Bench, Effort, Row, Verdict
from aegis.research.generated import write_generated
from aegis.research.replay import ReplayOptions
from aegis.runtime.clock import SystemClock
from tests.peers.plan import PLANS

TINY = Bench(effort=Effort(repeats=1, scale=0.001))


@pytest.fixture(autouse=True)
def _nothing_for_the_whole_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests compile kernels after these, and collect garbage as usual."""

    async def warm(progress: Any) -> None:
        return None

    monkeypatch.setattr(stage, "settle_garbage", lambda: None)
    monkeypatch.setattr(replays, "settle_garbage", lambda: None)
    monkeypatch.setattr(replays, "warm", warm)


class Near:
    """What is asked of a process that is none."""

    def poll(self) -> None:
        return None


@asynccontextmanager
async def near_source(*arguments: str, symbols: int, rate: float | None = None) -> AsyncIterator[Source]:
    """`open_source` within this process; of the arguments it knows those of TLS."""
    told = dict(zip(arguments[::2], arguments[1::2], strict=True))
    settings = FirehoseSettings(
        symbols=symbols, rate=rate or 20_000.0, certificate=Path(told["--tls"]) if "--tls" in told else None,
        record_frames=int(told.get("--record-frames", 0)),
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        ready = await nursery.start(serve_firehose, settings)
        listings = synthetic_listings(symbols, settings.seed, SystemClock().wall_ns() // 1_000_000)[:symbols]
        yield Source(url=ready.url, listings=tuple(listings), process=Near())  # type: ignore[arg-type]
        nursery.cancel_scope.cancel()


def named(rows: Iterator[Row]) -> dict[str, Row]:
    found = list(rows)
    names = [row.name for row in found]
    assert len(set(names)) == len(names)
    assert [row.name for row in found if row.figure is None] == []
    return {row.name: row for row in found}


# -- lanes -------------------------------------------------------------------------------------------------------------
def test_lanes_are_really_overloaded() -> None:
    (row,) = named(lanes.measure(TINY)).values()
    assert row.verdict is not Verdict.INVALID, row.invalid
    assert row.detail["urgent messages"]
    assert float(row.detail["offered/s"]) > float(row.detail["handled/s"]) > 0


def test_an_overload_that_is_none_makes_the_row_invalid() -> None:
    outcome = trio.run(lanes._run, 0.2, 1)
    assert lanes._doubts(outcome) == ""
    assert "was offered" in lanes._doubts(attrs.evolve(outcome, offered=sum(outcome.handled)))


# -- analysis ----------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_analysis_closes_bars_and_carries_a_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    short = analysis._config("1s", "5s")
    monkeypatch.setattr(analysis, "_config", lambda *_, **__: short)
    monkeypatch.setattr(analysis, "_SYMBOLS", 12)
    monkeypatch.setattr(analysis, "_SETTLE_S", 0.1)
    monkeypatch.setattr(analysis, "_FULL_RATE", 2_000)
    monkeypatch.setattr(analysis, "_CALM_RATE", 2_000)
    monkeypatch.setattr(analysis, "open_source", near_source)
    rows = named(analysis.measure(TINY))
    assert len(rows) == 4
    closing = rows["loop lateness p99 while 300 bars close"]
    assert closing.detail["closings"] or closing.invalid, "a machine that is too slow for it is told, not believed"
    assert float(rows["loop lateness p99 at 1,000,000 ticks/s"].detail["ticks/s"]) > 0


# -- wire --------------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_wire_applies_what_comes_plain_in_a_burst_and_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_RECORDS", {10: 600_000})
    monkeypatch.setattr(wire, "encoder_rows", lambda bench: iter(()))
    monkeypatch.setattr(firehose, "_SETTLE_S", 0.1)
    monkeypatch.setattr(wire, "_BURST_RATE", 20_000)
    monkeypatch.setattr(wire, "open_source", near_source)
    rows = named(wire.measure(TINY))
    applied = [row for row in rows.values() if "applied" in row.detail]
    assert len(applied) == 3
    assert [row.invalid for row in applied] == [""] * 3
    assert {plan.row for plan in PLANS if plan.unit == "us/tick"} <= set(rows)
    assert all(row.figure for row in rows.values())


def test_the_encoders_rows_are_of_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "SETTLE_S", 0.1)
    rows = named(wire.encoder_rows(TINY))
    assert {row.group for row in rows.values()} == {"wire"}
    assert all(row.figure for row in rows.values())


def test_ticks_that_change_nothing_count_as_not_applied() -> None:
    before, after = Tally(came=100, applied=100), Tally(came=1100, applied=1090)
    assert after.since(before) == Tally(came=1000, applied=990)
    assert after.since(before).share == 0.99
    assert Tally(came=0, applied=0).share == 0.0
    window = wire._Window(seconds=2.0, cpu_s=1.0, tally=after.since(before))
    assert (window.rate, window.busy) == (495.0, 0.5)
    assert window.cost_us == pytest.approx(1e6 / 990)
    assert wire._row("x", [window], 100.0).verdict is Verdict.INVALID
    assert wire._row("x", [attrs.evolve(window, tally=Tally(came=990, applied=990))], 100.0).verdict is Verdict.MET


def test_a_feeder_that_cannot_start_is_no_traceback() -> None:
    async def run() -> None:
        with pytest.raises(Unmeasured, match="did not start"):
            async with open_source("--tls", "/nowhere.pem", symbols=2):
                pass

    trio.run(run)


# -- memory and start --------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_memory_is_that_of_a_real_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_SYMBOLS", 5)
    monkeypatch.setattr(memory, "_RATE", 100)
    rows = named(memory.measure(TINY))
    size = rows["resident memory"]
    assert size.figure is not None
    assert 50 < size.figure < 2_000
    assert rows["full collections"].figure is not None
    assert "not minutes 2 to 10" in rows["growth of resident memory"].note


def test_an_engine_that_does_not_start_leaves_invalid_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_RATE", 1)  # less than the command takes
    rows = list(memory.measure(TINY))
    assert [row.verdict for row in rows] == [Verdict.INVALID] * 3
    assert "--rate" in rows[0].invalid


def test_too_few_ticks_make_the_memory_rows_invalid() -> None:
    samples = ((0.0, 100 << 20), (1.0, 100 << 20), (2.0, 100 << 20))
    summary = {"garbage": {"full_collections": 0, "pauses": "0"}}
    enough = memory._Outcome(samples=samples, rate=99_000.0, summary=summary)
    assert [row.verdict for row in memory._rows(enough, 120.0, 480.0)] == [Verdict.MET] * 3
    few = attrs.evolve(enough, rate=97_000.0)
    assert [row.verdict for row in memory._rows(few, 120.0, 480.0)] == [Verdict.INVALID] * 3


@pytest.mark.parametrize(
    ("cold_told", "warm_told", "verdicts"),
    [
        (True, False, [Verdict.MET, Verdict.MET]),
        (False, False, [Verdict.INVALID, Verdict.MET]),
        (True, True, [Verdict.MET, Verdict.INVALID]),
    ],
)
def test_a_cold_start_must_tell_its_progress_and_a_warm_one_have_none(
    cold_told: bool, warm_told: bool, verdicts: list[Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    caches: set[str] = set()

    async def started(home: Path, environment: Mapping[str, str]) -> tuple[float, bool]:
        caches.update(environment.values())
        return 1.0, cold_told if environment else warm_told

    monkeypatch.setattr(start, "_start", started)
    rows = list(start.measure(Bench(effort=Effort(repeats=2, scale=1.0))))
    assert [row.verdict for row in rows] == verdicts
    assert len(caches) == 2  # each cold start has a cache of its own


def test_an_engine_that_says_something_else_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    async def run() -> None:
        async with start_engine(tmp_path, ("--config", "nosuch")) as engine:
            with pytest.raises(Unmeasured, match="nosuch: No such file"):
                await engine.said("first tick", 60.0)

    trio.run(run)


# -- replay ------------------------------------------------------------------------------------------------------------
def near_replay(arguments: Sequence[str]) -> Any:
    done = CliRunner().invoke(cli.cli, ["replay", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_replay_measures_kernels_and_the_whole_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_replay", near_replay)
    monkeypatch.setattr(replay, "_RATE", 500)
    monkeypatch.setattr(replay, "_SYMBOLS", 10)
    rows = named(replay.measure(TINY))
    assert len(rows) == 3
    assert {plan.row for plan in PLANS if plan.unit == "frames/s"} <= set(rows)
    for name in ("replay, full engine on a recording", "replay, full engine on 300 generated symbols"):
        assert rows[name].figure
        assert rows[name].detail["frames"]
        assert float(rows[name].detail["bars"]) > 0
    assert rows["replay, full engine on 300 generated symbols"].detail["frames"] == 1_002


def test_a_minute_of_generated_symbols_brings_signals_and_fills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_generated(tmp_path / "few", symbols=10, seconds=replay._MANY_SECONDS, rate=1_000)
    (tmp_path / "many.toml").write_text(configs.dump(replay._many_config()), encoding="utf-8")
    told = replays.replay([str(path)], ReplayOptions(config_name=str(tmp_path / "many.toml")), say=lambda _: None)
    assert told.sections["signals"]["signals"] > 0
    assert told.sections["trades"]["entries_filled"] > 0
    assert not told.differences


def test_a_replay_that_fails_is_told() -> None:
    with pytest.raises(Unmeasured, match=r"a replay ended with 78: aegis: .*nosuch"):
        replay._replay(("/nowhere/nosuch",))
