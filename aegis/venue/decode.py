"""User events -> typed values (PROTOCOL.md §3). Strict where we rely on a field, deaf to fields that we do not know."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import attrs
import msgspec

from aegis.core.messages import (
    AccountUpdate,
    AlgoUpdate,
    BalanceChange,
    ConfigUpdate,
    ListenKeyExpired,
    MarginCall,
    OrderUpdate,
    PositionChange,
    TradeLite,
    UserEvent,
)
from aegis.core.values import AlgoStatus, ClientId, OrderStatus, Side, SymbolName
from aegis.venue.wire_types import DecodeError, Id, Malformed, Ms, Name, Number, OptionalNumber, Text, number, parse

__all__ = ["Ignored", "decode_user_event", "order_status", "to_order_id"]

#: Spellings of old that still turn up for liquidation orders.
_LEGACY_STATUS = {"NEW_INSURANCE": OrderStatus.NEW, "NEW_ADL": OrderStatus.NEW}


@attrs.frozen(kw_only=True)
class Ignored:
    """A well-formed message that means nothing to us: an unknown event, or the answer to a control message."""

    event: str


class _Envelope(msgspec.Struct):
    e: Text = ""
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Order(
    msgspec.Struct,
    rename={
        "symbol": "s", "cid": "c", "side": "S", "type": "o", "original_type": "ot", "execution": "x", "status": "X",
        "order_id": "i", "qty": "q", "price": "p", "average_price": "ap", "last_qty": "l", "last_price": "L",
        "filled_qty": "z", "commission": "n", "commission_asset": "N", "trade_id": "t", "maker": "m",
        "reduce_only": "R", "close_position": "cp", "realized_pnl": "rp", "expiry_reason": "er",
    },
):  # fmt: skip
    symbol: Name
    cid: Text
    side: Side
    type: Text
    execution: Text
    status: Text
    order_id: Id
    qty: Number
    price: Number
    average_price: Number
    last_qty: Number
    last_price: Number
    filled_qty: Number
    trade_id: Id
    original_type: Text = ""
    commission: Number = "0"
    commission_asset: Text | None = ""
    maker: bool = False
    reduce_only: bool = False
    close_position: bool = False
    realized_pnl: Number = "0"
    expiry_reason: Text = "0"


class _OrderUpdate(msgspec.Struct, rename={"event_ms": "E", "transaction_ms": "T", "order": "o"}):
    event_ms: Ms
    transaction_ms: Ms
    order: _Order


class _TradeLite(
    msgspec.Struct,
    rename={
        "event_ms": "E", "transaction_ms": "T", "symbol": "s", "cid": "c", "side": "S", "order_id": "i",
        "trade_id": "t", "last_qty": "l", "last_price": "L", "maker": "m",
    },
):  # fmt: skip
    event_ms: Ms
    transaction_ms: Ms
    symbol: Name
    cid: Text
    side: Side
    order_id: Id
    trade_id: Id
    last_qty: Number
    last_price: Number
    maker: bool


class _Algo(
    msgspec.Struct,
    rename={
        "symbol": "s", "cid": "caid", "algo_id": "aid", "side": "S", "type": "o", "status": "X", "trigger": "tp",
        "order_id": "ai", "filled_qty": "aq", "average_price": "ap", "reason": "rm",
    },
):  # fmt: skip
    symbol: Name
    cid: Text
    algo_id: Id
    side: Side
    type: Text
    status: AlgoStatus
    trigger: OptionalNumber = "0"
    order_id: Text = ""
    filled_qty: OptionalNumber = "0"
    average_price: OptionalNumber = "0"
    reason: Text | None = ""


class _AlgoUpdate(msgspec.Struct, rename={"event_ms": "E", "transaction_ms": "T", "order": "o"}):
    event_ms: Ms
    transaction_ms: Ms
    order: _Algo


class _Balance(msgspec.Struct, rename={"asset": "a", "wallet": "wb", "cross": "cw", "change": "bc"}):
    asset: Name
    wallet: Number
    cross: Number
    change: Number = "0"


class _Position(
    msgspec.Struct,
    rename={
        "symbol": "s", "amount": "pa", "entry": "ep", "realized": "cr", "unrealized": "up", "margin": "mt",
        "isolated_wallet": "iw", "side": "ps",
    },
):  # fmt: skip
    symbol: Name
    amount: Number
    entry: Number
    margin: Text
    realized: Number = "0"
    unrealized: Number = "0"
    isolated_wallet: OptionalNumber = "0"
    side: Text = "BOTH"


class _AccountBody(msgspec.Struct, rename={"reason": "m", "balances": "B", "positions": "P", "symbol": "S"}):
    reason: Text
    balances: list[_Balance] = []
    positions: list[_Position] = []
    symbol: Name | None = None


class _AccountUpdate(msgspec.Struct, rename={"event_ms": "E", "transaction_ms": "T", "body": "a"}):
    event_ms: Ms
    transaction_ms: Ms
    body: _AccountBody


class _Leverage(msgspec.Struct, rename={"symbol": "s", "leverage": "l"}):
    symbol: Name
    leverage: Id


class _Assets(msgspec.Struct, rename={"multi": "j"}):
    multi: bool


class _ConfigUpdate(msgspec.Struct, rename={"event_ms": "E", "leverage": "ac", "assets": "ai"}):
    event_ms: Ms
    leverage: _Leverage | None = None
    assets: _Assets | None = None


class _CalledPosition(msgspec.Struct, rename={"symbol": "s"}):
    symbol: Name


class _MarginCall(msgspec.Struct, rename={"event_ms": "E", "positions": "p"}):
    event_ms: Ms
    positions: list[_CalledPosition]


class _Expired(msgspec.Struct, rename={"event_ms": "E"}):
    event_ms: Ms


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_ORDER = msgspec.json.Decoder(_OrderUpdate)
_LITE = msgspec.json.Decoder(_TradeLite)
_ALGO = msgspec.json.Decoder(_AlgoUpdate)
_ACCOUNT = msgspec.json.Decoder(_AccountUpdate)
_CONFIG = msgspec.json.Decoder(_ConfigUpdate)
_CALL = msgspec.json.Decoder(_MarginCall)
_EXPIRED = msgspec.json.Decoder(_Expired)

Payload = bytes | msgspec.Raw


def order_status(text: str) -> OrderStatus:
    """Raises `DecodeError` for a state that we do not know: its order must be asked for, not guessed."""
    found = _LEGACY_STATUS.get(text) or OrderStatus.__members__.get(text)
    if found is None:
        raise DecodeError(f"unknown order status {text[:40]!r}")
    return found


def to_order_id(text: str) -> int | None:
    """The child order's id of a conditional order, which the venue writes as text: `""` until triggered."""
    if text in ("", "0"):
        return None
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > 2**63 - 1:
        raise DecodeError("order id is not an integer")
    return int(text)


def _order(payload: Payload) -> OrderUpdate:
    event = parse(_ORDER, payload)
    o = event.order
    return OrderUpdate(
        event_ms=event.event_ms,
        transaction_ms=event.transaction_ms,
        symbol=SymbolName(o.symbol),
        cid=ClientId(o.cid),
        side=o.side,
        type=o.type,
        original_type=o.original_type or o.type,
        execution=o.execution,
        status=order_status(o.status),
        order_id=o.order_id,
        qty=Decimal(o.qty),
        price=Decimal(o.price),
        average_price=Decimal(o.average_price),
        last_qty=Decimal(o.last_qty),
        last_price=Decimal(o.last_price),
        filled_qty=Decimal(o.filled_qty),
        commission=Decimal(o.commission),
        commission_asset=o.commission_asset or "",
        trade_id=o.trade_id,
        maker=o.maker,
        reduce_only=o.reduce_only,
        close_position=o.close_position,
        realized_pnl=Decimal(o.realized_pnl),
        expiry_reason=o.expiry_reason,
    )


def _lite(payload: Payload) -> TradeLite:
    event = parse(_LITE, payload)
    return TradeLite(
        event_ms=event.event_ms,
        transaction_ms=event.transaction_ms,
        symbol=SymbolName(event.symbol),
        cid=ClientId(event.cid),
        side=event.side,
        order_id=event.order_id,
        trade_id=event.trade_id,
        last_qty=Decimal(event.last_qty),
        last_price=Decimal(event.last_price),
        maker=event.maker,
    )


def _algo(payload: Payload) -> AlgoUpdate:
    event = parse(_ALGO, payload)
    o = event.order
    return AlgoUpdate(
        event_ms=event.event_ms,
        transaction_ms=event.transaction_ms,
        symbol=SymbolName(o.symbol),
        cid=ClientId(o.cid),
        algo_id=o.algo_id,
        side=o.side,
        type=o.type,
        status=o.status,
        trigger=number(o.trigger),
        order_id=to_order_id(o.order_id),
        filled_qty=number(o.filled_qty),
        average_price=number(o.average_price),
        reason=o.reason or "",
    )


def _account(payload: Payload) -> AccountUpdate:
    event = parse(_ACCOUNT, payload)
    body = event.body
    balances = tuple(
        BalanceChange(asset=b.asset, wallet=Decimal(b.wallet), cross_wallet=Decimal(b.cross), change=Decimal(b.change))
        for b in body.balances
    )
    positions = tuple(
        PositionChange(
            symbol=SymbolName(p.symbol),
            amount=Decimal(p.amount),
            entry_price=Decimal(p.entry),
            realized=Decimal(p.realized),
            unrealized=Decimal(p.unrealized),
            isolated=p.margin.lower() == "isolated",
            isolated_wallet=number(p.isolated_wallet),
            position_side=p.side,
        )
        for p in body.positions
    )
    return AccountUpdate(
        event_ms=event.event_ms,
        transaction_ms=event.transaction_ms,
        reason=body.reason,
        balances=balances,
        positions=positions,
        symbol=SymbolName(body.symbol) if body.symbol is not None else None,
    )


def _config(payload: Payload) -> ConfigUpdate:
    event = parse(_CONFIG, payload)
    return ConfigUpdate(
        event_ms=event.event_ms,
        symbol=SymbolName(event.leverage.symbol) if event.leverage else None,
        leverage=event.leverage.leverage if event.leverage else None,
        multi_assets=event.assets.multi if event.assets else None,
    )


def _margin_call(payload: Payload) -> MarginCall:
    event = parse(_CALL, payload)
    return MarginCall(event_ms=event.event_ms, symbols=tuple(SymbolName(p.symbol) for p in event.positions))


def _expired(payload: Payload) -> ListenKeyExpired:
    return ListenKeyExpired(event_ms=parse(_EXPIRED, payload).event_ms)


_BY_EVENT: dict[str, Callable[[Payload], UserEvent]] = {
    "ORDER_TRADE_UPDATE": _order,
    "TRADE_LITE": _lite,
    "ALGO_UPDATE": _algo,
    "ACCOUNT_UPDATE": _account,
    "ACCOUNT_CONFIG_UPDATE": _config,
    "MARGIN_CALL": _margin_call,
    "listenKeyExpired": _expired,
}


def decode_user_event(payload: bytes) -> UserEvent | Ignored | Malformed:
    """One message of the private stream, raw or wrapped as `{"stream":..,"data":..}`; told apart by its own `e`."""
    try:
        inner: Payload = payload
        envelope = parse(_ENVELOPE, payload)
        if envelope.data is not msgspec.UNSET:
            inner = envelope.data
            envelope = parse(_ENVELOPE, inner)
        convert = _BY_EVENT.get(envelope.e)
        return convert(inner) if convert is not None else Ignored(event=envelope.e)
    except DecodeError as error:
        return Malformed(reason=str(error), size=len(payload))
