"""Lines of a bare recording, `<receive time, ns> <frame>`: found, read and applied without a Python object a line."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aegis.kernels.compile import inner, kernel
from aegis.kernels.fields import byte_at
from aegis.kernels.known_text import eight
from aegis.kernels.market import AGG_TRADE, FIRED, FRAMES, SLOW_FRAMES, TRADE, Table, example_table
from aegis.kernels.market import HITS_FULL as TICK_HITS_FULL
from aegis.kernels.market import ROWS_FULL as TICK_ROWS_FULL
from aegis.kernels.payload import NOT_READ
from aegis.kernels.quick import apply_text
from aegis.kernels.ticks import apply_quote, apply_trade

__all__ = [
    "AGG_TRADE_LINE", "BOOK_TICKER_LINE", "DEPTH_LINE", "DONE", "HALF", "HIT", "HITS_FULL", "LINE", "LINE_KINDS",
    "MARK_LINE", "ROWS_FULL", "SLOW", "TRADE_LINE", "UNREAD_LINE", "Chunk", "apply_lines", "find_ends", "split",
    "steady", "tally",
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
        ("tick", np.int32),  # 1: the reader has read a quote or a market's trade whole, and what follows is there
        ("maker", np.int32),  # 1: the buyer of a trade
        ("id", np.int64),  # update id of a quote, id of a trade
        ("event_ms", np.int64),
        ("time_ms", np.int64),  # T
        ("price", np.float64),  # of a trade, or the bid
        ("bid_qty", np.float64),
        ("ask", np.float64),
        ("ask_qty", np.float64),
    ],
    align=True,
)

#: Kinds. UNREAD: the compiled reader has left the line to Python.
UNREAD_LINE, BOOK_TICKER_LINE, TRADE_LINE, AGG_TRADE_LINE, MARK_LINE, DEPTH_LINE = range(6)
LINE_KINDS = 6


class Chunk(NamedTuple):
    """Whole lines and the bytes they lie in."""

    data: npt.NDArray[np.uint8]
    lines: npt.NDArray[np.void]  # LINE
    span: tuple[int, int] | None  # where in `data` the lines and their ends lie, if nothing else lies there


#: Eight line ends, ones, and highest bits: a word holds a line end where it equals the first in some byte.
_ENDS, _ONES, _HIGHEST = (np.uint64(byte * 0x0101010101010101) for byte in (0x0A, 0x01, 0x80))


@kernel(example=lambda: (np.zeros(1, np.uint8), 0, np.zeros(1, np.int64)), bare=True)
def find_ends(data: npt.NDArray[np.uint8], end: int, ends: npt.NDArray[np.int64]) -> int:
    """Write the position of every line end in `data[:end]` to `ends`, which has room for one a byte; how many."""
    count = 0
    position = 0
    while position + 8 <= end:
        word = eight(data, position) ^ _ENDS
        if (word - _ONES) & ~word & _HIGHEST != np.uint64(0):
            for offset in range(8):
                if data[position + offset] == 10:
                    ends[count] = position + offset
                    count += 1
        position += 8
    while position < end:
        if data[position] == 10:
            ends[count] = position
            count += 1
        position += 1
    return count


#: Digits of a receive time; what is above int64 becomes the largest int64, which is far off whatever the others are.
_DIGITS = 19
_LARGEST = 2**63 - 1


@inner(inline=True)
def _is_space(byte: int) -> bool:
    return byte == 32 or 9 <= byte <= 13


@inner()
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
        line["tick"] = 0
        start = end + 1
    return regular


@kernel(example=lambda: (np.zeros(1, LINE), 0, 0), bare=True)
def steady(lines: npt.NDArray[np.void], last_ns: int, far_ns: int) -> bool:
    """Whether every line has a receive time, each at most `far_ns` from the one before it, the first from `last_ns`."""
    for number in range(lines.shape[0]):
        recv_ns = lines[number]["recv_ns"]
        if recv_ns < 0 or abs(recv_ns - last_ns) > far_ns:
            return False
        last_ns = recv_ns
    return True


#: Lots are summed in two halves, so that no sum of a recording overflows.
HALF = 20


@kernel(
    example=lambda: (np.zeros(1, LINE), np.zeros(LINE_KINDS, np.int64), np.zeros((LINE_KINDS, 1, 2), np.int64)),
    bare=True,
)
def tally(lines: npt.NDArray[np.void], kinds: npt.NDArray[np.int64], lots: npt.NDArray[np.int64]) -> None:
    """Add lines that were read to `kinds` [kind], and the market's trades among them to `lots` [kind, listing, half].

    The first half counts 2**20 lots.
    """
    for number in range(lines.shape[0]):
        line = lines[number]
        kinds[line["kind"]] += 1
        if line["lots"] > 0 and line["symbol"] >= 0:
            lots[line["kind"], line["symbol"], 0] += line["lots"] >> HALF
            lots[line["kind"], line["symbol"], 1] += line["lots"] & ((1 << HALF) - 1)


# Statuses of `apply_lines`.
DONE = 0  # every line before `until_ns` is applied
HIT = 1  # levels fired in the line before `next`: decide, then resume
ROWS_FULL = 2  # the line at `next` needs a row: take the batch, then resume
HITS_FULL = 3  # the line at `next` could fire more levels than the ring takes: take the hits, then resume
SLOW = 4  # the line before `next` is left to the strict decoder


@inner(inline=True)
def _apply_line(data: npt.NDArray[np.uint8], line: np.void, symbol: int, table: Table) -> int:
    """What the reader has read is not read again; everything else is, from its text."""
    now_ns = line["now_ns"]
    if symbol < 0:
        return int(apply_text(table, data, line["start"], line["end"], now_ns))
    if line["kind"] == BOOK_TICKER_LINE:
        return apply_quote(
            table, symbol, line["id"], line["event_ms"], line["time_ms"], line["price"], line["bid_qty"], line["ask"],
            line["ask_qty"], now_ns,
        )  # fmt: skip
    source = TRADE if line["kind"] == TRADE_LINE else AGG_TRADE
    return apply_trade(
        table, symbol, source, line["id"], line["event_ms"], line["time_ms"], line["price"], line["lots"],
        line["maker"] == 1, True, now_ns,
    )  # fmt: skip


def _apply_example() -> tuple[object, ...]:
    return np.zeros(1, np.uint8), np.zeros(1, LINE), 0, 0, np.zeros(1, np.int32), example_table()


@kernel(example=_apply_example, bare=True)
def apply_lines(
    data: npt.NDArray[np.uint8], lines: npt.NDArray[np.void], start: int, until_ns: int, symbols: npt.NDArray[np.int32],
    table: Table,
) -> tuple[int, int, int]:  # fmt: skip
    """Apply the frames of `lines[start:]`, each received at its own time, like `wire.scan` those of a socket.

    A line that the reader found to be a sound depth update is not read again: nobody keeps a book here.

    Args:
        data: the bytes the lines lie in.
        lines: LINE, with `now_ns` and `kind`.
        start: the first line that is not consumed.
        until_ns: lines that are taken at this time or later are left.
        symbols: the table's index of each of the reader's listings that counts in the same lots; -1: there is none.
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
        answer = _apply_line(data, line, symbols[line["symbol"]] if line["tick"] == 1 else -1, table)
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
