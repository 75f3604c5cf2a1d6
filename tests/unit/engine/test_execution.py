"""One request goes one way, once, and every request has an outcome."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.lowlevel

from aegis.core.messages import Accepted, CancelRequest, Outcome, Refused, Request
from aegis.core.risk import RiskGate
from aegis.core.risk_limits import RiskLimits
from aegis.engine.execution import LEAVES_WITHIN_S, Execution
from aegis.engine.journal import JournalFailed
from tests.support.core_cases import make_order

GATE = RiskGate(RiskLimits())


def approved(number: int) -> Any:
    return GATE.approve_exit(make_order(cid=f"a-{number}", reduce_only=True), 0)


class Rest:
    """Takes each request once and answers after a while."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.busy = self.most = 0

    async def submit(self, request: Request) -> Outcome:
        self.seen.append(request)
        self.busy += 1
        self.most = max(self.most, self.busy)
        await trio.sleep(1)
        self.busy -= 1
        return Accepted(request=request, venue_id=len(self.seen))


class Socket:
    def __init__(self, room: int) -> None:
        self.room = room
        self.seen: list[Request] = []

    def send(self, request: Request) -> bool:
        if len(self.seen) >= self.room:
            return False
        self.seen.append(request)
        return True


async def test_what_the_socket_does_not_take_goes_by_rest_and_nothing_goes_twice(autojump_clock: Any) -> None:
    outcomes: list[Outcome] = []
    rest, socket = Rest(), Socket(3)
    execution = Execution(rest=rest, socket=socket, deliver=outcomes.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execution.run)
        for number in range(10):
            execution.send(approved(number))
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert [r.cid for r in socket.seen] == ["a-0", "a-1", "a-2"]
    assert sorted(r.cid for r in rest.seen) == [f"a-{n}" for n in range(3, 10)]
    assert sorted(o.request.cid for o in outcomes) == [f"a-{n}" for n in range(3, 10)]
    assert (execution.by_socket, execution.by_rest) == (3, 7)
    assert 1 < rest.most <= 4


async def test_a_full_queue_is_a_refusal_that_says_so_and_entries_stop_before() -> None:
    outcomes: list[Outcome] = []
    execution = Execution(rest=Rest(), socket=None, deliver=outcomes.append)
    sent = 0
    while not execution.full():
        execution.send(approved(sent))
        sent += 1
    assert outcomes == []
    for number in range(3):  # an entry that has left in time finds room for its protection
        execution.send(approved(sent + number))
    assert outcomes == []
    for number in range(100):
        execution.send(approved(1000 + number))
    assert outcomes
    assert all(isinstance(o, Refused) and "full" in o.message for o in outcomes)
    assert execution.by_rest + len(outcomes) == sent + 103
    await trio.lowlevel.checkpoint()


async def test_what_could_not_leave_in_time_never_leaves(autojump_clock: Any) -> None:
    """All workers hang for longer than it takes to prove that an order never arrived."""

    class Hanging(Rest):
        async def submit(self, request: Request) -> Outcome:
            self.seen.append(request)
            await trio.sleep(15)
            return Accepted(request=request, venue_id=1)

    outcomes, rest = list[Outcome](), Hanging()
    execution = Execution(rest=rest, socket=None, deliver=outcomes.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execution.run)
        for number in range(6):
            execution.send(approved(number))
        await trio.sleep(40)
        nursery.cancel_scope.cancel()
    assert sorted(request.cid for request in rest.seen) == [f"a-{number}" for number in range(4)]
    late = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    assert sorted(outcome.request.cid for outcome in late) == ["a-4", "a-5"]
    assert all("within 1 s" in outcome.message for outcome in late)


async def test_an_entry_that_the_disk_has_held_too_long_never_leaves_and_exits_do(autojump_clock: Any) -> None:
    outcomes, socket = list[Outcome](), Socket(100)

    async def synced() -> None:
        await trio.sleep(LEAVES_WITHIN_S + 0.1)

    execution = Execution(rest=Rest(), socket=socket, deliver=outcomes.append, synced=synced)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execution.run)
        execution.send(SimpleNamespace(request=make_order(cid="a-1")))  # type: ignore[arg-type]
        execution.send(approved(2))
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    assert [request.cid for request in socket.seen] == ["a-2"]
    assert [outcome.request.cid for outcome in outcomes] == ["a-1"]


async def test_what_broke_inside_is_not_swallowed(autojump_clock: Any) -> None:
    class Broken(Rest):
        async def submit(self, request: Request) -> Outcome:
            raise ZeroDivisionError

    execution = Execution(rest=Broken(), socket=None, deliver=lambda outcome: None)
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execution.run)
            execution.send(approved(1))
            await trio.sleep(1)


async def test_with_power_durability_nothing_leaves_before_its_intent_is_on_the_disk(autojump_clock: Any) -> None:
    socket, syncs = Socket(100), 0

    async def synced() -> None:
        nonlocal syncs
        assert len(socket.seen) in (0, 5), "nothing has left that was not synced"
        await trio.sleep(0.5)
        syncs += 1

    execution = Execution(rest=Rest(), socket=socket, deliver=lambda outcome: None, synced=synced)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execution.run)
        for number in range(5):
            execution.send(approved(number))
        assert socket.seen == []
        await trio.sleep(0.8)
        assert [request.cid for request in socket.seen] == [f"a-{number}" for number in range(5)]
        execution.send(approved(5))
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    assert len(socket.seen) == 6
    assert syncs == 2, "one sync serves all that wait"


async def test_when_the_disk_fails_no_entry_leaves_and_exits_and_cancels_do(autojump_clock: Any) -> None:
    outcomes: list[Outcome] = []
    socket = Socket(100)

    async def synced() -> None:
        await trio.lowlevel.checkpoint()
        raise JournalFailed("journal: disk full")

    execution = Execution(rest=Rest(), socket=socket, deliver=outcomes.append, synced=synced)
    entry, way_out = make_order(cid="a-1"), make_order(cid="a-2", reduce_only=True)
    cancel = CancelRequest(cid=entry.cid, symbol=entry.symbol)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execution.run)
        for request in (entry, way_out, cancel):
            execution.send(SimpleNamespace(request=request))  # type: ignore[arg-type]
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert socket.seen == [way_out, cancel]
    (refused,) = outcomes
    assert isinstance(refused, Refused)
    assert (refused.request, "disk full" in refused.message) == (entry, True)


async def test_a_full_queue_before_the_disk_is_told_as_not_sent(autojump_clock: Any) -> None:
    outcomes: list[Outcome] = []
    execution = Execution(rest=Rest(), socket=None, deliver=outcomes.append, synced=trio.sleep_forever)
    for number in range(600):
        execution.send(approved(number))
    assert execution.full()
    assert len(outcomes) == 600 - 512
    assert all(isinstance(outcome, Refused) for outcome in outcomes)
    await trio.lowlevel.checkpoint()
