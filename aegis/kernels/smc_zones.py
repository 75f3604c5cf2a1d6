"""Fair value gaps: how zones open, merge, live and end. Definitions are in `kernels/smc.py`."""

from __future__ import annotations

import numpy as np

from aegis.kernels.compile import inner
from aegis.kernels.smc_events import (
    FVG,
    FVG_EXPIRED,
    FVG_FILLED,
    FVG_INVERTED,
    FVG_MERGE,
    FVG_MID,
    FVG_TOUCHED,
    GAP_ID,
    PHASE_FILLED,
    PHASE_FRESH,
    PHASE_MID,
    PHASE_TOUCHED,
    Context,
    emit,
    identify,
)
from aegis.kernels.smc_lists import drop, reached, unwatch, watch
from aegis.kernels.state import Records
from aegis.kernels.steps import true_range

__all__ = ["age_zones", "mean_range", "open_gap"]


@inner()
def mean_range(ring: Records, index: int, n: int) -> float:
    """Mean true range of the n bars that end with bar `index`."""
    mask = len(ring) - 1
    total = 0.0
    previous = ring[(index - n) & mask]["close"]
    for j in range(index - n + 1, index + 1):
        bar = ring[j & mask]
        total += true_range(bar["high"], bar["low"], previous)
        previous = bar["close"]
    return total / n


@inner()
def _zone_event(events: Records, n: int, context: Context, kind: int, zone: np.void) -> int:
    return emit(
        events,
        n,
        context,
        kind,
        zone["direction"],
        zone["id"],
        zone["origin"],
        zone["formed"],
        zone["top"],
        zone["bottom"],
    )


@inner()
def _live(zone: np.void, bar: np.void, events: Records, n: int, context: Context) -> int:
    """Advance a zone's phase with one more bar, its end excepted."""
    d = zone["direction"]
    if d > 0:
        near, far, probe = zone["top"], zone["bottom"], bar["low"]
    else:
        near, far, probe = zone["bottom"], zone["top"], bar["high"]
    phase = zone["phase"]
    if phase < PHASE_TOUCHED and d * (probe - near) <= 0.0:
        phase = PHASE_TOUCHED
        n = _zone_event(events, n, context, FVG_TOUCHED, zone)
    if phase == PHASE_TOUCHED and d * (probe - (near + far) * 0.5) <= 0.0:
        phase = PHASE_MID
        n = _zone_event(events, n, context, FVG_MID, zone)
    if phase == PHASE_MID and d * (probe - far) <= 0.0:
        phase = PHASE_FILLED
        n = _zone_event(events, n, context, FVG_FILLED, zone)
    zone["phase"] = phase
    return n


@inner(inline=True)
def _waits(zone: np.void) -> tuple[int, float, bool]:
    """What happens to a zone next, by its phase: price comes (d > 0: down) to a level, or closes there."""
    d, phase = zone["direction"], zone["phase"]
    near = zone["top"] if d > 0 else zone["bottom"]
    far = zone["bottom"] if d > 0 else zone["top"]
    level = (near + far) * 0.5 if phase == PHASE_TOUCHED else near
    level = far if phase >= PHASE_MID else level
    return d, level, phase == PHASE_FILLED


@inner()
def _watch_all(edges: np.void, zones: Records, count: int, max_age: int) -> None:
    unwatch(edges)
    for k in range(count):
        d, level, at_close = _waits(zones[k])
        watch(edges, d, level, at_close, zones[k]["known"] + max_age)


@inner()
def age_zones(
    structure: np.void, edges: np.void, zones: Records, bar: np.void, max_age: int, events: Records, n: int,
    context: Context,
) -> int:  # fmt: skip
    """Life cycle of every zone known before this bar, which concerns one at least."""
    index = context[3]
    k = 0
    while k < structure["zones"]:
        zone = zones[k]
        d, level, at_close = _waits(zone)
        if not reached(bar, d, level, at_close) and index - zone["known"] < max_age:
            k += 1
            continue
        n = _live(zone, bar, events, n, context)
        far = zone["bottom"] if d > 0 else zone["top"]
        kind = 0
        if d * (bar["close"] - far) < 0.0:
            kind = FVG_INVERTED
        elif index - zone["known"] >= max_age:
            kind = FVG_EXPIRED
        if kind == 0:
            k += 1
            continue
        n = _zone_event(events, n, context, kind, zone)
        structure["zones"] = drop(zones, structure["zones"], k)
    _watch_all(edges, zones, structure["zones"], max_age)
    return n


@inner()
def _merge(zone: np.void, top: float, bottom: float, index: int) -> None:
    """Widen a zone to the union; a near edge that moved has not been touched yet."""
    moved = top > zone["top"] if zone["direction"] > 0 else bottom < zone["bottom"]
    if moved:
        zone["phase"] = PHASE_FRESH
    zone["top"] = max(zone["top"], top)
    zone["bottom"] = min(zone["bottom"], bottom)
    zone["formed"] = index


@inner()
def open_gap(
    structure: np.void, edges: np.void, zones: Records, ring: Records, p: np.void, events: Records, n: int, ctx: Context
) -> int:
    """A gap between the bars around the last but one opens a zone or widens the one that opened a bar ago."""
    index = ctx[3]
    mask = len(ring) - 1
    first, middle, last = ring[(index - 2) & mask], ring[(index - 1) & mask], ring[index & mask]
    if first["high"] < last["low"] and middle["close"] > middle["open"]:
        d, top, bottom = 1, last["low"], first["high"]
    elif first["low"] > last["high"] and middle["close"] < middle["open"]:
        d, top, bottom = -1, first["low"], last["high"]
    else:
        return n
    scale = mean_range(ring, index, p["atr_period"])
    if top - bottom < p["min_gap_atr"] * scale:
        return n
    count, max_age = structure["zones"], p["max_age_bars"]
    if count > 0:
        zone = zones[count - 1]
        if zone["formed"] == index - 1 and zone["direction"] == d and zone["phase"] < PHASE_FILLED:
            _merge(zone, top, bottom, index)
            _watch_all(edges, zones, count, max_age)
            return emit(events, n, ctx, FVG_MERGE, d, zone["id"], index - 1, index, zone["top"], zone["bottom"])
    if count == len(zones) - 1:
        n = _zone_event(events, n, ctx, FVG_EXPIRED, zones[0])
        count = drop(zones, count, 0)
        _watch_all(edges, zones, count, max_age)
    zone = zones[count]
    zone["id"] = identify(index - 1, GAP_ID, d)
    zone["direction"] = d
    zone["origin"] = index - 1
    zone["known"] = index
    zone["formed"] = index
    zone["phase"] = PHASE_FRESH
    zone["top"] = top
    zone["bottom"] = bottom
    zone["scale"] = scale
    structure["zones"] = count + 1
    watch(edges, d, top if d > 0 else bottom, False, index + max_age)
    return _zone_event(events, n, ctx, FVG, zone)
