"""A whole synchronous engine without a venue: its inputs are called by the test, its effects are lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import attrs
import numpy as np

from aegis import config as configs
from aegis.config import Config
from aegis.core.approval import Approved
from aegis.core.errors import InvariantBroken
from aegis.core.messages import OrderRequest, Request
from aegis.core.risk import Fees
from aegis.core.values import Side, SymbolName
from aegis.engine.analysis import Analysis
from aegis.engine.build import Market, build_machine
from aegis.engine.channel import Channel
from aegis.engine.desk import Scribe
from aegis.engine.inputs import InputKind, NoTap, Tap
from aegis.engine.joining import Terms
from aegis.engine.machine import Machine
from aegis.kernels.layout import BAR
from aegis.kernels.wire import frame
from aegis.signals.strategy import Setup
from aegis.venue.inbox import Inbox, Message
from aegis.venue.market_events import Control
from tests.support.analysis_cases import Rows, make_bars
from tests.support.core_cases import make_brackets, make_spec

START_NS = 1_790_000_040_000_000_000
START_MS = START_NS // 1_000_000
MS = 1_000_000
SECOND = 1_000_000_000
NAMES = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


def make_config(**changes: Any) -> Config:
    """Bars of 1 s and 5 s; everything else as shipped for the simulator."""
    return attrs.evolve(configs.load("sim"), **changes)


def make_market(names: Sequence[str] = NAMES, now_ns: int = START_NS) -> Market:
    symbols = [SymbolName(name) for name in names]
    fees = Fees(maker=Decimal("0.0002"), taker=Decimal("0.0005"))
    return Market(
        specs=tuple(make_spec(symbol=symbol, base=symbol[:-4]) for symbol in symbols),
        brackets={symbol: attrs.evolve(make_brackets(), symbol=symbol) for symbol in symbols},
        fees=dict.fromkeys(symbols, fees),
        margin_asset="USDT",
        read_ns=now_ns,
    )


class Notes:
    """A journal in memory; `broken` makes it refuse."""

    def __init__(self) -> None:
        self.records: list[tuple[str, dict[str, Any], int]] = []
        self.broken = ""

    def append(self, kind: str, data: dict[str, Any], at_ns: int) -> int:
        return self.append_all(((kind, data),), at_ns)

    def append_all(self, records: Sequence[tuple[str, dict[str, Any]]], at_ns: int) -> int:
        if self.broken:
            raise InvariantBroken(self.broken)
        self.records += [(kind, data, at_ns) for kind, data in records]
        return len(self.records)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [data for one, data, _ in self.records if one == kind]


class Tape:
    """Every input, in order."""

    def __init__(self) -> None:
        self.inputs: list[tuple[InputKind, int, int, bytes]] = []

    def record(self, kind: InputKind, now_ns: int, channel: int, payload: bytes | memoryview) -> None:
        self.inputs.append((kind, now_ns, channel, bytes(payload)))

    def record_encoded(
        self, kind: InputKind, now_ns: int, channel: int, encode: Callable[..., bytes], *parts: Any
    ) -> None:
        self.record(kind, now_ns, channel, encode(*parts))

    def times(self, kind: InputKind) -> list[int]:
        return [now_ns for one, now_ns, _, _ in self.inputs if one is kind]


def make_terms(name: str, quotes: int = 0, trades: int = 1, **changes: Any) -> Terms:
    """What the venue says of one symbol, as `make_market` has it."""
    market = make_market([name])
    spec = attrs.evolve(market.specs[0], **changes)
    return Terms(
        spec=spec, brackets=market.brackets[spec.symbol], fees=market.fees[spec.symbol], quotes=quotes, trades=trades
    )


def make_channels(count: int = len(NAMES)) -> list[Channel]:
    """One socket of quotes, one of trades."""
    every = tuple(range(count))
    return [
        Channel(number=0, symbols=every, quotes=True, trades=False),
        Channel(number=1, symbols=every, quotes=False, trades=True),
    ]


@attrs.define(eq=False)
class Rig:
    machine: Machine
    notes: Notes
    tape: Tape
    sent: list[Request]
    wanted: list[int]
    """Symbols whose history was asked for."""
    missed: list[tuple[int, int]] = attrs.field(factory=list)
    """(symbol, first id) of the trades that were asked for."""
    now_ns: int = START_NS

    def up(self, *numbers: int) -> None:
        for number in numbers:
            self.machine.connection(number, Inbox(), self.now_ns)

    def read(self, number: int, data: bytes) -> list[Message | Control]:
        self.machine.channels[number].inbox.extend(data)
        return self.machine.read(number, len(data), self.now_ns)

    def rotate(self, number: int, *held: bytes) -> None:
        """Another connection takes over, having held these reads."""
        self.machine.take_over(number, Inbox(), sum(map(len, held)), self.now_ns)
        for data in held:
            self.read(number, data)

    def analyse(self) -> None:
        """One whole cycle: boundary, job, result, strategy."""
        if self.machine.boundary(self.now_ns):
            self.result(self.machine.analyse(self.now_ns))

    def result(self, job: Any) -> None:
        result = Analysis.compute(*self.machine.analysis.begin(job))
        self.machine.result(result, self.now_ns)
        while self.machine.has_slices():
            self.machine.slice(self.now_ns)

    def seed(self, symbol: int, count: int = 2600, **more: Any) -> None:
        self.machine.seed(symbol, history(symbol, self.now_ns // MS, count, **more), NO_HIGHER, self.now_ns)

    def warm(self, symbols: Iterable[int]) -> None:
        """Sockets up, a whole bar begun, history in: the symbols trade."""
        self.up(0, 1)
        self.machine.command("activate test", self.now_ns)
        self.now_ns += 2 * SECOND
        self.read(1, b"".join(marks(self.now_ns // MS, i) for i in symbols))
        self.analyse()  # the bars up to now are closed
        for symbol in symbols:
            self.seed(symbol)
        self.analyse()


NO_HIGHER = (np.zeros(0, BAR),)


def history(symbol: int, now_ms: int, count: int, *, seed: int = 11, step: int = 40) -> Rows:
    """Closed bars of one second that end before the bar of `now_ms`."""
    start = now_ms // 1000 * 1000 - 1000 * count
    bars = make_bars(seed + symbol, count, timeframe_ms=1000, step=step, start=start)
    bars["symbol"] = symbol
    return bars


def make_rig(
    config: Config | None = None, *, scribe: Scribe | None = None, tap: Tap | None = None,
    names: Sequence[str] = NAMES, mending: bool = False, spare: int = 0,
) -> Rig:  # fmt: skip
    """`mending`: missing trades are asked for by id (`Rig.missed`) before a symbol starts over. `spare` may join."""
    notes, tape = Notes(), Tape()
    sent: list[Request] = []
    wanted: list[int] = []
    missed: list[tuple[int, int]] = []

    def send(approved: Approved[Any]) -> None:
        sent.append(approved.request)

    machine = build_machine(
        config if config is not None else make_config(), make_market(names), make_channels(len(names)),
        run="1", start_ns=START_NS, scribe=scribe if scribe is not None else notes,
        tap=tap if tap is not None else tape, send=send, lane_full=lambda: False, on_reseed=wanted.extend,
        on_mend=missed.extend if mending else None, spare=spare,
    )  # fmt: skip
    return Rig(machine, notes, tape, sent, wanted, missed)


def silent_rig(**more: Any) -> Rig:
    """Without a tape, for long runs."""
    return make_rig(tap=NoTap(), **more)


# -- frames ------------------------------------------------------------------------------------------------------------
def quote(ms: int, u: int, bid: float, ask: float, symbol: int = 0) -> bytes:
    return text({"e": "bookTicker", "u": u, "E": ms, "T": ms, "s": NAMES[symbol], "b": f"{bid:.1f}", "B": "900.000",
                 "a": f"{ask:.1f}", "A": "900.000"})  # fmt: skip


def trade(ms: int, number: int, price: float, qty: str = "0.250", symbol: int = 0, *, maker: bool = False) -> bytes:
    return text({"e": "aggTrade", "E": ms, "s": NAMES[symbol], "a": number, "p": f"{price:.1f}", "q": qty, "f": number,
                 "l": number, "T": ms, "m": maker})  # fmt: skip


def marks(ms: int, symbol: int = 0, price: float = 5000.0) -> bytes:
    return text([{"e": "markPriceUpdate", "E": ms, "s": NAMES[symbol], "p": f"{price:.8f}", "i": f"{price:.8f}",
                  "P": f"{price:.8f}", "r": "0.00010000", "T": ms + 3_600_000}])  # fmt: skip


def contract(ms: int, status: str, symbol: int = 0) -> bytes:
    return text({"e": "contractInfo", "E": ms, "s": NAMES[symbol], "ps": NAMES[symbol], "ct": "PERPETUAL",
                 "dt": 4133404800000, "ot": 1, "cs": status})  # fmt: skip


def text(value: Any) -> bytes:
    return frame(json.dumps(value).encode())


def enter(rig: Rig, symbol: int = 0) -> OrderRequest:
    """A warm engine with a wallet takes a signal: its entry order, which has just left."""
    take_signal(rig, symbol)
    order = rig.sent[-1]
    assert isinstance(order, OrderRequest)
    return order


def take_signal(rig: Rig, symbol: int = 0) -> None:
    """Warm it, give it a wallet, and let it take a signal."""
    rig.warm((symbol,))
    rig.machine.answer("account", b'{"wallet":"10000"}', rig.now_ns)
    ms = rig.now_ns // MS
    rig.read(1, marks(ms + 1, symbol))
    rig.read(0, quote(ms, 10, 4999.9, 5000.1, symbol))
    setup = Setup(
        strategy="test", symbol=symbol, name=NAMES[symbol], side=Side.BUY, zone=5, timeframe="1s", entry=4990.0,
        stop=4900.0, target=5200.0, known_at_ms=ms, expires_ms=ms + 60_000, time_limit_ms=60_000,
    )  # fmt: skip
    assert rig.machine.decision.setups.arm(setup, np.zeros(1, BAR)[0], rig.now_ns)
    rig.read(0, quote(ms, 11, 4989.8, 4990.0, symbol))
    assert rig.notes.of("decision")[-1]["taken"], rig.notes.of("decision")[-1]
