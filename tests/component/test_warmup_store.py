"""A start after a start: what is asked of the venue, counted, on the virtual clock and a simulated exchange."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import attrs
import numpy as np
import pytest
import trio

from aegis.core.errors import VenueUnavailable
from aegis.core.filters import SymbolSpec
from aegis.engine.bar_store import BarStore
from aegis.engine.warmup import Warmup
from aegis.exchange.api import ApiRequest, ApiResponse
from aegis.exchange.books import Books
from aegis.exchange.history import History
from aegis.exchange.latency import Latency
from aegis.exchange.ledger import Ledger
from aegis.exchange.listing import synthetic_listings
from aegis.exchange.security import AccountSetup
from aegis.exchange.simulator import Simulator
from aegis.exchange.synthetic import SyntheticSource
from aegis.kernels.analysis import new_state, seed, set_live_from
from aegis.kernels.seeding import SeedCode
from aegis.kernels.state import AnalysisParams
from aegis.runtime.clock import VirtualClock
from aegis.runtime.cpu import InlineCpu
from aegis.runtime.metrics import Metrics
from aegis.signals.timeframes import timeframe_name
from aegis.venue.http import HttpReply
from aegis.venue.limits import Limits
from aegis.venue.rest import RestClient
from tests.component.test_warmup import Stand, make_stand
from tests.support.analysis_cases import Rows, same
from tests.support.engine_rig import MS, START_NS

FRAMES = {"sim": (1_000, 5_000), "live": (60_000, 300_000)}


class Exchange:
    """A simulated exchange behind a port that counts klines requests and their weight."""

    def __init__(self, clock: VirtualClock, *, start_ns: int = START_NS, seed: int = 3) -> None:
        listings = synthetic_listings(2, seed, start_ns // MS)[:2]
        source = SyntheticSource(listings, seed=seed, start_ns=start_ns, rate=40.0)
        self.clock = clock
        self.books = Books(listings, source, start_ns=start_ns)
        self.history = History(listings, source.history(), start_ns // MS)
        self.simulator = Simulator(
            self.books, self.history, listings,
            accounts=[AccountSetup(id="main", api_key="k" * 64, secret="s" * 64)],
            latency=Latency(median_ms=0.0, p99_ms=0.0), ledger=Ledger(), seed=seed, weight_limit=1_000_000,
        )  # fmt: skip
        self.requests = self.weight = 0

    async def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
        path, _, query = target.partition("?")
        if "lines" in path:
            limit = int(parse_qs(query)["limit"][0])
            self.requests += 1
            self.weight += 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10
        answers: list[ApiResponse] = []
        request = ApiRequest(method=method, path=path, query=query.encode(), body=body, api_key=None)
        now_ns = self.clock.venue_ns()
        self.simulator.advance(now_ns)
        self.history.apply(self.books.published(), now_ns)
        self.simulator.request(request, now_ns, answers.append)
        await trio.sleep(0.01)
        (answer,) = answers
        return HttpReply(status=answer.status, headers={}, body=answer.body)

    async def aclose(self) -> None:
        return None


@attrs.define(eq=False)
class Start:
    """One life of an engine's warm-up: what it delivered, and what that has cost."""

    got: dict[int, tuple[Rows, tuple[Rows, ...]]]
    requests: int
    weight: int


async def start(exchange: Exchange, frames: tuple[int, ...], store: BarStore | None, *, then_s: float = 0.0) -> Start:
    """Warm up every symbol; go on for `then_s`."""
    before = exchange.requests, exchange.weight
    rest = RestClient(exchange, None, exchange.clock.venue_ns, Limits())
    specs = (await rest.exchange_info()).symbols
    found = Start({}, 0, 0)

    async def prepare(symbol: str) -> None:
        return None

    warmup = Warmup(
        venue=rest, specs=specs, timeframes_ms=frames, bars=500, venue_ns=exchange.clock.venue_ns,
        deliver=lambda symbol, base, higher: found.got.update({symbol: (base, higher)}), prepare=prepare, store=store,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        nursery.start_soon(warmup.run)
        warmup.request(range(len(specs)))
        while len(found.got) < len(specs):  # noqa: ASYNC110 - what is delivered has no event
            await trio.sleep(0.05)
        found.requests, found.weight = exchange.requests - before[0], exchange.weight - before[1]
        await trio.sleep(then_s)
        nursery.cancel_scope.cancel()
    return found


def make_store(directory: Path) -> BarStore:
    return BarStore(directory / "bars", "v", InlineCpu(Metrics()))


async def asked_again(rest: RestClient, spec: SymbolSpec, bars: Rows) -> Rows:
    """The same bars as the venue tells them, page by page forward."""
    pages = [bars[:0]]
    for first in range(0, len(bars), 1000):
        part = bars[first : first + 1000]
        ms = int(part["open_time"][1] - part["open_time"][0])
        pages.append(
            await rest.klines(
                spec.symbol, timeframe_name(ms), len(part), int(part["open_time"][0]), qty_decimals=spec.qty_decimals,
                symbol_index=int(part["symbol"][0]), timeframe_index=int(part["timeframe"][0]),
            )
        )  # fmt: skip
    return np.concatenate(pages)


def assert_warms(found: Start, frames: tuple[int, ...]) -> None:
    """These histories are enough for the analysis, up to the first live bar."""
    state = new_state(len(found.got), frames, AnalysisParams(warm_bars=500))
    for symbol, (base, higher) in found.got.items():
        set_live_from(state, symbol, int(base["open_time"][-1]) + frames[0])
        assert seed(state, symbol, base, higher).code is SeedCode.OK
        assert state.symbols["warm"][symbol]


@pytest.mark.parametrize(("kind", "first", "second"), [("sim", (2, 20), (1, 2)), ("live", (2, 10), (2, 2))])
async def test_the_second_start_asks_for_what_is_missing_and_comes_to_the_same(
    tmp_path: Path, autojump_clock: Any, kind: str, first: tuple[int, int], second: tuple[int, int], log_lines: Any
) -> None:
    frames, clock = FRAMES[kind], VirtualClock(START_NS, autojump_clock)
    exchange = Exchange(clock)
    fresh = await start(exchange, frames, make_store(tmp_path))
    assert (fresh.requests, fresh.weight) == (2 * first[0], 2 * first[1]), "for each of two symbols"
    await trio.sleep(150)
    again = await start(exchange, frames, make_store(tmp_path))
    assert (again.requests, again.weight) == (2 * second[0], 2 * second[1])
    now_ms = clock.venue_ns() // MS
    base = again.got[0][0]
    assert 0 <= now_ms - int(base["open_time"][-1]) - frames[0] <= frames[0] + 100, "up to now"
    rest = RestClient(exchange, None, clock.venue_ns, Limits())
    specs = (await rest.exchange_info()).symbols
    for symbol, (base, higher) in again.got.items():
        for bars in (base, *higher):
            assert same(bars, await asked_again(rest, specs[symbol], bars))
    assert_warms(again, frames)
    assert log_lines.events() == []


async def test_while_the_engine_runs_the_store_follows_and_the_next_start_is_still_cheap(
    tmp_path: Path, autojump_clock: Any
) -> None:
    exchange = Exchange(VirtualClock(START_NS, autojump_clock))
    run = await start(exchange, FRAMES["sim"], make_store(tmp_path), then_s=1_900)
    followed = exchange.requests - run.requests
    assert followed == 9, "one request for each of two symbols in 400 seconds"
    again = await start(exchange, FRAMES["sim"], make_store(tmp_path))
    assert (again.requests, again.weight) == (2, 4)
    assert len(again.got[0][0]) == 2505


async def test_an_absence_longer_than_a_page_fetches_everything_anew(tmp_path: Path, autojump_clock: Any) -> None:
    exchange = Exchange(VirtualClock(START_NS, autojump_clock))
    fresh = await start(exchange, FRAMES["sim"], make_store(tmp_path))
    await trio.sleep(1_600)
    again = await start(exchange, FRAMES["sim"], make_store(tmp_path))
    assert (again.requests, again.weight) == (fresh.requests, fresh.weight)


async def test_an_exchange_that_was_started_anew_is_noticed(
    tmp_path: Path, autojump_clock: Any, log_lines: Any
) -> None:
    """The same symbols, scales and address, and another past: as `aegis exchange` on its old port."""
    clock = VirtualClock(START_NS, autojump_clock)
    await start(Exchange(clock), FRAMES["sim"], make_store(tmp_path))
    await trio.sleep(120)
    other = Exchange(clock, start_ns=clock.venue_ns() // 60_000_000_000 * 60_000_000_000)
    told = await start(other, FRAMES["sim"], make_store(tmp_path))
    assert [event["reason"] for event in log_lines.events("bars.unusable")] == [
        "the venue's klines do not go on from it"
    ] * 2
    alone = await start(other, FRAMES["sim"], None)
    for symbol in (0, 1):
        both = np.intersect1d(told.got[symbol][0]["open_time"], alone.got[symbol][0]["open_time"])
        assert len(both) > 2_000
        mine, theirs = (one.got[symbol][0] for one in (told, alone))
        assert same(mine[np.isin(mine["open_time"], both)], theirs[np.isin(theirs["open_time"], both)])


def stored_stand(autojump_clock: Any, directory: Path, **more: Any) -> Stand:
    stand = make_stand(autojump_clock, **more)
    stand.warmup.store = make_store(directory)
    return stand


async def test_a_deeper_warm_up_asks_only_for_the_head(tmp_path: Path, autojump_clock: Any) -> None:
    stand = stored_stand(autojump_clock, tmp_path, frames=(60_000, 300_000), age_s=9000, fine_ms=60_000, bars=500)
    await stand.warmup.fetch(0)
    del stand.venue.calls[:]
    stand.warmup.bars = 600
    base, higher = await stand.warmup.fetch(0)
    assert [(interval, limit) for _, interval, limit, _ in stand.venue.calls] == [
        ("5m", 8), ("5m", 100), ("1m", 9), ("1m", 100)
    ], "the last minute had only just closed"  # fmt: skip
    assert [len(base), len(higher[0])] == [601, 601]


async def test_a_hole_in_a_running_engine_is_mended_as_cheaply(tmp_path: Path, autojump_clock: Any) -> None:
    stand = stored_stand(autojump_clock, tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand.warmup.run)
        stand.warmup.request((0,))
        await trio.sleep(100)
        del stand.venue.calls[:]
        stand.warmup.request((0,))
        await trio.sleep(3)
        nursery.cancel_scope.cancel()
    asked = [limit for symbol, _, limit, at in stand.venue.calls if symbol == "S0USDT" and at > 100.5]
    assert asked
    assert max(asked) < 130
    assert len(stand.got) == 2
    assert same(stand.got[1][1], stand.venue.past[np.isin(stand.venue.past["open_time"], stand.got[1][1]["open_time"])])


async def test_warm_up_goes_on_without_a_disk(tmp_path: Path, autojump_clock: Any, log_lines: Any) -> None:
    (tmp_path / "bars").write_text("in the way")
    stand = stored_stand(autojump_clock, tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand.warmup.run)
        stand.warmup.request((0, 1, 2))
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert sorted(symbol for symbol, *_ in stand.got) == [0, 1, 2]
    assert len(log_lines.events("bars.unsaved")) == 1
    assert stand.warmup.failed == 0


async def test_a_venue_that_fails_while_the_store_follows_is_one_line(
    tmp_path: Path, autojump_clock: Any, log_lines: Any
) -> None:
    stand = stored_stand(autojump_clock, tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand.warmup.run)
        stand.warmup.request((0,))
        await trio.sleep(10)
        stand.venue.faults = {"S0USDT": VenueUnavailable("503")}
        await trio.sleep(450)
        nursery.cancel_scope.cancel()
    assert len(log_lines.events("warmup.failed")) == 1
    assert len(stand.got) == 1, "what the store fetches for itself is nobody's history"
