"""What is alive of a series - gaps, order blocks, pools - in bounded lists, and which bars concern a list at all.

The rows of a list are packed in order of creation. Most bars reach none of them: `EDGES` tells so without a look at the
rows, which are far away in memory. Edges follow from the rows alone, so that equal lists have equal edges.
"""

from __future__ import annotations

import numpy as np

from aegis.kernels.compile import inner
from aegis.kernels.state import Records

__all__ = ["concerns", "drop", "reached", "unwatch", "watch"]

_NEVER = np.iinfo(np.int64).max


@inner(inline=True)
def concerns(edges: np.void, bar: np.void, index: int) -> bool:
    """Whether the bar `index` may change anything in a list."""
    return bool(
        bar["low"] <= edges["floor"]
        or bar["high"] >= edges["ceiling"]
        or bar["close"] <= edges["under"]
        or bar["close"] >= edges["over"]
        or index >= edges["until"]
    )


@inner()
def unwatch(edges: np.void) -> None:
    """The edges of an empty list."""
    edges["floor"] = -np.inf
    edges["ceiling"] = np.inf
    edges["under"] = -np.inf
    edges["over"] = np.inf
    edges["until"] = _NEVER


@inner()
def watch(edges: np.void, d: int, level: float, at_close: bool, until: int) -> None:
    """A row waits for a price (a close, if `at_close`) that comes down to `level` (d > 0) or up to it (d < 0)."""
    if d > 0 and at_close:
        edges["under"] = max(edges["under"], level)
    elif d > 0:
        edges["floor"] = max(edges["floor"], level)
    elif at_close:
        edges["over"] = min(edges["over"], level)
    else:
        edges["ceiling"] = min(edges["ceiling"], level)
    edges["until"] = min(edges["until"], until)


@inner(inline=True)
def reached(bar: np.void, d: int, level: float, at_close: bool) -> bool:
    """Whether a bar has what `watch` waits for. Without branches: the rows of a list come from memory side by side."""
    price = bar["low"] if d > 0 else bar["high"]
    price = bar["close"] if at_close else price
    return bool(d * (price - level) <= 0.0)


@inner()
def drop(rows: Records, count: int, k: int) -> int:
    """Remove row k of `count`; the others keep their order, and what follows them is blank. Returns how many are left.
    """
    for j in range(k, count):
        rows[j] = rows[j + 1]
    return count - 1
