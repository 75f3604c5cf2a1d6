"""Highs and lows of spans of time: previous periods and trading sessions, and when price leaves them.

A span is [start, end) in milliseconds UTC; periods are computed, sessions come as a table (`signals/sessions.py` makes
it, with daylight saving). Definitions are in `kernels/smc.py`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aegis.kernels.compile import inner, kernel
from aegis.kernels.layout import EVENT
from aegis.kernels.sane import OK, check_bars, fault, fault_text
from aegis.kernels.smc_events import RANGE, RANGE_BROKEN, RANGE_ID, Context, emit, identify
from aegis.kernels.state import Records

__all__ = ["RANGES", "WEEK_ANCHOR_MS", "WEEK_MS", "Ranges"]

IntArray = npt.NDArray[np.int64]

_I, _F = np.int64, np.float64

#: Monday, 5 January 1970, 00:00 UTC: weeks are counted from here.
WEEK_ANCHOR_MS = 4 * 86_400_000
WEEK_MS = 7 * 86_400_000

#: At a bar: start of the span it is in (-1: in none) and what that span has reached so far (NaN unless it was seen from
#: its start); extremes of the last whole span before (NaN if there is none), and whether price has been beyond them.
RANGES = np.dtype(
    [
        ("start", _I),
        ("high", _F),
        ("low", _F),
        ("previous_start", _I),
        ("previous_high", _F),
        ("previous_low", _F),
        ("broken_high", _I),
        ("broken_low", _I),
    ]
)

#: What is remembered beside the row above. `expected`: open time of the next bar, -1 before the first.
_HELD = np.dtype([("expected", _I), ("whole", _I), ("high", _F), ("low", _F)])

#: Most events of one bar: a span ends, and both sides of the one before break.
_ROOM = 3


@inner()
def _span(opened: int, period: int, anchor: int, spans: IntArray) -> tuple[int, int]:
    """(start, end) of the span that an open time is in, (-1, -1) if it is in none. `period` 0: look in the table."""
    if period > 0:
        start = (opened - anchor) // period * period + anchor
        return start, start + period
    low, high = 0, len(spans)
    while low < high:
        middle = (low + high) // 2
        if spans[middle, 0] <= opened:
            low = middle + 1
        else:
            high = middle
    if low > 0 and opened < spans[low - 1, 1]:
        return spans[low - 1, 0], spans[low - 1, 1]
    return -1, -1


@inner()
def _enter(held: np.void, row: np.void, bar: np.void, start: int) -> None:
    """The bar is the first of another span, or the first outside one."""
    if row["start"] >= 0:
        whole = held["whole"] == 1
        row["previous_start"] = row["start"] if whole else -1
        row["previous_high"] = held["high"] if whole else np.nan
        row["previous_low"] = held["low"] if whole else np.nan
        row["broken_high"] = 0
        row["broken_low"] = 0
    row["start"] = start
    held["whole"] = 1 if start >= 0 and bar["open_time"] == start else 0
    held["high"] = bar["high"]
    held["low"] = bar["low"]


@inner()
def _advance(
    held: np.void, row: np.void, bar: np.void, start: int, end: int, events: Records, n: int, context: Context
) -> int:
    """Advance a series by a closed bar of the span [start, end)."""
    ms, index = context[2], context[3]
    if start != row["start"]:
        _enter(held, row, bar, start)
    elif start >= 0:
        held["high"] = max(held["high"], bar["high"])
        held["low"] = min(held["low"], bar["low"])
    shown = start >= 0 and held["whole"] == 1
    row["high"] = held["high"] if shown else np.nan
    row["low"] = held["low"] if shown else np.nan
    origin = row["previous_start"] // ms
    if row["broken_high"] == 0 and bar["high"] > row["previous_high"]:
        row["broken_high"] = 1
        level = row["previous_high"]
        n = emit(events, n, context, RANGE_BROKEN, 1, identify(origin, RANGE_ID, 1), origin, index, level, level)
    if row["broken_low"] == 0 and bar["low"] < row["previous_low"]:
        row["broken_low"] = 1
        level = row["previous_low"]
        n = emit(events, n, context, RANGE_BROKEN, -1, identify(origin, RANGE_ID, 1), origin, index, level, level)
    if shown and bar["open_time"] + ms >= end:
        first = start // ms
        n = emit(events, n, context, RANGE, 0, identify(first, RANGE_ID, 1), first, index, held["high"], held["low"])
    return n


@kernel(bare=True)
def _run(
    held: Records, last: Records, bars: Records, ms: int, period: int, anchor: int, spans: IntArray, rows: Records,
    events: Records,
) -> int:  # fmt: skip
    n = 0
    for t in range(len(bars)):
        opened = bars[t]["open_time"]
        start, end = _span(opened, period, anchor, spans)
        n = _advance(held[0], last[0], bars[t], start, end, events, n, (0, 0, ms, opened // ms, 1))
        held[0]["expected"] = opened + ms
        rows[t] = last[0]
    return n


@kernel(bare=True)
def _fault(held: Records, bar: Records, ms: int) -> int:
    return fault(bar[0], ms, held[0]["expected"])


class Ranges:
    """Spans of one series, advanced by closed bars. Periods of `period_ms` since `anchor_ms`, or a table of spans.

    Args:
        timeframe_ms: of the bars; every span begins and ends with a bar.
        period_ms: length of a period (0: `spans` is given instead).
        anchor_ms: any start of a period; `WEEK_ANCHOR_MS` for weeks that begin on Monday.
        spans: int64[k, 2], starts and ends, rising, without overlap.
    """

    def __init__(
        self, *, timeframe_ms: int, period_ms: int = 0, anchor_ms: int = 0, spans: IntArray | None = None
    ) -> None:
        table = np.zeros((0, 2), np.int64) if spans is None else np.ascontiguousarray(spans, dtype=np.int64)
        if timeframe_ms < 1 or period_ms < 0 or (period_ms > 0) == (spans is not None):
            raise ValueError("a timeframe and either a period or a table of spans are needed")
        if period_ms % timeframe_ms or anchor_ms % timeframe_ms or (table % timeframe_ms).any():
            raise ValueError(f"every span must begin and end with a bar of {timeframe_ms} ms")
        shaped = table.ndim == 2 and table.shape[1] == 2
        if not shaped or (np.diff(table.ravel()) < 0).any() or (table[:, 0] >= table[:, 1]).any():
            raise ValueError("spans must be pairs (start, end), rising and without overlap")
        self._where = (timeframe_ms, period_ms, anchor_ms, table)
        self._held = np.zeros(1, _HELD)
        self._held["expected"] = -1
        self._last = np.zeros(1, RANGES)
        self._last["start"] = self._last["previous_start"] = -1
        for name in ("high", "low", "previous_high", "previous_low"):
            self._last[name] = np.nan

    def commit(self, bars: Records) -> tuple[Records, Records]:
        """Advance by closed bars (BAR rows, each right after the one before).

        Returns RANGES of each bar, and the events.

        Raises:
            ValueError: a bar that must not be taken; nothing is changed.
        """
        ms = self._where[0]
        bars = check_bars(bars, ms)
        if len(bars):
            code = _fault(self._held, bars[:1], ms)
            if code != OK:
                raise ValueError(f"bar 0 (open time {bars['open_time'][0]}) {fault_text(code)}")
        rows, events = np.zeros(len(bars), RANGES), np.zeros(_ROOM * len(bars), EVENT)
        n = _run(self._held, self._last, bars, *self._where, rows, events)
        return rows, events[:n]

    def snapshot(self) -> bytes:
        """Everything that later rows and events depend on."""
        return self._held.tobytes() + self._last.tobytes()

    def restore(self, snapshot: bytes) -> None:
        """Continue from a snapshot.

        Raises:
            ValueError: it is none; nothing is changed.
        """
        if len(snapshot) != self._held.nbytes + self._last.nbytes:
            raise ValueError(f"this is no snapshot of ranges: {len(snapshot)} bytes")
        self._held[:] = np.frombuffer(snapshot, _HELD, 1)
        self._last[:] = np.frombuffer(snapshot, RANGES, 1, _HELD.itemsize)
