"""Array layouts that several kernels and the engine share. Times are venue milliseconds unless a name says else."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BAR", "EVENT", "HIT", "LEVELS_PER_SYMBOL", "ROW", "exactly"]

LEVELS_PER_SYMBOL = 8

#: One conflated row: trades of one symbol inside one base bar since the last batch, and the newest quote.
ROW = np.dtype(
    [
        ("symbol", np.int32),
        ("trades", np.int32),  # 0: the row carries a quote only; then bar and the price columns are meaningless
        ("bar", np.int64),  # open time of the base bar, ms
        ("open", np.float64),
        ("high", np.float64),
        ("low", np.float64),
        ("close", np.float64),
        ("volume", np.int64),  # lots of 10**-qty_decimals of the symbol: sums are exact in any order
        ("taker_buy", np.int64),  # lots
        ("first_id", np.int64),
        ("last_id", np.int64),
        ("bid", np.float64),
        ("bid_qty", np.float64),
        ("ask", np.float64),
        ("ask_qty", np.float64),
        ("mark", np.float64),
    ],
    align=True,
)

#: A closed bar of any timeframe.
BAR = np.dtype(
    [
        ("symbol", np.int32),
        ("timeframe", np.int32),  # index into the configured timeframes; 0 is the base
        ("open_time", np.int64),
        ("open", np.float64),
        ("high", np.float64),
        ("low", np.float64),
        ("close", np.float64),
        ("volume", np.int64),  # lots
        ("taker_buy", np.int64),  # lots
        ("trades", np.int64),
    ],
    align=True,
)

#: An SMC event. A consumer acts no earlier than `known_at`; `origin` is for drawing only.
EVENT = np.dtype(
    [
        ("symbol", np.int32),
        ("timeframe", np.int32),
        ("kind", np.int32),  # constants of kernels/smc.py
        ("direction", np.int32),  # +1 bullish, -1 bearish
        ("id", np.int64),  # of the zone or swing, unique within (symbol, timeframe)
        ("origin", np.int64),  # open time of the bar it is drawn at
        ("formed_at", np.int64),  # close time of the bar that formed it
        ("known_at", np.int64),  # close time of the bar that confirmed it
        ("top", np.float64),
        ("bottom", np.float64),
    ],
    align=True,
)

#: An armed level that a tick has reached.
HIT = np.dtype(
    [
        ("symbol", np.int32),
        ("slot", np.int32),
        ("id", np.int64),
        ("generation", np.int64),
        ("side", np.int32),  # +1 buy, -1 sell
        ("source", np.int32),  # constants of kernels/levels.py
        ("level", np.float64),
        ("price", np.float64),  # what was seen
        ("event_ms", np.int64),  # venue time of the tick
        ("first_after_gap", np.int32),  # 1: the symbol's first tick after a gap
    ],
    align=True,
)


def exactly(rows: npt.NDArray[Any], dtype: np.dtype[np.void]) -> npt.NDArray[np.void]:
    """Rows that came from a file, with the very dtype; no copy. Raises ValueError where they have another one.

    NumPy's own format forgets that a dtype is aligned. To NumPy the two are equal, to compiled code they are not.
    """
    if rows.dtype != dtype:
        raise ValueError(f"rows of {dtype.names} are needed, not of {rows.dtype}")
    return rows.view(dtype)
