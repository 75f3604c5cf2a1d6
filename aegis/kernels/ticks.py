"""What a tick does to the table. Both decoders, the compiled and the strict one, end here."""

from __future__ import annotations

import numpy as np

from aegis.kernels.compile import inner, kernel
from aegis.kernels.levels import ASK, BID, LAST, MARK, check, ring_room
from aegis.kernels.market import (
    AGG_TRADE,
    AGG_TRADES,
    APPLIED,
    BASE_MS,
    CLOCK_MARKET,
    CLOCK_PUBLIC,
    CLOSED_BEFORE,
    DIRTY_COUNT,
    DROPPED,
    DUPLICATE_TRADES,
    FIRED,
    GAP_ALL,
    GAP_LAST,
    GAP_MARK,
    GAP_QUOTE,
    HITS_FULL,
    HOLES,
    LATE_TRADES,
    MARKS,
    MISSED_IDS,
    NOT_MARKET_TRADES,
    OTHER_SOURCE_TRADES,
    QUOTES,
    ROWS_FULL,
    ROWS_USED,
    STALE_MARKS,
    STALE_QUOTES,
    TRADE_SOURCE,
    TRADES,
    Table,
    example_table,
)

__all__ = ["apply_mark", "apply_quote", "apply_trade"]


@inner(inline=True)
def _touch(table: Table, symbol: int) -> None:
    state = table.symbols[symbol]
    if state["dirty"] == 0:
        state["dirty"] = 1
        table.dirty[table.scalars[DIRTY_COUNT]] = symbol
        table.scalars[DIRTY_COUNT] += 1


@kernel(example=lambda: (example_table(), 0, 1, 1, 1, 1.0, 1.0, 1.0, 1.0, 1), bare=True, inline=True)
def apply_quote(
    table: Table,
    symbol: int,
    update_id: int,
    event_ms: int,
    match_ms: int,
    bid: float,
    bid_qty: float,
    ask: float,
    ask_qty: float,
    recv_ns: int,
) -> int:
    """Best bid and ask of a symbol; an update id that is not newer changes nothing.

    Returns:
        APPLIED, FIRED, DROPPED, or HITS_FULL (nothing changed).
    """
    state = table.symbols[symbol]
    if ring_room(table) < state["armed_quote"]:
        return HITS_FULL
    table.counters[QUOTES] += 1
    table.scalars[CLOCK_PUBLIC] = max(table.scalars[CLOCK_PUBLIC], event_ms)
    state["recv_ns"] = recv_ns
    if update_id <= state["update_id"]:
        table.counters[STALE_QUOTES] += 1
        return DROPPED
    state["quote_recv_ns"] = recv_ns  # of the quote that stands: a repeated one must not look like a slow one
    state["update_id"] = update_id
    state["quote_ms"] = event_ms
    state["match_ms"] = match_ms
    state["bid"] = bid
    state["bid_qty"] = bid_qty
    state["ask"] = ask
    state["ask_qty"] = ask_qty
    _touch(table, symbol)
    if state["suspended"] != 0:
        return APPLIED
    fired = 0
    if state["armed_quote"] > 0:
        fired = check(table, symbol, BID, bid, event_ms, recv_ns) + check(table, symbol, ASK, ask, event_ms, recv_ns)
    state["gap"] = np.int64(state["gap"]) & (GAP_ALL - GAP_QUOTE)
    return FIRED if fired > 0 else APPLIED


@inner(inline=True)
def _row_of(table: Table, symbol: int, bar: int) -> tuple[int, int]:
    """The symbol's open row of a bar (or -1), and the row after which it stands or belongs (-1: at the head)."""
    before = -1
    row = int(table.symbols[symbol]["head"])
    while row >= 0 and table.rows[row]["bar"] < bar:
        before = row
        row = int(table.row_next[row])
    if row >= 0 and table.rows[row]["bar"] != bar:
        row = -1
    return row, before


@inner(inline=True)
def _add_to_row(row: np.void, trade_id: int, price: float, lots: int, buyer_is_maker: bool) -> None:
    row["trades"] += 1
    row["high"] = max(row["high"], price)
    row["low"] = min(row["low"], price)
    row["close"] = price
    row["volume"] += lots
    row["last_id"] = trade_id
    if not buyer_is_maker:
        row["taker_buy"] += lots


@inner()
def _open_row(table: Table, symbol: int, bar: int, before: int, trade_id: int, price: float) -> int:
    row = int(table.scalars[ROWS_USED])
    table.scalars[ROWS_USED] += 1
    new = table.rows[row]
    new["symbol"] = symbol
    new["trades"] = 0
    new["bar"] = bar
    new["open"] = price
    new["high"] = price
    new["low"] = price
    new["volume"] = 0
    new["taker_buy"] = 0
    new["first_id"] = trade_id
    if before >= 0:
        table.row_next[row] = table.row_next[before]
        table.row_next[before] = row
    else:
        table.row_next[row] = table.symbols[symbol]["head"]
        table.symbols[symbol]["head"] = row
    return row


@inner(inline=True)
def _follow_ids(table: Table, symbol: int, trade_id: int) -> None:
    """Note the ids between the last trade and this one as missing; an earlier hole grows."""
    state = table.symbols[symbol]
    last = state["last_id"]
    if last >= 0 and trade_id > last + 1:
        table.counters[HOLES] += 1
        table.counters[MISSED_IDS] += trade_id - last - 1
        if state["hole_from"] < 0:
            state["hole_from"] = last + 1
            state["hole_ms"] = state["last_ms"]
        state["hole_to"] = trade_id - 1
    state["last_id"] = trade_id


@kernel(example=lambda: (example_table(), 0, AGG_TRADE, 1, 1, 1, 1.0, 1, False, True, 1), bare=True)
def apply_trade(
    table: Table,
    symbol: int,
    source: int,
    trade_id: int,
    event_ms: int,
    trade_ms: int,
    price: float,
    lots: int,
    buyer_is_maker: bool,
    is_market: bool,
    recv_ns: int,
) -> int:
    """A trade: into the row of its bar, once.

    A trade whose id is not above the last one is a duplicate. A trade of a closed bar is late: its id is remembered, so
    that it does not look missing, and nothing else. A trade that is not of the market (`is_market` false: insurance
    fund, ADL) takes its place in the ids and feeds no bar and no level.

    Returns:
        APPLIED, FIRED, DROPPED, or ROWS_FULL or HITS_FULL (nothing changed).
    """
    state = table.symbols[symbol]
    selected = source == table.scalars[TRADE_SOURCE]
    bar = trade_ms - trade_ms % table.scalars[BASE_MS]
    late = bar < max(table.scalars[CLOSED_BEFORE], state["closed_before"])
    feeds = selected and is_market and not late and trade_id > state["last_id"]
    row = -1
    before = -1
    if feeds:
        row, before = _row_of(table, symbol, bar)
        if row < 0 and table.scalars[ROWS_USED] >= table.rows.shape[0]:
            return ROWS_FULL
        if ring_room(table) < state["armed_last"]:
            return HITS_FULL
    if source == AGG_TRADE:
        table.counters[AGG_TRADES] += 1
        table.scalars[CLOCK_MARKET] = max(table.scalars[CLOCK_MARKET], event_ms)
    else:
        table.counters[TRADES] += 1
        table.scalars[CLOCK_PUBLIC] = max(table.scalars[CLOCK_PUBLIC], event_ms)
    state["recv_ns"] = recv_ns
    if not feeds:
        if not selected:
            table.counters[OTHER_SOURCE_TRADES] += 1
        elif trade_id <= state["last_id"]:
            table.counters[DUPLICATE_TRADES] += 1
        else:
            table.counters[LATE_TRADES if is_market else NOT_MARKET_TRADES] += 1
            _follow_ids(table, symbol, trade_id)
        return DROPPED
    _follow_ids(table, symbol, trade_id)
    state["last"] = price
    state["last_ms"] = trade_ms
    if row < 0:
        row = _open_row(table, symbol, bar, before, trade_id, price)
    _add_to_row(table.rows[row], trade_id, price, lots, buyer_is_maker)
    _touch(table, symbol)
    if state["suspended"] != 0:
        return APPLIED
    fired = 0
    if state["armed_last"] > 0:
        fired = check(table, symbol, LAST, price, event_ms, recv_ns)
    state["gap"] = np.int64(state["gap"]) & (GAP_ALL - GAP_LAST)
    return FIRED if fired > 0 else APPLIED


@kernel(example=lambda: (example_table(), 0, 1, 1.0, 1.0, 1.0, 1, 1), bare=True)
def apply_mark(
    table: Table,
    symbol: int,
    event_ms: int,
    mark: float,
    index: float,
    funding: float,
    next_funding_ms: int,
    recv_ns: int,
) -> int:
    """Mark price, index and funding; an event time that is not newer changes nothing.

    `funding` is NaN where there is none.

    Returns:
        APPLIED, FIRED, DROPPED, or HITS_FULL (nothing changed).
    """
    state = table.symbols[symbol]
    if ring_room(table) < state["armed_mark"]:
        return HITS_FULL
    table.counters[MARKS] += 1
    table.scalars[CLOCK_MARKET] = max(table.scalars[CLOCK_MARKET], event_ms)
    state["recv_ns"] = recv_ns
    state["mark_recv_ns"] = recv_ns
    if event_ms <= state["mark_ms"]:
        table.counters[STALE_MARKS] += 1
        return DROPPED
    state["mark_ms"] = event_ms
    state["mark"] = mark
    state["index"] = index
    state["funding"] = funding
    state["next_funding_ms"] = next_funding_ms
    _touch(table, symbol)
    if state["suspended"] != 0:
        return APPLIED
    fired = 0
    if state["armed_mark"] > 0:
        fired = check(table, symbol, MARK, mark, event_ms, recv_ns)
    state["gap"] = np.int64(state["gap"]) & (GAP_ALL - GAP_MARK)
    return FIRED if fired > 0 else APPLIED
