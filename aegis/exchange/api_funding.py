"""Handlers of funding rates and their settings. PROTOCOL.md §4.1."""

from __future__ import annotations

from typing import Any

from aegis.exchange.api import Call, Route
from aegis.exchange.errors import Refusal
from aegis.exchange.listing import decimal_text

__all__ = ["ROUTES"]

#: Rows of an answer to a question without any bound.
_LATEST = 200


def read_funding_rates(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/fundingRate: what was charged since this exchange began; there is nothing of the time before.

    Oldest first; from a start the first rows, else the latest. Times are inclusive.
    """
    params, named = call.params, call.optional_listing()
    start, end = params.optional_integer("startTime"), params.optional_integer("endTime")
    if start is not None and end is not None and start > end:
        raise Refusal(-1130, "startTime")
    limit = params.limit(_LATEST if start is None and end is None else 100, 1000)
    rows = [
        {
            "symbol": row.symbol,
            "fundingRate": decimal_text(row.rate_e8, 8),
            "fundingTime": row.ms,
            "markPrice": decimal_text(row.mark_e8, 8),
            "rateType": "Regular",
        }
        for row in call.core.state.funding_rates
        if (named is None or row.symbol == named.symbol)
        and (start is None or row.ms >= start)
        and (end is None or row.ms <= end)
    ]
    return rows[:limit] if start is not None else rows[-limit:]


def read_funding_info(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/fundingInfo: contracts with settings of their own. Here all have the usual ones: every 8 hours."""
    return []


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/fapi/v1/fundingRate"): Route(handler=read_funding_rates, weight=0, funding=True),
    ("GET", "/fapi/v1/fundingInfo"): Route(handler=read_funding_info, weight=0, funding=True),
}
