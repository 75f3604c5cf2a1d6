"""The strict decoder of one market payload: whatever the compiled pass hands back ends here, as typed outcomes.

Ticks go through the same apply kernels into the same table. It accepts what a JSON parser accepts and no absurd number:
a price or quantity is a plain decimal of at most 24 characters, an id fits 62 bits, a time lies before the year 5138.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, TypeVar

import attrs
import msgspec
import numpy as np

from aegis.kernels.market import (
    AGG_TRADE,
    COIN_MARGINED,
    DROPPED,
    FIRED,
    HITS_FULL,
    IGNORED,
    MALFORMED,
    ROWS_FULL,
    TRADE,
    UNKNOWN_SYMBOL,
    Table,
    symbol_index,
)
from aegis.kernels.number import MAX_LOTS
from aegis.kernels.payload import MAX_MS
from aegis.kernels.ticks import apply_mark, apply_quote, apply_trade
from aegis.venue.market_events import (
    Applied,
    ContractInfo,
    Control,
    Depth,
    ForceOrder,
    Full,
    Ignored,
    Malformed,
    Outcome,
    Snapshot,
)

__all__ = ["decode"]

Price = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)?\Z", max_length=24)]
Rate = Annotated[str, msgspec.Meta(pattern=r"^(-?[0-9]+(\.[0-9]+)?)?\Z", max_length=24)]
Id = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, lt=MAX_MS)]
#: (price, quantity) as the venue wrote them
Levels = tuple[tuple[Price, Price], ...]
_PARTIAL_DEPTH = re.compile(r"@depth(5|10|20)(@(100|500)ms)?\Z")


class _Event(msgspec.Struct):
    E: Milliseconds


class _Tick(_Event):
    s: str


class _Quote(_Tick):
    u: Id
    T: Milliseconds
    b: Price
    B: Price
    a: Price
    A: Price


class _AggTrade(_Tick):
    a: Id
    T: Milliseconds
    p: Price
    q: Price
    m: bool


class _Trade(_Tick):
    t: Id
    T: Milliseconds
    p: Price
    q: Price
    m: bool
    X: str


class _Mark(_Tick):
    T: Milliseconds
    p: Price
    i: Price
    r: Rate


class _Depth(_Tick):
    T: Milliseconds
    U: Id
    u: Id
    pu: Id
    b: Levels
    a: Levels


class _Contract(_Tick):
    ct: str
    cs: str
    ot: Milliseconds
    dt: Milliseconds
    ps: str = ""
    bks: list[Any] | None = None


class _Liquidation(msgspec.Struct):
    s: str
    S: str
    q: Price
    p: Price
    ap: Price
    T: Milliseconds
    st: int = 1


class _ForceOrder(_Event):
    o: _Liquidation


class _Snapshot(msgspec.Struct):
    lastUpdateId: Id
    bids: Levels
    asks: Levels
    E: Milliseconds = 0


class _Refusal(msgspec.Struct):
    code: int
    msg: str = ""


class _Reply(msgspec.Struct):
    id: int | None = None
    error: _Refusal | None = None
    code: int | None = None
    msg: str = ""


class _Envelope(msgspec.Struct):
    data: Any
    stream: str


class _Peek(msgspec.Struct):
    e: str
    st: int = 1


class _Wrong(Exception):
    """A field that a schema cannot judge is wrong."""


Shape = TypeVar("Shape", bound=msgspec.Struct)
#: Puts ticks that were read into the table.
Act = Callable[[], Outcome]


def decode(payload: bytes, table: Table, recv_ns: int) -> tuple[Outcome, ...]:
    """Decode one payload, raw or combined; an array yields one outcome for each element.

    Nothing in a payload acts if any of it is malformed. On `Full`, which then stands alone, make room and decode again.
    """
    partial = False
    try:
        value = msgspec.json.decode(payload)
        if isinstance(value, dict) and "data" in value and "stream" in value:
            envelope = _as(_Envelope, value)
            value, partial = envelope.data, _PARTIAL_DEPTH.search(envelope.stream) is not None
        read = [_read(element, table, recv_ns) for element in (value if isinstance(value, list) else [value])]
    except (msgspec.MsgspecError, UnicodeError, RecursionError, _Wrong) as error:
        table.counters[MALFORMED] += 1
        return (Malformed(reason=" ".join(str(error).split()), size=len(payload)),)
    outcomes: list[Outcome] = []
    for one in read:
        outcome = one() if callable(one) else one
        if partial and isinstance(outcome, Depth):
            outcome = attrs.evolve(outcome, partial=True)
        if isinstance(outcome, Full):
            return (outcome,)
        outcomes.append(outcome)
    return tuple(outcomes)


def _as(shape: type[Shape], value: object) -> Shape:
    return msgspec.convert(value, shape)


def _read(value: object, table: Table, recv_ns: int) -> Outcome | Act:
    """Check one element: its outcome, or, for a tick, what will put it into the table."""
    if not isinstance(value, dict):
        raise _Wrong("neither an object nor an array of objects")
    if "e" not in value:
        return _without_event(value)
    peek = _as(_Peek, value)
    if peek.st != 1:
        return _skip(table, COIN_MARGINED if peek.st == 2 else IGNORED, peek.e)
    if peek.e in _TICKS:
        return _TICKS[peek.e](value, table, recv_ns)
    if peek.e in _EVENTS:
        return _EVENTS[peek.e](value)
    return _skip(table, IGNORED, peek.e)


def _skip(table: Table, counter: int, kind: str) -> Act:
    def act() -> Outcome:
        table.counters[counter] += 1
        return Ignored(kind=kind)

    return act


# -- ticks -------------------------------------------------------------------------------------------------------------
def _price(text: str, field: str) -> float:
    value = float(text)
    if value <= 0.0:
        raise _Wrong(f"a price of 0 - at `$.{field}`")
    return value


def _lots(text: str, qty_decimals: int) -> int:
    scaled = Decimal(text).scaleb(qty_decimals)
    if scaled != scaled.to_integral_value():
        raise _Wrong(f"more than {qty_decimals} decimals - at `$.q`")
    if scaled > MAX_LOTS:
        raise _Wrong("an absurd quantity - at `$.q`")
    return int(scaled)


def _outcome(kind: str, answer: int) -> Outcome:
    if answer in (ROWS_FULL, HITS_FULL):
        return Full(rows=answer == ROWS_FULL)
    return Applied(kind=kind, fired=answer == FIRED, dropped=answer == DROPPED)


def _quote(value: object, table: Table, recv_ns: int) -> Act:
    tick = _as(_Quote, value)
    symbol = symbol_index(table, tick.s)
    if symbol < 0:
        return _skip(table, UNKNOWN_SYMBOL, "bookTicker")
    numbers = (float(tick.b), float(tick.B), float(tick.a), float(tick.A))
    return lambda: _outcome("bookTicker", int(apply_quote(table, symbol, tick.u, tick.E, tick.T, *numbers, recv_ns)))


def _trade_act(
    tick: _AggTrade | _Trade, kind: str, source: int, identity: int, market: bool, table: Table, recv_ns: int
) -> Act:
    price = _price(tick.p, "p") if market else float(tick.p)
    symbol = symbol_index(table, tick.s)
    if symbol < 0:
        return _skip(table, UNKNOWN_SYMBOL, kind)
    lots = _lots(tick.q, int(table.symbols["qty_decimals"][symbol]))
    return lambda: _outcome(
        kind,
        int(apply_trade(table, symbol, source, identity, tick.E, tick.T, price, lots, tick.m, market, recv_ns)),
    )


def _agg_trade(value: object, table: Table, recv_ns: int) -> Act:
    tick = _as(_AggTrade, value)
    return _trade_act(tick, "aggTrade", AGG_TRADE, tick.a, True, table, recv_ns)


def _trade(value: object, table: Table, recv_ns: int) -> Act:
    tick = _as(_Trade, value)
    return _trade_act(tick, "trade", TRADE, tick.t, tick.X == "MARKET", table, recv_ns)


def _mark(value: object, table: Table, recv_ns: int) -> Act:
    tick = _as(_Mark, value)
    mark, index = _price(tick.p, "p"), float(tick.i)
    funding = float(tick.r) if tick.r else np.nan
    symbol = symbol_index(table, tick.s)
    if symbol < 0:
        return _skip(table, UNKNOWN_SYMBOL, "markPriceUpdate")
    return lambda: _outcome(
        "markPriceUpdate", int(apply_mark(table, symbol, tick.E, mark, index, funding, tick.T, recv_ns))
    )


# -- other events ------------------------------------------------------------------------------------------------------
def _without_event(value: dict[str, Any]) -> Outcome:
    if "lastUpdateId" in value:
        book = _as(_Snapshot, value)
        return Snapshot(last_id=book.lastUpdateId, event_ms=book.E, bids=book.bids, asks=book.asks)
    if not value.keys() & {"result", "id", "error", "code"}:
        raise _Wrong("neither an event nor a reply")
    reply = _as(_Reply, value)
    if reply.error is not None:
        return Control(id=reply.id, code=reply.error.code, message=reply.error.msg)
    return Control(id=reply.id, code=reply.code, message=reply.msg)


def _depth(value: object) -> Outcome:
    event = _as(_Depth, value)
    return Depth(
        event_ms=event.E,
        match_ms=event.T,
        symbol=event.s,
        first_id=event.U,
        final_id=event.u,
        previous_id=event.pu,
        bids=event.b,
        asks=event.a,
    )


def _contract_info(value: object) -> Outcome:
    event = _as(_Contract, value)
    return ContractInfo(
        event_ms=event.E,
        symbol=event.s,
        pair=event.ps,
        contract_type=event.ct,
        status=event.cs,
        onboard_ms=event.ot,
        delivery_ms=event.dt,
        brackets=event.bks is not None,
    )


def _force_order(value: object) -> Outcome:
    event = _as(_ForceOrder, value)
    order = event.o
    if order.st != 1:
        return Ignored(kind="forceOrder")
    return ForceOrder(
        event_ms=event.E,
        trade_ms=order.T,
        symbol=order.s,
        side=order.S,
        qty=Decimal(order.q),
        price=Decimal(order.p),
        average_price=Decimal(order.ap),
    )


_TICKS: dict[str, Callable[[object, Table, int], Act]] = {
    "bookTicker": _quote,
    "aggTrade": _agg_trade,
    "trade": _trade,
    "markPriceUpdate": _mark,
}
_EVENTS: dict[str, Callable[[object], Outcome]] = {
    "depthUpdate": _depth,
    "contractInfo": _contract_info,
    "forceOrder": _force_order,
}
