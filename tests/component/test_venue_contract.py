"""The client and the simulated exchange meet in memory: each understands what the other says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal

import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection

from aegis.core import messages
from aegis.core.errors import VenueRefusal
from aegis.core.messages import Accepted, AlgoRequest, CancelRequest, OrderRequest, Refused
from aegis.core.secret import Secret
from aegis.core.values import (
    AlgoStatus,
    AlgoType,
    ClientId,
    OrderStatus,
    OrderType,
    Side,
    SymbolName,
    TimeInForce,
    WorkingType,
)
from aegis.exchange.simulator import ApiRequest
from aegis.venue.decode import decode_user_event
from aegis.venue.http import HttpReply
from aegis.venue.limits import Limits
from aegis.venue.rest import RestClient
from aegis.venue.signing import HmacSigner
from aegis.venue.trade_socket import TradeSocket
from tests.support.exchange_rig import KEY, SECRET, Rig, make_rig
from tests.support.socket_stage import Stage

AAA = SymbolName("AAAUSDT")


class InMemory:
    """`HttpPort` that calls the simulator."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    async def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
        await trio.lowlevel.checkpoint()
        path, _, query = target.partition("?")
        key = headers.get("X-MBX-APIKEY")
        answer = self._rig.send(ApiRequest(method=method, path=path, query=query.encode(), body=body, api_key=key))
        found = {name.lower(): value for name, value in answer.headers}
        return HttpReply(status=answer.status, headers=found, body=answer.body)

    async def aclose(self) -> None:
        return None


@pytest.fixture
def rig() -> Rig:
    return make_rig()


@pytest.fixture
def rest(rig: Rig) -> RestClient:
    return RestClient(InMemory(rig), HmacSigner(Secret(KEY), Secret(SECRET)), lambda: rig.now_ns, Limits())


def events(rig: Rig) -> list[object]:
    rig.wait(5_000)
    decoded = [decode_user_event(json.dumps(event).encode()) for _, event in rig.events]
    assert all(isinstance(event, messages.UserEvent) for event in decoded), decoded
    return decoded


def entry(n: int, side: Side = Side.BUY, price: str = "100.3", tif: TimeInForce = TimeInForce.IOC) -> OrderRequest:
    return OrderRequest(
        cid=ClientId(f"1-{n}"), symbol=AAA, side=side, type=OrderType.LIMIT, qty=Decimal("0.5"), price=Decimal(price),
        tif=tif,
    )  # fmt: skip


async def test_public_reads(rig: Rig, rest: RestClient) -> None:
    assert await rest.server_time() == rig.now_ns // 10**6
    info = await rest.exchange_info()
    assert info.skipped == ()
    spec = next(spec for spec in info.symbols if spec.symbol == AAA)
    assert (spec.tick, spec.step, spec.contract_type, spec.quote) == (
        Decimal("0.1"),
        Decimal("0.001"),
        "PERPETUAL",
        "USDT",
    )
    ticker = next(row for row in await rest.book_tickers() if row.symbol == AAA)
    assert (ticker.bid, ticker.ask) == (Decimal("99.9"), Decimal("100.1"))
    mark = next(row for row in await rest.premium_index() if row.symbol == AAA)
    assert mark.mark == Decimal(100)
    depth = await rest.depth(AAA)
    assert depth.bids[0][0] == Decimal("99.9")
    rig.trade(1, 1001, 500)
    rig.history.apply(rig.books.published(), rig.now_ns)
    (trade,) = await rest.agg_trades(AAA)
    assert (trade.price, trade.qty, trade.buyer_is_maker) == (Decimal("100.1"), Decimal("0.5"), False)
    assert {row.symbol for row in await rest.tickers_24h()} >= {AAA}


async def test_an_entry_its_stop_and_its_exit(rig: Rig, rest: RestClient) -> None:
    placed = await rest.submit(entry(1))
    assert isinstance(placed, Accepted)
    stop = AlgoRequest(
        cid=ClientId("1-2"), symbol=AAA, side=Side.SELL, type=AlgoType.STOP_MARKET, trigger=Decimal(98),
        working_type=WorkingType.CONTRACT_PRICE,
    )  # fmt: skip
    protected = await rest.submit(stop)
    assert isinstance(protected, Accepted)
    (position,) = await rest.positions(AAA)
    assert (position.amount, position.entry_price) == (Decimal("0.5"), Decimal("100.1"))
    order = await rest.order(AAA, ClientId("1-1"))
    assert (order.status, order.filled_qty, order.order_id) == (OrderStatus.FILLED, Decimal("0.5"), placed.venue_id)
    (algo,) = await rest.open_algo_orders()
    assert (algo.status, algo.cid, algo.trigger, algo.close_position) == (AlgoStatus.NEW, "1-2", Decimal(98), True)
    assert (await rest.algo_order(ClientId("1-2"))).algo_id == protected.venue_id
    assert isinstance(await rest.submit(CancelRequest(cid=ClientId("1-2"), symbol=AAA, algo=True)), Accepted)
    exit_ = OrderRequest(
        cid=ClientId("1-3"), symbol=AAA, side=Side.SELL, type=OrderType.MARKET, qty=Decimal("0.5"), reduce_only=True
    )
    assert isinstance(await rest.submit(exit_), Accepted)
    assert all(row.amount == 0 for row in await rest.positions(AAA))
    bought, sold = await rest.user_trades(AAA)
    assert (bought.side, sold.side, sold.realized_pnl) == (Side.BUY, Side.SELL, Decimal("-0.1"))
    heard = events(rig)
    fills = {e.trade_id for e in heard if isinstance(e, messages.OrderUpdate) and e.execution == "TRADE"}
    assert fills == {bought.trade_id, sold.trade_id} == {e.trade_id for e in heard if isinstance(e, messages.TradeLite)}
    wallet = [e.balances[0].wallet for e in heard if isinstance(e, messages.AccountUpdate)][-1]
    assert (await rest.account()).wallet == wallet == (await rest.balances())[0].wallet
    assert {e.status for e in heard if isinstance(e, messages.AlgoUpdate)} == {AlgoStatus.NEW, AlgoStatus.CANCELED}
    assert {row.type for row in await rest.income()} >= {"COMMISSION", "REALIZED_PNL"}


async def test_a_triggered_stop_tells_its_child(rig: Rig, rest: RestClient) -> None:
    await rest.submit(entry(1))
    stop = AlgoRequest(
        cid=ClientId("1-2"), symbol=AAA, side=Side.SELL, type=AlgoType.STOP_MARKET, trigger=Decimal(98),
        working_type=WorkingType.CONTRACT_PRICE,
    )  # fmt: skip
    await rest.submit(stop)
    rig.quote(970, 972)
    rig.trade(-1, 970, 100)
    rig.wait(1_000)
    rig.quote(970, 972)
    heard = events(rig)
    states = [e for e in heard if isinstance(e, messages.AlgoUpdate)]
    assert states[-1].status is AlgoStatus.FINISHED
    child = next(
        e for e in heard if isinstance(e, messages.OrderUpdate) and e.side is Side.SELL and e.execution == "TRADE"
    )
    assert child.cid == "1-2"
    assert child.order_id == states[-1].order_id
    assert all(row.amount == 0 for row in await rest.positions(AAA))


async def test_resting_orders_duplicates_and_cancels(rig: Rig, rest: RestClient) -> None:
    resting = entry(1, price="99.0", tif=TimeInForce.GTX)
    assert isinstance(await rest.submit(resting), Accepted)
    assert isinstance(await rest.submit(resting), messages.Unknown)  # an order with this id lives
    (order,) = await rest.open_orders(AAA)
    assert (order.cid, order.status, order.price) == ("1-1", OrderStatus.NEW, Decimal("99.0"))
    cancel = CancelRequest(cid=ClientId("1-1"), symbol=AAA)
    assert isinstance(await rest.submit(cancel), Accepted)
    again = await rest.submit(cancel)
    assert isinstance(again, Refused)
    assert again.code == -2011
    with pytest.raises(VenueRefusal) as caught:
        await rest.order(AAA, ClientId("1-77"))
    assert caught.value.code == -2013


async def test_settings_and_modes(rig: Rig, rest: RestClient) -> None:
    await rest.set_margin_type(AAA, isolated=True)
    await rest.set_margin_type(AAA, isolated=True)
    assert (await rest.set_leverage(AAA, 7)).leverage == 7
    (config,) = await rest.symbol_configs(AAA)
    assert (config.isolated, config.leverage) == (True, 7)
    modes = await rest.account_config()
    assert (modes.can_trade, modes.hedge_mode, modes.multi_assets) == (True, False, False)
    assert (await rest.commission_rate(AAA)).taker > 0
    (brackets,) = await rest.leverage_brackets(AAA)
    assert brackets.rows[0].max_leverage == 50
    key = await rest.start_listen_key()
    assert await rest.keep_listen_key() == key
    assert rest.limits.weight_used > 0


async def test_orders_over_the_websocket_api(rig: Rig, autojump_clock: object, nursery: trio.Nursery) -> None:
    async def venue(ws: WebSocketConnection) -> None:
        while True:
            try:
                message = await ws.get_message()
            except ConnectionClosed:
                return
            answers: list[bytes] = []
            rig.simulator.ws_api(message.encode(), rig.now_ns, answers.append)
            rig.wait(1)
            (answer,) = answers
            await ws.send_message(answer.decode())

    outcomes: list[messages.Outcome] = []
    socket = TradeSocket(
        "ws://exchange.test/ws-fapi/v1", HmacSigner(Secret(KEY), Secret(SECRET)), lambda: rig.now_ns, outcomes.append,
        limits=Limits(), dial=Stage(nursery, venue).dial,
    )  # fmt: skip
    nursery.start_soon(socket.run)
    await trio.testing.wait_all_tasks_blocked()
    stop = AlgoRequest(
        cid=ClientId("1-2"), symbol=AAA, side=Side.SELL, type=AlgoType.STOP_MARKET, trigger=Decimal(98),
        working_type=WorkingType.MARK_PRICE,
    )  # fmt: skip
    asked = [entry(1), stop, CancelRequest(cid=ClientId("1-2"), symbol=AAA, algo=True), entry(3, price="1000000.0")]
    for request in asked:
        assert socket.send(request)
        await trio.testing.wait_all_tasks_blocked()
    assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted, Accepted, Refused]
    assert [outcome.request for outcome in outcomes] == asked
    assert rig.position() == Decimal("0.5")
