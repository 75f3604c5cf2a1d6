"""The simulated exchange's trading side: synchronous, deterministic, without a clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from decimal import Decimal
from typing import Any

from aegis.core.errors import ConfigError, InvariantBroken
from aegis.exchange.account import Fees
from aegis.exchange.api import ApiRequest, ApiResponse
from aegis.exchange.api_dispatch import Dispatcher
from aegis.exchange.api_ws import WsApi, WsCall
from aegis.exchange.books import Books
from aegis.exchange.core import Core
from aegis.exchange.history import History
from aegis.exchange.latency import Latency, LatencyStream
from aegis.exchange.ledger import Ledger
from aegis.exchange.limits import ORDERS_10S, ORDERS_MINUTE, RateLimits
from aegis.exchange.listing import Listing
from aegis.exchange.money import amount_of, decimal_of, money
from aegis.exchange.news import News
from aegis.exchange.scenario import NO_PLAN, Plan
from aegis.exchange.security import AccountSetup, KeyRing
from aegis.exchange.snapshot import load, save
from aegis.exchange.state import TriggerDue, UserPush

#: What the insurance fund holds at the start, USDT.
INSURANCE = Decimal(1_000_000)

__all__ = ["AccountSetup", "ApiRequest", "ApiResponse", "Fees", "Latency", "Simulator"]


def _nobody_listens(account_id: str, payload: bytes) -> None:
    """User events go nowhere until somebody sets `Simulator.user_events`."""


class Simulator:
    """Accounts, orders and money over public books that somebody else's prices move.

    Trading calls (orders, conditional orders, cancels) travel one way before they meet the book of that moment, and
    their answers travel back; user events travel too. All other calls are answered at once. Callbacks are called from
    `advance`, in time order; they must not call back into the simulator.

    Attributes:
        user_events: called with (account id, JSON payload) when a user event reaches the account's sockets.
    """

    def __init__(
        self,
        books: Books,
        history: History,
        listings: Sequence[Listing],
        *,
        accounts: Sequence[AccountSetup],
        fees: Fees | None = None,
        latency: Latency | None = None,
        ledger: Ledger | None = None,
        seed: int = 0,
        weight_limit: int = 2400,
        orders_10s: int = ORDERS_10S,
        orders_minute: int = ORDERS_MINUTE,
        insurance: Decimal = INSURANCE,
        plan: Plan = NO_PLAN,
    ) -> None:
        """Open the accounts, or stand ready for `restore` when the ledger has entries already."""
        self._latency = LatencyStream(Latency() if latency is None else latency, seed)
        self._core = Core(
            books,
            history,
            listings,
            accounts,
            fees=Fees() if fees is None else fees,
            ledger=Ledger() if ledger is None else ledger,
            draws=self._latency,
            seed=seed,
            limits=RateLimits(weight_limit, orders_10s=orders_10s, orders_minute=orders_minute),
            insurance=amount_of(insurance),
            plan=plan,
        )
        self._dispatcher = Dispatcher(self._core, KeyRing(tuple(accounts)))
        self._ws = WsApi(self._core, self._dispatcher)
        self._arrivals: dict[Hashable, int] = {}
        self._replies: dict[Hashable, int] = {}
        self._advancing = False
        self._opened = False
        self.user_events: Callable[[str, bytes], None] = _nobody_listens
        if self._core.state.ledger.seq == 0:
            self._open()

    def _open(self) -> None:
        state = self._core.state
        state.ledger.write(state.now_ns, "session", {"event": "start"})
        for account in state.accounts.values():
            state.ledger.write(state.now_ns, "open", {"account": account.id, "wallet": money(account.wallet)})
        self._core.upkeep.start()
        self._core.contracts.start()
        self._opened = True

    # -- requests ----------------------------------------------------------------------------------------------------

    def request(self, request: ApiRequest, now_ns: int, deliver: Callable[[ApiResponse], None]) -> None:
        """Take an HTTP request at `now_ns`; `deliver` gets the answer, at once unless it is a trading call."""
        self.advance(now_ns)
        route = self._dispatcher.route(request)
        if route is None or not route.trading:
            deliver(self._dispatcher.answer(request))
            return

        def arrive() -> None:
            response = self._dispatcher.answer(request)
            self._core.state.timetable.add(self._core.state.now_ns + self._latency.draw_ns(), lambda: deliver(response))

        self._core.state.timetable.add(self._core.state.now_ns + self._latency.draw_ns(), arrive)

    def ws_api(
        self, message: bytes, now_ns: int, deliver: Callable[[bytes | None], None], connection: Hashable = None
    ) -> None:
        """Take a frame of the WebSocket API; the same handlers and latency as REST.

        Args:
            connection: identifies the socket, `deliver` when it is not given. On one socket requests arrive in the
                order in which they were sent, as do answers of trading calls; session.logon is remembered a socket.
        """
        self.advance(now_ns)
        socket: Hashable = deliver if connection is None else connection
        call = self._ws.decode(message)
        if not call.trading:
            deliver(self._ws.answer(call, socket))
            return

        def arrive() -> None:
            reply = self._ws.answer(call, socket)
            self._core.state.timetable.add(self._later(self._replies, socket), lambda: deliver(reply))

        self._core.state.timetable.add(self._later(self._arrivals, socket), arrive)

    def decode_ws(self, message: bytes) -> WsCall:
        """What a frame of the WebSocket API asks for."""
        return self._ws.decode(message)

    @property
    def now_ns(self) -> int:
        """The exchange's time."""
        return self._core.state.now_ns

    def _later(self, lane: dict[Hashable, int], socket: Hashable) -> int:
        """A latency from now, but not before what the socket carries already."""
        now_ns = self._core.state.now_ns
        for idle in [key for key, ns in lane.items() if ns <= now_ns]:
            del lane[idle]
        lane[socket] = max(lane.get(socket, 0), now_ns + self._latency.draw_ns())
        return lane[socket]

    # -- time --------------------------------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> None:
        """Market, arrivals, triggers, fills, answers and user events up to `now_ns`, strictly in time order."""
        if self._advancing:
            raise InvariantBroken("a callback called back into the simulator")
        if not self._opened:
            raise ConfigError("the ledger belongs to an earlier run of the exchange whose state was not restored")
        state = self._core.state
        self._advancing = True
        try:
            while True:
                due_ns = state.timetable.next_ns
                touched = state.books.advance(now_ns if due_ns is None else min(now_ns, due_ns))
                if touched >= 0:
                    self._core.touched(touched)
                elif due_ns is not None and due_ns <= now_ns:
                    self._run_next()
                else:
                    break
        finally:
            self._advancing = False

    def _run_next(self) -> None:
        due = self._core.state.timetable.pop()
        if isinstance(due, UserPush):
            for payload in due.payloads():
                self.user_events(due.account, payload)
        elif isinstance(due, TriggerDue):
            self._core.triggered(due)
        elif isinstance(due, str):
            self._core.timer(due)
        else:
            due()

    def next_ns(self) -> int | None:
        """The earliest thing that is scheduled; the market may touch an order before it."""
        return self._core.state.timetable.next_ns

    # -- money -------------------------------------------------------------------------------------------------------

    def wallets(self) -> dict[str, Decimal]:
        """Every account's wallet, by its id."""
        return {account.id: decimal_of(account.wallet) for account in self._core.state.accounts.values()}

    def house(self) -> dict[str, Decimal]:
        """The other side of every wallet movement so far, by income type: what the public won of our orders, the fees
        and the funding that were paid, and what the insurance fund holds. With the wallets it sums up to what there was
        at the start."""
        return {reason: decimal_of(amount) for reason, amount in self._core.state.house.items()}

    def news(self) -> list[News]:
        """What the public has to hear, since the last call."""
        news = list(self._core.state.news)
        self._core.state.news.clear()
        return news

    # -- private stream ----------------------------------------------------------------------------------------------

    def account_of(self, listen_key: str) -> str | None:
        """Whose events an active listen key reads."""
        return self._core.keys.account_of(listen_key, self._core.state.now_ms)

    # -- state -------------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Positions, orders, money, ids and timetable as JSON values. Books and history have snapshots of their own."""
        return save(self._core)

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on where `snapshot` was taken, over books and history restored from the same moment.

        Raises:
            ConfigError: it belongs to another exchange, or the ledger has entries that it does not know.
        """
        load(self._core, saved)
        self._opened = True
        state = self._core.state
        state.ledger.write(state.now_ns, "session", {"event": "restore"})
        self._core.settle()
