"""Partial targets: how a position is parted, and a trade whose parts leave, fail to, or are overtaken."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.core.bracket import ExitReason
from aegis.core.messages import AlgoRequest, CancelRequest
from aegis.core.partials import Lots, Part, mean_target, split
from aegis.core.trade_plan import Role
from aegis.core.values import AlgoStatus, OrderStatus, Side
from tests.support.core_cases import SECOND, D, make_spec
from tests.support.trade_desk import POLICY, Desk, T, exit_of

LOTS = Lots(step=D("0.1"), min_qty=D("0.1"), min_notional=D(100))
HALVES = (Part(price=D(51000), share=D("0.5")),)
THIRDS = (Part(price=D(50500), share=D("0.33")), Part(price=D(51000), share=D("0.33")))


def parts_desk(parts: tuple[Part, ...] = THIRDS, **plan: Any) -> Desk:
    return Desk(parts=parts, lots=LOTS, **plan)


def algos(desk: Desk, role: Role) -> list[AlgoRequest]:
    found = [order.request for order in desk.trade.parts] if role is Role.PART else []
    return [request for request in found if isinstance(request, AlgoRequest)]


# -- how a position is parted ------------------------------------------------------------------------------------------
def test_shares_become_lots_and_the_rest_is_the_last_targets() -> None:
    assert split(D(3), THIRDS, D(52000), LOTS) == ((D(50500), D("0.9")), (D(51000), D("1.0")))


def test_what_is_too_small_for_an_order_is_merged_into_the_next() -> None:
    dear = Lots(step=D("0.1"), min_qty=D("0.1"), min_notional=D(50_000))
    assert split(D(3), THIRDS, D(52000), dear) == ((D(51000), D("1.9")),), "0.9 at 50500 are too little"
    assert split(D("0.2"), THIRDS, D(52000), LOTS) == ((D(51000), D("0.1")),)
    assert split(D(1), HALVES, D(52000), dear) == ()
    wide = (Part(price=D(50500), share=D("0.97")),)
    assert split(D(3), wide, D(52000), Lots(step=D("0.1"), min_qty=D("0.1"), min_notional=D(6_000))) == ()
    assert Lots.of(make_spec()) == Lots(step=D("0.001"), min_qty=D("0.001"), min_notional=D(50))


@given(
    qty=st.integers(0, 10_000).map(lambda n: D(n) / 1000),
    shares=st.lists(st.integers(1, 300), max_size=3),
    step=st.sampled_from([D("0.001"), D("0.01"), D("0.3"), D(1)]),
    least=st.sampled_from([D(0), D(5), D(100), D(50_000)]),
    sign=st.sampled_from([1, -1]),
)
def test_every_part_can_be_ordered_and_nothing_leaves_earlier_than_asked(
    qty: Decimal, shares: list[int], step: Decimal, least: Decimal, sign: int
) -> None:
    lots = Lots(step=step, min_qty=step, min_notional=least)
    qty = qty // step * step
    parts = tuple(Part(price=D(100 + sign * k), share=D(share) / 1000) for k, share in enumerate(shares, 1))
    last = D(100 + sign * 10)
    found = split(qty, parts, last, lots)
    assert all(lots.allow(lot, price) and lot % step == 0 for price, lot in found)
    if found:
        assert lots.allow(qty - sum(lot for _, lot in found), last), "the last target has an order's worth as well"
    for price in {price for price, _ in found}:
        asked = sum(part.share * qty for part in parts if sign * (part.price - price) <= 0)
        assert sum(lot for at, lot in found if sign * (at - price) <= 0) <= asked
    if least == 0 and all(part.share * qty >= step for part in parts) and qty >= 10 * step:
        assert [price for price, _ in found] == [part.price for part in parts], "none is merged without need"


def test_the_mean_target_is_where_the_position_leaves_on_average() -> None:
    assert mean_target((), D(52000)) == D(52000)
    assert mean_target(HALVES, D(52000)) == D(51500)


# -- a trade with parts ------------------------------------------------------------------------------------------------
def test_parts_are_placed_with_quantities_once_it_is_known_how_much_was_entered() -> None:
    desk = parts_desk()
    entry = desk.enter()
    desk.fill(entry, "2", done=False)
    assert len(desk.step()) == 2, "stop and last target protect what is there already"
    desk.fill(entry, "1")
    first, second = desk.step()
    for request, price, qty in ((first, 50500, "0.9"), (second, 51000, "1.0")):
        assert isinstance(request, AlgoRequest)
        assert (request.trigger, request.qty, request.side) == (D(price), D(qty), Side.SELL)
    assert [stop.request.qty for stop in desk.trade.stops + desk.trade.targets] == [None, None]


def test_a_part_that_leaves_keeps_the_rest_protected_and_the_last_target_closes_it() -> None:
    desk = parts_desk()
    desk.trade._policy = attrs.evolve(POLICY, sibling_grace_ns=5 * SECOND)
    _, stop, target = desk.protected()
    first, second = algos(desk, Role.PART)
    desk.fill(first, "0.9", price="50500")
    desk.algo(first, AlgoStatus.FINISHED, order_id=None, filled_qty=D("0.9"))
    assert desk.step(1) == ()
    assert (desk.trade.state, desk.trade.open_qty) == (T.PROTECTED, D("2.1"))
    desk.fill(target, "2.1", price="52000")
    requests = desk.step(1)
    cancel = CancelRequest(cid=second.cid, symbol=second.symbol, algo=True)
    assert requests == (cancel,), "it would outlive the position"
    assert desk.trade.next_ns() == desk.now + 5 * SECOND, "when the venue has had its time to expire the others"
    assert desk.trade.state is T.CLOSED
    assert desk.trade.parts_live
    result = desk.trade.result("USDT")
    assert (result.reason, result.qty, result.parts) == (ExitReason.TARGET, D(3), 1)
    assert result.average_exit == (D("0.9") * 50500 + D("2.1") * 52000) / 3
    desk.algo(second, AlgoStatus.CANCELED)
    assert not desk.trade.parts_live
    assert stop.qty is None


def test_a_stop_after_a_part_is_a_stop() -> None:
    desk = parts_desk(HALVES)
    _, stop, _ = desk.protected()
    (part,) = algos(desk, Role.PART)
    desk.fill(part, "1.5", price="51000")
    desk.fill(stop, "1.5", price="49000")
    desk.step(1)
    result = desk.trade.result("USDT")
    assert (result.reason, result.parts, desk.trade.state) == (ExitReason.STOP, 1, T.CLOSED)


def test_a_part_whose_price_is_passed_is_left_to_the_next_target() -> None:
    desk = parts_desk(HALVES)
    entry = desk.enter()
    desk.fill(entry, "3")
    stop, target, part = desk.step()
    desk.accept(stop)
    desk.accept(target)
    desk.refuse(part, -2021)
    assert desk.step(1) == ()
    assert desk.trade.state is T.PROTECTED


@pytest.mark.parametrize("how", ["refused", "cancelled"])
def test_a_part_that_was_lost_is_placed_again_but_not_for_ever(how: str) -> None:
    desk = parts_desk(HALVES)
    desk.protected()
    for again in (1, 0):
        part = algos(desk, Role.PART)[-1]
        if how == "refused" and not again:
            desk.refuse(part, -1008)
        else:
            desk.algo(part, AlgoStatus.CANCELED)
        assert len(desk.step(1)) == again
    assert desk.trade.state is T.PROTECTED


def test_a_part_that_was_triggered_is_not_placed_again() -> None:
    desk = parts_desk(HALVES)
    desk.protected()
    (part,) = algos(desk, Role.PART)
    desk.algo(part, AlgoStatus.TRIGGERING)
    desk.algo(part, AlgoStatus.REJECTED)
    assert desk.step(1) == ()
    assert desk.trade.open_qty == D(3)


def test_an_exit_waits_for_a_part_that_is_executing_and_closes_what_is_left() -> None:
    desk = parts_desk(HALVES, time_limit_ns=10**9)
    desk.protected()
    (part,) = algos(desk, Role.PART)
    desk.algo(part, AlgoStatus.TRIGGERING)
    assert desk.step(2) == ()
    assert desk.trade.state is T.EXITING
    desk.fill(part, "1.5", price="51000")
    request = exit_of(desk.step(1))
    assert request.qty == D("1.5")
    desk.fill(request, "1.5")
    desk.step(1)
    assert (desk.trade.state, desk.trade.result("USDT").reason) == (T.CLOSED, ExitReason.TIME)


def test_an_entry_that_did_not_fill_has_no_parts() -> None:
    desk = parts_desk()
    entry = desk.enter()
    desk.end(entry, OrderStatus.EXPIRED)
    assert desk.step() == ()
    assert desk.trade.state is T.ABORTED
    assert not desk.trade.parts_live
