"""The lines of a recording to bars and nothing else, over and over: how fast decoding and bars are by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt

from aegis.exchange.lines import FrameLines
from aegis.exchange.recorded import listing_from_frames
from aegis.kernels import fold
from aegis.kernels.analysis import AnalysisParams, new_state, out_room, set_live_from
from aegis.kernels.layout import BAR, EVENT
from aegis.kernels.lines import Chunk
from aegis.kernels.market import AGG_TRADE, TRADE, batch_buffer, new_table

__all__ = ["Folded", "Folder"]

_INTERVAL_NS = 100_000_000
_LATENESS_MS = 250
_BASE_MS = 1000
#: A recorder's clock may be ahead of the venue's by this.
_CLOCK_ERROR_MS = 60_000


@attrs.frozen(kw_only=True)
class Folded:
    """What came out of the lines."""

    frames: int
    not_ticks: int
    """Frames that the fast rules do not read: depth, marks of other kinds, damage."""
    rows: int
    bars: int
    lots: tuple[int, ...]
    """Volume of each pass through the data, which must be the same."""


class Folder:
    """Holds a recording in memory; `run` goes through it, with fresh books of account for each pass.

    Raises ConfigError where the files hold no market.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        source = FrameLines(paths)
        self.listings = listing_from_frames(source.head)
        kinds = b"\n".join(source.head)
        self._trades = TRADE if b'"e":"trade"' in kinds else AGG_TRADE
        self._chunks: list[Chunk] = [chunk for chunk in source if len(chunk.lines)]
        first_ms = int(self._chunks[0].lines["recv_ns"][0]) // 1_000_000
        self._first_ms = (first_ms - _CLOCK_ERROR_MS) // _BASE_MS * _BASE_MS

    def run(self, frames: int) -> Folded:
        """Whole passes until at least `frames` have gone through; each starts with an empty market."""
        totals = np.zeros(fold.TOTALS, np.int64)
        lots: list[int] = []
        while totals[fold.FRAMES] < frames:
            before = int(totals[fold.LOTS])
            self._pass(totals)
            lots.append(int(totals[fold.LOTS]) - before)
        return Folded(
            frames=int(totals[fold.FRAMES]), not_ticks=int(totals[fold.NOT_TICKS]), rows=int(totals[fold.ROWS]),
            bars=int(totals[fold.BARS]), lots=tuple(lots),
        )  # fmt: skip

    def _pass(self, totals: npt.NDArray[np.int64]) -> None:
        names, decimals = [one.symbol for one in self.listings], [one.qty_decimals for one in self.listings]
        table = new_table(names, decimals, _BASE_MS, self._trades)
        state = new_state(len(names), (_BASE_MS,), AnalysisParams())
        for symbol in range(len(names)):
            set_live_from(state, symbol, self._first_ms)
        bars, events = out_room(state)
        room = batch_buffer(table), state, np.zeros(bars + 1024, BAR), np.zeros(events, EVENT), totals
        for chunk in self._chunks:
            fold.fold_lines(chunk.data, chunk.lines, _INTERVAL_NS, _LATENESS_MS, table, *room)
        last = self._chunks[-1]
        fold.fold_lines(last.data, last.lines[:0], _INTERVAL_NS, -_BASE_MS, table, *room)  # every bar that has begun
