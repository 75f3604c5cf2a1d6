"""Which symbols are traded, and why the others are not: a pure function of exchangeInfo, tickers and the config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from aegis.config import UniverseConfig
from aegis.core.filters import SymbolSpec
from aegis.core.values import SymbolName

__all__ = ["Choice", "Quote24h", "select"]

_DAY_MS = 86_400_000


@attrs.frozen(kw_only=True)
class Quote24h:
    """What the choice needs of the market: 24 h turnover in the quote asset, and the touch."""

    volume_quote: float
    bid: float
    ask: float

    @property
    def spread_bps(self) -> float:
        """Spread over mid in basis points; infinite where a side is missing."""
        if not 0.0 < self.bid < self.ask:
            return float("inf")
        return 2e4 * (self.ask - self.bid) / (self.ask + self.bid)


@attrs.frozen(kw_only=True)
class Choice:
    """One symbol's verdict; `reason` is empty for a symbol that is in."""

    spec: SymbolSpec
    volume_quote: float
    reason: str

    @property
    def included(self) -> bool:
        return not self.reason


def select(
    specs: Sequence[SymbolSpec], market: Mapping[SymbolName, Quote24h], config: UniverseConfig, now_ms: int
) -> tuple[Choice, ...]:
    """Judge every symbol; the included come first, most traded first, then the refused by name.

    `include` overrules turnover, spread, age and the cut at `top`, never what makes a symbol untradable for us.
    """
    verdicts = [_judge(spec, market.get(spec.symbol), config, now_ms) for spec in specs]
    wanted = sorted(
        (choice for choice in verdicts if choice.included),
        key=lambda choice: (choice.spec.symbol not in config.include, -choice.volume_quote, choice.spec.symbol),
    )
    kept = wanted[: max(config.top, sum(choice.spec.symbol in config.include for choice in wanted))]
    cut = [attrs.evolve(choice, reason=f"outside the top {config.top} by turnover") for choice in wanted[len(kept) :]]
    kept.sort(key=lambda choice: (-choice.volume_quote, choice.spec.symbol))
    refused = sorted([*cut, *(c for c in verdicts if not c.included)], key=lambda choice: choice.spec.symbol)
    return (*kept, *refused)


def _judge(spec: SymbolSpec, quote: Quote24h | None, config: UniverseConfig, now_ms: int) -> Choice:
    volume = quote.volume_quote if quote is not None else 0.0
    reason = _unfit(spec, config, now_ms)
    if not reason and spec.symbol not in config.include:
        reason = _unwanted(spec, quote, config, now_ms)
    return Choice(spec=spec, volume_quote=volume, reason=reason)


def _unfit(spec: SymbolSpec, config: UniverseConfig, now_ms: int) -> str:
    """Why this engine cannot trade the symbol at all."""
    if spec.symbol in config.exclude:
        return "excluded by config"
    if spec.quote != config.quote or spec.margin != config.quote:
        return f"quoted in {spec.quote}, margined in {spec.margin}"
    if spec.contract_type != "PERPETUAL":
        return f"contract type {spec.contract_type or 'unknown'}"
    if spec.status != "TRADING":
        return f"status {spec.status}"
    if spec.underlying_type not in config.underlying:
        return f"underlying {spec.underlying_type}"
    if spec.onboard_ms > now_ms:
        return "not listed yet"
    return ""


def _unwanted(spec: SymbolSpec, quote: Quote24h | None, config: UniverseConfig, now_ms: int) -> str:
    """Why the symbol is below the bar that the config sets."""
    age_days = (now_ms - spec.onboard_ms) / _DAY_MS
    if age_days < config.min_age_days:
        return f"listed {age_days:.1f} days ago, {config.min_age_days:g} wanted"
    if quote is None:
        return "no ticker"
    if quote.volume_quote < config.min_volume_quote:
        return f"turnover {quote.volume_quote:.0f} a day, {config.min_volume_quote:.0f} wanted"
    if quote.spread_bps > config.max_spread_bps:
        return f"spread {quote.spread_bps:.1f} bp, {config.max_spread_bps:g} allowed"
    return ""
