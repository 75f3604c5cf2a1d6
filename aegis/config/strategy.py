"""The table [strategy]: which strategy trades, and its parameters.

`name` alone means one that ships. Together with `file` it is a class of the user's own: the file is run when the config
is read, so that its parameters are checked with their path like every other key.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from typing import Any, ClassVar, Final

import attrs
import cattrs

from aegis.config.checks import between, one_of
from aegis.config.own import OwnFileError, load_class
from aegis.config.tree import Fault

__all__ = [
    "SHIPPED",
    "FvgRetestConfig",
    "MeanReversionConfig",
    "OrderBlockConfig",
    "OwnStrategyConfig",
    "StrategyConfig",
]

#: What a parameter of the user's may be: what TOML can say, and say again.
_PLAIN: Final = (bool, int, float, str, decimal.Decimal)
_OURS: Final = ("name", "file")


@attrs.frozen(kw_only=True)
class StrategyConfig:
    """What all of them have: see the classes below. A key of `TIMEFRAMES` names one of `bars.timeframes`, or none."""

    TIMEFRAMES: ClassVar[tuple[str, ...]] = ()

    name: str

    @classmethod
    def from_table(cls, table: dict[str, Any], structure: Callable[[Any, Any], Any]) -> StrategyConfig:
        """Read the table as the class that it names; called by `config.tree`. Raises what that understands."""
        if "file" in table:
            return _own(table, structure)
        kind = SHIPPED.get(str(table.get("name")), FvgRetestConfig)  # which refuses a name that it does not know
        result: StrategyConfig = structure(table, kind)
        return result

    def table(self, unstructure: Callable[[Any], Any]) -> dict[str, Any]:
        """The table that reads back to this."""
        result: dict[str, Any] = unstructure(self)
        return result


@attrs.frozen(kw_only=True)
class ZoneConfig(StrategyConfig):
    """What the strategies of zones share."""

    min_stop_bps: float = attrs.field(default=60.0, validator=between(1, 2_000))
    """The stop is widened to this distance, so that costs stay a small part of R."""
    target_r: float = attrs.field(default=2.0, validator=between(0.1, 20))
    partial_r: float = attrs.field(default=0.0, validator=between(0.0, 20))
    """Part of the position is taken at so many R already; 0: all of it at `target_r`."""
    partial_share: float = attrs.field(default=0.5, validator=between(0.05, 0.95))
    time_limit_bars: int = attrs.field(default=60, validator=between(1, 10_000))

    def __attrs_post_init__(self) -> None:
        if self.partial_r >= self.target_r:
            raise ValueError(f"partial_r: must be below target_r, {self.target_r:g}, not {self.partial_r!r}")


@attrs.frozen(kw_only=True)
class FvgRetestConfig(ZoneConfig):
    """FVG retest with structure: gaps of `trigger` (empty: the base), along the structure of `structure` (empty: the
    next longer timeframe)."""

    TIMEFRAMES = ("trigger", "structure")

    name: str = attrs.field(default="fvg_retest", validator=one_of("fvg_retest", "order_block", "mean_reversion"))
    trigger: str = ""
    structure: str = ""
    trigger_swing: int = attrs.field(default=5, validator=between(2, 50))
    structure_swing: int = attrs.field(default=3, validator=between(2, 50))
    min_gap_atr: float = attrs.field(default=0.25, validator=between(0.1, 10))
    stop_atr: float = attrs.field(default=0.5, validator=between(0.0, 20))
    max_zone_age_bars: int = attrs.field(default=100, validator=between(3, 500))


@attrs.frozen(kw_only=True)
class OrderBlockConfig(ZoneConfig):
    """Order-block retest after a sweep, on the bars of `timeframe` (empty: the base)."""

    TIMEFRAMES = ("timeframe",)

    name: str = attrs.field(default="order_block", validator=one_of("order_block"))
    timeframe: str = ""
    swing: int = attrs.field(default=3, validator=between(1, 50))
    pool_atr: float = attrs.field(default=0.25, validator=between(0.0, 10))
    """Swings this near to each other, in mean true ranges, are one pool of liquidity."""
    sweep_bars: int = attrs.field(default=2, validator=between(1, 20))
    """Bars in which price must close back inside, the piercing one included."""
    max_sweep_age_bars: int = attrs.field(default=30, validator=between(0, 500))
    """The sweep lies at most so many bars before the break of structure."""
    stop_heights: float = attrs.field(default=0.5, validator=between(0.0, 20))
    """How far beyond the far edge the stop lies, in heights of the block."""
    max_block_age_bars: int = attrs.field(default=100, validator=between(3, 500))


@attrs.frozen(kw_only=True)
class MeanReversionConfig(StrategyConfig):
    """Bollinger/RSI mean reversion on the bars of `timeframe` (empty: the base): distances in standard deviations of
    the closes."""

    TIMEFRAMES = ("timeframe",)

    name: str = attrs.field(default="mean_reversion", validator=one_of("mean_reversion"))
    timeframe: str = ""
    bollinger_period: int = attrs.field(default=20, validator=between(2, 200))
    rsi_period: int = attrs.field(default=14, validator=between(2, 200))
    band_sigma: float = attrs.field(default=2.0, validator=between(0.5, 10))
    rsi_low: float = attrs.field(default=40.0, validator=between(1, 49))
    """A buy wants an RSI of at most this, a sell one of at least 100 less this."""
    stop_sigma: float = attrs.field(default=1.0, validator=between(0.1, 10))
    min_stop_bps: float = attrs.field(default=60.0, validator=between(1, 2_000))
    """A market so quiet that the stop would be nearer is left alone: costs would be too large a part of the risk."""
    time_limit_bars: int = attrs.field(default=20, validator=between(1, 10_000))


@attrs.frozen(kw_only=True)
class OwnStrategyConfig(StrategyConfig):
    """A class of the user's: `kind(params)` is the strategy. `file` is absolute; `sha256` is that of its text."""

    file: str
    params: Any
    kind: type[Any] = attrs.field(repr=False)
    sha256: str

    def table(self, unstructure: Callable[[Any], Any]) -> dict[str, Any]:
        told = {key: value for key, value in unstructure(self.params).items() if value is not None}
        return {"name": self.name, "file": self.file, **told}


#: The config of every strategy that ships, by its name.
SHIPPED: Final[dict[str, type[StrategyConfig]]] = {
    "fvg_retest": FvgRetestConfig,
    "order_block": OrderBlockConfig,
    "mean_reversion": MeanReversionConfig,
}


def _own(table: dict[str, Any], structure: Callable[[Any, Any], Any]) -> OwnStrategyConfig:
    file, name = structure(table["file"], str), table.get("name", "")
    if not isinstance(name, str):
        raise Fault("name", f"must be text in quotes, not {name!r}")
    try:
        found = load_class(file, name)
    except OwnFileError as error:
        raise Fault(error.key, str(error)) from None
    told = {key: value for key, value in table.items() if key not in _OURS}
    try:
        params = structure(told, found.params)
    except cattrs.BaseValidationError:
        raise
    except Exception as error:  # noqa: BLE001 - an annotation of the user's, of whatever kind
        raise Fault("name", f"the parameters of {name} cannot be read: {type(error).__name__}: {error}") from None
    for field in attrs.fields(found.params):
        value = getattr(params, field.name)
        texts = isinstance(value, tuple) and all(isinstance(one, str) for one in value)
        if field.name in _OURS or not (value is None or texts or type(value) in _PLAIN):
            raise Fault("name", f"{name}.Params.{field.name}: a parameter is a number, a text, true or false, or texts")
    return OwnStrategyConfig(name=name, file=file, params=params, kind=found.kind, sha256=found.sha256)
