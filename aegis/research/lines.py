"""Bare recordings: lines of `<receive time, ns> <frame as received>`, plain or gzip, one file after another."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from aegis.core.errors import ConfigError

__all__ = ["Line", "read_lines"]

_GZIP = b"\x1f\x8b"
_LONGEST = 1 << 20


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
                while raw := source.readline(_LONGEST):
                    number += 1
                    yield _line(raw)
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(f"{path}: line {number + 1}: {reason}") from None
        if not number:
            raise ConfigError(f"{path}: empty")


def _line(raw: bytes) -> Line:
    stamp, space, payload = raw.strip().partition(b" ")
    good = bool(space) and stamp.isdigit() and len(stamp) <= 19
    return Line(recv_ns=int(stamp) if good else -1, payload=payload, raw=raw)
