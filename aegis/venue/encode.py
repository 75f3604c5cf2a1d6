"""Requests -> the venue's parameters. Decimals are plain text, booleans lower case."""

from __future__ import annotations

import attrs

from aegis.core.errors import InvariantBroken
from aegis.core.filters import plain
from aegis.core.messages import AlgoRequest, CancelRequest, OrderRequest, Request
from aegis.core.values import OrderType
from aegis.venue.limits import Priority

__all__ = ["Call", "encode"]


@attrs.frozen(kw_only=True)
class Call:
    """One request in both spellings, and what it costs."""

    method: str
    path: str
    ws_method: str
    params: dict[str, str | int]
    weight: int
    orders: int
    priority: Priority


def encode(request: Request) -> Call:
    """The call that carries out `request`, without timestamp and signature.

    Raises:
        InvariantBroken: the request contradicts itself (a LIMIT without price, ...): a bug, not a refusal.
    """
    match request:
        case OrderRequest():
            return _order(request)
        case AlgoRequest():
            return _algo(request)
        case CancelRequest():
            return _cancel(request)


def _order(request: OrderRequest) -> Call:
    params: dict[str, str | int] = {
        "symbol": request.symbol,
        "side": request.side.text,
        "type": request.type.text,
        "quantity": plain(request.qty),
    }
    if request.type is OrderType.LIMIT:
        if request.price is None or request.tif is None:
            raise InvariantBroken(f"LIMIT order {request.cid} without price or time in force")
        params |= {"price": plain(request.price), "timeInForce": request.tif.text}
    elif request.price is not None or request.tif is not None:
        raise InvariantBroken(f"MARKET order {request.cid} with price or time in force")
    if request.reduce_only:
        params["reduceOnly"] = "true"
    params |= {"newClientOrderId": request.cid, "newOrderRespType": "ACK"}
    return Call(
        method="POST",
        path="/fapi/v1/order",
        ws_method="order.place",
        params=params,
        weight=0,
        orders=1,
        priority=Priority.URGENT if request.reduce_only else Priority.NORMAL,
    )


def _algo(request: AlgoRequest) -> Call:
    params: dict[str, str | int] = {
        "algoType": "CONDITIONAL",
        "symbol": request.symbol,
        "side": request.side.value,
        "type": request.type.value,
        "triggerPrice": plain(request.trigger),
        "workingType": request.working_type.value,
        "priceProtect": "true" if request.price_protect else "false",
        "clientAlgoId": request.cid,
        "newOrderRespType": "ACK",
    }
    if request.qty is None:
        params["closePosition"] = "true"
    else:
        params |= {"quantity": plain(request.qty), "reduceOnly": "true"}
    return Call(
        method="POST",
        path="/fapi/v1/algoOrder",
        ws_method="algoOrder.place",
        params=params,
        weight=0,
        orders=1,
        priority=Priority.URGENT,
    )


def _cancel(request: CancelRequest) -> Call:
    params: dict[str, str | int]
    if request.algo:  # the Algo Service takes no symbol here
        path, ws_method, params = "/fapi/v1/algoOrder", "algoOrder.cancel", {"clientAlgoId": request.cid}
    else:
        path, ws_method = "/fapi/v1/order", "order.cancel"
        params = {"symbol": request.symbol, "origClientOrderId": request.cid}
    return Call(
        method="DELETE",
        path=path,
        ws_method=ws_method,
        params=params,
        weight=1,
        orders=0,
        priority=Priority.URGENT,
    )
