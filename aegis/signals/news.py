"""Which events a strategy is given: those of the kinds that it hears."""

from __future__ import annotations

import numpy as np

from aegis.kernels.state import Records
from aegis.signals.strategy import Strategy

__all__ = ["news_for"]


def news_for(strategy: Strategy, events: Records) -> Records:
    """EVENT rows of the kinds in `strategy.hears`, in their order; all where that is None."""
    if strategy.hears is None or not len(events):
        return events
    return events[np.isin(events["kind"], list(strategy.hears))]
