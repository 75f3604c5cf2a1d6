"""Klines of every interval: aligned, and the same trades in each."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from aegis.exchange.history import INTERVALS, bar_open
from tests.support.whole_exchange import START_NS, Whole, quiet

DAY_MS = 86_400_000
SERVED = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")


@pytest.fixture(scope="module")
def whole():
    whole = Whole.open(quiet())
    whole.run_to(130)
    return whole


def test_every_interval_of_the_venue_is_served():
    assert tuple(INTERVALS) == ("1s", *SERVED)


@pytest.mark.parametrize("interval", SERVED)
def test_bars_of_every_interval_hold_the_same_trades_as_their_minutes(whole, interval):
    """Compared over the minutes that are held; a bar that begins before them is compared from there."""
    minutes = whole.call("GET", "/fapi/v1/klines", symbol="BTCUSDT", interval="1m", limit=1500)
    bars = whole.call("GET", "/fapi/v1/klines", symbol="BTCUSDT", interval=interval, limit=1500)
    ends = [row[6] + 1 for row in bars]
    assert [row[0] for row in bars[1:]] == ends[:-1]
    assert all(row[0] == bar_open(interval, row[0]) == bar_open(interval, row[6]) for row in bars)
    whole_ones = [row for row in bars if row[0] >= minutes[0][0]]
    for opened, o, high, low, c, volume, closes, quote, count, *_ in whole_ones:
        own = [row for row in minutes if opened <= row[0] <= closes]
        assert (o, c) == (own[0][1], own[-1][4])
        assert Decimal(high) == max(Decimal(row[2]) for row in own)
        assert Decimal(low) == min(Decimal(row[3]) for row in own)
        assert Decimal(volume) == sum(Decimal(row[5]) for row in own)
        assert Decimal(quote) == sum(Decimal(row[7]) for row in own)
        assert count == sum(row[8] for row in own)
    assert bars[-1][4] == minutes[-1][4]
    assert bars[-1][0] <= START_NS // 10**6 + 130_000 <= bars[-1][6]


@pytest.mark.parametrize("interval", SERVED)
def test_every_interval_streams_the_bar_that_rest_gives(whole, interval):
    ear = whole.listen(f"btcusdt@kline_{interval}")
    whole.run_to((whole.now_ns - START_NS) / 1e9 + 5)
    bar = [row["k"] for _, row in ear.heard()][-1]
    row = whole.call("GET", "/fapi/v1/klines", symbol="BTCUSDT", interval=interval, limit=1)[0]
    assert [bar["t"], bar["o"], bar["h"], bar["T"], bar["i"]] == [row[0], row[1], row[2], row[6], interval]


@pytest.mark.parametrize("ms", [0, START_NS // 10**6, 1_772_323_199_999, 1_772_323_200_000])
def test_weeks_begin_on_monday_and_months_on_their_first_day(ms):
    week, month = (datetime.fromtimestamp(bar_open(name, ms) / 1000, UTC) for name in ("1w", "1M"))
    now = datetime.fromtimestamp(ms / 1000, UTC)
    assert (week.weekday(), week.hour, week.minute) == (0, 0, 0)
    assert 0 <= (now - week).days < 7
    assert (month.year, month.month, month.day, month.hour) == (now.year, now.month, 1, 0)
