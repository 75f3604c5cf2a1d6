"""Blocks, pools, ranges, retracements equal their definitions; streams equal whole series; bad bars change nothing."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.kernels import smc
from aegis.kernels.analysis import AnalysisParams
from aegis.kernels.layout import BAR
from tests.support import smc_cases as cases
from tests.support.analysis_cases import EPOCH, MINUTE, make_bars, same

SEEDS = st.integers(0, 2**32 - 1)
LENGTHS = st.integers(1, 6)
#: So many places that nothing is pushed out by what is newer.
ROOMY = AnalysisParams(atr_period=5, swing_lengths=(2,), max_age_bars=60, max_blocks=256, max_pools=256)


def bar_of(event: Any, field: str = "known_at") -> int:
    return (int(event[field]) - EPOCH) // MINUTE - (field == "known_at")


def name_of(event: Any) -> str:
    return smc.KIND_NAMES[int(event["kind"])]


def of_kind(events: Any, start: str) -> list[Any]:
    return [event for event in events if name_of(event).startswith(start)]


@given(seed=SEEDS, n=st.integers(0, 250), length=LENGTHS, max_age=st.integers(7, 80), step=st.sampled_from([2, 6, 20]))
def test_blocks_and_their_lives_equal_their_definition(seed: int, n: int, length: int, max_age: int, step: int) -> None:
    bars = make_bars(seed, n, step=step)
    params = attrs.evolve(ROOMY, swing_lengths=(length,), max_age_bars=max_age)
    found = of_kind(smc.detect(bars, MINUTE, params), "BLOCK")
    ours = []
    for born in (event for event in found if event["kind"] == smc.BLOCK):
        life = [(bar_of(e), name_of(e)) for e in found if e["id"] == born["id"] and e["kind"] != smc.BLOCK]
        edges = float(born["top"]), float(born["bottom"])
        ours.append((bar_of(born), bar_of(born, "origin"), int(born["direction"]), *edges, life))
    assert ours == cases.blocks(bars, length, max_age)


@given(
    seed=SEEDS, n=st.integers(0, 250), length=st.integers(1, 3), reach=st.sampled_from([0.0, 0.25, 2.0]),
    sweep=st.integers(1, 4), max_age=st.integers(10, 120), step=st.sampled_from([2, 6]),
)  # fmt: skip
def test_pools_equal_their_definition(
    seed: int, n: int, length: int, reach: float, sweep: int, max_age: int, step: int
) -> None:
    bars = make_bars(seed, n, step=step)
    params = attrs.evolve(ROOMY, swing_lengths=(length,), max_age_bars=max_age, pool_atr=reach, sweep_bars=sweep)
    ours = [
        (bar_of(e), name_of(e), int(e["direction"]), float(e["top"]), float(e["bottom"]))
        for e in of_kind(smc.detect(bars, MINUTE, params), "POOL")
    ]
    assert sorted(ours) == cases.pools(bars, length, 5, reach=reach, sweep_bars=sweep, max_age=max_age)


@given(seed=SEEDS, n=st.integers(1, 120), length=st.integers(1, 4))
def test_retracements_equal_their_definition(seed: int, n: int, length: int) -> None:
    bars = make_bars(seed, n)
    ours = smc.retracements(bars, MINUTE, attrs.evolve(ROOMY, swing_lengths=(length,)))
    for t in range(n):
        expected, row = cases.retracement(bars, length, t), ours[t]
        assert bool(row["valid"]) == (expected is not None)
        if expected is None:
            assert np.isnan([row["current"], row["deepest"], row["position"]]).all()
            continue
        assert row["direction"] == expected[0]
        assert [row["current"], row["deepest"], row["position"]] == pytest.approx(expected[1:], rel=1e-12, abs=1e-12)


@given(seed=SEEDS, n=st.integers(1, 120), late=st.integers(0, 40), period=st.integers(1, 30), shift=st.integers(0, 29))
def test_previous_periods_equal_their_definition(seed: int, n: int, late: int, period: int, shift: int) -> None:
    bars = make_bars(seed, n, start=EPOCH + late * MINUTE)
    length, anchor = period * MINUTE, shift * MINUTE
    first = (EPOCH - anchor) // length * length + anchor
    spans = [(s, s + length) for s in range(first, EPOCH + (late + n) * MINUTE, length)]
    rows, events = smc.previous_period(bars, MINUTE, length, anchor)
    _check_ranges(bars, rows, events, spans)
    by_table = smc.sessions(bars, MINUTE, np.array(spans, np.int64))
    assert same(rows, by_table[0])
    assert same(events, by_table[1])


@given(seed=SEEDS, n=st.integers(1, 120), late=st.integers(0, 40), lengths=st.lists(st.integers(1, 15), max_size=16))
def test_sessions_equal_their_definition(seed: int, n: int, late: int, lengths: list[int]) -> None:
    """The lengths are those of pauses and sessions in turn."""
    bars = make_bars(seed, n, start=EPOCH + late * MINUTE)
    times = EPOCH + MINUTE * np.cumsum(lengths[: len(lengths) // 2 * 2], dtype=np.int64)
    spans = times.reshape(-1, 2)
    rows, events = smc.sessions(bars, MINUTE, spans)
    _check_ranges(bars, rows, events, [(int(s), int(e)) for s, e in spans])


def _check_ranges(bars: Any, rows: Any, events: Any, spans: list[tuple[int, int]]) -> None:
    expected = cases.ranges(bars, spans, MINUTE)
    for row, want in zip(rows, expected, strict=True):
        np.testing.assert_array_equal(np.array(row.tolist(), float), np.array(want, float))
    opens = set(bars["open_time"].tolist())
    ends = [(e, s) for s, e in spans if s in opens and e - MINUTE in opens]
    assert [(int(e["known_at"]), int(e["origin"])) for e in of_kind(events, "RANGE") if e["kind"] == smc.RANGE] == ends
    fresh = [
        (t, d)
        for t, row in enumerate(expected)
        for d, k in ((1, 6), (-1, 7))
        if row[k] and not (t and expected[t - 1][k] and expected[t - 1][3] == row[3])
    ]
    first = int(bars["open_time"][0])
    told = [((int(e["known_at"]) - first) // MINUTE - 1, int(e["direction"])) for e in of_kind(events, "RANGE_BROKEN")]
    assert told == fresh


def _ranges() -> smc.Ranges:
    return smc.Ranges(timeframe_ms=MINUTE, period_ms=7 * MINUTE)


PARAMS = AnalysisParams(
    atr_period=4, swing_lengths=(2,), max_age_bars=50, max_zones=4, max_blocks=3, max_pools=4, sweep_bars=2
)


@given(seed=SEEDS, n=st.integers(1, 200), data=st.data())
def test_streams_equal_whole_series_also_through_a_restart(seed: int, n: int, data: Any) -> None:
    bars, restart = make_bars(seed, n), data.draw(st.integers(0, n - 1))
    whole, shown = smc.detect(bars, MINUTE, PARAMS), smc.retracements(bars, MINUTE, PARAMS)
    spans, events = _ranges(), []
    rows, rests, broken, stream = [], [], [], smc.Stream(timeframe_ms=MINUTE, params=PARAMS)
    for t in range(n):
        if t == restart:
            saved, spans_saved = stream.snapshot(), spans.snapshot()
            stream, spans = smc.Stream(timeframe_ms=MINUTE, params=PARAMS), _ranges()
            stream.restore(saved)
            spans.restore(spans_saved)
            assert (stream.snapshot(), spans.snapshot()) == (saved, spans_saved)
        events.append(stream.commit(bars[t : t + 1]).copy())
        rests.append(stream.retracements.copy())
        row, event = spans.commit(bars[t : t + 1])
        rows.append(row)
        broken.append(event)
    assert same(np.concatenate(events), whole)
    assert same(np.concatenate(rests), shown)
    expected = smc.previous_period(bars, MINUTE, 7 * MINUTE)
    assert same(np.concatenate(rows), expected[0])
    assert same(np.concatenate(broken), expected[1])


@given(seed=SEEDS, n=st.integers(1, 200), step=st.sampled_from([1, 6, 40]))
def test_a_bar_that_concerns_no_list_would_change_none(seed: int, n: int, step: int) -> None:
    """Beside a stream that is made to look at every row at every bar; afterwards its edges are the same again."""
    bars = make_bars(seed, n, step=step)
    usual, thorough = (smc.Stream(timeframe_ms=MINUTE, params=PARAMS) for _ in range(2))
    for t in range(n):
        thorough._series.edges["until"] = 0
        assert same(usual.commit(bars[t : t + 1]), thorough.commit(bars[t : t + 1]))
        assert usual.snapshot() == thorough.snapshot()


@given(seeds=st.lists(SEEDS, min_size=1, max_size=4), n=st.integers(1, 80))
def test_many_series_at_once_are_as_many_alone(seeds: list[int], n: int) -> None:
    markets = np.stack([make_bars(seed, n) for seed in seeds])
    stream = smc.Stream(len(seeds), timeframe_ms=MINUTE, params=PARAMS)
    events = np.concatenate([stream.commit(np.ascontiguousarray(markets[:, t])).copy() for t in range(n)])
    for i in range(len(seeds)):
        mine = events[events["symbol"] == i].copy()
        mine["symbol"] = 0
        assert same(mine, smc.detect(markets[i], MINUTE, PARAMS))


@given(seed=SEEDS, n=st.integers(0, 200), cut=st.floats(0, 1))
def test_retracements_and_ranges_of_a_prefix_are_a_prefix(seed: int, n: int, cut: float) -> None:
    bars, m = make_bars(seed, n), int(cut * n)
    assert same(smc.retracements(bars[:m], MINUTE, PARAMS), smc.retracements(bars, MINUTE, PARAMS)[:m])
    rows, events = smc.previous_period(bars, MINUTE, 7 * MINUTE)
    left, right = smc.previous_period(bars[:m], MINUTE, 7 * MINUTE)
    assert same(left, rows[:m])
    assert same(right, events[events["known_at"] <= EPOCH + m * MINUTE])


@given(seed=SEEDS, n=st.integers(0, 200))
def test_what_is_alive_is_bounded_and_every_id_is_born_once(seed: int, n: int) -> None:
    events = smc.detect(make_bars(seed, n, step=3), MINUTE, PARAMS)
    for born, ends, most in (
        (smc.BLOCK, (smc.BLOCK_DEAD,), PARAMS.max_blocks),
        (smc.POOL, (smc.POOL_SWEPT, smc.POOL_BROKEN, smc.POOL_EXPIRED), PARAMS.max_pools),
        (smc.FVG, (smc.FVG_INVERTED, smc.FVG_EXPIRED), PARAMS.max_zones),
    ):
        alive: set[int] = set()
        births = events["id"][events["kind"] == born].tolist()
        assert len(births) == len(set(births))
        for event in events:
            if event["kind"] == born:
                alive.add(int(event["id"]))
            elif event["kind"] in ends:
                alive.remove(int(event["id"]))
            assert len(alive) <= most


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("close", np.nan), ("high", np.inf), ("low", 0.0), ("open", -1.0), ("close", 1e300), ("low", 1e9),
        ("volume", -1), ("taker_buy", 1 << 60), ("open_time", EPOCH + 29 * MINUTE), ("open_time", EPOCH),
        ("open_time", EPOCH + 31 * MINUTE), ("open_time", EPOCH + 30 * MINUTE + 1), ("open_time", -MINUTE),
    ],
)  # fmt: skip
def test_bars_that_must_not_be_taken_leave_streams_as_they_were(field: str, value: float) -> None:
    good = make_bars(5, 31)
    stream, spans = smc.Stream(timeframe_ms=MINUTE, params=PARAMS), _ranges()
    stream.run(good[:30])
    spans.commit(good[:30])
    bad = good[30:].copy()
    bad[field][0] = value
    before = stream.snapshot(), spans.snapshot()
    for call in (stream.commit, stream.run, spans.commit):
        with pytest.raises(ValueError, match=r"open time -?\d+\) ") as caught:
            call(bad)
        assert "\n" not in str(caught.value)
    assert (stream.snapshot(), spans.snapshot()) == before
    stream.commit(good[30:])


def test_other_rows_snapshots_and_spans_are_refused_in_one_line() -> None:
    bars = make_bars(1, 3)
    for call, told in (
        (lambda: smc.Stream(2, timeframe_ms=MINUTE).commit(bars), "2 BAR rows are needed"),
        (lambda: smc.Stream(2, timeframe_ms=MINUTE).run(bars), "a stream of one series"),
        (lambda: smc.Stream(timeframe_ms=MINUTE).restore(b"1"), "no snapshot of such a stream"),
        (lambda: smc.Ranges(timeframe_ms=MINUTE, period_ms=MINUTE).restore(b"1"), "no snapshot of ranges"),
        (lambda: smc.detect(bars["close"], MINUTE), "one dimension of aegis.kernels.layout.BAR"),
        (lambda: smc.detect(bars[::2], MINUTE), "bar 1 .* a bar is missing"),
        (lambda: smc.detect(bars, 7_000), "does not begin with its timeframe|must be multiples"),
        (lambda: smc.previous_period(bars, MINUTE, MINUTE + 1), "begin and end with a bar"),
        (lambda: smc.previous_period(bars, MINUTE, 0), "either a period or a table"),
        (lambda: smc.sessions(bars, MINUTE, np.array([[MINUTE, 0]])), "rising and without overlap"),
        (lambda: smc.sessions(bars, MINUTE, np.array([MINUTE, 0])), "rising and without overlap"),
    ):
        with pytest.raises(ValueError, match=told):
            call()


def test_bars_made_of_columns_are_detected_like_any_others() -> None:
    bars = make_bars(2, 300)
    made = smc.bars_of(*(bars[name].tolist() for name in ("open_time", "open", "high", "low", "close")))
    assert made.dtype == BAR
    assert same(smc.detect(made, MINUTE), smc.detect(bars, MINUTE))


def test_no_bars_give_no_events_and_no_error() -> None:
    none = make_bars(1, 0)
    assert len(smc.detect(none, MINUTE)) == len(smc.retracements(none, MINUTE)) == 0
    assert [len(part) for part in smc.previous_period(none, MINUTE, 7 * MINUTE)] == [0, 0]
