"""Who is traded while the engine runs: the venue's word against spare rows, sockets and the config's bar."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from aegis.config import UniverseConfig
from aegis.core.errors import VenueUnavailable
from aegis.core.filters import SymbolSpec
from aegis.core.values import SymbolName
from aegis.engine.inputs import InputKind
from aegis.engine.joining import decode_terms
from aegis.engine.roster import Roster
from aegis.engine.service import Service
from aegis.engine.shards import Shard
from aegis.runtime.clock import VirtualClock
from aegis.runtime.cpu import InlineCpu
from aegis.runtime.metrics import Metrics
from aegis.venue import replies
from tests.support.core_cases import make_spec
from tests.support.engine_rig import MS, NAMES, START_NS, Rig, make_rig

D = Decimal
DAY = 24 * 3600.0
DAY_MS = 86_400_000


@attrs.define
class Line:
    """A market socket as the roster sees one; `agrees_s`: how long the venue takes to agree to a stream."""

    shard: Shard
    agrees_s: float = 0.1
    asked: list[str] = attrs.field(factory=list)

    async def carry(self, symbol: int, stream: str) -> None:
        self.shard = self.shard.joined(symbol, stream)
        self.asked.append(stream)
        await trio.sleep(self.agrees_s)

    def leave(self, symbol: int) -> None:
        self.shard = self.shard.left(symbol)


@attrs.define
class Listed:
    """A venue's listings: spec and turnover by name."""

    rows: dict[str, tuple[SymbolSpec, float]]
    brackets: dict[str, int] = attrs.field(factory=dict)
    down: bool = False
    reads: list[float] = attrs.field(factory=list)
    rates: int = 0

    async def exchange_info(self) -> replies.ExchangeInfo:
        await trio.lowlevel.checkpoint()
        self.reads.append(trio.current_time())
        if self.down:
            raise VenueUnavailable("no answer")
        return replies.ExchangeInfo(limits=(), symbols=tuple(spec for spec, _ in self.rows.values()), skipped=())

    async def tickers_24h(self) -> tuple[replies.Ticker24h, ...]:
        await trio.lowlevel.checkpoint()
        return tuple(
            replies.Ticker24h(symbol=spec.symbol, last=D(1), volume=D(1), quote_volume=D(volume), trades=1, close_ms=0)
            for spec, volume in self.rows.values()
        )

    async def book_tickers(self) -> tuple[replies.BookTicker, ...]:
        await trio.lowlevel.checkpoint()
        return tuple(
            replies.BookTicker(
                symbol=spec.symbol, bid=D("100"), bid_qty=D(1), ask=D("100.01"), ask_qty=D(1), time_ms=0
            )
            for spec, _ in self.rows.values()
        )  # fmt: skip

    async def leverage_brackets(self, symbol: SymbolName | None = None) -> tuple[replies.Brackets, ...]:
        await trio.lowlevel.checkpoint()
        return tuple(
            replies.Brackets(
                symbol=SymbolName(name),
                rows=(
                    replies.Bracket(
                        number=1, max_leverage=most, floor=D(0), cap=D(1_000_000), ratio=D("0.01"), cum=D(0)
                    ),
                ),
            )
            for name, most in self.brackets.items()
        )  # fmt: skip

    async def commission_rate(self, symbol: SymbolName) -> replies.CommissionRate:
        await trio.lowlevel.checkpoint()
        self.rates += 1
        return replies.CommissionRate(symbol=symbol, maker=D("0.0001"), taker=D("0.0004"))

    async def symbol_configs(self, symbol: SymbolName | None = None) -> Any:
        raise AssertionError("leverage is set when history is fetched")

    set_leverage = set_margin_type = symbol_configs

    def list(self, name: str, volume: float = 5e6, *, most: int = 20, **changes: Any) -> None:
        self.rows[name] = (make_spec(symbol=SymbolName(name), base=name[:-4], **changes), volume)
        self.brackets[name] = most


@attrs.define
class Stage:
    rig: Rig
    venue: Listed
    lines: list[Line]
    roster: Roster

    def terms(self) -> list[Any]:
        return [decode_terms(data) for kind, _, _, data in self.rig.tape.inputs if kind is InputKind.TERMS]

    def joined(self) -> list[str]:
        return [spec.symbol for spec in self.rig.machine.decision.specs][len(NAMES) :]

    async def run(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self.roster.run()
        while self.roster.service.fast.pump():
            pass


@pytest.fixture
def stage(autojump_clock: trio.testing.MockClock) -> Any:
    def make(spare: int = 2, **config: Any) -> Stage:
        rig = make_rig(spare=spare)
        rig.up(0, 1)
        clock, metrics = VirtualClock(START_NS, autojump_clock), Metrics()
        service = Service(
            rig.machine, clock, InlineCpu(metrics), metrics, interval_ms=100, analysis_latency_ms=0,
            fatal=lambda reason: pytest.fail(reason),
        )  # fmt: skip
        venue = Listed({})
        for name in NAMES:
            venue.list(name)
        every = tuple(range(3))
        lines = [
            Line(Shard(number=0, url="", streams=tuple("abc"), symbols=every, quotes=True, trades=False)),
            Line(Shard(number=1, url="", streams=tuple("abcd"), symbols=every, quotes=False, trades=True)),
            Line(Shard(number=1, url="", streams=tuple("ab"), symbols=(), quotes=False, trades=True)),
        ]
        roster = Roster(
            venue=venue, config=UniverseConfig(**config), machine=rig.machine, service=service,
            feeds=lines,  # type: ignore[arg-type]
            trade_source="aggTrade", answer_s=10.0, venue_ns=clock.venue_ns,
        )  # fmt: skip
        return Stage(rig, venue, lines, roster)

    return make


async def test_a_listed_symbol_joins_on_the_emptiest_sockets_soon_after_the_venue_tells(
    autojump_clock: Any, stage: Any
) -> None:
    on = stage(min_age_days=0.0)
    on.venue.list("NEWUSDT")
    on.roster.ring()
    await on.run(10)
    assert on.venue.reads == [5.0]
    assert on.joined() == ["NEWUSDT"]
    assert [line.asked for line in on.lines] == [["newusdt@bookTicker"], [], ["newusdt@aggTrade"]]
    joined = on.terms()[-1]
    assert (joined.quotes, joined.trades, joined.fees.taker) == (0, 1, D("0.0004"))
    assert on.rig.wanted[-1] == 3, "its history is asked for"


async def test_what_comes_to_qualify_joins_on_the_daily_refresh_and_not_before(
    autojump_clock: Any, stage: Any
) -> None:
    on = stage(min_age_days=30.0)
    on.venue.list("NEWUSDT", onboard_ms=START_NS // MS - 28 * DAY_MS - DAY_MS // 2)
    on.venue.list("POORUSDT", 10.0)
    await on.run(1.5 * DAY)
    assert on.joined() == []
    await on.run(0.9 * DAY)
    assert on.joined() == []
    on.venue.rows["POORUSDT"] = (on.venue.rows["POORUSDT"][0], 9e6)
    await on.run(1.1 * DAY)
    assert on.joined() == ["POORUSDT", "NEWUSDT"], "the most traded first"
    assert on.venue.rates == 1, "one symbol's fees stand for all"


async def test_spare_rows_are_for_the_most_traded_and_who_waits_is_named(
    autojump_clock: Any, stage: Any, log_lines: Any
) -> None:
    on = stage(spare=1, min_age_days=0.0)
    on.venue.list("AUSDT", 6e6)
    on.venue.list("BUSDT", 7e6)
    on.roster.ring()
    await on.run(10)
    assert on.joined() == ["BUSDT"]
    assert [(one["symbol"], one["reason"]) for one in log_lines.events("symbol.waiting")] == [
        ("AUSDT", "no row is spare")
    ]
    assert [one["symbol"] for one in log_lines.events("symbol.entered")] == ["BUSDT"]


async def test_a_symbol_without_brackets_or_without_streams_waits_and_leaves_nothing_behind(
    autojump_clock: Any, stage: Any, log_lines: Any
) -> None:
    on = stage(min_age_days=0.0)
    on.venue.list("AUSDT")
    del on.venue.brackets["AUSDT"]
    on.venue.list("BUSDT")
    on.lines[2].agrees_s = 1e6
    on.roster.ring()
    await on.run(30)
    assert on.joined() == []
    assert {one["symbol"]: one["reason"] for one in log_lines.events("symbol.waiting")} == {
        "AUSDT": "the venue gives no leverage brackets",
        "BUSDT": "the venue has not agreed to its streams",
    }
    assert [line.shard.symbols for line in on.lines] == [(0, 1, 2), (0, 1, 2), ()]
    assert [line.shard.streams for line in on.lines] == [tuple("abc"), tuple("abcd"), tuple("ab")]
    on.lines[2].agrees_s = 0.0
    on.roster.ring()
    await on.run(10)
    assert on.joined() == ["BUSDT"], "it is asked for again"


async def test_what_has_left_takes_no_entries_and_may_come_back(
    autojump_clock: Any, stage: Any, log_lines: Any
) -> None:
    on = stage(min_age_days=0.0)
    on.venue.list("ETHUSDT", status="BREAK")
    dropped = on.rig.machine.decision.contexts
    on.roster.ring()
    await on.run(10)
    assert dropped.dropped == {"ETHUSDT"}
    assert [one["symbol"] for one in log_lines.events("symbol.left")] == ["ETHUSDT"]
    on.venue.list("ETHUSDT")
    on.roster.ring()
    await on.run(10)
    assert (dropped.dropped, dropped.status(SymbolName("ETHUSDT"))) == (set(), "TRADING")
    assert len(log_lines.events("symbol.left")) == 1


async def test_changed_rules_are_taken_over_but_not_other_lots(
    autojump_clock: Any, stage: Any
) -> None:
    on = stage(min_age_days=0.0)
    on.roster.ring()
    await on.run(10)
    before = len(on.terms())
    on.roster.ring()
    await on.run(10)
    assert len(on.terms()) == before, "nothing has changed"
    on.venue.list("BTCUSDT", tick=D("0.5"))
    on.venue.list("ETHUSDT", most=10)
    on.venue.list("SOLUSDT", step=D("1"))
    on.roster.ring()
    await on.run(10)
    changed = {one.spec.symbol: one for one in on.terms()[before:]}
    assert set(changed) == {"BTCUSDT", "ETHUSDT"}
    contexts = on.rig.machine.decision.contexts
    assert contexts.specs[0].tick == D("0.5")
    assert contexts.brackets[SymbolName("ETHUSDT")].rows[0].leverage == 10
    assert contexts.dropped == {"SOLUSDT"}, "its bars are counted in the old lots"


async def test_a_venue_that_does_not_answer_is_asked_again_after_a_minute(
    autojump_clock: Any, stage: Any, log_lines: Any
) -> None:
    on = stage(min_age_days=0.0)
    on.venue.list("NEWUSDT")
    on.venue.down = True
    on.roster.ring()
    await on.run(20)
    assert (on.joined(), len(log_lines.events("universe.unread"))) == ([], 1)
    on.venue.down = False
    on.roster.ring()
    await on.run(70)
    assert on.joined() == ["NEWUSDT"]
