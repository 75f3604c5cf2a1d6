"""cryptofeed 3.0.1, market data: what its callbacks get is what the venue says by REST, and its book stays in step."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from cryptofeed import FeedHandler, connection
from cryptofeed.connection import RestEndpoint, Routes, WebsocketEndpoint
from cryptofeed.defines import BUY, CANDLES, FUNDING, L2_BOOK, TICKER, TRADES
from cryptofeed.exchanges import BinanceFutures
from websockets.asyncio.client import connect

from tests.conformance.conftest import Venue

SECONDS = 60.0
PAIRS = ("BTC-USDT-PERP", "ETH-USDT-PERP")
ROUTES = Routes(
    "/fapi/v1/exchangeInfo", l2book="/fapi/v1/depth?symbol={}&limit={}", open_interest="/fapi/v1/openInterest?symbol={}"
)


def get(venue: Venue, path: str) -> Any:
    with urllib.request.urlopen(venue.addresses.rest + path, timeout=10) as answer:
        return json.loads(answer.read())


class Heard:
    """Everything that the callbacks were given."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Any]] = {name: [] for name in (TRADES, TICKER, CANDLES, FUNDING)}
        self.books: list[tuple[str, int, int, Decimal, Decimal]] = []

    def take(self, kind: str) -> Any:
        async def callback(row: Any, _: float) -> None:
            self.rows[kind].append(row)

        return callback

    async def book(self, book: Any, _: float) -> None:
        bids, asks = book.book.bids, book.book.asks
        number, first = int(book.sequence_number), int(book.raw.get("pu", -1))
        self.books.append((book.symbol, number, first, bids.index(0)[0], asks.index(0)[0]))


@pytest.fixture(scope="module")
def heard(venue: Venue) -> Heard:
    """A minute of it."""
    stream, rest = venue.addresses.stream, venue.addresses.rest
    # it takes addresses with TLS alone; ours has none on loopback, so the way there is shortened underneath
    secure = stream.replace("ws://", "wss://")
    BinanceFutures.websocket_endpoints = [WebsocketEndpoint(secure, options={"compression": None})]
    connection.connect = lambda address, **options: connect(address.replace("wss://", "ws://"), **options)
    BinanceFutures.rest_endpoints = [RestEndpoint(rest, routes=ROUTES)]
    heard = Heard()
    handler = FeedHandler(config={"log": {"disabled": True}})  # it would write a file where it is
    callbacks = {kind: heard.take(kind) for kind in heard.rows} | {L2_BOOK: heard.book}
    handler.add_feed(BinanceFutures(symbols=list(PAIRS), channels=list(callbacks), callbacks=callbacks))

    async def minute() -> None:
        asyncio.get_running_loop().call_later(SECONDS, handler.request_stop)
        await handler.run_async(install_signal_handlers=False)

    asyncio.run(minute())
    return heard


def test_symbols_are_those_that_trade(venue: Venue, heard: Heard) -> None:
    trading = {
        f"{row['baseAsset']}-{row['quoteAsset']}-PERP"
        for row in get(venue, "/fapi/v1/exchangeInfo")["symbols"]
        if row["status"] == "TRADING" and "PERPETUAL" in row["contractType"]
    }
    symbols = {name for name in BinanceFutures.symbols() if name.endswith("-PERP")}
    assert symbols == trading


def test_trades_are_the_aggregated_trades_that_rest_gives(venue: Venue, heard: Heard) -> None:
    own = [row for row in heard.rows[TRADES] if row.symbol == "BTC-USDT-PERP"]
    first = int(own[0].id)
    rows = {row["a"]: row for row in get(venue, f"/fapi/v1/aggTrades?symbol=BTCUSDT&fromId={first}&limit=1000")}
    compared = [row for row in own if int(row.id) in rows]
    assert len(compared) > 50
    assert [int(row.id) for row in own] == list(range(first, first + len(own)))
    for row in compared:
        told = rows[int(row.id)]
        assert (row.price, row.amount) == (Decimal(told["p"]), Decimal(told["q"]))
        assert (row.side == BUY) == (not told["m"])
        assert round(row.timestamp * 1000) == told["T"]


def test_quotes_come_for_every_symbol_and_are_never_crossed(heard: Heard) -> None:
    assert {row.symbol for row in heard.rows[TICKER]} == set(PAIRS)
    assert all(0 < row.bid < row.ask for row in heard.rows[TICKER])


def test_the_book_is_kept_in_step_for_a_minute(venue: Venue, heard: Heard) -> None:
    """Every event follows the one before it: where one does not, cryptofeed takes a new snapshot."""
    for pair in PAIRS:
        own = [row for row in heard.books if row[0] == pair]
        assert len(own) > 60
        assert sum(first < 0 for _, _, first, _, _ in own) == 1  # one snapshot
        assert all(after[2] == before[1] for before, after in pairwise(own[1:]))
        assert all(bid < ask for *_, bid, ask in own)
    quotes = {(row.raw["s"], row.raw["u"]): row for row in heard.rows[TICKER]}
    both = [(row, quotes[row[0].replace("-USDT-PERP", "USDT"), row[1]]) for row in heard.books
            if (row[0].replace("-USDT-PERP", "USDT"), row[1]) in quotes]  # fmt: skip
    assert len(both) > 20
    assert all((bid, ask) == (quote.bid, quote.ask) for (*_, bid, ask), quote in both)


def test_candles_are_the_klines_that_rest_gives(venue: Venue, heard: Heard) -> None:
    closed = [row for row in heard.rows[CANDLES] if row.closed and row.symbol == "BTC-USDT-PERP"]
    assert closed
    rows = {row[0]: row for row in get(venue, "/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=10")}
    for row in closed:
        told = rows[round(row.start * 1000)]
        assert [row.open, row.high, row.low, row.close, row.volume] == [Decimal(told[k]) for k in range(1, 6)]


def test_marks_and_funding_come_for_every_symbol(heard: Heard) -> None:
    assert {row.symbol for row in heard.rows[FUNDING]} == set(PAIRS)
    assert all(row.mark_price > 0 and row.rate is not None for row in heard.rows[FUNDING])
