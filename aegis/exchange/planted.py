"""A planted edge: after a gap of three bars a price drifts on. Its truth goes to a side file, never into the feed.

The gap is the one of SIGNALS.md: the low of a bar above the high of the bar before last (or the mirror of it). What a
learner must find is that the drift grows with the gap's size over the usual range of a bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from aegis.config.scenario import Edge
from aegis.core.errors import ConfigError
from aegis.exchange.listing import Listing
from aegis.exchange.market import EventArray
from aegis.kernels.books import TRADE
from aegis.kernels.synthetic import BIN_NS

__all__ = ["PlantedEdge"]

Float64 = npt.NDArray[np.float64]

#: Columns of a symbol's state: the bar in progress, the two before it, the usual range, and the drift that is on.
_COLUMNS = ("high", "low", "high_1", "low_1", "high_2", "low_2", "range", "bars_left", "drift")
(_HIGH, _LOW, _HIGH_1, _LOW_1, _HIGH_2, _LOW_2, _RANGE, _LEFT, _DRIFT) = range(len(_COLUMNS))
_EMPTY = np.inf
#: A bar's weight in the usual range.
_WEIGHT = 0.05
_LARGEST = 3.0
_BPS = 1e-4


class PlantedEdge:
    """Watches the source's trades and says how prices drift. Bars are whole multiples of their length since the epoch.

    Args:
        truth: where each planted drift is told, one JSON line each.
    """

    def __init__(self, edge: Edge, listings: Sequence[Listing], born_ns: int, truth: Path) -> None:
        self._edge = edge
        self._listings = tuple(listings)
        self._bar_bins = max(1, round(edge.bar_s * 1e9) // BIN_NS)
        self._flip_bin = (born_ns + round(edge.flip_s * 1e9)) // BIN_NS if edge.flip_s else 2**62
        self._truth = truth
        self.state: Float64 = np.zeros((len(self._listings), len(_COLUMNS)))
        self.state[:, [_LOW, _LOW_1, _LOW_2]] = _EMPTY

    def due(self, place: int) -> int:
        """The first bin, from this one on, with which a bar begins."""
        return -(-place // self._bar_bins) * self._bar_bins

    @property
    def drift(self) -> Float64:
        """Of the logarithm of each price, a second."""
        drift: Float64 = self.state[:, _DRIFT]
        return drift

    def add(self, events: EventArray) -> None:
        """Trades of the bar in progress."""
        trades = events[events["kind"] == TRADE]
        np.maximum.at(self.state[:, _HIGH], trades["symbol"], trades["price"].astype(np.float64))
        np.minimum.at(self.state[:, _LOW], trades["symbol"], trades["price"].astype(np.float64))

    def close(self, place: int) -> None:
        """The bar before this bin is complete. Raises ConfigError where the truth cannot be written."""
        state = self.state
        state[:, _LEFT] = np.maximum(0.0, state[:, _LEFT] - 1.0)
        state[state[:, _LEFT] == 0.0, _DRIFT] = 0.0
        whole = (state[:, _HIGH] > 0.0) & (state[:, _HIGH_2] > 0.0) & (state[:, _RANGE] > 0.0)
        up, down = state[:, _LOW] - state[:, _HIGH_2], state[:, _LOW_2] - state[:, _HIGH]
        for symbol in np.flatnonzero(whole & ((up > 0.0) | (down > 0.0))).tolist():
            self._plant(symbol, place, 1 if up[symbol] > 0.0 else -1, float(max(up[symbol], down[symbol])))
        spans = np.where(state[:, _HIGH] > 0.0, state[:, _HIGH] - state[:, _LOW], 0.0)
        fresh = state[:, _RANGE] == 0.0
        state[:, _RANGE] += np.where(fresh, spans, _WEIGHT * (spans - state[:, _RANGE]))
        state[:, [_HIGH_2, _LOW_2]] = state[:, [_HIGH_1, _LOW_1]]
        state[:, [_HIGH_1, _LOW_1]] = state[:, [_HIGH, _LOW]]
        state[:, _HIGH], state[:, _LOW] = 0.0, _EMPTY

    def _plant(self, symbol: int, place: int, direction: int, gap: float) -> None:
        state, edge = self.state[symbol], self._edge
        size = min(_LARGEST, gap / float(state[_RANGE]))
        sign = -1 if place >= self._flip_bin else 1
        moved = sign * direction * edge.strength_bps * _BPS * size
        state[_DRIFT] = moved / (edge.for_bars * edge.bar_s)
        state[_LEFT] = edge.for_bars
        row = {"ms": place * BIN_NS // 1_000_000, "symbol": self._listings[symbol].symbol, "direction": direction,
               "size": size, "bps": moved / _BPS, "flipped": sign < 0}  # fmt: skip
        try:
            with self._truth.open("ab") as file:
                file.write(msgspec.json.encode(row) + b"\n")
        except OSError as error:
            raise ConfigError(f"{self._truth}: {error.strerror}") from None
