"""Order-block retest after a sweep: buy the return into the block from which price broke upwards after it had taken
the liquidity below; sell the mirror.

A setup stands for every fresh order block before whose break of structure, not long ago, a pool on its own side was
swept: lows for a bullish one. It is a function of what the analysis knows, not of when the program was started.
"""

from __future__ import annotations

from collections.abc import Sequence

from aegis.config.strategy import OrderBlockConfig
from aegis.core.values import Side
from aegis.kernels.smc import BLOCK, BLOCK_BREAKER, BLOCK_DEAD, BLOCK_MITIGATED
from aegis.kernels.state import AnalysisParams, Records
from aegis.signals.standing import Standing, levels
from aegis.signals.strategy import Advice, Setup, Strategy
from aegis.signals.timeframes import chosen
from aegis.signals.view import BLOCK_IS_FRESH, BLOCK_IS_MITIGATED, Block, SymbolView

__all__ = ["OrderBlock"]


class OrderBlock(Strategy):
    """The strategy; it remembers which setups stand, symbol by symbol."""

    name = "order_block"
    every_bar = False
    hears = frozenset({BLOCK, BLOCK_MITIGATED, BLOCK_BREAKER, BLOCK_DEAD})

    def __init__(self, params: OrderBlockConfig, timeframes: Sequence[str]) -> None:
        self.params = params
        self.timeframe = chosen(params.timeframe, timeframes)
        self.standing = Standing(self.name, self.timeframe)

    def analysis(self, warm_bars: int) -> AnalysisParams:
        p = self.params
        return AnalysisParams(
            swing_lengths=(p.swing,),
            max_age_bars=p.max_block_age_bars,
            pool_atr=p.pool_atr,
            sweep_bars=p.sweep_bars,
            warm_bars=warm_bars,
        )

    def on_events(self, view: SymbolView, events: Records, now_ms: int) -> list[Advice]:
        """Compare the setups that should stand with those that do. `events` and `now_ms` only tell that it is time."""
        blocks = {block.id: block for block in view.blocks(self.timeframe)}
        advice = self.standing.ended(view.symbol, lambda zone: _ended(blocks.get(zone)))
        if not view.warm:
            return advice
        standing = self.standing.of(view.symbol)
        bars = view.bars(self.timeframe, 1)
        for block in blocks.values():
            beyond = block.direction * (float(bars["close"][-1]) - block.near) > 0.0  # else there is no return to it
            if block.id not in standing and beyond and self._swept_before(view, block):
                setup = self._setup(view, block)
                if setup is not None:
                    standing[block.id] = setup
                    advice.append(setup)
        return advice

    def forget(self, symbol: int) -> None:
        self.standing.forget(symbol)

    def _swept_before(self, view: SymbolView, block: Block) -> bool:
        longest = self.params.max_sweep_age_bars * view.timeframe_ms(self.timeframe)
        return block.phase == BLOCK_IS_FRESH and block.swept_ms > 0 and block.born_ms - block.swept_ms <= longest

    def _setup(self, view: SymbolView, block: Block) -> Setup | None:
        """Levels of a block; None where the stop would not be a price."""
        p, d, entry = self.params, block.direction, block.near
        beyond = (1.0 + p.stop_heights) * abs(entry - block.far)
        risk = max(beyond, entry * p.min_stop_bps * 1e-4)
        found = levels(entry, d, risk, p)
        if found is None:
            return None
        word, bar_ms = "bullish" if d > 0 else "bearish", view.timeframe_ms(self.timeframe)
        waited = (block.born_ms - block.swept_ms) // bar_ms
        stop = "widened to min_stop_bps" if risk > beyond else f"{p.stop_heights:g} heights beyond the block"
        return Setup(
            strategy=self.name,
            symbol=view.symbol,
            name=view.name,
            side=Side.BUY if d > 0 else Side.SELL,
            zone=block.id,
            timeframe=self.timeframe,
            entry=entry,
            stop=found.stop,
            target=found.target,
            parts=found.parts,
            known_at_ms=block.born_ms,
            expires_ms=block.born_ms + p.max_block_age_bars * bar_ms,
            time_limit_ms=p.time_limit_bars * bar_ms,
            reasons=(
                ("block", f"{word} order block {self.timeframe} {block.bottom:.10g}..{block.top:.10g}"),
                ("sweep", f"of {'lows' if d > 0 else 'highs'}, {waited} bars before the break of structure"),
                ("stop", stop),
            ),
        )


def _ended(block: Block | None) -> str:
    """Why a setup no longer holds; empty while it does."""
    if block is None:
        return "block broken or expired"
    return "block mitigated" if block.phase >= BLOCK_IS_MITIGATED else ""
