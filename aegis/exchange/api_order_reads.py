"""Handlers that read orders, their changes and trades. PROTOCOL.md §4.3 and §4.5."""

from __future__ import annotations

from typing import Any

from aegis.exchange.api import Call, Params, Route, Security, by_symbol
from aegis.exchange.api_orders import find_order
from aegis.exchange.errors import Refusal
from aegis.exchange.liquidation import ADL_ID, LIQUIDATION_ID
from aegis.exchange.views import amendment_read, order_read, user_trade

__all__ = ["ROUTES"]


def read_order(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/order."""
    order = find_order(call)
    if order is None:
        raise Refusal(-2013)
    return order_read(order)


def read_open_order(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/openOrder."""
    order = find_order(call)
    if order is None or order.status.final:
        raise Refusal(-2013)
    return order_read(order)


def read_open_orders(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/openOrders."""
    listing = call.optional_listing()
    return [
        order_read(order)
        for order in call.core.state.orders.open_orders(call.account.id, None if listing is None else listing.index)
    ]


def read_all_orders(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/allOrders: oldest first; from an id or a start the first rows, else the latest."""
    params, listing = call.params, call.optional_listing()
    limit, from_id = params.limit(500, 1000), params.optional_integer("orderId")
    start, end = params.week()
    rows = [
        order_read(order) | {"pair": order.listing.symbol, "cumBase": order.listing.quantity_text(order.filled)}
        for order in sorted(call.core.state.orders.all(), key=lambda order: (order.created_ms, order.order_id))
        if order.account == call.account.id
        and (listing is None or order.listing is listing)
        and (from_id is None or order.order_id >= from_id)
        and (start is None or order.created_ms >= start)
        and (end is None or order.created_ms <= end)
    ]
    return rows[:limit] if from_id is not None or start is not None else rows[-limit:]


def read_amendments(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/orderAmendment: the latest first."""
    order = find_order(call)
    if order is None:
        raise Refusal(-2013)
    limit = call.params.limit(50, 100)
    numbered = list(enumerate(order.amendments, start=1))
    return [amendment_read(order, amendment, count) for count, amendment in reversed(numbered)][:limit]


def read_trades(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/userTrades: oldest first; from an id or a start the first rows, else the latest."""
    params, listing = call.params, call.listing()
    limit = params.limit(500, 1000)
    order_id, from_id = params.optional_integer("orderId"), params.optional_integer("fromId")
    start, end = params.week()
    if from_id is not None and (start is not None or end is not None):
        raise Refusal(-1128)
    rows = [
        user_trade(fill)
        for fill in call.core.state.fills
        if fill.account == call.account.id
        and fill.listing is listing
        and (order_id is None or fill.order_id == order_id)
        and (from_id is None or fill.trade_id >= from_id)
        and (start is None or fill.ms >= start)
        and (end is None or fill.ms <= end)
    ]
    return rows[:limit] if from_id is not None or start is not None else rows[-limit:]


def read_forced(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/forceOrders: one's own liquidations, and where one was deleveraged for others."""
    params, listing = call.params, call.optional_listing()
    limit, kind = params.limit(50, 100), params.optional("autoCloseType")
    start, end = params.week()
    if kind not in (None, "LIQUIDATION", "ADL"):
        raise Refusal(-1130, "autoCloseType")
    rows = [
        order_read(order)
        for order in call.core.state.orders.all()
        if order.account == call.account.id
        and order.filled
        and (
            (order.client_id.startswith(LIQUIDATION_ID) and kind != "ADL")
            or (order.client_id == ADL_ID and kind != "LIQUIDATION")
        )
        and (listing is None or order.listing is listing)
        and (start is None or order.created_ms >= start)
        and (end is None or order.created_ms <= end)
    ]
    return rows[-limit:]


def read_order_limits(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/rateLimit/order."""
    limits = call.core.limits
    rows = (("SECOND", 10, limits.orders_10s), ("MINUTE", 1, limits.orders_minute))
    return [
        {"rateLimitType": "ORDERS", "interval": interval, "intervalNum": number, "limit": limit}
        for interval, number, limit in rows
    ]


def _forced_weight(params: Params) -> int:
    return 20 if "symbol" in params else 50


_SIGNED = Security.SIGNED

ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/fapi/v1/order"): Route(handler=read_order, security=_SIGNED),
    ("GET", "/fapi/v1/openOrder"): Route(handler=read_open_order, security=_SIGNED),
    ("GET", "/fapi/v1/openOrders"): Route(handler=read_open_orders, security=_SIGNED, weight=by_symbol(1, 40)),
    ("GET", "/fapi/v1/allOrders"): Route(handler=read_all_orders, security=_SIGNED, weight=5),
    ("GET", "/fapi/v1/orderAmendment"): Route(handler=read_amendments, security=_SIGNED),
    ("GET", "/fapi/v1/userTrades"): Route(handler=read_trades, security=_SIGNED, weight=5),
    ("GET", "/fapi/v1/forceOrders"): Route(handler=read_forced, security=_SIGNED, weight=_forced_weight),
    ("GET", "/fapi/v1/rateLimit/order"): Route(handler=read_order_limits, security=_SIGNED),
}
