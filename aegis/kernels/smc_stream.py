"""Patterns and retracements of many series without an engine: many bars at once, or bar by bar."""

from __future__ import annotations

import numpy as np

from aegis.kernels import smc_series, steps
from aegis.kernels.compile import kernel
from aegis.kernels.layout import BAR, EVENT
from aegis.kernels.sane import OK, check_bars, fault, fault_text
from aegis.kernels.state import AnalysisParams, Records, State, new_state

__all__ = ["RETRACEMENT", "Stream"]

_I, _F = np.int64, np.float64

#: Fields are told in `smc.retracements`.
RETRACEMENT = np.dtype(
    [
        ("direction", _I),
        ("valid", _I),
        ("top", _F),
        ("bottom", _F),
        ("current", _F),
        ("deepest", _F),
        ("position", _F),
    ]
)

#: Of one series: bars so far, open time of the next one (-1 before the first), the swing that ends the leg, the extreme
#: that price has come back to since.
_MARK = np.dtype([("count", _I), ("expected", _I), ("swing", _I), ("deepest", _F)])


@kernel(bare=True)
def _retrace(mark: np.void, structure: np.void, legs: Records, bar: np.void, out: np.void) -> None:
    """The place of a closed bar in the leg that is known after it."""
    d = structure["last"]
    out["direction"] = d
    out["valid"] = 0
    out["top"] = np.nan
    out["bottom"] = np.nan
    out["current"] = np.nan
    out["deepest"] = np.nan
    out["position"] = np.nan
    if d == 0:
        return
    leg = legs[0] if d > 0 else legs[1]
    probe = bar["low"] if d > 0 else bar["high"]
    if mark["swing"] != leg["id"]:  # confirmed by this bar: the bars since the swing count, and no others
        mark["swing"] = leg["id"]
        mark["deepest"] = leg["pullback"]
    elif d * (probe - mark["deepest"]) < 0.0:
        mark["deepest"] = probe
    end, origin = leg["level"], leg["opposite"]
    length = d * (end - origin)
    if leg["has_opposite"] == 0 or length <= 0.0:
        return
    out["valid"] = 1
    out["top"] = max(end, origin)
    out["bottom"] = min(end, origin)
    out["current"] = max(100.0 * (d * (end - probe)) / length, 0.0)
    out["deepest"] = max(100.0 * (d * (end - mark["deepest"])) / length, 0.0)
    out["position"] = steps.position(bar["close"], out["bottom"], out["top"])


@kernel(bare=True)
def _take(state: State, marks: Records, i: int, bar: np.void, shown: np.void, events: Records, n: int) -> int:
    """Advance series i by a closed bar."""
    p, mark = state.parameters[0], marks[i]
    ring = state.bars[i, 0]
    index = bar["open_time"] // p["timeframe_ms"]
    slot = index & (len(ring) - 1)
    ring[slot] = bar
    mark["count"] += 1
    mark["expected"] = bar["open_time"] + p["timeframe_ms"]
    structure, legs = state.structure[i, 0], state.legs[i, 0]
    context = (i, 0, p["timeframe_ms"], index, 1)
    zones, blocks, pools = state.zones[i, 0], state.blocks[i, 0], state.pools[i, 0]
    n = smc_series.commit(structure, legs, zones, blocks, pools, ring, mark["count"], p, events, n, context)
    _retrace(mark, structure, legs, bar, shown)
    return n


@kernel(bare=True)
def _commit(state: State, marks: Records, bars: Records, shown: Records, events: Records) -> int:
    """One bar of every series; returns the number of events."""
    n = 0
    for i in range(len(bars)):
        n = _take(state, marks, i, bars[i], shown[i], events, n)
    return n


@kernel(bare=True)
def _run(state: State, marks: Records, bars: Records, start: int, shown: Records, events: Records) -> tuple[int, int]:
    """Commit bars of series 0 from `start` on while `events` has room; returns the next bar and how many events."""
    n = 0
    for t in range(start, len(bars)):
        if len(events) - n < state.parameters[0]["room"]:
            return t, n
        n = _take(state, marks, 0, bars[t], shown[t], events, n)
    return len(bars), n


@kernel(bare=True)
def _fault(marks: Records, bars: Records, timeframe_ms: int) -> tuple[int, int]:
    """(series, fault) of the first bar that must not be taken, else (-1, OK)."""
    for i in range(len(bars)):
        code = fault(bars[i], timeframe_ms, marks[i]["expected"])
        if code != OK:
            return i, code
    return -1, OK


class Stream:
    """Patterns of n series, advanced by closed bars alone.

    A call with a bar that must not be taken raises ValueError, names it and the reason, and changes nothing. In events
    `symbol` is the number of the series.
    """

    def __init__(self, n: int = 1, *, timeframe_ms: int, params: AnalysisParams | None = None) -> None:
        params = AnalysisParams() if params is None else params
        ring = 1 << max(6, (2 * max(params.swing_lengths) + params.atr_period + 2).bit_length())
        self.timeframe_ms = timeframe_ms
        self._state = new_state(n, (timeframe_ms,), params, ring)
        self._marks = np.zeros(n, _MARK)
        self._marks["expected"] = -1
        self._shown = np.zeros(n, RETRACEMENT)
        self._room = int(self._state.parameters[0]["room"])
        self._events = np.zeros(max(4096, n * self._room), EVENT)

    @property
    def retracements(self) -> Records:
        """RETRACEMENT[n] at the last closed bars."""
        return self._shown

    def commit(self, bars: Records) -> Records:
        """Advance every series by one closed bar (BAR[n], in order); returns the events, series by series.

        What is returned is overwritten by the next call.
        """
        if bars.dtype != BAR or bars.shape != self._marks.shape or not bars.flags.c_contiguous:
            raise ValueError(f"{len(self._marks)} BAR rows are needed, one a series, not {bars.shape} of {bars.dtype}")
        self._check(bars)
        return self._events[: _commit(self._state, self._marks, bars, self._shown, self._events)]

    def run(self, bars: Records) -> tuple[Records, Records]:
        """Commit many closed bars to the one series of this stream; returns all events, and RETRACEMENT of each bar."""
        if len(self._marks) != 1:
            raise ValueError(f"run is for a stream of one series, not of {len(self._marks)}")
        bars = check_bars(bars, self.timeframe_ms)
        self._check(bars[:1])
        shown, found, t = np.zeros(len(bars), RETRACEMENT), [self._events[:0].copy()], 0
        while t < len(bars):
            t, n = _run(self._state, self._marks, bars, t, shown, self._events)
            found.append(self._events[:n].copy())
        if len(bars):
            self._shown[0] = shown[-1]
        return np.concatenate(found), shown

    def snapshot(self) -> bytes:
        """Everything that later events depend on."""
        return b"".join(array.tobytes() for array in self._arrays())

    def restore(self, snapshot: bytes) -> None:
        """Continue from a snapshot of a stream with the same series and parameters.

        Raises:
            ValueError: it has another size; nothing is changed.
        """
        if len(snapshot) != sum(array.nbytes for array in self._arrays()):
            raise ValueError(f"this is no snapshot of such a stream: {len(snapshot)} bytes")
        start = 0
        for array in self._arrays():
            np.copyto(array, np.frombuffer(snapshot, array.dtype, array.size, start).reshape(array.shape))
            start += array.nbytes

    def _arrays(self) -> tuple[Records, ...]:
        s = self._state
        return s.structure, s.legs, s.zones, s.blocks, s.pools, s.bars, self._marks, self._shown

    def _check(self, bars: Records) -> None:
        series, code = _fault(self._marks, bars, self.timeframe_ms)
        if series >= 0:
            raise ValueError(f"the bar of series {series} (open time {bars['open_time'][series]}) {fault_text(code)}")
