"""The decision side of an engine over a journal in memory, and a venue that keeps its own books and may be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import attrs
import msgspec
import numpy as np

from aegis.config import Config
from aegis.core.approval import Approved
from aegis.core.errors import InvariantBroken
from aegis.core.messages import OrderRequest, Request
from aegis.core.risk import Fees
from aegis.core.values import OrderStatus, Side, SymbolName
from aegis.engine.build import Market, build_machine
from aegis.engine.channel import Channel
from aegis.engine.decision import Decision
from aegis.engine.inputs import NoTap
from aegis.engine.journal_format import Record
from aegis.engine.machine import Machine
from aegis.kernels.layout import EVENT
from aegis.kernels.market import symbol_index
from aegis.kernels.state import Records
from aegis.signals.strategy import Advice, Setup, Strategy
from aegis.signals.view import SymbolView
from aegis.venue import strict
from tests.support.core_cases import make_brackets, make_spec, order_update
from tests.support.market_feed import make_quote

MS = 1_000_000
START_MS = 1_700_000_000_000
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


class Pages(list[Record]):
    """A journal in memory; `broken` makes it fail like a full disk. `watch` is called before each record."""

    def __init__(self, log: list[tuple[str, str]]) -> None:
        super().__init__()
        self.log = log
        self.broken = False
        self.watch: Callable[[], None] = lambda: None

    def append(self, kind: str, data: dict[str, Any], at_ns: int) -> int:  # type: ignore[override]
        if self.broken:
            raise InvariantBroken("disk full")
        self.watch()
        data = msgspec.json.decode(msgspec.json.encode(data))  # what a reader would get
        seq = len(self) + 1
        super().append(Record(seq=seq, kind=kind, at_ns=at_ns, data=data, end=seq))
        self.log.append(("journal", f"{kind} {data.get('cid', '')}".strip()))
        return seq

    def append_all(self, records: Sequence[tuple[str, dict[str, Any]]], at_ns: int) -> int:
        before = len(self)
        try:
            for kind, data in records:
                self.append(kind, data, at_ns)
        except InvariantBroken:
            del self[before:]  # one write: all of them or none
            raise
        return len(self)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [record.data for record in self if record.kind == kind]


class Scripted(Strategy):
    """A strategy that says what the test has put on its tongue."""

    name = "scripted"
    every_bar = False

    def __init__(self) -> None:
        self.advice: list[Advice] = []
        self.forgotten: list[int] = []

    def on_events(self, view: SymbolView, events: Records, now_ms: int) -> list[Advice]:
        said, self.advice = self.advice, []
        return said

    def forget(self, symbol: int) -> None:
        self.forgotten.append(symbol)


def make_setup(**changes: Any) -> Setup:
    fields: dict[str, Any] = {
        "strategy": "scripted", "symbol": 0, "name": "test", "side": Side.BUY, "zone": 7, "timeframe": "1m",
        "entry": 50000.0, "stop": 49000.0, "target": 53000.0, "known_at_ms": START_MS,
        "expires_ms": START_MS + 3_600_000, "time_limit_ms": 600_000, "reasons": (("trend", "up"),),
    }  # fmt: skip
    return Setup(**{**fields, **changes})


@attrs.define
class Rig:
    """An engine's decision side, ACTIVE and warm, with quotes and requests in the test's hands."""

    machine: Machine
    decision: Decision
    pages: Pages
    sent: list[Request]
    log: list[tuple[str, str]]
    strategy: Scripted
    channel: Channel
    now_ns: int = START_MS * MS
    updates: int = 0
    asked: int = 0

    @classmethod
    def make(cls, symbols: Iterable[str] = SYMBOLS[:1], *, run: str = "1", active: bool = True, **risk: Any) -> Rig:
        names = tuple(SymbolName(name) for name in symbols)
        log: list[tuple[str, str]] = []
        pages, sent = Pages(log), list[Request]()
        config = Config(mode="sim")
        config = attrs.evolve(config, risk=attrs.evolve(config.risk, **risk))
        market = Market(
            specs=tuple(make_spec(symbol=name) for name in names),
            brackets={name: attrs.evolve(make_brackets(), symbol=name) for name in names},
            fees={name: Fees(maker=Decimal("0.0002"), taker=Decimal("0.0005")) for name in names},
            margin_asset="USDT",
            read_ns=START_MS * MS,
        )

        def send(approved: Approved[Any]) -> None:
            sent.append(approved.request)
            log.append(("send", approved.request.cid))

        channel = Channel(number=0, symbols=tuple(range(len(names))), quotes=True, trades=True)
        machine = build_machine(
            config, market, [channel], run=run, start_ns=START_MS * MS, scribe=pages, tap=NoTap(), send=send,
            lane_full=lambda: False, on_reseed=lambda symbols: None,
        )  # fmt: skip
        strategy = Scripted()
        decision = machine.decision
        decision.strategy = strategy
        rig = cls(machine, decision, pages, sent, log, strategy, channel)
        decision.ask = rig._asked
        if active:
            rig.answer("account", {"wallet": "10000"})
            decision.on_command("activate reconciled", rig.now_ns)
        decision.contexts.warm[:] = True
        for name in names:
            rig.quote(50010.0, 50011.0, name)
        return rig

    def _asked(self) -> None:
        self.asked += 1

    def answer(self, what: str, row: dict[str, Any]) -> None:
        self.decision.on_answer(what, msgspec.json.encode(row), self.now_ns)

    def look(
        self,
        amounts: dict[str, str] | None = None,
        foreign: Sequence[str] = (),
        ours: Sequence[Any] = (),
        ago_s: float = 0,
    ) -> None:
        """The venue's whole account, as it was when it was asked `ago_s` ago."""
        asked_ns = self.now_ns - int(ago_s * 1e9)
        self.answer(
            "positions", {"asked_ns": asked_ns, "amounts": amounts or {}, "foreign": list(foreign), "ours": list(ours)}
        )

    def quote(self, bid: float, ask: float, name: str = "BTCUSDT", *, seconds: float = 0.0, mark: bool = True) -> None:
        """Both sides of the book, through the strict decoder and into the level table; hits are decided."""
        self.now_ns += int(seconds * 1e9)
        self.updates += 1
        now_ms = self.now_ns // MS
        text = make_quote(self.updates, s=name, b=f"{bid:.1f}", a=f"{ask:.1f}", B="900", A="900", E=now_ms, T=now_ms)
        self.channel.recv_ns = self.now_ns
        if mark:
            index = symbol_index(self.machine.table, name)
            row = self.machine.table.symbols[index]
            row["mark"], row["mark_ms"] = bid, now_ms
        (outcome,) = strict.decode(text, self.machine.table, self.now_ns)
        assert type(outcome).__name__ == "Applied", outcome
        self.machine.decide_hits(self.now_ns)

    def arm(self, **changes: Any) -> Setup:
        """The strategy wants a setup; it comes in the way the engine hears it."""
        setup = make_setup(**changes)
        self.strategy.advice = [setup]
        self.decision.on_events(setup.symbol, np.zeros(0, EVENT), self.machine.analysis.front, self.now_ns)
        return setup

    def signal(self, **changes: Any) -> dict[str, Any]:
        """Arm a setup, let price come to it; its decision record."""
        setup = self.arm(**changes)
        before = len(self.pages.of("decision"))
        self.quote(49999.0, 50000.0, SYMBOLS[setup.symbol])
        decisions = self.pages.of("decision")[before:]
        assert len(decisions) == 1
        return decisions[0]

    def take(self) -> list[Request]:
        """Requests handed on since the last call."""
        sent, self.sent[:] = list(self.sent), []
        return sent

    def timer(self, seconds: float = 0.0) -> None:
        self.now_ns += int(seconds * 1e9)
        self.decision.on_timer(self.now_ns)

    def pools(self) -> tuple[int, int]:
        setups = self.decision.setups
        return setups.signals.live(), setups.candles.live()


def open_position(rig: Rig, symbol: int = 0) -> OrderRequest:
    """A taken signal whose entry is filled and whose protection has been asked for; price is back above the level."""
    assert rig.signal(symbol=symbol, zone=900 + symbol)["taken"]
    (entry,) = rig.take()
    assert isinstance(entry, OrderRequest)
    number = 1 + len(rig.pages.of("fill"))
    update = order_update(
        entry, OrderStatus.FILLED, trade_id=number, last_qty=entry.qty, filled_qty=entry.qty, order_id=number
    )
    rig.decision.on_user_event(update, rig.now_ns)
    rig.take()
    rig.quote(50010.0, 50011.0, rig.decision.specs[symbol].symbol)
    return entry
