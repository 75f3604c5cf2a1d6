"""Handlers of what isolated margin was moved, and of multi-assets mode. PROTOCOL.md §4.5."""

from __future__ import annotations

from typing import Any

from aegis.exchange.api import Call, Route, Security
from aegis.exchange.errors import Refusal
from aegis.exchange.listing import DAY_MS
from aegis.exchange.money import money

__all__ = ["ROUTES"]

_HISTORY_DAYS = 30


def read_margin_moves(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/positionMargin/history: what POST positionMargin moved within the last 30 days.

    Oldest first; from a start the first rows, else the latest. Margin that came and went with trades is not in it.
    """
    params, listing = call.params, call.listing()
    kind, limit = params.optional_integer("type"), params.limit(500, 1000)
    if kind not in (None, 1, 2):
        raise Refusal(-1130, "type")
    start, end = params.span(_HISTORY_DAYS)
    oldest = max(start or 0, call.now_ms - _HISTORY_DAYS * DAY_MS)
    rows = [
        {
            "symbol": row.symbol,
            "type": row.type,
            "deltaType": "USER_ADJUST",
            "amount": money(row.amount),
            "asset": "USDT",
            "time": row.ms,
            "positionSide": row.position_side,
        }
        for row in call.core.state.margin_moves
        if row.account == call.account.id
        and row.symbol == listing.symbol
        and (kind is None or row.type == kind)
        and row.ms >= oldest
        and (end is None or row.ms <= end)
    ]
    return rows[:limit] if start is not None else rows[-limit:]


def read_multi_assets(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/multiAssetsMargin: this exchange has single-asset mode alone."""
    return {"multiAssetsMargin": False}


def set_multi_assets(call: Call) -> dict[str, Any]:
    """POST /fapi/v1/multiAssetsMargin: refused always, because single-asset mode is on and the only one.

    Raises:
        Refusal: -4171 for single-asset mode; for the other -4167 where a symbol is isolated, -4170 with open orders,
            and -1020, which says that the exchange has no such mode, where nothing of the account's is in the way.
    """
    call.params.text("multiAssetsMargin")
    if not call.params.flag("multiAssetsMargin"):
        raise Refusal(-4171)
    account, core = call.account, call.core
    if any(setting.isolated for setting in account.settings.values()):
        raise Refusal(-4167)
    if core.state.orders.open_orders(account.id) or core.conditional.open_orders(account.id):
        raise Refusal(-4170)
    raise Refusal(-1020)


_SIGNED = Security.SIGNED

ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/fapi/v1/positionMargin/history"): Route(handler=read_margin_moves, security=_SIGNED),
    ("GET", "/fapi/v1/multiAssetsMargin"): Route(handler=read_multi_assets, security=_SIGNED, weight=30),
    ("POST", "/fapi/v1/multiAssetsMargin"): Route(handler=set_multi_assets, security=_SIGNED),
}
