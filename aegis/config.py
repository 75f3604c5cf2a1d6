"""TOML to frozen classes. Unknown keys, wrong types, wrong units and out-of-range values are errors with their path.

`load(name_or_path)` reads a file or a preset shipped in the package; `dump(config)` gives TOML that loads back to the
same value. Secrets are never part of a config: it names the environment variables or the 0600 file that hold them.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any, cast

import attrs
import cattrs
import tomli_w

from aegis.core.errors import ConfigError
from aegis.core.risk_limits import RiskLimits

__all__ = [
    "BarsConfig", "Config", "ConfigError", "ConflationConfig", "CredentialsConfig", "ExchangeConfig", "ExecutionConfig",
    "FeedConfig", "JournalConfig", "LogConfig", "decision_hash", "duration_text", "StrategyConfig", "UniverseConfig", "duration_ms", "dump",
    "load", "loads", "preset_names",
]

_DURATION = re.compile(r"([1-9][0-9]*)(s|m|h|d)")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def duration_ms(text: str) -> int:
    """`"1s"`, `"5m"`, `"1h"`, `"1d"` in milliseconds. Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no bar length: write 1s, 5s, 1m, 15m, 1h or 1d")
    return int(match[1]) * _UNIT_MS[match[2]]


def duration_text(ms: int) -> str:
    """The shortest text of a bar length; the inverse of `duration_ms`. Raises ValueError."""
    for unit, length in sorted(_UNIT_MS.items(), key=lambda item: -item[1]):
        if ms > 0 and ms % length == 0:
            return f"{ms // length}{unit}"
    raise ValueError(f"{ms} ms is no whole number of seconds")


def _between(low: float, high: float) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
        if not low <= value <= high:  # also refuses NaN
            raise ValueError(f"{attribute.name} must be between {low:g} and {high:g}, not {value!r}")

    return check


def _one_of(*allowed: str) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: str) -> None:
        if value not in allowed:
            raise ValueError(f"{attribute.name} must be one of {', '.join(allowed)}, not {value!r}")

    return check


def _bar_length(_: object, attribute: attrs.Attribute[Any], value: str) -> None:
    try:
        duration_ms(value)
    except ValueError as error:
        raise ValueError(f"{attribute.name}: {error}") from None


def _account_name(_: object, attribute: attrs.Attribute[Any], value: str) -> None:
    if re.fullmatch(r"[a-z0-9-]{1,32}", value) is None:  # it names a directory
        raise ValueError(f"{attribute.name} must be 1 to 32 of a-z, 0-9 and -, not {value!r}")


@attrs.frozen(kw_only=True)
class UniverseConfig:
    """Which symbols are traded. Everything here is applied to exchangeInfo and the 24 h tickers."""

    quote: str = "USDT"
    underlying: tuple[str, ...] = ("COIN",)
    top: int = attrs.field(default=300, validator=_between(1, 1000))
    min_age_days: float = attrs.field(default=30.0, validator=_between(0, 10_000))
    min_volume_quote: float = attrs.field(default=1_000_000.0, validator=_between(0, 1e15))
    max_spread_bps: float = attrs.field(default=20.0, validator=_between(0.01, 10_000))
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    refresh_hours: float = attrs.field(default=24.0, validator=_between(0.01, 168))


@attrs.frozen(kw_only=True)
class FeedConfig:
    """Market sockets: sharding, watchdogs and reconnects."""

    streams_per_socket: int = attrs.field(default=300, validator=_between(1, 1024))
    connect_timeout_s: float = attrs.field(default=5.0, validator=_between(0.1, 60))
    first_message_s: float = attrs.field(default=10.0, validator=_between(0.1, 600))
    backoff_max_s: float = attrs.field(default=30.0, validator=_between(0.1, 600))
    connections_per_5min: int = attrs.field(default=100, validator=_between(4, 300))
    trade_source: str = attrs.field(default="aggTrade", validator=_one_of("aggTrade", "trade"))


@attrs.frozen(kw_only=True)
class ConflationConfig:
    """`analysis_latency_ms` is how long a result is held back on a virtual clock, where computing takes no time."""

    interval_ms: int = attrs.field(default=100, validator=_between(10, 10_000))
    analysis_latency_ms: int = attrs.field(default=2, validator=_between(0, 1_000))


@attrs.frozen(kw_only=True)
class BarsConfig:
    """Bars of the base length are built from trades; the others are multiples of it."""

    base: str = attrs.field(default="1m", validator=_bar_length)
    structure: str = attrs.field(default="5m", validator=_bar_length)
    lateness_ms: int = attrs.field(default=250, validator=_between(0, 60_000))
    warmup_bars: int = attrs.field(default=500, validator=_between(500, 1400))

    def __attrs_post_init__(self) -> None:
        base, structure = duration_ms(self.base), duration_ms(self.structure)
        if structure <= base or structure % base:
            raise ValueError(f"structure {self.structure!r} is no multiple of base {self.base!r}")

    def shortened(self, warmup_bars: int) -> BarsConfig:
        """With a warm-up below what the config may ask for: a recording brings no history."""
        short = attrs.evolve(self)
        object.__setattr__(short, "warmup_bars", warmup_bars)  # past the validator, which guards live trading
        return short

    @property
    def timeframes_ms(self) -> tuple[int, int]:
        return duration_ms(self.base), duration_ms(self.structure)


@attrs.frozen(kw_only=True)
class StrategyConfig:
    """FVG retest with structure: structure on the higher bars, trigger on the base bars."""

    name: str = attrs.field(default="fvg_retest", validator=_one_of("fvg_retest"))
    trigger_swing: int = attrs.field(default=5, validator=_between(2, 50))
    structure_swing: int = attrs.field(default=3, validator=_between(2, 50))
    min_gap_atr: float = attrs.field(default=0.25, validator=_between(0.1, 10))
    stop_atr: float = attrs.field(default=0.5, validator=_between(0.0, 20))
    min_stop_bps: float = attrs.field(default=60.0, validator=_between(1, 2_000))
    target_r: float = attrs.field(default=2.0, validator=_between(0.1, 20))
    time_limit_bars: int = attrs.field(default=60, validator=_between(1, 10_000))
    max_zone_age_bars: int = attrs.field(default=100, validator=_between(2, 500))


@attrs.frozen(kw_only=True)
class ExecutionConfig:
    """How orders travel. The trade socket is used where the venue has one; REST alone suffices."""

    recv_window_ms: int = attrs.field(default=3_000, validator=_between(500, 5_000))
    reply_budget_ms: int = attrs.field(default=2_000, validator=_between(100, 30_000))
    protect_budget_ms: int = attrs.field(default=2_000, validator=_between(100, 30_000))
    trade_socket: bool = True
    stop_working_type: str = attrs.field(default="CONTRACT_PRICE", validator=_one_of("CONTRACT_PRICE", "MARK_PRICE"))


@attrs.frozen(kw_only=True)
class JournalConfig:
    durability: str = attrs.field(default="process", validator=_one_of("process", "power"))


@attrs.frozen(kw_only=True)
class LogConfig:
    level: str = attrs.field(default="info", validator=_one_of("debug", "info", "warning", "error"))


@attrs.frozen(kw_only=True)
class CredentialsConfig:
    """Where the key is: two environment variables, or a 0600 TOML file with `key` and `secret`."""

    kind: str = attrs.field(default="hmac", validator=_one_of("hmac", "ed25519"))
    key_env: str = "AEGIS_API_KEY"
    secret_env: str = "AEGIS_API_SECRET"  # noqa: S105 - a variable's name
    file: str = ""


@attrs.frozen(kw_only=True)
class ExchangeConfig:
    """The simulated exchange: of `aegis run` with mode "sim", and of simulated fills in paper and replay."""

    symbols: int = attrs.field(default=300, validator=_between(1, 1000))
    rate: int = attrs.field(default=4_000, validator=_between(10, 5_000_000))
    volatility: float = attrs.field(default=1.0, validator=_between(0.0, 50))
    latency_median_ms: float = attrs.field(default=30.0, validator=_between(0, 10_000))
    latency_p99_ms: float = attrs.field(default=150.0, validator=_between(0, 60_000))
    maker_fee_bps: float = attrs.field(default=2.0, validator=_between(-5, 100))
    taker_fee_bps: float = attrs.field(default=5.0, validator=_between(0, 100))
    wallet: float = attrs.field(default=10_000.0, validator=_between(1, 1e12))
    weight_limit: int = attrs.field(default=2_400, validator=_between(100, 10_000_000))


@attrs.frozen(kw_only=True)
class Config:
    """One venue, one account, one run."""

    mode: str = attrs.field(default="sim", validator=_one_of("sim", "paper", "testnet", "live"))
    seed: int = attrs.field(default=7, validator=_between(0, 2**31 - 1))
    account: str = attrs.field(default="main", validator=_account_name)
    universe: UniverseConfig = UniverseConfig()
    feed: FeedConfig = FeedConfig()
    conflation: ConflationConfig = ConflationConfig()
    bars: BarsConfig = BarsConfig()
    strategy: StrategyConfig = StrategyConfig()
    risk: RiskLimits = RiskLimits()
    execution: ExecutionConfig = ExecutionConfig()
    journal: JournalConfig = JournalConfig()
    log: LogConfig = LogConfig()
    credentials: CredentialsConfig = CredentialsConfig()
    exchange: ExchangeConfig = ExchangeConfig()


# -- reading -----------------------------------------------------------------------------------------------------------
def _strict(kind: type, *accept: type) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if type(value) is kind or type(value) in accept:
            return kind(value)
        raise ValueError(f"must be {_WORD[kind]}, not {value!r}")

    return hook


def _decimal(value: Any, _: Any) -> Decimal:
    """The decimal that was written: TOML's float prints back as its shortest text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number, not {value!r}")
    return Decimal(str(value))


_WORD = {int: "a whole number", float: "a number", str: "text in quotes", bool: "true or false"}


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(bool, _strict(bool))
    converter.register_structure_hook(int, _strict(int))
    converter.register_structure_hook(float, _strict(float, int))
    converter.register_structure_hook(str, _strict(str))
    converter.register_structure_hook(Decimal, _decimal)
    return converter


def _lines(error: BaseException, path: str) -> list[str]:
    """Flatten cattrs' tree of errors into `path: what is wrong`."""
    if isinstance(error, cattrs.ClassValidationError | cattrs.IterableValidationError):
        out: list[str] = []
        for sub in error.exceptions:
            note = next((n for n in getattr(sub, "__notes__", ()) if isinstance(n, cattrs.AttributeValidationNote)), None)
            name = note.name if note is not None else ""
            out += _lines(sub, f"{path}.{name}" if path and name else path or name)
        return out
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        return [f"{path + '.' if path else ''}{key}: unknown key" for key in sorted(error.extra_fields)]
    if isinstance(error, TypeError):
        return [f"{path}: must be a table or a list"]
    return [f"{path}: {error}" if path else str(error)]


def _from_tree(tree: dict[str, Any], origin: str) -> Config:
    try:
        return _converter().structure(tree, Config)
    except cattrs.BaseValidationError as error:
        raise ConfigError(f"{origin}: {'; '.join(_lines(error, ''))}") from None


def loads(text: str, origin: str = "config") -> Config:
    """Parse TOML text. Raises ConfigError with one line that names the path of every fault."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin}: {error}") from None
    return _from_tree(tree, origin)


def preset_names() -> tuple[str, ...]:
    """Bare names that `load` accepts."""
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in _presets().iterdir() if entry.name.endswith(".toml")))


def _presets() -> Any:
    installed = resources.files("aegis") / "presets"
    if installed.is_dir():
        return installed
    return Path(__file__).parent.parent / "config"  # an editable install reads them where they are written


def load(name: str) -> Config:
    """Load a path, or the bare name of a shipped file (`sim` or `sim.toml`). Raises ConfigError."""
    path = Path(name)
    bare = name.removesuffix(".toml")
    if not path.exists() and bare in preset_names():
        return loads((_presets() / f"{bare}.toml").read_text(encoding="utf-8"), f"{bare}.toml")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{name}: {reason}; shipped configs are {', '.join(preset_names())}") from None
    return loads(text, name)


def decision_hash(config: Config) -> str:
    """Over everything in the config that can change a decision: a log level cannot."""
    return hashlib.sha256(dump(attrs.evolve(config, log=LogConfig())).encode()).hexdigest()[:16]


def dump(config: Config) -> str:
    """TOML of the effective config; `loads(dump(c)) == c`."""
    converter = cattrs.Converter()
    converter.register_unstructure_hook(Decimal, lambda value: int(value) if value == value.to_integral() else float(value))
    return tomli_w.dumps(cast(dict[str, Any], converter.unstructure(config)))
