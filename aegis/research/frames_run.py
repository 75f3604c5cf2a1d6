"""One replay of bare frames: the engine's tasks, a simulated exchange in this process, and the task that feeds both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import tee
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import trio

from aegis.config import Config
from aegis.core.errors import ConfigError
from aegis.core.filters import plain
from aegis.core.secret import Secret
from aegis.engine.build import Market, build_machine
from aegis.engine.channel import Channel
from aegis.engine.execution import Execution
from aegis.engine.inputs import NoTap
from aegis.engine.journal import Journal
from aegis.engine.learn import choose, learn_market, prepare_symbol
from aegis.engine.line_feed import LineFeed
from aegis.engine.machine import Machine
from aegis.engine.observe import Observer
from aegis.engine.reconcile import Reconciler
from aegis.engine.service import Service
from aegis.engine.summary import Summary, summarize
from aegis.exchange.books import Books
from aegis.exchange.frames import Encoder
from aegis.exchange.history import History
from aegis.exchange.ledger import Ledger
from aegis.exchange.ledger_view import fold_ledger
from aegis.exchange.lines import FrameLines
from aegis.exchange.listing import Listing
from aegis.exchange.recorded import RecordedSource, listing_from_frames
from aegis.exchange.security import AccountSetup
from aegis.exchange.simulator import Fees, Latency, Simulator
from aegis.kernels.layout import BAR
from aegis.kernels.lines import Chunk
from aegis.kernels.market import Table, symbol_index
from aegis.research.ledger import compare_ledger
from aegis.research.memory_venue import MemoryPort, Mover
from aegis.research.witness import Witness
from aegis.runtime.clock import VirtualClock
from aegis.runtime.cpu import InlineCpu
from aegis.runtime.metrics import Metrics
from aegis.venue.limits import Limits
from aegis.venue.rest import RestClient
from aegis.venue.signing import HmacSigner

__all__ = ["FramesRun"]

_NS_PER_MS = 1_000_000
_NS_PER_SECOND = 1_000_000_000
_PROGRESS_NS = 60_000_000_000
_KEY, _SECRET = "replay" * 8, "secret" * 8
#: Time after the last frame in which orders under way are answered.
_TAIL_NS = 2_000_000_000
_AGREE_NS = 100_000_000
_AGREE_TRIES = 50
#: Longer than any recording.
_FOREVER_S = 1e9
_MOST_VOLUMES = 5


class FramesRun:
    """Built from the head of the data, which shows its symbols, precision and clock offset; `run` goes through all."""

    def __init__(
        self,
        config: Config,
        paths: Sequence[Path],
        *,
        warmup_bars: int,
        say: Callable[[str], None],
        witness: Witness | None = None,
    ) -> None:
        """Raises ConfigError where the files cannot be read or hold no market."""
        self._input = FrameLines(paths)
        kinds = b"\n".join(self._input.head)
        trades = "trade" if b'"e":"trade"' in kinds else "aggTrade"
        self._own_marks = b'"e":"markPriceUpdate"' not in kinds
        self._paths, self._say, self._trades, self._witness = paths, say, trades, witness
        self._chunks, ahead = tee(self._input)  # the exchange reads no more than a chunk ahead of the engine
        try:
            self.listings = listing_from_frames(self._input.head)
            self.source = RecordedSource(ahead, self._input.head, self.listings, trades=trades)
        except ConfigError as error:
            raise ConfigError(f"{paths[0]}: {error}") from None
        self.start_ns = self.source.start_ns
        self.config = attrs.evolve(
            config,
            mode="sim",
            feed=attrs.evolve(config.feed, trade_source=trades),
            bars=config.bars.shortened(warmup_bars),
            universe=attrs.evolve(config.universe, include=tuple(row.symbol for row in self.listings)),
        )
        self._second = 0
        self._differences: tuple[str, ...] = ()

    async def run(self, clock: VirtualClock, journal: Journal) -> Summary:
        """The whole replay, on the data's clock."""
        self._clock = clock
        metrics = Metrics()
        self._ledger = Ledger()
        books = Books(self.listings, self.source, start_ns=self.start_ns, mute=True)
        self._books, self._encoder = books, Encoder(self.listings)
        simulator = self._simulator(books)
        self._mover = Mover(simulator, clock.venue_ns)
        signer = HmacSigner(Secret(_KEY), Secret(_SECRET))
        rest = RestClient(MemoryPort(self._mover, clock.venue_ns), signer, clock.venue_ns, Limits())
        async with trio.open_nursery() as nursery:
            # Until the data flows, the exchange's own latencies are all that moves the clock.
            choices = await choose(rest, self.config.universe, self.start_ns // _NS_PER_MS)
            market = await learn_market(rest, choices, self.config, self.start_ns)
            service, execution = self._engine(market, rest, journal, metrics, clock)
            machine = service.machine
            if self._witness is not None:
                self._witness.begin(self.config, [spec.symbol for spec in market.specs])
                machine.decision.seen = self._witness.saw
            simulator.user_events = lambda _, payload: service.private_now(payload)
            reconciler = Reconciler(rest, machine, clock.venue_ns, lambda: True, service.answer)
            machine.decision.ask = reconciler.ask
            await nursery.start(service.run)
            nursery.start_soon(execution.run)
            configs = {row.symbol: row for row in await rest.symbol_configs()}
            for spec in market.specs:
                await prepare_symbol(rest, spec.symbol, self.config.risk.leverage, configs)
            await reconciler.start()
            nursery.start_soon(reconciler.run)
            service.command("activate recorded data")
            observer = Observer(
                machine=machine, metrics=metrics, venue_ns=clock.venue_ns, run="replay", mode="replay",
                phase=lambda: "REPLAY", started_ns=self.start_ns,
            )  # fmt: skip
            with clock.driven():
                await self._feed(machine)
            await self._mover.until(clock.venue_ns() + _TAIL_NS)
            await self._finish(service, machine)
            self._differences = await self._agree(machine)
            told = {"sha256": self._input.sha256, "lines": self._input.counts.total()}
            journal.append("input", told, clock.venue_ns())
            nursery.cancel_scope.cancel(reason="the data is over")
        return self._summary(machine, observer)

    # -- parts ---------------------------------------------------------------------------------------------------------
    def _simulator(self, books: Books) -> Simulator:
        told = self.config.exchange
        account = AccountSetup(id="replay", api_key=_KEY, secret=_SECRET, wallet=Decimal(str(told.wallet)))
        return Simulator(
            books,
            History(self.listings, None, self.start_ns // _NS_PER_MS),
            self.listings,
            accounts=[account],
            fees=Fees(maker=Decimal(str(told.maker_fee_bps)) / 10_000, taker=Decimal(str(told.taker_fee_bps)) / 10_000),
            latency=Latency(median_ms=told.latency_median_ms, p99_ms=told.latency_p99_ms),
            ledger=self._ledger,
            seed=self.config.seed,
            weight_limit=told.weight_limit,
        )

    def _engine(
        self, market: Market, rest: RestClient, journal: Journal, metrics: Metrics, clock: VirtualClock
    ) -> tuple[Service, Execution]:
        every = tuple(range(len(market.specs)))
        late: list[Any] = []
        no_bars = np.zeros(0, BAR)

        def reseed(symbols: Iterable[int]) -> None:
            for symbol in symbols:  # there is no history: bars start here
                late[0].seed(symbol, no_bars, (no_bars,) * (len(self.config.bars.timeframes_ms) - 1))

        machine = build_machine(
            self.config, market, [Channel(number=0, symbols=every, quotes=True, trades=True)],
            run="1", start_ns=self.start_ns, scribe=journal, tap=NoTap(),
            send=lambda approved: late[1].send(approved), lane_full=lambda: late[1].full(), on_reseed=reseed,
            from_first_trade=True,
        )  # fmt: skip
        service = Service(
            machine, clock, InlineCpu(metrics), metrics,
            interval_ms=self.config.conflation.interval_ms,
            analysis_latency_ms=self.config.conflation.analysis_latency_ms, fatal=lambda reason: self._say(reason),
        )  # fmt: skip
        execution = Execution(rest=rest, socket=None, deliver=service.outcome)
        late += [service, execution]
        return service, execution

    # -- the data ------------------------------------------------------------------------------------------------------
    async def _feed(self, machine: Machine) -> None:
        """Every line at its own time: the exchange first, which fills against it, then the engine, which sees it."""
        machine.connection(0, machine.channels[0].inbox, self.start_ns)
        symbols = np.array([_index_of(machine.table, one) for one in self.listings], np.int32)
        feed = LineFeed(machine, 0, symbols, self._clock_to)
        told_ns = now_ns = self.start_ns
        for number, chunk in enumerate(self._chunks, start=1):
            while self.source.chunks_read < number:
                self.source.read()
            self._input.count(chunk, self.listings)
            if len(chunk.lines):
                await self._through(machine, feed, chunk)
                now_ns = int(chunk.lines["now_ns"][-1])
                self._mover.simulator.advance(now_ns)  # it keeps no more than one chunk of prices
            if now_ns - told_ns >= _PROGRESS_NS:
                told_ns = now_ns
                self._say(f"{(now_ns - self.start_ns) / 1e9:,.0f} s of data, {self._input.counts.total():,} lines")
        self._clock_to(now_ns)

    async def _through(self, machine: Machine, feed: LineFeed, chunk: Chunk) -> None:
        """Lines before anything else can happen go to the engine at one go; the one at which it can, by itself."""
        times = chunk.lines["now_ns"]
        number, last_ns = 0, int(times[-1])
        while number < len(times):
            until_ns = self._horizon_ns(last_ns + 1)
            before = number
            number = feed.take(chunk, number, until_ns)
            if number > before:
                self._clock_to(int(times[number - 1]))
            if number < len(times) and (number == before or int(times[number]) >= until_ns):
                now_ns = int(times[number])
                await self._reach(now_ns)
                self._second_to(machine, now_ns)
                number = feed.take(chunk, number, now_ns + 1, most=1)

    def _clock_to(self, now_ns: int) -> None:
        gap_ns = now_ns - self._clock.venue_ns()
        if gap_ns > 0:
            self._clock.jump(gap_ns / 1e9)

    def _wake_ns(self) -> int:
        """When somebody's deadline is next; 0 where somebody can run now."""
        wait_s = min(self._clock.next_wake_s(), _FOREVER_S)
        return self._clock.venue_ns() + round(wait_s * 1e9) if wait_s > 0 else 0

    def _horizon_ns(self, end_ns: int) -> int:
        """The time before which no task wakes, nothing is due at the exchange and none of its orders is touched."""
        due_ns = self._mover.simulator.next_ns()
        first = min(end_ns, self._wake_ns(), (self._second + 1) * _NS_PER_SECOND, end_ns if due_ns is None else due_ns)
        touch_ns = self._books.next_touch_ns(first) if first > 0 else None
        return first if touch_ns is None else min(first, touch_ns)

    async def _reach(self, target_ns: int) -> None:
        """Let time pass until `target_ns`, and everybody act whose time comes before it.

        The clock jumps from one such time to the next. What is due is known only while no task can run: hence the wait
        for all of them after each.
        """
        simulator = self._mover.simulator
        while True:
            wake_ns, due_ns = self._wake_ns(), simulator.next_ns()
            if wake_ns > 0 and due_ns is not None and due_ns <= min(target_ns, wake_ns):
                self._clock_to(due_ns)
                simulator.advance(due_ns)
            elif 0 < wake_ns <= target_ns:
                self._clock.jump(self._clock.next_wake_s())
            elif wake_ns > 0:
                break
            await self._clock.settle()
        self._clock_to(target_ns)
        if self._books.watching:
            simulator.advance(target_ns)

    def _second_to(self, machine: Machine, now_ns: int) -> None:
        """Once a second the engine hears the mark prices that the exchange has made up where the data holds none."""
        if now_ns // _NS_PER_SECOND == self._second:
            return
        self._second = now_ns // _NS_PER_SECOND
        self._mover.simulator.advance(now_ns)
        records = self._books.published()
        if self._own_marks:
            data = b"".join(map(bytes, self._encoder.mark_arrays(records, slow=False, wrapped=False)))
            machine.channels[0].inbox.extend(data)
            machine.read(0, len(data), now_ns)

    async def _finish(self, service: Service, machine: Machine) -> None:
        """Close the last bars: no trade before the end of the last bar is still to come."""
        base_ns = self.config.bars.timeframes_ms[0] * _NS_PER_MS
        machine.end_of_data(base_ns // _NS_PER_MS)
        await self._mover.until(self._clock.venue_ns() + 10 * self.config.conflation.interval_ms * _NS_PER_MS)
        service.command("finish")
        await self._mover.until(self._clock.venue_ns() + _NS_PER_MS)

    async def _agree(self, machine: Machine) -> tuple[str, ...]:
        """Compare with the exchange's ledger until what is under way has arrived, or the time for that is over."""
        found: tuple[str, ...] = ()
        for _ in range(_AGREE_TRIES):
            found = compare_ledger(machine, fold_ledger(self._ledger.entries).only)
            if not found:
                break
            await self._mover.until(self._clock.venue_ns() + _AGREE_NS)
        return found

    def _volumes(self, machine: Machine) -> dict[str, str]:
        """Volume of all closed bars beside the sum of the market's trades as the lines say, which no bar has seen."""
        told, equal, traded = {}, 0, self._input.traded
        for index, spec in enumerate(machine.decision.specs):
            bars = Decimal(int(machine.decision.bar_lots[index])).scaleb(-spec.qty_decimals)
            trades = traded.get((self._trades, spec.symbol), Decimal(0))
            equal += bars == trades
            told[str(spec.symbol)] = f"bars {plain(bars)}, trades {plain(trades)}"
        shown = dict(list(told.items())[:_MOST_VOLUMES])
        return {**shown, "bars_equal_trades": f"{equal}/{len(told)} symbols"}

    def _summary(self, machine: Machine, observer: Observer) -> Summary:
        told = self.config.exchange
        summary = summarize(
            machine, observer, self._clock.venue_ns(),
            run={"mode": "replay", "files": [str(path) for path in self._paths], "seed": self.config.seed,
                 "data_seconds": round((self._clock.venue_ns() - self.start_ns) / 1e9, 3),
                 "warm_up": f"{self.config.bars.warmup_bars} bars (a recording brings no history)"},
            fill_model=f"simulated from recorded prices: latency lognormal, median {told.latency_median_ms:g} ms, "
            f"p99 {told.latency_p99_ms:g} ms each way; displayed size once; maker {told.maker_fee_bps:g} bp, "
            f"taker {told.taker_fee_bps:g} bp" + ("; mark price smoothed from the mid" if self._own_marks else ""),
            synthetic=False,
            differences=self._differences,
        )  # fmt: skip
        lines = {"total": self._input.counts.total(), **dict(self._input.counts.most_common())}
        return attrs.evolve(summary, sections={"lines": lines, "volume": self._volumes(machine), **summary.sections})


def _index_of(table: Table, listing: Listing) -> int:
    """The table's index of a listing whose lots are the table's; -1: there is none."""
    index = symbol_index(table, listing.symbol)
    return index if index >= 0 and table.symbols["qty_decimals"][index] == listing.qty_decimals else -1
