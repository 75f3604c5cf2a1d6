"""What the parts of the order core share: books, accounts, orders, the ledger, the outbox and the timetable."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import attrs
import msgspec

from aegis.core.values import Side
from aegis.exchange.account import Account, Fees, PositionSide
from aegis.exchange.books import Books
from aegis.exchange.latency import LatencyStream
from aegis.exchange.ledger import Ledger
from aegis.exchange.listing import Listing
from aegis.exchange.margin import Margins
from aegis.exchange.money import decimal_of, money
from aegis.exchange.news import News
from aegis.exchange.orders import OrderStore
from aegis.exchange.security import AccountSetup

__all__ = ["Due", "Fill", "FundingRate", "Income", "MarginMove", "State", "Timetable", "TriggerDue", "UserPush"]

_KEPT_FILLS = 100_000
_KEPT_INCOME = 100_000
_KEPT_NEWS = 10_000
_KEPT_MARGIN_MOVES = 10_000
_KEPT_FUNDING_RATES = 100_000


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One of our accounts' trades. `trade_id` is unique within its symbol, also between fills of one public print.

    Money is in 1e-8.
    """

    account: str
    listing: Listing
    order_id: int
    client_id: str
    trade_id: int
    ms: int
    side: Side
    ticks: int
    steps: int
    maker: bool
    commission: int
    realized: int
    position_side: PositionSide


class Income(msgspec.Struct, frozen=True, gc=False):
    """One wallet movement (1e-8), as GET /fapi/v1/income tells it."""

    account: str
    symbol: str
    type: str
    amount: int
    ms: int
    id: int
    trade_id: int
    """0 for none."""


@attrs.frozen
class MarginMove:
    """Money (1e-8) that its owner moved between the wallet and an isolated position; `type` 1 added, 2 took away."""

    account: str
    symbol: str
    position_side: PositionSide
    type: int
    amount: int
    ms: int


@attrs.frozen
class FundingRate:
    """What every holder of a contract was charged at a funding time: `rate_e8` of the notional at `mark_e8`."""

    symbol: str
    ms: int
    rate_e8: int
    mark_e8: int


Event = dict[str, Any]
#: An event to be: the account, the event's kind, and a function that makes it of something that never changes.
Told = tuple[str, str, Callable[[Any], Event], Any]


class UserPush(msgspec.Struct):
    """User events on their way to the account's sockets. They are written as JSON when they get there."""

    account: str
    events: list[Told]

    def payloads(self) -> list[bytes]:
        return [msgspec.json.encode(render(value)) for _, _, render, value in self.events]


@attrs.frozen
class TriggerDue:
    """A conditional order whose price was reached gets to the matching engine."""

    algo_id: int


#: Something to be done at a time: a call (dies with the process) or a value that a saved state keeps.
Due = Callable[[], None] | UserPush | TriggerDue | str


class Timetable:
    """What is to happen when; same time, same order as it was put in."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Due]] = []
        self._count = 0
        self.next_ns: int | None = None
        """When the first of all is due."""

    def add(self, ns: int, due: Due) -> None:
        self._count += 1
        heapq.heappush(self._heap, (ns, self._count, due))
        self.next_ns = self._heap[0][0]

    def pop(self) -> Due:
        due = heapq.heappop(self._heap)[2]
        self.next_ns = self._heap[0][0] if self._heap else None
        return due

    def durable(self) -> list[tuple[int, UserPush | TriggerDue | str]]:
        """What outlives the process, in order."""
        return [(ns, due) for ns, _, due in sorted(self._heap, key=lambda row: row[:2]) if not callable(due)]

    def clear(self) -> None:
        self._heap.clear()
        self.next_ns = None


class State:
    """Shared by matching, conditional orders, margin keeping and the API; holds no rule of its own."""

    def __init__(
        self,
        books: Books,
        listings: Sequence[Listing],
        accounts: Sequence[AccountSetup],
        *,
        fees: Fees,
        ledger: Ledger,
        draws: LatencyStream,
        insurance: int,
    ) -> None:
        self.books = books
        self.listings = tuple(listings)
        self.by_symbol = {listing.symbol: listing for listing in listings}
        self.accounts = {setup.id: Account(setup) for setup in accounts}
        self.margins = {id: Margins(account, books) for id, account in self.accounts.items()}
        self.house = {"REALIZED_PNL": 0, "COMMISSION": 0, "FUNDING_FEE": 0, "INSURANCE_CLEAR": insurance}
        """The other side of every wallet movement, by its reason: the public that our orders trade with, the fees that
        the exchange earned, the public's funding, the insurance fund. With all wallets it sums up to what there was at
        the start."""
        self.fees = fees
        self.ledger = ledger
        self.draws = draws
        self.orders = OrderStore()
        self.timetable = Timetable()
        self.fills: deque[Fill] = deque(maxlen=_KEPT_FILLS)
        self.incomes: deque[Income] = deque(maxlen=_KEPT_INCOME)
        self.margin_moves: deque[MarginMove] = deque(maxlen=_KEPT_MARGIN_MOVES)
        self.funding_rates: deque[FundingRate] = deque(maxlen=_KEPT_FUNDING_RATES)
        self.counters: dict[str, int] = {}
        self.prints: list[tuple[int, int]] = []
        """(symbol, ticks) of prints that our own orders made in this step: conditional orders look at them."""
        self.dirty: set[int] = set()
        """Symbols whose watched bounds must be set anew."""
        self.countdowns: dict[tuple[str, int], int] = {}
        """(account, symbol) -> when its orders are cancelled, ms (countdownCancelAll)."""
        self._outbox: list[Told] = []
        self.last_push_ns: dict[str, int] = {}
        self.news: deque[News] = deque(maxlen=_KEPT_NEWS)
        """For the public; whoever serves it takes it out."""

    # -- time and prices ---------------------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        return self.books.now_ns

    @property
    def now_ms(self) -> int:
        return self.books.now_ms

    def mark_e8(self, listing: Listing) -> int:
        """Mark price in 1e-8."""
        return self.books.mark_e8.item(listing.index)

    def mark(self, listing: Listing) -> Decimal:
        """Mark price."""
        return decimal_of(self.mark_e8(listing))

    def last(self, listing: Listing) -> Decimal:
        """Last traded price."""
        return listing.price(int(self.books.last[listing.index]))

    def count(self, name: str) -> int:
        """Next number, from 1, of a counter that survives restarts."""
        number = self.counters[name] = self.counters.get(name, 0) + 1
        return number

    # -- money -------------------------------------------------------------------------------------------------------

    def pay(self, account: Account, symbol: str, reason: str, amount: int, trade_id: int = 0) -> None:
        """Move money (1e-8) into a wallet, out of it when negative: the only way in which a wallet changes."""
        account.wallet += amount
        self.house[reason] -= amount
        income = Income(account.id, symbol, reason, amount, self.books.now_ms, self.count("income"), trade_id)
        self.incomes.append(income)
        self.ledger.note(self.books.now_ns, "balance", _balance, (income, account.wallet))

    # -- user events -------------------------------------------------------------------------------------------------

    def tell(self, account: str, event: Event) -> None:
        """Queue a user event; it leaves at the end of the step."""
        self._outbox.append((account, str(event["e"]), dict, event))

    def tell_later(self, account: str, kind: str, render: Callable[[Any], Event], value: Any) -> None:
        """The same for an event that `render(value)` makes of something that never changes, if somebody reads it."""
        self._outbox.append((account, kind, render, value))

    def flush_events(self) -> None:
        """Send what this step queued: one latency an account, kinds in random relative order, each kind in its own.

        One account's events travel on one connection, so a later step's never overtake an earlier one's.
        """
        outbox = self._outbox
        if not outbox:
            return
        self._outbox = []
        if len(outbox) == 1:  # by far the most frequent
            self._push(outbox[0][0], outbox)
            return
        by_account: dict[str, dict[str, list[Told]]] = {}
        for told in outbox:
            account, kind = told[0], told[1]
            kinds = by_account.get(account)
            if kinds is None:
                kinds = by_account[account] = {}
            if kind in kinds:
                kinds[kind].append(told)
            else:
                kinds[kind] = [told]
        for account, kinds in by_account.items():
            self._push(account, self.draws.shuffled(kinds.values()))

    def _push(self, account: str, events: list[Told]) -> None:
        at_ns, last_ns = self.books.now_ns + self.draws.draw_ns(), self.last_push_ns.get(account, 0)
        if at_ns < last_ns:
            at_ns = last_ns
        self.last_push_ns[account] = at_ns
        self.timetable.add(at_ns, UserPush(account, events))


def _balance(noted: tuple[Income, int]) -> dict[str, Any]:
    """Ledger entry of a wallet movement, and of the wallet after it."""
    income, wallet = noted
    fields = {"account": income.account, "symbol": income.symbol, "reason": income.type}
    return {**fields, "amount": money(income.amount), "wallet": money(wallet)}
