"""Handles of the fixed pools."""

from __future__ import annotations

import pytest

from aegis.core.errors import InvariantBroken
from aegis.core.pool import POOL_ROWS, SIGNAL, Pool, PoolExhausted


def test_a_row_comes_back_blank_and_writable() -> None:
    pool = Pool("signal", SIGNAL, 1)
    first = pool.acquire()
    pool.row(first)["entry"] = 5.0
    assert pool.rows[pool.slot(first)]["entry"] == 5.0
    pool.release(first)
    assert pool.row(pool.acquire())["entry"] == 0.0


def test_stale_doubly_released_and_foreign_handles_raise() -> None:
    pool = Pool("signal", SIGNAL, 2)
    handle = pool.acquire()
    pool.release(handle)
    for bad in (handle, pool.acquire() + 1, 0, 10**6, -1):
        with pytest.raises(InvariantBroken, match="signal"):
            pool.release(bad)


def test_a_handle_of_an_earlier_tenancy_is_stale() -> None:
    pool = Pool("signal", SIGNAL, 1)
    old = pool.acquire()
    pool.release(old)
    new = pool.acquire()
    assert new != old
    with pytest.raises(InvariantBroken):
        pool.row(old)


def test_a_full_pool_refuses_and_counts() -> None:
    pool = Pool("candle", SIGNAL, 2)
    pool.acquire()
    pool.acquire()
    with pytest.raises(PoolExhausted, match="candle"):
        pool.acquire()
    assert pool.report().refused == 1


def test_report_names_the_oldest_leaks() -> None:
    pool = Pool("signal", SIGNAL)
    assert len(pool.rows) == POOL_ROWS
    handles = [pool.acquire() for _ in range(4)]
    pool.release(handles[0])
    again = pool.acquire()
    report = pool.report(oldest=2)
    assert report.oldest == (handles[1], handles[2])
    assert (report.live, report.peak, report.acquired) == (4, 4, 5)
    assert again in pool.report().oldest


@pytest.mark.parametrize("capacity", [0, (1 << 24) + 1])
def test_capacity_must_fit_a_handle(capacity: int) -> None:
    with pytest.raises(ValueError, match="capacity"):
        Pool("signal", SIGNAL, capacity)
