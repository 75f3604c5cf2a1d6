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
        self.cpu_s = 0.0
        self._begun_s = 0.0

    def start(self) -> None:
        """From now on it counts."""
        self._begun_s = time.process_time()

    def over(self, count: int) -> bool:
        """`count` more messages are done; whether the time is over."""
        self.add(count, cpu_s=time.process_time() - self._begun_s - self.cpu_s)
        return self.cpu_s >= self.seconds

    def add(self, count: int, *, cpu_s: float) -> None:
        """`count` more messages took `cpu_s` of CPU time."""
        self.count += count
        self.cpu_s += cpu_s

    def report(self, *packages: str, **extra: object) -> None:
        """Print the result of the run as one JSON line, with the versions of `packages`."""
        versions = {name: version(name) for name in packages} | {"python": platform.python_version()}
        found = {"count": self.count, "cpu_s": self.cpu_s, "versions": versions}
        sys.stdout.write(json.dumps(found | extra) + "\n")
