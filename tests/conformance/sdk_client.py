"""The official SDK: REST, the WebSocket API and streams. Its models check the type of every field that they know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal as D
from typing import Any

import pytest
from binance_common.configuration import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_common.errors import BadRequestError, TooManyRequestsError
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import DerivativesTradingUsdsFutures
from conftest import LocalBook, Venue, flood

BTC, QUIET = "BTCUSDT", "XRPUSDT"
BOOK_EVENTS = 60
Eventually = Callable[[Callable[[], Any]], Any]


def connect(venue: Venue, secret: str | None = None) -> DerivativesTradingUsdsFutures:
    addresses = venue.addresses
    keys = {"api_key": addresses.api_key, "api_secret": secret or addresses.api_secret}
    return DerivativesTradingUsdsFutures(
        config_rest_api=ConfigurationRestAPI(**keys, base_path=addresses.rest, timeout=30_000, retries=0),
        config_ws_api=ConfigurationWebSocketAPI(**keys, stream_url=addresses.trade, timeout=30_000),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=addresses.stream),
    )


def plain(value: Any) -> Any:
    """An answer as JSON values, by the venue's names."""
    if hasattr(value, "data") and callable(value.data):
        return plain(value.data())
    if isinstance(value, list):
        return [plain(row) for row in value]
    if getattr(value, "actual_instance", None) is not None:
        return plain(value.actual_instance)
    return value.to_dict() if hasattr(value, "to_dict") else value


@pytest.fixture(scope="module")
def rest(venue: Venue) -> Any:
    return connect(venue).rest_api


def price(rest: Any, factor: str) -> float:
    """A price off the best bid, on the tick."""
    rules = next(row for row in plain(rest.exchange_information())["symbols"] if row["symbol"] == BTC)
    tick = D(next(row["tickSize"] for row in rules["filters"] if row["filterType"] == "PRICE_FILTER"))
    bid = D(plain(rest.symbol_order_book_ticker(symbol=BTC))["bidPrice"])
    return float(bid * D(factor) // tick * tick)


def hold(rest: Any, venue: Venue, amount: str) -> None:
    change = D(amount) - venue.position(BTC)
    if change:
        side = "BUY" if change > 0 else "SELL"
        rest.new_order(symbol=BTC, side=side, type="MARKET", quantity=float(abs(change)))
    assert venue.position(BTC) == D(amount)


def test_market_data(rest: Any, eventually: Eventually) -> None:
    assert plain(rest.check_server_time())["serverTime"] > 0
    assert len(plain(rest.order_book(symbol=BTC, limit=5))["asks"]) == 5
    assert len(plain(rest.kline_candlestick_data(symbol=BTC, interval="1m", limit=10))) == 10
    assert len(plain(rest.continuous_contract_kline_candlestick_data(BTC, "PERPETUAL", "1m", limit=3))) == 3
    assert eventually(lambda: plain(rest.recent_trades_list(symbol=BTC)))
    assert eventually(lambda: plain(rest.compressed_aggregate_trades_list(symbol=BTC)))
    assert D(plain(rest.mark_price(symbol=BTC))["markPrice"]) > 0
    assert plain(rest.ticker24hr_price_change_statistics(symbol=BTC))["count"] > 0
    assert D(plain(rest.symbol_price_ticker_v2(symbol=BTC))["price"]) > 0


def test_a_limit_order_lives_is_changed_and_dies(rest: Any, venue: Venue) -> None:
    high, low = price(rest, "0.97"), price(rest, "0.96")
    order = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "time_in_force": "GTC", "quantity": 0.01, "price": high}
    placed = plain(rest.new_order(**order))
    order_id = placed["orderId"]
    change = {"symbol": BTC, "side": "BUY", "quantity": 0.02, "price": low, "order_id": order_id, "modify_id": 7}
    changed = plain(rest.modify_order(**change))
    assert (changed["modifyId"], D(changed["origQty"])) == (7, D("0.02"))
    entry = venue.account.open_orders[order_id]
    assert (D(entry["qty"]), D(entry["price"])) == (D("0.02"), D(changed["price"]))
    assert plain(rest.get_order_modify_history(symbol=BTC, order_id=order_id))[0]["orderId"] == order_id
    assert plain(rest.query_order(symbol=BTC, order_id=order_id))["status"] == "NEW"
    assert plain(rest.query_current_open_order(symbol=BTC, order_id=order_id))["orderId"] == order_id
    assert [row["orderId"] for row in plain(rest.current_all_open_orders(symbol=BTC))] == [order_id]
    assert plain(rest.cancel_order(symbol=BTC, order_id=order_id))["status"] == "CANCELED"
    assert plain(rest.all_orders(symbol=BTC))[-1]["orderId"] == order_id
    assert venue.order_status(order_id) == "CANCELED"


def test_batches_and_the_dead_mans_switch(rest: Any, venue: Venue, eventually: Eventually) -> None:
    row = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "quantity": "0.01", "timeInForce": "GTC"}
    rows = [row | {"price": str(price(rest, factor))} for factor in ("0.97", "0.96")]
    made = plain(rest.place_multiple_orders(batch_orders=rows))
    ids = [row["orderId"] for row in made]
    assert set(venue.account.open_orders) == set(ids)
    rest.cancel_multiple_orders(symbol=BTC, order_id_list=ids[:1])
    assert set(venue.account.open_orders) == set(ids[1:])
    rest.auto_cancel_all_open_orders(symbol=BTC, countdown_time=300)
    eventually(lambda: venue.account.open_orders == {})


def test_fills_positions_balances_and_income_are_the_ledgers(rest: Any, venue: Venue) -> None:
    hold(rest, venue, "0.03")
    (position,) = plain(rest.position_information_v3(symbol=BTC))
    held = venue.account.open_positions[BTC]
    assert (D(position["positionAmt"]), D(position["entryPrice"])) == (held.amount, held.entry)
    hold(rest, venue, "0")
    assert plain(rest.position_information_v3()) == []
    account = venue.account
    rows = plain(rest.account_trade_list(symbol=BTC, limit=1000))
    assert [(row["id"], D(row["price"]), D(row["qty"])) for row in rows] == [
        (row["trade_id"], D(row["price"]), D(row["qty"])) for row in account.fills
    ]
    income = plain(rest.get_income_history(limit=1000))
    assert account.start_wallet + sum(D(row["income"]) for row in income) == account.wallet
    balance = next(row for row in plain(rest.futures_account_balance_v3()) if row["asset"] == "USDT")
    assert D(balance["balance"]) == account.wallet
    assert D(plain(rest.account_information_v3())["totalWalletBalance"]) == account.wallet
    assert D(plain(rest.account_information_v2())["totalWalletBalance"]) == account.wallet


def test_conditional_orders_through_their_life(rest: Any, venue: Venue, eventually: Eventually) -> None:
    hold(rest, venue, "0.05")
    common = {"algo_type": "CONDITIONAL", "symbol": BTC, "side": "SELL"}
    stop = plain(
        rest.new_algo_order(
            **common, type="STOP_MARKET", trigger_price=price(rest, "0.97"), close_position="true",
            working_type="MARK_PRICE",
        )
    )  # fmt: skip
    trailing = plain(
        rest.new_algo_order(
            **common, type="TRAILING_STOP_MARKET", quantity=0.01, callback_rate=2.5,
            activate_price=price(rest, "1.02"), reduce_only="true",
        )
    )  # fmt: skip
    made = {stop["algoId"], trailing["algoId"]}
    assert {row["algoId"] for row in plain(rest.current_all_algo_open_orders(symbol=BTC))} == made
    assert set(venue.account.open_algo_orders) == made
    assert plain(rest.cancel_algo_order(algo_id=trailing["algoId"]))["code"] == "200"
    hold(rest, venue, "0")
    eventually(lambda: venue.algo_status(stop["algoId"]) == "EXPIRED")
    assert plain(rest.query_algo_order(algo_id=stop["algoId"]))["algoStatus"] == "EXPIRED"
    assert len(plain(rest.query_all_algo_orders(symbol=BTC))) == 2
    with pytest.raises(BadRequestError):  # a conditional type at the old endpoint: -4120
        rest.new_order(symbol=BTC, side="SELL", type="STOP_MARKET", quantity=0.01)
    assert venue.account.open_algo_orders == {}


def test_settings(rest: Any) -> None:
    assert plain(rest.change_initial_leverage(symbol=BTC, leverage=8))["leverage"] == 8
    assert plain(rest.symbol_configuration(symbol=BTC))[0]["leverage"] == 8
    rest.change_margin_type(symbol=BTC, margin_type="ISOLATED")
    rest.change_margin_type(symbol=BTC, margin_type="CROSSED")
    assert plain(rest.get_current_position_mode())["dualSidePosition"] is False
    assert plain(rest.futures_account_configuration())["canTrade"] is True
    assert plain(rest.user_commission_rate(symbol=BTC))["takerCommissionRate"] == "0.0005"
    assert plain(rest.query_user_rate_limit())[0]["rateLimitType"] == "ORDERS"


@asynccontextmanager
async def streams(venue: Venue) -> AsyncIterator[Any]:
    client = connect(venue).websocket_streams
    connection = await client.create_connection()
    try:
        async with asyncio.timeout(180):
            yield connection
    finally:
        await client.close_connection(close_session=True)


def test_orders_by_the_websocket_api(venue: Venue, rest: Any) -> None:
    low, lower = price(rest, "0.97"), price(rest, "0.96")

    async def trade() -> tuple[int, Any]:
        client = connect(venue).websocket_api
        connection = await client.create_connection()
        try:
            async with asyncio.timeout(180):
                placed = plain(
                    await connection.new_order(
                        symbol=BTC, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=low
                    )
                )["result"]
                order_id = placed["orderId"]
                await connection.modify_order(symbol=BTC, side="BUY", quantity=0.02, price=lower, order_id=order_id)
                assert D(venue.account.open_orders[order_id]["qty"]) == D("0.02")
                read = plain(await connection.query_order(symbol=BTC, order_id=order_id))["result"]
                assert (read["status"], D(read["origQty"])) == ("NEW", D("0.02"))
                await connection.cancel_order(symbol=BTC, order_id=order_id)
                account = plain(await connection.account_information_v2())["result"]
        finally:
            await client.close_connection(close_session=True)
        return order_id, account

    order_id, account = asyncio.run(trade())
    assert venue.order_status(order_id) == "CANCELED"
    assert D(account["totalWalletBalance"]) == venue.account.wallet


def test_user_events_tell_of_a_fill(venue: Venue, rest: Any) -> None:
    events: dict[str, dict[str, Any]] = {}  # by the name of the SDK's model: it keeps no `e`

    def hear(event: Any) -> None:
        events[type(event.actual_instance).__name__] = plain(event)

    async def listen() -> int:
        async with streams(venue) as connection:
            key = plain(await asyncio.to_thread(rest.start_user_data_stream))["listenKey"]
            stream = await connection.user_data(key)
            stream.on("message", hear)
            order = await asyncio.to_thread(rest.new_order, symbol=BTC, side="BUY", type="MARKET", quantity=0.01)
            while not {"OrderTradeUpdate", "AccountUpdate", "TradeLite"} <= set(events):  # noqa: ASYNC110 - callbacks
                await asyncio.sleep(0.02)
            return int(plain(order)["orderId"])

    order_id = asyncio.run(listen())
    fill = venue.account.fills[-1]
    lite = events["TradeLite"]
    assert (lite["i"], lite["t"], D(lite["L"])) == (order_id, fill["trade_id"], D(fill["price"]))
    assert D(events["AccountUpdate"]["a"]["B"][0]["wb"]) == venue.account.wallet


def test_streams_keep_a_book_in_step(venue: Venue, rest: Any) -> None:
    book, agreed, bars = LocalBook(), [], []

    async def watch() -> None:
        async with streams(venue) as connection:
            depth = await connection.diff_book_depth_streams(symbol=QUIET, update_speed="100ms")
            depth.on("message", lambda event: book.event(plain(event)))
            kline = await connection.kline_candlestick_streams(symbol=BTC, interval="1m")
            kline.on("message", lambda event: bars.append(plain(event)))
            while book.applied < BOOK_EVENTS or not agreed or not bars:
                answer = plain(await asyncio.to_thread(rest.order_book, symbol=QUIET, limit=1000))
                if book.needs_snapshot:
                    book.snapshot(answer)
                elif book.applied and answer["lastUpdateId"] == book.update_id:
                    agreed.append(book.agrees(answer))

    asyncio.run(watch())
    assert all(agreed)
    assert bars[0]["k"]["i"] == "1m"


def test_a_bad_signature_and_the_weight_limit(venue: Venue, strict_venue: Venue) -> None:
    with pytest.raises(BadRequestError, match="Signature"):
        connect(venue, secret="wrong").rest_api.account_information_v3()
    hasty = connect(strict_venue).rest_api
    with pytest.raises(TooManyRequestsError):
        flood(hasty.test_connectivity)
