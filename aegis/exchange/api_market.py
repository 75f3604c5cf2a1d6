"""Handlers of market data. PROTOCOL.md §4.1."""

from __future__ import annotations

from typing import Any

from aegis.exchange.api import Call, Params, Route, Security, by_symbol
from aegis.exchange.errors import Refusal
from aegis.exchange.exchange_info import exchange_info
from aegis.exchange.history import INTERVALS
from aegis.exchange.listing import Listing, decimal_text

__all__ = ["ROUTES"]

_DEPTH_WEIGHTS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}
_RPI_LIMIT = 1000
_HOUR_MS = 3_600_000


def read_time(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/time."""
    return {"serverTime": call.now_ms}


def read_exchange_info(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/exchangeInfo."""
    limits = call.core.limits
    return exchange_info(
        call.core.state.listings,
        call.now_ms,
        limits.weight_limit,
        orders_minute=limits.orders_minute,
        orders_10s=limits.orders_10s,
    )


def read_depth(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/depth: at most as many levels as the books hold."""
    listing, limit = call.listing(), _depth_limit(call.params)
    if limit not in _DEPTH_WEIGHTS:
        raise Refusal(-1130, "limit")
    return _depth(call, listing, limit)


def read_rpi_depth(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/rpiDepth: the book with its RPI orders. Nobody places any here, so it is the book of `depth`."""
    listing, limit = call.listing(), call.params.optional_integer("limit")
    if limit not in (None, _RPI_LIMIT):
        raise Refusal(-1130, "limit")
    return _depth(call, listing, _RPI_LIMIT)


def _depth(call: Call, listing: Listing, limit: int) -> dict[str, Any]:
    books = call.core.state.books
    index = listing.index
    return {
        "lastUpdateId": int(books.update_id[index]),
        "E": call.now_ms,
        "T": call.now_ms,
        "bids": _levels(listing, int(books.bid[index]), -1, books.bid_qty[index, :limit].tolist()),
        "asks": _levels(listing, int(books.ask[index]), 1, books.ask_qty[index, :limit].tolist()),
    }


def _levels(listing: Listing, touch: int, away: int, sizes: list[int]) -> list[list[str]]:
    return [
        [listing.price_text(touch + away * k), listing.quantity_text(steps)]
        for k, steps in enumerate(sizes)
        if steps > 0 and touch > 0
    ]


def _depth_limit(params: Params) -> int:
    limit = params.optional_integer("limit")
    return 500 if limit is None else limit


def read_klines(call: Call) -> list[list[Any]]:
    """GET /fapi/v1/klines: minutes and longer."""
    return _klines(call, call.listing(), shortest="1m")


def read_continuous_klines(call: Call) -> list[list[Any]]:
    """GET /fapi/v1/continuousKlines: seconds too."""
    if call.params.text("contractType") != "PERPETUAL":
        raise Refusal(-1130, "contractType")
    return _klines(call, call.listing("pair"), shortest="1s")


def _klines(call: Call, listing: Listing, *, shortest: str) -> list[list[Any]]:
    params = call.params
    interval = params.text("interval")
    if INTERVALS.get(interval, 0) < INTERVALS[shortest]:
        raise Refusal(-1120)
    limit = params.limit(500, 1500)
    start, end = params.optional_integer("startTime"), params.optional_integer("endTime")
    return call.core.history.klines(listing.index, interval, start, end, limit)


def _kline_weight(params: Params) -> int:
    limit = params.optional_integer("limit")
    limit = 500 if limit is None else limit
    return next((weight for below, weight in ((100, 1), (500, 2), (1001, 5)) if limit < below), 10)


def read_book_ticker(call: Call) -> Any:
    """GET /fapi/v1/ticker/bookTicker."""
    named = call.optional_listing()
    if named is not None:
        return _book_ticker(call, named)
    quoted = call.core.state.books.bid
    return [_book_ticker(call, listing) for listing in call.core.state.listings if quoted[listing.index] > 0]


def _book_ticker(call: Call, listing: Listing) -> dict[str, Any]:
    books, index = call.core.state.books, listing.index
    return {
        "symbol": listing.symbol,
        "bidPrice": listing.price_text(int(books.bid[index])),
        "bidQty": listing.quantity_text(int(books.bid_size[index])),
        "askPrice": listing.price_text(int(books.ask[index])),
        "askQty": listing.quantity_text(int(books.ask_size[index])),
        "time": call.now_ms,
        "lastUpdateId": int(books.update_id[index]),
    }


def read_ticker(call: Call) -> Any:
    """GET /fapi/v1/ticker/24hr."""
    named = call.optional_listing()
    if named is not None:
        return _ticker(call, named)
    return [_ticker(call, listing) for listing in call.core.state.listings if listing.onboard_ms <= call.now_ms]


def _ticker(call: Call, listing: Listing) -> dict[str, Any]:
    return call.core.history.ticker_24hr(listing.index, int(call.core.state.books.trade_id[listing.index]))


def read_price(call: Call) -> Any:
    """GET /fapi/v1/ticker/price and v2."""
    named = call.optional_listing()
    if named is not None:
        return _price(call, named)
    return [_price(call, listing) for listing in call.core.state.listings if listing.onboard_ms <= call.now_ms]


def _price(call: Call, listing: Listing) -> dict[str, Any]:
    last = int(call.core.state.books.last[listing.index])
    return {"symbol": listing.symbol, "price": listing.price_text(last), "time": call.now_ms}


def read_trades(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/trades: the last few thousand."""
    return call.core.history.trades(call.listing().index, limit=call.params.limit(500, 1000))


def read_old_trades(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/historicalTrades: no older than `trades`, but from any id."""
    params = call.params
    limit, from_id = params.limit(100, 500), params.optional_integer("fromId")
    return call.core.history.trades(call.listing().index, from_id=from_id, limit=limit)


def read_premium_index(call: Call) -> Any:
    """GET /fapi/v1/premiumIndex."""
    named = call.optional_listing()
    if named is not None:
        return _premium_index(call, named)
    marked = call.core.state.books.mark_e8
    return [_premium_index(call, listing) for listing in call.core.state.listings if marked[listing.index] > 0]


def _premium_index(call: Call, listing: Listing) -> dict[str, Any]:
    books, index = call.core.state.books, listing.index
    mark = decimal_text(int(books.mark_e8[index]), 8)
    return {
        "symbol": listing.symbol,
        "markPrice": mark,
        "indexPrice": decimal_text(int(books.index_e8[index]), 8),
        "estimatedSettlePrice": mark,
        "lastFundingRate": decimal_text(int(books.funding_e8[index]), 8),
        "interestRate": "0.00010000",
        "nextFundingTime": int(books.next_funding_ms[index]),
        "time": call.now_ms,
    }


def read_agg_trades(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/aggTrades: the last few thousand."""
    params, listing = call.params, call.listing()
    from_id = params.optional_integer("fromId")
    start, end = params.optional_integer("startTime"), params.optional_integer("endTime")
    if from_id is not None and (start is not None or end is not None):
        raise Refusal(-1128)
    if start is not None and end is not None and not 0 <= end - start < _HOUR_MS:
        raise Refusal(-1130, "startTime")
    limit = params.limit(500, 1000)
    return call.core.history.agg_trades(listing.index, from_id=from_id, start_ms=start, end_ms=end, limit=limit)


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/fapi/v1/ping"): Route(handler=lambda call: {}),
    ("GET", "/fapi/v1/time"): Route(handler=read_time),
    ("GET", "/fapi/v1/exchangeInfo"): Route(handler=read_exchange_info),
    ("GET", "/fapi/v1/depth"): Route(
        handler=read_depth, weight=lambda params: _DEPTH_WEIGHTS.get(_depth_limit(params), 1)
    ),
    ("GET", "/fapi/v1/rpiDepth"): Route(handler=read_rpi_depth, weight=20),
    ("GET", "/fapi/v1/klines"): Route(handler=read_klines, weight=_kline_weight),
    ("GET", "/fapi/v1/continuousKlines"): Route(handler=read_continuous_klines, weight=_kline_weight),
    ("GET", "/fapi/v1/ticker/bookTicker"): Route(handler=read_book_ticker, weight=by_symbol(2, 5)),
    ("GET", "/fapi/v1/ticker/price"): Route(handler=read_price, weight=by_symbol(1, 2)),
    ("GET", "/fapi/v2/ticker/price"): Route(handler=read_price, weight=by_symbol(1, 2)),
    ("GET", "/fapi/v1/trades"): Route(handler=read_trades, weight=5),
    ("GET", "/fapi/v1/historicalTrades"): Route(handler=read_old_trades, security=Security.KEY, weight=200),
    ("GET", "/fapi/v1/ticker/24hr"): Route(handler=read_ticker, weight=by_symbol(1, 40)),
    ("GET", "/fapi/v1/premiumIndex"): Route(handler=read_premium_index, weight=by_symbol(1, 10)),
    ("GET", "/fapi/v1/aggTrades"): Route(handler=read_agg_trades, weight=20),
}
