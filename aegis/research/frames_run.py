"""One replay of bare frames: the engine's tasks, a simulated exchange in this process, and the task that feeds both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import trio

from aegis.config import Config, duration_ms
from aegis.core.secret import Secret
from aegis.engine.build import Market, build_machine
from aegis.engine.execution import Execution
from aegis.engine.inputs import NoTap
from aegis.engine.journal import Journal
from aegis.engine.learn import choose, learn_market, prepare_symbol
from aegis.engine.machine import Channel, Machine
from aegis.engine.observe import Observer
from aegis.engine.reconcile import Reconciler
from aegis.engine.service import Service
from aegis.engine.summary import Summary, summarize
from aegis.exchange.books import Books
from aegis.exchange.frames import MARK_ARRAY_STREAM, Frames
from aegis.exchange.history import History
from aegis.exchange.ledger import Ledger
from aegis.exchange.ledger_view import fold_ledger
from aegis.exchange.recorded import RecordedSource, listing_from_frames
from aegis.exchange.security import AccountSetup
from aegis.exchange.simulator import Fees, Latency, Simulator
from aegis.kernels.layout import BAR
from aegis.kernels.wire import frame
from aegis.research.lines import Line, read_lines
from aegis.research.memory_venue import MemoryPort, Mover
from aegis.runtime.clock import VirtualClock
from aegis.runtime.cpu import InlineCpu
from aegis.runtime.metrics import Metrics
from aegis.venue.limits import Limits
from aegis.venue.rest import RestClient
from aegis.venue.signing import HmacSigner

__all__ = ["FramesRun"]

_NS_PER_MS = 1_000_000
_PROGRESS_NS = 60_000_000_000
_KEY, _SECRET = "replay" * 8, "secret" * 8
#: Time after the last frame in which orders under way are answered.
_TAIL_NS = 2_000_000_000


class FramesRun:
    """Built from the head of the data, which shows its symbols, precision and clock offset; `run` goes through all."""

    def __init__(
        self, config: Config, paths: Sequence[Path], head: Sequence[Line], *, warmup_bars: int, say: Callable[[str], None]
    ) -> None:
        raw = [line.raw for line in head]
        self.listings = listing_from_frames(raw)
        kinds = b"\n".join(line.payload for line in head)
        trades = "trade" if b'"e":"trade"' in kinds else "aggTrade"
        self._own_marks = b'"e":"markPriceUpdate"' not in kinds
        self._paths, self._say = paths, say
        self.source = RecordedSource((line.raw for line in read_lines(paths)), self.listings, trades=trades)
        self.start_ns = self.source.start_ns
        self.config = attrs.evolve(
            config,
            mode="sim",
            feed=attrs.evolve(config.feed, trade_source=trades),
            bars=config.bars.shortened(warmup_bars),
            universe=attrs.evolve(config.universe, include=tuple(row.symbol for row in self.listings)),
        )
        self.lines = 0
        self.unreadable = 0
        self._bytes = hashlib.sha256()

    async def run(self, clock: VirtualClock, journal: Journal) -> Summary:
        """The whole replay, on the data's clock."""
        self._clock = clock
        metrics = Metrics()
        self._ledger = Ledger()
        books = Books(self.listings, self.source, start_ns=self.start_ns)
        self._books, self._frames = books, Frames(self.listings)
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
            simulator.user_events = lambda _, payload: service.private(payload)
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
            await self._feed(machine)
            await self._finish(service, machine)
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
        channel = machine.channels[0]
        machine.connection(0, channel.inbox, self.start_ns)
        offset_ns, now_ns, told_ns = self.source.offset_ns, self.start_ns, self.start_ns
        for line in read_lines(self._paths):
            self.lines += 1
            self._bytes.update(line.payload)
            if line.recv_ns < 0:
                self.unreadable += 1
                continue
            now_ns = max(now_ns, line.recv_ns + offset_ns)
            await self._mover.until(now_ns)
            self._take(machine, line.payload, now_ns)
            if now_ns - told_ns >= _PROGRESS_NS:
                told_ns = now_ns
                self._say(f"{(now_ns - self.start_ns) / 1e9:,.0f} s of data, {self.lines:,} lines")
        await self._mover.until(now_ns + _TAIL_NS)

    def _take(self, machine: Machine, payload: bytes, now_ns: int) -> None:
        data = frame(payload)
        if self._own_marks:
            for _, mark in self._frames.encode(self._books.published(), {MARK_ARRAY_STREAM}):
                data = frame(mark) + data
        else:
            self._books.published()
        machine.channels[0].inbox.extend(data)
        machine.read(0, len(data), now_ns)

    async def _finish(self, service: Service, machine: Machine) -> None:
        """Close the last bars: no trade before the end of the last bar is still to come."""
        base_ns = duration_ms(self.config.bars.base) * _NS_PER_MS
        machine.end_of_data(base_ns // _NS_PER_MS)
        await self._mover.until(self._clock.venue_ns() + 10 * self.config.conflation.interval_ms * _NS_PER_MS)
        service.command("finish")
        await self._mover.until(self._clock.venue_ns() + _NS_PER_MS)

    def _summary(self, machine: Machine, observer: Observer) -> Summary:
        from aegis.kernels.market import counts

        seen = counts(machine.table)
        kinds = {
            "bookTicker": seen["quotes"],
            "aggTrade": seen["agg_trades"],
            "trade": seen["trades"],
            **{name: count for name, count in sorted(machine.other_messages.items())},
            "unreadable": self.unreadable,
        }
        summary = summarize(
            machine, observer, self._clock.venue_ns(),
            run={"mode": "replay", "files": [str(path) for path in self._paths], "seed": self.config.seed,
                 "data_seconds": round((self._clock.venue_ns() - self.start_ns) / 1e9, 3),
                 "warm_up": f"{self.config.bars.warmup_bars} bars (a recording brings no history)"},
            fill_model=f"simulated from recorded prices: latency lognormal, median "
            f"{self.config.exchange.latency_median_ms:g} ms; displayed size once; mark price smoothed from the mid"
            if self._own_marks else "simulated from recorded prices",
            synthetic=False,
            differences=None,
        )  # fmt: skip
        lines = {"total": self.lines, **{name: count for name, count in kinds.items() if count}}
        return attrs.evolve(summary, sections={"lines": lines, **summary.sections})
