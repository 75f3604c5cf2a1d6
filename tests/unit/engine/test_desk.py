"""The desk over a journal in memory: order of acts, protection, doubt."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import attrs
import pytest

from aegis.core.bracket import ExitReason
from aegis.core.errors import InvariantBroken
from aegis.core.messages import AlgoRequest, CancelRequest, OrderRequest, Refused, Unknown
from aegis.core.order_store import OrderStore
from aegis.core.values import AlgoStatus, AlgoType, ClientId, OrderStatus, Side
from tests.support.core_cases import D, algo_update, order_update, trade_lite
from tests.support.decision_rig import Rig
from tests.support.desk_acts import BTC, entry_of, fill, market_exit, protect
from tests.support.scripted_venue import ScriptedVenue


def test_every_request_is_in_the_journal_before_it_is_handed_on() -> None:
    rig = Rig.make()
    entry, stop, target = protect(rig)
    rig.decision.on_command("flatten", rig.now_ns)
    exit_ = market_exit(rig.take())
    acts = [act for act in rig.log if act[0] == "send" or act[1].startswith(("intent", "plan"))]
    assert acts == [
        ("journal", "plan"),
        *(act for r in (entry, stop, target, exit_) for act in (("journal", f"intent {r.cid}"), ("send", r.cid))),
    ]


def test_the_first_execution_places_stop_and_target() -> None:
    rig = Rig.make()
    entry = entry_of(rig)
    fill(rig, entry)
    stop, target = rig.take()
    assert isinstance(stop, AlgoRequest)
    assert isinstance(target, AlgoRequest)
    assert (stop.type, stop.trigger, stop.side, stop.price_protect) == (
        AlgoType.STOP_MARKET,
        D(49000),
        Side.SELL,
        False,
    )
    assert (target.type, target.trigger) == (AlgoType.TAKE_PROFIT_MARKET, D(53000))
    assert [row["trade_id"] for row in rig.pages.of("fill")] == [1]
    assert rig.decision.portfolio.position(BTC).amount == entry.qty


def test_a_fast_copy_protects_at_once_and_is_booked_once_its_fee_is_known() -> None:
    rig = Rig.make()
    entry = entry_of(rig)
    rig.decision.on_user_event(trade_lite(entry, 1, entry.qty), rig.now_ns)
    assert len(rig.take()) == 2
    assert rig.pages.of("fill") == []
    assert rig.asked, "if the full report does not follow, the venue is asked"
    fill(rig, entry, last_price=D("50000"))
    assert rig.pages.of("fill")[0]["commission"] == "0.1"
    assert rig.decision.portfolio.position(BTC).amount == entry.qty
    assert entry.cid not in {row[1] for row in rig.decision.desk.doubtful()}


def test_a_trade_is_over_only_when_the_fees_of_its_exit_are_known() -> None:
    rig = Rig.make()
    entry, stop, _ = protect(rig)
    rig.decision.on_user_event(trade_lite(stop, 2, entry.qty, order_id=77, last_price=D(49000)), rig.now_ns)
    assert BTC in rig.decision.desk.trades
    done = order_update(
        stop, OrderStatus.FILLED, order_id=77, qty=entry.qty, trade_id=2, last_qty=entry.qty, last_price=D(49000),
        filled_qty=entry.qty, realized_pnl=D(-7),
    )  # fmt: skip
    rig.decision.on_user_event(done, rig.now_ns)
    (trade,) = rig.pages.of("trade")
    assert (trade["reason"], trade["realized"], trade["net"]) == ("STOP", "-7", "-7.2")
    assert rig.decision.statistics.net == D("-7.2")


@pytest.mark.parametrize("code", [-2021, -4142])
def test_a_stop_refused_as_passed_closes_at_market(code: int) -> None:
    rig = Rig.make()
    entry = entry_of(rig)
    fill(rig, entry)
    stop, _ = rig.take()
    rig.decision.on_outcome(Refused(request=stop, code=code, message="would trigger"), rig.now_ns)
    assert market_exit(rig.take()).qty == entry.qty
    assert rig.decision.rejects[code] == 1
    assert rig.pages.of("intent")[-1]["reason"] == ExitReason.STOP_REFUSED.value


@pytest.mark.parametrize("way", ["reply", "silence"])
def test_an_unknown_fate_is_asked_and_never_sent_again(way: str) -> None:
    rig = Rig.make()
    entry = entry_of(rig)
    if way == "reply":
        rig.decision.on_outcome(Unknown(request=entry, reason="timeout"), rig.now_ns)
    else:
        budget_ns = rig.decision.desk.reply_budget_ns
        assert rig.decision.desk.next_ns() == rig.now_ns + budget_ns
        rig.timer(budget_ns / 1e9)
    assert list(rig.decision.desk.doubtful()) == [(BTC, entry.cid, False, None)]
    assert rig.asked
    assert rig.pages.of("outcome")[-1]["what"] == "unknown"
    for _ in range(20):
        rig.timer(1.0)
    assert rig.take() == []
    found = {"side": "BUY", "order_id": 5, "status": "FILLED", "qty": str(entry.qty), "filled_qty": str(entry.qty)}
    rig.answer("order", {"cid": entry.cid, "symbol": BTC, "asked_ns": rig.now_ns, "alive": True, "row": found})
    assert list(rig.decision.desk.doubtful()) == [(BTC, entry.cid, False, 5)], "its executions are missing"
    row = {
        "trade_id": 3, "order_id": 5, "side": "BUY", "price": "50000", "qty": str(entry.qty), "commission": "1",
        "commission_asset": "USDT", "realized": "0", "maker": False, "time_ms": 1,
    }  # fmt: skip
    rig.answer("fills", {"cid": entry.cid, "symbol": BTC, "rows": [row]})
    assert len(rig.take()) == 2
    rig.answer("fills", {"cid": entry.cid, "symbol": BTC, "rows": [row]})
    rig.answer("fills", {"cid": "1-999", "symbol": BTC, "rows": [row]})
    assert len(rig.pages.of("fill")) == 1
    assert rig.decision.portfolio.position(BTC).amount == entry.qty


def test_an_order_that_never_arrived_is_absent_only_when_asked_twice() -> None:
    rig = Rig.make()
    entry = entry_of(rig)
    rig.decision.on_outcome(Unknown(request=entry, reason="timeout"), rig.now_ns)
    desk = rig.decision.desk
    window_s = desk.absence.recv_window_ns / 1e9

    def ask(cid: str, seconds: float) -> None:
        rig.now_ns += int(seconds * 1e9)
        rig.answer("order", {"cid": cid, "symbol": BTC, "asked_ns": rig.now_ns, "alive": True, "row": None})

    ask(entry.cid, 0.0)
    ask(entry.cid, window_s + desk.absence.margin_ns / 1e9)
    ask("1-999", 0.0)
    assert BTC in desk.trades
    ask(entry.cid, window_s)
    assert not desk.trades
    assert not desk.tails
    assert rig.pages.of("state")[-1] == {"trade": "BTCUSDT:1m:7", "symbol": BTC, "from": "ENTERING", "to": "ABORTED"}
    assert rig.decision.gate.rate.reserved == 0


def test_a_conditional_order_in_doubt_is_found_by_its_own_look_up() -> None:
    rig = Rig.make()
    entry = entry_of(rig)
    fill(rig, entry)
    stop, _ = rig.take()
    rig.decision.on_outcome(Unknown(request=stop, reason="timeout"), rig.now_ns)
    assert (BTC, stop.cid, True, None) in list(rig.decision.desk.doubtful())
    said = {"cid": stop.cid, "symbol": BTC, "asked_ns": rig.now_ns, "alive": True}
    rig.answer("algo", {**said, "row": None})
    rig.answer(
        "order", {**said, "row": {"side": "SELL", "order_id": 1, "status": "NEW", "qty": "1", "filled_qty": "0"}}
    )
    assert not rig.decision.desk.trades[BTC].stop_confirmed
    rig.answer("algo", {**said, "row": {"algo_id": 9, "status": "NEW", "order_id": None, "filled_qty": "0"}})
    assert rig.decision.desk.trades[BTC].stop_confirmed
    assert rig.take() == []


@pytest.mark.parametrize("prefix", ["autoclose-12", "adl_autoclose", "settlement_autoclose-3"])
def test_what_the_venue_closes_itself_ends_the_trade(prefix: str) -> None:
    rig = Rig.make()
    entry, stop, target = protect(rig)
    close = attrs.evolve(entry, cid=ClientId(prefix), side=Side.SELL)
    started = order_update(close, OrderStatus.NEW)
    rig.decision.on_user_event(started, rig.now_ns)
    assert BTC in rig.decision.desk.trades
    update = order_update(
        close, OrderStatus.FILLED, execution="CALCULATED", trade_id=9, last_qty=entry.qty, filled_qty=entry.qty
    )
    rig.decision.on_user_event(update, rig.now_ns)
    assert not rig.decision.desk.trades
    assert not rig.decision.audit.foreign
    assert rig.decision.portfolio.position(BTC).amount == 0
    assert rig.pages.of("trade")[0]["reason"] == "LIQUIDATION"
    assert rig.take() == [], "the venue expires them by itself, if it is given the time"
    rig.timer(0.5)
    assert {r.cid for r in rig.take() if isinstance(r, CancelRequest)} == {stop.cid, target.cid}
    strangers = rig.decision.desk.strangers
    rig.decision.on_user_event(attrs.evolve(update, trade_id=10), rig.now_ns)
    assert rig.decision.desk.strangers == strangers + 1, "a liquidation of what is not ours"


def test_an_ended_trade_frees_its_symbol_and_is_followed_until_nothing_is_left() -> None:
    rig = Rig.make()
    entry, stop, target = protect(rig)
    update = algo_update(stop, AlgoStatus.TRIGGERED, algo_id=900, order_id=77)
    rig.decision.on_user_event(update, rig.now_ns)
    done = order_update(
        stop, OrderStatus.FILLED, order_id=77, qty=entry.qty, trade_id=2, last_qty=entry.qty, filled_qty=entry.qty
    )
    rig.decision.on_user_event(done, rig.now_ns)
    desk = rig.decision.desk
    assert not desk.trades
    assert list(desk.tails) == [BTC]
    due_ns = desk.next_ns()
    assert due_ns is not None
    rig.timer((due_ns - rig.now_ns) / 1e9)
    (cancel,) = rig.take()
    assert cancel == CancelRequest(cid=target.cid, symbol=BTC, algo=True)
    assert rig.decision.gate.rate.reserved == 0
    rig.decision.on_outcome(Refused(request=cancel, code=-2011, message="unknown order"), rig.now_ns)
    assert list(desk.doubtful()) == [(BTC, target.cid, True, None)]
    rig.timer(60.0)
    assert list(desk.tails) == [BTC]
    row = {"algo_id": 901, "status": "EXPIRED", "order_id": None, "filled_qty": "0"}
    rig.answer("algo", {"cid": target.cid, "symbol": BTC, "asked_ns": rig.now_ns, "alive": True, "row": row})
    assert not desk.tails
    assert not tuple(desk.store.open())


def test_an_execution_of_a_forgotten_order_that_is_told_again_is_not_somebody_elses() -> None:
    rig = Rig.make()
    desk = rig.decision.desk
    desk.store = OrderStore(keep=1)
    entry, stop, target = protect(rig)
    rig.decision.on_user_event(algo_update(stop, AlgoStatus.TRIGGERED, algo_id=900, order_id=77), rig.now_ns)
    closing = order_update(
        stop, OrderStatus.FILLED, order_id=77, qty=entry.qty, trade_id=2, last_qty=entry.qty, filled_qty=entry.qty
    )
    rig.decision.on_user_event(closing, rig.now_ns)
    rig.decision.on_user_event(algo_update(target, AlgoStatus.EXPIRED, algo_id=901), rig.now_ns)
    assert desk.store.get(entry.cid) is None, "the store has forgotten it"
    rig.quote(50010.0, 50011.0)
    assert rig.signal(zone=8)["taken"]
    (second,) = rig.take()
    assert isinstance(second, OrderRequest)
    fill(rig, second, trade_id=3)
    rig.take()
    before = attrs.asdict(rig.decision.portfolio.position(BTC))
    fill(rig, entry, trade_id=1)
    assert desk.trades[BTC].outside == {}
    assert attrs.asdict(rig.decision.portfolio.position(BTC)) == before
    assert rig.take() == []


def test_a_second_trade_of_a_symbol_breaks_the_invariant() -> None:
    rig = Rig.make()
    entry_of(rig)
    desk = rig.decision.desk
    plan = desk.trades[BTC].plan
    approved = rig.decision.gate.approve_exit(CancelRequest(cid=ClientId("x-1"), symbol=BTC), rig.now_ns)
    with pytest.raises(InvariantBroken, match="a second trade"):
        desk.open(plan, approved, rig.now_ns)  # type: ignore[arg-type]


def test_leaving_a_symbol_without_a_trade_does_nothing() -> None:
    rig = Rig.make()
    rig.decision.desk.exit(BTC, ExitReason.MANUAL, rig.now_ns)
    assert rig.sent == []
    assert rig.decision.desk.next_ns() is None


def test_every_open_order_is_named_after_the_private_stream_was_down() -> None:
    rig = Rig.make()
    _, stop, target = protect(rig)
    assert list(rig.decision.desk.doubtful()) == []
    assert {row[1:3] for row in rig.decision.desk.unsettled()} == {(stop.cid, True), (target.cid, True)}


def test_a_whole_life_agrees_with_the_venues_books() -> None:
    for seed in range(8):
        rig = Rig.make()
        venue = ScriptedVenue(
            Random(seed), pieces=seed % 3 + 1, lite=bool(seed % 2), share=D("0.5") if seed > 3 else D(1)
        )
        rig.signal()
        for tick in range(12):
            venue.wire += rig.take()
            venue.take_all()
            venue.deliver(rig.decision, rig.now_ns)
            if tick == 4:
                venue.trigger(AlgoType.STOP_MARKET if seed % 2 else AlgoType.TAKE_PROFIT_MARKET)
            rig.timer(0.2)
        book = rig.decision.portfolio
        assert (book.realized, book.fees["USDT"], venue.position) == (venue.realized, venue.fees, Decimal(0))
        assert book.wallet == D(10000) + venue.realized - venue.fees
        assert rig.decision.statistics.net == venue.realized - venue.fees
        assert not rig.decision.desk.trades
        assert not tuple(rig.decision.desk.store.open())
        assert not venue.repeated
