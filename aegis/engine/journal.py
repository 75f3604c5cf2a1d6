"""The append-only journal of one run, with one writer.

An append is one `os.write`, finished before anything that it announces leaves the process: with durability `process` it
survives SIGKILL, with `power` `sync()` also waits for the disk, on a thread. When the disk refuses, the journal stays
failed, so that no order leaves without its intent, until `recover()` succeeds. Cancels do not need the journal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import trio

from aegis.core.errors import InvariantBroken
from aegis.engine.journal_format import (
    FORMAT_VERSION,
    HEADER_KIND,
    JournalCorrupt,
    Record,
    Tail,
    encode_frame,
    scan,
)
from aegis.runtime.metrics import Histogram

__all__ = ["Disk", "Journal", "JournalFailed", "TimedScribe"]


class JournalFailed(InvariantBroken):
    """The journal could not be written: trading halts, cancels and protective exits still work."""


class Disk(Protocol):
    """The three calls that can fail; `os` is one, tests bring others."""

    def write(self, fd: int, data: bytes, /) -> int: ...
    def fdatasync(self, fd: int, /) -> None: ...
    def ftruncate(self, fd: int, length: int, /) -> None: ...


class Journal:
    """Use `Journal.create` or `Journal.resume`. Loop thread only, except what `sync` does on its thread.

    `seq` is the last record's number, `size` the file's good length, `failure` the reason why appending is off, or "".
    """

    def __init__(self, path: Path, fd: int, *, durability: str, seq: int, size: int, disk: Disk) -> None:
        assert durability in ("process", "power"), durability
        self.path = path
        self.seq = seq
        self.size = size
        self.failure = ""
        self.synced_seq = -1
        self._fd = fd
        self._lost = False
        self._power = durability == "power"
        self._disk = disk
        self._sync_turn = trio.Lock()

    @classmethod
    def create(
        cls, path: Path, *, run: str, config_hash: str, at_ns: int, durability: str = "process", disk: Disk = os
    ) -> Journal:
        """A new journal whose header names the run and the configuration.

        Args:
            config_hash: over what shapes decisions; it is part of the digest, so a log level has no place in it.
        Raises: JournalFailed where the file exists or cannot be written.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalFailed(f"{path}: {error.strerror}") from None
        journal = cls(path, fd, durability=durability, seq=-1, size=0, disk=disk)
        try:
            journal.append(HEADER_KIND, {"format": FORMAT_VERSION, "run": run, "config": config_hash}, at_ns)
            _sync_directory(path.parent)
        except BaseException:
            os.close(fd)
            raise
        return journal

    @classmethod
    def resume(
        cls,
        path: Path,
        on_record: Callable[[Record], None],
        *,
        durability: str = "process",
        disk: Disk = os,
    ) -> tuple[Journal, int]:
        """Read a journal back, `on_record` seeing every record, cut off an unfinished last one, and go on after it.

        Returns the journal and how many bytes were cut off. Raises JournalCorrupt, or JournalFailed where it cannot be
        opened.
        """
        tail = Tail()
        try:
            for record in scan(path, tail):
                on_record(record)
            if tail.seq < 0:
                raise JournalCorrupt(path, 0, "no header")
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            if tail.torn:
                os.ftruncate(fd, tail.end)
        except OSError as error:
            raise JournalFailed(f"{path}: {error.strerror}") from None
        return cls(path, fd, durability=durability, seq=tail.seq, size=tail.end, disk=disk), tail.torn

    def append(self, kind: str, data: dict[str, Any], at_ns: int) -> int:
        """Write one record and return its number; when this returns, the operating system has it.

        Raises JournalFailed: nothing was recorded, and nothing will be before `recover()`.
        """
        return self.append_all(((kind, data),), at_ns)

    def append_all(self, records: Sequence[tuple[str, dict[str, Any]]], at_ns: int) -> int:
        """Write records (kind, data) that belong together in one go; returns the number of the last. Else as `append`.

        A process that dies meanwhile may leave the first of them without the others.
        """
        if self.failure:
            raise JournalFailed(f"{self.path}: {self.failure}")
        frames = b"".join(
            encode_frame(self.seq + place, kind, data, at_ns) for place, (kind, data) in enumerate(records, start=1)
        )
        try:
            written = self._disk.write(self._fd, frames)
        except OSError as error:
            raise self._fail(error.strerror or str(error)) from None
        if written != len(frames):
            raise self._fail(f"only {written} of {len(frames)} bytes were written")
        self.seq += len(records)
        self.size += written
        return self.seq

    async def sync(self) -> None:
        """With durability `power`: return when everything appended so far is on the disk; else at once.

        Calls that come together share one `fdatasync`. Cancellation: waits for a sync that has begun, because the
        thread uses the file. Raises JournalFailed.
        """
        wanted = self.seq
        if not self._power:
            await trio.lowlevel.checkpoint()
            return
        async with self._sync_turn:
            if self.synced_seq >= wanted:
                return
            if self.failure:
                raise JournalFailed(f"{self.path}: {self.failure}")
            upto = self.seq
            try:
                await trio.to_thread.run_sync(self._disk.fdatasync, self._fd, abandon_on_cancel=False)
            except OSError as error:
                self._lost = True
                raise self._fail(error.strerror or str(error)) from None
            self.synced_seq = upto

    def recover(self, at_ns: int) -> bool:
        """After a failure: cut off what was half written and try again with one record; True when it works.

        Never after a failed sync: the system may have forgotten the pages it could not write, and a second `fdatasync`
        would succeed without them. Then only a restart, which reads the file, knows what is there.
        """
        if self._lost or not self.failure:
            return not self.failure
        reason, self.failure = self.failure, ""
        try:
            self._disk.ftruncate(self._fd, self.size)
            self.append("state", {"journal": "recovered", "reason": reason}, at_ns)
        except OSError as error:
            self._fail(error.strerror or str(error))
        except JournalFailed:
            pass
        return not self.failure

    def close(self) -> None:
        """Close the file. Appends after it raise JournalFailed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd, self.failure = -1, "closed"

    def _fail(self, reason: str) -> JournalFailed:
        self.failure = reason
        return JournalFailed(f"{self.path}: {reason}")


class TimedScribe:
    """A journal whose appends are timed."""

    def __init__(self, journal: Journal, append_ns: Histogram, now_ns: Callable[[], int]) -> None:
        self._journal, self._append_ns, self._now_ns = journal, append_ns, now_ns

    def append(self, kind: str, data: dict[str, Any], at_ns: int) -> int:
        """See `Journal.append`."""
        return self.append_all(((kind, data),), at_ns)

    def append_all(self, records: Sequence[tuple[str, dict[str, Any]]], at_ns: int) -> int:
        """See `Journal.append_all`."""
        begin_ns = self._now_ns()
        seq = self._journal.append_all(records, at_ns)
        self._append_ns.record(self._now_ns() - begin_ns)
        return seq


def _sync_directory(directory: Path) -> None:
    """Make the file's name survive a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
