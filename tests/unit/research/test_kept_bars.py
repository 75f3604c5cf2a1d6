"""A run's bars, kept beside its journal when it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aegis.core.errors import ConfigError
from aegis.kernels.analysis import AnalysisParams, analyse_all, new_state, seed, set_live_from
from aegis.kernels.state import State
from aegis.research.kept_bars import keep_bars, kept_bars
from tests.support.analysis_cases import EPOCH, MINUTE, make_bars, rows_of

BARS = make_bars(3, 300)


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
    kept = kept_bars(tmp_path / "1.journal", "BUSDT", MINUTE)
    for name in ("open_time", "open", "high", "low", "close", "volume", "taker_buy"):
        assert kept[name].tolist() == BARS[name][-128:].tolist()
    assert len(kept_bars(tmp_path / "1.journal", "AUSDT", MINUTE)) == 0


def test_what_cannot_be_read_is_one_line(state: State, tmp_path: Path) -> None:
    journal = tmp_path / "1.journal"
    with pytest.raises(ConfigError, match="a run leaves its bars when it ends"):
        kept_bars(journal, "BUSDT", MINUTE)
    keep_bars(journal, ["AUSDT", "BUSDT"], state)
    with pytest.raises(ConfigError, match="--symbol: XUSDT was not traded"):
        kept_bars(journal, "XUSDT", MINUTE)
    path = tmp_path / "1.bars.npz"
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[: len(whole) // 2], b"\x00" * 500, np.zeros(3).tobytes()):
        path.write_bytes(damaged)
        with pytest.raises(ConfigError, match="damaged"):
            kept_bars(journal, "BUSDT", MINUTE)


def test_a_disk_that_refuses_is_a_line_in_the_log(state: State, tmp_path: Path, log_lines: Any) -> None:
    keep_bars(tmp_path / "nowhere" / "1.journal", ["AUSDT", "BUSDT"], state)
    (line,) = log_lines.events("bars.unsaved")
    assert line["reason"] == "No such file or directory"
