"""One conditional (algo) order: a closePosition stop or target, and its states."""

from __future__ import annotations

from decimal import Decimal

import attrs

from aegis.core.errors import InvariantBroken
from aegis.core.values import AlgoStatus, AlgoType, Side, WorkingType
from aegis.exchange.account import ZERO
from aegis.exchange.listing import Listing

__all__ = ["AlgoOrder"]

_NEXT = {
    AlgoStatus.NEW: frozenset({AlgoStatus.CANCELED, AlgoStatus.EXPIRED, AlgoStatus.TRIGGERING}),
    AlgoStatus.TRIGGERING: frozenset({AlgoStatus.TRIGGERED, AlgoStatus.REJECTED}),
    AlgoStatus.TRIGGERED: frozenset({AlgoStatus.FINISHED}),
}


@attrs.define(kw_only=True, eq=False)
class AlgoOrder:
    """A closePosition conditional order; its ids are of a space of their own."""

    account: str
    listing: Listing
    algo_id: int
    client_id: str
    side: Side
    type: AlgoType
    trigger_ticks: int
    working_type: WorkingType
    price_protect: bool
    tif: str
    created_ms: int
    updated_ms: int
    stp: str = "EXPIRE_MAKER"
    status: AlgoStatus = AlgoStatus.NEW
    trigger_ms: int = 0
    child_id: int | None = None
    """orderId of the market order it became."""
    filled: int = 0
    average: Decimal = ZERO
    reason: str = ""

    @property
    def below(self) -> bool:
        """Whether a falling price triggers it (stops that sell, targets that buy)."""
        return (self.side is Side.SELL) == (self.type is AlgoType.STOP_MARKET)

    def reached(self, price: int, trigger: int) -> bool:
        """Whether a price, in the unit of `trigger`, triggers it."""
        return price <= trigger if self.below else price >= trigger

    def move(self, status: AlgoStatus, now_ms: int) -> None:
        """Change state. Raises InvariantBroken on a transition that cannot be."""
        if status not in _NEXT.get(self.status, frozenset()):
            raise InvariantBroken(f"algo order {self.algo_id} cannot go from {self.status.value} to {status.value}")
        self.status = status
        self.updated_ms = now_ms
