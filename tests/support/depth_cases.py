"""Depth messages as the venue sends them, on the stream that tells what they are."""

from __future__ import annotations

import json
from collections.abc import Sequence

Levels = Sequence[tuple[str, str]]


def depth_text(
    ms: int, u: int, bids: Levels, asks: Levels, *, symbol: str = "BTCUSDT", stream: str | None = "depth20@100ms"
) -> bytes:
    """`stream` None: bare, as recordings of single streams hold them."""
    event = {"e": "depthUpdate", "E": ms, "T": ms, "s": symbol, "U": u, "u": u, "pu": u - 1, "b": bids, "a": asks,
             "st": 1, "ps": symbol}  # fmt: skip
    whole = event if stream is None else {"stream": f"{symbol.lower()}@{stream}", "data": event}
    return json.dumps(whole).encode()


def ladder(best: float, step: float, *sizes: str) -> list[tuple[str, str]]:
    """Levels `step` apart, best first."""
    return [(f"{best + k * step:.1f}", size) for k, size in enumerate(sizes)]
