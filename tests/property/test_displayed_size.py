"""What is displayed within a limit price, from the venue's text to the gate, against a sum in exact decimals."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from aegis.core.values import Side
from aegis.engine.depths import Depths
from aegis.kernels.market import AGG_TRADE, new_table
from aegis.venue import strict
from aegis.venue.market_events import Depth
from tests.support.depth_cases import depth_text

D = Decimal
NOW_MS = 1_790_000_000_000
TABLE = new_table(["BTCUSDT"], [3], 60_000, AGG_TRADE)
Levels = list[tuple[D, D]]
GRIDS = st.sampled_from([D("0.1"), D("0.00000001"), D("0.5"), D("25")])


@st.composite
def books(draw: st.DrawFn) -> tuple[D, Levels, Levels]:
    """(tick, bids, asks), best first."""
    tick, middle = draw(GRIDS), draw(st.integers(100, 10**7))
    sides = []
    for sign in (-1, 1):
        offsets = sorted(draw(st.lists(st.integers(1, 60), unique=True, max_size=20)))
        steps = draw(st.lists(st.integers(1, 10**9), min_size=len(offsets), max_size=len(offsets)))
        sides.append([
            ((middle + sign * offset) * tick, D(size).scaleb(-3)) for offset, size in zip(offsets, steps, strict=True)
        ])  # fmt: skip
    return tick, sides[0], sides[1]


def brute_force(levels: Levels, others: Levels, side: Side, quote: tuple[D, D], limit: D) -> tuple[D, int]:
    sign, (touch, touch_qty) = side.sign, quote
    if others and touch * sign <= others[0][0] * sign:
        return touch_qty, 0
    behind = [size for price, size in levels if touch * sign < price * sign <= limit * sign]
    return touch_qty + sum(behind, D(0)), len(behind)


@given(book=books(), side=st.sampled_from(Side), data=st.data())
def test_it_is_the_touch_and_every_level_behind_it_up_to_the_limit_to_the_last_digit(
    book: tuple[D, Levels, Levels], side: Side, data: st.DataObject
) -> None:
    tick, bids, asks = book
    depths = Depths(TABLE)
    text = depth_text(NOW_MS, 1, *([(f"{p:f}", f"{q:f}") for p, q in levels] for levels in (bids, asks)))
    (event,) = strict.decode(text, TABLE, 0)
    assert isinstance(event, Depth)
    depths.take(event, NOW_MS * 10**6)
    assert depths.counts == {"applied": 1}
    shown = depths.fresh(0, NOW_MS * 10**6)
    assert shown is not None

    levels, others = (asks, bids) if side is Side.BUY else (bids, asks)
    around = levels[0][0] if levels else tick * 100
    touch = around + tick * data.draw(st.integers(-30, 30)) * side.sign
    limit = touch + tick * data.draw(st.integers(-5, 80)) * side.sign
    touch_qty = D(data.draw(st.integers(1, 10**9))).scaleb(-3)
    told = shown.displayed(side, touch, touch_qty, limit)
    assert (told.qty, told.levels) == brute_force(levels, others, side, (touch, touch_qty), limit)
    assert told.touch_qty == touch_qty
