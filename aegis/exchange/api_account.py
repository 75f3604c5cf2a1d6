"""Handlers of account, settings and listen keys. PROTOCOL.md §3.1 and §4.5."""

from __future__ import annotations

from typing import Any

from aegis.exchange.account import Position, PositionSide
from aegis.exchange.adl import quantile
from aegis.exchange.api import Call, Params, Route, Security, position_side
from aegis.exchange.errors import Refusal
from aegis.exchange.listing import Listing
from aegis.exchange.margin import Margins, SymbolMargin, liquidation_price
from aegis.exchange.money import amount_of, money, plain
from aegis.exchange.state import MarginMove
from aegis.exchange.userstream import account_update, leverage_update, listen_key_expired, quantity

__all__ = [
    "ROUTES",
    "read_account",
    "read_account_config",
    "read_balance",
    "read_position_risk",
]


def _margins(call: Call) -> Margins:
    return call.core.state.margins[call.account.id].now()


# -- reading -----------------------------------------------------------------------------------------------------------
def read_account(call: Call) -> dict[str, Any]:
    """GET /fapi/v3/account."""
    margin = _margins(call)
    totals = {
        "initialMargin": money(margin.position_initial + margin.open_order_initial),
        "maintMargin": money(margin.maintenance),
        "positionInitialMargin": money(margin.position_initial),
        "openOrderInitialMargin": money(margin.open_order_initial),
        "crossWalletBalance": money(call.account.cross_wallet),
        "crossUnPnl": money(margin.cross_unrealized),
    }
    available = {"availableBalance": money(margin.available), "maxWithdrawAmount": money(margin.available)}
    asset = {
        "asset": "USDT",
        "walletBalance": money(call.account.wallet),
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
        "positions": [_account_position(row) for row in margin.rows],
    }


def _account_position(row: SymbolMargin) -> dict[str, Any]:
    return {
        "symbol": row.position.listing.symbol,
        "positionSide": row.position.side,
        "positionAmt": quantity(row.position.listing, row.position.steps),
        "unrealizedProfit": money(row.unrealized),
        "isolatedMargin": money(row.isolated_margin),
        "notional": plain(row.notional_e16, 16),
        "isolatedWallet": money(row.position.isolated_wallet),
        "initialMargin": money(row.initial),
        "maintMargin": money(row.maintenance),
        "updateTime": row.position.updated_ms,
    }


def read_balance(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v3/balance; assets without a balance are listed too."""
    margin = _margins(call)
    row = {
        "accountAlias": call.account.id,
        "asset": "USDT",
        "balance": money(call.account.wallet),
        "crossWalletBalance": money(call.account.cross_wallet),
        "crossUnPnl": money(margin.cross_unrealized),
        "availableBalance": money(margin.available),
        "maxWithdrawAmount": money(margin.available),
        "marginAvailable": True,
        "updateTime": call.account.updated_ms,
    }
    empty = {name: value if name == "accountAlias" else money(0) for name, value in row.items()}
    others = [empty | {"asset": asset, "marginAvailable": True, "updateTime": 0} for asset in ("USDC", "BNB")]
    return [row, *others]


def read_position_risk(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v3/positionRisk: only symbols with a position or open orders."""
    listing = call.optional_listing()
    margin = _margins(call)
    rows = [row for row in margin.rows if listing is None or row.position.listing is listing]
    return [_position_risk(call, row, margin) for row in rows]


def _position_risk(call: Call, row: SymbolMargin, margin: Margins) -> dict[str, Any]:
    position = row.position
    return {
        "symbol": position.listing.symbol,
        "positionSide": position.side,
        "positionAmt": quantity(position.listing, position.steps),
        "entryPrice": plain(position.entry_e16, 16),
        "breakEvenPrice": plain(position.entry_e16, 16),
        "markPrice": money(row.mark_e8),
        "unRealizedProfit": money(row.unrealized),
        "liquidationPrice": plain(liquidation_price(row, margin)),
        "isolatedMargin": money(row.isolated_margin),
        "notional": plain(row.notional_e16, 16),
        "marginAsset": "USDT",
        "isolatedWallet": money(position.isolated_wallet),
        "initialMargin": money(row.initial),
        "maintMargin": money(row.maintenance),
        "positionInitialMargin": money(row.position_initial),
        "openOrderInitialMargin": money(row.open_order_initial),
        "adl": quantile(call.core.state, call.account, position),
        "bidNotional": plain(row.bid_e16, 16),
        "askNotional": plain(row.ask_e16, 16),
        "updateTime": position.updated_ms,
    }


def read_symbol_config(call: Call) -> list[dict[str, Any]]:
    """GET /fapi/v1/symbolConfig."""
    named = call.optional_listing()
    return [_symbol_config(call, row) for row in (call.core.state.listings if named is None else (named,))]


def _symbol_config(call: Call, listing: Listing) -> dict[str, Any]:
    setting = call.account.setting(listing)
    return {
        "symbol": listing.symbol,
        "marginType": "ISOLATED" if setting.isolated else "CROSSED",
        "isAutoAddMargin": False,
        "leverage": setting.leverage,
        "maxNotionalValue": plain(listing.brackets.cap_e16(setting.leverage), 16),
    }


def read_account_config(call: Call) -> dict[str, Any]:
    """GET /fapi/v1/accountConfig."""
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": False,
        "dualSidePosition": call.account.hedge,
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
            "info": str(row.trade_id) if row.trade_id else row.type,
            "time": row.ms,
            "tranId": row.id,
            "tradeId": str(row.trade_id) if row.trade_id else "",
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
    account, listing, leverage = call.account, call.listing(), call.params.integer("leverage")
    largest = max((row.leverage for row in listing.brackets), default=1)
    if not 1 <= leverage <= largest:
        raise Refusal(-4028, leverage)
    setting, sides = account.setting(listing), account.sides(listing)
    before, cap_e16 = setting.leverage, listing.brackets.cap_e16(leverage)
    if setting.isolated and leverage < before and any(position.steps for position in sides):
        raise Refusal(-4161)
    mark_e8 = call.core.state.mark_e8(listing)
    if any(abs(position.notional_e16(mark_e8)) > cap_e16 for position in sides):
        raise Refusal(-2027)
    account.set_symbol(listing, leverage=leverage)
    margins = _margins(call)
    if leverage < before and margins.free < 0:
        account.set_symbol(listing, leverage=before)
        raise Refusal(-2028)
    if leverage != before:
        _record_setting(call, sides[0])
        call.core.state.tell(account.id, leverage_update(listing, leverage, call.now_ms))
    return {"leverage": leverage, "maxNotionalValue": plain(cap_e16, 16), "symbol": listing.symbol}


def set_margin_type(call: Call) -> dict[str, Any]:
    """POST /fapi/v1/marginType."""
    account, listing, kind = call.account, call.listing(), call.params.text("marginType")
    if kind not in ("ISOLATED", "CROSSED"):
        raise Refusal(-1130, "marginType")
    if account.setting(listing).isolated == (kind == "ISOLATED"):
        raise Refusal(-4046)
    state, sides = call.core.state, account.sides(listing)
    if state.orders.count_open(account.id, listing.index):
        raise Refusal(-4047)
    if any(position.steps for position in sides):
        raise Refusal(-4048)
    account.set_symbol(listing, isolated=kind == "ISOLATED")
    _record_setting(call, sides[0])
    changed = [(position, state.mark_e8(listing)) for position in sides]
    state.tell(account.id, account_update(account, call.now_ms, "MARGIN_TYPE_CHANGE", changed))
    return {"code": 200, "msg": "success"}


def change_margin(call: Call) -> dict[str, Any]:
    """POST /fapi/v1/positionMargin: move money between the wallet and an isolated position. Type 1 adds, 2 takes."""
    params, account = call.params, call.account
    position = account.position(call.listing(), _own_side(call, params))
    sent, kind = params.decimal("amount"), params.integer("type")
    amount = amount_of(sent)
    if kind not in (1, 2) or not amount:
        raise Refusal(-1130, "amount" if kind in (1, 2) else "type")
    if not position.setting.isolated or not position.steps:
        raise Refusal(-1020)
    state = call.core.state
    mark_e8, moved = state.mark_e8(position.listing), amount if kind == 1 else -amount
    if kind == 1 and amount > _margins(call).available:
        raise Refusal(-4050)
    left = position.isolated_wallet + moved
    if left + min(0, position.unrealized(mark_e8)) < position.initial_margin(mark_e8):
        raise Refusal(-4051)
    account.shift_margin(position, moved)
    state.margin_moves.append(MarginMove(account.id, position.listing.symbol, position.side, kind, amount, call.now_ms))
    _record_setting(call, position)
    state.tell(account.id, account_update(account, call.now_ms, "MARGIN_TRANSFER", [(position, mark_e8)]))
    return {"amount": float(sent), "code": 200, "msg": "Successfully modify position margin.", "type": kind}


def _own_side(call: Call, params: Params) -> PositionSide:
    """The side that `positionSide` names. Raises Refusal -4060 where the account's mode has no such side."""
    side = position_side(params)
    if (side == "BOTH") == call.account.hedge:
        raise Refusal(-4060)
    return side


def set_position_mode(call: Call) -> dict[str, Any]:
    """POST /fapi/v1/positionSide/dual: one-way or hedge mode, for every symbol."""
    account, orders = call.account, call.core.state.orders
    call.params.text("dualSidePosition")
    hedge = call.params.flag("dualSidePosition")
    if hedge == account.hedge:
        raise Refusal(-4059)
    if orders.open_orders(account.id) or call.core.conditional.open_orders(account.id):
        raise Refusal(-4067)
    if any(account.held()):
        raise Refusal(-4068)
    account.hedge = hedge
    return {"code": 200, "msg": "success"}


def _record_setting(call: Call, position: Position) -> None:
    fields = {
        "account": call.account.id,
        "symbol": position.listing.symbol,
        "leverage": position.setting.leverage,
        "isolated": position.setting.isolated,
        "isolated_wallet": money(position.isolated_wallet),
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
        handler=lambda call: {"dualSidePosition": call.account.hedge}, security=_SIGNED, weight=30
    ),
    ("GET", "/fapi/v1/income"): Route(handler=read_income, security=_SIGNED, weight=30),
    ("POST", "/fapi/v1/listenKey"): Route(handler=start_listening, security=_KEY),
    ("PUT", "/fapi/v1/listenKey"): Route(handler=keep_listening, security=_KEY),
    ("DELETE", "/fapi/v1/listenKey"): Route(handler=stop_listening, security=_KEY),
}
