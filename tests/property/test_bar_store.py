"""Whatever is stored, wherever it was cut and however it was damaged: history is what the venue alone would give."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.engine.bar_store import BarStore
from aegis.engine.warmup import Warmup
from aegis.runtime.cpu import InlineCpu
from aegis.runtime.metrics import Metrics
from tests.component.test_warmup import SPECS, UNITS, Venue
from tests.support.analysis_cases import Rows, make_bars, roll_up, same
from tests.support.engine_rig import START_MS, START_NS

SECOND = 1_000_000_000


@cache
def past(ms: int, count: int) -> Rows:
    return make_bars(5, count, timeframe_ms=ms, start=START_MS - START_MS % 300_000 - ms * count // 2)


class Archive(Venue):
    """Rolls each length up once."""

    def __init__(self, clock: Any, ms: int, count: int) -> None:
        super().__init__(clock, age_s=1)
        self.past = past(ms, count)
        self.ms = ms
        self.add = 0.0

    def bars(self, interval: str) -> Rows:
        ms = int(interval[:-1]) * UNITS[interval[-1]]
        bars = self.past if ms == self.ms else rolled(self.ms, len(self.past), ms)
        if self.add:
            bars = bars.copy()
            bars["close"] += self.add
            bars["high"] += self.add
        return bars


@cache
def rolled(ms: int, count: int, longer_ms: int) -> Rows:
    return roll_up(past(ms, count), longer_ms)


class Time:
    """A clock that the test sets; the requests of one fetch take no time."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def venue_ns(self) -> int:
        return self.now_ns


def make_warmup(venue: Venue, frames: tuple[int, ...], store: BarStore | None, bars: int) -> Warmup:
    async def prepare(symbol: str) -> None:
        return None

    return Warmup(
        venue=venue, specs=SPECS, timeframes_ms=frames, bars=bars, venue_ns=venue.clock.venue_ns,
        deliver=lambda *seed: None, prepare=prepare, store=store,
    )  # fmt: skip


def fetch(warmup: Warmup) -> list[Rows]:
    async def run() -> list[Rows]:
        base, higher = await warmup.fetch(0)
        return [base, *higher]

    return trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


def damage(path: Path, kind: str, place: float, junk: bytes) -> None:
    data = path.read_bytes()
    at = int(place * (len(data) - 1))
    changed = {
        "none": data,
        "torn": data[:at],
        "flipped": data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :],
        "junk": data[:at] + junk + data[at + len(junk) :],
        "longer": data + junk,
        "shifted": data[:at] + data[at + 64 :],  # a bar, or so, is gone
        "zeros": data[:at] + bytes(len(data) - at),
    }
    path.write_bytes(changed[kind])


KINDS = st.sampled_from(["none", "none", "torn", "flipped", "junk", "longer", "shifted", "zeros"])


@settings(max_examples=60)
@given(
    frames=st.sampled_from([(1000, 5000), (60_000, 300_000)]),
    first_bars=st.sampled_from([30, 100, 300]),
    bars=st.sampled_from([30, 100, 300]),
    away_s=st.integers(0, 9_000),
    step_back=st.booleans(),
    kind=KINDS,
    place=st.floats(0, 1),
    junk=st.binary(min_size=1, max_size=90),
    other_past=st.booleans(),
)
def test_stored_and_fetched_is_what_all_fetched_would_be(
    frames: tuple[int, ...], first_bars: int, bars: int, away_s: int, step_back: bool, kind: str, place: float,
    junk: bytes, other_past: bool,
) -> None:  # fmt: skip
    clock: Any = Time()
    venue = Archive(clock, frames[0], 16_000 if frames[0] == 1000 else 4_000)
    clock.now_ns = int(venue.past["open_time"][6_000 if frames[0] == 1000 else 2_500]) * 1_000_000 + 400_000_000
    with tempfile.TemporaryDirectory() as home:
        store = BarStore(Path(home) / "bars", "v", InlineCpu(Metrics()))
        fetch(make_warmup(venue, frames, store, first_bars))
        files = sorted((Path(home) / "bars").iterdir())
        assert len(files) == (1 if frames[0] == 1000 else 2)
        for path in files:
            damage(path, kind, place, junk)
        clock.now_ns += (-1 if step_back else 1) * away_s * SECOND
        if other_past:
            venue.add = 1.0
        alone = fetch(make_warmup(venue, frames, None, bars))
        for _ in range(2):  # what the second start has stored is as good
            told = fetch(make_warmup(venue, frames, store, bars))
            assert [len(one) for one in told] == [len(one) for one in alone]
            assert all(same(mine, theirs) for mine, theirs in zip(told, alone, strict=True))
        assert (np.diff(told[0]["open_time"]) == frames[0]).all()
