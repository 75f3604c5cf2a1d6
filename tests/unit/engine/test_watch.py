"""Whose depth is asked for: who trades first, who is near next, and nobody a moment after another."""

from __future__ import annotations

import attrs
import pytest

from aegis.core.values import SymbolName
from aegis.engine.shards import Shard
from aegis.engine.watch import DepthWatch
from tests.support.decision_rig import SYMBOLS, Rig, open_position

HOLD_S = 5.0
FOUR = (*SYMBOLS, "XRPUSDT")


@attrs.define
class Line:
    """A public socket as the watch sees one."""

    shard: Shard
    asked: list[tuple[str, ...]] = attrs.field(factory=list)

    @classmethod
    def make(cls, number: int, streams: int = 3) -> Line:
        names = tuple(f"s{k}@bookTicker" for k in range(streams))
        return cls(Shard(number=number, url="", streams=names, symbols=(), quotes=True, trades=False))

    def watch(self, streams: tuple[str, ...]) -> None:
        self.asked.append(streams)


def make(rig: Rig, *lines: Line, most: int = 10, spare: int = 0) -> DepthWatch:
    return DepthWatch(
        decision=rig.decision, table=rig.machine.table, lines=lines or [Line.make(0)], most=most, spare=spare
    )


def watched(watch: DepthWatch) -> list[int]:
    return sorted(watch.watched)


def near(rig: Rig, symbol: int, entry: float) -> None:
    rig.arm(symbol=symbol, zone=symbol, entry=entry, stop=40000.0)


def test_a_level_makes_its_symbol_watched_until_some_seconds_after_its_end() -> None:
    rig, line = Rig.make(SYMBOLS[:3]), Line.make(0)
    watch = make(rig, line)
    watch.look(0.0)
    assert line.asked == []
    near(rig, 1, 50000.0)
    watch.look(1.0)
    watch.look(2.0)
    name = f"{SYMBOLS[1].lower()}@depth20@100ms"
    assert line.asked == [(name,)], "nothing is asked twice"
    rig.decision.setups.withdraw(1, 1)
    watch.look(2.0 + HOLD_S - 0.1)
    assert watched(watch) == [1]
    watch.look(2.0 + HOLD_S)
    assert line.asked == [(name,), ()]
    near(rig, 1, 50000.0)
    watch.look(20.0)
    assert line.asked[-1] == (name,)


def test_an_order_and_a_position_are_reasons_like_a_level() -> None:
    rig = Rig.make(SYMBOLS[:2])
    watch = make(rig)
    rig.signal()
    assert list(rig.decision.desk.trades) == [SYMBOLS[0]]
    watch.look(0.0)
    watch.look(100.0)
    assert watched(watch) == [0]


def test_of_too_many_those_that_trade_come_first_and_then_the_nearest_levels() -> None:
    rig = Rig.make(FOUR)
    open_position(rig, 0)
    for symbol, entry in ((1, 48000.0), (2, 50005.0), (3, 49500.0)):
        near(rig, symbol, entry)
    watch = make(rig, most=3)
    watch.look(0.0)
    assert watched(watch) == [0, 2, 3]


def test_one_that_is_watched_keeps_its_place_for_its_time_and_a_trade_takes_it() -> None:
    rig = Rig.make(FOUR)
    near(rig, 1, 49000.0)
    watch = make(rig, most=1)
    watch.look(0.0)
    near(rig, 2, 50005.0)
    watch.look(4.9)
    assert watched(watch) == [1], "there is a nearer one by now"
    watch.look(5.0)
    assert watched(watch) == [2]
    open_position(rig, 0)
    watch.look(6.5)
    assert watched(watch) == [0]


def test_a_symbol_without_a_quote_comes_last_and_a_trade_of_an_unknown_one_not_at_all() -> None:
    rig = Rig.make(SYMBOLS[:3])
    near(rig, 1, 50000.0)
    near(rig, 2, 50000.0)
    rig.machine.table.symbols["bid"][1] = float("nan")
    open_position(rig, 0)
    trades = rig.decision.desk.trades
    trades[SymbolName("GONEUSDT")] = trades[SymbolName(SYMBOLS[0])]
    watch = make(rig, most=2)
    watch.look(0.0)
    assert list(watch.watched) == [0, 2]


@pytest.mark.parametrize(("rooms", "shares"), [((2, 1), [2, 1]), ((0, 4), [0, 4]), ((1, 1), [1, 1]), ((0, 0), [0, 0])])
def test_sockets_take_what_they_have_room_for(rooms: tuple[int, int], shares: list[int]) -> None:
    rig = Rig.make(FOUR)
    for symbol in range(4):
        near(rig, symbol, 50000.0)
    lines = [Line.make(number, 1024 - 20 - room) for number, room in enumerate(rooms)]
    watch = make(rig, *lines, spare=20)
    watch.look(0.0)
    assert [len(line.asked[-1]) if line.asked else 0 for line in lines] == shares


def test_nothing_is_watched_where_nothing_may_be_or_there_is_no_socket() -> None:
    rig = Rig.make()
    near(rig, 0, 50000.0)
    line = Line.make(0)
    none = make(rig, line, most=0)
    none.look(0.0)
    assert line.asked == []
    nowhere = DepthWatch(decision=rig.decision, table=rig.machine.table, lines=[], most=5, spare=0)
    nowhere.look(0.0)
    assert nowhere.watched == {}
