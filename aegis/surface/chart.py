"""One self-contained page: candles, zones, structure, indicators, signals, entries and exits of one symbol.

Its slider stands at a bar and shows only what was known when that bar closed. Everything in the page's data therefore
has `known`, the number of the bar with whose close it was known; the page filters by it and computes nothing else.
"""

from __future__ import annotations

import importlib.util
import math
from bisect import bisect_left
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import msgspec

from aegis.core.errors import ConfigError
from aegis.kernels.smc_events import BOS, BREAK, CHOCH, KIND_NAMES, SWING, SWING_EXTEND
from aegis.research.story import Story
from aegis.signals.strategy import Setup
from aegis.signals.view import Block
from aegis.surface.why import iso

__all__ = ["contents", "page", "refuse_existing", "require", "write"]

_NS_PER_MS = 1_000_000
_WAYS = {"BUY": 1, "SELL": -1}
Data = dict[str, Any]


def require() -> None:
    """Raises ConfigError where the extra is not installed."""
    if importlib.util.find_spec("plotly") is None:
        raise ConfigError("a chart needs the extra `charts`: pip install 'selflearningtrader[charts]'")


def refuse_existing(path: Path) -> None:
    """Raises ConfigError."""
    if path.exists():
        raise ConfigError(f"--out: {path} exists, and nothing is overwritten")


def write(story: Story, path: Path) -> None:
    """Raises ConfigError where there is nothing to draw, or no place to write it."""
    from plotly.offline import get_plotlyjs

    text = page(story, get_plotlyjs())
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"--out: {path}: {error.strerror}") from None


def page(story: Story, plotly: str) -> str:
    """The HTML; `plotly` is the source of plotly.js. Raises ConfigError where there is no bar."""
    if not story.steps:
        raise ConfigError(f"{story.symbol}: {story.source} has no closed bar of it")
    template = (resources.files("aegis") / "surface" / "template" / "chart.html.txt").read_text(encoding="utf-8")
    data = msgspec.json.encode(contents(story)).decode().replace("<", "\\u003c")
    title = f"{story.symbol} {story.config.bars.names[0]}, {story.source}"
    title = title.replace("&", "&amp;").replace("<", "&lt;")
    return Template(template).substitute(title=title, plotly=plotly, data=data)


def contents(story: Story) -> Data:
    """What the page knows, as JSON will say it. Lists by bar: time (of opening), closed, prices, indicators."""
    steps, bars = story.steps, story.bars
    closes = [step.known_ms for step in steps]
    values = [step.indicators for step in steps]
    data: Data = {name: bars[name].tolist() for name in ("open", "high", "low", "close")}
    data["time"] = [iso(int(ms) * _NS_PER_MS) for ms in bars["open_time"]]
    data["closed"] = [iso(ms * _NS_PER_MS) for ms in closes]
    data["ema"] = _numbers(one.ema for one in values)
    data["upper"] = _numbers(one.mid + 2.0 * one.sigma for one in values)
    data["lower"] = _numbers(one.mid - 2.0 * one.sigma for one in values)
    data["rsi"] = _numbers(one.rsi if one.rsi_valid else math.nan for one in values)
    return data | _patterns(story) | {"zones": _zones(story)} | _deeds(story, closes)


def _numbers(values: Iterable[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _point(known: int, time: str, price: float, way: int, text: str) -> Data:
    return {"known": known, "time": time, "price": price, "way": way, "text": text}


def _patterns(story: Story) -> dict[str, list[Data]]:
    swings, breaks, setups = list[Data](), list[Data](), list[Data]()
    for number, step in enumerate(story.steps):
        for event in step.events:
            kind, way, price = int(event["kind"]), int(event["direction"]), float(event["top"])
            base, origin = int(event["timeframe"]) == 0, iso(int(event["origin"]) * _NS_PER_MS)
            if kind in (SWING, SWING_EXTEND) and base:
                swings.append(_point(number, origin, price, way, f"swing {'high' if way > 0 else 'low'} {price:.10g}"))
            elif kind in (BOS, CHOCH, BREAK):
                text = f"{KIND_NAMES[kind]} {story.config.bars.names[event['timeframe']]}"
                breaks.append({"known": number, "from": origin, "price": price, "way": way, "text": text, "base": base})
        setups += [_setup(number, story, one) for one in step.setups]
    return {"swings": swings, "breaks": breaks, "setups": setups}


def _setup(number: int, story: Story, one: Setup) -> Data:
    words = "<br>".join(f"{name}: {text}" for name, text in one.reasons)
    text = f"{one.side.value} at {one.entry:.10g}, stop {one.stop:.10g}, target {one.targets}<br>{words}"
    return _point(number, iso(story.steps[number].known_ms * _NS_PER_MS), one.entry, one.side.sign, text)


def _zones(story: Story) -> list[Data]:
    """Each zone with the states that it has gone through; `end` is the first bar at which it is gone."""
    zones: dict[tuple[str, int], Data] = {}
    alive: set[tuple[str, int]] = set()
    base = story.config.bars.names[0]
    for number, step in enumerate(story.steps):
        live = {(name, zone.id): zone for name, found in step.zones.items() for zone in found}
        for gone in alive - live.keys():
            zones[gone]["end"] = number
        alive = set(live)
        for key, zone in live.items():
            new = {"born": number, "end": len(story.steps), "way": zone.direction, "base": key[0] == base, "states": []}
            kept = zones.setdefault(key, new | {"block": isinstance(zone, Block)})
            state = {"top": zone.top, "bottom": zone.bottom, "phase": zone.phase}
            if not kept["states"] or {key: kept["states"][-1][key] for key in state} != state:
                kept["states"].append({"known": number, **state})
    return list(zones.values())


def _deeds(story: Story, closes: list[int]) -> dict[str, list[Data]]:
    """Decisions and trades, each known with the close of the bar that it fell into; none after the last bar."""
    found: dict[str, list[Data]] = {"refused": [], "entries": [], "exits": []}

    def add(kind: str, at_ns: int, price: str, way: int, text: str) -> None:
        known = bisect_left(closes, -(-at_ns // _NS_PER_MS))
        if known < len(closes):
            found[kind].append(_point(known, iso(at_ns), float(price), way, text))

    for row in story.records:
        way = _WAYS.get(row.get("side", ""), 0)
        if row["kind"] == "decision" and not row["taken"]:
            add("refused", row["at"], row["level"], way, f"refused {row['code']}: {row['value']}, limit {row['limit']}")
        elif row["kind"] == "trade":
            text = f"{row['side']} {row['qty']} at {row['entry']}"
            add("entries", row["first_fill_ns"] or row["decision_ns"], row["entry"], way, text)
            text = f"{row['reason']} at {row['exit']}: net {row['net']} ({row['r']} R)"
            add("exits", row["closed_ns"], row["exit"], -way, text)
        elif row["kind"] == "decision" and not _closed(story, row["signal"]):
            add("entries", row["at"], row["price"] or row["level"], way, f"{row['side']} {row['qty']}, not closed yet")
    return found


def _closed(story: Story, signal: str) -> bool:
    return any(row["kind"] == "trade" and row["trade"] == signal for row in story.records)
