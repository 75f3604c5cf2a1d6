"""Kinds of smart-money events, phases of a zone, and the one function that writes an event."""

from __future__ import annotations

from aegis.kernels.compile import kernel
from aegis.kernels.state import Records

__all__ = ["KIND_NAMES", "Context", "emit"]  # and the kinds and phases below, which are plain constants

SWING, SWING_EXTEND, FVG, FVG_MERGE, FVG_TOUCHED, FVG_MID, FVG_FILLED, FVG_INVERTED, FVG_EXPIRED = range(1, 10)
BOS, CHOCH, BREAK = 10, 11, 12

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
}

#: How far price has come into a zone.
PHASE_FRESH, PHASE_TOUCHED, PHASE_MID, PHASE_FILLED = range(4)

#: Whose bar is committed: symbol, timeframe index, timeframe in ms, bar index, and 1 if events are written (else 0).
Context = tuple[int, int, int, int, int]


@kernel(bare=True)
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
