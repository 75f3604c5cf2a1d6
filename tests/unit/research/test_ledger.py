"""The ledger is the judge: one changed digit anywhere is told."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aegis.engine.machine import Machine
from aegis.exchange.ledger_view import AccountView, PositionView
from aegis.research.ledger import compare_ledger


def _machine(**changes: Any) -> Machine:
    told: dict[str, Any] = {
        "fees": {"USDT": Decimal("1.5")}, "funding": Decimal("-0.25"), "realized": Decimal(3), "wallet": Decimal(101),
        "positions": {"BTCUSDT": SimpleNamespace(amount=Decimal("0.5"))}, "margin_asset": "USDT",
    }  # fmt: skip
    live = SimpleNamespace(cid="1-7", state=SimpleNamespace(final=False))
    over = SimpleNamespace(cid="1-6", state=SimpleNamespace(final=True))
    orders = changes.pop("orders", [live, over])
    desk = SimpleNamespace(store=SimpleNamespace(open=lambda: orders))
    book = SimpleNamespace(**(told | changes))
    return cast(Machine, SimpleNamespace(decision=SimpleNamespace(portfolio=book, desk=desk)))


def _ledger(**changes: Any) -> AccountView:
    told: dict[str, Any] = {
        "fees": Decimal("1.50"), "funding": Decimal("-0.25"), "realized": Decimal("3.0"), "wallet": Decimal(101),
        "positions": {"BTCUSDT": PositionView(amount=Decimal("0.50")), "ETHUSDT": PositionView(amount=Decimal(0))},
        "open_algo_orders": {5: {"client_id": "1-7"}},
    }  # fmt: skip
    return AccountView(**(told | changes))


def test_equal_accounts_agree_whatever_the_zeros_at_the_end() -> None:
    assert compare_ledger(_machine(), _ledger()) == ()


@pytest.mark.parametrize(
    ("ledger", "says"),
    [
        ({"fees": Decimal("1.50000001")}, "fees: engine 1.5, ledger 1.50000001"),
        ({"funding": Decimal(0)}, "funding: engine -0.25, ledger 0"),
        ({"realized": Decimal("3.00000001")}, "realised profit: engine 3, ledger 3.00000001"),
        ({"wallet": Decimal(100)}, "wallet: engine 101, ledger 100"),
        ({"positions": {}}, "position BTCUSDT: engine 0.5, ledger 0"),
        ({"open_algo_orders": {}}, "open order 1-7: only the engine has it"),
        ({"open_orders": {9: {"client_id": "x-1"}}}, "open order x-1: only the ledger has it"),
    ],
)
def test_one_difference_is_told_alone(ledger: dict[str, Any], says: str) -> None:
    assert compare_ledger(_machine(), _ledger(**ledger)) == (says,)


def test_a_position_of_ours_that_the_ledger_does_not_know_and_an_id_used_twice_are_told() -> None:
    extra = {"BTCUSDT": SimpleNamespace(amount=Decimal("0.5")), "XUSDT": SimpleNamespace(amount=Decimal(-1))}
    assert compare_ledger(_machine(positions=extra), _ledger()) == ("position XUSDT: engine -1, ledger 0",)
    twice = _ledger()
    twice.accepted["1-3"] += 2
    assert compare_ledger(_machine(), twice) == ("client id 1-3: accepted more than once",)
