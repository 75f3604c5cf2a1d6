"""The analysis of all symbols as one pure function of (state, rows, watermark).

`analyse` takes every batch, `peek` shows indicators of the forming bars; how a symbol gets its history is told in
`kernels/seeding.py`, whose functions are part of this module's interface.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from aegis.kernels import series
from aegis.kernels.bars import close_bar, closed_until, find_pending, merge_row
from aegis.kernels.compile import kernel
from aegis.kernels.layout import BAR, EVENT, ROW
from aegis.kernels.seeding import (
    SeedCode,
    SeedResult,
    drop_symbol,
    mark_incomplete,
    replace_bar,
    seed,
    set_live_from,
)
from aegis.kernels.state import (
    CURSOR,
    NEXT_OPEN,
    STARTED,
    VALUES,
    WATERMARK,
    AnalysisParams,
    Records,
    State,
    copy_into,
    copy_state,
    counter,
    new_state,
    state_bytes,
)

__all__ = [
    "BAD_OUT",
    "BAD_WATERMARK",
    "OK",
    "OUT_FULL",
    "AnalysisParams",
    "SeedCode",
    "SeedResult",
    "State",
    "analyse",
    "analyse_all",
    "copy_into",
    "copy_state",
    "counter",
    "drop_symbol",
    "mark_incomplete",
    "new_peek",
    "new_state",
    "out_room",
    "peek",
    "replace_bar",
    "seed",
    "set_live_from",
    "state_bytes",
    "warm",
]

#: Statuses of `analyse`. OUT_FULL: drain the outputs and call again with n_rows=0 and the same watermark.
OK, OUT_FULL, BAD_OUT, BAD_WATERMARK = range(4)

#: A watermark further ahead than this many base bars is a fault of the feed, not the passing of time.
MAX_JUMP_BARS: Final = 1_000_000


def out_room(state: State) -> tuple[int, int]:
    """Least lengths of `bars_out` and `events_out`."""
    timeframes = len(state.parameters)
    return timeframes, timeframes * int(state.parameters[0]["room"])


def _example_analyse() -> tuple[object, ...]:
    state = new_state(1, (60_000, 300_000), AnalysisParams())
    bars, events = out_room(state)
    return state, np.zeros(1, ROW), 0, 0, np.zeros(bars, BAR), np.zeros(events, EVENT)


@kernel(example=_example_analyse, bare=True)
def analyse(
    state: State, rows: Records, n_rows: int, watermark_ms: int, bars_out: Records, events_out: Records
) -> tuple[int, int, int]:
    """Merge rows into open base bars, then close every bar that ends at or before the watermark.

    Args:
        state: advanced in place.
        rows: ROW, the first `n_rows` of it; times are venue milliseconds.
        watermark_ms: no trade before this time is still expected. A lower one than before is ignored.
        bars_out: BAR, filled with closed bars in the order (base bar, symbol, timeframe).
        events_out: EVENT, in the same order; only of symbols that are warm.

    Returns:
        (bars written, events written, status). OUT_FULL stopped between two symbols; nothing is lost: call again with
        no rows. BAD_OUT (outputs shorter than `out_room`) and BAD_WATERMARK leave the state as it was.
    """
    clock = state.clock
    base = state.parameters[0]["timeframe_ms"]
    room = len(state.parameters) * state.parameters[0]["room"]
    if len(bars_out) < len(state.parameters) or len(events_out) < room:
        return 0, 0, BAD_OUT
    if clock[NEXT_OPEN] >= 0 and watermark_ms - clock[NEXT_OPEN] > MAX_JUMP_BARS * base:
        return 0, 0, BAD_WATERMARK
    clock[WATERMARK] = max(clock[WATERMARK], watermark_ms)
    for i in range(n_rows):
        merge_row(state, rows[i], clock[WATERMARK])
    nb, ne = 0, 0
    if clock[NEXT_OPEN] < 0:
        return nb, ne, OK
    while clock[NEXT_OPEN] + base <= clock[WATERMARK]:
        opened = clock[NEXT_OPEN]
        for symbol in range(clock[CURSOR], len(state.symbols)):
            if len(bars_out) - nb < len(state.parameters) or len(events_out) - ne < room:
                clock[CURSOR] = symbol
                return nb, ne, OUT_FULL
            record = state.symbols[symbol]
            if record["live_from"] >= 0 and record["live_from"] <= opened:
                nb, ne = close_bar(state, symbol, opened, bars_out, nb, events_out, ne)
        clock[CURSOR] = 0
        clock[STARTED] = 1
        clock[NEXT_OPEN] = opened + base
    return nb, ne, OK


def analyse_all(state: State, rows: Records, watermark_ms: int) -> tuple[Records, Records]:
    """`analyse` until it is done, for callers that do not count allocations. Returns (bars, events).

    Raises:
        ValueError: the watermark is absurd.
    """
    least_bars, least_events = out_room(state)
    bars_out, events_out = np.empty(max(1024, least_bars), BAR), np.empty(max(4096, least_events), EVENT)
    bars, events = [], []
    n_rows, status = len(rows), OUT_FULL
    while status == OUT_FULL:
        nb, ne, status = analyse(state, rows, n_rows, watermark_ms, bars_out, events_out)
        bars.append(bars_out[:nb].copy())
        events.append(events_out[:ne].copy())
        n_rows = 0
    if status != OK:
        raise ValueError(f"watermark {watermark_ms} is too far ahead of {int(state.clock[NEXT_OPEN])}")
    if len(bars) == 1:  # the usual case; concatenating records is slow
        return bars[0], events[0]
    return np.concatenate(bars), np.concatenate(events)


def new_peek(state: State) -> Records:
    """Output of `peek`: VALUES[n symbols, T timeframes]."""
    return np.zeros(state.values.shape, VALUES)


def _example_peek() -> tuple[object, ...]:
    state = new_state(1, (60_000, 300_000), AnalysisParams())
    return state, new_peek(state)


@kernel(example=_example_peek, bare=True)
def peek(state: State, out: Records) -> None:
    """Indicator values as if every forming bar closed now. Writes `out` alone: no pattern comes from an open bar.

    A symbol whose next bar has no trade yet shows the values of its last closed bars.
    """
    for symbol in range(len(state.symbols)):
        opened = closed_until(state, symbol)
        slot = find_pending(state, symbol, opened)
        bar = state.pending[symbol, max(slot, 0)]
        for k in range(len(state.parameters)):
            out[symbol, k] = state.values[symbol, k]
            if slot < 0 or bar["trades"] == 0 or state.symbols[symbol]["seeded"] == 0:
                continue
            p = state.parameters[k]
            high, low = bar["high"], bar["low"]
            forming = state.forming[symbol, k]
            if forming["have"] > 0:
                high, low = max(high, forming["high"]), min(low, forming["low"])
            index = opened // p["timeframe_ms"]
            series.peek(
                state.accumulators[symbol, k], out[symbol, k], state.bars[symbol, k], index, high, low, bar["close"], p
            )


def warm(state: State) -> npt.NDArray[np.bool_]:
    """Which symbols are seeded and have enough bars of every timeframe: bool[n]."""
    return np.asarray(state.symbols["warm"] != 0)
