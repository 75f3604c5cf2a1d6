"""What a bar must be before anything may learn of it: possible numbers, in its place, right after the one before."""

from __future__ import annotations

import numpy as np

from aegis.kernels.compile import inner, kernel
from aegis.kernels.layout import BAR
from aegis.kernels.state import Records

__all__ = ["MAX_PRICE", "MAX_VOLUME", "OK", "check_bars", "fault", "fault_text", "sane"]

#: Beyond these a number is no price or volume of a market but a fault; sums of what is below them do not overflow.
MAX_PRICE = 1e15
MAX_VOLUME = 1 << 53

#: What `fault` finds. LATE: a bar of that time or a later one is already in; GAP: a bar is missing before it.
OK, IMPOSSIBLE, MISALIGNED, LATE, GAP = range(5)

_TEXTS = {
    IMPOSSIBLE: "has impossible numbers",
    MISALIGNED: "does not begin with its timeframe",
    LATE: "repeats or precedes one that is already in",
    GAP: "does not follow the one before: a bar is missing",
}


@inner()
def sane(bar: np.void) -> bool:
    """Prices are finite, positive and ordered, volumes are counts: nothing else may enter the state."""
    o, h, low, c = bar["open"], bar["high"], bar["low"], bar["close"]
    # written so that a comparison with NaN says no
    if not (0.0 < low <= o <= h <= MAX_PRICE and low <= c <= h):
        return False
    return bool(0 <= bar["taker_buy"] <= bar["volume"] <= MAX_VOLUME and bar["trades"] >= 0)


@inner()
def fault(bar: np.void, timeframe_ms: int, expected: int) -> int:
    """Why a bar must not be taken, or OK; `expected` is the open time that must come next, -1 if any may."""
    opened = bar["open_time"]
    if not sane(bar):
        return IMPOSSIBLE
    if opened == expected and expected >= 0:
        return OK
    if opened < 0 or opened % timeframe_ms != 0:
        return MISALIGNED
    if expected < 0:
        return OK
    return LATE if opened < expected else GAP


@kernel(bare=True)
def _first_fault(bars: Records, timeframe_ms: int) -> tuple[int, int]:
    expected = -1
    for i in range(len(bars)):
        code = fault(bars[i], timeframe_ms, expected)
        if code != OK:
            return i, code
        expected = bars[i]["open_time"] + timeframe_ms
    return -1, OK


def fault_text(code: int) -> str:
    """The words for a fault."""
    return _TEXTS[code]


def check_bars(bars: Records, timeframe_ms: int) -> Records:
    """The bars of one series, contiguous in memory.

    Raises:
        ValueError: not BAR rows of one dimension, or a bar that must not be taken, with its index and the reason.
    """
    if bars.dtype != BAR or bars.ndim != 1:
        raise ValueError(f"bars must be one dimension of aegis.kernels.layout.BAR, not {bars.ndim} of {bars.dtype}")
    if timeframe_ms < 1:
        raise ValueError(f"timeframe_ms must be positive, not {timeframe_ms}")
    bars = np.ascontiguousarray(bars)
    at, code = _first_fault(bars, timeframe_ms)
    if code != OK:
        raise ValueError(f"bar {at} (open time {bars['open_time'][at]}) {fault_text(code)}")
    return bars
