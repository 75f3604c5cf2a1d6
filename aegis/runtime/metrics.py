"""Counters, gauges and log-bucket histograms that cost no allocation to update, and the loop-lateness probe."""

from __future__ import annotations

from collections.abc import Callable

import trio

__all__ = ["Counter", "Histogram", "Metrics", "probe_lateness"]

_SUB_BITS = 4
_SUB = 1 << _SUB_BITS  # 16 buckets an octave: a percentile is at most 1/16 above the truth
_BUCKETS = (64 - _SUB_BITS) * _SUB


class Counter:
    """A number that only grows; `counter.value += 1` is the fast way, `add` the polite one."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> None:
        self.value += amount


def _bucket(value: int) -> int:
    if value < _SUB:
        return value
    shift = value.bit_length() - 1 - _SUB_BITS
    return (shift << _SUB_BITS) + (value >> shift)


def _upper(bucket: int) -> int:
    """Largest value that falls into `bucket`."""
    if bucket < 2 * _SUB:
        return bucket
    shift = (bucket >> _SUB_BITS) - 1
    return ((_SUB + (bucket & (_SUB - 1)) + 1) << shift) - 1


class Histogram:
    """Whole numbers (nanoseconds, mostly) in logarithmic buckets; count, sum and maximum are exact."""

    __slots__ = ("_buckets", "count", "maximum", "total")

    def __init__(self) -> None:
        self._buckets = [0] * _BUCKETS
        self.count = 0
        self.total = 0
        self.maximum = 0

    def record(self, value: int) -> None:
        """Count one value; a negative one counts as 0, one above 2**63 as the largest bucket."""
        value = max(value, 0)
        self._buckets[min(_bucket(value), _BUCKETS - 1)] += 1
        self.count += 1
        self.total += value
        if value > self.maximum:
            self.maximum = value

    def percentile(self, percent: float) -> int:
        """The value that `percent` of the values do not exceed, rounded up by at most 1/16; 0 when there are none."""
        wanted = self.count * percent / 100
        seen = 0
        for bucket, count in enumerate(self._buckets):
            seen += count
            if count and seen >= wanted:
                return min(_upper(bucket), self.maximum)
        return 0

    def summary(self) -> dict[str, int]:
        """`count`, `p50`, `p99`, `p99_9` and `max`, in the unit that was recorded."""
        return {
            "count": self.count,
            "p50": self.percentile(50),
            "p99": self.percentile(99),
            "p99_9": self.percentile(99.9),
            "max": self.maximum,
        }


class Metrics:
    """One registry a process, made by the composition root and handed on. Names are dotted, units are their suffix."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Callable[[], float]] = {}
        self._histograms: dict[str, Histogram] = {}

    def counter(self, name: str) -> Counter:
        """The counter of that name, made when first asked for."""
        return self._counters.setdefault(name, Counter())

    def histogram(self, name: str) -> Histogram:
        """The histogram of that name, made when first asked for."""
        return self._histograms.setdefault(name, Histogram())

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Register a number that is read when somebody looks. Raises ValueError where the name is taken."""
        if name in self._gauges:
            raise ValueError(f"gauge {name} exists already")
        self._gauges[name] = read

    def snapshot(self) -> dict[str, float]:
        """Every number by name, sorted; a histogram gives `<name>.p50` and so on."""
        numbers: dict[str, float] = {name: counter.value for name, counter in self._counters.items()}
        numbers.update((name, read()) for name, read in self._gauges.items())
        for name, histogram in self._histograms.items():
            numbers.update((f"{name}.{part}", value) for part, value in histogram.summary().items())
        return dict(sorted(numbers.items()))


async def probe_lateness(lateness_ns: Histogram, interval_s: float = 0.010) -> None:
    """Sleep and measure how late the loop wakes us: what every other task suffers too. Runs until cancelled."""
    while True:
        due = trio.current_time() + interval_s
        await trio.sleep_until(due)
        lateness_ns.record(round((trio.current_time() - due) * 1e9))
