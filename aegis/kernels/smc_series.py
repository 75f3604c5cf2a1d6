"""One closed bar of one series: swings and breaks of structure, and the order in which all patterns are looked at.

Definitions are in `kernels/smc.py`.
"""

from __future__ import annotations

import numpy as np

from aegis.kernels.compile import inner
from aegis.kernels.smc_blocks import age_blocks, open_block
from aegis.kernels.smc_events import BOS, BREAK, CHOCH, SWING, SWING_EXTEND, SWING_ID, Context, emit, identify
from aegis.kernels.smc_lists import concerns
from aegis.kernels.smc_pools import age_pools, join_pool
from aegis.kernels.smc_zones import age_zones, open_gap
from aegis.kernels.state import BLOCKS, POOLS, ZONES, Records

__all__ = ["commit", "taint"]

#: Bars around an incomplete one in which no gap is taken for a pattern.
_TAINT_BARS = 3


@inner()
def _pull_back(leg: np.void, d: int, bar: np.void, index: int) -> None:
    """Remember the deepest bar since the swing, the last of equal ones."""
    near, far = (bar["low"], bar["high"]) if d > 0 else (bar["high"], bar["low"])
    if d * (near - leg["pullback"]) <= 0.0:
        leg["pullback"] = near
        leg["pullback_index"] = index
        leg["pullback_far"] = far


@inner()
def _break(
    structure: np.void, edges: np.void, leg: np.void, blocks: Records, d: int, max_age: int, events: Records, n: int,
    context: Context,
) -> int:  # fmt: skip
    """This close has gone beyond the last swing of one side."""
    index = context[3]
    leg["unbroken"] = 0
    kind = BREAK
    if leg["has_opposite"] == 1:
        kind = BOS if d * (leg["pullback"] - leg["opposite"]) > 0.0 else CHOCH
        structure["trend"] = d
        structure["trend_index"] = index
    n = emit(events, n, context, kind, d, leg["id"], leg["index"], index, leg["level"], leg["level"])
    return open_block(structure, edges, leg, blocks, d, max_age, events, n, context)


@inner(inline=True)
def _meets(leg: np.void, d: int, bar: np.void, index: int, max_age: int) -> bool:
    """Is a swing broken by this close? Else the bar may be the deepest pullback, or the swing too old."""
    if leg["unbroken"] == 0:
        return False
    if index - leg["index"] > max_age:
        leg["unbroken"] = 0
        return False
    if d * (bar["close"] - leg["level"]) > 0.0:
        return True
    _pull_back(leg, d, bar, index)
    return False


@inner()
def _look_back(leg: np.void, ring: Records, index: int, span: int, d: int) -> None:
    """The most extreme price of the last `span` bars anew: the bar that had it is older by now."""
    mask = len(ring) - 1
    for j in range(index - span + 1, index + 1):
        price = ring[j & mask]["high"] if d > 0 else ring[j & mask]["low"]
        if j == index - span + 1 or d * (price - leg["extreme"]) >= 0.0:
            leg["extreme"] = price
            leg["extreme_index"] = j


@inner(inline=True)
def _follow(leg: np.void, ring: Records, bar: np.void, index: int, span: int, d: int) -> None:
    """Keep the most extreme price of the last `span` bars."""
    price = bar["high"] if d > 0 else bar["low"]
    if d * (price - leg["extreme"]) >= 0.0:
        leg["extreme"] = price
        leg["extreme_index"] = index
    elif index - leg["extreme_index"] >= span:
        _look_back(leg, ring, index, span, d)


@inner()
def _swing(
    structure: np.void, legs: Records, ring: Records, d: int, candidate: int, events: Records, n: int, ctx: Context
) -> tuple[int, bool]:
    """The bar `candidate` is a raw swing high or low: keep the alternation. Also tells whether it is confirmed."""
    mask = len(ring) - 1
    bar = ring[candidate & mask]
    if d > 0:
        level, leg, other = bar["high"], legs[0], legs[1]
    else:
        level, leg, other = bar["low"], legs[1], legs[0]
    kind = SWING
    if structure["last"] == d:
        if d * (level - leg["level"]) <= 0.0:
            return n, False
        kind = SWING_EXTEND
    else:
        leg["has_opposite"] = 1 if other["id"] != 0 else 0
        leg["opposite"] = other["level"]
    leg["id"] = identify(candidate, SWING_ID, d)
    leg["index"] = candidate
    leg["level"] = level
    leg["unbroken"] = 1
    leg["pullback"] = np.inf if d > 0 else -np.inf
    for j in range(candidate + 1, ctx[3] + 1):
        _pull_back(leg, d, ring[j & mask], j)
    structure["last"] = d
    return emit(events, n, ctx, kind, d, leg["id"], candidate, candidate, level, level), True


@inner(inline=True)
def commit(
    structure: np.void,
    edges: Records,
    legs: Records,
    zones: Records,
    blocks: Records,
    pools: Records,
    ring: Records,
    count: int,
    p: np.void,
    events: Records,
    n: int,
    context: Context,
) -> int:
    """Advance one series with the closed bar `context[3]`, already in its ring; `count` bars are there with it.

    What is alive is looked at first, then breaks with their blocks, swings with their pools, and new gaps: a pattern
    never meets the bar that made it. `events` must have the parameters' `room`. Returns the number of events so far.
    """
    index, length, max_age = context[3], p["swing_length"], p["max_age_bars"]
    mask = len(ring) - 1
    bar = ring[index & mask]
    if concerns(edges[ZONES], bar, index):
        n = age_zones(structure, edges[ZONES], zones, bar, max_age, events, n, context)
    if concerns(edges[BLOCKS], bar, index):
        n = age_blocks(structure, edges[BLOCKS], blocks, bar, max_age, events, n, context)
    if concerns(edges[POOLS], bar, index):
        n = age_pools(structure, edges[POOLS], pools, bar, p, events, n, context)
    if structure["trend"] != 0 and index - structure["trend_index"] > max_age:
        structure["trend"] = 0
    if structure["swept_low"] != 0 and index - structure["swept_low"] >= max_age:
        structure["swept_low"] = 0
    if structure["swept_high"] != 0 and index - structure["swept_high"] >= max_age:
        structure["swept_high"] = 0
    if _meets(legs[0], 1, bar, index, max_age):
        n = _break(structure, edges[BLOCKS], legs[0], blocks, 1, max_age, events, n, context)
    if _meets(legs[1], -1, bar, index, max_age):
        n = _break(structure, edges[BLOCKS], legs[1], blocks, -1, max_age, events, n, context)
    _follow(legs[0], ring, bar, index, 2 * length, 1)
    _follow(legs[1], ring, bar, index, 2 * length, -1)
    if count >= 2 * length:
        candidate = ring[(index - length) & mask]
        d = 0
        if candidate["high"] == legs[0]["extreme"]:  # of a bar that is both, the high counts
            d = 1
        elif candidate["low"] == legs[1]["extreme"]:
            d = -1
        if d != 0:
            n, confirmed = _swing(structure, legs, ring, d, index - length, events, n, context)
            if confirmed and count > p["atr_period"]:
                n = join_pool(structure, edges[POOLS], legs[0 if d > 0 else 1], pools, ring, p, events, n, context)
    if structure["taint"] > 0:
        structure["taint"] -= 1
    elif count > p["atr_period"] and count > 2:
        n = open_gap(structure, edges[ZONES], zones, ring, p, events, n, context)
    return n


@inner()
def taint(structure: np.void) -> None:
    """The bar about to be committed misses trades: no gap that contains it is a pattern."""
    structure["taint"] = _TAINT_BARS
