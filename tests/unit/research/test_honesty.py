"""A trade on a tape by hand; tapes whose bars are those of the ticks; verdicts on markets whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from aegis import config as configs
from aegis.config import Config
from aegis.core.errors import ConfigError
from aegis.core.values import Side
from aegis.exchange.synthetic import SyntheticSource
from aegis.kernels.books import QUOTE, TRADE
from aegis.kernels.layout import BAR
from aegis.research import tape as tapes
from aegis.research.honesty import Plan, Report, Wish, judge, trade_r
from aegis.research.tape import Tape, recorded_tapes, synthetic_tapes
from aegis.signals.strategy import Setup
from aegis.surface.honesty import honesty
from tests.support.exchange_rig import LISTINGS
from tests.support.recorded_lines import market_lines, write

MS, SECOND, MINUTE_MS = 1_000_000, 1_000_000_000, 60_000
START_MS = 2_800 * 604_800_000


def made(*mids: float, spread: float = 0.2, step_ms: int = 1000) -> Tape:
    """A quote a second around these prices, and no bars."""
    n, mid = len(mids), np.array(mids)
    return Tape(
        listing=LISTINGS[0], time_ns=(START_MS + step_ms * np.arange(n)) * MS, bid=mid - spread / 2,
        ask=mid + spread / 2, bid_qty=np.full(n, 1e6), ask_qty=np.full(n, 1e6), bars=np.zeros(0, BAR),
    )  # fmt: skip


def result(tape: Tape, side: int = 1, limit_s: float = 100, taker: float = 0.0, **changes: Any) -> Any:
    """From the first quote, a stop of 1 % and a target of 2 %."""
    plan = Plan(tape=tape, start=0, side=side, stop=0.01, targets=((0.02, 1.0),), limit_ns=int(limit_s * SECOND))
    return trade_r(attrs.evolve(plan, **changes), latency_ns=0, limit=5e-4, taker=taker)


# -- one trade ---------------------------------------------------------------------------------------------------------
def test_the_target_earns_its_distance_in_r_and_fees_are_taken_off() -> None:
    tape = made(99.9, 101, 102.1, 90)
    assert (tape.ask[0], tape.bid[2]) == (100.0, 102.0)
    won = result(tape)
    assert won.gross == pytest.approx(2.0)
    assert won.closed_ns == tape.time_ns[2]
    assert result(tape, taker=5e-4).net == pytest.approx(2.0 - 5e-4 * (100 + 102))


def test_a_stop_leaves_where_the_quote_is_and_not_at_its_price() -> None:
    assert result(made(99.9, 99.5, 98.1, 102.1)).gross == pytest.approx(-2.0), "it gapped through 99 to 98"


def test_a_sell_is_the_mirror() -> None:
    assert result(made(100.1, 97.9), side=-1).gross == pytest.approx(2.0)
    assert result(made(100.1, 100.9), side=-1).gross == pytest.approx(-1.0)


def test_the_time_limit_and_the_end_of_the_data_close_at_the_quote() -> None:
    assert result(made(99.9, 100.0, 100.6, 103), limit_s=2).gross == pytest.approx(0.5)
    assert result(made(99.9, 100.0, 100.6)).gross == pytest.approx(0.5)


def test_parts_leave_at_their_own_targets_and_the_rest_at_the_stop() -> None:
    parts = ((0.005, 0.25), (0.01, 0.25), (0.02, 0.5))
    told = result(made(99.9, 100.6, 99.5, 98.95), targets=parts)
    assert told.gross == pytest.approx(0.25 * 0.5 - 0.75 * 1.15)
    assert result(made(99.9, 100.6, 101.1, 102.1), targets=parts).gross == pytest.approx(0.125 + 0.25 + 1.0)


def test_an_order_meets_the_quote_of_its_arrival_and_none_beyond_its_limit() -> None:
    plan = Plan(tape=made(99.9, 100.3, 100.4, 101), start=0, side=1, stop=0.01, targets=((0.02, 1.0),), limit_ns=SECOND)
    assert trade_r(plan, latency_ns=SECOND, limit=5e-4, taker=0.0) is None, "100.40 is above 100.05"
    assert trade_r(plan, latency_ns=SECOND, limit=5e-3, taker=0.0) is not None
    assert result(made(99.9)) is None, "nothing comes after it"


def test_a_wish_is_met_by_the_first_quote_at_its_level_while_it_stands() -> None:
    setup = Setup(
        strategy="s", symbol=0, name="AAAUSDT", side=Side.BUY, zone=1, timeframe="1s", entry=99.0, stop=98.0,
        target=101.0, known_at_ms=START_MS, expires_ms=START_MS + 9000, time_limit_ms=1000,
    )  # fmt: skip
    tape = made(100, 99.5, 98.9, 98.0)
    at = START_MS * MS
    assert Wish(tape=tape, setup=setup, from_ns=at, until_ns=at + 9 * SECOND).hit() == 2
    assert Wish(tape=tape, setup=setup, from_ns=at, until_ns=at + 2 * SECOND).hit() is None, "withdrawn by then"
    assert Wish(tape=tape, setup=setup, from_ns=at + 2 * SECOND, until_ns=at + 9 * SECOND).hit() == -1
    assert Wish(tape=tape, setup=setup, from_ns=at - 9, until_ns=at + SECOND).hit() is None


# -- tapes -------------------------------------------------------------------------------------------------------------
def test_bars_and_quotes_are_those_of_the_ticks_however_they_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    def get() -> list[Tape]:
        return synthetic_tapes(2, 0.2, 1000, seed=3, volatility=4.0, say=lambda _: None)

    whole = get()
    monkeypatch.setattr(tapes, "_CHUNK_NS", 37 * SECOND)
    for one, cut in zip(whole, get(), strict=True):
        assert one.bars.tobytes() == cut.bars.tobytes()
        assert one.listing == cut.listing
    source = SyntheticSource([one.listing for one in whole], seed=3, start_ns=tapes.SYNTHETIC_START_NS, volatility=4.0)
    events = source.events(tapes.SYNTHETIC_START_NS + 720 * SECOND)
    for one in whole:
        mine = events[events["symbol"] == one.listing.index]
        trades, tick = mine[mine["kind"] == TRADE], float(one.listing.tick)
        close = float("nan")
        for bar in one.bars:
            at = trades[trades["time_ns"] // MS // 1000 * 1000 == bar["open_time"]]
            if len(at):
                prices = at["price"] * tick
                told = (prices[0], prices.max(), prices.min(), prices[-1], at["qty"].sum(), len(at))
                assert tuple(bar[name] for name in ("open", "high", "low", "close", "volume", "trades")) == told
                close = prices[-1]
            elif close == close:
                assert bar["open"] == bar["high"] == bar["low"] == bar["close"] == close
        quotes = mine[mine["kind"] == QUOTE]
        at = int(quotes["time_ns"][len(quotes) // 2])
        stands = quotes[quotes["time_ns"] <= at][-1]
        assert (one.bid[one.at(at)], one.ask[one.at(at)]) == (stands["bid"] * tick, stands["ask"] * tick)


def test_a_recording_gives_a_tape_of_each_symbol(tmp_path: Path) -> None:
    path = write(tmp_path / "market", market_lines())
    found = recorded_tapes(str(path), 1000)
    assert [tape.listing.symbol for tape in found] == ["BTCUSDT", "ETHUSDT"]
    for tape in found:
        assert len(tape.bars) > 50
        assert (np.diff(tape.bars["open_time"]) == 1000).all()
        assert (tape.bid < tape.ask).all()
    with pytest.raises(ConfigError, match="nowhere: not a file"):
        recorded_tapes("nowhere", 1000)


# -- the verdict -------------------------------------------------------------------------------------------------------
WAVE = """
import attrs
from aegis.core.values import Side
from aegis.signals.strategy import Setup, Strategy

@attrs.frozen(kw_only=True)
class Params:
    entry: float = 98.8

class Wave(Strategy):
    name = "wave"
    Params = Params

    def __init__(self, params):
        self.params = params

    def on_events(self, view, events, now_ms):
        p = self.params.entry
        return [Setup(strategy=self.name, symbol=view.symbol, name=view.name, side=Side.BUY, zone=now_ms // 2_400_000,
                      timeframe="1m", entry=p, stop=p - 2.5, target=p + 4, known_at_ms=now_ms,
                      expires_ms=now_ms + 60_000, time_limit_ms=1_800_000)]
"""


def waves() -> Tape:
    """A wave of 40 minutes between 98 and 104, a quote every five seconds, a day long."""
    seconds = np.arange(0, 86_400, 5)
    tape = made(*(101 + 3 * np.cos(2 * np.pi * seconds / 2_400)), spread=0.2, step_ms=5000)
    bars = np.zeros(1440, BAR)
    bars["open_time"] = START_MS + MINUTE_MS * np.arange(1440)
    mid = ((tape.bid + tape.ask) / 2).reshape(1440, 12)
    bars["open"], bars["close"] = mid[:, 0], mid[:, -1]
    bars["high"], bars["low"], bars["volume"], bars["trades"] = mid.max(axis=1), mid.min(axis=1), 10, 1
    return attrs.evolve(tape, bars=bars)


def test_a_strategy_that_fits_its_market_is_better_than_random_and_the_same_seed_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "wave.py").write_text(WAVE)
    config = attrs.evolve(
        Config(), strategy=configs.loads(f"[strategy]\nname = 'Wave'\nfile = '{tmp_path}/wave.py'").strategy
    )
    one = judge([waves()], config, runs=40, seed=1, say=lambda _: None)
    assert one == judge([waves()], config, runs=40, seed=1, say=lambda _: None)
    assert one.trades >= 25
    assert one.mean_r is not None
    assert one.mean_r > 1.0, "it buys at 98.8 what goes to 102.8"
    assert (one.at_least_as_good, one.runs, one.refused) == (0.0, 40, {})
    assert one.low is not None
    assert one.low <= one.mean_r
    told = honesty(one, strategy="wave", data="waves", as_json=False)
    assert "verdict     better than random: 0.0% of the random runs did at least as well" in told
    assert json.loads(honesty(one, strategy="wave", data="waves", as_json=True))["trades"] == one.trades
    dear = attrs.evolve(config, exchange=attrs.evolve(config.exchange, taker_fee_bps=100.0))
    refused = judge([waves()], dear, runs=5, seed=1, say=lambda _: None)
    assert (refused.trades, set(refused.refused), refused.mean_r) == (0, {"COST"}, None)
    assert "no trades: nothing can be said" in honesty(refused, strategy="wave", data="waves", as_json=False)


def test_a_losing_strategy_is_told_so() -> None:
    told = Report(
        symbols=2, days=1.0, setups=9, signals=8, not_armed=1, refused={"COST": 2}, unfilled=1, trades=20, mean_r=-0.2,
        gross_r=-0.1, low=-0.4, high=0.1, runs=200, random_mean=-0.1, random_low=-0.3, random_high=0.1,
        at_least_as_good=0.8,
    )  # fmt: skip
    text = honesty(told, strategy="x", data="y", as_json=False)
    assert "no better than random, and it loses: 80.0% of the random runs did at least as well" in text
    few = honesty(attrs.evolve(told, trades=19, at_least_as_good=0.0), strategy="x", data="y", as_json=False)
    assert few.endswith("verdict     too few trades to tell: below 20 one of them decides")
    assert "signals     8, 8.0 a day, 4.00 a day and symbol" in text
    assert "expectancy  -0.200 R net of fees, 95 % between -0.400 R and +0.100 R" in text
