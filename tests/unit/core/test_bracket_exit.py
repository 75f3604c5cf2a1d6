"""A trade's ways out, and its unfilled, odd and recovered beginnings."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from aegis.core.algo_orders import AlgoOrder, VenueAlgo
from aegis.core.bracket import ExitReason, Role, TradeState
from aegis.core.errors import InvariantBroken
from aegis.core.messages import CancelRequest, Unknown
from aegis.core.orders import VenueOrder
from aegis.core.values import AlgoStatus, AlgoType, ClientId, OrderStatus, Side
from tests.support.core_cases import BTC, SECOND, D, make_algo, make_fill, make_order, trade_lite
from tests.support.trade_desk import Desk, exit_of

T = TradeState


def test_the_time_limit_closes_at_market_and_keeps_the_stop_until_flat() -> None:
    desk = Desk()
    _, stop, target = desk.protected()
    out = exit_of(desk.step(3600))
    assert desk.trade.reason is ExitReason.TIME
    assert desk.trade.next_ns() is None
    desk.fill(out, "3", price="50500")
    assert {r.cid for r in desk.step()} == {stop.cid, target.cid}
    assert desk.trade.result("USDT").reason is ExitReason.TIME


def test_a_stop_that_beats_our_exit_is_the_reason() -> None:
    desk = Desk()
    _, stop, _ = desk.protected()
    desk.trade.request_exit(ExitReason.MANUAL)
    desk.trade.request_exit(ExitReason.TIME)
    out = exit_of(desk.step())
    desk.fill(stop, "3", price="49000")
    desk.refuse(out, -2022)
    desk.step()
    assert desk.trade.result("USDT").reason is ExitReason.STOP


def test_a_failed_exit_is_tried_again_after_a_pause_for_the_rest() -> None:
    desk = Desk(max_exit_qty=D(2))
    desk.protected()
    desk.trade.request_exit(ExitReason.MANUAL)
    first = exit_of(desk.step())
    assert first.qty == D(2)
    desk.refuse(first, -1008)
    assert desk.step(0.5) == ()
    assert desk.trade.next_ns() == desk.now + SECOND // 2
    second = exit_of(desk.step(0.5))
    desk.fill(second, "1", done=False)
    desk.end(second, OrderStatus.EXPIRED, "1")
    third = exit_of(desk.step(1))
    assert third.qty == D(2)
    desk.fill(third, "2")
    desk.step()
    assert desk.trade.state is T.CLOSED
    assert desk.trade.result("USDT").reason is ExitReason.MANUAL


def test_an_unknown_exit_is_not_doubled() -> None:
    desk = Desk()
    desk.protected()
    desk.trade.request_exit(ExitReason.MANUAL)
    out = exit_of(desk.step())
    desk.store.on_outcome(Unknown(request=out, reason="timeout"), desk.now)
    assert desk.step(60) == ()


def test_a_child_that_hangs_is_overtaken_by_a_market_exit() -> None:
    desk = Desk()
    _, stop, _ = desk.protected()
    desk.fill(stop, "1", done=False, price="49000")
    assert desk.step() == ()
    assert desk.trade.next_ns() == desk.now + 5 * SECOND
    assert exit_of(desk.step(5)).qty == D(2)


def test_an_entry_without_a_fill_aborts() -> None:
    for status in (OrderStatus.EXPIRED, OrderStatus.CANCELED):
        desk = Desk()
        entry = desk.enter()
        desk.end(entry, status)
        assert desk.step() == ()
        assert desk.trade.state is T.ABORTED
        assert desk.trade.done
        assert desk.trade.step(desk.now) == ()
        assert desk.trade.next_ns() is None


def test_an_entry_whose_executions_are_missing_does_not_abort() -> None:
    desk = Desk()
    entry = desk.enter()
    desk.end(entry, OrderStatus.EXPIRED, "1")
    assert desk.step() == ()
    assert desk.trade.state is T.ENTERING
    order = desk.store.get(entry.cid)
    assert order is not None
    order.on_fill(make_fill(Side.BUY, "1", "50000", 5, cid=entry.cid, order_id=order.venue_id), desk.now)  # type: ignore[union-attr]
    assert len(desk.step()) == 2


def test_a_resting_entry_is_cancelled_at_the_end_of_its_life() -> None:
    desk = Desk(entry_ttl_ns=10 * SECOND)
    entry = desk.enter()
    assert desk.trade.next_ns() == desk.now + 10 * SECOND
    (cancel,) = desk.step(10)
    assert cancel == CancelRequest(cid=entry.cid, symbol=BTC)
    assert desk.trade.next_ns() is None
    desk.fill(entry, "1", done=False)
    assert len(desk.step()) == 2
    desk.end(entry, OrderStatus.CANCELED, "1")
    assert desk.step() == ()


def test_an_exit_wanted_before_the_fill_cancels_the_entry() -> None:
    desk = Desk()
    entry = desk.enter()
    desk.trade.request_exit(ExitReason.MANUAL)
    (cancel,) = desk.step()
    assert cancel.cid == entry.cid
    desk.fill(entry, "1", done=False)
    assert exit_of(desk.step()).qty == D(1)


def test_a_partly_filled_entry_is_cancelled_when_the_stop_strikes_and_late_fills_are_closed() -> None:
    desk = Desk(entry_ttl_ns=3000 * SECOND)
    entry = desk.enter()
    desk.fill(entry, "1", done=False)
    stop, target = desk.step()
    desk.accept(stop)
    desk.accept(target)
    desk.fill(stop, "1", price="49000")
    assert {r.cid for r in desk.step()} == {entry.cid, target.cid}
    assert desk.trade.state is T.EXITING
    desk.fill(entry, "1", done=False)
    desk.end(entry, OrderStatus.CANCELED, "2")
    out = exit_of(desk.step(0.1))
    assert out.qty == D(1)
    desk.fill(out, "1")
    desk.step()
    assert desk.trade.state is T.CLOSED


def test_an_exit_that_overtakes_the_entrys_executions_waits_for_them() -> None:
    desk = Desk()
    entry = desk.enter()
    desk.fill(entry, "1", done=False)
    stop, target = desk.step()
    desk.accept(stop)
    desk.accept(target)
    desk.fill(stop, "3", price="49000")
    assert desk.step() == ()
    desk.fill(entry, "2")
    (cancel,) = desk.step()
    assert cancel.cid == target.cid
    assert desk.trade.state is T.CLOSED


def test_the_venue_may_close_the_position_itself() -> None:
    desk = Desk()
    desk.protected()
    fill = make_fill(Side.SELL, "3", "40000", 77, cid=ClientId("autoclose-1"), commission=D(2))
    desk.trade.on_outside(fill, ExitReason.LIQUIDATION)
    assert len(desk.step()) == 2
    result = desk.trade.result("USDT")
    assert result.reason is ExitReason.LIQUIDATION
    assert result.fees["USDT"] == D("2.1")


def test_what_the_venue_leaves_of_a_position_is_closed() -> None:
    desk = Desk()
    desk.protected()
    desk.trade.on_outside(make_fill(Side.SELL, "1", "40000", 77), ExitReason.LIQUIDATION)
    assert exit_of(desk.step()).qty == D(2)


def test_a_position_closed_by_hand_ends_its_trade() -> None:
    desk = Desk()
    desk.protected()
    desk.trade.on_outside(make_fill(Side.SELL, "1", "52000", 77), ExitReason.ELSEWHERE)
    assert desk.step() == (), "what is left stays under its stop"
    assert (desk.trade.state, desk.trade.open_qty) == (T.PROTECTED, D(2))
    desk.trade.on_outside(make_fill(Side.SELL, "2", "55000", 78), ExitReason.ELSEWHERE)
    assert len(desk.step()) == 2, "stop and target go"
    result = desk.trade.result("USDT")
    assert (result.reason, result.average_exit, result.qty) == (ExitReason.ELSEWHERE, D(54000), D(3))


def test_what_is_added_by_hand_is_closed_with_the_rest() -> None:
    desk = Desk()
    desk.protected()
    desk.trade.on_outside(make_fill(Side.BUY, "1", "54000", 77), ExitReason.ELSEWHERE)
    assert desk.trade.open_qty == D(4)
    desk.trade.request_exit(ExitReason.MANUAL)
    out = exit_of(desk.step())
    assert out.qty == D(4)
    desk.fill(out, "4")
    desk.step()
    result = desk.trade.result("USDT")
    assert (desk.trade.state, result.qty, result.reason) == (T.CLOSED, D(4), ExitReason.MANUAL)
    assert result.average_entry == (D(3) * D(50000) + D(54000)) / 4


def test_a_position_turned_round_by_hand_is_no_longer_ours() -> None:
    desk = Desk()
    desk.protected()
    desk.trade.on_outside(make_fill(Side.SELL, "5", "52000", 77), ExitReason.ELSEWHERE)
    desk.step()
    assert (desk.trade.state, desk.trade.result("USDT").reason) == (T.CLOSED, ExitReason.ELSEWHERE)


def test_an_exit_with_nothing_to_reduce_waits_for_the_account_to_be_read() -> None:
    desk = Desk()
    desk.protected()
    desk.trade.request_exit(ExitReason.MANUAL)
    desk.refuse(exit_of(desk.step()), -2022)
    assert desk.step(4.9) == ()
    (due,) = (desk.trade.next_ns(),)
    assert due is not None
    assert exit_of(desk.step(0.1)).qty == D(3), "no evidence has come: it is tried again"
    assert desk.now >= due


def test_an_orphan_found_alive_after_the_close_is_cancelled_again() -> None:
    desk = Desk()
    _, _, target = desk.protected()
    desk.trade.request_exit(ExitReason.MANUAL)
    out = exit_of(desk.step())
    desk.fill(out, "3")
    cancels = desk.step()
    assert len(cancels) == 2
    (cancel,) = [c for c in cancels if c.cid == target.cid]
    desk.refuse(cancel, -2011)
    order = desk.store.get(target.cid)
    assert isinstance(order, AlgoOrder)
    desk.algo(target, AlgoStatus.NEW)
    assert desk.step() == ()
    venue_id = order.venue_id or 0
    alive = VenueAlgo(
        cid=target.cid, symbol=BTC, algo_id=venue_id, status=AlgoStatus.NEW, order_id=None, filled_qty=D(0)
    )
    order.found(alive, desk.now)
    assert [r.cid for r in desk.step()] == [target.cid]


def test_recovery_attaches_what_the_journal_knows() -> None:
    desk = Desk()
    trade = desk.trade
    orders = {
        Role.ENTRY: desk.store.add(make_order(cid=ClientId("j-1")), 0),
        Role.STOP: desk.store.add(make_algo(cid=ClientId("j-2")), 0),
        Role.TARGET: desk.store.add(make_algo(cid=ClientId("j-3"), type=AlgoType.TAKE_PROFIT_MARKET), 0),
        Role.EXIT: desk.store.add(make_order(cid=ClientId("j-4"), reduce_only=True, side=Side.SELL), 0),
    }
    for role, order in orders.items():
        trade.attach(role, order)
    assert trade.roles == {order.cid: role for role, order in orders.items()}
    assert (trade.stop, trade.target) == (orders[Role.STOP], orders[Role.TARGET])
    entry = trade.entry
    assert entry is not None
    row = VenueOrder(
        cid=entry.cid, symbol=BTC, side=Side.BUY, order_id=1, status=OrderStatus.FILLED, qty=D(3), filled_qty=D(3)
    )
    entry.found(row, desk.now)
    entry.on_fill(make_fill(Side.BUY, "3", "50000", 1, cid=entry.cid, order_id=1), desk.now)
    trade.step(desk.now)
    assert trade.open_qty == D(3)


def test_misuse_breaks_the_invariant() -> None:
    desk = Desk()
    assert (desk.trade.step(0), desk.trade.next_ns()) == ((), None)
    assert desk.trade.entered_qty == Decimal(0)
    with pytest.raises(InvariantBroken, match="no result"):
        desk.trade.result("USDT")
    order = desk.store.add(make_order(cid=ClientId("x-1")), 0)
    desk.trade.attach(Role.ENTRY, order)
    with pytest.raises(InvariantBroken, match="is not its"):
        desk.trade.attach(Role.EXIT, order)
    with pytest.raises(InvariantBroken, match="ENTERING -> ENTERING"):
        desk.enter()
    planned = Desk()
    planned.trade.abort()
    assert planned.trade.state is T.ABORTED
    assert planned.trade.done
    with pytest.raises(InvariantBroken):
        planned.trade.abort()


def test_a_plan_has_positive_prices_and_a_limit() -> None:
    plan = Desk().trade.plan
    for field in ("stop", "target", "stop_distance", "time_limit_ns", "max_exit_qty"):
        with pytest.raises(ValueError, match=field):
            attrs.evolve(plan, **{field: 0})


def test_the_time_limit_also_cancels_what_rests_of_the_entry() -> None:
    desk = Desk()
    entry = desk.enter()
    desk.fill(entry, "1", done=False)
    for request in desk.step():
        desk.accept(request)
    desk.step(0.1)
    cancel, out = desk.step(3600)
    assert cancel == CancelRequest(cid=entry.cid, symbol=BTC)
    assert exit_of((out,)).qty == D(1)


def test_a_trade_is_not_over_before_the_fee_of_its_last_execution_is_known() -> None:
    desk = Desk()
    desk.protected()
    desk.trade.request_exit(ExitReason.MANUAL)
    out = exit_of(desk.step())
    order = desk.store.get(out.cid)
    assert order is not None
    order.on_trade_lite(trade_lite(out, 77, D(3), last_price=D(50500)), desk.now)
    desk.step()
    assert desk.trade.open_qty == 0
    assert desk.trade.state is T.EXITING
    assert order.tape.incomplete, "so that the venue is asked, should the full event never come"
    fee = attrs.evolve(order.tape.fills[77], commission=D("7.5"), commission_asset="USDT", realized=D(1500))
    order.on_fill(fee, desk.now)
    filled = VenueOrder(
        cid=out.cid, symbol=BTC, side=out.side, order_id=order.venue_id or 0, status=OrderStatus.FILLED, qty=D(3),
        filled_qty=D(3),
    )  # fmt: skip
    order.found(filled, desk.now)
    desk.step()
    assert desk.trade.state is T.CLOSED
    assert desk.trade.result("USDT").realized == D(1500)
    assert desk.trade.result("USDT").fees["USDT"] >= D("7.5")
