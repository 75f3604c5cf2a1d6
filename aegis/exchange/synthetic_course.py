"""A plan on the synthetic market: which parameters hold in which bin, and where that changes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from math import log1p

import numpy as np
import numpy.typing as npt

from aegis.exchange.scenario import Plan
from aegis.kernels import synthetic

__all__ = ["Course"]

Float64 = npt.NDArray[np.float64]

_NEVER = 2**62
_BPS = 1e-4


class Course:
    """`base` are the parameters [symbol, column] without a plan. Bins are those of `kernels.synthetic`."""

    def __init__(self, base: Float64, plan: Plan) -> None:
        self._base = base
        self._plan = plan
        times = {phase.start_ns for phase in plan.phases} | {phase.end_ns for phase in plan.phases}
        times |= {window.ns for window in plan.windows}
        self._edges = sorted(ns // synthetic.BIN_NS for ns in times)

    def edge(self, number: int) -> int:
        """The bin of an edge; one that never comes behind the last."""
        return self._edges[number] if number < len(self._edges) else _NEVER

    def passed(self, place: int) -> int:
        """How many edges lie at this bin or before it."""
        return bisect_right(self._edges, place)

    def at(self, place: int) -> tuple[Float64, float]:
        """(parameters in this bin, factor of the whole market's volatility)."""
        params, factor = self._base.copy(), 1.0
        for phase in self._plan.phases:
            if not phase.start_ns // synthetic.BIN_NS <= place < phase.end_ns // synthetic.BIN_NS:
                continue
            some, what = list(phase.symbols), phase.what
            if phase.everybody:
                factor *= what.volatility
            else:
                params[some, synthetic.VOL] *= what.volatility
            for column, times in (
                (synthetic.ACTIVITY, what.activity),
                (synthetic.TOUCH, what.depth),
                (synthetic.SPREAD, what.spread),
            ):
                params[some, column] *= times
            params[some, synthetic.TOUCH] = np.maximum(1.0, params[some, synthetic.TOUCH])
            params[some, synthetic.DRIFT] += what.drift_bps_per_min * _BPS / 60.0
            params[some, synthetic.PREMIUM] += what.premium_bps * _BPS
        for window in self._plan.windows:
            if window.ns // synthetic.BIN_NS <= place:
                quoted = window.quoted and self._base[window.symbol, synthetic.ACTIVITY] > 0.0
                params[window.symbol, synthetic.OPEN] = 1.0 if quoted else 0.0
        return params, factor

    def jumps(self, place: int) -> Iterator[tuple[int, float]]:
        """(symbol, jump of the logarithm of its price) at the beginning of this bin."""
        for phase in self._plan.phases:
            if phase.start_ns // synthetic.BIN_NS == place and phase.what.jump_bps:
                for symbol in phase.symbols:
                    yield symbol, log1p(phase.what.jump_bps * _BPS)
