"""How facts are written into the journal, and read back: flat JSON, exact decimal strings, venue spellings."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import attrs

from aegis.core.approval import Approved
from aegis.core.bracket import ExitReason, Role, TradePlan, TradeResult
from aegis.core.fills import Fill
from aegis.core.filters import plain
from aegis.core.messages import Accepted, AlgoRequest, CancelRequest, OrderRequest, Outcome, Refused, Request, Unknown
from aegis.core.movements import Movement
from aegis.core.partial_book import Displayed
from aegis.core.partials import Lots, Part
from aegis.core.risk import Control, Denied, DenyCode, EntryCandidate, EntryContext, told
from aegis.core.values import AlgoType, ClientId, OrderType, Side, SymbolName, TimeInForce, WorkingType
from aegis.signals.strategy import Setup

__all__ = [
    "describe_decision", "describe_fill", "describe_movement", "describe_outcome", "describe_plan", "describe_request",
    "describe_result", "restore_fill", "restore_movement", "restore_plan", "restore_request", "restore_result",
]

Data = dict[str, Any]


def describe_plan(plan: TradePlan) -> Data:
    return {
        "trade": plan.signal_id,
        "symbol": plan.symbol,
        "side": plan.side.text,
        "stop": plain(plan.stop),
        "target": plain(plan.target),
        "stop_distance": plain(plan.stop_distance),
        "decision_ns": plan.decision_ns,
        "time_limit_ns": plan.time_limit_ns,
        "entry_ttl_ns": plan.entry_ttl_ns,
        "stop_working": plan.stop_working.text,
        "target_working": plan.target_working.text,
        "max_exit_qty": plain(plan.max_exit_qty),
        "parts": _parts(plan.parts),
        "lots": None if plan.lots is None else [plain(number) for number in attrs.astuple(plan.lots)],
    }


def _parts(parts: Iterable[Part]) -> list[list[str]]:
    return [[plain(part.price), plain(part.share)] for part in parts]


def restore_plan(data: Data) -> TradePlan:
    """The inverse of `describe_plan`. Raises KeyError or ValueError on a record that is none."""
    return TradePlan(
        signal_id=data["trade"],
        symbol=SymbolName(data["symbol"]),
        side=Side(data["side"]),
        stop=Decimal(data["stop"]),
        target=Decimal(data["target"]),
        stop_distance=Decimal(data["stop_distance"]),
        decision_ns=data["decision_ns"],
        time_limit_ns=data["time_limit_ns"],
        entry_ttl_ns=data["entry_ttl_ns"],
        stop_working=WorkingType(data["stop_working"]),
        target_working=WorkingType(data["target_working"]),
        max_exit_qty=Decimal(data["max_exit_qty"]),
        parts=tuple(Part(price=Decimal(price), share=Decimal(share)) for price, share in data["parts"]),
        lots=None if data["lots"] is None else _lots(*map(Decimal, data["lots"])),
    )


def _lots(step: Decimal, min_qty: Decimal, min_notional: Decimal) -> Lots:
    return Lots(step=step, min_qty=min_qty, min_notional=min_notional)


def describe_request(request: Request, trade: str, role: Role) -> Data:
    data: Data = {"cid": request.cid, "symbol": request.symbol, "trade": trade, "role": role.value}
    match request:
        case CancelRequest(algo=algo):
            return {**data, "act": "cancel", "algo": algo}
        case AlgoRequest():
            return {
                **data,
                "act": "algo",
                "side": request.side.value,
                "type": request.type.value,
                "trigger": plain(request.trigger),
                "working_type": request.working_type.value,
                "qty": None if request.qty is None else plain(request.qty),
            }
        case OrderRequest():
            return {
                **data,
                "act": "order",
                "side": request.side.text,
                "type": request.type.text,
                "qty": plain(request.qty),
                "price": None if request.price is None else plain(request.price),
                "tif": None if request.tif is None else request.tif.text,
                "reduce_only": request.reduce_only,
            }


def restore_request(data: Data) -> OrderRequest | AlgoRequest | None:
    """The inverse of `describe_request`; None for a cancel, which is no order. Raises KeyError or ValueError."""
    cid, symbol = ClientId(data["cid"]), SymbolName(data["symbol"])
    if data["act"] == "cancel":
        return None
    if data["act"] == "algo":
        return AlgoRequest(
            cid=cid,
            symbol=symbol,
            side=Side(data["side"]),
            type=AlgoType(data["type"]),
            trigger=Decimal(data["trigger"]),
            working_type=WorkingType(data["working_type"]),
            qty=None if data["qty"] is None else Decimal(data["qty"]),
        )
    return OrderRequest(
        cid=cid,
        symbol=symbol,
        side=Side(data["side"]),
        type=OrderType(data["type"]),
        qty=Decimal(data["qty"]),
        price=None if data["price"] is None else Decimal(data["price"]),
        tif=None if data["tif"] is None else TimeInForce(data["tif"]),
        reduce_only=data["reduce_only"],
    )


def describe_outcome(outcome: Outcome) -> Data:
    data: Data = {
        "cid": outcome.request.cid,
        "symbol": outcome.request.symbol,
        "of": "cancel" if isinstance(outcome.request, CancelRequest) else "order",
    }
    match outcome:
        case Accepted(venue_id=venue_id):
            return {**data, "what": "accepted", "venue_id": venue_id}
        case Refused(code=code, message=message):
            return {**data, "what": "refused", "code": code, "message": message}
        case Unknown(reason=reason):
            return {**data, "what": "unknown", "reason": reason}


def describe_fill(fill: Fill) -> Data:
    return {
        "cid": fill.cid,
        "symbol": fill.symbol,
        "side": fill.side.value,
        "order_id": fill.order_id,
        "trade_id": fill.trade_id,
        "qty": plain(fill.qty),
        "price": plain(fill.price),
        "maker": fill.maker,
        "commission": None if fill.commission is None else plain(fill.commission),
        "commission_asset": fill.commission_asset,
        "realized": None if fill.realized is None else plain(fill.realized),
        "time_ms": fill.time_ms,
    }


def restore_fill(data: Data) -> Fill:
    """The inverse of `describe_fill`. Raises KeyError or ValueError."""
    return Fill(
        cid=ClientId(data["cid"]),
        symbol=SymbolName(data["symbol"]),
        side=Side(data["side"]),
        order_id=data["order_id"],
        trade_id=data["trade_id"],
        qty=Decimal(data["qty"]),
        price=Decimal(data["price"]),
        maker=data["maker"],
        commission=None if data["commission"] is None else Decimal(data["commission"]),
        commission_asset=data["commission_asset"],
        realized=None if data["realized"] is None else Decimal(data["realized"]),
        time_ms=data["time_ms"],
    )


def describe_movement(movement: Movement) -> Data:
    return {
        "funding": movement.funding,
        "symbol": movement.symbol,
        "asset": movement.asset,
        "change": plain(movement.change),
        "time_ms": movement.time_ms,
        "income": movement.income,
        "number": list(movement.number),
    }


def restore_movement(data: Data) -> Movement:
    """The inverse of `describe_movement`. Raises KeyError or ValueError."""
    return Movement(
        funding=data["funding"],
        symbol=None if data["symbol"] is None else SymbolName(data["symbol"]),
        asset=data["asset"],
        change=Decimal(data["change"]),
        time_ms=data["time_ms"],
        income=data["income"],
        number=tuple(data["number"]),
    )


def describe_result(result: TradeResult) -> Data:
    return {
        "trade": result.signal_id,
        "symbol": result.symbol,
        "side": result.side.value,
        "reason": result.reason.value,
        "qty": plain(result.qty),
        "entry": plain(result.average_entry),
        "exit": plain(result.average_exit),
        "realized": plain(result.realized),
        "fees": {asset: plain(amount) for asset, amount in result.fees.items()},
        "net": plain(result.net),
        "r": f"{result.r:.4f}",
        "risk": plain(result.risk),
        "decision_ns": result.decision_ns,
        "first_fill_ns": result.first_fill_ns,
        "closed_ns": result.closed_ns,
        "naked_ns": result.naked_ns,
        "trigger_to_fill_ms": result.trigger_to_fill_ms,
        "fills": result.fills,
        "maker_fills": result.maker_fills,
        "parts": result.parts,
        "margin_asset": result.margin_asset,
    }


def restore_result(data: Data) -> TradeResult:
    """The inverse of `describe_result`. Raises KeyError or ValueError."""
    return TradeResult(
        signal_id=data["trade"],
        symbol=SymbolName(data["symbol"]),
        side=Side(data["side"]),
        reason=ExitReason(data["reason"]),
        qty=Decimal(data["qty"]),
        average_entry=Decimal(data["entry"]),
        average_exit=Decimal(data["exit"]),
        risk=Decimal(data["risk"]),
        realized=Decimal(data["realized"]),
        fees={asset: Decimal(amount) for asset, amount in data["fees"].items()},
        margin_asset=data["margin_asset"],
        decision_ns=data["decision_ns"],
        first_fill_ns=data["first_fill_ns"],
        closed_ns=data["closed_ns"],
        naked_ns=data["naked_ns"],
        trigger_to_fill_ms=data["trigger_to_fill_ms"],
        fills=data["fills"],
        maker_fills=data["maker_fills"],
        parts=data["parts"],
    )


def _gate(code: DenyCode, value: object, limit: object, broken: bool) -> list[str]:
    """A control that compares no numbers words its value for the case that it fails; where it holds the limit is so."""
    return [code.value, limit if isinstance(limit, str) and not broken else told(value), str(limit)]


def _displayed(shown: Displayed) -> Data:
    qty, touch = plain(shown.qty), plain(shown.touch_qty)
    return {"qty": qty, "touch": touch, "levels": shown.levels, "age_ns": shown.age_ns}


def describe_decision(
    setup: Setup,
    candle: Data,
    seen: tuple[float, int],
    candidate: EntryCandidate,
    context: EntryContext,
    verdict: Approved[OrderRequest] | Denied,
    trail: Iterable[Control] = (),
    *,
    shown: Displayed | None = None,
) -> Data:
    """One signal and what became of it: what was seen (price and venue ms), the market, the plan, the verdict.

    `gates` are the controls it went through, in order, each as [code, value, limit]; of a refused one the last refused.
    `displayed` is there where levels behind the touch were looked at: what there was to take, and of what it was made.
    """
    quote = context.quote
    data: Data = {
        "signal": candidate.signal_id,
        "symbol": candidate.symbol,
        "side": candidate.side.value,
        "strategy": setup.strategy,
        "cid": candidate.cid,
        "known_at": setup.known_at_ms,
        "level": plain(candidate.level),
        "seen": seen[0],
        "event_ms": seen[1],
        "stop": plain(candidate.stop),
        "target": plain(candidate.target),
        "parts": _parts(candidate.parts),
        "bid": plain(quote.bid),
        "ask": plain(quote.ask),
        "mark": plain(context.mark),
        "equity": plain(context.account.equity),
        "reasons": dict(setup.reasons),
        "bar": candle,
        "gates": [_gate(*control) for control in trail],
    }
    if shown is not None and shown.age_ns is not None:
        data["displayed"] = _displayed(shown)
    if isinstance(verdict, Denied):
        bound_by = verdict.bound_by.value if verdict.bound_by else None
        told: Data = {"code": verdict.code.value, "value": verdict.value, "limit": verdict.limit, "bound_by": bound_by}
        return data | {"taken": False} | told
    size, price = verdict.size, verdict.request.price
    assert size is not None, "an approved entry has a size"
    told = {"qty": plain(size.qty), "risk": plain(size.risk), "bound_by": size.bound_by.value}
    return data | {"taken": True, "price": None if price is None else plain(price)} | told
