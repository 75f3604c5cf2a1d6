"""The simulator as a whole: time, latency, events, funding, liquidation, exact money, determinism, saved states."""

from __future__ import annotations

import json
import random
from collections import Counter
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.core.errors import ConfigError, InvariantBroken
from aegis.exchange.latency import Latency, LatencyStream
from aegis.exchange.ledger import Ledger, fold_ledger, read_ledger
from aegis.kernels.books import FUNDING_INTERVAL_MS
from tests.support.exchange_rig import KEY, LISTINGS, MS, SECOND, ApiRequest, make_rig, signed

D = Decimal
SLOW = Latency(median_ms=30.0, p99_ms=150.0)


# -- latency -----------------------------------------------------------------------------------------------------------
def test_latency_has_the_median_and_the_p99_it_was_given():
    stream = LatencyStream(SLOW, 1)
    draws = np.array([stream.draw_ns() for _ in range(20_000)]) / MS
    assert np.median(draws) == pytest.approx(30.0, rel=0.03)
    assert np.quantile(draws, 0.99) == pytest.approx(150.0, rel=0.08)


def test_a_restored_latency_stream_goes_on_where_it_was():
    stream = LatencyStream(SLOW, 1)
    for _ in range(7):
        stream.draw_ns()
        stream.word()
    saved = json.loads(json.dumps(stream.snapshot()))
    other = LatencyStream(SLOW, 99)
    other.restore(saved)
    assert [stream.draw_ns() for _ in range(50)] == [other.draw_ns() for _ in range(50)]
    assert [stream.word() for _ in range(150)] == [other.word() for _ in range(150)]


def test_queues_are_merged_in_any_order_that_keeps_their_own():
    stream, seen = LatencyStream(SLOW, 1), set()
    for _ in range(200):
        merged = stream.shuffled([[1, 2], [10], [5, 6]])
        assert sorted(merged) == [1, 2, 5, 6, 10]
        assert merged.index(1) < merged.index(2)
        assert merged.index(5) < merged.index(6)
        seen.add(tuple(merged))
    assert len(seen) == 30
    assert len(stream.shuffled([list(range(500)), list(range(500, 1000))])) == 1000


@pytest.mark.parametrize(("median", "p99"), [(30.0, 10.0), (0.0, 5.0), (-1.0, 5.0), (float("nan"), 5.0)])
def test_a_latency_that_cannot_be_is_refused(median, p99):
    with pytest.raises(ValueError):
        Latency(median_ms=median, p99_ms=p99)


def test_an_order_meets_the_book_of_its_arrival_and_its_answer_travels_too():
    rig = make_rig(latency=Latency(median_ms=40.0, p99_ms=40.0))
    sent_ms = rig.now_ns // MS
    answers = []
    request = signed(
        "POST", "/fapi/v1/order", {"symbol": "AAAUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}, sent_ms
    )
    rig.simulator.request(request, rig.now_ns, answers.append)
    rig.quote(1009, 1011)  # while it travels
    rig.wait(38.5)
    assert rig.ledger.seq == 2
    rig.wait(1)
    assert rig.view.only.fills[0]["price"] == "101.1"
    assert answers == []
    assert rig.events == []
    rig.wait(40)
    assert len(answers) == 1
    assert {event["e"] for _, event in rig.events} == {"ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "TRADE_LITE"}


def test_reads_are_answered_at_once_and_from_the_moment_asked():
    rig = make_rig(latency=SLOW)
    rig.script.add(
        {"time_ns": rig.now_ns + 5 * MS, "symbol": 0, "kind": 1, "bid": 1009, "ask": 1011, "bid_qty": 9, "ask_qty": 9}
    )
    answers = []
    request = ApiRequest(method="GET", path="/fapi/v1/ticker/bookTicker", query=b"symbol=AAAUSDT")
    rig.simulator.request(request, rig.now_ns + 5 * MS, answers.append)
    assert json.loads(answers[0].body)["bidPrice"] == "100.9"


def test_a_request_that_travelled_longer_than_its_window_is_not_placed():
    rig = make_rig(latency=Latency(median_ms=600.0, p99_ms=600.0))
    assert rig.order("BUY", "1", recvWindow=500) == ("refused", -1021)
    assert rig.position() == 0


def test_frames_of_one_socket_stay_in_order_those_of_several_need_not():
    def arrivals(connection_of):
        rig = make_rig(latency=SLOW)
        replies = []
        for n in range(30):
            frame = json.dumps({"id": n, "method": "order.place", "params": {"apiKey": KEY}}).encode()
            rig.simulator.ws_api(
                frame, rig.now_ns, lambda reply: replies.append(json.loads(reply)["id"]), connection_of(n)
            )
        rig.wait(10_000)
        return replies

    assert arrivals(lambda n: "one") == list(range(30))
    assert sorted(arrivals(lambda n: n)) == list(range(30))
    assert arrivals(lambda n: n) != list(range(30))


def test_a_callback_must_not_call_back():
    rig = make_rig()
    rig.simulator.user_events = lambda account, payload: rig.simulator.advance(rig.now_ns)
    with pytest.raises(InvariantBroken):
        rig.order("BUY", "1")


# -- user events -------------------------------------------------------------------------------------------------------
def test_the_three_events_of_a_fill_agree_and_come_in_every_order():
    orders = Counter()
    for seed in range(120):
        rig = make_rig(seed=seed)
        rig.order("BUY", "1", newClientOrderId="c")
        rig.heard("TRADE_LITE")
        update = next(e["o"] for _, e in rig.events if e["e"] == "ORDER_TRADE_UPDATE" and e["o"]["x"] == "TRADE")
        lite = next(e for _, e in rig.events if e["e"] == "TRADE_LITE")
        account = next(e["a"] for _, e in rig.events if e["e"] == "ACCOUNT_UPDATE")
        assert {key: update[key] for key in "scSiqtLlm"} == {key: lite[key] for key in "scSiqtLlm"}
        assert (update["n"], update["N"], update["rp"], update["ap"], update["z"]) == (
            "0.05005",
            "USDT",
            "0",
            "100.1",
            "1",
        )
        assert account["B"] == [{"a": "USDT", "wb": "9999.94995", "cw": "9999.94995", "bc": "0"}]
        assert (account["P"][0]["pa"], account["P"][0]["ep"], account["P"][0]["up"]) == ("1", "100.1", "-0.1")
        kinds = [e["e"] for _, e in rig.events if e["e"] != "ORDER_TRADE_UPDATE" or e["o"]["x"] == "TRADE"]
        orders[tuple(kinds)] += 1
    assert len(orders) == 6


def test_events_of_one_kind_stay_in_order_whatever_the_latency():
    rig = make_rig(latency=SLOW)
    for n in range(30):
        rig.order("BUY", "0.1", newClientOrderId=f"c{n}")
    heard = rig.heard("ORDER_TRADE_UPDATE")
    assert [event["o"]["t"] for event in heard if event["o"]["x"] == "TRADE"] == list(range(1, 31))
    assert [event["E"] for event in heard] == sorted(event["E"] for event in heard)


# -- funding and liquidation -------------------------------------------------------------------------------------------


# -- exact money, determinism, saved states ----------------------------------------------------------------------------
def play(rig, seed, steps):
    """A random life around a funding time: market moves, orders of all kinds, cancels, settings."""
    rig.wait(max(0, FUNDING_INTERVAL_MS - rig.now_ns // MS % FUNDING_INTERVAL_MS - 60_000))
    draw = random.Random(seed)
    mid = {0: 1000, 1: 1000}
    for _ in range(steps):
        symbol = draw.randrange(2)
        name = LISTINGS[symbol].symbol
        side = draw.choice(("BUY", "SELL"))
        quantity = f"{draw.randrange(60, 4_000) / 1000}"
        match draw.choice((0, 1, 1, 1, 2, 2, 3, 4, 5, 5, 5, 5, 7, 8, 8)):
            case 0:
                rig.order(side, quantity, symbol=name, reduceOnly=draw.choice(("true", "false")))
            case 1:
                price = f"{(mid[symbol] + draw.randrange(-8, 9)) / 10}"
                rig.order(side, quantity, price, draw.choice(("GTC", "GTC", "GTC", "GTX", "IOC", "FOK")), symbol=name,
                          reduceOnly=draw.choice(("true", "false", "false")))  # fmt: skip
            case 2:
                kind, trigger = (
                    draw.choice(("STOP_MARKET", "TAKE_PROFIT_MARKET")),
                    mid[symbol] + draw.randrange(-25, 26),
                )
                rig.algo(
                    side,
                    kind,
                    f"{trigger / 10}",
                    symbol=name,
                    workingType=draw.choice(("MARK_PRICE", "CONTRACT_PRICE")),
                )
            case 3:
                for order in rig.call("GET", "/fapi/v1/openOrders", symbol=name)[:1]:
                    rig.call("DELETE", "/fapi/v1/order", symbol=name, orderId=order["orderId"])
            case 4:
                rig.call("POST", "/fapi/v1/marginType", symbol=name, marginType=draw.choice(("ISOLATED", "CROSSED")))
                rig.call("POST", "/fapi/v1/leverage", symbol=name, leverage=draw.choice((5, 10, 20)))
            case 5:
                rig.trade(
                    (away := draw.choice((-1, 1))),
                    mid[symbol] + away * draw.randrange(13),
                    draw.randrange(1, 25_000),
                    symbol,
                )
            case 7:
                rig.wait(draw.choice((1, 300, 20_000)))
            case _:
                mid[symbol] = max(800, min(1_200, mid[symbol] + draw.randrange(-12, 13)))
                rig.quote(mid[symbol] - 1, mid[symbol] + 1, symbol=symbol)
                rig.mark(mid[symbol] + draw.randrange(-5, 6) / 10, symbol)


def check_agreement(rig):
    """The ledger's fold equals what the API says, to the last digit."""
    view = rig.view.only
    assert view.wallet == view.start_wallet + view.realized - view.fees + view.funding + view.insurance
    assert rig.wallet() == view.wallet
    held = {row["symbol"]: row for row in rig.call("GET", "/fapi/v3/positionRisk") if D(row["positionAmt"])}
    assert {symbol: D(row["positionAmt"]) for symbol, row in held.items()} == {
        symbol: position.amount for symbol, position in view.open_positions.items()
    }
    assert {symbol: D(row["entryPrice"]) for symbol, row in held.items()} == {
        symbol: position.entry for symbol, position in view.open_positions.items()
    }
    assert {row["orderId"] for row in rig.call("GET", "/fapi/v1/openOrders")} == set(view.open_orders)
    assert {row["algoId"] for row in rig.call("GET", "/fapi/v1/openAlgoOrders")} == set(view.open_algo_orders)
    assert sum((position.realized for position in view.positions.values()), D(0)) == view.realized


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_money_is_conserved_and_ledger_and_simulator_agree_over_random_lives(seed):
    rig = make_rig(weight_limit=10**9, latency=Latency(median_ms=3.0, p99_ms=9.0), seed=seed)
    play(rig, seed, 60)
    rig.wait(5_000)
    check_agreement(rig)
    told = [event for _, event in rig.events if event["e"] == "ACCOUNT_UPDATE"]
    if told:
        assert D(told[-1]["a"]["B"][0]["wb"]) == rig.view.only.wallet
    trades = [(e["o"]["s"], e["o"]["t"]) for _, e in rig.events if e["e"] == "ORDER_TRADE_UPDATE" and e["o"]["t"]]
    assert trades == [(fill["symbol"], fill["trade_id"]) for fill in rig.view.only.fills]
    assert len(set(trades)) == len(trades)


def test_the_random_lives_reach_what_they_are_meant_to_test():
    seen, reasons = Counter(), Counter()
    for seed in range(6):
        rig = make_rig(weight_limit=10**9, seed=seed)
        play(rig, seed, 200)
        for entry in rig.ledger.entries:
            seen[entry["kind"], entry.get("status", entry.get("reason"))] += 1
            reasons["maker" if entry.get("maker") else "taker"] += entry["kind"] == "match"
    wanted = {("order", s) for s in ("NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH")}
    wanted |= {("algo", s) for s in ("NEW", "TRIGGERING", "TRIGGERED", "FINISHED", "EXPIRED")}
    wanted |= {("balance", r) for r in ("COMMISSION", "REALIZED_PNL", "FUNDING_FEE")}
    assert wanted <= set(seen)
    assert min(reasons.values()) > 20


def test_the_same_seed_and_calls_make_the_same_ledger_and_events_another_seed_does_not():
    def run(seed):
        rig = make_rig(weight_limit=10**9, latency=SLOW, seed=seed)
        play(rig, 5, 80)
        return rig.ledger.entries, rig.events

    assert run(1) == run(1)
    assert run(1) != run(2)


def copy_of(rig):
    """A second simulator from the first one's saved state, over the same market."""
    other = make_rig(weight_limit=10**9, latency=SLOW, seed=99, ledger=_continued(rig.ledger))
    other.books.restore(rig.books.snapshot())
    other.simulator.restore(json.loads(json.dumps(rig.simulator.snapshot())))
    other.now_ns, other.script.left = rig.now_ns, list(rig.script.left)
    return other


def _continued(ledger):
    again = Ledger()
    for entry in ledger.entries:
        fields = {name: value for name, value in entry.items() if name not in ("seq", "ns", "kind")}
        again.write(entry["ns"], entry["kind"], fields)
    return again


@pytest.mark.parametrize("seed", range(4))
def test_a_restored_exchange_goes_on_exactly_like_one_that_never_stopped(seed):
    rig = make_rig(weight_limit=10**9, latency=SLOW, seed=seed)
    play(rig, seed, 60)
    rig.call("POST", "/fapi/v1/listenKey")
    key = json.loads(rig.send(ApiRequest(method="POST", path="/fapi/v1/listenKey", api_key=KEY)).body)["listenKey"]
    other = copy_of(rig)
    assert other.simulator.account_of(key) == "main"
    heard = len(rig.events)
    for each in (rig, other):
        play(each, seed + 100, 60)
        each.wait(5_000)
    assert other.events == rig.events[heard:]
    later = [{**entry, "seq": 0} for entry in rig.ledger.entries]
    resumed = [{**entry, "seq": 0} for entry in other.ledger.entries if entry.get("event") != "restore"]
    assert resumed == later
    check_agreement(other)
    assert {**rig.simulator.snapshot(), "ledger_seq": 0} == {**other.simulator.snapshot(), "ledger_seq": 0}


def test_a_state_that_does_not_fit_is_refused(tmp_path):
    rig = make_rig(ledger=Ledger(tmp_path / "ledger.jsonl"))
    rig.order("BUY", "1")
    saved = json.loads(json.dumps(rig.simulator.snapshot()))
    rig.order("BUY", "1")
    rig.ledger.close()
    late = make_rig(ledger=Ledger(tmp_path / "ledger.jsonl"))
    with pytest.raises(ConfigError, match="ends at ledger entry"):
        late.simulator.restore(saved)
    with pytest.raises(ConfigError, match="earlier run"):
        late.simulator.advance(late.now_ns + SECOND)
    late.ledger.close()
    for change, words in (
        ({"version": 0}, "version"),
        ({"symbols": ["X"]}, "symbols"),
        ({"accounts": {}}, "accounts"),
        ({"timetable": [[1, "what", 2]]}, "unknown timetable"),
    ):
        fresh = make_rig()
        with pytest.raises(ConfigError, match=words):
            fresh.simulator.restore({**saved, "ledger_seq": fresh.ledger.seq, **change})


def test_a_run_continued_on_its_file_is_one_ledger(tmp_path):
    path = tmp_path / "ledger.jsonl"
    rig = make_rig(ledger=Ledger(path))
    rig.order("BUY", "1", newClientOrderId="before")
    saved, books = rig.simulator.snapshot(), rig.books.snapshot()
    rig.ledger.close()
    later = make_rig(ledger=Ledger(path))
    later.books.restore(books)
    later.simulator.restore(json.loads(json.dumps(saved)))
    later.order("SELL", "1", newClientOrderId="after")
    later.ledger.close()
    view = read_ledger(path)
    assert view.sessions == 2
    assert dict(view.only.accepted) == {"before": 1, "after": 1}
    assert view.only.open_positions == {}
    assert view.only.wallet == later.wallet()
    assert fold_ledger([]).entries == 0
