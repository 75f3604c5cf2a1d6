"""Handlers of account, settings and listen keys. PROTOCOL.md §3.1 and §4.5."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from aegis.exchange.account import ZERO, Position, notional_cap, plain, round_money
from aegis.exchange.api import Call, Route, Security
from aegis.exchange.errors import Refusal
from aegis.exchange.listing import Listing
from aegis.exchange.margin import AccountMargin, SymbolMargin, account_margin, liquidation_price
from aegis.exchange.userstream import account_update, leverage_update, listen_key_expired

__all__ = [
    "ROUTES",
    "money",
    "read_account",
    "read_account_config",
    "read_balance",
    "read_position_risk",
]


def money(amount: Decimal) -> str:
    """With eight decimals, as most amounts are given."""
    return f"{amount:.8f}"


def _margin(call: Call) -> AccountMargin:
    return account_margin(call.account, call.core.state.orders, call.core.state.mark)


# -- reading -----------------------------------------------------------------------------------------------------------
def read_account(call: Call) -> dict[str, Any]:
    """GET /fapi/v3/account."""
    margin = _margin(call)
    totals = {
        "initialMargin": money(margin.position_initial + margin.open_order_initial),
        "maintMargin": money(margin.maintenance),
        "positionInitialMargin": money(margin.position_initial),
        "openOrderInitialMargin": money(margin.open_order_initial),
        "crossWalletBalance": money(margin.cross_wallet),
        "crossUnPnl": money(margin.cross_unrealized),
    }
    available = {"availableBalance": money(margin.available), "maxWithdrawAmount": money(margin.available)}
    asset = {
        "asset": "USDT",
        "walletBalance": money(margin.wallet),
        "unrealizedProfit": money(margin.unrealized),
        "marginBalance": money(margin.balance),
        **totals,
        **available,
        "updateTime": call.account.updated_ms,
    }
    return {
        **{f"total{name[0].upper()}{name[1:]}": value for name, value in totals.items()},
        "totalWalletBalance": asset["walletBalance"],
        "totalUnrealizedProfit": asset["unrealizedProfit"],
        "totalMarginBalance": asset["marginBalance"],
        **available,
        "assets": [asset],
        "positions": [_account_position(row) for row in margin.symbols],
    }


def _account_position(row: SymbolMargin) -> dict[str, Any]:
    return {
        "symbol": row.position.listing.symbol,
        "positionSide": "BOTH",
        "positionAmt": plain(row.position.amount),
        "unrealizedProfit": money(row.unrealized),
        "isolatedMargin": money(row.isolated_margin),
        "notional": plain(row.notional),
        "isolatedWallet": money(row.position.isolated_wallet),
        "initialMargin": money(row.initial),
        "maintMargin": money(row.maintenance),
        "updateTime": row.position.updated_ms,
    }


def read_balance(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v3/balance; assets without a balance are listed too."""
    margin = _margin(call)
    row = {
        "accountAlias": call.account.id,
        "asset": "USDT",
        "balance": money(margin.wallet),
        "crossWalletBalance": money(margin.cross_wallet),
        "crossUnPnl": money(margin.cross_unrealized),
        "availableBalance": money(margin.available),
        "maxWithdrawAmount": money(margin.available),
        "marginAvailable": True,
        "updateTime": call.account.updated_ms,
    }
    empty = {name: value if name == "accountAlias" else money(ZERO) for name, value in row.items()}
    others = [empty | {"asset": asset, "marginAvailable": True, "updateTime": 0} for asset in ("USDC", "BNB")]
    return [row, *others]


def read_position_risk(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v3/positionRisk: only symbols with a position or open orders."""
    listing = call.optional_listing()
    margin = _margin(call)
    return [_position_risk(row, margin) for row in margin.symbols if listing is None or row.position.listing is listing]


def _position_risk(row: SymbolMargin, margin: AccountMargin) -> dict[str, Any]:
    position = row.position
    return {
        "symbol": position.listing.symbol,
        "positionSide": "BOTH",
        "positionAmt": plain(position.amount),
        "entryPrice": plain(position.entry),
        "breakEvenPrice": plain(position.entry),
        "markPrice": money(row.mark),
        "unRealizedProfit": money(row.unrealized),
        "liquidationPrice": plain(liquidation_price(row, margin)),
        "isolatedMargin": money(row.isolated_margin),
        "notional": plain(row.notional),
        "marginAsset": "USDT",
        "isolatedWallet": money(position.isolated_wallet),
        "initialMargin": money(row.initial),
        "maintMargin": money(row.maintenance),
        "positionInitialMargin": money(row.position_initial),
        "openOrderInitialMargin": money(row.open_order_initial),
        "adl": 1 if position.steps else 0,
        "bidNotional": plain(row.bid_notional),
        "askNotional": plain(row.ask_notional),
        "updateTime": position.updated_ms,
    }


def read_symbol_config(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/symbolConfig."""
    named = call.optional_listing()
    return [_symbol_config(call, row) for row in (call.core.state.listings if named is None else (named,))]


def _symbol_config(call: Call, listing: Listing) -> dict[str, Any]:
    position = call.account.position(listing)
    return {
        "symbol": listing.symbol,
        "marginType": "ISOLATED" if position.isolated else "CROSSED",
        "isAutoAddMargin": False,
        "leverage": position.leverage,
        "maxNotionalValue": plain(position.notional_cap),
    }


def read_account_config(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/accountConfig."""
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": False,
        "dualSidePosition": False,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


def read_commission(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/commissionRate."""
    fees = call.core.state.fees
    return {
        "symbol": call.listing().symbol,
        "makerCommissionRate": f"{fees.maker:f}",
        "takerCommissionRate": f"{fees.taker:f}",
        "rpiCommissionRate": "0.00005",
    }


def read_brackets(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/leverageBracket: an array in both cases; numbers, not texts."""
    named = call.optional_listing()
    return [
        {
            "symbol": listing.symbol,
            "notionalCoef": 1.0,
            "brackets": [
                {
                    "bracket": row.bracket,
                    "initialLeverage": row.leverage,
                    "notionalCap": float(row.cap),
                    "notionalFloor": float(row.floor),
                    "maintMarginRatio": float(row.mmr),
                    "cum": float(row.cum),
                }
                for row in listing.brackets
            ],
        }
        for listing in (call.core.state.listings if named is None else (named,))
    ]


def read_income(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/income: oldest first; from a start the first rows, else the latest."""
    params = call.params
    listing, kind, limit = call.optional_listing(), params.optional("incomeType"), params.limit(100, 1000)
    start, end = params.optional_integer("startTime"), params.optional_integer("endTime")
    rows = [
        {
            "symbol": row.symbol,
            "incomeType": row.type,
            "income": money(row.amount),
            "asset": "USDT",
            "info": row.trade_id or row.type,
            "time": row.ms,
            "tranId": row.id,
            "tradeId": row.trade_id,
        }
        for row in call.core.state.incomes
        if row.account == call.account.id
        and (listing is None or row.symbol == listing.symbol)
        and (kind is None or row.type == kind)
        and (start is None or row.ms >= start)
        and (end is None or row.ms <= end)
    ]
    return rows[:limit] if start is not None else rows[-limit:]


# -- settings ----------------------------------------------------------------------------------------------------------
def set_leverage(call: Call) -> dict[str, Any]:
    """POST /fapi/v1/leverage."""
    listing, leverage = call.listing(), call.params.integer("leverage")
    largest = max((row.leverage for row in listing.brackets), default=1)
    if not 1 <= leverage <= largest:
        raise Refusal(-4028, leverage)
    position = call.account.position(listing)
    if position.isolated and position.steps and leverage < position.leverage:
        raise Refusal(-4161)
    cap = notional_cap(listing, leverage)
    if abs(position.notional(call.core.state.mark(listing))) > cap:
        raise Refusal(-2027)
    before, position.leverage = position.leverage, leverage
    margin = _margin(call)
    if leverage < before and margin.cross_wallet + margin.cross_unrealized < _tied_up(margin):
        position.leverage = before
        raise Refusal(-2028)
    if leverage != before:
        _record_setting(call, position)
        call.core.state.tell(call.account.id, leverage_update(position, call.now_ms))
    return {"leverage": leverage, "maxNotionalValue": plain(cap), "symbol": listing.symbol}


def _tied_up(margin: AccountMargin) -> Decimal:
    """Initial margin that the cross wallet has to carry."""
    crossed = sum((row.position_initial for row in margin.symbols if not row.position.isolated), ZERO)
    return crossed + margin.open_order_initial


def set_margin_type(call: Call) -> dict[str, Any]:
    """POST /fapi/v1/marginType."""
    listing, kind = call.listing(), call.params.text("marginType")
    if kind not in ("ISOLATED", "CROSSED"):
        raise Refusal(-1130, "marginType")
    position = call.account.position(listing)
    if position.isolated == (kind == "ISOLATED"):
        raise Refusal(-4046)
    state = call.core.state
    if state.orders.open_orders(call.account.id, listing.index):
        raise Refusal(-4047)
    if position.steps:
        raise Refusal(-4048)
    position.isolated = kind == "ISOLATED"
    _record_setting(call, position)
    changed = [(position, state.mark(listing))]
    state.tell(call.account.id, account_update(call.account, call.now_ms, "MARGIN_TYPE_CHANGE", changed))
    return {"code": 200, "msg": "success"}


def change_margin(call: Call) -> dict[str, Any]:
    """POST /fapi/v1/positionMargin: move money between the wallet and an isolated position. Type 1 adds, 2 takes."""
    params, listing = call.params, call.listing()
    amount, kind = round_money(params.decimal("amount")), params.integer("type")
    if (params.optional("positionSide") or "BOTH") != "BOTH":
        raise Refusal(-4060)
    if kind not in (1, 2) or not amount:
        raise Refusal(-1130, "amount" if kind in (1, 2) else "type")
    position, state = call.account.position(listing), call.core.state
    if not position.isolated or not position.steps:
        raise Refusal(-1020)
    mark, moved = state.mark(listing), amount if kind == 1 else -amount
    if kind == 1 and amount > _margin(call).available:
        raise Refusal(-4050)
    left = position.isolated_wallet + moved
    if left + min(ZERO, position.unrealized(mark)) < position.initial_margin(mark):
        raise Refusal(-4051)
    position.isolated_wallet = left
    _record_setting(call, position)
    state.tell(call.account.id, account_update(call.account, call.now_ms, "MARGIN_TRANSFER", [(position, mark)]))
    return {"amount": float(amount), "code": 200, "msg": "Successfully modify position margin.", "type": kind}


def set_position_mode(call: Call) -> dict[str, Any]:
    """POST /fapi/v1/positionSide/dual: one-way mode is all there is."""
    if call.params.flag("dualSidePosition"):
        raise Refusal(-1020)
    raise Refusal(-4059)


def _record_setting(call: Call, position: Position) -> None:
    fields = {
        "account": call.account.id,
        "symbol": position.listing.symbol,
        "leverage": position.leverage,
        "isolated": position.isolated,
        "isolated_wallet": f"{position.isolated_wallet:f}",
    }
    call.core.state.ledger.write(call.core.state.now_ns, "setting", fields)


# -- listen keys -------------------------------------------------------------------------------------------------------
def start_listening(call: Call) -> dict[str, Any]:
    """POST /fapi/v1/listenKey."""
    key = call.core.keys.start(call.account.id, call.now_ms)
    call.core.schedule_keys()
    return {"listenKey": key}


def keep_listening(call: Call) -> dict[str, Any]:
    """PUT /fapi/v1/listenKey."""
    key = call.core.keys.extend(call.account.id, call.now_ms)
    call.core.schedule_keys()
    return {"listenKey": key}


def stop_listening(call: Call) -> dict[str, Any]:
    """DELETE /fapi/v1/listenKey: its sockets are told, then silent."""
    key = call.core.keys.stop(call.account.id)
    if key is None:
        raise Refusal(-1125)
    call.core.state.tell(call.account.id, listen_key_expired(key, call.now_ms))
    return {}


_SIGNED, _KEY = Security.SIGNED, Security.KEY

ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/fapi/v3/account"): Route(handler=read_account, security=_SIGNED, weight=5),
    ("GET", "/fapi/v3/balance"): Route(handler=read_balance, security=_SIGNED, weight=5),
    ("GET", "/fapi/v3/positionRisk"): Route(handler=read_position_risk, security=_SIGNED, weight=5),
    ("GET", "/fapi/v1/symbolConfig"): Route(handler=read_symbol_config, security=_SIGNED, weight=5),
    ("GET", "/fapi/v1/accountConfig"): Route(handler=read_account_config, security=_SIGNED, weight=5),
    ("POST", "/fapi/v1/leverage"): Route(handler=set_leverage, security=_SIGNED),
    ("POST", "/fapi/v1/marginType"): Route(handler=set_margin_type, security=_SIGNED),
    ("POST", "/fapi/v1/positionMargin"): Route(handler=change_margin, security=_SIGNED),
    ("POST", "/fapi/v1/positionSide/dual"): Route(handler=set_position_mode, security=_SIGNED),
    ("GET", "/fapi/v1/commissionRate"): Route(handler=read_commission, security=_SIGNED, weight=20),
    ("GET", "/fapi/v1/leverageBracket"): Route(handler=read_brackets, security=_SIGNED),
    ("GET", "/fapi/v1/positionSide/dual"): Route(
        handler=lambda call: {"dualSidePosition": False}, security=_SIGNED, weight=30
    ),
    ("GET", "/fapi/v1/multiAssetsMargin"): Route(
        handler=lambda call: {"multiAssetsMargin": False}, security=_SIGNED, weight=30
    ),
    ("GET", "/fapi/v1/income"): Route(handler=read_income, security=_SIGNED, weight=30),
    ("POST", "/fapi/v1/listenKey"): Route(handler=start_listening, security=_KEY),
    ("PUT", "/fapi/v1/listenKey"): Route(handler=keep_listening, security=_KEY),
    ("DELETE", "/fapi/v1/listenKey"): Route(handler=stop_listening, security=_KEY),
}
