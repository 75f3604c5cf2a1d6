"""The short way for what the venue writes most, in recorded lines that no reader has read, and by itself."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.kernels import market
from aegis.kernels.lines import DONE, LINE, SLOW, apply_lines
from aegis.kernels.quick import MISSED, quick_quote, quick_trade
from aegis.venue import strict
from tests.support.compiled import compiled
from tests.support.market_feed import (
    NOW_NS,
    PlainMarket,
    assert_equal,
    make_table,
    written_quotes,
    written_trades,
)

by_itself = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") != "1", reason="a part of a kernel, which only plain Python shows by itself"
)

read_quote, read_trade = compiled(quick_quote), compiled(quick_trade)

PRICES = '"b":"61800.20","B":"2.507","a":"0.30","A":"2"'
TIMES = {"T": "1723161256313", "E": "1723161256314"}
BEHIND = f'{{"e":"bookTicker","u":5123107839020,"s":"BTCUSDT",{PRICES},"T":{TIMES["T"]},"E":{TIMES["E"]}'
BEFORE = f'{{"e":"bookTicker","u":17,"E":{TIMES["E"]},"T":{TIMES["T"]},"s":"BTCUSDT",{PRICES}'


@by_itself
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("head", "tail"),
    [
        (BEHIND, "}"),  # as recorded in 2024
        (BEHIND, ',"st":1}'),
        (BEHIND, ',"st":1,"ps":"BTCUSDT"}'),
        (BEFORE, ',"st":1,"ps":"BTCUSDT"}'),  # as documented since 2026-06-30
    ],
)
def test_what_the_venue_writes_is_read_by_its_fixed_text(head: str, tail: str, wrapped: bool) -> None:
    text = f'{{"stream":"btcusdt@bookTicker","data":{head}{tail}}}' if wrapped else head + tail
    table, model = make_table(), PlainMarket(market.AGG_TRADE)
    array = np.frombuffer(text.encode(), np.uint8).copy()
    assert read_quote(table, array, 0, len(array), NOW_NS) == market.APPLIED
    model.payload(text)
    assert_equal(table, model)
    for end in range(len(array)):
        assert read_quote(table, array[:end], 0, end, NOW_NS) == MISSED


AGG = '{"e":"aggTrade","E":1723161256314,'
TRADE = '{"e":"trade","E":1723161256314,"T":1723161256313,"s":"BTCUSDT","t":5266583935,"p":"61800.30","q":"0.006"'
REST = '"p":"61800.30","q":"0.006","f":7,"l":9,"T":1723161256313,"m":false}'


@by_itself
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("source", "text"),
    [
        (market.AGG_TRADE, AGG + '"a":17,"s":"BTCUSDT",' + REST),  # as recorded in 2024
        (market.AGG_TRADE, AGG + '"s":"BTCUSDT","a":17,' + REST),
        (market.AGG_TRADE, AGG + '"s":"BTCUSDT","a":17,' + REST.replace('"f"', '"nq":"0.001","f"')[:-1] + ',"st":1}'),
        (market.TRADE, TRADE + ',"X":"MARKET","m":true}'),
        (market.TRADE, TRADE + ',"X":"MARKET","m":true,"st":1}'),
    ],
)
def test_a_trade_that_the_venue_writes_is_read_by_its_fixed_text(source: int, text: str, wrapped: bool) -> None:
    name = "trade" if source == market.TRADE else "aggTrade"
    text = f'{{"stream":"btcusdt@{name}","data":{text}}}' if wrapped else text
    table, model = make_table(source), PlainMarket(source)
    array = np.frombuffer(text.encode(), np.uint8).copy()
    assert read_trade(table, array, 0, len(array), NOW_NS) == market.APPLIED
    model.payload(text)
    assert_equal(table, model)
    for end in range(len(array)):
        assert read_trade(table, array[:end], 0, end, NOW_NS) == MISSED


@given(st.lists(written_quotes() | written_trades(), min_size=1, max_size=20), st.booleans())
def test_a_line_that_no_reader_has_read_is_applied_as_json_says(texts: list[str], trades: bool) -> None:
    source = market.TRADE if trades else market.AGG_TRADE
    data = "".join(text + "\n" for text in texts).encode()
    lines = np.zeros(len(texts), LINE)
    lines["now_ns"] = NOW_NS
    lines["end"] = np.cumsum([len(text.encode()) + 1 for text in texts]) - 1
    lines["start"][1:] = lines["end"][:-1] + 1
    table, model = make_table(source), PlainMarket(source)
    array = np.frombuffer(data, np.uint8).copy()
    start = 0
    while start < len(texts):
        status, start, _ = apply_lines(array, lines, start, 2**62, np.zeros(1, np.int32), table)
        assert status in (DONE, SLOW)
        if status == SLOW:  # a number that only the strict decoder reads exactly
            strict.decode(texts[start - 1].encode(), table, NOW_NS)
    for text in texts:
        model.payload(text)
    assert_equal(table, model)
