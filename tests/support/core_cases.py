"""Values that the tests of `core` start from: one symbol, one account, and builders of venue events."""

from __future__ import annotations

from decimal import Decimal
from itertools import count
from typing import Any

from aegis.core.brackets import LeverageBracket, LeverageBrackets
from aegis.core.fills import Fill
from aegis.core.filters import SymbolSpec
from aegis.core.messages import AlgoRequest, AlgoUpdate, OrderRequest, OrderUpdate, TradeLite
from aegis.core.risk import (
    AccountView,
    EntryCandidate,
    EntryContext,
    Fees,
    Freshness,
    Funding,
    Quote,
)
from aegis.core.values import (
    AlgoStatus,
    AlgoType,
    ClientId,
    OrderStatus,
    OrderType,
    Side,
    SymbolName,
    TimeInForce,
    WorkingType,
)

D = Decimal
BTC = SymbolName("BTCUSDT")
SECOND = 10**9
BIG_ID = 8389765739703625592  # a real order id above 2**53


def make_spec(**changes: Any) -> SymbolSpec:
    fields: dict[str, Any] = {
        "symbol": BTC,
        "base": "BTC",
        "quote": "USDT",
        "margin": "USDT",
        "contract_type": "PERPETUAL",
        "status": "TRADING",
        "underlying_type": "COIN",
        "onboard_ms": 0,
        "delivery_ms": 4133404800000,
        "tick": D("0.10"),
        "min_price": D("100"),
        "max_price": D("1000000"),
        "step": D("0.001"),
        "min_qty": D("0.001"),
        "max_qty": D("1000"),
        "market_step": D("0.001"),
        "market_min_qty": D("0.001"),
        "market_max_qty": D("120"),
        "min_notional": D("50"),
        "multiplier_up": D("1.05"),
        "multiplier_down": D("0.95"),
        "trigger_protect": D("0.05"),
        "liquidation_fee": D("0.0125"),
    }
    return SymbolSpec(**{**fields, **changes})


def make_brackets() -> LeverageBrackets:
    rows = (
        LeverageBracket(floor=D(0), cap=D(50_000), rate=D("0.004"), cum=D(0), leverage=125),
        LeverageBracket(floor=D(50_000), cap=D(500_000), rate=D("0.005"), cum=D(50), leverage=100),
        LeverageBracket(floor=D(500_000), cap=D(10_000_000), rate=D("0.01"), cum=D(2550), leverage=50),
    )
    return LeverageBrackets(symbol=BTC, rows=rows)


def make_order(**changes: Any) -> OrderRequest:
    fields: dict[str, Any] = {
        "cid": ClientId("a-1"),
        "symbol": BTC,
        "side": Side.BUY,
        "type": OrderType.LIMIT,
        "qty": D("3"),
        "price": D("50000"),
        "tif": TimeInForce.GTC,
    }
    return OrderRequest(**{**fields, **changes})


def make_algo(**changes: Any) -> AlgoRequest:
    fields: dict[str, Any] = {
        "cid": ClientId("a-2"),
        "symbol": BTC,
        "side": Side.SELL,
        "type": AlgoType.STOP_MARKET,
        "trigger": D("49000"),
        "working_type": WorkingType.CONTRACT_PRICE,
    }
    return AlgoRequest(**{**fields, **changes})


def order_update(request: OrderRequest | AlgoRequest, status: OrderStatus, **changes: Any) -> OrderUpdate:
    """An event of that order; `trade_id` makes it an execution of `last_qty`."""
    traded = "trade_id" in changes
    fields: dict[str, Any] = {
        "event_ms": 1000,
        "transaction_ms": 1000,
        "symbol": request.symbol,
        "cid": request.cid,
        "side": request.side,
        "type": "LIMIT",
        "original_type": "LIMIT",
        "execution": "TRADE" if traded else status.value if status.final else "NEW",
        "status": status,
        "order_id": BIG_ID,
        "qty": request.qty if isinstance(request, OrderRequest) else D("3"),
        "price": D("50000"),
        "average_price": D("0"),
        "last_qty": D("1") if traded else D("0"),
        "last_price": D("50000") if traded else D("0"),
        "filled_qty": D("0"),
        "commission": D("0.1") if traded else D("0"),
        "commission_asset": "USDT",
        "trade_id": 0,
        "maker": False,
        "reduce_only": False,
        "close_position": False,
        "realized_pnl": D("0"),
        "expiry_reason": "0",
    }
    return OrderUpdate(**{**fields, **changes})


def trade_lite(request: OrderRequest | AlgoRequest, trade_id: int, qty: Decimal, **changes: Any) -> TradeLite:
    fields: dict[str, Any] = {
        "event_ms": 1000,
        "transaction_ms": 1000,
        "symbol": request.symbol,
        "cid": request.cid,
        "side": request.side,
        "order_id": BIG_ID,
        "trade_id": trade_id,
        "last_qty": qty,
        "last_price": D("50000"),
        "maker": False,
    }
    return TradeLite(**{**fields, **changes})


def algo_update(request: AlgoRequest, status: AlgoStatus, **changes: Any) -> AlgoUpdate:
    fields: dict[str, Any] = {
        "event_ms": 1000,
        "transaction_ms": 1000,
        "symbol": request.symbol,
        "cid": request.cid,
        "algo_id": 4_000_000_230_627_731,
        "side": request.side,
        "type": request.type.value,
        "status": status,
        "trigger": request.trigger,
        "order_id": None,
        "filled_qty": D("0"),
        "average_price": D("0"),
        "reason": "",
    }
    return AlgoUpdate(**{**fields, **changes})


def make_fill(side: Side, qty: str | Decimal, price: str | Decimal, trade_id: int, **changes: Any) -> Fill:
    fields: dict[str, Any] = {
        "symbol": BTC,
        "cid": ClientId("a-1"),
        "side": side,
        "order_id": BIG_ID,
        "trade_id": trade_id,
        "qty": D(qty),
        "price": D(price),
        "maker": False,
        "commission": D("0"),
        "commission_asset": "USDT",
        "realized": D("0"),
        "time_ms": 1000,
    }
    return Fill(**{**fields, **changes})


def make_candidate(**changes: Any) -> EntryCandidate:
    fields: dict[str, Any] = {
        "signal_id": "s-1",
        "cid": ClientId("a-1"),
        "symbol": BTC,
        "side": Side.BUY,
        "level": D("50000"),
        "stop": D("49500"),
        "target": D("51000"),
        "time_limit_ns": 3600 * SECOND,
        "expires_ns": 10**18,
    }
    return EntryCandidate(**{**fields, **changes})


def make_account(**changes: Any) -> AccountView:
    fields: dict[str, Any] = {
        "equity": D("10000"),
        "free_margin": D("10000"),
        "positions": 0,
        "gross_notional": D("0"),
        "net_notional": D("0"),
        "open_risk": D("0"),
        "orders_total": 0,
        "unknown_total": 0,
        "open_algos": 0,
    }
    return AccountView(**{**fields, **changes})


def make_context(**changes: Any) -> EntryContext:
    fields: dict[str, Any] = {
        "spec": make_spec(),
        "spec_age_ns": 0,
        "quote": Quote(bid=D("49999.9"), bid_qty=D("5"), ask=D("50000.0"), ask_qty=D("5")),
        "mark": D("50000"),
        "fresh": Freshness(socket_silence_ns=0, event_lag_ns=0, mark_age_ns=0),
        "funding": Funding(rate=D("0.0001"), due_in_ns=8 * 3600 * SECOND),
        "fees": Fees(maker=D("0.0002"), taker=D("0.0005")),
        "brackets": make_brackets(),
        "account": make_account(),
        "warm": True,
    }
    return EntryContext(**{**fields, **changes})


class Cids:
    """Client ids in sequence, as the journal would give them."""

    def __init__(self, run: str = "t") -> None:
        self._numbers = count(1)
        self._run = run

    def __call__(self) -> ClientId:
        return ClientId(f"{self._run}-{next(self._numbers)}")
