"""A venue of few lines with books of its own: what it executed is the truth that an engine is judged by.

It takes requests, queues what it would say on the private stream and as replies, and answers look-ups. Plain values
only, so that it can be copied at any moment: a copy is the venue at the moment of a crash.
"""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import attrs
import msgspec

from aegis.core.messages import (
    Accepted,
    AlgoRequest,
    CancelRequest,
    OrderRequest,
    OrderUpdate,
    Outcome,
    Refused,
    Request,
)
from aegis.core.values import AlgoStatus, AlgoType, ClientId, OrderStatus, OrderType, Side, SymbolName
from aegis.engine.decision import Decision
from tests.support.core_cases import algo_update, order_update, trade_lite

ZERO = Decimal(0)
RATE = Decimal("0.0005")


@attrs.define
class Row:
    """One order at the venue; `child` is a conditional order's own order once it has triggered."""

    request: OrderRequest | AlgoRequest
    venue_id: int
    status: str
    filled: Decimal = ZERO
    child: int | None = None


@attrs.define
class ScriptedVenue:
    """`share` of an entry executes in `pieces`; `stop_code` refuses stops; `lite` sends the fast copy first."""

    random: Random
    share: Decimal = Decimal(1)
    pieces: int = 1
    stop_code: int = 0
    lite: bool = False
    rows: dict[ClientId, Row] = attrs.field(factory=dict)
    fills: list[dict[str, Any]] = attrs.field(factory=list)
    position: Decimal = ZERO
    entry_price: Decimal = ZERO
    realized: Decimal = ZERO
    fees: Decimal = ZERO
    price: Decimal = Decimal(50000)
    wire: list[Request] = attrs.field(factory=list)
    events: list[object] = attrs.field(factory=list)
    repeated: list[ClientId] = attrs.field(factory=list)
    least: Decimal = ZERO
    ids: int = 8389765739703625592

    def next_id(self) -> int:
        self.ids += 1
        return self.ids

    # -- requests ------------------------------------------------------------------------------------------------------
    def take(self, request: Request) -> None:
        if isinstance(request, CancelRequest):
            self._cancel(request)
        elif request.cid in self.rows:
            self.repeated.append(request.cid)
        elif isinstance(request, AlgoRequest):
            self._algo(request)
        else:
            self._order(request)

    def take_all(self) -> None:
        wire, self.wire = self.wire, []
        for request in wire:
            self.take(request)

    def _refuse(self, request: Request, code: int) -> None:
        self.events.append(Refused(request=request, code=code, message="no"))

    def _cancel(self, request: CancelRequest) -> None:
        row = self.rows.get(request.cid)
        if row is None or row.status != "NEW":
            self._refuse(request, -2011)
            return
        self.events.append(Accepted(request=request, venue_id=row.venue_id))
        self._end_algo(row, AlgoStatus.CANCELED)

    def _algo(self, request: AlgoRequest) -> None:
        if not self.position or (self.stop_code and request.type is AlgoType.STOP_MARKET):
            self._refuse(request, self.stop_code or -4509)
            return
        row = self.rows[request.cid] = Row(request, self.next_id(), "NEW")
        self.events += [
            Accepted(request=request, venue_id=row.venue_id),
            algo_update(request, AlgoStatus.NEW, algo_id=row.venue_id),
        ]

    def _order(self, request: OrderRequest) -> None:
        if request.reduce_only and self.position * request.side.sign >= 0:
            self._refuse(request, -2022)
            return
        row = self.rows[request.cid] = Row(request, self.next_id(), "NEW")
        self.events.append(Accepted(request=request, venue_id=row.venue_id))
        qty = request.qty
        if request.type is OrderType.MARKET:
            qty = min(qty, abs(self.position))
        else:
            qty = (qty * self.share).quantize(Decimal("0.001"))
        self._execute(row, row.venue_id, request.qty, qty)

    # -- executions ----------------------------------------------------------------------------------------------------
    def _execute(self, row: Row, order_id: int, asked: Decimal, qty: Decimal) -> None:
        """`qty` in pieces, then the end of the order."""
        request = row.request
        done = OrderStatus.FILLED if qty == asked else OrderStatus.EXPIRED
        sizes = [size for size in self._split(qty) if size]
        for index, size in enumerate(sizes):
            row.filled += size
            fill = self._book(request.cid, request.side, order_id, size)
            last = index == len(sizes) - 1 and done is OrderStatus.FILLED
            status = OrderStatus.FILLED if last else OrderStatus.PARTIALLY_FILLED
            if self.lite:
                self.events.append(
                    trade_lite(request, fill["trade_id"], size, order_id=order_id, last_price=self.price)
                )
            self.events.append(self._update(row, status, order_id, asked, fill))
        if done is OrderStatus.EXPIRED:
            self.events.append(order_update(request, done, order_id=order_id, qty=asked, filled_qty=row.filled))
        if isinstance(request, OrderRequest):
            row.status = done.value
        self._after_position()

    def _split(self, qty: Decimal) -> list[Decimal]:
        part = (qty / self.pieces).quantize(Decimal("0.001"))
        return [*([part] * (self.pieces - 1)), qty - part * (self.pieces - 1)]

    def _book(self, cid: ClientId, side: Side, order_id: int, qty: Decimal) -> dict[str, Any]:
        change = qty * side.sign
        closing = self.position * change < 0
        realized = (self.price - self.entry_price) * -change if closing else ZERO
        if not closing:
            total = self.position + change
            self.entry_price = (self.position * self.entry_price + change * self.price) / total
        self.position += change
        self.least = min(self.least, self.position)
        fee = qty * self.price * RATE
        self.realized += realized
        self.fees += fee
        fill = {
            "cid": cid, "trade_id": len(self.fills) + 1, "order_id": order_id, "side": side.value,
            "price": str(self.price), "qty": str(qty), "commission": str(fee), "commission_asset": "USDT",
            "realized": str(realized), "maker": False, "time_ms": 1000,
        }  # fmt: skip
        self.fills.append(fill)
        return fill

    def _update(
        self, row: Row, status: OrderStatus, order_id: int, asked: Decimal, fill: dict[str, Any]
    ) -> OrderUpdate:
        return order_update(
            row.request, status, order_id=order_id, qty=asked, filled_qty=row.filled, trade_id=fill["trade_id"],
            last_qty=Decimal(fill["qty"]), last_price=self.price, commission=Decimal(fill["commission"]),
            realized_pnl=Decimal(fill["realized"]),
        )  # fmt: skip

    def _after_position(self) -> None:
        if not self.position:
            for row in list(self.rows.values()):
                if isinstance(row.request, AlgoRequest) and row.status == "NEW" and row.request.qty is None:
                    self._end_algo(row, AlgoStatus.EXPIRED)  # one with a quantity stays

    def _end_algo(self, row: Row, status: AlgoStatus) -> None:
        assert isinstance(row.request, AlgoRequest)
        row.status = status.value
        self.events.append(
            algo_update(row.request, status, algo_id=row.venue_id, order_id=row.child, filled_qty=row.filled)
        )

    # -- what the market does ------------------------------------------------------------------------------------------
    def live(self, kind: AlgoType | None = None) -> list[Row]:
        """Conditional orders that wait."""
        return [
            row
            for row in self.rows.values()
            if isinstance(row.request, AlgoRequest) and row.status == "NEW" and kind in (None, row.request.type)
        ]

    def trigger(self, kind: AlgoType, part: Decimal = Decimal(1), *, partial: bool = False) -> bool:
        """A conditional order fires (of `partial` targets the first); its child executes `part` of what it is for."""
        for row in self.live(kind):
            assert isinstance(row.request, AlgoRequest)
            if partial != (row.request.qty is not None):
                continue
            row.child = self.next_id()
            row.status = "TRIGGERED"
            self.price = row.request.trigger
            self.events.append(algo_update(row.request, AlgoStatus.TRIGGERED, algo_id=row.venue_id, order_id=row.child))
            size = min(abs(self.position), row.request.qty or abs(self.position))
            self._execute(row, row.child, size, (size * part).quantize(Decimal("0.001")))
            self._end_algo(row, AlgoStatus.FINISHED)
            return True
        return False

    def liquidate(self, qty: Decimal, cid: str = "autoclose-1") -> None:
        """The venue takes `qty` of the position away."""
        side = Side.SELL if self.position > 0 else Side.BUY
        request = OrderRequest(
            cid=ClientId(cid), symbol=SymbolName("BTCUSDT"), side=side, type=OrderType.LIMIT, qty=qty, reduce_only=True
        )
        row = Row(request, self.next_id(), "FILLED", qty)
        fill = self._book(request.cid, side, row.venue_id, qty)
        update = self._update(row, OrderStatus.FILLED, row.venue_id, qty, fill)
        self.events.append(attrs.evolve(update, execution="CALCULATED"))
        self._after_position()

    def trade_elsewhere(self, change: Decimal) -> None:
        """Somebody trades the position by hand."""
        side = Side.BUY if change > 0 else Side.SELL
        request = OrderRequest(
            cid=ClientId("web_1"), symbol=SymbolName("BTCUSDT"), side=side, type=OrderType.MARKET, qty=abs(change)
        )
        row = Row(request, self.next_id(), "FILLED", abs(change))
        fill = self._book(request.cid, side, row.venue_id, abs(change))
        self.events.append(self._update(row, OrderStatus.FILLED, row.venue_id, abs(change), fill))
        self._after_position()

    # -- talking to an engine ------------------------------------------------------------------------------------------
    def deliver(self, decision: Decision, now_ns: int) -> None:
        """Say everything that waits, in order."""
        while self.events:
            event = self.events.pop(0)
            if isinstance(event, Outcome):
                decision.on_outcome(event, now_ns)
            else:
                decision.on_user_event(event, now_ns)

    def answer(self, decision: Decision, now_ns: int) -> None:
        """What the reconciler does: one round of look-ups over whatever is in doubt."""
        for symbol, cid, conditional, child in tuple(decision.desk.doubtful()):
            row = self.rows.get(cid)
            said: dict[str, Any] = {"cid": cid, "symbol": symbol, "asked_ns": now_ns, "alive": True, "row": None}
            if row is not None and conditional:
                status = "FINISHED" if row.status == "TRIGGERED" else row.status
                said["row"] = {
                    "algo_id": row.venue_id, "status": status, "order_id": row.child, "filled_qty": str(row.filled)
                }  # fmt: skip
                child = child if row.child is None else row.child
            elif row is not None:
                said["row"] = {
                    "side": row.request.side.value, "order_id": row.venue_id, "status": row.status,
                    "qty": str(getattr(row.request, "qty", None)), "filled_qty": str(row.filled),
                }  # fmt: skip
                child = row.venue_id if row.filled else child
            decision.on_answer("algo" if conditional else "order", msgspec.json.encode(said), now_ns)
            if child is not None:
                found = [
                    {k: v for k, v in fill.items() if k != "cid"} for fill in self.fills if fill["order_id"] == child
                ]
                answer = {"cid": cid, "symbol": symbol, "rows": found}
                decision.on_answer("fills", msgspec.json.encode(answer), now_ns)

    def positions(self, decision: Decision, now_ns: int) -> None:
        """The whole account is compared."""
        amounts = {"BTCUSDT": str(self.position)} if self.position else {}
        ours = [("BTCUSDT", row.request.cid, True) for row in self.live()]
        said = {"asked_ns": now_ns, "amounts": amounts, "foreign": [], "ours": ours}
        decision.on_answer("positions", msgspec.json.encode(said), now_ns)

    def explain(self, decision: Decision, now_ns: int) -> None:
        """What the reconciler does about a position that is not as we know it."""
        for symbol, _ in decision.audit.unexplained():
            rows = [fill for fill in self.fills if not decision.portfolio.booked(symbol, fill["trade_id"])]
            plain = [{key: value for key, value in fill.items() if key != "cid"} for fill in rows]
            said = {"symbol": symbol, "rows": plain, "cids": [fill["cid"] for fill in rows]}
            decision.on_answer("outside", msgspec.json.encode(said), now_ns)
