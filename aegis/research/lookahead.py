"""Does a strategy know the future? What it said of a whole series must be what it says of any beginning of it.

The analysis shows a strategy nothing that is to come, so whatever changes comes from elsewhere: chance, a clock, files,
memory that outlives a run. Such signals cannot be had again, in a backtest or in a market.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from aegis.config import Config
from aegis.research.candles import Candles
from aegis.research.walk import Step, walk
from aegis.signals.strategy import Setup

__all__ = ["Change", "Verdict", "lookahead"]


@attrs.frozen(kw_only=True)
class Change:
    """The first bar whose signals were others when the data ended after `cut` bars."""

    number: int
    known_ms: int
    cut: int
    whole: tuple[str, ...]
    prefix: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Verdict:
    """What was compared, and the first difference; None: there is none."""

    bars: int
    prefixes: int
    setups: int
    change: Change | None


def lookahead(config: Config, bars: Candles, *, prefixes: int = 20, seed: int = 7) -> Verdict:
    """Walk the whole, then `prefixes` seeded random beginnings and the whole again. Raises ConfigError as `walk`."""
    whole = [_said(step) for step in walk(bars, config)]
    rng = np.random.Generator(np.random.Philox(seed))
    cuts = sorted({len(bars), *(int(cut) for cut in rng.integers(1, len(bars) + 1, prefixes))}) if len(bars) else []
    found: Change | None = None
    for cut in cuts:
        steps = list(walk(bars.until(cut if found is None else min(cut, found.number)), config))
        change = _first(whole, steps, cut)
        if change is not None:
            found = change
    setups = sum(text.startswith("Setup") for said in whole for text in said)
    return Verdict(bars=len(bars), prefixes=len(cuts), setups=setups, change=found)


def _said(step: Step) -> tuple[str, ...]:
    """Everything that the strategy said, in words that are equal exactly where it is."""
    return tuple(
        f"{type(one).__name__} {attrs.asdict(one) if isinstance(one, Setup) else (one.zone, one.reason)}"
        for one in step.advice
    )


def _first(whole: Sequence[tuple[str, ...]], steps: Sequence[Step], cut: int) -> Change | None:
    for number, step in enumerate(steps):
        said = _said(step)
        if said != whole[number]:
            return Change(number=number, known_ms=step.known_ms, cut=cut, whole=whole[number], prefix=said)
    return None
