"""`python -m tests.peers --peer NAME=PYTHON ... --absent NAME=WHY ...`: every peer and ours, turn by turn, one table.

A figure is messages, or bars, a second of *CPU time* of the process that takes them: what one core carries, however
much of the machine others use. In each round every peer has its turn with our own work right behind it, so both meet
the same load.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import trio

from aegis.exchange.firehose import firehose_command, read_ready
from aegis.research.bench.table import Conditions, load
from aegis.research.signal_timings import walk
from aegis.surface.tables import columns
from tests.peers.capture import capture
from tests.peers.plan import PLANS, Feed, Plan

HERE = Path(__file__).parent
DEADLINE_S = 300
FILE_RATE = 100_000
BARS = 1_000_000
COLUMNS = ("open_time", "open", "high", "low", "close", "volume")
#: What must have been applied for a figure of ours to count.
LEAST_APPLIED = 0.999


class NotMeasured(Exception):
    """Why, in one line."""


@attrs.define
class Found:
    """The samples of one peer and of ours beside it, in messages or bars a second of CPU time."""

    plan: Plan
    theirs: list[float] = attrs.field(factory=list)
    ours: list[float] = attrs.field(factory=list)
    versions: dict[str, str] = attrs.field(factory=dict)
    why_not: str = ""

    @property
    def ratio(self) -> float:
        return statistics.median(self.ours) / statistics.median(self.theirs)

    def data(self) -> dict[str, Any]:
        """For `aegis bench --peers`, and what else there is to know."""
        return {
            "peer": self.plan.peer, "what": self.plan.what, "unit": self.plan.unit,
            "median": self.plan.figure(statistics.median(self.theirs)), "ours": self.plan.row,
            "per_cpu_s": self.theirs, "our_per_cpu_s": self.ours, "ratio": self.ratio,
            "target_ratio": self.plan.target, "versions": self.versions,
        }  # fmt: skip


def say(line: str) -> None:
    sys.stderr.write(line + "\n")


def run(command: Sequence[str], *, isolated: bool) -> dict[str, Any]:
    """What a measuring process printed. Raises NotMeasured."""
    # the variables that lead our own Python to our packages would lead the peer's there too
    own = {name: value for name, value in os.environ.items() if not (isolated and name.startswith("PYTHON"))}
    try:
        done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"did not end within {DEADLINE_S} s") from None
    except OSError as error:
        raise NotMeasured(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        told = done.stderr.strip().splitlines() or ["no message"]
        raise NotMeasured(f"ended with {done.returncode}: {told[-1]}")
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        raise NotMeasured("printed no result") from None
    return found


@contextlib.contextmanager
def feeder(rate: str) -> Iterator[str]:
    """A process that sends the market; gives the URL with the bookTicker streams of all its symbols."""
    with subprocess.Popen(firehose_command("--rate", rate), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise NotMeasured("the feeder did not start")
            ready = read_ready(line)
            streams = "/".join(f"{symbol.lower()}@bookTicker" for symbol in ready.symbols)
            yield f"{ready.url}/public/stream?streams={streams}"
        finally:
            process.kill()


def measure(
    plan: Plan, python: str, files: Mapping[Feed, Path], seconds: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One turn of a peer and one of ours. Raises NotMeasured for the peer, and fails where ours does."""
    theirs = (python, "-W", "ignore", "-B", str(HERE / plan.script))
    ours = (sys.executable, "-m", "tests.peers.ours", plan.task)
    found = []
    for command, isolated in ((theirs, True), (ours, False)):
        with feeder("max") if plan.feed is Feed.SOCKET else contextlib.nullcontext(str(files[plan.feed])) as source:
            try:
                found.append(run((*command, source, str(seconds)), isolated=isolated))
            except NotMeasured as error:
                if isolated:
                    raise
                sys.exit(f"peers: our own {plan.task} failed: {error}")
    if found[1]["applied"] < LEAST_APPLIED:
        sys.exit(f"peers: our own {plan.task} applied only {found[1]['applied']:.4%} of its ticks")
    return found[0], found[1]


def rounds(
    found: Sequence[Found], pythons: dict[str, str], files: Mapping[Feed, Path], count: int, seconds: float
) -> None:
    """Every peer its turn, `count` times over; one that fails is out."""
    for number in range(1, count + 1):
        for one in found:
            name = one.plan.peer
            if one.why_not:
                continue
            try:
                theirs, ours = measure(one.plan, pythons[name], files, seconds)
            except NotMeasured as error:
                one.why_not = str(error)
                continue
            one.versions = theirs["versions"]
            one.theirs.append(theirs["count"] / theirs["cpu_s"])
            one.ours.append(ours["count"] / ours["cpu_s"])
            say(f"round {number}/{count}: {name} {one.theirs[-1]:,.0f}, ours {one.ours[-1]:,.0f} a second")


def times(ratio: float) -> str:
    return f"{ratio:,.0f}x" if ratio >= 100 else f"{ratio:.3g}x"


def table(found: Sequence[Found]) -> str:
    rows = [
        {
            "peer": one.plan.peer,
            "what": one.plan.what,
            "theirs/s": statistics.median(one.theirs),
            "us_each": f"{1e6 / statistics.median(one.theirs):.2f}",
            "ours/s": statistics.median(one.ours),
            "ratio": times(one.ratio),
            "target": times(one.plan.target),
            "verdict": "met" if one.ratio >= one.plan.target else "MISSED",
        }
        for one in found
        if not one.why_not
    ]
    return columns(rows, empty="nothing was measured")


def conditions(found: Sequence[Found], load_before: float) -> str:
    now = Conditions.read(load_before)
    told = [f"{now.cpu}, {now.cores} cores, {now.system}, load {now.load_before} before, {now.load_after} after"]
    told.append("ours: " + ", ".join(f"{name} {version}" for name, version in now.versions.items()))
    told += [
        f"{one.plan.peer}: " + ", ".join(f"{name} {version}" for name, version in one.versions.items())
        for one in found
        if not one.why_not
    ]
    return "\n".join(told)


def pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or name not in {plan.peer for plan in PLANS}:
        raise argparse.ArgumentTypeError(f"not NAME=VALUE with a known peer: {text!r}")
    return name, value


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=__doc__)
    parser.add_argument("--peer", action="append", type=pair, default=[], metavar="NAME=PYTHON")
    parser.add_argument("--absent", action="append", type=pair, default=[], metavar="NAME=WHY")
    parser.add_argument("--only", action="append", choices=[plan.peer for plan in PLANS], help="May be given again.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="CPU time of one measurement.")
    parser.add_argument("--ticks", type=int, default=1_000_000, help="In the file for decoders and backtests.")
    parser.add_argument("--json", type=Path, default=Path("peers.json"), help="What `aegis bench --peers` reads.")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    load_before = load()
    pythons, absent = dict(given.peer), dict(given.absent)
    found = [Found(plan) for plan in PLANS if given.only is None or plan.peer in given.only]
    for one in found:
        if one.plan.peer not in pythons:
            one.why_not = absent.get(one.plan.peer, "no environment was given for it")
    with tempfile.TemporaryDirectory(prefix="aegis-peers-") as scratch:
        files = {Feed.FILE: Path(scratch) / "quotes", Feed.BARS: Path(scratch) / "bars.npy"}
        if any(one.plan.feed is Feed.FILE for one in found):
            with feeder(str(FILE_RATE)) as url:
                trio.run(capture, url, given.ticks, files[Feed.FILE])
        bars = walk(BARS)
        np.save(files[Feed.BARS], np.array([bars[name] for name in COLUMNS], np.float64))
        rounds(found, pythons, files, given.rounds, given.seconds)
    measured = [one for one in found if not one.why_not]
    given.json.write_text(json.dumps([one.data() for one in measured], indent=2) + "\n", encoding="utf-8")
    missing = "".join(f"{one.plan.peer}: not measured: {one.why_not}\n" for one in found if one.why_not)
    sys.stdout.write(f"{table(found)}\n{missing}\n{conditions(found, load_before)}\n\nrows in {given.json}\n")


if __name__ == "__main__":
    main()
