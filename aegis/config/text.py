"""TOML to a config and back; `load(name_or_path)` reads a file or a preset shipped in the package.

`dump(config)` gives TOML that loads back to the same value. Secrets are never part of a config: it names the
environment variables or the 0600 file that hold them.
"""

from __future__ import annotations

import functools
import hashlib
import os
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import attrs
import cattrs
import tomli_w

from aegis.config.faults import fault_names, load_faults
from aegis.config.files import located, parse_toml, preset_files, read_named
from aegis.config.model import Config, LogConfig, duration_ms
from aegis.config.scenario import load_scenario, scenario_names
from aegis.config.strategy import OwnStrategyConfig
from aegis.config.tree import TreeError, structure
from aegis.core.errors import ConfigError

__all__ = ["decision_hash", "dump", "load", "loads", "preset_names"]

#: Base bars whose history the venue serves; without it there is no warm-up.
_SERVED = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")


def loads(text: str, origin: str = "config", folder: Path | None = None) -> Config:
    """Parse TOML text. Raises ConfigError with one line that names the path of every fault.

    A strategy's `file` is looked for in `folder` (default: the current directory), where the config is; it is run.
    """
    tree = parse_toml(text, origin)
    strategy = tree.get("strategy")
    if isinstance(strategy, dict) and isinstance(strategy.get("file"), str) and strategy["file"]:
        strategy["file"] = os.path.abspath((folder or Path()) / strategy["file"])
    told = tree.get("exchange")
    for key, names in (("scenario", scenario_names()), ("faults", fault_names())):
        if isinstance(told, dict) and isinstance(told.get(key), str) and told[key]:
            told[key] = located(told[key], folder or Path(), names)
    try:
        config = structure(tree, Config)
    except TreeError as error:
        raise ConfigError(f"{origin}: {error}") from None
    if config.exchange.scenario:
        load_scenario(config.exchange.scenario)  # what is wrong with it is known now
    if config.exchange.faults:
        load_faults(config.exchange.faults)
    base = config.bars.timeframes[0]
    if duration_ms(base) not in map(duration_ms, _SERVED):  # only a replay can do with others
        served = ", ".join(_SERVED)
        raise ConfigError(f"{origin}: bars.timeframes: as the first the venue serves {served}, not {base!r}")
    if config.mode == "sim" and config.venue.named:
        raise ConfigError(f'{origin}: venue: mode "sim" starts its own exchange; paper and testnet can use another')
    return config


def preset_names() -> tuple[str, ...]:
    """Bare names that `load` accepts."""
    return preset_files()


def load(name: str) -> Config:
    """Load a path, or the bare name of a shipped file (`sim` or `sim.toml`). Raises ConfigError.

    A file of that name comes first; a directory does not count.
    """
    text, origin = read_named(name, "", "configs")
    return loads(text, origin, Path(name).parent)


def decision_hash(config: Config) -> str:
    """Over everything in the config that can change a decision: a log level cannot, nor where a named file is, whose
    contents can, nor how the loop waits. Raises ConfigError where a named file can no longer be read."""
    if isinstance(config.strategy, OwnStrategyConfig):
        config = attrs.evolve(config, strategy=attrs.evolve(config.strategy, file=config.strategy.sha256))
    told = config.exchange
    exchange = attrs.evolve(
        told, scenario=_contents(told.scenario, "scenarios"), faults=_contents(told.faults, "faults")
    )
    execution = attrs.evolve(config.execution, hot_loop=False)
    config = attrs.evolve(config, log=LogConfig(), execution=execution, exchange=exchange)
    return hashlib.sha256(dump(config).encode()).hexdigest()[:16]


def _contents(name: str, folder: str) -> str:
    """SHA-256 of a file of the user's, or of one that ships in `folder`; empty where none is named."""
    return hashlib.sha256(read_named(name, folder, folder)[0].encode()).hexdigest() if name else ""


@functools.cache  # it compiles a function for each class
def _unconverter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_unstructure_hook(Decimal, lambda value: int(value) if value == int(value) else float(value))
    return converter


def dump(config: Config) -> str:
    """TOML of the effective config; `loads(dump(c)) == c` for every config that was loaded."""
    tree = cast(dict[str, Any], _unconverter().unstructure(config))
    tree["strategy"] = config.strategy.table(_unconverter().unstructure)
    return tomli_w.dumps(tree)
