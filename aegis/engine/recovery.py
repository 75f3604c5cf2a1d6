"""What a journal knows of the trades that were open when its writer ended, rebuilt so that the venue can be asked.

Nothing is assumed: a request without an outcome may have left, so its order is of unknown fate until the venue answers;
and of every order that is rebuilt the venue may know more than the journal, so it is asked for all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import attrs

from aegis.core.bracket import ExitReason, Role, Trade
from aegis.core.fills import Fill
from aegis.core.messages import AlgoRequest, OrderRequest, Refused
from aegis.core.movements import Movement
from aegis.core.order_store import Ours
from aegis.core.trade_statistics import TradeStatistics
from aegis.core.values import ClientId
from aegis.engine.decision import Decision
from aegis.engine.journal_format import Record
from aegis.engine.records import restore_fill, restore_movement, restore_plan, restore_request, restore_result

__all__ = ["Recovered", "collect", "recover"]

#: Exits leave also while the journal cannot be written: so many ids may have been used without a record.
_UNWRITTEN_IDS = 1_000


@attrs.define
class Recovered:
    """Folded from the records of a journal, in sequence."""

    plans: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    """Trades that have not ended, by signal id."""
    orders: dict[str, list[tuple[Role, OrderRequest | AlgoRequest]]] = attrs.field(factory=dict)
    reasons: dict[str, ExitReason] = attrs.field(factory=dict)
    """Why a trade was being closed."""
    outside: dict[str, list[tuple[Fill, ExitReason]]] = attrs.field(factory=dict)
    """Executions on the positions of open trades that were not of our orders."""
    fills: list[tuple[Fill, int]] = attrs.field(factory=list)
    """Every execution booked so far, with the engine time of its booking."""
    refusals: dict[ClientId, tuple[int, str]] = attrs.field(factory=dict)
    """Orders that were refused: proof that they never lived."""
    decided: dict[tuple[str, int], None] = attrs.field(factory=dict)
    """Symbol and zone of every signal, in order."""
    movements: list[tuple[Movement, int]] = attrs.field(factory=list)
    """Funding and transfers booked so far, with the engine time of their booking."""
    statistics: TradeStatistics = attrs.field(factory=TradeStatistics)
    """Of the trades that have ended. Slippage and fill ratio of their entries are not in it: they need the orders."""
    signals: int = 0
    taken: int = 0
    refused: Counter[str] = attrs.field(factory=Counter)
    cids_used: int = 0
    wallet: str = ""
    """At the start of the run."""
    last_ns: int = 0
    """Of the last record: what came later was not heard."""

    def see(self, record: Record) -> None:
        """Take one record."""
        data = record.data
        self.last_ns = max(self.last_ns, record.at_ns)
        match record.kind:
            case "plan":
                self.plans[data["trade"]] = data
                self._decided(data["symbol"], data["trade"])  # its decision is written behind the order
            case "intent":
                self._intent(data)
            case "decision":
                self._used(data["cid"])
                self._decided(data["symbol"], data["signal"])
                self.signals += 1
                self.taken += data["taken"]
                if not data["taken"]:
                    self.refused[data["code"]] += 1
            case "trade":
                self.statistics.trade_closed(restore_result(data))
                self.statistics.entries_filled += 1
            case "outcome" if data["of"] == "order" and data["what"] == "refused":
                self.refusals[ClientId(data["cid"])] = data["code"], data["message"]
            case "fill":
                self._fill(data, record.at_ns)
            case "state" if data.get("to") in ("CLOSED", "ABORTED"):
                for known in (self.plans, self.orders, self.reasons, self.outside):
                    known.pop(data["trade"], None)
            case "account" if "wallet" in data:
                self.wallet = self.wallet or data["wallet"]
            case "account" if "change" in data:
                self.movements.append((restore_movement(data), record.at_ns))
            case _:
                return

    def _intent(self, data: dict[str, Any]) -> None:
        self._used(data["cid"])
        request = restore_request(data)
        if request is not None:
            self.orders.setdefault(data["trade"], []).append((Role(data["role"]), request))
        if "reason" in data:
            self.reasons[data["trade"]] = ExitReason(data["reason"])

    def _fill(self, data: dict[str, Any], at_ns: int) -> None:
        fill = restore_fill(data)
        self.fills.append((fill, at_ns))
        if "outside" in data:
            for signal, plan in self.plans.items():
                if plan["symbol"] == fill.symbol:
                    self.outside.setdefault(signal, []).append((fill, ExitReason(data["outside"])))

    def _decided(self, symbol: str, signal: str) -> None:
        self.decided[symbol, int(signal.rpartition(":")[2])] = None

    def _used(self, cid: str) -> None:
        self.cids_used = max(self.cids_used, int(cid.rpartition("-")[2]))


def collect(records: Iterable[Record]) -> Recovered:
    """Fold a whole journal."""
    found = Recovered()
    for record in records:
        found.see(record)
    return found


def recover(decision: Decision, past: Recovered, now_ns: int) -> None:
    """Put the past into a fresh decision: money as booked, open trades with orders of unknown fate."""
    decision.cids_used = past.cids_used + _UNWRITTEN_IDS
    decision.statistics = past.statistics
    decision.signals, decision.taken, decision.refused = past.signals, past.taken, past.refused
    _recover_money(decision, past, now_ns)
    indexes = {str(spec.symbol): index for index, spec in enumerate(decision.specs)}
    for name, zone in past.decided:
        if name in indexes:
            decision.setups.decided.add(indexes[name], zone)
    by_cid: dict[ClientId, list[tuple[Fill, int]]] = {}
    for fill, at_ns in past.fills:
        by_cid.setdefault(fill.cid, []).append((fill, at_ns))
    for signal, data in past.plans.items():
        orders = past.orders.get(signal, [])
        entry = orders[0][1].cid if orders else None
        if entry is None or (entry in past.refusals and entry not in by_cid):  # not journalled, so not sent; or refused
            ended = {"trade": signal, "symbol": data["symbol"], "from": "PLANNED", "to": "ABORTED"}
            decision.scribe.append("state", ended, now_ns)
        else:
            _recover_trade(decision, signal, past, by_cid, now_ns)


def _recover_money(decision: Decision, past: Recovered, now_ns: int) -> None:
    if past.wallet:
        decision.audit.begin(Decimal(past.wallet), now_ns)
    for fill, at_ns in past.fills:
        decision.portfolio.apply_fill(fill, at_ns)
    for movement, at_ns in past.movements:
        decision.portfolio.apply_movement(movement, at_ns)


def _recover_trade(
    decision: Decision, signal: str, past: Recovered, by_cid: dict[ClientId, list[tuple[Fill, int]]], now_ns: int
) -> None:
    desk = decision.desk
    trade = Trade(restore_plan(past.plans[signal]), desk.store, decision.next_cid, desk.policy)
    for role, request in past.orders[signal]:
        order: Ours = desk.store.add(request, now_ns)
        trade.attach(role, order)
        fills = by_cid.get(request.cid, ())
        for fill, at_ns in fills:
            order.on_fill(fill, at_ns)
        if fills and role is Role.ENTRY:
            trade.first_fill_ns = fills[0][1]  # its time limit runs from there
        refusal = past.refusals.get(request.cid)
        if refusal is not None and not fills:
            order.on_outcome(Refused(request=request, code=refusal[0], message=refusal[1]), now_ns)
        order.recover(now_ns)
        desk.store.changed(request.cid)
    for fill, reason in past.outside.get(signal, ()):
        trade.on_outside(fill, reason)
    if signal in past.reasons:
        trade.request_exit(past.reasons[signal])
    desk.adopt(trade)
