"""ccxt Pro's `binanceusdm`: its books stay in step, and its events tell what the ledger tells."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal as D
from typing import Any

import ccxt.pro
import pytest
from conftest import Venue

BTC, QUIET = "BTC/USDT:USDT", "XRP/USDT:USDT"
BOOK_S = 30


@asynccontextmanager
async def connected(venue: Venue, secret: str | None = None) -> AsyncIterator[ccxt.pro.binanceusdm]:
    addresses = venue.addresses
    client = ccxt.pro.binanceusdm({"apiKey": addresses.api_key, "secret": secret or addresses.api_secret})
    for name in list(client.urls["api"]):
        if name.startswith("fapi"):
            version = {"V2": "v2", "V3": "v3"}.get(name[-2:], "v1")
            client.urls["api"][name] = f"{addresses.rest}/fapi/{version}"
        elif name != "ws":
            del client.urls["api"][name]  # nothing else may be asked
    client.urls["api"]["ws"] = {"linear": f"{addresses.stream}/ws", "ws-api": {"linear": addresses.trade}}
    client.has["fetchCurrencies"] = False
    client.options["fetchMarkets"] = {"types": ["linear"]}
    client.enableRateLimit = False
    try:
        async with asyncio.timeout(180):
            await client.load_markets()
            yield client
    finally:
        await client.close()


def level(book: Any) -> tuple[list[list[float]], list[list[float]]]:
    return [list(row)[:2] for row in book["bids"]], [list(row)[:2] for row in book["asks"]]


def test_a_watched_book_equals_the_snapshots_of_the_same_id(venue: Venue) -> None:
    async def watch() -> tuple[dict[int, Any], dict[int, Any]]:
        watched: dict[int, Any] = {}
        snapshots: dict[int, Any] = {}
        async with connected(venue) as client:
            end = time.monotonic() + BOOK_S

            async def poll() -> None:
                while time.monotonic() < end or not snapshots.keys() & watched.keys():
                    book = await client.fetch_order_book(QUIET, 1000)
                    snapshots[book["nonce"]] = level(book)

            polling = asyncio.create_task(poll())
            while not polling.done():
                book = await client.watch_order_book(QUIET)
                watched[book["nonce"]] = level(book)
            await polling
        return watched, snapshots

    watched, snapshots = asyncio.run(watch())
    common = watched.keys() & snapshots.keys()
    assert len(watched) > 10
    assert common
    assert {nonce: watched[nonce] for nonce in common} == {nonce: snapshots[nonce] for nonce in common}


def test_klines_trades_tickers_and_marks_arrive(venue: Venue) -> None:
    async def watch() -> list[Any]:
        async with connected(venue) as client:
            return [
                await client.watch_ohlcv(BTC, "1m"),
                await client.watch_trades(BTC),
                await client.watch_ticker(BTC),
                await client.watch_bids_asks([BTC]),
                await client.watch_mark_price(BTC),
                await client.watch_tickers(),
            ]

    bars, trades, ticker, quotes, mark, tickers = asyncio.run(watch())
    assert bars[-1][3] <= bars[-1][4] <= bars[-1][2]
    assert trades[-1]["price"] == pytest.approx(ticker["last"], rel=0.01)
    assert quotes[BTC]["bid"] < quotes[BTC]["ask"]
    assert mark["markPrice"] == pytest.approx(ticker["last"], rel=0.01)
    assert tickers


def test_orders_by_the_socket_and_their_events(venue: Venue) -> None:
    seen: dict[str, list[Any]] = {"orders": [], "trades": [], "positions": []}

    async def trade() -> tuple[str, str]:
        async with connected(venue) as client:

            async def listen(kind: str, ask: Any) -> None:
                while True:
                    seen[kind] += await ask()

            listening = [
                asyncio.create_task(listen("orders", client.watch_orders)),
                asyncio.create_task(listen("trades", client.watch_my_trades)),
                asyncio.create_task(listen("positions", client.watch_positions)),
            ]
            await asyncio.sleep(1)  # until the user socket stands
            bid = (await client.fetch_bids_asks([BTC]))[BTC]["bid"]
            low = float(client.price_to_precision(BTC, D(str(bid)) * D("0.97")))
            resting = await client.create_order_ws(BTC, "limit", "buy", 0.01, low)
            lower = float(client.price_to_precision(BTC, D(str(bid)) * D("0.96")))
            await client.edit_order_ws(resting["id"], BTC, "limit", "buy", 0.02, lower)
            assert D(venue.account.open_orders[int(resting["id"])]["qty"]) == D("0.02")
            assert (await client.fetch_order_ws(resting["id"], BTC))["status"] == "open"
            await client.cancel_order_ws(resting["id"], BTC)
            market = await client.create_order_ws(BTC, "market", "buy", 0.02)
            while not (seen["trades"] and seen["positions"] and len(seen["orders"]) > 3):  # noqa: ASYNC110 - lists
                await asyncio.sleep(0.02)
            wallet = (await client.fetch_balance_ws())["USDT"]["total"]
            assert wallet == pytest.approx(float(venue.account.wallet))
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
        return resting["id"], market["id"]

    resting, market = asyncio.run(trade())
    assert venue.order_status(int(resting)) == "CANCELED"
    by_order = {order: [row["status"] for row in seen["orders"] if row["id"] == order] for order in (resting, market)}
    assert by_order[resting][-1] == "canceled"
    assert by_order[market][-1] == "closed"
    fills = [row for row in venue.account.fills if str(row["order_id"]) == market]
    assert [row["id"] for row in seen["trades"]] == [str(row["trade_id"]) for row in fills]
    assert seen["positions"][-1]["contracts"] == float(venue.position("BTCUSDT"))


def test_a_bad_signature_on_the_socket_is_refused(venue: Venue) -> None:
    async def ask() -> None:
        async with connected(venue, secret="wrong") as client:
            await client.fetch_balance_ws()

    with pytest.raises(ccxt.pro.AuthenticationError, match="1022"):
        asyncio.run(ask())
