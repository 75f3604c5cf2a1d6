"""Faults between the exchange and its clients: what is carried out, what is said, and that no price knows of them."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import attrs
import pytest

from aegis.config.faults import (
    ClockFaults,
    EventFaults,
    Faults,
    Maintenance,
    MarketFaults,
    RequestFaults,
    fault_names,
    load_faults,
)  # fmt: skip
from aegis.core.errors import ConfigError
from aegis.exchange.api import CUT, ApiResponse
from aegis.exchange.fault_draws import FaultPlan
from aegis.exchange.faulty_core import FaultyCore
from aegis.exchange.faulty_feeds import FaultyPush
from aegis.exchange.latency import Latency
from aegis.exchange.settings import ExchangeSettings
from aegis.exchange.subscriptions import Route
from tests.support.exchange_rig import KEY, MS, SECRET, START_NS, make_rig, signed
from tests.support.whole_exchange import Whole, quiet
from tests.support.ws_call import signed_frame

ORDER = {"symbol": "AAAUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1"}
#: Fault -> (HTTP status, code, whether the order is carried out).
SAID = {
    "unknown": (503, None, False), "unknown_executed": (503, None, True),
    "timeout": (408, -1007, False), "timeout_executed": (408, -1007, True),
    "unexpected": (500, -1006, False), "unexpected_executed": (500, -1006, True),
    "reset": (CUT, None, False), "reset_executed": (CUT, None, True), "garbled": (CUT, None, True),
    "silent": (None, None, True), "late": (503, None, True),
    "unavailable": (503, None, False), "internal": (503, -1001, False), "throttled": (503, -1008, False),
}  # fmt: skip


class Desk:
    """A client before a faulty exchange."""

    def __init__(self, requests=None, latency=None, **more):
        self.rig = make_rig(latency=latency)
        faults = Faults(requests=RequestFaults(**(requests or {})), **more)
        self.plan = FaultPlan(faults, START_NS)
        self.core = FaultyCore(self.rig.simulator, self.plan)

    def ask(self, method, path, wait_ms=1.0, ms=None, **params):
        """What is answered within so many ms, or None."""
        answers: list[ApiResponse] = []
        at_ms = self.rig.now_ns // MS if ms is None else ms
        self.core.request(signed(method, path, params, at_ms, KEY, SECRET), self.rig.now_ns, answers.append)
        self.wait(wait_ms)
        return answers[0] if answers else None

    def frame(self, method, params):
        answers: list[bytes | None] = []
        message = signed_frame(method, params, self.rig.now_ns // MS, KEY, SECRET)
        self.core.ws_api(message, self.rig.now_ns, answers.append, "socket")
        self.wait(1)
        return answers

    def wait(self, ms):
        until_ns = self.rig.now_ns + round(ms * MS)
        while self.rig.now_ns < until_ns:
            self.rig.now_ns = min(until_ns, self.rig.now_ns + 10 * MS)
            self.rig.simulator.advance(self.rig.now_ns)
            self.core.step(self.rig.now_ns)

    @property
    def accepted(self):
        return self.rig.view.only.accepted


def code_of(answer):
    try:
        return json.loads(answer.body)["code"]
    except (json.JSONDecodeError, KeyError):
        return None


@pytest.mark.parametrize("fault", SAID)
def test_12l_each_fault_says_what_it_should_and_is_carried_out_or_not(fault):
    status, code, executed = SAID[fault]
    desk = Desk({fault: 1.0})
    answer = desk.ask("POST", "/fapi/v1/order", newClientOrderId="one", **ORDER)
    if status is None:
        assert answer is None
    else:
        assert (answer.status, code_of(answer)) == (status, code)
    desk.wait(6_000)
    assert desk.accepted == (Counter({"one": 1}) if executed else Counter())
    assert desk.plan.counts == {fault: 1}


@pytest.mark.parametrize("fault", [name for name in SAID if name not in ("silent", "garbled")])
def test_12l_the_trade_socket_fails_in_the_same_ways(fault):
    status, code, executed = SAID[fault]
    desk = Desk({fault: 1.0})
    answers = desk.frame("order.place", ORDER | {"newClientOrderId": "one"})
    if status == CUT:
        assert answers == [None]
    else:
        (answer,) = (json.loads(one) for one in answers)
        assert (answer["status"], answer["error"]["code"]) == (status, code or -1000)
        assert answer["id"] == "call"
    desk.wait(6_000)
    assert desk.accepted == (Counter({"one": 1}) if executed else Counter())


def test_12l_a_late_order_comes_within_its_recv_window_and_not_at_once():
    times = []
    for seed in range(20):
        desk = Desk({"late": 1.0}, seed=seed)
        desk.ask("POST", "/fapi/v1/order", newClientOrderId="one", recvWindow=2_000, **ORDER)
        begun_ns = desk.rig.now_ns
        while not desk.accepted:
            desk.wait(10)
            assert desk.rig.now_ns < begun_ns + 2_000 * MS
        times.append((desk.rig.now_ns - begun_ns) / MS)
    assert max(times) > 1_000
    assert min(times) < 500


def test_12l_a_new_order_is_not_found_for_a_while_and_is_in_the_list_all_the_time():
    desk = Desk({"read_lag": 1.0, "read_lag_s": 2.0})
    resting = ORDER | {"type": "LIMIT", "timeInForce": "GTC", "price": "98", "newClientOrderId": "one"}
    order_id = json.loads(desk.ask("POST", "/fapi/v1/order", **resting).body)["orderId"]
    named = {"symbol": "AAAUSDT", "origClientOrderId": "one"}
    assert code_of(desk.ask("GET", "/fapi/v1/order", **named)) == -2013
    assert code_of(desk.ask("GET", "/fapi/v1/order", symbol="AAAUSDT", orderId=order_id)) == -2013
    assert code_of(desk.ask("DELETE", "/fapi/v1/order", **named)) == -2011
    assert [row["orderId"] for row in json.loads(desk.ask("GET", "/fapi/v1/openOrders").body)] == [order_id]
    desk.wait(2_000)
    assert json.loads(desk.ask("GET", "/fapi/v1/order", **named).body)["orderId"] == order_id
    assert json.loads(desk.ask("DELETE", "/fapi/v1/order", **named).body)["status"] == "CANCELED"


def test_12l_a_conditional_order_is_not_found_for_a_while_either():
    desk = Desk({"read_lag": 1.0, "read_lag_s": 2.0})
    desk.ask("POST", "/fapi/v1/order", **ORDER)
    stop = {"symbol": "AAAUSDT", "side": "SELL", "algoType": "CONDITIONAL", "type": "STOP_MARKET",
            "closePosition": "true", "triggerPrice": "90", "clientAlgoId": "stop"}  # fmt: skip
    assert desk.ask("POST", "/fapi/v1/algoOrder", **stop).status == 200
    assert code_of(desk.ask("GET", "/fapi/v1/algoOrder", clientAlgoId="stop")) == -2013
    assert len(json.loads(desk.ask("GET", "/fapi/v1/openAlgoOrders").body)) == 1
    desk.wait(2_000)
    assert json.loads(desk.ask("GET", "/fapi/v1/algoOrder", clientAlgoId="stop").body)["algoStatus"] == "NEW"


def test_12l_orders_that_reduce_are_exempt_from_throttling():
    desk = Desk({"throttled": 1.0})
    assert code_of(desk.ask("POST", "/fapi/v1/order", **ORDER)) == -1008
    assert code_of(desk.ask("POST", "/fapi/v1/order", **(ORDER | {"reduceOnly": "true"}))) == -2022
    assert code_of(desk.ask("DELETE", "/fapi/v1/order", symbol="AAAUSDT", orderId=1)) == -2011


def test_12l_slow_answers_come_later_and_true():
    desk = Desk({"slow": 1.0, "slow_s": 1.0})
    assert desk.ask("POST", "/fapi/v1/order", wait_ms=900, newClientOrderId="one", **ORDER) is None
    answers = []
    desk.core.request(signed("POST", "/fapi/v1/order", ORDER, desk.rig.now_ns // MS), desk.rig.now_ns, answers.append)
    desk.wait(1_100)
    assert json.loads(answers[0].body)["symbol"] == "AAAUSDT"


def test_12l_maintenance_is_a_window_in_which_nothing_is_done():
    desk = Desk(maintenance=(Maintenance(at_s=1, for_s=2),))
    assert desk.ask("GET", "/fapi/v1/time").status == 200
    desk.wait(1_000)
    for method, path in (("GET", "/fapi/v1/time"), ("POST", "/fapi/v1/order")):
        answer = desk.ask(method, path, **(ORDER if method == "POST" else {}))
        assert (answer.status, code_of(answer)) == (503, -1016)
    desk.wait(2_000)
    assert desk.ask("GET", "/fapi/v1/time").status == 200
    assert not desk.accepted


def test_12l_a_429_says_how_long_to_wait_and_a_ban_lasts_as_long_as_it_says():
    desk = Desk({"too_many": 1.0})
    answer = desk.ask("GET", "/fapi/v1/time")
    assert (answer.status, code_of(answer), dict(answer.headers)["Retry-After"]) == (429, -1003, "1")
    desk = Desk({"banned": 1.0, "banned_s": 3.0})
    answer = desk.ask("GET", "/fapi/v1/time")
    assert (answer.status, dict(answer.headers)["Retry-After"]) == (418, "3")
    assert f"banned until {START_NS // MS + 3_000}" in json.loads(answer.body)["msg"]
    desk.plan.set(Faults())
    desk.wait(2_900)
    assert desk.ask("GET", "/fapi/v1/time").status == 418
    desk.wait(200)
    assert desk.ask("GET", "/fapi/v1/time").status == 200


# -- user events -------------------------------------------------------------------------------------------------------
def test_12l_events_are_lost_doubled_and_late_as_often_as_asked_and_none_is_changed():
    faults = Faults(events=EventFaults(missing=0.1, duplicate=0.1, reordered=0.2, delay_s=0.5))
    heard: list[bytes] = []
    plan = FaultPlan(faults, 0)
    push = FaultyPush(lambda _, payload: heard.append(payload), plan)
    sent = [b'{"e":"ORDER_TRADE_UPDATE","n":%d}' % n for n in range(5_000)]
    for n, payload in enumerate(sent):
        push.step(n * 10 * MS)
        push.push("main", payload)
    push.step(10**15)
    times = Counter(heard)
    assert set(times) <= set(sent)
    assert 400 < len(sent) - len(times) < 600
    assert 300 < sum(count - 1 for count in times.values()) < 600
    assert Counter(times.values()).keys() == {1, 2}
    assert heard != [payload for payload in sent for _ in range(times[payload])]
    assert plan.counts["missing"] == len(sent) - len(times)


def test_that_a_listen_key_is_over_is_always_told():
    heard: list[bytes] = []
    push = FaultyPush(lambda _, payload: heard.append(payload), FaultPlan(Faults(events=EventFaults(missing=1.0)), 0))
    for payload in (b'{"e":"listenKeyExpired"}', b'{"e":"ACCOUNT_UPDATE"}'):
        push.push("main", payload)
    assert heard == [b'{"e":"listenKeyExpired"}']


# -- market ------------------------------------------------------------------------------------------------------------
def heard_with(faults, seconds=30):
    whole = Whole.open(quiet(faults=faults, symbols=3))
    plan = FaultPlan(faults, whole.exchange.born_ns)
    whole.hub = type(whole.hub)(whole.exchange.books, whole.exchange.listings, whole.exchange.history, plan)
    core, push = FaultyCore(whole.exchange.simulator, plan), FaultyPush(lambda *_: None, plan)
    whole.exchange.simulator.user_events = push.push
    names = ("btcusdt@trade", "btcusdt@bookTicker", "ethusdt@bookTicker", "btcusdt@depth@100ms")
    ear = whole.listen(*names, route=Route.PUBLIC)
    for second in range(1, seconds):
        whole.run_to(second)
        core.step(whole.now_ns)
        push.step(whole.now_ns)
        settings, now_ns = whole.exchange.settings, whole.now_ns
        if second == 5:  # before it, our own orders change what is displayed
            marks = whole.exchange.books.mark_e8.copy()
        for side in ("BUY", "SELL"):
            params = {"symbol": "ETHUSDT", "side": side, "type": "LIMIT", "timeInForce": "GTX", "quantity": "0.1",
                      "price": "1000" if side == "BUY" else "9000"}  # fmt: skip
            request = signed("POST", "/fapi/v1/order", params, now_ns // MS, settings.api_key, settings.api_secret)
            core.request(request, now_ns, lambda answer: None)
    heard = {name: [row for stream, row in rows if stream == name] for rows in [ear.heard()] for name in names}
    return heard, marks, whole.exchange.books, plan


def test_12l_prices_with_faults_are_the_prices_without():
    plain, marks, books, _ = heard_with(Faults())
    storm = attrs.evolve(load_faults("storm"), clock=ClockFaults(), market=MarketFaults(depth_gap=0.3, stale_every_s=2))
    faulty, same_marks, same_books, plan = heard_with(storm)
    assert sum(plan.counts.values()) > 20
    assert faulty["btcusdt@trade"] == plain["btcusdt@trade"]
    assert (marks == same_marks).all()
    for name in ("bid", "ask", "last", "mark_e8", "index_e8", "update_id", "trade_id"):
        assert (getattr(books, name) == getattr(same_books, name)).all(), name


def test_12l_depth_has_gaps_that_its_chain_shows():
    faulty, *_, plan = heard_with(Faults(market=MarketFaults(depth_gap=0.2)))
    events = faulty["btcusdt@depth@100ms"]
    gaps = sum(after["pu"] != before["u"] for before, after in pairwise(events))
    assert gaps > 10
    assert plan.counts["depth_gap"] >= gaps


def test_12l_quotes_stand_still_now_and_then_and_trades_do_not():
    plain, *_ = heard_with(Faults())
    faulty, *_, plan = heard_with(Faults(market=MarketFaults(stale_every_s=0.4, stale_for_s=2.0)))
    assert plan.counts["stale"] >= 3
    lost = [row for row in plain["btcusdt@bookTicker"] if row not in faulty["btcusdt@bookTicker"]]
    lost += [row for row in plain["ethusdt@bookTicker"] if row not in faulty["ethusdt@bookTicker"]]
    assert len(lost) > 5
    assert all(row in plain["btcusdt@bookTicker"] for row in faulty["btcusdt@bookTicker"])
    assert faulty["btcusdt@trade"] == plain["btcusdt@trade"]


# -- files and seeds ---------------------------------------------------------------------------------------------------
def test_the_same_seed_brings_the_same_faults_and_kinds_do_not_disturb_each_other():
    def drawn(faults, others):
        plan = FaultPlan(faults, 0)
        out = []
        for _ in range(200):
            if others:
                plan.happens("missing", 0.5)
            out.append(plan.choose("trading", faults.requests.shares))
        return out

    faults = Faults(seed=3, requests=RequestFaults(unknown=0.2, reset=0.2))
    assert drawn(faults, False) == drawn(faults, True)
    assert drawn(faults, False) != drawn(attrs.evolve(faults, seed=4), False)


def test_every_shipped_fault_file_loads_and_survives_the_way_to_another_process():
    assert set(fault_names()) >= {"answers", "events", "feed", "limits", "clock", "storm"}
    for name in fault_names():
        settings = ExchangeSettings(faults=load_faults(name))
        assert ExchangeSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[requests]\nunknwn = 0.1", "requests.unknwn: unknown key (did you mean unknown?)"),
        ("[requests]\nunknown = 10", "requests.unknown: must be between 0 and 1, not 10"),
        ("[requests]\nunknown = 0.6\nreset = 0.6", "requests.unknown: this and the other shares"),
        ("[events]\ndelay_s = '1s'", "events.delay_s: must be a number, not '1s'"),
        ("[[maintenance]]\nat_s = 1.0", "maintenance[0]"),
    ],
)
def test_what_is_wrong_with_a_fault_file_is_one_line_with_its_path(text, reason, tmp_path):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_faults(str(tmp_path / "mine.toml"))
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def test_orders_travel_as_long_with_faults_that_do_not_happen():
    plain = Desk(latency=Latency(median_ms=30.0, p99_ms=150.0))
    other = Desk({"unknown": 1e-9}, latency=Latency(median_ms=30.0, p99_ms=150.0))
    times = []
    for desk in (plain, other):
        desk.ask("POST", "/fapi/v1/order", wait_ms=2_000, newClientOrderId="one", **ORDER)
        times.append([entry["ns"] for entry in desk.rig.ledger.entries])
    assert times[0] == times[1]
