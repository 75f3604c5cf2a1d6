"""One movement, told by two sources in any order, any number of times, is booked once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.core.movements import Movement, Movements
from tests.support.core_cases import BTC, D

ANY_ORDER = st.permutations([(payment, income) for payment in range(4) for income in (False, True)] * 2)


def told(payment: int = 0, *, income: bool = False, **changes: Any) -> Movement:
    """Payment 0, 1, ...: an hour apart, all of the same amount."""
    fields: dict[str, Any] = {
        "funding": True, "symbol": BTC, "asset": "USDT", "change": D("-0.5"), "income": income,
        "time_ms": payment * 3_600_000 + (1_700 if income else 0), "number": (payment,),
    }  # fmt: skip
    return Movement(**{**fields, **changes})


@given(ANY_ORDER)
def test_each_payment_is_new_once_in_whatever_order_the_sources_tell_it(reports: list[tuple[int, bool]]) -> None:
    movements = Movements()
    new = [payment for payment, income in reports if movements.new(told(payment, income=income))]
    assert sorted(new) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "other",
    [{"funding": False}, {"symbol": None}, {"asset": "BNB"}, {"change": D("0.5")}, {"time_ms": 60_001}],
)
def test_what_differs_in_anything_is_another_movement(other: dict[str, Any]) -> None:
    movements = Movements()
    assert movements.new(told())
    assert movements.new(told(income=True, **other))


def test_one_report_repeats_one_movement_and_not_two() -> None:
    movements = Movements()
    assert movements.new(told(number=(1,)))
    assert not movements.new(told(income=True, number=(1,)))
    assert movements.new(told(income=True, number=(2,))), "a second payment of the same amount at the same time"


def test_the_memory_is_bounded() -> None:
    movements = Movements()
    for number in range(1_500):
        assert movements.new(told(number))
    assert len(movements._numbers) == len(movements._alone) == 1_024
