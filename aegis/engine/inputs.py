"""The one ordered input of the engine: what kinds of things can happen to it, their bytes, and who sees them pass."""

from __future__ import annotations

import enum
import io
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import numpy as np

from aegis.core.messages import Accepted, AlgoRequest, CancelRequest, OrderRequest, Outcome, Refused, Request, Unknown
from aegis.core.values import ClientId
from aegis.kernels.layout import BAR, exactly
from aegis.kernels.state import Records

__all__ = [
    "ConnectionChange", "InputKind", "NoTap", "Tap", "decode_command", "decode_connection", "decode_fill",
    "decode_outcome", "decode_seed", "encode_answer", "encode_command", "encode_connection", "encode_fill",
    "encode_outcome", "encode_seed",
]  # fmt: skip


class InputKind(enum.IntEnum):
    """What an input is. Numbers are part of the recording format: never reuse one."""

    HEADER = 0
    READ = 1  # raw bytes of a market socket; channel = socket
    BOUNDARY = 2  # the conflation timer: dirty rows are taken
    ANALYSE = 3  # pending rows go to a worker
    RESULT = 4  # the worker's result takes effect (payload 1), or it was given up (0)
    PRIVATE = 5  # one raw message of the private stream
    OUTCOME = 6  # what became of a request
    TIMER = 7  # deadlines are looked at
    SEED = 8  # history of one symbol
    CONNECTION = 9  # a market socket came up, went down, or was taken over by its successor: see ConnectionChange
    COMMAND = 10  # halt, activate, flatten, ...
    SNAPSHOT = 11  # what the venue said when it was asked
    SLICE = 12  # one symbol's events went to the strategy
    FILL = 13  # trades that no socket brought, fetched; or that they are not to be had
    TERMS = 14  # a symbol joined, or its rules have changed
    END = 255


class ConnectionChange(enum.IntEnum):
    """What became of a market socket. Numbers are part of the recording format."""

    DOWN = 0
    UP = 1
    TAKEN_OVER = 2  # its streams go on over another connection


class Tap(Protocol):
    """Sees every input at the moment the engine takes it, in the order in which it takes them."""

    def record(self, kind: InputKind, now_ns: int, channel: int, payload: bytes | memoryview) -> None: ...

    def record_encoded(
        self, kind: InputKind, now_ns: int, channel: int, encode: Callable[..., bytes], *parts: Any
    ) -> None:
        """As `record`, of `encode(*parts)`, for which nobody pays where nobody listens."""


class NoTap:
    """Nobody listens."""

    def record(self, kind: InputKind, now_ns: int, channel: int, payload: bytes | memoryview) -> None:
        return None

    def record_encoded(
        self, kind: InputKind, now_ns: int, channel: int, encode: Callable[..., bytes], *parts: Any
    ) -> None:
        return None


# -- payloads ----------------------------------------------------------------------------------------------------------
def encode_outcome(outcome: Outcome) -> bytes:
    """The outcome and which request of which order it is about; the request itself is in the journal."""
    cancel = isinstance(outcome.request, CancelRequest)
    match outcome:
        case Accepted(venue_id=venue_id):
            rest: tuple[str | int, ...] = ("accepted", venue_id)
        case Refused(code=code, message=message):
            rest = ("refused", code, message)
        case Unknown(reason=reason):
            rest = ("unknown", reason)
    return msgspec.json.encode((outcome.request.cid, cancel, *rest))


def decode_outcome(payload: bytes, request_of: Callable[[ClientId], OrderRequest | AlgoRequest]) -> Outcome:
    """The inverse, given the engine's own memory of its requests. Raises msgspec.DecodeError or KeyError."""
    cid, cancel, what, *rest = msgspec.json.decode(payload, type=list[str | int | bool])
    placed = request_of(ClientId(str(cid)))
    request: Request = placed
    if cancel:
        request = CancelRequest(cid=placed.cid, symbol=placed.symbol, algo=isinstance(placed, AlgoRequest))
    if what == "accepted":
        return Accepted(request=request, venue_id=int(rest[0]))
    if what == "refused":
        return Refused(request=request, code=int(rest[0]), message=str(rest[1]))
    return Unknown(request=request, reason=str(rest[0]))


def encode_connection(change: ConnectionChange, held: int = 0) -> bytes:
    """The change and, where another connection takes over, how many bytes of it overlap with the one before."""
    return bytes([change]) + (held.to_bytes(8, "little") if change is ConnectionChange.TAKEN_OVER else b"")


def decode_connection(payload: bytes) -> tuple[ConnectionChange, int]:
    """The inverse. Raises ValueError."""
    change = ConnectionChange(int.from_bytes(payload[:1], "little"))
    held = int.from_bytes(payload[1:], "little")
    if payload != encode_connection(change, held):
        raise ValueError("a malformed connection change")
    return change, held


def encode_answer(what: str, payload: bytes) -> bytes:
    """What the venue was asked, and the JSON that it answered."""
    return msgspec.json.encode([what, msgspec.Raw(payload)])


def encode_command(name: str) -> bytes:
    return name.encode()


def decode_command(payload: bytes) -> str:
    return payload.decode()


def encode_fill(symbol: int, trades: Records | None) -> bytes:
    """Symbol index (4 bytes), then the FILL rows in NumPy's own format; nothing where there are none to be had."""
    out = io.BytesIO()
    out.write(symbol.to_bytes(4, "little"))
    if trades is not None:
        np.save(out, trades, allow_pickle=False)
    return out.getvalue()


def decode_fill(payload: bytes) -> tuple[int, Records | None]:
    """The inverse. Raises ValueError."""
    if len(payload) < 4:
        raise ValueError("a fill without its symbol")
    rows = np.load(io.BytesIO(payload[4:]), allow_pickle=False) if len(payload) > 4 else None
    return int.from_bytes(payload[:4], "little"), rows


def encode_seed(symbol: int, base: Records, higher: tuple[Records, ...]) -> bytes:
    """Symbol index (4 bytes), then the arrays in NumPy's own format, one after another."""
    out = io.BytesIO()
    out.write(symbol.to_bytes(4, "little"))
    for bars in (base, *higher):
        np.save(out, bars, allow_pickle=False)
    return out.getvalue()


def decode_seed(payload: bytes) -> tuple[int, Records, tuple[Records, ...]]:
    """The inverse. Raises ValueError."""
    source = io.BytesIO(payload)
    symbol = int.from_bytes(source.read(4), "little")
    arrays: list[Records] = []
    while source.tell() < len(payload):
        arrays.append(exactly(np.load(source, allow_pickle=False), BAR))
    if not arrays:
        raise ValueError("a history without its arrays")
    return symbol, arrays[0], tuple(arrays[1:])
