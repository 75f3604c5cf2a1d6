"""Asking the venue: for the whole account at start and every minute, for each order in doubt at once. Never resends.

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
from aegis.engine.answers import (
    AccountAnswer,
    algo_answer,
    fills_answer,
    income_answer,
    order_answer,
    outside_answer,
    positions_answer,
)
from aegis.engine.machine import Machine
from aegis.runtime.logs import get_logger
from aegis.venue import replies

__all__ = ["Reconciler", "Venue"]

T = TypeVar("T")

_NOT_FOUND = -2013
#: A fresh doubt is usually settled by the stream within this time; asking sooner only finds reads that lag.
_PATIENCE_S = 0.5
#: Between two looks at the whole account (weight 90 of 2,400 a minute), and where a look has found a difference.
_AUDIT_S = 60.0
_AUDIT_SOON_S = 10.0
_PAGE = 1_000
#: Income is asked for from so long before the last record: a repeated row is recognised.
_OVERLAP_MS = 600_000


class Venue(Protocol):
    """The part of `RestClient` that is needed to ask."""

    async def account(self) -> replies.Account: ...
    async def account_config(self) -> replies.AccountConfig: ...
    async def positions(self, symbol: SymbolName | None = None) -> tuple[replies.Position, ...]: ...
    async def open_orders(self, symbol: SymbolName | None = None) -> tuple[replies.OrderState, ...]: ...
    async def open_algo_orders(self, symbol: SymbolName | None = None) -> tuple[replies.AlgoState, ...]: ...
    async def order(
        self, symbol: SymbolName, cid: ClientId | None = None, *, order_id: int | None = None
    ) -> replies.OrderState: ...
    async def algo_order(self, cid: ClientId) -> replies.AlgoState: ...
    async def user_trades(
        self, symbol: SymbolName, *, order_id: int | None = None, start_ms: int | None = None
    ) -> tuple[replies.UserTrade, ...]: ...
    async def income(self, *, start_ms: int | None = None, limit: int = 1000) -> tuple[replies.Income, ...]: ...


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
        self._looked_s = -_AUDIT_S
        self.asked = 0

    def ask(self) -> None:
        """Something is in doubt; may be called any number of times."""
        try:
            self._ring.send_nowait(None)
        except trio.WouldBlock:
            return  # it is on its way already

    async def start(self, heard_ns: int | None = None) -> None:
        """Learn the account before trading. Raises ConfigError where its modes are none that we trade in.

        Args:
            heard_ns: when the run that is gone on with last heard of the account; None for a run that begins.
        """
        modes = await self._venue.account_config()
        if modes.hedge_mode or modes.multi_assets:
            mode = "hedge" if modes.hedge_mode else "multi-assets"
            raise ConfigError(f"the account is in {mode} mode; only one-way, single-asset is traded: change it there")
        if not modes.can_trade:
            raise ConfigError("the account may not trade (canTrade is false)")
        await self.settle()
        if heard_ns is not None:
            await self._income(heard_ns // 1_000_000 - _OVERLAP_MS)
        await self.look()

    async def look(self) -> None:
        """The whole account, for comparison: wallet, positions, open orders."""
        account = await self._venue.account()
        self._answer("account", msgspec.json.encode(AccountAnswer(wallet=account.wallet)))
        asked_ns, self._looked_s = self._now_ns(), trio.current_time()
        rows = await self._venue.positions()
        amounts: dict[str, Decimal] = {row.symbol: row.amount for row in rows if row.amount}
        orders = [(order.symbol, order.cid, False) for order in await self._venue.open_orders()]
        orders += [(algo.symbol, algo.cid, True) for algo in await self._venue.open_algo_orders()]
        is_ours = self._machine.decision.is_ours
        ours = [row for row in orders if is_ours(row[1])]
        foreign = {symbol for symbol, cid, _ in orders if not is_ours(cid)}
        self._answer("positions", positions_answer(asked_ns, amounts, foreign, ours))

    async def _income(self, since_ms: int) -> None:
        """What moved the wallet while nobody listened: funding above all."""
        while True:
            rows = await self._venue.income(start_ms=since_ms, limit=_PAGE)
            self._answer("income", income_answer(rows))
            if len(rows) < _PAGE or rows[-1].time_ms == since_ms:
                return
            since_ms = rows[-1].time_ms

    async def run(self) -> None:
        """Serve `ask` for ever, and look at the whole account every minute."""
        audit = self._machine.decision.audit
        while True:
            due_s = self._looked_s + (_AUDIT_SOON_S if audit.wanted else _AUDIT_S)
            with trio.move_on_after(max(0.0, due_s - trio.current_time())):
                await self._bell.receive()
            await trio.sleep(_PATIENCE_S)
            if await self.settle():
                self.ask()
            if trio.current_time() >= due_s:
                await self._audit()

    async def _audit(self) -> None:
        try:
            for symbol, since_ms in self._machine.decision.audit.unexplained():
                await self._explain(symbol, since_ms)
            await self.look()
        except (Restartable, VenueRefusal) as error:
            self._looked_s = trio.current_time()
            get_logger().warning("account.unread", reason=str(error))

    async def _explain(self, symbol: SymbolName, since_ms: int) -> None:
        """Which executions have made a position of ours into another: those of orders that we do not know."""
        known = self._machine.decision.portfolio.booked
        rows = await self._venue.user_trades(symbol, start_ms=since_ms)
        unknown = [row for row in rows if not known(symbol, row.trade_id)]
        cids = {order_id: (await self._venue.order(symbol, order_id=order_id)).cid
                for order_id in {row.order_id: None for row in unknown}}  # fmt: skip
        if unknown:
            self._answer("outside", outside_answer(symbol, [(row, cids[row.order_id]) for row in unknown]))
        else:
            get_logger().warning("account.unexplained", symbol=symbol)

    async def resync(self) -> None:
        """After the private stream was down: ask for every open order, then for the account.

        Nothing tells again what the stream lost, so an order that could not be asked is asked again.
        """
        desk = self._machine.decision.desk
        while not await self._ask_each(tuple(desk.unsettled())):  # noqa: ASYNC110 - it is the venue that has no event
            await trio.sleep(_PATIENCE_S)
        await self.look()

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
