"""What goes wrong on sockets: user events that are lost, doubled or late, and connections that break in ugly ways."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import trio

from aegis.exchange.connection import Connection
from aegis.exchange.fault_draws import FaultPlan

__all__ = ["FaultyPush", "break_connection"]

#: How often a connection looks whether other faults are on by now.
_LOOK_S = 1.0


class FaultyPush:
    """Stands between the exchange and its private sockets.

    Args:
        publish: called with (account id, payload) of what arrives.
    """

    def __init__(self, publish: Callable[[str, bytes], None], plan: FaultPlan) -> None:
        self._publish = publish
        self._plan = plan
        self._later: list[tuple[int, int, str, bytes]] = []
        self._number = 0
        self._now_ns = 0

    def push(self, account: str, payload: bytes) -> None:
        """One event; that a listen key is over is told whatever happens."""
        plan, shares = self._plan, self._plan.faults.events
        if b'"listenKeyExpired"' in payload[:40]:
            self._publish(account, payload)
        elif plan.happens("missing", shares.missing):
            pass
        elif plan.happens("reordered", shares.reordered):
            self._number += 1
            due_ns = self._now_ns + round(plan.uniform("delay_s", shares.delay_s) * 1e9)
            heapq.heappush(self._later, (due_ns, self._number, account, payload))
        else:
            for _ in range(2 if plan.happens("duplicate", shares.duplicate) else 1):
                self._publish(account, payload)

    def step(self, now_ns: int) -> None:
        """Send what was held back until now."""
        self._now_ns = now_ns
        while self._later and self._later[0][0] <= now_ns:
            _, _, account, payload = heapq.heappop(self._later)
            self._publish(account, payload)


async def break_connection(connection: Connection, plan: FaultPlan) -> None:
    """Live beside a connection and, when its time has come, do to it what the faults say. Ends with the connection."""
    begun = trio.current_time()
    rates = None
    due: dict[str, float] = {}
    while not connection.closing:
        told = plan.faults.sockets
        if (now_on := (told.reset_every_s, told.half_open_every_s, told.slow_every_s)) != rates:
            rates, begun = now_on, trio.current_time()
            names = ("socket_reset", "socket_half_open", "socket_slow")
            due = {name: plan.waiting_s(name, mean_s) for name, mean_s in zip(names, rates, strict=True)}
        passed_s = trio.current_time() - begun
        for name in [name for name, wait_s in due.items() if wait_s <= passed_s]:
            del due[name]
            plan.counts[name] += 1
            if name == "socket_reset":
                connection.break_off()
            elif name == "socket_half_open":
                connection.go_mute()
            else:
                connection.slow_down(told.slow_bytes_per_s)
        wait_s = min(due.values(), default=float("inf")) - passed_s
        await trio.sleep(min(_LOOK_S, max(0.0, wait_s)))
