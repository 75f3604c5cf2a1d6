"""The decision and the account: whose orders they are, what the venue says of positions, what bars leave behind."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
import numpy as np
import pytest

from aegis.core.errors import InvariantBroken
from aegis.core.messages import AccountUpdate, BalanceChange, ConfigUpdate, OrderRequest, OrderUpdate, Refused
from aegis.core.values import ClientId, OrderStatus, SymbolName
from aegis.engine.decision import last_bar
from aegis.kernels import levels
from aegis.kernels.analysis import AnalysisParams, SeedCode, new_state, seed, set_live_from
from aegis.kernels.layout import BAR
from tests.support.compiled import compiled
from tests.support.core_cases import D, make_order, order_update
from tests.support.decision_rig import START_MS, Rig, make_setup, open_position

BTC = SymbolName("BTCUSDT")
ETH = SymbolName("ETHUSDT")
WIDE: dict[str, Any] = {"max_open_risk_pct": 10, "max_gross_leverage": 10, "max_net_leverage": 10}


def funding(change: str, at_ms: int) -> AccountUpdate:
    row = BalanceChange(asset="USDT", wallet=D(1), cross_wallet=D(1), change=D(change))
    return AccountUpdate(
        event_ms=at_ms, transaction_ms=at_ms, reason="FUNDING_FEE", balances=(row,), positions=(), symbol=BTC
    )


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


def test_an_order_of_somebody_else_closes_its_symbol_for_entries_until_it_is_gone() -> None:
    rig = Rig.make(("BTCUSDT", "ETHUSDT"))
    earlier = order_update(make_order(cid=ClientId("0-4")), OrderStatus.NEW)
    rig.decision.on_user_event(earlier, rig.now_ns)
    assert rig.decision.audit.foreign == set()
    rig.decision.on_user_event(attrs.evolve(earlier, cid=ClientId("web_1")), rig.now_ns)
    assert rig.decision.audit.foreign == {BTC}
    assert rig.decision.desk.strangers == 2
    assert rig.signal()["code"] == "FOREIGN_POSITION"
    assert rig.signal(symbol=1)["taken"]
    rig.look(ago_s=0.001)
    assert rig.decision.audit.foreign == {BTC}, "the account was read before the order was seen"
    rig.now_ns += 1
    rig.look()
    assert rig.decision.audit.foreign == set()


def test_a_position_that_no_trade_explains_is_left_alone() -> None:
    rig = Rig.make(("BTCUSDT", "ETHUSDT"), **WIDE)
    entry = open_position(rig)
    rig.look({"BTCUSDT": str(entry.qty)})
    assert rig.decision.audit.foreign == set()
    strange = {"BTCUSDT": str(entry.qty), "ETHUSDT": "-2.50"}
    rig.look(strange, foreign=["XUSDT"])
    assert rig.decision.audit.foreign == {ETH, "XUSDT"}
    assert rig.pages.of("reconcile") == [], "an execution may be on its way"
    rig.look(strange)
    assert rig.pages.of("reconcile") == [{"symbol": "ETHUSDT", "ours": "0", "venue": "-2.5"}]
    assert rig.decision.audit.unexplained() == [], "no trade of ours: nothing to explain"
    assert rig.decision.audit.foreign == {ETH}
    rig.look({"BTCUSDT": str(entry.qty)})
    assert rig.decision.audit.foreign == set(), "what is gone does not lock its symbol"
    rig.pages.broken = True
    rig.look({})
    with pytest.raises(InvariantBroken):
        rig.look({})
    assert BTC in rig.decision.audit.foreign, "known before it is written"


def test_a_difference_must_be_found_twice_the_same_before_its_cause_is_asked_for() -> None:
    rig = Rig.make()
    entry = open_position(rig)
    for amount in ("0", "0.001", "0"):
        rig.look({"BTCUSDT": amount})
        assert rig.decision.audit.unexplained() == []
        assert rig.decision.audit.wanted
    rig.look({"BTCUSDT": "0"})
    assert [symbol for symbol, _ in rig.decision.audit.unexplained()] == [BTC]
    row = {"trade_id": 99, "order_id": 5, "side": "SELL", "price": "50500", "qty": str(entry.qty), "commission": "1",
           "commission_asset": "USDT", "realized": "7", "maker": False, "time_ms": START_MS}  # fmt: skip
    for _ in range(2):
        rig.answer("outside", {"symbol": BTC, "rows": [row], "cids": ["web_7"]})
    assert not rig.decision.desk.trades
    assert rig.decision.portfolio.positions == {}
    assert rig.decision.portfolio.realized == 7
    (fill,) = [fill for fill in rig.pages.of("fill") if "outside" in fill]
    assert (fill["cid"], fill["outside"]) == ("web_7", "ELSEWHERE")
    assert rig.pages.of("trade")[0]["reason"] == "ELSEWHERE"
    rig.look()
    assert rig.decision.audit.foreign == set()


def test_an_order_under_our_id_that_nobody_knows_is_cancelled_at_the_second_look() -> None:
    rig = Rig.make()
    entry = open_position(rig)
    known = {str(order.cid) for order in rig.decision.desk.store.open()}
    rig.take()
    listed = [*((BTC, cid, True) for cid in sorted(known)), (BTC, "0-7", True), (BTC, "0-8", False)]
    held = {"BTCUSDT": str(entry.qty)}
    rig.look(held, ours=listed)
    assert rig.take() == []
    assert rig.decision.audit.wanted
    rig.look(held, ours=listed[:-1])
    (cancel,) = rig.take()
    assert (cancel.cid, cancel.symbol, cancel.algo) == ("0-7", BTC, True)
    assert rig.pages.of("reconcile") == [{"symbol": BTC, "stray": "0-7"}]
    rig.look(held, ours=[(BTC, "0-9", True)])
    assert rig.take() == [], "another one, seen once"


def test_income_while_nobody_listened_is_booked_once_with_the_stream() -> None:
    rig = Rig.make()
    paid = funding("-1.5", 1_000_000)
    rig.decision.on_user_event(paid, rig.now_ns)
    rows = [
        {"type": kind, "symbol": symbol, "asset": "USDT", "amount": amount, "time_ms": ms, "tran_id": number}
        for number, (kind, symbol, amount, ms) in enumerate(
            [("FUNDING_FEE", "BTCUSDT", "-1.5", 1_002_000), ("FUNDING_FEE", "BTCUSDT", "-2", 29_800_000),
             ("REALIZED_PNL", "BTCUSDT", "9", 1), ("COMMISSION", "BTCUSDT", "-9", 1), ("TRANSFER", "", "50", 2)]
        )
    ]  # fmt: skip
    for _ in range(2):
        rig.answer("income", {"rows": rows})
    book = rig.decision.portfolio
    assert (book.funding, book.transfers, book.realized) == (D("-3.5"), D(50), D(0))
    moved = [record for record in rig.pages.of("account") if "change" in record]
    assert [(record["change"], record["income"]) for record in moved] == [("-1.5", False), ("-2", True), ("50", True)]


def test_a_wallet_that_differs_for_minutes_is_taken_over() -> None:
    rig = Rig.make()
    for wallet in ("10007", "10008", "10007", "10007"):
        rig.answer("account", {"wallet": wallet})
        assert rig.decision.portfolio.wallet == 10_000, "it may be on its way"
    rig.answer("account", {"wallet": "10007"})
    assert (rig.decision.portfolio.wallet, rig.decision.portfolio.transfers) == (10_007, 7)


def test_an_exit_that_had_nothing_to_reduce_asks_for_the_account() -> None:
    rig = Rig.make()
    open_position(rig)
    rig.take()
    rig.decision.on_command("flatten", rig.now_ns)
    (exit_,) = [request for request in rig.take() if isinstance(request, OrderRequest)]
    asked = rig.asked
    rig.decision.on_outcome(Refused(request=exit_, code=-2022, message="ReduceOnly Order is rejected."), rig.now_ns)
    assert rig.decision.audit.wanted
    assert rig.asked > asked


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
        rig.decision.on_bars(bars, rig.machine.analysis.front, ())
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
    compiled(levels.check)(rig.machine.table, 0, levels.ASK, 49999.0, START_MS, rig.now_ns)
    assert levels.pending_hits(rig.machine.table) == 1
    rig.decision.on_command("reduce stopping", rig.now_ns)
    rig.machine.decide_hits(rig.now_ns)
    assert rig.pages.of("decision") == [], "the unread hit of a withdrawn level is stale"


def test_setups_and_updates_of_the_tests_are_what_they_claim() -> None:
    assert make_setup().risk == 1000.0
    assert isinstance(order_update(make_order(), OrderStatus.NEW), OrderUpdate)
