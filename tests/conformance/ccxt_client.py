"""ccxt's `binanceusdm`, blocking: what it reads back equals the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal as D
from itertools import pairwise
from typing import Any

import ccxt
import pytest
from conftest import Venue, flood

BTC = "BTC/USDT:USDT"
Eventually = Callable[[Callable[[], Any]], Any]


def connect(venue: Venue, secret: str | None = None) -> ccxt.binanceusdm:
    client = ccxt.binanceusdm(
        {"apiKey": venue.addresses.api_key, "secret": secret or venue.addresses.api_secret, "enableRateLimit": False}
    )
    rest = venue.addresses.rest
    for name in list(client.urls["api"]):
        if name.startswith("fapi"):
            version = {"V2": "v2", "V3": "v3"}.get(name[-2:], "v1")
            client.urls["api"][name] = f"{rest}/fapi/{version}"
        else:
            del client.urls["api"][name]  # nothing else may be asked
    client.has["fetchCurrencies"] = False
    client.options["fetchMarkets"] = {"types": ["linear"]}
    return client


@pytest.fixture(scope="module")
def client(venue: Venue) -> Iterator[ccxt.binanceusdm]:
    made = connect(venue)
    made.load_markets()
    yield made
    made.close()


def price(client: ccxt.binanceusdm, factor: str, side: str = "bid") -> float:
    """A price off the touch, on the tick."""
    quote = client.fetch_bids_asks([BTC])[BTC]
    return float(client.price_to_precision(BTC, D(str(quote[side])) * D(factor)))


def hold(client: ccxt.binanceusdm, venue: Venue, amount: str) -> None:
    """Bring the position to `amount` by a market order."""
    change = D(amount) - venue.position("BTCUSDT")
    if change:
        client.create_order(BTC, "market", "buy" if change > 0 else "sell", float(abs(change)))
    assert venue.position("BTCUSDT") == D(amount)


# ------------------------------------------------------------------------------------------------------- market data


def test_markets_carry_the_filters(client: ccxt.binanceusdm) -> None:
    assert len([row for row in client.markets.values() if row["active"] and row["swap"]]) >= 20
    market = client.market(BTC)
    assert (market["id"], market["linear"], market["swap"], market["active"]) == ("BTCUSDT", True, True, True)
    assert market["precision"]["price"] > 0
    assert market["limits"]["cost"]["min"] > 0


def test_time_and_status(client: ccxt.binanceusdm) -> None:
    assert abs(client.fetch_time() - client.milliseconds()) < 10_000


def test_the_book_is_ordered_and_around_the_last_price(client: ccxt.binanceusdm) -> None:
    book = client.fetch_order_book(BTC, 20)
    bids, asks = [row[0] for row in book["bids"]], [row[0] for row in book["asks"]]
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
    assert book["nonce"] > 0


def test_tickers_trades_and_prices_agree(client: ccxt.binanceusdm, eventually: Eventually) -> None:
    ticker = client.fetch_ticker(BTC)
    assert ticker["low"] <= ticker["last"] <= ticker["high"]
    assert ticker["quoteVolume"] > ticker["baseVolume"] > 0
    assert set(client.fetch_tickers()) == set(client.markets)
    assert client.fetch_last_prices([BTC])[BTC]["price"] > 0
    trades = eventually(lambda: client.fetch_trades(BTC, limit=50))
    assert [row["timestamp"] for row in trades] == sorted(row["timestamp"] for row in trades)
    raw = eventually(lambda: client.fetch_trades(BTC, limit=50, params={"fetchTradesMethod": "fapiPublicGetTrades"}))
    assert all(row["cost"] == pytest.approx(row["price"] * row["amount"]) for row in raw)


def test_klines_are_whole_and_join(client: ccxt.binanceusdm) -> None:
    rows = client.fetch_ohlcv(BTC, "1m", limit=100)
    assert len(rows) == 100
    assert [b[0] - a[0] for a, b in pairwise(rows)] == [60_000] * 99
    assert all(low <= min(o, c) <= max(o, c) <= high for _, o, high, low, c, _ in rows)


def test_the_funding_rate_and_mark(client: ccxt.binanceusdm) -> None:
    rate = client.fetch_funding_rate(BTC)
    assert rate["markPrice"] > 0
    assert rate["nextFundingTimestamp" if rate.get("nextFundingTimestamp") else "fundingTimestamp"] > 0


# ------------------------------------------------------------------------------------------------------------ orders


def test_a_limit_order_rests_is_changed_and_cancelled(client: ccxt.binanceusdm, venue: Venue) -> None:
    placed = client.create_order(BTC, "limit", "buy", 0.01, price(client, "0.97"))
    assert placed["status"] == "open"
    assert int(placed["id"]) in venue.account.open_orders
    assert client.fetch_order(placed["id"], BTC)["status"] == "open"
    assert [row["id"] for row in client.fetch_open_orders(BTC)] == [placed["id"]]
    lower = price(client, "0.96")
    changed = client.edit_order(placed["id"], BTC, "limit", "buy", 0.02, lower)
    assert changed["id"] == placed["id"]
    entry = venue.account.open_orders[int(placed["id"])]
    assert (D(entry["qty"]), D(entry["price"])) == (D("0.02"), D(str(lower)))
    gone = client.cancel_order(placed["id"], BTC)
    assert gone["status"] == "canceled"
    assert venue.account.open_orders == {}
    assert client.fetch_order(placed["id"], BTC)["status"] == "canceled"
    assert client.fetch_orders(BTC)[-1]["id"] == placed["id"]


def test_a_market_order_fills_and_its_trades_are_the_ledgers(client: ccxt.binanceusdm, venue: Venue) -> None:
    hold(client, venue, "0")
    before = len(venue.account.fills)
    placed = client.create_order(BTC, "market", "buy", 0.05)
    read = client.fetch_order(placed["id"], BTC)
    assert (read["status"], read["filled"]) == ("closed", 0.05)
    fills = venue.account.fills[before:]
    trades = [row for row in client.fetch_my_trades(BTC) if row["order"] == placed["id"]]
    assert [(row["id"], D(row["info"]["price"]), D(row["info"]["qty"])) for row in trades] == [
        (str(fill["trade_id"]), D(fill["price"]), D(fill["qty"])) for fill in fills
    ]
    assert sum(D(row["info"]["commission"]) for row in trades) == sum(D(fill["commission"]) for fill in fills)
    cost = sum(D(fill["price"]) * D(fill["qty"]) for fill in fills)
    assert D(read["info"]["cumQuote"]) == cost
    hold(client, venue, "0")


def test_post_only_fill_or_kill_and_reduce_only_are_refused_by_their_names(
    client: ccxt.binanceusdm, venue: Venue
) -> None:
    hold(client, venue, "0")
    with pytest.raises(ccxt.InvalidOrder, match="5022"):
        client.create_order(BTC, "limit", "buy", 0.01, price(client, "1.01"), {"postOnly": True})
    with pytest.raises(ccxt.InvalidOrder, match="5021"):
        client.create_order(BTC, "limit", "buy", 0.01, price(client, "0.97"), {"timeInForce": "FOK"})
    with pytest.raises(ccxt.ExchangeError, match="2022"):
        client.create_order(BTC, "market", "buy", 0.01, None, {"reduceOnly": True})
    with pytest.raises(ccxt.ExchangeError, match="2019"):
        client.create_order(BTC, "limit", "buy", 400, price(client, "0.99"))
    assert venue.account.open_orders == {}


def test_an_ioc_order_leaves_nothing_behind(client: ccxt.binanceusdm, venue: Venue) -> None:
    placed = client.create_order(BTC, "limit", "buy", 0.01, price(client, "0.97"), {"timeInForce": "IOC"})
    assert client.fetch_order(placed["id"], BTC)["status"] == "expired"
    assert venue.order_status(int(placed["id"])) == "EXPIRED"


def test_batches_and_cancelling_everything(client: ccxt.binanceusdm, venue: Venue) -> None:
    rows = [
        {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01, "price": price(client, factor)}
        for factor in ("0.98", "0.97", "0.96")
    ]
    made = client.create_orders(rows)
    assert {int(row["id"]) for row in made} == set(venue.account.open_orders)
    client.cancel_orders([made[0]["id"]], BTC)
    assert {int(row["id"]) for row in made[1:]} == set(venue.account.open_orders)
    client.cancel_all_orders(BTC)
    assert venue.account.open_orders == {}


def test_a_client_id_lives_once(client: ccxt.binanceusdm, venue: Venue) -> None:
    order = (BTC, "limit", "buy", 0.01, price(client, "0.97"), {"clientOrderId": "mine-1"})
    placed = client.create_order(*order)
    assert placed["clientOrderId"] == "mine-1"
    with pytest.raises(ccxt.ExchangeError, match="4116"):
        client.create_order(*order)
    assert client.cancel_order(None, BTC, {"clientOrderId": "mine-1"})["id"] == placed["id"]


# ----------------------------------------------------------------------------------------------- conditional orders

TYPES = [
    ("STOP_MARKET", {"stopLossPrice": "0.98"}),
    ("TAKE_PROFIT_MARKET", {"takeProfitPrice": "1.02"}),
    ("STOP", {"stopLossPrice": "0.98"}),
    ("TAKE_PROFIT", {"takeProfitPrice": "1.02"}),
    ("TRAILING_STOP_MARKET", {"trailingPercent": "1.5"}),
]


@pytest.mark.parametrize(("kind", "where"), TYPES, ids=[kind for kind, _ in TYPES])
def test_every_conditional_type_waits_and_is_cancelled(
    client: ccxt.binanceusdm, venue: Venue, kind: str, where: dict[str, str]
) -> None:
    hold(client, venue, "0.05")
    ((name, value),) = where.items()
    trailing = name == "trailingPercent"
    params = {name: value if trailing else price(client, value), "reduceOnly": True}
    limit = None if trailing or kind.endswith("MARKET") else price(client, "0.975")
    placed = client.create_order(BTC, "market" if limit is None else "limit", "sell", 0.02, limit, params)
    entry = venue.account.open_algo_orders[int(placed["id"])]
    assert (entry["type"], D(entry["qty"])) == (kind, D("0.02"))
    read = client.fetch_order(placed["id"], BTC, {"trigger": True})
    assert (read["status"], read["amount"]) == ("open", 0.02)
    assert placed["id"] in [row["id"] for row in client.fetch_open_orders(BTC, params={"trigger": True})]
    client.cancel_order(placed["id"], BTC, {"trigger": True})
    assert venue.algo_status(int(placed["id"])) == "CANCELED"
    assert venue.account.open_algo_orders == {}


def test_a_target_triggers_and_closes_whatever_is_held(
    client: ccxt.binanceusdm, venue: Venue, eventually: Eventually
) -> None:
    hold(client, venue, "0.05")
    tick = client.market(BTC)["precision"]["price"]
    trigger = client.price_to_precision(BTC, price(client, "1", "ask") + 6 * tick)
    params = {"takeProfitPrice": trigger, "closePosition": True}
    target = client.create_order(BTC, "market", "sell", 0, None, params)
    while venue.algo_status(int(target["id"])) == "NEW":  # our own buying brings the price there
        asks = client.fetch_order_book(BTC, 20)["asks"]
        amount = client.amount_to_precision(BTC, sum(row[1] for row in asks[:8]))
        client.create_order(BTC, "limit", "buy", float(amount), asks[7][0], {"timeInForce": "IOC"})
    eventually(lambda: venue.algo_status(int(target["id"])) == "FINISHED")
    assert venue.position("BTCUSDT") == 0
    child = client.fetch_order(target["id"], BTC, {"trigger": True})
    assert D(child["info"]["actualQty"]) > 0


# ----------------------------------------------------------------------------------------------------------- account


def test_balance_and_positions_are_the_ledgers(client: ccxt.binanceusdm, venue: Venue) -> None:
    hold(client, venue, "0.03")
    (position,) = client.fetch_positions([BTC])
    held = venue.account.open_positions["BTCUSDT"]
    assert (position["side"], D(str(position["contracts"]))) == ("long", D("0.03"))
    assert D(position["info"]["entryPrice"]) == held.entry
    balance = client.fetch_balance()
    assert D(balance["info"]["totalWalletBalance"]) == venue.account.wallet
    assert balance["USDT"]["total"] == pytest.approx(float(venue.account.wallet))
    hold(client, venue, "-0.03")
    assert client.fetch_positions([BTC])[0]["side"] == "short"
    hold(client, venue, "0")
    assert client.fetch_positions([BTC]) == []


def test_leverage_margin_mode_and_fees(client: ccxt.binanceusdm, venue: Venue) -> None:
    hold(client, venue, "0")
    assert client.set_leverage(7, BTC)["leverage"] == 7
    client.set_margin_mode("isolated", BTC)
    assert client.fetch_leverage(BTC)["longLeverage"] == 7
    assert client.fetch_margin_mode(BTC)["marginMode"] == "isolated"
    hold(client, venue, "0.02")
    (position,) = client.fetch_positions([BTC])
    assert position["marginMode"] == "isolated"
    assert client.add_margin(BTC, 50)["code"] == "USDT"
    hold(client, venue, "0")
    client.set_margin_mode("cross", BTC)
    client.set_leverage(20, BTC)
    assert client.fetch_trading_fee(BTC)["taker"] == 0.0005
    assert client.fetch_leverage_tiers([BTC])[BTC][0]["maxLeverage"] >= 20
    assert client.fetch_position_mode(BTC)["hedged"] is False


def test_income_is_the_ledgers(client: ccxt.binanceusdm, venue: Venue) -> None:
    rows = client.fetch_ledger("USDT", limit=1000)
    paid = sum(D(row["info"]["income"]) for row in rows if row["info"]["incomeType"] == "COMMISSION")
    assert -paid == venue.account.fees


# ---------------------------------------------------------------------------------------------------------- refusals


def test_a_bad_signature_is_an_authentication_error(venue: Venue) -> None:
    stranger = connect(venue, secret="wrong")
    with pytest.raises(ccxt.AuthenticationError, match="1022"):
        stranger.fetch_balance()
    stranger.close()


def test_the_weight_limit_is_a_rate_limit_error(strict_venue: Venue) -> None:
    hasty = connect(strict_venue)
    hasty.load_markets()
    with pytest.raises(ccxt.DDoSProtection, match="1003"):
        flood(hasty.fetch_time)
    hasty.close()
