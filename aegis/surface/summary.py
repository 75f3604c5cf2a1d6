"""A summary as text: a line a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aegis.engine.summary import Summary

__all__ = ["render"]


def render(summary: Summary) -> str:
    """Plain text, a line a figure."""
    lines: list[str] = []
    for name, section in summary.sections.items():
        lines.append(name)
        for key, value in section.items():
            lines += _line(key, value)
    lines += [f"note: {note}" for note in summary.notes]
    if summary.ledger != "none":
        lines.append(f"ledger {summary.ledger}")
    lines += [f"  {difference}" for difference in summary.differences]
    if summary.failure:
        lines.append(f"failed: {summary.failure}")
    return "\n".join(lines)


def _line(key: str, value: Any) -> list[str]:
    label = f"  {key.replace('_', ' '):<28}"
    if isinstance(value, list | tuple):
        return [label.rstrip() + ("" if value else "   none"), *(f"    {one}" for one in value)]
    if isinstance(value, Mapping):
        return [label + (", ".join(f"{k} {v}" for k, v in value.items()) or "none")]
    return [label + ("-" if value is None else f"{value:,}" if isinstance(value, int) else str(value))]
