"""The desk over a journal that fails: what it may stop, and what it may not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aegis.core.errors import InvariantBroken
from aegis.core.messages import Accepted, AlgoRequest, CancelRequest, OrderRequest, Refused, Request
from aegis.core.values import OrderStatus
from tests.support.core_cases import order_update
from tests.support.decision_rig import Rig
from tests.support.desk_acts import BTC, entry_of, fill, market_exit


def test_without_a_journal_no_entry_leaves_and_nothing_of_it_stays() -> None:
    rig = Rig.make()
    rig.arm()
    real = rig.pages.append

    def dies_at(kind: str) -> Callable[..., int]:
        def append(what: str, data: dict[str, object], at_ns: int) -> int:
            rig.pages.broken = rig.pages.broken or what == kind
            return real(what, data, at_ns)

        return append

    for number, kind in enumerate(("plan", "intent")):
        rig.pages.broken = False
        rig.arm(zone=20 + number)
        rig.quote(50010.0, 50011.0)
        rig.pages.append = dies_at(kind)  # type: ignore[method-assign]
        with pytest.raises(InvariantBroken, match="disk full"):
            rig.quote(49999.0, 50000.0)
        rig.decision.setups.withdraw_everything()
        rig.quote(50010.0, 50011.0)
        assert rig.sent == [], kind
        assert not rig.decision.desk.trades, kind
        assert not rig.decision.desk.tails, kind
        assert rig.decision.gate.rate.reserved == 0, kind
        assert rig.decision.desk.store.working_count() == 0, kind
        assert rig.decision.references == {}, kind
        assert rig.pools() == (0, 0), kind


def test_an_order_that_has_left_is_followed_though_its_decision_could_not_be_recorded() -> None:
    rig = Rig.make()
    rig.arm()
    rig.decision.desk.send = lambda approved: (rig.sent.append(approved.request), setattr(rig.pages, "broken", True))
    with pytest.raises(InvariantBroken, match="disk full"):
        rig.quote(49999.0, 50000.0)
    (entry,) = rig.take()
    assert isinstance(entry, OrderRequest)
    assert rig.decision.desk.trades[BTC].entry is rig.decision.desk.store.get(entry.cid)
    assert rig.pools() == (0, 0)
    with pytest.raises(InvariantBroken, match="disk full"):
        fill(rig, entry)
    assert [type(one) for one in rig.take()] == [AlgoRequest, AlgoRequest]


def test_without_a_journal_a_filled_entry_is_still_protected_and_booked() -> None:
    rig = Rig.make()
    entry = entry_of(rig)
    rig.pages.broken = True
    with pytest.raises(InvariantBroken, match="disk full"):
        fill(rig, entry)
    stop, target = rig.take()
    assert rig.decision.portfolio.position(BTC).amount == entry.qty
    with pytest.raises(InvariantBroken, match="disk full"):
        rig.decision.on_outcome(Accepted(request=stop, venue_id=900), rig.now_ns)
    assert rig.decision.desk.trades[BTC].stop_confirmed
    with pytest.raises(InvariantBroken, match="disk full"):
        rig.decision.on_command("flatten", rig.now_ns)
    exit_ = market_exit(rig.take())
    done = order_update(exit_, OrderStatus.FILLED, order_id=8, trade_id=2, last_qty=entry.qty, filled_qty=entry.qty)
    with pytest.raises(InvariantBroken, match="disk full"):
        rig.decision.on_user_event(done, rig.now_ns)
    assert not rig.decision.desk.trades
    with pytest.raises(InvariantBroken, match="disk full"):
        rig.timer(0.5)
    assert {r.cid for r in rig.take() if isinstance(r, CancelRequest)} == {stop.cid, target.cid}


def test_without_a_journal_flatten_closes_every_trade_and_the_clock_serves_every_trade() -> None:
    rig = Rig.make(("BTCUSDT", "ETHUSDT"), max_open_risk_pct=10, max_gross_leverage=10, max_net_leverage=10)
    for index in range(2):
        assert rig.signal(symbol=index)["taken"]
        (entry,) = rig.take()
        assert isinstance(entry, OrderRequest)
        fill(rig, entry, trade_id=index + 1, order_id=50 + index)
        rig.take()
    rig.pages.broken = True
    with pytest.raises(InvariantBroken):
        rig.timer(rig.decision.desk.policy.confirm_limit_ns / 1e9)
    exits = [r for r in rig.take() if isinstance(r, OrderRequest)]
    assert {exit_.symbol for exit_ in exits} == {"BTCUSDT", "ETHUSDT"}
    for exit_ in exits:
        with pytest.raises(InvariantBroken):
            rig.decision.on_outcome(Refused(request=exit_, code=-1008, message="throttled"), rig.now_ns)
    rig.now_ns += 10**9
    with pytest.raises(InvariantBroken):
        rig.decision.on_command("flatten", rig.now_ns)
    assert {r.symbol for r in rig.take() if isinstance(r, OrderRequest)} == {"BTCUSDT", "ETHUSDT"}


def test_what_breaks_in_one_trade_does_not_keep_another_from_its_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig.make(("BTCUSDT", "ETHUSDT"), max_open_risk_pct=10, max_gross_leverage=10, max_net_leverage=10)
    for index in range(2):
        assert rig.signal(symbol=index)["taken"]
        (entry,) = rig.take()
        assert isinstance(entry, OrderRequest)
        fill(rig, entry, trade_id=index + 1, order_id=50 + index)
        rig.take()
    broken = rig.decision.desk.trades[BTC]

    def step(now_ns: int) -> tuple[Request, ...]:
        raise InvariantBroken("cannot be")

    monkeypatch.setattr(broken, "step", step)
    with pytest.raises(InvariantBroken, match="cannot be"):
        rig.timer(3600.0)
    assert market_exit(rig.take()).symbol == "ETHUSDT"
