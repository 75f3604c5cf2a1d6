"""One closed bar of one series: swings and breaks of structure, and the order in which all patterns are looked at.

Definitions are in `kernels/smc.py`.
"""

from __future__ import annotations

import numpy as np

from aegis.kernels.compile import kernel
from aegis.kernels.smc_blocks import age_blocks, open_block
from aegis.kernels.smc_events import BOS, BREAK, CHOCH, SWING, SWING_EXTEND, SWING_ID, Context, emit, identify
from aegis.kernels.smc_pools import age_pools, join_pool
from aegis.kernels.smc_zones import age_zones, open_gap
from aegis.kernels.state import Records

__all__ = ["commit", "taint"]

#: Bars around an incomplete one in which no gap is taken for a pattern.
_TAINT_BARS = 3


@kernel(bare=True)
def _pull_back(leg: np.void, d: int, bar: np.void, index: int) -> None:
    """Remember the deepest bar since the swing, the last of equal ones."""
    near, far = (bar["low"], bar["high"]) if d > 0 else (bar["high"], bar["low"])
    if d * (near - leg["pullback"]) <= 0.0:
        leg["pullback"] = near
        leg["pullback_index"] = index
        leg["pullback_far"] = far


@kernel(bare=True)
def _break(
    structure: np.void,
    leg: np.void,
    blocks: Records,
    d: int,
    bar: np.void,
    max_age: int,
    events: Records,
    n: int,
    context: Context,
) -> int:
    """Has this close gone beyond the last swing of one side? Else remember the deepest pullback."""
    if leg["unbroken"] == 0:
        return n
    index = context[3]
    if index - leg["index"] > max_age:
        leg["unbroken"] = 0
        return n
    if d * (bar["close"] - leg["level"]) <= 0.0:
        _pull_back(leg, d, bar, index)
        return n
    leg["unbroken"] = 0
    kind = BREAK
    if leg["has_opposite"] == 1:
        kind = BOS if d * (leg["pullback"] - leg["opposite"]) > 0.0 else CHOCH
        structure["trend"] = d
        structure["trend_index"] = index
    n = emit(events, n, context, kind, d, leg["id"], leg["index"], index, leg["level"], leg["level"])
    return open_block(structure, leg, blocks, d, events, n, context)


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
    leg["id"] = identify(candidate, SWING_ID, d)
    leg["index"] = candidate
    leg["level"] = level
    leg["unbroken"] = 1
    leg["pullback"] = np.inf if d > 0 else -np.inf
    for j in range(candidate + 1, index + 1):
        _pull_back(leg, d, ring[j & mask], j)
    structure["last"] = d
    return emit(events, n, ctx, kind, d, leg["id"], candidate, candidate, level, level)


@kernel(bare=True)
def commit(
    structure: np.void,
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
    index = context[3]
    bar = ring[index & (len(ring) - 1)]
    max_age = p["max_age_bars"]
    n = age_zones(structure, zones, bar, max_age, events, n, context)
    n = age_blocks(structure, blocks, bar, max_age, events, n, context)
    n = age_pools(structure, pools, bar, p, events, n, context)
    if structure["trend"] != 0 and index - structure["trend_index"] > max_age:
        structure["trend"] = 0
    n = _break(structure, legs[0], blocks, 1, bar, max_age, events, n, context)
    n = _break(structure, legs[1], blocks, -1, bar, max_age, events, n, context)
    if count >= 2 * p["swing_length"]:
        n = _swing(structure, legs, ring, p["swing_length"], events, n, context)
        leg = legs[0] if structure["last"] > 0 else legs[1]
        if structure["last"] != 0 and leg["index"] == index - p["swing_length"] and count > p["atr_period"]:
            n = join_pool(structure, leg, pools, ring, p, events, n, context)
    if structure["taint"] > 0:
        structure["taint"] -= 1
    elif count > p["atr_period"] and count > 2:
        n = open_gap(structure, zones, ring, p, events, n, context)
    return n


@kernel(bare=True)
def taint(structure: np.void) -> None:
    """The bar about to be committed misses trades: no gap that contains it is a pattern."""
    structure["taint"] = _TAINT_BARS
