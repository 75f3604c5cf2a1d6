"""From the lines of a recording to closed bars, in one compiled call: what decoding and bars cost by themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aegis.kernels.analysis import OUT_FULL, AnalysisParams, analyse, new_state, out_room
from aegis.kernels.compile import inner, kernel
from aegis.kernels.layout import BAR, EVENT
from aegis.kernels.lines import LINE
from aegis.kernels.market import AGG_TRADE as SOURCE_AGG_TRADE
from aegis.kernels.market import (
    BASE_MS,
    CLOCK_MARKET,
    CLOCK_PUBLIC,
    CLOSED_BEFORE,
    TRADE_SOURCE,
    Table,
    batch_buffer,
    example_table,
    take_batch,
)
from aegis.kernels.market import ROWS_FULL as TICK_ROWS_FULL
from aegis.kernels.payload import NOT_READ
from aegis.kernels.quick import apply_text
from aegis.kernels.state import Records, State

__all__ = ["BARS", "FRAMES", "LOTS", "NOT_TICKS", "ROWS", "TOTALS", "fold_lines"]

#: Indexes of `totals`: frames taken, those of them that the fast rules do not read, conflated rows, closed base bars
#: and their volume in lots.
FRAMES, NOT_TICKS, ROWS, BARS, LOTS = range(5)
TOTALS = 5


@inner()
def _close(
    table: Table, batch: Records, state: State, bars: Records, events: Records, lateness_ms: int,
    totals: npt.NDArray[np.int64],
) -> None:  # fmt: skip
    """One boundary: the open batch is taken, and bars close that the watermark has passed."""
    count = take_batch(table, batch)
    totals[ROWS] += count
    clock = CLOCK_MARKET if table.scalars[TRADE_SOURCE] == SOURCE_AGG_TRADE else CLOCK_PUBLIC
    watermark_ms = max(table.scalars[clock] - lateness_ms, 0)
    base_ms = table.scalars[BASE_MS]
    table.scalars[CLOSED_BEFORE] = max(table.scalars[CLOSED_BEFORE], watermark_ms - watermark_ms % base_ms)
    status = OUT_FULL
    while status == OUT_FULL:
        closed, _, status = analyse(state, batch, count, watermark_ms, bars, events)
        count = 0
        for number in range(closed):
            if bars[number]["timeframe"] == 0:
                totals[BARS] += 1
                totals[LOTS] += bars[number]["volume"]


def _fold_example() -> tuple[object, ...]:
    table = example_table()
    state = new_state(1, (60_000, 300_000), AnalysisParams())
    bars, events = out_room(state)
    return (np.zeros(1, np.uint8), np.zeros(1, LINE), 100_000_000, 250, table, batch_buffer(table), state,
            np.zeros(bars, BAR), np.zeros(events, EVENT), np.zeros(TOTALS, np.int64))  # fmt: skip


@kernel(example=_fold_example, bare=True)
def fold_lines(
    data: npt.NDArray[np.uint8], lines: Records, interval_ns: int, lateness_ms: int, table: Table, batch: Records,
    state: State, bars: Records, events: Records, totals: npt.NDArray[np.int64],
) -> None:  # fmt: skip
    """Every line into the table, a batch at every `interval_ns` of receive time, its bars closed at once.

    Args:
        data: the bytes the lines lie in.
        lines: LINE of `kernels.lines.split`.
        interval_ns: of the conflation.
        lateness_ms: of the watermark behind the trades' event time.
        table: without armed levels.
        batch: of `market.batch_buffer`.
        state: of the analysis, its symbols live.
        bars, events: room for outputs, at least `analysis.out_room`; what they hold afterwards is no result.
        totals: added to.
    """
    boundary_ns = 0
    for number in range(lines.shape[0]):
        line = lines[number]
        if line["recv_ns"] >= boundary_ns:
            _close(table, batch, state, bars, events, lateness_ms, totals)
            boundary_ns = (line["recv_ns"] // interval_ns + 1) * interval_ns
        answer = apply_text(table, data, line["start"], line["end"], line["recv_ns"])
        if answer == TICK_ROWS_FULL:
            _close(table, batch, state, bars, events, lateness_ms, totals)
            answer = apply_text(table, data, line["start"], line["end"], line["recv_ns"])
        totals[FRAMES] += 1
        if answer == NOT_READ:
            totals[NOT_TICKS] += 1
    _close(table, batch, state, bars, events, lateness_ms, totals)
