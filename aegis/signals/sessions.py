"""Trading sessions in local time as spans of UTC, with daylight saving: the table that `smc.sessions` takes."""

from __future__ import annotations

import datetime
import zoneinfo

import attrs
import numpy as np
import numpy.typing as npt

__all__ = ["LONDON", "NEW_YORK", "TOKYO", "Session", "spans"]

_DAY = datetime.timedelta(days=1)
_EVERY_DAY = (0, 1, 2, 3, 4, 5, 6)
_WORKDAYS = (0, 1, 2, 3, 4)
_is_weekday = attrs.validators.in_(_EVERY_DAY)


def _zone(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"{attribute.name}: no time zone is called {value!r}") from None


@attrs.frozen(kw_only=True)
class Session:
    """Every one of `weekdays` (0 is Monday, of the day it begins) from `start` to `end`, local wall time of `zone`.

    An end that is not after the start is on the next day: a session of 24 hours starts and ends at the same time.
    """

    start: datetime.time
    end: datetime.time
    zone: str = attrs.field(default="UTC", validator=_zone)
    weekdays: tuple[int, ...] = attrs.field(default=_EVERY_DAY, validator=attrs.validators.deep_iterable(_is_weekday))


LONDON = Session(start=datetime.time(8), end=datetime.time(16, 30), zone="Europe/London", weekdays=_WORKDAYS)
NEW_YORK = Session(start=datetime.time(9, 30), end=datetime.time(16), zone="America/New_York", weekdays=_WORKDAYS)
TOKYO = Session(start=datetime.time(9), end=datetime.time(15, 30), zone="Asia/Tokyo", weekdays=_WORKDAYS)


def spans(session: Session, from_ms: int, until_ms: int) -> npt.NDArray[np.int64]:
    """int64[k, 2]: start and end, in milliseconds UTC, of every session that overlaps [from_ms, until_ms).

    Of a wall time that comes twice the first counts; one that is skipped is as if the clocks had not gone forward yet.
    """
    zone = zoneinfo.ZoneInfo(session.zone)
    first = datetime.datetime.fromtimestamp(from_ms / 1000, zone).date() - 2 * _DAY
    last = datetime.datetime.fromtimestamp(until_ms / 1000, zone).date() + _DAY
    found = []
    for number in range((last - first).days + 1):
        date = first + number * _DAY
        ends = date if session.end > session.start else date + _DAY
        if date.weekday() not in session.weekdays:
            continue
        start, end = _utc_ms(date, session.start, zone), _utc_ms(ends, session.end, zone)
        if start < until_ms and from_ms < end and start < end:
            found.append((start, end))
    return np.array(found, np.int64).reshape(-1, 2)


def _utc_ms(date: datetime.date, time: datetime.time, zone: zoneinfo.ZoneInfo) -> int:
    return round(datetime.datetime.combine(date, time, zone).timestamp() * 1000)
