"""Asking the venue: at start for the whole account, later for every order whose fate is in doubt. Never resends.

What it learns goes to the machine as answers; what they prove is decided there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from typing import Protocol, TypeVar

import msgspec
import trio

from aegis.core.errors import ConfigError, Restartable, VenueRefusal
from aegis.core.values import ClientId, SymbolName
from aegis.engine.answers import AccountAnswer, algo_answer, fills_answer, order_answer, positions_answer
from aegis.engine.machine import Machine
from aegis.runtime.logs import get_logger
from aegis.venue import replies

__all__ = ["Reconciler", "Venue"]

T = TypeVar("T")

_NOT_FOUND = -2013
#: A fresh doubt is usually settled by the stream within this time; asking sooner only finds reads that lag.
_PATIENCE_S = 0.5


class Venue(Protocol):
    """The part of `RestClient` that is needed to ask."""

    async def account(self) -> replies.Account: ...
    async def account_config(self) -> replies.AccountConfig: ...
    async def positions(self, symbol: SymbolName | None = None) -> tuple[replies.Position, ...]: ...
    async def open_orders(self, symbol: SymbolName | None = None) -> tuple[replies.OrderState, ...]: ...
    async def open_algo_orders(self, symbol: SymbolName | None = None) -> tuple[replies.AlgoState, ...]: ...
    async def order(self, symbol: SymbolName, cid: ClientId) -> replies.OrderState: ...
    async def algo_order(self, cid: ClientId) -> replies.AlgoState: ...
    async def user_trades(
        self, symbol: SymbolName, *, order_id: int | None = None
    ) -> tuple[replies.UserTrade, ...]: ...


class Reconciler:
    """One task; `ask()` rings it. `stream_alive` tells whether the private stream has been up without a break."""

    def __init__(
        self,
        venue: Venue,
        machine: Machine,
        now_ns: Callable[[], int],
        stream_alive: Callable[[], bool],
        answer: Callable[[str, bytes], None],
    ) -> None:
        self._venue = venue
        self._answer = answer
        self._machine = machine
        self._now_ns = now_ns
        self._stream_alive = stream_alive
        self._ring, self._bell = trio.open_memory_channel[None](1)
        self.asked = 0

    def ask(self) -> None:
        """Something is in doubt; may be called any number of times."""
        try:
            self._ring.send_nowait(None)
        except trio.WouldBlock:
            return  # it is on its way already

    async def start(self) -> None:
        """Learn the account before trading. Raises ConfigError where its modes are none that we trade in."""
        modes = await self._venue.account_config()
        if modes.hedge_mode or modes.multi_assets:
            mode = "hedge" if modes.hedge_mode else "multi-assets"
            raise ConfigError(f"the account is in {mode} mode; only one-way, single-asset is traded: change it there")
        if not modes.can_trade:
            raise ConfigError("the account may not trade (canTrade is false)")
        await self.settle()
        account = await self._venue.account()
        self._answer("account", msgspec.json.encode(AccountAnswer(wallet=account.wallet)))
        await self.positions()

    async def positions(self) -> None:
        """Positions and orders of the whole account, for comparison."""
        rows = await self._venue.positions()
        amounts: dict[str, Decimal] = {row.symbol: row.amount for row in rows if row.amount}
        orders = [(o.symbol, o.cid) for o in await self._venue.open_orders()]
        algos = [(o.symbol, o.cid) for o in await self._venue.open_algo_orders()]
        ours = self._machine.decision.is_ours
        foreign = {symbol for symbol, cid in (*orders, *algos) if not ours(cid)}
        self._answer("positions", positions_answer(amounts, foreign))

    async def run(self) -> None:
        """Serve `ask` for ever."""
        while True:
            await self._bell.receive()
            await trio.sleep(_PATIENCE_S)
            if await self.settle():
                self.ask()

    async def resync(self) -> None:
        """After the private stream was down: ask for every open order, then for the positions.

        Nothing tells again what the stream lost, so an order that could not be asked is asked again.
        """
        desk = self._machine.decision.desk
        while not await self._ask_each(tuple(desk.unsettled())):  # noqa: ASYNC110 - it is the venue that has no event
            await trio.sleep(_PATIENCE_S)
        await self.positions()

    async def settle(self) -> bool:
        """One round over what is in doubt; True where some of it still is."""
        desk = self._machine.decision.desk
        answered = await self._ask_each(tuple(desk.doubtful()))
        return not answered or next(desk.doubtful(), None) is not None

    async def _ask_each(self, orders: Iterable[tuple[SymbolName, ClientId, bool, int | None]]) -> bool:
        """False where the venue could not be asked for all of them. A refused question leaves its order in doubt."""
        answered = True
        for symbol, cid, conditional, child in orders:
            try:
                await self._look_up(symbol, cid, conditional, child)
            except Restartable:
                return False  # the others would not be answered now either
            except VenueRefusal as refusal:
                get_logger().warning("order.unknown", symbol=symbol, cid=cid, reason=str(refusal))
                answered = False
        return answered

    async def _look_up(self, symbol: SymbolName, cid: ClientId, conditional: bool, child: int | None) -> None:
        self.asked += 1
        alive, asked_ns = self._stream_alive(), self._now_ns()
        if conditional:
            algo = await _or_none(self._venue.algo_order(cid))
            self._answer("algo", algo_answer(cid, symbol, asked_ns, algo, alive=alive and self._stream_alive()))
            child = child if algo is None or algo.order_id is None else algo.order_id
        else:
            order = await _or_none(self._venue.order(symbol, cid))
            self._answer("order", order_answer(cid, symbol, asked_ns, order, alive=alive and self._stream_alive()))
            child = child if order is None or not order.filled_qty else order.order_id
        if child is not None:
            fills = await self._venue.user_trades(symbol, order_id=child)
            self._answer("fills", fills_answer(cid, symbol, fills))


async def _or_none(lookup: Awaitable[T]) -> T | None:
    try:
        return await lookup
    except VenueRefusal as refusal:
        if refusal.code != _NOT_FOUND:
            raise
        return None
