"""Configuration: TOML to frozen classes. Unknown keys, wrong types, units and ranges are errors with their path."""

from aegis.config.model import (
    BarsConfig,
    Config,
    ConflationConfig,
    CredentialsConfig,
    ExchangeConfig,
    ExecutionConfig,
    FeedConfig,
    JournalConfig,
    LogConfig,
    UniverseConfig,
    duration_ms,
    duration_text,
)
from aegis.config.strategy import (
    FvgRetestConfig,
    MeanReversionConfig,
    OrderBlockConfig,
    OwnStrategyConfig,
    StrategyConfig,
)
from aegis.config.text import decision_hash, dump, load, loads, preset_names
from aegis.config.venue import VenueConfig
from aegis.core.errors import ConfigError

__all__ = [
    "BarsConfig",
    "Config",
    "ConfigError",
    "ConflationConfig",
    "CredentialsConfig",
    "ExchangeConfig",
    "ExecutionConfig",
    "FeedConfig",
    "FvgRetestConfig",
    "JournalConfig",
    "LogConfig",
    "MeanReversionConfig",
    "OrderBlockConfig",
    "OwnStrategyConfig",
    "StrategyConfig",
    "UniverseConfig",
    "VenueConfig",
    "decision_hash",
    "dump",
    "duration_ms",
    "duration_text",
    "load",
    "loads",
    "preset_names",
]
