"""The older account and position reads, still answered: every symbol, with its settings. PROTOCOL.md §4.5."""

from __future__ import annotations

from typing import Any

from aegis.exchange.account import Position
from aegis.exchange.api import Call, Route, Security
from aegis.exchange.api_account import read_account, read_account_config, read_balance, read_position_risk
from aegis.exchange.money import money, plain
from aegis.exchange.userstream import quantity

__all__ = ["ROUTES"]

_NOTHING = money(0)


def read_account_v2(call: Call) -> dict[str, Any]:
    """GET /fapi/v2/account."""
    account = read_account(call)
    positions = [_account_position(position, row) for position, row in _all_positions(call)]
    return read_account_config(call) | account | {"positions": positions}


def _all_positions(call: Call) -> list[tuple[Position, dict[str, Any] | None]]:
    """Every position of the account's mode, of the named symbol or of all, with its row of v3 where it has one."""
    named = call.optional_listing()
    open_ = {(row["symbol"], row["positionSide"]): row for row in read_position_risk(call)}
    listings = call.core.state.listings if named is None else (named,)
    positions = [position for listing in listings for position in call.account.sides(listing)]
    return [(position, open_.get((position.listing.symbol, position.side))) for position in positions]


def _account_position(position: Position, row: dict[str, Any] | None) -> dict[str, Any]:
    names = ("initialMargin", "maintMargin", "positionInitialMargin", "openOrderInitialMargin")
    return {
        "symbol": position.listing.symbol,
        **{name: _NOTHING if row is None else row[name] for name in names},
        "unrealizedProfit": _NOTHING if row is None else row["unRealizedProfit"],
        "leverage": str(position.setting.leverage),
        "isolated": position.setting.isolated,
        "entryPrice": plain(position.entry_e16, 16),
        "breakEvenPrice": plain(position.entry_e16, 16),
        "maxNotional": _cap(position),
        "bidNotional": "0" if row is None else row["bidNotional"],
        "askNotional": "0" if row is None else row["askNotional"],
        "positionSide": position.side,
        "positionAmt": quantity(position.listing, position.steps),
        "notional": "0" if row is None else row["notional"],
        "isolatedWallet": money(position.isolated_wallet),
        "updateTime": position.updated_ms,
    }


def read_position_risk_v2(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v2/positionRisk: flat symbols too."""
    mark_e8 = call.core.state.mark_e8
    return [_position_risk(position, mark_e8(position.listing), row) for position, row in _all_positions(call)]


def _position_risk(position: Position, mark_e8: int, row: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "symbol": position.listing.symbol,
        "positionAmt": quantity(position.listing, position.steps),
        "entryPrice": plain(position.entry_e16, 16),
        "breakEvenPrice": plain(position.entry_e16, 16),
        "markPrice": money(mark_e8),
        "unRealizedProfit": _NOTHING if row is None else row["unRealizedProfit"],
        "liquidationPrice": "0" if row is None else row["liquidationPrice"],
        "leverage": str(position.setting.leverage),
        "maxNotionalValue": _cap(position),
        "marginType": "isolated" if position.setting.isolated else "cross",
        "isolatedMargin": _NOTHING if row is None else row["isolatedMargin"],
        "isAutoAddMargin": "false",
        "positionSide": position.side,
        "notional": "0" if row is None else row["notional"],
        "isolatedWallet": money(position.isolated_wallet),
        "updateTime": position.updated_ms,
    }


def _cap(position: Position) -> str:
    return plain(position.listing.brackets.cap_e16(position.setting.leverage), 16)


_SIGNED = Security.SIGNED

ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/fapi/v2/account"): Route(handler=read_account_v2, security=_SIGNED, weight=5),
    ("GET", "/fapi/v2/balance"): Route(handler=read_balance, security=_SIGNED, weight=5),
    ("GET", "/fapi/v2/positionRisk"): Route(handler=read_position_risk_v2, security=_SIGNED, weight=5),
}
