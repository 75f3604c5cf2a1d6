"""Handlers of an account's fee discount, its TradFi agreement and its trading status. PROTOCOL.md §4.5."""

from __future__ import annotations

from typing import Any

from aegis.exchange.api import Call, Route, Security, by_symbol

__all__ = ["ROUTES"]

_DONE = {"code": 200, "msg": "success"}


def read_fee_burn(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/feeBurn."""
    return {"feeBurn": call.account.fee_burn}


def set_fee_burn(call: Call) -> dict[str, Any]:
    """POST /fapi/v1/feeBurn: no wallet here holds BNB, so commissions stay in USDT and at their full rate."""
    call.params.text("feeBurn")
    call.account.fee_burn = call.params.flag("feeBurn")
    return _DONE


def sign_tradfi(call: Call) -> dict[str, Any]:
    """POST /fapi/v1/stock/contract: from now on orders in contracts on traditional assets are taken (-4411 before)."""
    call.account.tradfi_signed = True
    return _DONE


def read_trading_status(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/apiTradingStatus: this exchange has no quantitative rules, so nothing is measured or locked."""
    call.optional_listing()
    return {"indicators": {}, "updateTime": call.now_ms}


_SIGNED = Security.SIGNED

ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/fapi/v1/feeBurn"): Route(handler=read_fee_burn, security=_SIGNED, weight=30),
    ("POST", "/fapi/v1/feeBurn"): Route(handler=set_fee_burn, security=_SIGNED),
    ("POST", "/fapi/v1/stock/contract"): Route(handler=sign_tradfi, security=_SIGNED, weight=50),
    ("GET", "/fapi/v1/apiTradingStatus"): Route(handler=read_trading_status, security=_SIGNED, weight=by_symbol(1, 10)),
}
