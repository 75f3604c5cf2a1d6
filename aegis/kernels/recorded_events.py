"""What a recorded line says, as the simulated exchange's events: quotes, prints and marks in ticks, steps and 1e-8."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aegis.kernels.books import EVENT, MARK, QUOTE, TRADE
from aegis.kernels.compile import inner
from aegis.kernels.lines import TRADE_LINE
from aegis.kernels.market import Table, example_table
from aegis.kernels.number import lots

__all__ = [
    "COUNTS", "IGNORED", "LARGEST_LOTS", "MARKED", "MID_E8", "NEXT_MARK_NS", "NOW_NS", "OFFSET_NS", "ORDER",
    "ORDER_MAKER", "ORDER_MS", "OTHER", "PRICE_DECIMALS", "QTY_DECIMALS", "SCALARS", "SMOOTHED_E8", "STATE",
    "STEP_UNITS",
    "TERMS", "TICK_UNITS", "TRADES_LINE", "UPDATE", "Reader", "add_mark", "add_quote", "add_trade", "example_events",
    "example_reader", "units",
]  # fmt: skip

# Columns of `Reader.state`, one row a symbol.
UPDATE, ORDER, ORDER_MS, ORDER_MAKER, SMOOTHED_E8, MID_E8, MARKED = range(7)
STATE = 7
# Columns of `Reader.terms`.
PRICE_DECIMALS, TICK_UNITS, QTY_DECIMALS, STEP_UNITS, _TICK_E8 = range(5)
TERMS = 5
# Indexes of `Reader.scalars`.
NOW_NS, OFFSET_NS, NEXT_MARK_NS, TRADES_LINE = range(4)
SCALARS = 4
#: What became of lines, in this order in `Reader.counts`.
COUNTS = ("bookTicker", "trade", "aggTrade", "markPriceUpdate", "ignored", "old", "other")
_QUOTES, _TRADES, _AGG_TRADES, _MARKS, IGNORED, _OLD, OTHER = range(7)

_LARGEST = 2**53
_LARGEST_TICKS = 2**31
#: Sums of such quantities do not overflow within a chunk.
LARGEST_LOTS = 2**40
_LARGEST_E8 = 2**61


class Reader(NamedTuple):
    """What reading carries from line to line. Python reads the lines that are left to it into the same arrays."""

    table: Table  # names, and cells for scratch; it holds no market
    terms: npt.NDArray[np.int64]  # [n, TERMS]
    state: npt.NDArray[np.int64]  # [n, STATE]
    scalars: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]


def example_reader() -> Reader:
    """Of one symbol, for compiling kernels ahead."""
    return Reader(
        example_table(), np.ones((1, TERMS), np.int64), np.zeros((1, STATE), np.int64), np.zeros(SCALARS, np.int64),
        np.zeros(len(COUNTS), np.int64),
    )  # fmt: skip


def example_events() -> npt.NDArray[np.void]:
    """Room for two events, for the same."""
    return np.zeros(2, EVENT)


@inner(inline=True)
def units(mantissa: int, decimals: int, most: int, unit: int) -> int:
    """A decimal as a whole number of `unit * 10**-most`, or -1 where it is none or absurd."""
    value = lots(mantissa, decimals, most)
    if value < 0 or value >= _LARGEST or value % unit != 0:
        return -1
    return value // unit


@inner(inline=True)
def _put(event: np.void, time_ns: int, symbol: int, kind: int) -> None:
    event["time_ns"] = time_ns
    event["symbol"] = symbol
    event["kind"] = kind
    event["side"] = 0
    event["bid"] = event["ask"] = event["bid_qty"] = event["ask_qty"] = 0
    event["price"] = event["qty"] = event["order"] = event["mark_e8"] = event["index_e8"] = 0


@inner()
def add_quote(
    reader: Reader, symbol: int, update_id: int, bid: int, ask: int, bid_qty: int, ask_qty: int,
    events: npt.NDArray[np.void], count: int,
) -> int:  # fmt: skip
    """The number of events after a quote in ticks and steps, or -1 where Python must judge it."""
    terms, state = reader.terms[symbol], reader.state[symbol]
    if not (0 < bid < ask < _LARGEST_TICKS and bid_qty > 0 and ask_qty > 0):
        return -1
    if bid + ask > _LARGEST_E8 // terms[_TICK_E8]:
        return -1
    if update_id <= state[UPDATE]:
        reader.counts[_OLD] += 1
        return count
    reader.counts[_QUOTES] += 1
    state[UPDATE] = update_id
    now_ns = reader.scalars[NOW_NS]
    event = events[count]
    _put(event, now_ns, symbol, QUOTE)
    event["bid"] = bid
    event["ask"] = ask
    event["bid_qty"] = bid_qty
    event["ask_qty"] = ask_qty
    count += 1
    mid_e8 = (bid + ask) * terms[_TICK_E8] // 2
    state[MID_E8] = mid_e8
    if state[SMOOTHED_E8] == 0:
        state[SMOOTHED_E8] = mid_e8
        if state[MARKED] == 0:
            _put(events[count], now_ns, symbol, MARK)
            events[count]["mark_e8"] = mid_e8
            events[count]["index_e8"] = mid_e8
            count += 1
    return count


@inner()
def add_trade(
    reader: Reader, symbol: int, kind: int, stamp: int, maker: bool, price: int, qty: int,
    events: npt.NDArray[np.void], count: int,
) -> int:  # fmt: skip
    """The number of events after a trade of the source that is used, in ticks and steps, or -1."""
    state = reader.state[symbol]
    if not (0 < price < _LARGEST_TICKS and qty > 0):
        return -1
    if stamp != state[ORDER_MS] or maker != (state[ORDER_MAKER] == 1):
        state[ORDER] += 1
        state[ORDER_MS] = stamp
        state[ORDER_MAKER] = maker
    event = events[count]
    _put(event, reader.scalars[NOW_NS], symbol, TRADE)
    event["side"] = -1 if maker else 1
    event["price"] = price
    event["qty"] = qty
    event["order"] = state[ORDER]
    reader.counts[_TRADES if kind == TRADE_LINE else _AGG_TRADES] += 1
    return count + 1


@inner()
def add_mark(reader: Reader, symbol: int, mark: int, index: int, events: npt.NDArray[np.void], count: int) -> int:
    """The number of events after a mark price in 1e-8, or -1."""
    if mark <= 0 or index <= 0:
        return -1
    reader.state[symbol, MARKED] = 1
    _put(events[count], reader.scalars[NOW_NS], symbol, MARK)
    events[count]["mark_e8"] = mark
    events[count]["index_e8"] = index
    reader.counts[_MARKS] += 1
    return count + 1
