"""The life of one position: entry, stop, target, exit. Facts go into the orders; `step` says what to do about them.

`Trade` holds no copy of what its orders know. After any evidence (and at `next_ns`) the caller calls `step(now_ns)`,
which compares the facts with the plan and returns the requests that are missing. Calling it again returns nothing new,
so the order in which replies, stream events and timers arrive does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

from aegis.core.algo_orders import AlgoOrder
from aegis.core.errors import InvariantBroken
from aegis.core.fills import Fill
from aegis.core.messages import AlgoRequest, OrderRequest, Request
from aegis.core.order_life import OrderState
from aegis.core.order_store import OrderStore, Ours
from aegis.core.orders import WorkingOrder
from aegis.core.partials import split
from aegis.core.trade_orders import TradeOrders
from aegis.core.trade_plan import TRADE_TABLE, BracketPolicy, ExitReason, Role, TradePlan, TradeResult, TradeState
from aegis.core.values import AlgoType, ClientId, OrderType

__all__ = [
    "NOTHING_TO_REDUCE", "BracketPolicy", "ExitReason", "Role", "Trade", "TradePlan", "TradeResult", "TradeState",
]  # fmt: skip

ZERO = Decimal(0)
#: Refusals which say that the trigger price has been passed already.
_PASSED = frozenset({-2021, -4142})
#: A reduce-only order was refused: there is nothing to reduce.
NOTHING_TO_REDUCE = -2022


class Trade(TradeOrders):
    """One position from decision to flat. Its protective and exit orders are added to `store` as they are asked for."""

    def __init__(
        self, plan: TradePlan, store: OrderStore, next_cid: Callable[[], ClientId], policy: BracketPolicy | None = None
    ) -> None:
        super().__init__(plan)
        self._naked_since_ns: int | None = None
        self._flat_ns: int | None = None
        self._exiting_ns = 0
        self._policy = policy or BracketPolicy()
        self._store = store
        self._next_cid = next_cid

    # -- what the caller does ------------------------------------------------------------------------------------------
    def enter(self, request: OrderRequest, now_ns: int) -> WorkingOrder:
        """Takes the approved entry; the caller journals and sends it."""
        order = self._store.add(request, now_ns)
        self.attach(Role.ENTRY, order)
        return order

    def abort(self) -> None:
        """Gives the plan up before its entry was taken."""
        self._move(TradeState.ABORTED)

    def attach(self, role: Role, order: Ours) -> None:
        """Takes an order that exists already: the entry, or at recovery any order found in the journal."""
        self._take(role, order)
        if role is Role.ENTRY:
            self._move(TradeState.ENTERING)

    def request_exit(self, reason: ExitReason) -> None:
        """Asks for the position to be closed, or the entry cancelled, at the next `step`; the first reason stays."""
        self.reason = self.reason or reason

    def on_outside(self, fill: Fill, reason: ExitReason) -> None:
        """An execution on our position that is not of our orders.

        LIQUIDATION: the venue closed it, and what is left is closed too. ELSEWHERE: by hand, or by another program;
        what it added is protected with the rest, what it left open stays under the stop.
        """
        self.outside[fill.trade_id] = fill
        if reason is ExitReason.LIQUIDATION:
            self.reason = reason

    def step(self, now_ns: int) -> tuple[Request, ...]:
        """What is to be sent now. The new orders are in the store in state INTENT; cancels are marked as sent."""
        entry = self.entry
        if entry is None or self.state is TradeState.ABORTED:
            return ()
        if self.state is TradeState.CLOSED:
            return tuple(self._cancel_siblings(now_ns))
        overdue = self._cancel_overdue_entry(entry, now_ns)
        if self.state is TradeState.ENTERING:
            if not entry.tape.qty:
                if entry.settled:
                    self._move(TradeState.ABORTED)
                return overdue
            self._move(TradeState.PROTECTING)
            self._naked_since_ns = now_ns
            self.first_fill_ns = self.first_fill_ns or now_ns  # known already where the trade was rebuilt
        if self.open_qty <= ZERO:
            return overdue + self._flat(entry, now_ns)
        self._watch_stop(now_ns)
        if self.state is not TradeState.EXITING:
            reason = self._why_exit(now_ns)
            if reason is None:
                return overdue + tuple(self._protect(now_ns))
            self._start_exit(reason, now_ns)
        return overdue + tuple(self._exit(entry, now_ns))

    def next_ns(self) -> int | None:
        """When `step` has to be called even if nothing arrives; None while only evidence can change anything."""
        times: list[int] = []
        entry, plan, policy = self.entry, self.plan, self._policy
        if self._flat_ns is not None and any(order.can_cancel for order in self._closing_orders()):
            times.append(self._flat_ns + policy.sibling_grace_ns)
        if entry is None or self.state.final:
            return min(times, default=None)
        if plan.entry_ttl_ns is not None and entry.can_cancel:
            times.append(plan.decision_ns + plan.entry_ttl_ns)
        if self.state in (TradeState.PROTECTING, TradeState.PROTECTED) and self.first_fill_ns is not None:
            times.append(self.first_fill_ns + plan.time_limit_ns)
            if self._naked_since_ns is not None:
                times.append(self._naked_since_ns + policy.confirm_limit_ns)
        if self.state is TradeState.EXITING and self.open_qty > ZERO and (not self.exits or self.exits[-1].state.final):
            waits = self._child_running()
            times.append(max(self._next_exit_ns(), self._exiting_ns + policy.confirm_limit_ns if waits else 0))
        return min(times, default=None)

    # -- protection ----------------------------------------------------------------------------------------------------
    def _watch_stop(self, now_ns: int) -> None:
        """Runs the clock of the naked time."""
        if self.stop_confirmed:
            self._end_naked(now_ns)
            if self.stop_confirmed_ns is None:
                self.stop_confirmed_ns = now_ns
            if self.state is TradeState.PROTECTING:
                self._move(TradeState.PROTECTED)
        elif self.state is TradeState.PROTECTED and not self._closing_under_way():
            self._naked_since_ns = now_ns
            self._move(TradeState.PROTECTING)

    def _end_naked(self, now_ns: int) -> None:
        if self._naked_since_ns is not None:
            self.naked_ns += now_ns - self._naked_since_ns
            self._naked_since_ns = None

    def _closing_under_way(self) -> bool:
        """A protective order has been triggered: that its sibling is gone is no loss of protection."""
        return any(order.triggered_ms is not None for order in (*self.stops, *self.targets))

    def _protect(self, now_ns: int) -> Iterator[Request]:
        """Places what is missing. An order whose fate is unknown is not missing: it may live."""
        if self._closing_under_way():
            return
        if self.stop is None or self.stop.state.final:
            yield self._algo(Role.STOP, now_ns)
        target = self.target
        if target is None or (target.state.final and len(self.targets) < self._policy.target_attempts):
            yield self._algo(Role.TARGET, now_ns)
        yield from self._parts(now_ns)

    def _parts(self, now_ns: int) -> Iterator[Request]:
        """Partial targets, once it is known how much was entered. One that cannot be had is left to the next target."""
        plan, entry = self.plan, self.entry
        if plan.lots is None or entry is None or not entry.settled:
            return
        for price, qty in split(entry.tape.qty, plan.parts, plan.target, plan.lots):
            tried = [part for part in self.parts if part.request.trigger == price]
            if not tried or (len(tried) < self._policy.target_attempts and _never_was(tried[-1])):
                yield self._algo(Role.PART, now_ns, trigger=price, qty=qty)

    def _algo(
        self, role: Role, now_ns: int, *, trigger: Decimal | None = None, qty: Decimal | None = None
    ) -> AlgoRequest:
        plan, stop = self.plan, role is Role.STOP
        request = AlgoRequest(
            cid=self._next_cid(),
            symbol=plan.symbol,
            side=plan.side.opposite,
            type=AlgoType.STOP_MARKET if stop else AlgoType.TAKE_PROFIT_MARKET,
            trigger=trigger or (plan.stop if stop else plan.target),
            qty=qty,
            working_type=plan.stop_working if stop else plan.target_working,
            price_protect=False,
        )
        self.attach(role, self._store.add(request, now_ns))
        return request

    # -- exit ----------------------------------------------------------------------------------------------------------
    def _why_exit(self, now_ns: int) -> ExitReason | None:
        first_fill_ns = self.first_fill_ns or 0
        if self.reason is not None:
            return self.reason
        if any(stop.tape.qty or stop.state is OrderState.FINISHED for stop in self.stops):
            return ExitReason.STOP
        if any(target.tape.qty or target.state is OrderState.FINISHED for target in self.targets):
            return ExitReason.TARGET
        if self._stop_failed():
            return ExitReason.STOP_REFUSED
        target = self.target
        if target is not None and (_refused_as_passed(target) or target.state is OrderState.REJECTED):
            return ExitReason.TARGET
        if self._naked_since_ns is not None and now_ns - self._naked_since_ns >= self._policy.confirm_limit_ns:
            return ExitReason.STOP_UNCONFIRMED
        return ExitReason.TIME if now_ns - first_fill_ns >= self.plan.time_limit_ns else None

    def _stop_failed(self) -> bool:
        stop = self.stop
        if stop is None or not stop.state.final:
            return False
        if _refused_as_passed(stop) or stop.state is OrderState.REJECTED:
            return True
        return len(self.stops) >= self._policy.stop_attempts and not self._closing_under_way()

    def _start_exit(self, reason: ExitReason, now_ns: int) -> None:
        self.reason = reason
        self._exiting_ns = now_ns
        self._move(TradeState.EXITING)

    def _exit(self, entry: WorkingOrder, now_ns: int) -> Iterator[Request]:
        """Closes the rest at market, one order at a time. The stop stays in place until the position is flat."""
        if cancel := entry.request_cancel(now_ns + self._policy.cancel_deadline_ns):
            yield cancel
        qty = self.open_qty - sum((order.tape.missing for order in self._closing_orders()), ZERO)
        if qty <= ZERO or now_ns < self._next_exit_ns() or (self.exits and not self.exits[-1].state.final):
            return
        if self._child_running() and now_ns < self._exiting_ns + self._policy.confirm_limit_ns:
            return
        request = OrderRequest(
            cid=self._next_cid(),
            symbol=self.plan.symbol,
            side=self.plan.side.opposite,
            type=OrderType.MARKET,
            qty=min(qty, self.plan.max_exit_qty),
            reduce_only=True,
        )
        self.attach(Role.EXIT, self._store.add(request, now_ns))
        yield request

    def _next_exit_ns(self) -> int:
        """The next exit order leaves no earlier. Where nothing was left to reduce, evidence is on its way: wait."""
        if not self.exits:
            return self._exiting_ns
        last, policy = self.exits[-1], self._policy
        flat = last.refusal is not None and last.refusal.code == NOTHING_TO_REDUCE
        return last.created_ns + (policy.confirm_limit_ns if flat else policy.exit_retry_ns)

    def _child_running(self) -> bool:
        return any(order.triggered for order in (*self.stops, *self.targets, *self.parts))

    def _flat(self, entry: WorkingOrder, now_ns: int) -> tuple[Request, ...]:
        """Nothing is open: cancel what may live; closed once the entry cannot fill any more and every fee is known."""
        if entry.tape.missing or (self.open_qty < ZERO and not self.outside):
            return ()  # an exit overtook the entry's own executions
        self._end_naked(now_ns)
        requests = tuple(self._cancel_siblings(now_ns))
        if entry.state.final and not any(order.tape.unpriced for order in self._orders()):
            self.closed_ns = now_ns
            self._move(TradeState.CLOSED)
        elif self.state is not TradeState.EXITING:
            self._start_exit(self._final_reason(), now_ns)
        return requests

    def _cancel_siblings(self, now_ns: int) -> Iterator[Request]:
        """Entry and partial targets at once; other protection only if the venue has not expired it by itself."""
        if self._flat_ns is None:
            self._flat_ns = now_ns
        waited = now_ns >= self._flat_ns + self._policy.sibling_grace_ns
        for order in self._orders():
            if not waited and order is not self.entry and order not in self.parts:
                continue
            if cancel := order.request_cancel(now_ns + self._policy.cancel_deadline_ns):
                yield cancel

    def _cancel_overdue_entry(self, entry: WorkingOrder, now_ns: int) -> tuple[Request, ...]:
        ttl_ns = self.plan.entry_ttl_ns
        overdue = ttl_ns is not None and now_ns >= self.plan.decision_ns + ttl_ns
        if not overdue and self.reason is None:
            return ()
        cancel = entry.request_cancel(now_ns + self._policy.cancel_deadline_ns)
        return () if cancel is None else (cancel,)

    # -- inside --------------------------------------------------------------------------------------------------------
    def _move(self, to: TradeState) -> None:
        if to not in TRADE_TABLE[self.state]:
            raise InvariantBroken(f"trade {self.plan.signal_id}: {self.state.value} -> {to.value} cannot be")
        self.state = to


def _refused_as_passed(order: AlgoOrder) -> bool:
    return order.state is OrderState.REFUSED and order.refusal is not None and order.refusal.code in _PASSED


def _never_was(part: AlgoOrder) -> bool:
    """It ended without having been triggered, and may be placed again."""
    return part.state.final and part.triggered_ms is None and not _refused_as_passed(part)
