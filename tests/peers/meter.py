"""The clock of one measurement; it runs in every peer's environment, so it needs nothing but Python."""

from __future__ import annotations

import json
import platform
import sys
import time
from importlib.metadata import version

#: The clocks are read once in so many messages, so that reading them is not what is measured.
STRIDE = 1_000


class Meter:
    """Counts messages from its first `tick` on, for `seconds` of CPU time of this process.

    CPU time, because a receiver that keeps up with its feeder sleeps, and a shared machine takes its core away.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.count = 0
        self._cpu = self._wall = 0.0

    def start(self) -> None:
        """From now on it counts."""
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def over(self, count: int) -> bool:
        """`count` more messages are done; whether the time is over."""
        self.count += count
        return time.process_time() - self._cpu >= self.seconds

    def elapsed(self) -> tuple[float, float]:
        """CPU and wall seconds since the start."""
        return time.process_time() - self._cpu, time.perf_counter() - self._wall

    def report(self, *packages: str, less: tuple[float, float] = (0.0, 0.0), **extra: object) -> None:
        """Print the result of the run as one JSON line, with the versions of `packages`.

        `less` is what the clocks show and the work did not take, CPU and wall seconds.
        """
        cpu, wall = self.elapsed()
        versions = {name: version(name) for name in packages} | {"python": platform.python_version()}
        found = {"count": self.count, "cpu_s": cpu - less[0], "wall_s": wall - less[1], "versions": versions}
        sys.stdout.write(json.dumps(found | extra) + "\n")
