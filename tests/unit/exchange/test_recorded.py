"""Recorded frames as a market: order, clocks, precision, and what cannot be used is counted."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.core.errors import ConfigError
from aegis.core.filters import SymbolSpec
from aegis.exchange.books import Books
from aegis.exchange.history import History
from aegis.exchange.lines import chunk_of
from aegis.exchange.recorded import RecordedSource, listing_from_frames, listing_from_spec
from aegis.kernels.books import MARK, QUOTE, TRADE

RECORDING = Path(__file__).parents[4] / "shared" / "data" / "binance-usdm-btcusdt-20240808.gz"
VENUE_MS = 1_723_161_256_000
SKEW_MS = 1_270  # the recorder's clock is behind
MS = 1_000_000


def line(at_ms, data, *, delay_ms=5, stream="btcusdt@x"):
    payload = {"stream": stream, "data": data} if stream else data
    return b"%d %s" % ((VENUE_MS - SKEW_MS + at_ms + delay_ms) * MS, msgspec.json.encode(payload))


def quote(at_ms, update, bid="61800.00", ask="61800.10", symbol="BTCUSDT", **options):
    data = {"e": "bookTicker", "u": update, "s": symbol, "b": bid, "B": "1.500", "a": ask, "A": "0.250",
            "T": VENUE_MS + at_ms, "E": VENUE_MS + at_ms}  # fmt: skip
    return line(at_ms, data, **options)


def trade(at_ms, price="61800.10", qty="0.014", *, maker=False, kind="trade", **more):
    data = {"e": kind, "E": VENUE_MS + at_ms, "T": VENUE_MS + at_ms, "s": "BTCUSDT", "t": at_ms, "p": price, "q": qty,
            "m": maker, **more}  # fmt: skip
    return line(at_ms, data)


def mark(at_ms, price="61799.12345678", index="61790.00000001"):
    return line(at_ms, {"e": "markPriceUpdate", "E": VENUE_MS + at_ms, "s": "BTCUSDT", "p": price, "i": index})


LINES = [quote(0, 1), trade(10), quote(20, 2, "61800.10", "61800.20")]
LISTINGS = listing_from_frames([*LINES, quote(21, 3, "61799.90", "61800.20")])


def source_of(lines, listings, *, at_once=7, **options):
    """A source that gets its lines in several chunks."""
    parts = [lines[k : k + at_once] for k in range(0, len(lines), at_once)]
    return RecordedSource(map(chunk_of, parts), lines, listings, **options)


def read(lines, listings=LISTINGS, **options):
    source = source_of(lines, listings, **options)
    return source, source.events(2**62)


def test_events_have_the_venues_time_whatever_the_recorders_clock():
    source, events = read([quote(0, 1, delay_ms=7), quote(100, 2, delay_ms=3), quote(200, 3, delay_ms=90)])
    assert source.offset_ns == (SKEW_MS - 3) * MS
    quotes = events[events["kind"] == QUOTE]
    assert ((quotes["time_ns"] // MS) - VENUE_MS).tolist() == [4, 100, 287]
    assert source.start_ns == quotes["time_ns"][0]


def test_texts_become_exact_ticks_and_steps():
    _, events = read(LINES)
    first, last = (events[events["kind"] == kind][0] for kind in (QUOTE, TRADE))
    assert (first["bid"], first["ask"], first["bid_qty"], first["ask_qty"]) == (618_000, 618_001, 1500, 250)
    assert (last["price"], last["qty"], last["side"]) == (618_001, 14, 1)


def test_prints_of_one_millisecond_and_side_are_one_order():
    _, events = read([quote(0, 1), trade(10), trade(10), trade(10, maker=True), trade(11, maker=True)])
    assert events["order"][events["kind"] == TRADE].tolist() == [1, 1, 2, 3]
    assert events["side"][events["kind"] == TRADE].tolist() == [1, 1, -1, -1]


def test_one_source_of_prints_is_used_and_only_market_trades():
    lines = [quote(0, 1), trade(10, X="MARKET"), trade(11, X="NA"), trade(12, kind="aggTrade"), trade(13)]
    source, events = read(lines)
    assert (events["kind"] == TRADE).sum() == source.counts["trade"] == 2
    assert source.counts["other"] == 2
    source, _ = read(lines, trades="aggTrade")
    assert (source.counts["aggTrade"], source.counts["other"]) == (1, 3)


def test_an_older_update_never_replaces_a_newer_quote():
    source, events = read([quote(0, 5), quote(1, 4), quote(2, 5), quote(3, 6)])
    assert (events["kind"] == QUOTE).sum() == 2
    assert source.counts["old"] == 2


def test_without_a_mark_it_follows_the_smoothed_mid_once_a_second():
    lines = [
        quote(0, 1, "61800.00", "61800.10"),
        quote(500, 2, "61900.00", "61900.10"),
        quote(20_500, 3, "1.00", "1.10"),
    ]
    _, events = read(lines)
    marks = events[events["kind"] == MARK]
    assert marks["time_ns"][0] == events["time_ns"][0]
    assert (marks["time_ns"][1:] % 1_000_000_000 == 0).all()
    assert len(marks) == 21
    assert marks["mark_e8"][0] == 6_180_005_000_000
    gap = 6_190_005_000_000 - marks["mark_e8"]
    assert (np.diff(gap) < 0).all()
    assert gap[-1] == pytest.approx(100 * 10**8 * 0.9**20, rel=1e-6)


def test_a_recorded_mark_ends_the_made_up_one():
    _, events = read([mark(0), quote(1, 1), quote(5_000, 2)])
    marks = events[events["kind"] == MARK]
    assert marks[["mark_e8", "index_e8"]].tolist() == [(6_179_912_345_678, 6_179_000_000_001)]


def test_raw_frames_and_arrays_are_read_too():
    array = [msgspec.json.decode(mark(k).partition(b" ")[2])["data"] for k in range(2)]
    _, events = read([quote(0, 1, stream=None), line(1, array, stream=None), line(2, array, stream="!markPrice@arr")])
    assert (events["kind"] == MARK).sum() == 5


BAD = [
    b"", b"hello", b"123", b"123 {", b"-5 {}", b"99999999999999999999999 {}", b"1 \xff\xfe", b"1 " + b"[" * 5000,
    quote(1, 2, bid="NaN"), quote(1, 2, bid="1e400"), quote(1, 2, bid="-5.0"), quote(1, 2, bid="9" * 30),
    quote(1, 2, bid="61800.00", ask="61800.00"), quote(1, 2, bid="61800.05"), quote(1, 2, bid=61800.0), quote(1, "x"),
    quote(1, 2, bid="0.00"), quote(1, 2, bid="٣"), quote(1, 2, symbol=["BTCUSDT"]),
    trade(1, qty="0"), trade(1, qty="0.0001"), trade(1, price=""), trade(1, maker="yes"),
    mark(1, price="-1"), mark(1, price=None), line(1, [1, {"e": "bookTicker"}]),
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_a_bad_line_is_counted_and_changes_nothing(bad):
    source, events = read([quote(0, 1), bad, quote(3, 3)])
    _, clean = read([quote(0, 1), quote(3, 3)])
    np.testing.assert_array_equal(events, clean)
    assert source.counts["malformed"] == 1
    assert source.counts["bookTicker"] == 2


def test_what_is_not_for_us_is_counted_apart():
    lines = [quote(0, 1), line(1, {"lastUpdateId": 5}), line(2, {"e": "depthUpdate"}), quote(3, 1, symbol="ETHUSDT")]
    source, _ = read(lines)
    assert source.counts == {"bookTicker": 1, "ignored": 2, "unlisted": 1}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=80) | st.sampled_from(BAD), max_size=10))
def test_any_bytes_are_survived_and_counted(lines):
    source, _ = read([quote(0, 1), *lines])
    assert source.counts.total() >= len(lines) + 1
    assert source.exhausted


def test_a_recording_without_event_times_is_refused():
    with pytest.raises(ConfigError, match="event time"):
        source_of([b"garbage", line(0, {"a": 1})], LISTINGS)
    with pytest.raises(ConfigError, match="no bookTicker"):
        listing_from_frames([b"garbage"])


def test_a_restored_source_goes_on_where_it_was():
    lines = [quote(k * 100, k + 1, f"{61_800 + k}.00", f"{61_800 + k}.10") for k in range(50)]
    whole, part = source_of(lines, LISTINGS), source_of(lines, LISTINGS)
    middle = (VENUE_MS + 2_450) * MS
    whole.events(middle)
    part.events(middle)
    resumed = source_of(lines, LISTINGS)
    resumed.restore(part.snapshot())
    np.testing.assert_array_equal(whole.events(2**62), resumed.events(2**62))
    with pytest.raises(ConfigError, match="shorter"):
        source_of(lines[:3], LISTINGS).restore(part.snapshot())


def test_listings_have_the_precision_that_the_texts_show():
    assert len(LISTINGS) == 1
    listing = LISTINGS[0]
    assert (listing.symbol, listing.tick, listing.step) == ("BTCUSDT", Decimal("0.1"), Decimal("0.001"))
    assert listing.price_text(618_001) == "61800.10"
    assert listing.quantity_text(14) == "0.014"


def test_known_trading_rules_are_taken_over():
    rules = {name: Decimal("0.5") for name in ("min_price", "min_qty", "market_step", "market_min_qty")}
    spec = SymbolSpec(
        symbol="ABCUSDT", base="ABC", quote="USDT", margin="USDT", contract_type="PERPETUAL", status="TRADING",
        underlying_type="COIN", onboard_ms=5, delivery_ms=6, tick=Decimal("0.05"), step=Decimal("0.5"),
        max_price=Decimal(1000), max_qty=Decimal(700), market_max_qty=Decimal(70), min_notional=Decimal(7),
        multiplier_up=Decimal("1.2"), multiplier_down=Decimal("0.8"), trigger_protect=Decimal("0.1"),
        liquidation_fee=Decimal("0.02"), **rules,
    )  # fmt: skip
    listing = listing_from_spec(spec, 3, Decimal("12.35"))
    assert (listing.index, listing.tick_units, listing.price_text(247)) == (3, 5, "12.35")
    for name in ("symbol", "tick", "step", "max_qty", "market_max_qty", "min_notional", "multiplier_up", "onboard_ms"):
        assert getattr(listing, name) == getattr(spec, name)


@pytest.mark.skipif(not RECORDING.exists(), reason="the shared recording is not here")
def test_a_real_recording_is_accounted_for_to_the_last_line():
    with gzip.open(RECORDING) as file:
        listings = listing_from_frames(file)
    volume, lines = Decimal(0), 0
    with gzip.open(RECORDING) as file:
        for text in file:
            lines += 1
            data = msgspec.json.decode(text.partition(b" ")[2]).get("data", {})
            if data.get("e") == "trade" and data["X"] == "MARKET":
                volume += Decimal(data["q"])
    with gzip.open(RECORDING) as file:
        source = source_of(file.read().splitlines(), listings, at_once=5_000)
        books = Books(listings, source, start_ns=source.start_ns)
        history = History(listings, None, source.start_ns // MS)
        records = []
        while not source.exhausted:
            assert books.advance(books.now_ns + 250 * MS) == -1
            records.append(books.published())
            history.apply(records[-1], books.now_ns)
    assert source.counts == {"bookTicker": 66_089, "trade": 21_313, "ignored": 6_552}
    assert source.counts.total() == lines == 93_954
    everything = np.concatenate(records)
    assert (everything["kind"] == TRADE).sum() == 21_313
    assert (everything["kind"] == QUOTE).sum() <= 66_089
    assert sum(Decimal(row[5]) for row in history.klines(0, "1s", limit=1500)) == volume
    assert -1_300 * MS < -source.offset_ns < -1_200 * MS
