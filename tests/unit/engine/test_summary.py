"""Summary and snapshots of an engine that did nothing, and of one that was busy."""

from __future__ import annotations

import json
from random import Random

import attrs
import pytest

from aegis.core.values import AlgoType
from aegis.engine.observe import Observer, iso, money
from aegis.engine.summary import Summary, summarize
from aegis.runtime.garbage import GarbageWatch
from aegis.runtime.metrics import Metrics
from aegis.surface.summary import render
from tests.support.core_cases import D
from tests.support.decision_rig import START_MS, Rig
from tests.support.scripted_venue import ScriptedVenue


def observer(rig: Rig, metrics: Metrics | None = None) -> Observer:
    return Observer(
        machine=rig.machine, metrics=metrics or Metrics(), venue_ns=lambda: rig.now_ns, run="1", mode="sim",
        phase=lambda: "RUNNING", started_ns=START_MS * 10**6,
    )  # fmt: skip


def told(
    rig: Rig, differences: tuple[str, ...] | None = (), failure: str = "", metrics: Metrics | None = None
) -> Summary:
    return summarize(
        rig.machine, observer(rig, metrics), rig.now_ns, run={"run": "1"}, fill_model="simulated", synthetic=True,
        differences=differences, failure=failure,
    )  # fmt: skip


def play(rig: Rig, venue: ScriptedVenue, ticks: int) -> None:
    for _ in range(ticks):
        venue.wire += rig.take()
        venue.take_all()
        venue.deliver(rig.decision, rig.now_ns)
        rig.timer(0.2)


def busy(*, closed: bool) -> tuple[Rig, ScriptedVenue]:
    rig, venue = Rig.make(), ScriptedVenue(Random(1), pieces=2)
    rig.signal()
    play(rig, venue, 6)
    if closed:
        venue.trigger(AlgoType.STOP_MARKET)
        play(rig, venue, 6)
        rig.decision.contexts.warm[0] = False
        rig.quote(50010.0, 50011.0)
        rig.decision.contexts.warm[0] = True
        rig.arm(zone=8, stop=49900.0, target=51000.0)
        rig.quote(49999.0, 50000.0)
    return rig, venue


def test_an_engine_that_did_nothing() -> None:
    summary = told(Rig.make(active=False))
    data = json.loads(json.dumps(summary.data(), allow_nan=False))
    assert (data["ok"], data["ledger"], data["signals"]["signals"]) == (True, "agrees", 0)
    assert data["trades"] == {**data["trades"], "closed": 0, "win_rate": None, "average_r": None, "maker_share": None}
    assert data["money"]["net"] == "0 = gross 0 - fees 0 + funding 0"
    text = render(summary)
    assert "ledger agrees" in text
    assert "synthetic prices: profit means nothing" in text
    assert "nan" not in text.lower()


def test_a_busy_engine_tells_what_the_venue_knows() -> None:
    rig, venue = busy(closed=True)
    metrics = Metrics()
    metrics.histogram("loop.late_ns").record(2_000_000)
    data = json.loads(json.dumps(told(rig, metrics=metrics).data(), allow_nan=False))
    assert data["signals"] == {
        "signals": 2, "taken": 1, "refused": {"COST": 1}, "strategy": "on", "strategy_failed_on": {},
        "setups_not_armed": {},
    }  # fmt: skip
    assert data["trades"]["exits"] == {"STOP": 1}
    assert (data["trades"]["entries_filled"], data["trades"]["closed"], data["trades"]["win_rate"]) == (1, 1, "0.0%")
    assert D(data["money"]["equity_end"]) == D(10000) + venue.realized - venue.fees
    assert D(data["money"]["realised"]) == venue.realized
    assert data["positions"] == {"open": []}
    assert data["latency"]["loop"].endswith("ms (p50 / p99)")
    assert data["execution"]["naked_ms"].endswith("(1)")
    assert data["execution"]["slippage_bp"] == "0.00 median, 0.00 p95 (1)"
    assert "refused" in render(told(rig))


def test_what_a_live_session_has_counted_is_a_section_of_its_own() -> None:
    rig, metrics = Rig.make(), Metrics()
    assert "session" not in told(rig, metrics=metrics).data()
    metrics.gauge("session.requests_by_rest", lambda: 3.0)
    assert told(rig, metrics=metrics).data()["session"] == {"requests_by_rest": 3}


def test_an_open_position_is_listed_with_its_stop() -> None:
    rig, _ = busy(closed=False)
    (line,) = told(rig).data()["positions"]["open"]
    assert told(rig).data()["trades"]["entries_filled"] == 1, "it counts before it is closed"
    (trade,) = rig.decision.desk.open_trades()
    assert line == f"BTCUSDT BUY {trade.open_qty} @ 50000, stop 49000, target 53000"
    assert line in render(told(rig))
    snapshot = observer(rig).snapshot()
    (view,) = snapshot.positions
    assert (view.qty, view.stop, view.side) == (str(trade.open_qty), "49000", "BUY")
    assert view.age_s == pytest.approx((rig.now_ns - (trade.first_fill_ns or 0)) / 1e9)
    assert json.loads(json.dumps(attrs.asdict(snapshot), allow_nan=False))["trading"] == "ACTIVE"
    rig.machine.table.symbols["mark"] = float("nan")
    assert observer(rig).snapshot().positions[0].unrealized == "?"


def test_a_position_without_a_confirmed_stop_says_so() -> None:
    rig, venue = Rig.make(), ScriptedVenue(Random(1))
    rig.signal()
    venue.wire += rig.take()
    venue.take_all()
    venue.deliver(rig.decision, rig.now_ns)
    (line,) = told(rig).data()["positions"]["open"]
    assert told(rig).data()["trades"]["entries_filled"] == 1, "it counts before it is closed"
    assert "stop NONE CONFIRMED" in line


@pytest.mark.parametrize(
    ("differences", "failure", "ok", "ledger"),
    [
        ((), "", True, "agrees"),
        (None, "", True, "none"),
        (("fees: 1, 2",), "", False, "differs"),
        ((), "broke", False, "agrees"),
    ],
)
def test_the_exit_code_follows_the_ledger_and_the_failure(
    differences: tuple[str, ...] | None, failure: str, ok: bool, ledger: str
) -> None:
    summary = told(Rig.make(), differences, failure)
    assert (summary.ok, summary.ledger) == (ok, ledger)
    text = render(summary)
    assert ("fees: 1, 2" in text) is bool(differences)
    assert ("broke" in text) is bool(failure)


def test_rates_are_over_the_time_between_two_looks() -> None:
    rig = Rig.make()
    watch = observer(rig)
    first = watch.snapshot()
    for _ in range(9):
        rig.quote(50010.0, 50011.0)
    assert watch.snapshot().ticks_per_s == 0.0, "too soon to tell"
    rig.quote(50010.0, 50011.0, seconds=1.0)
    second = watch.snapshot()
    assert second.ticks - first.ticks == 10
    assert second.ticks_per_s == pytest.approx(10.0)
    assert second.lag_ms == 0.0
    assert second.uptime_s == 1.0


def test_times_and_money_for_people() -> None:
    assert iso(START_MS * 10**6 + 5_000_000) == "2023-11-14T22:13:20.005Z"
    assert (money(D("1234567.005")), money(D("-0.5"))) == ("1,234,567.00", "-0.50")


def test_garbage_is_told_where_it_was_watched() -> None:
    metrics = Metrics()
    assert "garbage" not in told(Rig.make(active=False), metrics=metrics).data()
    watch = GarbageWatch(metrics, lambda: 0)
    watch.full.add(2)
    watch.pause_ns.record(1_500_000)
    section = told(Rig.make(active=False), metrics=metrics).data()["garbage"]
    assert section == {"full_collections": 2, "pauses": "1, 1.500 ms p99, 1.500 ms max"}
