"""Orders and conditional orders as the API shows them, field by field. PROTOCOL.md §4.3 and §4.4."""

from __future__ import annotations

from typing import Any

from aegis.exchange.account import plain
from aegis.exchange.conditional_order import AlgoOrder
from aegis.exchange.orders import Order
from aegis.exchange.state import Fill
from aegis.exchange.userstream import round_average

__all__ = ["algo_placed", "algo_read", "order_placed", "order_read", "user_trade"]

View = dict[str, Any]


def _order(order: Order) -> View:
    listing = order.listing
    return {
        "orderId": order.order_id,
        "symbol": listing.symbol,
        "status": order.status.value,
        "clientOrderId": order.client_id,
        "price": listing.price_text(order.ticks),
        "origQty": listing.quantity_text(order.steps),
        "executedQty": listing.quantity_text(order.filled),
        "timeInForce": order.tif.value,
        "type": order.type.value,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side.value,
        "positionSide": "BOTH",
        "stopPrice": listing.price_text(order.trigger_ticks),
        "workingType": order.working_type,
        "priceProtect": order.price_protect,
        "origType": order.original_type,
        "priceMatch": "NONE",
        "selfTradePreventionMode": order.stp,
        "goodTillDate": 0,
        "updateTime": order.updated_ms,
    }


def order_placed(order: Order) -> View:
    """Answer to placing or cancelling: without avgPrice and cumQuote, which left in 2026."""
    return _order(order) | {"cumQty": order.listing.quantity_text(order.filled)}


def order_read(order: Order) -> View:
    """An order as reads give it."""
    extra = {"avgPrice": plain(round_average(order)), "cumQuote": plain(order.quote), "time": order.created_ms}
    return _order(order) | extra


def algo_placed(algo: AlgoOrder) -> View:
    """Answer to placing a conditional order."""
    return _algo(algo) | {"activatePrice": "", "callbackRate": ""}


def algo_read(algo: AlgoOrder) -> View:
    """A conditional order as reads give it."""
    child = "" if algo.child_id is None else str(algo.child_id)
    return _algo(algo) | {
        "actualOrderId": child,
        "actualPrice": plain(algo.average),
        "actualQty": plain(algo.listing.quantity(algo.filled)),
        "actualType": "MARKET" if child else "",
        "tpOrderType": "",
    }


def _algo(algo: AlgoOrder) -> View:
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.type.value,
        "symbol": algo.listing.symbol,
        "side": algo.side.value,
        "positionSide": "BOTH",
        "timeInForce": algo.tif,
        "quantity": "0",
        "algoStatus": algo.status.value,
        "triggerPrice": algo.listing.price_text(algo.trigger_ticks),
        "price": "0",
        "icebergQuantity": None,
        "selfTradePreventionMode": algo.stp,
        "workingType": algo.working_type.value,
        "priceMatch": "NONE",
        "closePosition": True,
        "priceProtect": algo.price_protect,
        "reduceOnly": True,
        "createTime": algo.created_ms,
        "updateTime": algo.updated_ms,
        "triggerTime": algo.trigger_ms,
        "goodTillDate": 0,
    }


def user_trade(fill: Fill) -> View:
    """One row of userTrades."""
    listing = fill.listing
    return {
        "symbol": listing.symbol,
        "pair": listing.symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "side": fill.side.value,
        "price": listing.price_text(fill.ticks),
        "qty": listing.quantity_text(fill.steps),
        "quoteQty": plain(fill.price * fill.quantity),
        "baseQty": plain(fill.quantity),
        "realizedPnl": plain(fill.realized),
        "marginAsset": "USDT",
        "commission": plain(fill.commission),
        "commissionAsset": "USDT",
        "time": fill.ms,
        "positionSide": "BOTH",
        "buyer": fill.side.value == "BUY",
        "maker": fill.maker,
    }
