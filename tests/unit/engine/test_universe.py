"""Which symbols are in: a partition of the venue's list, in a fixed order, with a reason for every refusal."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.config import UniverseConfig
from aegis.core.errors import Ambiguous, ConfigError, VenueRefusal
from aegis.core.filters import SymbolSpec
from aegis.core.values import SymbolName
from aegis.engine.learn import choose, learn_market, prepare_symbol
from aegis.engine.universe import Choice, Quote24h, select
from aegis.venue import replies
from tests.support.core_cases import make_spec
from tests.support.engine_rig import make_config

DAY = 86_400_000
NOW_MS = 1_000 * DAY


def spec(name: str, **changes: Any) -> SymbolSpec:
    return make_spec(symbol=SymbolName(name), **changes)


def rich(volume: float = 5e6) -> Quote24h:
    return Quote24h(volume_quote=volume, bid=100.0, ask=100.01)


def verdict(one: SymbolSpec, quote: Quote24h | None = None, **config: Any) -> Choice:
    market = {} if quote is None else {one.symbol: quote}
    (choice,) = select([one], market, UniverseConfig(**config), NOW_MS)
    return choice


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quote": "USDC"}, "quoted in USDC, margined in USDT"),
        ({"margin": "BTC"}, "quoted in USDT, margined in BTC"),
        ({"contract_type": "CURRENT_QUARTER"}, "contract type CURRENT_QUARTER"),
        ({"contract_type": ""}, "contract type unknown"),
        ({"status": "SETTLING"}, "status SETTLING"),
        ({"underlying_type": "INDEX"}, "underlying INDEX"),
        ({"onboard_ms": NOW_MS + 1}, "not listed yet"),
    ],
)
def test_what_cannot_be_traded_is_out_even_when_it_is_wanted(changes: dict[str, Any], reason: str) -> None:
    one = spec("AUSDT", **changes)
    assert verdict(one, rich()).reason == reason
    assert verdict(one, rich(), include=("AUSDT",)).reason == reason


def test_an_excluded_symbol_is_out_even_when_it_is_included() -> None:
    choice = verdict(spec("AUSDT"), rich(), include=("AUSDT",), exclude=("AUSDT",))
    assert choice.reason == "excluded by config"


@pytest.mark.parametrize(
    ("changes", "quote", "reason"),
    [
        ({"onboard_ms": NOW_MS - 3 * DAY}, rich(), "listed 3.0 days ago, 30 wanted"),
        ({}, None, "no ticker"),
        ({}, rich(999_999.0), "turnover 999999 a day, 1000000 wanted"),
        ({}, Quote24h(volume_quote=5e6, bid=100.0, ask=101.0), "spread 99.5 bp, 20 allowed"),
        ({}, Quote24h(volume_quote=5e6, bid=0.0, ask=101.0), "spread inf bp, 20 allowed"),
        ({}, Quote24h(volume_quote=5e6, bid=101.0, ask=100.0), "spread inf bp, 20 allowed"),
    ],
)
def test_the_bar_that_the_config_sets_is_overruled_by_include(
    changes: dict[str, Any], quote: Quote24h | None, reason: str
) -> None:
    one = spec("AUSDT", **changes)
    assert verdict(one, quote).reason == reason
    assert verdict(one, quote, include=("AUSDT",)).included


symbols = st.lists(
    st.tuples(
        st.sampled_from(["TRADING", "TRADING", "TRADING", "BREAK"]),
        st.integers(0, 5),  # turnover, in millions
        st.sampled_from(["", "include", "exclude"]),
    ),
    max_size=12,
)


@given(rows=symbols, top=st.integers(1, 8), shuffle=st.randoms())
def test_every_symbol_is_judged_once_and_the_order_does_not_matter(rows: list[Any], top: int, shuffle: Any) -> None:
    specs = [spec(f"S{i:02}USDT", status=status) for i, (status, _, _) in enumerate(rows)]
    market = {s.symbol: rich(1e6 * volume) for s, (_, volume, _) in zip(specs, rows, strict=True)}
    named = {kind: tuple(s.symbol for s, row in zip(specs, rows, strict=True) if row[2] == kind) for kind in
             ("include", "exclude")}  # fmt: skip
    config = UniverseConfig(top=top, **named)
    choices = select(specs, market, config, NOW_MS)
    assert sorted(c.spec.symbol for c in choices) == sorted(s.symbol for s in specs)
    inside = [c for c in choices if c.included]
    outside = choices[len(inside) :]
    assert all(c.reason for c in outside)
    assert [c.spec.symbol for c in outside] == sorted(c.spec.symbol for c in outside)
    assert [(-c.volume_quote, c.spec.symbol) for c in inside] == sorted(
        (-c.volume_quote, c.spec.symbol) for c in inside
    )
    kept = {c.spec.symbol for c in inside}
    wanted = {s.symbol for s in specs if s.status == "TRADING" and s.symbol in named["include"]}
    assert wanted <= kept
    assert not kept & set(named["exclude"])
    assert len(kept) <= max(top, len(wanted))
    # whoever is cut for the sake of `top` trades no more than anybody kept who was not asked for by name
    cut = [c.volume_quote for c in outside if c.reason.startswith("outside the top")]
    rest = [c.volume_quote for c in inside if c.spec.symbol not in wanted]
    assert not cut or not rest or max(cut) <= min(rest)
    assert not cut or len(kept) == max(top, len(wanted))
    mixed = list(specs)
    shuffle.shuffle(mixed)
    assert select(mixed, market, config, NOW_MS) == choices


# -- what is learnt of a venue -----------------------------------------------------------------------------------------
class Venue:
    """Answers from lists."""

    def __init__(self, *specs: SymbolSpec) -> None:
        self.specs = specs
        self.configs: list[replies.SymbolConfig] = []
        self.done: list[object] = []
        self.fault: Exception | None = None
        self.unbracketed: set[str] = set()

    async def exchange_info(self) -> replies.ExchangeInfo:
        skipped = (replies.SkippedSymbol(symbol="ODDUSDT", reason="no tick"),)
        return replies.ExchangeInfo(limits=(), symbols=self.specs, skipped=skipped)

    async def tickers_24h(self) -> tuple[replies.Ticker24h, ...]:
        return tuple(
            replies.Ticker24h(symbol=s.symbol, last=Decimal(1), volume=Decimal(1), quote_volume=Decimal(10**7) + i,
                              trades=1, close_ms=0)
            for i, s in enumerate(self.specs)
        )  # fmt: skip

    async def book_tickers(self) -> tuple[replies.BookTicker, ...]:
        one = Decimal(1)
        return tuple(
            replies.BookTicker(symbol=s.symbol, bid=Decimal(100), bid_qty=one, ask=Decimal("100.01"), ask_qty=one,
                               time_ms=0)
            for s in self.specs[1:]
        )  # fmt: skip

    async def leverage_brackets(self, symbol: SymbolName | None = None) -> tuple[replies.Brackets, ...]:
        row = replies.Bracket(
            number=1, max_leverage=20, floor=Decimal(0), cap=Decimal(1000), ratio=Decimal("0.01"), cum=Decimal(0)
        )
        return tuple(
            replies.Brackets(symbol=s.symbol, rows=(row,)) for s in self.specs if s.symbol not in self.unbracketed
        )

    async def commission_rate(self, symbol: SymbolName) -> replies.CommissionRate:
        self.done.append(("rate", symbol))
        return replies.CommissionRate(symbol=symbol, maker=Decimal("0.0002"), taker=Decimal("0.0004"))

    async def symbol_configs(self, symbol: SymbolName | None = None) -> tuple[replies.SymbolConfig, ...]:
        return tuple(self.configs)

    async def set_leverage(self, symbol: SymbolName, leverage: int) -> replies.LeverageSetting:
        self.done.append((symbol, leverage))
        if self.fault is not None:
            raise self.fault
        return replies.LeverageSetting(symbol=symbol, leverage=leverage)

    async def set_margin_type(self, symbol: SymbolName, *, isolated: bool) -> None:
        self.done.append((symbol, isolated))


async def test_a_symbol_without_a_book_is_out_and_what_is_odd_is_logged(log_lines: Any) -> None:
    venue = Venue(spec("AUSDT"), spec("BUSDT"), spec("CUSDT"))
    choices = await choose(venue, UniverseConfig(include=("GONEUSDT",)), NOW_MS)
    assert [(c.spec.symbol, c.reason) for c in choices] == [("CUSDT", ""), ("BUSDT", ""), ("AUSDT", "no ticker")]
    assert [e["symbol"] for e in log_lines.events("symbol.skipped")] == ["ODDUSDT", "GONEUSDT"]


async def test_one_rate_stands_for_all_symbols_and_nothing_to_trade_is_an_error() -> None:
    venue = Venue(spec("AUSDT"), spec("BUSDT"), spec("CUSDT"))
    choices = await choose(venue, UniverseConfig(), NOW_MS)
    market = await learn_market(venue, choices, make_config(), 5)
    assert [s.symbol for s in market.specs] == ["CUSDT", "BUSDT"]
    assert venue.done == [("rate", "CUSDT")]
    assert market.fees["BUSDT"].taker == Decimal("0.0004")
    assert market.brackets[SymbolName("BUSDT")].rows[0].leverage == 20
    venue.unbracketed = {"BUSDT"}
    with pytest.raises(ConfigError, match="no leverage brackets for BUSDT"):
        await learn_market(venue, choices, make_config(), 5)
    out = tuple(attrs.evolve(c, reason="no") for c in choices)
    with pytest.raises(ConfigError, match="no symbol of the venue passes"):
        await learn_market(venue, out, make_config(), 5)


def setting(isolated: bool, leverage: int) -> replies.SymbolConfig:
    return replies.SymbolConfig(symbol=SymbolName("AUSDT"), isolated=isolated, leverage=leverage)


@pytest.mark.parametrize(
    ("known", "done"),
    [
        (None, [("AUSDT", True), ("AUSDT", 5)]),
        (setting(True, 5), []),
        (setting(False, 5), [("AUSDT", True)]),
        (setting(True, 20), [("AUSDT", 5)]),
    ],
)
async def test_leverage_and_margin_type_are_set_only_where_they_differ(known: Any, done: list[object]) -> None:
    venue = Venue()
    await prepare_symbol(venue, SymbolName("AUSDT"), 5, {} if known is None else {known.symbol: known})
    assert venue.done == done


async def test_a_setting_of_unknown_fate_is_read_and_never_assumed() -> None:
    venue, name = Venue(), SymbolName("AUSDT")
    venue.fault = Ambiguous("timeout")
    venue.configs = [setting(True, 5)]
    await prepare_symbol(venue, name, 5, {})
    for left in ([setting(True, 20)], [setting(False, 5)], []):
        venue.configs = left
        with pytest.raises(VenueRefusal, match="could not be set"):
            await prepare_symbol(venue, name, 5, {})
