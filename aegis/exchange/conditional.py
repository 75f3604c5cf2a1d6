"""Conditional orders: where they wait, when they trigger, and what becomes of them. PROTOCOL.md §3.7 and §4.4."""

from __future__ import annotations

from collections import OrderedDict

from aegis.core.values import AlgoStatus, OrderType, TimeInForce, WorkingType
from aegis.exchange.account import Account
from aegis.exchange.books import UNTOUCHED
from aegis.exchange.conditional_order import AlgoOrder
from aegis.exchange.errors import Refusal
from aegis.exchange.listing import Listing
from aegis.exchange.matching import Matching
from aegis.exchange.orders import Order
from aegis.exchange.rules import matched_price
from aegis.exchange.state import State, TriggerDue
from aegis.exchange.userstream import algo_update

__all__ = ["MAX_OPEN_ALGO_ORDERS", "Conditional"]

MAX_OPEN_ALGO_ORDERS = 200
_KEPT_FINAL = 50_000
#: Far from order ids, in a space of their own.
_FIRST_ALGO_ID = 1_000_000_033_000_000


class Conditional:
    """The Algo Service of every account."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._orders: OrderedDict[int, AlgoOrder] = OrderedDict()
        self._waiting: dict[int, list[AlgoOrder]] = {}

    # -- placing and ending ------------------------------------------------------------------------------------------

    def place(self, account: Account, algo: AlgoOrder) -> AlgoOrder:
        """Accept an order; margin is asked for only when it triggers.

        Raises:
            Refusal: -4116, -4045, -4509 without the position that it needs, -4130 beside a closePosition order of its
                kind, -2021 when its price is reached already, -4135 when an activation price is.
        """
        state = self._state
        waiting = self.open_orders(account.id)
        if any(other.client_id == algo.client_id for other in waiting):
            raise Refusal(-4116)
        if len(waiting) >= MAX_OPEN_ALGO_ORDERS:
            raise Refusal(-4045)
        if algo.needs_position and account.position(algo.listing, algo.position_side).sign != -algo.side.sign:
            raise Refusal(-4509)
        for other in waiting:
            same = _kind(other) == _kind(algo)
            if same and other.status is AlgoStatus.NEW and algo.close_position and other.close_position:
                raise Refusal(-4130)
        price = self._working_price(algo)
        if algo.follow(price) and algo.activate_ticks:
            raise Refusal(-4135)
        if algo.reached(price):
            raise Refusal(-2021)
        algo.algo_id = _FIRST_ALGO_ID + state.count("algo")
        self._orders[algo.algo_id] = algo
        self._waiting.setdefault(algo.listing.index, []).append(algo)
        state.dirty.add(algo.listing.index)
        self._record(algo)
        return algo

    def cancel(self, algo: AlgoOrder) -> None:
        """Raises Refusal -4117 while it is triggering, -2011 when it is over."""
        if algo.status in (AlgoStatus.TRIGGERING, AlgoStatus.TRIGGERED):
            raise Refusal(-4117)
        if algo.status is not AlgoStatus.NEW:
            raise Refusal(-2011)
        self._move(algo, AlgoStatus.CANCELED)

    def cancel_all(self, account: str, symbol: int) -> None:
        """Cancel what has not triggered."""
        for algo in self.open_orders(account, symbol):
            if algo.status is AlgoStatus.NEW:
                self._move(algo, AlgoStatus.CANCELED)

    def position_changed(self, account: Account, listing: Listing) -> None:
        """Waiting orders whose position is gone (or turned round) expire."""
        for algo in list(self._waiting.get(listing.index, ())):
            waits = algo.account == account.id and algo.status is AlgoStatus.NEW and algo.needs_position
            if waits and algo.side.sign != -account.position(listing, algo.position_side).sign:
                algo.reason = "Position is closed."
                self._move(algo, AlgoStatus.EXPIRED)

    # -- triggering --------------------------------------------------------------------------------------------------

    def on_last(self, symbol: int, ticks: int) -> None:
        """A print: orders that work on the contract price."""
        for algo in list(self._waiting.get(symbol, ())):
            if algo.working_type is WorkingType.CONTRACT_PRICE:
                self._look(algo, ticks)

    def on_mark(self, symbol: int) -> None:
        """A new mark price."""
        for algo in list(self._waiting.get(symbol, ())):
            if algo.working_type is WorkingType.MARK_PRICE:
                self._look(algo, self._working_price(algo))

    def _look(self, algo: AlgoOrder, price: int) -> None:
        """A working price that somebody waits for."""
        if algo.status is not AlgoStatus.NEW:
            return
        if algo.trailing:
            self._state.dirty.add(algo.listing.index)
            if algo.follow(price):
                algo.updated_ms = self._state.now_ms
                self._record(algo)
        if algo.reached(price):
            self._trigger(algo)

    def _working_price(self, algo: AlgoOrder) -> int:
        books, index = self._state.books, algo.listing.index
        return int((books.mark_e8 if algo.working_type is WorkingType.MARK_PRICE else books.last)[index])

    def _trigger(self, algo: AlgoOrder) -> None:
        """The price was reached: on its way to the matching engine, which takes as long as any message."""
        state = self._state
        if algo.price_protect and self._protected(algo.listing):
            return
        algo.trigger_ms = state.now_ms
        self._move(algo, AlgoStatus.TRIGGERING)
        state.timetable.add(state.now_ns + state.draws.draw_ns(), TriggerDue(algo.algo_id))

    def _protected(self, listing: Listing) -> bool:
        """priceProtect: last and mark are further apart than the symbol allows."""
        mark = self._state.mark(listing)
        return abs(mark - self._state.last(listing)) > mark * listing.trigger_protect

    def due(self, algo_id: int, matching: Matching) -> None:
        """A triggered order arrives: with closePosition it closes whatever the position is now."""
        state, algo = self._state, self._orders[algo_id]
        account = state.accounts[algo.account]
        try:
            child = matching.place(self._child(account, algo))
        except Refusal as refusal:
            algo.reason = refusal.message
            self._move(algo, AlgoStatus.REJECTED)
            return
        algo.child_id = child.order_id
        self._move(algo, AlgoStatus.TRIGGERED)
        if child.status.final:
            self.child_ended(child)

    def _child(self, account: Account, algo: AlgoOrder) -> Order:
        limited = algo.child_type is OrderType.LIMIT
        ticks = algo.ticks
        if limited and algo.price_match != "NONE":
            ticks = matched_price(self._state.books, algo.listing, algo.side, algo.price_match)
        return Order(
            account=account.id,
            listing=algo.listing,
            client_id=algo.client_id,
            side=algo.side,
            type=algo.child_type,
            tif=TimeInForce(algo.tif) if limited and algo.tif != "GTE_GTC" else TimeInForce.GTC,
            ticks=ticks,
            steps=abs(account.position(algo.listing, algo.position_side).steps) if algo.close_position else algo.steps,
            position_side=algo.position_side,
            reduce_only=algo.reduce_only or algo.close_position,
            stp=algo.stp,
            price_match=algo.price_match,
            good_till_ms=algo.good_till_ms,
            algo_id=algo.algo_id,
            conditional_type=algo.type.value,
            close_position=algo.close_position,
            trigger_ticks=algo.trigger_ticks,
            working_type=algo.working_type.value,
            price_protect=algo.price_protect,
        )

    def child_ended(self, child: Order) -> None:
        """The order that a conditional order became is final; one that ends while it is placed is told of later."""
        algo = self._orders.get(child.algo_id)
        if algo is None or algo.status is not AlgoStatus.TRIGGERED:
            return
        algo.filled = child.filled
        algo.average = child.average
        self._move(algo, AlgoStatus.FINISHED)

    # -- looking -----------------------------------------------------------------------------------------------------

    def open_orders(self, account: str, symbol: int | None = None) -> list[AlgoOrder]:
        """Orders that are not final, oldest first."""
        lists = self._waiting.values() if symbol is None else [self._waiting.get(symbol, [])]
        found = [algo for waiting in lists for algo in waiting if algo.account == account]
        return sorted(found, key=lambda algo: algo.algo_id)

    def find(self, account: str, algo_id: int | None, client_id: str | None) -> AlgoOrder | None:
        """By id where one is given, else the latest with that client id; open or final."""
        if algo_id is not None:
            algo = self._orders.get(algo_id)
            return algo if algo is not None and algo.account == account else None
        own = (algo for algo in reversed(self._orders.values()) if algo.account == account)
        return next((algo for algo in own if algo.client_id == client_id), None)

    def bounds(self, symbol: int) -> tuple[int, int, int, int]:
        """(low, high) in ticks and (low, high) of the mark in 1e-8: what `Books.watch` must tell us of."""
        if symbol not in self._waiting:
            return UNTOUCHED
        bounds = list(UNTOUCHED)
        for algo in self._waiting[symbol]:
            if algo.status is AlgoStatus.NEW:
                low, high = algo.bounds()
                slot = 2 * (algo.working_type is WorkingType.MARK_PRICE)
                bounds[slot], bounds[slot + 1] = max(bounds[slot], low), min(bounds[slot + 1], high)
        return bounds[0], bounds[1], bounds[2], bounds[3]

    def all(self) -> list[AlgoOrder]:
        """Every order that is still known, oldest first."""
        return list(self._orders.values())

    def restore(self, orders: list[AlgoOrder]) -> None:
        """Take over orders as `all` gave them."""
        self._orders = OrderedDict((algo.algo_id, algo) for algo in orders)
        self._waiting = {}
        for algo in orders:
            if not algo.status.final:
                self._waiting.setdefault(algo.listing.index, []).append(algo)

    # -- recording ---------------------------------------------------------------------------------------------------

    def _move(self, algo: AlgoOrder, status: AlgoStatus) -> None:
        symbol = algo.listing.index
        algo.move(status, self._state.now_ms)
        self._state.dirty.add(symbol)
        if status.final:
            self._waiting[symbol].remove(algo)
            if not self._waiting[symbol]:
                del self._waiting[symbol]
            while len(self._orders) > _KEPT_FINAL and next(iter(self._orders.values())).status.final:
                self._orders.popitem(last=False)
        self._record(algo)

    def _record(self, algo: AlgoOrder) -> None:
        """Ledger entry and ALGO_UPDATE of a change."""
        state = self._state
        state.ledger.write(
            state.now_ns,
            "algo",
            {
                "account": algo.account,
                "symbol": algo.listing.symbol,
                "algo_id": algo.algo_id,
                "client_id": algo.client_id,
                "side": algo.side.value,
                "type": algo.type.value,
                "position_side": algo.position_side,
                "trigger": algo.listing.price_text(algo.trigger_ticks),
                "price": algo.listing.price_text(algo.ticks),
                "qty": algo.listing.quantity_text(algo.steps),
                "working_type": algo.working_type.value,
                "status": algo.status.value,
                "order_id": algo.child_id,
                "filled": algo.listing.quantity_text(algo.filled),
                "reason": algo.reason,
            },
        )
        state.tell(algo.account, algo_update(algo, state.now_ms))


def _kind(algo: AlgoOrder) -> tuple[object, ...]:
    """Of which an account may have one closePosition order."""
    return algo.listing.index, algo.position_side, algo.side, algo.type
