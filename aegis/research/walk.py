"""Bars one by one through the analysis and a fresh strategy, as a run shows them: to look at what it says, and when."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np

from aegis.config import Config
from aegis.core.errors import ConfigError
from aegis.kernels.analysis import analyse_all, new_state, seed, set_live_from
from aegis.kernels.layout import BAR, ROW
from aegis.kernels.state import Records
from aegis.research.candles import Candles
from aegis.signals.advice import fault, heard
from aegis.signals.choose import make_strategy
from aegis.signals.news import news_for
from aegis.signals.strategy import Advice, Setup
from aegis.signals.view import Block, Indicators, Quote, SymbolView, Zone

__all__ = ["WARM_BARS", "Step", "made_up_bars", "walk"]

#: A file brings no history: its own first bars of every length must do.
WARM_BARS = 20
_EPOCH_MS = 2_800 * 604_800_000  # a multiple of a week: every timeframe is aligned there


@attrs.frozen(kw_only=True, eq=False)
class Step:
    """One closed base bar: what became known with it, and what the strategy said."""

    known_ms: int
    bar: np.void
    events: Records
    advice: tuple[Advice, ...]
    indicators: Indicators
    zones: dict[str, tuple[Zone | Block, ...]]
    """Live gaps and order blocks of each timeframe."""

    @property
    def setups(self) -> tuple[Setup, ...]:
        """The levels it wants armed."""
        return tuple(one for one in self.advice if isinstance(one, Setup))


def walk(candles: Candles, config: Config, *, symbol: str = "BARS", warm_bars: int = WARM_BARS) -> Iterator[Step]:
    """One step a base bar. The quote that the strategy sees is the bar's close.

    Raises ConfigError where the bars are none, or where the strategy fails, with the bar.
    """
    bars, names, frames = candles.base, config.bars.names, config.bars.timeframes_ms
    strategy, analysis = make_strategy(config.strategy, names, warm_bars=warm_bars)
    state = new_state(1, frames, analysis)
    if not len(bars):
        return
    set_live_from(state, 0, int(bars["open_time"][0]))
    seed(state, 0, np.zeros(0, BAR), candles.history)
    warm = False
    for number, row in enumerate(_rows(bars)):
        known_ms = int(bars["open_time"][number]) + frames[0]
        try:
            _, events = analyse_all(state, row, known_ms)
        except ValueError as error:
            raise ConfigError(f"bar {number}: {error}") from None
        close = float(bars["close"][number])
        view = SymbolView(state, 0, symbol, Quote(bid=close, ask=close, mark=close))
        advice: list[Advice] = []
        news, was_warm, warm = news_for(strategy, events), warm, view.warm
        if warm and (strategy.every_bar or len(news) or not was_warm):
            try:
                advice = heard(strategy.on_events(view, news, known_ms), 0)
            except Exception as error:  # noqa: BLE001 - it may be the user's own
                where = f"bar {number} ({np.datetime64(known_ms, 'ms')}Z)"
                raise ConfigError(f"strategy {config.strategy.name} failed at {where}: {fault(error)}") from None
        yield Step(
            known_ms=known_ms, bar=bars[number], events=events, advice=tuple(advice),
            indicators=view.indicators(names[0]),
            zones={name: (*view.zones(name), *view.blocks(name)) for name in names},
        )  # fmt: skip


def _rows(bars: Records) -> Iterator[Records]:
    """Each bar as one conflated row, as if it had been seen whole at once."""
    rows = np.zeros(len(bars), ROW)
    for name in ("open", "high", "low", "close", "volume", "taker_buy"):
        rows[name] = bars[name]
    rows["bar"], rows["trades"] = bars["open_time"], np.maximum(bars["trades"], 1)
    rows["first_id"] = rows["last_id"] = 1 + np.arange(len(bars))
    for number in range(len(bars)):
        yield rows[number : number + 1]


def made_up_bars(count: int, *, seed: int = 1, bar_ms: int = 60_000, price: float = 100.0) -> Candles:
    """Bars of a seeded random market with moods that trend and moods that do not: to try a strategy, to prove nothing.

    They are about 0.2 % high each.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    mood = np.repeat(rng.normal(0.0, 3e-4, count // 40 + 1), 40)[:count]
    closes = price * np.exp(np.cumsum(mood + rng.normal(0.0, 1.5e-3, count)))
    opens = np.concatenate([[price], closes[:-1]])
    bars = np.zeros(count, BAR)
    bars["open_time"] = _EPOCH_MS + bar_ms * np.arange(count)
    bars["open"], bars["close"] = opens, closes
    bars["high"] = np.maximum(opens, closes) * (1.0 + np.abs(rng.normal(0.0, 5e-4, count)))
    bars["low"] = np.minimum(opens, closes) * (1.0 - np.abs(rng.normal(0.0, 5e-4, count)))
    bars["volume"] = rng.integers(100, 10_000, count)
    bars["taker_buy"] = bars["volume"] // 2
    bars["trades"] = rng.integers(1, 100, count)
    return Candles(bars)
