"""Missing trades are asked for by id, the most traded symbol first, and nobody is left without an answer."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import trio
import trio.testing

from aegis.core.errors import VenueRefusal, VenueUnavailable
from aegis.core.values import SymbolName
from aegis.engine.holes import MOST_TRADES
from aegis.engine.mend import Mender
from aegis.kernels.state import Records
from aegis.venue.replies import AggTrade
from tests.support.engine_rig import make_market


class Venue:
    """Answers after `delay_s`, or with what `broken` has for the symbol."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int | None, int]] = []
        self.delay_s = 0.1
        self.broken: dict[str, Exception] = {}

    async def agg_trades(
        self, symbol: SymbolName, *, from_id: int | None = None, limit: int = 1000
    ) -> tuple[AggTrade, ...]:
        self.asked.append((symbol, from_id, limit))
        await trio.sleep(self.delay_s)
        if symbol in self.broken:
            raise self.broken[symbol]
        assert from_id is not None
        return tuple(
            AggTrade(id=n, price=Decimal("5000.1"), qty=Decimal("0.250"), first_id=n, last_id=n, time_ms=1000 + n,
                     buyer_is_maker=n % 2 == 0)
            for n in range(from_id, from_id + 2)
        )  # fmt: skip


@pytest.fixture
def venue() -> Venue:
    return Venue()


async def ask(venue: Venue, *wanted: tuple[int, int], workers: int = 1) -> list[tuple[int, Records | None, float]]:
    """What was delivered, and when."""
    answers: list[tuple[int, Records | None, float]] = []
    mender = Mender(
        venue=venue, specs=make_market().specs, wait_s=5.0, workers=workers,
        deliver=lambda symbol, trades: answers.append((symbol, trades, trio.current_time())),
    )  # fmt: skip
    with trio.move_on_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mender.run)
            await trio.testing.wait_all_tasks_blocked()
            mender.request(wanted)
    return answers


async def test_trades_come_as_lots_and_floats_in_the_order_of_turnover(autojump_clock: Any, venue: Venue) -> None:
    answers = await ask(venue, (2, 70), (0, 11), (1, 30))
    assert venue.asked == [("BTCUSDT", 11, MOST_TRADES), ("ETHUSDT", 30, MOST_TRADES), ("SOLUSDT", 70, MOST_TRADES)]
    assert [symbol for symbol, _, _ in answers] == [0, 1, 2]
    first = answers[0][1]
    assert first is not None
    assert first.tolist() == [(11, 1011, 5000.1, 250, 0), (12, 1012, 5000.1, 250, 1)]


@pytest.mark.parametrize("error", [VenueUnavailable("banned"), VenueRefusal(-1121, "invalid symbol")])
async def test_a_refusal_is_told_and_the_next_symbol_gets_its_turn(
    autojump_clock: Any, venue: Venue, log_lines: Any, error: Exception
) -> None:
    venue.broken["BTCUSDT"] = error
    answers = await ask(venue, (0, 11), (1, 30))
    assert [(symbol, trades is None) for symbol, trades, _ in answers] == [(0, True), (1, False)]
    assert [event["symbol"] for event in log_lines.events("feed.gap")] == ["BTCUSDT"]


async def test_nobody_waits_longer_than_the_bound(autojump_clock: Any, venue: Venue) -> None:
    """A budget that is spent makes a call wait for the next minute: too long for a bar."""
    venue.delay_s = 3.0
    answers = await ask(venue, (0, 1), (1, 1), (2, 1))
    assert [(symbol, trades is None, at) for symbol, trades, at in answers] == [
        (0, False, pytest.approx(3)), (1, True, pytest.approx(5)), (2, True, pytest.approx(5)),
    ]  # fmt: skip
    assert len(venue.asked) <= 3
