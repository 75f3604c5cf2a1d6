"""A simulator over a scripted market, and a client that signs: the rig of the trading side's tests."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import attrs
import numpy as np

from aegis.exchange.books import Books
from aegis.exchange.history import History
from aegis.exchange.latency import Latency
from aegis.exchange.ledger import Ledger, LedgerView, fold_ledger
from aegis.exchange.listing import Bracket, Listing
from aegis.exchange.security import AccountSetup
from aegis.exchange.simulator import ApiRequest, ApiResponse, Simulator
from aegis.kernels.books import EVENT, MARK, QUOTE, TRADE

START_NS = 1_790_000_010_000_000_000  # 10 s into a minute, far from a funding time
MS = 1_000_000
SECOND = 1_000_000_000
KEY, SECRET = "k" * 64, "s" * 64

_BRACKETS = (
    Bracket(bracket=1, leverage=50, floor=Decimal(0), cap=Decimal(50_000), mmr=Decimal("0.004"), cum=Decimal(0)),
    Bracket(bracket=2, leverage=20, floor=Decimal(50_000), cap=Decimal(100_000), mmr=Decimal("0.01"), cum=Decimal(300)),
)


def listing(symbol: str, index: int, **changes: Any) -> Listing:
    """Tick 0.1, step 0.001, about 100.0 a unit: 1000 ticks."""
    plain: dict[str, Any] = {
        "symbol": symbol, "index": index, "base": symbol[:-4], "tick": Decimal("0.1"), "step": Decimal("0.001"),
        "price_decimals": 1, "qty_decimals": 3, "min_price": Decimal("0.1"), "max_price": Decimal(10_000),
        "min_qty": Decimal("0.001"), "max_qty": Decimal(1_000), "market_max_qty": Decimal(500),
        "min_notional": Decimal(5), "brackets": _BRACKETS, "start_ticks": 1000, "touch_steps": 5_000,
        "trade_steps": 500,
    }  # fmt: skip
    return Listing(**(plain | changes))


LISTINGS = (listing("AAAUSDT", 0), listing("BBBUSDT", 1), listing("CCCUSDT", 2, status="SETTLING"),
            listing("DDDUSDT", 3))  # fmt: skip


class Script:
    """A market source whose events are added as the test goes on."""

    def __init__(self) -> None:
        self.left: list[dict[str, int]] = []

    def add(self, *events: dict[str, int]) -> None:
        self.left = sorted([*self.left, *events], key=lambda event: event["time_ns"])

    def events(self, until_ns: int) -> np.ndarray:
        due = [event for event in self.left if event["time_ns"] <= until_ns]
        self.left = self.left[len(due) :]
        out = np.zeros(len(due), EVENT)
        for row, event in zip(out, due, strict=True):
            for name, value in event.items():
                row[name] = value
        return out

    def snapshot(self) -> dict[str, np.ndarray]:
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        return None


@attrs.define
class Rig:
    """Simulator, its script, its ledger, a clock, and all user events that arrived."""

    simulator: Simulator
    books: Books
    history: History
    script: Script
    ledger: Ledger
    now_ns: int = START_NS
    events: list[tuple[str, dict[str, Any]]] = attrs.field(factory=list)
    settings: dict[str, Any] = attrs.field(factory=dict)

    # -- the market ---------------------------------------------------------------------------------------------------
    def quote(self, bid: int, ask: int, bid_qty: int = 5_000, ask_qty: int = 5_000, symbol: int = 0) -> None:
        self._happen(kind=QUOTE, bid=bid, ask=ask, bid_qty=bid_qty, ask_qty=ask_qty, symbol=symbol)

    def trade(self, side: int, ticks: int, steps: int, symbol: int = 0) -> None:
        self._happen(
            kind=TRADE, side=side, price=ticks, qty=steps, order=self.now_ns // MS % 1_000_000_000, symbol=symbol
        )

    def mark(self, ticks: float, symbol: int = 0) -> None:
        e8 = round(ticks * 10_000_000)
        self._happen(kind=MARK, mark_e8=e8, index_e8=e8, symbol=symbol)

    def _happen(self, **event: int) -> None:
        """One millisecond later, this happens."""
        self.now_ns += MS
        self.script.add({"time_ns": self.now_ns, **event})
        self.simulator.advance(self.now_ns)

    def wait(self, ms: float) -> None:
        self.now_ns += round(ms * MS)
        self.simulator.advance(self.now_ns)

    # -- the client ---------------------------------------------------------------------------------------------------
    def send(self, request: ApiRequest) -> ApiResponse:
        """The answer, however long it takes."""
        answers: list[ApiResponse] = []
        self.simulator.request(request, self.now_ns, answers.append)
        while not answers:
            due_ns = self.simulator.next_ns()
            assert due_ns is not None
            self.now_ns = max(self.now_ns, due_ns)
            self.simulator.advance(self.now_ns)
        (answer,) = answers
        return answer

    def call(self, method: str, path: str, key: str = KEY, secret: str = SECRET, **params: Any) -> Any:
        """A signed call; the decoded body, or ("refused", code)."""
        request = signed(method, path, params, self.now_ns // MS, key, secret)
        answer = self.send(request)
        body = json.loads(answer.body)
        return body if answer.status == 200 else ("refused", body["code"])

    def order(self, side: str, quantity: str, price: str | None = None, tif: str = "GTC", **more: Any) -> Any:
        """POST order on AAAUSDT, LIMIT when a price is given; the answer tells the result."""
        kind = {"type": "MARKET"} if price is None else {"type": "LIMIT", "price": price, "timeInForce": tif}
        params = {"symbol": "AAAUSDT", "side": side, "quantity": quantity, "newOrderRespType": "RESULT", **kind, **more}
        return self.call("POST", "/fapi/v1/order", **params)

    def algo(self, side: str, type: str, trigger: str, **more: Any) -> Any:
        params = {
            "algoType": "CONDITIONAL", "symbol": "AAAUSDT", "side": side, "type": type, "triggerPrice": trigger,
            "closePosition": "true", **more,
        }  # fmt: skip
        return self.call("POST", "/fapi/v1/algoOrder", **params)

    def position(self, symbol: str = "AAAUSDT") -> Decimal:
        rows = self.call("GET", "/fapi/v3/positionRisk", symbol=symbol)
        return Decimal(rows[0]["positionAmt"]) if rows else Decimal(0)

    def wallet(self) -> Decimal:
        return Decimal(self.call("GET", "/fapi/v3/account")["totalWalletBalance"])

    # -- what happened ------------------------------------------------------------------------------------------------
    def heard(self, kind: str) -> list[dict[str, Any]]:
        """User events of one kind that arrived, after waiting for all that are on their way."""
        self.wait(5_000)
        return [event for _, event in self.events if event["e"] == kind]

    @property
    def view(self) -> LedgerView:
        return fold_ledger(self.ledger.entries)


def signed(
    method: str, path: str, params: Mapping[str, Any], ms: int, key: str = KEY, secret: str = SECRET
) -> ApiRequest:
    """A request signed with HMAC, everything in the query."""
    query = urlencode({**params, "timestamp": ms})
    signature = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    return ApiRequest(method=method, path=path, query=f"{query}&signature={signature}".encode(), api_key=key)


def make_rig(
    *,
    latency: Latency | None = None,
    accounts: tuple[AccountSetup, ...] = (AccountSetup(id="main", api_key=KEY, secret=SECRET),),
    seed: int = 7,
    listings: tuple[Listing, ...] = LISTINGS,
    **more: Any,
) -> Rig:
    """A market at 99.9 / 100.1 on every symbol, mark and last 100.0, without latency unless one is given."""
    script = Script()
    for one in listings:
        script.add({"time_ns": START_NS, "symbol": one.index, "kind": QUOTE, "bid": 999, "ask": 1001,
                    "bid_qty": 5_000, "ask_qty": 5_000})  # fmt: skip
        script.add({"time_ns": START_NS, "symbol": one.index, "kind": MARK, "mark_e8": 10**10, "index_e8": 10**10})
    books = Books(listings, script, start_ns=START_NS)
    history = History(listings, None, START_NS // MS)
    ledger = more.pop("ledger", None) or Ledger()
    latency = Latency(median_ms=0.0, p99_ms=0.0) if latency is None else latency
    simulator = Simulator(
        books, history, listings, accounts=accounts, latency=latency, ledger=ledger, seed=seed, **more
    )
    rig = Rig(simulator, books, history, script, ledger)
    simulator.user_events = lambda account, payload: rig.events.append((account, json.loads(payload)))
    return rig
