"""The parent side: start an exchange process, wait until it is ready, drain it, and end it for sure."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from aegis.core.errors import VenueUnavailable
from aegis.exchange.settings import ExchangeAddresses
from aegis.runtime.child import module_command

__all__ = ["SpawnedExchange", "exchange_command", "spawn_exchange"]

_LINE_BYTES = 1 << 16
_TAIL_LINES = 50
_REAP_S = 5.0


def exchange_command(arguments: Sequence[str] = ()) -> list[str]:
    """`aegis exchange` by this interpreter, wherever the package is installed."""
    return module_command("aegis", "exchange", *arguments)


@attrs.define(kw_only=True, eq=False)
class SpawnedExchange:
    """A running exchange process."""

    addresses: ExchangeAddresses
    process: trio.Process
    #: Set when the process has ended, whoever ended it.
    died: trio.Event
    #: The last lines of its stderr.
    stderr_tail: deque[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    async def watch(self) -> None:
        """Return never; raise VenueUnavailable when the process ends."""
        await self.died.wait()
        raise VenueUnavailable(_death("the simulated exchange died", self.process.returncode, self.stderr_tail))


def _death(what: str, code: int | None, tail: deque[str]) -> str:
    words = [line for line in (one.strip(" |+-") for one in tail) if line]  # without the frame of an exception group
    last = f": {words[-1]}" if words else ""
    return f"{what} (exit code {code}){last}"


class _Lines:
    """Reads a pipe to its end, a bounded line at a time, so that the child never blocks on it."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._rest = bytearray()

    async def each(self, line: Callable[[bytes], None]) -> None:
        """Call `line` with each, then close the pipe."""
        async with self._stream:
            await self._each(line)

    async def _each(self, line: Callable[[bytes], None]) -> None:
        while True:
            try:
                data = await self._stream.receive_some(_LINE_BYTES)
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                return
            if not data:
                break
            self._rest += data
            *whole, rest = self._rest.split(b"\n")
            for text in whole:
                line(bytes(text))
            self._rest = bytearray(rest[-_LINE_BYTES:])
        if self._rest:
            line(bytes(self._rest))


@asynccontextmanager
async def spawn_exchange(
    command: Sequence[str], *, ready_deadline_s: float = 120.0, grace_s: float = 5.0
) -> AsyncIterator[SpawnedExchange]:
    """Run `command` (see `exchange_command`) in a session of its own for the length of the block.

    Args:
        ready_deadline_s: time for the ready line; the first start on a machine compiles kernels.
        grace_s: time between closing its stdin and killing it, at the end of the block.

    Raises:
        VenueUnavailable: it could not be started, died before it was ready, or was not ready in time. A death after
            that raises nothing here: wait for `died`, or run `watch` in a nursery. An error of the block itself
            leaves in an exception group, as from any nursery.
    """
    try:
        process = await trio.lowlevel.open_process(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C goes to us alone: the exchange ends last
        )
    except OSError as error:
        raise VenueUnavailable(f"cannot start the simulated exchange: {error}") from None
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    died = trio.Event()
    ready_in, ready = trio.open_memory_channel[ExchangeAddresses](1)

    def on_stdout(line: bytes) -> None:
        with contextlib.suppress(ValueError, trio.WouldBlock, trio.ClosedResourceError):
            ready_in.send_nowait(ExchangeAddresses.from_json(line))

    async def reap() -> None:
        await process.wait()
        with trio.move_on_after(_REAP_S):
            await errors_read.wait()  # so that its last words are known to whoever reports its death
        died.set()
        ready_in.close()

    errors_read = trio.Event()

    async def drain_errors() -> None:
        assert process.stderr is not None
        await _Lines(process.stderr).each(lambda line: tail.append(line.decode("utf-8", "replace")))
        errors_read.set()

    assert process.stdout is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reap)
        nursery.start_soon(drain_errors)
        nursery.start_soon(_Lines(process.stdout).each, on_stdout)
        try:
            addresses = await _until_ready(ready, process, tail, ready_deadline_s)
            if not isinstance(addresses, str):
                yield SpawnedExchange(addresses=addresses, process=process, died=died, stderr_tail=tail)
        finally:
            await _end(process, grace_s)
            died.set()
            nursery.cancel_scope.cancel(reason="the exchange process has ended")
    if isinstance(addresses, str):
        raise VenueUnavailable(addresses)  # out here no nursery wraps it in a group


async def _until_ready(
    ready: trio.MemoryReceiveChannel[ExchangeAddresses], process: trio.Process, tail: deque[str], deadline_s: float
) -> ExchangeAddresses | str:
    """The addresses, or why there are none."""
    try:
        with trio.fail_after(deadline_s):
            return await ready.receive()
    except trio.EndOfChannel:
        return _death("the simulated exchange did not start", process.returncode, tail)
    except trio.TooSlowError:
        return f"the simulated exchange was not ready within {deadline_s:g} s"


async def _end(process: trio.Process, grace_s: float) -> None:
    """Close its stdin, wait, kill its whole group if it must be; shielded, with a deadline on every step."""
    with trio.move_on_after(grace_s, shield=True):
        assert process.stdin is not None
        await process.stdin.aclose()
        await process.wait()
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with trio.move_on_after(_REAP_S, shield=True):
            await process.wait()
