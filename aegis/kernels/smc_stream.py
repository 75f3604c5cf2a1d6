"""Patterns and retracements of many series without an engine: many bars at once, or bar by bar."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from aegis.kernels import smc_series, steps
from aegis.kernels.compile import inner, kernel
from aegis.kernels.layout import BAR, EVENT
from aegis.kernels.sane import OK, check_bars, fault, fault_text
from aegis.kernels.state import AnalysisParams, Records, new_state

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

#: Of one series: bars so far, open time (-1 before the first) and index of the next one, the swing that ends the leg,
#: the extreme that price has come back to since.
_MARK = np.dtype([("count", _I), ("expected", _I), ("index", _I), ("swing", _I), ("deepest", _F)])

#: What the patterns look at of a bar.
_PRICES = np.dtype([("open", _F), ("high", _F), ("low", _F), ("close", _F)])


class Series(NamedTuple):
    """Everything of n series that events depend on, and their retracements."""

    parameters: Records  # PARAMETERS[1]
    marks: Records  # _MARK[n]
    prices: Records  # _PRICES[n, ring], of bar i at i % ring
    structure: Records  # as in State, of one timeframe
    edges: Records
    legs: Records
    zones: Records
    blocks: Records
    pools: Records
    shown: Records  # RETRACEMENT[n]


@inner()
def _retrace(mark: np.void, structure: np.void, legs: Records, bar: np.void, out: np.void) -> None:
    """The place of a closed bar in the leg that is known after it."""
    d = structure["last"]
    leg = legs[0] if d > 0 else legs[1]
    end, origin = leg["level"], leg["opposite"]
    length = d * (end - origin)
    out["direction"] = d
    if d != 0:
        probe = bar["low"] if d > 0 else bar["high"]
        if mark["swing"] != leg["id"]:  # confirmed by this bar: the bars since the swing count, and no others
            mark["swing"] = leg["id"]
            mark["deepest"] = leg["pullback"]
        elif d * (probe - mark["deepest"]) < 0.0:
            mark["deepest"] = probe
        if leg["has_opposite"] != 0 and length > 0.0:
            out["valid"] = 1
            out["top"] = max(end, origin)
            out["bottom"] = min(end, origin)
            out["current"] = max(100.0 * (d * (end - probe)) / length, 0.0)
            out["deepest"] = max(100.0 * (d * (end - mark["deepest"])) / length, 0.0)
            out["position"] = steps.position(bar["close"], out["bottom"], out["top"])
            return
    out["valid"] = 0
    out["top"] = np.nan
    out["bottom"] = np.nan
    out["current"] = np.nan
    out["deepest"] = np.nan
    out["position"] = np.nan


@inner(inline=True)
def _take(series: Series, i: int, bar: np.void, shown: np.void, events: Records, n: int) -> int:
    """Advance series i by a closed bar."""
    p, mark, ring = series.parameters[0], series.marks[i], series.prices[i]
    index = mark["index"] if mark["count"] > 0 else bar["open_time"] // p["timeframe_ms"]
    kept = ring[index & (len(ring) - 1)]
    kept["open"] = bar["open"]
    kept["high"] = bar["high"]
    kept["low"] = bar["low"]
    kept["close"] = bar["close"]
    mark["count"] += 1
    mark["index"] = index + 1
    mark["expected"] = bar["open_time"] + p["timeframe_ms"]
    structure, legs, edges = series.structure[i], series.legs[i], series.edges[i]
    context = (i, 0, p["timeframe_ms"], index, 1)
    zones, blocks, pools = series.zones[i], series.blocks[i], series.pools[i]
    n = smc_series.commit(structure, edges, legs, zones, blocks, pools, ring, mark["count"], p, events, n, context)
    _retrace(mark, structure, legs, bar, shown)
    return n


@kernel(bare=True)
def _commit(series: Series, bars: Records, events: Records) -> int:
    """One bar of every series; returns the number of events."""
    n = 0
    for i in range(len(bars)):
        n = _take(series, i, bars[i], series.shown[i], events, n)
    return n


@kernel(bare=True)
def _run(series: Series, bars: Records, t: int, rows: Records, events: Records, n: int) -> tuple[int, int]:
    """Commit bars of series 0 from bar t on while `events`, of which n are taken, has room.

    `rows` gets the retracements of each bar, unless it is empty. Returns the next bar and how many events there are.
    """
    shown, room = series.shown[0], series.parameters[0]["room"]
    while t < len(bars) and len(events) - n >= room:
        n = _take(series, 0, bars[t], shown, events, n)
        if len(rows) > 0:
            rows[t] = shown
        t += 1
    return t, n


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
        longest = max(2 * max(params.swing_lengths) + 1, params.atr_period + 1, params.bollinger_period, 3)
        ring = 1 << (longest - 1).bit_length()
        state = new_state(n, (timeframe_ms,), params, ring)
        self.timeframe_ms = timeframe_ms
        series = (
            state.parameters,
            np.zeros(n, _MARK),
            np.zeros((n, ring), _PRICES),
            state.structure[:, 0],
            state.edges[:, 0],
            state.legs[:, 0],
            state.zones[:, 0],
            state.blocks[:, 0],
            state.pools[:, 0],
            np.zeros(n, RETRACEMENT),
        )
        self._series = Series(*(np.ascontiguousarray(records) for records in series))
        self._series.marks["expected"] = -1
        self._room = int(state.parameters[0]["room"])
        self._events = np.zeros(max(4096, n * self._room), EVENT)

    @property
    def retracements(self) -> Records:
        """RETRACEMENT[n] at the last closed bars."""
        return self._series.shown

    def commit(self, bars: Records) -> Records:
        """Advance every series by one closed bar (BAR[n], in order); returns the events, series by series.

        What is returned is overwritten by the next call.
        """
        n = len(self._series.marks)
        if bars.dtype != BAR or bars.shape != (n,) or not bars.flags.c_contiguous:
            raise ValueError(f"{n} BAR rows are needed, one a series, not {bars.shape} of {bars.dtype}")
        self._check(bars)
        return self._events[: _commit(self._series, bars, self._events)]

    def run(self, bars: Records) -> tuple[Records, Records]:
        """Commit many closed bars to the one series of this stream; returns all events, and RETRACEMENT of each bar."""
        rows = np.empty(len(bars), RETRACEMENT)
        return self._commit_all(bars, rows), rows

    def events(self, bars: Records) -> Records:
        """As `run`, without the retracements."""
        return self._commit_all(bars, np.empty(0, RETRACEMENT))

    def _commit_all(self, bars: Records, rows: Records) -> Records:
        if len(self._series.marks) != 1:
            raise ValueError(f"run is for a stream of one series, not of {len(self._series.marks)}")
        bars = check_bars(bars, self.timeframe_ms)
        self._check(bars[:1])
        found = np.empty(len(bars) + self._room, EVENT)  # about one event a bar; untouched memory costs nothing
        t, n = _run(self._series, bars, 0, rows, found, 0)
        while t < len(bars):
            found = np.concatenate([found, np.empty(len(found), EVENT)])
            t, n = _run(self._series, bars, t, rows, found, n)
        return found[:n]

    def snapshot(self) -> bytes:
        """Everything that later events depend on."""
        return b"".join(array.tobytes() for array in self._series[1:])

    def restore(self, snapshot: bytes) -> None:
        """Continue from a snapshot of a stream with the same series and parameters.

        Raises:
            ValueError: it has another size; nothing is changed.
        """
        if len(snapshot) != sum(array.nbytes for array in self._series[1:]):
            raise ValueError(f"this is no snapshot of such a stream: {len(snapshot)} bytes")
        start = 0
        for array in self._series[1:]:
            np.copyto(array, np.frombuffer(snapshot, array.dtype, array.size, start).reshape(array.shape))
            start += array.nbytes

    def _check(self, bars: Records) -> None:
        series, code = _fault(self._series.marks, bars, self.timeframe_ms)
        if series >= 0:
            raise ValueError(f"the bar of series {series} (open time {bars['open_time'][series]}) {fault_text(code)}")
