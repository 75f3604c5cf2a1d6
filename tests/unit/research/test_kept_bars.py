"""A run's bars, kept beside its journal when it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from aegis.config import BarsConfig, Config, OrderBlockConfig
from aegis.core.errors import ConfigError
from aegis.engine.inputs import decode_seed, encode_seed
from aegis.kernels import smc
from aegis.kernels.analysis import AnalysisParams, analyse_all, new_state, seed, set_live_from
from aegis.kernels.state import State
from aegis.research.candles import candles
from aegis.research.kept_bars import keep_bars, kept_bars
from aegis.research.walk import walk
from aegis.signals.choose import make_strategy
from tests.support.analysis_cases import EPOCH, MINUTE, make_bars, roll_up, rows_of

BARS = make_bars(3, 300)
FRAMES = (MINUTE, 5 * MINUTE)


@pytest.fixture
def state() -> State:
    """Two symbols, the second with history and live bars, more than its ring holds."""
    state = new_state(2, (MINUTE, 5 * MINUTE), AnalysisParams(atr_period=5, swing_lengths=(3,), warm_bars=10), ring=128)
    set_live_from(state, 1, EPOCH + 290 * MINUTE)
    seed(state, 1, BARS[:290])
    analyse_all(state, rows_of(BARS[290:], 1), EPOCH + 300 * MINUTE)
    return state


def test_what_is_kept_is_what_the_ring_holds_oldest_first(state: State, tmp_path: Path) -> None:
    keep_bars(tmp_path / "1.journal", ["AUSDT", "BUSDT"], state)
    kept = kept_bars(tmp_path / "1.journal", "BUSDT", FRAMES)
    since = 300 - 125  # the ring holds 128, and the first longer bar that is whole begins three bars later
    (longer,) = kept.history
    for name in ("open_time", "open", "high", "low", "close", "volume", "taker_buy"):
        assert kept.base[name].tolist() == BARS[name][since:].tolist()
        assert longer[name].tolist() == roll_up(BARS[:since], 5 * MINUTE)[name].tolist()
    assert len(kept_bars(tmp_path / "1.journal", "AUSDT", FRAMES)) == 0


def test_a_walk_of_what_is_kept_sees_every_length_as_the_run_did(state: State, tmp_path: Path) -> None:
    keep_bars(tmp_path / "1.journal", ["AUSDT", "BUSDT"], state)
    kept = kept_bars(tmp_path / "1.journal", "BUSDT", FRAMES)
    strategy = OrderBlockConfig(timeframe="5m")
    config = Config(bars=BarsConfig(timeframes=("1m", "5m")), strategy=strategy)
    *_, last = walk(kept, config)
    _, analysis = make_strategy(strategy, ("1m", "5m"), warm_bars=20)
    whole = smc.detect(roll_up(BARS, 5 * MINUTE), 5 * MINUTE, analysis)
    young = whole[(whole["known_at"] <= last.known_ms) & (whole["known_at"] > last.known_ms - 50 * MINUTE)]
    longer = [event for step in walk(kept, config) for event in step.events if event["timeframe"] == 1]
    told = [e for e in longer if e["known_at"] > last.known_ms - 50 * MINUTE]
    assert [(int(e["kind"]), int(e["id"])) for e in told] == [(int(e["kind"]), int(e["id"])) for e in young]
    assert told


def test_compiled_code_takes_what_is_kept_for_bars(state: State, tmp_path: Path) -> None:
    """A file does not tell whether a dtype is aligned: to NumPy that is all the same, to compiled code it is not."""
    keep_bars(tmp_path / "1.journal", ["AUSDT", "BUSDT"], state)
    kept = kept_bars(tmp_path / "1.journal", "BUSDT", FRAMES)
    assert {numba.typeof(bars) for bars in (kept.base, *kept.history)} == {numba.typeof(BARS)}
    _, base, higher = decode_seed(encode_seed(1, BARS, (BARS[:7],)))
    assert {numba.typeof(bars) for bars in (base, *higher)} == {numba.typeof(BARS)}
    with pytest.raises(ValueError, match="rows of"):
        decode_seed(encode_seed(1, rows_of(BARS[:3]), ()))


def test_without_whole_longer_bars_before_them_all_base_bars_count(state: State) -> None:
    bars = np.concatenate([BARS[7:40], roll_up(BARS[10:40], 5 * MINUTE)])
    bars["timeframe"][33:] = 1
    found = candles(bars, FRAMES)
    assert found.base["open_time"].tolist() == BARS["open_time"][7:40].tolist()
    assert [len(one) for one in found.history] == [0]
    assert [len(one) for one in candles(BARS, (MINUTE,)).history] == []


def test_what_cannot_be_read_is_one_line(state: State, tmp_path: Path) -> None:
    journal = tmp_path / "1.journal"
    with pytest.raises(ConfigError, match="a run leaves its bars when it ends"):
        kept_bars(journal, "BUSDT", FRAMES)
    keep_bars(journal, ["AUSDT", "BUSDT"], state)
    with pytest.raises(ConfigError, match="--symbol: XUSDT was not traded"):
        kept_bars(journal, "XUSDT", FRAMES)
    path = tmp_path / "1.bars.npz"
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[: len(whole) // 2], b"\x00" * 500, np.zeros(3).tobytes()):
        path.write_bytes(damaged)
        with pytest.raises(ConfigError, match="damaged"):
            kept_bars(journal, "BUSDT", FRAMES)


def test_a_disk_that_refuses_is_a_line_in_the_log(state: State, tmp_path: Path, log_lines: Any) -> None:
    keep_bars(tmp_path / "nowhere" / "1.journal", ["AUSDT", "BUSDT"], state)
    (line,) = log_lines.events("bars.unsaved")
    assert line["reason"] == "No such file or directory"
