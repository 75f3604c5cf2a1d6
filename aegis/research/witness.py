"""Looks on at a replay: keeps one symbol's closed bars, of every length, and what the journal says of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from aegis.config import Config
from aegis.core.errors import ConfigError
from aegis.engine import journal_format
from aegis.kernels.layout import BAR
from aegis.kernels.state import Records
from aegis.research.candles import Candles, candles

__all__ = ["KINDS", "Witness"]

#: Records of the journal that tell a symbol's story.
KINDS = ("decision", "fill", "trade", "state")


@attrs.define(eq=False)
class Witness:
    """`begin` before the first input, `saw` with bars and histories, `end` with the finished journal."""

    symbol: str
    """Empty: the only one that there is."""
    config: Config | None = None
    records: list[dict[str, Any]] = attrs.field(factory=list)
    _index: int = -1
    _bars: list[Records] = attrs.field(factory=list)

    def begin(self, config: Config, symbols: Sequence[str]) -> None:
        """Raises ConfigError where the data has no such symbol."""
        if not self.symbol and len(symbols) == 1:
            self.symbol = symbols[0]
        if self.symbol not in symbols:
            shown = ", ".join(symbols[:8]) + (", ..." if len(symbols) > 8 else "")
            missing = f"has no {self.symbol}" if self.symbol else "has several symbols"
            raise ConfigError(f"--symbol: the data {missing}; it has {shown}")
        self.config, self._index = config, list(symbols).index(self.symbol)

    def saw(self, bars: Records) -> None:
        """Closed bars of any symbol, or the history of one: those of this symbol are kept."""
        mine = bars[bars["symbol"] == self._index]
        if len(mine):
            self._bars.append(mine.copy())

    def end(self, journal: Path) -> None:
        """Take what the journal says of the symbol."""
        self.records = [
            {"kind": record.kind, "at": record.at_ns, **record.data}
            for record in journal_format.read(journal)
            if record.kind in KINDS and record.data.get("symbol") == self.symbol
        ]

    def bars(self) -> Candles:
        """A bar that came twice is as it came last."""
        assert self.config is not None, "it has begun"
        every = np.concatenate(self._bars) if self._bars else np.zeros(0, BAR)
        return candles(every, self.config.bars.timeframes_ms)
