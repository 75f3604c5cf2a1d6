"""The desk: every open trade and its orders, from intent to flat. Synchronous; `Decision` is its only caller.

An intent is in the journal before its request is handed on. Whatever the venue says is evidence for an order; after any
evidence the trade of that symbol is asked what is missing (`Trade.step`), and that is journalled and sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Protocol

import attrs

from aegis.core.algo_orders import AlgoOrder, VenueAlgo
from aegis.core.approval import Approved
from aegis.core.bracket import BracketPolicy, ExitReason, Role, Trade, TradePlan, TradeState
from aegis.core.errors import InvariantBroken
from aegis.core.fills import Fill
from aegis.core.messages import (
    AlgoUpdate,
    CancelRequest,
    OrderRequest,
    OrderUpdate,
    Outcome,
    Request,
    TradeLite,
    Unknown,
)
from aegis.core.order_life import AbsenceRule, Change
from aegis.core.order_store import OrderStore
from aegis.core.orders import VenueOrder, is_execution
from aegis.core.risk import RiskGate
from aegis.core.values import ClientId, SymbolName
from aegis.engine.records import describe_fill, describe_outcome, describe_plan, describe_request, describe_result

__all__ = ["VENUE_CLOSES", "Desk", "Scribe"]

ZERO = Decimal(0)
#: How client ids begin under which the venue itself closes a position: liquidation, auto-deleveraging, settlement.
VENUE_CLOSES = ("autoclose-", "adl_autoclose", "settlement_autoclose-")


class Scribe(Protocol):
    """The journal, as the engine's synchronous part sees it. Raises InvariantBroken when it cannot write."""

    def append(self, kind: str, data: dict[str, Any], at_ns: int) -> int: ...

    def append_all(self, records: Sequence[tuple[str, dict[str, Any]]], at_ns: int) -> int: ...


@attrs.define(kw_only=True, eq=False)
class Desk:
    """Owns the order store and the trades, one a symbol.

    `send` takes an approved request for the wire and returns at once. `book` is told every execution once its fee is
    known, `closed` every trade that ended.

    What breaks in one trade, or in the journal, must not keep evidence from being acted upon, nor another trade from
    its exit: the first InvariantBroken is raised once everything that the call is about has been done.
    """

    gate: RiskGate
    scribe: Scribe
    send: Callable[[Approved[Any]], None]
    next_cid: Callable[[], ClientId]
    book: Callable[[Fill, int], None]
    booked: Callable[[SymbolName, int], bool]
    """Whether an execution of the symbol, by its trade id, is in the books."""
    closed: Callable[[Trade], None]
    policy: BracketPolicy
    absence: AbsenceRule
    reply_budget_ns: int
    margin_asset: str
    store: OrderStore = attrs.field(factory=OrderStore)
    trades: dict[SymbolName, Trade] = attrs.field(factory=dict)
    tails: dict[SymbolName, list[Trade]] = attrs.field(factory=dict)
    """Ended trades of which something may still be alive at the venue."""
    strangers: int = 0
    """Events of orders that are not ours."""
    unproven: set[ClientId] = attrs.field(factory=set)
    """Orders rebuilt from a journal of which the venue has not told yet: it may know more than the journal."""
    open_risk: Decimal = attrs.field(default=ZERO, init=False)
    """Money lost if every open or entering trade were stopped at its stop."""
    _risks: dict[SymbolName, Decimal] = attrs.field(factory=dict, init=False)
    _due: dict[SymbolName, int] = attrs.field(factory=dict, init=False)
    """Of each symbol, when time alone changes something."""
    _broken: InvariantBroken | None = attrs.field(default=None, init=False)

    # -- a new trade ---------------------------------------------------------------------------------------------------
    def open(self, plan: TradePlan, approved: Approved[OrderRequest], now_ns: int) -> None:
        """Start a trade with its approved entry: journal, send, keep the books."""
        request = approved.request
        if plan.symbol in self.trades:
            raise InvariantBroken(f"{plan.symbol}: a second trade")
        intent = describe_request(request, plan.signal_id, Role.ENTRY)
        try:
            self.scribe.append_all((("plan", describe_plan(plan)), ("intent", intent)), now_ns)
        except InvariantBroken:
            self.gate.release(plan.symbol)
            raise
        try:
            self.send(approved)
        finally:  # the books are kept behind it, because no venue waits for them; whatever it raises may have left
            trade = Trade(plan, self.store, self.next_cid, self.policy)
            self.trades[plan.symbol] = trade
            trade.enter(request, now_ns)
            self.store.sent(request.cid, now_ns, now_ns + self.reply_budget_ns)
            self._take_stock(plan.symbol)

    def adopt(self, trade: Trade) -> None:
        """Take over a trade that was rebuilt from the journal; each of its orders must be asked for."""
        self.trades[trade.plan.symbol] = trade
        self._take_stock(trade.plan.symbol)
        self.unproven.update(trade.roles)

    def exit(self, symbol: SymbolName, reason: ExitReason, now_ns: int) -> None:
        """Close the symbol's trade, or cancel its entry."""
        trade = self.trades.get(symbol)
        if trade is not None:
            trade.request_exit(reason)
            self._step(symbol, now_ns)
            self._complain()

    # -- evidence ------------------------------------------------------------------------------------------------------
    def on_outcome(self, outcome: Outcome, now_ns: int) -> None:
        self._note("outcome", describe_outcome(outcome), now_ns)
        self._after(outcome.request.symbol, self.store.on_outcome(outcome, now_ns), now_ns)

    def on_order_update(self, update: OrderUpdate, now_ns: int) -> None:
        change = self.store.on_order_update(update, now_ns)
        if change is None and is_execution(update):
            reason = ExitReason.LIQUIDATION if update.cid.startswith(VENUE_CLOSES) else ExitReason.ELSEWHERE
            self.found_outside(Fill.of(update), reason, now_ns)
        self._after(update.symbol, change, now_ns)

    def on_trade_lite(self, lite: TradeLite, now_ns: int) -> None:
        self._after(lite.symbol, self.store.on_trade_lite(lite, now_ns), now_ns)

    def on_algo_update(self, update: AlgoUpdate, now_ns: int) -> None:
        self._after(update.symbol, self.store.on_algo_update(update, now_ns), now_ns)

    def found_order(self, row: VenueOrder, now_ns: int) -> None:
        """The reconciler has read one of our orders."""
        order = self.store.get(row.cid)
        if order is not None and not isinstance(order, AlgoOrder):
            self.unproven.discard(row.cid)
            self._after(row.symbol, order.found(row, now_ns), now_ns)
            self.store.changed(row.cid)

    def found_algo(self, row: VenueAlgo, now_ns: int) -> None:
        order = self.store.get(row.cid)
        if isinstance(order, AlgoOrder):
            self.unproven.discard(row.cid)
            self._after(row.symbol, order.found(row, now_ns), now_ns)
            self.store.changed(row.cid)

    def not_found(self, cid: ClientId, asked_ns: int, now_ns: int, *, stream_alive: bool) -> None:
        order = self.store.get(cid)
        if order is not None:
            change = order.not_found(asked_ns, self.absence, stream_alive=stream_alive)
            self.store.changed(cid)
            self._after(order.symbol, change, now_ns)

    def found_fill(self, fill: Fill, now_ns: int) -> None:
        """An execution that only userTrades has told."""
        order = self.store.get(fill.cid)
        if order is not None:
            change = order.on_fill(fill, now_ns)
            self.store.changed(fill.cid)
            self._after(fill.symbol, change, now_ns)

    def found_outside(self, fill: Fill, reason: ExitReason, now_ns: int) -> None:
        """An execution that is not of our orders: it counts where it changes the position of a trade of ours.

        One of an order that was forgotten long ago is in the books already.
        """
        trade = self.trades.get(fill.symbol)
        if trade is not None and not self.booked(fill.symbol, fill.trade_id):
            trade.on_outside(fill, reason)
            self._book(fill, now_ns, outside=reason)
            self._step(fill.symbol, now_ns)
            self._complain()

    def cancel_stray(self, request: CancelRequest, now_ns: int) -> None:
        """End an order under one of our ids that belongs to no trade."""
        self._note("reconcile", {"symbol": request.symbol, "stray": request.cid}, now_ns)
        self.send(self.gate.approve_exit(request, now_ns))
        self._complain()

    def _after(self, symbol: SymbolName, change: Change | None, now_ns: int) -> None:
        if change is None:
            self.strangers += 1
        else:
            if change.fill is not None and change.fill.complete:
                self._book(change.fill, now_ns)
            self._step(symbol, now_ns)
        self._complain()

    def _book(self, fill: Fill, now_ns: int, outside: ExitReason | None = None) -> None:
        told = {} if outside is None else {"outside": outside.value}
        self._note("fill", describe_fill(fill) | told, now_ns)
        self.book(fill, now_ns)

    def _note(self, kind: str, data: dict[str, Any], now_ns: int) -> None:
        """Journal what has happened already."""
        try:
            self.scribe.append(kind, data, now_ns)
        except InvariantBroken as error:
            self._broken = self._broken or error

    def _complain(self) -> None:
        """The last act of whatever was called from outside."""
        broken, self._broken = self._broken, None
        if broken is not None:
            raise broken

    # -- what follows --------------------------------------------------------------------------------------------------
    def _step(self, symbol: SymbolName, now_ns: int) -> None:
        """Ask the symbol's trades what is missing, and send it."""
        for trade in self._of(symbol):
            was = trade.state
            try:
                for request in trade.step(now_ns):
                    self._dispatch(trade, self.gate.approve_exit(request, now_ns), now_ns)
            except InvariantBroken as error:
                self._broken = self._broken or error
            if trade.state is not was:
                self._moved(trade, was, now_ns)
        self._settle(symbol)

    def _moved(self, trade: Trade, was: TradeState, now_ns: int) -> None:
        signal = trade.plan.signal_id
        self._note(
            "state", {"trade": signal, "symbol": trade.plan.symbol, "from": was.value, "to": trade.state.value}, now_ns
        )
        if trade.state.final:
            self.gate.release(trade.plan.symbol)
            if trade.state is TradeState.CLOSED:
                self._note("trade", describe_result(trade.result(self.margin_asset)), now_ns)
            self.closed(trade)

    def _settle(self, symbol: SymbolName) -> None:
        """An ended trade frees its symbol; what is left of it at the venue is followed to its end."""
        trade = self.trades.get(symbol)
        if trade is not None and trade.state.final:
            del self.trades[symbol]
            self.tails.setdefault(symbol, []).append(trade)
        left = [one for one in self.tails.get(symbol, ()) if not one.done]
        if left:
            self.tails[symbol] = left
        else:
            self.tails.pop(symbol, None)
        self._take_stock(symbol)

    def _take_stock(self, symbol: SymbolName) -> None:
        """Keep what every decision and every event ask of all trades: one symbol changes at a time."""
        self._weigh(symbol)
        times = [trade.next_ns() for trade in self._of(symbol)]
        times += [order.deadline_ns for order in self.store.open(symbol)]
        due_ns = min((t for t in times if t is not None), default=None)
        if due_ns is None:
            self._due.pop(symbol, None)
        else:
            self._due[symbol] = due_ns

    def _weigh(self, symbol: SymbolName) -> None:
        trade = self.trades.get(symbol)
        risk = ZERO
        if trade is not None and trade.entry is not None:
            risk = (trade.open_qty + trade.entry.remaining) * trade.plan.stop_distance
        self.open_risk += risk - self._risks.pop(symbol, ZERO)
        if risk:
            self._risks[symbol] = risk

    def _dispatch(self, trade: Trade, approved: Approved[Any], now_ns: int) -> None:
        """Journal, then hand on. Without a journal no entry leaves (`open`); protection, exits and cancels do."""
        request: Request = approved.request
        role = trade.roles[request.cid]
        data = describe_request(request, trade.plan.signal_id, role)
        if role is Role.EXIT and trade.reason is not None:
            data["reason"] = trade.reason.value
        try:
            self.scribe.append("intent", data, now_ns)
        except InvariantBroken as error:
            self._broken = self._broken or error
        if not isinstance(request, CancelRequest):
            self.store.sent(request.cid, now_ns, now_ns + self.reply_budget_ns)
        self.send(approved)

    # -- time and questions --------------------------------------------------------------------------------------------
    def on_timer(self, now_ns: int) -> None:
        """Overdue answers become unknown fates; trades act on their own deadlines."""
        for cid in self.store.on_deadlines(now_ns):
            order = self.store.get(cid)
            assert order is not None, "an order that was late is in the store"
            reason = Unknown(request=order.request, reason="no answer within the budget")
            self._note("outcome", describe_outcome(reason), now_ns)
            self._step(order.symbol, now_ns)
        for symbol, due_ns in tuple(self._due.items()):
            if due_ns <= now_ns:
                self._step(symbol, now_ns)
        self._complain()

    def next_ns(self) -> int | None:
        """When `on_timer` has something to do."""
        return min(self._due.values(), default=None)

    def unsettled(self) -> Iterator[tuple[SymbolName, ClientId, bool, int | None]]:
        """Every open order, as `doubtful`: what must be asked after the private stream was down."""
        for order in self.store.open():
            conditional = isinstance(order, AlgoOrder)
            child = order.child_id if isinstance(order, AlgoOrder) else order.venue_id
            yield order.symbol, order.cid, conditional, child

    def doubtful(self) -> Iterator[tuple[SymbolName, ClientId, bool, int | None]]:
        """What the venue must be asked: (symbol, client id, conditional, order id whose executions are missing)."""
        doubtful = {order.cid: order for order in self.store.in_doubt()}
        for cid in sorted(self.unproven - doubtful.keys()):
            order = self.store.get(cid)
            if order is not None and not order.settled:
                doubtful[cid] = order
        for order in doubtful.values():
            conditional = isinstance(order, AlgoOrder)
            child = order.child_id if isinstance(order, AlgoOrder) else order.venue_id
            yield order.symbol, order.cid, conditional, child if order.tape.incomplete else None

    def _of(self, symbol: SymbolName) -> tuple[Trade, ...]:
        """All that is followed on a symbol, the trade that may be open last."""
        tails = self.tails.get(symbol, ())
        return (*tails, self.trades[symbol]) if symbol in self.trades else tuple(tails)

    def open_trades(self) -> Iterable[Trade]:
        """Trades that are not over."""
        return self.trades.values()
