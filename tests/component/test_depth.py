"""Depth on its way: asked for on live sockets, told by a real exchange, used for a size, and replayed to the same."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from aegis import config as configs
from aegis.core.secret import Secret
from aegis.engine import journal_format
from aegis.engine.inputs import InputKind
from aegis.engine.journal import Journal
from aegis.engine.learn import choose, learn_market
from aegis.engine.session import Access, Session, session_shards
from aegis.exchange.server import serve_exchange
from aegis.exchange.settings import ExchangeSettings
from aegis.research.recording import RecordingHeader, read_recording
from aegis.research.replay_inputs import compare, replay_inputs
from aegis.research.tap import RecordingTap, Start
from aegis.runtime.clock import SystemClock
from aegis.runtime.cpu import InlineCpu
from aegis.runtime.metrics import Metrics
from aegis.runtime.supervise import Lifecycle, Phase
from aegis.venue.endpoints import simulated
from aegis.venue.http import HttpxPort
from aegis.venue.limits import Limits
from aegis.venue.rest import RestClient
from aegis.venue.signing import HmacSigner
from tests.component.test_feed import QUOTES, make_line, shut
from tests.component.test_market_socket import read_frame

MS = 1_000_000
DEPTH = ("btcusdt@depth20@100ms", "ethusdt@depth20@100ms")


# -- on a socket of the test's own -------------------------------------------------------------------------------------
async def test_depth_is_asked_for_on_the_live_connection_and_again_on_the_next(
    autojump_clock: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, list[str]]] = []

    async def script(stream: trio.abc.Stream) -> None:
        with trio.move_on_after(5):
            while True:
                _, body = await read_frame(stream)
                message = json.loads(body)
                heard.append((message["method"], message["params"]))
        await shut(stream)

    line = make_line(autojump_clock, nursery, monkeypatch, script)

    async def change() -> None:
        for streams in (DEPTH, DEPTH, DEPTH[1:]):
            await trio.sleep(1)
            line.feed.watch(streams)

    nursery.start_soon(change)
    assert "1012" in await line.life()
    assert heard == [("SUBSCRIBE", list(DEPTH)), ("UNSUBSCRIBE", [DEPTH[0]])]
    await line.life()
    assert json.loads(line.said[1][1])["params"] == [*QUOTES, DEPTH[1]]


# -- on a real exchange ------------------------------------------------------------------------------------------------
ENTRIES = 4
#: A level of the first symbol far below the market for three seconds, then an entry at once at each bar's close.
STRATEGY = '''
import attrs
from aegis.core.values import Side
from aegis.signals.strategy import Setup, Strategy, Withdraw

class Levels(Strategy):
    name = "levels"

    @attrs.frozen(kw_only=True)
    class Params:
        entries: int = 0

    def __init__(self, params):
        self.entries, self.begun_ms, self.zone = params.entries, 0, 0

    def on_events(self, view, events, now_ms):
        if view.symbol != 0 or not view.warm or view.quote.ask is None or self.zone > self.entries:
            return []
        self.begun_ms = self.begun_ms or now_ms
        if self.zone and now_ms - self.begun_ms < 3000:
            return []
        self.zone += 1
        if self.zone == 1:
            return [self.setup(view, now_ms, 0.9)]
        gone = Withdraw(strategy=self.name, symbol=0, timeframe=view.timeframes[0], zone=1, reason="enough")
        return [self.setup(view, now_ms, 1.001), gone]

    def setup(self, view, now_ms, factor):
        entry = view.quote.ask * factor
        return Setup(
            strategy=self.name, symbol=0, name=view.name, side=Side.BUY, zone=self.zone, timeframe=view.timeframes[0],
            entry=entry, stop=entry * 0.97, target=entry * 1.1, known_at_ms=now_ms, expires_ms=now_ms + 60_000,
            time_limit_ms=300, at_once=self.zone > 1,
        )
'''
TABLE = f'[strategy]\nname = "Levels"\nfile = "FILE"\nentries = {ENTRIES}\n'
RISK = "risk_pct = 2.0\ndisplayed_pct = 0.02"


def make_config(folder: Path) -> configs.Config:
    """The simulator's, with the strategy above and a size that only a small part of what is displayed can bound."""
    file = folder / "levels.py"
    file.write_text(STRATEGY)
    text = (Path(__file__).parents[2] / "config" / "sim.toml").read_text()
    head, _, rest = text.partition("[strategy]")
    text = head + TABLE.replace("FILE", str(file)) + rest[rest.index("\n[risk]") :].replace("risk_pct = 0.1", RISK)
    (folder / "depth.toml").write_text(text)
    return configs.load(str(folder / "depth.toml"))


@attrs.frozen
class Seen:
    """The name of the first symbol, and whose depth was watched, by index, at each change."""

    name: str
    watched: list[list[int]]


async def trade(config: configs.Config, folder: Path, journal: Journal) -> Seen:
    settings = ExchangeSettings(
        symbols=3, seed=7, rate=400.0, latency_median_ms=2.0, latency_p99_ms=5.0, weight_limit=24_000
    )
    clock, metrics, lifecycle, ready = SystemClock(), Metrics(), Lifecycle(), trio.Event()
    watched: list[list[int]] = []
    with trio.fail_after(300):
        async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
            at = await nursery.start(lambda **status: serve_exchange(settings, **status))
            signer, port = HmacSigner(Secret(at.api_key), Secret(at.api_secret)), HttpxPort(at.rest)
            stack.push_async_callback(port.aclose)
            rest = RestClient(port, signer, clock.venue_ns, Limits())
            access = Access(
                endpoints=simulated(rest=at.rest, stream=at.stream, trade=at.trade), signer=signer, rest=rest
            )
            start_ns = clock.wall_ns()
            market = await learn_market(rest, await choose(rest, config.universe, start_ns // MS), config, start_ns)
            names = tuple(str(spec.symbol) for spec in market.specs)
            channels = [shard.channel() for shard in session_shards(config, access, market)]
            header = RecordingHeader(run="1", symbols=names, config_toml=configs.dump(config))
            tap = stack.enter_context(
                RecordingTap(folder / "recording", header, metrics, Start.of(market, channels), start_ns)
            )
            session = Session(
                config, access, market, clock=clock, cpu=InlineCpu(metrics), metrics=metrics, scribe=journal, tap=tap,
                run="1", start_ns=start_ns, lifecycle=lifecycle, past=None,
            )  # fmt: skip

            async def settle() -> None:
                await trio.lowlevel.checkpoint()

            async def run() -> None:
                await session.run(flatten=True, settle=settle, on_ready=ready.set, say=print)

            nursery.start_soon(run)
            await ready.wait()
            decision = session.machine.decision
            while not (decision.signals == ENTRIES and watched[-1:] == [[]]):
                now = sorted(session.watch.watched)
                if now != (watched[-1] if watched else []):
                    watched.append(now)
                await trio.sleep(0.02)
            public = [feed for feed in session.feeds if feed.shard.quotes]
            assert all(feed.shard.depth == () for feed in public)
            lifecycle.advance(Phase.DRAINING, "done")
            await lifecycle.wait(Phase.STOPPED)
            nursery.cancel_scope.cancel()
    assert session.failure == ""
    return Seen(names[0], watched)


def last_book(folder: Path, name: str, at_ns: int) -> dict[str, Any]:
    """The last depth message that the recorded bytes held before a moment, read without any decoder of ours."""
    wire = b"".join(
        one.payload for one in read_recording(folder / "recording")
        if one.kind is InputKind.READ and one.channel == 0 and one.now_ns <= at_ns
    )  # fmt: skip
    at = wire.rindex(b'{"stream":"%b@depth20@100ms"' % name.lower().encode())
    message, _ = json.JSONDecoder().raw_decode(wire[at:].decode(errors="replace"))
    return message["data"]  # type: ignore[no-any-return]


def check(told: dict[str, Any], book: dict[str, Any]) -> None:
    shown, touch, limit = told["displayed"], Decimal(told["ask"]), Decimal(told["price"])
    behind = [Decimal(size) for price, size in book["a"] if touch < Decimal(price) <= limit]
    assert shown["levels"] == len(behind) > 0
    assert Decimal(shown["qty"]) == Decimal(shown["touch"]) + sum(behind)
    assert 0 <= shown["age_ns"] <= 500 * MS
    assert told["bound_by"] == "DISPLAYED"
    share = Decimal("0.0002")
    assert Decimal(shown["touch"]) * share < Decimal(told["qty"]) <= Decimal(shown["qty"]) * share


async def test_a_level_is_watched_and_what_is_displayed_bounds_the_size_and_a_replay_agrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegis.engine.watch._HOLD_S", 2.0)
    monkeypatch.setattr("aegis.engine.service._SLOW_CALLS", 10**9)  # kernels that a run has loaded before load here
    config = make_config(tmp_path)
    journal = Journal.create(tmp_path / "live.journal", run="1", config_hash="x", at_ns=0)
    seen = await trade(config, tmp_path, journal)
    journal.close()
    assert seen.watched[0] == [0]
    assert seen.watched[-1] == []
    assert max(map(len, seen.watched)) == 1, "no other symbol, ever"

    decisions = [one for one in journal_format.read(tmp_path / "live.journal") if one.kind == "decision"]
    deep = [one for one in decisions if one.data["taken"] and "displayed" in one.data]
    assert deep, "a touch that crosses the book is of another moment, but hardly always"
    for record in deep:
        check(record.data, last_book(tmp_path, seen.name, record.at_ns))

    replay_inputs(tmp_path / "recording", tmp_path / "again.journal", say=lambda text: None)
    assert compare(tmp_path / "live.journal", tmp_path / "again.journal") == ""
