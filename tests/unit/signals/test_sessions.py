"""Sessions follow their local clocks through daylight saving."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from aegis.kernels import smc
from aegis.signals.sessions import LONDON, NEW_YORK, TOKYO, Session, spans

HOUR = 3_600_000


def ms(text: str) -> int:
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1000)


def told(session: Session, first: str, last: str) -> list[str]:
    found = spans(session, ms(f"{first}T00:00+00:00"), ms(f"{last}T00:00+00:00"))
    moments = [datetime.datetime.fromtimestamp(t / 1000, datetime.UTC).strftime("%d %H:%M") for t in found.ravel()]
    return [f"{start}-{end}" for start, end in zip(moments[::2], moments[1::2], strict=True)]


def test_new_york_opens_an_hour_earlier_in_utc_once_its_clocks_go_forward() -> None:
    assert told(NEW_YORK, "2026-03-06", "2026-03-10") == ["06 14:30-06 21:00", "09 13:30-09 20:00"]


def test_london_opens_an_hour_later_in_utc_once_its_clocks_go_back() -> None:
    assert told(LONDON, "2026-10-23", "2026-10-27") == ["23 07:00-23 15:30", "26 08:00-26 16:30"]


def test_tokyo_has_no_daylight_saving() -> None:
    assert told(TOKYO, "2026-03-27", "2026-03-28") == ["27 00:00-27 06:30"]
    assert told(TOKYO, "2026-07-02", "2026-07-04") == ["02 00:00-02 06:30", "03 00:00-03 06:30"]


def test_a_session_over_midnight_belongs_to_the_day_it_begins() -> None:
    night = Session(start=datetime.time(22), end=datetime.time(4), weekdays=(4,))
    assert told(night, "2026-11-20", "2026-11-23") == ["20 22:00-21 04:00"]


def test_a_session_of_a_whole_day_is_an_hour_longer_or_shorter_when_clocks_change() -> None:
    day = Session(start=datetime.time(17), end=datetime.time(17), zone="America/New_York")
    found = spans(day, ms("2026-03-01T00:00+00:00"), ms("2026-12-01T00:00+00:00"))
    lengths = np.diff(found).ravel() // HOUR
    assert sorted(set(lengths.tolist())) == [23, 24, 25]
    assert (found[1:, 0] == found[:-1, 1]).all()


def test_only_sessions_that_overlap_the_asked_time_are_given() -> None:
    day = Session(start=datetime.time(8), end=datetime.time(9))
    at = ms("2026-05-05T08:30+00:00")
    assert spans(day, at, at + 1).tolist() == [[at - HOUR // 2, at + HOUR // 2]]
    assert len(spans(day, at + HOUR // 2, at + HOUR)) == 0


def test_the_end_of_a_session_is_outside_it() -> None:
    """A high at the bar that opens when the session ends is not the session's, but breaks it."""
    start = ms("2026-07-06T07:00+00:00")
    n = 20
    high = np.full(n, 101.0)
    high[17] = 150.0  # 15:30 UTC, the end of London's session in summer
    flat = np.full(n, 100.0)
    bars = smc.bars_of(start + HOUR // 2 * np.arange(n), flat, high, flat - 1, flat)
    rows, events = smc.sessions(bars, HOUR // 2, spans(LONDON, start, start + n * HOUR))
    assert rows["start"].tolist() == [start] * 17 + [-1] * 3
    assert np.isnan(rows["previous_high"][:17]).all()
    assert set(rows["previous_high"][17:]) == {101.0}
    assert [(smc.KIND_NAMES[int(e["kind"])], int(e["direction"]), float(e["top"])) for e in events] == [
        ("RANGE", 0, 101.0),
        ("RANGE_BROKEN", 1, 101.0),
    ]


@pytest.mark.parametrize(
    ("arguments", "word"), [({"zone": "UTC+3"}, "zone"), ({"zone": "../x"}, "zone"), ({"weekdays": (7,)}, "weekdays")]
)
def test_a_session_that_makes_no_sense_is_refused(arguments: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Session(start=datetime.time(8), end=datetime.time(9), **arguments)  # type: ignore[arg-type]
