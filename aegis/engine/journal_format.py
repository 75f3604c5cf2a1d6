"""The journal's bytes: frames, records, reading, export and digest. No state, no locks; any process may read.

A frame is `[length u32][crc32 of the payload u32][crc32 of these eight bytes u32][payload]`, little-endian. The header
has a sum of its own so that a flipped length is found as damage and not mistaken for a record that was being written
when the process died: only a *prefix* of a frame at the very end is such a record, and it is tolerated. So is a tail of
zeros, which a file system leaves after a power cut. The payload is canonical JSON: sorted keys, no spaces,
`{"at":…,"data":{…},"kind":"…","seq":…}`; the first frame has kind `header` and seq 0.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import msgspec

from aegis.core.errors import ConfigError

__all__ = [
    "FORMAT_VERSION",
    "HEADER_KIND",
    "JournalCorrupt",
    "Record",
    "Tail",
    "digest",
    "encode_frame",
    "export",
    "export_line",
    "read",
    "scan",
]

FORMAT_VERSION = 2
HEADER_KIND = "header"
#: Keys of `data` that start so hold real time or what was measured with it: recorded, but no part of what happened.
WALL_PREFIX = "wall_"
MAX_PAYLOAD = 1 << 24
_HEAD = struct.Struct("<II")
_SUM = struct.Struct("<I")
HEAD_SIZE = _HEAD.size + _SUM.size
_CHUNK = 1 << 20

_encode = msgspec.json.Encoder(order="sorted").encode


class JournalCorrupt(ConfigError):
    """A journal cannot be trusted; the text names the file and the offset. The program refuses to start from it."""

    def __init__(self, path: Path, offset: int, reason: str) -> None:
        super().__init__(f"{path}: corrupt at byte {offset}: {reason}")
        self.path = path
        self.offset = offset


class _Payload(msgspec.Struct, forbid_unknown_fields=True):
    at: int
    data: dict[str, Any]
    kind: str
    seq: int


_decode = msgspec.json.Decoder(_Payload).decode


@attrs.frozen(kw_only=True)
class Record:
    """One line of history. `end` is the file offset after it."""

    seq: int
    kind: str
    at_ns: int
    data: dict[str, Any]
    end: int


@attrs.define(kw_only=True)
class Tail:
    """Where a scan ended: `end` after the last whole record; `torn` bytes of an unfinished one follow."""

    end: int = 0
    seq: int = -1
    torn: int = 0


def encode_frame(seq: int, kind: str, data: dict[str, Any], at_ns: int) -> bytes:
    """Bytes of one record; Decimals become text. Raises ValueError above 16 MiB, TypeError for what JSON has not."""
    payload = _encode({"at": at_ns, "data": data, "kind": kind, "seq": seq})
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a journal record of {len(payload)} bytes")
    head = _HEAD.pack(len(payload), zlib.crc32(payload))
    return head + _SUM.pack(zlib.crc32(head)) + payload


def scan(path: Path, tail: Tail, *, stop: int | None = None) -> Iterator[Record]:
    """Records from `tail` on, verified; `tail` follows, so that a later scan continues where this one ended.

    Raises JournalCorrupt for anything but a whole record or an unfinished last one, OSError as `open` does.
    """
    with path.open("rb") as file:
        file.seek(tail.end)
        buffer, start, ended = b"", 0, False
        while True:
            record, needed = _parse(path, buffer, start, tail)
            if record is not None:
                start += record.end - tail.end
                tail.end, tail.seq = record.end, record.seq
                yield record
                if stop is not None and tail.end >= stop:
                    return
                continue
            if ended:
                break
            buffer = buffer[start:]
            start = 0
            more = file.read(max(_CHUNK, needed - len(buffer)))
            ended = not more
            buffer += more
    tail.torn = len(buffer) - start


def _parse(path: Path, buffer: bytes, start: int, tail: Tail) -> tuple[Record | None, int]:
    """The record at `start`, or None and how many bytes from `start` are needed to have it."""
    have = len(buffer) - start
    if have < HEAD_SIZE:
        return None, HEAD_SIZE
    length, checksum = _HEAD.unpack_from(buffer, start)
    (head_sum,) = _SUM.unpack_from(buffer, start + _HEAD.size)
    if zlib.crc32(buffer[start : start + _HEAD.size]) != head_sum:
        if buffer.count(0, start) != have:
            raise JournalCorrupt(path, tail.end, "a record's length does not match its checksum")
        return None, have + _CHUNK  # zeros so far: harmless if they go on to the end
    if have < HEAD_SIZE + length:
        return None, HEAD_SIZE + length
    payload = buffer[start + HEAD_SIZE : start + HEAD_SIZE + length]
    if zlib.crc32(payload) != checksum:
        raise JournalCorrupt(path, tail.end, "a record does not match its checksum")
    try:
        parsed = _decode(payload)
    except msgspec.MsgspecError as error:
        raise JournalCorrupt(path, tail.end, f"not a record: {error}") from None
    if parsed.seq != tail.seq + 1:
        raise JournalCorrupt(path, tail.end, f"record {parsed.seq} follows record {tail.seq}")
    if (parsed.kind == HEADER_KIND) != (parsed.seq == 0):
        raise JournalCorrupt(path, tail.end, "a journal starts with its one header")
    if parsed.seq == 0 and parsed.data.get("format") != FORMAT_VERSION:
        raise JournalCorrupt(path, 0, f"format {parsed.data.get('format')!r}, this program reads {FORMAT_VERSION}")
    end = tail.end + HEAD_SIZE + length
    return Record(seq=parsed.seq, kind=parsed.kind, at_ns=parsed.at, data=parsed.data, end=end), 0


def read(path: Path) -> Iterator[Record]:
    """Every record, the header first. Raises as `scan`, and JournalCorrupt for a file without a whole header."""
    tail = Tail()
    yield from scan(path, tail)
    if tail.seq < 0:
        raise JournalCorrupt(path, 0, "no header")


def export_line(record: Record) -> bytes:
    """One canonical JSON line with its newline, without `at` and without keys that start with `wall_`."""
    data = {key: value for key, value in record.data.items() if not key.startswith(WALL_PREFIX)}
    return _encode({"data": data, "kind": record.kind, "seq": record.seq}) + b"\n"


def export(path: Path) -> Iterator[bytes]:
    """What happened, line by line in sequence: equal for equal input, configuration and seed at any time of day."""
    for record in read(path):
        yield export_line(record)


def digest(path: Path) -> str:
    """SHA-256 over the export, in hex: the digest of a run."""
    sha = hashlib.sha256()
    for line in export(path):
        sha.update(line)
    return sha.hexdigest()
