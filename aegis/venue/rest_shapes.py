"""The JSON shapes of REST reads, field by field as the wire spells them (PROTOCOL.md §4). Only shapes."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from aegis.core.values import AlgoStatus, Side
from aegis.venue.wire_types import Id, Ms, Name, Number, OptionalNumber, Text

__all__ = [
    "AccountConfigRow",
    "AccountRow",
    "AggTradeRow",
    "AlgoRow",
    "BalanceRow",
    "BookRow",
    "BracketRow",
    "BracketsRow",
    "CommissionRow",
    "DepthRow",
    "IncomeRow",
    "KlineRow",
    "LeverageRow",
    "ListenKeyRow",
    "OrderRow",
    "PositionRow",
    "PremiumRow",
    "SymbolConfigRow",
    "TickerRow",
    "TimeRow",
    "UserTradeRow",
]


class Row(msgspec.Struct, rename="camel"):
    """Base of rows whose fields are camelCase on the wire."""


class TimeRow(Row):
    server_time: Ms


class BookRow(Row):
    symbol: Name
    bid_price: Number
    bid_qty: Number
    ask_price: Number
    ask_qty: Number
    time: Ms = 0


class TickerRow(Row):
    symbol: Name
    last_price: Number
    volume: Number
    quote_volume: Number
    close_time: Ms
    count: Id = 0


class PremiumRow(Row):
    symbol: Name
    mark_price: Number
    index_price: Number
    last_funding_rate: OptionalNumber = ""
    next_funding_time: Ms = 0
    time: Ms = 0


class DepthRow(msgspec.Struct, rename={"last_update_id": "lastUpdateId", "event_ms": "E"}):
    last_update_id: Id
    bids: list[tuple[Number, Number]]
    asks: list[tuple[Number, Number]]
    event_ms: Ms = 0


class AggTradeRow(
    msgspec.Struct,
    rename={"id": "a", "price": "p", "qty": "q", "first": "f", "last": "l", "time_ms": "T", "maker": "m"},
):
    id: Id
    price: Number
    qty: Number
    first: Id
    last: Id
    time_ms: Ms
    maker: bool


class KlineRow(msgspec.Struct, array_like=True):
    open_ms: Ms
    open: str
    high: str
    low: str
    close: str
    volume: str
    close_ms: Ms
    quote_volume: str
    count: Id
    taker_buy: str


class BalanceRow(Row):
    asset: Name
    balance: Number
    cross_wallet_balance: Number
    cross_un_pnl: Number
    available_balance: Number


class AccountRow(Row):
    total_wallet_balance: Number
    total_unrealized_profit: Number
    total_margin_balance: Number
    available_balance: Number
    total_initial_margin: Number
    total_maint_margin: Number
    total_position_initial_margin: Number
    total_open_order_initial_margin: Number


class PositionRow(Row):
    symbol: Name
    position_amt: Number
    entry_price: Number
    mark_price: Number
    un_realized_profit: Number
    liquidation_price: Number
    isolated_wallet: Number
    notional: Number
    initial_margin: Number
    maint_margin: Number
    break_even_price: Number = "0"
    position_side: Text = "BOTH"
    update_time: Ms = 0


class OrderRow(Row):
    symbol: Name
    client_order_id: Text
    order_id: Id
    side: Side
    type: Text
    status: Text
    price: Number
    orig_qty: Number
    executed_qty: Number
    avg_price: Number = "0"
    orig_type: Text = ""
    reduce_only: bool = False
    close_position: bool = False
    time: Ms = 0
    update_time: Ms = 0


class AlgoRow(Row):
    symbol: Name
    client_algo_id: Text
    algo_id: Id
    side: Side
    order_type: Text
    algo_status: AlgoStatus
    trigger_price: OptionalNumber = ""
    working_type: Text = "CONTRACT_PRICE"
    close_position: bool = False
    actual_order_id: Text | None = ""
    actual_qty: OptionalNumber | None = ""
    actual_price: OptionalNumber | None = ""
    update_time: Ms = 0


class UserTradeRow(Row):
    symbol: Name
    id: Id
    order_id: Id
    side: Side
    price: Number
    qty: Number
    commission: Number
    commission_asset: Text
    realized_pnl: Number
    maker: bool
    time: Ms


class SymbolConfigRow(Row):
    symbol: Name
    margin_type: Text
    leverage: Id


class AccountConfigRow(Row):
    can_trade: bool
    dual_side_position: bool
    multi_assets_margin: bool
    fee_tier: Id = 0


class LeverageRow(Row):
    symbol: Name
    leverage: Id


class BracketRow(Row):
    bracket: Id
    initial_leverage: Id
    notional_cap: Decimal
    notional_floor: Decimal
    maint_margin_ratio: Decimal
    cum: Decimal


class BracketsRow(Row):
    symbol: Name
    brackets: list[BracketRow]


class CommissionRow(Row):
    symbol: Name
    maker_commission_rate: Number
    taker_commission_rate: Number


class IncomeRow(Row):
    income_type: Text
    income: Number
    asset: Text
    time: Ms
    tran_id: Id
    symbol: Text = ""
    trade_id: Text | Id = ""


class ListenKeyRow(Row):
    listen_key: Name
