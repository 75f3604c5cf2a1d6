"""Garbage collection that does not stop the loop: freeze what start-up made, collect rarely, and count every pause."""

from __future__ import annotations

import gc
from collections.abc import Callable

import trio

from aegis.runtime.metrics import Metrics

__all__ = ["GarbageWatch", "freeze_when", "settle"]

#: The young generation at 50,000 net allocations instead of 700: the engine makes almost no cycles of its own.
THRESHOLDS = (50_000, 20, 50)


def settle(thresholds: tuple[int, int, int] = THRESHOLDS) -> None:
    """After warm-up: collect once, move all that survived out of the collector's sight, and raise the thresholds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*thresholds)


async def freeze_when(complete: Callable[[], bool]) -> None:
    """Once `complete`, what was made since `settle` and outlives the run is out of the collector's sight as well."""
    while not complete():  # noqa: ASYNC110 - asked for a minute or two, once a second
        await trio.sleep(1.0)
    gc.freeze()


class GarbageWatch:
    """Counts full collections and the length of all pauses while it is installed."""

    def __init__(self, metrics: Metrics, monotonic_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self._begin_ns = 0
        self.full = metrics.counter("gc.full_collections")
        self.pause_ns = metrics.histogram("gc.pause_ns")

    def install(self) -> None:
        gc.callbacks.append(self._observe)

    def remove(self) -> None:
        gc.callbacks.remove(self._observe)

    def _observe(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._begin_ns = self._monotonic_ns()
            return
        self.pause_ns.record(self._monotonic_ns() - self._begin_ns)
        if info["generation"] == 2:
            self.full.value += 1
