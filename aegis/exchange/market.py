"""The one port through which prices come: synthetic, recorded or live."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Arrays", "EventArray", "MarketSource"]

#: Array of `kernels.books.EVENT`.
EventArray = npt.NDArray[np.void]
#: State as named arrays, ready for `numpy.savez`.
Arrays = dict[str, npt.NDArray[Any]]


class MarketSource(Protocol):
    """Prices from elsewhere, as events in ticks and steps (`kernels.books.EVENT`)."""

    def events(self, until_ns: int) -> EventArray:
        """All events with `time_ns <= until_ns` that were not returned before, in time order.

        The first events open the market: a QUOTE (and a MARK) for each symbol that has prices at the start. A source
        that is asked for a time that it has passed returns nothing.
        """
        ...

    def snapshot(self) -> Arrays:
        """State from which an equal source goes on exactly as this one would."""
        ...

    def restore(self, state: Arrays) -> None:
        """Take over the state of `snapshot`."""
        ...
