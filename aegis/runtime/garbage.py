"""Garbage collection that does not stop the loop: freeze what start-up made, collect rarely, and count every pause."""

from __future__ import annotations

import gc
from collections.abc import Callable

import trio

from aegis.runtime.metrics import Metrics

__all__ = ["GarbageWatch", "freeze_when", "settle", "sweep"]

#: The young generation at 50,000 net allocations instead of 700: between two sweeps the engine makes far fewer, so that
#: a collection never begins in the middle of a decision.
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


async def sweep(young_s: float = 2.0, middle_s: float = 30.0) -> None:
    """Between other work, collect what the last seconds made: every HTTP request leaves a cycle behind.

    Some hundred objects take some ten microseconds; left to the thresholds they would be megabytes. The middle
    generation holds what was in use at a sweep, and is some thousands; the old one is left alone.
    """
    swept_s = trio.current_time()
    while True:
        await trio.sleep(young_s)
        middle = trio.current_time() - swept_s >= middle_s
        if middle:
            swept_s = trio.current_time()
        gc.collect(1 if middle else 0)


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
