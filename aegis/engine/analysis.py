"""The analysis of batches on two copies of one state: the loop reads the front while a worker advances the spare.

A job is applied to the spare, which first catches up with the job before it; then the two are swapped. Both copies see
the same jobs in the same order, and `apply` is a pure function of (state, job), so they stay bitwise equal. A job that
is abandoned keeps the spare that its thread may still be writing; a fresh copy of the front takes its place.
"""

from __future__ import annotations

import attrs
import numpy as np

from aegis.kernels.analysis import SeedResult, State, analyse_all, copy_state, seed, set_live_from
from aegis.kernels.layout import EVENT, ROW
from aegis.kernels.state import Records
from aegis.signals.news import news_for
from aegis.signals.strategy import Strategy

__all__ = ["NO_EVENTS", "Analysis", "Job", "Result", "Seed", "slices"]

NO_EVENTS = np.zeros(0, EVENT)


@attrs.frozen(kw_only=True, eq=False)
class Seed:
    """Closed history of one symbol: BAR arrays of the base and of every higher timeframe."""

    symbol: int
    base: Records
    higher: tuple[Records, ...]


@attrs.frozen(kw_only=True, eq=False)
class Job:
    """What one analysis cycle takes in: subscriptions first, then histories, then rows, then the watermark."""

    rows: Records
    watermark_ms: int
    lives: tuple[tuple[int, int], ...] = ()
    seeds: tuple[Seed, ...] = ()


@attrs.frozen(kw_only=True, eq=False)
class Result:
    """Closed bars and events of one job, and what became of its seeds as (symbol, result)."""

    bars: Records
    events: Records
    seeds: tuple[tuple[int, SeedResult], ...]


def apply(state: State, job: Job) -> Result:
    """Advance `state` by `job`; pure in (state, job)."""
    for symbol, open_time_ms in job.lives:
        set_live_from(state, symbol, open_time_ms)
    seeds = tuple((one.symbol, seed(state, one.symbol, one.base, one.higher)) for one in job.seeds)
    bars, events = analyse_all(state, job.rows, job.watermark_ms)
    return Result(bars=bars, events=events, seeds=seeds)


class Analysis:
    """Owns both copies. `front` may be read on the loop at any time; only `accept` changes what it is."""

    def __init__(self, state: State) -> None:
        self.front = state
        self._spare = copy_state(state)
        self._behind: Job | None = None
        self.running: Job | None = None

    def begin(self, job: Job) -> tuple[State, Job | None, Job]:
        """Arguments for `compute`; one job at a time."""
        assert self.running is None, "one analysis in flight"
        self.running = job
        return self._spare, self._behind, job

    @staticmethod
    def compute(spare: State, behind: Job | None, job: Job) -> Result:
        """The worker's part: touches nothing but its arguments."""
        if behind is not None:
            apply(spare, behind)
        return apply(spare, job)

    def accept(self) -> None:
        """The worker has finished: its copy becomes the front."""
        assert self.running is not None, "no analysis in flight"
        self.front, self._spare = self._spare, self.front
        self._behind, self.running = self.running, None

    def abandon(self) -> Job:
        """The worker was given up: its copy belongs to it for ever. Returns the job, which is still to be done."""
        assert self.running is not None, "no analysis in flight"
        job, self.running = self.running, None
        self._spare, self._behind = copy_state(self.front), None
        return job


def merge(first: Job, second: Job) -> Job:
    """Both jobs as one, `first` before `second`."""
    return Job(
        rows=np.concatenate((first.rows, second.rows)) if len(first.rows) else second.rows,
        watermark_ms=max(first.watermark_ms, second.watermark_ms),
        lives=first.lives + second.lives,
        seeds=first.seeds + second.seeds,
    )


def no_rows() -> Records:
    """An empty batch."""
    return np.zeros(0, ROW)


def slices(result: Result, strategy: Strategy) -> list[tuple[int, Records]]:
    """What the strategy is to hear of a result: (symbol, its events), of the symbols with news, in their order.

    News are events of the kinds that it hears; for one that is called at `every_bar` also a closed base bar.
    """
    events = news_for(strategy, result.events)
    events = events[np.argsort(events["symbol"], kind="stable")]
    parts = np.split(events, np.flatnonzero(np.diff(events["symbol"])) + 1) if len(events) else []
    found = {int(part["symbol"][0]): part for part in parts}
    if not strategy.every_bar:
        return list(found.items())
    closed = result.bars["symbol"][result.bars["timeframe"] == 0]
    return [(symbol, found.get(symbol, NO_EVENTS)) for symbol in sorted(found.keys() | set(closed.tolist()))]
