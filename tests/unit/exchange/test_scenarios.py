"""What the shipped scenarios do to a market: the prices of one crash, thin books, a planted edge and its truth."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path

import attrs
import numpy as np
import pytest

from aegis.config.scenario import Edge, Phase, Scenario, load_scenario
from aegis.core.errors import ConfigError
from aegis.exchange.server import EDGE_FILE, Exchange
from aegis.exchange.settings import ExchangeSettings
from aegis.exchange.subscriptions import Route
from tests.support.recorded_lines import market_lines, write
from tests.support.whole_exchange import START_NS, Whole, quiet

REAL = Path(__file__).parents[4] / "shared/data/binance-usdm-btcusdt-20240808.gz"


def distances(scenario, seconds, symbols=20):
    """|last / index - 1| and |mark / index - 1| in bp, and last over its start, [second, symbol]."""
    whole = Whole.open(quiet(scenario=scenario, symbols=symbols))
    books = whole.exchange.books
    ticks = np.array([row.tick_e8 for row in whole.exchange.listings])[:symbols]
    last, mark, moved = [], [], []
    start = (books.last * np.array([row.tick_e8 for row in whole.exchange.listings]))[:symbols].astype(float)
    for second in seconds:
        whole.run_to(second)
        price, index = (books.last[:symbols] * ticks).astype(float), books.index_e8[:symbols].astype(float)
        last.append(np.abs(price / index - 1) * 1e4)
        mark.append(np.abs(books.mark_e8[:symbols] / index - 1) * 1e4)
        moved.append(price / start - 1)
    return np.array(last), np.array(mark), np.array(moved)


def test_index_mark_and_last_are_near_when_calm_and_tens_of_bp_apart_in_a_crash():
    calm_last, calm_mark, _ = distances(load_scenario("calm"), range(30, 120, 10))
    assert 0.1 < np.median(calm_last) < 6
    assert 0.05 < np.median(calm_mark) < 5
    crash = load_scenario("crash")
    last, mark, moved = distances(crash, range(120, 240, 10))
    assert 20 < np.median(last) < 90
    assert 10 < np.median(mark) < 60
    assert np.median(last) > np.median(mark)  # the mark smooths
    assert -0.25 < np.median(moved[-1]) < -0.05


def test_a_pump_lifts_one_symbol_and_no_other():
    pumped = Whole.open(quiet(scenario=load_scenario("pump"), symbols=6))
    plain = Whole.open(quiet(symbols=6))
    for whole in (pumped, plain):
        whole.run_to(350)
    (doge,) = [row.index for row in pumped.exchange.listings if row.symbol == "DOGEUSDT"]
    ratio = pumped.exchange.books.last / np.maximum(1, plain.exchange.books.last)
    assert ratio[doge] > 1.1
    assert (np.delete(ratio, doge)[pumped.exchange.books.bid[np.arange(len(ratio)) != doge] > 0] == 1.0).all()


def slippages(scenario, at_s, count=150):
    """Slippage in bp of market sells of 3,000 USDT against the touch before."""
    whole = Whole.open(quiet(scenario=scenario, wallet=Decimal(10) ** 7, orders_10s=10**6, orders_minute=10**6,
                             weight_limit=10**6))  # fmt: skip
    listing = next(row for row in whole.exchange.listings if row.symbol == "XRPUSDT")
    found = []
    for number in range(count):
        whole.run_to(at_s + number * 0.5)
        bid = listing.price(int(whole.exchange.books.bid[listing.index]))
        quantity = (Decimal(3_000) / bid).quantize(listing.step)
        whole.user_events.clear()
        side = {"symbol": "XRPUSDT", "side": "SELL", "type": "MARKET", "quantity": f"{quantity:f}"}
        whole.call("POST", "/fapi/v1/order", **side)
        fills = [row["o"] for row in whole.user_events if row["e"] == "ORDER_TRADE_UPDATE" and row["o"]["x"] == "TRADE"]
        filled = sum(Decimal(row["l"]) for row in fills)
        average = sum(Decimal(row["l"]) * Decimal(row["L"]) for row in fills) / filled
        found.append(float((bid - average) / bid) * 1e4)
    return np.array(found)


def test_a_thin_book_costs_what_it_should():
    plain, thin = slippages(Scenario(), 10), slippages(load_scenario("thin"), 10)
    assert np.percentile(thin, 95) > 3 * max(0.1, float(np.percentile(plain, 95)))
    assert thin.mean() > plain.mean()


@pytest.mark.parametrize("name", ["crash", "thin"])
def test_stops_slip_in_a_crash_and_in_a_thin_book(name):
    """A stop that fills at its trigger price is the exception."""
    scenario = load_scenario(name)
    if name == "thin":  # something must fall for stops to be reached
        fall = Phase(at_s=30, for_s=300, drift_bps_per_min=-120)
        scenario = attrs.evolve(scenario, phase=(*scenario.phase, fall))
    whole = Whole.open(quiet(scenario=scenario, symbols=30, wallet=Decimal(10) ** 7, orders_minute=10**6,
                             orders_10s=10**6, weight_limit=10**6))  # fmt: skip
    whole.run_to(20)
    triggers = {}
    for listing in whole.exchange.listings[:30]:
        bid = int(whole.exchange.books.bid[listing.index])
        quantity = (Decimal(2_000) / listing.price(bid)).quantize(listing.step)
        whole.call("POST", "/fapi/v1/order", symbol=listing.symbol, side="BUY", type="MARKET", quantity=f"{quantity:f}")
        trigger = listing.price(int(bid * 0.99))
        stop = {"symbol": listing.symbol, "side": "SELL", "algoType": "CONDITIONAL", "type": "STOP_MARKET",
                "closePosition": "true", "triggerPrice": f"{trigger:f}"}  # fmt: skip
        triggers[listing.symbol] = (trigger, whole.call("POST", "/fapi/v1/algoOrder", **stop)["clientAlgoId"])
    whole.user_events.clear()
    whole.run_to(230)
    slips = []
    for symbol, (trigger, name_of_it) in triggers.items():
        fills = [row["o"] for row in whole.user_events if row["e"] == "ORDER_TRADE_UPDATE" and row["o"]["s"] == symbol
                 and row["o"]["c"] == name_of_it and row["o"]["x"] == "TRADE"]  # fmt: skip
        if fills:
            filled = sum(Decimal(row["l"]) for row in fills)
            average = sum(Decimal(row["l"]) * Decimal(row["L"]) for row in fills) / filled
            slips.append(float((trigger - average) / trigger) * 1e4)
    assert len(slips) >= 20
    median, p95 = np.median(slips), np.percentile(slips, 95)
    assert 1.0 < median < 15.0, median  # as measured with this seed: 2.4 in the crash, 6.9 in the thin book
    assert 6.0 < p95 < 50.0, p95  # 12.7 and 21.2
    assert np.mean(np.abs(slips) < 1e-9) < 0.5


# -- the planted edge --------------------------------------------------------------------------------------------------
def test_a_planted_edge_is_where_its_truth_says_and_nowhere_else(tmp_path):
    edge = Edge(strength_bps=60.0, bar_s=5.0, for_bars=6, flip_s=600.0)
    settings = quiet(scenario=Scenario(edge=edge), symbols=12, state_dir=tmp_path, volatility=0.5)
    whole, plain = Whole.open(settings), Whole.open(quiet(symbols=12, volatility=0.5))
    paths = []
    for one in (whole, plain):
        rows = []
        for second in range(5, 1_200, 5):
            one.run_to(second)
            rows.append(one.exchange.books.index_e8.astype(float).copy())
        paths.append(np.log(np.maximum(1.0, np.array(rows))))
    whole.exchange.close(save=False)
    difference = paths[0] - paths[1]
    truth = [json.loads(line) for line in (tmp_path / EDGE_FILE).read_text().splitlines()]
    assert {row["flipped"] for row in truth} == {False, True}
    assert all(row["flipped"] == (row["ms"] >= START_NS // 10**6 + 600_000) for row in truth)
    total = {}
    places = {row.symbol: row.index for row in whole.exchange.listings}
    planted = {row["symbol"] for row in truth}
    for row in truth:
        assert np.sign(row["bps"]) == row["direction"] * (-1 if row["flipped"] else 1)
        assert abs(row["bps"]) == pytest.approx(60 * row["size"])
        total.setdefault(row["symbol"], []).append(row)
    for symbol, index in places.items():
        if symbol not in planted:
            assert not difference[:, index].any()
    moved = []
    for symbol, rows in total.items():
        for row, after in zip(rows, [*rows[1:], None], strict=True):
            ends = row["ms"] + 30_000
            if (after is None or after["ms"] >= ends) and ends < START_NS // 10**6 + 1_190_000:
                first, last = ((ms - START_NS // 10**6 - 5_000) // 5_000 for ms in (row["ms"], ends))
                moved.append((row["bps"], 1e4 * (difference[last, places[symbol]] - difference[first, places[symbol]])))
    assert len(moved) > 10
    told, seen = np.array(moved).T
    assert np.corrcoef(told, seen)[0, 1] > 0.9
    assert np.polyfit(told, seen, 1)[0] == pytest.approx(1.0, abs=0.25)


def test_a_planted_edge_without_a_place_for_its_truth_is_refused():
    with pytest.raises(ConfigError, match="needs a state directory"):
        Exchange.build(quiet(scenario=load_scenario("edge")), START_NS)


# -- a recording -------------------------------------------------------------------------------------------------------
there = pytest.mark.skipif(not REAL.exists(), reason="the real recording is not beside the project")


@pytest.mark.parametrize("kind", ["aggTrade", pytest.param("trade", marks=there)], ids=["made up", "real"])
def test_a_recording_is_the_source_of_prices(tmp_path, kind):
    recording = REAL if kind == "trade" else write(tmp_path / "lines", market_lines(30))
    with (gzip.open if kind == "trade" else open)(recording, "rb") as file:
        frames = [json.loads(line.partition(b" ")[2]) for _, line in zip(range(60_000), file, strict=False)]
    rows = [frame.get("data", frame) for frame in frames]
    recorded = [(row["p"], row["q"]) for row in rows if row.get("e") == kind and row["s"] == "BTCUSDT"
                and row.get("X", "MARKET") == "MARKET"]  # fmt: skip
    whole = Whole.open(quiet(recording=recording))
    ear = whole.listen(f"btcusdt@{kind}", route=Route.PUBLIC if kind == "trade" else Route.MARKET)
    whole.run_to(20)
    told = [(row["p"], row["q"]) for _, row in ear.heard()]
    assert len(told) > 50
    assert [tuple(map(Decimal, row)) for row in told] == [tuple(map(Decimal, row)) for row in recorded[: len(told)]]
    placed = whole.call("POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")
    assert placed["symbol"] == "BTCUSDT"
    with pytest.raises(ConfigError, match="a recording has no such"):
        ExchangeSettings(recording=recording, scenario=load_scenario("crash"))
