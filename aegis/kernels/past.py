"""The synthetic market's past: bars of a second and of a minute that end exactly where the live market begins.

A random walk with the live market's volatilities is made forward and then shifted so that it ends at the start price.
Highs and lows are those of a Brownian bridge; a bar without orders repeats the close.
"""

from __future__ import annotations

from math import exp, log, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from aegis.kernels.compile import inner, kernel
from aegis.kernels.history import TAPE_BAR
from aegis.kernels.philox import normal, poisson, uniforms
from aegis.kernels.synthetic import (
    ACTIVITY,
    BETA,
    FACTOR_SUM,
    FACTOR_VOL,
    KINDS,
    MARKET,
    PARAMETERS,
    START,
    TRADE_SIZE,
    VOL,
    band_ticks,
    step_factor,
)  # fmt: skip

__all__ = ["factor_path", "past_bars"]

_YEAR_S = 31_557_600.0
_MEAN_PRINTS = 3.9
_MEAN_SIZE = 4.0  # mean order over median order, as capped by the touch
_PAST = KINDS.index("past")

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
Records = npt.NDArray[np.void]


@kernel(example=lambda: (np.zeros(2, np.uint64), 0, 60.0, 1.0, np.zeros(1), np.zeros(len(MARKET))))
def factor_path(key: Keys, place: int, step_s: float, volatility: float, out: Floats, market: Floats) -> None:
    """The common factor's increments over len(out) steps that begin at `place`; goes on from `market`."""
    for k in range(len(out)):
        before = market[FACTOR_SUM]
        step_factor(market, key, place + k, step_s, volatility)
        out[k] = market[FACTOR_SUM] - before


@inner()
def _walk(
    params: Floats, key: Keys, place: int, step_s: float, volatility: float, factor: Floats, path: Floats
) -> None:
    """Log prices after each step, from path[0] on."""
    scale = volatility * params[VOL] * sqrt(step_s / _YEAR_S)
    for k in range(len(factor)):
        u, v, _, _ = uniforms(key, place + k, 0)
        path[k + 1] = path[k] + params[BETA] * factor[k] + scale * normal(u, v)


@inner()
def _bars(
    params: Floats, key: Keys, place: int, step_s: float, volatility: float, path: Floats, mid: float, out: Records
) -> float:
    """Bars of a path that is already shifted to its end; `mid` is the sticky mid before it. Returns the last mid."""
    total_vol = volatility * sqrt(params[VOL] ** 2 + (params[BETA] * FACTOR_VOL) ** 2) * sqrt(step_s / _YEAR_S)
    close = round(mid)
    for k in range(len(out)):
        u, v, w, x = uniforms(key, place + k, 1)
        a, b, c, d = uniforms(key, place + k, 2)
        price = params[START] * exp(path[k + 1])
        if abs(price - mid) > band_ticks(price):
            mid = price
        mean = params[ACTIVITY] * step_s * exp(0.9 * normal(u, v) - 0.405)
        orders = poisson(mean, w) if mean < 30.0 else max(1, int(mean))
        row = out[k]
        opened = close
        if orders > 0:
            close = max(1, round(mid) + (1 if x < 0.25 else 0))
        reach = min(1.0, 0.12 * (orders - 1)) if orders > 1 else 0.0
        move = path[k + 1] - path[k]
        up = 0.5 * (move + sqrt(move * move - 2.0 * total_vol * total_vol * log(a)))
        down = 0.5 * (move - sqrt(move * move - 2.0 * total_vol * total_vol * log(b)))
        start = params[START] * exp(path[k])
        high = max(max(opened, close), int(start * (1.0 + reach * up)))
        low = max(1, min(min(opened, close), int(start * (1.0 + reach * down)) + 1))
        row["open"] = opened
        row["close"] = close
        row["high"] = high if orders > 0 else opened
        row["low"] = low if orders > 0 else opened
        if orders == 0:
            continue
        volume = max(orders, int(orders * params[TRADE_SIZE] * _MEAN_SIZE * exp(0.4 * normal(c, d))))
        taker = int(volume * (0.2 + 0.6 * a))
        middle = (opened + high + low + close) // 4
        row["volume"] = volume
        row["taker_volume"] = taker
        row["quote"] = volume * middle
        row["taker_quote"] = taker * middle
        row["trades"] = max(orders, min(volume, int(orders * _MEAN_PRINTS)))
    return mid


def _past_example() -> tuple[Any, ...]:
    params, keys = np.zeros((1, len(PARAMETERS))), np.zeros((1, len(KINDS), 2), np.uint64)
    bars = np.zeros((1, 1), TAPE_BAR)
    return params, keys, 0, 0, 1.0, np.zeros(1), np.zeros(1), bars, bars.copy()


@kernel(example=_past_example)
def past_bars(
    params: Floats, keys: Keys, first_minute: int, first_second: int, volatility: float,
    minute_factor: Floats, second_factor: Floats, minutes: Records, seconds: Records,
) -> None:  # fmt: skip
    """Fill minutes[symbol, :] and, from where they end, seconds[symbol, :] (zeroed `TAPE_BAR` rows).

    The last second closes at the start price, with at least one trade.
    """
    early = np.zeros(len(minute_factor) + 1)
    late = np.zeros(len(second_factor) + 1)
    for s in range(params.shape[0]):
        key = keys[s, _PAST]
        _walk(params[s], key, first_minute, 60.0, volatility, minute_factor, early)
        late[0] = early[-1]
        # Minutes and seconds are numbered from the same epoch, so their places never meet within 57 years of it.
        _walk(params[s], key, first_second, 1.0, volatility, second_factor, late)
        end = late[-1]
        early -= end
        late -= end
        mid = params[s, START] * exp(early[0])
        mid = _bars(params[s], key, first_minute, 60.0, volatility, early, mid, minutes[s])
        _bars(params[s], key, first_second, 1.0, volatility, late, mid, seconds[s])
        # The sticky mid is within its band of the start price; one trade closes the gap.
        bar = seconds[s, len(second_factor) - 1]
        last = int(params[s, START])
        bar["close"] = last
        if bar["trades"] == 0:
            bar["open"] = last
            bar["high"] = last
            bar["low"] = last
        bar["high"] = max(bar["high"], last)
        bar["low"] = min(bar["low"], last)
        bar["volume"] += 1
        bar["taker_volume"] += 1
        bar["quote"] += last
        bar["taker_quote"] += last
        bar["trades"] += 1
        early[0] = 0.0  # the walk of the next symbol begins anew
