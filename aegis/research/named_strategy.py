"""A strategy as it is named on the command line: one that ships, a class in a file, or a config."""

from __future__ import annotations

import attrs
import tomli_w

from aegis import config as configs
from aegis.config import Config, StrategyConfig
from aegis.config.strategy import SHIPPED
from aegis.core.errors import ConfigError

__all__ = ["with_strategy"]


def with_strategy(text: str, config: Config) -> Config:
    """The config with the strategy `text`: a shipped name, `FILE.py:Class` (its defaults), or a config that has one.

    Raises ConfigError.
    """
    if text in SHIPPED:
        return attrs.evolve(config, strategy=_read(name=text))
    file, colon, name = text.rpartition(":")
    if colon and file.endswith(".py"):
        return attrs.evolve(config, strategy=_read(name=name, file=file))
    if text.endswith(".toml") or text in configs.preset_names():
        return attrs.evolve(config, strategy=configs.load(text).strategy)
    ways = f"one of {', '.join(SHIPPED)}, FILE.py:Class, or a config"
    raise ConfigError(f"STRATEGY: must be {ways}, not {text[:60]!r}")


def _read(**table: str) -> StrategyConfig:
    return configs.loads(tomli_w.dumps({"strategy": table}), "STRATEGY").strategy
