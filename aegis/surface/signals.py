"""What was seen and decided on a symbol, in order of when it was known: patterns, setups, decisions, trades."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from aegis.kernels.smc_events import KIND_NAMES
from aegis.research.lookahead import Verdict
from aegis.research.story import Story
from aegis.signals.strategy import Setup
from aegis.surface.tables import columns
from aegis.surface.why import iso

__all__ = ["changed", "rows", "signals"]

_NS_PER_MS = 1_000_000
_WAYS = {1: "up", -1: "down", 0: ""}


def signals(story: Story, *, as_json: bool) -> str:
    """A table, or the same rows as JSON."""
    found = rows(story)
    if as_json:
        return json.dumps(found, indent=2)
    head = f"{story.symbol}, {story.source}: {len(story.bars)} bars of {story.config.bars.names[0]}"
    return head + "\n" + columns(found, empty="nothing was seen")


def rows(story: Story) -> list[dict[str, str]]:
    """Every row has the same keys: known, what, way, timeframe, levels, note."""
    every = [*_patterns(story), *_decisions(story)]
    return [row for _, row in sorted(every, key=lambda pair: pair[0])]


def _row(at_ns: int, what: str, way: str, timeframe: str, levels: str, note: str) -> tuple[int, dict[str, str]]:
    known = {"known": iso(at_ns), "what": what, "way": way, "timeframe": timeframe, "levels": levels, "note": note}
    return at_ns, known


def _patterns(story: Story) -> Iterator[tuple[int, dict[str, str]]]:
    names = story.config.bars.names
    for step in story.steps:
        for event in step.events:
            top, bottom = float(event["top"]), float(event["bottom"])
            levels = f"{top:.10g}" if top == bottom else f"{bottom:.10g}..{top:.10g}"
            note = f"formed {iso(int(event['formed_at']) * _NS_PER_MS)}"
            kind, way = KIND_NAMES[int(event["kind"])], _WAYS[int(event["direction"])]
            yield _row(int(event["known_at"]) * _NS_PER_MS, kind, way, names[event["timeframe"]], levels, note)
        for one in step.advice:
            at_ns = step.known_ms * _NS_PER_MS
            if isinstance(one, Setup):
                levels = f"entry {one.entry:.10g} stop {one.stop:.10g} target {one.targets}"
                note = "; ".join(text for _, text in one.reasons)
                yield _row(at_ns, "setup", one.side.value, one.timeframe, levels, note)
            else:
                yield _row(at_ns, "withdrawn", "", one.timeframe, "", one.reason)


def _decisions(story: Story) -> Iterator[tuple[int, dict[str, str]]]:
    base = story.config.bars.names[0]
    for row in story.records:
        if row["kind"] == "decision":
            levels = f"entry {row['level']} stop {row['stop']} target {row['target']}"
            if row["taken"]:
                yield _row(row["at"], "taken", row["side"], base, levels, f"{row['qty']} at most at {row['price']}")
            else:
                note = f"{row['code']}: {row['value']}, limit {row['limit']}"
                yield _row(row["at"], "refused", row["side"], base, levels, note)
        elif row["kind"] == "trade":
            note = f"{row['reason']}, net {row['net']} ({row['r']} R)"
            yield _row(row["at"], "trade", row["side"], base, f"{row['entry']} to {row['exit']}", note)
        elif row.get("strategy") == "quarantined":
            yield _row(row["at"], "failed", "", base, "", row["reason"])


def changed(verdict: Verdict, *, as_json: bool) -> str:
    """What `aegis lookahead` says."""
    change = verdict.change
    if as_json:
        found = None if change is None else {
            "bar": change.number, "known": iso(change.known_ms * _NS_PER_MS), "cut": change.cut,
            "whole": change.whole, "prefix": change.prefix,
        }  # fmt: skip
        told: dict[str, Any] = {"bars": verdict.bars, "prefixes": verdict.prefixes, "setups": verdict.setups}
        return json.dumps(told | {"first_change": found}, indent=2)
    seen = f"{verdict.bars} bars, {verdict.prefixes} prefixes, {verdict.setups} setups"
    if change is None:
        return f"{seen}: " + ("the same signals every time" if verdict.setups else "it said nothing: no proof")
    lines = [
        f"{seen}: bar {change.number} ({iso(change.known_ms * _NS_PER_MS)}) is the first whose signals changed",
        f"  all the data             {'; '.join(change.whole) or 'nothing'}",
        f"  only the first {change.cut:<9} {'; '.join(change.prefix) or 'nothing'}",
    ]
    return "\n".join(lines)
