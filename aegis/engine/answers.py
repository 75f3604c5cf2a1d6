"""What the venue said when it was asked, as the fold takes it: small JSON documents, so that they can be recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from aegis.core.algo_orders import VenueAlgo
from aegis.core.fills import Fill
from aegis.core.orders import VenueOrder
from aegis.core.values import AlgoStatus, ClientId, OrderStatus, Side, SymbolName
from aegis.venue.replies import AlgoState, Income, OrderState, UserTrade

__all__ = [
    "AccountAnswer", "AlgoAnswer", "FillsAnswer", "IncomeAnswer", "OrderAnswer", "OutsideAnswer", "PositionsAnswer",
    "algo_answer", "fills_answer", "income_answer", "order_answer", "outside_answer", "positions_answer",
]  # fmt: skip


class AccountAnswer(msgspec.Struct, frozen=True):
    """The wallet of the margin asset, unrealised profit apart."""

    wallet: Decimal


class PositionsAnswer(msgspec.Struct, frozen=True):
    """Signed amounts of all positions, symbols on which orders that are not ours rest, and our own open orders."""

    asked_ns: int
    amounts: dict[str, Decimal]
    foreign: list[str]
    ours: list[tuple[str, str, bool]]
    """Symbol, client id, conditional."""


class _Income(msgspec.Struct, frozen=True):
    type: str
    symbol: str
    asset: str
    amount: Decimal
    time_ms: int
    tran_id: int


class IncomeAnswer(msgspec.Struct, frozen=True):
    """Movements of the wallet, out of the income history."""

    rows: list[_Income]


class _Order(msgspec.Struct, frozen=True):
    side: Side
    order_id: int
    status: OrderStatus
    qty: Decimal
    filled_qty: Decimal


class OrderAnswer(msgspec.Struct, frozen=True):
    """One look-up of a plain order; `row` None: not found. `alive`: the private stream was up all the while."""

    cid: str
    symbol: str
    asked_ns: int
    alive: bool
    row: _Order | None

    def venue_order(self) -> VenueOrder | None:
        if self.row is None:
            return None
        return VenueOrder(
            cid=ClientId(self.cid),
            symbol=SymbolName(self.symbol),
            side=self.row.side,
            order_id=self.row.order_id,
            status=self.row.status,
            qty=self.row.qty,
            filled_qty=self.row.filled_qty,
        )


class _Algo(msgspec.Struct, frozen=True):
    algo_id: int
    status: AlgoStatus
    order_id: int | None
    filled_qty: Decimal


class AlgoAnswer(msgspec.Struct, frozen=True):
    """One look-up of a conditional order."""

    cid: str
    symbol: str
    asked_ns: int
    alive: bool
    row: _Algo | None

    def venue_algo(self) -> VenueAlgo | None:
        if self.row is None:
            return None
        return VenueAlgo(
            cid=ClientId(self.cid),
            symbol=SymbolName(self.symbol),
            algo_id=self.row.algo_id,
            status=self.row.status,
            order_id=self.row.order_id,
            filled_qty=self.row.filled_qty,
        )


class _Fill(msgspec.Struct, frozen=True, kw_only=True):
    trade_id: int
    order_id: int
    side: Side
    price: Decimal
    qty: Decimal
    commission: Decimal
    commission_asset: str
    realized: Decimal
    maker: bool
    time_ms: int

    def fill(self, symbol: str, cid: str) -> Fill:
        return Fill(
            symbol=SymbolName(symbol),
            cid=ClientId(cid),
            side=self.side,
            order_id=self.order_id,
            trade_id=self.trade_id,
            qty=self.qty,
            price=self.price,
            maker=self.maker,
            commission=self.commission,
            commission_asset=self.commission_asset,
            realized=self.realized,
            time_ms=self.time_ms,
        )


class FillsAnswer(msgspec.Struct, frozen=True):
    """Executions of one order of ours, out of userTrades."""

    cid: str
    symbol: str
    rows: list[_Fill]

    def fills(self) -> Iterable[Fill]:
        return (row.fill(self.symbol, self.cid) for row in self.rows)


class OutsideAnswer(msgspec.Struct, frozen=True):
    """Executions of a symbol that the engine did not know, and the client id of each one's order."""

    symbol: str
    rows: list[_Fill]
    cids: list[str]

    def fills(self) -> Iterable[Fill]:
        return (row.fill(self.symbol, cid) for row, cid in zip(self.rows, self.cids, strict=True))


def order_answer(cid: str, symbol: str, asked_ns: int, row: OrderState | None, *, alive: bool) -> bytes:
    found = None if row is None else _Order(
        side=row.side, order_id=row.order_id, status=row.status, qty=row.qty, filled_qty=row.filled_qty
    )
    return msgspec.json.encode(OrderAnswer(cid=cid, symbol=symbol, asked_ns=asked_ns, alive=alive, row=found))


def algo_answer(cid: str, symbol: str, asked_ns: int, row: AlgoState | None, *, alive: bool) -> bytes:
    found = None if row is None else _Algo(
        algo_id=row.algo_id, status=row.status, order_id=row.order_id, filled_qty=row.filled_qty
    )
    return msgspec.json.encode(AlgoAnswer(cid=cid, symbol=symbol, asked_ns=asked_ns, alive=alive, row=found))


def fills_answer(cid: str, symbol: str, rows: Iterable[UserTrade]) -> bytes:
    return msgspec.json.encode(FillsAnswer(cid=cid, symbol=symbol, rows=[_fill(row) for row in rows]))


def outside_answer(symbol: str, rows: Iterable[tuple[UserTrade, str]]) -> bytes:
    """`rows`: executions with the client ids of their orders."""
    known = tuple(rows)
    fills, cids = [_fill(row) for row, _ in known], [cid for _, cid in known]
    return msgspec.json.encode(OutsideAnswer(symbol=symbol, rows=fills, cids=cids))


def _fill(row: UserTrade) -> _Fill:
    return _Fill(
        trade_id=row.trade_id,
        order_id=row.order_id,
        side=row.side,
        price=row.price,
        qty=row.qty,
        commission=row.commission,
        commission_asset=row.commission_asset,
        realized=row.realized_pnl,
        maker=row.maker,
        time_ms=row.time_ms,
    )


def positions_answer(
    asked_ns: int, amounts: Mapping[str, Decimal], foreign: Iterable[str], ours: Iterable[tuple[str, str, bool]]
) -> bytes:
    answer = PositionsAnswer(asked_ns=asked_ns, amounts=dict(amounts), foreign=sorted(foreign), ours=sorted(ours))
    return msgspec.json.encode(answer)


def income_answer(rows: Iterable[Income]) -> bytes:
    found = [
        _Income(
            type=row.type, symbol=row.symbol, asset=row.asset, amount=row.amount, time_ms=row.time_ms,
            tran_id=row.tran_id,
        )
        for row in rows
    ]  # fmt: skip
    return msgspec.json.encode(IncomeAnswer(rows=found))
