"""The bench's own strategy: what a close makes known is entered at the touch, and not again for a while."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aegis.config.own import load_class
from aegis.core.values import Side
from aegis.kernels.analysis import new_state
from aegis.kernels.layout import EVENT
from aegis.kernels.smc_events import FVG, SWING
from aegis.kernels.state import State
from aegis.research.bench import latency_strategy
from aegis.research.bench.latency_strategy import AtClose
from aegis.signals.strategy import Setup
from aegis.signals.view import Quote, SymbolView

SECOND = 1_000
AT = 1_790_000_000_000


@pytest.fixture
def state() -> State:
    state = new_state(1, (SECOND, 5 * SECOND), AtClose(AtClose.Params()).analysis(20))
    state.symbols["warm"] = 1
    return state


def event(**changes: Any) -> Any:
    row = np.zeros(1, EVENT)
    for name, value in {"kind": FVG, "direction": 1, "id": 7, "known_at": AT, **changes}.items():
        row[name] = value
    return row


def ask(strategy: AtClose, state: State, events: Any, **quote: float) -> list[Any]:
    told = Quote(**(quote or {"bid": 99.0, "ask": 100.0}))
    return strategy.on_events(SymbolView(state, 0, "BTCUSDT", told), events, AT)


@pytest.mark.parametrize(("direction", "side", "touch"), [(1, Side.BUY, 100.0), (-1, Side.SELL, 99.0)])
def test_a_new_gap_is_entered_beyond_the_touch(state: State, direction: int, side: Side, touch: float) -> None:
    (setup,) = ask(AtClose(AtClose.Params()), state, event(direction=direction))
    assert isinstance(setup, Setup)
    assert (setup.side, setup.zone, setup.at_once) == (side, 7, True)
    assert (setup.entry - touch) * direction == pytest.approx(touch * 1e-4)
    assert (touch - setup.stop) * direction == pytest.approx(touch * 60e-4)
    assert (setup.target - touch) * direction == pytest.approx(touch * 120e-4)


def test_a_symbol_pauses_behind_an_entry_until_it_starts_anew(state: State) -> None:
    strategy = AtClose(AtClose.Params())
    assert ask(strategy, state, event())
    assert not ask(strategy, state, event(known_at=AT + 11 * SECOND))
    assert ask(strategy, state, event(known_at=AT + 12 * SECOND))
    strategy.forget(0)
    assert ask(strategy, state, event(known_at=AT + 13 * SECOND))


@pytest.mark.parametrize("changes", [{"kind": SWING}, {"timeframe": 1}])
def test_nothing_but_a_gap_of_the_base_bars_is_entered(state: State, changes: dict[str, int]) -> None:
    assert not ask(AtClose(AtClose.Params()), state, event(**changes))


def test_without_a_quote_or_warmth_nothing_is_entered(state: State) -> None:
    assert not ask(AtClose(AtClose.Params()), state, event(), bid=99.0)
    state.symbols["warm"] = 0
    assert not ask(AtClose(AtClose.Params()), state, event())


def test_it_is_a_user_s_strategy_to_the_config() -> None:
    found = load_class(str(Path(latency_strategy.__file__)), "AtClose")
    assert found.kind(found.params()).name == "at_close"
