"""GET /fapi/v1/exchangeInfo: what is listed, as the venue writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aegis.exchange.listing import Listing

__all__ = ["exchange_info"]

#: exchangeInfo lists conditional types still, although POST /order refuses them.
_ORDER_TYPES = (
    "LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET",
)  # fmt: skip


def exchange_info(
    listings: Sequence[Listing],
    now_ms: int,
    weight_limit: int = 2400,
    *,
    orders_minute: int = 1200,
    orders_10s: int = 300,
) -> dict[str, Any]:
    """The body of GET /fapi/v1/exchangeInfo (PROTOCOL 4.2), with a field that no documentation knows."""
    return {
        "exchangeFilters": [],
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": weight_limit},
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": orders_minute},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": orders_10s},
        ],
        "serverTime": now_ms,
        "assets": [
            {"asset": asset, "marginAvailable": True, "autoAssetExchange": "-10000"}
            for asset in ("USDT", "USDC", "BNB")
        ],
        "symbols": [_symbol_info(listing) for listing in listings],
        "timezone": "UTC",
        "futuresType": "U_MARGINED",
    }


def _symbol_info(listing: Listing) -> dict[str, Any]:
    return {
        "symbol": listing.symbol,
        "pair": listing.pair,
        "contractType": listing.contract_type,
        "deliveryDate": listing.delivery_ms,
        "onboardDate": listing.onboard_ms,
        "status": listing.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": listing.base,
        "quoteAsset": listing.quote,
        "marginAsset": listing.margin,
        "pricePrecision": listing.price_decimals,
        "quantityPrecision": listing.qty_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": listing.underlying_type,
        "underlyingSubType": [],
        "settlePlan": 0,
        "triggerProtect": f"{listing.trigger_protect:f}",
        "liquidationFee": f"{listing.liquidation_fee:f}",
        "marketTakeBound": f"{listing.market_take_bound:f}",
        "maxMoveOrderLimit": 10000,
        "filters": _filters(listing),
        "orderTypes": list(_ORDER_TYPES),
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY", "DCA", "RPI"],
        "tomorrowsField": {"known": False},
    }  # fmt: skip


def _filters(listing: Listing) -> list[dict[str, Any]]:
    lots = {"minQty": f"{listing.min_qty:f}", "stepSize": f"{listing.step:f}"}
    return [
        {"filterType": "PRICE_FILTER", "minPrice": f"{listing.min_price:f}", "maxPrice": f"{listing.max_price:f}",
         "tickSize": f"{listing.tick:f}"},
        {"filterType": "LOT_SIZE", **lots, "maxQty": f"{listing.max_qty:f}"},
        {"filterType": "MARKET_LOT_SIZE", **lots, "maxQty": f"{listing.market_max_qty:f}"},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MIN_NOTIONAL", "notional": f"{listing.min_notional:f}"},
        {"filterType": "PERCENT_PRICE", "multiplierUp": f"{listing.multiplier_up:f}",
         "multiplierDown": f"{listing.multiplier_down:f}", "multiplierDecimal": "4"},
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
    ]  # fmt: skip
