"""What a strategy says: arm this level (`Setup`), forget that zone (`Withdraw`); and the `Signal` when a level is hit.

Prices here are float64 of the analysis: `core/filters.py` makes them exact, rounding each side away from risk.
"""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Collection, Iterable
from typing import Any, Protocol

import attrs

from aegis.core.values import Side
from aegis.kernels.state import AnalysisParams, Records
from aegis.signals.view import SymbolView

__all__ = ["Advice", "Setup", "Signal", "Strategy", "Withdraw"]


def _ordered(setup: Setup, _: attrs.Attribute[Any], target: float) -> None:
    low, high = (setup.stop, target) if setup.side is Side.BUY else (target, setup.stop)
    if not 0.0 < low < setup.entry < high < float("inf"):
        levels = f"stop {setup.stop}, entry {setup.entry}, target {target}"
        raise ValueError(f"a {setup.side.value} with {levels}: out of order")


def _beyond(setup: Setup, _: attrs.Attribute[Any], parts: tuple[tuple[float, float], ...]) -> None:
    """Each further away than the one before, none as far as the target, and something left for that."""
    d, before = setup.side.sign, setup.entry
    for price, share in parts:
        if not (0.0 < share < 1.0 and d * before < d * price < d * setup.target):
            raise ValueError(f"parts: {share} at {price} is no part between {before} and {setup.target}")
        before = price
    if sum(share for _, share in parts) > 1.0 - 1e-9:
        raise ValueError("parts: they leave nothing for the target")


def _pairs(parts: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(price), float(share)) for price, share in parts)


#: Of times in ms: no clock comes near it (2109), and the nanoseconds of it fit into 64 bits.
_FAR = 2**42


def _sane(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    if not -_FAR < value < _FAR:
        raise ValueError(f"{attribute.name}: {value} is beyond all that is real")


def _id(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    if not -(2**62) < value < 2**62:
        raise ValueError(f"{attribute.name}: {value} is no id of 63 bits")


def _positive(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    if not 0 < value < _FAR:
        raise ValueError(f"{attribute.name}: must be some milliseconds, not {value}")


def _words(reasons: Iterable[tuple[object, object]]) -> tuple[tuple[str, str], ...]:
    return tuple((str(name), str(text)) for name, text in reasons)


@attrs.frozen(kw_only=True)
class Setup:
    """A wish to enter when price comes to `entry`. One with the same zone replaces the one before it.

    The engine arms it once the time is `known_at_ms`, refuses it if price has reached `entry` already (unless it is to
    be entered `at_once`), and takes at most one signal from a zone in its life. (A zone that is not told any more is
    forgotten once 64 others of its symbol have had theirs.)
    """

    strategy: str
    symbol: int
    name: str
    side: Side = attrs.field(validator=attrs.validators.instance_of(Side))
    zone: int = attrs.field(converter=operator.index, validator=_id)
    """Unique within (symbol, timeframe), the same after a restart."""
    timeframe: str
    entry: float = attrs.field(converter=float)
    """A BUY fires on ask <= entry, a SELL on bid >= entry."""
    stop: float = attrs.field(converter=float)
    target: float = attrs.field(converter=float, validator=_ordered)
    """The last one: whatever is left of the position leaves here."""
    known_at_ms: int = attrs.field(converter=operator.index, validator=_sane)
    expires_ms: int = attrs.field(converter=operator.index, validator=_sane)
    time_limit_ms: int = attrs.field(converter=operator.index, validator=_positive)
    """Longest time a position from it is held."""
    at_once: bool = False
    """Where price has reached `entry` when it is armed, it fires then and there."""
    reasons: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_words)
    """What was seen, in words, for the decision record."""
    parts: tuple[tuple[float, float], ...] = attrs.field(default=(), converter=_pairs, validator=_beyond)
    """(price, share of the position) of each target before the last, the nearest first. A share too small for an order
    of the venue's is added to the next."""

    @property
    def risk(self) -> float:
        """Distance from entry to stop, in price: 1 R."""
        return abs(self.entry - self.stop)

    @property
    def targets(self) -> str:
        """For people."""
        parts = "".join(f"{share:.0%} at {price:.10g}, " for price, share in self.parts)
        return f"{parts}{'rest at ' if parts else ''}{self.target:.10g}"


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
    """Synchronous and deterministic: no clock, no I/O; a call takes at most 250 us.

    A class of the user's derives from it, gives itself a `name`, a nested or assigned attrs class `Params` and
    `on_events`, and is made with `Kind(params)`. An exception in a call quarantines the symbol that it was about.
    """

    name: str
    every_bar: bool = True
    """Called at every closed base bar of a symbol; else only when the symbol has new events."""
    hears: Collection[int] | None = None
    """Kinds of event (`aegis.kernels.smc`) that it is given and, unless `every_bar`, called for; None: all. At a close
    of all symbols each call that is not made brings the others' decisions forward."""

    @abstractmethod
    def on_events(self, view: SymbolView, events: Records, now_ms: int) -> list[Advice]:
        """Called when a symbol has news (EVENT rows of this symbol, maybe none) with the state after them.

        Args:
            view: valid during this call only.
            events: everything that became known since the last call, in order.
            now_ms: venue time; everything in the view was known by then.
        """
        ...

    def analysis(self, warm_bars: int) -> AnalysisParams:
        """Periods and lengths of the indicators and patterns in its view."""
        return AnalysisParams(warm_bars=warm_bars)

    def forget(self, symbol: int) -> None:
        """The symbol has left, or starts anew: nothing of it is armed any more."""
        return None
