"""Tables for people and JSON for programs, from the same rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aegis.engine.universe import Choice

__all__ = ["columns", "universe"]


def columns(rows: Sequence[Mapping[str, Any]], *, empty: str) -> str:
    """Rows of equal keys as aligned text; numbers to the right."""
    if not rows:
        return empty
    names = list(rows[0])
    texts = [[_text(row[name]) for name in names] for row in rows]
    widths = [max(len(name), *(len(text[k]) for text in texts)) for k, name in enumerate(names)]
    right = [all(isinstance(row[name], int | float) for row in rows) for name in names]
    lines = [[name.replace("_", " ") for name in names], *texts]
    return "\n".join(
        "  ".join(cell.rjust(width) if is_number else cell.ljust(width) for cell, width, is_number in cells).rstrip()
        for cells in (zip(line, widths, right, strict=True) for line in lines)
    )


def _text(value: Any) -> str:
    return "" if value is None else f"{value:,.0f}" if isinstance(value, float) else str(value)


def universe(choices: Sequence[Choice], *, as_json: bool) -> str:
    """Which symbols are in, which are out, and why."""
    rows = [
        {
            "symbol": choice.spec.symbol,
            "in": "yes" if choice.included else "no",
            "turnover_24h": choice.volume_quote,
            "why_not": choice.reason,
        }
        for choice in choices
    ]
    if as_json:
        return json.dumps(rows, indent=2, ensure_ascii=False)
    inside = sum(choice.included for choice in choices)
    return columns(rows, empty="no symbols") + f"\n{inside} in, {len(rows) - inside} out"
