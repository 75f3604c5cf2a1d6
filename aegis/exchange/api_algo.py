"""Handlers of conditional (algo) orders. PROTOCOL.md §4.4."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from aegis.core.values import AlgoType, OrderType, Side, TimeInForce, WorkingType
from aegis.exchange.api import Call, Params, Route, Security, by_symbol
from aegis.exchange.api_orders import CONDITIONAL_TYPES, good_till, make_id, sided, stp_mode
from aegis.exchange.conditional_order import AlgoOrder
from aegis.exchange.errors import Refusal
from aegis.exchange.rules import check_tradable, matched_price, price_ticks, quantity_steps
from aegis.exchange.views import algo_placed, algo_read

__all__ = ["ROUTES"]

_MARKETS = (AlgoType.STOP_MARKET, AlgoType.TAKE_PROFIT_MARKET)
_LIMITED = (AlgoType.STOP, AlgoType.TAKE_PROFIT)
_CALLBACK_LEAST, _CALLBACK_MOST = Decimal("0.1"), Decimal(20)


def place_algo(call: Call) -> dict[str, Any]:
    """POST /fapi/v1/algoOrder."""
    params = call.params
    if params.text("algoType") != "CONDITIONAL":
        raise Refusal(-1130, "algoType")
    listing = call.listing()
    side = params.choice("side", Side, -1117)
    if params.text("type") not in CONDITIONAL_TYPES:
        raise Refusal(-1116)
    own_side, reduce_only = sided(call)
    if (params.optional("newOrderRespType") or "ACK") not in ("ACK", "RESULT"):
        raise Refusal(-1130, "newOrderRespType")
    tif = params.optional("timeInForce") or "GTC"
    if tif != "GTE_GTC" and tif not in {member.value for member in TimeInForce}:
        raise Refusal(-1115)
    client_id = params.client_id("clientAlgoId") or make_id(call)
    check_tradable(call.account, listing)
    algo = AlgoOrder(
        account=call.account.id,
        listing=listing,
        algo_id=0,
        client_id=client_id,
        side=side,
        type=AlgoType(params.text("type")),
        working_type=params.choice("workingType", WorkingType, -1130, WorkingType.CONTRACT_PRICE),
        price_protect=params.flag("priceProtect"),
        tif=tif,
        position_side=own_side,
        reduce_only=reduce_only,
        good_till_ms=good_till(call, tif),
        stp=stp_mode(params),
        created_ms=call.now_ms,
        updated_ms=call.now_ms,
    )
    _fill_size(call, algo)
    _fill_trigger(params, algo)
    _fill_price(call, algo)
    return algo_placed(call.core.conditional.place(call.account, algo))


def _fill_size(call: Call, algo: AlgoOrder) -> None:
    """closePosition, or a quantity with or without reduceOnly."""
    params = call.params
    algo.close_position = params.flag("closePosition")
    if not algo.close_position:
        kind = OrderType.LIMIT if algo.type in _LIMITED else OrderType.MARKET
        algo.steps = quantity_steps(algo.listing, params.decimal("quantity"), kind)
        return
    if algo.type not in _MARKETS:
        raise Refusal(-4136, algo.type.value, "true")
    if "quantity" in params:
        raise Refusal(-4137)
    params.unexpected(("reduceOnly",))
    opens = "LONG" if algo.side is Side.BUY else "SHORT"
    if algo.position_side == opens:
        raise Refusal(-4136, algo.type.value, "true")


def _fill_trigger(params: Params, algo: AlgoOrder) -> None:
    if algo.type is not AlgoType.TRAILING_STOP_MARKET:
        params.unexpected(("activatePrice", "callbackRate"))
        algo.trigger_ticks = price_ticks(algo.listing, params.decimal("triggerPrice"))
        return
    if "triggerPrice" in params:
        raise Refusal(-2021)
    rate = params.decimal("callbackRate")
    if not _CALLBACK_LEAST <= rate <= _CALLBACK_MOST or rate * 100 % 1:
        raise Refusal(-1130, "callbackRate")
    algo.callback = int(rate * 100)
    if "activatePrice" in params:
        algo.activate_ticks = price_ticks(algo.listing, params.decimal("activatePrice"))


def _fill_price(call: Call, algo: AlgoOrder) -> None:
    """The price of the LIMIT order that it becomes; with priceMatch it is found when the order triggers."""
    params = call.params
    match = params.optional("priceMatch") or "NONE"
    if algo.type not in _LIMITED:
        params.unexpected(("price",))
        if match != "NONE":
            raise Refusal(-5038)
        return
    if match == "NONE":
        algo.ticks = price_ticks(algo.listing, params.decimal("price"))
        return
    params.unexpected(("price",))
    matched_price(call.core.state.books, algo.listing, algo.side, match)  # refuses a mode that does not exist
    algo.price_match = match


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


def read_all_algos(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/allAlgoOrders: oldest first; from an id or a start the first rows, else the latest."""
    params, listing = call.params, call.listing()
    limit, from_id = params.limit(500, 1000), params.optional_integer("algoId")
    start, end = params.week()
    rows = [
        algo_read(algo)
        for algo in call.core.conditional.all()
        if algo.account == call.account.id
        and algo.listing is listing
        and (from_id is None or algo.algo_id >= from_id)
        and (start is None or algo.created_ms >= start)
        and (end is None or algo.created_ms <= end)
    ]
    return rows[:limit] if from_id is not None or start is not None else rows[-limit:]


def cancel_algo(call: Call) -> dict[str, Any]:
    """DELETE /fapi/v1/algoOrder. The code is a string here."""
    algo = _find_algo(call)
    if algo is None:
        raise Refusal(-2011)
    call.core.conditional.cancel(algo)
    return {"algoId": algo.algo_id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}


def cancel_all_algos(call: Call) -> dict[str, Any]:
    """DELETE /fapi/v1/algoOpenOrders: those of one symbol that have not triggered."""
    call.core.conditional.cancel_all(call.account.id, call.listing().index)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


_SIGNED = Security.SIGNED

ROUTES: dict[tuple[str, str], Route] = {
    ("POST", "/fapi/v1/algoOrder"): Route(handler=place_algo, security=_SIGNED, weight=0, trading=True, counts=(1, 1)),
    ("GET", "/fapi/v1/algoOrder"): Route(handler=read_algo, security=_SIGNED),
    ("DELETE", "/fapi/v1/algoOrder"): Route(handler=cancel_algo, security=_SIGNED, trading=True),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Route(handler=cancel_all_algos, security=_SIGNED, trading=True),
    ("GET", "/fapi/v1/openAlgoOrders"): Route(handler=read_open_algos, security=_SIGNED, weight=by_symbol(1, 40)),
    ("GET", "/fapi/v1/allAlgoOrders"): Route(handler=read_all_algos, security=_SIGNED, weight=5),
}
