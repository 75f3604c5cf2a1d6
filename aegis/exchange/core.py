"""The order core put together: matching, conditional orders and upkeep over one state."""

from __future__ import annotations

from collections.abc import Sequence

from aegis.exchange.account import Fees
from aegis.exchange.books import Books
from aegis.exchange.conditional import Conditional
from aegis.exchange.contracts import Contracts
from aegis.exchange.history import History
from aegis.exchange.latency import LatencyStream
from aegis.exchange.ledger import Ledger
from aegis.exchange.limits import RateLimits
from aegis.exchange.listing import Listing
from aegis.exchange.matching import Matching
from aegis.exchange.scenario import NO_PLAN, Plan
from aegis.exchange.security import AccountSetup
from aegis.exchange.state import State, TriggerDue
from aegis.exchange.upkeep import Upkeep
from aegis.exchange.userstream import ListenKeys, listen_key_expired
from aegis.kernels.books import MARK, TRADE

__all__ = ["Core"]


class Core:
    """Everything that an API handler may touch. After whatever it did, `settle` brings the rest up to date."""

    def __init__(
        self,
        books: Books,
        history: History,
        listings: Sequence[Listing],
        accounts: Sequence[AccountSetup],
        *,
        fees: Fees,
        ledger: Ledger,
        draws: LatencyStream,
        seed: int,
        limits: RateLimits,
        insurance: int,
        plan: Plan = NO_PLAN,
    ) -> None:
        self.state = State(books, listings, accounts, fees=fees, ledger=ledger, draws=draws, insurance=insurance)
        self.history = history
        self.conditional = Conditional(self.state)
        self.matching = Matching(self.state, self.conditional.position_changed, self.conditional.child_ended)
        self.upkeep = Upkeep(self.state, self.matching)
        self.contracts = Contracts(self.state, self.matching, self.conditional, plan)
        self.keys = ListenKeys(seed)
        self.limits = limits
        self._keys_checked_ms = 0

    def touched(self, symbol: int) -> None:
        """The market event that `Books.advance` stopped at: serve resting orders, then trigger conditional ones."""
        event = self.state.books.last_event
        if event["kind"] == TRADE:
            # The source's print, at the price at which it was published.
            ticks = int(self.state.books.last[symbol])
            self.matching.on_print(symbol, ticks, int(event["qty"]), int(event["side"]))
            self.conditional.on_last(symbol, ticks)
        elif event["kind"] == MARK:
            self.conditional.on_mark(symbol)
        self.matching.on_quote(symbol)
        self.settle()

    def triggered(self, due: TriggerDue) -> None:
        """A triggered conditional order reaches the matching engine."""
        self.conditional.due(due.algo_id, self.matching)
        self.settle()

    def timer(self, name: str) -> None:
        """A timetable entry of our own: "funding", "margin", "orders", "keys" or "scenario"."""
        match name:
            case "funding":
                self.upkeep.funding()
            case "margin":
                self.upkeep.check_margins()
            case "orders":
                self.upkeep.end_orders()
            case "keys":
                self.expire_keys()
            case "scenario":
                self.contracts.start()
        self.settle()

    def expire_keys(self) -> None:
        """Tell the sockets of listen keys that are over."""
        now_ms = self.state.now_ms
        for account, key in self.keys.expire(now_ms):
            self.state.tell(account, listen_key_expired(key, now_ms))
        self.schedule_keys()

    def schedule_keys(self) -> None:
        """Have the next listen key's end looked at; a check that comes too early does no harm."""
        next_ms = self.keys.next_ms()
        if next_ms is not None and next_ms > self._keys_checked_ms:
            self._keys_checked_ms = next_ms
            self.state.timetable.add(next_ms * 1_000_000, "keys")

    def settle(self) -> None:
        """End of a step: our own prints trigger, bounds are set anew, user events leave."""
        state = self.state
        while state.prints:
            symbol, ticks = state.prints.pop(0)
            self.conditional.on_last(symbol, ticks)
        self.upkeep.watch_margins()
        if state.dirty:
            for symbol in state.dirty:
                low, high, mark_low_e8, mark_high_e8 = self.conditional.bounds(symbol)
                low, high = self.matching.bounds(symbol, low, high)
                state.books.watch(symbol, low, high, mark_low_e8, mark_high_e8)
            state.dirty.clear()
        state.flush_events()
        state.ledger.commit()
