"""What is alive of a series - gaps, order blocks, pools - in bounded lists, and which bars concern a list at all.

The rows of a list are packed in order of creation. Most bars reach none of them: `EDGES` tells so without a look at the
rows. Edges follow from the rows alone, so that equal lists have equal edges. What is asked of every row is computed
without branches: which row a bar reaches, no processor can guess, and a wrong guess costs as much as several rows.
"""

from __future__ import annotations

import numpy as np

from aegis.kernels.compile import kernel
from aegis.kernels.state import Records

__all__ = ["UNWATCHED", "Edges", "concerns", "forget", "keep", "reached", "shift", "watch", "widen"]

#: EDGES as numbers: floor, ceiling, under, over, until.
Edges = tuple[float, float, float, float, int]

#: The edges of an empty list.
UNWATCHED: Edges = (-np.inf, np.inf, -np.inf, np.inf, np.iinfo(np.int64).max)


@kernel(bare=True, inline=True)
def concerns(edges: np.void, bar: np.void, index: int) -> bool:
    """Whether the bar `index` may change anything in a list."""
    return bool(
        (bar["low"] <= edges["floor"])
        | (bar["high"] >= edges["ceiling"])
        | (bar["close"] <= edges["under"])
        | (bar["close"] >= edges["over"])
        | (index >= edges["until"])
    )


@kernel(bare=True, inline=True)
def widen(edges: Edges, d: int, level: float, at_close: bool, until: int) -> Edges:
    """With a row that waits for a price (a close, if `at_close`) to come down to `level` (d > 0) or up to it (d < 0).
    """
    floor, ceiling, under, over, soonest = edges
    down, up = (level, np.inf) if d > 0 else (-np.inf, level)
    return (
        max(floor, -np.inf if at_close else down),
        min(ceiling, np.inf if at_close else up),
        max(under, down if at_close else -np.inf),
        min(over, up if at_close else np.inf),
        min(soonest, until),
    )


@kernel(bare=True, inline=True)
def keep(edges: np.void, found: Edges) -> None:
    """Remember the edges of a list that has been looked through."""
    edges["floor"], edges["ceiling"], edges["under"], edges["over"], edges["until"] = found


@kernel(bare=True)
def watch(edges: np.void, d: int, level: float, at_close: bool, until: int) -> None:
    """One more row, as in `widen`."""
    before = edges["floor"], edges["ceiling"], edges["under"], edges["over"], edges["until"]
    keep(edges, widen(before, d, level, at_close, until))


@kernel(bare=True, inline=True)
def reached(bar: np.void, d: int, level: float, at_close: bool) -> bool:
    """Whether a bar has what `widen` waits for."""
    price = bar["low"] if d > 0 else bar["high"]
    price = bar["close"] if at_close else price
    return bool(d * (price - level) <= 0.0)


@kernel(bare=True)
def forget(rows: Records, left: int, count: int) -> None:
    """Blank the rows from `left` to `count`, which the last one in memory always is."""
    for k in range(left, count):
        rows[k] = rows[-1]


@kernel(bare=True)
def shift(rows: Records, count: int) -> int:
    """Remove the oldest of `count` rows. Returns how many are left."""
    for k in range(count):
        rows[k] = rows[k + 1]
    return count - 1
