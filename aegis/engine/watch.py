"""Whose depth is wanted: symbols with a level, an order or a position, and for some seconds those that had one.

Depth is some 70 us of work a message, ten times a second a symbol, so it is had of the symbols for which it may soon
matter: those that trade first, then those whose level is nearest to the market. What is asked of a socket changes in
batches; see `MarketFeed.watch`. All of this is an effect: what the streams bring is the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import attrs
import numpy as np
import trio

from aegis.engine.decision import Decision
from aegis.engine.shards import VENUE_STREAMS, Shard
from aegis.kernels.market import Table

__all__ = ["DepthWatch"]

_EVERY_S = 0.5
#: A level that is drawn anew, or an entry that ends unfilled, is often followed by the next.
_HOLD_S = 5.0


class Line(Protocol):
    """A market socket that takes depth streams."""

    @property
    def shard(self) -> Shard: ...

    def watch(self, streams: tuple[str, ...]) -> None: ...


@attrs.define(kw_only=True, eq=False)
class DepthWatch:
    """The task. `lines` are the sockets of the public route, which keep room for the quotes of `spare` symbols more;
    `most` symbols are watched at a time.

    `watched`: the symbols, by index, and the place of each one's socket in `lines`.
    """

    decision: Decision
    table: Table
    lines: Sequence[Line]
    most: int
    spare: int
    watched: dict[int, int] = attrs.field(factory=dict, init=False)
    _until: dict[int, float] = attrs.field(factory=dict, init=False)
    _room: list[int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._room = [max(0, VENUE_STREAMS - self.spare - len(line.shard.streams)) for line in self.lines]

    async def run(self) -> None:
        while True:
            self.look(trio.current_time())
            await trio.sleep(_EVERY_S)

    def look(self, now_s: float) -> None:
        """Bring what is asked of the sockets up to what is wanted now."""
        wanted = self._wanted(now_s)
        before = dict(self.watched)
        for symbol in before.keys() - wanted.keys():
            del self.watched[symbol]
        for symbol in wanted:
            if symbol not in self.watched:
                self.watched[symbol] = self._roomiest()
        if self.watched == before:
            return
        specs = self.decision.specs
        for number, line in enumerate(self.lines):
            mine = sorted(symbol for symbol, at in self.watched.items() if at == number)
            line.watch(tuple(f"{specs[symbol].symbol.lower()}@depth20@100ms" for symbol in mine))

    def _wanted(self, now_s: float) -> dict[int, None]:
        """The first come first. One that is watched keeps its place until its time is over, or a trade needs it."""
        most, trading = min(self.most, sum(self._room)), list(self._trading())
        first = list(dict.fromkeys([*trading, *self._armed()]))[:most]
        until = {symbol: end_s for symbol, end_s in self._until.items() if end_s > now_s}
        wanted = dict.fromkeys(list(dict.fromkeys([*trading, *until, *first]))[:most])
        until |= dict.fromkeys(first, now_s + _HOLD_S)
        self._until = {symbol: until[symbol] for symbol in wanted}
        return wanted

    def _trading(self) -> Iterator[int]:
        """Symbols with an order or a position."""
        for name in self.decision.desk.trades:
            index = self.decision.contexts.index(name)
            if index is not None:
                yield index

    def _armed(self) -> list[int]:
        """The symbol of each level, the nearest to its price first."""
        setups = [armed.setup for armed in self.decision.setups.armed.values()]
        symbols = np.array([setup.symbol for setup in setups], np.int64)
        entries = np.array([setup.entry for setup in setups])
        distances = np.abs(entries / self.table.symbols["bid"][symbols] - 1.0)  # one that was never quoted comes last
        nearest: list[int] = symbols[np.argsort(distances, kind="stable")].tolist()
        return nearest

    def _roomiest(self) -> int:
        taken = list(self.watched.values())
        return max(range(len(self.lines)), key=lambda number: self._room[number] - taken.count(number))
