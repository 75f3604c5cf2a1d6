"""Names of timeframes as people write them: `1s`, `1m`, `5m`, `4h`, `1d`."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["chosen", "parse_timeframe", "timeframe_name"]

_UNITS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PATTERN = re.compile(r"([1-9][0-9]{0,4})([smhd])")


def parse_timeframe(text: str) -> int:
    """Milliseconds of a timeframe.

    Raises:
        ValueError: not a count and one of s, m, h, d.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"a timeframe is a count and one of s, m, h, d, such as 5m; not {text!r}")
    return int(match[1]) * _UNITS[match[2]]


def timeframe_name(ms: int) -> str:
    """Shortest name of a whole number of seconds.

    Raises:
        ValueError: not a positive whole number of seconds.
    """
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(ms, _UNITS[unit])
        if count > 0 and rest == 0:
            return f"{count}{unit}"
    raise ValueError(f"{ms} ms is no whole number of seconds")


def chosen(told: str, timeframes: Sequence[str], default: int = 0) -> str:
    """The one of `timeframes` that a parameter names; where it names none, that of index `default`, at most the last.

    Raises:
        ValueError: it is none of them.
    """
    if not told:
        return timeframes[min(default, len(timeframes) - 1)]
    name = timeframe_name(parse_timeframe(told))
    if name not in timeframes:
        raise ValueError(f"{told!r} is none of {', '.join(timeframes)}")
    return name
