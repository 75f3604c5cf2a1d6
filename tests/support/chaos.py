"""A disk that fails on order."""

from __future__ import annotations

import os


class FaultyDisk:
    """`os`, but the next write stores only `short` bytes, or fails with `write_errno`; syncs with `sync_errno`."""

    def __init__(self) -> None:
        self.write_errno = 0
        self.sync_errno = 0
        self.truncate_errno = 0
        self.short: int | None = None
        self.syncs = 0

    def write(self, fd: int, data: bytes) -> int:
        if self.write_errno:
            raise OSError(self.write_errno, os.strerror(self.write_errno))
        if self.short is not None:
            return os.write(fd, data[: self.short])
        return os.write(fd, data)

    def fdatasync(self, fd: int) -> None:
        self.syncs += 1
        if self.sync_errno:
            raise OSError(self.sync_errno, os.strerror(self.sync_errno))
        os.fdatasync(fd)

    def ftruncate(self, fd: int, length: int) -> None:
        if self.truncate_errno:
            raise OSError(self.truncate_errno, os.strerror(self.truncate_errno))
        os.ftruncate(fd, length)
