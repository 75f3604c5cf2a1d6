"""Liquidity pools: swings at about one price, and how price takes them. Definitions are in `kernels/smc.py`."""

from __future__ import annotations

import numpy as np

from aegis.kernels.compile import inner
from aegis.kernels.smc_events import (
    POOL,
    POOL_BROKEN,
    POOL_EXPIRED,
    POOL_ID,
    POOL_JOINED,
    POOL_SWEPT,
    Context,
    emit,
    identify,
)
from aegis.kernels.smc_lists import drop, reached, unwatch, watch
from aegis.kernels.smc_zones import mean_range
from aegis.kernels.state import Records

__all__ = ["age_pools", "join_pool"]


@inner()
def _tell(events: Records, n: int, context: Context, kind: int, pool: np.void) -> int:
    """An event of a pool; a single swing is none, and its end is not told."""
    if pool["members"] < 2:
        return n
    formed = pool["formed"]
    return emit(
        events, n, context, kind, pool["direction"], pool["id"], pool["origin"], formed, pool["top"], pool["bottom"]
    )


@inner()
def _end(pool: np.void, bar: np.void, p: np.void, index: int) -> int:
    """The kind of event that ends a pool at this bar, 0 if it lives on."""
    d = pool["direction"]
    outer, probe = (pool["top"], bar["high"]) if d > 0 else (pool["bottom"], bar["low"])
    if pool["pierced"] < 0 and d * (probe - outer) > 0.0:
        pool["pierced"] = index
    if pool["pierced"] >= 0:
        if d * (bar["close"] - outer) <= 0.0:
            return POOL_SWEPT
        if index - pool["pierced"] + 1 >= p["sweep_bars"]:
            return POOL_BROKEN
    return POOL_EXPIRED if index - pool["opened"] >= p["max_age_bars"] else 0


@inner()
def _watch_all(edges: np.void, pools: Records, count: int, max_age: int) -> None:
    """A pool waits for a wick beyond it; once it is pierced, every bar counts."""
    unwatch(edges)
    for k in range(count):
        pool = pools[k]
        d = pool["direction"]
        until = pool["opened"] + max_age if pool["pierced"] < 0 else pool["pierced"]
        watch(edges, -d, pool["top"] if d > 0 else pool["bottom"], False, until)


@inner()
def age_pools(
    structure: np.void, edges: np.void, pools: Records, bar: np.void, p: np.void, events: Records, n: int,
    context: Context,
) -> int:  # fmt: skip
    """Sweeps, breaks and the old age of every pool known before this bar, which concerns one at least."""
    index, max_age = context[3], p["max_age_bars"]
    k = 0
    while k < structure["pools"]:
        d = pools[k]["direction"]
        quiet = pools[k]["pierced"] < 0 and index - pools[k]["opened"] < max_age
        if quiet and not reached(bar, -d, pools[k]["top"] if d > 0 else pools[k]["bottom"], False):
            k += 1
            continue
        kind = _end(pools[k], bar, p, index)
        if kind == 0:
            k += 1
            continue
        n = _tell(events, n, context, kind, pools[k])
        if kind == POOL_SWEPT and pools[k]["members"] > 1:
            if pools[k]["direction"] > 0:
                structure["swept_high"] = index
            else:
                structure["swept_low"] = index
        structure["pools"] = drop(pools, structure["pools"], k)
    _watch_all(edges, pools, structure["pools"], max_age)
    return n


@inner()
def _nearest(pools: Records, count: int, level: float, d: int) -> int:
    """The pool that a swing of this level belongs to, the oldest of equally near ones; -1 if there is none."""
    best = -1
    for k in range(count):
        pool = pools[k]
        distance = abs(level - pool["anchor"])
        if pool["direction"] != d or pool["pierced"] >= 0 or distance > pool["tolerance"]:
            continue
        if best < 0 or distance < abs(level - pools[best]["anchor"]):
            best = k
    return best


@inner()
def join_pool(
    structure: np.void, edges: np.void, leg: np.void, pools: Records, ring: Records, p: np.void, events: Records,
    n: int, ctx: Context,
) -> int:  # fmt: skip
    """A swing has just been confirmed: it joins a pool, or is the first of one that may form."""
    index, level, room, max_age = ctx[3], leg["level"], len(pools) - 1, p["max_age_bars"]
    if room == 0:
        return n
    d, count = structure["last"], structure["pools"]
    k = _nearest(pools, count, level, d)
    if k >= 0:
        pool = pools[k]
        pool["members"] += 1
        pool["formed"] = index
        pool["top"] = max(pool["top"], level)
        pool["bottom"] = min(pool["bottom"], level)
        _watch_all(edges, pools, count, max_age)
        return _tell(events, n, ctx, POOL if pool["members"] == 2 else POOL_JOINED, pool)
    if count == room:
        n = _tell(events, n, ctx, POOL_EXPIRED, pools[0])
        count = drop(pools, count, 0)
        _watch_all(edges, pools, count, max_age)
    pool = pools[count]
    pool["id"] = identify(leg["index"], POOL_ID, d)
    pool["direction"] = d
    pool["origin"] = leg["index"]
    pool["opened"] = index
    pool["formed"] = index
    pool["members"] = 1
    pool["pierced"] = -1
    pool["top"] = level
    pool["bottom"] = level
    pool["anchor"] = level
    pool["tolerance"] = p["pool_atr"] * mean_range(ring, index, p["atr_period"])
    structure["pools"] = count + 1
    watch(edges, -d, level, False, index + max_age)
    return n
