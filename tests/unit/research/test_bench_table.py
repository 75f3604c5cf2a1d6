"""Rows of the bench: ratios, verdicts, medians, JSON, peers, and the loop over the groups."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.core.errors import ConfigError, VenueUnavailable
from aegis.research.bench import GROUPS, groups
from aegis.research.bench.memory import slope_per_hour
from aegis.research.bench.table import (
    FULL,
    QUICK,
    Bench,
    Conditions,
    Effort,
    PeerRow,
    Report,
    Row,
    Verdict,
    invalid,
    median_row,
    read_peers,
)

positive = st.floats(1e-3, 1e9)


def row(**fields: Any) -> Row:
    return Row(**{"group": "wire", "name": "ticks", "target": 10.0, "figure": 20.0, "unit": "ticks/s", **fields})


def report(*rows: Row, peers: tuple[PeerRow, ...] = ()) -> Report:
    return Report(conditions=Conditions.read(0.5), rows=rows, peers=peers)


# -- rows --------------------------------------------------------------------------------------------------------------
@given(positive, positive)
def test_a_ratio_of_one_or_more_is_a_target_met(target: float, figure: float) -> None:
    more = row(target=target, figure=figure)
    less = row(target=target, figure=figure, better="less")
    assert more.ratio is not None
    assert less.ratio is not None
    assert more.ratio * less.ratio == pytest.approx(1.0)
    assert (more.verdict is Verdict.MET) == (figure >= target)
    assert (less.verdict is Verdict.MET) == (figure <= target)


def test_a_target_of_nothing_is_met_by_nothing_alone() -> None:
    assert row(target=0.0, figure=0.0, better="less").verdict is Verdict.MET
    assert row(target=0.0, figure=1.0, better="less").verdict is Verdict.MISSED
    assert row(target=0.0, figure=0.0, better="less").ratio == 1.0


def test_an_invalid_row_says_so_however_good_its_figure_is() -> None:
    assert row(figure=1e9, invalid="the feeder died").verdict is Verdict.INVALID
    assert row(figure=None).verdict is Verdict.INVALID
    assert row(target=None).verdict is Verdict.SHOWN
    assert row(target=None).ratio is None
    assert invalid("wire", "ticks", "two\nlines").invalid == "two lines"


@given(st.lists(positive, min_size=1, max_size=9))
def test_a_figure_is_the_median_of_its_samples(samples: list[float]) -> None:
    made = median_row("wire", "ticks", samples, unit="ticks/s")
    assert made.samples == tuple(samples)
    assert made.figure == np.median(samples)


def test_without_samples_there_is_no_figure() -> None:
    assert median_row("wire", "ticks", [], unit="s").invalid == "nothing was measured"
    assert median_row("wire", "ticks", [], unit="s", invalid="no feeder").invalid == "no feeder"


def test_a_full_bench_takes_at_least_five_samples_and_a_quick_one_less_of_everything() -> None:
    assert FULL.repeats >= 5
    assert QUICK.repeats <= 2
    assert (FULL.amount(1000), FULL.seconds(10.0)) == (1000, 10.0)
    assert QUICK.amount(1000) < 1000
    assert (Effort(repeats=1, scale=1e-9).amount(1000, 7), Effort(repeats=1, scale=1e-9).seconds(10.0, 0.3)) == (7, 0.3)
    told: list[str] = []
    numbers = iter([3.0, 1.0, 2.0])
    bench = Bench(effort=Effort(repeats=3, scale=1.0), say=told.append)
    assert bench.repeat("ticks", lambda: next(numbers)) == (3.0, 1.0, 2.0)
    assert len(told) == 3


# -- the report --------------------------------------------------------------------------------------------------------
def test_a_missed_target_is_a_fact_and_an_invalid_row_a_failure() -> None:
    assert report(row(), row(figure=1.0)).ok
    assert not report(row(), row(invalid="the feeder died")).ok


def test_the_json_holds_rows_conditions_and_peers() -> None:
    peer = PeerRow(peer="other", what="decode", unit="ticks/s", median=5.0, ours="ticks")
    told = json.loads(report(row(samples=(19.0, 20.0, 21.0)), row(name="b", figure=math.inf), peers=(peer,)).encode())
    first, second = told["rows"]
    assert first | {"samples": [19.0, 20.0, 21.0], "ratio": 2.0, "verdict": "met"} == first
    assert second["figure"] is None
    assert told["peers"] == [
        {"peer": "other", "what": "decode", "unit": "ticks/s", "median": 5.0, "ours": "ticks", "ratio": 4.0}
    ]
    assert set(told["conditions"]["versions"]) >= {"aegis", "python", "numpy", "numba", "trio"}
    assert told["conditions"]["cores"] >= 1
    assert told["conditions"]["cpu"]
    assert told["conditions"]["load_before"] == 0.5


def test_a_peer_is_compared_with_the_row_it_names_in_its_own_unit() -> None:
    rows = (row(), row(name="cost", figure=0.5, unit="us/tick", better="less"), row(name="bad", invalid="no"))
    told = report(*rows)

    def against(**fields: Any) -> float | None:
        told_of = {"peer": "p", "what": "w", "unit": "ticks/s", "median": 4.0, "ours": "ticks"}
        return told.against(PeerRow(**{**told_of, **fields}))

    assert against() == 5.0
    assert against(ours="cost", unit="us/tick", median=5.0) == 10.0
    assert [against(ours="none"), against(ours="bad"), against(unit="us"), against(median=0.0)] == [None] * 4


def test_peers_are_read_with_whatever_else_stands_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    path.write_text('[{"peer":"p","what":"w","unit":"u","median":3,"ours":"o","versions":{"p":"1"}}]')
    assert read_peers(path) == (PeerRow(peer="p", what="w", unit="u", median=3.0, ours="o"),)


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '[{"peer":"p"}]', '[{"peer":1,"what":"w","unit":"u","median":3,"ours":"o"}]', "\xff"]
)
def test_what_is_no_file_of_peers_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError) as error:
        read_peers(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="No such file"):
        read_peers(tmp_path / "none.json")


# -- groups ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", GROUPS)
def test_every_group_is_a_module_that_measures(name: str) -> None:
    assert callable(importlib.import_module(f"aegis.research.bench.{name}").measure)


def test_a_group_that_ends_early_keeps_its_rows_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(bench: Bench) -> Iterator[Row]:
        yield row()
        raise ExceptionGroup("a nursery", [ExceptionGroup("another", [VenueUnavailable("the feeder is gone")])])

    def whole(bench: Bench) -> Iterator[Row]:
        yield row(group="lanes", name="wait")

    modules = {"wire": SimpleNamespace(measure=broken), "lanes": SimpleNamespace(measure=whole)}
    monkeypatch.setattr(groups.importlib, "import_module", lambda name: modules[name.rpartition(".")[2]])
    told = groups.measure(["wire", "lanes"], Bench())
    assert [one.name for one in told.rows] == ["ticks", "wire: the rest", "wait"]
    assert told.rows[1].invalid == "VenueUnavailable: the feeder is gone"
    assert not told.ok


def test_a_bug_in_a_group_is_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(bench: Bench) -> Iterator[Row]:
        raise KeyError("x")
        yield row()

    monkeypatch.setattr(groups.importlib, "import_module", lambda name: SimpleNamespace(measure=buggy))
    with pytest.raises(BaseException) as error:
        groups.measure(["wire"], Bench())
    assert error.group_contains(KeyError) if isinstance(error.value, BaseExceptionGroup) else error.type is KeyError


# -- memory ------------------------------------------------------------------------------------------------------------
@given(st.floats(-1e9, 1e9), st.integers(3, 50), st.floats(0.1, 5.0))
def test_a_straight_line_has_its_own_slope_and_no_error(slope: float, count: int, pause: float) -> None:
    samples = tuple((pause * k, round(1e9 + slope * pause * k)) for k in range(count))
    found, error = slope_per_hour(samples)
    assert found == pytest.approx(slope * 3600, rel=1e-6, abs=3600 / pause)
    assert error == pytest.approx(0.0, abs=3600 / pause)
