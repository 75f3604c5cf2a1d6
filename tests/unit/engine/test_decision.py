"""From an armed setup to one decision record, by every way that a signal can go; and who may trade when."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from aegis.core.bracket import TradeState
from aegis.core.errors import InvariantBroken
from aegis.core.messages import OrderRequest, Unknown
from aegis.core.risk import TradingState
from aegis.core.values import ClientId, OrderType, Side, SymbolName, TimeInForce
from aegis.kernels.layout import EVENT
from aegis.kernels.market import mark_gap
from aegis.signals.strategy import Withdraw
from tests.support.core_cases import D, make_order
from tests.support.decision_rig import MS, START_MS, Rig, open_position
from tests.support.depth_cases import depth_text, ladder

BTC = SymbolName("BTCUSDT")
ETH = SymbolName("ETHUSDT")
WIDE: dict[str, Any] = {"max_open_risk_pct": 10, "max_gross_leverage": 10, "max_net_leverage": 10}


# -- the signal --------------------------------------------------------------------------------------------------------
def test_a_taken_signal_leaves_one_record_and_one_entry_at_the_touch_plus_slippage() -> None:
    rig = Rig.make()
    record = rig.signal()
    (entry,) = rig.take()
    assert isinstance(entry, OrderRequest)
    assert (entry.cid, entry.side, entry.tif, entry.reduce_only) == ("1-1", Side.BUY, TimeInForce.IOC, False)
    assert entry.price == D("50025.0"), "5 bp above the ask of 50000"
    assert record["taken"] is True
    assert (record["signal"], record["symbol"], record["cid"]) == ("BTCUSDT:1m:7", "BTCUSDT", "1-1")
    assert (record["level"], record["stop"], record["target"]) == ("50000", "49000", "53000")
    assert (record["bid"], record["ask"], record["seen"]) == ("49999", "50000", 50000.0)
    assert (Decimal(record["qty"]), Decimal(record["price"])) == (entry.qty, entry.price)
    assert Decimal(record["risk"]) <= D(10000) * D("0.004")
    assert (rig.decision.signals, rig.decision.taken) == (1, 1)
    assert rig.pools() == (0, 0)
    plan = rig.decision.desk.trades[BTC].plan
    assert (plan.stop_distance, plan.time_limit_ns) == (D(1000), 600_000 * MS)


def test_a_sell_rounds_and_reaches_the_other_way() -> None:
    rig = Rig.make()
    rig.arm(side=Side.SELL, entry=50100.04, stop=51000.06, target=47000.07)
    rig.quote(50100.1, 50101.0)
    (record,) = rig.pages.of("decision")
    assert (record["level"], record["stop"], record["target"]) == ("50100.1", "51000", "47000"), "towards the market"
    (entry,) = rig.take()
    assert isinstance(entry, OrderRequest)
    assert entry.side is Side.SELL
    assert entry.price is not None
    assert entry.price < D("50100.1")


def test_a_level_fires_once() -> None:
    rig = Rig.make()
    rig.signal()
    for _ in range(3):
        rig.quote(49990.0, 49991.0)
    assert len(rig.pages.of("decision")) == 1
    assert rig.decision.setups.pop(0, 7) is None
    hit = np.zeros(1, rig.machine.table.hits.dtype)
    hit["id"] = 7
    rig.decision.on_hit(hit[0], rig.now_ns)
    assert rig.decision.signals == 1


def _halted(rig: Rig) -> None:
    rig.decision.gate.set_state(TradingState.HALTED, "test")


def _reducing(rig: Rig) -> None:
    rig.decision.gate.set_state(TradingState.REDUCING, "test")


def _reconciling(rig: Rig) -> None:
    rig.decision.on_command("reconciling", rig.now_ns)


def _lane_full(rig: Rig) -> None:
    rig.decision.contexts.lane_full = lambda: True


def _dropped(rig: Rig) -> None:
    rig.decision.on_command("universe BTCUSDT XUSDT", rig.now_ns)


def _break(rig: Rig) -> None:
    rig.decision.on_contract("BTCUSDT", "BREAK", rig.now_ns)


def _old_spec(rig: Rig) -> None:
    rig.decision.contexts.specs_read_ns -= 25 * 3600 * 10**9


def _cold(rig: Rig) -> None:
    rig.decision.contexts.warm[0] = False


def _foreign(rig: Rig) -> None:
    rig.look(foreign=["BTCUSDT"])


def _silent(rig: Rig) -> None:
    rig.decision.contexts.heard_ns = lambda symbol: rig.now_ns - 600 * MS


def _old_mark(rig: Rig) -> None:
    rig.machine.table.symbols["mark_ms"] -= 4000


def _gap(rig: Rig) -> None:
    mark_gap(rig.machine.table, 0)


def _unknown(rig: Rig) -> None:
    rig.decision.desk.store.add(make_order(cid=ClientId("1-90")), rig.now_ns)
    rig.decision.on_outcome(Unknown(request=make_order(cid=ClientId("1-90")), reason="x"), rig.now_ns)


def _position(rig: Rig) -> None:
    open_position(rig)


def _poor(rig: Rig) -> None:
    rig.decision.portfolio.begin(D(10), rig.now_ns)


def _nearly_poor(rig: Rig) -> None:
    rig.decision.portfolio.begin(D(280), rig.now_ns)


DENIALS: list[tuple[str, Callable[[Rig], None], str, str]] = [
    ("HALTED", _halted, "test", "ACTIVE"),
    ("REDUCING", _reducing, "test", "ACTIVE"),
    ("RECONCILING", _reconciling, "reconciling", "reconciled"),
    ("LANE_FULL", _lane_full, "execution lane full", "room"),
    ("NOT_ALLOWED", _dropped, "BTCUSDT", "universe"),
    ("NOT_TRADING", _break, "BREAK", "TRADING"),
    ("SPEC_OLD", _old_spec, str(25 * 3600 * 10**9), str(24 * 3600 * 10**9)),
    ("NOT_WARM", _cold, "warming up", "warm"),
    ("FOREIGN_POSITION", _foreign, "foreign order or position", "none"),
    ("STALE", _silent, "socket silent for 600000000", "500000000"),
    ("STALE", _old_mark, "mark aged 4000000000", "3000000000"),
    ("GAPPED", _gap, "first tick after a gap", "no gap"),
    ("UNKNOWN_ORDER", _unknown, "1", "0"),
    ("SIZE", _poor, "", ""),
    ("MIN_NOTIONAL", _nearly_poor, "49.9990", "50"),
]


@pytest.mark.parametrize(("code", "spoil", "value", "limit"), DENIALS, ids=[f"{d[0]}-{d[1].__name__}" for d in DENIALS])
def test_a_denial_leaves_one_record_with_its_numbers(
    code: str, spoil: Callable[[Rig], None], value: str, limit: str
) -> None:
    rig = Rig.make()
    rig.arm()
    spoil(rig)
    rig.quote(49999.0, 50000.0, mark=spoil is not _old_mark)
    (record,) = rig.pages.of("decision")
    assert (record["taken"], record["code"]) == (False, code)
    if value:
        assert (record["value"], record["limit"]) == (value, limit)
    assert Decimal(record["ask"]) == 50000
    assert rig.take() == []
    assert rig.decision.refused == {code: 1}
    assert (rig.decision.signals, rig.decision.taken) == (1, 0)
    assert rig.pools() == (0, 0)
    assert rig.decision.gate.rate.reserved == 0


@pytest.mark.parametrize(
    ("code", "changes", "bid", "ask"),
    [
        ("COST", {"stop": 49900.0, "target": 51000.0}, 49999.0, 50000.0),
        ("NET_R", {"target": 50900.0}, 49999.0, 50000.0),
        ("GAPPED", {"stop": 40000.0, "target": 90000.0}, 49600.0, 49601.0),
        ("BAD_LEVELS", {}, 48999.0, 48999.5),
        ("BOOK_CROSSED", {}, 50001.0, 50000.0),
        ("PRICE_COLLAR", {}, 49999.0, 50000.0),
        ("LIQUIDATION", {"stop": 44000.0, "target": 79000.0}, 49999.0, 50000.0),
    ],
)
def test_prices_that_are_wrong_are_denied(code: str, changes: dict[str, float], bid: float, ask: float) -> None:
    rig = Rig.make()
    rig.arm(**changes)
    if code == "PRICE_COLLAR":
        row = rig.machine.table.symbols[0]
        row["mark"], row["mark_ms"] = 50400.0, START_MS
    rig.quote(bid, ask, mark=code != "PRICE_COLLAR")
    (record,) = rig.pages.of("decision")
    assert (record["taken"], record.get("code")) == (False, code)
    assert record["value"]
    assert record["limit"]


def test_one_position_a_symbol_and_so_many_in_all() -> None:
    rig = Rig.make(("BTCUSDT", "ETHUSDT"), max_positions=1, **WIDE)
    open_position(rig)
    record = rig.signal(zone=8)
    assert (record["code"], record["limit"]) == ("POSITION_OPEN", "0")
    assert Decimal(record["value"]) > 0
    record = rig.signal(symbol=1, zone=8)
    assert (record["code"], record["value"], record["limit"]) == ("MAX_POSITIONS", "2", "1")


def test_an_absurd_price_is_denied_and_breaks_nothing() -> None:
    rig = Rig.make()
    open_position(rig)
    rig.arm(zone=8, side=Side.SELL, entry=51000.0, stop=52000.0, target=48000.0)
    rig.quote(9e20, 9.1e20)
    (record,) = rig.pages.of("decision")[1:]
    assert record["taken"] is False
    rig.timer(1.0)


# -- who may trade -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", ["reduce test", "halt test", "quarantine"])
def test_what_stops_entries_withdraws_everything_and_the_strategy_forgets(command: str) -> None:
    rig = Rig.make(("BTCUSDT", "ETHUSDT"))
    rig.arm()
    rig.arm(symbol=1)
    assert rig.pools() == (2, 2)
    rig.decision.on_command(command, rig.now_ns)
    assert rig.pools() == (0, 0)
    assert rig.strategy.forgotten == [0, 1]
    rig.arm(zone=8)
    assert rig.pools() == (0, 0), "nothing is armed now"
    rig.quote(49000.0, 49001.0)
    assert rig.pages.of("decision") == []
    rig.decision.on_command("activate again", rig.now_ns)
    rig.quote(50010.0, 50011.0)
    rig.arm(zone=9)
    assert rig.pools() == ((0, 0) if command == "quarantine" else (1, 1))
    verb, _, reason = command.partition(" ")
    assert {"command": verb, "reason": reason} in rig.pages.of("state")


def test_a_halt_from_inside_is_borne_by_a_dead_journal() -> None:
    rig = Rig.make()
    rig.arm()
    rig.decision.halt("cannot be", rig.now_ns)
    assert rig.pages.of("state")[-1] == {"command": "halt", "reason": "cannot be"}
    rig.pages.broken = True
    rig.decision.halt("again", rig.now_ns)
    assert rig.decision.gate.state is TradingState.HALTED
    assert rig.decision.gate.state_reason == "again"
    assert rig.pools() == (0, 0)


def test_cancel_ends_what_would_open_and_flatten_what_is_open() -> None:
    rig = Rig.make(("BTCUSDT", "ETHUSDT"), **WIDE)
    open_position(rig)
    rig.signal(symbol=1)
    (entering,) = rig.take()
    rig.decision.on_command("cancel", rig.now_ns)
    (cancel,) = rig.take()
    assert cancel.cid == entering.cid
    assert rig.decision.desk.trades[BTC].state is TradeState.PROTECTING
    rig.decision.on_command("flatten", rig.now_ns)
    (exit_,) = rig.take()
    assert isinstance(exit_, OrderRequest)
    assert (exit_.symbol, exit_.type, exit_.reduce_only) == ("BTCUSDT", OrderType.MARKET, True)


@pytest.mark.parametrize("name", ["", "flaten", "HALT"])
def test_a_command_that_is_none_changes_nothing_and_says_so(name: str) -> None:
    rig = Rig.make()
    open_position(rig)
    with pytest.raises(InvariantBroken, match="no such command"):
        rig.decision.on_command(name, rig.now_ns)
    assert rig.take() == []


# -- depth -------------------------------------------------------------------------------------------------------------
def see_depth(
    rig: Rig, *asks: tuple[str, str], bid: float = 49999.0, stream: str | None = "depth20@100ms", ago_ms: int = 0
) -> None:
    """A depth message through the strict decoder into the engine."""
    now_ms = rig.now_ns // MS
    text = depth_text(now_ms - ago_ms, 1, ladder(bid, -0.1, "3"), asks, stream=stream)
    rig.machine.strict(text, rig.now_ns)


def test_the_size_is_bound_by_what_is_displayed_from_the_touch_to_the_limit() -> None:
    rig = Rig.make(displayed_pct=0.001)
    see_depth(rig, ("50000.0", "1"), ("50000.1", "1000"), ("50025.0", "500"), ("50025.1", "90000"))
    record = rig.signal()
    assert record["displayed"] == {"qty": "2400", "touch": "900", "levels": 2, "age_ns": 0}
    assert (record["bound_by"], Decimal(record["qty"])) == ("DISPLAYED", D("0.024"))


@pytest.mark.parametrize("stream", ["depth@100ms", None])
def test_differences_of_a_book_are_no_book(stream: str | None) -> None:
    rig = Rig.make(displayed_pct=0.001)
    see_depth(rig, ("50000.0", "1"), ("50000.1", "5000"), stream=stream)
    record = rig.signal()
    assert "displayed" not in record
    assert (record["bound_by"], Decimal(record["qty"])) == ("DISPLAYED", D("0.009"))
    assert rig.machine.other_messages["Depth"] == 1


@pytest.mark.parametrize(("bid", "ago_ms"), [(50000.0, 0), (49999.0, 501)])
def test_a_book_that_is_old_or_of_another_moment_leaves_the_touch(bid: float, ago_ms: int) -> None:
    rig = Rig.make(displayed_pct=0.001)
    see_depth(rig, ("50000.1", "5000"), bid=bid, ago_ms=ago_ms)
    record = rig.signal()
    assert "displayed" not in record
    assert Decimal(record["qty"]) == D("0.009")


def test_a_symbol_that_stops_trading_keeps_its_exits() -> None:
    rig = Rig.make()
    open_position(rig)
    rig.decision.on_contract("BTCUSDT", "SETTLING", rig.now_ns)
    rig.decision.on_command("flatten", rig.now_ns)
    assert len(rig.take()) == 1
    assert {"symbol": "BTCUSDT", "status": "SETTLING"} in rig.pages.of("state")


def test_broken_bars_void_what_was_armed_on_them() -> None:
    rig = Rig.make(("BTCUSDT", "ETHUSDT"))
    rig.arm()
    rig.arm(symbol=1)
    rig.decision.on_cold([0])
    assert rig.pools() == (1, 1)
    assert rig.strategy.forgotten == [0]
    rig.arm(zone=8)
    assert rig.pools() == (1, 1), "a cold symbol is not asked"


def test_the_strategy_may_withdraw() -> None:
    rig = Rig.make()
    rig.arm()
    rig.strategy.advice = [Withdraw(strategy="scripted", symbol=0, timeframe="1m", zone=7, reason="filled")]
    rig.decision.on_events(0, np.zeros(0, EVENT), rig.machine.analysis.front, rig.now_ns)
    assert rig.pools() == (0, 0)


def test_time_gives_back_what_expired() -> None:
    rig = Rig.make()
    rig.arm(expires_ms=START_MS + 1500)
    rig.timer(2.0)
    assert rig.pools() == (0, 0)
