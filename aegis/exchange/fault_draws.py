"""What is decided by chance about faults: one seeded stream a kind, apart from prices and latencies."""

from __future__ import annotations

from collections import Counter
from zlib import crc32

import numpy as np

from aegis.config.faults import Faults

__all__ = ["FaultPlan"]


class FaultPlan:
    """The faults that are on, their random numbers, and how often each has happened.

    `set` exchanges what is on while the exchange runs; the streams go on where they are.
    """

    def __init__(self, faults: Faults, born_ns: int) -> None:
        self.faults = faults
        self.born_ns = born_ns
        self.counts: Counter[str] = Counter()
        self._streams: dict[str, np.random.Generator] = {}

    def set(self, faults: Faults) -> None:
        """Have these from now on; another seed begins new streams."""
        if faults.seed != self.faults.seed:
            self._streams.clear()
        self.faults = faults

    def _draw(self, kind: str) -> float:
        stream = self._streams.get(kind)
        if stream is None:
            key = np.random.SeedSequence([self.faults.seed, crc32(kind.encode()), crc32(b"fault")])
            stream = self._streams[kind] = np.random.Generator(np.random.Philox(key))
        return float(stream.random())

    def happens(self, kind: str, share: float) -> bool:
        """Whether something with this probability happens now; draws nothing where it never does."""
        if share <= 0.0 or self._draw(kind) >= share:
            return False
        self.counts[kind] += 1
        return True

    def choose(self, kind: str, shares: dict[str, float]) -> str | None:
        """Which of these happens, if any."""
        if not any(shares.values()):
            return None
        left = self._draw(kind)
        for name, share in shares.items():
            left -= share
            if left < 0.0:
                self.counts[name] += 1
                return name
        return None

    def uniform(self, kind: str, most: float) -> float:
        """Anything up to `most`."""
        return most * self._draw(kind)

    def waiting_s(self, kind: str, mean_s: float) -> float:
        """When the next of something comes that comes every `mean_s` on average; never where that is 0."""
        return -mean_s * float(np.log1p(-self._draw(kind))) if mean_s > 0.0 else float("inf")

    def in_maintenance(self, now_ns: int) -> bool:
        """Whether a window of maintenance is open."""
        at_s = (now_ns - self.born_ns) / 1e9
        return any(window.at_s <= at_s < window.at_s + window.for_s for window in self.faults.maintenance)
