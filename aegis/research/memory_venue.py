"""A simulated exchange inside this process, behind the same port as the real one: no sockets, the caller's clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import trio

from aegis.exchange.api import ApiRequest, ApiResponse
from aegis.exchange.simulator import Simulator
from aegis.venue.http import HttpReply

__all__ = ["MemoryPort", "Mover"]


class Mover:
    """Moves a simulator through virtual time; one task calls `until`, everybody else only schedules things."""

    def __init__(self, simulator: Simulator, now_ns: Callable[[], int]) -> None:
        self.simulator = simulator
        self._now_ns = now_ns
        self._ring, self._bell = trio.open_memory_channel[None](1)

    def scheduled(self) -> None:
        """Something new may be due before what was known."""
        try:
            self._ring.send_nowait(None)
        except trio.WouldBlock:
            return  # it will look anyway

    async def until(self, target_ns: int) -> None:
        """Sleep to `target_ns` of the clock, running everything that falls due on the way at its own time."""
        while (now_ns := self._now_ns()) < target_ns:
            due_ns = self.simulator.next_ns()
            wake_ns = target_ns if due_ns is None else min(target_ns, due_ns)
            if wake_ns > now_ns:
                with trio.move_on_after((wake_ns - now_ns) / 1e9):
                    await self._bell.receive()
            if due_ns is not None and due_ns <= self._now_ns():
                self.simulator.advance(due_ns)
        self.simulator.advance(target_ns)


class MemoryPort:
    """`HttpPort` on a simulator. A reply takes as long as the simulator's latency says."""

    def __init__(self, mover: Mover, now_ns: Callable[[], int]) -> None:
        self._mover = mover
        self._now_ns = now_ns

    async def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
        path, _, query = target.partition("?")
        request = ApiRequest(
            method=method, path=path, query=query.encode(), body=body, api_key=headers.get("X-MBX-APIKEY")
        )
        answered = trio.Event()
        answers: list[ApiResponse] = []

        def deliver(response: ApiResponse) -> None:
            answers.append(response)
            answered.set()

        self._mover.simulator.request(request, self._now_ns(), deliver)
        self._mover.scheduled()
        await answered.wait()
        (answer,) = answers
        return HttpReply(
            status=answer.status, headers={name.lower(): text for name, text in answer.headers}, body=answer.body
        )

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
