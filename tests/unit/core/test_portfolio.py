"""Money and positions."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from aegis.core.errors import InvariantBroken
from aegis.core.movements import Movement
from aegis.core.portfolio import Difference, Portfolio, Position
from aegis.core.values import Side, SymbolName
from tests.support.core_cases import BTC, D, make_fill

ETH = SymbolName("ETHUSDT")


def movement(change: str, number: int, *, funding: bool = False, asset: str = "USDT", **changes: Any) -> Movement:
    fields: dict[str, Any] = {"symbol": None, "time_ms": 1, "income": False, "number": (number,)}
    return Movement(funding=funding, asset=asset, change=D(change), **{**fields, **changes})


def test_a_round_trip_realises_profit_less_fees() -> None:
    book = Portfolio("USDT", D(1000), 0)
    opened = book.apply_fill(make_fill(Side.BUY, "2", "100", 1, commission=D("0.1")), 1)
    assert opened is not None
    assert opened.after == Position(amount=D(2), entry_price=D(100))
    book.mark(BTC, D(110), 2)
    assert (book.unrealized, book.equity) == (D(20), D("1019.9"))
    booked = book.apply_fill(make_fill(Side.SELL, "2", "110", 2, realized=D(20), commission=D("0.11")), 3)
    assert booked is not None
    assert (booked.realized, booked.expected, booked.after) == (D(20), D(20), Position())
    assert (book.wallet, book.equity, book.mismatches) == (D("1019.79"), D("1019.79"), 0)
    assert book.positions == {}


def test_the_entry_price_is_the_weighted_mean_of_adds_and_a_flip_starts_anew() -> None:
    book = Portfolio("USDT", D(1000), 0)
    book.apply_fill(make_fill(Side.SELL, "1", "100", 1), 1)
    book.apply_fill(make_fill(Side.SELL, "3", "104", 2), 2)
    assert book.position(BTC) == Position(amount=D(-4), entry_price=D(103))
    book.apply_fill(make_fill(Side.BUY, "1", "101", 3, realized=D(2)), 3)
    assert book.position(BTC) == Position(amount=D(-3), entry_price=D(103))
    book.apply_fill(make_fill(Side.BUY, "5", "100", 4, realized=D(9)), 4)
    assert book.position(BTC) == Position(amount=D(2), entry_price=D(100))
    assert (book.realized, book.mismatches) == (D(11), 0)


def test_the_venues_realised_profit_is_the_truth_and_a_difference_is_counted() -> None:
    book = Portfolio("USDT", D(1000), 0)
    book.apply_fill(make_fill(Side.BUY, "1", "100", 1), 1)
    book.apply_fill(make_fill(Side.SELL, "1", "110", 2, realized=D("9.5")), 2)
    assert (book.realized, book.mismatches) == (D("9.5"), 1)


def test_a_trade_is_booked_once_and_only_with_its_fee() -> None:
    book = Portfolio("USDT", D(1000), 0)
    fill = make_fill(Side.BUY, "1", "100", 1)
    assert book.apply_fill(fill, 1) is not None
    assert book.apply_fill(fill, 2) is None
    assert book.apply_fill(make_fill(Side.BUY, "1", "100", 1, symbol=ETH), 3) is not None
    assert book.duplicates == 1
    with pytest.raises(InvariantBroken, match="no fee"):
        book.apply_fill(make_fill(Side.BUY, "1", "100", 9, commission=None, realized=None), 4)


def test_what_is_booked_is_known_by_symbol_and_id_whatever_the_order_it_came_in() -> None:
    random, book = Random(3), Portfolio("USDT", D(1000), 0)
    told = set[tuple[SymbolName, int]]()
    for _ in range(2_000):
        symbol, number = random.choice((BTC, ETH)), random.choice((random.randrange(500), 2**63 - 1))
        assert book.booked(symbol, number) == ((symbol, number) in told)
        fill = make_fill(Side.BUY, "1", "100", number, symbol=symbol)
        assert (book.apply_fill(fill, 1) is None) == ((symbol, number) in told)
        told.add((symbol, number))
    assert book.position(BTC).amount + book.position(ETH).amount == len(told)


def test_funding_transfers_and_foreign_fees_are_kept_apart() -> None:
    book = Portfolio("USDT", D(1000), 0)
    funding = movement("-1.5", 1, funding=True, symbol=BTC)
    assert book.apply_movement(funding, 1)
    assert not book.apply_movement(funding, 2)
    assert book.apply_movement(movement("100", 2), 3)
    assert book.apply_movement(movement("7", 3, asset="BNB"), 4)
    book.apply_fill(make_fill(Side.BUY, "1", "100", 1, commission=D("0.01"), commission_asset="BNB"), 5)
    assert (book.funding, book.transfers, book.wallet) == (D("-1.5"), D(100), D("1098.5"))
    assert book.fees == {"BNB": D("0.01")}
    assert book.duplicates == 1
    book.apply_movement(movement("-100", 4), 6)
    assert book.max_drawdown == D("1.5"), "a deposit is no profit, a withdrawal no loss"


def test_a_run_begins_with_the_venues_wallet_whatever_was_told_before() -> None:
    book = Portfolio("USDT", D(0), 0)
    book.apply_movement(movement("5", 1), 1)
    book.begin(D(1000), 2)
    assert (book.wallet, book.equity_start, book.max_drawdown) == (D(1000), D(1000), D(0))
    book.apply_fill(make_fill(Side.BUY, "1", "100", 1, commission=D(2)), 3)
    assert (book.wallet, book.max_drawdown) == (D(998), D(2))


def test_drawdown_and_exposure_over_time() -> None:
    book = Portfolio("USDT", D(1000), 0)
    book.apply_fill(make_fill(Side.BUY, "1", "100", 1), 100)
    book.apply_fill(make_fill(Side.SELL, "1", "50", 2, symbol=ETH), 200)
    book.mark(BTC, D(120), 200)
    book.mark(BTC, D(90), 300)
    book.mark(SymbolName("XRPUSDT"), D(1), 300)
    assert book.max_drawdown == D(30)
    book.apply_fill(make_fill(Side.SELL, "1", "90", 3, realized=D(-10)), 300)
    book.apply_fill(make_fill(Side.BUY, "1", "50", 4, symbol=ETH), 400)
    exposure = book.exposure(500)
    assert (exposure.gross, exposure.net) == (D(0), D(0))
    assert (exposure.gross_max, exposure.net_max) == (D(170), D(100))
    # 100 for 100 ns, then 170 for 100 ns, then 50 for 100 ns, of 500 ns
    assert exposure.gross_mean == D(320 * 100) / 500
    assert exposure.net_mean == D((100 + 70 - 50) * 100) / 500
    assert exposure.in_market == D("0.6")


def test_exposure_of_no_time_at_all() -> None:
    assert Portfolio("USDT", D(1000), 7).exposure(7).gross_mean == D(0)


def test_positions_are_compared_with_the_venue() -> None:
    book = Portfolio("USDT", D(0), 0)
    book.apply_fill(make_fill(Side.BUY, "2", "100", 1), 1)
    assert book.compare({BTC: D(2), ETH: D(0)}) == ()
    assert book.compare({ETH: D(1)}) == (
        Difference(symbol=BTC, ours=D(2), venue=D(0)),
        Difference(symbol=ETH, ours=D(0), venue=D(1)),
    )
    book.apply_fill(make_fill(Side.SELL, "2", "100", 2), 2)
    assert book.positions == {}
