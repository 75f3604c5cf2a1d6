"""Single facts of a journal and what they become; the whole of it is in tests/property/test_recovery.py."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from aegis.core.bracket import TradeState
from aegis.core.messages import AccountUpdate, AlgoRequest, BalanceChange, OrderRequest, Refused
from aegis.core.order_life import OrderState
from aegis.core.values import ClientId, OrderStatus, OrderType, SymbolName
from aegis.engine.records import restore_plan
from aegis.engine.recovery import Recovered, collect, recover
from tests.support.core_cases import D, order_update
from tests.support.decision_rig import Rig

BTC = SymbolName("BTCUSDT")


def reborn(rig: Rig, *, upto: int | None = None) -> Rig:
    """An engine of the same run that knows only the journal."""
    new = Rig.make(active=False)
    new.now_ns = rig.now_ns + 10**9
    recover(new.decision, collect(rig.pages[:upto]), new.now_ns)
    return new


def entered(rig: Rig) -> OrderRequest:
    assert rig.signal()["taken"]
    (entry,) = rig.take()
    assert isinstance(entry, OrderRequest)
    return entry


def filled(rig: Rig) -> OrderRequest:
    entry = entered(rig)
    update = order_update(entry, OrderStatus.FILLED, trade_id=1, last_qty=entry.qty, filled_qty=entry.qty, order_id=5)
    rig.decision.on_user_event(update, rig.now_ns)
    return entry


def tell(rig: Rig, entry: OrderRequest, order_id: int = 5) -> None:
    row = {"side": "BUY", "order_id": order_id, "status": "FILLED", "qty": str(entry.qty), "filled_qty": str(entry.qty)}
    rig.answer("order", {"cid": entry.cid, "symbol": BTC, "asked_ns": rig.now_ns, "alive": True, "row": row})


def test_an_empty_journal_leaves_an_empty_engine() -> None:
    rig = Rig.make(active=False)
    recover(rig.decision, Recovered(), rig.now_ns)
    assert not rig.decision.desk.trades
    assert rig.decision.portfolio.positions == {}


def test_a_fill_without_a_stop_in_the_journal_is_asked_for_and_protected() -> None:
    rig = Rig.make()
    entry = filled(rig)
    upto = next(i for i, record in enumerate(rig.pages) if record.kind == "fill") + 1
    new = reborn(rig, upto=upto)
    assert new.decision.portfolio.position(BTC).amount == entry.qty
    assert [row[1] for row in new.decision.desk.doubtful()] == [entry.cid]
    assert new.sent == []
    tell(new, entry)
    stop, target = new.take()
    assert {stop.cid, target.cid}.isdisjoint({entry.cid})
    assert not [row for row in new.decision.desk.doubtful() if row[1] == entry.cid]


def test_the_time_limit_runs_from_the_first_fill_and_not_from_the_restart() -> None:
    rig = Rig.make()
    entry = filled(rig)
    first_ns = rig.now_ns
    rig.now_ns += 400 * 10**9
    new = reborn(rig)
    tell(new, entry)
    new.take()
    (trade,) = new.decision.desk.open_trades()
    assert trade.first_fill_ns == first_ns
    new.now_ns = first_ns + trade.plan.time_limit_ns
    new.decision.on_timer(new.now_ns)
    assert trade.state is TradeState.EXITING


def test_a_plan_whose_entry_was_never_journalled_is_given_up() -> None:
    rig = Rig.make()
    entered(rig)
    upto = next(i for i, record in enumerate(rig.pages) if record.kind == "plan") + 1
    new = reborn(rig, upto=upto)
    assert not new.decision.desk.trades
    assert new.pages.of("state") == [{"trade": "BTCUSDT:1m:7", "symbol": BTC, "from": "PLANNED", "to": "ABORTED"}]
    assert collect([*rig.pages[:upto], *new.pages]).plans == {}


def test_a_refused_entry_frees_its_symbol() -> None:
    rig = Rig.make()
    entry = entered(rig)
    rig.decision.on_outcome(Refused(request=entry, code=-2019, message="margin"), rig.now_ns)
    upto = next(i for i, record in enumerate(rig.pages) if record.kind == "outcome") + 1
    new = reborn(rig, upto=upto)
    assert not new.decision.desk.trades
    assert new.decision.desk.store.working_count() == 0


def test_a_stop_that_was_refused_as_passed_closes_at_market() -> None:
    rig = Rig.make()
    entry = filled(rig)
    stop, _ = rig.take()
    rig.decision.on_outcome(Refused(request=stop, code=-2021, message="would trigger"), rig.now_ns)
    upto = next(i for i, record in enumerate(rig.pages) if record.kind == "outcome") + 1
    new = reborn(rig, upto=upto)
    order = new.decision.desk.store.get(stop.cid)
    assert order is not None
    assert order.state is OrderState.REFUSED
    tell(new, entry)
    (exit_,) = [r for r in new.take() if isinstance(r, OrderRequest)]
    assert (exit_.type, exit_.reduce_only, exit_.qty) == (OrderType.MARKET, True, entry.qty)


def test_an_exit_under_way_goes_on_with_its_reason_and_is_not_sent_again() -> None:
    rig = Rig.make()
    entry = filled(rig)
    rig.take()
    rig.decision.on_command("flatten", rig.now_ns)
    (exit_,) = [r for r in rig.take() if isinstance(r, OrderRequest)]
    new = reborn(rig)
    tell(new, entry)
    assert [r for r in new.take() if isinstance(r, OrderRequest)] == []
    (trade,) = new.decision.desk.open_trades()
    assert trade.state is TradeState.EXITING
    done = order_update(
        exit_, OrderStatus.FILLED, trade_id=2, last_qty=entry.qty, filled_qty=entry.qty, qty=entry.qty, order_id=6
    )
    new.decision.on_user_event(done, new.now_ns)
    assert new.pages.of("trade")[0]["reason"] == "MANUAL"


def test_what_the_venue_took_away_stays_taken() -> None:
    rig = Rig.make()
    entry = filled(rig)
    rig.take()
    part = OrderRequest(
        cid=ClientId("adl_autoclose"), symbol=BTC, side=entry.side.opposite, type=OrderType.MARKET, qty=D("0.001")
    )
    update = order_update(
        part, OrderStatus.FILLED, trade_id=9, last_qty=part.qty, filled_qty=part.qty, execution="CALCULATED"
    )
    rig.decision.on_user_event(update, rig.now_ns)
    (trade,) = reborn(rig).decision.desk.open_trades()
    assert trade.open_qty == entry.qty - part.qty


def balance(reason: str, change: str, at_ms: int, wallet: str = "1") -> AccountUpdate:
    row = BalanceChange(asset="USDT", wallet=D(wallet), cross_wallet=D(wallet), change=D(change))
    return AccountUpdate(
        event_ms=at_ms, transaction_ms=at_ms, reason=reason, balances=(row,), positions=(), symbol=None
    )


def test_funding_transfers_and_the_starting_equity_survive() -> None:
    rig = Rig.make()
    filled(rig)
    for update in (balance("FUNDING_FEE", "-1.25", 1), balance("DEPOSIT", "50", 2), balance("FUNDING_FEE", "0.5", 3)):
        rig.decision.on_user_event(update, rig.now_ns)
        rig.decision.on_user_event(update, rig.now_ns)
    new = reborn(rig)
    book, old = new.decision.portfolio, rig.decision.portfolio
    assert (book.funding, book.transfers) == (old.funding, old.transfers) == (D("-0.75"), D(50))
    assert (book.realized, book.fees) == (old.realized, old.fees)
    new.answer("account", {"wallet": "12345"})
    assert (book.wallet, book.wallet_start, book.equity_start) == (old.wallet, D(10000), D(10000))
    again = Rig.make(active=False)
    recover(again.decision, collect([*rig.pages, *new.pages]), new.now_ns)
    assert again.decision.portfolio.equity_start == Decimal(10000), "the start of the run, not of its resumption"


def test_partial_targets_survive_with_their_prices_and_are_not_placed_twice() -> None:
    rig = Rig.make()
    assert rig.signal(parts=((51000.0, 0.4), (52000.0, 0.3)))["taken"]
    (entry,) = rig.take()
    assert isinstance(entry, OrderRequest)
    update = order_update(entry, OrderStatus.FILLED, trade_id=1, last_qty=entry.qty, filled_qty=entry.qty, order_id=5)
    rig.decision.on_user_event(update, rig.now_ns)
    asked = rig.take()
    parts = [one for one in asked if isinstance(one, AlgoRequest) and one.qty is not None]
    assert [part.trigger for part in parts] == [D(51000), D(52000)]
    new = reborn(rig)
    tell(new, entry)
    assert new.take() == [], "each of them may live: the venue is asked, nothing is sent again"
    (trade,) = new.decision.desk.open_trades()
    assert [part.request for part in trade.parts] == parts
    assert {row[1] for row in new.decision.desk.doubtful()} >= {part.cid for part in parts}
    assert trade.plan == restore_plan(rig.pages.of("plan")[0])
    without = next(i for i, record in enumerate(rig.pages) if record.data.get("role") == "PART")
    lost = reborn(rig, upto=without)
    tell(lost, entry)
    again = [one for one in lost.take() if isinstance(one, AlgoRequest)]
    assert [(one.trigger, one.qty) for one in again] == [(part.trigger, part.qty) for part in parts]


def test_ids_go_on_above_every_one_that_may_have_been_used() -> None:
    rig = Rig.make()
    filled(rig)
    used = rig.decision.cids_used
    new = reborn(rig)
    following = int(new.decision.next_cid().partition("-")[2])
    assert following > used


def test_a_zone_that_had_its_signal_has_none_after_a_restart() -> None:
    rig = Rig.make()
    assert rig.signal()["taken"]
    new = reborn(rig)
    new.decision.on_command("activate reconciled", new.now_ns)
    new.decision.contexts.warm[:] = True
    new.arm()
    assert new.decision.setups.not_armed == {"decided": 1}
    new.arm(zone=8)
    assert len(new.decision.setups.armed) == 1


@pytest.mark.parametrize("data", [{"command": "halt"}, {"journal": "recovered"}])
def test_other_states_are_no_trades(data: dict[str, Any]) -> None:
    rig = Rig.make()
    entered(rig)
    rig.pages.append("state", data, rig.now_ns)
    rig.pages.append("bars", {"sha256": "x"}, rig.now_ns)
    assert list(collect(rig.pages).plans) == ["BTCUSDT:1m:7"]


def test_what_the_summary_counts_goes_on_over_a_restart() -> None:
    rig = Rig.make()
    entry = filled(rig)
    stop, _ = rig.take()
    assert isinstance(stop, AlgoRequest)
    done = order_update(
        stop, OrderStatus.FILLED, side=stop.side, qty=entry.qty, trade_id=2, last_qty=entry.qty, filled_qty=entry.qty,
        order_id=6, realized_pnl=D("-8"),
    )  # fmt: skip
    rig.decision.on_user_event(done, rig.now_ns)
    rig.decision.audit.sight(BTC, rig.now_ns)
    rig.quote(50010.0, 50011.0)
    assert not rig.signal(zone=8)["taken"]
    new = reborn(rig)
    for name in ("trades", "wins", "net", "r_sum", "reasons", "fills", "entries_filled"):
        assert getattr(new.decision.statistics, name) == getattr(rig.decision.statistics, name), name
    assert new.decision.statistics.trades == 1
    assert (new.decision.signals, new.decision.taken) == (2, 1)
    assert new.decision.refused == rig.decision.refused == {"FOREIGN_POSITION": 1}
