"""FVG retest with structure: buy the return into a bullish gap while the larger structure is bullish; sell the mirror.

A setup stands for every untouched gap of the trigger timeframe that agrees with the last BOS or CHoCH of the structure
timeframe. Lengths are in bars of their timeframe. It is a function of what the analysis knows, not of when the program
was started: after a restart the same zones bring the same setups, with the same ids and prices.
"""

from __future__ import annotations

from collections.abc import Sequence

from aegis.config.strategy import FvgRetestConfig
from aegis.core.values import Side
from aegis.kernels.smc import BOS, CHOCH, FVG, FVG_EXPIRED, FVG_FILLED, FVG_INVERTED, FVG_MERGE
from aegis.kernels.state import AnalysisParams, Records
from aegis.signals.standing import Standing, levels
from aegis.signals.strategy import Advice, Setup, Strategy
from aegis.signals.timeframes import chosen
from aegis.signals.view import PHASE_FILLED, PHASE_FRESH, SymbolView, Trend, Zone

__all__ = ["FvgRetest"]


class FvgRetest(Strategy):
    """The strategy; it remembers which setups stand, symbol by symbol."""

    name = "fvg_retest"
    every_bar = False
    hears = frozenset({FVG, FVG_MERGE, FVG_FILLED, FVG_INVERTED, FVG_EXPIRED, BOS, CHOCH})

    def __init__(self, params: FvgRetestConfig, timeframes: Sequence[str]) -> None:
        self.params = params
        self.trigger = chosen(params.trigger, timeframes)
        self.structure = chosen(params.structure, timeframes, timeframes.index(self.trigger) + 1)
        self.standing = Standing(self.name, self.trigger)
        self._timeframes = tuple(timeframes)

    def analysis(self, warm_bars: int) -> AnalysisParams:
        p = self.params
        return AnalysisParams(
            swing_lengths=tuple(
                p.structure_swing if name == self.structure else p.trigger_swing for name in self._timeframes
            ),
            min_gap_atr=p.min_gap_atr,
            max_age_bars=p.max_zone_age_bars,
            max_blocks=0,
            max_pools=0,
            warm_bars=warm_bars,
        )

    def on_events(self, view: SymbolView, events: Records, now_ms: int) -> list[Advice]:
        """Compare the setups that should stand with those that do. `events` and `now_ms` only tell that it is time."""
        trend = view.trend(self.structure)
        zones = {zone.id: zone for zone in view.zones(self.trigger)}
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
        found = levels(entry, d, risk, p)
        if found is None:
            return None
        bar_ms = view.timeframe_ms(self.trigger)
        return Setup(
            strategy=self.name,
            symbol=view.symbol,
            name=view.name,
            side=Side.BUY if d > 0 else Side.SELL,
            zone=zone.id,
            timeframe=self.trigger,
            entry=entry,
            stop=found.stop,
            target=found.target,
            parts=found.parts,
            known_at_ms=max(zone.known_at_ms, trend.known_at_ms),
            expires_ms=zone.born_ms + p.max_zone_age_bars * bar_ms,
            time_limit_ms=p.time_limit_bars * bar_ms,
            reasons=(
                ("zone", f"{'bullish' if d > 0 else 'bearish'} FVG {self.trigger} {zone.bottom:.10g}..{zone.top:.10g}"),
                ("structure", f"{'bullish' if d > 0 else 'bearish'} {self.structure}"),
                ("mean_range", f"{zone.scale:.10g}"),
                ("stop", "widened to min_stop_bps" if risk > beyond else f"{p.stop_atr:g} ranges beyond the zone"),
            ),
        )
