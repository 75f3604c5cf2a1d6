"""The engine as a pure fold: one method an input, all synchronous, called in one total order.

Tasks bring inputs here, live or from a recording; nothing else changes the market table, the analysis or the decision.
Every method first shows its input to the tap, so a recording holds the inputs in exactly the order in which they were
taken, and replaying them gives the same decisions. No method reads a clock: `now_ns` is venue time, an argument.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from aegis.core.errors import InvariantBroken
from aegis.core.messages import Outcome
from aegis.engine.analysis import NO_EVENTS, Analysis, Job, Result, Seed, merge, no_rows, slices
from aegis.engine.channel import Channel, repeated
from aegis.engine.continuity import Continuity
from aegis.engine.decision import Decision
from aegis.engine.holes import Holes
from aegis.engine.inputs import (
    ConnectionChange,
    InputKind,
    Tap,
    encode_answer,
    encode_command,
    encode_connection,
    encode_fill,
    encode_outcome,
    encode_seed,
)  # fmt: skip
from aegis.engine.joining import Terms, encode_terms, take_terms
from aegis.kernels import levels, wire
from aegis.kernels import market as tables
from aegis.kernels.layout import HIT
from aegis.kernels.market import Table
from aegis.kernels.seeding import SeedCode, SeedResult
from aegis.kernels.state import Records
from aegis.venue import market_events as events
from aegis.venue import strict
from aegis.venue.decode import decode_user_event
from aegis.venue.inbox import Inbox, Message, Text

__all__ = ["Machine"]

_NS_PER_MS = 1_000_000


class Machine:
    """The whole synchronous engine.

    Args:
        carriers: for each symbol the channel of its quotes; it grows with the symbols.
        on_reseed: told the symbols whose history must be fetched (again); an effect, not an input.
        on_mend: told (symbol, first missing trade id) where trades must be fetched by id; None: none can be.
        mend_wait_ns: how long a symbol, and with it the bars of all, may wait for them.
        from_first_trade: bars begin with the bar of the connection, not with the first whole one: for recordings, which
            have nothing before it.
        on_hits: called when levels have fired; must lead to `decide_hits` before it returns.
    """

    def __init__(
        self,
        *,
        table: Table,
        analysis: Analysis,
        decision: Decision,
        channels: Sequence[Channel],
        carriers: list[int],
        tap: Tap,
        base_ms: int,
        lateness_ms: int,
        on_reseed: Callable[[Iterable[int]], None],
        on_mend: Callable[[Iterable[tuple[int, int]]], None] | None = None,
        mend_wait_ns: int = 0,
        from_first_trade: bool = False,
    ) -> None:
        self.table = table
        self.analysis = analysis
        self.decision = decision
        self.channels = tuple(channels)
        self._carriers = carriers
        self.tap = tap
        self.on_reseed = on_reseed
        self.holes = Holes(table, base_ms, mend_wait_ns)
        self.continuity = Continuity(
            table=table, channels=self.channels, holes=self.holes, on_mend=on_mend,
            go_live=self._go_live, on_cold=self._go_cold, warm=lambda symbol: bool(decision.contexts.warm[symbol]),
        )  # fmt: skip
        self.on_hits: Callable[[int], None] = self.decide_hits
        self.on_broken: Callable[[InvariantBroken], None] = self._raise
        self.on_contract: Callable[[], None] = lambda: None
        self._base_ms = base_ms
        self._from_first_trade = from_first_trade
        self._lateness_ms = lateness_ms
        self._batch = tables.batch_buffer(table)
        self._hits = np.zeros(len(table.hits), HIT)
        self._rows: list[Records] = []
        self._lives: list[tuple[int, int]] = []
        self._seeds: list[Seed] = []
        self._again: Job | None = None
        self._jobs = 0
        self._cold: dict[int, int] = {}  # symbol -> the first job whose history of it can make it warm again
        self._slices: dict[int, list[Records]] = {}
        self._watermark_ms = 0
        self.other_messages: Counter[str] = Counter()
        self.takeovers = 0
        self.overlapped = 0
        self.batches = 0
        self.rows = 0
        self.bars = 0

    # -- market bytes --------------------------------------------------------------------------------------------------
    def read(self, number: int, count: int, now_ns: int) -> list[Message | events.Control]:
        """The last `count` bytes of the channel's inbox are new. Returns what its socket must act upon.

        Raises Restartable where the bytes break the protocol: the connection must be dropped.
        """
        channel = self.channels[number]
        inbox = channel.inbox
        self.tap.record(InputKind.READ, now_ns, number, inbox.buffer.data[inbox.filled - count : inbox.filled])
        channel.recv_ns = now_ns
        if not channel.overlap:
            return self._scan(inbox, now_ns)
        before = repeated(self.table)
        answers = self._scan(inbox, now_ns)
        self.overlapped += repeated(self.table) - before
        channel.overlap = max(0, channel.overlap - count)
        return answers

    def _scan(self, inbox: Inbox, now_ns: int) -> list[Message | events.Control]:
        """All of a read, then its hits: they compete (see `engine/candidates.py`), whatever the read ends with."""
        answers: list[Message | events.Control] = []
        fired = False
        try:
            while (status := inbox.scan(self.table, now_ns)) != wire.NEED_MORE:
                if status == wire.HIT:
                    fired = True
                elif status == wire.HITS_FULL:
                    self.on_hits(now_ns)
                elif status == wire.ROWS_FULL:
                    self.take_batch()
                elif not self._depth(inbox, now_ns):
                    message = inbox.slow()
                    if isinstance(message, Text):
                        fired = self.strict(message.payload, now_ns, answers) or fired
                    elif message is not None:
                        answers.append(message)
        finally:
            if fired:
                self.on_hits(now_ns)
        return answers

    def _depth(self, inbox: Inbox, now_ns: int) -> bool:
        """Whether the frame that `scan` handed back was a partial depth message in the venue's own form: it is read."""
        whole = inbox.whole()
        if whole is None or not self.decision.contexts.depths.read(inbox.buffer, *whole, now_ns):
            return False
        self.other_messages[events.Depth.__name__] += 1
        return True

    def strict(self, payload: bytes, now_ns: int, answers: list[Message | events.Control] | None = None) -> bool:
        """A text that the compiled pass left to the strict decoder; ticks in it count as any other. True: hits wait.

        The venue's answers to control messages go to `answers`.
        """
        outcomes = strict.decode(payload, self.table, now_ns)
        if any(isinstance(outcome, events.Full) for outcome in outcomes):
            self.take_batch()
            self.on_hits(now_ns)
            outcomes = strict.decode(payload, self.table, now_ns)
        for outcome in outcomes:
            self.other_messages[type(outcome).__name__] += 1
            if isinstance(outcome, events.ContractInfo):
                self._contract(outcome, now_ns)
            elif isinstance(outcome, events.Depth) and outcome.partial:
                self.decision.contexts.depths.take(outcome, now_ns)
            elif isinstance(outcome, events.Control) and answers is not None:
                answers.append(outcome)
        return levels.pending_hits(self.table) > 0

    def _contract(self, contract: events.ContractInfo, now_ns: int) -> None:
        self.on_contract()
        try:
            self.decision.on_contract(contract.symbol, contract.status, now_ns)
        except InvariantBroken as error:  # the rest of the read is as good as ever
            self.on_broken(error)

    @staticmethod
    def _raise(error: InvariantBroken) -> None:
        raise error

    def decide_hits(self, now_ns: int) -> None:
        """Decide the levels that have fired at this instant."""
        while count := levels.take_hits(self.table, self._hits):
            self.decision.on_hits(self._hits[:count], self.analysis.front, now_ns)

    def connection(self, number: int, inbox: Inbox | None, now_ns: int) -> None:
        """A market socket is open, with its inbox, or lost (None): its symbols' levels sleep until it is back."""
        up = inbox is not None
        change = ConnectionChange.UP if up else ConnectionChange.DOWN
        self.tap.record_encoded(InputKind.CONNECTION, now_ns, number, encode_connection, change)
        channel = self.channels[number]
        channel.up = up
        channel.overlap = 0
        channel.recv_ns = now_ns
        if inbox is not None:
            channel.inbox = inbox
        self.continuity.changed(channel, now_ns)

    def take_over(self, number: int, inbox: Inbox, held: int, now_ns: int) -> None:
        """Another connection goes on with the channel's streams; the first `held` bytes of it overlap with the old one.

        Nothing sleeps and nothing turns cold: should a trade be missing between the two, its id will show it.
        """
        change = ConnectionChange.TAKEN_OVER
        self.tap.record_encoded(InputKind.CONNECTION, now_ns, number, encode_connection, change, held)
        channel = self.channels[number]
        channel.inbox, channel.overlap = inbox, held
        self.takeovers += 1

    def terms(self, terms: Terms, now_ns: int) -> None:
        """A symbol joins, or its rules have changed. What joins needs history, as all do at the start."""
        self.tap.record_encoded(InputKind.TERMS, now_ns, 0, encode_terms, terms)
        joined = take_terms(terms, self.table, self.decision, self.channels, self._carriers, now_ns)
        if joined is not None:
            self.continuity.join(joined, now_ns)

    def _go_live(self, symbols: Sequence[int], now_ns: int) -> None:
        """From the next base bar on the trades of these symbols are whole; history must bring what is before."""
        first = (now_ns // _NS_PER_MS // self._base_ms + (not self._from_first_trade)) * self._base_ms
        self._lives += [(symbol, first) for symbol in symbols]
        self._go_cold(symbols)
        self.on_reseed(symbols)

    def _go_cold(self, symbols: Sequence[int]) -> None:
        """Bars of these are broken. A job that runs now does not know of it yet, and must not make them warm again."""
        self._cold.update(dict.fromkeys(symbols, self._jobs + 1))
        self.decision.on_cold(symbols)

    # -- batches -------------------------------------------------------------------------------------------------------
    def boundary(self, now_ns: int) -> bool:
        """The conflation interval has passed: take the dirty rows. True where there is work for an analysis."""
        self.tap.record(InputKind.BOUNDARY, now_ns, 0, b"")
        self.take_batch()
        self.continuity.mend(now_ns)
        self.batches += 1
        return self.pending()

    def pending(self) -> bool:
        """There is something to analyse."""
        return bool(self._rows or self._lives or self._seeds or self._again)

    def take_batch(self) -> None:
        """The open batch becomes part of what waits for an analysis."""
        count = tables.take_batch(self.table, self._batch)
        if count:
            self._rows.append(self._batch[:count].copy())
            self.rows += count

    def fill(self, symbol: int, trades: Records | None, now_ns: int) -> None:
        """Trades that no socket brought, FILL rows from the first missing on; None: they are not to be had."""
        self.tap.record_encoded(InputKind.FILL, now_ns, 0, encode_fill, symbol, trades)
        rows = self.continuity.fill(symbol, trades, now_ns)
        if rows is not None:
            self._rows.append(rows)
            self.rows += len(rows)

    def seed(self, symbol: int, base: Records, higher: tuple[Records, ...], now_ns: int) -> None:
        """History of one symbol has arrived."""
        self.tap.record_encoded(InputKind.SEED, now_ns, 0, encode_seed, symbol, base, higher)
        self._seeds.append(Seed(symbol=symbol, base=base, higher=higher))

    def analyse(self, now_ns: int) -> Job:
        """Everything pending becomes the next job; bars that its watermark closes take no more trades."""
        self.tap.record(InputKind.ANALYSE, now_ns, 0, b"")
        # An event time in the future is a fault of the sender: it must not close bars whose trades are still to come.
        heard_ms = min(tables.trade_clock_ms(self.table), now_ns // _NS_PER_MS)
        self.continuity.mend(now_ns)
        if not self.holes.open:  # else no bar closes: trades of it may be on their way
            self._watermark_ms = max(heard_ms - self._lateness_ms, 0)
        watermark_ms = self._watermark_ms
        tables.close_before(self.table, watermark_ms // self._base_ms * self._base_ms)
        rows = self._rows[0] if len(self._rows) == 1 else np.concatenate(self._rows) if self._rows else no_rows()
        job = Job(rows=rows, watermark_ms=watermark_ms, lives=tuple(self._lives), seeds=tuple(self._seeds))
        if self._again is not None:
            job, self._again = merge(self._again, job), None
        self._rows, self._lives, self._seeds = [], [], []
        self._jobs += 1
        return job

    def result(self, result: Result | None, now_ns: int) -> None:
        """The worker's result takes effect here; None: it was given up, and its job will be part of the next one."""
        self.tap.record(InputKind.RESULT, now_ns, 0, b"\1" if result is not None else b"\0")
        if result is None:
            self._again = self.analysis.abandon()
            return
        self.analysis.accept()
        self._seeded(result.seeds)
        self.bars += len(result.bars)
        warmed = self.decision.on_bars(result.bars, self.analysis.front, self._cold)
        for symbol in warmed:  # what history has left standing wants to be armed too
            self._slices.setdefault(symbol, []).append(NO_EVENTS)
        for symbol, news in slices(result, self.decision.strategy):
            self._slices.setdefault(symbol, []).append(news)

    def _seeded(self, seeds: Iterable[tuple[int, SeedResult]]) -> None:
        failed = []
        for symbol, result in seeds:
            if result.code is not SeedCode.OK:
                failed.append(symbol)
            elif self._cold.get(symbol, 0) <= self._jobs:
                self._cold.pop(symbol, None)
        if failed:
            self.on_reseed(failed)

    def has_slices(self) -> bool:
        """Strategy work waits."""
        return bool(self._slices)

    def slice(self, now_ns: int) -> None:
        """One symbol's news go to the strategy: the unit in which the slow drainer gives way to urgent lanes.

        Where it comes late, what several results have brought is told in one call.
        """
        self.tap.record(InputKind.SLICE, now_ns, 0, b"")
        symbol = next(iter(self._slices))
        news = self._slices.pop(symbol)
        told = news[0] if len(news) == 1 else np.concatenate(news)
        self.decision.on_events(symbol, told, self.analysis.front, now_ns)
        self.decide_hits(now_ns)

    def end_of_data(self, bar_ms: int) -> None:
        """A recording is over: every bar that has begun may close."""
        self._lateness_ms = -bar_ms
        self._rows.append(no_rows())  # the next boundary has something to analyse, whether or not a row is left

    # -- the account ---------------------------------------------------------------------------------------------------
    def private(self, payload: bytes, now_ns: int) -> None:
        """One message of the private stream."""
        self.tap.record(InputKind.PRIVATE, now_ns, 0, payload)
        self.decision.on_user_event(decode_user_event(payload), now_ns)

    def outcome(self, outcome: Outcome, now_ns: int) -> None:
        """What became of a request."""
        self.tap.record_encoded(InputKind.OUTCOME, now_ns, 0, encode_outcome, outcome)
        self.decision.on_outcome(outcome, now_ns)

    def timer(self, now_ns: int) -> None:
        """Look at the deadlines."""
        self.tap.record(InputKind.TIMER, now_ns, 0, b"")
        self.decision.on_timer(now_ns)

    def command(self, name: str, now_ns: int) -> None:
        """An operator's (or the shell's) order: see `Decision.on_command`."""
        self.tap.record_encoded(InputKind.COMMAND, now_ns, 0, encode_command, name)
        self.decision.on_command(name, now_ns)

    def halt(self, reason: str, now_ns: int) -> None:
        """An invariant broke inside: the consequence of an input, so it is no input itself."""
        self.decision.halt(reason, now_ns)

    def answer(self, what: str, payload: bytes, now_ns: int) -> None:
        """What the venue said when it was asked, as JSON: see `Decision.on_answer`."""
        self.tap.record_encoded(InputKind.SNAPSHOT, now_ns, 0, encode_answer, what, payload)
        self.decision.on_answer(what, payload, now_ns)
