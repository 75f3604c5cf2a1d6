"""Kinds of smart-money events, phases of a zone, and the one function that writes an event."""

from __future__ import annotations

from aegis.kernels.compile import inner
from aegis.kernels.state import Records

__all__ = ["KIND_NAMES", "Context", "emit", "identify"]  # and the kinds and phases below, which are plain constants

SWING, SWING_EXTEND, FVG, FVG_MERGE, FVG_TOUCHED, FVG_MID, FVG_FILLED, FVG_INVERTED, FVG_EXPIRED = range(1, 10)
BOS, CHOCH, BREAK = 10, 11, 12
BLOCK, BLOCK_TOUCHED, BLOCK_MITIGATED, BLOCK_BREAKER, BLOCK_DEAD = range(13, 18)
POOL, POOL_JOINED, POOL_SWEPT, POOL_BROKEN, POOL_EXPIRED = range(18, 23)
RANGE, RANGE_BROKEN = 23, 24

KIND_NAMES = {
    SWING: "SWING",
    SWING_EXTEND: "SWING_EXTEND",
    FVG: "FVG",
    FVG_MERGE: "FVG_MERGE",
    FVG_TOUCHED: "FVG_TOUCHED",
    FVG_MID: "FVG_MID",
    FVG_FILLED: "FVG_FILLED",
    FVG_INVERTED: "FVG_INVERTED",
    FVG_EXPIRED: "FVG_EXPIRED",
    BOS: "BOS",
    CHOCH: "CHOCH",
    BREAK: "BREAK",
    BLOCK: "BLOCK",
    BLOCK_TOUCHED: "BLOCK_TOUCHED",
    BLOCK_MITIGATED: "BLOCK_MITIGATED",
    BLOCK_BREAKER: "BLOCK_BREAKER",
    BLOCK_DEAD: "BLOCK_DEAD",
    POOL: "POOL",
    POOL_JOINED: "POOL_JOINED",
    POOL_SWEPT: "POOL_SWEPT",
    POOL_BROKEN: "POOL_BROKEN",
    POOL_EXPIRED: "POOL_EXPIRED",
    RANGE: "RANGE",
    RANGE_BROKEN: "RANGE_BROKEN",
}

#: How far price has come into a zone.
PHASE_FRESH, PHASE_TOUCHED, PHASE_MID, PHASE_FILLED = range(4)

#: What has become of an order block.
BLOCK_IS_FRESH, BLOCK_IS_TOUCHED, BLOCK_IS_MITIGATED, BLOCK_IS_BREAKER = range(4)

#: Codes of what has an id, each twice: +0 for what is bullish (or a high), +1 for what is bearish (or a low).
SWING_ID, GAP_ID, BLOCK_ID, POOL_ID, RANGE_ID = 0, 2, 4, 6, 8

#: Whose bar is committed: symbol, timeframe index, timeframe in ms, bar index, and 1 if events are written (else 0).
Context = tuple[int, int, int, int, int]


@inner()
def identify(index: int, code: int, direction: int) -> int:
    """The id of what belongs to bar `index`: the same whatever bar the stream began with."""
    return index * 16 + code + (0 if direction > 0 else 1)


@inner()
def emit(
    events: Records,
    n: int,
    context: Context,
    kind: int,
    direction: int,
    identity: int,
    origin: int,
    formed: int,
    top: float,
    bottom: float,
) -> int:
    """Write one event; `origin` and `formed` are bar indices. Returns the number of events written so far."""
    symbol, timeframe, ms, index, writes = context
    if writes == 0:
        return n
    event = events[n]
    event["symbol"] = symbol
    event["timeframe"] = timeframe
    event["kind"] = kind
    event["direction"] = direction
    event["id"] = identity
    event["origin"] = origin * ms
    event["formed_at"] = (formed + 1) * ms
    event["known_at"] = (index + 1) * ms
    event["top"] = top
    event["bottom"] = bottom
    return n + 1
