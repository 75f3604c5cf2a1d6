"""A recording of ours, input by input, into a fresh engine: no tasks, no clock, no venue, the same decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

import msgspec

from aegis import config as configs
from aegis.config import Config
from aegis.core.errors import InvariantBroken, Restartable
from aegis.core.messages import AlgoRequest, OrderRequest
from aegis.core.values import ClientId
from aegis.engine import journal_format
from aegis.engine.analysis import Analysis, Job
from aegis.engine.build import Market, build_machine
from aegis.engine.holes import FILL
from aegis.engine.inputs import (
    ConnectionChange,
    InputKind,
    NoTap,
    decode_command,
    decode_connection,
    decode_fill,
    decode_outcome,
    decode_seed,
)
from aegis.engine.joining import decode_terms
from aegis.engine.journal import Journal
from aegis.engine.machine import Machine
from aegis.engine.observe import Observer
from aegis.engine.summary import Summary, summarize
from aegis.kernels.state import Records
from aegis.research.recording import Input, RecordingError, read_header, read_recording
from aegis.research.tap import Start
from aegis.research.witness import Witness
from aegis.runtime.metrics import Metrics
from aegis.venue.inbox import Inbox

__all__ = ["compare", "replay_inputs"]

T = TypeVar("T")

_PROGRESS = 50_000
#: What `compare` looks at: what was seen and what was decided.
_COMPARED = ("decision", "plan", "intent", "trade")


def replay_inputs(
    directory: Path, journal_path: Path, *, say: Callable[[str], None], witness: Witness | None = None
) -> Summary:
    """Take every input of a recording. Raises RecordingError in one line where it is damaged."""
    header = read_header(directory)
    config = configs.loads(header.config_toml, f"{directory}: recorded config")
    inputs = read_recording(directory)
    first = next(inputs, None)
    if first is None or first.kind is not InputKind.SNAPSHOT:
        raise RecordingError(directory, 0, "the recording does not begin with its market")
    try:
        start = msgspec.json.decode(first.payload, type=Start)
    except msgspec.DecodeError as error:
        raise RecordingError(directory, 0, f"the recording's market: {error}") from None
    journal = Journal.create(
        journal_path, run=header.run, config_hash=configs.decision_hash(config), at_ns=first.now_ns
    )
    try:
        player = _Player(directory, config, start, header.run, first.now_ns, journal)
        if witness is not None:
            witness.begin(config, header.symbols)
            player.saw = player.machine.decision.seen = witness.saw
        for count, one in enumerate(inputs, start=1):
            player.take(one)
            if count % _PROGRESS == 0:
                say(f"{count:,} inputs, {(one.now_ns - first.now_ns) / 1e9:,.0f} s of data")
        return player.summary()
    finally:
        journal.close()


class _Player:
    """The machine, and the analysis job that is in flight between ANALYSE and RESULT."""

    def __init__(
        self, directory: Path, config: Config, start: Start, run: str, start_ns: int, journal: Journal
    ) -> None:
        self.directory = directory
        self.config, self.start_ns, self.now_ns, self.count = config, start_ns, start_ns, 0
        market: Market = start.market
        self.machine: Machine = build_machine(
            config, market, start.channels(),
            run=run, start_ns=start_ns, scribe=journal, tap=NoTap(),
            send=lambda approved: None, lane_full=lambda: False, on_reseed=lambda symbols: None,
            on_mend=lambda wanted: None, spare=config.universe.spare,
        )  # fmt: skip
        self.machine.on_hits = self._decide_hits
        self.saw: Callable[[Records], None] = lambda bars: None
        self._job: Job | None = None

    def take(self, one: Input) -> None:
        """One input, as the live run took it; a broken invariant halts here as it did there.

        Raises RecordingError for an input that no run can have taken.
        """
        self.now_ns = one.now_ns
        self.count += 1
        try:
            self._dispatch(one)
        except InvariantBroken as error:
            self.machine.halt(str(error), one.now_ns)
        except Restartable:
            return  # the run dropped that connection, as its next inputs tell

    def _check(self, one: Input, possible: bool, reason: str) -> None:
        if not possible:
            raise RecordingError(self.directory, 0, f"input {one.seq} ({one.kind.name}): {reason}")

    def _decoded(self, one: Input, decode: Callable[..., T], *args: object) -> T:
        try:
            return decode(one.payload, *args)
        except (ValueError, LookupError, EOFError, msgspec.MsgspecError) as error:
            raise RecordingError(self.directory, 0, f"input {one.seq} ({one.kind.name}): {error}") from None

    def _decide_hits(self, now_ns: int) -> None:
        try:
            self.machine.decide_hits(now_ns)
        except InvariantBroken as error:
            self.machine.halt(str(error), now_ns)

    def _dispatch(self, one: Input) -> None:
        machine, now_ns, payload = self.machine, one.now_ns, one.payload
        if one.kind in (InputKind.READ, InputKind.CONNECTION):
            self._check(one, one.channel < len(machine.channels), f"there is no socket {one.channel}")
        match one.kind:
            case InputKind.READ:
                machine.channels[one.channel].inbox.extend(payload)
                machine.read(one.channel, len(payload), now_ns)
            case InputKind.BOUNDARY:
                machine.boundary(now_ns)
            case InputKind.ANALYSE:
                self._job = machine.analyse(now_ns)
            case InputKind.RESULT:
                self._check(one, self._job is not None, "a result without its job")
                self._result(payload == b"\1", now_ns)
            case InputKind.PRIVATE:
                machine.private(payload, now_ns)
            case InputKind.OUTCOME:
                machine.outcome(self._decoded(one, decode_outcome, self._request_of), now_ns)
            case InputKind.TIMER:
                machine.timer(now_ns)
            case InputKind.SEED:
                symbol, base, higher = self._decoded(one, decode_seed)
                self._check(one, symbol < len(machine.decision.specs), f"there is no symbol {symbol}")
                machine.seed(symbol, base, higher, now_ns)
                self.saw(base)
            case InputKind.FILL:
                symbol, trades = self._decoded(one, decode_fill)
                self._check(one, symbol < len(machine.decision.specs), f"there is no symbol {symbol}")
                self._check(one, trades is None or trades.dtype == FILL, "no trades")
                machine.fill(symbol, trades, now_ns)
            case InputKind.CONNECTION:
                self._connection(one)
            case InputKind.COMMAND:
                machine.command(self._decoded(one, decode_command), now_ns)
            case InputKind.SNAPSHOT:
                self._decoded(one, self._answer)
            case InputKind.SLICE:
                self._check(one, machine.has_slices(), "there is nothing to slice")
                machine.slice(now_ns)
            case InputKind.TERMS:
                machine.terms(self._decoded(one, decode_terms), now_ns)
            case InputKind.HEADER | InputKind.END:
                return

    def _connection(self, one: Input) -> None:
        change, held = self._decoded(one, decode_connection)
        if change is ConnectionChange.TAKEN_OVER:
            self.machine.take_over(one.channel, Inbox(), held, one.now_ns)
        else:
            self.machine.connection(one.channel, Inbox() if change is ConnectionChange.UP else None, one.now_ns)

    def _result(self, done: bool, now_ns: int) -> None:
        job, self._job = self._job, None
        assert job is not None, "a result follows its job"
        spare, behind, job = self.machine.analysis.begin(job)
        self.machine.result(Analysis.compute(spare, behind, job) if done else None, now_ns)

    def _answer(self, payload: bytes) -> None:
        what, answer = msgspec.json.decode(payload, type=tuple[str, msgspec.Raw])
        self.machine.answer(what, bytes(answer), self.now_ns)

    def _request_of(self, cid: ClientId) -> OrderRequest | AlgoRequest:
        order = self.machine.decision.desk.store.get(cid)
        if order is None:
            raise InvariantBroken(f"the recording has an outcome of {cid}, which this replay never sent")
        return order.request

    def summary(self) -> Summary:
        observer = Observer(
            machine=self.machine, metrics=Metrics(), venue_ns=lambda: self.now_ns, run="replay", mode="replay",
            phase=lambda: "REPLAY", started_ns=self.start_ns,
        )  # fmt: skip
        return summarize(
            self.machine, observer, self.now_ns,
            run={"mode": "replay", "files": [str(self.directory)], "inputs": self.count,
                 "data_seconds": round((self.now_ns - self.start_ns) / 1e9, 3)},
            fill_model="the fills of the recorded run",
            synthetic=self.config.mode == "sim",
            differences=None,
        )  # fmt: skip


def compare(live: Path, replayed: Path) -> str:
    """The first difference between the signals and decisions of two journals, in words; "" where there is none."""
    for number, (one, other) in enumerate(zip_longest(_decisions(live), _decisions(replayed)), start=1):
        if one != other:
            return f"record {number}: live {_short(one)}, replay {_short(other)}"
    return ""


def _decisions(path: Path) -> Iterator[tuple[str, object]]:
    return ((record.kind, record.data) for record in journal_format.read(path) if record.kind in _COMPARED)


def _short(record: tuple[str, object] | None) -> str:
    return "nothing" if record is None else f"{record[0]} {msgspec.json.encode(record[1]).decode()[:300]}"
