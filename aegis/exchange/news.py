"""What the public hears beside prices: contracts that change, liquidations. PROTOCOL.md §2.7 and §2.9."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import msgspec
import numpy as np
import numpy.typing as npt

from aegis.exchange.listing import Listing, decimal_text
from aegis.kernels.books import TRADE

__all__ = ["ContractNews", "ForceOrders", "Liquidation", "News", "contract_info"]

_NS_PER_MS = 1_000_000
_NS_PER_SECOND = 1_000_000_000
#: A symbol that moves so far within a second liquidates somebody: its largest order of that second is told.
_CASCADE = 0.003


@attrs.frozen
class ContractNews:
    """A contract was listed, halted, resumed, announced or delisted; or (`brackets`) has other brackets."""

    listing: Listing
    at_ms: int
    brackets: bool = False


@attrs.frozen(kw_only=True)
class Liquidation:
    """A forced order so far: `steps` were wanted, `filled` of them at `average` (as text); price in ticks."""

    listing: Listing
    side: str
    ticks: int
    steps: int
    last_steps: int
    filled: int
    average: str
    ms: int


News = ContractNews | Liquidation


def contract_info(news: ContractNews) -> bytes:
    """`!contractInfo`: status and dates; brackets only where they changed."""
    listing = news.listing
    event: dict[str, Any] = {
        "e": "contractInfo",
        "E": news.at_ms,
        "s": listing.symbol,
        "ps": listing.pair,
        "ct": listing.contract_type,
        "dt": listing.delivery_ms,
        "ot": listing.onboard_ms,
        "cs": listing.status,
        "st": 1,
    }
    if news.brackets:
        event["bks"] = _brackets(listing)
    return msgspec.json.encode(event)


def _brackets(listing: Listing) -> list[dict[str, int | float]]:
    """The least leverage of a bracket is one above the largest of the next."""
    below = [row.leverage + 1 for row in listing.brackets[1:]] + [1]
    return [
        {"bs": row.bracket, "bnf": int(row.floor), "bnc": int(row.cap), "mmr": float(row.mmr), "cf": float(row.cum),
         "mi": min(least, row.leverage), "ma": row.leverage}
        for row, least in zip(listing.brackets, below, strict=True)
    ]  # fmt: skip


class ForceOrders:
    """The largest liquidation of each symbol and second: the accounts' own, and those that a fast market makes.

    Who is liquidated in the made-up crowd is not modelled. What is told is the largest aggressive order, of the move's
    direction, in a second in which a symbol moved by 30 bp or more.
    """

    def __init__(self, listings: Iterable[Listing]) -> None:
        self._listings = tuple(listings)
        self._second = 0
        self._tape: list[npt.NDArray[np.void]] = []
        self._own: list[Liquidation] = []

    def take(
        self, news: Iterable[News], records: npt.NDArray[np.void], now_ns: int
    ) -> list[tuple[Listing, dict[str, Any]]]:
        """Take in what happened up to `now_ns`; returns the events of a second once it is over."""
        out: list[tuple[Listing, dict[str, Any]]] = []
        if now_ns // _NS_PER_SECOND != self._second:
            out = [(row.listing, _event(row, now_ns // _NS_PER_MS)) for row in self._largest()]
            self._second = now_ns // _NS_PER_SECOND
            self._tape.clear()
            self._own.clear()
        trades = records[records["kind"] == TRADE]
        if len(trades):
            self._tape.append(trades)
        self._own += [item for item in news if isinstance(item, Liquidation)]
        return out

    def _largest(self) -> list[Liquidation]:
        largest: dict[int, Liquidation] = {}
        for row in [*self._own, *self._cascade()]:
            before = largest.get(row.listing.index)
            if before is None or row.filled > before.filled:
                largest[row.listing.index] = row
        return list(largest.values())

    def _cascade(self) -> list[Liquidation]:
        if not self._tape:
            return []
        trades = np.concatenate(self._tape)
        trades = trades[np.argsort(trades["symbol"], kind="stable")]
        names, first = np.unique(trades["symbol"], return_index=True)
        found = []
        for symbol, rows in zip(names.tolist(), np.split(trades, first[1:]), strict=True):
            opened, closed = int(rows["price"][0]), int(rows["price"][-1])
            if abs(closed - opened) >= _CASCADE * opened:
                found += self._order_of(symbol, rows[rows["side"] == (1 if closed > opened else -1)])
        return found

    def _order_of(self, symbol: int, rows: npt.NDArray[np.void]) -> list[Liquidation]:
        """The largest order among these prints."""
        if not len(rows):
            return []
        orders, place = np.unique(rows["order"], return_inverse=True)
        sizes = np.bincount(place, weights=rows["qty"].astype(np.float64))
        own = rows[rows["order"] == orders[int(np.argmax(sizes))]]
        listing, steps = self._listings[symbol], int(own["qty"].sum())
        average = int((own["qty"] * own["price"]).sum()) * listing.tick_units // max(1, steps)
        return [
            Liquidation(
                listing=listing, side="BUY" if own["side"][0] > 0 else "SELL", ticks=int(own["price"][-1]),
                steps=steps, last_steps=int(own["qty"][-1]), filled=steps,
                average=decimal_text(average, listing.price_decimals), ms=int(own["time_ns"][-1]) // _NS_PER_MS,
            )
        ]  # fmt: skip


def _event(row: Liquidation, now_ms: int) -> dict[str, Any]:
    listing = row.listing
    order = {
        "s": listing.symbol,
        "S": row.side,
        "o": "LIMIT",
        "f": "IOC",
        "q": listing.quantity_text(row.steps),
        "p": listing.price_text(row.ticks),
        "ap": row.average,
        "X": "FILLED" if row.filled == row.steps else "PARTIALLY_FILLED",
        "l": listing.quantity_text(row.last_steps),
        "z": listing.quantity_text(row.filled),
        "T": row.ms,
    }
    return {"e": "forceOrder", "E": now_ms, "o": order}
