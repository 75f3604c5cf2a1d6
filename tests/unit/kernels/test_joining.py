"""Symbols that take a spare row of a table that is in use."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.kernels.joining import add_symbol
from aegis.kernels.market import AGG_TRADE, new_table, symbol_index
from aegis.kernels.wire import frame
from tests.support.market_feed import NOW_NS, Feed, make_quote

names = st.text(st.sampled_from("ABT1测ß"), min_size=1, max_size=6)


@given(st.lists(names, min_size=2, max_size=12, unique=True), st.integers(1, 11))
def test_a_symbol_that_joins_is_found_by_its_name_as_one_that_was_there(known: list[str], first: int) -> None:
    first = min(first, len(known) - 1)
    spare = len(known) - first
    table = new_table(known[:first], [3] * first, 1000, AGG_TRADE, spare=spare)
    assert [symbol_index(table, name) for name in known[first:]] == [-1] * spare
    added = [add_symbol(table, name, k) for k, name in enumerate(known[first:])]
    assert added == list(range(first, len(known)))
    assert [symbol_index(table, name) for name in known] == list(range(len(known)))
    assert table.symbols["qty_decimals"].tolist() == [3] * first + list(range(spare))
    assert symbol_index(table, "") == -1


def test_its_ticks_reach_its_row_and_nobody_elses() -> None:
    table = new_table(["BTCUSDT"], [3], 1000, AGG_TRADE, spare=2)
    feed = Feed(table)
    tick = frame(make_quote(7, s="NEWUSDT", b="3.5", a="3.6"))
    feed.read(tick, NOW_NS)
    assert np.isnan(table.symbols["bid"]).all()
    assert add_symbol(table, "NEWUSDT", 2) == 1
    feed.read(tick, NOW_NS)
    assert table.symbols["bid"].tolist()[1] == 3.5
    assert np.isnan(table.symbols["bid"][[0, 2]]).all()


@pytest.mark.parametrize("name", ["BTCUSDT", "", "x" * 129])
def test_a_name_that_is_known_or_none_takes_no_row(name: str) -> None:
    table = new_table(["BTCUSDT"], [3], 1000, AGG_TRADE, spare=1)
    with pytest.raises(ValueError, match="no row for"):
        add_symbol(table, name, 3)
    assert add_symbol(table, "y" * 128, 3) == 1
    with pytest.raises(ValueError, match="0 are spare"):
        add_symbol(table, "NEWUSDT", 3)
