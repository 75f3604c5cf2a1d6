"""A recording as the prices of an exchange that runs now: its first moment is the exchange's start."""

from __future__ import annotations

from pathlib import Path

from aegis.exchange.lines import FrameLines
from aegis.exchange.listing import Listing
from aegis.exchange.market import Arrays, EventArray
from aegis.exchange.recorded import RecordedSource, listing_from_frames

__all__ = ["ReplayedSource"]


class ReplayedSource:
    """A `MarketSource` over one file of lines `<ns> <json>`, plain or gzip, moved onto the venue's clock.

    When it is over the last prices stand.

    Raises:
        ConfigError: it cannot be read, or holds no prices.
    """

    def __init__(self, path: Path, start_ns: int) -> None:
        frames = FrameLines([path])
        self.listings: tuple[Listing, ...] = listing_from_frames(frames.head)
        self._inner = RecordedSource(frames, frames.head, self.listings)
        self._moved_ns = start_ns - self._inner.start_ns

    def events(self, until_ns: int) -> EventArray:
        """See `MarketSource`."""
        events = self._inner.events(until_ns - self._moved_ns).copy()
        events["time_ns"] += self._moved_ns
        return events

    def snapshot(self) -> Arrays:
        """How far it has been read; the file is not in it."""
        return self._inner.snapshot()

    def restore(self, state: Arrays) -> None:
        """Read on where `snapshot` was taken, of the same file. Raises ConfigError where that is shorter."""
        self._inner.restore(state)
