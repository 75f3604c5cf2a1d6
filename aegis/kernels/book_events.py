"""Rows of the simulated exchange's market: what a source of prices says, and what everybody sees."""

from __future__ import annotations

import numpy as np

__all__ = ["EVENT", "MARK", "PUBLIC", "QUOTE", "TRADE"]

QUOTE, TRADE, MARK = 1, 2, 3

_EVENT_FIELDS = [
    ("time_ns", np.int64),
    ("symbol", np.int32),
    ("kind", np.int16),
    ("side", np.int16),  # TRADE: aggressor, +1 buy, -1 sell
    ("bid", np.int64),  # QUOTE
    ("ask", np.int64),
    ("bid_qty", np.int64),
    ("ask_qty", np.int64),
    ("price", np.int64),  # TRADE
    ("qty", np.int64),
    ("order", np.int64),  # TRADE: the aggressive order; its prints share it
    ("mark_e8", np.int64),  # MARK
    ("index_e8", np.int64),
]
#: What a source says.
EVENT = np.dtype(_EVENT_FIELDS, align=True)
#: What everybody sees: an applied event with the ids that the exchange gave it.
PUBLIC = np.dtype(
    [
        *_EVENT_FIELDS,
        ("average_e8", np.int64),  # MARK: moving average of the mark
        ("funding_e8", np.int64),  # MARK: funding rate
        ("next_funding_ms", np.int64),
        ("id", np.int64),  # QUOTE: update id; TRADE: trade id
        ("agg_id", np.int64),  # TRADE: prints of one order at one price share it
    ],
    align=True,
)
