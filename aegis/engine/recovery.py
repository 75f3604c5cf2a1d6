"""What a journal knows of the trades that were open when its writer ended, rebuilt so that the venue can be asked.

Nothing is assumed: a request without an outcome may have left, so its order is of unknown fate until the venue answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from aegis.core.bracket import Role, Trade
from aegis.core.fills import Fill
from aegis.core.messages import AlgoRequest, OrderRequest
from aegis.core.values import ClientId
from aegis.engine.decision import Decision
from aegis.engine.journal_format import Record
from aegis.engine.records import restore_fill, restore_plan, restore_request

__all__ = ["Recovered", "collect", "recover"]


@attrs.define
class Recovered:
    """Folded from the records of a journal, in sequence."""

    plans: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    """Trades that have not ended, by signal id."""
    orders: dict[str, list[tuple[Role, OrderRequest | AlgoRequest]]] = attrs.field(factory=dict)
    fills: list[tuple[Fill, int]] = attrs.field(factory=list)
    """Every execution booked so far, with the engine time of its booking."""
    results: list[dict[str, Any]] = attrs.field(factory=list)
    ids: dict[ClientId, int] = attrs.field(factory=dict)
    """Venue ids by client id."""
    ended: set[ClientId] = attrs.field(factory=set)
    """Orders that were refused: proof that they never lived."""
    cids_used: int = 0
    wallet: str = ""
    funding: list[dict[str, Any]] = attrs.field(factory=list)

    def see(self, record: Record) -> None:
        """Take one record."""
        data = record.data
        match record.kind:
            case "plan":
                self.plans[data["trade"]] = data
            case "intent":
                self._intent(data)
            case "decision":
                self.cids_used = max(self.cids_used, int(data["cid"].rpartition("-")[2]))
            case "outcome" if data["of"] == "order":
                if data["what"] == "accepted":
                    self.ids[ClientId(data["cid"])] = data["venue_id"]
                elif data["what"] == "refused":
                    self.ended.add(ClientId(data["cid"]))
            case "fill":
                self.fills.append((restore_fill(data), record.at_ns))
            case "state" if data.get("to") in ("CLOSED", "ABORTED"):
                self.plans.pop(data["trade"], None)
                self.orders.pop(data["trade"], None)
            case "trade":
                self.results.append(data)
            case "account" if "wallet" in data and not self.wallet:
                self.wallet = data["wallet"]
            case _:
                return

    def _intent(self, data: dict[str, Any]) -> None:
        self.cids_used = max(self.cids_used, int(data["cid"].rpartition("-")[2]))
        request = restore_request(data)
        if request is not None:
            self.orders.setdefault(data["trade"], []).append((Role(data["role"]), request))


def collect(records: Iterable[Record]) -> Recovered:
    """Fold a whole journal."""
    found = Recovered()
    for record in records:
        found.see(record)
    return found


def recover(decision: Decision, past: Recovered, now_ns: int) -> None:
    """Put the past into a fresh decision: money as booked, open trades with orders of unknown fate."""
    decision.cids_used = past.cids_used
    for fill, at_ns in past.fills:
        decision.portfolio.apply_fill(fill, at_ns)
    by_cid: dict[ClientId, list[Fill]] = {}
    for fill, _ in past.fills:
        by_cid.setdefault(fill.cid, []).append(fill)
    for signal, data in past.plans.items():
        desk = decision.desk
        trade = Trade(restore_plan(data), desk.store, decision.next_cid, desk.policy)
        for role, request in past.orders.get(signal, ()):
            order = desk.store.add(request, now_ns)
            trade.attach(role, order)
            for fill in by_cid.get(request.cid, ()):
                order.on_fill(fill, now_ns)
            if request.cid not in past.ended:
                order.recover(now_ns)
            desk.store.changed(request.cid)
        desk.adopt(trade)
