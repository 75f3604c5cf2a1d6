"""Armed setups: each holds its pool rows exactly as long as it is watched, and a zone has one signal."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.core.pool import SIGNAL, Pool
from aegis.core.values import SymbolName
from aegis.engine.setups import Setups
from aegis.kernels import levels
from aegis.kernels.layout import BAR, HIT
from aegis.kernels.market import AGG_TRADE, new_table
from tests.support.compiled import compiled
from tests.support.core_cases import make_spec
from tests.support.decision_rig import MS, START_MS, make_setup

NOW_NS = START_MS * MS

check = compiled(levels.check)


def make_setups(*, signals: int = 16, candles: int = 16) -> Setups:
    table = new_table(["BTCUSDT", "ETHUSDT"], [3, 3], 60_000, AGG_TRADE, rows=8)
    table.symbols["bid"], table.symbols["ask"] = 50010.0, 50011.0
    specs = [make_spec(symbol=SymbolName(name)) for name in ("BTCUSDT", "ETHUSDT")]
    kept = Pool("candles", BAR, candles)
    return Setups(table=table, specs=specs, signals=Pool("signals", SIGNAL, signals), candles=kept)


def candle(close: float = 1.5) -> np.void:
    bar = np.zeros(1, BAR)
    bar["close"], bar["volume"], bar["open_time"] = close, 12, START_MS
    row: np.void = bar[0]
    return row


def held(setups: Setups) -> tuple[int, int, int]:
    watched = int((setups.table.levels["state"] == 1).sum())
    return setups.signals.live(), setups.candles.live(), watched


def test_an_armed_setup_keeps_its_numbers_and_its_candle() -> None:
    setups = make_setups()
    assert setups.arm(make_setup(), candle(2.5), NOW_NS)
    assert held(setups) == (1, 1, 1)
    (armed,) = setups.armed.values()
    row = setups.signals.row(armed.signal)
    assert (row["symbol"], row["side"], row["zone"]) == (0, 1, 7)
    assert (row["entry"], row["stop"], row["target"]) == (50000.0, 49000.0, 53000.0)
    assert setups.candle(armed) == {
        "open_time": START_MS, "open": 0.0, "high": 0.0, "low": 0.0, "close": 2.5, "volume_lots": 12
    }  # fmt: skip
    setups.arm(make_setup(entry=49900.0), candle(), NOW_NS)
    assert held(setups) == (1, 1, 1), "one with the same zone replaces the one before it"


@pytest.mark.parametrize(
    ("reason", "changes", "pools"),
    [
        ("passed", {"entry": 50011.0}, {}),
        ("refused", {"expires_ms": START_MS}, {}),
        ("pool_full", {}, {"signals": 1}),
        ("pool_full", {}, {"candles": 1}),
        ("absurd", {"entry": 50000.0, "target": 1e16}, {}),
    ],
)
def test_what_cannot_be_armed_is_counted_and_holds_nothing(
    reason: str, changes: dict[str, object], pools: dict[str, int]
) -> None:
    setups = make_setups(**pools)
    if pools:
        assert setups.arm(make_setup(zone=1), candle(), NOW_NS)
    before = held(setups)
    assert not setups.arm(make_setup(**changes), candle(), NOW_NS)
    assert setups.not_armed == {reason: 1}
    assert held(setups) == before


def test_a_symbol_has_eight_places() -> None:
    setups = make_setups()
    armed = [setups.arm(make_setup(zone=zone), candle(), NOW_NS) for zone in range(9)]
    assert armed == [True] * 8 + [False]
    assert setups.not_armed == {"slots_full": 1}


def test_a_zone_has_one_signal_in_its_life() -> None:
    setups = make_setups()
    setups.arm(make_setup(), candle(), NOW_NS)
    assert check(setups.table, 0, levels.ASK, 49999.0, START_MS, NOW_NS) == 1
    hits = np.zeros(4, HIT)
    assert levels.take_hits(setups.table, hits) == 1
    armed = setups.pop(0, int(hits[0]["id"]))
    assert armed is not None
    assert setups.pop(0, 7) is None
    setups.release(armed)
    assert held(setups) == (0, 0, 0)
    assert not setups.arm(make_setup(entry=49900.0), candle(), NOW_NS)
    assert setups.not_armed == {"decided": 1}
    assert setups.arm(make_setup(symbol=1, entry=49900.0), candle(), NOW_NS), "another symbol's zone of that number"


def test_a_zone_that_is_still_told_has_one_signal_in_a_run_of_any_length() -> None:
    """Against a set that forgets nothing: a zone is told at random for as long as it lives, and then never again."""
    random, setups = Random(5), make_setups()
    size = setups.decided.rows.nbytes
    signalled, lives, refused = set[tuple[int, int]](), dict[tuple[int, int], int](), 0
    for now in range(30_000):
        lives[random.randrange(2), now] = now + random.randrange(1, 60)
        lives = {zone: end for zone, end in lives.items() if end > now}
        key = random.choice(list(lives))
        armed = setups.arm(make_setup(symbol=key[0], zone=key[1], entry=49900.0), candle(), NOW_NS)
        assert armed == (key not in signalled)
        refused += not armed
        if armed and random.random() < 0.3:
            signalled.add(key)
            hit = setups.pop(*key)
            assert hit is not None
            setups.release(hit)
            levels.disarm(setups.table, *key)  # as one that has fired does by itself
        setups.withdraw(*key)
    assert len(signalled) > 5_000
    assert refused > 2_000
    assert setups.decided.rows.nbytes == size


def test_time_and_withdrawal_give_rows_and_levels_back() -> None:
    setups = make_setups()
    for zone in range(4):
        setups.arm(make_setup(zone=zone, symbol=zone % 2, expires_ms=START_MS + 1 + zone), candle(), NOW_NS)
    setups.expire(START_MS + 1)
    assert held(setups) == (3, 3, 3)
    setups.withdraw(0, 99)
    setups.withdraw_all(1)
    assert held(setups) == (1, 1, 1)
    setups.withdraw_everything()
    assert held(setups) == (0, 0, 0)
    assert check(setups.table, 0, levels.ASK, 1.0, START_MS, NOW_NS) == 0


STEPS = st.tuples(st.sampled_from(["arm", "withdraw", "all", "hit", "expire"]), st.integers(0, 1), st.integers(0, 9))


@given(st.lists(STEPS, max_size=40))
def test_rows_and_levels_never_leak(steps: list[tuple[str, int, int]]) -> None:
    setups = make_setups(signals=5, candles=4)
    hits = np.zeros(1, HIT)
    signalled: list[tuple[int, int]] = []
    for what, symbol, zone in steps:
        if what == "arm":
            setup = make_setup(symbol=symbol, zone=zone, entry=50000.0 - zone, expires_ms=START_MS + 10 + zone)
            setups.arm(setup, candle(), NOW_NS)
        elif what == "withdraw":
            setups.withdraw(symbol, zone)
        elif what == "all":
            setups.withdraw_all(symbol)
        elif what == "expire":
            setups.expire(START_MS + 10 + zone)
        else:
            check(setups.table, symbol, levels.ASK, 50000.0 - zone, START_MS, NOW_NS)
            while levels.take_hits(setups.table, hits):
                armed = setups.pop(int(hits[0]["symbol"]), int(hits[0]["id"]))
                assert armed is not None, "a level that fires has its setup"
                signalled.append((armed.setup.symbol, armed.setup.zone))
                setups.release(armed)
        assert held(setups) == (len(setups.armed),) * 3
    assert len(set(signalled)) == len(signalled)
    setups.withdraw_everything()
    assert held(setups) == (0, 0, 0)


def test_a_setup_that_is_to_be_entered_at_once_fires_where_price_has_reached_it() -> None:
    setups = make_setups()
    assert setups.arm(make_setup(entry=50011.0, at_once=True), candle(), NOW_NS)
    hits = np.zeros(4, HIT)
    assert levels.take_hits(setups.table, hits) == 1
    assert (int(hits[0]["id"]), float(hits[0]["price"])) == (7, 50011.0)
    armed = setups.pop(0, 7)
    assert armed is not None
    setups.release(armed)
    assert held(setups) == (0, 0, 0)
    assert setups.arm(make_setup(symbol=1, entry=50000.0, at_once=True), candle(), NOW_NS)
    assert levels.take_hits(setups.table, hits) == 0, "price is not there yet: it waits as any other"
