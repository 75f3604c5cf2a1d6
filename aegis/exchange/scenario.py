"""A scenario on one exchange: its times on the venue's clock, its symbols among the listings."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from aegis.config.scenario import ContractStep, Phase, Scenario
from aegis.core.errors import ConfigError
from aegis.exchange.listing import Listing, new_listing

__all__ = ["NO_PLAN", "PhaseOn", "Plan", "Step", "Window", "plan_of", "with_scenario"]

#: Everything happens on a whole tenth of a second: where a bin of the synthetic market begins.
GRID_NS = 100_000_000
PENDING, TRADING, HALTED, SETTLING = "PENDING_TRADING", "TRADING", "CLOSE", "SETTLING"


@attrs.frozen(kw_only=True)
class Step:
    """One change of a contract: `status`, `delivery_ms` or `max_leverage`, whichever is not None."""

    ns: int
    symbol: int
    status: str | None = None
    delivery_ms: int | None = None
    max_leverage: int | None = None


@attrs.frozen(kw_only=True)
class PhaseOn:
    """A phase from `start_ns` up to `end_ns`; `symbols` are indices."""

    start_ns: int
    end_ns: int
    symbols: tuple[int, ...]
    everybody: bool
    what: Phase


@attrs.frozen(kw_only=True)
class Window:
    """From `ns` on the symbol is quoted, or not."""

    ns: int
    symbol: int
    quoted: bool


@attrs.frozen(kw_only=True)
class Plan:
    """What happens when, in time order. Empty where there is no scenario."""

    steps: tuple[Step, ...] = ()
    phases: tuple[PhaseOn, ...] = ()

    @property
    def windows(self) -> tuple[Window, ...]:
        """When quoting begins and ends, by the steps."""
        return tuple(
            Window(ns=step.ns, symbol=step.symbol, quoted=step.status == TRADING)
            for step in self.steps
            if step.status is not None
        )


NO_PLAN = Plan()


def with_scenario(scenario: Scenario, listings: Sequence[Listing], seed: int, born_ns: int) -> tuple[Listing, ...]:
    """The listings, those that come later among them, not trading yet.

    Raises:
        ConfigError: a contract is listed twice.
    """
    rows = list(listings)
    places = {listing.symbol: listing.index for listing in rows}
    coming: set[str] = set()
    for number, step in enumerate(scenario.contract):
        if step.action != "list":
            continue
        if step.symbol in coming:
            raise ConfigError(f"scenario: contract[{number}].symbol: {step.symbol} is listed twice")
        coming.add(step.symbol)
        begin_ms = _ns(born_ns, step.at_s) // 1_000_000
        if step.symbol not in places:
            places[step.symbol] = len(rows)
            rows.append(new_listing(step.symbol, len(rows), seed, begin_ms, step.price or None))
        place = places[step.symbol]
        rows[place] = attrs.evolve(rows[place], status=PENDING, onboard_ms=begin_ms)
    return tuple(rows)


def plan_of(scenario: Scenario, listings: Sequence[Listing], born_ns: int) -> Plan:
    """The scenario with times and places.

    Raises:
        ConfigError: it names a symbol that is not listed.
    """
    places = {listing.symbol: listing.index for listing in listings}

    def place(symbol: str, path: str) -> int:
        if symbol not in places:
            raise ConfigError(f"scenario: {path}: no contract {symbol} is listed")
        return places[symbol]

    steps = [
        step
        for number, row in enumerate(scenario.contract)
        for step in _steps(row, place(row.symbol, f"contract[{number}].symbol"), born_ns)
    ]
    phases = [
        PhaseOn(
            start_ns=_ns(born_ns, row.at_s),
            end_ns=_ns(born_ns, row.at_s + row.for_s),
            symbols=tuple(place(symbol, f"phase[{number}].symbols") for symbol in row.symbols)
            or tuple(range(len(listings))),
            everybody=not row.symbols,
            what=row,
        )
        for number, row in enumerate(scenario.phase)
    ]
    return Plan(
        steps=tuple(sorted(steps, key=lambda step: step.ns)), phases=tuple(sorted(phases, key=lambda on: on.start_ns))
    )


def _steps(row: ContractStep, symbol: int, born_ns: int) -> list[Step]:
    ns = _ns(born_ns, row.at_s)
    match row.action:
        case "list" | "resume":
            return [Step(ns=ns, symbol=symbol, status=TRADING)]
        case "halt":
            return [Step(ns=ns, symbol=symbol, status=HALTED)]
        case "brackets":
            return [Step(ns=ns, symbol=symbol, max_leverage=row.max_leverage)]
        case _:
            announced = _ns(born_ns, row.at_s - row.notice_s)
            return [
                Step(ns=announced, symbol=symbol, delivery_ms=ns // 1_000_000),
                Step(ns=ns, symbol=symbol, status=SETTLING),
            ]


def _ns(born_ns: int, at_s: float) -> int:
    """The first place of the grid behind it."""
    return ((born_ns + round(at_s * 1e9)) // GRID_NS + 1) * GRID_NS
