"""What there is to tell of one symbol: its bars with all that became known at each, and the journal's part in it.

Bars and journal come from a file, which is replayed, or from a past run. The bars are then walked once more from the
first one on: after a run that had history before them, the first patterns come later here than they did there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from aegis import config as configs
from aegis.config import Config
from aegis.core.errors import ConfigError
from aegis.engine.account_files import journal_of
from aegis.kernels.state import Records
from aegis.research.candles import Candles
from aegis.research.kept_bars import kept_bars
from aegis.research.replay import ReplayOptions, replay
from aegis.research.walk import Step, walk
from aegis.research.witness import Witness

__all__ = ["Story", "bars_of_file", "read_story"]


@attrs.frozen(kw_only=True, eq=False)
class Story:
    """`records` are the symbol's decisions, fills, trades and states: `{"kind", "at", **data}`, in order."""

    symbol: str
    source: str
    config: Config
    bars: Records
    steps: tuple[Step, ...]
    records: tuple[dict[str, Any], ...]


def read_story(
    symbol: str,
    *,
    file: str | None,
    run: str | None,
    home: Path | None,
    config_name: str | None,
    base_bar: str | None,
    say: Callable[[str], None],
) -> Story:
    """Of a file, else of a run (None: the latest). Raises ConfigError, and what reading a recording raises."""
    witness = Witness(symbol.upper())
    if file is not None:
        if run is not None:
            raise ConfigError("--run: give a FILE or a run, not both")
        bars = _replayed(witness, file, ReplayOptions(config_name=config_name, base_bar=base_bar, home=home), say)
        source = file
    else:
        if config_name is not None or base_bar is not None:
            raise ConfigError("--config, --base-bar: a run has its own; they go with a FILE")
        journal = journal_of(home, run)
        witness.config = configs.load(str(journal.parent / "config.toml"))
        witness.end(journal)
        bars = kept_bars(journal, witness.symbol, witness.config.bars.timeframes_ms)
        source = f"run {journal.stem}"
    config = witness.config
    assert config is not None, "the replay has begun"
    return Story(
        symbol=witness.symbol, source=source, config=config, bars=bars.base,
        steps=tuple(walk(bars, config, symbol=witness.symbol)), records=tuple(witness.records),
    )  # fmt: skip


def bars_of_file(symbol: str, file: str, options: ReplayOptions, say: Callable[[str], None]) -> tuple[Config, Candles]:
    """Bars of a recording, and the config they were built with."""
    witness = Witness(symbol.upper())
    bars = _replayed(witness, file, options, say)
    assert witness.config is not None, "the replay has begun"
    return witness.config, bars


def _replayed(witness: Witness, file: str, options: ReplayOptions, say: Callable[[str], None]) -> Candles:
    replay([file], options, say=say, witness=witness)
    return witness.bars()
