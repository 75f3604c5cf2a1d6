"""What a run or a replay came to: one value, read from the engine once it has stopped."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs

from aegis.core.filters import plain
from aegis.core.trade_statistics import Samples
from aegis.engine.machine import Machine
from aegis.engine.observe import SESSION_COUNTS, Observer, money, ticks
from aegis.kernels.analysis import counter
from aegis.kernels.market import counts

__all__ = ["Summary", "summarize"]

SYNTHETIC = "synthetic prices: profit means nothing"


@attrs.frozen(kw_only=True)
class Summary:
    """Sections in the order in which they are shown; `ok` decides the exit code."""

    sections: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]
    differences: tuple[str, ...]
    failure: str
    """Why the run ended by itself; empty when it was told to stop."""
    ledger: str
    """`agrees`, `differs`, or `none` where no ledger of the venue's can be read."""

    @property
    def ok(self) -> bool:
        return self.ledger != "differs" and not self.differences and not self.failure

    def data(self) -> dict[str, Any]:
        return {
            **{name: dict(section) for name, section in self.sections.items()},
            "notes": list(self.notes),
            "ledger": self.ledger,
            "differences": list(self.differences),
            "failure": self.failure,
            "ok": self.ok,
        }


def summarize(
    machine: Machine,
    observer: Observer,
    now_ns: int,
    *,
    run: Mapping[str, Any],
    fill_model: str,
    synthetic: bool,
    differences: tuple[str, ...] | None,
    failure: str = "",
) -> Summary:
    """Read the engine once it has stopped. `differences` None: there is no ledger to compare with."""
    sections = {
        "run": dict(run),
        "market": _market(machine),
        "signals": _signals(machine),
        "money": _money(machine, now_ns),
        "trades": _trades(machine),
        "execution": _execution(machine),
        "positions": {"open": [_position(row) for row in observer.snapshot().positions]},
        "latency": {
            name: f"{p50:.3f} / {p99:.3f} ms (p50 / p99)" for name, (p50, p99) in observer.latency_ms().items()
        },
        **_session(observer),
        **_garbage(observer),
        "model": {"fills": fill_model},
    }
    found = () if differences is None else differences
    return Summary(
        sections=sections,
        notes=(SYNTHETIC,) if synthetic else (),
        differences=found,
        failure=failure,
        ledger="none" if differences is None else "differs" if found else "agrees",
    )


def _session(observer: Observer) -> dict[str, dict[str, Any]]:
    """What the ways to the venue have counted, where it was a live session."""
    numbers = observer.metrics.snapshot()
    told = {name: int(number) for name, number in numbers.items() if name.startswith(SESSION_COUNTS)}
    return {"session": {name.removeprefix(SESSION_COUNTS): count for name, count in told.items()}} if told else {}


def _garbage(observer: Observer) -> dict[str, dict[str, Any]]:
    """The section on garbage collection since the warm-up, where it was watched."""
    numbers = observer.metrics.snapshot()
    if "gc.full_collections" not in numbers:
        return {}
    count, p99, longest = (numbers[f"gc.pause_ns.{part}"] for part in ("count", "p99", "max"))
    pauses = f"{count:,.0f}, {p99 / 1e6:.3f} ms p99, {longest / 1e6:.3f} ms max"
    return {"garbage": {"full_collections": int(numbers["gc.full_collections"]), "pauses": pauses}}


def _market(machine: Machine) -> dict[str, Any]:
    seen = counts(machine.table)
    state = machine.analysis.front
    repeated = seen["duplicate_trades"] + seen["stale_quotes"] + seen["stale_marks"]
    return {
        "ticks_received": ticks(machine),
        "conflated_into_rows": machine.rows,
        "late": seen["late_trades"] + counter(state, "late_rows"),
        "lost": seen["missed_ids"] - machine.holes.found,
        "duplicate_or_out_of_order": repeated - machine.overlapped,
        "holes_filled": machine.holes.filled,
        "holes_given_up": machine.holes.given_up,
        "trades_filled": machine.holes.trades,
        "sockets_taken_over": machine.takeovers,
        "repeated_in_overlaps": machine.overlapped,
        "malformed": seen["malformed"],
        "partial_books": dict(machine.decision.contexts.depths.counts),
        "batches": machine.batches,
        "bars": machine.bars,
        "symbols_warm": f"{int(machine.decision.contexts.warm.sum())}/{len(machine.decision.specs)}",
    }


def _signals(machine: Machine) -> dict[str, Any]:
    decision = machine.decision
    return {
        "signals": decision.signals,
        "taken": decision.taken,
        "refused": dict(decision.refused.most_common()),
        "strategy": "quarantined" if decision.quarantined else "on",
        "strategy_failed_on": {decision.specs[k].symbol: reason for k, reason in decision.failed.items()},
        "setups_not_armed": dict(decision.setups.not_armed),
    }


def _money(machine: Machine, now_ns: int) -> dict[str, Any]:
    book = machine.decision.portfolio
    exposure = book.exposure(now_ns)
    fees = book.fees.get(book.margin_asset, Decimal(0))
    return {
        "equity_start": plain(book.equity_start),
        "equity_end": plain(book.equity),
        "net": f"{plain(book.realized - fees + book.funding)} = gross {plain(book.realized)}"
        f" - fees {plain(fees)} + funding {plain(book.funding)}",
        "realised": plain(book.realized),
        "realised_unexpected": book.mismatches,
        "unrealised": plain(book.unrealized),
        "max_drawdown": money(book.max_drawdown),
        "gross_exposure": _exposure(exposure.gross, exposure.gross_max, exposure.gross_mean),
        "net_exposure": _exposure(exposure.net, exposure.net_max, exposure.net_mean),
        "time_in_market": f"{exposure.in_market:.1%}",
    }


def _trades(machine: Machine) -> dict[str, Any]:
    told = machine.decision.statistics
    open_now = sum(bool(trade.open_qty) for trade in machine.decision.desk.open_trades())
    return {
        "entries_filled": told.entries_filled + open_now,
        "closed": told.trades,
        "win_rate": None if told.win_rate is None else f"{told.win_rate:.1%}",
        "average_r": None if told.average_r is None else f"{told.average_r:.3f}",
        "expectancy": None if told.expectancy is None else f"{told.expectancy:.4f}",
        "exits": {reason.value: count for reason, count in told.reasons.most_common()},
        "partial_targets": told.parts,
        "maker_share": None if told.maker_share is None else f"{told.maker_share:.1%}",
        "ioc_fill_ratio": None if told.ioc_fill_ratio is None else f"{told.ioc_fill_ratio:.1%}",
    }


def _execution(machine: Machine) -> dict[str, Any]:
    told, decision = machine.decision.statistics, machine.decision
    return {
        "slippage_bp": _spread(told.slippage_bps),
        "decision_to_fill_ms": _spread(told.decision_to_fill_ms),
        "trigger_to_stop_fill_ms": _spread(told.trigger_to_fill_ms),
        "naked_ms": _tail(told.naked_ms),
        "rejects_by_code": {str(code): count for code, count in decision.rejects.most_common()},
        "events_not_ours": decision.desk.strangers,
        "events_malformed": decision.malformed,
        "working_orders": decision.desk.store.working_count(),
        "conditional_orders": decision.desk.store.algo_count(),
    }


def _exposure(now: Decimal, highest: Decimal, mean: Decimal) -> str:
    return f"{money(now)} now, {money(highest)} max, {money(mean)} mean"


def _spread(samples: Samples) -> str | None:
    spread = samples.spread
    return f"{spread.median:.2f} median, {spread.p95:.2f} p95 ({spread.count})" if spread.median is not None else None


def _tail(samples: Samples) -> str | None:
    spread = samples.spread
    if spread.median is None:
        return None
    return f"{spread.median:.1f} p50, {spread.p99:.1f} p99, {spread.highest:.1f} max ({spread.count})"


def _position(row: Any) -> str:
    return f"{row.symbol} {row.side} {row.qty} @ {row.entry}, stop {row.stop or 'NONE CONFIRMED'}, target {row.target}"
