"""An endless market for loads and measurements: quotes and trades that never repeat, as fast as they can be made.

No model of a market (that is `kernels/synthetic.py`): a bounded random walk a symbol, ids that rise for ever, trades
whose ids are contiguous. Deterministic by its state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from aegis.kernels.books import MARK, PUBLIC, QUOTE, TRADE
from aegis.kernels.compile import inner, kernel

__all__ = ["Walk", "fresh", "fresh_marks", "new_walk"]

Int64 = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]

# Columns of `Walk.state`.
_BID, _START, _TRADE_ID, _TICK_E8, _QTY, _UPDATE_ID = range(6)
_FUNDING_INTERVAL_MS = 8 * 3_600_000
_NS_PER_MS = 1_000_000
#: The walk turns back where it is further than 1/16 from its start.
_SPAN_BITS = 4
_LOW_32 = np.uint64(0xFFFFFFFF)


class Walk(NamedTuple):
    """The state of an endless market; everything in it moves."""

    state: Int64  # [n, 6]
    random: npt.NDArray[np.uint64]  # [1]: xorshift64


def new_walk(
    start_ticks: Sequence[int], tick_e8: Sequence[int], touch_steps: Sequence[int], now_ns: int, seed: int
) -> Walk:
    """A market that opens at these prices; its ids lie above those of one that opened earlier.

    Args:
        start_ticks: price of each symbol, in ticks.
        tick_e8: a tick in 1e-8.
        touch_steps: usual size at the touch, in steps.
    """
    state = np.zeros((len(start_ticks), 6), np.int64)
    state[:, _BID] = state[:, _START] = start_ticks
    state[:, _TICK_E8], state[:, _QTY] = tick_e8, touch_steps
    state[:, _TRADE_ID] = now_ns // _NS_PER_MS
    state[:, _UPDATE_ID] = now_ns // _NS_PER_MS * 1000
    return Walk(state, np.array([np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(seed)], np.uint64))


def _example() -> Walk:
    return new_walk([100_000], [1_000_000], [1000], 1, 1)


@inner(inline=True)
def _next(random: npt.NDArray[np.uint64]) -> Any:
    value = random[0]
    value ^= value << np.uint64(13)
    value ^= value >> np.uint64(7)
    value ^= value << np.uint64(17)
    random[0] = value
    return value


@inner(inline=True)
def _part(value: Any, shift: int, count: int) -> int:
    """A whole number below `count`, at most 2**16, out of 16 bits of a draw."""
    return int((np.int64((value >> np.uint64(shift)) & np.uint64(0xFFFF)) * count) >> 16)


@kernel(
    example=lambda: (_example(), np.zeros(1, np.int64), np.zeros(1, np.int64), 0, 1, np.zeros(1, PUBLIC)), bare=True
)
def fresh(walk: Walk, quoted: Int64, traded: Int64, trades: int, now_ns: int, records: Records) -> None:
    """Fill `records` (`kernels.books.PUBLIC`) with what happens next, all of it at `now_ns`.

    Args:
        quoted: int64, indices of the symbols that get quotes.
        traded: int64, those that get trades, one print each with an order of its own.
        trades: share of trades in 2**-16; 0 where nothing is traded, 65536 where nothing is quoted.
    """
    for index in range(len(records)):
        draw = _next(walk.random)
        row = records[index]
        row["time_ns"] = now_ns
        trading = np.int64(draw & np.uint64(0xFFFF)) < trades
        symbol = traded[_part(draw, 16, len(traded))] if trading else quoted[_part(draw, 16, len(quoted))]
        state = walk.state[symbol]
        row["symbol"] = symbol
        low = np.int64((draw >> np.uint64(32)) & _LOW_32)
        if trading:
            row["kind"] = TRADE
            row["side"] = 1 if low & 1 else -1
            row["price"] = state[_BID] + (low & 1)
            row["qty"] = 1 + ((low >> 1) % state[_QTY])
            state[_TRADE_ID] += 1
            row["id"] = state[_TRADE_ID]
            row["agg_id"] = state[_TRADE_ID]
            row["order"] = state[_TRADE_ID]
            continue
        step = (low & 3) - 1 if low & 3 < 3 else 0
        bid, start = state[_BID] + step, state[_START]
        if bid > start + (start >> _SPAN_BITS):
            bid -= 2
        elif bid < start - (start >> _SPAN_BITS) or bid < 1:
            bid += 2
        state[_BID] = bid
        state[_UPDATE_ID] += 1 + ((low >> 2) & 7)
        row["kind"] = QUOTE
        row["id"] = state[_UPDATE_ID]
        row["bid"] = bid
        row["ask"] = bid + 1
        row["bid_qty"] = 1 + ((low >> 5) & 0xFFF) % state[_QTY]
        row["ask_qty"] = 1 + ((low >> 17) & 0xFFF) % state[_QTY]


@kernel(example=lambda: (_example(), 1, np.zeros(1, PUBLIC)), bare=True)
def fresh_marks(walk: Walk, now_ns: int, records: Records) -> None:
    """Fill `records`, one a symbol, with the mark prices of `now_ns`."""
    now_ms = now_ns // _NS_PER_MS
    for symbol in range(len(records)):
        row, state = records[symbol], walk.state[symbol]
        mid_e8 = (2 * state[_BID] + 1) * state[_TICK_E8] // 2
        row["kind"] = MARK
        row["time_ns"] = now_ns
        row["symbol"] = symbol
        row["mark_e8"] = mid_e8
        row["average_e8"] = mid_e8
        row["index_e8"] = mid_e8 - state[_TICK_E8] // 4
        row["funding_e8"] = 10_000 if symbol % 2 == 0 else -2_500
        row["next_funding_ms"] = (now_ms // _FUNDING_INTERVAL_MS + 1) * _FUNDING_INTERVAL_MS
