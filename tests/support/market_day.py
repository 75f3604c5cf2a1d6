"""A stretch of the seeded market, traded through the exchange without latency by those who hope for a free lunch."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from typing import Any

import attrs
import numpy as np

from aegis.exchange.books import Books
from aegis.exchange.history import History
from aegis.exchange.latency import Latency
from aegis.exchange.listing import synthetic_listings
from aegis.exchange.security import AccountSetup
from aegis.exchange.simulator import Simulator
from aegis.exchange.synthetic import SyntheticSource
from aegis.kernels.books import QUOTE, TRADE
from aegis.kernels.synthetic import BIN_NS
from tests.support.exchange_rig import KEY, SECRET, START_NS, signed

MS = 1_000_000
SECOND = 1_000_000_000
#: Places among the contracts by activity: the largest, one of many, one of the quiet ones.
RANKS = (0, 5, 39)
TAKERS = {"random": 0, "momentum 100 ms": 100, "momentum 1 s": 1000, "reversal 100 ms": 100, "reversal 1 s": 1000}
KINDS = (*TAKERS, "maker")
_REST_MS = 12_000
_TRIES = 40


@attrs.frozen
class Round:
    """One round trip of a taker in bp of the price: what it made before fees, its fees, the spread at its entry."""

    gross: float
    fees: float
    spread: float


@attrs.frozen
class Passive:
    """One passive fill in bp: how the mid moved after it, in its favour, and what it made by then, maker fee paid."""

    mark_100ms: float
    mark_1s: float
    net_1s: float


@attrs.define
class Facts:
    """What came of it; `phases` counts price changes of the market's own quotes by tenths of a 100 ms bin."""

    rounds: dict[str, list[Round]] = attrs.field(factory=lambda: defaultdict(list))
    passive: list[Passive] = attrs.field(factory=list)
    orders: int = 0
    sweeps: int = 0
    phases: np.ndarray = attrs.field(factory=lambda: np.zeros(10, np.int64))
    on_edge: int = 0
    changes: int = 0
    left_at_once: list[float] = attrs.field(factory=list)
    """Share of a level that is back right after it was consumed whole."""
    back_after_50ms: list[float] = attrs.field(factory=list)


class MarketDay:
    """`run` trades `hours` with one attempt every `period_s`, of each kind in turn, on each symbol in turn."""

    def __init__(self, seed: int, hours: float, period_s: float) -> None:
        listings = synthetic_listings(max(RANKS) + 1, seed, START_NS // MS)
        self.listings = tuple(attrs.evolve(listings[rank], index=k) for k, rank in enumerate(RANKS))
        source = SyntheticSource(self.listings, seed=seed, start_ns=START_NS)
        self.books = Books(self.listings, source, start_ns=START_NS)
        self.simulator = Simulator(
            self.books, History(self.listings, None, START_NS // MS), self.listings,
            accounts=(AccountSetup(id="main", api_key=KEY, secret=SECRET, wallet=Decimal(10**7)),),
            latency=Latency(median_ms=0.0, p99_ms=0.0), seed=seed, weight_limit=10**7, orders_10s=10**6,
            orders_minute=10**6,
        )  # fmt: skip
        self.simulator.user_events = self._heard
        self.random = np.random.default_rng(seed)
        self.now_ns = START_NS
        self.end_ns = START_NS + int(hours * 3600 * SECOND)
        self.period_ns = int(period_s * SECOND)
        self.facts = Facts()
        self._tape: list[list[Any]] = [[] for _ in RANKS]
        self._fills: dict[str, list[tuple[int, float, float, float]]] = defaultdict(list)
        self._rested: list[tuple[int, int, str]] = []
        self._seen: list[np.ndarray] = []
        self._count = 0

    # -- the exchange, by its API --------------------------------------------------------------------------------------
    def _heard(self, account: str, payload: bytes) -> None:
        event = json.loads(payload)
        if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["x"] == "TRADE":
            told = event["o"]
            fill = (int(told["T"]) * MS, float(told["L"]), float(told["l"]), float(told["n"]))
            self._fills[told["c"]].append(fill)

    def call(self, method: str, path: str, **params: Any) -> Any:
        answers: list[Any] = []
        request = signed(method, path, params, self.now_ns // MS)
        self.simulator.request(request, self.now_ns, answers.append)
        self.simulator.advance(self.now_ns)
        self._drain()
        return json.loads(answers[0].body)

    def order(self, symbol: int, side: int, qty: Decimal, ticks: int, tif: str) -> str:
        self._count += 1
        one, cid = self.listings[symbol], f"a-{self._count}"
        self.call(
            "POST", "/fapi/v1/order", symbol=one.symbol, side="BUY" if side > 0 else "SELL", type="LIMIT",
            timeInForce=tif, quantity=f"{qty:f}", price=f"{ticks * one.tick:f}", newClientOrderId=cid,
        )  # fmt: skip
        return cid

    def to(self, now_ns: int) -> None:
        self.now_ns = max(self.now_ns, now_ns)
        self.simulator.advance(self.now_ns)
        self._drain()

    def _drain(self, least: int = 50_000) -> None:
        """Count what was published, many records at a time."""
        self._seen.append(self.books.published())
        if sum(map(len, self._seen)) < least:
            return
        rows, self._seen = np.concatenate(self._seen), []
        traded = rows[(rows["kind"] == TRADE) & (rows["order"] > 0)]
        for symbol in range(len(RANKS)):
            mine = traded[traded["symbol"] == symbol]
            _, starts = np.unique(mine["order"], return_index=True)
            if len(starts):
                wide = np.maximum.reduceat(mine["price"], starts) != np.minimum.reduceat(mine["price"], starts)
                self.facts.orders += len(starts)
                self.facts.sweeps += int(wide.sum())
            quotes = rows[(rows["kind"] == QUOTE) & (rows["symbol"] == symbol)]
            if len(quotes):
                self._tape[symbol].append(quotes[["time_ns", "bid", "ask"]].copy())
                moved = quotes["time_ns"][1:][np.diff(quotes["bid"] + quotes["ask"]) != 0]
                self.facts.changes += len(moved)
                self.facts.on_edge += int((moved % BIN_NS == 0).sum())
                self.facts.phases += np.bincount(moved % BIN_NS * 10 // BIN_NS, minlength=10)

    # -- those who trade -----------------------------------------------------------------------------------------------
    def touch(self, symbol: int) -> tuple[int, int]:
        return int(self.books.bid[symbol]), int(self.books.ask[symbol])

    def qty(self, symbol: int) -> Decimal:
        one, ticks = self.listings[symbol], self.touch(symbol)[1]
        least = max(one.min_qty, one.min_notional * Decimal("1.3") / (ticks * one.tick))
        return (least // one.step + 1) * one.step

    def run(self) -> Facts:
        number = 0
        while self.now_ns + self.period_ns < self.end_ns:
            start_ns = self.now_ns
            kind, symbol = KINDS[number % len(KINDS)], number // len(KINDS) % len(RANKS)
            self.to(self.now_ns + int(self.random.integers(MS, SECOND)))  # nobody knows where in a bin he is
            if kind == "maker":
                self._make(symbol)
            else:
                self._take(kind, symbol)
            if number % 97 == 0:
                self._consume(len(RANKS) - 1)
            self.to(start_ns + self.period_ns)
            number += 1
        self._drain(0)
        self._judge_passive()
        return self.facts

    def _take(self, kind: str, symbol: int) -> None:
        span_ms = TAKERS[kind]
        way = 1 if self.random.random() < 0.5 else -1
        if span_ms:
            change = 0
            for _ in range(_TRIES):
                before = sum(self.touch(symbol))
                self.to(self.now_ns + span_ms * MS)
                change = sum(self.touch(symbol)) - before
                if change:
                    break
            if not change:
                return
            way = (1 if change > 0 else -1) * (1 if kind.startswith("momentum") else -1)
        bid, ask = self.touch(symbol)
        qty = self.qty(symbol)
        first = self.order(symbol, way, qty, (ask if way > 0 else bid) + 50 * way, "IOC")
        self.to(self.now_ns + (span_ms or 1000) * MS)
        got = sum(fill[2] for fill in self._fills[first])
        if not got:
            return
        out_bid, out_ask = self.touch(symbol)
        last = self.order(symbol, -way, qty, (out_bid if way > 0 else out_ask) - 500 * way, "IOC")
        entry, exit_ = self._fills[first], self._fills[last]
        paid, earned = (sum(price * size for _, price, size, _ in fills) / got for fills in (entry, exit_))
        fees = sum(fee for fills in (entry, exit_) for *_, fee in fills) / got
        price = paid / 10_000
        spread = (ask - bid) * float(self.listings[symbol].tick)
        self.facts.rounds[kind].append(Round(way * (earned - paid) / price, fees / price, spread / price))

    def _make(self, symbol: int) -> None:
        """Post on both touches, wait, end what is left, and close what came of it."""
        (bid, ask), qty = self.touch(symbol), self.qty(symbol)
        made = [(way, self.order(symbol, way, qty, ticks, "GTX")) for way, ticks in ((1, bid), (-1, ask))]
        self.to(self.now_ns + _REST_MS * MS)
        self.call("DELETE", "/fapi/v1/allOpenOrders", symbol=self.listings[symbol].symbol)
        self._rested += [(symbol, way, cid) for way, cid in made]
        held = sum(way * fill[2] for way, cid in made for fill in self._fills[cid])
        if abs(held) > 1e-12:
            way, (bid, ask) = (-1 if held > 0 else 1), self.touch(symbol)
            left = Decimal(str(round(abs(held), self.listings[symbol].qty_decimals)))
            self.order(symbol, way, left, (ask if way > 0 else bid) + 500 * way, "IOC")

    def _consume(self, symbol: int) -> None:
        """Take a whole level, look at once and 50 ms later, give it back."""
        one, (_, ask) = self.listings[symbol], self.touch(symbol)
        size = self._asked(symbol, ask)
        if not size:
            return
        cid = self.order(symbol, 1, size, ask, "IOC")
        got = Decimal(str(round(sum(fill[2] for fill in self._fills[cid]), one.qty_decimals)))
        if got == size:  # an order that was refused has consumed nothing
            self.facts.left_at_once.append(float(self._asked(symbol, ask) / size))
            self.to(self.now_ns + 50 * MS)
            self.facts.back_after_50ms.append(float(self._asked(symbol, ask) / size))
        if got:
            self.order(symbol, -1, got, self.touch(symbol)[0] - 500, "IOC")

    def _asked(self, symbol: int, ticks: int) -> Decimal:
        """What the order book of the API shows for sale at a price."""
        one = self.listings[symbol]
        rows = self.call("GET", "/fapi/v1/depth", symbol=one.symbol, limit=20)["asks"]
        return sum((Decimal(qty) for price, qty in rows if Decimal(price) == ticks * one.tick), Decimal(0))

    def _judge_passive(self) -> None:
        tapes = [np.concatenate(parts) for parts in self._tape]
        for symbol, way, cid in self._rested:
            tape, tick = tapes[symbol], float(self.listings[symbol].tick)
            mids = (tape["bid"] + tape["ask"]) * 0.5 * tick

            def at(time_ns: int, mids: Any = mids, tape: Any = tape) -> float:
                return float(mids[np.searchsorted(tape["time_ns"], time_ns, side="right") - 1])

            for time_ns, price, size, fee in self._fills[cid]:
                before, unit = at(time_ns - 1), price / 10_000
                marks = [way * (at(time_ns + ms * MS) - before) / unit for ms in (100, 1000)]
                net = (way * (at(time_ns + SECOND) - price) - fee / size) / unit
                self.facts.passive.append(Passive(*marks, net))
