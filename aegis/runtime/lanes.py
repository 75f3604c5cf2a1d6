"""Five bounded lanes, drained strictly in order; each has its own answer to being full.

A lane item is a frozen message, never a coroutine. Producers submit from the loop thread; two drainers take, the fast
one lanes 0-2, the slow one lanes 3-4, and go back to the highest lane after every item. Trio cannot wait on several
channels at once, so a drainer waits on a one-slot bell that every submission to its lanes rings.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import attrs
import trio

from aegis.core.errors import AegisError, InvariantBroken
from aegis.runtime.metrics import Histogram, Metrics

__all__ = ["FAST", "SLOW", "Drainer", "Item", "LaneFull", "Lanes", "Priority"]


class Priority(enum.IntEnum):
    """Lanes, most urgent first."""

    CRITICAL = 0
    EXECUTION = 1
    DECISION = 2
    ANALYSIS = 3
    BACKGROUND = 4


FAST: tuple[Priority, ...] = (Priority.CRITICAL, Priority.EXECUTION, Priority.DECISION)
SLOW: tuple[Priority, ...] = (Priority.ANALYSIS, Priority.BACKGROUND)

#: Slots of each lane. CRITICAL: halts, kills and exits of 300 symbols twice over. EXECUTION: a burst of fills and
#: replies of every working order (200 at most) several times. DECISION: one signal or hit a symbol and their deadlines.
#: ANALYSIS: keys, two bars a symbol. BACKGROUND: anything here may be lost.
DEPTHS = (1024, 4096, 1024, 1024, 1024)

BLOCKED_AFTER_S = 0.100
HANDLER_BUDGET_NS = 250_000
CHECKPOINT_ITEMS = 64
CHECKPOINT_NS = 1_000_000


class LaneFull(AegisError):
    """The lane takes no more now; nothing was queued. The caller keeps the message or denies what it stands for."""

    def __init__(self, lane: Priority) -> None:
        super().__init__(f"lane {lane.name} is full")
        self.lane = lane


@attrs.frozen(kw_only=True)
class Item:
    """A message on its lane. `seq` counts all submissions of the process, `enqueue_ns` is monotonic."""

    lane: Priority
    seq: int
    enqueue_ns: int
    message: Any
    expires: bool = False


class _Lane:
    """One lane's numbers; `waiting_since_ns` is when its queue last moved on or stopped being empty, -1 when empty."""

    __slots__ = (
        "blocked",
        "dropped",
        "expired",
        "handled",
        "merged",
        "refused",
        "submitted",
        "wait_ns",
        "waiting_since_ns",
    )

    def __init__(self, lane: Priority, metrics: Metrics) -> None:
        name = f"lane.{lane.name.lower()}"
        self.submitted = metrics.counter(f"{name}.submitted")
        self.handled = metrics.counter(f"{name}.handled")
        self.refused = metrics.counter(f"{name}.refused")
        self.blocked = metrics.counter(f"{name}.blocked")
        self.dropped = metrics.counter(f"{name}.dropped")
        self.expired = metrics.counter(f"{name}.expired")
        self.merged = metrics.counter(f"{name}.merged")
        self.wait_ns: Histogram = metrics.histogram(f"{name}.wait_ns")
        self.waiting_since_ns = -1


class Lanes:
    """The five lanes. All methods belong to the loop thread.

    Args:
        monotonic_ns: the engine's clock.
        on_expired: told (message, reason) when a full DECISION lane gives up its oldest signal.
        on_blocked: called when a producer has waited on EXECUTION for 100 ms: entries halt, the account is reconciled.
        depths: slots of each lane.
    """

    def __init__(
        self,
        monotonic_ns: Callable[[], int],
        metrics: Metrics,
        *,
        on_expired: Callable[[Any, str], None],
        on_blocked: Callable[[], None],
        depths: Sequence[int] = DEPTHS,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._on_expired = on_expired
        self._on_blocked = on_blocked
        self._depths = tuple(depths)
        channels = [trio.open_memory_channel[Item](depth) for depth in depths]
        self._send = [send for send, _ in channels]
        self._receive = [receive for _, receive in channels]
        # ANALYSIS keeps its newest content by key; its channel carries only the order of the keys.
        self._coalesced: dict[Hashable, Item] = {}
        self._seq = 0
        bells = {group: trio.open_memory_channel[None](1) for group in (FAST, SLOW)}
        self._rings = {group: ring for group, (ring, _) in bells.items()}
        self._bells = {group: bell for group, (_, bell) in bells.items()}
        self._rung: set[tuple[Priority, ...]] = set()
        self.stats = tuple(_Lane(lane, metrics) for lane in Priority)
        for lane in Priority:
            metrics.gauge(f"lane.{lane.name.lower()}.depth", lambda lane=lane: self.depth(lane))  # type: ignore[misc]
            metrics.gauge(f"lane.{lane.name.lower()}.stalled_ns", lambda lane=lane: self.stalled_ns(lane))  # type: ignore[misc]

    # -- producers -----------------------------------------------------------------------------------------------------
    def submit(self, lane: Priority, message: Any, *, expires: bool = False) -> None:
        """Queue a message without waiting.

        Full: CRITICAL raises InvariantBroken (its producers are bounded by construction); EXECUTION raises LaneFull
        (use `submit_wait`); DECISION lets its oldest `expires=True` message go, and raises LaneFull where there is
        none; BACKGROUND drops its oldest and counts it. ANALYSIS takes `submit_merge` alone.
        """
        assert lane is not Priority.ANALYSIS, "the ANALYSIS lane coalesces: use submit_merge"
        item = self._item(lane, message, expires=expires)
        try:
            self._put(item)
        except trio.WouldBlock:
            self._make_room(lane)
            self._put(item)

    def submit_merge(self, key: Hashable, message: Any, merge: Callable[[Any, Any], Any]) -> None:
        """Queue on ANALYSIS under `key`; a message that waits there becomes `merge(waiting, message)` in its place.

        Raises LaneFull when as many keys wait as the lane has slots.
        """
        lane = Priority.ANALYSIS
        waiting = self._coalesced.get(key)
        if waiting is not None:
            self._coalesced[key] = attrs.evolve(waiting, message=merge(waiting.message, message))
            self.stats[lane].merged.value += 1
            return
        item = self._item(lane, message, expires=False)
        try:
            self._put(attrs.evolve(item, message=key))
        except trio.WouldBlock:
            self.stats[lane].refused.value += 1
            raise LaneFull(lane) from None
        self._coalesced[key] = item

    def passing(self, group: tuple[Priority, ...], lane: Priority, message: Any) -> Item | None:
        """The message as an item that need not wait, because nothing does on any lane of the group; else None."""
        if any(self.stats[one].waiting_since_ns >= 0 for one in group):
            return None
        self.stats[lane].submitted.value += 1
        self.stats[lane].wait_ns.record(0)
        return self._item(lane, message, expires=False)

    async def submit_wait(self, message: Any) -> None:
        """Queue on EXECUTION, waiting for room; after 100 ms of waiting `on_blocked()` is called, once a wait.

        Cancellation: the message may or may not have been queued. There is no deadline on the send itself: one that
        expires could lose a race with the room it waited for.
        """
        lane = Priority.EXECUTION
        item = self._item(lane, message, expires=False)
        try:
            self._put(item)
        except trio.WouldBlock:
            self.stats[lane].blocked.value += 1
        else:
            await trio.lowlevel.checkpoint()
            return

        async def watch() -> None:
            await trio.sleep(BLOCKED_AFTER_S)
            self._on_blocked()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await self._send[lane].send(item)
            self._count(item)
            nursery.cancel_scope.cancel(reason="the lane has room again")

    def room(self, lane: Priority) -> int:
        """Messages that the lane still takes without any policy coming into play."""
        return self._depths[lane] - self.depth(lane)

    def close(self) -> None:
        """No more submissions; drainers empty their lanes and end."""
        for send in self._send:
            send.close()
        for ring in self._rings.values():
            ring.close()

    # -- numbers -------------------------------------------------------------------------------------------------------
    def depth(self, lane: Priority) -> int:
        """Messages that wait on the lane."""
        return self._receive[lane].statistics().current_buffer_used

    def stalled_ns(self, lane: Priority) -> int:
        """How long the lane has had something to do and did not get to it; 0 when it is empty."""
        return self._monotonic_ns() - self.stats[lane].waiting_since_ns if self.depth(lane) else 0

    # -- drainers ------------------------------------------------------------------------------------------------------
    def take(self, group: tuple[Priority, ...]) -> Item | None:
        """The next item of the group's highest lane that has one."""
        for lane in group:
            try:
                item = self._receive[lane].receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                self.stats[lane].waiting_since_ns = -1
                continue
            if lane is Priority.ANALYSIS:
                item = self._coalesced.pop(item.message)
            now_ns = self._monotonic_ns()
            stats = self.stats[lane]
            stats.wait_ns.record(now_ns - item.enqueue_ns)
            stats.waiting_since_ns = now_ns
            return item
        return None

    async def wait(self, group: tuple[Priority, ...]) -> None:
        """Wait for the bell of the group. Raises trio.EndOfChannel once the lanes are closed."""
        await self._bells[group].receive()
        self._rung.discard(group)

    # -- inside --------------------------------------------------------------------------------------------------------
    def _item(self, lane: Priority, message: Any, *, expires: bool) -> Item:
        self._seq += 1
        return Item(lane=lane, seq=self._seq, enqueue_ns=self._monotonic_ns(), message=message, expires=expires)

    def _put(self, item: Item) -> None:
        self._send[item.lane].send_nowait(item)
        self._count(item)

    def _count(self, item: Item) -> None:
        stats = self.stats[item.lane]
        stats.submitted.value += 1
        if stats.waiting_since_ns < 0:
            stats.waiting_since_ns = item.enqueue_ns
        group = FAST if item.lane <= Priority.DECISION else SLOW
        if group not in self._rung:  # a bell that rings already is enough
            self._rung.add(group)
            self._rings[group].send_nowait(None)

    def _make_room(self, lane: Priority) -> None:
        if lane is Priority.BACKGROUND:
            self._receive[lane].receive_nowait()
            self.stats[lane].dropped.value += 1
            return
        if lane is Priority.DECISION and self._expire_oldest():
            return
        self.stats[lane].refused.value += 1
        if lane is Priority.CRITICAL:
            raise InvariantBroken(f"lane CRITICAL is full at {self._depths[lane]}: its producers must be bounded")
        raise LaneFull(lane)

    def _expire_oldest(self) -> bool:
        """Take out the oldest item that may expire: the head, or else the lane is turned round once without it.

        Nobody waits on the lane meanwhile.
        """
        lane = Priority.DECISION
        oldest: Item | None = None
        for place in range(self.depth(lane)):
            item = self._receive[lane].receive_nowait()
            if oldest is None and item.expires:
                oldest = item
                if place == 0:
                    break
            else:
                self._send[lane].send_nowait(item)
        if oldest is None:
            return False
        self.stats[lane].expired.value += 1
        self._on_expired(oldest.message, "the decision lane is full")
        return True


class Drainer:
    """Takes from one group of lanes and calls the synchronous handler of each item, highest lane first.

    Args:
        group: `FAST` or `SLOW`.
        handle: must return within 250 us; a longer call is counted, an exception ends the drainer.
    """

    def __init__(
        self,
        lanes: Lanes,
        group: tuple[Priority, ...],
        handle: Callable[[Item], None],
        monotonic_ns: Callable[[], int],
        metrics: Metrics,
    ) -> None:
        assert group in (FAST, SLOW), "a drainer serves FAST or SLOW"
        name = "fast" if group == FAST else "slow"
        self._lanes = lanes
        self._group = group
        self._handle = handle
        self._monotonic_ns = monotonic_ns
        self._most = CHECKPOINT_ITEMS if group == FAST else 1
        self._busy = False
        self.handler_ns: Histogram = metrics.histogram(f"drainer.{name}.handler_ns")
        self.overruns = metrics.counter(f"drainer.{name}.handler_overruns")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until the lanes are closed and empty. Awaits its bell alone, and yields after 64 items or 1 ms; the
        slow one after each item: what the sockets have brought meanwhile may be a price that an order waits for."""
        task_status.started()
        open_ = True
        while open_:
            try:
                await self._lanes.wait(self._group)
            except trio.EndOfChannel:
                open_ = False
            await self._drain()

    async def _drain(self) -> None:
        since_ns, served = self._monotonic_ns(), 0
        while self._serve_one():
            served += 1
            if served >= self._most or self._monotonic_ns() - since_ns >= CHECKPOINT_NS:
                await trio.lowlevel.checkpoint()
                since_ns, served = self._monotonic_ns(), 0

    def pump(self, limit: int = CHECKPOINT_ITEMS) -> int:
        """Serve up to `limit` items right now, for the feed between two reads; returns how many.

        What is left is the drainer task's: its bell has been rung. Not for use inside a handler.
        """
        served = 0
        while served < limit and self._serve_one():
            served += 1
        return served

    def serve(self, lane: Priority, message: Any) -> bool:
        """Handle a message right now, without the turn that the drainer's task would take for it.

        False where something waits before it or is being handled: submit it then.
        """
        item = None if self._busy else self._lanes.passing(self._group, lane, message)
        if item is not None:
            self._run(item)
        return item is not None

    def _serve_one(self) -> bool:
        assert not self._busy, "a handler must not drain the lanes it is served from"
        item = self._lanes.take(self._group)
        if item is not None:
            self._run(item)
        return item is not None

    def _run(self, item: Item) -> None:
        self._busy = True
        begin_ns = self._monotonic_ns()
        try:
            self._handle(item)
        finally:
            self._busy = False
        took_ns = self._monotonic_ns() - begin_ns
        self.handler_ns.record(took_ns)
        if took_ns > HANDLER_BUDGET_NS:
            self.overruns.value += 1
        self._lanes.stats[item.lane].handled.value += 1
