"""The tape's memory: bars equal a plain fold of the trades, and the past joins the present without a seam."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.core.errors import ConfigError
from aegis.exchange.books import Books
from aegis.exchange.history import INTERVALS, History, Past
from aegis.exchange.listing import synthetic_listings
from aegis.exchange.synthetic import SyntheticSource
from aegis.kernels.books import PUBLIC, TRADE
from aegis.kernels.history import TAPE_BAR

START_MS = 1_790_000_040_000  # a whole minute
NS = 1_000_000
LISTINGS = synthetic_listings(4, 1, START_MS)


def record(at_ms, price, qty, side=1, symbol=0, number=0):
    row = np.zeros(1, PUBLIC)
    row["time_ns"], row["kind"], row["symbol"] = (START_MS + at_ms) * NS, TRADE, symbol
    row["price"], row["qty"], row["side"], row["id"], row["agg_id"] = price, qty, side, number, number
    return row


def plain_fold(trades, length, last_ms, listing):
    """Rows of `klines` by a dictionary and decimals; trades are (at_ms, price, qty, side)."""
    rows, close = [], listing.price(listing.start_ticks)
    for opened in range(START_MS // length * length, last_ms + 1, length):
        mine = [t for t in trades if opened <= START_MS + t[0] < opened + length]
        prices = [listing.price(t[1]) for t in mine] or [close]
        sizes = [listing.quantity(t[2]) for t in mine]
        buys = [t[3] > 0 for t in mine]
        amounts = [price * size for price, size in zip(prices, sizes, strict=False)]
        close = prices[-1]
        rows.append((
            opened, prices[0], max(prices), min(prices), close, sum(sizes), opened + length - 1, sum(amounts),
            len(mine),
            sum(size for size, buy in zip(sizes, buys, strict=True) if buy),
            sum(amount for amount, buy in zip(amounts, buys, strict=True) if buy),
        ))  # fmt: skip
    return rows


def decimals(rows):
    return [(r[0], *map(Decimal, r[1:6]), r[6], Decimal(r[7]), r[8], Decimal(r[9]), Decimal(r[10])) for r in rows]


tape = st.lists(
    st.tuples(st.integers(0, 130_000), st.integers(1, 10**6), st.integers(1, 10**7), st.sampled_from([1, -1])),
    max_size=60,
)


@settings(max_examples=80, deadline=None)
@given(tape, st.sampled_from(["1s", "1m", "3m", "5m", "1h"]), st.integers(1, 7), st.integers(0, 2))
def test_bars_equal_a_plain_fold_of_the_trades(trades, interval, pieces, symbol):
    trades = sorted(trades, key=lambda t: t[0])
    history = History(LISTINGS, None, START_MS)
    end_ms = START_MS + 130_000
    for k in range(pieces):
        part = trades[k * len(trades) // pieces : (k + 1) * len(trades) // pieces]
        rows = [record(at, price, qty, side, symbol) for at, price, qty, side in part]
        now = START_MS + part[-1][0] if part else START_MS
        history.apply(np.concatenate([np.zeros(0, PUBLIC), *rows]), now * NS)
    history.apply(np.zeros(0, PUBLIC), end_ms * NS)
    length = INTERVALS[interval]
    rows = history.klines(symbol, interval, limit=1500)
    expected = plain_fold(trades, length, end_ms, LISTINGS[symbol])
    if START_MS % length and len(expected) > 1:  # the bar in which memory begins is served only in need
        expected = expected[1:]
    assert decimals(rows) == expected


def test_rows_are_binances_exact_texts():
    history = History(LISTINGS, None, START_MS)
    btc = LISTINGS[0]
    history.apply(np.concatenate([record(10, 967_801, 12), record(20, 967_799, 3, -1)]), (START_MS + 30) * NS)
    assert (btc.price_text(967_801), btc.quantity_text(12)) == ("96780.10", "0.012")
    assert history.klines(0, "1m") == [
        [START_MS, "96780.10", "96780.10", "96779.90", "96779.90", "0.015", START_MS + 59_999, "1451.70090", 2, "0.012",
         "1161.36120", "0"],
    ]  # fmt: skip


def test_an_empty_bar_repeats_the_close_with_no_volume_up_to_the_bar_in_progress():
    history = History(LISTINGS, None, START_MS)
    history.apply(record(500, 777, 5), (START_MS + 3_700) * NS)
    rows = history.klines(0, "1s")
    assert [row[0] for row in rows] == [START_MS + k * 1000 for k in range(4)]
    for row in rows[1:]:
        assert row[1] == row[2] == row[3] == row[4] == LISTINGS[0].price_text(777)
        assert (Decimal(row[5]), row[8]) == (0, 0)
    assert history.klines(0, "1s", end_ms=START_MS + 2_999)[-1][0] == START_MS + 2_000


def test_start_end_and_limit_choose_by_open_time():
    history = History(LISTINGS, None, START_MS)
    history.apply(np.zeros(0, PUBLIC), (START_MS + 10_500) * NS)

    def opened(**options):
        return [(row[0] - START_MS) // 1000 for row in history.klines(0, "1s", **options)]

    assert opened() == list(range(11))
    assert opened(limit=3) == [8, 9, 10]
    assert opened(start_ms=START_MS + 4_000, limit=3) == [4, 5, 6]
    assert opened(start_ms=START_MS + 4_001, limit=3) == [5, 6, 7]
    assert opened(start_ms=START_MS + 4_000, end_ms=START_MS + 5_000) == [4, 5]
    assert opened(end_ms=START_MS + 5_999, limit=2) == [4, 5]
    assert opened(start_ms=START_MS + 60_000) == []
    assert opened(start_ms=START_MS + 5_000, end_ms=START_MS + 4_000) == []
    with pytest.raises(KeyError):
        history.klines(0, "7m")


def test_rings_forget_the_oldest_and_keep_the_rest_right():
    history = History(LISTINGS, None, START_MS, seconds=20, minutes=5)
    for second in range(50):
        if second % 7 == 0:
            history.apply(record(second * 1000, 1000 + second, 1), (START_MS + second * 1000) * NS)
    rows = history.klines(0, "1s", limit=1000)
    assert [(row[0] - START_MS) // 1000 for row in rows] == list(range(30, 50))
    assert [row[4] for row in rows] == [LISTINGS[0].price_text(1000 + second // 7 * 7) for second in range(30, 50)]


def test_a_silence_longer_than_the_ring_leaves_flat_bars():
    history = History(LISTINGS, None, START_MS, seconds=20, minutes=5)
    history.apply(record(0, 555, 9), START_MS * NS)
    history.apply(np.zeros(0, PUBLIC), (START_MS + 500_000) * NS)
    rows = history.klines(0, "1s", limit=1000)
    assert len(rows) == 20
    assert {row[4] for row in rows} == {LISTINGS[0].price_text(555)}
    assert {row[8] for row in rows} == {0}


# ----------------------------------------------------------------------------------------------------------- the past


@pytest.fixture(scope="module", params=[0, 37_500])
def opened(request):
    """(history, source, books) of a market that opens on a whole minute, or inside one."""
    start_ms = START_MS + request.param
    listings = synthetic_listings(4, 1, start_ms)[:4]
    source = SyntheticSource(listings, seed=5, start_ns=start_ms * NS)
    history = History(listings, source.history(), start_ms)
    return history, source, Books(listings, source, start_ns=start_ms * NS)


def test_the_past_ends_where_the_market_opens(opened):
    history, _, books = opened
    for symbol, listing in enumerate(books.listings):
        whole = [row for row in history.klines(symbol, "1s", limit=1500) if row[6] < history.now_ms]
        assert whole[-1][6] == history.now_ms // 1000 * 1000 - 1
        assert listing.ticks(Decimal(whole[-1][4])) == books.last[symbol] == books.bid[symbol]


def test_there_are_enough_bars_and_none_is_missing(opened):
    history, _, books = opened
    for symbol in range(len(books.listings)):
        seconds = history.klines(symbol, "1s", limit=10_000)
        minutes = history.klines(symbol, "1m", limit=10_000)
        assert len(seconds) >= 3_600
        assert len(minutes) >= 3_000
        assert {b[0] - a[0] for a, b in pairwise(seconds)} == {1_000}
        assert {b[0] - a[0] for a, b in pairwise(minutes)} == {60_000}


def test_minutes_equal_their_seconds(opened):
    history, _, books = opened
    for symbol in range(len(books.listings)):
        seconds = decimals(history.klines(symbol, "1s", limit=10_000))
        minutes = {row[0]: row for row in decimals(history.klines(symbol, "1m", limit=10_000))}
        groups = {}
        for row in seconds:
            groups.setdefault(row[0] // 60_000 * 60_000, []).append(row)
        assert len(groups) >= 60
        for opened_ms, group in groups.items():
            minute = minutes[opened_ms]
            traded = [row for row in group if row[8]] or group[:1]
            assert minute[1] == traded[0][1]
            assert minute[2] == max(row[2] for row in traded)
            assert minute[3] == min(row[3] for row in traded)
            assert minute[4] == group[-1][4]
            for column in (5, 7, 8, 9, 10):
                assert minute[column] == sum(row[column] for row in group)


def test_bars_of_the_past_are_possible(opened):
    history, _, books = opened
    for symbol in range(len(books.listings)):
        for interval in ("1s", "1m", "1h"):
            previous = None
            for row in decimals(history.klines(symbol, interval, limit=10_000)):
                _, opening, high, low, close, volume, _, quote, count, buys, buy_quote = row
                assert low <= min(opening, close) <= max(opening, close) <= high
                assert low * volume <= quote <= high * volume
                assert 0 <= buys <= volume
                assert buy_quote <= quote
                assert (volume == 0) == (count == 0)
                if count == 0 and previous is not None:
                    assert opening == high == low == close == previous
                previous = close


def test_the_past_moves_like_the_present(opened):
    history, source, _ = opened
    closes = np.log([float(row[4]) for row in history.klines(0, "1m", limit=3_000)])
    live = source.events(history.now_ms * NS + 1800 * 10**9)
    quotes = live[(live["symbol"] == 0) & (live["bid"] > 0)]
    k = np.searchsorted(quotes["time_ns"], history.now_ms * NS + np.arange(0, 1800, 60) * 10**9, side="right") - 1
    assert np.diff(closes).std() == pytest.approx(np.diff(np.log(quotes["bid"][k])).std(), rel=0.5)
    jump = abs(np.diff(closes)).max()
    assert jump < 0.03


def test_the_past_is_one_of_its_seed():
    pasts = [SyntheticSource(LISTINGS, seed=seed, start_ns=START_MS * NS).history() for seed in (5, 5, 6)]
    np.testing.assert_array_equal(pasts[0].seconds, pasts[1].seconds)
    np.testing.assert_array_equal(pasts[0].minutes, pasts[1].minutes)
    assert not np.array_equal(pasts[0].minutes, pasts[2].minutes)
    fewer = SyntheticSource(LISTINGS[:2], seed=5, start_ns=START_MS * NS).history()
    np.testing.assert_array_equal(fewer.seconds, pasts[0].seconds[:2])


def test_a_day_of_volume_is_there_for_a_universe_filter(opened):
    history, _, books = opened
    tickers = [history.ticker_24hr(symbol, int(books.trade_id[symbol])) for symbol in range(len(books.listings))]
    volumes = [Decimal(ticker["quoteVolume"]) for ticker in tickers]
    assert volumes[0] == max(volumes)
    assert volumes[0] > 10**8
    rows = decimals(history.klines(0, "1m", limit=1440))
    assert volumes[0] == sum(row[7] for row in rows)
    assert Decimal(tickers[0]["highPrice"]) == max(row[2] for row in rows)
    assert Decimal(tickers[0]["openPrice"]) == rows[0][1]
    assert Decimal(tickers[0]["lastPrice"]) == rows[-1][4]
    assert Decimal(tickers[0]["priceChange"]) == rows[-1][4] - rows[0][1]
    assert tickers[0]["count"] == sum(row[8] for row in rows)


# ------------------------------------------------------------------------------------------------- trades, state


def test_aggregated_trades_are_found_by_id_and_time():
    history = History(LISTINGS, None, START_MS, trades=50)
    rows = [record(k * 10, 100 + k, 1 + k, -1 if k % 2 else 1, k % 3, number=k) for k in range(90)]
    history.apply(np.concatenate(rows), (START_MS + 1000) * NS)
    mine = [k for k in range(40, 90) if k % 3 == 0]
    assert [row["a"] for row in history.agg_trades(0)] == mine
    assert [row["a"] for row in history.agg_trades(0, limit=3)] == mine[-3:]
    assert [row["a"] for row in history.agg_trades(0, from_id=60, limit=2)] == [60, 63]
    by_time = history.agg_trades(0, start_ms=START_MS + 600, end_ms=START_MS + 660)
    assert [row["a"] for row in by_time] == [60, 63, 66]
    assert by_time[0] == {
        "a": 60, "p": LISTINGS[0].price_text(160), "q": LISTINGS[0].quantity_text(61),
        "nq": LISTINGS[0].quantity_text(61), "f": 60, "l": 60, "T": START_MS + 600, "m": False,
    }  # fmt: skip


def test_a_restored_history_answers_the_same_and_goes_on():
    history = History(LISTINGS, None, START_MS, seconds=30, minutes=10, trades=20)
    for second in range(45):
        history.apply(record(second * 1000, 500 + second, 2, number=second), (START_MS + second * 1000) * NS)
    state = history.snapshot()
    other = History(LISTINGS, None, START_MS, seconds=30, minutes=10, trades=20)
    other.restore(state)
    for one in (history, other):
        one.apply(record(46_000, 900, 3, number=99), (START_MS + 46_500) * NS)
    for interval in ("1s", "1m"):
        assert history.klines(0, interval) == other.klines(0, interval)
    assert history.agg_trades(0) == other.agg_trades(0)
    assert other.agg_trades(0)[-1]["a"] == 99


@pytest.mark.parametrize("lived_s", [0, 45, 4_000])
def test_a_saved_history_is_what_came_after_the_start_and_the_past_is_made_again(lived_s):
    def opened_anew():
        source = SyntheticSource(LISTINGS, seed=5, start_ns=START_MS * NS)
        return History(LISTINGS, source.history(), START_MS)

    history, other = opened_anew(), opened_anew()
    for second in range(0, lived_s, 7):
        history.apply(record(second * 1000, 500 + second, 2, number=second), (START_MS + second * 1000) * NS)
    before = {(s, i): history.klines(s, i, limit=1_500) for s in range(len(LISTINGS)) for i in ("1s", "1m", "5m")}
    state = history.snapshot()
    assert sum(array.nbytes for array in state.values()) < 10_000 + (lived_s + 2) * len(LISTINGS) * 60
    other.restore(state)
    for (symbol, interval), rows in before.items():
        assert other.klines(symbol, interval, limit=1_500) == rows
    assert len(other.klines(0, "1s", limit=10_000)) >= 3_100


def test_a_history_refuses_what_was_saved_of_another():
    history = History(LISTINGS, None, START_MS, seconds=30, minutes=10, trades=20)
    history.apply(np.concatenate([record(k, 100, 1, number=k) for k in range(25)]), (START_MS + 30) * NS)
    state = history.snapshot()
    others = ((LISTINGS[:2], START_MS, 20), (LISTINGS, START_MS + 1, 20), (LISTINGS, START_MS, 10))
    for listings, start_ms, trades in others:
        with pytest.raises(ConfigError, match="other symbols"):
            History(listings, None, start_ms, seconds=30, minutes=10, trades=trades).restore(state)


def test_a_past_longer_than_the_ring_keeps_its_newest_part():
    seconds = np.zeros((1, 120), TAPE_BAR)
    for name in ("open", "high", "low", "close"):
        seconds[name] = np.arange(120)
    past = Past(start_ms=START_MS, seconds=seconds, minutes=np.zeros((1, 0), TAPE_BAR))
    history = History(LISTINGS[:1], past, START_MS, seconds=31, minutes=5)
    rows = history.klines(0, "1s", limit=100)
    assert [row[4] for row in rows[:-1]] == [LISTINGS[0].price_text(k) for k in range(90, 120)]
