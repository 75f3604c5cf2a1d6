"""Bollinger/RSI mean reversion: buy the lower band while the RSI is low, back to the mean; sell the mirror.

At every closed bar the band of the side that the RSI allows is watched for the next bar, unless the close is already
beyond it. It bets that prices return to where they were; where they trend, it loses. It remembers nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from aegis.config.strategy import MeanReversionConfig
from aegis.core.values import Side
from aegis.kernels.state import AnalysisParams, Records
from aegis.signals.strategy import Advice, Setup, Strategy
from aegis.signals.timeframes import chosen
from aegis.signals.view import SymbolView

__all__ = ["MeanReversion"]


class MeanReversion(Strategy):
    """The strategy; its setups live for one bar."""

    name = "mean_reversion"

    def __init__(self, params: MeanReversionConfig, timeframes: Sequence[str]) -> None:
        self.params = params
        self.timeframe = chosen(params.timeframe, timeframes)

    def analysis(self, warm_bars: int) -> AnalysisParams:
        p = self.params
        return AnalysisParams(bollinger_period=p.bollinger_period, rsi_period=p.rsi_period, warm_bars=warm_bars)

    def on_events(self, view: SymbolView, events: Records, now_ms: int) -> list[Advice]:
        """The setup of the bar that has just closed, if there is one."""
        p, timeframe = self.params, self.timeframe
        values = view.indicators(timeframe)
        if not view.warm or not values.rsi_valid or not values.sigma > 0.0:
            return []
        bar, bar_ms = view.bars(timeframe, 1)[-1], view.timeframe_ms(timeframe)
        known_ms = int(bar["open_time"]) + bar_ms
        if known_ms != view.closed_ms:  # said when that bar closed
            return []
        direction = 1 if values.rsi <= p.rsi_low else -1 if values.rsi >= 100.0 - p.rsi_low else 0
        entry = values.mid - direction * p.band_sigma * values.sigma
        risk = p.stop_sigma * values.sigma
        stop = entry - direction * risk
        if direction == 0 or min(stop, entry) <= 0.0 or risk < entry * p.min_stop_bps * 1e-4:
            return []
        if direction * (float(bar["close"]) - entry) <= 0.0:
            return []
        word = "lower" if direction > 0 else "upper"
        setup = Setup(
            strategy=self.name,
            symbol=view.symbol,
            name=view.name,
            side=Side.BUY if direction > 0 else Side.SELL,
            zone=known_ms // bar_ms,
            timeframe=timeframe,
            entry=entry,
            stop=stop,
            target=values.mid,
            known_at_ms=known_ms,
            expires_ms=known_ms + bar_ms,
            time_limit_ms=p.time_limit_bars * bar_ms,
            reasons=(
                ("band", f"{word} band {timeframe}: {values.mid:.10g} with deviation {values.sigma:.6g}"),
                ("rsi", f"{values.rsi:.1f}"),
                ("stop", f"{p.stop_sigma:g} deviations beyond the band"),
            ),
        )
        return [setup]
