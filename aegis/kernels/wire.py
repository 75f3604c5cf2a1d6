"""The wire decoder: WebSocket server frames with market JSON, from bytes to the table in one compiled pass.

Decoded right or handed back, never misread: control frames, fragments and every text that the fast rules do not
recognise are handed back by position for `venue/inbox.py` and `venue/strict.py`. Nothing is read behind `end`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aegis.kernels.compile import inner, kernel
from aegis.kernels.fields import byte_at
from aegis.kernels.market import CONTROL_FRAMES, FIRED, FRAMES, SLOW_FRAMES, Table, example_table
from aegis.kernels.market import HITS_FULL as TICK_HITS_FULL
from aegis.kernels.market import ROWS_FULL as TICK_ROWS_FULL
from aegis.kernels.payload import NOT_READ, apply_payload
from aegis.kernels.quick import MISSED, quick_quote

__all__ = [
    "BAD_FRAME", "FIN", "HIT", "HITS_FULL", "NEED_MORE", "NEXT", "OPCODE", "PAYLOAD_END", "PAYLOAD_START", "ROWS_FULL",
    "SLOW", "frame", "new_result", "scan",
]  # fmt: skip

# Statuses of `scan`.
NEED_MORE = 0  # everything complete is consumed
HIT = 1  # levels fired in the frame just consumed: decide, then resume
ROWS_FULL = 2  # the frame at NEXT needs a row: take the batch, then resume
HITS_FULL = 3  # the frame at NEXT could fire more levels than the ring takes: take the hits, then resume
SLOW = 4  # the frame just consumed is handed back: OPCODE, FIN, PAYLOAD_START, PAYLOAD_END
BAD_FRAME = 5  # a protocol violation in the frame at NEXT: drop the connection

# Indexes of `result`.
NEXT = 0  # position of the first byte that is not consumed
OPCODE = 1
FIN = 2
PAYLOAD_START = 3
PAYLOAD_END = 4
FRAGMENTED = 5  # kept between calls: 1 while a fragmented message is open
_RESULT = 6


def new_result() -> npt.NDArray[np.int64]:
    """The result array of one connection. It is state: whether a fragmented message is open is kept in it."""
    return np.zeros(_RESULT, np.int64)


def frame(payload: bytes) -> bytes:
    """An unmasked server text frame around `payload`, for replays of bare JSON lines."""
    length = len(payload)
    if length < 126:
        return bytes((0x81, length)) + payload
    if length < 1 << 16:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload


@inner(inline=True)
def _payload_start(data: npt.NDArray[np.uint8], position: int, end: int) -> tuple[int, int]:
    """Header of the frame at `position`: (start of its payload, its length); -1: more bytes needed, -2: a violation."""
    if end - position < 2:
        return -1, 0
    first, second = byte_at(data, position), byte_at(data, position + 1)
    opcode = first & 15
    # Reserved bits, a masked server frame, reserved opcodes.
    if first & 0x70 or second & 0x80 or 3 <= opcode <= 7 or opcode > 10:
        return -2, 0
    length = second
    if opcode >= 8 and (length > 125 or first < 128):
        return -2, 0
    if length < 126:
        return position + 2, length
    size = 2 if length == 126 else 8
    if end - position < 2 + size:
        return -1, 0
    length = 0
    for offset in range(size):
        # Before the last shift anything above 2**40 is beyond every buffer: refused, and nothing overflows.
        if length >= 1 << 40:
            return -2, 0
        length = length * 256 + byte_at(data, position + 2 + offset)
    if length < (126 if size == 2 else 1 << 16):
        return -2, 0
    return position + 2 + size, length


@inner(inline=True)
def _fragment_state(opcode: int, final: bool, fragmented: int) -> int:
    """Whether a fragmented message is open behind this frame; -1: a violation."""
    if opcode >= 8:
        return fragmented
    if (opcode == 0) != (fragmented == 1):
        return -1
    return 0 if final else 1


@kernel(example=lambda: (np.zeros(16, np.uint8), 0, 0, 0, example_table(), new_result()), bare=True)
def scan(
    data: npt.NDArray[np.uint8], start: int, end: int, recv_ns: int, table: Table, result: npt.NDArray[np.int64]
) -> int:
    """Consume the frames in `data[start:end]` until something needs the caller.

    All bytes of a call were received at `recv_ns`: a batch boundary never falls inside, so there is no time to stop at.

    Args:
        data: the connection's buffer, uint8, contiguous.
        start: position of the first byte that is not consumed: the last `result[NEXT]`.
        end: position behind the last byte received.
        recv_ns: when they were received; also judges whether a level has expired.
        table: the market.
        result: made by `new_result`, one a connection.

    Returns:
        A status; `result[NEXT]` is where to resume.
    """
    position = start
    while True:
        result[NEXT] = position
        payload, length = _payload_start(data, position, end)
        if payload == -2:
            return BAD_FRAME
        if payload == -1 or length > end - payload:
            return NEED_MORE
        opcode = byte_at(data, position) & 15
        final = data[position] >= 128
        behind = payload + length
        fragmented = _fragment_state(opcode, final, result[FRAGMENTED])
        if fragmented < 0:
            return BAD_FRAME
        if opcode == 1 and final:
            answer = quick_quote(table, data, payload, behind, recv_ns)
            if answer == MISSED:
                answer = apply_payload(table, data, payload, behind, recv_ns)
            if answer == TICK_ROWS_FULL:
                return ROWS_FULL
            if answer == TICK_HITS_FULL:
                return HITS_FULL
        else:
            answer = NOT_READ
        table.counters[FRAMES] += 1
        result[FRAGMENTED] = fragmented
        position = behind
        if answer in (NOT_READ, FIRED):
            result[NEXT] = position
            result[OPCODE] = opcode
            result[FIN] = final
            result[PAYLOAD_START] = payload
            result[PAYLOAD_END] = behind
            if answer == FIRED:
                return HIT
            table.counters[SLOW_FRAMES if opcode == 1 and final else CONTROL_FRAMES] += 1
            return SLOW
