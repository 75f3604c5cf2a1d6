"""Rows of a bench: a figure beside its target, whether it may be believed, and what it was measured on.

A group is a module with `measure(bench: Bench) -> Iterator[Row]`, listed in `__init__.py`. It yields each row as
soon as it is known, outside Trio; it starts a Trio run of its own where it needs one.
"""

from __future__ import annotations

import enum
import math
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import attrs
import msgspec

from aegis import __version__
from aegis.core.errors import ConfigError

__all__ = [
    "FULL",
    "QUICK",
    "Bench",
    "Better",
    "Conditions",
    "Effort",
    "PeerRow",
    "Report",
    "Row",
    "Verdict",
    "invalid",
    "load",
    "median_row",
    "read_peers",
]

Better = Literal["more", "less"]


class Verdict(enum.Enum):
    """What a row says. INVALID: the figure means nothing, because a condition of its measurement did not hold."""

    MET = "met"
    MISSED = "MISSED"
    SHOWN = "shown"
    INVALID = "INVALID"


@attrs.frozen(kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        name: what was measured; unique over all groups, peers refer to it.
        target: the promised figure; None for a row that only informs.
        figure: the median of `samples`; None only where `invalid`.
        unit: of target, figure and samples.
        better: which way is good.
        note: how it was measured where that is not the rule (shorter window, payload, journal mode).
        invalid: why the figure must not be believed; empty where it may.
        detail: further figures of the same measurement by name, unit in the name.
    """

    group: str
    name: str
    target: float | None = None
    figure: float | None = None
    unit: str
    better: Better = "more"
    note: str = ""
    samples: tuple[float, ...] = ()
    invalid: str = ""
    detail: Mapping[str, float | int | str] = attrs.field(factory=dict)

    @property
    def ratio(self) -> float | None:
        """How many times as good as promised, 1 being the promise; None without a target or a figure."""
        if self.target is None or self.figure is None:
            return None
        good, bad = (self.figure, self.target) if self.better == "more" else (self.target, self.figure)
        if good == bad:  # both may be 0
            return 1.0
        return good / bad if bad > 0 else math.inf

    @property
    def verdict(self) -> Verdict:
        if self.invalid or self.figure is None:
            return Verdict.INVALID
        if self.target is None:
            return Verdict.SHOWN
        reached = self.figure >= self.target if self.better == "more" else self.figure <= self.target
        return Verdict.MET if reached else Verdict.MISSED


def median_row(group: str, name: str, samples: Sequence[float], **rest: Any) -> Row:
    """A row whose figure is the median of `samples`; `rest` are the other fields of `Row`.

    No samples at all makes it invalid, unless `rest` says why already.
    """
    if not samples:
        return Row(group=group, name=name, **{"invalid": "nothing was measured", **rest})
    return Row(group=group, name=name, figure=statistics.median(samples), samples=tuple(samples), **rest)


def invalid(group: str, name: str, reason: str, unit: str = "") -> Row:
    """A row that could not be measured, and why."""
    return Row(group=group, name=name, unit=unit, invalid=" ".join(reason.split()) or "no reason given")


@attrs.frozen(kw_only=True)
class Effort:
    """How much is measured.

    Attributes:
        repeats: samples of which the median is taken.
        scale: of amounts and of seconds; 1 is what the targets speak of.
    """

    repeats: int
    scale: float

    def amount(self, full: int, least: int = 1) -> int:
        """A number of things, of which `full` is the whole measure."""
        return max(least, round(full * self.scale))

    def seconds(self, full: float, least: float = 0.2) -> float:
        """A length of time, of which `full` is the whole measure."""
        return max(least, full * self.scale)


FULL = Effort(repeats=5, scale=1.0)
QUICK = Effort(repeats=1, scale=0.2)


@attrs.frozen(kw_only=True)
class Bench:
    """What a group is given: how much to measure, where to tell its progress, and a recording if there is one."""

    effort: Effort = FULL
    say: Callable[[str], None] = lambda _: None
    file: Path | None = None

    def repeat(self, what: str, once: Callable[[], float]) -> tuple[float, ...]:
        """`once()` as often as the effort asks for, with progress."""
        found: list[float] = []
        for number in range(1, self.effort.repeats + 1):
            found.append(once())
            self.say(f"{what} {number}/{self.effort.repeats}: {found[-1]:,.4g}")
        return tuple(found)


@attrs.frozen(kw_only=True)
class Conditions:
    """What a bench ran on; the load averages are of one minute."""

    cpu: str
    cores: int
    system: str
    versions: Mapping[str, str]
    load_before: float
    load_after: float

    @classmethod
    def read(cls, load_before: float) -> Conditions:
        """Of this machine, now; `load_before` was `load()` at the start."""
        return cls(
            cpu=_cpu(),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            system=f"{platform.system()} {platform.release()}",
            versions={"aegis": __version__, "python": platform.python_version()}
            | {name: _version(name) for name in ("numpy", "numba", "trio", "msgspec")},
            load_before=load_before,
            load_after=load(),
        )


def load() -> float:
    """The load average of the last minute."""
    return round(os.getloadavg()[0], 2)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


@attrs.frozen(kw_only=True)
class PeerRow:
    """What another package reached in the same session; `ours` names the row of ours that does the same work."""

    peer: str
    what: str
    unit: str
    median: float
    ours: str


def read_peers(path: Path) -> tuple[PeerRow, ...]:
    """The peers' rows that `nox -s peers` has written; fields beyond those of `PeerRow` are left alone.

    Raises:
        ConfigError: the file cannot be read, or is none of these.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=list[dict[str, Any]])
        return tuple(msgspec.convert({k: one[k] for k in _PEER_FIELDS}, PeerRow) for one in found)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    except KeyError as error:
        raise ConfigError(f"{path}: a peer's row lacks {error}") from None


_PEER_FIELDS = tuple(field.name for field in attrs.fields(PeerRow))


@attrs.frozen(kw_only=True)
class Report:
    """All rows of one call of `aegis bench`."""

    conditions: Conditions
    rows: tuple[Row, ...]
    peers: tuple[PeerRow, ...] = ()

    @property
    def ok(self) -> bool:
        """Everything could be measured; a missed target is a fact, not an error."""
        return all(row.verdict is not Verdict.INVALID for row in self.rows)

    def data(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "conditions": attrs.asdict(self.conditions),
            "rows": [attrs.asdict(row) | {"ratio": row.ratio, "verdict": row.verdict.value} for row in self.rows],
            "peers": [attrs.asdict(peer) | {"ratio": self.against(peer)} for peer in self.peers],
        }

    def encode(self) -> bytes:
        """`data()` as JSON; NaN and infinity, which JSON has not, become null."""
        return msgspec.json.format(msgspec.json.encode(self.data()), indent=2) + b"\n"

    def against(self, peer: PeerRow) -> float | None:
        """How many times as good as the peer our row is; None where there is no such row, or not in its unit."""
        ours = next((row for row in self.rows if row.name == peer.ours), None)
        if ours is None or ours.verdict is Verdict.INVALID or ours.unit != peer.unit or not peer.median:
            return None
        return attrs.evolve(ours, target=peer.median).ratio
