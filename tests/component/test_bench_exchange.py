"""The exchange's rows at a tiny size, over real sockets within this process: what is measured, never how fast."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from types import SimpleNamespace

import attrs
import pytest
import trio

from aegis.core.errors import VenueUnavailable
from aegis.core.values import Side
from aegis.exchange.money import decimal_of
from aegis.exchange.server import serve_exchange
from aegis.exchange.settings import ExchangeSettings
from aegis.research.bench import exchange, exchange_day, exchange_orders
from aegis.research.bench.process import Unmeasured, cpu_s
from aegis.research.bench.table import Bench, Effort, Verdict

TINY = Bench(effort=Effort(repeats=1, scale=0.001))


@asynccontextmanager
async def near_exchange(command: Sequence[str], **_: float) -> AsyncIterator[SimpleNamespace]:
    settings = ExchangeSettings.from_json(command[-1])
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(serve_exchange, settings)
        yield SimpleNamespace(addresses=addresses, pid=os.getpid())
        nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def _near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "spawn_exchange", near_exchange)
    monkeypatch.setattr(exchange_orders, "spawn_exchange", near_exchange)
    monkeypatch.setattr(exchange_day, "spawn_exchange", near_exchange)
    monkeypatch.setattr(exchange_day, "_SYMBOLS", 6)
    monkeypatch.setattr(exchange, "_SYMBOLS", 12)
    monkeypatch.setattr(exchange, "_TRADED", 6)
    monkeypatch.setattr(exchange_orders, "_TRADED", 6)
    monkeypatch.setattr(exchange, "_OFFERED", (5_000,))
    monkeypatch.setattr(exchange, "SETTLE_S", 0.1)


def test_every_row_of_the_exchange_is_measured() -> None:
    rows = {row.name: row for row in exchange.measure(TINY)}
    assert len(rows) == 5
    assert all(row.figure for row in rows.values())
    assert rows["exchange, market data to 4 subscribers"].detail["frames a CPU second of the exchange"]
    assert rows["exchange, order core in memory"].verdict is not Verdict.INVALID


def test_a_market_that_the_exchange_cannot_carry_is_offered_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    async def market(_: Bench, offered: int) -> tuple[list[float], list[float]]:
        asked.append(offered)
        if offered > 1_000:
            raise VenueUnavailable("not ready")
        return [4.0], [8.0]

    monkeypatch.setattr(exchange, "_market", market)
    monkeypatch.setattr(exchange, "_OFFERED", (3_000, 2_000, 1_000))
    row = exchange._market_row(TINY)
    assert asked == [3_000, 2_000, 1_000]
    assert row.figure == 4.0
    assert "1,000 events/s" in row.note
    monkeypatch.setattr(exchange, "_OFFERED", (3_000,))
    assert exchange._market_row(TINY).invalid == "not ready"


def test_the_order_core_rests_matches_and_cancels() -> None:
    desk = exchange._Desk.new()
    for side in (Side.BUY, Side.SELL):
        for listing in desk.listings[:3]:
            desk.three(listing, side)
        desk.step()
    account = desk.core.state.accounts["bench"]
    assert desk.core.state.orders.open_orders("bench") == []
    assert len(desk.core.state.fills) == 6
    assert decimal_of(account.wallet) < exchange._WALLET  # fees, and a spread each time


@pytest.mark.parametrize("trips", [exchange_orders.rest_round_trips, exchange_orders.socket_round_trips])
def test_a_refused_order_ends_the_measurement_with_the_words_of_the_exchange(trips: Callable) -> None:
    poor = attrs.evolve(exchange._settings(rate=1_000.0), wallet=Decimal(1))
    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(trips, TINY, poor)
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Unmeasured)
    assert "-2019" in str(error)


def test_a_process_that_is_none_has_no_processor_time() -> None:
    assert cpu_s(os.getpid()) > 0
    with pytest.raises(Unmeasured, match="cannot be read"):
        cpu_s(2**22 + 1)
