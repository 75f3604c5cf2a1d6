"""What `aegis honesty` says: a strategy's figures beside chance, in a table or as JSON."""

from __future__ import annotations

import json

import attrs

from aegis.research.honesty import Report

__all__ = ["honesty"]


#: Below so many trades neither the mean nor its interval says anything of a strategy.
_FEW = 20


def honesty(report: Report, *, strategy: str, data: str, as_json: bool) -> str:
    """The verdict last, in words."""
    if as_json:
        return json.dumps({"strategy": strategy, "data": data, **attrs.asdict(report)}, indent=2)
    refused = ", ".join(f"{code} {count}" for code, count in report.refused.items()) or "none"
    a_day = report.signals / report.days
    lines = [
        f"{strategy} on {data}: {report.symbols} symbols, {report.days:.2f} days",
        f"  setups      {report.setups}, of which {report.not_armed} came with price there already",
        f"  signals     {report.signals}, {a_day:.1f} a day, {a_day / report.symbols:.2f} a day and symbol",
        f"  refused     {refused}",
        f"  trades      {report.trades}, and {report.unfilled} entries that did not fill",
    ]
    if report.mean_r is not None:
        lines.append(f"  expectancy  {_r(report.mean_r)} net of fees{_between(report.low, report.high)}")
        lines.append(f"  before fees {_r(report.gross_r)}")
    if report.random_mean is not None:
        band = _between(report.random_low, report.random_high)
        lines.append(f"  random      {_r(report.random_mean)} in {report.runs} runs{band}")
    return "\n".join([*lines, f"  verdict     {_verdict(report)}"])


def _r(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.3f} R"


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None else f", 95 % between {_r(low)} and {_r(high)}"


def _verdict(report: Report) -> str:
    if report.at_least_as_good is None:
        return "no trades: nothing can be said"
    if report.trades < _FEW:
        return f"too few trades to tell: below {_FEW} one of them decides"
    share = f"{report.at_least_as_good:.1%} of the random runs did at least as well"
    better = "better than random" if report.at_least_as_good <= 0.025 else "no better than random"
    profit = "" if report.mean_r is None or report.mean_r > 0.0 else ", and it loses"
    return f"{better}{profit}: {share}"
