"""The closed bars of a past run, of every length, beside its journal: one file, written when the run ends."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aegis.core.errors import ConfigError
from aegis.kernels.layout import BAR, exactly
from aegis.kernels.state import State
from aegis.research.candles import Candles, candles
from aegis.runtime.logs import get_logger

__all__ = ["keep_bars", "kept_bars"]

_SUFFIX = ".bars.npz"


def keep_bars(journal: Path, symbols: Sequence[str], state: State) -> None:
    """Write every symbol's rings of bars. It is for people to look at: a failure is a line in the log."""
    kept = state.bars[state.bars["open_time"] >= 0]
    path = journal.with_suffix(_SUFFIX)
    try:
        with path.open("wb") as file:
            np.savez_compressed(file, symbols=np.array(symbols), bars=kept)
    except OSError as error:
        get_logger().warning("bars.unsaved", directory=str(path), reason=error.strerror or str(error))


def kept_bars(journal: Path, symbol: str, timeframes_ms: Sequence[int]) -> Candles:
    """A symbol's bars. Raises ConfigError where the run has left none of it."""
    path = journal.with_suffix(_SUFFIX)
    try:
        with path.open("rb") as raw, np.lib.npyio.NpzFile(raw, allow_pickle=False) as file:
            symbols, bars = file["symbols"].tolist(), exactly(file["bars"], BAR)
    except FileNotFoundError:
        raise ConfigError(f"{path}: not there: a run leaves its bars when it ends; or give a recording") from None
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path}: damaged: {error}") from None
    if symbol not in symbols:
        raise ConfigError(f"--symbol: {symbol} was not traded in the run of {journal}")
    return candles(bars[bars["symbol"] == symbols.index(symbol)], timeframes_ms)
