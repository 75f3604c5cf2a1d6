"""FVG retest with structure: buy the return into a bullish gap while the larger structure is bullish; sell the mirror.

A setup stands for every untouched gap of the trigger timeframe that agrees with the last BOS or CHoCH of the structure
timeframe. It is a function of what the analysis knows, not of when the program was started: after a restart the same
zones bring the same setups, with the same ids and prices.
"""

from __future__ import annotations

from typing import Any

import attrs

from aegis.core.values import Side
from aegis.kernels.state import AnalysisParams, Records
from aegis.signals.standing import Standing, stop_and_target
from aegis.signals.strategy import Advice, Setup, Strategy
from aegis.signals.timeframes import parse_timeframe
from aegis.signals.view import PHASE_FILLED, PHASE_FRESH, SymbolView, Trend, Zone

__all__ = ["FvgRetest", "FvgRetestParams"]


def _timeframe(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    try:
        parse_timeframe(value)
    except ValueError as error:
        raise ValueError(f"{attribute.name}: {error}") from None


def _above_trigger(params: FvgRetestParams, _: attrs.Attribute[str], value: str) -> None:
    if parse_timeframe(value) % parse_timeframe(params.trigger):
        raise ValueError(f"structure {value} is no multiple of trigger {params.trigger}")


def _within(low: float, high: float) -> Any:
    return attrs.validators.and_(attrs.validators.ge(low), attrs.validators.le(high))


@attrs.frozen(kw_only=True)
class FvgRetestParams:
    """Lengths in bars of their timeframe, distances in ATR, R (the entry's distance to its stop) or basis points."""

    trigger: str = attrs.field(default="1m", validator=_timeframe)
    structure: str = attrs.field(default="5m", validator=[_timeframe, _above_trigger])
    trigger_swing: int = attrs.field(default=5, validator=_within(1, 100))
    structure_swing: int = attrs.field(default=5, validator=_within(1, 100))
    min_gap_atr: float = attrs.field(default=0.1, validator=_within(0.0, 10.0))
    stop_atr: float = attrs.field(default=0.5, validator=_within(0.0, 20.0))
    """How far beyond the far edge the stop lies, in mean true ranges at the zone's birth."""
    target_r: float = attrs.field(default=2.0, validator=_within(0.1, 50.0))
    min_stop_bps: float = attrs.field(default=20.0, validator=_within(0.0, 5_000.0))
    """The stop is widened to this distance, so that costs stay a small part of R."""
    time_limit_bars: int = attrs.field(default=60, validator=_within(1, 100_000))
    max_zone_age_bars: int = attrs.field(default=200, validator=_within(3, 100_000))

    def timeframes(self) -> tuple[str, ...]:
        """The timeframes it needs, the base first."""
        return (self.trigger,) if self.trigger == self.structure else (self.trigger, self.structure)

    def analysis(self, *, warm_bars: int = 500) -> AnalysisParams:
        """The analysis parameters that go with `timeframes()`."""
        return AnalysisParams(
            swing_lengths=(self.trigger_swing, self.structure_swing)[: len(self.timeframes())],
            min_gap_atr=self.min_gap_atr,
            max_age_bars=self.max_zone_age_bars,
            max_blocks=0,
            max_pools=0,
            warm_bars=warm_bars,
        )


class FvgRetest(Strategy):
    """The strategy; it remembers which setups stand, symbol by symbol."""

    name = "fvg_retest"
    every_bar = False

    def __init__(self, params: FvgRetestParams) -> None:
        self.params = params
        self.standing = Standing(self.name, params.trigger)

    def analysis(self, warm_bars: int) -> AnalysisParams:
        return self.params.analysis(warm_bars=warm_bars)

    def on_events(self, view: SymbolView, events: Records, now_ms: int) -> list[Advice]:
        """Compare the setups that should stand with those that do. `events` and `now_ms` only tell that it is time."""
        trend = view.trend(self.params.structure)
        zones = {zone.id: zone for zone in view.zones(self.params.trigger)}
        advice = self.standing.ended(view.symbol, lambda zone: self._ended(zones.get(zone), trend))
        if not view.warm:
            return advice
        standing = self.standing.of(view.symbol)
        for zone in zones.values():
            old = standing.get(zone.id)
            if zone.direction != trend.direction or zone.phase != PHASE_FRESH:
                continue
            if old is None or zone.known_at_ms > old.known_at_ms:  # new, or merged with a later gap
                setup = self._setup(view, zone, trend)
                if setup is not None:
                    standing[zone.id] = setup
                    advice.append(setup)
        return advice

    def forget(self, symbol: int) -> None:
        self.standing.forget(symbol)

    @staticmethod
    def _ended(zone: Zone | None, trend: Trend) -> str:
        """Why a setup no longer holds; empty while it does."""
        if zone is None:
            return "zone inverted or expired"
        if zone.phase >= PHASE_FILLED:
            return "zone filled"
        if zone.direction != trend.direction:
            return "structure turned"
        return ""

    def _setup(self, view: SymbolView, zone: Zone, trend: Trend) -> Setup | None:
        """Levels of a zone; None where the stop would not be a price."""
        p, d = self.params, zone.direction
        entry = zone.near
        beyond = abs(entry - zone.far) + p.stop_atr * zone.scale
        risk = max(beyond, entry * p.min_stop_bps * 1e-4)
        levels = stop_and_target(entry, d, risk, p.target_r)
        if levels is None:
            return None
        bar_ms = view.timeframe_ms(p.trigger)
        return Setup(
            strategy=self.name,
            symbol=view.symbol,
            name=view.name,
            side=Side.BUY if d > 0 else Side.SELL,
            zone=zone.id,
            timeframe=p.trigger,
            entry=entry,
            stop=levels[0],
            target=levels[1],
            known_at_ms=max(zone.known_at_ms, trend.known_at_ms),
            expires_ms=zone.born_ms + p.max_zone_age_bars * bar_ms,
            time_limit_ms=p.time_limit_bars * bar_ms,
            reasons=(
                ("zone", f"{'bullish' if d > 0 else 'bearish'} FVG {p.trigger} {zone.bottom:.10g}..{zone.top:.10g}"),
                ("structure", f"{'bullish' if d > 0 else 'bearish'} {p.structure}"),
                ("mean_range", f"{zone.scale:.10g}"),
                ("stop", "widened to min_stop_bps" if risk > beyond else f"{p.stop_atr:g} ranges beyond the zone"),
            ),
        )
