"""One symbol's closed bars as they are walked: base bars, and the longer ones that came before them."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from aegis.engine.bar_store import storable
from aegis.kernels.layout import BAR
from aegis.kernels.state import Records

__all__ = ["Candles", "candles"]


@attrs.frozen(eq=False)
class Candles:
    """`base`: contiguous base bars, oldest first. `history`: of each longer timeframe the bars that end before them."""

    base: Records
    history: tuple[Records, ...] = ()

    def until(self, count: int) -> Candles:
        """As it was when there were `count` base bars."""
        return attrs.evolve(self, base=self.base[:count])

    def __len__(self) -> int:
        return len(self.base)


def candles(bars: Records, timeframes_ms: Sequence[int]) -> Candles:
    """Of one symbol's bars (dtype BAR, `timeframe` an index of `timeframes_ms`) in any order; of two equals the later.

    A longer bar is built from whole base bars, so the base begins where every bar before is whole: at a multiple of the
    longest timeframe that one of its bars ends at. Where there is none, all base bars count and the longer start anew.
    """
    series = []
    for k, ms in enumerate(timeframes_ms):
        mine = bars[bars["timeframe"] == k]
        last = {int(opened): number for number, opened in enumerate(mine["open_time"])}
        series.append(storable(mine[[last[opened] for opened in sorted(last)]], ms))
    base, *longer = series
    aligned = np.flatnonzero(base["open_time"] % timeframes_ms[-1] == 0)
    if longer and len(aligned):
        start = int(base["open_time"][aligned[0]])
        before = [_ending(one, start, ms) for one, ms in zip(longer, timeframes_ms[1:], strict=True)]
        if len(before[-1]):
            return Candles(base[aligned[0] :], tuple(before))
    return Candles(base, (np.zeros(0, BAR),) * len(longer))


def _ending(bars: Records, end: int, ms: int) -> Records:
    """Those up to `end`; none where the last of them ends before it."""
    bars = bars[bars["open_time"] + ms <= end]
    return bars if len(bars) and int(bars["open_time"][-1]) + ms == end else bars[:0]
