"""Make before break: a market socket is replaced before the venue ends it, and nothing is lost or counted twice."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs
import msgspec
import pytest
import trio
import trio.testing

from aegis.config import FeedConfig
from aegis.core.errors import Restartable
from aegis.engine.feed import MarketFeed
from aegis.engine.inputs import ConnectionChange, InputKind, decode_connection
from aegis.engine.shards import Shard
from aegis.kernels.market import counts
from aegis.kernels.wire import frame
from aegis.runtime.clock import VirtualClock, seeded_random
from aegis.runtime.metrics import Metrics
from aegis.runtime.supervise import ConnectionBudget
from aegis.venue.market_socket import MarketSocket, Target, handshake
from tests.component.test_market_socket import accept, read_frame, read_request
from tests.support.engine_rig import MS, NAMES, START_NS, Rig, make_rig

HOUR = 3600.0
DAY = 24 * HOUR


def stream_trade(ms: int, number: int, symbol: int) -> bytes:
    data = {"e": "aggTrade", "E": ms, "s": NAMES[symbol], "a": number, "p": "5000.0", "q": "0.250", "f": 1, "l": 1,
            "T": ms, "m": False}  # fmt: skip
    return frame(msgspec.json.encode({"stream": "x@aggTrade", "data": data}))


@attrs.define(eq=False)
class Tower:
    """A venue that publishes the same trades to every connection, each with a delay of its own, and ends those of 24 h.

    `delays[n]` is how far connection n lags behind; `mute` are connections that never bring data.
    """

    nursery: trio.Nursery
    clock: VirtualClock
    every_s: float
    delays: tuple[float, ...] = ()
    mute: tuple[int, ...] = ()
    dials: list[float] = attrs.field(factory=list)
    ended: dict[int, float] = attrs.field(factory=dict)
    open: dict[int, trio.abc.Stream] = attrs.field(factory=dict)
    published: int = 0
    second: trio.Event = attrs.field(factory=trio.Event)

    async def connect(self, url: str, *, ssl_context: Any = None) -> MarketSocket:
        number = len(self.dials)
        self.dials.append(trio.current_time())
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self._serve, number, theirs)
        return await handshake(ours, Target(tls=False, host="market.test", port=80, path="/stream"))

    async def _serve(self, number: int, stream: trio.abc.Stream) -> None:
        await stream.send_all(accept(await read_request(stream)))
        await read_frame(stream)  # SUBSCRIBE
        await stream.send_all(frame(b'{"result":null,"id":1}'))
        self.open[number] = stream
        if number == 1:
            self.second.set()
        with trio.move_on_after(DAY):
            try:
                while True:
                    opcode, _ = await read_frame(stream)
                    if opcode == 8:
                        break
            except (AssertionError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # it was cut, by us or by them
        self.open.pop(number, None)
        self.ended[number] = trio.current_time()
        await stream.aclose()

    async def publish(self) -> None:
        while True:
            await trio.sleep(self.every_s)
            self.published += 1
            ms = self.clock.venue_ns() // MS
            data = b"".join(stream_trade(ms, self.published, symbol) for symbol in range(3))
            for number in list(self.open):
                if number not in self.mute:
                    self.nursery.start_soon(self._send, number, data)

    async def _send(self, number: int, data: bytes) -> None:
        await trio.sleep(self.delays[number] if number < len(self.delays) else 0.0)
        stream = self.open.get(number)
        if stream is not None:
            try:
                await stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.open.pop(number, None)

    async def cut(self, number: int) -> None:
        """TCP ends without a word."""
        await self.open.pop(number).aclose()


@attrs.define(eq=False)
class Scene:
    tower: Tower
    rig: Rig
    feed: MarketFeed

    async def run(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.tower.publish)
                nursery.start_soon(self._boundaries)
                await self.feed.run()

    async def _boundaries(self) -> None:
        while True:
            await trio.sleep(max(0.1, self.tower.every_s))
            self.rig.machine.boundary(self.rig.now_ns)

    def changes(self) -> list[ConnectionChange]:
        return [decode_connection(data)[0] for kind, _, _, data in self.rig.tape.inputs if kind is InputKind.CONNECTION]

    def traded(self) -> tuple[int, int]:
        """(trades of the first symbol in all rows, its last id)."""
        self.rig.machine.boundary(self.rig.now_ns)
        rows = [row for batch in self.rig.machine._rows for row in batch if row["symbol"] == 0]
        return sum(int(row["trades"]) for row in rows), int(self.rig.machine.table.symbols["last_id"][0])


Stage = Callable[..., Scene]


@pytest.fixture
def stage(autojump_clock: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> Stage:
    def make(
        every_s: float = 0.05, *, delays: tuple[float, ...] = (), mute: tuple[int, ...] = (), shard: int = 1,
        budget: ConnectionBudget | None = None, **config: Any,
    ) -> Scene:  # fmt: skip
        rig, clock = make_rig(), VirtualClock(START_NS, autojump_clock)
        tower = Tower(nursery, clock, every_s, delays, mute)
        monkeypatch.setattr("aegis.engine.feed.connect", tower.connect)
        feed = MarketFeed(
            shard=Shard(number=shard, url="ws://market.test/stream", streams=tuple("abc"), symbols=(0, 1, 2),
                        quotes=False, trades=True),
            machine=rig.machine, config=FeedConfig(**config), budget=budget or ConnectionBudget(100, 300.0),
            venue_ns=clock.venue_ns, monotonic_ns=clock.monotonic_ns, pump=lambda: 0,
            read_ns=MarketFeed.histogram(Metrics()), jitter=seeded_random(7, "rotation", str(shard)),
        )  # fmt: skip
        return Scene(tower, rig, feed)

    return make


def assert_every_trade_once(scene: Scene) -> None:
    trades, last = scene.traded()
    assert trades == last > 0, "ids begin with 1 and the first connection is up before it"
    assert scene.tower.published - last <= 2, "what is on its way at the end"
    seen = counts(scene.rig.machine.table)
    assert (seen["holes"], seen["late_trades"]) == (0, 0)


async def test_for_days_every_connection_is_replaced_before_the_venue_ends_it(
    autojump_clock: Any, stage: Stage, log_lines: Any
) -> None:
    scene = stage(120.0, first_message_s=300.0)
    await scene.run(50 * HOUR)
    first, second, third = scene.tower.dials
    for older, newer in ((first, second), (second, third)):
        assert 0.95 * 23 * HOUR <= newer - older <= 23 * HOUR + 200
    assert scene.tower.ended[0] < second + 310, "the old one is closed, not left to the venue"
    assert scene.tower.ended[1] < third + 310
    up, *more = scene.changes()[:-1]
    assert up is ConnectionChange.UP
    assert set(more) == {ConnectionChange.TAKEN_OVER}, "no symbol went cold"
    assert scene.rig.wanted == [0, 1, 2], "at the start, and never again"
    assert not log_lines.events("feed.not_rotated")
    assert_every_trade_once(scene)


async def test_sockets_do_not_rotate_together_and_a_seed_says_when(autojump_clock: Any, stage: Stage) -> None:
    moments = []
    for shard in (0, 1, 1):
        scene = stage(120.0, shard=shard, first_message_s=300.0)
        start = trio.current_time()
        await scene.run(24 * HOUR)
        moments.append(scene.tower.dials[1] - start)
    assert moments[1] == pytest.approx(moments[2], abs=1e-3)
    assert abs(moments[0] - moments[1]) > 60


@pytest.mark.parametrize("delays", [(0.0, 0.0), (0.7, 0.0), (0.0, 0.7)], ids=["together", "old lags", "new lags"])
async def test_both_deliver_in_the_overlap_and_every_trade_counts_once(
    autojump_clock: Any, stage: Stage, delays: tuple[float, ...]
) -> None:
    scene = stage(delays=delays, rotate_after_s=60.0)
    await scene.run(66)
    assert len(scene.tower.dials) == 2
    trades, last = scene.traded()
    assert trades == last
    assert scene.tower.published - last <= 2 + math.ceil(max(delays) / 0.05)
    seen = counts(scene.rig.machine.table)
    machine = scene.rig.machine
    assert (seen["holes"], machine.takeovers) == (0, 1)
    assert machine.overlapped >= 3 * 25, "some two seconds of three symbols came twice"
    assert seen["duplicate_trades"] - machine.overlapped <= 3 * 16, "counted apart, but for what the lag brought later"
    assert machine.channels[1].overlap == 0


async def test_the_new_socket_dies_in_the_overlap_and_the_old_one_goes_on(
    autojump_clock: Any, stage: Stage, log_lines: Any
) -> None:
    scene = stage(rotate_after_s=60.0)

    async def fault() -> None:
        await scene.tower.second.wait()
        await trio.sleep(1.0)
        await scene.tower.cut(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fault)
        await scene.run(200)
    (failed,) = log_lines.events("feed.not_rotated")
    assert "closed the connection" in failed["reason"]
    assert len(scene.tower.dials) >= 3, "it is tried again"
    assert 30 <= scene.tower.dials[2] - scene.tower.dials[1] <= 92
    assert ConnectionChange.DOWN not in scene.changes()[:-1]
    assert_every_trade_once(scene)


@pytest.mark.parametrize("after_s", [0.3, 1.9])
async def test_the_old_socket_dies_in_the_overlap_and_the_new_one_takes_over_at_once(
    autojump_clock: Any, stage: Stage, log_lines: Any, after_s: float
) -> None:
    scene = stage(rotate_after_s=60.0)

    async def fault() -> None:
        await scene.tower.second.wait()
        await trio.sleep(after_s)
        await scene.tower.cut(0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fault)
        await scene.run(70)
    (rotated,) = log_lines.events("feed.rotated")
    assert "closed the connection" in rotated["reason"]
    assert scene.changes() == [ConnectionChange.UP, ConnectionChange.TAKEN_OVER, ConnectionChange.DOWN]
    assert_every_trade_once(scene)


async def test_a_new_socket_without_data_does_not_take_over_and_is_closed(
    autojump_clock: Any, stage: Stage, log_lines: Any
) -> None:
    scene = stage(0.5, mute=(1,), rotate_after_s=60.0, first_message_s=5.0)
    await scene.run(75)
    (failed,) = log_lines.events("feed.not_rotated")
    assert "brings no data" in failed["reason"]
    assert scene.tower.ended[1] - scene.tower.dials[1] < 8
    assert scene.changes() == [ConnectionChange.UP, ConnectionChange.DOWN]
    assert_every_trade_once(scene)


async def test_where_the_old_socket_dies_before_the_new_one_delivers_the_life_ends_and_both_are_closed(
    autojump_clock: Any,
    stage: Stage,
) -> None:
    scene = stage(mute=(1,), rotate_after_s=60.0)

    async def fault() -> None:
        await scene.tower.second.wait()
        await scene.tower.cut(0)

    with pytest.RaisesGroup(Restartable, flatten_subgroups=True, allow_unwrapped=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fault)
            await scene.run(200)
    await trio.sleep(2)
    assert sorted(scene.tower.ended) == [0, 1]
    assert scene.changes() == [ConnectionChange.UP, ConnectionChange.DOWN]


async def test_at_its_bound_the_overlap_ends_early(autojump_clock: Any, stage: Stage, log_lines: Any) -> None:
    scene = stage(0.0005, rotate_after_s=60.0, overlap_s=30.0, overlap_max_mib=1)
    scene.tower.every_s = 1.0

    async def burst() -> None:
        await scene.tower.second.wait()
        scene.tower.every_s = 0.002

    async with trio.open_nursery() as nursery:
        nursery.start_soon(burst)
        await scene.run(70)
    (rotated,) = log_lines.events("feed.rotated")
    assert rotated["full"]
    assert 1 << 20 <= rotated["held"] <= (1 << 20) + (1 << 16)
    assert_every_trade_once(scene)


async def test_rotation_waits_for_the_connection_budget_and_the_old_socket_serves_meanwhile(
    autojump_clock: Any, stage: Stage
) -> None:
    budget = ConnectionBudget(4, 300.0)
    scene = stage(0.5, budget=budget, rotate_after_s=60.0)

    async def others() -> None:
        await trio.sleep(50)
        for _ in range(3):
            await budget.take()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        await scene.run(310)
    assert scene.tower.dials[1] - scene.tower.dials[0] >= 300
    assert_every_trade_once(scene)


async def test_a_run_that_stops_in_the_overlap_leaves_no_connection_behind(autojump_clock: Any, stage: Stage) -> None:
    scene = stage(rotate_after_s=60.0, overlap_s=30.0)
    await scene.run(64)
    assert len(scene.tower.dials) == 2
    await trio.sleep(2)
    assert sorted(scene.tower.ended) == [0, 1]
