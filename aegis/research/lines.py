"""Bare recordings: lines of `<receive time, ns> <frame as received>`, plain or gzip, one file after another."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from aegis.core.errors import ConfigError

__all__ = ["FrameLines", "Line", "read_lines"]

_GZIP = b"\x1f\x8b"
#: Two of these fit into the engine's inbox; a depth snapshot of 1,000 levels takes a tenth.
LONGEST = 1 << 18
#: A receive time further than this from the one before it is taken for damage: every 100 ms of a gap are lived through.
FAR_NS = 6 * 3_600_000_000_000
#: Lines that show what a recording holds.
HEAD = 20_000
_MOST = Decimal(10) ** 15
#: Event types that are counted by name; others together, because a name in damaged data may be anything.
_EVENTS = frozenset({"bookTicker", "trade", "aggTrade", "depthUpdate", "markPriceUpdate", "forceOrder", "contractInfo"})


class Line(NamedTuple):
    """`recv_ns` -1: the line has no such form."""

    recv_ns: int
    payload: bytes
    raw: bytes


def read_lines(paths: Sequence[Path]) -> Iterator[Line]:
    """Every line of every file. Raises ConfigError with the file and the line where reading fails."""
    for path in paths:
        number = 0
        try:
            with path.open("rb") as plain:
                packed = plain.read(2) == _GZIP
                plain.seek(0)
                source: IO[bytes] = gzip.GzipFile(fileobj=plain) if packed else plain  # type: ignore[assignment]
                while raw := source.readline(LONGEST):
                    number += 1
                    yield _line(raw) if _whole(raw, source) else Line(recv_ns=-1, payload=b"", raw=raw)
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(f"{path}: line {number + 1}: {reason}") from None
        if not number:
            raise ConfigError(f"{path}: empty")


def _whole(raw: bytes, source: IO[bytes]) -> bool:
    """Whether this is all of a line; the rest of a line that is too long is skipped, so that it is one line still."""
    if len(raw) < LONGEST or raw.endswith(b"\n"):
        return True
    while (rest := source.readline(LONGEST)) and not rest.endswith(b"\n"):
        pass
    return False


def _line(raw: bytes) -> Line:
    stamp, space, payload = raw.strip().partition(b" ")
    good = bool(space) and stamp.isdigit() and len(stamp) <= 19
    return Line(recv_ns=int(stamp) if good else -1, payload=payload, raw=raw)


class _Event(msgspec.Struct):
    e: str = ""
    s: str = ""
    q: str = ""
    X: str = "MARKET"


class _Frame(_Event):
    data: _Event | list[_Event] | None = None


_decode = msgspec.json.Decoder(_Frame | list[_Event]).decode


class FrameLines:
    """One pass over recordings, which takes its own account of them: the engine's figures are held against it.

    Iterating gives the lines with a usable receive time, and counts the others.

    Attributes:
        head: the first lines, good or not, read at once: they show the symbols, their precision and the clock offset.
        counts: every line read so far, by event type, or why it has none; the sum is the number of lines.
        traded: quantity of the market's trades by (event type, symbol), as far as read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read the head. Raises ConfigError, also where no line there has the form of a recording."""
        self._lines = read_lines(paths)
        self.head = list(islice(self._lines, HEAD))
        stamps = [line.recv_ns for line in self.head if line.recv_ns >= 0]
        if not stamps:
            raise ConfigError(f"{paths[0]}: line 1: not `<receive time, ns> <frame>`")
        # The first time that the next one bears out, so that one damaged line cannot rule out all others.
        self._last_ns = next((one for one, other in pairwise(stamps) if abs(one - other) <= FAR_NS), stamps[0])
        self.counts: Counter[str] = Counter()
        self.traded: dict[tuple[str, str], Decimal] = {}
        self._sha = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Over every line read so far, whatever the compression and the line ends."""
        return self._sha.hexdigest()

    def __iter__(self) -> Iterator[Line]:
        for line in chain(self.head, self._lines):
            self._sha.update(line.raw.strip() + b"\n")
            if line.recv_ns < 0:
                self.counts["unreadable"] += 1
            elif abs(line.recv_ns - self._last_ns) > FAR_NS:
                self.counts["time_far_off"] += 1
            else:
                self._last_ns = line.recv_ns
                self.counts[self._count(line.payload)] += 1
                yield line

    def _count(self, payload: bytes) -> str:
        try:
            frame = _decode(payload)
        except msgspec.ValidationError:
            return "wrong_types"
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return "malformed"
        inner = frame.data or frame if isinstance(frame, _Frame) else frame
        events = inner if isinstance(inner, list) else [inner]
        for event in events:
            self._add(event)
        name = events[0].e if events else ""
        return name if name in _EVENTS else "other_event" if name else "no_event"

    def _add(self, event: _Event) -> None:
        if event.e in ("trade", "aggTrade") and event.X == "MARKET":
            try:
                quantity = Decimal(event.q)
            except InvalidOperation:
                return
            if quantity.is_finite() and 0 < quantity < _MOST:
                key = (event.e, event.s)
                self.traded[key] = self.traded.get(key, Decimal(0)) + quantity
