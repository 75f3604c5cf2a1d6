"""What the strategies of zones share: which setups stand, and stop and targets of an entry at a zone's edge."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from aegis.config.strategy import ZoneConfig
from aegis.signals.strategy import Advice, Setup, Withdraw

__all__ = ["Levels", "Standing", "levels"]


@attrs.define(eq=False)
class Standing:
    """The setups that were told and not withdrawn, symbol by symbol and zone by zone."""

    strategy: str
    timeframe: str
    _told: dict[int, dict[int, Setup]] = attrs.field(factory=dict)

    def of(self, symbol: int) -> dict[int, Setup]:
        """Of one symbol, by zone: add to it what is told."""
        return self._told.setdefault(symbol, {})

    def ended(self, symbol: int, why: Callable[[int], str]) -> list[Advice]:
        """Withdraw every setup for which `why(zone)` gives a reason; empty while it holds."""
        standing = self.of(symbol)
        advice: list[Advice] = []
        for zone in list(standing):
            reason = why(zone)
            if reason:
                del standing[zone]
                advice.append(
                    Withdraw(
                        strategy=self.strategy, symbol=symbol, timeframe=self.timeframe, zone=zone, reason=reason
                    )
                )
        return advice

    def forget(self, symbol: int) -> None:
        self._told.pop(symbol, None)


@attrs.frozen
class Levels:
    """Where a position from a zone ends."""

    stop: float
    target: float
    parts: tuple[tuple[float, float], ...]


def levels(entry: float, direction: int, risk: float, params: ZoneConfig) -> Levels | None:
    """The stop at `risk` from the entry, targets at R of it; None where one of them would be no price of its own."""
    stop, target = entry - direction * risk, entry + direction * params.target_r * risk
    partial = entry + direction * params.partial_r * risk
    if min(stop, target) <= 0.0 or entry in (stop, target):
        return None
    between = direction * entry < direction * partial < direction * target
    return Levels(stop, target, ((partial, params.partial_share),) if between else ())
