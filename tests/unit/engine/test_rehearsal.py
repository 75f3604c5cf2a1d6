"""Rehearsals: they go the whole way of an entry, and nothing that decides changes by them."""

from __future__ import annotations

from decimal import Decimal

import pytest
import trio

from aegis.core.messages import OrderRequest
from aegis.core.risk import DenyCode, TradingState
from aegis.engine.rehearsal import Rehearsal
from tests.support.decision_rig import SYMBOLS, Rig, open_position


def rehearsal_of(rig: Rig, *, hot: bool = False) -> tuple[Rehearsal, list[OrderRequest]]:
    dry: list[OrderRequest] = []
    return Rehearsal(rig.decision, dry.append, lambda: rig.now_ns, hot=hot), dry


def state_of(rig: Rig) -> tuple[object, ...]:
    """All that a decision could depend on, and all that it leaves behind."""
    decision, store = rig.decision, rig.decision.desk.store
    rate = decision.gate.rate
    return (
        decision.cids_used, decision.signals, dict(decision.refused), rig.pools(), list(decision.setups.armed),
        decision.setups.decided.rows.tobytes(), decision.gate.state, rate.used(rig.now_ns), rate.reserved,
        store.working_count(), store.algo_count(), dict(decision.desk.trades), decision.desk.open_risk,
        decision.references, len(rig.pages), rig.machine.table.levels.tobytes(), rig.machine.table.symbols.tobytes(),
        list(rig.sent),
    )  # fmt: skip


def test_a_rehearsal_signs_the_order_that_a_hit_would_send_and_changes_nothing() -> None:
    rig = Rig.make()
    rig.arm()
    rehearsal, dry = rehearsal_of(rig)
    before = state_of(rig)
    for _ in range(3):
        assert rehearsal.walk(rig.now_ns) is None
    assert state_of(rig) == before
    assert len(dry) == 3
    rig.quote(49999.0, 50000.0)  # now it is meant
    (entry,) = rig.take()
    assert isinstance(entry, OrderRequest)
    (first, *_) = dry
    assert (first.symbol, first.side, first.type, first.tif) == (entry.symbol, entry.side, entry.type, entry.tif)
    assert first.price == Decimal("50011") * Decimal("1.0005") // Decimal("0.1") * Decimal("0.1")
    assert first.cid != entry.cid


def test_nothing_is_rehearsed_without_a_setup_without_trading_or_for_a_symbol_with_a_trade() -> None:
    rig = Rig.make(SYMBOLS[:2])
    rehearsal, dry = rehearsal_of(rig)
    assert rehearsal.walk(rig.now_ns) is None
    open_position(rig)
    rig.arm(zone=8)
    rig.decision.gate.set_state(TradingState.REDUCING, "test")
    assert rehearsal.walk(rig.now_ns) is None
    rig.decision.gate.set_state(TradingState.ACTIVE, "test")
    assert rehearsal.walk(rig.now_ns) is None
    assert dry == []
    rig.arm(symbol=1)
    assert rehearsal.walk(rig.now_ns) is None
    assert [order.symbol for order in dry] == [SYMBOLS[1]]


def test_a_rehearsal_ends_where_the_entry_would_be_denied() -> None:
    rig = Rig.make(max_positions=1)
    rig.arm()
    rehearsal, dry = rehearsal_of(rig)
    rig.decision.contexts.reconciling = True
    denied = rehearsal.walk(rig.now_ns)
    assert denied is not None
    assert denied.code is DenyCode.RECONCILING
    assert dry == []
    assert rig.decision.gate.state is TradingState.ACTIVE


@pytest.mark.parametrize("hot", [False, True])
async def test_it_is_rehearsed_every_few_milliseconds_whether_the_loop_sleeps_or_polls(hot: bool) -> None:
    rig = Rig.make()
    rig.arm()
    rehearsal, dry = rehearsal_of(rig, hot=hot)
    with trio.move_on_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rehearsal.run)
            while len(dry) < 3:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel(reason="seen enough")
    assert len(dry) >= 3
