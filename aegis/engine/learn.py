"""What must be known of a venue before the start: its symbols, which of them we trade, and on what terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from aegis.config import Config, UniverseConfig
from aegis.core.brackets import LeverageBracket, LeverageBrackets
from aegis.core.errors import Ambiguous, ConfigError, VenueRefusal
from aegis.core.risk import Fees
from aegis.core.values import SymbolName
from aegis.engine.build import Market
from aegis.engine.universe import Choice, Quote24h, select
from aegis.runtime.logs import get_logger
from aegis.venue import replies

__all__ = ["Listings", "Terms", "brackets", "choose", "fees", "learn_market", "prepare_symbol"]


class Listings(Protocol):
    """What `choose` asks: public calls only."""

    async def exchange_info(self) -> replies.ExchangeInfo: ...
    async def tickers_24h(self) -> tuple[replies.Ticker24h, ...]: ...
    async def book_tickers(self) -> tuple[replies.BookTicker, ...]: ...


class Terms(Protocol):
    """What `learn_market` and `prepare_symbol` ask of the account."""

    async def leverage_brackets(self, symbol: SymbolName | None = None) -> tuple[replies.Brackets, ...]: ...
    async def commission_rate(self, symbol: SymbolName) -> replies.CommissionRate: ...
    async def symbol_configs(self, symbol: SymbolName | None = None) -> tuple[replies.SymbolConfig, ...]: ...
    async def set_leverage(self, symbol: SymbolName, leverage: int) -> replies.LeverageSetting: ...
    async def set_margin_type(self, symbol: SymbolName, *, isolated: bool) -> None: ...


async def choose(venue: Listings, config: UniverseConfig, now_ms: int) -> tuple[Choice, ...]:
    """The verdict on every symbol of the venue. Raises VenueUnavailable."""
    info = await venue.exchange_info()
    for skipped in info.skipped:
        get_logger().warning("symbol.skipped", symbol=skipped.symbol, reason=skipped.reason)
    listed = {spec.symbol for spec in info.symbols}
    for name in config.include:
        if name not in listed:
            get_logger().warning("symbol.skipped", symbol=name, reason="in `include`, not listed by the venue")
    books = {book.symbol: book for book in await venue.book_tickers()}
    market = {
        ticker.symbol: Quote24h(
            volume_quote=float(ticker.quote_volume),
            bid=float(books[ticker.symbol].bid),
            ask=float(books[ticker.symbol].ask),
        )
        for ticker in await venue.tickers_24h()
        if ticker.symbol in books
    }
    return select(info.symbols, market, config, now_ms)


async def learn_market(terms: Terms, choices: tuple[Choice, ...], config: Config, now_ns: int) -> Market:
    """The chosen symbols with brackets and fees. Raises ConfigError where nothing is left to trade."""
    specs = tuple(choice.spec for choice in choices if choice.included)
    if not specs:
        raise ConfigError("universe: no symbol of the venue passes; `aegis universe` tells why")
    tables = await brackets(terms)
    missing = [spec.symbol for spec in specs if spec.symbol not in tables]
    if missing:
        raise ConfigError(f"universe: the venue gives no leverage brackets for {', '.join(missing[:5])}")
    rates = await fees(terms, specs[0].symbol)
    return Market(
        specs=specs,
        brackets={spec.symbol: tables[spec.symbol] for spec in specs},
        fees={spec.symbol: rates for spec in specs},
        margin_asset=config.universe.quote,
        read_ns=now_ns,
    )


async def brackets(terms: Terms) -> dict[SymbolName, LeverageBrackets]:
    """The leverage brackets of every symbol."""
    return {row.symbol: _brackets(row) for row in await terms.leverage_brackets()}


async def fees(terms: Terms, symbol: SymbolName) -> Fees:
    """The account's rates.

    The schedule belongs to the quote asset, so one symbol's rates stand for all: asking for each would cost the weight
    of several minutes.
    """
    rate = await terms.commission_rate(symbol)
    return Fees(maker=rate.maker, taker=rate.taker)


def _brackets(reply: replies.Brackets) -> LeverageBrackets:
    rows = tuple(
        LeverageBracket(floor=row.floor, cap=row.cap, rate=row.ratio, cum=row.cum, leverage=row.max_leverage)
        for row in reply.rows
    )
    return LeverageBrackets(symbol=reply.symbol, rows=rows)


async def prepare_symbol(
    terms: Terms, symbol: SymbolName, leverage: int, known: Mapping[SymbolName, replies.SymbolConfig]
) -> None:
    """Isolated margin and the configured leverage, set only where they differ.

    Raises VenueUnavailable or VenueRefusal (a position in the way, say): the symbol is not traded.
    """
    now = known.get(symbol)
    try:
        if now is None or not now.isolated:
            await terms.set_margin_type(symbol, isolated=True)
        if now is None or now.leverage != leverage:
            await terms.set_leverage(symbol, leverage)
    except Ambiguous:
        fresh = {row.symbol: row for row in await terms.symbol_configs(symbol)}
        if symbol not in fresh or not fresh[symbol].isolated or fresh[symbol].leverage != leverage:
            raise VenueRefusal(0, f"{symbol}: leverage or margin type could not be set") from None
