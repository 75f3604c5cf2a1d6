"""Armed price levels: checked against every tick in the same compiled pass that decodes it.

A buy fires when the seen price is at or below its level, a sell when it is at or above. The price seen is the ask for a
buy and the bid for a sell unless another source is named. A level fires once and disarms itself. Every arming has its
own generation: a hit still unread when its level is disarmed or re-armed is stale and is dropped, and counted, when the
hits are read.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aegis.kernels.compile import inner, kernel
from aegis.kernels.layout import HIT
from aegis.kernels.market import (
    GAP_LAST,
    GAP_MARK,
    GAP_QUOTE,
    GENERATION,
    HIT_HEAD,
    HIT_TAIL,
    LEVELS_EXPIRED,
    LEVELS_FIRED,
    STALE_HITS,
    Table,
    example_table,
)

__all__ = [
    "ASK", "BID", "BUY", "DEFAULT", "FULL", "LAST", "MARK", "NEVER_NS", "PASSED", "REFUSED", "RING_FULL", "SELL", "arm",
    "check",
    "disarm", "disarm_all", "pending_hits", "ring_room", "take_hits",
]  # fmt: skip

BUY = 1
SELL = -1

# Which price is watched.
DEFAULT = 0  # the ask for a buy, the bid for a sell
BID = 1
ASK = 2
LAST = 3
MARK = 4

NEVER_NS = 2**63 - 1

# What `arm` answers instead of a slot; nothing was changed.
FULL = -1  # eight levels are armed or have unread hits
PASSED = -2  # the price has reached the level already and `fire_if_passed` is false
RING_FULL = -3  # it would fire at once, but the hit ring has no room
REFUSED = -4  # no such symbol, side or source, a price that is none, or already expired

# States of a slot.
_FREE = 0
_ARMED = 1
_FIRED = 2


@inner(inline=True)
def _count(table: Table, symbol: int, source: int, change: int) -> None:
    state = table.symbols[symbol]
    if source == LAST:
        state["armed_last"] += change
    elif source == MARK:
        state["armed_mark"] += change
    else:
        state["armed_quote"] += change


@inner(inline=True)
def _reached(side: int, level: float, price: float) -> bool:
    # A price of 0 means an empty side of the book, NaN means never heard: neither reaches anything.
    return price > 0.0 and (price <= level if side > 0 else price >= level)


@inner(inline=True)
def _gap_bit(source: int) -> int:
    if source == LAST:
        return GAP_LAST
    return GAP_MARK if source == MARK else GAP_QUOTE


@inner(inline=True)
def ring_room(table: Table) -> int:
    """Hits that the ring can still take."""
    return int(table.hits.shape[0] - (table.scalars[HIT_TAIL] - table.scalars[HIT_HEAD]))


@inner()
def _fire(table: Table, symbol: int, slot: int, price: float, event_ms: int, after_gap: int) -> None:
    level = table.levels[symbol, slot]
    level["state"] = _FIRED
    hit = table.hits[table.scalars[HIT_TAIL] % table.hits.shape[0]]
    hit["symbol"] = symbol
    hit["slot"] = slot
    hit["id"] = level["id"]
    hit["generation"] = level["generation"]
    hit["side"] = level["side"]
    hit["source"] = level["source"]
    hit["level"] = level["price"]
    hit["price"] = price
    hit["event_ms"] = event_ms
    hit["first_after_gap"] = after_gap
    table.scalars[HIT_TAIL] += 1
    table.counters[LEVELS_FIRED] += 1


@inner()
def check(table: Table, symbol: int, source: int, price: float, event_ms: int, now_ns: int) -> int:
    """Fire every armed level of `source` that `price` reaches. The caller has made sure that the ring has room.

    Returns:
        How many fired.
    """
    fired = 0
    after_gap = 1 if np.int64(table.symbols[symbol]["gap"]) & _gap_bit(source) else 0
    for slot in range(table.levels.shape[1]):
        level = table.levels[symbol, slot]
        if level["state"] != _ARMED or level["source"] != source:
            continue
        if now_ns >= level["expires_ns"]:
            level["state"] = _FREE
            table.counters[LEVELS_EXPIRED] += 1
            _count(table, symbol, source, -1)
        elif _reached(level["side"], level["price"], price):
            _fire(table, symbol, slot, price, event_ms, after_gap)
            _count(table, symbol, source, -1)
            fired += 1
    return fired


@inner()
def _slot_for(table: Table, symbol: int, identity: int, now_ns: int) -> int:
    """The slot of this id, else a free or an expired one, else -1."""
    found = -1
    for slot in range(table.levels.shape[1]):
        level = table.levels[symbol, slot]
        if level["state"] != _FREE and level["id"] == identity:
            return slot
        if found < 0 and (level["state"] == _FREE or (level["state"] == _ARMED and now_ns >= level["expires_ns"])):
            found = slot
    return found


@inner()
def _seen(table: Table, symbol: int, source: int) -> tuple[float, int]:
    """The newest price of a source and its event time."""
    state = table.symbols[symbol]
    if source == BID:
        return state["bid"], state["quote_ms"]
    if source == ASK:
        return state["ask"], state["quote_ms"]
    if source == LAST:
        return state["last"], state["last_ms"]
    return state["mark"], state["mark_ms"]


@kernel(example=lambda: (example_table(), 0, BUY, DEFAULT, 1.0, 1, NEVER_NS, False, 0), bare=True)
def arm(
    table: Table,
    symbol: int,
    side: int,
    source: int,
    price: float,
    identity: int,
    expires_ns: int,
    fire_if_passed: bool,
    now_ns: int,
) -> int:
    """Arm a level; an id that is already there is replaced, under a new generation.

    A level that the newest price has reached already fires at once (`fire_if_passed`; read it with `take_hits`) or is
    refused. While the symbol is suspended or its source waits for the first tick after a gap, the newest price is not
    trusted: the level is armed and the next tick decides.

    Returns:
        The slot, or FULL, PASSED, RING_FULL, REFUSED.
    """
    if symbol < 0 or symbol >= table.symbols.shape[0] or (side != BUY and side != SELL):
        return REFUSED
    if source < DEFAULT or source > MARK or not (0.0 < price < np.inf) or expires_ns <= now_ns:
        return REFUSED
    if source == DEFAULT:
        source = ASK if side > 0 else BID
    slot = _slot_for(table, symbol, identity, now_ns)
    if slot < 0:
        return FULL
    state = table.symbols[symbol]
    seen, seen_ms = _seen(table, symbol, source)
    trusted = state["suspended"] == 0 and (np.int64(state["gap"]) & _gap_bit(source)) == 0
    passed = trusted and _reached(side, price, seen)
    if passed and not fire_if_passed:
        return PASSED
    if passed and ring_room(table) < 1:
        return RING_FULL
    level = table.levels[symbol, slot]
    if level["state"] == _ARMED:
        _count(table, symbol, level["source"], -1)
        if level["id"] != identity:
            table.counters[LEVELS_EXPIRED] += 1
    table.scalars[GENERATION] += 1
    level["price"] = price
    level["id"] = identity
    level["generation"] = table.scalars[GENERATION]
    level["expires_ns"] = expires_ns
    level["side"] = side
    level["source"] = source
    level["state"] = _ARMED
    if passed:
        _fire(table, symbol, slot, seen, seen_ms, 0)
    else:
        _count(table, symbol, source, 1)
    return slot


@kernel(example=lambda: (example_table(), 0, 1), bare=True)
def disarm(table: Table, symbol: int, identity: int) -> int:
    """Disarm a level; a hit of it that is still unread becomes stale.

    Returns:
        1 where there was one, else 0.
    """
    for slot in range(table.levels.shape[1]):
        level = table.levels[symbol, slot]
        if level["state"] != _FREE and level["id"] == identity:
            if level["state"] == _ARMED:
                _count(table, symbol, level["source"], -1)
            level["state"] = _FREE
            return 1
    return 0


@kernel(example=lambda: (example_table(), 0), bare=True)
def disarm_all(table: Table, symbol: int) -> int:
    """Disarm every level of a symbol; returns how many there were."""
    found = 0
    for slot in range(table.levels.shape[1]):
        level = table.levels[symbol, slot]
        if level["state"] != _FREE:
            if level["state"] == _ARMED:
                _count(table, symbol, level["source"], -1)
            level["state"] = _FREE
            found += 1
    return found


def pending_hits(table: Table) -> int:
    """Hits in the ring that nobody has read, stale ones included."""
    return int(table.scalars[HIT_TAIL] - table.scalars[HIT_HEAD])


@kernel(example=lambda: (example_table(), np.zeros(1, HIT)), bare=True)
def take_hits(table: Table, out: npt.NDArray[np.void]) -> int:
    """Read hits in the order they fired, at most `len(out)`, dropping and counting the stale ones.

    A reader that disarms other levels because of a hit takes one at a time, so that it never sees those.

    Returns:
        How many were written to `out`.
    """
    written = 0
    while written < out.shape[0] and table.scalars[HIT_HEAD] < table.scalars[HIT_TAIL]:
        hit = table.hits[table.scalars[HIT_HEAD] % table.hits.shape[0]]
        table.scalars[HIT_HEAD] += 1
        level = table.levels[hit["symbol"], hit["slot"]]
        if level["state"] == _FIRED and level["generation"] == hit["generation"]:
            level["state"] = _FREE
            out[written] = hit
            written += 1
        else:
            table.counters[STALE_HITS] += 1
    return written
