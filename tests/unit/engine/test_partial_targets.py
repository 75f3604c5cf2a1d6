"""Partial targets from the setup to the venue: rounded, weighed by the gate, reserved for, and never left behind."""

from __future__ import annotations

from aegis.core.messages import AlgoRequest, CancelRequest, OrderRequest
from aegis.core.values import AlgoStatus, OrderStatus
from tests.support.core_cases import D, algo_update, order_update
from tests.support.decision_rig import Rig


def test_partial_targets_are_rounded_to_the_grid_and_equal_ones_are_one() -> None:
    rig = Rig.make()
    parts = ((51000.04, 0.2), (51000.06, 0.2), (52999.97, 0.2))
    row = rig.signal(parts=parts, target=53000.0)
    assert row["taken"]
    assert row["parts"] == [["51000.1", "0.4"]], "a sell target rounds up; the last one came to the price of the target"
    (plan,) = rig.pages.of("plan")
    assert (plan["parts"], plan["lots"]) == (row["parts"], ["0.001", "0.001", "50"])


def test_what_is_expected_counts_every_target() -> None:
    """At 53000 alone 3 R; nine tenths at 50100 leave less than the least that is worth the risk."""
    rig = Rig.make()
    row = rig.signal(parts=((50100.0, 0.9),))
    assert (row["taken"], row["code"]) == (False, "NET_R")
    rig.quote(50010.0, 50011.0)
    assert rig.signal(zone=8, parts=((52900.0, 0.9),))["taken"]


def test_a_partial_target_on_the_wrong_side_of_the_price_is_no_plan() -> None:
    rig = Rig.make()
    row = rig.signal(parts=((50000.1, 0.1),))  # the entry may fill at up to 50025
    assert (row["taken"], row["code"]) == (False, "BAD_LEVELS")


def test_an_entry_reserves_an_order_for_each_of_its_targets() -> None:
    rig = Rig.make()
    rig.signal(parts=((51000.0, 0.4), (52000.0, 0.3)))
    assert rig.decision.gate.rate.reserved == 4
    (entry,) = rig.take()
    assert isinstance(entry, OrderRequest)
    update = order_update(entry, OrderStatus.FILLED, trade_id=1, last_qty=entry.qty, filled_qty=entry.qty, order_id=5)
    rig.decision.on_user_event(update, rig.now_ns)
    assert len(rig.take()) == 4
    assert rig.decision.gate.rate.reserved == 0


def test_no_entry_while_a_partial_target_of_an_ended_trade_may_live() -> None:
    """It would reduce the new position: reduce-only orders with a quantity do not end with theirs."""
    rig = Rig.make()
    rig.signal(parts=((51000.0, 0.5),))
    (entry,) = rig.take()
    assert isinstance(entry, OrderRequest)
    update = order_update(entry, OrderStatus.FILLED, trade_id=1, last_qty=entry.qty, filled_qty=entry.qty, order_id=5)
    rig.decision.on_user_event(update, rig.now_ns)
    stop, target, part = (one for one in rig.take() if isinstance(one, AlgoRequest))
    done = order_update(
        stop, OrderStatus.FILLED, side=stop.side, qty=entry.qty, trade_id=2, last_qty=entry.qty, filled_qty=entry.qty,
        order_id=6, realized_pnl=D("-8"),
    )  # fmt: skip
    rig.decision.on_user_event(done, rig.now_ns)
    assert CancelRequest(cid=part.cid, symbol=part.symbol, algo=True) in rig.take()
    rig.quote(50010.0, 50011.0)
    assert rig.signal(zone=8)["code"] == "UNKNOWN_ORDER"
    rig.decision.on_user_event(algo_update(part, AlgoStatus.CANCELED), rig.now_ns)
    rig.quote(50010.0, 50011.0)
    assert rig.signal(zone=9)["taken"]
    assert target.qty is None
