"""What the gate is told: the account with everything that may still come, and prices that may be believed."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aegis.core.messages import OrderRequest
from aegis.core.risk import EntryContext
from aegis.core.values import OrderStatus, SymbolName
from tests.support.core_cases import D, order_update
from tests.support.decision_rig import Rig

BTC = SymbolName("BTCUSDT")


def context(rig: Rig, symbol: int = 0) -> EntryContext:
    decision = rig.decision
    return decision.contexts.entry(
        symbol, rig.now_ns, desk=decision.desk, portfolio=decision.portfolio, foreign=False, gapped=False
    )


def test_an_account_at_rest() -> None:
    account = context(Rig.make()).account
    assert (account.equity, account.free_margin, account.positions) == (D(10000), D(10000), 0)
    assert (account.gross_notional, account.net_notional, account.open_risk, account.open_algos) == (
        D(0),
        D(0),
        D(0),
        0,
    )


def test_an_entry_on_its_way_counts_in_full_until_it_is_known_to_be_over() -> None:
    rig = Rig.make()
    rig.signal()
    (entry,) = rig.take()
    assert isinstance(entry, OrderRequest)
    assert entry.price is not None
    told = context(rig)
    notional = entry.qty * entry.price
    assert (told.account.gross_notional, told.account.net_notional) == (notional, notional)
    assert told.account.free_margin == D(10000) - notional / 5
    assert told.account.open_risk == entry.qty * 1000
    assert (told.symbol_amount, told.symbol_orders, told.account.orders_total) == (entry.qty, 1, 1)
    update = order_update(
        entry, OrderStatus.FILLED, trade_id=1, last_qty=entry.qty, filled_qty=entry.qty, commission=D(0)
    )
    rig.decision.on_user_event(update, rig.now_ns)
    rig.quote(50100.0, 50101.0)
    rig.decision.on_timer(rig.now_ns)
    told = context(rig)
    assert told.account.gross_notional == entry.qty * D(50100), "a position counts at mark"
    assert told.account.equity == D(10000) + entry.qty * 100
    assert (told.account.positions, told.account.open_algos, told.account.orders_total) == (1, 2, 0)
    assert told.account.open_risk == entry.qty * 1000


def test_what_has_never_been_heard_is_zero_and_older_than_any_limit() -> None:
    rig = Rig.make(("BTCUSDT", "ETHUSDT"))
    rig.machine.table.symbols["bid"] = rig.machine.table.symbols["mark"] = float("nan")
    rig.machine.table.symbols["mark_ms"] = -1
    told = context(rig)
    assert told.quote.bid == told.mark == 0
    assert told.fresh.mark_age_ns >= 10**18
    assert told.funding.payments(10**15) == 0
    assert rig.decision.contexts.mark(BTC) is None
    assert rig.decision.contexts.mark(SymbolName("NONE")) is None
    quote = rig.decision.contexts.quote(0)
    assert (quote.bid, quote.ask, quote.mark) == (None, 50011.0, None)


@pytest.mark.parametrize(
    ("price", "known"), [(1e-8, "1E-8"), (50000.1, "50000.1"), (9e14, "900000000000000.0"), (1e15, None), (9e20, None)]
)
def test_prices_are_exact_or_unknown(price: float, known: str | None) -> None:
    rig = Rig.make()
    row = rig.machine.table.symbols[0]
    row["mark"] = row["ask"] = price
    assert rig.decision.contexts.mark(BTC) == (None if known is None else Decimal(known))
    assert context(rig).quote.ask == (0 if known is None else Decimal(known))


def test_funding_is_told_with_its_time() -> None:
    rig = Rig.make()
    row = rig.machine.table.symbols[0]
    row["funding"], row["next_funding_ms"] = 0.0001, rig.now_ns // 10**6 + 60_000
    told = context(rig)
    assert (told.funding.rate, told.funding.due_in_ns) == (D("0.0001"), 60 * 10**9)
    row["funding"], row["next_funding_ms"] = 1e20, 0
    told = context(rig)
    assert (told.funding.rate, told.funding.due_in_ns) == (D(1), 0)


def test_statuses_and_the_universe_are_newer_than_the_specs() -> None:
    rig = Rig.make()
    rig.decision.contexts.statuses[BTC] = "BREAK"
    rig.decision.contexts.dropped = {BTC}
    told = context(rig)
    assert (told.spec.status, told.allowed) == ("BREAK", False)


def test_lag_and_silence_are_measured_in_venue_time() -> None:
    rig = Rig.make()
    rig.machine.table.symbols["quote_ms"] -= 700
    rig.channel.recv_ns -= 123
    told = context(rig)
    assert (told.fresh.event_lag_ns, told.fresh.socket_silence_ns) == (700 * 10**6, 123)
