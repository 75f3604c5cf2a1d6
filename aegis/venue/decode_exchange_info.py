"""exchangeInfo -> rate limits and symbol rules. A bad row is skipped with its reason; the others stand."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from aegis.core.filters import SymbolSpec
from aegis.core.values import SymbolName
from aegis.venue.limits import RateLimit
from aegis.venue.replies import ExchangeInfo, SkippedSymbol
from aegis.venue.wire_types import DecodeError, Ms, Name, Number, Text, parse

__all__ = ["exchange_info"]


class _Limit(msgspec.Struct, rename="camel"):
    rate_limit_type: Text
    interval: Text
    interval_num: int
    limit: int


class _Info(msgspec.Struct, rename="camel"):
    symbols: list[msgspec.Raw]
    rate_limits: list[_Limit] = []


class _Filter(msgspec.Struct, rename="camel"):
    """The union of the filters that we read; which fields a filter has depends on its type."""

    filter_type: Text
    min_price: Number | None = None
    max_price: Number | None = None
    tick_size: Number | None = None
    min_qty: Number | None = None
    max_qty: Number | None = None
    step_size: Number | None = None
    notional: Number | None = None
    multiplier_up: Number | None = None
    multiplier_down: Number | None = None


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: Name
    base_asset: Name
    quote_asset: Name
    margin_asset: Name
    status: Text
    filters: list[_Filter]
    trigger_protect: Number
    liquidation_fee: Number
    contract_type: Text = ""
    underlying_type: Text = ""
    onboard_date: Ms = 0
    delivery_date: Ms = 0


class _Named(msgspec.Struct):
    symbol: Text = ""


_INFO = msgspec.json.Decoder(_Info)
_SYMBOL = msgspec.json.Decoder(_Symbol)
_NAMED = msgspec.json.Decoder(_Named)


def exchange_info(body: bytes) -> ExchangeInfo:
    """Raises `DecodeError` only where the document as a whole is not one."""
    info = parse(_INFO, body)
    symbols: list[SymbolSpec] = []
    skipped: list[SkippedSymbol] = []
    for raw in info.symbols:
        try:
            symbols.append(_spec(parse(_SYMBOL, raw)))
        except (DecodeError, ValueError) as error:  # ValueError: a validator of SymbolSpec
            skipped.append(SkippedSymbol(symbol=_name(raw), reason=str(error)[:200]))
    limits = tuple(
        RateLimit(kind=row.rate_limit_type, interval=row.interval, number=row.interval_num, limit=row.limit)
        for row in info.rate_limits
    )
    return ExchangeInfo(limits=limits, symbols=tuple(symbols), skipped=tuple(skipped))


def _name(raw: msgspec.Raw) -> str:
    try:
        return parse(_NAMED, raw).symbol
    except DecodeError:
        return ""


def _spec(row: _Symbol) -> SymbolSpec:
    filters = {f.filter_type: f for f in row.filters}

    def value(kind: str, field: str) -> Decimal:
        found = getattr(filters.get(kind), field, None)
        if found is None:
            raise DecodeError(f"no {field} in filter {kind}")
        return Decimal(found)

    return SymbolSpec(
        symbol=SymbolName(row.symbol),
        base=row.base_asset,
        quote=row.quote_asset,
        margin=row.margin_asset,
        contract_type=row.contract_type,
        status=row.status,
        underlying_type=row.underlying_type,
        onboard_ms=row.onboard_date,
        delivery_ms=row.delivery_date,
        tick=value("PRICE_FILTER", "tick_size"),
        min_price=value("PRICE_FILTER", "min_price"),
        max_price=value("PRICE_FILTER", "max_price"),
        step=value("LOT_SIZE", "step_size"),
        min_qty=value("LOT_SIZE", "min_qty"),
        max_qty=value("LOT_SIZE", "max_qty"),
        market_step=value("MARKET_LOT_SIZE", "step_size"),
        market_min_qty=value("MARKET_LOT_SIZE", "min_qty"),
        market_max_qty=value("MARKET_LOT_SIZE", "max_qty"),
        min_notional=value("MIN_NOTIONAL", "notional"),
        multiplier_up=value("PERCENT_PRICE", "multiplier_up"),
        multiplier_down=value("PERCENT_PRICE", "multiplier_down"),
        trigger_protect=Decimal(row.trigger_protect),
        liquidation_fee=Decimal(row.liquidation_fee),
    )
