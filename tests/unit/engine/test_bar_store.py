"""One file a series: what is not exactly what was written is nothing, and no disk ever stops anybody."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import trio

from aegis.core.values import SymbolName
from aegis.engine import bar_store
from aegis.engine.bar_store import BarStore, Series, storable
from aegis.kernels.layout import BAR
from aegis.runtime.cpu import InlineCpu
from aegis.runtime.metrics import Metrics
from tests.support.analysis_cases import MINUTE, Rows, make_bars, same
from tests.support.core_cases import make_spec
from tests.support.processes import until

SERIES = Series(spec=make_spec(symbol=SymbolName("BTCUSDT")), interval="1m", ms=MINUTE)
NOTHING = np.zeros(0, BAR)


def make_store(directory: Path, venue: str = "https://venue.test") -> BarStore:
    return BarStore(directory / "bars", venue, InlineCpu(Metrics()))


def file_of(directory: Path, series: Series = SERIES) -> Path:
    return directory / "bars" / series.name


async def test_what_was_saved_is_loaded_bit_for_bit(tmp_path: Path, log_lines: Any) -> None:
    bars = make_bars(3, 40)
    bars["close"][5] = np.nextafter(bars["close"][5], 0.0)
    bars["low"] = np.minimum(bars["low"], bars["close"])
    assert same(await make_store(tmp_path).load(SERIES), NOTHING), "nothing is stored yet, and that is no news"
    await make_store(tmp_path).save(SERIES, bars)
    assert same(await make_store(tmp_path).load(SERIES), bars)
    await make_store(tmp_path).save(SERIES, bars[10:])
    assert same(await make_store(tmp_path).load(SERIES), bars[10:])
    assert [path.name for path in (tmp_path / "bars").iterdir()] == ["BTCUSDT-1m.bars"]
    assert log_lines.events() == []


@pytest.mark.parametrize(
    "change",
    [{"tick": Decimal("0.01")}, {"step": Decimal("0.01")}, {"symbol": SymbolName("BTCUSDC")}],
)
async def test_bars_of_another_scale_or_symbol_are_not_taken(
    tmp_path: Path, change: dict[str, Any], log_lines: Any
) -> None:
    await make_store(tmp_path).save(SERIES, make_bars(3, 40))
    other = attrs.evolve(SERIES, spec=attrs.evolve(SERIES.spec, **change))
    if other.name != SERIES.name:
        file_of(tmp_path).rename(file_of(tmp_path, other))
    assert len(await make_store(tmp_path).load(other)) == 0
    (event,) = log_lines.events("bars.unusable")
    assert "another venue, symbol, bar length or scale" in event["reason"]


async def test_bars_of_another_venue_or_length_are_not_taken(tmp_path: Path, log_lines: Any) -> None:
    await make_store(tmp_path).save(SERIES, make_bars(3, 40))
    assert len(await make_store(tmp_path, "http://127.0.0.1:8080").load(SERIES)) == 0
    assert len(await make_store(tmp_path).load(attrs.evolve(SERIES, ms=5 * MINUTE))) == 0
    assert len(log_lines.events("bars.unusable")) == 2


async def test_a_file_torn_at_any_byte_is_nothing(tmp_path: Path, log_lines: Any) -> None:
    store, bars = make_store(tmp_path), make_bars(3, 5)
    await store.save(SERIES, bars)
    path = file_of(tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert len(await store.load(SERIES)) == 0, length
    assert len(log_lines.events("bars.unusable")) == len(whole), "one line each"
    path.write_bytes(whole + b"\0")
    assert len(await store.load(SERIES)) == 0
    path.write_bytes(whole)
    assert same(await store.load(SERIES), bars)


@pytest.mark.parametrize("table", [b"", b"no zlib", zlib.compress(bytes(63)), zlib.compress(bytes(128))])
async def test_a_right_sum_over_nonsense_is_nothing(tmp_path: Path, table: bytes, log_lines: Any) -> None:
    store = make_store(tmp_path)
    await store.save(SERIES, make_bars(3, 5))
    path = file_of(tmp_path)
    body = SERIES.key("https://venue.test") + b"\n" + table
    path.write_bytes(b"aegis bars 1\n" + zlib.crc32(body).to_bytes(4, "little") + body)
    assert len(await store.load(SERIES)) == 0
    (event,) = log_lines.events("bars.unusable")
    assert event["reason"].startswith("damaged")


async def test_a_flipped_bit_in_any_byte_is_found(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    await store.save(SERIES, make_bars(3, 3))
    path = file_of(tmp_path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        assert len(await store.load(SERIES)) == 0, place


def test_only_whole_possible_and_settled_bars_are_stored() -> None:
    bars = make_bars(3, 20)
    end = int(bars["open_time"][-1]) + MINUTE
    assert same(storable(bars, MINUTE), bars)
    assert same(storable(bars, MINUTE, end), bars)
    assert same(storable(bars, MINUTE, end - 1), bars[:-1])
    assert same(storable(np.delete(bars, 7), MINUTE), bars[8:])
    assert len(storable(bars, 5 * MINUTE)) == 0
    assert len(storable(NOTHING, MINUTE)) == 0
    for name, value in {
        "open": np.nan, "high": np.inf, "low": 0.0, "close": 1e9, "volume": -1, "taker_buy": 10**7, "trades": -1,
        "open_time": int(bars["open_time"][4]) + 1,
    }.items():  # fmt: skip
        broken = bars.copy()
        broken[name][4] = value
        assert same(storable(broken, MINUTE), bars[5:]), name


async def test_a_name_of_any_characters_stays_in_the_directory(tmp_path: Path) -> None:
    store, bars = make_store(tmp_path), make_bars(3, 5)
    for name in ("../../X", "a/b", "..", "币安人生USDT", "%2F", "\0"):
        series = attrs.evolve(SERIES, spec=attrs.evolve(SERIES.spec, symbol=SymbolName(name)))
        await store.save(series, bars)
        assert same(await store.load(series), bars)
    assert len(os.listdir(tmp_path / "bars")) == 6
    assert os.listdir(tmp_path) == ["bars"]


async def test_series_that_nobody_wants_and_unfinished_files_are_forgotten(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    await store.keep_only([SERIES])  # there is no directory yet
    left = attrs.evolve(SERIES, spec=attrs.evolve(SERIES.spec, symbol=SymbolName("GONEUSDT")))
    for series in (SERIES, left):
        await store.save(series, make_bars(3, 5))
    (tmp_path / "bars" / (SERIES.name + ".new")).write_bytes(b"half")
    (tmp_path / "bars" / "notes.txt").write_text("not ours")
    await store.keep_only([SERIES])
    assert sorted(path.name for path in (tmp_path / "bars").iterdir()) == [SERIES.name, "notes.txt"]
    assert len(await store.load(SERIES)) == 5


async def test_a_full_disk_is_one_line_until_it_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_lines: Any
) -> None:
    store, bars = make_store(tmp_path), make_bars(3, 20)
    await store.save(SERIES, bars[:10])

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        for _ in range(3):
            await store.save(SERIES, bars)
    (event,) = log_lines.events("bars.unsaved")
    assert event["reason"] == "No space left on device"
    assert event["directory"] == str(tmp_path / "bars")
    assert same(await store.load(SERIES), bars[:10]), "what was stored before is untouched"
    await store.save(SERIES, bars)
    assert same(await store.load(SERIES), bars)


async def test_a_directory_that_cannot_be_used_is_one_line(tmp_path: Path, log_lines: Any) -> None:
    (tmp_path / "bars").write_text("a file")
    store = make_store(tmp_path)
    await store.keep_only([SERIES])
    await store.save(SERIES, make_bars(3, 5))
    await store.save(SERIES, make_bars(3, 5))
    assert len(await store.load(SERIES)) == 0
    assert len(log_lines.events("bars.unsaved")) == 1
    assert log_lines.events("bars.unusable")[0]["reason"] == "Not a directory"


async def test_a_disk_that_does_not_answer_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any, log_lines: Any
) -> None:
    class Hung:
        asked = 0

        async def run(self, function: Any, *args: Any) -> Any:
            self.asked += 1
            await trio.sleep_forever()

    hung = Hung()
    store = BarStore(tmp_path / "bars", "v", hung)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(store.load, SERIES)
    begin = trio.current_time()
    assert len(await store.load(SERIES)) == 0
    await store.save(SERIES, make_bars(3, 5))
    assert trio.current_time() == begin
    assert hung.asked == 2
    assert len(log_lines.events("bars.unsaved")) == 1


async def test_the_disk_has_a_thread_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    read = bar_store._read

    def spy(*args: Any) -> Rows:
        seen.append(threading.current_thread())
        return read(*args)

    monkeypatch.setattr(bar_store, "_read", spy)
    store, bars = BarStore(tmp_path / "bars", "v"), make_bars(3, 5)
    with trio.fail_after(30):
        await store.save(SERIES, bars)
        assert same(await store.load(SERIES), bars)
    assert seen[0] is not threading.main_thread()


_WRITER = """
import sys
from pathlib import Path
from aegis.engine import bar_store
from tests.unit.engine.test_bar_store import SERIES
from tests.support.analysis_cases import make_bars
path, key, bars = Path(sys.argv[1]), SERIES.key("https://venue.test"), make_bars(3, 2600)
print("ready", flush=True)
count = 100
while True:
    bar_store._write(path, key, bars[:count])
    count = count % 2600 + 100
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    """A real process writes without a pause and is killed: what it leaves is one of the series that it wrote."""
    bars, path = make_bars(3, 2600), file_of(tmp_path)
    path.parent.mkdir()
    for _ in range(2):
        command = [sys.executable, "-c", _WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                before = path.stat().st_ino if path.exists() else 0
                until(lambda before=before: path.exists() and path.stat().st_ino != before, "a written file")
            finally:
                process.kill()
        left = trio.run(make_store(tmp_path).load, SERIES)
        assert len(left) in range(100, 2601, 100)
        assert same(left, bars[: len(left)])
