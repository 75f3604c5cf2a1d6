"""Orders and conditional orders as the API shows them, field by field. PROTOCOL.md §4.3 and §4.4."""

from __future__ import annotations

from typing import Any

from aegis.exchange.conditional_order import AlgoOrder
from aegis.exchange.money import plain
from aegis.exchange.orders import Amendment, Order
from aegis.exchange.state import Fill
from aegis.exchange.userstream import callback_text, price, quantity

__all__ = [
    "algo_placed",
    "algo_read",
    "amendment_read",
    "order_modified",
    "order_placed",
    "order_read",
    "user_trade",
]

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
        "positionSide": order.position_side,
        "stopPrice": listing.price_text(order.trigger_ticks),
        "workingType": order.working_type,
        "priceProtect": order.price_protect,
        "origType": order.original_type,
        "priceMatch": order.price_match,
        "selfTradePreventionMode": order.stp,
        "goodTillDate": order.good_till_ms,
        "updateTime": order.updated_ms,
    }


def order_placed(order: Order) -> View:
    """Answer to placing or cancelling: without avgPrice and cumQuote, which left in 2026."""
    return _order(order) | {"cumQty": order.listing.quantity_text(order.filled)}


def order_modified(order: Order, modify_id: int | None) -> View:
    """Answer to modifying."""
    extra: View = {} if modify_id is None else {"modifyId": modify_id}
    return order_placed(order) | {"pair": order.listing.symbol} | extra


def amendment_read(order: Order, amendment: Amendment, count: int) -> View:
    """One row of orderAmendment; `count` is how many there were with it."""
    listing = order.listing
    prices, sizes = zip(amendment.before, amendment.after, strict=True)
    return {
        "amendmentId": amendment.number,
        "symbol": listing.symbol,
        "pair": listing.symbol,
        "orderId": order.order_id,
        "clientOrderId": order.client_id,
        "time": amendment.ms,
        "amendment": {
            "price": {"before": listing.price_text(prices[0]), "after": listing.price_text(prices[1])},
            "origQty": {"before": listing.quantity_text(sizes[0]), "after": listing.quantity_text(sizes[1])},
            "count": count,
            "modifyId": amendment.modify_id,
        },
    }


def order_read(order: Order) -> View:
    """An order as reads give it."""
    extra = {"avgPrice": order.average, "cumQuote": plain(order.quote_e16, 16), "time": order.created_ms}
    return _order(order) | extra


def algo_placed(algo: AlgoOrder) -> View:
    """Answer to placing a conditional order."""
    trailing = {"activatePrice": algo.listing.price_text(algo.activate_ticks), "callbackRate": callback_text(algo)}
    return _algo(algo) | (trailing if algo.trailing else {"activatePrice": "", "callbackRate": ""})


def algo_read(algo: AlgoOrder) -> View:
    """A conditional order as reads give it."""
    child = "" if algo.child_id is None else str(algo.child_id)
    return _algo(algo) | {
        "actualOrderId": child,
        "actualPrice": algo.average,
        "actualQty": quantity(algo.listing, algo.filled),
        "actualType": algo.child_type.value if child else "",
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
        "positionSide": algo.position_side,
        "timeInForce": algo.tif,
        "quantity": quantity(algo.listing, algo.steps),
        "algoStatus": algo.status.value,
        "triggerPrice": algo.listing.price_text(algo.trigger_ticks),
        "price": price(algo.listing, algo.ticks),
        "icebergQuantity": None,
        "selfTradePreventionMode": algo.stp,
        "workingType": algo.working_type.value,
        "priceMatch": algo.price_match,
        "closePosition": algo.close_position,
        "priceProtect": algo.price_protect,
        "reduceOnly": algo.reduce_only or algo.close_position,
        "createTime": algo.created_ms,
        "updateTime": algo.updated_ms,
        "triggerTime": algo.trigger_ms,
        "goodTillDate": algo.good_till_ms,
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
        "quoteQty": plain(fill.ticks * fill.steps * listing.unit_e16, 16),
        "baseQty": quantity(listing, fill.steps),
        "realizedPnl": plain(fill.realized),
        "marginAsset": "USDT",
        "commission": plain(fill.commission),
        "commissionAsset": "USDT",
        "time": fill.ms,
        "positionSide": fill.position_side,
        "buyer": fill.side.value == "BUY",
        "maker": fill.maker,
    }
