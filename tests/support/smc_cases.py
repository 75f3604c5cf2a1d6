"""Order blocks, pools, ranges and retracements by their definitions, slowly, from whole series."""

from __future__ import annotations

import math
from typing import Any

from tests.support.analysis_cases import breaks, swings

Rows = Any


def blocks(bars: Rows, length: int, max_age: int) -> list[tuple[int, int, int, float, float, list[tuple[int, str]]]]:
    """(known at bar, bar of the block, direction, top, bottom, life) of every order block, none pushed out."""
    found = []
    for t, p, d, _ in breaks(bars, length, max_age):
        side = "low" if d > 0 else "high"
        inside = range(p + 1, t)
        deepest = min(d * float(bars[side][j]) for j in inside)
        origin = max(j for j in inside if d * float(bars[side][j]) == deepest)
        top, bottom = float(bars["high"][origin]), float(bars["low"][origin])
        found.append((t, origin, d, top, bottom, _block_life(bars, t, d, top, bottom, max_age)))
    return found


def _block_life(bars: Rows, t: int, d: int, top: float, bottom: float, max_age: int) -> list[tuple[int, str]]:
    """Stages of one block: each the first bar, from that of the stage before on, that reaches it."""
    near, far = (top, bottom) if d > 0 else (bottom, top)
    last = min(t + max_age, len(bars) - 1)
    probe = [d * float(x) for x in bars["low" if d > 0 else "high"]]
    close = [d * float(x) for x in bars["close"]]

    def first(since: float, reached: list[bool]) -> float:
        return next((j for j in range(t + 1, last + 1) if j >= since and reached[j]), math.inf)

    touched = first(0, [x <= d * near for x in probe])
    mitigated = first(touched, [x < d * far for x in probe])
    breaker = first(mitigated, [x < d * far for x in close])
    dead = first(breaker, [x > d * near for x in close]) if breaker < math.inf else math.inf
    if dead == math.inf and last == t + max_age:
        dead = last
    named = ((touched, "TOUCHED"), (mitigated, "MITIGATED"), (breaker, "BREAKER"), (dead, "DEAD"))
    return [(int(j), f"BLOCK_{name}") for j, name in named if j < math.inf]


def mean_range(bars: Rows, t: int, n: int) -> float:
    ranges = [
        max(bars["high"][j], bars["close"][j - 1]) - min(bars["low"][j], bars["close"][j - 1])
        for j in range(t - n + 1, t + 1)
    ]
    return float(sum(ranges) / n)


def pools(
    bars: Rows, length: int, period: int, *, reach: float, sweep_bars: int, max_age: int
) -> list[tuple[int, str, int, float, float]]:
    """(bar, kind, direction, top, bottom) of every event of a pool, none pushed out; sorted."""
    groups: list[dict[str, Any]] = []
    for known, _, d, level, _ in swings(bars, length):
        if known < period:
            continue
        near = [
            g
            for g in groups
            if g["d"] == d and g["until"] > known and g["pierced"] > known and abs(level - g["anchor"]) <= g["reach"]
        ]
        if near:
            min(near, key=lambda g: (abs(level - g["anchor"]), g["opened"]))["members"].append((known, level))
            continue
        group = {"d": d, "anchor": level, "opened": known, "reach": reach * mean_range(bars, known, period)}
        groups.append({**group, "members": [(known, level)], **_pool_end(bars, known, d, level, sweep_bars, max_age)})
    found = []
    for g in groups:
        for k, (known, _) in enumerate(g["members"]):
            if k:
                found.append((known, "POOL" if k == 1 else "POOL_JOINED", g["d"], *_extremes(g["members"][: k + 1])))
        if len(g["members"]) > 1 and g["kind"]:
            found.append((g["until"], g["kind"], g["d"], *_extremes(g["members"])))
    return sorted(found)


def _extremes(members: list[tuple[int, float]]) -> tuple[float, float]:
    levels = [level for _, level in members]
    return max(levels), min(levels)


def _pool_end(bars: Rows, opened: int, d: int, outer: float, sweep_bars: int, max_age: int) -> dict[str, Any]:
    """When and how a pool ends whose first member is its extreme: a member further out would have pierced it."""
    old = opened + max_age
    for t in range(opened + 1, len(bars)):
        if t > old:
            break
        if d * float(bars["high" if d > 0 else "low"][t]) > d * outer:
            for u in range(t, min(t + sweep_bars, len(bars))):
                if d * float(bars["close"][u]) <= d * outer:
                    return {"until": u, "kind": "POOL_SWEPT", "pierced": t}
                if u == t + sweep_bars - 1:
                    return {"until": u, "kind": "POOL_BROKEN", "pierced": t}
                if u == old:
                    return {"until": u, "kind": "POOL_EXPIRED", "pierced": t}
            return {"until": math.inf, "kind": "", "pierced": t}
    if old < len(bars):
        return {"until": old, "kind": "POOL_EXPIRED", "pierced": math.inf}
    return {"until": math.inf, "kind": "", "pierced": math.inf}


def retracement(bars: Rows, length: int, t: int) -> tuple[int, float, float, float] | None:
    """(direction, current, deepest, position) in percent at the close of bar t; None where there is no leg."""
    known = [s for s in swings(bars, length) if s[0] <= t]
    if not known:
        return None
    _, i, d, end, _ = known[-1]
    before = [s for s in known if s[2] == -d]
    if not before or d * (end - before[-1][3]) <= 0:
        return None
    origin = before[-1][3]
    side = "low" if d > 0 else "high"
    part = [d * (end - float(x)) / (d * (end - origin)) * 100 for x in bars[side][i + 1 : t + 1]]
    low, high = min(end, origin), max(end, origin)
    return d, max(part[-1], 0.0), max(*part, 0.0), (float(bars["close"][t]) - low) / (high - low) * 100


def ranges(bars: Rows, spans: list[tuple[int, int]], step: int) -> list[tuple[Any, ...]]:
    """(start, high, low, previous start, previous high, previous low, broken high, broken low) at each bar."""
    found = []
    opens = [int(x) for x in bars["open_time"]]

    def extremes(first: int, last: int) -> tuple[float, float]:
        part = bars[(bars["open_time"] >= first) & (bars["open_time"] < last)]
        return (float(part["high"].max()), float(part["low"].min())) if len(part) else (math.nan, math.nan)

    seen = [(s, e) for s, e in spans if any(s <= opened < e for opened in opens)]
    for t, opened in enumerate(opens):
        now = next((s for s, e in spans if s <= opened < e), -1)
        high, low = extremes(now, opened + step) if now in opens[: t + 1] and now >= 0 else (math.nan, math.nan)
        past = [(s, e) for s, e in seen if e <= opened]
        last = past[-1] if past and past[-1][0] in opens else None
        top, bottom = extremes(*last) if last else (math.nan, math.nan)
        after = bars[: t + 1][bars["open_time"][: t + 1] >= last[1]] if last else bars[:0]
        broken = (bool((after["high"] > top).any()), bool((after["low"] < bottom).any()))
        found.append((now, high, low, last[0] if last else -1, top, bottom, *broken))
    return found
