"""From tick to order, over sockets and three processes: armed levels, the power journal, what closed bars bring.

See `latency_run.py` for who does what and `latency_join.py` for why the figures cannot flatter.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
import trio

from aegis.core.errors import VenueUnavailable
from aegis.research.bench.latency_echo import echo_floor
from aegis.research.bench.latency_run import Case, Measured, run_case
from aegis.research.bench.table import Bench, Row, invalid, median_row

__all__ = ["measure", "rows_of"]

_ORDERS = 5_000
_QUICK_SCALE = 0.06  # of 5,000 orders: 300
_ECHOES = 5_000
#: Below this share of the nominal rate a row is invalid.
_RATE_SHARE = 0.98


@attrs.frozen(kw_only=True)
class _Promise:
    """A case by name, and the percentiles that were promised for it, in us."""

    name: str
    rate: int
    targets: dict[float, float]
    durability: str = "process"
    conflated: bool = False


_PROMISES = (
    _Promise(name="armed level, 100,000 ticks/s", rate=100_000, targets={50: 350, 99: 1_000}),
    _Promise(name="armed level, 1,000,000 ticks/s", rate=1_000_000, targets={50: 700, 99: 3_000}),
    _Promise(name="armed level, power journal", rate=100_000, targets={99: 10_000}, durability="power"),
    _Promise(name="conflated path after the flush, 100,000 ticks/s", rate=100_000, targets={99: 5_000}, conflated=True),
)


def measure(bench: Bench) -> Iterator[Row]:
    """The floor, then each case: one run of `_ORDERS` orders, of which the percentiles are taken."""
    quick = bench.effort.scale < 1
    floor = echo_floor(bench.effort.amount(_ECHOES))
    yield median_row(
        "latency", "floor: a bare Trio echo, p50", (float(np.percentile(floor, 50)) / 1e3,), unit="us", better="less",
        detail=_percentiles(floor),
    )  # fmt: skip
    for promise in _PROMISES:
        case = Case(
            rate=promise.rate, orders=round(_ORDERS * (_QUICK_SCALE if quick else 1)), durability=promise.durability,
            conflated=promise.conflated,
        )  # fmt: skip
        bench.say(f"latency: {promise.name}, {case.orders} orders")
        measured = _run(case)
        if isinstance(measured, str):  # a venue that cannot keep up, say: the other cases can still be measured
            for percent in promise.targets:
                yield invalid("latency", f"{promise.name}, p{percent:g}", measured, unit="us")
        else:
            yield from rows_of(promise.name, promise.targets, case, measured)


def _run(case: Case) -> Measured | str:
    """What was measured, or why nothing could be."""
    why = ""
    try:
        with tempfile.TemporaryDirectory(prefix="aegis-bench-") as place:
            return trio.run(run_case, case, Path(place))
    except* VenueUnavailable as group:
        found: BaseException = group
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        why = str(found)
    return why


def rows_of(name: str, targets: dict[float, float], case: Case, measured: Measured) -> Iterator[Row]:
    """A row for each promised percentile; what spoils the run spoils them all."""
    spoilt = _why_invalid(case, measured)
    latency_ns = measured.joined.latency_ns
    detail = _detail(measured) if len(latency_ns) else {}
    note = f"{len(latency_ns)} orders, durability {case.durability}, {measured.positions:.0f} positions"
    for percent, target in targets.items():
        samples = (float(np.percentile(latency_ns, percent)) / 1e3,) if len(latency_ns) else ()
        yield median_row(
            "latency", f"{name}, p{percent:g}", samples, target=target, unit="us", better="less", note=note,
            invalid=spoilt, detail=detail,
        )  # fmt: skip
    waits_ns = measured.joined.waits_ns
    if waits_ns is not None and len(waits_ns):
        yield median_row(
            "latency", f"{name}: the wait before it, p50", (float(np.median(waits_ns)) / 1e3,), unit="us",
            better="less", note="from the tick that lets the bar close to the flush", invalid=spoilt,
            detail={f"wait_{key}": value for key, value in _percentiles(waits_ns).items()}
            | {f"both_{key}": value for key, value in _percentiles(waits_ns + latency_ns).items()},
        )  # fmt: skip


def _why_invalid(case: Case, measured: Measured) -> str:
    if measured.faults:
        return ", ".join(f"{count} x {what}" for what, count in sorted(measured.faults.items()))
    if measured.rate < _RATE_SHARE * case.rate:
        return f"only {measured.rate:,.0f} of {case.rate:,} ticks/s were offered"
    return ""


def _percentiles(values_ns: np.ndarray[tuple[int], np.dtype[np.int64]]) -> dict[str, float | int | str]:
    named = {"p50_us": 50.0, "p99_us": 99.0, "p99_9_us": 99.9, "max_us": 100.0}
    return {name: round(float(np.percentile(values_ns, percent)) / 1e3, 1) for name, percent in named.items()}


def _detail(measured: Measured) -> dict[str, float | int | str]:
    """All percentiles, the venue's own lateness, and each stage of the engine as it tells it, in us."""
    detail = _percentiles(measured.joined.latency_ns)
    detail["ticks_per_s"] = round(measured.rate)
    for percent in (50, 99):
        detail[f"venue_late_p{percent}_us"] = round(float(np.percentile(measured.lateness_ns, percent)) / 1e3, 1)
    for stage, (median_ms, high_ms) in measured.stages.items():
        detail[f"{stage.replace(' ', '_')}_p50_us"] = round(median_ms * 1e3, 1)
        detail[f"{stage.replace(' ', '_')}_p99_us"] = round(high_ms * 1e3, 1)
    return detail
