"""Asking instead of resending: the whole account at the start, every doubt later, everything after a lost stream."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import attrs
import pytest
import trio

from aegis.core.errors import ConfigError, VenueRefusal, VenueUnavailable
from aegis.core.messages import Accepted, OrderRequest, Unknown
from aegis.core.values import OrderStatus, Side, SymbolName
from aegis.engine.inputs import InputKind
from aegis.engine.reconcile import Reconciler
from aegis.runtime.clock import VirtualClock
from aegis.venue import replies
from tests.support.engine_rig import SECOND, Rig, enter, make_rig

ZERO = Decimal(0)
NOT_FOUND = VenueRefusal(-2013, "Order does not exist.")


@attrs.define(eq=False)
class Venue:
    """An account that the test writes down; every question is counted."""

    modes: dict[str, bool] = attrs.field(
        factory=lambda: {"can_trade": True, "hedge_mode": False, "multi_assets": False}
    )
    orders: dict[str, replies.OrderState] = attrs.field(factory=dict)
    fills: list[replies.UserTrade] = attrs.field(factory=list)
    incomes: list[replies.Income] = attrs.field(factory=list)
    held: dict[str, str] = attrs.field(factory=dict)
    strangers: list[str] = attrs.field(factory=list)
    faults: list[Exception] = attrs.field(factory=list)
    asked: Counter[str] = attrs.field(factory=Counter)

    async def _take(self, what: str) -> None:
        self.asked[what] += 1
        await trio.sleep(0.01)
        if self.faults:
            raise self.faults.pop(0)

    async def account_config(self) -> replies.AccountConfig:
        return replies.AccountConfig(fee_tier=0, **self.modes)

    async def account(self) -> replies.Account:
        return replies.Account(
            wallet=Decimal(10_000), unrealized=ZERO, margin_balance=ZERO, available=ZERO, initial_margin=ZERO,
            maintenance_margin=ZERO, position_margin=ZERO, order_margin=ZERO,
        )  # fmt: skip

    async def positions(self, symbol: SymbolName | None = None) -> tuple[replies.Position, ...]:
        self.asked["positions"] += 1
        return tuple(
            replies.Position(
                symbol=SymbolName(name), position_side="BOTH", amount=Decimal(amount), entry_price=ZERO,
                break_even=ZERO, mark=ZERO, unrealized=ZERO, liquidation=ZERO, isolated_wallet=ZERO, notional=ZERO,
                initial_margin=ZERO, maintenance_margin=ZERO, update_ms=0,
            )
            for name, amount in self.held.items()
        )  # fmt: skip

    async def open_orders(self, symbol: SymbolName | None = None) -> tuple[replies.OrderState, ...]:
        return tuple(attrs.evolve(row, symbol=SymbolName(name), cid="web_1") for name in self.strangers
                     for row in [state(self.template, OrderStatus.NEW)])  # fmt: skip

    async def open_algo_orders(self, symbol: SymbolName | None = None) -> tuple[replies.AlgoState, ...]:
        return ()

    async def order(
        self, symbol: SymbolName, cid: str | None = None, *, order_id: int | None = None
    ) -> replies.OrderState:
        await self._take(cid or str(order_id))
        for row in self.orders.values():
            if cid == row.cid or order_id == row.order_id:
                return row
        raise NOT_FOUND

    async def algo_order(self, cid: str) -> replies.AlgoState:
        await self._take(cid)
        raise NOT_FOUND

    async def user_trades(
        self, symbol: SymbolName, *, order_id: int | None = None, start_ms: int | None = None
    ) -> tuple[replies.UserTrade, ...]:
        self.asked["trades"] += 1
        return tuple(row for row in self.fills if order_id in (None, row.order_id))

    async def income(self, *, start_ms: int | None = None, limit: int = 1000) -> tuple[replies.Income, ...]:
        self.asked["income"] += 1
        return tuple(row for row in self.incomes if row.time_ms >= (start_ms or 0))[:limit]

    template: OrderRequest | None = None


def state(request: OrderRequest | None, status: OrderStatus, filled: Decimal = ZERO) -> replies.OrderState:
    assert request is not None
    return replies.OrderState(
        symbol=request.symbol, cid=request.cid, order_id=2**60, side=request.side, type="LIMIT", original_type="LIMIT",
        status=status, price=request.price or ZERO, qty=request.qty, filled_qty=filled, average_price=ZERO,
        reduce_only=False, close_position=False, time_ms=0, update_ms=0,
    )  # fmt: skip


def execution(request: OrderRequest) -> replies.UserTrade:
    return replies.UserTrade(
        symbol=request.symbol, trade_id=77, order_id=2**60, side=Side.BUY, price=Decimal("4990"), qty=request.qty,
        commission=Decimal("0.1"), commission_asset="USDT", realized_pnl=ZERO, maker=False, time_ms=1,
    )  # fmt: skip


@attrs.define(eq=False)
class Stand:
    rig: Rig
    venue: Venue
    clock: VirtualClock
    reconciler: Reconciler
    alive: list[bool]


def make_stand(autojump_clock: Any) -> Stand:
    rig, venue, alive = make_rig(), Venue(), [True]
    clock = VirtualClock(rig.now_ns + 3 * SECOND, autojump_clock)

    def answer(what: str, payload: bytes) -> None:
        rig.machine.answer(what, payload, clock.venue_ns())

    reconciler = Reconciler(venue, rig.machine, clock.venue_ns, lambda: alive[0], answer)  # type: ignore[arg-type]
    rig.machine.decision.ask = reconciler.ask
    return Stand(rig, venue, clock, reconciler, alive)


@pytest.mark.parametrize(
    ("mode", "value", "text"),
    [("hedge_mode", True, "hedge mode"), ("multi_assets", True, "multi-assets mode"), ("can_trade", False, "canTrade")],
)
async def test_an_account_in_a_mode_of_its_own_is_refused(
    autojump_clock: Any, mode: str, value: bool, text: str
) -> None:
    stand = make_stand(autojump_clock)
    stand.venue.modes[mode] = value
    with pytest.raises(ConfigError, match=text):
        await stand.reconciler.start()
    assert stand.rig.tape.inputs == []


async def test_the_start_adopts_the_wallet_and_leaves_strangers_alone(autojump_clock: Any) -> None:
    stand = make_stand(autojump_clock)
    stand.venue.template = enter(make_rig())
    stand.venue.held = {"SOLUSDT": "-3"}
    stand.venue.strangers = ["ETHUSDT"]
    await stand.reconciler.start()
    decision = stand.rig.machine.decision
    assert decision.portfolio.wallet == 10_000
    assert decision.audit.foreign == {"ETHUSDT", "SOLUSDT"}
    assert stand.rig.notes.of("reconcile") == [], "it may be on its way: one look proves nothing"
    await stand.reconciler.look()
    (gap,) = stand.rig.notes.of("reconcile")
    assert gap == {"symbol": "SOLUSDT", "ours": "0", "venue": "-3"}


async def test_an_unknown_order_is_asked_for_until_it_is_known_and_never_sent_again(
    autojump_clock: Any, nursery: trio.Nursery
) -> None:
    stand = make_stand(autojump_clock)
    order = enter(stand.rig)
    sent = len(stand.rig.sent)
    stand.rig.machine.outcome(Unknown(request=order, reason="timeout"), stand.clock.venue_ns())
    nursery.start_soon(stand.reconciler.run)
    stand.venue.faults = [VenueUnavailable("503"), VenueRefusal(-1003, "Too many requests"), VenueUnavailable("reset")]
    await trio.sleep(2.5)
    store = stand.rig.machine.decision.desk.store
    assert list(store.unknown()) == [order.cid]
    assert stand.venue.asked[order.cid] >= 4, "a refused question and a failing venue are both asked again"
    assert len(stand.rig.sent) == sent
    stand.venue.orders[order.cid] = state(order, OrderStatus.FILLED, order.qty)
    stand.venue.fills = [execution(order)]
    await trio.sleep(2)
    assert list(store.unknown()) == []
    assert stand.rig.machine.decision.portfolio.position(order.symbol).amount == order.qty
    assert [request.cid for request in stand.rig.sent].count(order.cid) == 1
    assert len(stand.rig.sent) == sent + 2, "the fill arms its stop and its target"
    settled = stand.venue.asked[order.cid]
    for protection in stand.rig.sent[sent:]:
        stand.rig.machine.outcome(Accepted(request=protection, venue_id=5), stand.clock.venue_ns())
    await trio.sleep(5)
    assert stand.venue.asked[order.cid] == settled, "what is known is not asked for"


async def test_an_order_that_never_arrived_is_given_up_only_when_it_cannot_arrive_any_more(
    autojump_clock: Any, nursery: trio.Nursery
) -> None:
    stand = make_stand(autojump_clock)
    order = enter(stand.rig)
    sent_ns = stand.rig.now_ns
    stand.rig.machine.outcome(Unknown(request=order, reason="timeout"), stand.clock.venue_ns())
    nursery.start_soon(stand.reconciler.run)
    window_ns = 5 * SECOND  # of the request's validity and of clocks that disagree
    while stand.rig.machine.decision.desk.trades:
        assert trio.current_time() < 60
        await trio.sleep(0.1)
        stand.rig.machine.timer(stand.clock.venue_ns())
    assert stand.clock.venue_ns() - sent_ns >= window_ns
    assert stand.venue.asked[order.cid] >= 2
    assert [request.cid for request in stand.rig.sent] == [order.cid]


async def test_after_a_lost_stream_every_open_order_is_asked_for_whatever_fails_between(autojump_clock: Any) -> None:
    stand = make_stand(autojump_clock)
    order = enter(stand.rig)
    stand.rig.machine.outcome(Accepted(request=order, venue_id=2**60), stand.clock.venue_ns())
    assert list(stand.rig.machine.decision.desk.doubtful()) == []
    stand.venue.orders[order.cid] = state(order, OrderStatus.FILLED, order.qty)
    stand.venue.fills = [execution(order)]
    stand.venue.held = {order.symbol: str(order.qty)}
    stand.venue.faults = [VenueUnavailable("503"), VenueUnavailable("503")]
    with trio.fail_after(30):
        await stand.reconciler.resync()
    assert stand.venue.asked[order.cid] == 3
    assert stand.venue.asked["positions"] == 1
    decision = stand.rig.machine.decision
    assert decision.portfolio.position(order.symbol).amount == order.qty, "the fill that the stream lost"
    assert decision.audit.foreign == set()
    whats = [data.split(b'"')[1] for kind, _, _, data in stand.rig.tape.inputs if kind is InputKind.SNAPSHOT]
    assert whats[-1] == b"positions", "positions are compared only once all orders are known"


async def test_a_look_up_proves_absence_only_while_the_stream_was_up(autojump_clock: Any) -> None:
    stand = make_stand(autojump_clock)
    order = enter(stand.rig)
    stand.rig.machine.outcome(Unknown(request=order, reason="timeout"), stand.clock.venue_ns())
    stand.alive[0] = False
    assert await stand.reconciler.settle()
    answers = [data for kind, _, _, data in stand.rig.tape.inputs if kind is InputKind.SNAPSHOT]
    assert b'"alive":false' in answers[-1]


async def test_ringing_often_asks_once(autojump_clock: Any, nursery: trio.Nursery) -> None:
    stand = make_stand(autojump_clock)
    order = enter(stand.rig)
    nursery.start_soon(stand.reconciler.run)
    stand.venue.orders[order.cid] = state(order, OrderStatus.NEW)
    stand.rig.machine.outcome(Unknown(request=order, reason="timeout"), stand.clock.venue_ns())
    for _ in range(50):
        stand.reconciler.ask()
    await trio.sleep(5)
    assert stand.venue.asked[order.cid] == 1


def income(number: int, at_ms: int) -> replies.Income:
    return replies.Income(
        symbol="BTCUSDT",
        type="FUNDING_FEE",
        amount=Decimal(-1),
        asset="USDT",
        time_ms=at_ms,
        tran_id=number,
        trade_id="",
    )


async def test_a_resumed_run_reads_what_was_paid_while_nobody_listened(autojump_clock: Any) -> None:
    stand = make_stand(autojump_clock)
    heard_ns = stand.rig.now_ns - 100 * 3600 * SECOND
    first_ms = heard_ns // 1_000_000
    stand.venue.incomes = [income(number, first_ms + number * 60_001) for number in range(2_500)]
    stand.rig.machine.decision.audit.begin(Decimal(10_000), stand.rig.now_ns)
    await stand.reconciler.start(heard_ns)
    assert stand.venue.asked["income"] == 3
    assert stand.rig.machine.decision.portfolio.funding == -2_500, "page after page, each payment once"


async def test_a_position_closed_by_hand_is_understood_and_its_trade_ends(
    autojump_clock: Any, nursery: trio.Nursery
) -> None:
    stand = make_stand(autojump_clock)
    order = enter(stand.rig)
    fill = execution(order)
    stand.venue.orders[order.cid] = state(order, OrderStatus.FILLED, order.qty)
    stand.venue.fills = [fill]
    stand.rig.machine.outcome(Unknown(request=order, reason="timeout"), stand.clock.venue_ns())
    await stand.reconciler.settle()
    decision = stand.rig.machine.decision
    assert decision.portfolio.position(order.symbol).amount == order.qty
    by_hand = attrs.evolve(state(order, OrderStatus.FILLED, order.qty), cid="web_9", order_id=4, side=Side.SELL)
    stand.venue.orders["web_9"] = by_hand
    stand.venue.fills.append(attrs.evolve(fill, trade_id=78, order_id=4, side=Side.SELL))
    stand.venue.faults = [VenueUnavailable("503")]  # also the account may not be readable for a while
    nursery.start_soon(stand.reconciler.run)
    await trio.sleep(150)
    assert decision.portfolio.positions == {}
    assert not decision.desk.trades
    assert decision.audit.foreign == set()
    assert stand.venue.asked["4"] == 2, "asked again after the failure, and then never more"


async def test_a_position_that_nothing_explains_is_asked_for_again_every_minute(
    autojump_clock: Any, nursery: trio.Nursery
) -> None:
    stand = make_stand(autojump_clock)
    order = enter(stand.rig)
    stand.venue.orders[order.cid] = state(order, OrderStatus.FILLED, order.qty)
    stand.venue.fills = [execution(order)]
    stand.rig.machine.outcome(Unknown(request=order, reason="timeout"), stand.clock.venue_ns())
    await stand.reconciler.settle()
    before = stand.venue.asked["trades"]
    nursery.start_soon(stand.reconciler.run)
    await trio.sleep(10 * 60)
    assert 5 <= stand.venue.asked["trades"] - before <= 10
    assert stand.rig.machine.decision.audit.foreign == {order.symbol}
