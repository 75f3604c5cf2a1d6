"""The older account and position reads, still answered: every symbol, with its settings. PROTOCOL.md §4.5."""

from __future__ import annotations

from typing import Any

from aegis.exchange.account import ZERO, plain
from aegis.exchange.api import Call, Route, Security
from aegis.exchange.api_account import money, read_account, read_account_config, read_balance, read_position_risk
from aegis.exchange.listing import Listing

__all__ = ["ROUTES"]

_NOTHING = money(ZERO)


def read_account_v2(call: Call) -> dict[str, Any]:
    """GET /fapi/v2/account."""
    account = read_account(call)
    open_ = {row["symbol"]: row for row in read_position_risk(call)}
    positions = [_account_position(call, listing, open_.get(listing.symbol)) for listing in call.core.state.listings]
    return read_account_config(call) | account | {"positions": positions}


def _account_position(call: Call, listing: Listing, row: dict[str, Any] | None) -> dict[str, Any]:
    position = call.account.position(listing)
    names = ("initialMargin", "maintMargin", "positionInitialMargin", "openOrderInitialMargin")
    return {
        "symbol": listing.symbol,
        **{name: _NOTHING if row is None else row[name] for name in names},
        "unrealizedProfit": _NOTHING if row is None else row["unRealizedProfit"],
        "leverage": str(position.leverage),
        "isolated": position.isolated,
        "entryPrice": plain(position.entry),
        "breakEvenPrice": plain(position.entry),
        "maxNotional": plain(position.notional_cap),
        "bidNotional": "0" if row is None else row["bidNotional"],
        "askNotional": "0" if row is None else row["askNotional"],
        "positionSide": "BOTH",
        "positionAmt": plain(position.amount),
        "notional": "0" if row is None else row["notional"],
        "isolatedWallet": money(position.isolated_wallet),
        "updateTime": position.updated_ms,
    }


def read_position_risk_v2(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v2/positionRisk: flat symbols too."""
    named = call.optional_listing()
    open_ = {row["symbol"]: row for row in read_position_risk(call)}
    listings = call.core.state.listings if named is None else (named,)
    return [_position_risk(call, listing, open_.get(listing.symbol)) for listing in listings]


def _position_risk(call: Call, listing: Listing, row: dict[str, Any] | None) -> dict[str, Any]:
    position = call.account.position(listing)
    return {
        "symbol": listing.symbol,
        "positionAmt": plain(position.amount),
        "entryPrice": plain(position.entry),
        "breakEvenPrice": plain(position.entry),
        "markPrice": money(call.core.state.mark(listing)),
        "unRealizedProfit": _NOTHING if row is None else row["unRealizedProfit"],
        "liquidationPrice": "0" if row is None else row["liquidationPrice"],
        "leverage": str(position.leverage),
        "maxNotionalValue": plain(position.notional_cap),
        "marginType": "isolated" if position.isolated else "cross",
        "isolatedMargin": _NOTHING if row is None else row["isolatedMargin"],
        "isAutoAddMargin": "false",
        "positionSide": "BOTH",
        "notional": "0" if row is None else row["notional"],
        "isolatedWallet": money(position.isolated_wallet),
        "updateTime": position.updated_ms,
    }


_SIGNED = Security.SIGNED

ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/fapi/v2/account"): Route(handler=read_account_v2, security=_SIGNED, weight=5),
    ("GET", "/fapi/v2/balance"): Route(handler=read_balance, security=_SIGNED, weight=5),
    ("GET", "/fapi/v2/positionRisk"): Route(handler=read_position_risk_v2, security=_SIGNED, weight=5),
}
