"""Public books of the simulated exchange: applying market events, our own takings, touched bounds.

What the source says about a symbol (its touch) and what is displayed are two things: sizes that our orders have taken
are subtracted from the source's book and come back linearly over `REFILL_MS`. So the source's prices never depend on
our trading, yet our trading moves what everybody sees.

Prices are int64 ticks, quantities int64 steps, mark and index int64 in 1e-8. Side index 0 is bids, 1 is asks.
"""

from __future__ import annotations

from math import isqrt
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from aegis.kernels.book_events import EVENT, MARK, PUBLIC, QUOTE, TRADE
from aegis.kernels.compile import inner, kernel

__all__ = [
    "DEPTH_SLOTS", "EVENT", "MARK", "NEVER", "PUBLIC", "QUOTE", "STATE", "TRADE", "deepen", "first_touch", "size_at",
    "step", "take",
]  # fmt: skip

#: Columns of the int64 state of a symbol.
STATE = (
    "source_bid", "source_ask", "source_bid_qty", "source_ask_qty", "bid", "ask", "last", "mark_e8", "index_e8",
    "average_e8", "funding_e8", "next_funding_ms", "premium", "update_id", "trade_id", "agg_id", "agg_order",
    "agg_price", "low", "high", "mark_low_e8", "mark_high_e8", "unit", "takings",
)  # fmt: skip
(SOURCE_BID, SOURCE_ASK, SOURCE_BID_QTY, SOURCE_ASK_QTY, BID, ASK, LAST, MARK_E8, INDEX_E8, AVERAGE_E8, FUNDING_E8,
 NEXT_FUNDING_MS, PREMIUM, UPDATE_ID, TRADE_ID, AGG_ID, AGG_ORDER, AGG_PRICE, LOW, HIGH, MARK_LOW_E8, MARK_HIGH_E8,
 UNIT, TAKINGS) = range(len(STATE))  # fmt: skip

#: A bound that nothing reaches.
NEVER = 2**62
#: How many takings a side of a book remembers; the smallest is forgotten when there are more.
DEPTH_SLOTS = 40
REFILL_MS = 4_000
FUNDING_INTERVAL_MS = 8 * 3_600_000
_NS_PER_MS = 1_000_000
_FRACTION = 65_536  # the average premium is kept in 2**-16 of 1e-8
_GROWTH = np.array([1024 + 36 * isqrt(100 * k) for k in range(64)], dtype=np.int64)
_NOISE = np.array([int(1024 * 2.0 ** NormalDist().inv_cdf((k + 0.5) / 64)) for k in range(64)], dtype=np.int64)

Int64 = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]


@inner()
def _missing(taken: Int64, symbol: int, side: int, slot: int, now_ms: int) -> int:
    """Steps of one taking that have not come back."""
    age = max(0, now_ms - taken[symbol, side, slot, 2])
    return int(taken[symbol, side, slot, 1] * max(0, REFILL_MS - age) // REFILL_MS)


@inner()
def _remaining(taken: Int64, symbol: int, side: int, price: int, now_ms: int) -> int:
    """Steps at `price` that were taken and have not come back."""
    total = 0
    for slot in range(taken.shape[2]):
        if taken[symbol, side, slot, 0] == price and taken[symbol, side, slot, 1] > 0:
            total += _missing(taken, symbol, side, slot, now_ms)
    return total


@inner()
def _usual_at(state: Int64, symbol: int, side: int, price: int) -> int:
    """Steps at a price where nothing of ours is missing."""
    if side == 0:
        distance = state[symbol, SOURCE_BID] - price
        size = state[symbol, SOURCE_BID_QTY]
    else:
        distance = price - state[symbol, SOURCE_ASK]
        size = state[symbol, SOURCE_ASK_QTY]
    if distance < 0 or price < 1:
        return 0
    if distance > 0:
        mixed = ((price & 0xFFFFF) * 40503 + symbol * 7919 + side * 104729) & 0x7FFFFFFF
        mixed = (mixed * 40503) & 0x7FFFFFFF
        noise = _NOISE[(mixed ^ (mixed >> 11)) & 63]
        size = max(1, (state[symbol, UNIT] * _GROWTH[min(distance, 63)] >> 10) * noise >> 10)
    return int(max(0, size))


@kernel(example=lambda: (_step_example()[3], _step_example()[5], 0, 0, 1, 0), bare=True)
def size_at(state: Int64, taken: Int64, symbol: int, side: int, price: int, now_ms: int) -> int:
    """Steps displayed at a price; 0 inside the spread. Behind the touch they depend on price and distance alone."""
    size = _usual_at(state, symbol, side, price)
    if size > 0 and state[symbol, TAKINGS] > 0:
        size = max(0, size - _remaining(taken, symbol, side, price, now_ms))
    return size


@inner()
def _subtract(levels: Int64, taken: Int64, symbol: int, side: int, touch: int, now_ms: int) -> None:
    """From the levels of a side what is missing at each; a price has one slot at most."""
    for slot in range(taken.shape[2]):
        price = taken[symbol, side, slot, 0]
        k = touch - price if side == 0 else price - touch
        if taken[symbol, side, slot, 1] > 0 and 0 <= k < levels.shape[2]:
            missing = _missing(taken, symbol, side, slot, now_ms)
            levels[symbol, side, k] = max(0, levels[symbol, side, k] - missing)


@inner()
def _forget(state: Int64, taken: Int64, symbol: int, now_ms: int) -> None:
    """Drop takings that have come back in full."""
    live = 0
    for side in range(2):
        for slot in range(taken.shape[2]):
            if taken[symbol, side, slot, 1] > 0:
                if now_ms - taken[symbol, side, slot, 2] >= REFILL_MS:
                    taken[symbol, side, slot, 1] = 0
                else:
                    live += 1
    state[symbol, TAKINGS] = live


@inner()
def _refresh(state: Int64, levels: Int64, taken: Int64, symbol: int, now_ms: int) -> bool:
    """Recompute what is displayed; True when the touch or its sizes changed.

    Where nothing of ours is missing from the book, what is behind the touch follows from the touch at any time: it is
    left to `deepen`, so that a quote costs no more than itself.
    """
    if state[symbol, TAKINGS] > 0:
        _forget(state, taken, symbol, now_ms)
    old_bid, old_ask = state[symbol, BID], state[symbol, ASK]
    old_bid_qty, old_ask_qty = levels[symbol, 0, 0], levels[symbol, 1, 0]
    whole = state[symbol, TAKINGS] > 0
    for side in range(2):
        away = -1 if side == 0 else 1
        touch = state[symbol, SOURCE_BID + side]
        # At most every remembered taking hides a level, so this walk ends.
        for _ in range(taken.shape[2] + 1):
            if size_at(state, taken, symbol, side, touch, now_ms) > 0 or touch <= 1:
                break
            touch += away
        state[symbol, BID + side] = touch
        for k in range(levels.shape[2] if whole else 1):
            levels[symbol, side, k] = _usual_at(state, symbol, side, touch + away * k)
        if whole:
            _subtract(levels, taken, symbol, side, touch, now_ms)
    return bool(
        old_bid != state[symbol, BID]
        or old_ask != state[symbol, ASK]
        or old_bid_qty != levels[symbol, 0, 0]
        or old_ask_qty != levels[symbol, 1, 0]
    )


def _deepen_example() -> tuple[Any, ...]:
    _, _, _, state, levels, taken, _, _, _ = _step_example()
    return 0, 1, state, levels, taken


@kernel(example=_deepen_example, bare=True)
def deepen(first: int, last: int, state: Int64, levels: Int64, taken: Int64) -> None:
    """Bring what is displayed behind the touch up to date for the symbols `first` to `last - 1`."""
    for symbol in range(first, last):
        if state[symbol, TAKINGS] > 0 or state[symbol, BID] <= 0:
            continue
        for side in range(2):
            touch, away = state[symbol, BID + side], -1 if side == 0 else 1
            for k in range(1, levels.shape[2]):
                levels[symbol, side, k] = size_at(state, taken, symbol, side, touch + away * k, 0)


@inner()
def _publish_quote(
    state: Int64, levels: Int64, symbol: int, time_ns: int, public: Records, count: int, mute: bool
) -> int:
    state[symbol, UPDATE_ID] += 1
    if mute:
        return count
    row = public[count]
    row["time_ns"] = time_ns
    row["symbol"] = symbol
    row["kind"] = QUOTE
    row["bid"] = state[symbol, BID]
    row["ask"] = state[symbol, ASK]
    row["bid_qty"] = levels[symbol, 0, 0]
    row["ask_qty"] = levels[symbol, 1, 0]
    row["id"] = state[symbol, UPDATE_ID]
    return count + 1


@inner()
def _publish_trade(
    state: Int64, symbol: int, time_ns: int, side: int, price: int, qty: int, order: int, public: Records, count: int,
    mute: bool,
) -> int:  # fmt: skip
    state[symbol, LAST] = price
    state[symbol, TRADE_ID] += 1
    if order != state[symbol, AGG_ORDER] or price != state[symbol, AGG_PRICE]:
        state[symbol, AGG_ID] += 1
        state[symbol, AGG_ORDER] = order
        state[symbol, AGG_PRICE] = price
    if mute:
        return count
    row = public[count]
    row["time_ns"] = time_ns
    row["symbol"] = symbol
    row["kind"] = TRADE
    row["side"] = side
    row["price"] = price
    row["qty"] = qty
    row["order"] = order
    row["id"] = state[symbol, TRADE_ID]
    row["agg_id"] = state[symbol, AGG_ID]
    return count + 1


@inner()
def _publish_mark(
    state: Int64, symbol: int, time_ns: int, mark_e8: int, index_e8: int, public: Records, count: int
) -> int:
    """Take over mark and index; funding = average premium + clamp(0.01 % - premium, +-0.05 %), within +-2 %."""
    if state[symbol, AVERAGE_E8] == 0:
        state[symbol, AVERAGE_E8] = mark_e8
    state[symbol, MARK_E8] = mark_e8
    state[symbol, INDEX_E8] = index_e8
    state[symbol, AVERAGE_E8] += (mark_e8 - state[symbol, AVERAGE_E8]) // 30
    # In float: (mark - index) * 1e8 leaves int64 for prices above 900.
    premium_e8 = int(100_000_000 * (float(mark_e8 - index_e8) / float(max(1, index_e8))))
    state[symbol, PREMIUM] += (premium_e8 * _FRACTION - state[symbol, PREMIUM]) // 512
    average = state[symbol, PREMIUM] // _FRACTION
    funding = average + min(50_000, max(-50_000, 10_000 - average))
    state[symbol, FUNDING_E8] = min(2_000_000, max(-2_000_000, funding))
    now_ms = time_ns // _NS_PER_MS
    if now_ms >= state[symbol, NEXT_FUNDING_MS]:
        state[symbol, NEXT_FUNDING_MS] = (now_ms // FUNDING_INTERVAL_MS + 1) * FUNDING_INTERVAL_MS
    row = public[count]
    row["time_ns"] = time_ns
    row["symbol"] = symbol
    row["kind"] = MARK
    row["mark_e8"] = mark_e8
    row["index_e8"] = index_e8
    row["average_e8"] = state[symbol, AVERAGE_E8]
    row["funding_e8"] = state[symbol, FUNDING_E8]
    row["next_funding_ms"] = state[symbol, NEXT_FUNDING_MS]
    return count + 1


def _step_example() -> tuple[Any, ...]:
    state = np.zeros((1, len(STATE)), np.int64)
    return (np.zeros(0, EVENT), 0, 0, state, np.zeros((1, 2, 20), np.int64), np.zeros((1, 2, DEPTH_SLOTS, 3), np.int64),
            np.zeros(1, PUBLIC), 0, False)  # fmt: skip


@inner()
def _apply(
    event: np.void, state: Int64, levels: Int64, taken: Int64, public: Records, count: int, mute: bool
) -> tuple[int, bool]:
    """Apply one event and rewrite it to what was published of it: (next free row of `public`, bounds touched)."""
    time_ns = event["time_ns"]
    symbol = event["symbol"]
    quoted = False
    touched = False
    if event["kind"] == QUOTE:
        state[symbol, SOURCE_BID] = event["bid"]
        state[symbol, SOURCE_ASK] = event["ask"]
        state[symbol, SOURCE_BID_QTY] = event["bid_qty"]
        state[symbol, SOURCE_ASK_QTY] = event["ask_qty"]
        quoted = True
    elif event["kind"] == TRADE:
        price = event["price"]
        if state[symbol, TAKINGS] > 0:  # nobody buys below the ask that is left, nor sells above the bid
            if event["side"] > 0:
                price = max(price, state[symbol, ASK])
            else:
                price = min(price, state[symbol, BID])
            event["price"] = price
        count = _publish_trade(
            state, symbol, time_ns, event["side"], price, event["qty"], event["order"], public, count, mute
        )
        touched = price <= state[symbol, LOW] or price >= state[symbol, HIGH]
    else:
        mark_e8 = event["mark_e8"]
        count = _publish_mark(state, symbol, time_ns, mark_e8, event["index_e8"], public, count)
        touched = mark_e8 <= state[symbol, MARK_LOW_E8] or mark_e8 >= state[symbol, MARK_HIGH_E8]
        quoted = state[symbol, TAKINGS] > 0  # sizes come back even when the source is silent
    if quoted and _refresh(state, levels, taken, symbol, time_ns // _NS_PER_MS):
        count = _publish_quote(state, levels, symbol, time_ns, public, count, mute)
    if event["kind"] == QUOTE:  # what is displayed, not what the source said, is what touched
        event["bid"], event["ask"] = state[symbol, BID], state[symbol, ASK]
        event["bid_qty"], event["ask_qty"] = levels[symbol, 0, 0], levels[symbol, 1, 0]
    if quoted and state[symbol, BID] > 0:
        touched = touched or state[symbol, ASK] <= state[symbol, LOW] or state[symbol, BID] >= state[symbol, HIGH]
    return count, touched


@kernel(example=_step_example, bare=True)
def step(
    events: Records, cursor: int, until_ns: int, state: Int64, levels: Int64, taken: Int64, public: Records, count: int,
    mute: bool,
) -> tuple[int, int, int]:  # fmt: skip
    """Apply events in order up to `until_ns`, or until one touches its symbol's bounds.

    Args:
        mute: quotes and trades of the source get their ids and are not published.

    Returns:
        (next event, next free row of `public`, touched symbol or -1). An applied event is rewritten to what was
        published of it. An event makes at most two public rows; the caller provides the room.
    """
    while cursor < len(events) and events[cursor]["time_ns"] <= until_ns:
        count, touched = _apply(events[cursor], state, levels, taken, public, count, mute)
        cursor += 1
        if touched:
            return cursor, count, events[cursor - 1]["symbol"]
    return cursor, count, -1


def _first_touch_example() -> tuple[Any, ...]:
    events, cursor, until_ns, state, levels, taken, public, _, _ = _step_example()
    return events, cursor, until_ns, np.zeros(1, np.bool_), state, levels, taken, np.zeros(1, EVENT), public


@kernel(example=_first_touch_example, bare=True)
def first_touch(
    events: Records, cursor: int, until_ns: int, watched: npt.NDArray[np.bool_], state: Int64, levels: Int64,
    taken: Int64, event: Records, public: Records,
) -> int:  # fmt: skip
    """What `step` would stop at, without the books themselves: the event's index, or -1.

    Args:
        watched: which symbols have bounds; nothing else is looked at.
        state, levels, taken: copies of the books' rows of those symbols, for scratch.
        event, public: scratch, one EVENT and two PUBLIC rows.
    """
    while cursor < len(events) and events[cursor]["time_ns"] <= until_ns:
        if watched[events[cursor]["symbol"]]:
            event[0] = events[cursor]
            _, touched = _apply(event[0], state, levels, taken, public, 0, True)
            if touched:
                return cursor
        cursor += 1
    return -1


@inner()
def _remember(state: Int64, taken: Int64, symbol: int, side: int, price: int, steps: int, now_ms: int) -> None:
    """Add a taking: to the same price's slot, else to an empty one, else in place of the smallest."""
    best = 0
    for slot in range(taken.shape[2]):
        if taken[symbol, side, slot, 0] == price and taken[symbol, side, slot, 1] > 0:
            best = slot
            steps += _remaining(taken, symbol, side, price, now_ms)
            break
        if taken[symbol, side, slot, 1] < taken[symbol, side, best, 1]:
            best = slot
    taken[symbol, side, best, 0] = price
    taken[symbol, side, best, 1] = steps
    taken[symbol, side, best, 2] = now_ms
    state[symbol, TAKINGS] += 1


def _take_example() -> tuple[Any, ...]:
    _, _, _, state, levels, taken, public, _, _ = _step_example()
    return (0, 1, 0, 0, 0, 1, state, levels, taken, public, 0, np.zeros((20, 2), np.int64))


@kernel(example=_take_example, bare=True)
def take(
    symbol: int, side: int, qty: int, limit: int, time_ns: int, order: int,
    state: Int64, levels: Int64, taken: Int64, public: Records, count: int, prints: Int64,
) -> tuple[int, int, int, int]:  # fmt: skip
    """An aggressor (`side` +1 buy, -1 sell) consumes displayed levels up to `limit`; prints and quote are published.

    Args:
        prints: int64[depth, 2], gets (price, steps) of each fill.

    Returns:
        The next free row of `public`, how many fills there were, and (price, steps) of the first.
    """
    book = 1 if side > 0 else 0
    touch = state[symbol, BID + book]
    now_ms = time_ns // _NS_PER_MS
    filled = 0
    deepen(symbol, symbol + 1, state, levels, taken)
    for k in range(levels.shape[2]):
        price = touch + side * k
        if qty <= 0 or (price - limit) * side > 0:
            break
        steps = min(qty, levels[symbol, book, k])
        if steps > 0:
            _remember(state, taken, symbol, book, price, steps, now_ms)
            count = _publish_trade(state, symbol, time_ns, side, price, steps, order, public, count, False)
            prints[filled, 0], prints[filled, 1] = price, steps
            filled += 1
            qty -= steps
    if filled > 0 and _refresh(state, levels, taken, symbol, now_ms):
        count = _publish_quote(state, levels, symbol, time_ns, public, count, False)
    return count, filled, prints[0, 0], prints[0, 1]
