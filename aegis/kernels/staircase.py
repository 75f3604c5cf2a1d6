"""A market for benches: every symbol climbs (or falls) in stairs, at a given number of events a second.

One stair of `CYCLE_MS`, in steps of about a basis point: an impulse inside one second leaves a gap behind it, the price
drifts on a little while the gap becomes known, then it comes back into the gap at a random moment, and rests there
until the next stair. Half of the symbols climb, half fall. Between all that quotes change their sizes and trades print
at the touch, on random symbols: the tick that crosses a level is one of many in its batch.

The price is a pure function of time; only the choice of symbols and sizes draws random numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from aegis.kernels.books import EVENT, MARK, PUBLIC, QUOTE, TRADE
from aegis.kernels.compile import inner, kernel

__all__ = ["CYCLE_MS", "MOVE", "PARAMETERS", "STATE", "price_moves", "stairs"]

CYCLE_MS = 24_000

#: Columns of the parameters of a symbol: int64.
PARAMETERS = ("start", "spread", "direction", "unit", "touch", "trade", "delay_ms", "tick_e8")
START, SPREAD, DIRECTION, UNIT, TOUCH, TRADE_SIZE, DELAY_MS, TICK_E8 = range(len(PARAMETERS))
#: Columns of the state: the random state, events owed in millionths, trades so far, next second of marks.
STATE = ("random", "owed", "order", "second")
RANDOM, OWED, ORDER, SECOND = range(len(STATE))

#: A quote whose price differs from the one before it, and the batch that carried it.
MOVE = np.dtype(
    [
        ("symbol", np.int32),
        ("batch", np.int32),
        ("event_ms", np.int64),
        ("bid", np.int64),  # ticks
        ("ask", np.int64),
    ],
    align=True,
)

_NS_PER_MS = 1_000_000
_MILLION = 1_000_000
# Heights of a stair in units, and when its parts begin and end, in ms of the cycle.
_IMPULSE, _DRIFT, _RETURN = 60, 8, 10
_IMPULSE_FROM, _IMPULSE_TO, _DRIFT_TO = 200, 800, 3_200
_DIP_FROM, _DIP_SPREAD, _DIP_LEAST, _DIP_LONGER = 3_600, 2_600, 400, 800
_NET = _IMPULSE - _RETURN

Int64 = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]


@inner()
def _mix(value: int) -> int:
    """A whole number in [0, 2**31) that has forgotten where it came from; the product fits into 63 bits."""
    value = (value ^ (value >> 15)) & 0x7FFFFFFF
    value = (value * 739_982_445) & 0x7FFFFFFF
    value = value ^ (value >> 12)
    value = (value * 695_872_825) & 0x7FFFFFFF
    return int(value ^ (value >> 15))


@inner()
def _offset(row: Int64, symbol: int, elapsed_ms: int) -> int:
    """How far the bid has come from its start, in ticks towards the symbol's direction."""
    if elapsed_ms < 0:
        return 0
    cycle = elapsed_ms // CYCLE_MS
    at = elapsed_ms % CYCLE_MS
    draw = _mix(cycle * 1_009 + symbol * 7_919 + 1)
    dip_from = _DIP_FROM + draw % _DIP_SPREAD
    dip_ms = _DIP_LEAST + (draw >> 12) % _DIP_LONGER
    unit = row[UNIT]
    height = 0
    if at >= _IMPULSE_TO:
        height = _IMPULSE * unit
    elif at > _IMPULSE_FROM:
        height = _IMPULSE * unit * (at - _IMPULSE_FROM) // (_IMPULSE_TO - _IMPULSE_FROM)
    if at >= dip_from:
        height += _DRIFT * unit - (_DRIFT + _RETURN) * unit * min(at - dip_from, dip_ms) // dip_ms
    elif at > _IMPULSE_TO:
        height += _DRIFT * unit * min(at - _IMPULSE_TO, _DRIFT_TO - _IMPULSE_TO) // (_DRIFT_TO - _IMPULSE_TO)
    return int(cycle * _NET * unit + height)


@inner()
def _draw(state: Int64) -> int:
    """The next random number in [0, 2**31) (Lehmer's generator with Park and Miller's second multiplier)."""
    state[RANDOM] = state[RANDOM] * 48_271 % 0x7FFFFFFF
    return int(state[RANDOM])


def _example() -> tuple[Any, ...]:
    params = np.ones((1, len(PARAMETERS)), np.int64)
    return (0, 0, 0, 1_000, params, np.ones(len(STATE), np.int64), np.zeros(8, EVENT))


@kernel(example=_example)
def stairs(
    begin_ms: int, from_ms: int, to_ms: int, rate: int, params: Int64, state: Int64, out: Records
) -> int:
    """Write the events of [`from_ms`, `to_ms`): `rate` a second, marks of every symbol once a second on top.

    Args:
        begin_ms: when the first stair may begin.
        params: [symbol, PARAMETERS]. state: STATE, kept between calls; its random number must not be 0.
        out: room for `rate` events a second plus two a symbol.

    Returns:
        How many there are.
    """
    pos = 0
    symbols = len(params)
    for ms in range(from_ms, to_ms):
        if ms // 1_000 >= state[SECOND]:
            state[SECOND] = ms // 1_000 + 1
            for s in range(symbols):
                row = out[pos]
                row["time_ns"] = ms * _NS_PER_MS
                row["symbol"] = s
                row["kind"] = MARK
                ticks = params[s, START] + params[s, DIRECTION] * _offset(
                    params[s], s, ms - begin_ms - params[s, DELAY_MS]
                )
                row["mark_e8"] = ticks * params[s, TICK_E8]
                row["index_e8"] = row["mark_e8"]
                pos += 1
        state[OWED] += rate * (_MILLION // 1_000)
        count = state[OWED] // _MILLION
        state[OWED] -= count * _MILLION
        for k in range(count):
            draw = _draw(state)
            s = draw % symbols
            bid = params[s, START] + params[s, DIRECTION] * _offset(params[s], s, ms - begin_ms - params[s, DELAY_MS])
            row = out[pos]
            pos += 1
            row["time_ns"] = ms * _NS_PER_MS + k * _NS_PER_MS // count
            row["symbol"] = s
            sizes = _draw(state)
            if draw >> 12 & 7 == 0:  # one in eight is a trade, which is about what an evening of BTCUSDT shows
                row["kind"] = TRADE
                row["side"] = 1 if sizes & 1 else -1
                row["price"] = bid + params[s, SPREAD] if sizes & 1 else bid
                row["qty"] = 1 + (sizes >> 1) % params[s, TRADE_SIZE]
                state[ORDER] += 1
                row["order"] = state[ORDER]
            else:
                row["kind"] = QUOTE
                row["bid"] = bid
                row["ask"] = bid + params[s, SPREAD]
                row["bid_qty"] = params[s, TOUCH] + sizes % 4_096
                row["ask_qty"] = params[s, TOUCH] + (sizes >> 12) % 4_096
    return pos


@kernel(example=lambda: (np.zeros(0, PUBLIC), 0, np.zeros((1, 2), np.int64), np.zeros(1, MOVE)))
def price_moves(published: Records, batch: int, last: Int64, out: Records) -> int:
    """Quotes of a batch whose price is new. `last` [symbol, bid and ask] is kept between calls; returns the count."""
    pos = 0
    for k in range(len(published)):
        record = published[k]
        symbol = record["symbol"]
        if record["kind"] == QUOTE and (record["bid"] != last[symbol, 0] or record["ask"] != last[symbol, 1]):
            last[symbol, 0] = record["bid"]
            last[symbol, 1] = record["ask"]
            out[pos]["symbol"] = symbol
            out[pos]["batch"] = batch
            out[pos]["event_ms"] = record["time_ns"] // _NS_PER_MS
            out[pos]["bid"] = record["bid"]
            out[pos]["ask"] = record["ask"]
            pos += 1
    return pos
