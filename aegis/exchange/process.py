"""The child side: the exchange as a process of its own, from its ready line to its exit code.

It ends when asked (SIGINT, SIGTERM) and when the pipe on its stdin closes, so that it never outlives the process that
started it, however that died. On the way out it saves its state.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import AsyncIterator

import trio

from aegis.core.errors import ConfigError, VenueUnavailable
from aegis.exchange.server import serve_exchange
from aegis.exchange.settings import ExchangeSettings
from aegis.runtime import garbage
from aegis.runtime.warm import WarmProgress, warm

__all__ = ["announce", "run_child", "stop_on_end_of_input", "stop_on_signal"]

_EXIT_UNAVAILABLE = 69
_EXIT_CONFIG = 78


def run_child(settings: ExchangeSettings) -> int:
    """Serve until told to stop; returns the exit code (0 stopped on request, 69 no port, 78 wrong settings or state).

    Prints one JSON line with the addresses and keys on stdout when everything listens, errors as one line on stderr.
    """
    code = 0
    try:
        trio.run(_serve, settings)
    except* VenueUnavailable as group:
        code = _fail(group, _EXIT_UNAVAILABLE)
    except* ConfigError as group:
        code = _fail(group, _EXIT_CONFIG)
    return code


def _fail(group: BaseExceptionGroup[Exception], code: int) -> int:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    sys.stderr.write(f"aegis exchange: {error}\n")
    return code


async def _serve(settings: ExchangeSettings) -> None:
    # The receiver stays open to the end: a signal that arrives while the state is saved must not kill the process.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_on_signal, signals, nursery.cancel_scope)
            nursery.start_soon(stop_on_end_of_input, nursery.cancel_scope)
            await warm(_tell)
            addresses = await nursery.start(serve_exchange, settings)
            garbage.settle()
            announce(addresses.to_json() + b"\n", nursery.cancel_scope)


def _tell(progress: WarmProgress) -> None:
    if not progress.cached:
        done = f"{progress.done} of {progress.total}"
        sys.stderr.write(f"aegis exchange: compiled {progress.name} in {progress.seconds:.1f} s ({done})\n")


def announce(line: bytes, scope: trio.CancelScope) -> None:
    """Write the ready line to stdout; cancel `scope` where nobody reads it."""
    try:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        scope.cancel(reason="nobody reads the ready line")


async def stop_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    """Cancel `scope` at the first signal."""
    async for number in signals:
        scope.cancel(reason=signal.Signals(number).name)
        return


async def stop_on_end_of_input(scope: trio.CancelScope) -> None:
    """Cancel `scope` when stdin ends.

    Only a pipe or a socket speaks for a parent; a terminal, a file or /dev/null says nothing about one.
    """
    descriptor = 0
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return
    while True:
        await trio.lowlevel.wait_readable(descriptor)
        if not os.read(descriptor, 4096):
            scope.cancel(reason="end of input")
            return
