"""What a session must not end on, told in words, and what it may."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aegis.core.bracket import ExitReason
from aegis.core.messages import Accepted, Unknown
from aegis.core.values import AlgoStatus
from aegis.engine.drain import patience_s, unsettled
from tests.support.core_cases import algo_update, trade_lite
from tests.support.decision_rig import Rig
from tests.support.desk_acts import BTC, entry_of, fill, market_exit, protect


def sent(rig: Rig) -> None:
    entry_of(rig)


def refused_to_say(rig: Rig) -> None:
    rig.decision.on_outcome(Unknown(request=entry_of(rig), reason="timeout"), rig.now_ns)


def resting(rig: Rig) -> None:
    rig.decision.on_outcome(Accepted(request=entry_of(rig), venue_id=1), rig.now_ns)


def being_cancelled(rig: Rig) -> None:
    resting(rig)
    rig.decision.on_command("cancel", rig.now_ns)


def fee_unknown(rig: Rig) -> None:
    entry = entry_of(rig)
    rig.decision.on_user_event(trade_lite(entry, 1, entry.qty), rig.now_ns)
    accept(rig)


def naked(rig: Rig) -> None:
    fill(rig, entry_of(rig))


def exiting(rig: Rig) -> None:
    protect(rig)
    rig.decision.desk.exit(BTC, ExitReason.MANUAL, rig.now_ns)
    rig.decision.on_outcome(Accepted(request=market_exit(rig.take()), venue_id=7), rig.now_ns)


def closed(rig: Rig) -> None:
    """Its protection is gone at the venue, which has not said so yet."""
    protect(rig)
    rig.decision.desk.exit(BTC, ExitReason.MANUAL, rig.now_ns)
    fill(rig, market_exit(rig.take()), trade_id=2)


def over(rig: Rig) -> None:
    _, stop, target = protect(rig)
    rig.decision.desk.exit(BTC, ExitReason.MANUAL, rig.now_ns)
    fill(rig, market_exit(rig.take()), trade_id=2)
    for number, order in enumerate((stop, target)):
        rig.decision.on_user_event(algo_update(order, AlgoStatus.EXPIRED, algo_id=900 + number), rig.now_ns)


def rebuilt(rig: Rig) -> None:
    protect(rig)
    rig.decision.desk.adopt(rig.decision.desk.trades[BTC])


def accept(rig: Rig) -> None:
    for number, request in enumerate(rig.take()):
        rig.decision.on_outcome(Accepted(request=request, venue_id=900 + number), rig.now_ns)


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (sent, ["order 1-1 on BTCUSDT is of unknown fate"]),
        (refused_to_say, ["order 1-1 on BTCUSDT is of unknown fate"]),
        (resting, ["order 1-1 on BTCUSDT is still working"]),
        (being_cancelled, ["order 1-1 on BTCUSDT is not known to be cancelled"]),
        (fee_unknown, ["order 1-1 on BTCUSDT has executions that were not seen"]),
        (exiting, ["order 1-4 on BTCUSDT is still working", "not closed yet: BTCUSDT"]),
        (closed, ["order 1-2 on BTCUSDT has outlived its trade", "order 1-3 on BTCUSDT has outlived its trade"]),
        (
            naked,
            [
                "order 1-2 on BTCUSDT is of unknown fate", "order 1-3 on BTCUSDT is of unknown fate",
                "without a confirmed stop: BTCUSDT",
            ],
        ),
        (rebuilt, ["order 1-2 on BTCUSDT is of unknown fate", "order 1-3 on BTCUSDT is of unknown fate"]),
        (protect, []),
        (over, []),
    ],
)  # fmt: skip
def test_what_is_not_settled_is_told(act: Callable[[Rig], object], told: list[str]) -> None:
    rig = Rig.make()
    act(rig)
    assert unsettled(rig.decision.desk, flatten=False) == told


def test_a_position_with_its_stop_is_kept_unless_all_is_to_be_closed() -> None:
    rig = Rig.make()
    protect(rig)
    assert unsettled(rig.decision.desk, flatten=True) == ["not closed yet: BTCUSDT"]


def test_the_wait_is_longer_than_the_proof_that_an_order_never_arrived() -> None:
    desk = Rig.make().decision.desk
    assert patience_s(desk) > 2 * desk.absence.proof_ns / 1e9
