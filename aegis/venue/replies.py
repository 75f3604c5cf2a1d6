"""What the venue's REST answers are to us: frozen, exact, typed. Times are venue milliseconds."""

from __future__ import annotations

from decimal import Decimal

import attrs

from aegis.core.filters import SymbolSpec
from aegis.core.values import AlgoStatus, ClientId, OrderStatus, Side, SymbolName
from aegis.venue.limits import RateLimit

__all__ = [
    "Account",
    "AccountConfig",
    "AggTrade",
    "AlgoState",
    "Balance",
    "BookTicker",
    "Bracket",
    "Brackets",
    "CommissionRate",
    "Depth",
    "ExchangeInfo",
    "Income",
    "LeverageSetting",
    "OrderState",
    "Position",
    "PremiumIndex",
    "SkippedSymbol",
    "SymbolConfig",
    "Ticker24h",
    "UserTrade",
]


@attrs.frozen(kw_only=True)
class SkippedSymbol:
    symbol: str
    reason: str


@attrs.frozen(kw_only=True)
class ExchangeInfo:
    limits: tuple[RateLimit, ...]
    symbols: tuple[SymbolSpec, ...]
    skipped: tuple[SkippedSymbol, ...]


@attrs.frozen(kw_only=True)
class BookTicker:
    symbol: SymbolName
    bid: Decimal
    bid_qty: Decimal
    ask: Decimal
    ask_qty: Decimal
    time_ms: int


@attrs.frozen(kw_only=True)
class Ticker24h:
    symbol: SymbolName
    last: Decimal
    volume: Decimal
    quote_volume: Decimal
    trades: int
    close_ms: int


@attrs.frozen(kw_only=True)
class PremiumIndex:
    symbol: SymbolName
    mark: Decimal
    index: Decimal
    funding_rate: Decimal
    next_funding_ms: int
    time_ms: int


@attrs.frozen(kw_only=True)
class Depth:
    """Best first; (price, quantity)."""

    symbol: SymbolName
    last_update_id: int
    event_ms: int
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]


@attrs.frozen(kw_only=True)
class AggTrade:
    id: int
    price: Decimal
    qty: Decimal
    first_id: int
    last_id: int
    time_ms: int
    buyer_is_maker: bool


@attrs.frozen(kw_only=True)
class Balance:
    asset: str
    wallet: Decimal
    cross_wallet: Decimal
    cross_unrealized: Decimal
    available: Decimal


@attrs.frozen(kw_only=True)
class Account:
    """Totals of the account: USDT in single-asset mode."""

    wallet: Decimal
    unrealized: Decimal
    margin_balance: Decimal
    available: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    position_margin: Decimal
    order_margin: Decimal


@attrs.frozen(kw_only=True)
class Position:
    """One row of positionRisk v3: a position, or a symbol with open orders (`amount` 0)."""

    symbol: SymbolName
    position_side: str
    amount: Decimal
    """Signed: positive long, negative short"""
    entry_price: Decimal
    break_even: Decimal
    mark: Decimal
    unrealized: Decimal
    liquidation: Decimal
    """0: none"""
    isolated_wallet: Decimal
    notional: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    update_ms: int


@attrs.frozen(kw_only=True)
class OrderState:
    """An order as a read shows it."""

    symbol: SymbolName
    cid: ClientId
    order_id: int
    side: Side
    type: str
    original_type: str
    status: OrderStatus
    price: Decimal
    qty: Decimal
    filled_qty: Decimal
    average_price: Decimal
    reduce_only: bool
    close_position: bool
    time_ms: int
    update_ms: int


@attrs.frozen(kw_only=True)
class AlgoState:
    """A conditional order as a read shows it. `order_id` is the child's, None until triggered."""

    symbol: SymbolName
    cid: ClientId
    algo_id: int
    side: Side
    type: str
    status: AlgoStatus
    trigger: Decimal
    working_type: str
    close_position: bool
    order_id: int | None
    filled_qty: Decimal
    average_price: Decimal
    update_ms: int


@attrs.frozen(kw_only=True)
class UserTrade:
    """One of our fills."""

    symbol: SymbolName
    trade_id: int
    order_id: int
    side: Side
    price: Decimal
    qty: Decimal
    commission: Decimal
    commission_asset: str
    realized_pnl: Decimal
    maker: bool
    time_ms: int


@attrs.frozen(kw_only=True)
class SymbolConfig:
    symbol: SymbolName
    isolated: bool
    leverage: int


@attrs.frozen(kw_only=True)
class AccountConfig:
    can_trade: bool
    hedge_mode: bool
    multi_assets: bool
    fee_tier: int


@attrs.frozen(kw_only=True)
class LeverageSetting:
    symbol: SymbolName
    leverage: int


@attrs.frozen(kw_only=True)
class Bracket:
    """Notional in (floor, cap]; maintenance margin = notional * `ratio` - `cum`."""

    number: int
    max_leverage: int
    floor: Decimal
    cap: Decimal
    ratio: Decimal
    cum: Decimal


@attrs.frozen(kw_only=True)
class Brackets:
    symbol: SymbolName
    rows: tuple[Bracket, ...]


@attrs.frozen(kw_only=True)
class CommissionRate:
    symbol: SymbolName
    maker: Decimal
    taker: Decimal


@attrs.frozen(kw_only=True)
class Income:
    """`tran_id` is unique for a (type, account)."""

    symbol: str
    type: str
    amount: Decimal
    asset: str
    time_ms: int
    tran_id: int
    trade_id: str
