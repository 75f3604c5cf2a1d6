"""Two copies of one state: whoever is in front has seen every accepted job, once and in order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.engine.analysis import Analysis, Job, Seed, apply, merge, no_rows
from aegis.kernels.analysis import copy_state, new_state
from aegis.kernels.state import AnalysisParams, State, state_bytes
from tests.support.analysis_cases import EPOCH, make_bars, rows_of

FRAMES = (1_000, 5_000)
STEP = 4


def fresh() -> State:
    return new_state(2, FRAMES, AnalysisParams(warm_bars=20))


def jobs(seed: int, count: int) -> list[Job]:
    """Subscription and history first, then four bars a job."""
    start = EPOCH + 200_000
    past = make_bars(seed, 200, timeframe_ms=1000)
    live = make_bars(seed + 1, STEP * count, timeframe_ms=1000, start=start)
    made = [Job(rows=no_rows(), watermark_ms=start, lives=((0, start),), seeds=(Seed(symbol=0, base=past, higher=()),))]
    for n in range(count):
        part = live[STEP * n : STEP * (n + 1)]
        made.append(Job(rows=rows_of(part), watermark_ms=start + 1000 * STEP * (n + 1)))
    return made


@given(seed=st.integers(0, 999), fates=st.lists(st.booleans(), min_size=2, max_size=12))
@settings(max_examples=25)
def test_whatever_is_given_up_the_front_is_the_fold_of_all_jobs(seed: int, fates: list[bool]) -> None:
    work = jobs(seed, len(fates))
    analysis, again, done = Analysis(fresh()), None, []
    bars = 0
    for job, kept in zip(work, [*fates, True], strict=True):
        one = job if again is None else merge(again, job)
        args = analysis.begin(one)
        result = Analysis.compute(*args)  # it is computed in any case: a thread that is given up runs on
        if kept:
            analysis.accept()
            bars += len(result.bars)
            done.append(one)
            again = None
        else:
            again = analysis.abandon()
            assert again is one
    oracle = fresh()
    expected = 0
    for one in done:
        expected += len(apply(oracle, one).bars)
    assert state_bytes(analysis.front) == state_bytes(oracle)
    assert bars == expected
    single = fresh()  # and cutting the jobs elsewhere gives the same bars
    for job in work:
        apply(single, job)
    assert state_bytes(single) == state_bytes(oracle)


def test_a_worker_writes_nothing_that_the_loop_reads() -> None:
    analysis = Analysis(fresh())
    for job in jobs(1, 6):
        before, front = state_bytes(analysis.front), analysis.front
        spare, behind, one = analysis.begin(job)
        assert not any(a is b or a.base is b for a, b in zip(spare, front, strict=True))
        Analysis.compute(spare, behind, one)
        assert state_bytes(front) == before
        analysis.accept()
        assert analysis.front is spare


def test_apply_is_a_function_of_state_and_job() -> None:
    one = fresh()
    for job in jobs(2, 6):
        other = copy_state(one)
        left, right = apply(one, job), apply(other, job)
        assert state_bytes(one) == state_bytes(other)
        assert left.bars.tobytes() == right.bars.tobytes()
        assert left.events.tobytes() == right.events.tobytes()
