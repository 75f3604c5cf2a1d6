"""Orders meet the book: the life of each type, reduce-only, places in the queue, own trades."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.core.errors import InvariantBroken
from aegis.core.values import OrderStatus
from aegis.exchange.orders import OrderStore
from aegis.exchange.security import AccountSetup
from tests.support.exchange_rig import KEY, SECRET, make_rig

D = Decimal


def updates(rig):
    """(x, X, er) of the order updates."""
    return [(event["o"]["x"], event["o"]["X"], event["o"]["er"]) for event in rig.heard("ORDER_TRADE_UPDATE")]


def test_a_market_order_walks_the_displayed_book():
    rig = make_rig()
    levels = [(1001 + k, int(steps)) for k, steps in enumerate(rig.books.ask_qty[0, :3].tolist())]
    want = levels[0][1] + levels[1][1] + 1
    answer = rig.order("BUY", f"{D(want) / 1000}")
    assert (answer["status"], answer["executedQty"]) == ("FILLED", f"{D(want) / 1000:.3f}")
    fills = rig.view.only.fills
    assert [(D(fill["price"]), int(D(fill["qty"]) * 1000)) for fill in fills] == [
        (D("100.1"), levels[0][1]),
        (D("100.2"), levels[1][1]),
        (D("100.3"), 1),
    ]
    assert all(D(fill["commission"]) == round(D(fill["price"]) * D(fill["qty"]) * D("0.0005"), 8) for fill in fills)
    assert rig.position() == D(want) / 1000


def test_a_market_order_larger_than_the_book_expires_with_its_rest():
    rig = make_rig()
    shown = int(rig.books.ask_qty[0].sum())
    answer = rig.order("BUY", f"{D(shown + 1000) / 1000}")
    assert (answer["status"], answer["executedQty"]) == ("EXPIRED", f"{D(shown) / 1000:.3f}")
    assert updates(rig)[-1] == ("EXPIRED", "EXPIRED", "9")


@pytest.mark.parametrize(("side", "worst"), [("BUY", "105.0"), ("SELL", "95.0")])
def test_a_market_order_takes_no_further_than_five_percent_from_mark(side, worst):
    rig = make_rig()
    rig.quote(954, 1046)
    answer = rig.order(side, "400")
    assert answer["status"] == "EXPIRED"
    assert rig.view.only.fills[-1]["price"] == worst
    rig.quote(940, 1060)
    assert rig.order(side, "1") == ("refused", -4131)


def test_a_limit_order_that_crosses_takes_and_rests_with_the_rest():
    rig = make_rig()
    first = int(rig.books.ask_qty[0, 0])
    answer = rig.order("BUY", f"{D(first + 7) / 1000}", "100.1")
    assert (answer["status"], answer["executedQty"]) == ("PARTIALLY_FILLED", f"{D(first) / 1000:.3f}")
    (resting,) = rig.call("GET", "/fapi/v1/openOrders", symbol="AAAUSDT")
    assert (resting["orderId"], resting["avgPrice"]) == (answer["orderId"], "100.1")
    assert updates(rig)[0] == ("NEW", "NEW", "0")


@pytest.mark.parametrize(
    ("tif", "price", "status", "filled", "er"),
    [
        ("IOC", "100.1", "EXPIRED", "5.000", "2"),
        ("IOC", "100.0", "EXPIRED", "0.000", "2"),
        ("IOC", "101.0", "FILLED", "6.000", "0"),
    ],
)
def test_immediate_or_cancel_takes_what_is_there_and_ends(tif, price, status, filled, er):
    rig = make_rig()
    answer = rig.order("BUY", "6", price, tif)
    assert (answer["status"], answer["executedQty"]) == (status, filled)
    assert updates(rig)[-1][1:] == (status, er)
    assert rig.call("GET", "/fapi/v1/openOrders") == []


def test_fill_or_kill_fills_in_full_or_is_refused():
    rig = make_rig()
    assert rig.order("BUY", "6", "100.1", "FOK") == ("refused", -5021)
    assert rig.order("BUY", "6", "100.2", "FOK")["status"] == "FILLED"
    assert rig.view.only.refused == {-5021: 1}


def test_post_only_rests_or_is_refused():
    rig = make_rig()
    assert rig.order("BUY", "1", "100.1", "GTX") == ("refused", -5022)
    assert rig.order("BUY", "1", "100.0", "GTX")["status"] == "NEW"
    assert rig.position() == 0


def test_a_resting_order_waits_for_those_ahead_of_it():
    rig = make_rig()
    rig.order("BUY", "1", "99.9")
    rig.trade(-1, 999, 4_999)
    assert rig.position() == 0
    rig.trade(-1, 999, 401)  # 1 more of those ahead, then ours
    assert rig.position() == D("0.400")
    rig.trade(-1, 999, 5_000)
    assert rig.position() == 1
    fills = rig.view.only.fills
    assert [(fill["price"], fill["qty"], fill["maker"]) for fill in fills] == [
        ("99.9", "0.400", True),
        ("99.9", "0.600", True),
    ]
    assert D(fills[0]["commission"]) == D("99.9") * D("0.4") * D("0.0002")
    order = rig.call("GET", "/fapi/v1/order", symbol="AAAUSDT", orderId=fills[0]["order_id"])
    assert (order["status"], order["avgPrice"], order["cumQuote"]) == ("FILLED", "99.9", "99.9")


def test_no_fill_from_prints_above_or_from_buyers_at_the_price():
    rig = make_rig()
    rig.order("BUY", "1", "99.9")
    rig.trade(-1, 1000, 50_000)
    rig.trade(1, 999, 50_000)
    rig.trade(1, 1001, 50_000)
    assert rig.position() == 0


def test_a_print_through_the_price_fills_at_the_price_for_no_more_than_was_printed():
    rig = make_rig()
    rig.order("BUY", "1", "99.9")
    rig.trade(-1, 998, 300)
    rig.wait(1)
    assert rig.position() == D("0.300")
    assert rig.view.only.fills[0]["price"] == "99.9"


def test_a_quote_that_comes_to_the_price_fills_it_by_its_size_which_is_taken():
    rig = make_rig()
    rig.order("SELL", "8", "100.3")
    rig.quote(1003, 1005, bid_qty=2_000)
    assert rig.position() == -2
    assert rig.books.bid[0] == 1002  # what stood at our price is gone
    assert rig.view.only.fills[0]["maker"] is True
    assert rig.view.only.fills[0]["price"] == "100.3"


def test_two_own_orders_share_one_print_in_order_of_price_then_time():
    rig = make_rig()
    first = rig.order("BUY", "1", "99.5", newClientOrderId="first")
    second = rig.order("BUY", "1", "99.5", newClientOrderId="second")
    better = rig.order("BUY", "1", "99.6", newClientOrderId="better")
    assert first["status"] == second["status"] == better["status"] == "NEW"
    rig.trade(-1, 990, 2_300)
    by_client = {fill["client_id"]: D(fill["qty"]) for fill in rig.view.only.fills}
    assert by_client == {"better": D(1), "first": D(1), "second": D("0.300")}
    assert len({fill["trade_id"] for fill in rig.view.only.fills}) == 3


def test_cancel_ends_an_order_once_and_frees_its_client_id():
    rig = make_rig()
    assert rig.order("BUY", "1", "99.0", newClientOrderId="mine")["clientOrderId"] == "mine"
    assert rig.order("BUY", "1", "99.0", newClientOrderId="mine") == ("refused", -4116)
    gone = rig.call("DELETE", "/fapi/v1/order", symbol="AAAUSDT", origClientOrderId="mine")
    assert (gone["status"], gone["executedQty"]) == ("CANCELED", "0.000")
    assert "avgPrice" not in gone
    assert "cumQuote" not in gone
    assert rig.call("DELETE", "/fapi/v1/order", symbol="AAAUSDT", origClientOrderId="mine") == ("refused", -2011)
    assert rig.order("BUY", "1", "99.0", newClientOrderId="mine")["status"] == "NEW"
    assert rig.view.only.duplicates == ["mine"]  # legal at the venue, and the judge sees it
    assert updates(rig)[1] == ("CANCELED", "CANCELED", "0")


def test_cancel_all_is_of_one_symbol():
    rig = make_rig()
    for symbol in ("AAAUSDT", "AAAUSDT", "BBBUSDT"):
        rig.order("BUY", "1", "99.0", symbol=symbol)
    assert rig.call("DELETE", "/fapi/v1/allOpenOrders", symbol="AAAUSDT")["code"] == 200
    assert [row["symbol"] for row in rig.call("GET", "/fapi/v1/openOrders")] == ["BBBUSDT"]


def test_reduce_only_needs_a_position_on_the_other_side():
    rig = make_rig()
    assert rig.order("SELL", "1", reduceOnly="true") == ("refused", -2022)
    rig.order("BUY", "2")
    assert rig.order("BUY", "1", reduceOnly="true") == ("refused", -2022)


def test_reduce_only_is_cut_to_the_position_and_never_turns_it():
    rig = make_rig()
    rig.order("BUY", "2")
    answer = rig.order("SELL", "5", reduceOnly="true")
    assert (answer["origQty"], answer["status"]) == ("2.000", "FILLED")
    assert rig.position() == 0


def test_resting_reduce_only_orders_share_the_position_and_expire_as_it_shrinks():
    rig = make_rig()
    rig.order("BUY", "2")
    rig.order("SELL", "1.5", "101.0", reduceOnly="true", newClientOrderId="a")
    assert rig.order("SELL", "1.5", "101.0", reduceOnly="true", newClientOrderId="b")["origQty"] == "0.500"
    assert rig.order("SELL", "1", "101.0", reduceOnly="true") == ("refused", -2022)
    rig.order("SELL", "0.2", reduceOnly="true")  # a taking order competes with nobody; the newest resting one yields
    assert [row["clientOrderId"] for row in rig.call("GET", "/fapi/v1/openOrders")] == ["a"]
    rig.order("SELL", "5")  # turns the position round: the other one ends as well
    assert rig.call("GET", "/fapi/v1/openOrders") == []
    assert [row for row in updates(rig) if row[1] == "EXPIRED"] == [("EXPIRED", "EXPIRED", "4")] * 2


def test_an_order_that_would_meet_our_own_expires_the_resting_one():
    rig = make_rig()
    rig.order("SELL", "1", "100.1", newClientOrderId="maker")
    rig.order("BUY", "1")
    maker = rig.call("GET", "/fapi/v1/order", symbol="AAAUSDT", origClientOrderId="maker")
    assert (maker["status"], maker["executedQty"]) == ("EXPIRED_IN_MATCH", "0.000")
    assert ("EXPIRED", "EXPIRED_IN_MATCH", "1") in updates(rig)
    assert rig.position() == 1


def test_accounts_are_apart_and_prints_of_one_reach_the_orders_of_the_other():
    two = AccountSetup(id="two", api_key="z" * 64, secret="t" * 64)
    rig = make_rig(accounts=(AccountSetup(id="one", api_key=KEY, secret=SECRET), two))
    rig.order("SELL", "1", "100.1", newClientOrderId="x")
    asked = {"symbol": "AAAUSDT", "origClientOrderId": "x"}
    assert rig.call("GET", "/fapi/v1/order", two.api_key, two.secret, **asked) == ("refused", -2013)
    buy = {"symbol": "AAAUSDT", "side": "BUY", "type": "MARKET", "quantity": "6"}
    rig.call("POST", "/fapi/v1/order", two.api_key, two.secret, **buy)
    # 5.0 were displayed ahead; the second level's print is through our price and as large as the rest
    assert rig.view.accounts["two"].positions["AAAUSDT"].amount == 6
    assert rig.view.accounts["one"].positions["AAAUSDT"].amount == -1
    assert rig.heard("TRADE_LITE")
    assert {account for account, _ in rig.events} == {"one", "two"}


def test_ids_rise_within_a_symbol_differ_over_all_and_exceed_2_53_on_some():
    store = OrderStore()
    issued = [store.next_id(symbol) for symbol in range(20) for _ in range(3)]
    assert len(set(issued)) == 60
    assert all(a < b for a, b in pairwise(issued) if a // 10**12 == b // 10**12)
    assert any(number > 2**53 for number in issued)
    assert max(issued) < 2**63


def test_a_final_order_cannot_change_any_more():
    rig = make_rig()
    rig.order("BUY", "1", "99.0")
    order = rig.simulator._core.state.orders.all()[0]
    order.move(OrderStatus.CANCELED, 1)
    with pytest.raises(InvariantBroken):
        order.move(OrderStatus.FILLED, 2)
    with pytest.raises(InvariantBroken):
        order.fill(2_000, D(99), 2)


@settings(max_examples=60, deadline=None)
@given(
    price=st.integers(980, 999),
    prints=st.lists(st.tuples(st.integers(970, 1005), st.integers(1, 4_000), st.sampled_from((-1, 1))), max_size=12),
)
def test_a_resting_buy_never_fills_more_than_was_printed_at_or_below_its_price(price, prints):
    rig = make_rig()
    rig.order("BUY", "3", f"{price / 10}")
    for ticks, steps, side in prints:
        rig.trade(side, ticks, steps)
    at = sum(steps for ticks, steps, side in prints if ticks == price and side < 0)
    through = sum(steps for ticks, steps, _ in prints if ticks < price)
    filled = int(rig.position() * 1000)
    assert filled <= min(3_000, at + through)
    assert filled >= min(3_000, through)
