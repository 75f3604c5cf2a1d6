"""What a simulated exchange is told at start, and what it tells back when everything listens."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import msgspec

from aegis.config import Config
from aegis.config.faults import Faults, load_faults
from aegis.config.scenario import Scenario, load_scenario
from aegis.core.errors import ConfigError

__all__ = ["LEDGER_FILE", "ExchangeAddresses", "ExchangeSettings", "SocketLimits", "exchange_settings"]

#: In the state directory.
LEDGER_FILE = "ledger.jsonl"


def _between(low: float | Decimal, high: float | Decimal) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value != value or not low <= value <= high:  # the first is true of NaN alone, which Decimals cannot order
            raise ConfigError(f"exchange: {attribute.name} must be between {low} and {high}, not {value}")

    return check


@attrs.frozen(kw_only=True)
class SocketLimits:
    """The venue's rules for every WebSocket (PROTOCOL 1.4), and our own bound for a client that never reads."""

    ping_interval_s: float = attrs.field(default=180.0, validator=_between(0.01, 86_400))
    pong_timeout_s: float = attrs.field(default=600.0, validator=_between(0.01, 86_400))
    life_s: float = attrs.field(default=86_400.0, validator=_between(0.01, 864_000))
    handshake_s: float = attrs.field(default=10.0, validator=_between(0.01, 600))
    linger_s: float = attrs.field(default=1.0, validator=_between(0.0, 60))
    streams: int = attrs.field(default=1024, validator=_between(1, 100_000))
    messages_per_s: int = attrs.field(default=10, validator=_between(1, 100_000))
    trade_control_frames_per_s: int = attrs.field(default=5, validator=_between(1, 100_000))
    trade_in_flight: int = attrs.field(default=1_000, validator=_between(1, 100_000))
    message_bytes: int = attrs.field(default=1 << 17, validator=_between(128, 1 << 26))
    backlog_bytes: int = attrs.field(default=8 << 20, validator=_between(1 << 12, 1 << 30))


@attrs.frozen(kw_only=True)
class ExchangeSettings:
    """Everything that shapes a run of the simulated exchange. A wrong value raises ConfigError with its name.

    `speed` is how many seconds of the venue's time pass in one, 0 for as many as can be.
    `rate` is in public frames a second over all symbols; fees are fractions of notional; ports of 0 mean any free one.
    `insurance` is what the insurance fund holds at the start. Keys that are not given, and those of the second account
    and later ones, are made from the seed, so that a resumed run keeps them.
    """

    symbols: int = attrs.field(default=300, validator=_between(1, 1000))
    seed: int = attrs.field(default=1, validator=_between(0, 2**63 - 1))
    rate: float = attrs.field(default=6_000.0, validator=_between(1.0, 1_000_000.0))
    volatility: float = attrs.field(default=1.0, validator=_between(0.0, 100.0))
    latency_median_ms: float = attrs.field(default=30.0, validator=_between(0.0, 10_000.0))
    latency_p99_ms: float = attrs.field(default=150.0, validator=_between(0.0, 60_000.0))
    weight_limit: int = attrs.field(default=2_400, validator=_between(1, 1_000_000_000))
    orders_10s: int = attrs.field(default=300, validator=_between(1, 1_000_000_000))
    orders_minute: int = attrs.field(default=1_200, validator=_between(1, 1_000_000_000))
    taker_fee: Decimal = attrs.field(default=Decimal("0.0005"), validator=_between(Decimal(0), Decimal("0.1")))
    maker_fee: Decimal = attrs.field(default=Decimal("0.0002"), validator=_between(Decimal("-0.1"), Decimal("0.1")))
    wallet: Decimal = attrs.field(default=Decimal(10_000), validator=_between(Decimal(0), Decimal(10) ** 12))
    insurance: Decimal = attrs.field(default=Decimal(1_000_000), validator=_between(Decimal(0), Decimal(10) ** 12))
    accounts: int = attrs.field(default=1, validator=_between(1, 100))
    host: str = "127.0.0.1"
    rest_port: int = attrs.field(default=0, validator=_between(0, 65_535))
    socket_port: int = attrs.field(default=0, validator=_between(0, 65_535))
    ledger: Path | None = None
    state_dir: Path | None = None
    api_key: str = attrs.field(default="", repr=False)
    api_secret: str = attrs.field(default="", repr=False)
    tick_ms: float = attrs.field(default=5.0, validator=_between(0.1, 1_000.0))
    sockets: SocketLimits = attrs.field(factory=SocketLimits)
    scenario: Scenario = attrs.field(factory=Scenario)
    recording: Path | None = None
    faults: Faults = attrs.field(factory=Faults)
    control_port: int | None = None
    speed: float = attrs.field(default=1.0, validator=_between(0.0, 1e6))

    def __attrs_post_init__(self) -> None:
        if self.latency_p99_ms < self.latency_median_ms:
            raise ConfigError("exchange: latency_p99_ms must not be below latency_median_ms")
        if self.recording is not None and self.scenario != Scenario():
            raise ConfigError("exchange: a scenario bends the synthetic market, and a recording has no such")
        if self.latency_median_ms == 0.0 and self.latency_p99_ms > 0.0:
            raise ConfigError("exchange: latency_p99_ms must be 0 where latency_median_ms is 0")
        for name in ("api_key", "api_secret"):
            if not getattr(self, name):
                made = _made(f"{name} {self.seed}")
                object.__setattr__(self, name, made)  # the one moment at which a frozen value may still be filled in

    def keys(self) -> list[tuple[str, str]]:
        """(API key, secret) of every account."""
        others = range(2, self.accounts + 1)
        made = [(_made(f"api_key {self.seed} {n}"), _made(f"api_secret {self.seed} {n}")) for n in others]
        return [(self.api_key, self.api_secret), *made]

    def to_json(self) -> str:
        """Every setting but the keys, which follow from the seed: what a parent process hands to its exchange."""
        hidden = attrs.filters.exclude(*(getattr(attrs.fields(type(self)), name) for name in ("api_key", "api_secret")))
        return msgspec.json.encode(attrs.asdict(self, filter=hidden), enc_hook=str).decode()

    @classmethod
    def from_json(cls, text: str) -> ExchangeSettings:
        """The inverse. Raises ConfigError."""
        try:
            return msgspec.json.decode(text, type=cls, dec_hook=lambda kind, value: kind(value))
        except (msgspec.DecodeError, TypeError) as error:
            raise ConfigError(f"exchange settings: {error}") from None


def _made(what: str) -> str:
    return hashlib.sha512(f"aegis exchange {what}".encode()).hexdigest()[:64]


@attrs.frozen(kw_only=True)
class ExchangeAddresses:
    """Where a running exchange listens and with which key: the `ready` line of its process.

    `rest` is an http:// origin, `stream` a ws:// origin under which /public, /market and /private live, `trade` the
    full URL of the trade socket, `control` the origin of the control endpoint, empty where there is none.
    """

    rest: str
    stream: str
    trade: str
    api_key: str
    api_secret: str = attrs.field(repr=False)
    seed: int
    symbols: int
    more_keys: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    """(API key, secret) of the second account and later ones."""
    control: str = ""

    def to_json(self) -> bytes:
        """One line, without its newline."""
        return msgspec.json.encode({"event": "ready", **attrs.asdict(self)})

    @classmethod
    def from_json(cls, line: bytes) -> ExchangeAddresses:
        """Read a ready line. Raises ValueError when it is something else."""
        try:
            fields = msgspec.json.decode(line, type=dict[str, Any])
            if fields.pop("event", None) != "ready":
                raise ValueError("no ready line")
            text = {name: str(fields.pop(name)) for name in ("rest", "stream", "trade", "api_key", "api_secret")}
            text["control"] = str(fields.pop("control", ""))
            more = tuple((str(key), str(secret)) for key, secret in fields.pop("more_keys", ()))
            return cls(**text, seed=int(fields.pop("seed")), symbols=int(fields.pop("symbols")), more_keys=more)
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise ValueError(f"no ready line: {error}") from None


def exchange_settings(config: Config, directory: Path | None) -> ExchangeSettings:
    """The exchange that a config's section of that name asks for; `directory` keeps its ledger and state."""
    told = config.exchange
    return ExchangeSettings(
        symbols=told.symbols,
        seed=config.seed,
        rate=float(told.rate),
        volatility=told.volatility,
        latency_median_ms=told.latency_median_ms,
        latency_p99_ms=told.latency_p99_ms,
        weight_limit=told.weight_limit,
        maker_fee=_rate(told.maker_fee_bps),
        taker_fee=_rate(told.taker_fee_bps),
        wallet=Decimal(str(told.wallet)),
        state_dir=directory,
        scenario=load_scenario(told.scenario) if told.scenario else Scenario(),
        faults=load_faults(told.faults) if told.faults else Faults(),
    )


def _rate(bps: float) -> Decimal:
    return Decimal(str(bps)) / 10_000
