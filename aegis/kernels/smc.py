"""Smart-money concepts without look-ahead: swings, fair value gaps with their life, breaks of structure.

Every pattern is decided at the close of a bar from that bar and earlier ones, and an event once emitted is never taken
back: the events of a prefix of the bars are a prefix of the events. A consumer acts no earlier than `known_at`.

Definitions (t the bar that closes, d = +1 bullish, -1 bearish; the bearish side is the mirror image):

SWING, SWING_EXTEND
    Bar i = t - L is a high if H_i = max(H_{i-L+1} .. H_{i+L}); of a bar that is both, the high counts. After a low it
    is a SWING; after a high a SWING_EXTEND if strictly more extreme, else nothing. `direction` +1 is a high, -1 a low;
    `top` = `bottom` = its price.
BOS, CHOCH, BREAK
    C_t beyond the last confirmed swing high p, once a swing. With m the lowest low between p and t and l the swing low
    before p: BOS if m > l, CHOCH if m <= l, BREAK if there is no such low. `id` is the swing's, `top` = `bottom` = its
    price.
FVG, FVG_MERGE
    H_{t-2} < L_t and C_{t-1} > O_{t-1}, at least `min_gap_atr` mean true ranges wide. A gap right after a gap of the
    same direction is no new zone: FVG_MERGE widens that one and keeps its id.
FVG_TOUCHED, FVG_MID, FVG_FILLED, FVG_INVERTED
    From the bar after: the low reaches the near edge, the middle, the far edge; the close lies beyond the far edge.
    Each at most once and in this order, except that a merge which moves the near edge starts afresh. INVERTED ends it.
FVG_EXPIRED
    The zone is `max_age_bars` old, or the oldest when there is no room for a new one.

Ids are `bar_index * 4 + code` with bar_index = open time // timeframe: equal whatever bar the stream began with. So are
zone widths and scales: they come from the mean true range of the last bars, not from Wilder's endless average.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aegis.kernels.compile import kernel
from aegis.kernels.layout import BAR, EVENT
from aegis.kernels.smc_events import (
    BOS,
    BREAK,
    CHOCH,
    FVG,
    FVG_EXPIRED,
    FVG_FILLED,
    FVG_INVERTED,
    FVG_MERGE,
    FVG_MID,
    FVG_TOUCHED,
    KIND_NAMES,
    PHASE_FILLED,
    PHASE_FRESH,
    PHASE_MID,
    PHASE_TOUCHED,
    SWING,
    SWING_EXTEND,
    Context,
    emit,
)
from aegis.kernels.smc_zones import age_zones, open_gap
from aegis.kernels.state import LEG, STRUCTURE, ZONE, AnalysisParams, Records, new_state

__all__ = [
    "BOS",
    "BREAK",
    "CHOCH",
    "FVG",
    "FVG_EXPIRED",
    "FVG_FILLED",
    "FVG_INVERTED",
    "FVG_MERGE",
    "FVG_MID",
    "FVG_TOUCHED",
    "KIND_NAMES",
    "PHASE_FILLED",
    "PHASE_FRESH",
    "PHASE_MID",
    "PHASE_TOUCHED",
    "SWING",
    "SWING_EXTEND",
    "Context",
    "commit",
    "detect",
    "events_per_commit",
]

#: Bars around an incomplete one in which no gap is taken for a pattern.
_TAINT_BARS = 3


@kernel(bare=True)
def _break(
    structure: np.void, leg: np.void, d: int, bar: np.void, max_age: int, events: Records, n: int, context: Context
) -> int:
    """Has this close gone beyond the last swing of one side? Else remember the deepest pullback."""
    if leg["unbroken"] == 0:
        return n
    index = context[3]
    if index - leg["index"] > max_age:
        leg["unbroken"] = 0
        return n
    if d * (bar["close"] - leg["level"]) <= 0.0:
        leg["pullback"] = min(leg["pullback"], bar["low"]) if d > 0 else max(leg["pullback"], bar["high"])
        return n
    leg["unbroken"] = 0
    kind = BREAK
    if leg["has_opposite"] == 1:
        kind = BOS if d * (leg["pullback"] - leg["opposite"]) > 0.0 else CHOCH
        structure["trend"] = d
        structure["trend_index"] = index
    return emit(events, n, context, kind, d, leg["id"], leg["index"], index, leg["level"], leg["level"])


@kernel(bare=True)
def _is_extreme(ring: Records, index: int, length: int, d: int) -> bool:
    """Is bar `index - length` a raw swing high (d = 1) or low (d = -1)?"""
    mask = len(ring) - 1
    candidate = index - length
    level = ring[candidate & mask]["high"] if d > 0 else ring[candidate & mask]["low"]
    for j in range(candidate - length + 1, index + 1):
        price = ring[j & mask]["high"] if d > 0 else ring[j & mask]["low"]
        if d * (price - level) > 0.0:
            return False
    return True


@kernel(bare=True)
def _swing(structure: np.void, legs: Records, ring: Records, length: int, events: Records, n: int, ctx: Context) -> int:
    """Test the bar `length` bars ago as a swing and keep the alternation of highs and lows."""
    index = ctx[3]
    mask = len(ring) - 1
    candidate = index - length
    if _is_extreme(ring, index, length, 1):
        d, level, leg, other = 1, ring[candidate & mask]["high"], legs[0], legs[1]
    elif _is_extreme(ring, index, length, -1):
        d, level, leg, other = -1, ring[candidate & mask]["low"], legs[1], legs[0]
    else:
        return n
    kind = SWING
    if structure["last"] == d:
        if d * (level - leg["level"]) <= 0.0:
            return n
        kind = SWING_EXTEND
    else:
        leg["has_opposite"] = 1 if other["id"] != 0 else 0
        leg["opposite"] = other["level"]
    pullback = ring[(candidate + 1) & mask]["low"] if d > 0 else ring[(candidate + 1) & mask]["high"]
    for j in range(candidate + 2, index + 1):
        bar = ring[j & mask]
        pullback = min(pullback, bar["low"]) if d > 0 else max(pullback, bar["high"])
    leg["id"] = candidate * 4 + (0 if d > 0 else 1)
    leg["index"] = candidate
    leg["level"] = level
    leg["unbroken"] = 1
    leg["pullback"] = pullback
    structure["last"] = d
    return emit(events, n, ctx, kind, d, leg["id"], candidate, candidate, level, level)


def events_per_commit(max_zones: int) -> int:
    """The most events that one closed bar of one series can cause."""
    return 4 * max_zones + 5


@kernel(bare=True)
def commit(
    structure: np.void,
    legs: Records,
    zones: Records,
    ring: Records,
    count: int,
    p: np.void,
    events: Records,
    n: int,
    context: Context,
) -> int:
    """Advance one series with the closed bar `context[3]`, already in its ring; `count` bars are there with it.

    Zones live first, then breaks, then swings, then new gaps, so that a pattern never meets the bar that made it.
    `events` must have room for `events_per_commit`. Returns the number of events written so far.
    """
    index = context[3]
    bar = ring[index & (len(ring) - 1)]
    max_age = p["max_age_bars"]
    n = age_zones(structure, zones, bar, max_age, events, n, context)
    if structure["trend"] != 0 and index - structure["trend_index"] > max_age:
        structure["trend"] = 0
    n = _break(structure, legs[0], 1, bar, max_age, events, n, context)
    n = _break(structure, legs[1], -1, bar, max_age, events, n, context)
    if count >= 2 * p["swing_length"]:
        n = _swing(structure, legs, ring, p["swing_length"], events, n, context)
    if structure["taint"] > 0:
        structure["taint"] -= 1
    elif count > p["atr_period"] and count > 2:
        n = open_gap(structure, zones, ring, p, events, n, context)
    return n


@kernel(bare=True)
def taint(structure: np.void) -> None:
    """The bar about to be committed misses trades: no gap that contains it is a pattern."""
    structure["taint"] = _TAINT_BARS


def _example_run() -> tuple[object, ...]:
    p = new_state(1, (60_000,), AnalysisParams()).parameters
    return (
        np.zeros(3, BAR),
        p,
        np.zeros(1, STRUCTURE),
        np.zeros(2, LEG),
        np.zeros(4, ZONE),
        np.zeros(64, BAR),
        np.zeros(50, EVENT),
        0,
        0,
    )


@kernel(example=_example_run, bare=True)
def _run(
    bars: Records,
    parameters: Records,
    structure: Records,
    legs: Records,
    zones: Records,
    ring: Records,
    events: Records,
    start: int,
    room: int,
) -> tuple[int, int]:
    """Commit bars from `start` on while `events` has room; returns the next bar and the number of events."""
    p = parameters[0]
    n = 0
    for t in range(start, len(bars)):
        if len(events) - n < room:
            return t, n
        index = bars[t]["open_time"] // p["timeframe_ms"]
        ring[index & (len(ring) - 1)] = bars[t]
        n = commit(structure[0], legs, zones, ring, t + 1, p, events, n, (0, 0, p["timeframe_ms"], index, 1))
    return len(bars), n


def detect(bars: Records, timeframe_ms: int, params: AnalysisParams | None = None) -> npt.NDArray[np.void]:
    """Every event of one series: contiguous, valid closed bars (dtype BAR) in, EVENT rows in order out."""
    params = AnalysisParams() if params is None else params
    ring = 1 << max(7, (2 * max(params.swing_lengths) + params.atr_period).bit_length())
    state = new_state(1, (timeframe_ms,), params, ring)
    room = events_per_commit(params.max_zones)
    events = np.zeros(max(4096, room), EVENT)
    found: list[npt.NDArray[np.void]] = [events[:0].copy()]
    t = 0
    while t < len(bars):
        t, n = _run(
            bars,
            state.parameters,
            state.structure[0],
            state.legs[0, 0],
            state.zones[0, 0],
            state.bars[0, 0],
            events,
            t,
            room,
        )
        found.append(events[:n].copy())
    return np.concatenate(found)
