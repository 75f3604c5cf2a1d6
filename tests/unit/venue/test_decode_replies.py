"""REST answers become exact values; whatever else arrives is one typed error."""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.core.values import AlgoStatus, ClientId, OrderStatus, SymbolName
from aegis.venue import decode_replies
from aegis.venue.decode_exchange_info import exchange_info
from aegis.venue.wire_types import DecodeError
from tests.support.rest_port import client, ok

BTC = SymbolName("BTCUSDT")
BIG = 8389765739703625592
KLINE = [1000, "1.1", "2.5", "0.5", "2.0", "12.340", 1999, "9.9", 7, "2.34", "1.1", "0", "added later"]


async def test_klines_and_sub_minute_klines(autojump_clock):
    rest, port = client(ok([KLINE]), ok([KLINE, [2000, *KLINE[1:]]]))
    (bar,) = await rest.klines(BTC, "1m", 100, 5, 9, qty_decimals=2, symbol_index=3, timeframe_index=1)
    assert bar.tolist() == (3, 1, 1000, 1.1, 2.5, 0.5, 2.0, 1234, 234, 7)
    bars = await rest.klines(BTC, "1s", 1500, qty_decimals=3)
    assert bars["volume"].tolist() == [12340, 12340]
    assert port.sent[0][1] == "/fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime=5&endTime=9&limit=100"
    assert port.sent[1][1] == ("/fapi/v1/continuousKlines?pair=BTCUSDT&contractType=PERPETUAL&interval=1s&limit=1500")
    assert rest.limits.weight_used == 2 + 10


@pytest.mark.parametrize(
    ("index", "value"),
    [(1, "nan"), (1, "1e400"), (1, "-1"), (1, ""), (1, 5), (5, "12.345"), (5, "1e3"), (5, "-1"), (5, "9" * 30), (5, ""),
     (2, "0.1"), (0, "x"), (8, -1), (9, "inf")],
)  # fmt: skip
def test_a_bad_kline_is_one_typed_error(index, value):
    row = list(KLINE)
    row[index] = value
    with pytest.raises(DecodeError):
        decode_replies.klines(json.dumps([row]).encode(), qty_decimals=2, symbol=0, timeframe=0)


def test_klines_out_of_order_are_refused():
    with pytest.raises(DecodeError):
        decode_replies.klines(json.dumps([KLINE, KLINE]).encode(), qty_decimals=3, symbol=0, timeframe=0)


@given(st.lists(st.decimals(0, 10**9, places=3), min_size=1, max_size=20))
@settings(max_examples=50)
def test_lots_are_exact(volumes):
    rows = [[i, "1", "1", "1", "1", str(v), i, "0", 1, str(v), "0", "0"] for i, v in enumerate(volumes)]
    bars = decode_replies.klines(json.dumps(rows).encode(), qty_decimals=3, symbol=0, timeframe=0)
    assert bars["volume"].dtype == np.int64
    assert bars["volume"].tolist() == [int(v * 1000) for v in volumes]


SYMBOL_ROW = {
    "symbol": "BTCUSDT", "pair": "BTCUSDT", "contractType": "PERPETUAL", "deliveryDate": 4133404800000,
    "onboardDate": 1569398400000, "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "marginAsset": "USDT",
    "pricePrecision": 2, "quantityPrecision": 3, "underlyingType": "COIN", "triggerProtect": "0.0500",
    "liquidationFee": "0.012500", "marketTakeBound": "0.05",
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "556.80", "maxPrice": "4529764", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.001", "maxQty": "120", "stepSize": "0.001"},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MIN_NOTIONAL", "notional": "100"},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500", "multiplierDecimal": "4"},
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
    ],
}  # fmt: skip


def without_filter(kind: str) -> dict[str, object]:
    return {**SYMBOL_ROW, "symbol": "BAD", "filters": [f for f in SYMBOL_ROW["filters"] if f["filterType"] != kind]}


async def test_exchange_info_skips_bad_rows_with_their_reason_and_sets_the_limits(autojump_clock):
    filters = [{**f, "tickSize": "0"} if "tickSize" in f else f for f in SYMBOL_ROW["filters"]]
    zero_tick = {**SYMBOL_ROW, "symbol": "ZERO", "filters": filters}
    body = {
        "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}],
        "symbols": [without_filter("LOT_SIZE"), SYMBOL_ROW, {"symbol": "HALF"}, 7, zero_tick],
    }
    rest, _ = client(ok(body))
    info = await rest.exchange_info()
    (spec,) = info.symbols
    assert (spec.symbol, spec.tick, spec.step, spec.market_max_qty, spec.min_notional) == (
        "BTCUSDT", Decimal("0.10"), Decimal("0.001"), Decimal(120), Decimal(100),
    )  # fmt: skip
    assert (spec.multiplier_up, spec.trigger_protect, spec.liquidation_fee) == (
        Decimal("1.05"), Decimal("0.05"), Decimal("0.0125"),
    )  # fmt: skip
    assert [row.symbol for row in info.skipped] == ["BAD", "HALF", "", "ZERO"]
    assert all(row.reason for row in info.skipped)
    assert "LOT_SIZE" in info.skipped[0].reason
    assert rest.limits.weight_limit == 6000


ORDER_ROW = {
    "avgPrice": "27785.1", "clientOrderId": "1-1", "cumQuote": "0", "executedQty": "0.5", "orderId": BIG,
    "origQty": "1.0", "origType": "LIMIT", "price": "9000.1", "reduceOnly": False, "side": "BUY", "status": "EXPIRED",
    "symbol": "BTCUSDT", "time": 5, "timeInForce": "IOC", "type": "LIMIT", "updateTime": 6, "closePosition": False,
}  # fmt: skip
ALGO_ROW = {
    "algoId": BIG, "clientAlgoId": "1-2", "algoType": "CONDITIONAL", "orderType": "STOP_MARKET", "symbol": "BTCUSDT",
    "side": "SELL", "algoStatus": "NEW", "triggerPrice": "9.5", "price": "0", "workingType": "MARK_PRICE",
    "closePosition": True, "actualOrderId": "", "actualPrice": "0.00", "updateTime": 6, "icebergQuantity": None,
}  # fmt: skip
POSITION_ROW = {
    "symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": "-0.001", "entryPrice": "22185.2",
    "breakEvenPrice": "0.0", "markPrice": "21123.05052574", "unRealizedProfit": "-1.06214947", "liquidationPrice": "0",
    "isolatedMargin": "0", "notional": "-21.12", "marginAsset": "USDT", "isolatedWallet": "0", "initialMargin": "3.9",
    "maintMargin": "0.1", "adl": 2, "updateTime": 9,
}  # fmt: skip
TRADE_ROW = {
    "buyer": False, "commission": "-0.07819010", "commissionAsset": "USDT", "id": 698759, "maker": False,
    "orderId": BIG, "price": "7819.01", "qty": "0.002", "quoteQty": "15.63", "realizedPnl": "-0.91", "side": "SELL",
    "positionSide": "BOTH", "symbol": "BTCUSDT", "time": 1569514978020,
}  # fmt: skip


async def test_reads_decode_to_exact_values(autojump_clock):
    rest, _ = client(
        ok(ORDER_ROW), ok([ORDER_ROW]), ok(ALGO_ROW), ok([{**ALGO_ROW, "actualOrderId": "77"}]), ok([POSITION_ROW]),
        ok([TRADE_ROW]), ok([{"symbol": "BTCUSDT", "marginType": "ISOLATED", "leverage": 21}]),
        ok({"symbol": "BTCUSDT", "makerCommissionRate": "0.0002", "takerCommissionRate": "0.000500"}),
        ok({"leverage": 21, "symbol": "BTCUSDT"}),
    )  # fmt: skip
    order = await rest.order(BTC, ClientId("1-1"))
    assert (order.order_id, order.status, order.filled_qty, order.average_price) == (
        BIG, OrderStatus.EXPIRED, Decimal("0.5"), Decimal("27785.1"),
    )  # fmt: skip
    assert await rest.open_orders() == (order,)
    algo = await rest.algo_order(ClientId("1-2"))
    assert (algo.algo_id, algo.status, algo.trigger, algo.order_id) == (BIG, AlgoStatus.NEW, Decimal("9.5"), None)
    assert (await rest.open_algo_orders())[0].order_id == 77
    (position,) = await rest.positions()
    assert (position.amount, position.mark) == (Decimal("-0.001"), Decimal("21123.05052574"))
    (trade,) = await rest.user_trades(BTC, from_id=5)
    assert (trade.trade_id, trade.order_id, trade.commission) == (698759, BIG, Decimal("-0.07819010"))
    (config,) = await rest.symbol_configs(BTC)
    assert (config.isolated, config.leverage) == (True, 21)
    assert (await rest.commission_rate(BTC)).taker == Decimal("0.0005")
    assert (await rest.set_leverage(BTC, 21)).leverage == 21


async def test_more_reads(autojump_clock):
    asset = {"asset": "USDT", "balance": "-1.5", "crossWalletBalance": "2", "crossUnPnl": "0", "availableBalance": "1"}
    totals = dict.fromkeys(
        ["totalInitialMargin", "totalMaintMargin", "totalWalletBalance", "totalUnrealizedProfit", "totalMarginBalance",
         "totalPositionInitialMargin", "totalOpenOrderInitialMargin", "availableBalance"], "1.25",
    )  # fmt: skip
    bracket = {"bracket": 1, "initialLeverage": 75, "notionalCap": 10000, "notionalFloor": 0,
               "maintMarginRatio": 0.0065, "cum": 0.0}  # fmt: skip
    rest, _ = client(
        ok([asset]), ok(totals), ok({"canTrade": True, "dualSidePosition": False, "multiAssetsMargin": False}),
        ok([{"symbol": "BTCUSDT", "brackets": [bracket]}]), ok({"symbol": "BTCUSDT", "brackets": [bracket]}),
        ok([{"symbol": "", "incomeType": "TRANSFER", "income": "-0.375", "asset": "USDT", "time": 1, "tranId": BIG,
             "tradeId": ""}]),
        ok([{"symbol": "BTCUSDT", "bidPrice": "4.0", "bidQty": "431", "askPrice": "4.1", "askQty": "9", "time": 1}]),
        ok([{"symbol": "BTCUSDT", "lastPrice": "4.0", "volume": "8913.3", "quoteVolume": "15.3", "closeTime": 9}]),
        ok([{"symbol": "BTCUSDT", "markPrice": "1.5", "indexPrice": "1.4", "lastFundingRate": "-0.0001",
             "nextFundingTime": 5, "time": 6}]),
        ok({"lastUpdateId": 5, "E": 1, "T": 2, "bids": [["4.0", "431.0"]], "asks": [["4.1", "12.0"]]}),
        ok([{"a": 26129, "p": "0.016", "q": "4.7", "f": 27781, "l": 27781, "T": 1498793709153, "m": True}]),
    )  # fmt: skip
    assert (await rest.balances())[0].wallet == Decimal("-1.5")
    assert (await rest.account()).margin_balance == Decimal("1.25")
    assert (await rest.account_config()).hedge_mode is False
    assert await rest.leverage_brackets() == await rest.leverage_brackets(BTC)
    (row,) = await rest.income(income_type="TRANSFER")
    assert (row.amount, row.tran_id) == (Decimal("-0.375"), BIG)
    assert (await rest.book_tickers())[0].ask == Decimal("4.1")
    assert (await rest.tickers_24h())[0].quote_volume == Decimal("15.3")
    assert (await rest.premium_index())[0].funding_rate == Decimal("-0.0001")
    assert (await rest.depth(BTC)).bids == ((Decimal("4.0"), Decimal(431)),)
    assert (await rest.agg_trades(BTC, from_id=1))[0].buyer_is_maker is True


def test_brackets_with_absurd_numbers_are_refused():
    with pytest.raises(DecodeError):
        decode_replies.brackets(
            b'[{"symbol":"X","brackets":[{"bracket":1,"initialLeverage":7,"notionalCap":1e400,"notionalFloor":0,'
            b'"maintMarginRatio":0.1,"cum":0}]}]'
        )


DECODERS = [
    decode_replies.order_state, decode_replies.algo_states, decode_replies.positions, decode_replies.user_trades,
    decode_replies.brackets, decode_replies.agg_trades, decode_replies.server_time, decode_replies.listen_key,
    exchange_info, lambda body: decode_replies.klines(body, qty_decimals=2, symbol=0, timeframe=0),
]  # fmt: skip
BODIES = [ORDER_ROW, [ALGO_ROW], [POSITION_ROW], [TRADE_ROW], [KLINE], {"symbols": [SYMBOL_ROW]}]


@given(st.sampled_from(DECODERS), st.sampled_from(BODIES), st.data())
@settings(max_examples=200, deadline=None)
def test_mutated_bodies_raise_nothing_but_the_typed_error(convert, value, data):
    body = bytearray(json.dumps(value).encode())
    at = data.draw(st.integers(0, len(body) - 1))
    body[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    with contextlib.suppress(DecodeError):
        convert(bytes(body))
