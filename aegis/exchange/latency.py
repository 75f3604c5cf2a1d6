"""How long a message travels between a client and the matching engine, drawn from one seeded stream."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeVar

import attrs
import numpy as np

__all__ = ["Latency", "LatencyStream"]

T = TypeVar("T")

#: How many words are drawn at once.
_WORDS = 64
_Z99 = 2.3263478740408408  # 99 % quantile of the standard normal


@attrs.frozen(kw_only=True)
class Latency:
    """One-way latency, lognormal. `median_ms` 0 means none at all (benches only)."""

    median_ms: float = attrs.field(default=30.0, validator=attrs.validators.ge(0.0))
    p99_ms: float = attrs.field(default=150.0, validator=attrs.validators.ge(0.0))

    def __attrs_post_init__(self) -> None:
        if self.p99_ms < self.median_ms or (self.median_ms == 0.0 and self.p99_ms > 0.0):
            raise ValueError(f"latency: p99_ms {self.p99_ms} does not fit median_ms {self.median_ms}")

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm."""
        return math.log(self.p99_ms / self.median_ms) / _Z99 if self.median_ms > 0.0 else 0.0


class LatencyStream:
    """Draws of one `Latency`, and small shuffles, from a Philox stream: the same seed and calls, the same answers."""

    def __init__(self, latency: Latency, seed: int) -> None:
        self.latency = latency
        self._bits = np.random.Philox(key=[seed & 0xFFFF_FFFF_FFFF_FFFF, 0x6C61_7465])
        self._draws = np.random.Generator(self._bits)
        self._words: list[int] = []

    def draw_ns(self) -> int:
        if self.latency.median_ms == 0.0:
            return 0
        factor = math.exp(self.latency.sigma * float(self._draws.standard_normal()))
        return round(self.latency.median_ms * 1e6 * factor)

    def word(self) -> int:
        """64 random bits."""
        if not self._words:
            self._words = self._bits.random_raw(_WORDS).tolist()
        return self._words.pop()

    def shuffled(self, queues: Iterable[list[T]]) -> list[T]:
        """The queues, none of them empty, merged in random order, each one's own order kept. They are used up."""
        left, word = list(queues), self.word()
        count, merged = len(left), []
        while count > 1:
            word, choice = divmod(word, count)
            if not word:  # used up
                word = self.word()
            queue = left[choice]
            merged.append(queue.pop(0))
            if not queue:
                del left[choice]
                count -= 1
        return merged + left[0]

    def snapshot(self) -> dict[str, Any]:
        state: Any = self._bits.state
        return {
            "counter": [int(x) for x in state["state"]["counter"]],
            "key": [int(x) for x in state["state"]["key"]],
            "buffer": [int(x) for x in state["buffer"]],
            "buffer_pos": int(state["buffer_pos"]),
            "has_uint32": int(state["has_uint32"]),
            "uinteger": int(state["uinteger"]),
            "words": list(self._words),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        self._words = list(saved["words"])
        words = {name: np.array(saved[name], dtype=np.uint64) for name in ("counter", "key", "buffer")}
        self._bits.state = {
            "bit_generator": "Philox",
            "state": {"counter": words["counter"], "key": words["key"]},
            "buffer": words["buffer"],
            "buffer_pos": saved["buffer_pos"],
            "has_uint32": saved["has_uint32"],
            "uinteger": saved["uinteger"],
        }
