"""What can be configured: frozen classes with defaults, units in the names, and ranges."""

from __future__ import annotations

import re
from typing import Any

import attrs

from aegis.config.checks import between, matching, one_of
from aegis.config.strategy import (
    FvgRetestConfig,
    StrategyConfig,
)
from aegis.config.venue import VenueConfig
from aegis.core.risk_limits import RiskLimits

__all__ = [
    "BarsConfig",
    "Config",
    "ConflationConfig",
    "CredentialsConfig",
    "ExchangeConfig",
    "ExecutionConfig",
    "FeedConfig",
    "JournalConfig",
    "LogConfig",
    "UniverseConfig",
    "duration_ms",
    "duration_text",
]

_DURATION = re.compile(r"([1-9][0-9]{0,4})(s|m|h|d)")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DAY_MS = 86_400_000
_TIMEFRAMES = 8


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


def _bar_lengths(_: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    try:
        lengths = [duration_ms(text) for text in value]
    except ValueError as error:
        raise ValueError(f"{attribute.name}: {error}") from None
    if not 1 <= len(value) <= _TIMEFRAMES:
        raise ValueError(f"{attribute.name}: must be 1 to {_TIMEFRAMES} bar lengths, not {len(value)}")
    for text, length, shorter in zip(value, lengths, (0, *lengths), strict=False):
        if _DAY_MS % length:
            raise ValueError(f"{attribute.name}: {text!r} does not divide a day")
        if length <= shorter:
            raise ValueError(f"{attribute.name}: {text!r} is not longer than the one before it")
        if length % lengths[0]:
            raise ValueError(f"{attribute.name}: {text!r} is no multiple of the first, {value[0]!r}")


_symbol_names = matching(r"[^\sa-z]{1,40}", "names in capitals, such as BTCUSDT")
_file_name = matching(r"[^\0\r\n]{0,1000}", "a path, or the name of a shipped file")
_variable = matching(r"[A-Z_][A-Z0-9_]{0,39}", "the name of an environment variable in capitals", seen=False)


@attrs.frozen(kw_only=True)
class UniverseConfig:
    """Which symbols are traded. Everything here is applied to exchangeInfo and the 24 h tickers.

    The choice is made anew every `refresh_hours` and when the venue tells of a contract. What is chosen then and was
    not before takes one of `spare` rows. Those of symbols that have left stay theirs until the next start, and a
    turnover that wavers about the last place of `top` moves a few symbols a day.
    """

    quote: str = attrs.field(default="USDT", validator=matching("[A-Z0-9]{1,20}", "an asset, such as USDT"))
    underlying: tuple[str, ...] = attrs.field(default=("COIN",), validator=_symbol_names)
    top: int = attrs.field(default=300, validator=between(1, 1000))
    min_age_days: float = attrs.field(default=30.0, validator=between(0, 10_000))
    min_volume_quote: float = attrs.field(default=1_000_000.0, validator=between(0, 1e15))
    max_spread_bps: float = attrs.field(default=20.0, validator=between(0.01, 10_000))
    include: tuple[str, ...] = attrs.field(default=(), validator=_symbol_names)
    exclude: tuple[str, ...] = attrs.field(default=(), validator=_symbol_names)
    refresh_hours: float = attrs.field(default=23.0, validator=between(0.01, 168))
    """Shorter than `risk.spec_age_h`, so that rules are read again before they are too old to trade by."""
    spare: int = attrs.field(default=20, validator=between(0, 200))


@attrs.frozen(kw_only=True)
class FeedConfig:
    """Market sockets: sharding, watchdogs and reconnects.

    The venue ends every connection at 24 h: after `rotate_after_s`, less up to 5 % of jitter, a second one is opened
    and both run for `overlap_s`. `overlap_max_mib` bounds what the new one may hold meanwhile: at some MiB/s in the
    worst burst seen it covers the overlap; where it does not, the new one takes over early. Bars wait at most
    `mend_wait_s` for trades that a cut has lost and that are fetched. Depth is watched of at most `depth_symbols`
    symbols at a time; with 0 only what the touch displays is known.
    """

    streams_per_socket: int = attrs.field(default=300, validator=between(1, 1024))
    connect_timeout_s: float = attrs.field(default=5.0, validator=between(0.1, 60))
    first_message_s: float = attrs.field(default=10.0, validator=between(0.1, 600))
    backoff_max_s: float = attrs.field(default=30.0, validator=between(0.1, 600))
    rotate_after_s: float = attrs.field(default=82_800.0, validator=between(60, 86_000))
    overlap_s: float = attrs.field(default=2.0, validator=between(0.1, 60))
    overlap_max_mib: int = attrs.field(default=16, validator=between(1, 256))
    mend_wait_s: float = attrs.field(default=5.0, validator=between(0.1, 20))
    connections_per_5min: int = attrs.field(default=100, validator=between(4, 300))
    depth_symbols: int = attrs.field(default=50, validator=between(0, 1000))
    trade_source: str = attrs.field(default="aggTrade", validator=one_of("aggTrade", "trade"))


@attrs.frozen(kw_only=True)
class ConflationConfig:
    """`analysis_latency_ms` is how long a result is held back on a virtual clock, where computing takes no time."""

    interval_ms: int = attrs.field(default=100, validator=between(10, 10_000))
    analysis_latency_ms: int = attrs.field(default=2, validator=between(0, 1_000))


@attrs.frozen(kw_only=True)
class BarsConfig:
    """Bars of the first timeframe, the base, are built from trades, the longer ones from base bars.

    Each is seen once it has closed, and each needs `warmup_bars` of its own before a symbol trades.
    """

    timeframes: tuple[str, ...] = attrs.field(default=("1m", "5m"), validator=_bar_lengths)
    lateness_ms: int = attrs.field(default=250, validator=between(0, 60_000))
    warmup_bars: int = attrs.field(default=500, validator=between(500, 1400))

    def shortened(self, warmup_bars: int) -> BarsConfig:
        """With a warm-up below what the config may ask for: a recording brings no history."""
        short = attrs.evolve(self)
        object.__setattr__(short, "warmup_bars", warmup_bars)  # past the validator, which guards live trading
        return short

    @property
    def timeframes_ms(self) -> tuple[int, ...]:
        return tuple(map(duration_ms, self.timeframes))

    @property
    def names(self) -> tuple[str, ...]:
        """As a strategy's view names them: `60s` is `1m`."""
        return tuple(map(duration_text, self.timeframes_ms))


@attrs.frozen(kw_only=True)
class ExecutionConfig:
    """How orders travel. The trade socket is used where the venue has one; REST alone suffices."""

    recv_window_ms: int = attrs.field(default=3_000, validator=between(500, 5_000))
    reply_budget_ms: int = attrs.field(default=2_000, validator=between(100, 30_000))
    protect_budget_ms: int = attrs.field(default=2_000, validator=between(100, 30_000))
    trade_socket: bool = True
    hot_loop: bool = False
    """Never let the loop's core sleep: a fifth off the latency, for a machine with a core to spare."""
    stop_working_type: str = attrs.field(default="CONTRACT_PRICE", validator=one_of("CONTRACT_PRICE", "MARK_PRICE"))


@attrs.frozen(kw_only=True)
class JournalConfig:
    durability: str = attrs.field(default="process", validator=one_of("process", "power"))


@attrs.frozen(kw_only=True)
class LogConfig:
    level: str = attrs.field(default="info", validator=one_of("debug", "info", "warning", "error"))


@attrs.frozen(kw_only=True)
class CredentialsConfig:
    """Where the key is: two environment variables, or a 0600 TOML file with `key` and `secret`."""

    kind: str = attrs.field(default="hmac", validator=one_of("hmac", "ed25519"))
    key_env: str = attrs.field(default="AEGIS_API_KEY", validator=_variable)
    secret_env: str = attrs.field(default="AEGIS_API_SECRET", validator=_variable)
    file: str = attrs.field(default="", validator=matching(r"[^\0\r\n]{0,1000}", "a path"))


@attrs.frozen(kw_only=True)
class ExchangeConfig:
    """The simulated exchange: of `aegis run` with mode "sim", and of simulated fills in paper and replay."""

    symbols: int = attrs.field(default=300, validator=between(1, 1000))
    rate: int = attrs.field(default=4_000, validator=between(10, 1_000_000))
    volatility: float = attrs.field(default=1.0, validator=between(0.0, 50))
    latency_median_ms: float = attrs.field(default=30.0, validator=between(0, 10_000))
    latency_p99_ms: float = attrs.field(default=150.0, validator=between(0, 60_000))
    maker_fee_bps: float = attrs.field(default=2.0, validator=between(-5, 100))
    taker_fee_bps: float = attrs.field(default=5.0, validator=between(0, 100))
    wallet: float = attrs.field(default=10_000.0, validator=between(1, 1e12))
    weight_limit: int = attrs.field(default=2_400, validator=between(100, 10_000_000))
    scenario: str = attrs.field(default="", validator=_file_name)
    faults: str = attrs.field(default="", validator=_file_name)

    def __attrs_post_init__(self) -> None:
        median, p99 = self.latency_median_ms, self.latency_p99_ms
        if p99 < median or (median == 0.0 and p99 > 0.0):  # no lognormal has these
            raise ValueError(f"latency_p99_ms: {p99!r} does not go with a latency_median_ms of {median!r}")


@attrs.frozen(kw_only=True)
class Config:
    """One venue, one account, one run."""

    mode: str = attrs.field(default="sim", validator=one_of("sim", "paper", "testnet", "live"))
    seed: int = attrs.field(default=7, validator=between(0, 2**31 - 1))
    account: str = attrs.field(default="main", validator=matching("[a-z0-9-]{1,32}", "1 to 32 of a-z, 0-9 and -"))
    venue: VenueConfig = attrs.field(factory=VenueConfig)
    universe: UniverseConfig = UniverseConfig()
    feed: FeedConfig = FeedConfig()
    conflation: ConflationConfig = ConflationConfig()
    bars: BarsConfig = BarsConfig()
    strategy: StrategyConfig = attrs.field(factory=FvgRetestConfig)
    risk: RiskLimits = attrs.field(factory=RiskLimits)
    execution: ExecutionConfig = ExecutionConfig()
    journal: JournalConfig = JournalConfig()
    log: LogConfig = LogConfig()
    credentials: CredentialsConfig = CredentialsConfig()
    exchange: ExchangeConfig = ExchangeConfig()

    def __attrs_post_init__(self) -> None:
        lengths = self.bars.timeframes_ms
        for key in self.strategy.TIMEFRAMES:
            told = getattr(self.strategy, key)
            if told and _maybe_ms(told) not in lengths:
                raise ValueError(f"strategy.{key}: must be one of {', '.join(self.bars.timeframes)}, not {told!r}")


def _maybe_ms(text: str) -> int | None:
    try:
        return duration_ms(text)
    except ValueError:
        return None
