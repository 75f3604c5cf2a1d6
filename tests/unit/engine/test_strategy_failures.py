"""A strategy that fails, or says what cannot be, is off for that symbol; the others trade on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from aegis.core.errors import InvariantBroken
from aegis.engine.analysis import Result, slices
from aegis.kernels import smc
from aegis.kernels.layout import BAR, EVENT
from aegis.signals.advice import fault
from tests.support.decision_rig import Rig, Scripted, make_setup


def ask(rig: Rig, symbol: int) -> None:
    rig.decision.on_events(symbol, np.zeros(0, EVENT), rig.machine.analysis.front, rig.now_ns)


def fail(*_: Any) -> Any:
    raise ZeroDivisionError("by\nzero")


def half(*_: Any) -> Iterator[Any]:
    yield make_setup()
    raise KeyError("15m")


SAYS: dict[str, Callable[..., Any]] = {
    "ZeroDivisionError: by zero": fail,
    "KeyError: '15m'": half,
    "TypeError: 'NoneType' object is not iterable": lambda *_: None,
    "TypeError: said str, which is neither Setup nor Withdraw": lambda *_: ["buy"],
    "ValueError: asked about symbol 0, spoke of 1": lambda *_: [make_setup(symbol=1)],
    "ValueError: a BUY with stop 60000.0, entry 50000.0, target 53000.0: out of order": lambda *_: [
        make_setup(stop=6e4)
    ],
    "ValueError: expires_ms: 8796093022208 is beyond all that is real": lambda *_: [make_setup(expires_ms=2**43)],
    "ValueError: time_limit_ms: must be some milliseconds, not 0": lambda *_: [make_setup(time_limit_ms=0)],
    "ValueError: zone: 18446744073709551616 is no id of 63 bits": lambda *_: [make_setup(zone=2**64)],
    "TypeError: 'float' object cannot be interpreted as an integer": lambda *_: [make_setup(zone=1.5)],
}


@pytest.mark.parametrize(("reason", "says"), SAYS.items(), ids=list(SAYS))
def test_a_failing_strategy_is_off_for_that_symbol_and_the_rest_trades_on(
    reason: str, says: Callable[..., Any], log_lines: Any
) -> None:
    rig = Rig.make(("BTCUSDT", "ETHUSDT"))
    rig.arm(zone=1)
    rig.arm(symbol=1)
    good = rig.strategy.on_events
    rig.strategy.on_events = says  # type: ignore[method-assign]
    ask(rig, 0)
    assert rig.decision.failed == {0: reason}
    assert rig.pools() == (1, 1), "what was armed on it is withdrawn, and nothing else"
    assert {"symbol": "BTCUSDT", "strategy": "quarantined", "reason": reason} in rig.pages.of("state")
    (line,) = log_lines.events("strategy.failed")
    assert (line["symbol"], line["reason"]) == ("BTCUSDT", reason)
    rig.strategy.on_events = good  # type: ignore[method-assign]
    rig.arm(zone=2)
    assert rig.pools() == (1, 1), "it is not asked about this symbol again"
    rig.strategy.advice = []
    assert rig.signal(symbol=1)["symbol"] == "ETHUSDT"


def test_a_broken_invariant_inside_a_strategys_call_is_none_of_its_faults() -> None:
    rig = Rig.make()

    def broken(*_: Any) -> Any:
        raise InvariantBroken("ours")

    rig.strategy.on_events = broken  # type: ignore[method-assign]
    with pytest.raises(InvariantBroken):
        ask(rig, 0)
    assert rig.decision.failed == {}


def test_a_strategy_that_cannot_forget_stops_nothing(log_lines: Any) -> None:
    rig = Rig.make()
    rig.arm()
    rig.strategy.forget = fail  # type: ignore[method-assign]
    rig.decision.on_cold([0])
    rig.decision.on_command("halt x", rig.now_ns)
    assert rig.pools() == (0, 0)
    assert len(log_lines.events("strategy.failed")) == 2


def test_a_reason_is_one_line_without_addresses() -> None:
    assert fault(ValueError(f"no {object()!r}\n here")) == "ValueError: no <object object at 0x...> here"
    assert len(fault(ValueError("x" * 500))) == 200


def test_a_strategy_hears_events_in_order_and_bars_where_it_wants_them() -> None:
    events, bars = np.zeros(3, EVENT), np.zeros(4, BAR)
    events["symbol"], events["id"], events["kind"] = (5, 2, 5), (1, 2, 3), (smc.BOS, smc.BOS, smc.FVG)
    bars["symbol"], bars["timeframe"] = (7, 5, 9, 7), (0, 0, 1, 0)
    result = Result(bars=bars, events=events, seeds=())
    assert found(result, every_bar=False) == [(2, [2]), (5, [1, 3])]
    assert found(result, every_bar=False, hears={smc.FVG, smc.CHOCH}) == [(5, [3])]
    assert found(result, every_bar=False, hears=()) == []
    assert found(result, every_bar=True) == [(2, [2]), (5, [1, 3]), (7, [])]
    assert found(result, every_bar=True, hears=[smc.BOS]) == [(2, [2]), (5, [1]), (7, [])]
    assert found(Result(bars=bars[:0], events=events[:0], seeds=()), every_bar=True) == []


def found(result: Result, **wishes: Any) -> list[tuple[int, list[int]]]:
    strategy = Scripted()
    for name, wish in wishes.items():
        setattr(strategy, name, wish)
    return [(symbol, part["id"].tolist()) for symbol, part in slices(result, strategy)]
