"""How long the most urgent lane waits while the lanes below it are offered three times what the loop can do.

The handlers do the work of real ones: they decode an order event of the private stream, over and over for 100 to 250
us. The messages come from tasks on the same loop. A wait is what the message of lane 0 spends on its lane; beside it
stands the time since it was due, in which its producer, too, had to wait for the loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import attrs
import trio

from aegis.research.bench.table import Bench, Row, median_row
from aegis.runtime.clock import SystemClock, seeded_random
from aegis.runtime.lanes import FAST, SLOW, Drainer, Item, Lanes, Priority
from aegis.runtime.metrics import Histogram, Metrics
from aegis.venue.decode import decode_user_event

__all__ = ["measure"]

_SECONDS = 10.0
_OVERLOAD = 3
_URGENT_S = 0.005
_BURST_S = 0.001
_KEYS = 600  # two bars of 300 symbols
_SHORTEST_NS, _LONGEST_NS = 100_000, 250_000
_EVENT = (
    b'{"e":"ORDER_TRADE_UPDATE","E":1568879465651,"T":1568879465650,"o":{"s":"BTCUSDT","c":"a1-7","S":"SELL",'
    b'"o":"LIMIT","f":"IOC","q":"0.001","p":"9910","ap":"9910","sp":"0","x":"TRADE","X":"FILLED","i":8886774,'
    b'"l":"0.001","z":"0.001","L":"9910","N":"USDT","n":"0.0036","T":1568879465650,"t":1,"b":"0","a":"9.91",'
    b'"m":false,"R":false,"wt":"CONTRACT_PRICE","ot":"LIMIT","ps":"BOTH","cp":false,"rp":"0","pP":false,"si":0,'
    b'"ss":0,"V":"NONE","pm":"NONE","gtd":0,"er":"0"}}'
)


@attrs.frozen(kw_only=True)
class _Outcome:
    """Waits of lane 0 in ns, handled items by lane, and how many were offered on lanes 2 to 4."""

    waits: Histogram
    late: Histogram
    handled: tuple[int, ...]
    offered: int
    seconds: float


def measure(bench: Bench) -> Iterator[Row]:
    """The one row of this group."""
    outcomes: list[_Outcome] = []

    def once() -> float:
        outcomes.append(trio.run(_run, bench.effort.seconds(_SECONDS), len(outcomes)))
        return outcomes[-1].waits.percentile(99) / 1e6

    samples = bench.repeat("lane 0 wait p99, ms", once)
    yield median_row(
        "lanes", "lane 0 wait p99, lanes 2-4 offered 3x", samples,
        target=2.0, unit="ms", better="less", invalid=_doubts(outcomes[-1]), detail=_detail(outcomes[-1]),
    )  # fmt: skip


def _detail(last: _Outcome) -> dict[str, float | int | str]:
    return {
        "max ms": last.waits.maximum / 1e6,
        "since due p99 ms": last.late.percentile(99) / 1e6,
        "urgent messages": last.late.count,
        "offered/s": round(last.offered / last.seconds),
        "handled/s": round(sum(last.handled[2:]) / last.seconds),
    }


def _doubts(outcome: _Outcome) -> str:
    """Why the overload was none; empty where it was one."""
    done = sum(outcome.handled[2:])
    if not outcome.late.count:
        return "no message of lane 0 was handled"
    if outcome.offered < _OVERLOAD * 0.9 * done:
        return f"only {outcome.offered / max(done, 1):.1f}x of what was handled was offered"
    return ""


async def _run(seconds: float, seed: int) -> _Outcome:
    clock, metrics, draws = SystemClock(), Metrics(), seeded_random(seed, "bench lanes")
    late = Histogram()

    def handle(item: Item) -> None:
        if item.lane is Priority.CRITICAL:
            late.record(clock.monotonic_ns() - item.message)
        else:
            _work(clock, draws.randrange(_SHORTEST_NS, _LONGEST_NS))

    lanes = Lanes(clock.monotonic_ns, metrics, on_expired=lambda message, reason: None, on_blocked=lambda: None)
    producer = _Producer(lanes, clock.monotonic_ns())
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for group in (FAST, SLOW):
                nursery.start_soon(Drainer(lanes, group, handle, clock.monotonic_ns, metrics).run)
            nursery.start_soon(_urgent, lanes, clock, draws)
            while True:
                producer.catch_up(clock.monotonic_ns())
                await trio.sleep(_BURST_S)
    return _Outcome(
        waits=lanes.stats[Priority.CRITICAL].wait_ns, late=late, offered=producer.offered, seconds=seconds,
        handled=tuple(stats.handled.value for stats in lanes.stats),
    )  # fmt: skip


def _work(clock: SystemClock, lasting_ns: int) -> None:
    """Decode order events for that long."""
    end_ns = clock.monotonic_ns() + lasting_ns
    while clock.monotonic_ns() < end_ns:
        decode_user_event(_EVENT)


async def _urgent(lanes: Lanes, clock: SystemClock, draws: Random) -> None:
    """A message of lane 0 every few milliseconds, at moments that nothing else keeps step with."""
    while True:
        delay_s = draws.uniform(0, 2 * _URGENT_S)
        due_ns = clock.monotonic_ns() + round(delay_s * 1e9)
        await trio.sleep(delay_s)
        lanes.submit(Priority.CRITICAL, due_ns)


class _Producer:
    """Keeps lanes 2, 3 and 4 supplied, a third each, at the rate that is owed since it began."""

    def __init__(self, lanes: Lanes, begin_ns: int) -> None:
        self.offered = 0
        self._lanes = lanes
        self._begin_ns = begin_ns

    def catch_up(self, now_ns: int) -> None:
        owed = (now_ns - self._begin_ns) * 2 * _OVERLOAD // (_SHORTEST_NS + _LONGEST_NS)
        while self.offered < owed:
            self._offer(self.offered)
            self.offered += 1

    def _offer(self, number: int) -> None:
        """What finds no room goes the way of its lane: the oldest expires, the key merges, the oldest is dropped."""
        lane = (Priority.DECISION, Priority.ANALYSIS, Priority.BACKGROUND)[number % 3]
        if lane is Priority.ANALYSIS:
            self._lanes.submit_merge(number % _KEYS, number, lambda _, newer: newer)
        else:
            self._lanes.submit(lane, number, expires=lane is Priority.DECISION)
