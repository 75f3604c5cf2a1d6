"""What a strategy says: arm this level (`Setup`), forget that zone (`Withdraw`); and the `Signal` when a level is hit.

Prices here are float64 of the analysis: `core/filters.py` makes them exact, rounding each side away from risk.
"""

from __future__ import annotations

from typing import Any, Protocol

import attrs

from aegis.core.values import Side
from aegis.kernels.state import Records
from aegis.signals.view import SymbolView

__all__ = ["Advice", "Setup", "Signal", "Strategy", "Withdraw"]


def _ordered(setup: Setup, _: attrs.Attribute[Any], target: float) -> None:
    low, high = (setup.stop, target) if setup.side is Side.BUY else (target, setup.stop)
    if not 0.0 < low < setup.entry < high < float("inf"):
        levels = f"stop {setup.stop}, entry {setup.entry}, target {target}"
        raise ValueError(f"a {setup.side.value} with {levels}: out of order")


@attrs.frozen(kw_only=True)
class Setup:
    """A wish to enter when price comes to `entry`. One with the same zone replaces the one before it.

    The engine arms it once the time is `known_at_ms`, refuses it if price is already inside or past the zone, and takes
    at most one signal from a zone in its life.
    """

    strategy: str
    symbol: int
    name: str
    side: Side
    zone: int
    """Unique within (symbol, timeframe), the same after a restart."""
    timeframe: str
    entry: float
    """A BUY fires on ask <= entry, a SELL on bid >= entry."""
    stop: float
    target: float = attrs.field(validator=_ordered)
    known_at_ms: int
    expires_ms: int
    time_limit_ms: int
    """Longest time a position from it is held."""
    reasons: tuple[tuple[str, str], ...] = ()
    """What was seen, in words, for the decision record."""

    @property
    def risk(self) -> float:
        """Distance from entry to stop, in price: 1 R."""
        return abs(self.entry - self.stop)


@attrs.frozen(kw_only=True)
class Withdraw:
    """The setup of this zone no longer holds."""

    strategy: str
    symbol: int
    timeframe: str
    zone: int
    reason: str


Advice = Setup | Withdraw


@attrs.frozen(kw_only=True)
class Signal:
    """A setup whose level was reached: `price` was seen at venue time `event_ms`."""

    id: str
    setup: Setup
    price: float
    event_ms: int

    @classmethod
    def of(cls, setup: Setup, price: float, event_ms: int) -> Signal:
        """The one signal of a zone; its id does not depend on when the engine was started."""
        identity = f"{setup.strategy}:{setup.name}:{setup.timeframe}:{setup.zone}"
        return cls(id=identity, setup=setup, price=price, event_ms=event_ms)


class Strategy(Protocol):
    """Synchronous and deterministic: no clock, no I/O; a call takes at most 250 us."""

    @property
    def name(self) -> str: ...

    def on_events(self, view: SymbolView, events: Records, now_ms: int) -> list[Advice]:
        """Called when a symbol has new events (EVENT rows of this symbol, maybe none) with the state after them.

        Args:
            view: valid during this call only.
            events: everything that became known since the last call, in order.
            now_ms: venue time; everything in the view was known by then.
        """
        ...

    def forget(self, symbol: int) -> None:
        """The symbol has left, or starts anew: nothing of it is armed any more."""
        ...
