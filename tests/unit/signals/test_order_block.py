"""Order-block retest: which blocks bring a setup, with which levels, and when it is withdrawn."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.config import OrderBlockConfig
from aegis.core.values import Side
from aegis.kernels import smc
from aegis.kernels.analysis import analyse_all, new_state, seed, set_live_from
from aegis.kernels.layout import EVENT
from aegis.kernels.state import State
from aegis.signals.order_block import OrderBlock
from aegis.signals.strategy import Advice, Setup, Withdraw
from aegis.signals.view import BLOCK_IS_FRESH, BLOCK_IS_MITIGATED, BLOCK_IS_TOUCHED, Quote, SymbolView
from tests.support.analysis_cases import EPOCH, MINUTE, make_bars, rows_of

#: Pools are wide and sweeps old, so that a short random walk has some.
PARAMS = OrderBlockConfig(
    swing=2, pool_atr=1.0, sweep_bars=2, max_sweep_age_bars=40, max_block_age_bars=60, min_stop_bps=1.0
)
NO_EVENTS = np.zeros(0, EVENT)
BORN = EPOCH + 100 * MINUTE
INDEX = BORN // MINUTE - 1


def make(params: OrderBlockConfig) -> OrderBlock:
    return OrderBlock(params, ("1m", "5m"))


@pytest.fixture
def state() -> State:
    """A symbol whose blocks the test writes by hand; its last close is 106."""
    state = new_state(1, (MINUTE, 5 * MINUTE), make(PARAMS).analysis(500), ring=512)
    state.symbols["warm"] = 1
    bar = state.bars[0, 0, INDEX % 512]
    bar["open_time"], bar["close"] = INDEX * MINUTE, 106.0
    return state


def put_block(state: State, *, direction: int = 1, swept_bars_before: int | None = 10) -> None:
    """From 102 to 104, known at `BORN`."""
    block = state.blocks[0, 0, 0]
    block["id"], block["direction"], block["known"], block["phase"] = 500, direction, INDEX, BLOCK_IS_FRESH
    block["swept"] = 0 if swept_bars_before is None else INDEX - swept_bars_before
    block["top"], block["bottom"] = 104.0, 102.0
    state.structure[0, 0]["blocks"] = 1


def ask(strategy: OrderBlock, state: State) -> list[Advice]:
    return strategy.on_events(SymbolView(state, 0, "BTCUSDT", Quote()), NO_EVENTS, BORN)


def test_the_return_into_a_bullish_block_after_a_sweep_of_lows_is_bought_at_its_near_edge(state: State) -> None:
    put_block(state)
    (setup,) = ask(make(PARAMS), state)
    assert isinstance(setup, Setup)
    assert (setup.side, setup.entry, setup.stop, setup.target) == (Side.BUY, 104.0, 101.0, 110.0)
    assert (setup.zone, setup.timeframe, setup.symbol, setup.name) == (500, "1m", 0, "BTCUSDT")
    assert (setup.known_at_ms, setup.expires_ms, setup.time_limit_ms) == (BORN, BORN + 60 * MINUTE, 60 * MINUTE)
    assert dict(setup.reasons)["sweep"] == "of lows, 10 bars before the break of structure"


def test_part_of_it_may_leave_earlier(state: State) -> None:
    put_block(state)
    (setup,) = ask(make(attrs.evolve(PARAMS, partial_r=1.0, partial_share=0.4)), state)
    assert isinstance(setup, Setup)
    assert (setup.parts, setup.target) == (((107.0, 0.4),), 110.0)
    assert setup.targets == "40% at 107, rest at 110"


@pytest.mark.parametrize(
    "parts", [((104.0, 0.5),), ((110.0, 0.5),), ((107.0, 0.0),), ((107.0, 1.0),), ((106.0, 0.5), (107.0, 0.5)),
              ((107.0, 0.2), (106.0, 0.2)), ((float("nan"), 0.5),)],
)  # fmt: skip
def test_parts_out_of_order_or_of_too_much_cannot_be_made(state: State, parts: Any) -> None:
    put_block(state)
    (setup,) = ask(make(PARAMS), state)
    with pytest.raises(ValueError, match="parts: "):
        attrs.evolve(setup, parts=parts)  # type: ignore[arg-type]


def test_a_bearish_block_is_the_mirror(state: State) -> None:
    put_block(state, direction=-1)
    state.bars["close"][0, 0] = 100.0
    (setup,) = ask(make(PARAMS), state)
    assert isinstance(setup, Setup)
    assert (setup.side, setup.entry, setup.stop, setup.target) == (Side.SELL, 102.0, 105.0, 96.0)


@pytest.mark.parametrize(("swept", "told"), [(None, 0), (41, 0), (40, 1), (0, 1)])
def test_a_block_without_a_sweep_shortly_before_is_left_alone(state: State, swept: int | None, told: int) -> None:
    put_block(state, swept_bars_before=swept)
    assert len(ask(make(PARAMS), state)) == told


def test_no_setup_where_price_is_in_the_block_or_the_symbol_is_cold(state: State) -> None:
    put_block(state)
    state.bars["close"][0, 0] = 104.0
    assert ask(make(PARAMS), state) == []
    state.bars["close"][0, 0] = 106.0
    state.symbols["warm"] = 0
    assert ask(make(PARAMS), state) == []


def test_a_narrow_stop_is_widened_and_one_below_zero_is_none(state: State) -> None:
    put_block(state)
    (setup,) = ask(make(attrs.evolve(PARAMS, min_stop_bps=1_000.0)), state)
    assert isinstance(setup, Setup)
    assert setup.risk == pytest.approx(10.4)
    assert ("stop", "widened to min_stop_bps") in setup.reasons
    state.blocks[0, 0]["bottom"] = 20.0
    assert ask(make(PARAMS), state) == []


def _mitigate(state: State) -> None:
    state.blocks[0, 0, 0]["phase"] = BLOCK_IS_MITIGATED


def _drop(state: State) -> None:
    state.structure[0, 0]["blocks"] = 0


@pytest.mark.parametrize(
    ("change", "reason"), [(_mitigate, "block mitigated"), (_drop, "block broken or expired")]
)
def test_a_setup_is_told_once_and_withdrawn_when_its_ground_is_gone(state: State, change: Any, reason: str) -> None:
    put_block(state)
    strategy = make(PARAMS)
    first = ask(strategy, state)
    assert ask(strategy, state) == []
    state.blocks[0, 0, 0]["phase"] = BLOCK_IS_TOUCHED
    assert ask(strategy, state) == []
    assert ask(make(PARAMS), state) == []
    change(state)
    expected = Withdraw(strategy="order_block", symbol=0, timeframe="1m", zone=500, reason=reason)
    assert ask(strategy, state) == [expected]
    assert ask(strategy, state) == []
    put_block(state)
    strategy.forget(0)
    assert ask(strategy, state) == first


# -- on the real analysis ----------------------------------------------------------------------------------------------
def run(bars: Any, start: int) -> tuple[OrderBlock, State, list[tuple[int, Advice]]]:
    """Seeded with the bars before `start`, asked after every later one that has events."""
    strategy = make(PARAMS)
    state = new_state(1, (MINUTE,), strategy.analysis(20), ring=512)
    set_live_from(state, 0, EPOCH + start * MINUTE)
    assert seed(state, 0, bars[:start]).code == 0
    said: list[tuple[int, Advice]] = []
    for t in range(start, len(bars)):
        now = EPOCH + (t + 1) * MINUTE
        _, events = analyse_all(state, rows_of(bars[t : t + 1], 0, t + 1), now)
        if len(events):
            said += [(now, one) for one in strategy.on_events(SymbolView(state, 0, "BTCUSDT", Quote()), events, now)]
    return strategy, state, said


@given(number=st.integers(0, 2**32 - 1))
def test_a_setup_is_sound_and_a_sweep_of_its_side_and_its_block_were_told_before(number: int) -> None:
    """Judged by the events of the whole series, which the strategy never sees."""
    bars = make_bars(number, 320, step=8)
    _, _, said = run(bars, 60)
    events = smc.detect(bars, MINUTE, make(PARAMS).analysis(20))
    closes = dict(zip((bars["open_time"] + MINUTE).tolist(), bars["close"].tolist(), strict=True))
    for now, setup in said:
        if isinstance(setup, Withdraw):
            continue
        d = setup.side.sign
        assert setup.known_at_ms <= now < setup.expires_ms
        assert d * (setup.entry - setup.stop) > 0 < d * (closes[now] - setup.entry)
        (born,) = events[(events["kind"] == smc.BLOCK) & (events["id"] == setup.zone)]
        assert (int(born["known_at"]), int(born["direction"])) == (setup.known_at_ms, d)
        assert setup.entry == born["top" if d > 0 else "bottom"]
        swept = events[(events["kind"] == smc.POOL_SWEPT) & (events["direction"] == -d)]["known_at"]
        recent = swept[(swept <= setup.known_at_ms) & (swept >= setup.known_at_ms - 40 * MINUTE)]
        assert len(recent)
        bars_before = (setup.known_at_ms - int(recent[-1])) // MINUTE
        assert dict(setup.reasons)["sweep"].split(", ")[1].startswith(f"{bars_before} bars")


def test_random_markets_have_such_setups_on_both_sides() -> None:
    setups = [one for number in range(20) for _, one in run(make_bars(number, 320, step=8), 60)[2]]
    assert {one.side for one in setups if isinstance(one, Setup)} == {Side.BUY, Side.SELL}


@pytest.mark.parametrize("number", range(12))
def test_after_a_restart_the_fresh_blocks_bring_the_same_setups(number: int) -> None:
    bars, restart = make_bars(number, 500, step=8), 480
    strategy, state, _ = run(bars[:restart], 60)
    view = SymbolView(state, 0, "BTCUSDT", Quote())
    fresh = {block.id for block in view.blocks("1m") if block.phase == BLOCK_IS_FRESH}
    before = {zone: setup for zone, setup in strategy.standing.of(0).items() if zone in fresh}
    again = new_state(1, (MINUTE,), strategy.analysis(20), ring=512)
    set_live_from(again, 0, EPOCH + restart * MINUTE)
    assert seed(again, 0, bars[180:restart]).code == 0
    told = make(PARAMS).on_events(SymbolView(again, 0, "BTCUSDT", Quote()), NO_EVENTS, 0)
    assert {word.zone: word for word in told if isinstance(word, Setup)} == before
