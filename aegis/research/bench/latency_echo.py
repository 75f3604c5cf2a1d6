"""The floor under every figure of this group: one message through a Trio program that does nothing but send it back.

    python -m aegis.research.bench.latency_echo

is that program; `echo_floor` starts it, and stamps as the relay does: before the send call, and in a thread that reads.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import numpy.typing as npt
import trio

from aegis.core.errors import VenueUnavailable
from aegis.runtime.child import module_command
from aegis.runtime.clock import SystemClock

__all__ = ["echo_floor"]

_monotonic_ns = SystemClock().monotonic_ns

_MESSAGE = b"x" * 300  # about the size of an order
_PAUSE_S = 0.002
_READ_BYTES = 1 << 16
_PATIENCE_S = 30.0


def echo_floor(count: int) -> npt.NDArray[np.int64]:
    """Nanoseconds from before the send to bytes in the reading thread's hand, of `count` messages one after another.

    Raises VenueUnavailable where the echo did not start or stopped answering.
    """
    command = module_command("aegis.research.bench.latency_echo")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - of ours
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        with socket.create_connection(("127.0.0.1", int(process.stdout.readline() or 0))) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _measure(line, count)
    except (OSError, ValueError) as error:
        raise VenueUnavailable(f"the echo: {error}") from None
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def _measure(line: socket.socket, count: int) -> npt.NDArray[np.int64]:
    arrived: list[int] = []
    heard = threading.Semaphore(0)

    def read() -> None:
        size = 0
        while data := line.recv(_READ_BYTES):
            stamp_ns = _monotonic_ns()
            size += len(data)
            if size // len(_MESSAGE) > len(arrived):
                arrived.append(stamp_ns)
                heard.release()

    threading.Thread(target=read, name="echo reader", daemon=True).start()
    sent: list[int] = []
    pause = threading.Event()
    for _ in range(count):
        pause.wait(_PAUSE_S)  # an idle program, as an engine is between two orders
        sent.append(_monotonic_ns())
        line.sendall(_MESSAGE)
        if not heard.acquire(timeout=_PATIENCE_S):
            raise VenueUnavailable("the echo stopped answering")
    line.shutdown(socket.SHUT_RDWR)
    return np.array(arrived, np.int64) - np.array(sent, np.int64)


async def _serve() -> None:
    async def echo(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)
        nursery.cancel_scope.cancel(reason="the line is closed")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
        sys.stdout.write(f"{listeners[0].socket.getsockname()[1]}\n")
        sys.stdout.flush()
        await trio.lowlevel.wait_readable(0)  # the bench closes our stdin, or dies
        nursery.cancel_scope.cancel(reason="end of input")


if __name__ == "__main__":
    trio.run(_serve)
