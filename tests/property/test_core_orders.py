"""Order machines: every interleaving of evidence, and convergence to what really happened at the venue."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.core.algo_orders import ALGO_TABLE, AlgoOrder, VenueAlgo
from aegis.core.errors import InvariantBroken
from aegis.core.messages import Accepted, OrderRequest, Refused, Unknown
from aegis.core.order_life import AbsenceRule, OrderState
from aegis.core.orders import ORDER_TABLE, VenueOrder, WorkingOrder
from aegis.core.values import AlgoStatus, OrderStatus
from tests.support.core_cases import (
    BIG_ID,
    D,
    algo_update,
    make_algo,
    make_fill,
    make_order,
    order_update,
    trade_lite,
)

REQUEST = make_order()
QTY = REQUEST.qty
Act = Callable[[WorkingOrder], object]


def _cancel_reply(accepted: bool) -> Act:
    def act(order: WorkingOrder) -> None:
        cancel = order.request_cancel(900)
        if cancel is not None:
            reply = Accepted(request=cancel, venue_id=BIG_ID)
            order.on_outcome(reply if accepted else Refused(request=cancel, code=-2011, message=""), 3)

    return act


PARTIAL = order_update(REQUEST, OrderStatus.PARTIALLY_FILLED, trade_id=1, filled_qty=D(1))
FILLED = order_update(REQUEST, OrderStatus.FILLED, trade_id=2, last_qty=D(2), filled_qty=D(3))
ACTS: dict[str, Act] = {
    "accept": lambda o: o.on_outcome(Accepted(request=REQUEST, venue_id=BIG_ID), 2),
    "refuse": lambda o: o.on_outcome(Refused(request=REQUEST, code=-5022, message=""), 2),
    "unknown": lambda o: o.on_outcome(Unknown(request=REQUEST, reason=""), 2),
    "partial": lambda o: o.on_update(PARTIAL, 2),
    "fill": lambda o: o.on_update(FILLED, 2),
    "cancel ack": _cancel_reply(True),
    "cancel reject": _cancel_reply(False),
    "expire": lambda o: o.on_update(order_update(REQUEST, OrderStatus.EXPIRED, filled_qty=o.tape.reported), 2),
}


def test_every_interleaving_up_to_length_six_keeps_the_invariants() -> None:
    """Of all 8**6 sequences; a contradiction ends its branch, an ended order is followed up to length four."""
    reached: set[OrderState] = set()
    explored = 0

    def explore(path: tuple[str, ...]) -> None:
        nonlocal explored
        order = WorkingOrder(request=REQUEST, created_ns=0)
        order.sent(1, 100)
        states = [order.state]
        for name in path:
            try:
                ACTS[name](order)
            except InvariantBroken:
                return
            states.append(order.state)
        explored += 1
        for before, after in pairwise(states):
            assert before is after or after in ORDER_TABLE[before]
        assert order.tape.qty <= QTY
        assert 0 <= order.remaining <= QTY
        assert order.tape.qty == sum(fill.qty for fill in order.tape.fills.values())
        if order.state is OrderState.FILLED:
            assert order.tape.reported == QTY
        if order.state in (OrderState.REFUSED, OrderState.ABSENT):
            assert order.tape.qty == 0
        reached.add(order.state)
        if len(path) < 6 and not (order.state.final and len(path) > 3):
            for name in ACTS:
                explore((*path, name))

    explore(())
    assert explored > 5_000
    assert reached == {
        OrderState.SENT,
        OrderState.ACKED,
        OrderState.PARTIAL,
        OrderState.FILLED,
        OrderState.EXPIRED,
        OrderState.REFUSED,
        OrderState.UNKNOWN,
    }


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[str, object]], OrderStatus | None, int]:
    """What happened at the venue (None: it never arrived) and the evidence of it, shuffled and doubled."""
    arrived = draw(st.booleans())
    reply = draw(st.sampled_from(["reply", "unknown", "none"]))
    if not arrived:
        refused = Refused(request=REQUEST, code=-2019, message="")
        evidence = {"reply": [("outcome", refused)], "unknown": [("outcome", Unknown(request=REQUEST, reason=""))]}
        return evidence.get(reply, []), None, 0
    fills = draw(st.integers(0, 3))
    end = draw(st.sampled_from([OrderStatus.NEW, OrderStatus.CANCELED, OrderStatus.EXPIRED]))
    status = OrderStatus.FILLED if fills == 3 else end
    events: list[tuple[str, object]] = [("update", order_update(REQUEST, OrderStatus.NEW))]
    for number in range(1, fills + 1):
        kind = OrderStatus.FILLED if number == 3 else OrderStatus.PARTIALLY_FILLED
        events.append(("update", order_update(REQUEST, kind, trade_id=number, filled_qty=D(number))))
        events.append(("lite", trade_lite(REQUEST, number, D(1))))
    if status.final and fills < 3:
        events.append(("update", order_update(REQUEST, status, filled_qty=D(fills))))
    events = [event for event in events if draw(st.integers(0, 4))]  # one in five is lost
    if reply == "reply":
        events.append(("outcome", Accepted(request=REQUEST, venue_id=BIG_ID)))
    if reply == "unknown":
        events.append(("outcome", Unknown(request=REQUEST, reason="")))
    if events:
        events += draw(st.lists(st.sampled_from(events), max_size=4))
    events.append(("deadline", None))
    return draw(st.permutations(events)), status, fills


def _deliver(order: WorkingOrder, kind: str, event: object) -> None:
    if kind == "update":
        order.on_update(event, 5)  # type: ignore[arg-type]
    elif kind == "lite":
        order.on_trade_lite(event, 5)  # type: ignore[arg-type]
    elif kind == "outcome":
        order.on_outcome(event, 5)  # type: ignore[arg-type]
    else:
        order.on_deadline(1_000)


@given(histories())
def test_any_order_loss_and_repetition_of_evidence_converges_to_the_truth(
    history: tuple[list[tuple[str, object]], OrderStatus | None, int],
) -> None:
    events, status, filled = history
    order = WorkingOrder(request=REQUEST, created_ns=0)
    order.sent(1, 1_000)
    for kind, event in events:
        before = order.state
        _deliver(order, kind, event)
        assert not before.final or order.state is before
        assert order.tape.qty <= filled
        assert order.remaining >= (0 if order.state.final else QTY - filled)
    order.on_deadline(1_000)
    rule = AbsenceRule(recv_window_ns=10, margin_ns=10)
    for asked in (2_000, 3_000):
        if status is None:
            order.not_found(asked, rule, stream_alive=True)
        else:
            row = VenueOrder(
                cid=REQUEST.cid,
                symbol=REQUEST.symbol,
                side=REQUEST.side,
                order_id=BIG_ID,
                status=OrderStatus.PARTIALLY_FILLED if filled and not status.final else status,
                qty=QTY,
                filled_qty=D(filled),
            )
            order.found(row, asked)
    for number in range(1, filled + 1):
        order.on_fill(make_fill(REQUEST.side, "1", "50000", number), 4_000)
    live = OrderState.PARTIAL if filled else OrderState.ACKED
    expected = {
        None: {OrderState.REFUSED, OrderState.ABSENT},
        OrderStatus.NEW: {live},
        OrderStatus.FILLED: {OrderState.FILLED},
        OrderStatus.CANCELED: {OrderState.CANCELED},
        OrderStatus.EXPIRED: {OrderState.EXPIRED},
    }
    assert order.state in expected[status]
    assert (order.tape.qty, order.tape.missing) == (D(filled), D(0))


ALGO = make_algo()


@st.composite
def algo_histories(draw: st.DrawFn) -> tuple[list[tuple[str, object]], AlgoStatus]:
    """A conditional order's true life and the evidence of it, child events anywhere among it."""
    end = draw(st.sampled_from([AlgoStatus.NEW, AlgoStatus.CANCELED, AlgoStatus.EXPIRED, AlgoStatus.FINISHED]))
    events: list[tuple[str, object]] = [("algo", algo_update(ALGO, AlgoStatus.NEW))]
    if end is AlgoStatus.FINISHED:
        events.append(("algo", algo_update(ALGO, AlgoStatus.TRIGGERING)))
        events.append(("algo", algo_update(ALGO, AlgoStatus.TRIGGERED, order_id=BIG_ID)))
        part = order_update(ALGO, OrderStatus.PARTIALLY_FILLED, trade_id=1, filled_qty=D(1))
        full = order_update(ALGO, OrderStatus.FILLED, trade_id=2, last_qty=D(2), filled_qty=D(3))
        events += [("child", part), ("child", full), ("lite", trade_lite(ALGO, 1, D(1)))]
        events.append(("algo", algo_update(ALGO, end, order_id=BIG_ID, filled_qty=D(3))))
    elif end.final:
        events.append(("algo", algo_update(ALGO, end)))
    events = [event for event in events if draw(st.integers(0, 4))]
    if events:
        events += draw(st.lists(st.sampled_from(events), max_size=4))
    return draw(st.permutations(events)), end


@given(algo_histories())
def test_a_conditional_order_converges_to_the_truth(history: tuple[list[tuple[str, object]], AlgoStatus]) -> None:
    events, end = history
    order = AlgoOrder(request=ALGO, created_ns=0)
    order.sent(1, 1_000)
    for kind, event in events:
        before = order.state
        if kind == "algo":
            order.on_update(event, 5)  # type: ignore[arg-type]
        elif kind == "child":
            order.on_child(event, 5)  # type: ignore[arg-type]
        else:
            order.on_trade_lite(event, 5)  # type: ignore[arg-type]
        assert before is order.state or order.state in ALGO_TABLE[before]
        assert order.tape.qty <= 3
    order.on_deadline(1_000)
    done = end is AlgoStatus.FINISHED
    row = VenueAlgo(
        cid=ALGO.cid,
        symbol=ALGO.symbol,
        algo_id=4_000_000_230_627_731,
        status=end,
        order_id=BIG_ID if done else None,
        filled_qty=D(3) if done else D(0),
    )
    order.found(row, 2_000)
    for number, qty in ((1, "1"), (2, "2")) if done else ():
        order.on_fill(make_fill(ALGO.side, qty, "50000", number), 3_000)
    assert order.state.value == ("ACKED" if end is AlgoStatus.NEW else end.value)
    assert order.tape.missing == 0
    assert order.settled == end.final


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 3)), max_size=8))
def test_fills_never_exceed_the_quantity(trades: list[tuple[int, int]]) -> None:
    request: OrderRequest = make_order(qty=D(5))
    order = WorkingOrder(request=request, created_ns=0)
    model: dict[int, int] = {}
    for trade_id, qty in trades:
        contradicts = model.get(trade_id, qty) != qty
        too_much = trade_id not in model and sum(model.values()) + qty > 5
        try:
            order.on_trade_lite(trade_lite(request, trade_id, D(qty)), 1)
        except InvariantBroken:
            assert contradicts or too_much
            continue
        assert not contradicts
        assert not too_much
        model[trade_id] = qty
        assert order.tape.qty == sum(model.values())
