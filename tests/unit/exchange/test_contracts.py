"""Contracts that change while the exchange runs, and what the public hears of it."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

import numpy as np
import pytest

from aegis.config.scenario import ContractStep, Phase, Scenario
from aegis.core.errors import ConfigError
from aegis.exchange.ledger import fold_ledger
from aegis.exchange.listing import synthetic_listings
from aegis.exchange.news import ForceOrders
from aegis.exchange.server import STATE_FILE, Exchange
from aegis.exchange.subscriptions import Route
from aegis.kernels.books import PUBLIC, QUOTE
from tests.support.whole_exchange import START_NS, Whole, quiet

MARKET = {"symbol": "SOLUSDT", "side": "BUY", "type": "MARKET"}


def contracts(*steps):
    return Scenario(contract=tuple(ContractStep(**step) for step in steps))


def status(whole, symbol):
    rows = whole.call("GET", "/fapi/v1/exchangeInfo")["symbols"]
    return next(row["status"] for row in rows if row["symbol"] == symbol)


def smallest(whole, symbol):
    """A quantity that passes the filters, with room."""
    listing = next(row for row in whole.exchange.listings if row.symbol == symbol)
    return f"{listing.quantity(listing.steps((20 / listing.price(listing.start_ticks)).quantize(listing.step))):f}"


@pytest.mark.parametrize("symbol", ["NEWUSDT", "SOLUSDT"])
def test_a_contract_that_is_listed_later_is_there_and_silent_until_then(symbol):
    whole = Whole.open(quiet(scenario=contracts({"at_s": 65.0, "symbol": symbol, "action": "list"})))
    market = whole.listen("!contractInfo", f"{symbol.lower()}@kline_1m")
    public = whole.listen(f"{symbol.lower()}@bookTicker", f"{symbol.lower()}@trade", route=Route.PUBLIC)
    whole.run_to(64)
    assert status(whole, symbol) == "PENDING_TRADING"
    assert public.heard() == []
    assert [row for row in market.heard() if row[0] == "!contractInfo"] == []
    assert whole.call("POST", "/fapi/v1/order", **(MARKET | {"symbol": symbol, "quantity": 1})) == ("refused", -4141)
    assert whole.call("GET", "/fapi/v1/klines", symbol=symbol, interval="1m") == []
    assert symbol not in {row["symbol"] for row in whole.call("GET", "/fapi/v1/ticker/24hr")}
    whole.run_to(200)
    ((_, event),) = [row for row in market.heard() if row[0] == "!contractInfo"]
    assert (event["s"], event["cs"], event["st"], event["ot"] // 100) == (
        symbol, "TRADING", 1, (whole.exchange.born_ns // 10**6 + 65_000) // 100 + 1,
    )  # fmt: skip
    assert "bks" not in event
    assert event["ot"] <= event["E"] <= event["ot"] + 20
    assert status(whole, symbol) == "TRADING"
    assert len(public.heard()) > 20
    bars = whole.call("GET", "/fapi/v1/klines", symbol=symbol, interval="1m")
    assert bars[0][0] == event["ot"] // 60_000 * 60_000
    long = whole.call("GET", "/fapi/v1/klines", symbol=symbol, interval="1h")
    assert [Decimal(row[5]) for row in long] == [sum(Decimal(row[5]) for row in bars)]
    placed = whole.call("POST", "/fapi/v1/order", **(MARKET | {"symbol": symbol, "quantity": smallest(whole, symbol)}))
    assert placed["symbol"] == symbol


def test_a_halt_silences_one_symbol_and_changes_no_price_of_another():
    steps = ({"at_s": 20, "symbol": "SOLUSDT", "action": "halt"}, {"at_s": 40, "symbol": "SOLUSDT", "action": "resume"})
    heard = []
    for scenario in (contracts(*steps), Scenario()):
        whole = Whole.open(quiet(scenario=scenario))
        news = whole.listen("!contractInfo")
        ear = whole.listen("solusdt@trade", "ethusdt@bookTicker", "btcusdt@trade", route=Route.PUBLIC)
        whole.run_to(60)
        streams = defaultdict(list)
        for stream, data in ear.heard():
            streams[stream].append(data)
        heard.append((streams, [row["cs"] for _, row in news.heard()]))
    (halted, told), (free, nothing) = heard
    assert (told, nothing) == (["CLOSE", "TRADING"], [])
    assert halted["ethusdt@bookTicker"] == free["ethusdt@bookTicker"]
    assert halted["btcusdt@trade"] == free["btcusdt@trade"]
    times = [(row["T"] - START_NS // 10**6) / 1000 for row in halted["solusdt@trade"]]
    assert not [at for at in times if 20.2 < at < 40]
    assert [at for at in times if at > 40]
    assert [row for row in halted["solusdt@trade"] if row["T"] < START_NS // 10**6 + 20_000] == [
        row for row in free["solusdt@trade"] if row["T"] < START_NS // 10**6 + 20_000
    ]


def test_delisting_is_announced_ends_orders_and_settles_positions_at_the_mark():
    delisting = {"at_s": 30, "symbol": "SOLUSDT", "action": "delist", "notice_s": 20}
    whole = Whole.open(quiet(scenario=contracts(delisting)))
    news = whole.listen("!contractInfo")
    whole.run_to(5)
    quantity = smallest(whole, "SOLUSDT")
    whole.call("POST", "/fapi/v1/order", **(MARKET | {"quantity": quantity}))
    listing = next(row for row in whole.exchange.listings if row.symbol == "SOLUSDT")
    away = {"type": "LIMIT", "timeInForce": "GTC", "quantity": quantity, "newClientOrderId": "rests",
            "price": f"{listing.price(int(listing.start_ticks * 0.97)):f}"}  # fmt: skip
    assert whole.call("POST", "/fapi/v1/order", **(MARKET | away))["status"] == "NEW"
    stop = {"symbol": "SOLUSDT", "side": "SELL", "algoType": "CONDITIONAL", "type": "STOP_MARKET",
            "closePosition": "true", "triggerPrice": f"{listing.price(int(listing.start_ticks * 0.9)):f}"}  # fmt: skip
    assert whole.call("POST", "/fapi/v1/algoOrder", **stop)["algoStatus"] == "NEW"
    whole.run_to(15)
    ((_, announced),) = news.heard()
    assert (announced["cs"], announced["dt"]) == ("TRADING", START_NS // 10**6 + 30_100)
    whole.user_events.clear()
    whole.run_to(31)
    ((_, delivered),) = news.heard()
    assert delivered["cs"] == "SETTLING"
    updates = [event["o"] for event in whole.user_events if event["e"] == "ORDER_TRADE_UPDATE"]
    assert [(row["c"], row["er"]) for row in updates if row["x"] == "EXPIRED"] == [("rests", "7")]
    (fill,) = [row for row in updates if row["x"] == "CALCULATED"]
    assert fill["c"].startswith("settlement_autoclose-")
    mark = whole.exchange.books.mark_e8[listing.index] / 1e8
    assert abs(float(fill["L"]) / mark - 1) < 0.01
    algos = [event["o"]["X"] for event in whole.user_events if event["e"] == "ALGO_UPDATE"]
    assert algos == ["EXPIRED"]
    view = fold_ledger(whole.exchange.ledger.entries).only
    assert (view.open_positions, view.open_orders, view.open_algo_orders) == ({}, {}, {})
    assert whole.call("POST", "/fapi/v1/order", **(MARKET | {"quantity": quantity})) == ("refused", -4141)


def test_other_brackets_are_told_with_the_news_and_hold():
    step = {"at_s": 2, "symbol": "ETHUSDT", "action": "brackets", "max_leverage": 10}
    whole = Whole.open(quiet(scenario=contracts(step)))
    news = whole.listen("!contractInfo")
    whole.run_to(3)
    ((_, event),) = news.heard()
    rows = whole.call("GET", "/fapi/v1/leverageBracket", symbol="ETHUSDT")[0]["brackets"]
    assert [row["ma"] for row in event["bks"]] == [row["initialLeverage"] for row in rows]
    assert max(row["ma"] for row in event["bks"]) == 10
    assert [(row["bnf"], row["bnc"], row["mmr"]) for row in event["bks"]] == [
        (row["notionalFloor"], row["notionalCap"], row["maintMarginRatio"]) for row in rows
    ]
    assert all(row["mi"] <= row["ma"] for row in event["bks"])
    assert whole.call("POST", "/fapi/v1/leverage", symbol="ETHUSDT", leverage=20) == ("refused", -4028)


def test_a_restored_exchange_knows_what_became_of_its_contracts_and_tells_nobody_again(tmp_path):
    steps = [{"at_s": 1, "symbol": "ETHUSDT", "action": "halt"}, {"at_s": 2, "symbol": "NEWUSDT", "action": "list"},
             {"at_s": 9, "symbol": "ETHUSDT", "action": "resume"}]  # fmt: skip
    phase = Phase(at_s=1, for_s=6, depth=0.2, drift_bps_per_min=-100.0)
    scenario = Scenario(contract=contracts(*steps).contract, phase=(phase,))
    settings = quiet(scenario=scenario, state_dir=tmp_path)
    straight = Whole.open(quiet(scenario=scenario))
    straight.run_to(12)
    first = Whole.open(settings)
    first.run_to(4)
    first.exchange.save(tmp_path / STATE_FILE)
    first.exchange.close(save=False)
    again = Whole.open(settings, START_NS + 10**9)
    news = again.listen("!contractInfo")
    assert (status(again, "ETHUSDT"), status(again, "NEWUSDT")) == ("CLOSE", "TRADING")
    again.run_to(12)
    assert [event["s"] for _, event in news.heard()] == ["ETHUSDT"]
    for name in ("bid", "ask", "last", "mark_e8", "bid_qty"):
        assert (getattr(again.exchange.books, name) == getattr(straight.exchange.books, name)).all()
    again.exchange.close(save=False)


@pytest.mark.parametrize(
    ("scenario", "reason"),
    [
        (contracts({"at_s": 1, "symbol": "NOUSDT", "action": "halt"}), "contract[0].symbol: no contract NOUSDT"),
        (Scenario(phase=(Phase(at_s=1, for_s=1, symbols=("NOUSDT",)),)), "phase[0].symbols: no contract NOUSDT"),
        (contracts(*[{"at_s": 1, "symbol": "AUSDT", "action": "list"}] * 2), "contract[1].symbol: AUSDT is listed tw"),
    ],
)
def test_a_scenario_that_does_not_fit_its_exchange_is_refused(scenario, reason):
    with pytest.raises(ConfigError, match=reason.replace("[", r"\[")):
        Exchange.build(quiet(scenario=scenario), START_NS)


# -- liquidations ------------------------------------------------------------------------------------------------------
CRASH = Scenario(phase=(Phase(at_s=5, for_s=30, drift_bps_per_min=-3_000, activity=5, volatility=2, premium_bps=-40),))


def test_a_crash_liquidates_and_the_largest_of_each_second_is_told():
    whole = Whole.open(quiet(scenario=CRASH))
    market = whole.listen("!forceOrder@arr", "btcusdt@forceOrder")
    public = whole.listen("btcusdt@trade", route=Route.PUBLIC)
    whole.run_to(40)
    trades = defaultdict(lambda: defaultdict(Decimal))
    sums = defaultdict(Decimal)
    for _, row in public.heard():
        if row["m"]:
            sums[row["T"] // 1000, row["T"]] += Decimal(row["q"])
    for (second, _), size in sums.items():
        trades[second]["most"] = max(trades[second]["most"], size)
    told = market.heard()
    own = [row["o"] for stream, row in told if stream == "btcusdt@forceOrder"]
    assert len(own) > 3
    seconds = [row["T"] // 1000 for row in own]
    assert len(seconds) == len(set(seconds))
    for row in own:
        assert Decimal(row["q"]) == trades[row["T"] // 1000]["most"]
        assert (row["S"], row["X"], row["z"]) == ("SELL", "FILLED", row["q"])
    every = [row for stream, row in told if stream == "!forceOrder@arr"]
    coins = {row["o"]["s"] for row in every if row["st"] == 2}
    assert coins <= {"BTCUSD_PERP", "ETHUSD_PERP", "BNBUSD_PERP", "SOLUSD_PERP"}
    assert len([row for row in every if row["o"]["s"] == "BTCUSD_PERP"]) == len(own)


def test_a_calm_market_liquidates_nobody():
    whole = Whole.open(quiet())
    market = whole.listen("!forceOrder@arr")
    whole.run_to(60)
    assert market.heard() == []


def test_a_second_in_which_nobody_traded_liquidates_nobody():
    orders, quotes = ForceOrders(synthetic_listings(2, 7, 0)), np.zeros(3, PUBLIC)
    quotes["kind"] = QUOTE
    assert [orders.take([], quotes, second * 10**9) for second in (1, 2, 3)] == [[], [], []]


def test_an_account_that_is_liquidated_is_told_to_everybody():
    crash = Scenario(phase=(Phase(at_s=5, for_s=60, drift_bps_per_min=-600, volatility=0.1),))
    whole = Whole.open(quiet(scenario=crash, wallet=Decimal(30)))
    market = whole.listen("solusdt@forceOrder")
    whole.run_to(1)
    whole.call("POST", "/fapi/v1/leverage", symbol="SOLUSDT", leverage=50)
    listing = next(row for row in whole.exchange.listings if row.symbol == "SOLUSDT")
    quantity = (1_000 / listing.price(listing.start_ticks)).quantize(listing.step)
    whole.call("POST", "/fapi/v1/order", **(MARKET | {"quantity": f"{quantity:f}"}))
    whole.run_to(40)
    own = [row["o"] for row in whole.user_events if row["e"] == "ORDER_TRADE_UPDATE" and row["o"]["x"] == "CALCULATED"]
    told = {(row["o"]["T"], Decimal(row["o"]["z"])) for _, row in market.heard()}
    assert own
    assert (own[-1]["T"], Decimal(own[-1]["z"])) in told


# -- all symbols -------------------------------------------------------------------------------------------------------
def test_streams_of_all_symbols_hold_coin_margined_contracts_marked_as_such():
    whole = Whole.open(quiet())
    market = whole.listen("!ticker@arr", "!miniTicker@arr")
    public = whole.listen("!bookTicker", route=Route.PUBLIC)
    whole.run_to(10)
    for stream, rows in market.heard():
        for row in rows:
            assert row["st"] == (2 if row["s"].endswith("USD_PERP") else 1), stream
    rows = [row for _, row in public.heard()]
    coins = {row["s"]: row for row in rows if row["st"] == 2}
    assert coins.keys() >= {"BTCUSD_PERP", "ETHUSD_PERP"}
    for coin in coins.values():
        ours = [row for row in rows if row["s"] == coin["s"][:-5] + "T" and row["u"] == coin["u"]]
        assert {(row["b"], row["a"]) for row in ours} == {(coin["b"], coin["a"])}
        assert coin["ps"] == coin["s"][:-5]
