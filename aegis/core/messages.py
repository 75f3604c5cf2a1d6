"""What passes between decision and venue: requests out, outcomes and account events in. All frozen."""

from __future__ import annotations

from decimal import Decimal

import attrs

from aegis.core.values import (
    AlgoStatus,
    AlgoType,
    ClientId,
    OrderStatus,
    OrderType,
    Side,
    SymbolName,
    TimeInForce,
    WorkingType,
)

__all__ = [
    "Accepted",
    "AccountUpdate",
    "AlgoRequest",
    "AlgoUpdate",
    "BalanceChange",
    "CancelRequest",
    "ConfigUpdate",
    "ListenKeyExpired",
    "MarginCall",
    "OrderRequest",
    "OrderUpdate",
    "Outcome",
    "PositionChange",
    "Refused",
    "Request",
    "TradeLite",
    "Unknown",
    "UserEvent",
]


# -- requests ----------------------------------------------------------------------------------------------------------
@attrs.frozen(kw_only=True)
class OrderRequest:
    """POST /fapi/v1/order. One-way mode; `price` and `tif` belong to LIMIT alone."""

    cid: ClientId
    symbol: SymbolName
    side: Side
    type: OrderType
    qty: Decimal
    price: Decimal | None = None
    tif: TimeInForce | None = None
    reduce_only: bool = False


@attrs.frozen(kw_only=True)
class AlgoRequest:
    """POST /fapi/v1/algoOrder: reduce-only with a quantity; without one `closePosition=true`: all there is then."""

    cid: ClientId
    symbol: SymbolName
    side: Side
    type: AlgoType
    trigger: Decimal
    working_type: WorkingType
    price_protect: bool = False
    qty: Decimal | None = None


@attrs.frozen(kw_only=True)
class CancelRequest:
    """DELETE of an order or (`algo`) of a conditional order, by our own id."""

    cid: ClientId
    symbol: SymbolName
    algo: bool = False


Request = OrderRequest | AlgoRequest | CancelRequest


# -- outcomes of a request ---------------------------------------------------------------------------------------------
@attrs.frozen(kw_only=True)
class Accepted:
    """The venue has it. `venue_id` is the orderId or the algoId (two spaces: never mix them)."""

    request: Request
    venue_id: int


@attrs.frozen(kw_only=True)
class Refused:
    """Proof that nothing was executed."""

    request: Request
    code: int
    message: str


@attrs.frozen(kw_only=True)
class Unknown:
    """It may live: the reconciler asks, nobody resends."""

    request: Request
    reason: str


Outcome = Accepted | Refused | Unknown


# -- events of the private stream --------------------------------------------------------------------------------------
@attrs.frozen(kw_only=True)
class OrderUpdate:
    """ORDER_TRADE_UPDATE. Prices and quantities are exact; times are venue milliseconds."""

    event_ms: int
    transaction_ms: int
    symbol: SymbolName
    cid: ClientId
    side: Side
    type: str
    original_type: str
    execution: str
    """`x`: NEW, CANCELED, CALCULATED, EXPIRED, TRADE, AMENDMENT"""
    status: OrderStatus
    order_id: int
    qty: Decimal
    price: Decimal
    average_price: Decimal
    last_qty: Decimal
    last_price: Decimal
    filled_qty: Decimal
    commission: Decimal
    commission_asset: str
    trade_id: int
    """0 where this event is no trade"""
    maker: bool
    reduce_only: bool
    close_position: bool
    realized_pnl: Decimal
    expiry_reason: str


@attrs.frozen(kw_only=True)
class TradeLite:
    """TRADE_LITE: the faster copy of a fill, without commission; the same `trade_id` comes again in an OrderUpdate."""

    event_ms: int
    transaction_ms: int
    symbol: SymbolName
    cid: ClientId
    side: Side
    order_id: int
    trade_id: int
    last_qty: Decimal
    last_price: Decimal
    maker: bool


@attrs.frozen(kw_only=True)
class AlgoUpdate:
    """ALGO_UPDATE: the life of a conditional order. `order_id` is the child's id, None until triggered."""

    event_ms: int
    transaction_ms: int
    symbol: SymbolName
    cid: ClientId
    algo_id: int
    side: Side
    type: str
    status: AlgoStatus
    trigger: Decimal
    order_id: int | None
    filled_qty: Decimal
    average_price: Decimal
    reason: str


@attrs.frozen(kw_only=True)
class BalanceChange:
    asset: str
    wallet: Decimal
    cross_wallet: Decimal
    change: Decimal
    """Balance change except PnL and commission"""


@attrs.frozen(kw_only=True)
class PositionChange:
    symbol: SymbolName
    amount: Decimal
    """Signed: positive long, negative short"""
    entry_price: Decimal
    realized: Decimal
    unrealized: Decimal
    isolated: bool
    isolated_wallet: Decimal
    position_side: str


@attrs.frozen(kw_only=True)
class AccountUpdate:
    """ACCOUNT_UPDATE; `reason` is ORDER, FUNDING_FEE, MARGIN_TYPE_CHANGE, ..."""

    event_ms: int
    transaction_ms: int
    reason: str
    balances: tuple[BalanceChange, ...]
    positions: tuple[PositionChange, ...]
    symbol: SymbolName | None
    """Symbol of a FUNDING_FEE"""


@attrs.frozen(kw_only=True)
class ConfigUpdate:
    """ACCOUNT_CONFIG_UPDATE: leverage of a symbol, or multi-assets mode."""

    event_ms: int
    symbol: SymbolName | None
    leverage: int | None
    multi_assets: bool | None


@attrs.frozen(kw_only=True)
class MarginCall:
    event_ms: int
    symbols: tuple[SymbolName, ...]


@attrs.frozen(kw_only=True)
class ListenKeyExpired:
    event_ms: int


UserEvent = OrderUpdate | TradeLite | AlgoUpdate | AccountUpdate | ConfigUpdate | MarginCall | ListenKeyExpired
