"""A decision in plain words: what was seen, every gate with its value and its limit, what happened."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from aegis.core.errors import ConfigError

__all__ = ["GATES", "iso", "moment", "tell"]

Row = Mapping[str, Any]

#: What each gate asks, in words; its code is the word of the journal.
GATES = {
    "HALTED": "trading is not halted",
    "REDUCING": "entries are allowed, not only exits",
    "RECONCILING": "the account is reconciled with the venue",
    "LANE_FULL": "the execution lane has room",
    "NOT_ALLOWED": "the symbol is in the universe",
    "NOT_TRADING": "the venue trades the symbol",
    "SPEC_OLD": "the symbol's rules are fresh",
    "NOT_WARM": "the symbol has enough history",
    "FOREIGN_POSITION": "nobody else trades the symbol on this account",
    "EXPIRED": "the setup has not expired",
    "STALE": "market data is fresh",
    "GAPPED": "price came to the level without a gap",
    "BOOK_CROSSED": "bid lies below ask",
    "UNKNOWN_BUDGET": "few orders of unknown fate",
    "UNKNOWN_ORDER": "no order of unknown fate in the symbol",
    "POSITION_OPEN": "no position in the symbol",
    "MAX_POSITIONS": "positions, with this one",
    "MAX_ORDERS_SYMBOL": "open orders in the symbol, with this one",
    "MAX_ORDERS_TOTAL": "open orders, with this one",
    "BAD_LEVELS": "stop, entry and target are in order",
    "PRICE_COLLAR": "entry's distance from the mark, bps",
    "FILTER": "the venue's price filters",
    "COST": "round trip costs, in R",
    "NET_R": "reward after costs, in R",
    "SIZE": "a size can be traded",
    "MIN_NOTIONAL": "the venue's least notional",
    "LIQUIDATION": "liquidation lies beyond the stop",
    "ORDER_QTY": "order quantity",
    "ORDER_NOTIONAL": "order notional",
    "POSITION_NOTIONAL": "position notional",
    "OPEN_RISK": "open risk, with this one",
    "GROSS_LEVERAGE": "gross notional, with this one",
    "NET_LEVERAGE": "net notional, with this one",
    "ORDER_RATE": "orders a minute",
    "ALGO_SLOTS": "conditional orders",
}
#: Gates that compare numbers, which may be equal; of the others an equal value says that it is so.
_COUNTS = frozenset({
    "UNKNOWN_BUDGET", "UNKNOWN_ORDER", "POSITION_OPEN", "MAX_POSITIONS", "MAX_ORDERS_SYMBOL", "MAX_ORDERS_TOTAL",
    "ORDER_QTY", "ORDER_NOTIONAL", "POSITION_NOTIONAL", "OPEN_RISK", "ALGO_SLOTS",
})  # fmt: skip
#: Gates whose limit is a least, not a most.
_LEAST = frozenset({"NET_R"})
#: Gates whose numbers are nanoseconds, and those that are points in time.
_SPANS, _TIMES = frozenset({"SPEC_OLD", "STALE"}), frozenset({"EXPIRED"})


def iso(at_ns: int) -> str:
    """ISO-8601 in UTC, to the millisecond."""
    at = datetime.datetime.fromtimestamp(at_ns / 1e9, datetime.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str) -> int:
    """Nanoseconds of an ISO-8601 time; UTC where it names no zone. Raises ConfigError."""
    try:
        at = datetime.datetime.fromisoformat(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=datetime.UTC)
        since = at - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    except (ValueError, OverflowError):
        raise ConfigError(f"--at: {text[:60]!r} is no time: write 2026-01-31T12:00:00Z") from None
    return (since // datetime.timedelta(microseconds=1)) * 1000


def tell(decision: Row, records: Sequence[Row]) -> str:
    """One decision; `records` are the symbol's trades and states, out of which what happened is told."""
    gates = decision.get("gates", [])
    refused = None if decision["taken"] else decision["code"]
    lines = [f"{iso(decision['at'])} {decision['symbol']} {decision['side']} {decision['strategy']}"]
    lines += _several("seen", [f"{name}: {text}" for name, text in decision["reasons"].items()])
    lines += _several("market", [
        f"bid {decision['bid']} ask {decision['ask']} mark {decision['mark']}",
        f"level {decision['level']} reached at {decision['seen']}",
    ])  # fmt: skip
    lines += _several("plan", [f"stop {decision['stop']}, {_targets(decision)}, equity {decision['equity']}"])
    lines += _several("depth", _displayed(decision))
    passed = gates if refused is None or not gates or gates[-1][0] != refused else gates[:-1]
    lines += _several("gates", [f"ok      {_gate(*gate)}" for gate in passed])
    lines += _several("verdict", [_verdict(decision)])
    lines += _several("then", _afterwards(decision, records))
    return "\n".join(lines)


def _several(title: str, texts: Sequence[str]) -> list[str]:
    return [f"  {title if k == 0 else '':<9}{text}" for k, text in enumerate(texts)]


def _displayed(decision: Row) -> list[str]:
    """What there was to take up to the limit price, where more than the touch was known."""
    shown = decision.get("displayed")
    if shown is None:
        return []
    behind = f"the rest on {shown['levels']} levels behind it, {shown['age_ns'] / 1e6:.0f} ms old"
    return [f"{shown['qty']} in reach: {shown['touch']} at the touch, {behind}"]


def _targets(decision: Row) -> str:
    parts = "".join(f"{Decimal(share):.0%} at {price}, " for price, share in decision["parts"])
    return f"targets {parts}rest at {decision['target']}" if parts else f"target {decision['target']}"


def _verdict(decision: Row) -> str:
    if decision["taken"]:
        size = f"{decision['side']} {decision['qty']} at most at {decision['price']}"
        return f"taken: {size}, risk {decision['risk']} (bound by {decision['bound_by']})"
    return f"refused {_gate(decision['code'], decision['value'], decision['limit'])}"


def _gate(code: str, value: str, limit: str) -> str:
    if value == limit and code not in _COUNTS:
        return f"{code} ({GATES.get(code, code)})"
    word = "at least" if code in _LEAST else "limit"
    return f"{code} ({GATES.get(code, code)}): {_shown(code, value)}, {word} {_shown(code, limit)}"


def _shown(code: str, text: str) -> str:
    """A number of the gate's in a unit for people; whatever is none as it is."""
    words, _, last = text.rpartition(" ")
    try:
        number = Decimal(last)
    except InvalidOperation:
        return text
    if code in _TIMES:
        shown = iso(int(number))
    elif code in _SPANS:
        seconds = number / 10**9
        shown = f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.3f} s"
    else:
        shown = f"{number:.6g}" if number != number.to_integral_value() else f"{number:f}"
    return f"{words} {shown}".strip()


def _afterwards(decision: Row, records: Sequence[Row]) -> list[str]:
    """Fate of a taken signal, out of the journal."""
    if not decision["taken"]:
        return []
    told = []
    for row in records:
        if row.get("trade") != decision["signal"] or row["at"] < decision["at"]:
            continue
        if row["kind"] == "trade":
            parts = f" after {row['parts']} of {len(decision['parts'])} partial targets" if decision["parts"] else ""
            told.append(
                f"{iso(row['at'])} closed by {row['reason']}{parts}: "
                f"{row['qty']} from {row['entry']} to {row['exit']}, net {row['net']} ({row['r']} R)"
            )
        elif row["kind"] == "state" and "to" in row:
            told.append(f"{iso(row['at'])} {str(row['from']).lower()} -> {str(row['to']).lower()}")
    return told or ["nothing more is in the journal"]
