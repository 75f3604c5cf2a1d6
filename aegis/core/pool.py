"""Fixed pools of structured rows. Acquire and release are O(1); a handle that outlived its row raises."""

from __future__ import annotations

from array import array

import attrs
import numpy as np
from numpy.typing import NDArray

from aegis.core.errors import AegisError, InvariantBroken

__all__ = ["POOL_ROWS", "SIGNAL", "Pool", "PoolExhausted", "PoolReport"]

#: Rows of the candle pool and of the signal pool.
POOL_ROWS = 10_000
_SLOT_BITS = 24
_SLOT_MASK = (1 << _SLOT_BITS) - 1

#: A signal's numbers; its words (strategy, reasons) are in the decision record.
SIGNAL = np.dtype(
    [
        ("symbol", np.int32),
        ("timeframe", np.int32),
        ("side", np.int32),  # +1 buy, -1 sell
        ("strategy", np.int32),
        ("zone", np.int64),
        ("known_at", np.int64),  # ms
        ("expires_at", np.int64),  # ms
        ("entry", np.float64),
        ("stop", np.float64),
        ("target", np.float64),
    ],
    align=True,
)


class PoolExhausted(AegisError):
    """Every row is in use: the caller refuses its work and counts it."""


@attrs.frozen(kw_only=True)
class PoolReport:
    """What a pool has done. `oldest` are the handles held longest, oldest first: where a leak shows."""

    name: str
    capacity: int
    live: int
    peak: int
    acquired: int
    refused: int
    oldest: tuple[int, ...]


class Pool:
    """`capacity` rows of `dtype` in one array, handed out by handle.

    A handle packs (generation, slot) into an int. A slot's generation is odd while it is held and grows at each acquire
    and release, so a handle is good for exactly one tenancy. Nothing is allocated per acquire but the handle itself.
    """

    def __init__(self, name: str, dtype: np.dtype[np.void], capacity: int = POOL_ROWS) -> None:
        if not 0 < capacity <= _SLOT_MASK + 1:
            raise ValueError(f"pool {name}: capacity {capacity} is not in 1..{_SLOT_MASK + 1}")
        self.name = name
        self.rows: NDArray[np.void] = np.zeros(capacity, dtype=dtype)
        self._blank = np.zeros((), dtype=dtype)
        self._free = array("q", range(capacity - 1, -1, -1))
        self._free_count = capacity
        self._generation = array("q", bytes(8 * capacity))
        self._acquired_at = array("q", bytes(8 * capacity))
        self._acquired = 0
        self._refused = 0
        self._peak = 0

    def acquire(self) -> int:
        """A handle to a zeroed row. Raises PoolExhausted."""
        if self._free_count == 0:
            self._refused += 1
            raise PoolExhausted(f"pool {self.name}: all {len(self.rows)} rows are in use")
        self._free_count -= 1
        slot = self._free[self._free_count]
        self._generation[slot] += 1
        self._acquired += 1
        self._acquired_at[slot] = self._acquired
        self._peak = max(self._peak, self.live())
        self.rows[slot] = self._blank
        return self._generation[slot] << _SLOT_BITS | slot

    def release(self, handle: int) -> None:
        """Gives the row back. Raises InvariantBroken on a stale, doubly released or foreign handle."""
        slot = self.slot(handle)
        self._generation[slot] += 1
        self._free[self._free_count] = slot
        self._free_count += 1

    def slot(self, handle: int) -> int:
        """Index into `rows` of a live handle. Raises InvariantBroken."""
        slot, generation = handle & _SLOT_MASK, handle >> _SLOT_BITS
        if slot >= len(self.rows) or generation != self._generation[slot] or not generation & 1:
            raise InvariantBroken(f"pool {self.name}: handle {handle} (slot {slot}) is stale")
        return slot

    def row(self, handle: int) -> np.void:
        """The row as a writable view. Raises InvariantBroken."""
        view: np.void = self.rows[self.slot(handle)]
        return view

    def live(self) -> int:
        """Rows in use."""
        return len(self.rows) - self._free_count

    def report(self, oldest: int = 5) -> PoolReport:
        """Counters and the handles held longest; at shutdown a pool that is not empty has leaked."""
        held = sorted((self._acquired_at[slot], slot) for slot, gen in enumerate(self._generation) if gen & 1)
        return PoolReport(
            name=self.name,
            capacity=len(self.rows),
            live=self.live(),
            peak=self._peak,
            acquired=self._acquired,
            refused=self._refused,
            oldest=tuple(self._generation[slot] << _SLOT_BITS | slot for _, slot in held[:oldest]),
        )
