"""Handlers that tell of auto-deleveraging and of the fund that stands before it. PROTOCOL.md §4.1, §4.5 and §9."""

from __future__ import annotations

from typing import Any

from aegis.exchange.adl import quantile
from aegis.exchange.api import Call, Route, Security
from aegis.exchange.api_contracts import open_interest
from aegis.exchange.listing import Listing
from aegis.exchange.money import E8, amount_of, money
from aegis.exchange.state import State

__all__ = ["ROUTES"]


def read_quantiles(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/adlQuantile: the symbols in which the account holds something; always of this moment.

    Both sides of a cross position in hedge mode are ranked by themselves here, as they are deleveraged by themselves:
    the venue gives them one value.
    """
    named, account = call.optional_listing(), call.account
    held = {position.listing.index for position in account.held()}
    rows = []
    for listing in call.core.state.listings if named is None else (named,):
        if listing.index in held:
            sides = {position.side: position for position in account.sides(listing)}
            crossed = account.hedge and not account.setting(listing).isolated
            values = {side: quantile(call.core.state, account, position) for side, position in sides.items()}
            names = ("LONG", "SHORT", "HEDGE" if crossed else "BOTH")
            rows.append({"symbol": listing.symbol, "adlQuantile": dict.fromkeys(names, 0) | values})
    return rows


def read_adl_risk(call: Call) -> Any:
    """GET /fapi/v1/symbolAdlRisk: what the insurance fund could bear of the positions that can be liquidated here.

    "low" where it could bear all that the larger side of our accounts holds, at mark; "medium" where it could bear as
    much of it as a MARKET order may pay beyond the mark (`marketTakeBound`); else "high". The venue's formula, which
    looks at much more, is not known.
    """
    named = call.optional_listing()
    if named is not None:
        return _adl_risk(call, named)
    return [_adl_risk(call, listing) for listing in call.core.state.listings if listing.onboard_ms <= call.now_ms]


def _adl_risk(call: Call, listing: Listing) -> dict[str, Any]:
    state = call.core.state
    held_e16 = open_interest(state, listing) * listing.step_e8 * state.mark_e8(listing)
    fund_e16 = state.house["INSURANCE_CLEAR"] * E8
    bound_e16 = held_e16 * amount_of(listing.market_take_bound) // E8
    risk = "low" if held_e16 <= fund_e16 else "medium" if bound_e16 <= fund_e16 else "high"
    return {"symbol": listing.symbol, "adlRisk": risk, "updateTime": call.now_ms}


def read_insurance(call: Call) -> Any:
    """GET /fapi/v1/insuranceBalance: one fund, in USDT, stands for every contract of this exchange."""
    named, state = call.optional_listing(), call.core.state
    row = {"symbols": sorted(state.by_symbol), "assets": [_fund(state)]}
    return [row] if named is None else row


def _fund(state: State) -> dict[str, Any]:
    return {"asset": "USDT", "marginBalance": money(state.house["INSURANCE_CLEAR"]), "updateTime": state.now_ms}


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/fapi/v1/adlQuantile"): Route(handler=read_quantiles, security=Security.SIGNED, weight=5),
    ("GET", "/fapi/v1/symbolAdlRisk"): Route(handler=read_adl_risk),
    ("GET", "/fapi/v1/insuranceBalance"): Route(handler=read_insurance),
}
