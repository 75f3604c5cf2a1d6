"""REST reads -> typed values (PROTOCOL.md §4). Every function raises `DecodeError` and nothing else for a bad body."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import msgspec
import numpy as np
from numpy.typing import NDArray

from aegis.core.values import ClientId, SymbolName
from aegis.kernels.layout import BAR
from aegis.venue import replies, rest_shapes
from aegis.venue.decode import order_status, to_order_id
from aegis.venue.wire_types import DecodeError, number, parse

__all__ = [
    "account", "account_config", "agg_trades", "algo_state", "algo_states", "balances", "book_tickers", "brackets",
    "commission_rate", "depth", "income", "klines", "leverage", "listen_key", "order_state", "order_states",
    "positions", "premium_index", "server_time", "symbol_configs", "tickers_24h", "user_trades",
]  # fmt: skip

_TIME = msgspec.json.Decoder(rest_shapes.TimeRow)
_BOOKS = msgspec.json.Decoder(list[rest_shapes.BookRow])
_TICKERS = msgspec.json.Decoder(list[rest_shapes.TickerRow])
_PREMIUMS = msgspec.json.Decoder(list[rest_shapes.PremiumRow])
_DEPTH = msgspec.json.Decoder(rest_shapes.DepthRow)
_AGG_TRADES = msgspec.json.Decoder(list[rest_shapes.AggTradeRow])
_KLINES = msgspec.json.Decoder(list[rest_shapes.KlineRow])
_BALANCES = msgspec.json.Decoder(list[rest_shapes.BalanceRow])
_ACCOUNT = msgspec.json.Decoder(rest_shapes.AccountRow)
_POSITIONS = msgspec.json.Decoder(list[rest_shapes.PositionRow])
_ORDER = msgspec.json.Decoder(rest_shapes.OrderRow)
_ORDERS = msgspec.json.Decoder(list[rest_shapes.OrderRow])
_ALGO = msgspec.json.Decoder(rest_shapes.AlgoRow)
_ALGOS = msgspec.json.Decoder(list[rest_shapes.AlgoRow])
_USER_TRADES = msgspec.json.Decoder(list[rest_shapes.UserTradeRow])
_SYMBOL_CONFIGS = msgspec.json.Decoder(list[rest_shapes.SymbolConfigRow])
_ACCOUNT_CONFIG = msgspec.json.Decoder(rest_shapes.AccountConfigRow)
_LEVERAGE = msgspec.json.Decoder(rest_shapes.LeverageRow)
_BRACKETS = msgspec.json.Decoder(list[rest_shapes.BracketsRow] | rest_shapes.BracketsRow)
_COMMISSION = msgspec.json.Decoder(rest_shapes.CommissionRow)
_INCOME = msgspec.json.Decoder(list[rest_shapes.IncomeRow])
_LISTEN_KEY = msgspec.json.Decoder(rest_shapes.ListenKeyRow)

_LARGEST = Decimal(10) ** 20


# -- market ------------------------------------------------------------------------------------------------------------
def server_time(body: bytes) -> int:
    """Venue milliseconds."""
    return parse(_TIME, body).server_time


def book_tickers(body: bytes) -> tuple[replies.BookTicker, ...]:
    return tuple(
        replies.BookTicker(
            symbol=SymbolName(r.symbol),
            bid=Decimal(r.bid_price),
            bid_qty=Decimal(r.bid_qty),
            ask=Decimal(r.ask_price),
            ask_qty=Decimal(r.ask_qty),
            time_ms=r.time,
        )
        for r in parse(_BOOKS, body)
    )


def tickers_24h(body: bytes) -> tuple[replies.Ticker24h, ...]:
    return tuple(
        replies.Ticker24h(
            symbol=SymbolName(r.symbol),
            last=Decimal(r.last_price),
            volume=Decimal(r.volume),
            quote_volume=Decimal(r.quote_volume),
            trades=r.count,
            close_ms=r.close_time,
        )
        for r in parse(_TICKERS, body)
    )


def premium_index(body: bytes) -> tuple[replies.PremiumIndex, ...]:
    return tuple(
        replies.PremiumIndex(
            symbol=SymbolName(r.symbol),
            mark=Decimal(r.mark_price),
            index=Decimal(r.index_price),
            funding_rate=number(r.last_funding_rate),
            next_funding_ms=r.next_funding_time,
            time_ms=r.time,
        )
        for r in parse(_PREMIUMS, body)
    )


def depth(body: bytes, symbol: SymbolName) -> replies.Depth:
    row = parse(_DEPTH, body)
    return replies.Depth(
        symbol=symbol,
        last_update_id=row.last_update_id,
        event_ms=row.event_ms,
        bids=tuple((Decimal(p), Decimal(q)) for p, q in row.bids),
        asks=tuple((Decimal(p), Decimal(q)) for p, q in row.asks),
    )


def agg_trades(body: bytes) -> tuple[replies.AggTrade, ...]:
    return tuple(
        replies.AggTrade(
            id=r.id,
            price=Decimal(r.price),
            qty=Decimal(r.qty),
            first_id=r.first,
            last_id=r.last,
            time_ms=r.time_ms,
            buyer_is_maker=r.maker,
        )
        for r in parse(_AGG_TRADES, body)
    )


def klines(body: bytes, *, qty_decimals: int, symbol: int, timeframe: int) -> NDArray[np.void]:
    """Bars in the order received, shape (n,), dtype `BAR`; volumes in lots of 10**-qty_decimals.

    `symbol` and `timeframe` are the caller's indexes, written into every row.
    """
    bars = np.array(
        [
            (
                symbol,
                timeframe,
                row.open_ms,
                _price(row.open),
                _price(row.high),
                _price(row.low),
                _price(row.close),
                _lots(row.volume, qty_decimals),
                _lots(row.taker_buy, qty_decimals),
                row.count,
            )
            for row in parse(_KLINES, body)
        ],
        BAR,
    )
    if np.any(bars["low"] > bars["high"]) or np.any(np.diff(bars["open_time"]) <= 0):
        raise DecodeError("klines contradict themselves")
    return bars


def _price(text: str) -> float:
    """A finite, non-negative number in plain notation."""
    if not text[:1].isdigit() or len(text) > 40:
        raise DecodeError("kline price is not a number")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DecodeError("kline price is not a number")
    return value


def _lots(text: str, qty_decimals: int) -> int:
    """Exact integer of 10**-qty_decimals; more decimals than that must be zeros."""
    whole, _, fraction = text.partition(".")
    kept, rest = fraction[:qty_decimals], fraction[qty_decimals:]
    digits = whole + kept.ljust(qty_decimals, "0")
    if not (whole and digits.isascii() and digits.isdigit()) or len(digits) > 18 or rest.strip("0"):
        raise DecodeError("kline volume is not a whole number of lots")
    return int(digits)


# -- account -----------------------------------------------------------------------------------------------------------
def balances(body: bytes) -> tuple[replies.Balance, ...]:
    return tuple(
        replies.Balance(
            asset=r.asset,
            wallet=Decimal(r.balance),
            cross_wallet=Decimal(r.cross_wallet_balance),
            cross_unrealized=Decimal(r.cross_un_pnl),
            available=Decimal(r.available_balance),
        )
        for r in parse(_BALANCES, body)
    )


def account(body: bytes) -> replies.Account:
    r = parse(_ACCOUNT, body)
    return replies.Account(
        wallet=Decimal(r.total_wallet_balance),
        unrealized=Decimal(r.total_unrealized_profit),
        margin_balance=Decimal(r.total_margin_balance),
        available=Decimal(r.available_balance),
        initial_margin=Decimal(r.total_initial_margin),
        maintenance_margin=Decimal(r.total_maint_margin),
        position_margin=Decimal(r.total_position_initial_margin),
        order_margin=Decimal(r.total_open_order_initial_margin),
    )


def positions(body: bytes) -> tuple[replies.Position, ...]:
    return tuple(
        replies.Position(
            symbol=SymbolName(r.symbol),
            position_side=r.position_side,
            amount=Decimal(r.position_amt),
            entry_price=Decimal(r.entry_price),
            break_even=Decimal(r.break_even_price),
            mark=Decimal(r.mark_price),
            unrealized=Decimal(r.un_realized_profit),
            liquidation=Decimal(r.liquidation_price),
            isolated_wallet=Decimal(r.isolated_wallet),
            notional=Decimal(r.notional),
            initial_margin=Decimal(r.initial_margin),
            maintenance_margin=Decimal(r.maint_margin),
            update_ms=r.update_time,
        )
        for r in parse(_POSITIONS, body)
    )


def order_state(body: bytes) -> replies.OrderState:
    return _order(parse(_ORDER, body))


def order_states(body: bytes) -> tuple[replies.OrderState, ...]:
    return tuple(_order(row) for row in parse(_ORDERS, body))


def _order(r: rest_shapes.OrderRow) -> replies.OrderState:
    return replies.OrderState(
        symbol=SymbolName(r.symbol),
        cid=ClientId(r.client_order_id),
        order_id=r.order_id,
        side=r.side,
        type=r.type,
        original_type=r.orig_type or r.type,
        status=order_status(r.status),
        price=Decimal(r.price),
        qty=Decimal(r.orig_qty),
        filled_qty=Decimal(r.executed_qty),
        average_price=Decimal(r.avg_price),
        reduce_only=r.reduce_only,
        close_position=r.close_position,
        time_ms=r.time,
        update_ms=r.update_time,
    )


def algo_state(body: bytes) -> replies.AlgoState:
    return _algo(parse(_ALGO, body))


def algo_states(body: bytes) -> tuple[replies.AlgoState, ...]:
    return tuple(_algo(row) for row in parse(_ALGOS, body))


def _algo(r: rest_shapes.AlgoRow) -> replies.AlgoState:
    return replies.AlgoState(
        symbol=SymbolName(r.symbol),
        cid=ClientId(r.client_algo_id),
        algo_id=r.algo_id,
        side=r.side,
        type=r.order_type,
        status=r.algo_status,
        trigger=number(r.trigger_price),
        working_type=r.working_type,
        close_position=r.close_position,
        order_id=to_order_id(r.actual_order_id or ""),
        filled_qty=number(r.actual_qty or ""),
        average_price=number(r.actual_price or ""),
        update_ms=r.update_time,
    )


def user_trades(body: bytes) -> tuple[replies.UserTrade, ...]:
    return tuple(
        replies.UserTrade(
            symbol=SymbolName(r.symbol),
            trade_id=r.id,
            order_id=r.order_id,
            side=r.side,
            price=Decimal(r.price),
            qty=Decimal(r.qty),
            commission=Decimal(r.commission),
            commission_asset=r.commission_asset,
            realized_pnl=Decimal(r.realized_pnl),
            maker=r.maker,
            time_ms=r.time,
        )
        for r in parse(_USER_TRADES, body)
    )


def symbol_configs(body: bytes) -> tuple[replies.SymbolConfig, ...]:
    return tuple(
        replies.SymbolConfig(
            symbol=SymbolName(r.symbol), isolated=r.margin_type.upper() == "ISOLATED", leverage=r.leverage
        )
        for r in parse(_SYMBOL_CONFIGS, body)
    )


def account_config(body: bytes) -> replies.AccountConfig:
    r = parse(_ACCOUNT_CONFIG, body)
    return replies.AccountConfig(
        can_trade=r.can_trade,
        hedge_mode=r.dual_side_position,
        multi_assets=r.multi_assets_margin,
        fee_tier=r.fee_tier,
    )


def leverage(body: bytes) -> replies.LeverageSetting:
    r = parse(_LEVERAGE, body)
    return replies.LeverageSetting(symbol=SymbolName(r.symbol), leverage=r.leverage)


def brackets(body: bytes) -> tuple[replies.Brackets, ...]:
    """The venue answers with an array, or with one object when a symbol was asked for."""
    found = parse(_BRACKETS, body)
    rows: Sequence[rest_shapes.BracketsRow] = found if isinstance(found, list) else [found]
    return tuple(
        replies.Brackets(symbol=SymbolName(row.symbol), rows=tuple(_bracket(b) for b in row.brackets)) for row in rows
    )


def _bracket(b: rest_shapes.BracketRow) -> replies.Bracket:
    for value in (b.notional_floor, b.notional_cap, b.maint_margin_ratio, b.cum):
        if not value.is_finite() or not 0 <= value <= _LARGEST:
            raise DecodeError("bracket holds an absurd number")
    return replies.Bracket(
        number=b.bracket,
        max_leverage=b.initial_leverage,
        floor=b.notional_floor,
        cap=b.notional_cap,
        ratio=b.maint_margin_ratio,
        cum=b.cum,
    )


def commission_rate(body: bytes) -> replies.CommissionRate:
    r = parse(_COMMISSION, body)
    return replies.CommissionRate(
        symbol=SymbolName(r.symbol), maker=Decimal(r.maker_commission_rate), taker=Decimal(r.taker_commission_rate)
    )


def income(body: bytes) -> tuple[replies.Income, ...]:
    return tuple(
        replies.Income(
            symbol=r.symbol,
            type=r.income_type,
            amount=Decimal(r.income),
            asset=r.asset,
            time_ms=r.time,
            tran_id=r.tran_id,
            trade_id=str(r.trade_id),
        )
        for r in parse(_INCOME, body)
    )


def listen_key(body: bytes) -> str:
    return parse(_LISTEN_KEY, body).listen_key
