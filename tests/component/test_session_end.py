"""The end of a session on the virtual clock: what the venue can still tell is waited for, and no longer than that."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from aegis.core.errors import VenueUnavailable
from aegis.runtime.supervise import Phase
from tests.component.test_session import Stage, drain_at, make_stage
from tests.support.engine_rig import SECOND, Rig, take_signal


async def enter_and_stop(stage: Stage) -> None:
    """An entry leaves, and the run is to stop before anybody has heard of it."""
    await trio.sleep(3)
    machine = stage.session.machine
    machine.on_reseed = lambda symbols: None  # the rig brings the history
    rig = Rig(machine, stage.notes, stage.tape, [], [], now_ns=stage.desk.clock.venue_ns() - 2 * SECOND)
    take_signal(rig)
    stage.lifecycle.advance(Phase.DRAINING, "signal SIGTERM")


async def test_a_run_does_not_end_before_it_is_proven_that_an_order_never_arrived(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_stage(autojump_clock, monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(enter_and_stop, stage)
        await stage.run()
    desk = stage.session.machine.decision.desk
    assert stage.session.failure == ""
    assert stage.said == ["waiting up to 32 s for the venue: order 1-1 on BTCUSDT is of unknown fate"]
    assert list(desk.store.open()) == []
    assert stage.notes.of("state")[-2]["to"] == "ABORTED"
    proof_s = desk.absence.proof_ns / 1e9
    assert 3 + proof_s <= stage.events[-1][1] <= 3 + proof_s + 3


async def test_a_run_that_must_end_without_the_answer_says_what_is_not_known(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_stage(autojump_clock, monkeypatch)
    stage.desk.faults = [VenueUnavailable("503") for _ in range(1_000)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(enter_and_stop, stage)
        await stage.run()
    assert stage.session.failure == "not settled within 32 s: order 1-1 on BTCUSDT is of unknown fate"
    assert stage.events[-1][1] == pytest.approx(3 + 32, abs=1)


async def test_the_venue_is_asked_until_the_account_is_settled(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_stage(autojump_clock, monkeypatch)
    stage.settling_s = 150.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain_at, stage, 1.0)
        await stage.run()
    assert stage.desk.asked["positions"] == 3
