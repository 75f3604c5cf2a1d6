"""One conditional (algo) order: a stop, a target or a trailing stop, and its states."""

from __future__ import annotations

import attrs

from aegis.core.errors import InvariantBroken
from aegis.core.values import AlgoStatus, AlgoType, OrderType, Side, WorkingType
from aegis.exchange.account import PositionSide
from aegis.exchange.listing import Listing
from aegis.kernels.books import NEVER

__all__ = ["AlgoOrder"]

_NEXT = {
    AlgoStatus.NEW: frozenset({AlgoStatus.CANCELED, AlgoStatus.EXPIRED, AlgoStatus.TRIGGERING}),
    AlgoStatus.TRIGGERING: frozenset({AlgoStatus.TRIGGERED, AlgoStatus.REJECTED}),
    AlgoStatus.TRIGGERED: frozenset({AlgoStatus.FINISHED}),
}
#: Those that become a LIMIT order.
_LIMITED = (AlgoType.STOP, AlgoType.TAKE_PROFIT)


@attrs.define(kw_only=True, eq=False)
class AlgoOrder:
    """A conditional order; its ids are of a space of their own. Prices are in ticks, quantities in steps."""

    account: str
    listing: Listing
    algo_id: int
    client_id: str
    side: Side
    type: AlgoType
    trigger_ticks: int = 0
    """0 for a trailing stop."""
    working_type: WorkingType
    price_protect: bool
    tif: str
    created_ms: int
    updated_ms: int
    position_side: PositionSide = "BOTH"
    close_position: bool = False
    """Closes whatever the position is when it triggers; `steps` is 0."""
    reduce_only: bool = False
    steps: int = 0
    ticks: int = 0
    """Price of the LIMIT order that it becomes; 0 where `price_match` finds it, or for a MARKET order."""
    price_match: str = "NONE"
    good_till_ms: int = 0
    activate_ticks: int = 0
    """Trailing: where it starts to follow; 0 at once."""
    callback: int = 0
    """Trailing: distance from the extreme, in hundredths of a percent."""
    extreme: int | None = None
    """Trailing: best price since it follows, in the unit of the working price; None before that."""
    stp: str = "EXPIRE_MAKER"
    status: AlgoStatus = AlgoStatus.NEW
    trigger_ms: int = 0
    child_id: int | None = None
    """orderId of the order it became."""
    filled: int = 0
    average: str = "0"
    """Average fill price of the order it became."""
    reason: str = ""

    @property
    def trailing(self) -> bool:
        return self.type is AlgoType.TRAILING_STOP_MARKET

    @property
    def child_type(self) -> OrderType:
        return OrderType.LIMIT if self.type in _LIMITED else OrderType.MARKET

    @property
    def needs_position(self) -> bool:
        """Whether it ends with the position that it protects."""
        return self.close_position or self.tif == "GTE_GTC"

    @property
    def below(self) -> bool:
        """Whether a falling price triggers it (stops that sell, targets that buy)."""
        target = self.type in (AlgoType.TAKE_PROFIT, AlgoType.TAKE_PROFIT_MARKET)
        return (self.side is Side.SELL) != target

    @property
    def unit(self) -> int:
        """Of the working price: what a tick is worth in it (last prices are in ticks, marks in 1e-8)."""
        return self.listing.tick_e8 if self.working_type is WorkingType.MARK_PRICE else 1

    def reached(self, price: int) -> bool:
        """Whether a working price triggers it."""
        low, high = self._trigger()
        return price <= low or price >= high

    def follow(self, price: int) -> bool:
        """A working price for a trailing stop: activate, or move the extreme. True when it was activated by it."""
        if not self.trailing:
            return False
        if self.extreme is None:
            start = self.activate_ticks * self.unit
            if start and (price < start if self.below else price > start):
                return False
            self.extreme = price
            return True
        self.extreme = max(self.extreme, price) if self.below else min(self.extreme, price)
        return False

    def bounds(self) -> tuple[int, int]:
        """(low, high): working prices at or beyond either are of interest."""
        low, high = self._trigger()
        if self.trailing:
            beyond = (
                self.activate_ticks * self.unit if self.extreme is None else self.extreme + (1 if self.below else -1)
            )
            return (low, beyond) if self.below else (beyond, high)
        return low, high

    def _trigger(self) -> tuple[int, int]:
        """(at or below, at or above) which it triggers."""
        if not self.trailing:
            level = self.trigger_ticks * self.unit
        elif self.extreme is None:
            return -NEVER, NEVER
        elif self.below:
            level = self.extreme * (10_000 - self.callback) // 10_000
        else:
            level = -(-self.extreme * (10_000 + self.callback) // 10_000)
        return (level, NEVER) if self.below else (-NEVER, level)

    def move(self, status: AlgoStatus, now_ms: int) -> None:
        """Change state. Raises InvariantBroken on a transition that cannot be."""
        if status not in _NEXT.get(self.status, frozenset()):
            raise InvariantBroken(f"algo order {self.algo_id} cannot go from {self.status.value} to {status.value}")
        self.status = status
        self.updated_ms = now_ms
