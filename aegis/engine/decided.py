"""Which zones have had their one signal: of each symbol those that were decided, or told again, last.

A zone that may still matter is told again; one that is forgotten has not been while 64 others of its symbol had their
signal, and at most 8 are watched at a time. So the memory is bounded, and all of it is there from the start.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Decided"]

_KEPT = 64
_NONE = -(2**63)  # zones are ids of 63 bits


class Decided:
    """`rows[symbol]`: ids of zones, the last one told at the end; shape (symbols, 64)."""

    def __init__(self, symbols: int) -> None:
        self.rows: npt.NDArray[np.int64] = np.full((symbols, _KEPT), _NONE, np.int64)

    def add(self, symbol: int, zone: int) -> None:
        """It has had its signal."""
        row = self.rows[symbol]
        at = int((row == zone).argmax())  # 0, the oldest, where it is not there
        row[at:-1] = row[at + 1 :]
        row[-1] = zone

    def told(self, symbol: int, zone: int) -> bool:
        """Whether it has had its signal; then it is remembered as told just now."""
        known = bool((self.rows[symbol] == zone).any())
        if known:
            self.add(symbol, zone)
        return known
