"""A recording: every input of the engine in its total order, as bytes, so that a replay makes the same decisions.

A recording is a directory of segments `recording-0000.bin` (or `.bin.gz`), each starting with a magic and its number.
A frame is `[kind u8][seq u64][now_ns i64][channel u16][length u32][payload][crc32 of all before u32]`, little-endian;
the first is HEADER (JSON), the last END, which counts the frames and so proves that nothing is missing.

A thread writes. Recording never stops trading: when the queue is full or the disk refuses, the recording is declared
broken and ends there.
"""

from __future__ import annotations

import gzip
import os
import queue
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, cast

import attrs
import msgspec

from aegis.core.errors import ConfigError
from aegis.engine.inputs import InputKind
from aegis.runtime.metrics import Metrics

__all__ = [
    "Input",
    "InputKind",
    "Recorder",
    "RecordingError",
    "RecordingHeader",
    "read_header",
    "read_recording",
]

VERSION = 1
SEGMENT_BYTES = 64 << 20
FLUSH_BYTES = 64 << 10
FLUSH_NS = 250_000_000
QUEUE_CHUNKS = 512  # of 64 KiB: 32 MiB, seconds of a slow disk at full rate
_MAGIC = b"AEGREC1\n"
_SEGMENT = struct.Struct("<8sI")
_HEAD = struct.Struct("<BQqHI")
_CRC = struct.Struct("<I")
_COUNT = struct.Struct("<Q")
_MAX_PAYLOAD = 1 << 28
_GZIP_HEAD = 10


class Input(NamedTuple):
    """One input. `channel` is the connection or whatever the kind counts; `now_ns` is the engine's clock."""

    kind: InputKind
    seq: int
    now_ns: int
    channel: int
    payload: bytes


@attrs.frozen(kw_only=True)
class RecordingHeader:
    """What a replay must know before the first input. `symbols` in the order of their row numbers."""

    run: str
    symbols: tuple[str, ...]
    config_toml: str
    version: int = VERSION


class RecordingError(ConfigError):
    """A recording cannot be read; one line with the file and the offset in its uncompressed bytes."""

    def __init__(self, path: Path, offset: int, reason: str) -> None:
        super().__init__(f"{path}: byte {offset}: {reason}")
        self.path = path
        self.offset = offset


def _frame(kind: int, seq: int, now_ns: int, channel: int, payload: bytes) -> bytes:
    body = _HEAD.pack(kind, seq, now_ns, channel, len(payload)) + payload
    return body + _CRC.pack(zlib.crc32(body))


class Recorder:
    """Writes a recording into a new or empty directory. `record` is for the loop thread and never waits.

    Raises RecordingError where the directory holds a recording or cannot be made.
    """

    def __init__(
        self,
        directory: Path,
        header: RecordingHeader,
        metrics: Metrics,
        *,
        compress: bool = True,
        segment_bytes: int = SEGMENT_BYTES,
        queue_chunks: int = QUEUE_CHUNKS,
    ) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if _segments(directory):
                raise RecordingError(directory, 0, "there is a recording already")
        except OSError as error:
            raise RecordingError(directory, 0, error.strerror or str(error)) from None
        self.broken = ""
        self.inputs = metrics.counter("recording.inputs")
        metrics.gauge("recording.broken", lambda: float(bool(self.broken)))
        self._directory = directory
        self._suffix = ".bin.gz" if compress else ".bin"
        self._segment_bytes = segment_bytes
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._flushed_ns = 0
        self._queue: queue.Queue[bytes | None] = queue.Queue(queue_chunks)
        self._thread = threading.Thread(target=self._write_all, name="aegis-recording", daemon=True)
        self._thread.start()
        text = msgspec.json.encode(header)
        self.record(InputKind.HEADER, 0, 0, 0, text)

    def record(self, kind: InputKind, seq: int, now_ns: int, channel: int, payload: bytes) -> None:
        """Add one input; does nothing once the recording is broken."""
        if self.broken:
            return
        frame = _frame(kind, seq, now_ns, channel, payload)
        self._pending.append(frame)
        self._pending_bytes += len(frame)
        self.inputs.value += 1
        if self._pending_bytes >= FLUSH_BYTES or now_ns - self._flushed_ns >= FLUSH_NS:
            self._flushed_ns = now_ns
            self._flush()

    def _flush(self) -> None:
        chunk = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        try:
            self._queue.put_nowait(chunk)
        except queue.Full:
            self.broken = "the disk is too slow"

    def close(self, timeout_s: float = 30.0) -> None:
        """Write what is queued and the END frame. It waits: call it from a thread, or at the end."""
        if not self._thread.is_alive():
            return
        if not self.broken:
            self._pending.append(_frame(InputKind.END, 0, 0, 0, _COUNT.pack(self.inputs.value)))
            self._flush()
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            self.broken = self.broken or "the disk is too slow"
            return
        self._thread.join(timeout_s)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _write_all(self) -> None:
        """The writer thread. A chunk ends on a frame, and so does a segment."""
        number, written = 0, 0
        file: IO[bytes] | None = None
        try:
            while (chunk := self._queue.get()) is not None:
                if file is None or written >= self._segment_bytes:
                    if file is not None:
                        file.close()
                    file, written = self._open(number), 0
                    number += 1
                file.write(chunk)
                file.flush()  # so that a kill loses no more than what was still queued
                written += len(chunk)
        except OSError as error:
            self.broken = error.strerror or str(error)
        finally:
            if file is not None:
                self._close(file)

    def _close(self, file: IO[bytes]) -> None:
        try:
            file.close()
        except OSError as error:
            self.broken = self.broken or error.strerror or str(error)

    def _open(self, number: int) -> IO[bytes]:
        path = self._directory / f"recording-{number:04d}{self._suffix}"
        compressed = self._suffix.endswith("gz")
        file: Any = gzip.GzipFile(path, "xb", compresslevel=1) if compressed else path.open("xb")
        file.write(_SEGMENT.pack(_MAGIC, number))
        return cast(IO[bytes], file)


# -- reading -----------------------------------------------------------------------------------------------------------
def _segments(directory: Path) -> list[Path]:
    return sorted([*directory.glob("recording-*.bin"), *directory.glob("recording-*.bin.gz")])


class _Segment:
    """Exact reads from one segment, with the offset for messages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        raw = path.open("rb")
        self._file: IO[bytes] = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw  # type: ignore[assignment]
        self._raw = raw
        self._size = os.fstat(raw.fileno()).st_size

    def check(self, number: int) -> None:
        """Read the segment's own header."""
        head = self.exactly(_SEGMENT.size)
        if not head:
            raise _Torn(self.path, 0, "is empty")
        magic, found = _SEGMENT.unpack(head)
        if magic != _MAGIC:
            raise RecordingError(self.path, 0, "this is no recording of this version")
        if found != number:
            raise RecordingError(self.path, 0, f"segment {found} where {number} is missing")

    def exactly(self, size: int) -> bytes:
        """That many bytes; b"" where the segment ends right here."""
        data = b""
        try:
            while len(data) < size:
                more = self._file.read(size - len(data))
                if not more:
                    break
                data += more
        except EOFError:
            raise _Torn(self.path, self.offset, "the compressed data breaks off") from None
        except (OSError, zlib.error) as error:
            if self._size < _GZIP_HEAD:
                raise _Torn(self.path, 0, "breaks off in the header of the compressed data") from None
            raise RecordingError(self.path, self.offset, f"cannot be read: {error}") from None
        if data and len(data) < size:
            raise _Torn(self.path, self.offset, "breaks off in the middle of an input")
        self.offset += len(data)
        return data

    def close(self) -> None:
        self._file.close()
        self._raw.close()


class _Torn(RecordingError):
    """The bytes end early, as they do when the recorder was killed."""


def _inputs(segment: _Segment) -> Iterator[Input]:
    while True:
        offset = segment.offset
        head = segment.exactly(_HEAD.size)
        if not head:
            return
        kind, seq, now_ns, channel, length = _HEAD.unpack(head)
        if length > _MAX_PAYLOAD:
            raise RecordingError(segment.path, offset, f"an input of {length} bytes")
        payload = segment.exactly(length) if length else b""
        crc = segment.exactly(_CRC.size)
        if len(payload) < length or not crc:
            raise _Torn(segment.path, offset, "breaks off in the middle of an input")
        if zlib.crc32(payload, zlib.crc32(head)) != _CRC.unpack(crc)[0]:
            raise RecordingError(segment.path, offset, "an input does not match its checksum")
        try:
            known = InputKind(kind)
        except ValueError:
            raise RecordingError(segment.path, offset, f"input kind {kind} is unknown") from None
        yield Input(known, seq, now_ns, channel, payload)


def _all_inputs(directory: Path) -> Iterator[Input]:
    """Every frame of every segment, HEADER and END included, verified."""
    paths = _segments(directory)
    if not paths:
        raise RecordingError(directory, 0, "there is no recording here")
    count = 0
    for number, path in enumerate(paths):
        try:
            segment = _Segment(path)
        except OSError as error:
            raise RecordingError(path, 0, error.strerror or str(error)) from None
        try:
            segment.check(number)
            for entry in _inputs(segment):
                if (entry.kind is InputKind.HEADER) != (count == 0):
                    raise RecordingError(path, segment.offset, "a recording starts with its one header")
                yield entry
                if entry.kind is InputKind.END:
                    if entry.payload != _COUNT.pack(count):
                        raise RecordingError(path, segment.offset, "inputs are missing")
                    return
                count += 1
        finally:
            segment.close()
    raise _Torn(paths[-1], 0, "there is no end mark: the recorder was stopped by force")


def read_recording(directory: Path, *, torn: bool = False) -> Iterator[Input]:
    """The inputs in order, without HEADER and END. Raises RecordingError for damage.

    Args:
        torn: accept a recording that breaks off, as after SIGKILL; what came before the break is given.
    """
    try:
        for entry in _all_inputs(directory):
            if entry.kind not in (InputKind.HEADER, InputKind.END):
                yield entry
    except _Torn:
        if not torn:
            raise


def read_header(directory: Path) -> RecordingHeader:
    """What the recording says about itself. Raises RecordingError."""
    for entry in _all_inputs(directory):
        try:
            header = msgspec.json.decode(entry.payload, type=RecordingHeader)
        except msgspec.MsgspecError as error:
            raise RecordingError(directory, 0, f"its header is unreadable: {error}") from None
        if header.version != VERSION:
            raise RecordingError(directory, 0, f"version {header.version}, this program reads {VERSION}")
        return header
    raise RecordingError(directory, 0, "it is empty")
