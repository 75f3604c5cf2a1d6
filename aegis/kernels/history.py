"""Folding the tape: trades into bars, bars into longer bars, prints into aggregated trades. Integers throughout."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from aegis.kernels.books import PUBLIC, TRADE
from aegis.kernels.compile import kernel

__all__ = ["AGGREGATE", "TAPE_BAR", "aggregate", "fold_bars", "fold_trades", "roll"]

_NS_PER_MS = 1_000_000

#: A bar in ticks and steps; `quote` is the sum of price * quantity in ticks * steps. Its time is its place in a ring.
TAPE_BAR = np.dtype(
    [
        ("open", np.int32),
        ("high", np.int32),
        ("low", np.int32),
        ("close", np.int32),
        ("volume", np.int64),
        ("taker_volume", np.int64),
        ("quote", np.int64),
        ("taker_quote", np.int64),
        ("trades", np.int64),  # 0: an empty bar; its prices repeat the close before it
    ],
    align=True,
)

#: Prints of one aggressive order at one price.
AGGREGATE = np.dtype(
    [
        ("symbol", np.int32),
        ("side", np.int32),  # of the aggressor
        ("time_ns", np.int64),
        ("id", np.int64),
        ("price", np.int64),
        ("qty", np.int64),
        ("first_id", np.int64),
        ("last_id", np.int64),
    ],
    align=True,
)

Int64 = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]


@kernel(example=lambda: (np.zeros((1, 2), TAPE_BAR), np.zeros(1, np.int64), 0, 0))
def roll(bars: Records, newest: Int64, symbol: int, number: int) -> None:
    """Append empty bars at the last close until bar `number` is the newest of the symbol's ring."""
    size = bars.shape[1]
    close = bars[symbol, newest[symbol] % size]["close"]
    first = max(newest[symbol] + 1, number - size + 1)
    for empty in range(first, number + 1):
        row = bars[symbol, empty % size]
        row["open"] = close
        row["high"] = close
        row["low"] = close
        row["close"] = close
        row["volume"] = 0
        row["taker_volume"] = 0
        row["quote"] = 0
        row["taker_quote"] = 0
        row["trades"] = 0
    newest[symbol] = max(newest[symbol], number)


@kernel(example=lambda: (np.zeros(0, PUBLIC), np.zeros((1, 2), TAPE_BAR), np.zeros(1, np.int64), 1000))
def fold_trades(records: Records, bars: Records, newest: Int64, bar_ms: int) -> None:
    """Add the TRADE records, which come in time order, to the rings [symbol, bar number % size]."""
    size = bars.shape[1]
    for k in range(len(records)):
        record = records[k]
        if record["kind"] != TRADE:
            continue
        symbol, price, qty = record["symbol"], record["price"], record["qty"]
        number = record["time_ns"] // _NS_PER_MS // bar_ms
        if number > newest[symbol]:
            roll(bars, newest, symbol, number)
        row = bars[symbol, number % size]
        if row["trades"] == 0:
            row["open"] = price
            row["high"] = price
            row["low"] = price
        row["high"] = max(row["high"], price)
        row["low"] = min(row["low"], price)
        row["close"] = price
        row["volume"] += qty
        row["quote"] += qty * price
        row["trades"] += 1
        if record["side"] > 0:
            row["taker_volume"] += qty
            row["taker_quote"] += qty * price


@kernel(example=lambda: (np.zeros(1, TAPE_BAR), 0, 1, np.zeros(1, TAPE_BAR)))
def fold_bars(bars: Records, first: int, per: int, out: Records) -> None:
    """Fold consecutive bars (`first` is the number of bars[0]) into bars of `per`; out[0] holds bars[0]."""
    base = first // per
    group = -1
    for k in range(len(bars)):
        bar = bars[k]
        row = out[(first + k) // per - base]
        if (first + k) // per - base != group:
            group = (first + k) // per - base
            row["open"] = bar["open"]
            row["high"] = bar["high"]
            row["low"] = bar["low"]
            row["volume"] = 0
            row["taker_volume"] = 0
            row["quote"] = 0
            row["taker_quote"] = 0
            row["trades"] = 0
        if bar["trades"] > 0:
            if row["trades"] == 0:  # only now is there a first trade
                row["open"] = bar["open"]
                row["high"] = bar["high"]
                row["low"] = bar["low"]
            row["high"] = max(row["high"], bar["high"])
            row["low"] = min(row["low"], bar["low"])
            row["volume"] += bar["volume"]
            row["taker_volume"] += bar["taker_volume"]
            row["quote"] += bar["quote"]
            row["taker_quote"] += bar["taker_quote"]
            row["trades"] += bar["trades"]
        row["close"] = bar["close"]


def _aggregate_example() -> tuple[Any, ...]:
    return np.zeros(0, PUBLIC), np.zeros(0, AGGREGATE)


@kernel(example=_aggregate_example)
def aggregate(records: Records, out: Records) -> int:
    """Aggregated trades of the TRADE records, whose prints of one aggregate are neighbours. Returns their number."""
    count = 0
    for k in range(len(records)):
        record = records[k]
        if record["kind"] != TRADE:
            continue
        if count > 0:
            last = out[count - 1]
            if last["symbol"] == record["symbol"] and last["id"] == record["agg_id"]:
                last["qty"] += record["qty"]
                last["last_id"] = record["id"]
                continue
        row = out[count]
        row["symbol"] = record["symbol"]
        row["side"] = record["side"]
        row["time_ns"] = record["time_ns"]
        row["id"] = record["agg_id"]
        row["price"] = record["price"]
        row["qty"] = record["qty"]
        row["first_id"] = record["id"]
        row["last_id"] = record["id"]
        count += 1
    return count
