"""Figures of the summary."""

from __future__ import annotations

import statistics as reference
from typing import Any

import pytest

from aegis.core.messages import Refused
from aegis.core.orders import WorkingOrder
from aegis.core.trade_plan import ExitReason, TradeResult
from aegis.core.trade_statistics import Samples, TradeStatistics, slippage_bps
from aegis.core.values import OrderStatus, Side, TimeInForce
from tests.support.core_cases import BTC, D, make_order, order_update


def result(realized: str, **changes: Any) -> TradeResult:
    fields: dict[str, Any] = {
        "signal_id": "s",
        "symbol": BTC,
        "side": Side.BUY,
        "reason": ExitReason.STOP,
        "qty": D(1),
        "average_entry": D(100),
        "average_exit": D(99),
        "risk": D(10),
        "realized": D(realized),
        "fees": {"USDT": D(1), "BNB": D(5)},
        "margin_asset": "USDT",
        "decision_ns": 0,
        "first_fill_ns": 40_000_000,
        "closed_ns": 10**9,
        "naked_ns": 60_000_000,
        "trigger_to_fill_ms": None,
        "fills": 4,
        "maker_fills": 1,
    }
    return TradeResult(**{**fields, **changes})


def test_nothing_measured_is_none_not_zero() -> None:
    empty = TradeStatistics()
    figures = (empty.win_rate, empty.average_r, empty.expectancy, empty.maker_share, empty.ioc_fill_ratio)
    assert figures == (None,) * 5
    spread = empty.naked_ms.spread
    assert (spread.count, spread.median, spread.p95, spread.p99, spread.highest) == (0, None, None, None, None)


def test_closed_trades_fold_into_the_summary() -> None:
    stats = TradeStatistics()
    stats.trade_closed(result("21", reason=ExitReason.TARGET))
    stats.trade_closed(result("-9", trigger_to_fill_ms=30))
    stats.trade_closed(result("1", naked_ns=90_000_000))
    assert (stats.trades, stats.wins) == (3, 1), "a trade that only paid its fees is no win"
    assert stats.win_rate == D(1) / 3
    assert stats.net == D(10)
    assert stats.average_r == D(1) / 3
    assert stats.expectancy == D(10) / 3
    assert stats.maker_share == D("0.25")
    assert stats.reasons == {ExitReason.TARGET: 1, ExitReason.STOP: 2}
    assert (stats.naked_ms.spread.median, stats.naked_ms.highest) == (60.0, 90.0)
    assert (stats.decision_to_fill_ms.spread.p95, stats.trigger_to_fill_ms.count) == (40.0, 1)


@pytest.mark.parametrize(("side", "average", "bps"), [("BUY", "100.1", 10), ("SELL", "100.1", -10)])
def test_slippage_is_positive_when_the_fill_was_worse(side: str, average: str, bps: int) -> None:
    assert slippage_bps(make_order(side=Side(side)), D(100), D(average)) == bps


def test_the_ioc_ratio_counts_orders_that_reached_the_book() -> None:
    stats = TradeStatistics()
    half = WorkingOrder(request=make_order(tif=TimeInForce.IOC, qty=D(2)), created_ns=0)
    half.on_update(order_update(half.request, OrderStatus.PARTIALLY_FILLED, trade_id=1, filled_qty=D(1)), 1)
    half.on_update(order_update(half.request, OrderStatus.EXPIRED, filled_qty=D(1)), 1)
    refused = WorkingOrder(request=make_order(tif=TimeInForce.IOC), created_ns=0)
    refused.on_outcome(Refused(request=refused.request, code=-2019, message=""), 1)
    resting = WorkingOrder(request=make_order(), created_ns=0)
    resting.on_update(order_update(resting.request, OrderStatus.CANCELED), 1)
    for order in (half, refused, resting):
        stats.entry_ended(order, D(49950))
    assert (stats.entries, stats.entries_filled, stats.ioc_fill_ratio) == (3, 1, D("0.5"))
    assert stats.slippage_bps.highest == pytest.approx(10.01, abs=0.001)


def test_percentiles_are_values_that_occurred() -> None:
    samples = Samples()
    values = [float(x) for x in range(1, 101)]
    for value in reversed(values):
        samples.add(value)
    spread = samples.spread
    assert spread.median == reference.median_low(values)
    assert (spread.p95, spread.p99, spread.highest, spread.count) == (95.0, 99.0, 100.0, 100)


def test_old_samples_leave_but_count_and_maximum_stay() -> None:
    samples = Samples(keep=2)
    for value in (9.0, 1.0, 2.0):
        samples.add(value)
    assert (samples.count, samples.highest, samples.spread.p99) == (3, 9.0, 2.0)
