"""From the config to the strategy that it names, and to the analysis that this one wants."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from aegis.config.strategy import (
    FvgRetestConfig,
    MeanReversionConfig,
    OrderBlockConfig,
    OwnStrategyConfig,
    StrategyConfig,
)
from aegis.core.errors import ConfigError
from aegis.kernels.smc_events import KIND_NAMES
from aegis.kernels.state import AnalysisParams
from aegis.signals.fvg_retest import FvgRetest
from aegis.signals.mean_reversion import MeanReversion
from aegis.signals.order_block import OrderBlock
from aegis.signals.strategy import Strategy

__all__ = ["make_strategy"]


def make_strategy(
    config: StrategyConfig, timeframes: Sequence[str], *, warm_bars: int = 500
) -> tuple[Strategy, AnalysisParams]:
    """A fresh strategy and the parameters of the analysis behind its view, whose timeframes are named, the base first.

    Raises ConfigError where a user's own class cannot be made.
    """
    strategy: Strategy
    match config:
        case FvgRetestConfig():
            strategy = FvgRetest(config, timeframes)
        case OrderBlockConfig():
            strategy = OrderBlock(config, timeframes)
        case MeanReversionConfig():
            strategy = MeanReversion(config, timeframes)
        case OwnStrategyConfig():
            return _own(config, warm_bars)
        case other:
            raise AssertionError(f"no strategy for {other!r}")
    return strategy, strategy.analysis(warm_bars)


def _own(config: OwnStrategyConfig, warm_bars: int) -> tuple[Strategy, AnalysisParams]:
    try:
        strategy: Strategy = config.kind(config.params)
        analysis = strategy.analysis(warm_bars)
    except Exception as error:  # noqa: BLE001 - whatever the user's code may do
        raise ConfigError(f"strategy.name: {config.name} of {config.file}: {type(error).__name__}: {error}") from None
    if not isinstance(analysis, AnalysisParams):
        raise ConfigError(f"strategy.name: {config.name}.analysis of {config.file} gives no AnalysisParams")
    if not _are_kinds(strategy.hears):
        raise ConfigError(f"strategy.name: {config.name}.hears of {config.file} is no collection of kinds of event")
    return strategy, analysis


def _are_kinds(hears: object) -> bool:
    if hears is None:
        return True
    return isinstance(hears, Collection) and all(isinstance(kind, int) and kind in KIND_NAMES for kind in hears)
