"""Names of timeframes."""

from __future__ import annotations

import pytest

from aegis.signals.timeframes import parse_timeframe, timeframe_name


@pytest.mark.parametrize(
    ("name", "ms"), [("1s", 1_000), ("5s", 5_000), ("1m", 60_000), ("4h", 14_400_000), ("1d", 86_400_000)]
)
def test_a_name_and_its_milliseconds_go_both_ways(name: str, ms: int) -> None:
    assert parse_timeframe(name) == ms
    assert timeframe_name(ms) == name


@pytest.mark.parametrize("wrong", ["", "m", "0m", "-1m", "1", "1w", "1M", "1.5m", " 1m", "01m", "1m\n", "9999999s"])
def test_what_is_no_timeframe_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="timeframe"):
        parse_timeframe(wrong)


@pytest.mark.parametrize("wrong", [0, -1_000, 1_500, 999])
def test_a_length_without_a_name_is_refused(wrong: int) -> None:
    with pytest.raises(ValueError, match="whole number of seconds"):
        timeframe_name(wrong)


def test_the_largest_unit_names_a_length() -> None:
    assert timeframe_name(parse_timeframe("60s")) == "1m"
