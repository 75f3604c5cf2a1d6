"""What a strategy may look at: one symbol's closed bars, indicators, structure and zones, read-only."""

from __future__ import annotations

import functools
from typing import Final

import attrs
import numpy as np

from aegis.kernels.smc import (
    BLOCK_IS_BREAKER,
    BLOCK_IS_FRESH,
    BLOCK_IS_MITIGATED,
    BLOCK_IS_TOUCHED,
    PHASE_FILLED,
    PHASE_FRESH,
    PHASE_MID,
    PHASE_TOUCHED,
)
from aegis.kernels.state import Records, State
from aegis.signals.timeframes import timeframe_name

__all__ = [
    "BLOCK_IS_BREAKER",
    "BLOCK_IS_FRESH",
    "BLOCK_IS_MITIGATED",
    "BLOCK_IS_TOUCHED",
    "PHASE_FILLED",
    "PHASE_FRESH",
    "PHASE_MID",
    "PHASE_TOUCHED",
    "Block",
    "Indicators",
    "Quote",
    "SymbolView",
    "Trend",
    "Zone",
]

_NO_MS: Final = 0


@attrs.frozen(kw_only=True)
class Quote:
    """The newest prices of a symbol; None where the engine has none that is fresh."""

    bid: float | None = None
    ask: float | None = None
    mark: float | None = None


@attrs.frozen(kw_only=True)
class Indicators:
    """Values at the last closed bar; NaN until there are enough bars. Bands are `mid` +/- k * `sigma`."""

    atr: float
    rsi: float
    rsi_valid: bool
    ema: float
    mid: float
    sigma: float


@attrs.frozen(kw_only=True)
class Trend:
    """Direction of the last BOS or CHoCH (+1, -1; 0 when there is none young enough) and when it was known."""

    direction: int
    known_at_ms: int


@attrs.frozen(kw_only=True)
class _Area:
    """Between two prices, bullish or bearish. `near` is the edge that price meets first."""

    id: int
    direction: int
    phase: int
    top: float
    bottom: float

    @property
    def near(self) -> float:
        return self.top if self.direction > 0 else self.bottom

    @property
    def far(self) -> float:
        return self.bottom if self.direction > 0 else self.top


@attrs.frozen(kw_only=True)
class Zone(_Area):
    """A live fair value gap; `scale` is the mean true range at its birth."""

    known_at_ms: int
    """When it was known as it is now: at its birth, or at the last merge that widened it."""
    born_ms: int
    scale: float


@attrs.frozen(kw_only=True)
class Block(_Area):
    """A live order block. Phases: BLOCK_IS_FRESH and those after it."""

    born_ms: int
    """When it was known: at the break of structure that made it."""
    swept_ms: int
    """When a pool of lows (bearish: of highs) was last swept before that; 0: none was, or none that is remembered."""


@functools.lru_cache(maxsize=64)
def _timeframe_indexes(lengths_ms: tuple[int, ...]) -> dict[str, int]:
    """The index of each timeframe by its name: asked for at every call of a strategy, and never changed."""
    return {timeframe_name(ms): k for k, ms in enumerate(lengths_ms)}


class SymbolView:
    """Read-only view of one symbol in an analysis state. It is valid for one call: nothing of it may be kept.

    Timeframes are named as in the configuration (`1m`); an unknown name is a KeyError. Nothing is copied but what a
    method returns.
    """

    __slots__ = ("_index", "_state", "name", "quote", "symbol")

    def __init__(self, state: State, symbol: int, name: str, quote: Quote) -> None:
        self._state = state
        self._index = _timeframe_indexes(tuple(state.parameters["timeframe_ms"].tolist()))
        self.symbol = symbol
        self.name = name
        self.quote = quote

    @property
    def timeframes(self) -> tuple[str, ...]:
        """Names of all timeframes, the base first."""
        return tuple(self._index)

    @property
    def warm(self) -> bool:
        """Seeded, and every timeframe has enough bars."""
        return bool(self._state.symbols["warm"][self.symbol])

    @property
    def closed_ms(self) -> int:
        """Close of the newest base bar; 0 before there is one."""
        newest = int(self._state.bars["open_time"][self.symbol, 0].max())
        return newest + int(self._state.parameters["timeframe_ms"][0]) if newest >= 0 else _NO_MS

    def timeframe_index(self, timeframe: str) -> int:
        """The number under which events name a timeframe."""
        return self._index[timeframe]

    def timeframe_ms(self, timeframe: str) -> int:
        return int(self._state.parameters["timeframe_ms"][self._index[timeframe]])

    def count(self, timeframe: str) -> int:
        """Closed bars seen of a timeframe, also those no longer in the ring."""
        return int(self._state.accumulators["count"][self.symbol, self._index[timeframe]])

    def bars(self, timeframe: str, n: int) -> Records:
        """The last n closed bars (fewer if there are fewer), oldest first: a copy of dtype BAR."""
        ring = self._state.bars[self.symbol, self._index[timeframe]]
        if n == 1:  # asked for at every bar of every symbol
            opened = ring["open_time"]
            newest = int(opened.argmax())
            last: Records = ring[newest : newest + int(opened[newest] >= 0)].copy()
            return last
        kept = ring[ring["open_time"] >= 0]
        order = np.argsort(kept["open_time"])
        return np.take(kept, order[max(0, len(order) - n) :])

    def indicators(self, timeframe: str) -> Indicators:
        atr, rsi, rsi_valid, ema, mid, sigma = self._state.values[self.symbol, self._index[timeframe]].item()
        return Indicators(atr=atr, rsi=rsi, rsi_valid=bool(rsi_valid), ema=ema, mid=mid, sigma=sigma)

    def trend(self, timeframe: str) -> Trend:
        k = self._index[timeframe]
        row = self._state.structure[self.symbol, k]
        direction = int(row["trend"])
        ms = int(self._state.parameters["timeframe_ms"][k])
        return Trend(direction=direction, known_at_ms=(int(row["trend_index"]) + 1) * ms if direction else _NO_MS)

    def zones(self, timeframe: str) -> tuple[Zone, ...]:
        """Live fair value gaps, oldest first."""
        k = self._index[timeframe]
        ms = int(self._state.parameters["timeframe_ms"][k])
        rows = self._state.zones[self.symbol, k, : int(self._state.structure["zones"][self.symbol, k])]
        return tuple(
            Zone(
                id=identity,
                direction=direction,
                phase=phase,
                known_at_ms=(formed + 1) * ms,
                born_ms=(known + 1) * ms,
                top=top,
                bottom=bottom,
                scale=scale,
            )
            for identity, direction, _, known, formed, phase, top, bottom, scale in rows.tolist()
        )

    def blocks(self, timeframe: str) -> tuple[Block, ...]:
        """Live order blocks, oldest first."""
        k = self._index[timeframe]
        ms = int(self._state.parameters["timeframe_ms"][k])
        rows = self._state.blocks[self.symbol, k, : int(self._state.structure["blocks"][self.symbol, k])]
        return tuple(
            Block(
                id=identity,
                direction=direction,
                phase=phase,
                born_ms=(known + 1) * ms,
                swept_ms=(swept + 1) * ms if swept else _NO_MS,
                top=top,
                bottom=bottom,
            )
            for identity, direction, _, known, swept, phase, top, bottom in rows.tolist()
        )
