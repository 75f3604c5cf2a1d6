"""Bare recordings: lines of `<receive time, ns> <frame as received>`, plain or gzip, one file after another."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from itertools import chain, pairwise
from pathlib import Path
from typing import IO

import msgspec
import numpy as np
import numpy.typing as npt

from aegis.core.errors import ConfigError
from aegis.exchange.listing import Listing
from aegis.kernels import lines as kernels
from aegis.kernels.lines import LINE, Chunk

__all__ = ["FrameLines", "chunk_of", "read_chunks"]

_GZIP = b"\x1f\x8b"
#: A depth snapshot of 1,000 levels takes a tenth of this.
LONGEST = 1 << 18
#: Read at a time: thousands of lines, and small enough to stay in a processor's cache.
BLOCK = 1 << 20
#: A receive time further than this from the one before it is taken for damage: every 100 ms of a gap are lived through.
FAR_NS = 6 * 3_600_000_000_000
#: Lines that show what a recording holds.
HEAD = 20_000
_MOST = Decimal(10) ** 15
#: Event types that are counted by name; others together, because a name in damaged data may be anything.
_EVENTS = frozenset({"bookTicker", "trade", "aggTrade", "depthUpdate", "markPriceUpdate", "forceOrder", "contractInfo"})
_KINDS = {
    kernels.BOOK_TICKER_LINE: "bookTicker", kernels.TRADE_LINE: "trade", kernels.AGG_TRADE_LINE: "aggTrade",
    kernels.MARK_LINE: "markPriceUpdate", kernels.DEPTH_LINE: "depthUpdate",
}  # fmt: skip

Bytes = npt.NDArray[np.uint8]


# -- reading -----------------------------------------------------------------------------------------------------------
def read_chunks(paths: Sequence[Path]) -> Iterator[Chunk]:
    """Every line of every file. Raises ConfigError with the file and the line where reading fails."""
    for path in paths:
        number = 0
        try:
            with path.open("rb") as plain:
                packed = plain.read(2) == _GZIP
                plain.seek(0)
                source: IO[bytes] = gzip.GzipFile(fileobj=plain) if packed else plain  # type: ignore[assignment]
                for chunk in _chunks(source):
                    number += len(chunk.lines)
                    yield chunk
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(f"{path}: line {number + 1}: {reason}") from None
        if not number:
            raise ConfigError(f"{path}: empty")


def _chunks(source: IO[bytes]) -> Iterator[Chunk]:
    """Blocks cut behind their last line end. What could be read before an error is given before it is raised."""
    rest = np.zeros(0, np.uint8)
    room = np.empty(2 * BLOCK, np.int64)
    passing = False  # the rest of a line that is longer than a block
    error: Exception | None = None
    ended = False
    while not ended:
        block = np.empty(len(rest) + BLOCK, np.uint8)
        block[: len(rest)] = rest
        filled, error = _fill(source, block, len(rest))
        ended = filled < len(block)
        ends = room[: kernels.find_ends(block, filled, room)]
        start = 0
        if passing and len(ends):
            start, ends, passing = int(ends[0]) + 1, ends[1:], False
        behind = int(ends[-1]) + 1 if len(ends) else start
        if passing:
            behind = filled
        elif ended and error is None and behind < filled:
            ends, behind = np.append(ends, filled), filled
        elif not ended and filled - behind > BLOCK // 2:
            ends, behind, passing = np.append(ends, filled), filled, True
        if len(ends):
            yield _split(block, ends, start)
        rest = block[behind:filled]
    if error is not None:
        raise error


def _fill(source: IO[bytes], block: Bytes, filled: int) -> tuple[int, Exception | None]:
    """Read until the block is full or the source ends: (bytes held, what broke)."""
    view = memoryview(block)  # type: ignore[arg-type]
    try:
        while filled < len(block):
            count = source.readinto1(view[filled:])  # type: ignore[attr-defined]
            if not count:
                break
            filled += count
    except (OSError, EOFError, zlib.error) as error:
        return filled, error
    return filled, None


def _split(data: Bytes, ends: npt.NDArray[np.int64], start: int) -> Chunk:
    lines = np.empty(len(ends), LINE)
    regular = bool(kernels.split(data, ends, start, LONGEST, lines))
    whole = regular and ends[-1] < len(data) and data[ends[-1]] == 10
    return Chunk(data, lines, (start, int(ends[-1]) + 1) if whole else None)


def chunk_of(lines: Sequence[bytes]) -> Chunk:
    """Lines that are at hand, as one chunk; none of them holds a line end."""
    data = np.frombuffer(b"\n".join(lines) + b"\n", np.uint8).copy()
    return _split(data, np.flatnonzero(data == 10), 0)


# -- the account -------------------------------------------------------------------------------------------------------
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

    Iterating gives the lines with a usable receive time, and counts the others. Whoever has had them read by
    `kernels.recorded.read_lines` gives them to `count`.

    Attributes:
        head: the first usable lines: they show the symbols, their precision and the clock offset.
        counts: every line read so far, by event type, or why it has none; the sum is the number of lines.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read the head. Raises ConfigError, also where no line there has the form of a recording."""
        self._chunks = read_chunks(paths)
        self._first: list[Chunk] = []
        texts: list[bytes] = []
        stamps: list[int] = []
        left = HEAD
        while left > 0 and (chunk := next(self._chunks, None)) is not None:
            self._first.append(chunk)
            first = chunk._replace(lines=chunk.lines[:left])
            left -= len(first.lines)
            usable = first._replace(lines=first.lines[first.lines["recv_ns"] >= 0])
            texts += _raw(usable)
            stamps += usable.lines["recv_ns"].tolist()
        if not stamps:
            raise ConfigError(f"{paths[0]}: line 1: not `<receive time, ns> <frame>`")
        # The first time that the next one bears out, so that one damaged line cannot rule out all others.
        self._last_ns = next((one for one, other in pairwise(stamps) if abs(one - other) <= FAR_NS), stamps[0])
        self.head: list[bytes] = []
        last_ns = self._last_ns
        for text, stamp in zip(texts, stamps, strict=True):
            if abs(stamp - last_ns) <= FAR_NS:
                self.head.append(text)
                last_ns = stamp
        self.counts: Counter[str] = Counter()
        self._listings: Sequence[Listing] = ()
        self._lots = np.zeros((kernels.LINE_KINDS, 0, 2), np.int64)
        self._odd: dict[tuple[str, str], Decimal] = {}
        self._sha = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Over every line read so far, whatever the compression and the line ends."""
        return self._sha.hexdigest()

    def __iter__(self) -> Iterator[Chunk]:
        for chunk in chain(self._first, self._chunks):
            if chunk.span is not None:
                self._sha.update(memoryview(chunk.data[slice(*chunk.span)]))  # type: ignore[arg-type]
            else:
                for raw in _raw(chunk):
                    self._sha.update(raw + b"\n")
            yield self._usable(chunk)

    def _usable(self, chunk: Chunk) -> Chunk:
        """Without the lines that have no receive time, or an impossible one."""
        stamps = chunk.lines["recv_ns"]
        if kernels.steady(chunk.lines, self._last_ns, FAR_NS):
            self._last_ns = int(stamps[-1])
            return chunk
        keep = np.zeros(len(stamps), np.bool_)
        for number, stamp in enumerate(stamps.tolist()):
            if stamp < 0:
                self.counts["unreadable"] += 1
            elif abs(stamp - self._last_ns) > FAR_NS:
                self.counts["time_far_off"] += 1
            else:
                self._last_ns = stamp
                keep[number] = True
        return chunk._replace(lines=chunk.lines[keep])

    def count(self, chunk: Chunk, listings: Sequence[Listing]) -> None:
        """Take lines that were read into the account."""
        if self._lots.shape[1] != len(listings):
            self._listings, self._lots = listings, np.zeros((kernels.LINE_KINDS, len(listings), 2), np.int64)
        kinds = np.zeros(kernels.LINE_KINDS, np.int64)
        kernels.tally(chunk.lines, kinds, self._lots)
        for kind, name in _KINDS.items():
            if kinds[kind]:
                self.counts[name] += int(kinds[kind])
        if kinds[kernels.UNREAD_LINE]:
            for line in chunk.lines[chunk.lines["kind"] == kernels.UNREAD_LINE]:
                self.counts[self._judge(bytes(chunk.data[line["start"] : line["end"]]))] += 1

    @property
    def traded(self) -> dict[tuple[str, str], Decimal]:
        """Quantity of the market's trades by (event type, symbol), as far as counted."""
        sums = dict(self._odd)
        for kind, symbol in np.argwhere(self._lots.any(axis=2)).tolist():
            one, (high, low) = self._listings[symbol], self._lots[kind, symbol].tolist()
            key = (_KINDS[kind], one.symbol)
            sums[key] = sums.get(key, Decimal(0)) + Decimal((high << kernels.HALF) + low).scaleb(-one.qty_decimals)
        return sums

    def _judge(self, payload: bytes) -> str:
        try:
            frame = _decode(payload)
        except msgspec.ValidationError:
            return "wrong_types"
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return "malformed"
        inner = frame.data or frame if isinstance(frame, _Frame) else frame
        events = inner if isinstance(inner, list) else [inner]
        for event in events:
            if event.e in ("trade", "aggTrade") and event.X == "MARKET":
                self._add_text(event)
        name = events[0].e if events else ""
        return name if name in _EVENTS else "other_event" if name else "no_event"

    def _add_text(self, event: _Event) -> None:
        try:
            quantity = Decimal(event.q)
        except InvalidOperation:
            return
        if quantity.is_finite() and 0 < quantity < _MOST:
            key = (event.e, event.s)
            self._odd[key] = self._odd.get(key, Decimal(0)) + quantity


def _raw(chunk: Chunk) -> list[bytes]:
    """Every line without the white space around it."""
    data = chunk.data.tobytes()
    starts, ends = chunk.lines["raw_start"].tolist(), chunk.lines["end"].tolist()
    return [data[start:end] for start, end in zip(starts, ends, strict=True)]
