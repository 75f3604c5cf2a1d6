"""The bench's report as a table for people."""

from __future__ import annotations

import textwrap

from aegis.research.bench.table import Report, Row, Verdict
from aegis.surface.tables import columns

__all__ = ["render"]

_WIDTH = 118


def render(report: Report) -> str:
    """The rows beside their targets, what is wrong with some, the peers, and the conditions."""
    parts = [columns([_row(row) for row in report.rows], empty="nothing was measured")]
    remarks = [remark for row in report.rows for remark in _remarks(row)]
    if remarks:
        parts.append("\n".join(remarks))
    if report.peers:
        parts.append(_peers(report))
    parts.append(_conditions(report))
    return "\n\n".join(parts)


def _row(row: Row) -> dict[str, str]:
    return {
        "group": row.group,
        "row": row.name,
        "target": "" if row.target is None else f"{_bound(row)}{number(row.target)}",
        "figure": "" if row.figure is None else number(row.figure),
        "unit": row.unit,
        "ratio": _times(row.ratio),
        "verdict": row.verdict.value,
    }


def _bound(row: Row) -> str:
    return ">= " if row.better == "more" else "<= "


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:,.2f}x"


def number(value: float) -> str:
    """Four digits that matter, thousands apart."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _remarks(row: Row) -> list[str]:
    """What a reader must know of one row: why it is invalid, how it was measured, what else was seen."""
    said = []
    if row.verdict is Verdict.INVALID:
        said.append(f"INVALID: {row.invalid}")
    if row.note:
        said.append(row.note)
    if row.detail:
        seen = (f"{name} {value if isinstance(value, str) else number(value)}" for name, value in row.detail.items())
        said.append(", ".join(seen))
    return textwrap.wrap(f"{row.name}: {'; '.join(said)}", _WIDTH, subsequent_indent="    ") if said else []


def _peers(report: Report) -> str:
    rows = [
        {
            "peer": peer.peer, "what": peer.what, "figure": number(peer.median), "unit": peer.unit, "ours": peer.ours,
            "ours_is": _times(report.against(peer)),
        }
        for peer in report.peers
    ]  # fmt: skip
    return columns(rows, empty="")


def _conditions(report: Report) -> str:
    told = report.conditions
    versions = ", ".join(f"{name} {version}" for name, version in told.versions.items())
    return (
        f"{told.cpu}, {told.cores} cores, {told.system}; {versions};"
        f" load {told.load_before:g} before, {told.load_after:g} after"
    )
