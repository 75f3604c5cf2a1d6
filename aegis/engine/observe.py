"""Snapshots of the running engine for people: read on the loop, changed by nobody."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal

import attrs

from aegis.core.bracket import Trade
from aegis.core.filters import plain
from aegis.engine.machine import Machine
from aegis.engine.snapshot import PositionView, Snapshot
from aegis.kernels.market import COUNTERS
from aegis.runtime.metrics import Metrics

__all__ = ["SESSION_COUNTS", "Observer", "iso", "ticks"]

#: How the gauges begin that a summary shows of a live session.
SESSION_COUNTS = "session."

_MS = 1e-6
#: Stages that are shown, by their histogram.
_STAGES = {
    "read": "feed.read_ns",
    "analysis": "analysis.job_ns",
    "decision wait": "lane.decision.wait_ns",
    "execution wait": "lane.execution.wait_ns",
    "hit": "decision.hit_ns",
    "journal": "journal.append_ns",
    "order wait": "order.wait_ns",
    "order encode": "order.encode_ns",
    "order send": "order.send_ns",
    "loop": "loop.late_ns",
}
_TICKS = [COUNTERS[name] for name in ("quotes", "agg_trades", "trades", "marks")]


def ticks(machine: Machine) -> int:
    """Ticks of our symbols since the start, whatever became of them."""
    return int(machine.table.counters[_TICKS].sum())


def iso(now_ns: int) -> str:
    """UTC, to the millisecond."""
    at = datetime.datetime.fromtimestamp(now_ns / 1e9, datetime.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@attrs.define(kw_only=True, eq=False)
class Observer:
    """Makes snapshots; rates are since the snapshot before."""

    machine: Machine
    metrics: Metrics
    venue_ns: Callable[[], int]
    run: str
    mode: str
    phase: Callable[[], str]
    started_ns: int
    _last: tuple[int, int] = (0, 0)
    _rate: float = 0.0

    def snapshot(self) -> Snapshot:
        machine, now_ns = self.machine, self.venue_ns()
        decision = machine.decision
        count = ticks(machine)
        last_ns, last_count = self._last
        if now_ns - last_ns >= 400_000_000:
            if last_ns:
                self._rate = (count - last_count) * 1e9 / (now_ns - last_ns)
            self._last = (now_ns, count)
        portfolio = decision.portfolio
        return Snapshot(
            run=self.run,
            mode=self.mode,
            phase=self.phase(),
            trading=decision.gate.state.value,
            at=iso(now_ns),
            uptime_s=(now_ns - self.started_ns) / 1e9,
            ticks=count,
            ticks_per_s=self._rate,
            lag_ms=self._lag_ms(now_ns),
            symbols=len(decision.specs),
            warm=int(decision.contexts.warm.sum()),
            levels=len(decision.setups.armed),
            signals=decision.signals,
            taken=decision.taken,
            refused=dict(decision.refused),
            working_orders=decision.desk.store.working_count(),
            trades=decision.statistics.trades,
            equity=money(portfolio.equity),
            realized=money(portfolio.realized),
            fees=money(sum(portfolio.fees.values(), Decimal(0))),
            positions=tuple(self.position(trade, now_ns) for trade in decision.desk.open_trades() if trade.open_qty),
            latency_ms=self.latency_ms(),
            unheard=self._unheard(),
        )

    def _unheard(self) -> int:
        symbols = self.machine.table.symbols[: len(self.machine.decision.specs)]
        return int(((symbols["quote_recv_ns"] == 0) | (symbols["last_id"] < 0)).sum())

    def _lag_ms(self, now_ns: int) -> float:
        """Since the newest event time of any quote; negative where the clocks disagree."""
        newest = int(self.machine.table.symbols["quote_ms"].max())
        return (now_ns - newest * 1_000_000) * _MS if newest else 0.0

    def position(self, trade: Trade, now_ns: int) -> PositionView:
        entry = trade.entry
        assert entry is not None, "a trade with a position has its entry"
        portfolio = self.machine.decision.portfolio
        mark = self.machine.decision.contexts.mark(trade.plan.symbol)
        held = portfolio.position(trade.plan.symbol)
        return PositionView(
            symbol=trade.plan.symbol,
            side=trade.plan.side.value,
            qty=plain(trade.open_qty),
            entry=f"{entry.tape.average:.8g}",
            stop=plain(trade.plan.stop) if trade.stop_confirmed else "",
            target=plain(trade.plan.target),
            unrealized=money(held.unrealized(mark)) if mark is not None else "?",
            age_s=(now_ns - (trade.first_fill_ns or now_ns)) / 1e9,
        )

    def latency_ms(self) -> dict[str, tuple[float, float]]:
        """(p50, p99) of each stage, in milliseconds."""
        shown = {}
        for name, histogram in _STAGES.items():
            measured = self.metrics.histogram(histogram)
            if measured.count:
                shown[name] = (measured.percentile(50) * _MS, measured.percentile(99) * _MS)
        return shown


def money(amount: Decimal) -> str:
    """Two decimals, for people; records hold the exact figures."""
    return f"{amount:,.2f}"
