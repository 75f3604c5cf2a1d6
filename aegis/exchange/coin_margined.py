"""COIN-M contracts as far as they appear here: beside ours on the streams of all symbols, with `st` 2.

Since 2026-06-30 those streams carry both (PROTOCOL.md §2). These contracts cannot be traded here; each follows the
coin's USDT contract at its prices, counted in contracts of a fixed worth in dollars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from aegis.exchange.books import Books
from aegis.exchange.listing import Listing

__all__ = ["coin_quotes", "force_order", "ticker", "with_coin_margined"]

#: Symbol of the coin's USDT contract -> worth of one COIN-M contract, in dollars.
_WORTH = {"BTCUSDT": 100, "ETHUSDT": 10, "BNBUSDT": 10, "SOLUSDT": 10}
Event = dict[str, Any]


def with_coin_margined(listing: Listing, event: Event, twin: Callable[[Listing, Event], Event]) -> Iterator[Event]:
    """The event, and its COIN-M contract's (made by `twin`) where the coin has one."""
    yield event
    if listing.symbol in _WORTH:
        yield twin(listing, event)


def ticker(listing: Listing, event: Event) -> Event:
    """24hrTicker or 24hrMiniTicker: `v` counts contracts, `q` coins."""
    out = event | {**_names(listing), "v": _contracts(listing, event["q"]), "q": event["v"]}
    if "Q" in event:
        out["Q"] = _contracts(listing, Decimal(event["Q"]) * Decimal(event["c"]))
    return out


def force_order(listing: Listing, event: Event) -> Event:
    """forceOrder: `st` and `ps` stand inside and outside of `o`, because nobody knows where they belong."""
    order = event["o"]
    sizes = {name: _contracts(listing, Decimal(order[name]) * Decimal(order["ap"])) for name in ("q", "l", "z")}
    names = _names(listing)
    return event | {"o": order | names | sizes, "st": 2, "ps": names["ps"]}


def coin_quotes(books: Books) -> Iterator[bytes]:
    """bookTicker of each of these contracts, at the present quote of its coin."""
    now_ms = books.now_ns // 1_000_000
    for listing in books.listings:
        bid, ask = int(books.bid[listing.index]), int(books.ask[listing.index])
        if listing.symbol not in _WORTH or bid <= 0:
            continue
        sizes = [
            _contracts(listing, listing.quantity(int(size[listing.index])) * listing.price(price))
            for size, price in ((books.bid_size, bid), (books.ask_size, ask))
        ]
        event = {"e": "bookTicker", "u": int(books.update_id[listing.index]), "E": now_ms, "T": now_ms,
                 "b": listing.price_text(bid), "B": sizes[0], "a": listing.price_text(ask), "A": sizes[1]}  # fmt: skip
        yield msgspec.json.encode(event | _names(listing))


def _names(listing: Listing) -> Event:
    return {"s": f"{listing.base}USD_PERP", "ps": f"{listing.base}USD", "st": 2}


def _contracts(listing: Listing, dollars: Decimal | str) -> str:
    return str(int(Decimal(dollars)) // _WORTH[listing.symbol])
