"""The pool against a dictionary."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aegis.core.errors import InvariantBroken
from aegis.core.pool import SIGNAL, Pool, PoolExhausted


class PoolMachine(RuleBasedStateMachine):
    """A pool of three rows beside a dict of what was written to each live handle."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool("signal", SIGNAL, 3)
        self.live: dict[int, int] = {}
        self.dead: list[int] = []

    @rule(value=st.integers(1, 10**9))
    def acquire(self, value: int) -> None:
        if len(self.live) == 3:
            with pytest.raises(PoolExhausted):
                self.pool.acquire()
            return
        handle = self.pool.acquire()
        assert handle not in self.live
        assert handle not in self.dead
        assert self.pool.row(handle)["zone"] == 0
        self.pool.row(handle)["zone"] = value
        self.live[handle] = value

    @rule(pick=st.integers(0, 2))
    def release(self, pick: int) -> None:
        if self.live:
            handle = sorted(self.live)[pick % len(self.live)]
            self.pool.release(handle)
            del self.live[handle]
            self.dead.append(handle)

    @rule(pick=st.integers(0, 100))
    def touch_a_dead_handle(self, pick: int) -> None:
        if self.dead:
            with pytest.raises(InvariantBroken):
                self.pool.release(self.dead[pick % len(self.dead)])

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert self.pool.live() == len(self.live)
        assert set(self.pool.report().oldest) == set(self.live)
        for handle, value in self.live.items():
            assert self.pool.row(handle)["zone"] == value


TestPool = PoolMachine.TestCase
