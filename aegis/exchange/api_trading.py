"""Handlers of orders, conditional orders and trades. PROTOCOL.md §4.3 and §4.4."""

from __future__ import annotations

from typing import Any

from aegis.core.values import AlgoType, OrderStatus, OrderType, Side, TimeInForce, WorkingType
from aegis.exchange.api import Call, Params, Route, Security
from aegis.exchange.conditional_order import AlgoOrder
from aegis.exchange.errors import Refusal
from aegis.exchange.matching import ExpiryReason, NewOrder
from aegis.exchange.orders import Order
from aegis.exchange.rules import check_percent_price, check_tradable, notional_allowed, price_ticks, quantity_steps
from aegis.exchange.views import algo_placed, algo_read, order_placed, order_read, user_trade

__all__ = ["ROUTES"]

_CONDITIONAL = {"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"}
_WEEK_MS = 7 * 86_400_000


# -- orders ------------------------------------------------------------------------------------------------------------
def place_order(call: Call) -> dict[str, Any]:
    """POST /fapi/v1/order."""
    params = call.params
    listing = call.listing()
    side = params.choice("side", Side, -1117)
    if params.text("type") in _CONDITIONAL:
        raise Refusal(-4120)
    type_ = params.choice("type", OrderType, -1116)
    _require_one_way(params)
    full = _wants_result(params)
    client_id = params.client_id("newClientOrderId") or _make_id(call)
    params.unexpected(("stopPrice", "triggerPrice", "closePosition", "activationPrice", "callbackRate", "goodTillDate"))
    limit = type_ is OrderType.LIMIT
    if not limit:
        params.unexpected(("price", "timeInForce"))
    tif = params.choice("timeInForce", TimeInForce, -1115, None if limit else TimeInForce.GTC)
    reduce_only = params.flag("reduceOnly")
    check_tradable(listing)
    state = call.core.state
    steps = quantity_steps(listing, params.decimal("quantity"), type_)
    mark = state.mark(listing)
    ticks = 0
    if limit:
        price = params.decimal("price")
        ticks = price_ticks(listing, price)
        check_percent_price(listing, side, price, mark)
    if not reduce_only:
        notional_allowed(listing, listing.quantity(steps) * (listing.price(ticks) if limit else mark))
    order = call.core.matching.place(
        NewOrder(
            account=call.account,
            listing=listing,
            side=side,
            type=type_,
            tif=tif,
            ticks=ticks,
            steps=steps,
            client_id=client_id,
            reduce_only=reduce_only,
        )
    )
    view = order_placed(order)
    if not full:  # an ACK tells only that the order was accepted
        nothing = listing.quantity_text(0)
        view |= {"status": OrderStatus.NEW.value, "executedQty": nothing, "cumQty": nothing}
    return view


def _require_one_way(params: Params) -> None:
    if (params.optional("positionSide") or "BOTH") != "BOTH":
        raise Refusal(-4061)
    if (params.optional("selfTradePreventionMode") or "EXPIRE_MAKER") != "EXPIRE_MAKER":
        raise Refusal(-5039)
    if (params.optional("priceMatch") or "NONE") != "NONE":
        raise Refusal(-1130, "priceMatch")


def _wants_result(params: Params) -> bool:
    kind = params.optional("newOrderRespType") or "ACK"
    if kind not in ("ACK", "RESULT"):
        raise Refusal(-1130, "newOrderRespType")
    return kind == "RESULT"


def _make_id(call: Call) -> str:
    return f"sim_{call.core.state.count('client_id'):018d}"


def _find(call: Call) -> Order | None:
    params = call.params
    order_id, client_id = params.optional_integer("orderId"), params.optional("origClientOrderId")
    if order_id is None and client_id is None:
        raise Refusal(-1102, message="Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    return call.core.state.orders.find(call.account.id, call.listing().index, order_id, client_id)


def read_order(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/order."""
    order = _find(call)
    if order is None:
        raise Refusal(-2013)
    return order_read(order)


def read_open_order(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/openOrder."""
    order = _find(call)
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


def cancel_order(call: Call) -> dict[str, Any]:
    """DELETE /fapi/v1/order."""
    order = _find(call)
    if order is None or order.status.final:
        raise Refusal(-2011)
    call.core.matching.finish(order, OrderStatus.CANCELED, ExpiryReason.NONE)
    return order_placed(order)


def cancel_all(call: Call) -> dict[str, Any]:
    """DELETE /fapi/v1/allOpenOrders: regular orders of one symbol."""
    for order in call.core.state.orders.open_orders(call.account.id, call.listing().index):
        call.core.matching.finish(order, OrderStatus.CANCELED, ExpiryReason.NONE)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def read_trades(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/userTrades: oldest first; from an id or a start the first rows, else the latest."""
    params, listing = call.params, call.listing()
    limit = params.limit(500, 1000)
    order_id, from_id = params.optional_integer("orderId"), params.optional_integer("fromId")
    start, end = params.optional_integer("startTime"), params.optional_integer("endTime")
    if from_id is not None and (start is not None or end is not None):
        raise Refusal(-1128)
    if start is not None and end is not None and not 0 <= end - start <= _WEEK_MS:
        raise Refusal(-1130, "startTime")
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


# -- conditional orders ------------------------------------------------------------------------------------------------
def place_algo(call: Call) -> dict[str, Any]:
    """POST /fapi/v1/algoOrder: STOP_MARKET and TAKE_PROFIT_MARKET with closePosition=true."""
    params = call.params
    if params.text("algoType") != "CONDITIONAL":
        raise Refusal(-1130, "algoType")
    listing = call.listing()
    side = params.choice("side", Side, -1117)
    kind = params.text("type")
    if kind not in _CONDITIONAL:
        raise Refusal(-1116)
    _require_one_way(params)
    _wants_result(params)
    closes = params.flag("closePosition")
    if not closes or kind not in {member.value for member in AlgoType}:
        raise Refusal(-4136, kind, str(closes).lower())
    if "quantity" in params:
        raise Refusal(-4137)
    params.unexpected(("reduceOnly", "price", "activatePrice", "callbackRate", "goodTillDate"))
    tif = params.optional("timeInForce") or "GTC"
    if tif not in ("GTC", "GTE_GTC"):
        raise Refusal(-1115)
    client_id = params.client_id("clientAlgoId") or _make_id(call)
    check_tradable(listing)
    algo = AlgoOrder(
        account=call.account.id,
        listing=listing,
        algo_id=0,
        client_id=client_id,
        side=side,
        type=AlgoType(kind),
        trigger_ticks=price_ticks(listing, params.decimal("triggerPrice")),
        working_type=params.choice("workingType", WorkingType, -1130, WorkingType.CONTRACT_PRICE),
        price_protect=params.flag("priceProtect"),
        tif=tif,
        created_ms=call.now_ms,
        updated_ms=call.now_ms,
    )
    return algo_placed(call.core.conditional.place(call.account, algo))


def _find_algo(call: Call) -> AlgoOrder | None:
    algo_id, client_id = call.params.optional_integer("algoId"), call.params.optional("clientAlgoId")
    if algo_id is None and client_id is None:
        raise Refusal(-1102, message="Param 'algoId' or 'clientAlgoId' must be sent, but both were empty/null!")
    return call.core.conditional.find(call.account.id, algo_id, client_id)


def read_algo(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/algoOrder."""
    algo = _find_algo(call)
    if algo is None:
        raise Refusal(-2013)
    return algo_read(algo)


def read_open_algos(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/openAlgoOrders."""
    listing, algo_id = call.optional_listing(), call.params.optional_integer("algoId")
    found = call.core.conditional.open_orders(call.account.id, None if listing is None else listing.index)
    return [algo_read(algo) for algo in found if algo_id is None or algo.algo_id == algo_id]


def cancel_algo(call: Call) -> dict[str, Any]:
    """DELETE /fapi/v1/algoOrder. The code is a string here."""
    algo = _find_algo(call)
    if algo is None:
        raise Refusal(-2011)
    call.core.conditional.cancel(algo)
    return {"algoId": algo.algo_id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}


def _all_symbols_40(params: Params) -> int:
    return 1 if "symbol" in params else 40


_SIGNED = Security.SIGNED

ROUTES: dict[tuple[str, str], Route] = {
    ("POST", "/fapi/v1/order"): Route(handler=place_order, security=_SIGNED, weight=0, trading=True, counts=True),
    ("GET", "/fapi/v1/order"): Route(handler=read_order, security=_SIGNED),
    ("DELETE", "/fapi/v1/order"): Route(handler=cancel_order, security=_SIGNED, trading=True),
    ("DELETE", "/fapi/v1/allOpenOrders"): Route(handler=cancel_all, security=_SIGNED, trading=True),
    ("GET", "/fapi/v1/openOrder"): Route(handler=read_open_order, security=_SIGNED),
    ("GET", "/fapi/v1/openOrders"): Route(handler=read_open_orders, security=_SIGNED, weight=_all_symbols_40),
    ("GET", "/fapi/v1/userTrades"): Route(handler=read_trades, security=_SIGNED, weight=5),
    ("POST", "/fapi/v1/algoOrder"): Route(handler=place_algo, security=_SIGNED, weight=0, trading=True, counts=True),
    ("GET", "/fapi/v1/algoOrder"): Route(handler=read_algo, security=_SIGNED),
    ("DELETE", "/fapi/v1/algoOrder"): Route(handler=cancel_algo, security=_SIGNED, trading=True),
    ("GET", "/fapi/v1/openAlgoOrders"): Route(handler=read_open_algos, security=_SIGNED, weight=_all_symbols_40),
}
