"""Which symbols' trades are whole: what a cut, a new socket and a missing trade id mean for levels and bars.

A symbol that misses trades sleeps: its levels are not watched, and no bar closes. The trades are fetched by id, or the
symbol starts over from the venue's history. Synchronous; `Machine` is its only caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs

from aegis.engine.channel import Channel
from aegis.engine.holes import MOST_TRADES, Holes
from aegis.kernels import market as tables
from aegis.kernels.market import Table
from aegis.kernels.state import Records

__all__ = ["Continuity"]


@attrs.define(kw_only=True, eq=False)
class Continuity:
    """Attributes:
    on_mend: told (symbol, first missing trade id) where trades must be fetched by id; None: none can be.
    go_live: told the symbols whose bars start over with the next base bar.
    on_cold: told the symbols whose bars are broken, and start over when their socket is back.
    warm: whether a symbol has whole bars.
    """

    table: Table
    channels: Sequence[Channel]
    holes: Holes
    on_mend: Callable[[Iterable[tuple[int, int]]], None] | None
    go_live: Callable[[Sequence[int], int], None]
    on_cold: Callable[[Sequence[int]], None]
    warm: Callable[[int], bool]
    _cut: dict[int, int] = attrs.field(factory=dict, init=False)

    def changed(self, channel: Channel, now_ns: int) -> None:
        """The channel's socket is open anew, or lost."""
        unwatch = tables.mark_gap if channel.up else tables.suspend
        for symbol in channel.symbols:
            unwatch(self.table, symbol)
        if channel.trades:
            self.mend(now_ns)  # what is known until here is no part of the cut
            if channel.up:
                self._trades_are_back(channel, now_ns)
            else:
                self._trades_are_cut(channel, now_ns)
        if channel.up:
            self._resume(channel.symbols)

    def join(self, symbol: int, now_ns: int) -> None:
        """One more symbol is on its channels: it begins as all do when their sockets come up, or when they do."""
        tables.suspend(self.table, symbol)
        if any(channel.trades and channel.up and symbol in channel.symbols for channel in self.channels):
            self.go_live([symbol], now_ns)
        self._resume([symbol])

    def mend(self, now_ns: int) -> None:
        """Trades that were missed make bars wrong: they are fetched, or such a symbol starts over from history."""
        again = self.holes.overdue(now_ns)
        found, exact = self.holes.seen()
        wanted = []
        for symbol, (first, last) in found.items():
            if first == self._cut.pop(symbol, -1):
                continue
            hole = self.holes.open.get(symbol)
            small = exact and last - first < MOST_TRADES
            if hole is not None and hole.last < 0 and hole.first == first and small:
                self.holes.open[symbol] = attrs.evolve(hole, last=last)
            elif hole is None and small and self._mendable(symbol):
                tables.suspend(self.table, symbol)
                self.holes.begin(symbol, first, last, now_ns)
                wanted.append((symbol, first))
            else:
                self.holes.give_up(symbol)
                again.append(symbol)
        if wanted and self.on_mend is not None:
            self.on_mend(wanted)
        if again:
            self._start_over(again, now_ns)

    def fill(self, symbol: int, trades: Records | None, now_ns: int) -> Records | None:
        """FILL rows from the first missing trade on, or None. Returns ROW rows for the bars if they fill the hole."""
        self.mend(now_ns)  # trades since the last boundary may say where the hole ends
        if symbol not in self.holes.open:
            return None  # given up meanwhile
        rows = self.holes.fill(symbol, trades)
        if rows is None:
            self._start_over([symbol], now_ns)
        else:
            self._resume([symbol])
        return rows

    def _trades_are_cut(self, channel: Channel, now_ns: int) -> None:
        """From here on the trades of these symbols are missing; no bar closes before it is settled who misses some."""
        for symbol in channel.symbols:
            if symbol in self.holes.open:
                self.holes.give_up(symbol)  # two cuts: it starts over when the socket is back
            elif self._mendable(symbol):
                self.holes.begin(symbol, int(self.table.symbols["last_id"][symbol]) + 1, -1, now_ns)

    def _trades_are_back(self, channel: Channel, now_ns: int) -> None:
        mending = [(symbol, self.holes.open[symbol].first) for symbol in channel.symbols if symbol in self.holes.open]
        others = [symbol for symbol in channel.symbols if symbol not in self.holes.open]
        if mending and self.on_mend is not None:
            self.on_mend(mending)
        # Their bars start over anyhow: the hole that the cut has left, up to the first trade to come, is known.
        self._cut.update((symbol, int(self.table.symbols["last_id"][symbol]) + 1) for symbol in others)
        if others:
            self.go_live(others, now_ns)

    def _mendable(self, symbol: int) -> bool:
        """The symbol has whole bars that its missing trades would complete, and they can be fetched."""
        return self.on_mend is not None and self.table.symbols["last_id"][symbol] >= 0 and self.warm(symbol)

    def _resume(self, symbols: Iterable[int]) -> None:
        """Levels are watched again where quotes and trades both come, and none are missing."""
        down = {symbol for other in self.channels if not other.up for symbol in other.symbols}
        for symbol in symbols:
            if symbol not in down and symbol not in self.holes.open:
                tables.resume(self.table, symbol)

    def _start_over(self, symbols: Sequence[int], now_ns: int) -> None:
        """From the venue's history; where the socket of the trades is down, when it is back."""
        heard = {symbol for channel in self.channels if channel.trades and channel.up for symbol in channel.symbols}
        for symbol in symbols:
            tables.mark_gap(self.table, symbol)
        self._resume(symbols)
        self.on_cold([symbol for symbol in symbols if symbol not in heard])
        self.go_live([symbol for symbol in symbols if symbol in heard], now_ns)
