"""Handlers of what there is to know of contracts beside prices: interest, indices, trading hours. PROTOCOL.md §4.1."""

from __future__ import annotations

from typing import Any

from aegis.exchange.api import Call, Route, by_symbol
from aegis.exchange.errors import Refusal
from aegis.exchange.listing import DAY_MS, TRADFI, Listing
from aegis.exchange.state import State

__all__ = ["ROUTES", "open_interest"]

_COMPOSITE = "INDEX"


def read_open_interest(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/openInterest: what the accounts of this exchange hold, against each other or against the public.

    What the public holds against itself is not known: its prints have no accounts behind them.
    """
    listing = call.listing()
    interest = listing.quantity_text(open_interest(call.core.state, listing))
    return {"openInterest": interest, "symbol": listing.symbol, "time": call.now_ms}


def open_interest(state: State, listing: Listing) -> int:
    """Steps that are open in a contract: the larger side of the accounts, whose rest is with the public."""
    held = [
        position.steps
        for account in state.accounts.values()
        for position in account.held()
        if position.listing is listing
    ]
    return max(sum(steps for steps in held if steps > 0), -sum(steps for steps in held if steps < 0))


def read_trading_schedule(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/tradingSchedule: a week from yesterday of each market with a contract here, which never closes."""
    start = (call.now_ms // DAY_MS - 1) * DAY_MS
    session = {"startTime": start, "endTime": start + 7 * DAY_MS, "type": "REGULAR"}
    markets = {row.underlying_type for row in call.core.state.listings if row.contract_type == TRADFI}
    return {
        "updateTime": call.now_ms,
        "marketSchedules": {market: {"sessions": [session]} for market in sorted(markets)},
    }


def read_constituents(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/constituents: none. An index price here is made or recorded as one number, of no known markets."""
    return {"symbol": call.listing().symbol, "time": call.now_ms, "constituents": []}


def read_composite_indices(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/indexInfo: contracts on composite indices, whose baskets are not known for the same reason.

    Raises:
        Refusal: -1121 for a contract on something else.
    """
    named = call.optional_listing()
    if named is not None and named.underlying_type != _COMPOSITE:
        raise Refusal(-1121)
    listings = call.core.state.listings if named is None else (named,)
    return [_composite(call, listing) for listing in listings if listing.underlying_type == _COMPOSITE]


def _composite(call: Call, listing: Listing) -> dict[str, Any]:
    return {"symbol": listing.symbol, "time": call.now_ms, "component": "baseAsset", "baseAssetList": []}


def read_asset_indices(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/assetIndex: what other assets count in multi-assets mode, which is not to be had: none.

    Raises:
        Refusal: -1121 for any that is named.
    """
    if "symbol" in call.params:
        raise Refusal(-1121)
    return []


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/fapi/v1/openInterest"): Route(handler=read_open_interest),
    ("GET", "/fapi/v1/tradingSchedule"): Route(handler=read_trading_schedule, weight=5),
    ("GET", "/fapi/v1/constituents"): Route(handler=read_constituents, weight=2),
    ("GET", "/fapi/v1/indexInfo"): Route(handler=read_composite_indices),
    ("GET", "/fapi/v1/assetIndex"): Route(handler=read_asset_indices, weight=by_symbol(1, 10)),
}
