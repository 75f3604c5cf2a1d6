"""The strategy of the conflated row: what a bar's close makes known is traded at the touch, without a level.

A user's strategy like any other: the bench names this file in the config of the engine that it starts.
"""

from __future__ import annotations

import attrs

from aegis.core.values import Side
from aegis.kernels.analysis import AnalysisParams
from aegis.kernels.smc_events import FVG
from aegis.kernels.state import Records
from aegis.signals.strategy import Advice, Setup, Strategy
from aegis.signals.view import SymbolView

__all__ = ["AtClose"]


class AtClose(Strategy):
    """Enters with every new gap of the base bars, at most once in `pause_bars`."""

    name = "at_close"
    every_bar = False
    hears = frozenset({FVG})

    @attrs.frozen(kw_only=True)
    class Params:
        """Lengths in base bars, distances in basis points of the touch."""

        min_gap_atr: float = 2.0
        beyond_bps: float = 1.0
        """How far beyond the touch the entry lies: it has been reached when it is armed."""
        stop_bps: float = 60.0
        target_bps: float = 120.0
        time_limit_bars: int = 4
        pause_bars: int = 12

    def __init__(self, params: Params) -> None:
        self.params = params
        self._last_ms: dict[int, int] = {}

    def analysis(self, warm_bars: int) -> AnalysisParams:
        return AnalysisParams(
            swing_lengths=(5, 3), min_gap_atr=self.params.min_gap_atr, max_age_bars=24, max_blocks=0, max_pools=0,
            warm_bars=warm_bars,
        )  # fmt: skip

    def on_events(self, view: SymbolView, events: Records, now_ms: int) -> list[Advice]:
        """The newest gap, if there is one."""
        gaps = events[(events["kind"] == FVG) & (events["timeframe"] == 0)]
        bar_ms = view.timeframe_ms(view.timeframes[0])
        if not len(gaps) or not view.warm or view.quote.bid is None or view.quote.ask is None:
            return []
        known_ms = int(gaps["known_at"][-1])
        if known_ms - self._last_ms.get(view.symbol, 0) < self.params.pause_bars * bar_ms:
            return []
        self._last_ms[view.symbol] = known_ms
        return [self._setup(view, int(gaps["id"][-1]), int(gaps["direction"][-1]), known_ms)]

    def forget(self, symbol: int) -> None:
        self._last_ms.pop(symbol, None)

    def _setup(self, view: SymbolView, zone: int, direction: int, known_ms: int) -> Setup:
        p, bar_ms = self.params, view.timeframe_ms(view.timeframes[0])
        touch = view.quote.ask if direction > 0 else view.quote.bid
        assert touch is not None, "asked for before"
        return Setup(
            strategy=self.name, symbol=view.symbol, name=view.name, side=Side.BUY if direction > 0 else Side.SELL,
            zone=zone, timeframe=view.timeframes[0], entry=touch * (1 + direction * p.beyond_bps * 1e-4),
            stop=touch * (1 - direction * p.stop_bps * 1e-4), target=touch * (1 + direction * p.target_bps * 1e-4),
            known_at_ms=known_ms, expires_ms=known_ms + p.time_limit_bars * bar_ms,
            time_limit_ms=p.time_limit_bars * bar_ms, at_once=True,
        )  # fmt: skip
