"""The orders of one position and what they add up to. What is to be done about them is `core/bracket.py`."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from aegis.core.algo_orders import AlgoOrder
from aegis.core.errors import InvariantBroken
from aegis.core.fills import Fill, average_price
from aegis.core.order_store import Ours
from aegis.core.orders import WorkingOrder
from aegis.core.trade_plan import ExitReason, Role, TradePlan, TradeResult, TradeState
from aegis.core.values import ClientId

__all__ = ["TradeOrders"]

ZERO = Decimal(0)


class TradeOrders:
    """A position's orders by their role, its executions by others, and the moments that matter. It copies no fact."""

    def __init__(self, plan: TradePlan) -> None:
        self.plan = plan
        self.state = TradeState.PLANNED
        self.entry: WorkingOrder | None = None
        self.stops: list[AlgoOrder] = []
        self.targets: list[AlgoOrder] = []
        self.parts: list[AlgoOrder] = []
        self.exits: list[WorkingOrder] = []
        self.outside: dict[int, Fill] = {}
        self.reason: ExitReason | None = None
        self.first_fill_ns: int | None = None
        self.stop_confirmed_ns: int | None = None
        self.closed_ns: int | None = None
        self.naked_ns = 0
        self._roles: dict[ClientId, Role] = {}

    def _take(self, role: Role, order: Ours) -> None:
        if order.symbol != self.plan.symbol or order.cid in self._roles:
            raise InvariantBroken(f"trade {self.plan.signal_id}: {order.cid} on {order.symbol} is not its {role.value}")
        self._roles[order.cid] = role
        if isinstance(order, AlgoOrder):
            {Role.STOP: self.stops, Role.PART: self.parts}.get(role, self.targets).append(order)
        elif role is Role.EXIT:
            self.exits.append(order)
        else:
            self.entry = order

    @property
    def roles(self) -> dict[ClientId, Role]:
        """Every client id of this trade."""
        return dict(self._roles)

    @property
    def stop(self) -> AlgoOrder | None:
        """The newest stop."""
        return self.stops[-1] if self.stops else None

    @property
    def target(self) -> AlgoOrder | None:
        return self.targets[-1] if self.targets else None

    @property
    def stop_confirmed(self) -> bool:
        """The venue is known to hold a stop."""
        return any(stop.state.live for stop in self.stops)

    @property
    def done(self) -> bool:
        """Ended, and nothing of it is left at the venue."""
        return self.state.final and all(order.settled for order in self._orders())

    @property
    def parts_live(self) -> bool:
        """A partial target may be alive at the venue: it does not end with the position by itself."""
        return any(not part.settled for part in self.parts)

    @property
    def entered_qty(self) -> Decimal:
        return sum((fill.qty for fill in self._opening_fills()), ZERO)

    @property
    def open_qty(self) -> Decimal:
        """Absolute size still open by the executions seen."""
        left = self.entry.tape.qty if self.entry is not None else ZERO
        for order in self._closing_orders():
            if order.tape.fills:
                left -= order.tape.qty
        for fill in self.outside.values():
            left += fill.qty * (fill.side.sign * self.plan.side.sign)
        return left

    def result(self, margin_asset: str) -> TradeResult:
        """The closed trade in numbers. Raises InvariantBroken while it is not CLOSED."""
        if self.state is not TradeState.CLOSED or self.first_fill_ns is None or self.closed_ns is None:
            raise InvariantBroken(f"trade {self.plan.signal_id}: no result in state {self.state.value}")
        opening, closing = list(self._opening_fills()), list(self._closing_fills())
        every = [*opening, *closing]
        fees: dict[str, Decimal] = {}
        for fill in every:
            fees[fill.commission_asset] = fees.get(fill.commission_asset, ZERO) + (fill.commission or ZERO)
        return TradeResult(
            signal_id=self.plan.signal_id,
            symbol=self.plan.symbol,
            side=self.plan.side,
            reason=self._final_reason(),
            qty=self.entered_qty,
            average_entry=average_price(opening),
            average_exit=average_price(closing),
            risk=self.plan.stop_distance * self.entered_qty,
            realized=sum((fill.realized or ZERO for fill in every), ZERO),
            fees=fees,
            margin_asset=margin_asset,
            decision_ns=self.plan.decision_ns,
            first_fill_ns=self.first_fill_ns,
            closed_ns=self.closed_ns,
            naked_ns=self.naked_ns,
            trigger_to_fill_ms=self._trigger_to_fill_ms(),
            fills=len(every),
            maker_fills=sum(fill.maker for fill in every),
            parts=sum(bool(part.tape.qty) for part in self.parts),
        )

    def _orders(self) -> Iterator[Ours]:
        if self.entry is not None:
            yield self.entry
        yield from self._closing_orders()

    def _closing_orders(self) -> Iterator[Ours]:
        yield from self.stops
        yield from self.targets
        yield from self.parts
        yield from self.exits

    def _opening_fills(self) -> Iterator[Fill]:
        if self.entry is not None:
            yield from self.entry.tape.fills.values()
        yield from (fill for fill in self.outside.values() if fill.side is self.plan.side)

    def _closing_fills(self) -> Iterator[Fill]:
        for order in self._closing_orders():
            yield from order.tape.fills.values()
        yield from (fill for fill in self.outside.values() if fill.side is not self.plan.side)

    def _final_reason(self) -> ExitReason:
        """What closed it in fact: a stop that beat our own exit order is a stop."""
        if self.reason is ExitReason.LIQUIDATION:
            return self.reason
        if self.reason is not None and any(order.tape.qty for order in self.exits):
            return self.reason
        if any(stop.tape.qty for stop in self.stops):
            return ExitReason.STOP
        return ExitReason.TARGET if any(target.tape.qty for target in self.targets) else ExitReason.ELSEWHERE

    def _trigger_to_fill_ms(self) -> int | None:
        for stop in self.stops:
            if stop.triggered_ms is not None and stop.tape.fills:
                return max(fill.time_ms for fill in stop.tape.fills.values()) - stop.triggered_ms
        return None
