"""The engine as a fold: the same inputs give the same journal, and what breaks a bar starts its symbol over."""

from __future__ import annotations

import random
from collections import Counter, deque
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.config import decision_hash, dump
from aegis.core.errors import InvariantBroken, Restartable
from aegis.core.messages import Accepted, CancelRequest, Refused, Unknown
from aegis.core.risk import TradingState
from aegis.engine import journal_format
from aegis.engine.analysis import Analysis, Job
from aegis.engine.holes import FILL
from aegis.engine.inputs import InputKind
from aegis.engine.journal import Journal
from aegis.kernels.market import counts
from aegis.kernels.state import state_bytes
from aegis.kernels.wire import frame
from aegis.research.recording import RecordingHeader
from aegis.research.replay_inputs import compare, replay_inputs
from aegis.research.tap import RecordingTap, Start
from aegis.runtime.metrics import Metrics
from aegis.venue.inbox import Ping
from tests.support.engine_rig import (
    MS,
    NAMES,
    SECOND,
    START_MS,
    START_NS,
    Rig,
    contract,
    history,
    make_channels,
    make_config,
    make_market,
    make_rig,
    make_terms,
    marks,
    quote,
    silent_rig,
    trade,
)


class Street:
    """Prices of two symbols, later three, on a seeded walk, with everything that can happen between two ticks."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig, self.random = rig, random.Random(seed)
        self.price = [float(history(i, rig.now_ns // MS, 2600)["close"][-1]) for i in range(2)]
        self.ids = [100, 100]
        self.pending: Job | None = None
        self.recent: deque[bytes] = deque(maxlen=40)
        self.answered = 0

    def tick(self) -> None:
        rig, ms = self.rig, self.rig.now_ns // MS
        quotes = b""
        for i in range(len(self.price)):
            self.price[i] += self.random.choice((-24.0, -6.0, 0.0, 6.0, 24.0))
            self.ids[i] += 1 if self.random.random() > 0.001 else 3  # now and then a trade is lost
            quotes += quote(ms, self.ids[i], self.price[i] - 0.1, self.price[i] + 0.1, i)
            self.recent.append(trade(ms, self.ids[i], self.price[i], symbol=i) + marks(ms, i, self.price[i]))
            rig.read(1, self.recent[-1])
        rig.read(0, quotes)

    def analyse(self) -> None:
        machine, now_ns = self.rig.machine, self.rig.now_ns
        if self.pending is not None and self.random.random() < 0.7:
            done = self.random.random() < 0.9
            result = Analysis.compute(*machine.analysis.begin(self.pending))
            machine.result(result if done else None, now_ns)
            self.pending = None
        if machine.boundary(now_ns) and self.pending is None:
            self.pending = machine.analyse(now_ns)
        while machine.has_slices() and self.random.random() < 0.9:
            machine.slice(now_ns)

    def answer(self) -> None:
        """The venue's word on what was sent, in any of its three ways."""
        while self.answered < len(self.rig.sent):
            request = self.rig.sent[self.answered]
            self.answered += 1
            outcome = self.random.choice((
                Accepted(request=request, venue_id=2**60 + self.answered),
                Refused(request=request, code=-2021, message="would trigger"),
                Unknown(request=request, reason="timeout"),
            ))  # fmt: skip
            self.rig.machine.outcome(outcome, self.rig.now_ns)

    def refill(self) -> None:
        """History for what asked for it, once a whole bar has begun."""
        if self.rig.wanted and self.rig.now_ns // MS % 1000 < 100:
            for symbol in set(self.rig.wanted):
                self.rig.seed(symbol)
            self.rig.wanted.clear()

    def join(self) -> None:
        """A third symbol is listed."""
        self.rig.machine.terms(make_terms(NAMES[2]), self.rig.now_ns)
        self.price.append(float(history(2, self.rig.now_ns // MS, 2600)["close"][-1]))
        self.ids.append(100)

    def mend(self) -> None:
        """Missing trades are fetched, sooner or later, or not to be had."""
        while self.rig.missed and self.random.random() < 0.3:
            symbol, first = self.rig.missed.pop()
            rows = [(n, self.rig.now_ns // MS, self.price[symbol], 250, 0) for n in range(first, self.ids[symbol] + 1)]
            self.rig.machine.fill(symbol, np.array(rows, FILL) if self.random.random() < 0.8 else None, self.rig.now_ns)

    def walk(self, steps: int) -> None:
        rig = self.rig
        for step in range(steps):
            rig.now_ns += 50 * MS
            self.tick()
            if step % 2:
                self.analyse()
                self.refill()
            self.answer()
            if step % 20 == 0:
                rig.machine.timer(rig.now_ns)
            if step % 97 == 96:  # the next connection was there a while before the old one is left
                rig.rotate(1, *self.recent)
            self.mend()
            if step % 301 == 300:
                rig.machine.connection(1, None, rig.now_ns)
                rig.up(1)


@pytest.mark.parametrize("seed", [3, 8])
def test_the_recorded_inputs_give_the_same_journal_again(tmp_path: Path, seed: int) -> None:
    config = make_config()
    journals = [tmp_path / "live.journal", tmp_path / "again.journal"]
    live = Journal.create(journals[0], run="1", config_hash=decision_hash(config), at_ns=START_NS)
    header = RecordingHeader(run="1", symbols=NAMES[:2], config_toml=dump(config))
    start = Start.of(make_market(NAMES[:2]), make_channels(2))
    with RecordingTap(tmp_path / "tape", header, Metrics(), start, START_NS) as tap:
        rig = make_rig(config, names=NAMES[:2], scribe=live, tap=tap, mending=True, spare=1)
        rig.machine.answer("account", b'{"wallet":"10000"}', rig.now_ns)
        rig.warm((0, 1))
        street = Street(rig, seed)
        street.walk(500)
        street.join()
        street.walk(1000)
        rig.machine.command("finish", rig.now_ns)
    live.close()
    holes = rig.machine.holes
    assert min(holes.filled, holes.given_up, rig.machine.takeovers) > 0
    kinds = Counter(record.kind for record in journal_format.read(journals[0]))
    assert kinds["decision"] >= 5, kinds  # or the test would say nothing
    assert kinds["intent"] >= 1, kinds
    late = [record.data["symbol"] for record in journal_format.read(journals[0]) if record.kind == "decision"]
    assert NAMES[2] in late, "what has joined trades like the others"
    for path in journals[1:]:
        replay_inputs(tmp_path / "tape", path, say=lambda line: None)
        assert compare(journals[0], path) == ""
        assert journal_format.digest(path) == journal_format.digest(journals[0])


def test_levels_sleep_until_quotes_and_trades_are_both_back() -> None:
    rig = make_rig()
    rig.warm((0,))
    table = rig.machine.table
    assert not table.symbols["suspended"].any()
    rig.machine.connection(0, None, rig.now_ns)
    rig.machine.connection(1, None, rig.now_ns)
    assert table.symbols["suspended"].all()
    rig.up(1)
    assert table.symbols["suspended"].all(), "no quotes yet"
    rig.up(0)
    assert not table.symbols["suspended"].any()
    assert (table.symbols["gap"] == 7).all(), "the first tick of each source comes after a gap"


def test_a_hole_starts_its_symbol_over_and_no_signal_comes_from_it() -> None:
    rig = make_rig()
    rig.warm((0, 1))
    assert rig.machine.decision.contexts.warm[:2].all()
    rig.wanted.clear()
    ms = rig.now_ns // MS
    rig.read(1, trade(ms, 100, 5000.0) + trade(ms, 100, 5000.0, symbol=1))
    rig.analyse()
    assert rig.wanted == []
    rig.read(1, trade(ms + 1, 103, 5001.0) + trade(ms + 1, 101, 5001.0, symbol=1))  # 101 and 102 are missing
    rig.analyse()
    assert rig.wanted == [0]
    assert rig.machine.decision.contexts.warm[:2].tolist() == [False, True]
    assert counts(rig.machine.table)["missed_ids"] == 2
    # nothing of it is warm before its history has come, however many bars pass
    for n in range(30):
        rig.now_ns += 200 * MS
        ms = rig.now_ns // MS
        rig.read(1, trade(ms, 104 + n, 5000.0 + n) + marks(ms))
        rig.analyse()
        assert not rig.machine.decision.contexts.warm[0]
    rig.seed(0)
    rig.analyse()
    assert rig.machine.decision.contexts.warm[0]


def test_the_hole_of_a_cut_is_filled_once_and_a_later_one_again() -> None:
    rig = make_rig()
    rig.warm((0,))
    ms = rig.now_ns // MS
    rig.read(1, trade(ms, 100, 5000.0))
    rig.analyse()
    rig.machine.connection(1, None, rig.now_ns)
    rig.wanted.clear()
    rig.up(1)
    assert rig.wanted == [0, 1, 2]
    rig.now_ns += 2 * SECOND
    rig.seed(0)
    rig.read(1, trade(rig.now_ns // MS, 150, 5000.0))  # 101 to 149 went by while the socket was down
    rig.wanted.clear()
    rig.analyse()
    assert rig.wanted == []
    assert rig.machine.decision.contexts.warm[0]
    rig.read(1, trade(rig.now_ns // MS, 152, 5000.0))
    rig.analyse()
    assert rig.wanted == [0]


def test_a_trade_of_a_closed_bar_is_counted_late_and_changes_nothing() -> None:
    rig = make_rig()
    rig.warm((0,))
    start = rig.now_ns // MS // 1000 * 1000 + 1000
    rig.now_ns = (start + 100) * MS
    rig.read(1, trade(start + 100, 1, 5000.0) + trade(start + 900, 2, 5010.0))
    rig.analyse()
    rig.now_ns = (start + 1500) * MS
    rig.read(1, trade(start + 1500, 3, 5020.0))
    rig.analyse()
    state = rig.machine.analysis.front
    ring = state.bars[0, 0]
    bar = ring[ring["open_time"] == start].copy()
    assert bar["high"][0] == 5010.0
    assert bar["volume"][0] == 500
    before = rig.machine.bars
    rig.read(1, trade(start + 950, 4, 9999.0))
    rig.now_ns += 100 * MS
    rig.analyse()
    ring = rig.machine.analysis.front.bars[0, 0]
    assert (ring[ring["open_time"] == start] == bar).all()
    assert counts(rig.machine.table)["late_trades"] == 1
    assert rig.machine.bars == before


def test_an_event_time_in_the_future_closes_no_bar_of_the_present() -> None:
    rig = make_rig()
    rig.warm((0,))
    ms = rig.now_ns // MS
    rig.read(1, marks(ms + 3_600_000))
    rig.read(1, trade(ms + 1, 1, 5000.0))
    rig.analyse()
    assert counts(rig.machine.table)["late_trades"] == 0


@given(seed=st.integers(0, 2**16), gone=st.lists(st.booleans(), min_size=1, max_size=30))
@settings(max_examples=6)
def test_abandoned_jobs_lose_nothing_and_both_copies_stay_equal(seed: int, gone: list[bool]) -> None:
    """One engine's jobs are given up at will, the other's never: they come to the same state."""
    shaky, steady = silent_rig(names=NAMES[:2]), silent_rig(names=NAMES[:2])
    for rig in (shaky, steady):
        rig.warm((0, 1))
    rng = random.Random(seed)
    number = [10, 10]
    for lost in [*gone, False]:
        at_ns = shaky.now_ns + 400 * MS
        frames = b""
        for symbol in range(2):
            number[symbol] += 1
            frames += trade(at_ns // MS, number[symbol], 5000.0 + rng.randrange(-50, 50), symbol=symbol)
        for rig in (shaky, steady):
            rig.now_ns = at_ns
            rig.read(1, frames)
        steady.analyse()
        assert shaky.machine.boundary(at_ns)
        job = shaky.machine.analyse(at_ns)
        if lost:
            spare, behind, again = shaky.machine.analysis.begin(job)
            Analysis.compute(spare, behind, again)  # the thread runs on, on what nobody looks at any more
            shaky.machine.result(None, at_ns)
            assert shaky.machine.pending()
        else:
            shaky.result(job)
    assert state_bytes(shaky.machine.analysis.front) == state_bytes(steady.machine.analysis.front)
    for rig in (shaky, steady):  # the spare, once it has caught up, is the front
        analysis = rig.machine.analysis
        front = state_bytes(analysis.front)
        empty = Job(rows=np.zeros(0, rig.machine._batch.dtype), watermark_ms=0)
        Analysis.compute(*analysis.begin(empty))
        analysis.accept()
        assert state_bytes(analysis.front) == front


def test_only_one_job_is_in_flight_and_only_what_runs_can_end() -> None:
    rig = make_rig()
    rig.up(0, 1)
    rig.machine.boundary(rig.now_ns)
    job = rig.machine.analyse(rig.now_ns)
    rig.machine.analysis.begin(job)
    with pytest.raises(AssertionError, match="one analysis in flight"):
        rig.machine.analysis.begin(job)
    rig.machine.analysis.accept()
    with pytest.raises(AssertionError, match="no analysis in flight"):
        rig.machine.analysis.accept()
    with pytest.raises(AssertionError, match="no analysis in flight"):
        rig.machine.analysis.abandon()


def test_refused_history_is_asked_for_again() -> None:
    rig = make_rig()
    rig.warm((0,))
    rig.wanted.clear()
    bars = history(1, rig.now_ns // MS, 2600)
    rig.machine.seed(1, np.delete(bars, 2000), (bars[:0],), rig.now_ns)
    rig.analyse()
    assert rig.wanted == [1]
    assert not rig.machine.decision.contexts.warm[1]


def test_pings_are_handed_back_and_broken_frames_end_the_connection() -> None:
    rig = make_rig()
    rig.up(0, 1)
    assert rig.read(0, b"\x89\x03abc" + quote(START_MS, 1, 4999.0, 5001.0)) == [Ping(payload=b"abc")]
    assert rig.machine.table.symbols["bid"][0] == 4999.0
    with pytest.raises(Restartable):
        rig.read(0, b"\xf3\x03abc")


def test_a_contract_that_settles_is_noted_and_a_journal_that_fails_halts_without_losing_the_read() -> None:
    rig = make_rig()
    rig.up(0, 1)
    rig.machine.command("activate test", rig.now_ns)
    rig.read(1, contract(START_MS, "SETTLING"))
    assert rig.notes.of("state")[-1] == {"symbol": "BTCUSDT", "status": "SETTLING"}
    assert rig.machine.decision.contexts.statuses == {"BTCUSDT": "SETTLING"}
    rig.notes.broken = "disk full"
    halted: list[str] = []

    def broken(error: InvariantBroken) -> None:
        halted.append(str(error))
        rig.machine.halt(str(error), rig.now_ns)

    rig.machine.on_broken = broken
    rig.read(1, contract(START_MS, "TRADING") + trade(START_MS, 1, 5000.0))
    assert halted == ["disk full"]
    assert rig.machine.decision.gate.state is TradingState.HALTED
    assert rig.machine.table.symbols["last_id"][0] == 1, "what came behind it was read"


def test_slow_texts_that_do_not_fit_are_taken_after_room_is_made() -> None:
    """Text in fragments goes to the strict decoder, whose ticks need rows too."""
    rig = silent_rig()
    rig.up(0, 1)
    rows = len(rig.machine.table.rows)
    ms = START_MS
    for n in range(rows):  # one row a bar: the batch is full
        rig.read(1, trade(ms + 1000 * n, n + 1, 5000.0))
    whole = trade(ms + 1000 * rows, rows + 1, 5005.0)
    body = whole[4:] if whole[1] == 126 else whole[2:]
    half = len(body) // 2
    first = bytes([0x01]) + frame(body[:half])[1:]
    rest = bytes([0x80]) + frame(body[half:])[1:]
    rig.read(1, first + rest)
    assert rig.machine.table.symbols["last"][0] == 5005.0
    rig.machine.boundary(rig.now_ns)
    assert rig.machine.rows == rows + 1


def test_every_input_is_on_the_tape_in_the_order_taken() -> None:
    rig = make_rig()
    rig.warm((0,))
    rig.machine.private(b'{"e":"listenKeyExpired","E":1,"listenKey":"x"}', rig.now_ns)
    rig.machine.timer(rig.now_ns)
    kinds = [kind for kind, *_ in rig.tape.inputs]
    assert kinds[:3] == [InputKind.CONNECTION, InputKind.CONNECTION, InputKind.COMMAND]
    assert kinds[-2:] == [InputKind.PRIVATE, InputKind.TIMER]
    assert kinds.count(InputKind.ANALYSE) == kinds.count(InputKind.RESULT) == 2
    assert [now for _, now, _, _ in rig.tape.inputs] == sorted(now for _, now, _, _ in rig.tape.inputs)


def test_a_cancel_is_told_from_the_order_it_cancels() -> None:
    """Outcomes name the order alone; the kind of request is kept beside it."""
    request = CancelRequest(cid="1-1", symbol="BTCUSDT")  # type: ignore[arg-type]
    rig = make_rig()
    rig.machine.outcome(Accepted(request=request, venue_id=1), rig.now_ns)
    assert rig.tape.inputs[-1][3] == b'["1-1",true,"accepted",1]'
    assert rig.machine.decision.desk.strangers == 1
    assert Decimal(rig.machine.decision.portfolio.wallet) == 0
