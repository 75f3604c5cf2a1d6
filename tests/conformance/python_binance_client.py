"""python-binance: REST, sockets and the WebSocket API against the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal as D
from typing import Any

import pytest
from binance.async_client import AsyncClient
from binance.client import Client
from binance.exceptions import BinanceAPIException
from binance.ws.streams import BinanceSocketManager
from conftest import LocalBook, Venue, flood

BTC, QUIET = "BTCUSDT", "XRPUSDT"
BOOK_EVENTS = 60
Eventually = Callable[[Callable[[], Any]], Any]


def urls(venue: Venue) -> dict[str, str]:
    addresses = venue.addresses
    return {"FUTURES_URL": f"{addresses.rest}/fapi", "FUTURES_DATA_URL": f"{addresses.rest}/futures/data",
            "WS_FUTURES_URL": addresses.trade}  # fmt: skip


def connect(venue: Venue, secret: str | None = None) -> Client:
    kind = type("LocalClient", (Client,), urls(venue))
    return kind(venue.addresses.api_key, secret or venue.addresses.api_secret, ping=False)


def connect_async(venue: Venue) -> tuple[AsyncClient, BinanceSocketManager]:
    kind = type("LocalAsyncClient", (AsyncClient,), urls(venue))
    client = kind(venue.addresses.api_key, venue.addresses.api_secret)
    sockets = type("LocalSockets", (BinanceSocketManager,), {"FSTREAM_URL": f"{venue.addresses.stream}/"})
    return client, sockets(client)


@pytest.fixture(scope="module")
def client(venue: Venue) -> Iterator[Client]:
    made = connect(venue)
    yield made
    made.close_connection()


def price(client: Client, factor: str) -> str:
    """A price off the best bid, on the tick."""
    rules = next(row for row in client.futures_exchange_info()["symbols"] if row["symbol"] == BTC)
    tick = D(next(row["tickSize"] for row in rules["filters"] if row["filterType"] == "PRICE_FILTER"))
    bid = D(client.futures_orderbook_ticker(symbol=BTC)["bidPrice"])
    return f"{bid * D(factor) // tick * tick:f}"


def limit(client: Client, factor: str, **more: Any) -> dict[str, Any]:
    """Parameters of a buy that rests, or takes, at a share of the bid."""
    order = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "quantity": "0.01", "price": price(client, factor)}
    return order | {"timeInForce": "GTC"} | more


def hold(client: Client, venue: Venue, amount: str) -> None:
    change = D(amount) - venue.position(BTC)
    if change:
        side = "BUY" if change > 0 else "SELL"
        client.futures_create_order(symbol=BTC, side=side, type="MARKET", quantity=str(abs(change)))
    assert venue.position(BTC) == D(amount)


def test_market_data(client: Client, eventually: Eventually) -> None:
    assert client.futures_ping() == {}
    assert client.futures_time()["serverTime"] > 0
    assert len(client.futures_exchange_info()["symbols"]) >= 20
    assert len(client.futures_order_book(symbol=BTC, limit=5)["bids"]) == 5
    assert len(client.futures_klines(symbol=BTC, interval="5m", limit=20)) == 20
    assert len(client.futures_continuous_klines(pair=BTC, contractType="PERPETUAL", interval="1m", limit=3)) == 3
    assert eventually(lambda: client.futures_recent_trades(symbol=BTC))[-1]["isRPITrade"] is False
    assert eventually(lambda: client.futures_aggregate_trades(symbol=BTC))[-1]["q"]
    assert eventually(lambda: client.futures_historical_trades(symbol=BTC, limit=5))
    assert D(client.futures_mark_price(symbol=BTC)["markPrice"]) > 0
    assert client.futures_ticker(symbol=BTC)["count"] > 0
    assert len(client.futures_symbol_ticker()) >= 20


def test_a_limit_order_lives_is_changed_and_dies(client: Client, venue: Venue) -> None:
    placed = client.futures_create_order(**limit(client, "0.97"))
    assert "avgPrice" not in placed
    order_id = placed["orderId"]
    changed = client.futures_modify_order(
        symbol=BTC, orderId=order_id, side="BUY", quantity="0.02", price=price(client, "0.96")
    )
    assert (changed["origQty"], changed["orderId"]) == (venue.account.open_orders[order_id]["qty"], order_id)
    assert client.futures_v1_get_order_amendment(symbol=BTC, orderId=order_id)[0]["amendment"]["count"] == 1
    assert client.futures_get_order(symbol=BTC, orderId=order_id)["status"] == "NEW"
    assert [row["orderId"] for row in client.futures_get_open_orders(symbol=BTC)] == [order_id]
    assert client.futures_cancel_order(symbol=BTC, orderId=order_id)["status"] == "CANCELED"
    assert client.futures_get_all_orders(symbol=BTC)[-1]["orderId"] == order_id
    assert venue.order_status(order_id) == "CANCELED"


def test_the_times_in_force(client: Client, venue: Venue) -> None:
    ioc = client.futures_create_order(**limit(client, "0.97", timeInForce="IOC"))
    assert client.futures_get_order(symbol=BTC, orderId=ioc["orderId"])["status"] == "EXPIRED"
    for tif, factor, code in (("GTX", "1.01", -5022), ("FOK", "0.97", -5021)):
        with pytest.raises(BinanceAPIException) as caught:
            client.futures_create_order(**limit(client, factor, timeInForce=tif))
        assert caught.value.code == code
    until = (client.futures_time()["serverTime"] // 1000 + 700) * 1000
    good = client.futures_create_order(**limit(client, "0.97", timeInForce="GTD", goodTillDate=until))
    assert good["goodTillDate"] == until
    queued = client.futures_create_order(
        symbol=BTC, side="BUY", type="LIMIT", quantity="0.01", timeInForce="GTC", priceMatch="QUEUE_5"
    )
    assert queued["priceMatch"] == "QUEUE_5"
    client.futures_cancel_all_open_orders(symbol=BTC)
    assert venue.account.open_orders == {}


def test_market_orders_trades_positions_and_income_are_the_ledgers(client: Client, venue: Venue) -> None:
    hold(client, venue, "0")
    hold(client, venue, "0.03")
    (position,) = client.futures_position_information(symbol=BTC)
    held = venue.account.open_positions[BTC]
    assert (D(position["positionAmt"]), D(position["entryPrice"])) == (held.amount, held.entry)
    hold(client, venue, "0")
    fills = venue.account.fills
    rows = client.futures_account_trades(symbol=BTC, limit=1000)
    assert [(row["id"], D(row["price"]), D(row["qty"]), D(row["commission"])) for row in rows] == [
        (row["trade_id"], D(row["price"]), D(row["qty"]), D(row["commission"])) for row in fills
    ]
    account = venue.account
    income = client.futures_income_history(limit=1000)
    assert account.start_wallet + sum(D(row["income"]) for row in income) == account.wallet
    balance = next(row for row in client.futures_account_balance() if row["asset"] == "USDT")
    assert D(balance["balance"]) == account.wallet
    assert D(client.futures_account()["totalWalletBalance"]) == account.wallet


def test_conditional_orders_through_their_life(client: Client, venue: Venue, eventually: Eventually) -> None:
    hold(client, venue, "0.05")
    stop = client.futures_create_order(
        symbol=BTC, side="SELL", type="STOP_MARKET", stopPrice=price(client, "0.97"), closePosition="true"
    )
    trailing = client.futures_create_order(
        symbol=BTC, side="SELL", type="TRAILING_STOP_MARKET", quantity="0.01", callbackRate="5", reduceOnly="true"
    )
    made = {stop["algoId"], trailing["algoId"]}
    assert {row["algoId"] for row in client.futures_get_open_algo_orders(symbol=BTC)} == made
    assert set(venue.account.open_algo_orders) == made
    assert client.futures_cancel_algo_order(algoId=trailing["algoId"])["code"] == "200"
    hold(client, venue, "0")  # the stop goes with its position
    eventually(lambda: venue.algo_status(stop["algoId"]) == "EXPIRED")
    limit_stop = client.futures_create_order(
        symbol=BTC, side="BUY", type="TAKE_PROFIT", quantity="0.01", price=price(client, "0.97"),
        stopPrice=price(client, "0.98"), timeInForce="GTC",
    )  # fmt: skip
    assert client.futures_get_algo_order(algoId=limit_stop["algoId"])["algoStatus"] == "NEW"
    client.futures_cancel_all_algo_open_orders(symbol=BTC)
    assert client.futures_get_all_algo_orders(symbol=BTC)[-1]["algoStatus"] == "CANCELED"
    assert venue.account.open_algo_orders == {}


def test_batches_and_the_dead_mans_switch(client: Client, venue: Venue, eventually: Eventually) -> None:
    rows = [limit(client, "0.97"), limit(client, "0.96"), limit(client, "0.5")]
    made = client.futures_place_batch_order(batchOrders=rows)
    assert [row.get("code") for row in made] == [None, None, None]
    client.futures_cancel_orders(symbol=BTC, orderidlist=[made[0]["orderId"]])
    assert set(venue.account.open_orders) == {made[1]["orderId"], made[2]["orderId"]}
    assert client.futures_countdown_cancel_all(symbol=BTC, countdownTime=300)["countdownTime"] == "300"
    eventually(lambda: venue.account.open_orders == {})


def test_settings(client: Client) -> None:
    assert client.futures_change_leverage(symbol=BTC, leverage=9)["leverage"] == 9
    assert client.futures_symbol_config(symbol=BTC)[0]["leverage"] == 9
    assert client.futures_change_margin_type(symbol=BTC, marginType="ISOLATED")["code"] == 200
    with pytest.raises(BinanceAPIException, match="No need to change margin type"):
        client.futures_change_margin_type(symbol=BTC, marginType="ISOLATED")
    client.futures_change_margin_type(symbol=BTC, marginType="CROSSED")
    assert client.futures_get_position_mode() == {"dualSidePosition": False}
    assert client.futures_commission_rate(symbol=BTC)["takerCommissionRate"] == "0.0005"
    assert client.futures_leverage_bracket(symbol=BTC)[0]["brackets"]


def test_streams_keep_a_book_in_step_and_tell_of_fills(venue: Venue) -> None:
    async def watch() -> tuple[LocalBook, list[bool], list[dict[str, Any]], int]:
        client, sockets = connect_async(venue)
        book, agreed, events = LocalBook(), [], []
        try:
            async with asyncio.timeout(180):
                async with sockets.futures_user_socket() as user:
                    order = await client.ws_futures_create_order(symbol=BTC, side="BUY", type="MARKET", quantity=0.01)
                    while not {"ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "TRADE_LITE"} <= {row["e"] for row in events}:
                        events.append(await user.recv())
                diffs = sockets.futures_multiplex_socket([f"{QUIET.lower()}@depth@100ms"], category="public")
                async with diffs as depth:
                    while book.applied < BOOK_EVENTS or not any(agreed):
                        book.event((await depth.recv())["data"])
                        answer = await client.futures_order_book(symbol=QUIET, limit=1000)
                        if book.needs_snapshot:
                            book.snapshot(answer)
                        elif book.applied and answer["lastUpdateId"] == book.update_id:
                            agreed.append(book.agrees(answer))
        finally:
            await client.close_connection()
        return book, agreed, events, order["orderId"]

    _, agreed, events, order_id = asyncio.run(watch())
    assert all(agreed)
    fill = venue.account.fills[-1]
    lite = next(event for event in events if event["e"] == "TRADE_LITE")
    assert (lite["i"], lite["t"], D(lite["L"])) == (order_id, fill["trade_id"], D(fill["price"]))


def test_a_bad_signature_and_the_weight_limit(venue: Venue, strict_venue: Venue) -> None:
    with pytest.raises(BinanceAPIException) as caught:
        connect(venue, secret="wrong").futures_account()
    assert (caught.value.code, caught.value.status_code) == (-1022, 400)
    hasty = connect(strict_venue)
    with pytest.raises(BinanceAPIException) as limited:
        flood(hasty.futures_ping)
    assert (limited.value.code, limited.value.status_code) == (-1003, 429)
