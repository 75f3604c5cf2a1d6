"""Answers of the venue survive the way into a recording and back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.core.values import AlgoStatus, ClientId, OrderStatus, Side, SymbolName
from aegis.engine import answers
from aegis.venue.replies import AlgoState, OrderState, UserTrade

D = Decimal
BTC = SymbolName("BTCUSDT")
QTY = st.decimals(min_value=0, max_value=Decimal("1e12"), places=8)
IDS = st.integers(0, 2**63 - 1)


def _fields(kind: type, **known: Any) -> dict[str, Any]:
    """Values for every field of a reply; those that an answer does not carry are blank."""
    blank: dict[str, Any] = {"str": "", "int": 0, "Decimal": D(0), "bool": False}
    fields = {}
    for name, annotation in kind.__annotations__.items():
        text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
        fields[name] = blank.get(text.split(" ")[0])
    return {**fields, **known}


@given(st.sampled_from(OrderStatus), QTY, QTY, IDS, st.sampled_from(Side), st.booleans())
def test_an_order_comes_back(
    status: OrderStatus, qty: Decimal, filled: Decimal, order_id: int, side: Side, alive: bool
) -> None:
    row = OrderState(
        **_fields(
            OrderState, cid="1-1", symbol=BTC, status=status, qty=qty, filled_qty=filled, order_id=order_id, side=side
        )
    )
    payload = answers.order_answer("1-1", BTC, 5, row, alive=alive)
    answer = msgspec.json.decode(payload, type=answers.OrderAnswer)
    venue = answer.venue_order()
    assert venue is not None
    assert (answer.alive, answer.asked_ns) == (alive, 5)
    assert (venue.cid, venue.symbol, venue.side, venue.order_id) == ("1-1", BTC, side, order_id)
    assert (venue.status, venue.qty, venue.filled_qty) == (status, qty, filled)


@given(st.sampled_from(AlgoStatus), QTY, IDS, st.none() | IDS)
def test_a_conditional_order_comes_back(
    status: AlgoStatus, filled: Decimal, algo_id: int, order_id: int | None
) -> None:
    row = AlgoState(
        **_fields(
            AlgoState, cid="1-2", symbol=BTC, status=status, filled_qty=filled, algo_id=algo_id, order_id=order_id
        )
    )
    venue = msgspec.json.decode(
        answers.algo_answer("1-2", BTC, 5, row, alive=True), type=answers.AlgoAnswer
    ).venue_algo()
    assert venue is not None
    assert (venue.cid, venue.algo_id, venue.order_id) == ("1-2", algo_id, order_id)
    assert (venue.status, venue.filled_qty) == (status, filled)


def test_not_found_is_an_answer() -> None:
    order = msgspec.json.decode(answers.order_answer("1-1", BTC, 1, None, alive=True), type=answers.OrderAnswer)
    algo = msgspec.json.decode(answers.algo_answer("1-1", BTC, 1, None, alive=False), type=answers.AlgoAnswer)
    assert (order.venue_order(), algo.venue_algo(), algo.alive) == (None, None, False)


@given(st.lists(st.tuples(IDS, QTY, QTY, st.booleans()), max_size=4))
def test_executions_come_back(rows: list[tuple[int, Decimal, Decimal, bool]]) -> None:
    trades = [
        UserTrade(
            **_fields(
                UserTrade, symbol=BTC, trade_id=number, order_id=7, side=Side.SELL, price=price, qty=qty,
                commission=-price, commission_asset="USDT", realized_pnl=-qty, maker=maker, time_ms=9,
            )
        )
        for number, price, qty, maker in rows
    ]  # fmt: skip
    fills = list(msgspec.json.decode(answers.fills_answer("1-3", BTC, trades), type=answers.FillsAnswer).fills())
    assert [(f.trade_id, f.price, f.qty, f.maker) for f in fills] == rows
    assert all(
        (f.cid, f.symbol, f.side, f.order_id, f.complete) == (ClientId("1-3"), BTC, Side.SELL, 7, True) for f in fills
    )
    assert all((f.commission, f.realized) == (-f.price, -f.qty) for f in fills)


def test_positions_keep_exact_amounts_and_sorted_names() -> None:
    ours = [("ZUSDT", "1-2", True), ("AUSDT", "1-1", False)]
    payload = answers.positions_answer(7, {BTC: D("-0.100")}, {"ZUSDT", "AUSDT"}, ours)
    answer = msgspec.json.decode(payload, type=answers.PositionsAnswer)
    assert (answer.asked_ns, answer.amounts, answer.foreign) == (7, {BTC: D("-0.1")}, ["AUSDT", "ZUSDT"])
    assert answer.ours == sorted(ours)


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b'{"cid":1}', b'{"wallet":"x"}'])
def test_what_is_no_answer_is_a_decode_error(payload: bytes) -> None:
    kinds = (
        answers.OrderAnswer,
        answers.AlgoAnswer,
        answers.FillsAnswer,
        answers.AccountAnswer,
        answers.PositionsAnswer,
    )
    for kind in kinds:
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(payload, type=kind)
