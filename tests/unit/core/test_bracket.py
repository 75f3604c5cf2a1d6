"""A trade's protection: placed, refused, lost, doubtful, triggered."""

from __future__ import annotations

import pytest

from aegis.core.bracket import ExitReason, TradeState
from aegis.core.messages import AlgoRequest, CancelRequest, OrderRequest, Unknown
from aegis.core.order_life import AbsenceRule
from aegis.core.values import AlgoStatus, AlgoType, ClientId, OrderType, Side, WorkingType
from tests.support.core_cases import BIG_ID, BTC, SECOND, D
from tests.support.trade_desk import Desk, exit_of

T = TradeState


def test_first_fill_asks_for_stop_and_target_at_once() -> None:
    desk = Desk()
    entry = desk.enter()
    assert desk.step() == ()
    desk.fill(entry, "1", done=False)
    stop, target = desk.step(0.2)
    assert isinstance(stop, AlgoRequest)
    assert isinstance(target, AlgoRequest)
    assert (stop.type, stop.trigger, stop.side) == (AlgoType.STOP_MARKET, D(49000), Side.SELL)
    assert (stop.working_type, stop.price_protect) == (WorkingType.MARK_PRICE, False)
    assert (target.type, target.trigger) == (AlgoType.TAKE_PROFIT_MARKET, D(52000))
    assert desk.trade.state is T.PROTECTING
    desk.fill(entry, "2")
    assert desk.step() == ()


def test_naked_time_ends_with_the_confirmed_stop() -> None:
    desk = Desk()
    desk.protected()
    assert desk.trade.naked_ns == SECOND // 10
    assert desk.trade.stop_confirmed_ns == desk.now
    assert desk.trade.next_ns() == desk.trade.first_fill_ns + 3600 * SECOND  # type: ignore[operator]


@pytest.mark.parametrize("stopped", [True, False])
def test_a_triggered_child_closes_the_trade_and_cancels_its_sibling(stopped: bool) -> None:
    desk = Desk()
    _, stop, target = desk.protected()
    first, sibling = (stop, target) if stopped else (target, stop)
    price = "49000" if stopped else "52000"
    desk.algo(first, AlgoStatus.TRIGGERING, transaction_ms=2000)
    assert desk.step(1) == ()
    money = {"realized_pnl": D(price) - D(50000), "transaction_ms": 2030, "maker": True}
    desk.fill(first, "1", done=False, price=price, **money)
    assert desk.step() == ()
    assert desk.trade.state is T.EXITING
    desk.fill(first, "2", price=price, **{**money, "realized_pnl": 2 * (D(price) - D(50000))})
    (cancel,) = desk.step()
    assert isinstance(cancel, CancelRequest)
    assert (cancel.cid, cancel.algo) == (sibling.cid, True)
    assert desk.trade.state is T.CLOSED
    assert not desk.trade.done
    desk.algo(sibling, AlgoStatus.EXPIRED)
    assert desk.trade.done
    result = desk.trade.result("USDT")
    assert result.reason is (ExitReason.STOP if stopped else ExitReason.TARGET)
    assert (result.average_entry, result.average_exit, result.qty) == (D(50000), D(price), D(3))
    assert result.realized == 3 * (D(price) - 50000)
    assert result.net == result.realized - D("0.3")
    assert result.r == result.net / 3000
    assert result.trigger_to_fill_ms == (30 if stopped else None)
    assert (result.fills, result.maker_fills) == (3, 2)


def test_a_stop_that_would_trigger_closes_at_market_at_once() -> None:
    desk = Desk()
    entry = desk.enter()
    desk.fill(entry, "3")
    stop, _ = desk.step()
    desk.refuse(stop, -2021)
    out = exit_of(desk.step())
    assert out.qty == D(3)
    desk.fill(out, "3")
    desk.step()
    assert desk.trade.result("USDT").reason is ExitReason.STOP_REFUSED


def test_another_refusal_is_tried_again_with_a_new_id_then_closed() -> None:
    desk = Desk()
    entry = desk.enter()
    desk.fill(entry, "3")
    stop, _ = desk.step()
    desk.refuse(stop, -1008)
    (again,) = desk.step(0.1)
    assert isinstance(again, AlgoRequest)
    assert (again.type, again.trigger) == (AlgoType.STOP_MARKET, D(49000))
    assert again.cid != stop.cid
    desk.refuse(again, -1008)
    exit_of(desk.step(0.1))
    assert desk.trade.reason is ExitReason.STOP_REFUSED


def test_an_unknown_stop_is_asked_not_resent_and_its_wait_is_bounded() -> None:
    desk = Desk()
    entry = desk.enter()
    desk.fill(entry, "3")
    stop, target = desk.step()
    desk.accept(target)
    desk.store.on_outcome(Unknown(request=stop, reason="timeout"), desk.now)
    assert desk.step(1) == ()
    assert desk.trade.next_ns() == desk.trade.first_fill_ns + 5 * SECOND  # type: ignore[operator]
    assert exit_of(desk.step(4)).qty == D(3)
    assert desk.trade.reason is ExitReason.STOP_UNCONFIRMED


def test_an_absent_stop_is_placed_anew() -> None:
    desk = Desk()
    entry = desk.enter()
    desk.fill(entry, "3")
    stop, _ = desk.step()
    order = desk.store.get(stop.cid)
    assert order is not None
    order.on_deadline(desk.now + SECOND)
    rule = AbsenceRule(recv_window_ns=1, margin_ns=0)
    order.not_found(desk.now + 1, rule, stream_alive=True)
    order.not_found(desk.now + 2, rule, stream_alive=True)
    (again,) = desk.step(0.1)
    assert isinstance(again, AlgoRequest)
    assert again.type is AlgoType.STOP_MARKET


def test_a_lost_stop_runs_the_naked_clock_again() -> None:
    desk = Desk()
    _, stop, _ = desk.protected()
    desk.algo(stop, AlgoStatus.EXPIRED)
    (again,) = desk.step(1)
    assert desk.trade.state is T.PROTECTING
    assert not desk.trade.stop_confirmed
    desk.now += 2 * SECOND
    desk.accept(again)
    desk.step()
    assert desk.trade.state is T.PROTECTED
    assert desk.trade.naked_ns == SECOND // 10 + 2 * SECOND


def test_a_sibling_that_expires_behind_a_trigger_is_not_replaced() -> None:
    desk = Desk()
    _, stop, target = desk.protected()
    desk.algo(target, AlgoStatus.TRIGGERING)
    desk.algo(stop, AlgoStatus.EXPIRED)
    assert desk.step(0.1) == ()
    assert desk.trade.state is T.PROTECTED
    desk.fill(target, "3", price="52000")
    assert desk.step() == ()
    assert desk.trade.state is T.CLOSED


def test_a_stop_rejected_at_its_trigger_closes_at_market() -> None:
    desk = Desk()
    _, stop, _ = desk.protected()
    desk.algo(stop, AlgoStatus.TRIGGERING)
    desk.algo(stop, AlgoStatus.REJECTED)
    exit_of(desk.step())
    assert desk.trade.reason is ExitReason.STOP_REFUSED


@pytest.mark.parametrize("stopped", [True, False])
def test_the_rest_of_an_unfilled_child_is_closed_at_market(stopped: bool) -> None:
    desk = Desk()
    _, stop, target = desk.protected()
    child = stop if stopped else target
    desk.algo(child, AlgoStatus.FINISHED, order_id=BIG_ID + int(child.cid.split("-")[1]), filled_qty=D(1))
    assert desk.step() == (
        OrderRequest(
            cid=ClientId("t-4"), symbol=BTC, side=Side.SELL, type=OrderType.MARKET, qty=D(2), reduce_only=True
        ),
    )
    assert desk.trade.reason is (ExitReason.STOP if stopped else ExitReason.TARGET)


def test_a_passed_target_is_taken_at_market_and_another_refusal_is_tried_again() -> None:
    for code, wanted in ((-2021, ExitReason.TARGET), (-1008, None)):
        desk = Desk()
        entry = desk.enter()
        desk.fill(entry, "3")
        stop, target = desk.step()
        desk.accept(stop)
        desk.refuse(target, code)
        (request,) = desk.step(0.1)
        assert desk.trade.reason is wanted
        if wanted is None:
            assert isinstance(request, AlgoRequest)
            assert request.type is AlgoType.TAKE_PROFIT_MARKET
            desk.refuse(request, code)
            assert desk.step(0.1) == (), "the stop and the time limit remain"
