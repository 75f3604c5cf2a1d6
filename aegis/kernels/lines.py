"""Lines of a bare recording, `<receive time, ns> <frame>`: found, read and applied without a Python object a line."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aegis.kernels.compile import kernel
from aegis.kernels.fields import byte_at
from aegis.kernels.market import FIRED, FRAMES, SLOW_FRAMES, Table, example_table
from aegis.kernels.market import HITS_FULL as TICK_HITS_FULL
from aegis.kernels.market import ROWS_FULL as TICK_ROWS_FULL
from aegis.kernels.payload import NOT_READ, apply_payload

__all__ = [
    "AGG_TRADE_LINE", "BOOK_TICKER_LINE", "DEPTH_LINE", "DONE", "HIT", "HITS_FULL", "LINE", "MARK_LINE", "ROWS_FULL",
    "SLOW", "TRADE_LINE", "UNREAD_LINE", "Chunk", "apply_lines", "split",
]  # fmt: skip

#: One line. Positions are in the bytes of its chunk.
LINE = np.dtype(
    [
        ("raw_start", np.int64),  # of the whole line, without white space around it
        ("start", np.int64),  # of the frame
        ("end", np.int64),  # behind the frame and the line
        ("recv_ns", np.int64),  # -1: the line has no such form
        ("now_ns", np.int64),  # when it is taken, on the venue's clock; never goes back
        ("lots", np.int64),  # of a market's trade
        ("symbol", np.int32),  # listing, where the kind is read
        ("kind", np.int32),
    ],
    align=True,
)

#: Kinds. UNREAD: the compiled reader has left the line to Python.
UNREAD_LINE, BOOK_TICKER_LINE, TRADE_LINE, AGG_TRADE_LINE, MARK_LINE, DEPTH_LINE = range(6)


class Chunk(NamedTuple):
    """Whole lines and the bytes they lie in."""

    data: npt.NDArray[np.uint8]
    lines: npt.NDArray[np.void]  # LINE
    span: tuple[int, int] | None  # where in `data` the lines and their ends lie, if nothing else lies there


#: Digits of a receive time; what is above int64 becomes the largest int64, which is far off whatever the others are.
_DIGITS = 19
_LARGEST = 2**63 - 1


@kernel(bare=True, inline=True)
def _is_space(byte: int) -> bool:
    return byte == 32 or 9 <= byte <= 13


@kernel(bare=True)
def _stamp(data: npt.NDArray[np.uint8], start: int, end: int) -> tuple[int, int]:
    """(receive time or -1, position behind the one space that follows it) of `data[start:end]`."""
    value = 0
    position = start
    while position < end and 48 <= data[position] <= 57:
        digit = byte_at(data, position) - 48
        value = _LARGEST if value > (_LARGEST - digit) // 10 else value * 10 + digit
        position += 1
    digits = position - start
    if digits == 0 or digits > _DIGITS or position >= end or data[position] != 32:
        return -1, start
    return value, position + 1


def _split_example() -> tuple[object, ...]:
    return np.zeros(1, np.uint8), np.zeros(1, np.int64), 0, 1 << 18, np.zeros(1, LINE)


@kernel(example=_split_example, bare=True)
def split(
    data: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64], start: int, longest: int, lines: npt.NDArray[np.void]
) -> bool:
    """Find stamp and frame of each line.

    Args:
        data: the bytes.
        ends: position of the line end of each line, or behind the bytes for a last line without one.
        start: of the first line.
        longest: a line of so many bytes, without its end, cannot be used; what is told of it ends there.
        lines: LINE, as many as `ends`.

    Returns:
        Whether every line fills the space between two line ends: then the bytes are those of the lines, one by one.
    """
    regular = True
    for number in range(ends.shape[0]):
        line = lines[number]
        end = ends[number]
        usable = end - start < longest
        first, last = start, min(end, start + longest)
        while first < last and _is_space(data[first]):
            first += 1
        while last > first and _is_space(data[last - 1]):
            last -= 1
        regular = regular and first == start and last == end
        stamp, frame = _stamp(data, first, last)
        line["raw_start"] = first
        line["start"] = frame
        line["end"] = last
        line["recv_ns"] = stamp if usable else -1
        line["now_ns"] = 0
        line["lots"] = 0
        line["symbol"] = -1
        line["kind"] = UNREAD_LINE
        start = end + 1
    return regular


# Statuses of `apply_lines`.
DONE = 0  # every line before `until_ns` is applied
HIT = 1  # levels fired in the line before `next`: decide, then resume
ROWS_FULL = 2  # the line at `next` needs a row: take the batch, then resume
HITS_FULL = 3  # the line at `next` could fire more levels than the ring takes: take the hits, then resume
SLOW = 4  # the line before `next` is left to the strict decoder


def _apply_example() -> tuple[object, ...]:
    return np.zeros(1, np.uint8), np.zeros(1, LINE), 0, 0, example_table()


@kernel(example=_apply_example, bare=True)
def apply_lines(
    data: npt.NDArray[np.uint8], lines: npt.NDArray[np.void], start: int, until_ns: int, table: Table
) -> tuple[int, int, int]:
    """Apply the frames of `lines[start:]`, each received at its own time, like `wire.scan` those of a socket.

    A line that the reader found to be a sound depth update is not read again: nobody keeps a book here.

    Args:
        data: the bytes the lines lie in.
        lines: LINE, with `now_ns` and `kind`.
        start: the first line that is not consumed.
        until_ns: lines that are taken at this time or later are left.
        table: the market.

    Returns:
        (status, next line, depth updates passed).
    """
    depths = 0
    for number in range(start, lines.shape[0]):
        line = lines[number]
        if line["now_ns"] >= until_ns:
            return DONE, number, depths
        if line["kind"] == DEPTH_LINE:
            table.counters[FRAMES] += 1
            table.counters[SLOW_FRAMES] += 1
            depths += 1
            continue
        answer = apply_payload(table, data, line["start"], line["end"], line["now_ns"])
        if answer == TICK_ROWS_FULL:
            return ROWS_FULL, number, depths
        if answer == TICK_HITS_FULL:
            return HITS_FULL, number, depths
        table.counters[FRAMES] += 1
        if answer == FIRED:
            return HIT, number + 1, depths
        if answer == NOT_READ:
            table.counters[SLOW_FRAMES] += 1
            return SLOW, number + 1, depths
    return DONE, lines.shape[0], depths
