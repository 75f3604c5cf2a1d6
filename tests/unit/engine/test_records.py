"""What is written into the journal comes back equal, through its JSON."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.core.bracket import ExitReason, Role, TradePlan, TradeResult
from aegis.core.fills import Fill
from aegis.core.messages import Accepted, AlgoRequest, CancelRequest, OrderRequest, Refused, Unknown
from aegis.core.partials import Lots, Part
from aegis.core.values import AlgoType, ClientId, OrderType, Side, SymbolName, TimeInForce, WorkingType
from aegis.engine.records import (
    describe_fill,
    describe_outcome,
    describe_plan,
    describe_request,
    describe_result,
    restore_fill,
    restore_plan,
    restore_request,
    restore_result,
)
from tests.support.core_cases import make_algo, make_order

POSITIVE = st.decimals(min_value=Decimal("1e-15"), max_value=Decimal("1e15"), places=15).filter(lambda x: x > 0)
SIGNED = st.decimals(min_value=Decimal("-1e15"), max_value=Decimal("1e15"), places=12)
CIDS = st.builds(
    lambda run, seq: ClientId(f"{run}-{seq}"), st.text("0123456789abcz", min_size=1, max_size=8), st.integers(1, 2**70)
)
SYMBOLS = st.sampled_from([SymbolName("BTCUSDT"), SymbolName("1000PEPEUSDT"), SymbolName("测试USDT")])
SHARES = st.decimals(min_value=Decimal("0.01"), max_value=Decimal("0.99"), places=4)
NS = st.integers(0, 2**63 - 1)
IDS = st.integers(0, 2**63 - 1)

ORDERS = st.builds(
    OrderRequest, cid=CIDS, symbol=SYMBOLS, side=st.sampled_from(Side), type=st.sampled_from(OrderType), qty=POSITIVE,
    price=st.none() | POSITIVE, tif=st.none() | st.sampled_from(TimeInForce), reduce_only=st.booleans(),
)  # fmt: skip
ALGOS = st.builds(
    AlgoRequest, cid=CIDS, symbol=SYMBOLS, side=st.sampled_from(Side), type=st.sampled_from(AlgoType), trigger=POSITIVE,
    working_type=st.sampled_from(WorkingType), qty=st.none() | POSITIVE,
)  # fmt: skip
FILLS = st.builds(
    Fill, symbol=SYMBOLS, cid=CIDS, side=st.sampled_from(Side), order_id=IDS, trade_id=IDS, qty=POSITIVE,
    price=POSITIVE, maker=st.booleans(), commission=st.none() | SIGNED,
    commission_asset=st.sampled_from(["", "USDT", "BNB"]),
    realized=st.none() | SIGNED, time_ms=NS,
)  # fmt: skip
PLANS = st.builds(
    TradePlan, signal_id=st.text(min_size=1, max_size=30), symbol=SYMBOLS, side=st.sampled_from(Side), stop=POSITIVE,
    target=POSITIVE, stop_distance=POSITIVE, decision_ns=NS, time_limit_ns=st.integers(1, 2**62),
    entry_ttl_ns=st.none() | NS, stop_working=st.sampled_from(WorkingType), target_working=st.sampled_from(WorkingType),
    max_exit_qty=POSITIVE, parts=st.lists(st.builds(Part, price=POSITIVE, share=SHARES), max_size=3).map(tuple),
    lots=st.none() | st.builds(Lots, step=POSITIVE, min_qty=POSITIVE, min_notional=POSITIVE),
)  # fmt: skip


def written(data: dict[str, Any]) -> dict[str, Any]:
    """As a reader of the journal gets it; floats would lose digits, so there are none."""
    assert not any(isinstance(value, float) for value in data.values())
    back: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(data))
    return back


@given(st.one_of(ORDERS, ALGOS), st.sampled_from(Role))
def test_requests_come_back(request: OrderRequest | AlgoRequest, role: Role) -> None:
    data = written(describe_request(request, "s-1", role))
    assert restore_request(data) == request
    assert (data["trade"], data["role"]) == ("s-1", role.value)


@given(FILLS)
def test_fills_come_back(fill: Fill) -> None:
    assert restore_fill(written(describe_fill(fill))) == fill


@given(PLANS)
def test_plans_come_back(plan: TradePlan) -> None:
    assert restore_plan(written(describe_plan(plan))) == plan


def test_every_field_of_a_value_is_written() -> None:
    """A field that is added to a value and forgotten here would be lost by a crash."""
    for value, data in (
        (make_order(), describe_request(make_order(), "s", Role.ENTRY)),
        (make_algo(), describe_request(make_algo(), "s", Role.STOP)),
    ):
        missing = {field.name for field in attrs.fields(type(value))} - data.keys()
        assert missing <= {"price_protect"}, "a conditional order is never price protected"


def test_a_cancel_is_no_order() -> None:
    cancel = CancelRequest(cid=ClientId("1-2"), symbol=SymbolName("BTCUSDT"), algo=True)
    data = written(describe_request(cancel, "s", Role.STOP))
    assert restore_request(data) is None
    assert (data["act"], data["algo"]) == ("cancel", True)


@pytest.mark.parametrize("field", ["qty", "side", "act", "tif"])
def test_a_record_that_is_none_is_an_error_of_a_known_kind(field: str) -> None:
    data = describe_request(make_order(), "s", Role.ENTRY)
    del data[field]
    with pytest.raises(KeyError):
        restore_request(data)


def test_outcomes_name_their_order_and_what_became_of_it() -> None:
    order = make_order()
    cancel = CancelRequest(cid=order.cid, symbol=order.symbol)
    head = {"cid": "a-1", "symbol": "BTCUSDT"}
    assert describe_outcome(Accepted(request=order, venue_id=2**62)) == {
        **head, "of": "order", "what": "accepted", "venue_id": 2**62
    }  # fmt: skip
    assert describe_outcome(Refused(request=cancel, code=-2011, message="x")) == {
        **head, "of": "cancel", "what": "refused", "code": -2011, "message": "x"
    }  # fmt: skip
    assert describe_outcome(Unknown(request=order, reason="late")) == {
        **head, "of": "order", "what": "unknown", "reason": "late"
    }  # fmt: skip


def test_a_result_is_written_with_its_net_and_r() -> None:
    result = TradeResult(
        signal_id="s", symbol=SymbolName("BTCUSDT"), side=Side.BUY, reason=ExitReason.TARGET, qty=Decimal("0.10"),
        average_entry=Decimal(100), average_exit=Decimal("120.0"), risk=Decimal("0.8"), realized=Decimal("2.00"),
        fees={"USDT": Decimal("0.40"), "BNB": Decimal("0.001")}, margin_asset="USDT", decision_ns=1, first_fill_ns=2,
        closed_ns=3, naked_ns=4, trigger_to_fill_ms=None, fills=2, maker_fills=0, parts=1,
    )  # fmt: skip
    data = written(describe_result(result))
    again = restore_result(data)
    assert attrs.evolve(again, parts=0) == attrs.evolve(result, parts=0)
    assert (again.parts, data["parts"]) == (1, 1)
    assert (data["net"], data["r"], data["fees"]) == ("1.6", "2.0000", {"USDT": "0.4", "BNB": "0.001"})
    assert (data["qty"], data["exit"], data["reason"], data["trigger_to_fill_ms"]) == ("0.1", "120", "TARGET", None)
