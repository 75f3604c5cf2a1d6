"""Streams by the clock: a book built from depth diffs is the book, bars close once, tickers add up."""

from __future__ import annotations

import json
import random
from decimal import Decimal

import pytest

from aegis.exchange.frames import depth_snapshot
from aegis.exchange.subscriptions import parse_stream
from aegis.exchange.timed_streams import TimedStream
from tests.support.exchange_rig import MS, make_rig

D = Decimal


def stream_of(rig, name, symbol=0):
    return TimedStream(parse_stream(name), symbol, rig.books, rig.history)


def told(rig, stream):
    """What a stream tells after the history took in what happened."""
    rig.history.apply(rig.books.published(), rig.now_ns)
    return [json.loads(payload) for payload in stream.payloads()]


def shown(rig):
    return [{D(price): D(size) for price, size in side} for side in depth_snapshot(rig.books, 0, 1000)]


@pytest.mark.parametrize("seed", range(5))
def test_a_book_kept_by_the_diffs_equals_the_book_and_the_ids_chain(seed):
    rig, rng = make_rig(), random.Random(seed)
    stream = stream_of(rig, "aaausdt@depth@100ms")
    book, last = shown(rig), int(rig.books.update_id[0])
    events = 0
    for _ in range(60):
        match rng.randrange(3):
            case 0:
                bid = rng.randrange(960, 1040)
                rig.quote(bid, bid + rng.randrange(1, 30), rng.randrange(1, 9_000), rng.randrange(1, 9_000))
            case 1:
                rig.order(rng.choice(("BUY", "SELL")), f"0.{rng.randrange(100, 999)}")
            case _:
                rig.wait(rng.randrange(1, 3_000))
        for event in told(rig, stream):
            assert event["pu"] == last < event["U"] <= event["u"]
            last = event["u"]
            events += 1
            for levels, changes in zip(book, (event["b"], event["a"]), strict=True):
                for price, size in changes:
                    assert levels.get(D(price), 0) != D(size)  # nothing is told twice
                    if D(size):
                        levels[D(price)] = D(size)
                    else:
                        del levels[D(price)]
            assert book == shown(rig)
    assert events > 10


def test_a_bar_is_told_while_it_changes_and_once_when_it_has_closed():
    rig = make_rig()
    stream = stream_of(rig, "aaausdt@kline_1m")
    assert [event["k"]["n"] for event in told(rig, stream)] == [0]
    assert told(rig, stream) == []
    rig.trade(1, 1003, 7)
    rig.trade(-1, 998, 5)
    (event,) = told(rig, stream)
    bar = event["k"]
    assert (bar["h"], bar["l"], bar["c"], bar["x"]) == ("100.3", "99.8", "99.8", False)
    assert (bar["v"], bar["V"]) == ("0.012", "0.007")
    assert bar["L"] - bar["f"] + 1 == bar["n"] == 2
    rig.wait(120_000)
    rig.trade(1, 1001, 1)
    events = told(rig, stream)
    assert [(event["k"]["x"], event["k"]["n"]) for event in events] == [(True, 2), (True, 0), (False, 1)]
    assert (events[0]["k"]["f"], events[0]["k"]["L"]) == (bar["f"], bar["L"])
    assert [event["k"]["f"] for event in events[1:]] == [-1, bar["L"] + 1]
    assert events[1]["k"]["t"] == events[0]["k"]["T"] + 1


def test_continuous_klines_name_the_pair_and_know_seconds():
    rig = make_rig()
    stream = stream_of(rig, "aaausdt_perpetual@continuousKline_1s")
    (event,) = told(rig, stream)
    assert (event["e"], event["ps"], event["ct"]) == ("continuous_kline", "AAAUSDT", "PERPETUAL")
    assert "s" not in event["k"]


def test_arrays_hold_only_what_traded_and_single_tickers_everything():
    rig = make_rig()
    every, one = stream_of(rig, "!ticker@arr", -1), stream_of(rig, "bbbusdt@miniTicker", 1)
    told(rig, every)
    assert told(rig, every) == []
    rig.trade(1, 1003, 7, symbol=1)
    ((ticker,),) = told(rig, every)
    assert (ticker["s"], ticker["c"], ticker["Q"], ticker["n"], ticker["st"]) == ("BBBUSDT", "100.3", "0.007", 1, 1)
    assert (ticker["F"], ticker["L"]) == (int(rig.books.trade_id[1]),) * 2
    (mini,) = told(rig, one)
    assert (mini["e"], mini["c"], mini["v"]) == ("24hrMiniTicker", ticker["c"], ticker["v"])
    row = rig.call("GET", "/fapi/v1/ticker/24hr", symbol="BBBUSDT")
    assert (row["lastQty"], row["firstId"], row["count"]) == (ticker["Q"], ticker["F"], 1)
    assert rig.call("GET", "/fapi/v2/ticker/price", symbol="BBBUSDT")["price"] == "100.3"
    (trade,) = rig.call("GET", "/fapi/v1/trades", symbol="BBBUSDT")
    assert (trade["id"], trade["price"], trade["qty"], trade["isBuyerMaker"]) == (ticker["L"], "100.3", "0.007", False)
    assert D(trade["quoteQty"]) == D("0.7021")
    assert rig.call("GET", "/fapi/v1/historicalTrades", symbol="BBBUSDT", fromId=trade["id"] + 1) == []


def test_partial_depth_is_told_only_when_the_book_changed():
    rig = make_rig()
    stream = stream_of(rig, "aaausdt@depth5")
    (first,) = told(rig, stream)
    assert told(rig, stream) == []
    rig.quote(1000, 1002)
    (second,) = told(rig, stream)
    assert second["pu"] == first["u"]
    assert len(second["b"]) == 5
    assert second["E"] == rig.now_ns // MS
