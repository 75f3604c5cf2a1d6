"""Paper: what leaves this process, an order's whole life on pushed prices, and a stream that may be lost."""

from __future__ import annotations

import contextlib
import inspect
from decimal import Decimal
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from aegis import config as configs
from aegis.core.errors import Ambiguous, ConfigError, Restartable
from aegis.core.messages import Accepted, AlgoRequest, OrderRequest, OrderUpdate
from aegis.core.values import AlgoType, ClientId, OrderStatus, OrderType, Side, SymbolName, TimeInForce, WorkingType
from aegis.engine.session import Access
from aegis.engine.universe import Choice
from aegis.kernels.market import AGG_TRADE, Table, new_table
from aegis.research.paper import (
    MemoryStream,
    Opening,
    PaperPort,
    PaperVenue,
    open_paper,
    opening_listing,
    paper_signer,
)
from aegis.runtime.clock import VirtualClock
from aegis.venue.decode import Ignored
from aegis.venue.endpoints import LIVE
from aegis.venue.limits import Limits
from aegis.venue.replies import BookTicker, PremiumIndex
from aegis.venue.rest import RestClient
from tests.support.core_cases import make_spec
from tests.support.rest_port import T0, Port, client, ok

BTC, ETH = SymbolName("BTCUSDT"), SymbolName("ETHUSDT")
D = Decimal
SPECS = (make_spec(), make_spec(symbol=ETH, base="ETH"))  # tick 0.1, step 0.001
CONFIG = configs.loads('mode = "paper"\n[exchange]\nlatency_median_ms = 30.0\nlatency_p99_ms = 30.0')
LATENCY_S = 0.030


def book(symbol: SymbolName = BTC, **changes: Any) -> BookTicker:
    told = {"bid": D("60000.0"), "bid_qty": D("3"), "ask": D("60000.1"), "ask_qty": D("2"), "time_ms": T0 // 10**6}
    return BookTicker(symbol=symbol, **(told | changes))


def mark(symbol: SymbolName = BTC, price: str = "60001.5", index: str = "60002.5") -> PremiumIndex:
    return PremiumIndex(
        symbol=symbol, mark=D(price), index=D(index), funding_rate=D("0.0001"), next_funding_ms=0, time_ms=T0 // 10**6
    )


BOOKS = (book(), book(ETH, bid=D("3000.0"), ask=D("3000.1")))


class Desk:
    """A paper venue on the virtual clock, whose market is a table that the test writes."""

    def __init__(self, nursery: trio.Nursery, opening: Opening | None = None) -> None:
        opening = opening or Opening(books=BOOKS, marks=(mark(), mark(ETH, "3000.05", "3000.0")))
        self.public = Port()
        now_ns = lambda: T0 + round(trio.current_time() * 1e9)  # noqa: E731
        rest = RestClient(self.public, None, now_ns, Limits())
        self.paper = PaperVenue(
            CONFIG, SPECS, opening, public=self.public,
            venue=Access(endpoints=LIVE, signer=paper_signer(), rest=rest), venue_ns=now_ns,
        )  # fmt: skip
        self.rest = self.paper.access.rest
        self.table: Table = new_table([BTC, ETH], [3, 3], 1_000, AGG_TRADE)
        self.paper.watch(self.table)
        self.events: list[Any] = []
        make = self.paper.access.private_stream
        assert make is not None
        self.stream = make(self._hear)
        nursery.start_soon(self.paper.run)

    async def _hear(self, payload: bytes, event: object) -> None:
        if not isinstance(event, Ignored):
            self.events.append(event)

    def quote(self, bid: float, ask: float, *, symbol: int = 0, qty: float = 2.0) -> None:
        row = self.table.symbols[symbol]
        row["bid"], row["ask"], row["bid_qty"], row["ask_qty"] = bid, ask, qty, qty
        row["update_id"] += 1

    def trade(self, price: float, *, symbol: int = 0) -> None:
        row = self.table.symbols[symbol]
        row["last"] = price
        row["last_id"] += 1

    def mark(self, mark: float, index: float, *, symbol: int = 0) -> None:
        row = self.table.symbols[symbol]
        row["mark"], row["index"] = mark, index
        row["mark_ms"] += 1_000

    def fills(self) -> list[tuple[Decimal, Decimal]]:
        """(price, quantity) of what the ledger says was filled."""
        return [(D(entry["price"]), D(entry["qty"])) for entry in self.paper.ledger().only.fills]


def ioc(cid: str, price: str, qty: str = "0.5", side: Side = Side.BUY, symbol: SymbolName = BTC) -> OrderRequest:
    return OrderRequest(
        cid=ClientId(cid), symbol=symbol, side=side, type=OrderType.LIMIT, qty=D(qty), price=D(price),
        tif=TimeInForce.IOC,
    )  # fmt: skip


def stop(cid: str, trigger: str) -> AlgoRequest:
    return AlgoRequest(
        cid=ClientId(cid), symbol=BTC, side=Side.SELL, type=AlgoType.STOP_MARKET, trigger=D(trigger),
        working_type=WorkingType.CONTRACT_PRICE,
    )  # fmt: skip


# -- orders on pushed prices -------------------------------------------------------------------------------------------
async def test_order_is_filled_at_the_ask_of_the_moment_it_arrives(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    desk = Desk(nursery)
    await nursery.start(desk.stream.run)

    async def move() -> None:
        await trio.sleep(LATENCY_S / 2)  # while the order travels
        desk.quote(60_010.0, 60_010.4)

    nursery.start_soon(move)
    outcome = await desk.rest.submit(ioc("1-1", "60020.0"))
    assert isinstance(outcome, Accepted)
    assert trio.current_time() == pytest.approx(2 * LATENCY_S, abs=0.001)
    assert desk.fills() == [(D("60010.4"), D("0.5"))]
    await trio.sleep(1.0)
    filled = [event for event in desk.events if isinstance(event, OrderUpdate) and event.trade_id]
    assert [(fill.last_price, fill.last_qty, fill.status) for fill in filled] == [
        (D("60010.4"), D("0.5"), OrderStatus.FILLED)
    ]
    assert desk.public.sent == []


async def test_order_beyond_its_limit_when_it_arrives_is_not_filled(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    desk = Desk(nursery)
    desk.quote(60_010.0, 60_010.4)
    await trio.sleep(0.01)
    assert isinstance(await desk.rest.submit(ioc("1-1", "60010.3")), Accepted)
    assert desk.fills() == []


async def test_displayed_size_is_consumed_once(nursery: trio.Nursery, autojump_clock: object) -> None:
    desk = Desk(nursery)
    desk.quote(60_000.0, 60_000.1, qty=0.4)
    await trio.sleep(0.01)
    for cid in ("1-1", "1-2"):
        await desk.rest.submit(ioc(cid, "60000.1", "0.4"))
    assert sum(qty for _, qty in desk.fills()) < D("0.41")


async def test_stop_sleeps_until_a_print_reaches_it_then_fills_at_the_bid_after_the_latency(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    desk = Desk(nursery)
    await nursery.start(desk.stream.run)
    await desk.rest.submit(ioc("1-1", "60000.1"))
    assert isinstance(await desk.rest.submit(stop("1-2", "59900.0")), Accepted)
    desk.trade(59_900.1)
    await trio.sleep(1.0)
    assert len(desk.fills()) == 1
    assert len(desk.paper.ledger().only.open_algo_orders) == 1
    desk.trade(59_900.0)
    desk.quote(59_890.0, 59_890.5)
    await trio.sleep(1.0)
    assert desk.fills()[1:] == [(D("59890.0"), D("0.5"))]
    judge = desk.paper.ledger().only
    assert (judge.open_positions, judge.open_algo_orders) == ({}, {})
    # Bought at 60000.1, sold at 59890.0, each side at 5 bp: the judge's own arithmetic against plain numbers.
    fees = (D("60000.1") + D("59890.0")) * D("0.5") * D("0.0005")
    assert judge.realized == (D("59890.0") - D("60000.1")) * D("0.5")
    assert judge.fees == fees
    assert (await desk.rest.account()).wallet == judge.wallet == D(10_000) + judge.realized - fees


async def test_stop_on_the_mark_price_listens_to_the_mark_alone(nursery: trio.Nursery, autojump_clock: object) -> None:
    desk = Desk(nursery)
    await desk.rest.submit(ioc("1-1", "60000.1"))
    await desk.rest.submit(attrs.evolve(stop("1-2", "59900.0"), working_type=WorkingType.MARK_PRICE))
    desk.trade(59_800.0)
    desk.mark(59_900.1, 59_800.0)
    await trio.sleep(1.0)
    assert len(desk.fills()) == 1
    desk.mark(59_900.0, 59_800.0)
    await trio.sleep(1.0)
    assert desk.fills()[1:] == [(D("60000.0"), D("0.5"))]


async def test_only_what_changed_is_shown_to_the_simulator(nursery: trio.Nursery, autojump_clock: object) -> None:
    desk = Desk(nursery)
    await trio.sleep(0.1)
    opened = dict(desk.paper.source.counts)
    assert opened == {"quote": 2, "mark": 2, "refused": 0}
    desk.quote(60_001.0, 60_002.0)
    desk.trade(60_002.0, symbol=1)
    desk.mark(60_000.0, 60_000.0)
    await trio.sleep(1.0)
    assert dict(desk.paper.source.counts) == {"quote": 3, "mark": 3, "trade": 1, "refused": 0}


async def test_venues_fees_and_brackets_are_answered_for_the_simulated_account(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    desk = Desk(nursery)
    rate = await desk.rest.commission_rate(BTC)
    assert (rate.maker, rate.taker) == (D("0.0002"), D("0.0005"))
    assert {row.symbol for row in await desk.rest.leverage_brackets()} == {BTC, ETH}
    await desk.rest.set_margin_type(BTC, isolated=True)
    await desk.rest.set_leverage(BTC, 7)
    told = {row.symbol: row for row in await desk.rest.symbol_configs()}
    assert (told[BTC].isolated, told[BTC].leverage) == (True, 7)


async def test_symbols_do_not_mix(nursery: trio.Nursery, autojump_clock: object) -> None:
    desk = Desk(nursery)
    desk.quote(3_100.0, 3_100.5, symbol=1)
    await trio.sleep(0.01)
    await desk.rest.submit(ioc("1-1", "3110.0", "1", symbol=ETH))
    assert desk.fills() == [(D("3100.5"), D("1"))]


async def test_market_opens_with_the_venues_mark_or_with_the_mid_where_it_names_none(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    desk = Desk(nursery, Opening(books=BOOKS, marks=(mark(),)))
    assert desk.paper.books.mark_e8.tolist() == [6_000_150_000_000, 300_005_000_000]
    assert desk.paper.books.index_e8.tolist() == [6_000_250_000_000, 300_005_000_000]


async def test_published_records_do_not_pile_up(nursery: trio.Nursery, autojump_clock: object) -> None:
    desk = Desk(nursery)
    for step in range(50):
        desk.quote(60_000.0 + step, 60_001.0 + step)
        await trio.sleep(0.01)
    await trio.sleep(0.01)
    assert len(desk.paper.books.published()) == 0
    assert int(desk.paper.books.bid[0]) == 600_490


# -- the border --------------------------------------------------------------------------------------------------------
PUBLIC = {"server_time", "exchange_info", "klines", "agg_trades", "depth", "book_tickers", "tickers_24h",
          "premium_index"}  # fmt: skip
ARGUMENTS: dict[str, Any] = {
    "symbol": BTC, "cid": ClientId("1-1"), "interval": "1m", "limit": 20, "leverage": 5, "isolated": True,
    "qty_decimals": 3, "request": ioc("1-1", "60000.1"),
}  # fmt: skip
CALLS = [name for name, member in inspect.getmembers(RestClient, inspect.iscoroutinefunction) if name[0] != "_"]


@pytest.mark.parametrize("name", CALLS)
async def test_only_calls_without_a_key_ever_reach_the_venue(name: str) -> None:
    venue, account = Port(ok({})), Port(ok({}))
    rest = RestClient(PaperPort(venue, account), paper_signer(), lambda: T0, Limits())
    method = getattr(rest, name)
    wanted = [p for p in inspect.signature(method).parameters.values() if p.default is p.empty]
    with trio.fail_after(5):
        # An empty object is no answer to most of them; where it went is what counts.
        with contextlib.suppress(Restartable, Ambiguous):
            await method(**{p.name: ARGUMENTS[p.name] for p in wanted})
    assert (len(venue.sent), len(account.sent)) == ((1, 0) if name in PUBLIC else (0, 1))
    for _, target, headers, body in venue.sent:
        assert "X-MBX-APIKEY" not in headers
        assert b"signature" not in target.encode() + body


def test_the_list_of_calls_is_whole() -> None:
    assert set(CALLS) > PUBLIC | {"submit", "account", "set_leverage", "start_listen_key"}


async def test_the_simulators_weights_do_not_count_as_the_venues() -> None:
    venue = Port(ok({}, X_MBX_USED_WEIGHT_1M="7"))
    port = PaperPort(venue, Port(ok({}, X_MBX_USED_WEIGHT_1M="2399")))
    assert (await port.request("GET", "/fapi/v3/account?x=1", {}, b"")).headers == {}
    assert (await port.request("GET", "/fapi/v1/time", {}, b"")).headers == {"X-MBX-USED-WEIGHT-1M": "7"}


# -- opening -----------------------------------------------------------------------------------------------------------
async def test_opening_sets_the_clock_and_lists_the_chosen_symbols_alone(autojump_clock: Any) -> None:
    clock = VirtualClock(T0, autojump_clock)
    ahead_ms = T0 // 10**6 + 5_000  # this machine is five seconds behind
    row = {"bidQty": "1", "askQty": "1", "time": 1}
    books = [{"symbol": BTC, "bidPrice": "60000", "askPrice": "60000.1", **row},
             {"symbol": ETH, "bidPrice": "3000", "askPrice": "3000.1", **row}]  # fmt: skip
    rest, port = client(*[ok({"serverTime": ahead_ms})] * 4, ok(books), ok([]))
    access = Access(endpoints=LIVE, signer=paper_signer(), rest=rest)
    choices = [
        Choice(spec=SPECS[0], volume_quote=1.0, reason="too young"),
        Choice(spec=SPECS[1], volume_quote=1.0, reason=""),
    ]
    async with open_paper(CONFIG, access, choices, clock) as paper:
        assert clock.offset_ns == pytest.approx(5e9, abs=2e6)
        assert paper.books.now_ns == pytest.approx(ahead_ms * 1e6, abs=2e6)
        assert paper.books.bid.tolist() == [30_000]
        assert paper.access.endpoints == attrs.evolve(LIVE, trade=None)
        assert paper.access.rest.limits is rest.limits
    assert len(port.sent) == 6


@pytest.mark.parametrize("books", [(), BOOKS[:1], (BOOKS[0], book(ETH, bid=D(0), ask=D(1)))])
async def test_symbol_without_a_price_is_an_error_with_its_name(books: tuple[BookTicker, ...]) -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(ConfigError, match=r"quotes no price|BTCUSDT|ETHUSDT"):
            Desk(nursery, Opening(books=books, marks=()))


def test_depth_behind_the_touch_is_never_thicker_than_the_touch_was() -> None:
    thin = opening_listing(SPECS[0], 0, book(bid_qty=D("0.004"), ask_qty=D("0.002")))
    assert thin.touch_steps == 3
    thick = opening_listing(SPECS[0], 0, book(bid_qty=D(1_000), ask_qty=D(1_000)))
    assert thick.touch_steps < 1_000_000
    assert opening_listing(SPECS[0], 0, book(bid_qty=D(0), ask_qty=D(0))).touch_steps == 1


# -- the private stream ------------------------------------------------------------------------------------------------
async def test_events_of_one_life_are_heard_in_order_and_none_of_before_or_after(autojump_clock: object) -> None:
    heard: list[bytes] = []

    async def hear(payload: bytes, _: object) -> None:
        heard.append(payload)

    stream = MemoryStream(hear)
    stream.push(b"{}")
    for life in range(2):
        async with trio.open_nursery() as nursery:
            await nursery.start(stream.run)
            assert stream.connected
            for number in range(3):
                stream.push(b'{"e":"x%d%d"}' % (life, number))
            await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        assert not stream.connected
        stream.push(b'{"e":"nobody"}')
    assert heard == [b'{"e":"x%d%d"}' % (life, number) for life in range(2) for number in range(3)]


async def test_reader_that_is_too_slow_loses_the_stream_after_it_has_read_what_there_was(
    autojump_clock: object,
) -> None:
    heard: list[bytes] = []

    async def hear(payload: bytes, _: object) -> None:
        await trio.sleep(1.0)
        heard.append(payload)

    stream = MemoryStream(hear, unread=2)
    ended: list[str] = []

    async def life(*, task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises(Restartable) as caught:
            await stream.run(task_status=task_status)
        ended.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        await nursery.start(life)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(5):
            stream.push(b'{"e":"x%d"}' % number)
        assert not stream.connected  # at once: what was proven absent while it was up may be there after all
    assert heard == [b'{"e":"x0"}', b'{"e":"x1"}', b'{"e":"x2"}']  # one with the reader, two on the way
    assert ended == ["private stream: its reader fell behind"]
