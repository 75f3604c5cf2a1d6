"""Scenario files: what happens on the simulated exchange, and when. Times count from the exchange's first start.

`load_scenario(name_or_path)` reads a file or one that ships. A fault is one line with the path of the key.
"""

from __future__ import annotations

import attrs

from aegis.config.checks import between, matching, one_of
from aegis.config.files import load_toml, preset_files
from aegis.config.tree import TreeError, structure
from aegis.core.errors import ConfigError

__all__ = ["ContractStep", "Edge", "Phase", "Scenario", "load_scenario", "scenario_names"]

_FOLDER = "scenarios"
_symbols = matching(r"[^\sa-z]{1,40}", "names in capitals, such as BTCUSDT")


@attrs.frozen(kw_only=True)
class Phase:
    """A stretch of the market.

    Factors (`volatility`, `activity`, `depth`, `spread`) multiply what the seed makes. `drift_bps_per_min` pulls the
    price along, `jump_bps` moves it at once when the phase begins, `premium_bps` is how far the last price strays from
    the index. No `symbols`: all of them.
    """

    at_s: float = attrs.field(validator=between(0, 1e8))
    for_s: float = attrs.field(validator=between(0.1, 1e8))
    symbols: tuple[str, ...] = attrs.field(default=(), validator=_symbols)
    volatility: float = attrs.field(default=1.0, validator=between(0, 100))
    activity: float = attrs.field(default=1.0, validator=between(0.01, 100))
    depth: float = attrs.field(default=1.0, validator=between(0.001, 100))
    spread: float = attrs.field(default=1.0, validator=between(0.1, 1_000))
    drift_bps_per_min: float = attrs.field(default=0.0, validator=between(-5_000, 5_000))
    jump_bps: float = attrs.field(default=0.0, validator=between(-9_000, 9_000))
    premium_bps: float = attrs.field(default=0.0, validator=between(-2_000, 2_000))


@attrs.frozen(kw_only=True)
class ContractStep:
    """Something that becomes of one contract.

    `list`: it is there from the start, not trading, and trades from `at_s` on; a symbol that is not among the generated
    ones is added, near `price` where one is given. `halt` and `resume`. `delist`: announced `notice_s` before, then it
    trades no more and what is held is settled at the mark. `brackets`: no leverage above `max_leverage`.
    """

    at_s: float = attrs.field(validator=between(0, 1e8))
    symbol: str = attrs.field(validator=_symbols)
    action: str = attrs.field(validator=one_of("list", "halt", "resume", "delist", "brackets"))
    notice_s: float = attrs.field(default=0.0, validator=between(0, 1e8))
    price: float = attrs.field(default=0.0, validator=between(0, 1e7))
    max_leverage: int = attrs.field(default=0, validator=between(0, 125))

    def __attrs_post_init__(self) -> None:
        if (self.action == "brackets") != (self.max_leverage > 0):
            raise ValueError('max_leverage: goes with action = "brackets", and with it alone')
        if self.notice_s and (self.action != "delist" or self.notice_s > self.at_s):
            raise ValueError('notice_s: goes with action = "delist", and is no longer than at_s')
        if self.price and self.action != "list":
            raise ValueError('price: goes with action = "list"')


@attrs.frozen(kw_only=True)
class Edge:
    """A planted edge: after a gap of three bars prices drift on, the more so the larger the gap; 0 plants nothing.

    The drift is `strength_bps` for a gap of one standard size, spread over `for_bars` bars of `bar_s`; from `flip_s` on
    (0: never) it is the other way round.
    """

    strength_bps: float = attrs.field(default=0.0, validator=between(-200, 200))
    bar_s: float = attrs.field(default=60.0, validator=between(1, 86_400))
    for_bars: int = attrs.field(default=10, validator=between(1, 1_000))
    flip_s: float = attrs.field(default=0.0, validator=between(0, 1e8))


@attrs.frozen(kw_only=True)
class Scenario:
    """Everything that a scenario file says; nothing of it: the market of the seed alone."""

    phase: tuple[Phase, ...] = ()
    contract: tuple[ContractStep, ...] = ()
    edge: Edge = Edge()


def scenario_names() -> tuple[str, ...]:
    """Bare names that `load_scenario` accepts."""
    return preset_files(_FOLDER)


def load_scenario(name: str) -> Scenario:
    """Load a path, or the bare name of a shipped file. Raises ConfigError with one line."""
    tree, origin = load_toml(name, _FOLDER, "scenarios")
    try:
        return structure(tree, Scenario)
    except TreeError as error:
        raise ConfigError(f"{origin}: {error}") from None
