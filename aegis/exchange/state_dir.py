"""One exchange process a state directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from aegis.core.errors import ConfigError

__all__ = ["alone_in"]

_SAVING_S = 10.0


@asynccontextmanager
async def alone_in(directory: Path | None) -> AsyncIterator[None]:
    """Hold the directory, made where missing. None: nothing to hold.

    An exchange whose engine was killed may still be saving there: it is given the time for that.

    Raises:
        ConfigError: another exchange keeps the directory, or it cannot be made.
    """
    if directory is None:
        yield
        return
    descriptor = _open(directory)
    try:
        with trio.move_on_after(_SAVING_S) as patience:
            while not _locked(descriptor):  # noqa: ASYNC110 - another process tells nobody
                await trio.sleep(0.02)
        if patience.cancelled_caught:
            raise ConfigError(f"{directory}: another exchange uses it")
        yield
    finally:
        os.close(descriptor)


def _open(directory: Path) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{directory}: {error.strerror}") from None


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
