"""Orders of the simulated exchange: one order's life, and the store that finds them."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection
from typing import Any

import attrs
import msgspec

from aegis.core.errors import InvariantBroken
from aegis.core.values import OrderStatus, OrderType, Side, TimeInForce
from aegis.exchange.account import Position, PositionSide
from aegis.exchange.listing import Listing
from aegis.exchange.money import E8, divide, plain

__all__ = ["Amendment", "Order", "OrderStore", "average_price"]

_KEPT_FINAL = 100_000
#: Every 7th symbol numbers its orders beyond 2**53, as some of the venue's symbols do.
_LARGE_BASE = 8_389_765_000_000_000_000
_SPACE = 1_000_000_000_000
#: The way of an order names members of enums once: Python 3.11 takes ten times as long to get them from their class.
_NEW, _PARTIALLY_FILLED = OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED
_FILLED, _REJECTED = OrderStatus.FILLED, OrderStatus.REJECTED


@attrs.frozen(kw_only=True)
class Amendment:
    """One modification: (ticks, steps) before and after."""

    number: int
    ms: int
    before: tuple[int, int]
    after: tuple[int, int]
    modify_id: int | None = None


#: Of an order that was not drafted yet.
_NOWHERE: Any = None


class Order(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """One order. Price in ticks (0 for MARKET), quantities in steps; `listing` turns both into exact decimals."""

    account: str
    listing: Listing
    client_id: str
    side: Side
    type: OrderType
    tif: TimeInForce
    ticks: int
    steps: int
    order_id: int = 0
    """Given when it is accepted, as are the times."""
    created_ms: int = 0
    updated_ms: int = 0
    reduce_only: bool = False
    conditional_type: str = ""
    """Of the child of a conditional order: that one's type."""
    close_position: bool = False
    trigger_ticks: int = 0
    working_type: str = "CONTRACT_PRICE"
    price_protect: bool = False
    stp: str = "EXPIRE_MAKER"
    price_match: str = "NONE"
    good_till_ms: int = 0
    """GTD: when it ends by itself; else 0."""
    algo_id: int = 0
    """The conditional order that it came from; else 0."""
    position_side: PositionSide = "BOTH"
    amendments: tuple[Amendment, ...] = ()
    status: OrderStatus = OrderStatus.NEW
    filled: int = 0
    quote_e16: int = 0
    """Sum of price x quantity of its fills, 1e-16."""
    ahead: int = 0
    """Steps displayed at its price before it came, and not traded since: they are served first."""
    resting: bool = False
    """Whether it waits in the book; kept by `OrderStore`."""
    position: Position = _NOWHERE
    """What its fills go to; known from `Matching.draft` on."""

    @property
    def original_type(self) -> str:
        return self.conditional_type or self.type.value

    @property
    def open_steps(self) -> int:
        return self.steps - self.filled

    @property
    def average(self) -> str:
        """Shortest text of the average fill price."""
        return average_price(self.listing, self.quote_e16, self.filled)

    def move(self, status: OrderStatus, now_ms: int) -> None:
        """Change state. Raises InvariantBroken on a transition that cannot be."""
        if self.status.final or status is _NEW or status is _REJECTED:
            raise InvariantBroken(f"order {self.order_id} cannot go from {self.status.value} to {status.value}")
        self.status = status
        self.updated_ms = now_ms

    def fill(self, steps: int, ticks: int, now_ms: int) -> None:
        """Count one fill and move to the state that follows from it."""
        left = self.steps - self.filled
        if not 0 < steps <= left or self.status.final:
            raise InvariantBroken(
                f"order {self.order_id}, {self.status.value}: a fill of {steps} steps where {left} are open"
            )
        self.filled += steps
        self.quote_e16 += steps * ticks * self.listing.unit_e16
        self.status = _FILLED if steps == left else _PARTIALLY_FILLED
        self.updated_ms = now_ms


def average_price(listing: Listing, quote_e16: int, steps: int) -> str:
    """Shortest text of what a step of `steps` cost, with at most four digits more than the symbol's prices."""
    if not steps:
        return "0"
    digits = listing.price_decimals + 4
    return plain(divide(quote_e16 * 10**digits, steps * listing.step_e8 * E8), digits)


class OrderStore:
    """Open orders by symbol in order of arrival, and the most recent final ones for look-ups."""

    def __init__(self) -> None:
        self._by_id: dict[int, Order] = {}
        self._by_client: dict[tuple[str, int, str], Order] = {}
        self._resting: defaultdict[int, dict[int, Order]] = defaultdict(dict)
        self._open: defaultdict[str, defaultdict[int, dict[int, Order]]] = defaultdict(lambda: defaultdict(dict))
        self._open_clients: dict[tuple[str, str], Order] = {}
        self._final: deque[Order] = deque()
        self._issued: dict[int, int] = {}

    def next_id(self, symbol: int) -> int:
        """A fresh order id: rising within a symbol, unique over all of them."""
        self._issued[symbol] = issued = self._issued.get(symbol, 0) + 1
        base = _LARGE_BASE if symbol % 7 == 3 else 0
        return base + (symbol + 1) * _SPACE + issued

    def add(self, order: Order) -> None:
        self._by_id[order.order_id] = order
        self._by_client[order.account, order.listing.index, order.client_id] = order

    def rest(self, order: Order) -> None:
        """Put an order that waits in the book behind those that came before it."""
        symbol, id = order.listing.index, order.order_id
        order.resting = True
        self._resting[symbol][id] = order
        self._open[order.account][symbol][id] = order
        self._open_clients[order.account, order.client_id] = order

    def unrest(self, order: Order) -> None:
        """Take an order out of the book."""
        symbol, id = order.listing.index, order.order_id
        order.resting = False
        del self._resting[symbol][id]
        del self._open[order.account][symbol][id]
        client = (order.account, order.client_id)
        if self._open_clients.get(client) is order:  # the child of a conditional order may bear another's id
            del self._open_clients[client]

    def settle(self, order: Order) -> None:
        """An order became final, once; it stays readable for a while."""
        self._final.append(order)
        if len(self._final) > _KEPT_FINAL:
            gone = self._final.popleft()
            del self._by_id[gone.order_id]
            by_client = (gone.account, gone.listing.index, gone.client_id)
            if self._by_client.get(by_client) is gone:
                del self._by_client[by_client]

    def resting(self, symbol: int) -> Collection[Order]:
        """Orders in the book of a symbol, first come first; changes as they come and go."""
        found = self._resting.get(symbol)
        return found.values() if found else ()

    def open_orders(self, account: str, symbol: int | None = None) -> list[Order]:
        """Of an account, by symbol in order of arrival; a copy."""
        symbols = self._open.get(account)
        if not symbols:
            return []
        if symbol is None:
            return [order for found in symbols.values() for order in found.values()]
        found = symbols.get(symbol)
        return list(found.values()) if found else []

    def count_open(self, account: str, symbol: int) -> int:
        symbols = self._open.get(account)
        return len(symbols.get(symbol, ())) if symbols else 0

    def open_client(self, account: str, client_id: str) -> Order | None:
        """The open order of an account with this client id, on any symbol."""
        return self._open_clients.get((account, client_id))

    def find(self, account: str, symbol: int, order_id: int | None, client_id: str | None) -> Order | None:
        """By id where one is given, else the latest with that client id; open or final."""
        if order_id is not None:
            order = self._by_id.get(order_id)
        else:
            order = self._by_client.get((account, symbol, client_id or ""))
        return order if order is not None and (order.account, order.listing.index) == (account, symbol) else None

    def all(self) -> list[Order]:
        """Every order that is still known, oldest first."""
        return list(self._by_id.values())

    @property
    def issued(self) -> dict[int, int]:
        """How many ids each symbol has given out (state)."""
        return self._issued
