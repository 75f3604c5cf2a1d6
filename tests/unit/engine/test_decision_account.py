"""The decision and the account: whose orders they are, what the venue says of positions, what bars leave behind."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
import numpy as np
import pytest

from aegis.core.errors import InvariantBroken
from aegis.core.messages import ConfigUpdate, OrderUpdate, Refused
from aegis.core.values import ClientId, OrderStatus, SymbolName
from aegis.engine.decision import last_bar
from aegis.kernels import levels
from aegis.kernels.analysis import AnalysisParams, SeedCode, new_state, seed, set_live_from
from aegis.kernels.layout import BAR
from tests.support.core_cases import make_order, order_update
from tests.support.decision_rig import START_MS, Rig, make_setup, open_position

BTC = SymbolName("BTCUSDT")
ETH = SymbolName("ETHUSDT")
WIDE: dict[str, Any] = {"max_open_risk_pct": 10, "max_gross_leverage": 10, "max_net_leverage": 10}


# -- ours and foreign --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("cid", "ours"),
    [
        ("1f-1", True), ("1f-18446744073709551617", True), ("1-1", True), ("z-5", True), ("1g-1", False),
        ("zz-1", False), ("1F-1", False),
        ("1f", False), ("1f-", False), ("-1", False), ("", False), ("1f-x", False), ("1f-1-2", False),
        ("web_abc", False), ("electron-1", False), ("é-1", False), ("1 f-1", False),
    ],
)  # fmt: skip
def test_ours_are_the_ids_of_this_run_and_earlier_ones(cid: str, ours: bool) -> None:
    assert Rig.make(run="1f").decision.is_ours(cid) is ours


def test_an_order_of_somebody_else_closes_its_symbol_for_entries() -> None:
    rig = Rig.make(("BTCUSDT", "ETHUSDT"))
    earlier = order_update(make_order(cid=ClientId("0-4")), OrderStatus.NEW)
    rig.decision.on_user_event(earlier, rig.now_ns)
    assert rig.decision.foreign == set()
    rig.decision.on_user_event(attrs.evolve(earlier, cid=ClientId("web_1")), rig.now_ns)
    assert rig.decision.foreign == {BTC}
    assert rig.decision.desk.strangers == 2
    assert rig.signal()["code"] == "FOREIGN_POSITION"
    assert rig.signal(symbol=1)["taken"]


def test_a_position_that_no_trade_explains_is_left_alone() -> None:
    rig = Rig.make(("BTCUSDT", "ETHUSDT"), **WIDE)
    entry = open_position(rig)
    rig.answer("positions", {"amounts": {"BTCUSDT": str(entry.qty)}, "foreign": []})
    assert rig.decision.foreign == set()
    rig.answer("positions", {"amounts": {"BTCUSDT": str(entry.qty), "ETHUSDT": "-2.50"}, "foreign": ["XUSDT"]})
    assert rig.decision.foreign == {ETH, "XUSDT"}
    assert rig.pages.of("reconcile") == [{"symbol": "ETHUSDT", "ours": "0", "venue": "-2.5"}]
    rig.pages.broken = True
    with pytest.raises(InvariantBroken):
        rig.answer("positions", {"amounts": {}, "foreign": []})
    assert BTC in rig.decision.foreign, "known before it is written"


def test_events_and_answers_that_mean_nothing_are_counted_or_refused() -> None:
    rig = Rig.make()
    rig.decision.on_user_event(object(), rig.now_ns)
    assert rig.decision.malformed == 1
    rig.decision.on_user_event(ConfigUpdate(event_ms=1, symbol=BTC, leverage=5, multi_assets=None), rig.now_ns)
    assert rig.pages.of("account")[-1] == {"event": "ConfigUpdate"}
    with pytest.raises(InvariantBroken, match="nobody asks"):
        rig.answer("weather", {})
    for what in ("order", "algo", "fills", "account", "positions"):
        with pytest.raises(msgspec.DecodeError):
            rig.decision.on_answer(what, b'{"cid":3}', rig.now_ns)


def test_rejects_are_counted_by_code() -> None:
    rig = Rig.make()
    rig.signal()
    (entry,) = rig.take()
    rig.decision.on_outcome(Refused(request=entry, code=-2019, message="margin"), rig.now_ns)
    assert rig.decision.rejects == {-2019: 1}
    assert not rig.decision.desk.trades
    assert rig.decision.gate.rate.reserved == 0


# -- bars --------------------------------------------------------------------------------------------------------------
def test_bars_are_counted_in_lots_and_part_of_the_digest() -> None:
    def digest(volume: int) -> tuple[str, list[int], bool]:
        rig = Rig.make(("BTCUSDT", "ETHUSDT"))
        bars = np.zeros(3, BAR)
        bars["symbol"], bars["timeframe"], bars["volume"] = [0, 1, 1], [0, 0, 1], [5, volume, 100]
        rig.decision.on_bars(bars, rig.machine.analysis.front, rig.now_ns)
        rig.decision.on_command("finish", rig.now_ns)
        warm = bool(rig.decision.contexts.warm.any())
        return rig.pages.of("bars")[0]["sha256"], rig.decision.bar_lots.tolist(), warm

    first, lots, warm = digest(7)
    assert (lots, warm) == ([5, 7], False)
    assert digest(7)[0] == first
    assert digest(8)[0] != first


def test_the_newest_bar_is_the_last_one_that_closed() -> None:
    state = new_state(1, (60_000, 300_000), AnalysisParams(warm_bars=20))
    bars = np.zeros(700, BAR)  # more than the ring holds
    bars["open_time"] = 60_000 * np.arange(1_000, 1_700)
    for name in ("open", "high", "low", "close"):
        bars[name] = 100.0
    set_live_from(state, 0, int(bars["open_time"][-1]) + 60_000)
    assert seed(state, 0, bars, (bars[:0],)).code is SeedCode.OK
    newest = last_bar(state, 0)
    assert int(newest["open_time"]) == int(state.bars[0, 0]["open_time"].max()) == int(bars["open_time"][-1])


def test_levels_left_behind_by_a_stop_do_not_fire() -> None:
    rig = Rig.make()
    rig.arm()
    levels.check(rig.machine.table, 0, levels.ASK, 49999.0, START_MS, rig.now_ns)
    assert levels.pending_hits(rig.machine.table) == 1
    rig.decision.on_command("reduce stopping", rig.now_ns)
    rig.machine.decide_hits(rig.now_ns)
    assert rig.pages.of("decision") == [], "the unread hit of a withdrawn level is stale"


def test_setups_and_updates_of_the_tests_are_what_they_claim() -> None:
    assert make_setup().risk == 1000.0
    assert isinstance(order_update(make_order(), OrderStatus.NEW), OrderUpdate)
