"""The budget against a model of the venue, and bans."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.venue.limits import Limits, Priority, RateLimit

S = 1_000_000_000
MINUTE = 60 * S
T0 = 1_790_000_040 * S  # a full minute
assert T0 % MINUTE == 0


class VenueModel:
    """What the venue counts: weight a minute, orders a minute and ten seconds, in fixed buckets."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, int], int] = {}

    def take(self, now_ns: int, weight: int, orders: int) -> dict[str, int]:
        now = {}
        for name, period, amount in (("w1m", 60, weight), ("o1m", 60, orders), ("o10s", 10, orders)):
            key = (name, now_ns // (period * S))
            self.counts[key] = self.counts.get(key, 0) + amount
            now[name] = self.counts[key]
        return now


@given(
    st.lists(
        st.tuples(
            st.integers(0, 20 * S),
            st.integers(0, 40),
            st.integers(0, 5),
            st.sampled_from(list(Priority)),
            st.booleans(),
        ),
        max_size=200,
    )
)
@settings(max_examples=150, deadline=None)
def test_an_honest_venue_never_counts_more_than_the_share_of_its_limit(calls):
    limits, venue, now = Limits(weight_1m=200, orders_1m=60, orders_10s=15), VenueModel(), T0
    for pause, weight, orders, priority, heavy_neighbour in calls:
        now += pause // 8
        if heavy_neighbour:  # another process on our address; we learn of it by the next header
            used = venue.take(now, 15, 0)
            limits.note_reply(now, now, 200, {"x-mbx-used-weight-1m": str(used["w1m"])})
        wait = limits.try_spend(now, weight=weight, orders=orders, priority=priority)
        if wait:
            assert 0 < wait <= MINUTE
            continue
        used = venue.take(now, weight, orders)
        alone = (used["w1m"] == weight, used["o1m"] == orders, used["o10s"] == orders)
        share = priority.value
        assert weight == 0 or used["w1m"] <= 200 * share or alone[0]
        assert orders == 0 or used["o1m"] <= 60 * share or alone[1]
        assert orders == 0 or used["o10s"] <= 15 * share or alone[2]


def test_the_wait_that_is_told_is_enough_and_not_too_long():
    limits = Limits(weight_1m=100)
    assert limits.try_spend(T0 + 7 * S, weight=50, priority=Priority.BULK) == 0
    wait = limits.try_spend(T0 + 7 * S, weight=1, priority=Priority.BULK)
    assert wait == 53 * S
    assert limits.try_spend(T0 + 7 * S + wait - 1, weight=1, priority=Priority.BULK) == 1
    assert limits.try_spend(T0 + 7 * S + wait, weight=1, priority=Priority.BULK) == 0


def test_bulk_leaves_room_for_reads_and_reads_for_cancels():
    limits = Limits(weight_1m=100)
    for priority, expected in ((Priority.BULK, 50), (Priority.NORMAL, 85), (Priority.URGENT, 98)):
        while limits.try_spend(T0, weight=1, priority=priority) == 0:
            pass
        assert limits.weight_used == expected


def test_a_call_heavier_than_its_share_passes_in_an_empty_bucket_instead_of_never():
    limits = Limits(weight_1m=50)
    assert limits.try_spend(T0, weight=40, priority=Priority.BULK) == 0
    assert limits.try_spend(T0, weight=1, priority=Priority.BULK) > 0


def test_a_small_step_back_of_the_clock_over_a_boundary_does_not_free_the_bucket():
    limits = Limits(weight_1m=100)
    assert limits.try_spend(T0, weight=98, priority=Priority.URGENT) == 0
    assert limits.try_spend(T0 - 1, weight=1, priority=Priority.URGENT) > 0


def test_limits_are_taken_from_the_venue_and_nonsense_is_left():
    limits = Limits()
    limits.configure(
        [
            RateLimit(kind="REQUEST_WEIGHT", interval="MINUTE", number=1, limit=6000),
            RateLimit(kind="ORDERS", interval="SECOND", number=10, limit=2),
            RateLimit(kind="ORDERS", interval="FORTNIGHT", number=1, limit=1),
            RateLimit(kind="RAW_REQUESTS", interval="MINUTE", number=1, limit=1),
            RateLimit(kind="ORDERS", interval="MINUTE", number=1, limit=0),
        ]
    )
    assert limits.weight_limit == 6000
    assert limits.try_spend(T0, orders=1, priority=Priority.NORMAL) == 0
    assert limits.try_spend(T0, orders=1, priority=Priority.NORMAL) == 10 * S
    assert limits.try_spend(T0 + 10 * S, orders=1, priority=Priority.NORMAL) == 0


def test_a_count_from_before_the_boundary_does_not_fill_the_new_bucket():
    limits = Limits()
    limits.note_reply(T0 - 1, T0 + 1, 200, {"x-mbx-used-weight-1m": "2400"})
    assert limits.try_spend(T0 + 1, weight=1) == 0
    limits.note_reply(T0 + 1, T0 + 2, 200, {"x-mbx-used-weight-1m": "2400"})
    assert limits.try_spend(T0 + 2, weight=1, priority=Priority.URGENT) > 0


@pytest.mark.parametrize("text", ["", "-1", "1e3", "nan", "٣", "9" * 40])
def test_a_count_that_is_no_number_is_left(text):
    limits = Limits()
    limits.note_reply(T0, T0, 200, {"x-mbx-used-weight-1m": text})
    assert limits.weight_used == 0


@pytest.mark.parametrize(
    ("status", "headers", "message", "until"),
    [
        (418, {}, f"Way too many requests; IP banned until {(T0 + 300 * S) // 10**6}. Please use", T0 + 300 * S),
        (429, {}, f"Way too many requests; IP banned until {(T0 + 300 * S) // 10**6}.", T0 + 300 * S),
        (429, {"retry-after": "90"}, "", T0 + 90 * S),
        (418, {"retry-after": "7200"}, "", T0 + 7200 * S),
        (429, {}, "Too many requests; current limit is 2400", T0 + MINUTE),
        (418, {}, "", T0 + 120 * S),
        (403, {}, "<html>", T0 + 60 * S),
        (418, {}, "banned until 9999999999999", T0 + 3 * 86400 * S),
    ],
)
def test_no_call_however_urgent_inside_a_ban(status, headers, message, until):
    limits = Limits()
    limits.note_reply(T0, T0, status, headers, message)
    for now in (T0, (T0 + until) // 2, until - 1):
        assert limits.try_spend(now, weight=1, priority=Priority.URGENT) >= until - now
        assert limits.try_spend(now, priority=Priority.URGENT) >= until - now
    assert limits.try_spend(until, weight=1, priority=Priority.URGENT) == 0


def test_bans_without_an_end_grow_and_are_forgiven_by_success():
    limits = Limits()
    for expected in (120, 240, 480):
        limits.note_reply(T0, T0, 418, {})
        assert limits.banned_until_ns == T0 + expected * S
    later = T0 + 500 * S
    limits.note_reply(later, later, 200, {})
    limits.note_reply(later, later, 418, {})
    assert limits.banned_until_ns == later + 120 * S


def test_a_shorter_ban_does_not_lift_a_longer_one():
    limits = Limits()
    limits.note_reply(T0, T0, 418, {"retry-after": "500"})
    limits.note_reply(T0, T0, 429, {"retry-after": "1"})
    assert limits.banned_until_ns == T0 + 500 * S


@pytest.mark.parametrize(("text", "wait"), [("per 10 SECOND", 10 * S), ("per 1 MINUTE", MINUTE), ("", MINUTE)])
def test_too_many_orders_stops_orders_but_not_cancels(text, wait):
    limits = Limits()
    limits.note_reply(T0, T0, 429, {}, f"Too many new orders; current limit is 300 orders {text}.")
    assert limits.try_spend(T0, orders=1, priority=Priority.URGENT) == wait
    assert limits.try_spend(T0, weight=1, priority=Priority.URGENT) == 0
