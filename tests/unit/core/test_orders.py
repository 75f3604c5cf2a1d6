"""A plain order under late, doubled and contradicting evidence."""

from __future__ import annotations

import pytest

from aegis.core.errors import InvariantBroken
from aegis.core.messages import Accepted, Refused, Unknown
from aegis.core.orders import AbsenceRule, CancelState, OrderState, VenueOrder, WorkingOrder
from aegis.core.values import OrderStatus, Side, SymbolName
from tests.support.core_cases import BIG_ID, D, make_fill, make_order, order_update, trade_lite

RULE = AbsenceRule(recv_window_ns=3_000, margin_ns=1_000)
S = OrderState


def sent(**changes: object) -> WorkingOrder:
    order = WorkingOrder(request=make_order(**changes), created_ns=0)
    order.sent(100, 1_000)
    return order


def row(status: OrderStatus, filled: str = "0", **changes: object) -> VenueOrder:
    fields = {
        "cid": "a-1",
        "symbol": "BTCUSDT",
        "side": Side.BUY,
        "order_id": BIG_ID,
        "status": status,
        "qty": D(3),
        "filled_qty": D(filled),
    }
    return VenueOrder(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_resting_order_lives_and_fills() -> None:
    order = sent()
    assert order.on_outcome(Accepted(request=order.request, venue_id=BIG_ID), 200).moved
    assert (order.state, order.deadline_ns, order.acked_ns) == (S.ACKED, None, 200)
    change = order.on_update(
        order_update(order.request, OrderStatus.PARTIALLY_FILLED, trade_id=1, filled_qty=D(1)), 300
    )
    assert change.fill is not None
    assert (order.state, order.remaining) == (S.PARTIAL, D(2))
    last = order_update(order.request, OrderStatus.FILLED, trade_id=2, last_qty=D(2), filled_qty=D(3))
    assert order.on_update(last, 400).after is S.FILLED
    assert order.on_update(last, 500).fill is None
    assert (order.remaining, order.settled, order.tape.average) == (D(0), True, D(50000))


def test_stream_may_overtake_the_send_and_the_reply() -> None:
    order = WorkingOrder(request=make_order(), created_ns=0)
    order.on_update(order_update(order.request, OrderStatus.FILLED, trade_id=1, last_qty=D(3), filled_qty=D(3)), 50)
    assert order.sent(100, 1_000).after is S.FILLED
    assert order.on_outcome(Accepted(request=order.request, venue_id=BIG_ID), 200).after is S.FILLED
    assert order.on_deadline(5_000).after is S.FILLED


def test_an_overdue_reply_is_unknown_and_late_evidence_settles_it() -> None:
    order = sent()
    assert not order.on_deadline(999).moved
    assert order.on_deadline(1_000).after is S.UNKNOWN
    assert order.remaining == D(3)
    assert order.on_update(order_update(order.request, OrderStatus.NEW), 2_000).after is S.ACKED


def test_an_unknown_outcome_after_evidence_changes_nothing() -> None:
    order = sent()
    order.on_update(order_update(order.request, OrderStatus.NEW), 150)
    assert order.on_outcome(Unknown(request=order.request, reason="timeout"), 200).after is S.ACKED


def test_a_late_refusal_of_an_unknown_order_is_proof() -> None:
    order = sent()
    order.on_outcome(Unknown(request=order.request, reason="timeout"), 200)
    refused = Refused(request=order.request, code=-2019, message="margin")
    assert order.on_outcome(refused, 300).after is S.REFUSED
    assert order.on_outcome(refused, 400).after is S.REFUSED
    assert order.refusal is refused


def test_refused_and_seen_alive_is_asked_not_chosen() -> None:
    order = sent()
    order.on_update(order_update(order.request, OrderStatus.NEW), 150)
    assert order.on_outcome(Refused(request=order.request, code=-5022, message="maker"), 200).after is S.UNKNOWN
    assert order.on_update(order_update(order.request, OrderStatus.NEW), 210).after is S.UNKNOWN
    assert order.on_update(order_update(order.request, OrderStatus.EXPIRED), 220).after is S.EXPIRED


def test_post_only_refusal_told_twice_is_one_refusal() -> None:
    order = sent()
    order.on_outcome(Refused(request=order.request, code=-5022, message="maker"), 200)
    assert order.on_update(order_update(order.request, OrderStatus.EXPIRED), 220).after is S.REFUSED


def test_cancel_ends_only_by_the_orders_own_end() -> None:
    order = sent()
    order.on_outcome(Accepted(request=order.request, venue_id=BIG_ID), 200)
    cancel = order.request_cancel(900)
    assert cancel is not None
    assert (cancel.cid, cancel.algo) == ("a-1", False)
    assert order.request_cancel(900) is None
    assert order.on_outcome(Accepted(request=cancel, venue_id=BIG_ID), 300).after is S.ACKED
    late = order_update(order.request, OrderStatus.PARTIALLY_FILLED, trade_id=1, filled_qty=D(1))
    done = order_update(order.request, OrderStatus.CANCELED, filled_qty=D(1))
    order.on_update(done, 400)
    assert (order.state, order.settled) == (S.CANCELED, False)
    order.on_update(late, 500)
    assert order.settled
    assert order.on_outcome(Refused(request=cancel, code=-2011, message="gone"), 600).after is S.CANCELED


def test_accepted_cancel_without_an_end_becomes_unknown() -> None:
    order = sent()
    order.on_outcome(Accepted(request=order.request, venue_id=BIG_ID), 200)
    cancel = order.request_cancel(900)
    assert cancel is not None
    order.on_outcome(Accepted(request=cancel, venue_id=BIG_ID), 300)
    assert order.on_deadline(900).after is S.UNKNOWN


def test_refused_cancel_asks_and_a_live_row_lets_it_be_cancelled_again() -> None:
    order = sent()
    order.on_outcome(Accepted(request=order.request, venue_id=BIG_ID), 200)
    cancel = order.request_cancel(900)
    assert cancel is not None
    order.on_outcome(Refused(request=cancel, code=-2011, message="unknown order"), 300)
    assert (order.state, order.cancel) == (S.UNKNOWN, CancelState.DOUBTFUL)
    assert order.on_update(order_update(order.request, OrderStatus.NEW), 310).after is S.UNKNOWN
    assert order.found(row(OrderStatus.NEW), 400).after is S.ACKED
    assert order.can_cancel


def test_acknowledgement_during_a_cancel_keeps_the_cancels_deadline() -> None:
    order = sent()
    order.request_cancel(900)
    order.on_update(order_update(order.request, OrderStatus.NEW), 200)
    assert (order.state, order.deadline_ns) == (S.ACKED, 900)


def test_absence_needs_two_late_look_ups_apart_with_the_stream_alive() -> None:
    order = sent()
    order.on_deadline(1_000)
    assert not order.not_found(4_099, RULE, stream_alive=True).moved
    assert not order.not_found(4_100, RULE, stream_alive=True).moved
    assert not order.not_found(7_099, RULE, stream_alive=True).moved
    assert not order.not_found(7_100, RULE, stream_alive=False).moved
    assert not order.not_found(8_000, RULE, stream_alive=True).moved
    assert order.not_found(11_000, RULE, stream_alive=True).after is S.ABSENT


def test_a_proven_order_is_never_declared_absent() -> None:
    order = sent()
    order.on_outcome(Accepted(request=order.request, venue_id=BIG_ID), 200)
    cancel = order.request_cancel(900)
    assert cancel is not None
    order.on_outcome(Unknown(request=cancel, reason="timeout"), 300)
    for asked in (10_000, 20_000, 30_000):
        assert order.not_found(asked, RULE, stream_alive=True).after is S.UNKNOWN


def test_recovery_counts_the_absence_rule_from_the_restart() -> None:
    order = WorkingOrder(request=make_order(), created_ns=0)
    order.recover(50_000)
    assert (order.state, order.sent_ns) == (S.UNKNOWN, 50_000)
    order.not_found(54_000, RULE, stream_alive=True)
    assert order.not_found(57_000, RULE, stream_alive=True).after is S.ABSENT
    assert order.recover(60_000).after is S.ABSENT


def test_unknown_before_sent_counts_from_that_moment() -> None:
    order = WorkingOrder(request=make_order(), created_ns=0)
    order.on_outcome(Unknown(request=order.request, reason="socket lost"), 500)
    assert order.sent_ns == 500


def test_found_rows_fill_in_what_the_stream_lost_and_old_rows_are_ignored() -> None:
    order = sent()
    order.on_deadline(1_000)
    assert order.found(row(OrderStatus.PARTIALLY_FILLED, "2"), 1_100).after is S.PARTIAL
    assert order.tape.missing == D(2)
    order.on_fill(make_fill(Side.BUY, "2", "50000", 7), 1_200)
    assert order.tape.missing == D(0)
    assert order.found(row(OrderStatus.NEW), 1_300).after is S.PARTIAL
    assert order.found(row(OrderStatus.CANCELED, "2"), 1_400).after is S.CANCELED
    assert order.found(row(OrderStatus.PARTIALLY_FILLED, "2"), 1_500).after is S.CANCELED


def test_trade_lite_counts_once_and_its_full_report_completes_it() -> None:
    order = sent()
    first = order.on_trade_lite(trade_lite(order.request, 1, D(1)), 200)
    assert first.fill is not None
    assert not first.fill.complete
    assert (order.state, order.tape.qty) == (S.PARTIAL, D(1))
    full = order_update(order.request, OrderStatus.PARTIALLY_FILLED, trade_id=1, filled_qty=D(1))
    second = order.on_update(full, 300)
    assert second.fill is not None
    assert second.fill.complete
    assert order.tape.qty == D(1)
    assert order.on_trade_lite(trade_lite(order.request, 1, D(1)), 400).fill is None


def test_reduce_only_order_may_be_shrunk_by_the_venue() -> None:
    order = sent(reduce_only=True)
    order.on_update(order_update(order.request, OrderStatus.NEW, qty=D(2)), 200)
    assert (order.qty, order.opens) == (D(2), False)
    end = order_update(order.request, OrderStatus.FILLED, qty=D(2), trade_id=1, last_qty=D(2), filled_qty=D(2))
    assert order.on_update(end, 300).after is S.FILLED


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": SymbolName("ETHUSDT")},
        {"side": Side.SELL},
        {"qty": D(4)},
        {"qty": D(2)},
        {"order_id": 7},
        {"filled_qty": D(4)},
        {"trade_id": 2, "last_qty": D("2.5"), "filled_qty": D("3")},
        {"trade_id": 2, "last_qty": D(0)},
        {"trade_id": 1, "last_qty": D(1), "last_price": D(49000)},
    ],
)
def test_reports_that_contradict_the_order_break_the_invariant(changes: dict[str, object]) -> None:
    order = sent()
    order.on_update(order_update(order.request, OrderStatus.PARTIALLY_FILLED, trade_id=1, filled_qty=D(1)), 200)
    with pytest.raises(InvariantBroken):
        order.on_update(order_update(order.request, OrderStatus.PARTIALLY_FILLED, **changes), 300)


def test_shrinking_below_what_was_filled_breaks_the_invariant() -> None:
    order = sent(reduce_only=True)
    order.on_update(
        order_update(order.request, OrderStatus.PARTIALLY_FILLED, trade_id=1, last_qty=D(2), filled_qty=D(2)), 200
    )
    with pytest.raises(InvariantBroken):
        order.on_update(order_update(order.request, OrderStatus.PARTIALLY_FILLED, qty=D(1)), 300)


def test_two_ends_contradict_each_other() -> None:
    order = sent()
    order.on_update(order_update(order.request, OrderStatus.CANCELED), 200)
    with pytest.raises(InvariantBroken, match="CANCELED -> EXPIRED"):
        order.on_update(order_update(order.request, OrderStatus.EXPIRED), 300)


def test_filled_with_less_than_its_quantity_breaks_the_invariant() -> None:
    order = sent()
    with pytest.raises(InvariantBroken, match="FILLED with 1 of 3"):
        order.on_update(order_update(order.request, OrderStatus.FILLED, filled_qty=D(1)), 200)


def test_life_after_proof_of_death_breaks_the_invariant() -> None:
    order = sent()
    order.on_outcome(Refused(request=order.request, code=-2019, message="margin"), 200)
    with pytest.raises(InvariantBroken, match="lives"):
        order.on_update(order_update(order.request, OrderStatus.NEW), 300)
    with pytest.raises(InvariantBroken):
        order.on_update(
            order_update(order.request, OrderStatus.FILLED, trade_id=1, last_qty=D(3), filled_qty=D(3)), 300
        )


def test_refused_after_execution_breaks_the_invariant() -> None:
    order = sent()
    order.on_update(order_update(order.request, OrderStatus.PARTIALLY_FILLED, trade_id=1, filled_qty=D(1)), 200)
    with pytest.raises(InvariantBroken, match="refused"):
        order.on_outcome(Refused(request=order.request, code=-2019, message="margin"), 300)


def test_execution_after_refusal_breaks_the_invariant() -> None:
    order = sent()
    order.on_update(order_update(order.request, OrderStatus.NEW), 150)
    order.on_outcome(Refused(request=order.request, code=-5022, message="maker"), 200)
    with pytest.raises(InvariantBroken, match="after it was refused"):
        order.on_trade_lite(trade_lite(order.request, 1, D(1)), 300)


def test_more_executed_than_the_end_reported_breaks_the_invariant() -> None:
    order = sent()
    order.on_update(order_update(order.request, OrderStatus.CANCELED, filled_qty=D(1)), 200)
    with pytest.raises(InvariantBroken, match="ended with 1"):
        order.on_fill(make_fill(Side.BUY, "2", "50000", 1), 300)


def test_refused_reply_after_an_unfilled_end_is_no_contradiction() -> None:
    order = sent()
    order.on_update(order_update(order.request, OrderStatus.EXPIRED), 200)
    assert order.on_outcome(Refused(request=order.request, code=-5021, message="fok"), 300).after is S.EXPIRED
