"""From conflated rows to closed bars: merging trades into open base bars, closing them, rolling higher timeframes up.

Merging depends on trade ids, not on arrival: the open belongs to the smallest first id, the close to the largest last
id, the rest are extremes and exact sums. So bars from rows equal bars from trades in whatever batches the rows came.
"""

from __future__ import annotations

import numpy as np

from aegis.kernels import series, smc_series
from aegis.kernels.compile import inner
from aegis.kernels.sane import sane
from aegis.kernels.state import (
    BARS,
    CURSOR,
    EARLY_ROWS,
    EMPTY_BARS,
    EVENTS,
    FAR_ROWS,
    INCOMPLETE_BARS,
    LATE_ROWS,
    NEXT_OPEN,
    PARTIAL_BARS,
    PENDING_BARS,
    REJECTED_ROWS,
    Records,
    State,
)

__all__: list[str] = []  # only kernels call these


@inner()
def closed_until(state: State, symbol: int) -> int:
    """Open time of the first base bar of a symbol that is not closed yet."""
    opened = int(state.clock[NEXT_OPEN])
    return opened + int(state.parameters[0]["timeframe_ms"]) if symbol < state.clock[CURSOR] else opened


@inner()
def find_pending(state: State, symbol: int, open_time: int) -> int:
    """Slot of an open base bar, or -1."""
    if state.symbols[symbol]["pending"] == 0:
        return -1
    slots = state.pending[symbol]
    start = open_time // int(state.parameters[0]["timeframe_ms"])
    for j in range(PENDING_BARS):
        slot = (start + j) & (PENDING_BARS - 1)
        if slots[slot]["open_time"] == open_time:
            return slot
    return -1


@inner()
def take_pending(state: State, symbol: int, open_time: int) -> int:
    """Slot of an open base bar, made if there is none; -1 when the symbol has too many open bars."""
    slot = find_pending(state, symbol, open_time)
    if slot >= 0:
        return slot
    slots = state.pending[symbol]
    start = open_time // int(state.parameters[0]["timeframe_ms"])
    for j in range(PENDING_BARS):
        slot = (start + j) & (PENDING_BARS - 1)
        if slots[slot]["open_time"] == -1:
            slots[slot]["open_time"] = open_time
            state.symbols[symbol]["pending"] += 1
            return slot
    return -1


@inner()
def free_pending(state: State, symbol: int, slot: int) -> None:
    """Give a slot back, blank."""
    bar = state.pending[symbol, slot]
    bar["open_time"] = -1
    bar["incomplete"] = 0
    bar["trades"] = 0
    bar["first_id"] = 0
    bar["last_id"] = 0
    bar["open"] = 0.0
    bar["high"] = 0.0
    bar["low"] = 0.0
    bar["close"] = 0.0
    bar["volume"] = 0
    bar["taker_buy"] = 0
    state.symbols[symbol]["pending"] -= 1


@inner()
def _add_trades(bar: np.void, row: np.void) -> None:
    """Merge a row into an open bar."""
    fresh = bar["trades"] == 0
    if fresh or row["first_id"] < bar["first_id"]:
        bar["first_id"] = row["first_id"]
        bar["open"] = row["open"]
    if fresh or row["last_id"] >= bar["last_id"]:
        bar["last_id"] = row["last_id"]
        bar["close"] = row["close"]
    bar["high"] = row["high"] if fresh else max(bar["high"], row["high"])
    bar["low"] = row["low"] if fresh else min(bar["low"], row["low"])
    bar["volume"] += row["volume"]
    bar["taker_buy"] += row["taker_buy"]
    bar["trades"] += row["trades"]


@inner()
def merge_row(state: State, row: np.void, watermark_ms: int) -> None:
    """Put a row's trades into the open bar they belong to, or count why not."""
    if row["trades"] == 0:
        return
    symbol = row["symbol"]
    base = state.parameters[0]["timeframe_ms"]
    if symbol < 0 or symbol >= len(state.symbols) or row["bar"] < 0 or row["bar"] % base != 0 or not sane(row):
        state.counters[REJECTED_ROWS] += 1
        return
    record = state.symbols[symbol]
    if record["live_from"] < 0 or row["bar"] < record["live_from"]:
        state.counters[EARLY_ROWS] += 1
        return
    opened = closed_until(state, symbol)
    if row["bar"] < opened:
        state.counters[LATE_ROWS] += 1
        return
    slot = -1
    if row["bar"] < max(opened, watermark_ms) + PENDING_BARS * base:
        slot = take_pending(state, symbol, row["bar"])
    if slot < 0:
        state.counters[FAR_ROWS] += 1
        return
    _add_trades(state.pending[symbol, slot], row)


@inner()
def copy_bar(target: np.void, source: np.void) -> None:
    """Prices, volumes and trades from one record to another."""
    target["open"] = source["open"]
    target["high"] = source["high"]
    target["low"] = source["low"]
    target["close"] = source["close"]
    target["volume"] = source["volume"]
    target["taker_buy"] = source["taker_buy"]
    target["trades"] = source["trades"]


@inner()
def _name_bar(bar: np.void, symbol: int, timeframe: int, open_time: int) -> None:
    bar["symbol"] = symbol
    bar["timeframe"] = timeframe
    bar["open_time"] = open_time


@inner()
def _roll(forming: np.void, bar: np.void, incomplete: int) -> None:
    """Add a closed base bar to a higher bar under construction."""
    if forming["have"] == 0:
        copy_bar(forming, bar)
        forming["incomplete"] = incomplete
    else:
        forming["high"] = max(forming["high"], bar["high"])
        forming["low"] = min(forming["low"], bar["low"])
        forming["close"] = bar["close"]
        forming["volume"] += bar["volume"]
        forming["taker_buy"] += bar["taker_buy"]
        forming["trades"] += bar["trades"]
        forming["incomplete"] |= incomplete
    forming["have"] += 1


@inner()
def commit_series(
    state: State, symbol: int, timeframe: int, index: int, incomplete: int, writes: int, events: Records, n: int
) -> int:
    """Advance indicators and patterns of one series with the bar `index`, already in its ring."""
    p = state.parameters[timeframe]
    ring = state.bars[symbol, timeframe]
    structure = state.structure[symbol, timeframe]
    series.commit(state.accumulators[symbol, timeframe], state.values[symbol, timeframe], ring, index, p)
    if incomplete != 0:
        smc_series.taint(structure)
        writes = 0
    count = state.accumulators[symbol, timeframe]["count"]
    context = (symbol, timeframe, p["timeframe_ms"], index, writes)
    return smc_series.commit(
        structure,
        state.edges[symbol, timeframe],
        state.legs[symbol, timeframe],
        state.zones[symbol, timeframe],
        state.blocks[symbol, timeframe],
        state.pools[symbol, timeframe],
        ring,
        count,
        p,
        events,
        n,
        context,
    )


@inner()
def _warm(state: State, symbol: int) -> int:
    for k in range(len(state.parameters)):
        if state.accumulators[symbol, k]["count"] < state.parameters[k]["warm_bars"]:
            return 0
    return 1


@inner()
def _complete(state: State, symbol: int, timeframe: int, open_time: int, incomplete: int) -> int:
    """Add the closed base bar at `open_time` to a higher bar; 1 if that bar is now in its ring, to be committed."""
    p = state.parameters[timeframe]
    base = state.parameters[0]["timeframe_ms"]
    mask = state.bars.shape[2] - 1
    forming = state.forming[symbol, timeframe]
    if open_time < forming["start"]:
        return 0
    _roll(forming, state.bars[symbol, 0, (open_time // base) & mask], incomplete)
    if (open_time + base) % p["timeframe_ms"] != 0:
        return 0
    have = forming["have"]
    forming["have"] = 0
    if have < p["multiple"]:
        state.counters[PARTIAL_BARS] += 1
        return 0
    index = open_time // p["timeframe_ms"]
    higher = state.bars[symbol, timeframe, index & mask]
    _name_bar(higher, symbol, timeframe, index * p["timeframe_ms"])
    copy_bar(higher, forming)
    return 1


@inner()
def commit_bar(
    state: State,
    symbol: int,
    timeframe: int,
    open_time: int,
    incomplete: int,
    silent: int,
    bars_out: Records,
    nb: int,
    events: Records,
    ne: int,
) -> tuple[int, int]:
    """Commit a bar that is in its ring and, after a base bar, every higher bar that it completes.

    A base bar has been written to `bars_out` by the caller; higher ones are written here. `silent`: nothing is.
    """
    record = state.symbols[symbol]
    writes = 1 if silent == 0 and record["warm"] == 1 else 0
    last = len(state.parameters) if timeframe == 0 else timeframe + 1
    for k in range(timeframe, last):
        flawed = incomplete
        if k > timeframe:
            if _complete(state, symbol, k, open_time, incomplete) == 0:
                continue
            flawed = state.forming[symbol, k]["incomplete"]
        index = open_time // state.parameters[k]["timeframe_ms"]
        ne = commit_series(state, symbol, k, index, flawed, writes, events, ne)
        if k > timeframe and silent == 0:
            state.counters[BARS] += 1
            bars_out[nb] = state.bars[symbol, k, index & (state.bars.shape[2] - 1)]
            nb += 1
    record["warm"] = _warm(state, symbol)
    return nb, ne


@inner()
def fill_empty(bar: np.void, close: float) -> None:
    """A bar without trades repeats the close before it."""
    bar["open"] = close
    bar["high"] = close
    bar["low"] = close
    bar["close"] = close
    bar["volume"] = 0
    bar["taker_buy"] = 0
    bar["trades"] = 0


@inner()
def close_bar(
    state: State, symbol: int, open_time: int, bars_out: Records, nb: int, events: Records, ne: int
) -> tuple[int, int]:
    """Close one base bar of one symbol; a symbol without a price yet has none to close."""
    record = state.symbols[symbol]
    index = open_time // state.parameters[0]["timeframe_ms"]
    bar = state.bars[symbol, 0, index & (state.bars.shape[2] - 1)]
    slot = find_pending(state, symbol, open_time)
    traded = slot >= 0 and state.pending[symbol, slot]["trades"] > 0
    incomplete = state.pending[symbol, slot]["incomplete"] if slot >= 0 else 0
    priced = traded or record["close"] > 0.0
    if traded:
        copy_bar(bar, state.pending[symbol, slot])
    elif priced:
        fill_empty(bar, record["close"])
        state.counters[EMPTY_BARS] += 1
    if slot >= 0:
        free_pending(state, symbol, slot)
    state.counters[INCOMPLETE_BARS] += incomplete
    if not priced:
        return nb, ne
    _name_bar(bar, symbol, 0, open_time)
    record["close"] = bar["close"]
    state.counters[BARS] += 1
    bars_out[nb] = bar
    nb += 1
    if record["seeded"] == 0:
        return nb, ne
    before = ne
    nb, ne = commit_bar(state, symbol, 0, open_time, incomplete, 0, bars_out, nb, events, ne)
    state.counters[EVENTS] += ne - before
    return nb, ne
