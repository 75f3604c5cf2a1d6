"""Handlers that place, change and cancel orders. PROTOCOL.md §4.3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from aegis.core.values import OrderStatus, OrderType, Side, TimeInForce
from aegis.exchange.account import PositionSide
from aegis.exchange.api import Call, Params, Route, Security, position_side, record_request
from aegis.exchange.booking import ExpiryReason
from aegis.exchange.errors import Refusal
from aegis.exchange.listing import Listing
from aegis.exchange.orders import Order
from aegis.exchange.rules import (
    check_percent_price,
    check_tradable,
    matched_price,
    notional_allowed,
    price_ticks,
    quantity_steps,
)
from aegis.exchange.views import order_modified, order_placed

__all__ = ["CONDITIONAL_TYPES", "ROUTES", "find_order", "good_till", "make_id", "sided", "stp_mode"]

CONDITIONAL_TYPES = frozenset({"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"})
_STP_MODES = ("EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "NONE")
_BATCH_PLACE, _BATCH_CANCEL = 5, 10
_MAX_MODIFICATIONS = 10_000
_GTD_AHEAD_MS, _GTD_LAST_MS = 600_000, 253_402_300_799_000
_CANCELED_ALL = {"code": 200, "msg": "The operation of cancel all open order is done."}


# -- placing -----------------------------------------------------------------------------------------------------------
def place_order(call: Call) -> dict[str, Any]:
    """POST /fapi/v1/order."""
    full = _wants_result(call.params)
    order = call.core.matching.place(_new_order(call))
    view = order_placed(order)
    if not full:  # an ACK tells only that the order was accepted
        nothing = order.listing.quantity_text(0)
        view |= {"status": OrderStatus.NEW.value, "executedQty": nothing, "cumQty": nothing}
    return view


def test_order(call: Call) -> dict[str, Any]:
    """POST /fapi/v1/order/test: filters and parameters only."""
    _wants_result(call.params)
    return order_placed(call.core.matching.draft(_new_order(call)))


def _new_order(call: Call) -> Order:
    """What the parameters ask for, through the filters."""
    params, listing = call.params, call.listing()
    side = params.choice("side", Side, -1117)
    if params.text("type") in CONDITIONAL_TYPES:
        raise Refusal(-4120)
    type_ = params.choice("type", OrderType, -1116)
    own_side, reduce_only = sided(call)
    client_id = params.client_id("newClientOrderId") or make_id(call)
    params.unexpected(("stopPrice", "triggerPrice", "closePosition", "activationPrice", "callbackRate"))
    limit = type_ is OrderType.LIMIT
    if not limit:
        params.unexpected(("price", "timeInForce"))
    tif = params.choice("timeInForce", TimeInForce, -1115, None if limit else TimeInForce.GTC)
    match = params.optional("priceMatch") or "NONE"
    if match != "NONE" and not limit:
        raise Refusal(-5038)
    check_tradable(call.account, listing)
    steps = quantity_steps(listing, params.decimal("quantity"), type_)
    ticks = _limit_ticks(call, listing, side, match) if limit else 0
    if not reduce_only:
        price = listing.price(ticks) if limit else call.core.state.mark(listing)
        notional_allowed(listing, listing.quantity(steps) * price)
    return Order(
        account=call.account.id,
        listing=listing,
        side=side,
        type=type_,
        tif=tif,
        ticks=ticks,
        steps=steps,
        client_id=client_id,
        position_side=own_side,
        reduce_only=reduce_only,
        stp=stp_mode(params),
        price_match=match,
        good_till_ms=good_till(call, tif.value),
    )


def _limit_ticks(call: Call, listing: Listing, side: Side, match: str) -> int:
    """The price sent, or the one that priceMatch means at this moment."""
    if match != "NONE":
        call.params.unexpected(("price",))
        return matched_price(call.core.state.books, listing, side, match)
    price = call.params.decimal("price")
    ticks = price_ticks(listing, price)
    check_percent_price(listing, side, price, call.core.state.mark(listing))
    return ticks


def sided(call: Call) -> tuple[PositionSide, bool]:
    """`positionSide`, and whether the order may only reduce: in hedge mode that follows from the sides.

    Raises:
        Refusal: -4061 for a side that the account's mode does not have, -1106 for reduceOnly in hedge mode.
    """
    params, hedge = call.params, call.account.hedge
    side = position_side(params)
    if (side == "BOTH") == hedge:
        raise Refusal(-4061)
    reduce_only = params.flag("reduceOnly")
    if hedge:
        params.unexpected(("reduceOnly",))
    return side, reduce_only


def stp_mode(params: Params) -> str:
    """selfTradePreventionMode. Raises Refusal -5039."""
    mode = params.optional("selfTradePreventionMode") or "EXPIRE_MAKER"
    if mode not in _STP_MODES:
        raise Refusal(-5039)
    return mode


def good_till(call: Call, tif: str) -> int:
    """goodTillDate of a GTD order, to the second; 0 for others. Raises Refusal -1102, -1106 or -5040."""
    if tif != "GTD":
        if call.params.optional_integer("goodTillDate"):  # clients send 0 for none
            raise Refusal(-1106, "goodTillDate")
        return 0
    until_ms = call.params.integer("goodTillDate")
    if not call.now_ms + _GTD_AHEAD_MS < until_ms < _GTD_LAST_MS:
        raise Refusal(-5040)
    return until_ms // 1000 * 1000


def _wants_result(params: Params) -> bool:
    kind = params.optional("newOrderRespType") or "ACK"
    if kind not in ("ACK", "RESULT"):
        raise Refusal(-1130, "newOrderRespType")
    return kind == "RESULT"


def make_id(call: Call) -> str:
    """The id of an order whose sender gave none."""
    return f"sim_{call.core.state.count('client_id'):018d}"


# -- modifying and cancelling ------------------------------------------------------------------------------------------
def find_order(call: Call) -> Order | None:
    """By orderId, else by origClientOrderId. Raises Refusal -1102 when neither was sent."""
    params = call.params
    order_id, client_id = params.optional_integer("orderId"), params.optional("origClientOrderId")
    if order_id is None and client_id is None:
        raise Refusal(-1102, message="Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    return call.core.state.orders.find(call.account.id, call.listing().index, order_id, client_id)


def modify_order(call: Call) -> dict[str, Any]:
    """PUT /fapi/v1/order."""
    params, order = call.params, find_order(call)
    if order is None or order.status.final:
        raise Refusal(-2013)
    listing = order.listing
    if listing.status != "TRADING":
        raise Refusal(-5024)
    if order.type is not OrderType.LIMIT:
        raise Refusal(-5025)
    if params.choice("side", Side, -1117) is not order.side:
        raise Refusal(-1117)
    if params.flag("reduceOnly") and not order.reduce_only:
        raise Refusal(-5047)
    match = params.optional("priceMatch") or "NONE"
    ticks = _limit_ticks(call, listing, order.side, match)
    steps = quantity_steps(listing, params.decimal("quantity"), order.type)
    modify_id = params.optional_integer("modifyId")
    if (ticks, steps) == (order.ticks, order.steps):
        raise Refusal(-5027)
    if len(order.amendments) >= _MAX_MODIFICATIONS:
        raise Refusal(-5026)
    if not params.flag("reduceOnly") and listing.price(ticks) * listing.quantity(steps) < listing.min_notional:
        raise Refusal(-5029, f"{listing.min_notional:f}")
    call.core.matching.modify(order, ticks, steps, price_match=match, modify_id=modify_id)
    return order_modified(order, modify_id)


def cancel_order(call: Call) -> dict[str, Any]:
    """DELETE /fapi/v1/order."""
    order = find_order(call)
    if order is None or order.status.final:
        raise Refusal(-2011)
    call.core.matching.finish(order, OrderStatus.CANCELED, ExpiryReason.NONE)
    return order_placed(order)


def cancel_all(call: Call) -> dict[str, Any]:
    """DELETE /fapi/v1/allOpenOrders: regular orders of one symbol."""
    for order in call.core.state.orders.open_orders(call.account.id, call.listing().index):
        call.core.matching.finish(order, OrderStatus.CANCELED, ExpiryReason.NONE)
    return _CANCELED_ALL


def count_down(call: Call) -> dict[str, Any]:
    """POST /fapi/v1/countdownCancelAll: regular orders of one symbol, unless it is sent again in time."""
    listing, wait_ms = call.listing(), call.params.integer("countdownTime")
    call.core.upkeep.count_down(call.account, listing, wait_ms)
    return {"symbol": listing.symbol, "countdownTime": str(wait_ms)}


# -- batches -----------------------------------------------------------------------------------------------------------
def _each(call: Call, rows: list[Params], endpoint: str, handler: Callable[[Call], Any]) -> list[dict[str, Any]]:
    """Every row by itself; what is refused is an element with its code. Each is a request in the ledger."""
    results: list[dict[str, Any]] = []
    for params in rows:
        code, result = 0, {}
        try:
            result = handler(attrs.evolve(call, params=params))
        except Refusal as refusal:
            code, result = refusal.code, {"code": refusal.code, "msg": refusal.message}
        record_request(call.core.state, call.account, endpoint, params, code, result)
        results.append(result)
    return results


def place_batch(call: Call) -> list[dict[str, Any]]:
    """POST /fapi/v1/batchOrders."""
    return _each(call, call.params.objects("batchOrders", _BATCH_PLACE), "POST /fapi/v1/order", place_order)


def modify_batch(call: Call) -> list[dict[str, Any]]:
    """PUT /fapi/v1/batchOrders."""
    return _each(call, call.params.objects("batchOrders", _BATCH_PLACE), "PUT /fapi/v1/order", modify_order)


def cancel_batch(call: Call) -> list[dict[str, Any]]:
    """DELETE /fapi/v1/batchOrders; the names of the lists are taken in lower case too, as ccxt sends them."""
    params, symbol = call.params, call.listing().symbol
    names = {"orderIdList": "orderId", "origClientOrderIdList": "origClientOrderId"}
    found = [(sent, names[name]) for name in names for sent in (name, name.lower()) if sent in params]
    name, one = found[0] if found else ("orderIdList", "orderId")
    rows = [Params([("symbol", symbol), (one, value)]) for value in params.values(name, _BATCH_CANCEL)]
    return _each(call, rows, "DELETE /fapi/v1/order", cancel_order)


def _trading(handler: Callable[[Call], Any], weight: int = 1, counts: tuple[int, int] = (0, 0)) -> Route:
    return Route(handler=handler, security=Security.SIGNED, weight=weight, trading=True, counts=counts)


ROUTES: dict[tuple[str, str], Route] = {
    ("POST", "/fapi/v1/order"): _trading(place_order, 0, (1, 1)),
    ("POST", "/fapi/v1/order/test"): Route(handler=test_order, security=Security.SIGNED, weight=0),
    ("PUT", "/fapi/v1/order"): _trading(modify_order, 0, (1, 1)),
    ("DELETE", "/fapi/v1/order"): _trading(cancel_order),
    ("DELETE", "/fapi/v1/allOpenOrders"): _trading(cancel_all),
    ("POST", "/fapi/v1/batchOrders"): _trading(place_batch, 5, (5, 1)),
    ("PUT", "/fapi/v1/batchOrders"): _trading(modify_batch, 5, (5, 1)),
    ("DELETE", "/fapi/v1/batchOrders"): _trading(cancel_batch),
    ("POST", "/fapi/v1/countdownCancelAll"): _trading(count_down, 10),
}
