"""The synthetic market: bins of 100 ms in which latent prices move, orders arrive and quotes follow.

A common factor with stochastic volatility and jumps drives every symbol with its own beta, lag and own part. Orders
arrive as a binned self-exciting (Hawkes) process; the mid is sticky, it moves when the latent price leaves a band, and
it does so at a moment inside the bin, with the order that takes the old touch. Every draw belongs to one symbol, one
purpose and one bin (`kernels/philox.py`), so that symbols do not disturb each other and any bin can be entered.
"""

from __future__ import annotations

from math import exp, log, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from aegis.kernels.books import EVENT, MARK, QUOTE, TRADE
from aegis.kernels.compile import inner, kernel
from aegis.kernels.philox import gamma, normal, poisson, student4, uniforms

__all__ = ["BIN_NS", "COUNTS", "FACTOR_VOL", "KINDS", "LEVELS", "MARKET", "PARAMETERS", "ROOM_PER_BIN", "run_bins"]

BIN_NS = 100_000_000
_DT = 0.1
_YEAR_S = 31_557_600.0
_BINS_PER_SECOND = 10
_MAX_EVENTS = 40
_MAX_PRINTS = 10
#: Rows that one symbol can make in a bin, padding apart.
ROOM_PER_BIN = _MAX_EVENTS * (_MAX_PRINTS + 2) + 4

#: Purposes of a symbol's random numbers; the key of a purpose is `keys[symbol, its place here]`.
KINDS = ("latent", "activity", "orders", "padding", "mark", "past")
_LATENT, _ACTIVITY, _ORDERS, _PADDING, _MARK, _PAST = range(len(KINDS))

#: Columns of a symbol's float64 parameters.
PARAMETERS = (
    "start", "beta", "vol", "lag_s", "activity", "branching", "mixing", "spread", "touch", "trade", "padding", "open",
    "drift", "premium",
)  # fmt: skip
(START, BETA, VOL, LAG_S, ACTIVITY, BRANCHING, MIXING, SPREAD, TOUCH, TRADE_SIZE, PADDING, OPEN, DRIFT,
 PREMIUM) = range(len(PARAMETERS))  # fmt: skip

#: Columns of a symbol's float64 state.
LEVELS = ("own", "factor", "log_vol", "fast", "middle", "slow", "spread_extra", "index", "index_bias", "basis",
          "stray")  # fmt: skip
(OWN, FACTOR, LOG_VOL, FAST, MIDDLE, SLOW, SPREAD_EXTRA, INDEX, INDEX_BIAS, BASIS, STRAY) = range(len(LEVELS))

#: Columns of a symbol's int64 state.
COUNTS = ("mid2", "spread", "bid", "ask", "bid_qty", "ask_qty", "side", "order", "shock_until")
(MID2, WIDTH, BID, ASK, BID_QTY, ASK_QTY, SIDE, ORDER, SHOCK_UNTIL) = range(len(COUNTS))

#: The common factor's float64 state.
MARKET = ("log_vol_fast", "log_vol_slow", "factor", "jump_bin")
(VOL_FAST, VOL_SLOW, FACTOR_SUM, JUMP_BIN) = range(len(MARKET))

FACTOR_VOL = 0.62
_LOG_VOL_SD = 0.4
_ZERO_SHARE = 0.25
_P_SAME_SIDE = 0.62
_P_SWEEP = 0.085
_MEAN_PRINTS = 3.9
_SIZE_SD = 1.9
_SHOCK_BINS = 50
#: A premium of last over index builds up, and goes, within ten seconds or so.
_STRAY_STEP = 1.0 - exp(-_DT / 5.0)
#: Hawkes kernels: share and decay a bin.
_W_FAST, _W_MIDDLE, _W_SLOW = 0.45, 0.30, 0.25
_D_FAST, _D_MIDDLE, _D_SLOW = exp(-_DT / 0.15), exp(-_DT / 1.5), exp(-_DT / 15.0)

Floats = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Records = npt.NDArray[np.void]


@inner()
def band_ticks(price: float) -> float:
    """How far the latent price may leave the mid before the mid follows, in ticks."""
    return max(0.6, 0.8e-4 * price)


@inner()
def step_factor(market: Floats, key: Keys, place: int, step_s: float, volatility: float) -> None:
    """Advance the common factor by one step of `step_s` seconds."""
    u, v, w, x = uniforms(key, place, 0)
    a, b, jump, _ = uniforms(key, place, 1)
    keep = 2.0 ** (-step_s / 30.0)
    market[VOL_FAST] = keep * market[VOL_FAST] + _LOG_VOL_SD * sqrt(1.0 - keep * keep) * normal(u, v)
    keep = 2.0 ** (-step_s / 3600.0)
    market[VOL_SLOW] = keep * market[VOL_SLOW] + _LOG_VOL_SD * sqrt(1.0 - keep * keep) * normal(w, x)
    scale = exp(market[VOL_FAST] + market[VOL_SLOW] - 2.0 * _LOG_VOL_SD * _LOG_VOL_SD)
    market[FACTOR_SUM] += volatility * FACTOR_VOL * sqrt(step_s / _YEAR_S) * scale * normal(a, b)
    if jump < step_s / 900.0:
        p, q, r, s = uniforms(key, place, 2)
        market[FACTOR_SUM] += volatility * 4e-4 * student4(p, q, r, s)
        market[JUMP_BIN] = place


@inner()
def _step_latent(
    s: int, place: int, params: Floats, keys: Keys, levels: Floats, ratio: float, volatility: float
) -> bool:
    """Advance a symbol's own part by one bin; `ratio` is activity over its mean. True when it jumped."""
    levels[s, OWN] += params[s, DRIFT] * _DT
    u, v, w, x = uniforms(keys[s, _LATENT], place, 0)
    active, jump, _, _ = uniforms(keys[s, _LATENT], place, 1)
    keep = 2.0 ** (-_DT / 60.0)
    levels[s, LOG_VOL] = keep * levels[s, LOG_VOL] + _LOG_VOL_SD * sqrt(1.0 - keep * keep) * normal(u, v)
    if active < _ZERO_SHARE:
        scale = exp(levels[s, LOG_VOL] - _LOG_VOL_SD * _LOG_VOL_SD) * sqrt(min(ratio, 8.0)) / sqrt(_ZERO_SHARE)
        levels[s, OWN] += volatility * params[s, VOL] * sqrt(_DT / _YEAR_S) * scale * normal(w, x)
    if jump < _DT / 1800.0:
        p, q, r, t = uniforms(keys[s, _LATENT], place, 2)
        levels[s, OWN] += volatility * 4e-4 * student4(p, q, r, t)
        return True
    return False


@inner()
def _arrivals(s: int, place: int, params: Floats, keys: Keys, levels: Floats) -> tuple[int, float]:
    """(aggressive orders in this bin, intensity over its mean); advances the self-excitation."""
    n = params[s, BRANCHING]
    excited = (
        _W_FAST * (1.0 - _D_FAST) * levels[s, FAST]
        + _W_MIDDLE * (1.0 - _D_MIDDLE) * levels[s, MIDDLE]
        + _W_SLOW * (1.0 - _D_SLOW) * levels[s, SLOW]
    )
    mean = params[s, ACTIVITY] * _DT * (1.0 - n) + n * excited
    ratio = mean / (params[s, ACTIVITY] * _DT)
    u, _, _, _ = uniforms(keys[s, _ACTIVITY], place, 0)
    if params[s, MIXING] > 0.0:
        mean *= gamma(params[s, MIXING], keys[s, _ACTIVITY], place, 1) / params[s, MIXING]
    count = min(_MAX_EVENTS, poisson(min(mean, 36.0), u))
    levels[s, FAST] = levels[s, FAST] * _D_FAST + count
    levels[s, MIDDLE] = levels[s, MIDDLE] * _D_MIDDLE + count
    levels[s, SLOW] = levels[s, SLOW] * _D_SLOW + count
    return count, ratio


@inner()
def _put_quote(out: Records, pos: int, time_ns: int, s: int, counts: Int64) -> int:
    row = out[pos]
    row["time_ns"] = time_ns
    row["symbol"] = s
    row["kind"] = QUOTE
    row["bid"] = counts[s, BID]
    row["ask"] = counts[s, ASK]
    row["bid_qty"] = counts[s, BID_QTY]
    row["ask_qty"] = counts[s, ASK_QTY]
    return pos + 1


@inner()
def _put_trades(
    out: Records, pos: int, time_ns: int, s: int, counts: Int64, side: int, prints: int, span: int, total: int
) -> int:
    """Prints of one order: from the touch to `span` ticks beyond it, `total` steps in all (at least one a print)."""
    touch = counts[s, ASK] if side > 0 else counts[s, BID]
    share = total // prints
    for k in range(prints):
        row = out[pos + k]
        row["time_ns"] = time_ns
        row["symbol"] = s
        row["kind"] = TRADE
        row["side"] = side
        row["price"] = max(1, touch + side * (span * k // max(1, prints - 1)))
        row["qty"] = share if k > 0 else total - share * (prints - 1)
        row["order"] = counts[s, ORDER]
    return pos + prints


@inner()
def _place_quotes(counts: Int64, s: int) -> None:
    """Bid and ask of the mid and the width."""
    counts[s, BID] = max(1, (counts[s, MID2] - counts[s, WIDTH]) // 2)
    counts[s, ASK] = counts[s, BID] + counts[s, WIDTH]


@inner()
def _fresh_size(unit: float, u: float, v: float) -> int:
    return max(1, int(unit * exp(0.8 * normal(u, v))))


@inner()
def _order(
    s: int, place: int, k: int, time_ns: int, towards: int, lean: float, unit: float,
    params: Floats, keys: Keys, counts: Int64, out: Records, pos: int,
) -> tuple[int, bool]:  # fmt: skip
    """One aggressive order.

    Args:
        towards: 0, or the direction in which the mid moves with this order: it takes the touch and what lies between
            (`counts` then hold the new mid and width, the quotes still the old).
        lean: tilt of the side's odds toward the latent price, -1 to 1.

    Returns:
        (next free row, whether it swept the touch without a move, so that the quote comes back soon).
    """
    u, v, w, x = uniforms(keys[s, _ORDERS], place, 2 * k + 1)
    a, b, c, _ = uniforms(keys[s, _ORDERS], place, 2 * k + 2)
    p_buy = (_P_SAME_SIDE if counts[s, SIDE] > 0 else 1.0 - _P_SAME_SIDE) + 0.22 * lean * abs(lean)
    side = towards if towards != 0 else (1 if u < p_buy else -1)
    counts[s, SIDE] = side
    counts[s, ORDER] += 1
    column = ASK_QTY if side > 0 else BID_QTY
    size = counts[s, column]
    total = max(1, int(params[s, TRADE_SIZE] * exp(_SIZE_SD * normal(v, w))))
    prints = min(_MAX_PRINTS, 1 + int(log(x) / log(1.0 - 1.0 / _MEAN_PRINTS)))
    if towards != 0:
        old_touch = counts[s, ASK] if side > 0 else counts[s, BID]
        _place_quotes(counts, s)
        new_touch = counts[s, ASK] if side > 0 else counts[s, BID]
        span = max(0, (new_touch - old_touch) * side - 1)
        prints = max(prints, 2) if span > 0 else prints
        total = min(max(total, size, prints), size + 20 * int(unit) + prints)
        # The prints belong to the old touch.
        counts[s, ASK if side > 0 else BID] = old_touch
        pos = _put_trades(out, pos, time_ns, s, counts, side, prints, span, total)
        _place_quotes(counts, s)
        counts[s, column] = _fresh_size(unit, a, b)
        counts[s, BID_QTY if side > 0 else ASK_QTY] = _fresh_size(0.5 * unit, b, a)
        return _put_quote(out, pos, time_ns, s, counts), False
    if c < _P_SWEEP and (side > 0 or counts[s, BID] > 2):
        prints = max(prints, 2)
        total = min(max(total, size + 1, prints), size + 20 * int(unit) + prints)
        pos = _put_trades(out, pos, time_ns, s, counts, side, prints, 1, total)
        counts[s, ASK if side > 0 else BID] += side
        counts[s, column] = _fresh_size(unit, a, b)
        return _put_quote(out, pos, time_ns, s, counts), True
    total = max(1, min(total, size - 1))
    prints = min(prints, total)
    pos = _put_trades(out, pos, time_ns, s, counts, side, prints, 0, total)
    counts[s, column] = max(1, size - total)
    return _put_quote(out, pos, time_ns, s, counts), False


@inner()
def _choose_move(
    s: int, place: int, price: float, params: Floats, keys: Keys, levels: Floats, counts: Int64
) -> tuple[int, bool]:
    """(direction of the mid's move or 0, whether only the width changes); writes the new mid and width."""
    band = band_ticks(price)
    distance = price - 0.5 * counts[s, MID2]
    levels[s, SPREAD_EXTRA] *= exp(-_DT / 0.5)
    towards = 0
    base = counts[s, WIDTH] if levels[s, SPREAD_EXTRA] < 0.5 else max(1, int(params[s, SPREAD]))
    if abs(distance) > band:
        u, v, w, _ = uniforms(keys[s, _LATENT], place, 3)
        towards = 1 if distance > 0 else -1
        counts[s, MID2] = max(4, round(2.0 * price))
        if abs(distance) > 3.0 * band:
            levels[s, SPREAD_EXTRA] += min(200.0, -0.25 * abs(distance) * log(u))
        base = 1
        if params[s, SPREAD] > 1.5:
            base = max(1, round(params[s, SPREAD] * exp(0.3 * normal(v, w))))
    elif levels[s, SPREAD_EXTRA] >= 0.05:  # on its way back from a jump
        base = max(1, int(params[s, SPREAD]))
    width = base + int(levels[s, SPREAD_EXTRA])
    changed = width != counts[s, WIDTH]
    counts[s, WIDTH] = width
    return towards, changed


@inner()
def _run_symbol(
    s: int, place: int, params: Floats, keys: Keys, market: Floats, levels: Floats, counts: Int64, out: Records,
    pos: int, volatility: float,
) -> int:  # fmt: skip
    """One bin of one symbol."""
    count, ratio = _arrivals(s, place, params, keys, levels)
    jumped = _step_latent(s, place, params, keys, levels, ratio, volatility)
    if jumped or market[JUMP_BIN] == place:
        counts[s, SHOCK_UNTIL] = place + _SHOCK_BINS
    response = 1.0 - exp(-_DT / params[s, LAG_S])
    levels[s, FACTOR] += response * (params[s, BETA] * market[FACTOR_SUM] - levels[s, FACTOR])
    levels[s, STRAY] += (params[s, PREMIUM] - levels[s, STRAY]) * _STRAY_STEP
    price = max(12.0, params[s, START] * exp(levels[s, OWN] + levels[s, FACTOR] + levels[s, STRAY]))
    lean = max(-1.0, min(1.0, (price - 0.5 * counts[s, MID2]) / band_ticks(price)))
    towards, requote = _choose_move(s, place, price, params, keys, levels, counts)
    unit = params[s, TOUCH] * (0.5 if place < counts[s, SHOCK_UNTIL] else 1.0)
    if count > 0:  # what was consumed comes back little by little
        counts[s, BID_QTY] += max(0, int(unit) - counts[s, BID_QTY]) // 8
        counts[s, ASK_QTY] += max(0, int(unit) - counts[s, ASK_QTY]) // 8
    pick, when, fraction, _ = uniforms(keys[s, _ORDERS], place, 0)
    mover = int(pick * count) if towards != 0 and count > 0 else -1
    next_requote = when if (requote or towards != 0) and mover < 0 else 2.0
    padding = int(params[s, PADDING] + fraction)
    # Times inside the bin, as fractions: orders by order statistics, padding one a slot.
    k = 0
    pad = 0
    recover = 2.0
    u, _, _, _ = uniforms(keys[s, _ACTIVITY], place, 64)
    next_order = 1.0 - u ** (1.0 / count) if count > 0 else 2.0
    w, a, b, c = uniforms(keys[s, _PADDING], place, 0)
    next_pad = w / padding if padding > 0 else 2.0
    while True:
        t = min(min(next_order, next_pad), min(recover, next_requote))
        if t > 1.0:
            return pos
        time_ns = place * BIN_NS + min(BIN_NS - 1, int(t * BIN_NS))
        if t == recover:
            _place_quotes(counts, s)
            pos = _put_quote(out, pos, time_ns, s, counts)
            recover = 2.0
        elif t == next_requote:
            _place_quotes(counts, s)
            pos = _put_quote(out, pos, time_ns, s, counts)
            next_requote = 2.0
            recover = 2.0
        elif t == next_order:
            pos, swept = _order(
                s, place, k, time_ns, towards if k == mover else 0, lean, unit, params, keys, counts, out, pos
            )
            if k == mover:
                recover = 2.0
            # A move still to come in this bin places the quotes itself; until then the swept level stays away.
            elif swept and mover <= k and next_requote > 1.0:
                recover = min(t + 0.12, 0.9999999)
            k += 1
            u, _, _, _ = uniforms(keys[s, _ACTIVITY], place, 64 + k)
            next_order = 1.0 - (1.0 - t) * u ** (1.0 / (count - k)) if k < count else 2.0
        else:
            column = BID_QTY if a < 0.5 else ASK_QTY
            size = _fresh_size(unit, b, c)
            counts[s, column] = size + (1 if size == counts[s, column] else 0)
            pos = _put_quote(out, pos, time_ns, s, counts)
            pad += 1
            w, a, b, c = uniforms(keys[s, _PADDING], place, pad)
            next_pad = (pad + w) / padding if pad < padding else 2.0


@inner()
def _put_mark(
    s: int, place: int, params: Floats, keys: Keys, levels: Floats, counts: Int64, out: Records, pos: int, tick_e8: int
) -> int:
    """Once a second: the index follows the latent price with a slow bias, the mark is index plus smoothed basis."""
    u, v, _, _ = uniforms(keys[s, _MARK], place, 0)
    keep = 2.0 ** (-1.0 / 600.0)
    levels[s, INDEX_BIAS] = keep * levels[s, INDEX_BIAS] + 2.5e-4 * sqrt(1.0 - keep * keep) * normal(u, v)
    latent = levels[s, OWN] + levels[s, FACTOR]
    levels[s, INDEX] += 0.6 * (latent - levels[s, INDEX])
    index = params[s, START] * exp(levels[s, INDEX] + levels[s, INDEX_BIAS])
    levels[s, BASIS] += (0.5 * counts[s, MID2] - index - levels[s, BASIS]) / 30.0
    row = out[pos]
    row["time_ns"] = place * BIN_NS
    row["symbol"] = s
    row["kind"] = MARK
    row["index_e8"] = max(1, round(index * tick_e8))
    row["mark_e8"] = max(1, round((index + levels[s, BASIS]) * tick_e8))
    return pos + 1


def _run_example() -> tuple[Any, ...]:
    return (0, 0, np.zeros((1, len(PARAMETERS))), np.zeros((1, len(KINDS), 2), np.uint64), np.zeros(2, np.uint64),
            np.zeros(len(MARKET)), np.zeros((1, len(LEVELS))), np.zeros((1, len(COUNTS)), np.int64),
            np.ones(1, np.int64), 1.0, np.zeros(1, EVENT), 0)  # fmt: skip


@kernel(example=_run_example)
def run_bins(
    first: int, last: int, params: Floats, keys: Keys, market_key: Keys, market: Floats, levels: Floats, counts: Int64,
    tick_e8: Int64, volatility: float, out: Records, room: int,
) -> tuple[int, int]:  # fmt: skip
    """Run bins first..last into the zeroed rows of `out`, symbol by symbol within a bin (the caller sorts by time).

    Args:
        room: rows that one bin can need at most.

    Returns:
        (the bin after the last one run, rows written); fewer bins when `out` has no room for the next.
    """
    pos = 0
    for place in range(first, last + 1):
        if pos + room > len(out):
            return place, pos
        step_factor(market, market_key, place, _DT, volatility)
        for s in range(params.shape[0]):
            if place % _BINS_PER_SECOND == 0 and params[s, OPEN] >= 0.0:
                pos = _put_mark(s, place, params, keys, levels, counts, out, pos, tick_e8[s])
            if params[s, OPEN] > 0.0:
                pos = _run_symbol(s, place, params, keys, market, levels, counts, out, pos, volatility)
    return last + 1, pos
