"""One life of a market socket against a scripted server, on memory streams and the virtual clock."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from aegis.config import FeedConfig
from aegis.core.errors import Restartable, VenueUnavailable
from aegis.engine.feed import MarketFeed
from aegis.engine.shards import Shard
from aegis.kernels.wire import frame
from aegis.runtime.clock import VirtualClock
from aegis.runtime.metrics import Metrics
from aegis.runtime.supervise import ConnectionBudget, RestartBudgetExceeded, RestartPolicy, supervise
from aegis.venue.market_socket import MarketSocket, Target, handshake
from tests.component.test_market_socket import accept, read_frame, read_request
from tests.support.engine_rig import MS, START_NS, Rig, make_rig, marks, quote, trade

Script = Callable[[trio.abc.Stream], Awaitable[None]]
QUOTES = tuple(f"{name}@bookTicker" for name in ("btcusdt", "ethusdt", "solusdt"))
ACK = frame(b'{"result":null,"id":1}')


@attrs.define(eq=False)
class Line:
    """A feed whose connections end at `script`; `tail` comes in one packet with the handshake."""

    rig: Rig
    feed: MarketFeed
    clock: VirtualClock
    dials: list[float]
    said: list[tuple[int, bytes]]
    pumped: list[int]

    async def life(self) -> str:
        why = ""
        try:
            await self.feed.run()
        except* Restartable as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            why = str(error)
        return why


def make_line(
    autojump_clock: Any,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
    script: Script,
    *,
    streams: tuple[str, ...] = QUOTES,
    tail: bytes = ACK,
    budget: ConnectionBudget | None = None,
    **config: Any,
) -> Line:
    rig, clock = make_rig(spare=4), VirtualClock(START_NS, autojump_clock)
    dials: list[float] = []
    said: list[tuple[int, bytes]] = []
    pumped: list[int] = []

    async def connect(url: str, *, ssl_context: Any = None) -> MarketSocket:
        dials.append(trio.current_time())
        ours, theirs = trio.testing.memory_stream_pair()

        async def serve() -> None:
            try:
                headers = await read_request(theirs)
                await theirs.send_all(accept(headers) + tail)
                said.append(await read_frame(theirs))
                await script(theirs)
            except (trio.BrokenResourceError, trio.ClosedResourceError, AssertionError):
                return  # the client has left

        nursery.start_soon(serve)
        return await handshake(ours, Target(tls=False, host="market.test", port=80, path="/stream"))

    monkeypatch.setattr("aegis.engine.feed.connect", connect)
    metrics = Metrics()

    def pump() -> int:
        pumped.append(len(rig.tape.inputs))
        return 0

    feed = MarketFeed(
        shard=Shard(number=0, url="ws://market.test/stream", streams=streams, symbols=(0, 1, 2), quotes=True,
                    trades=False),
        machine=rig.machine, config=FeedConfig(**config), budget=budget or ConnectionBudget(100, 300.0),
        venue_ns=clock.venue_ns, monotonic_ns=clock.monotonic_ns, pump=pump, read_ns=MarketFeed.histogram(metrics),
        jitter=random.Random(5),
    )  # fmt: skip
    return Line(rig, feed, clock, dials, said, pumped)


async def shut(stream: trio.abc.Stream) -> None:
    await stream.send_all(b"\x88\x02" + (1012).to_bytes(2, "big"))


async def mute(stream: trio.abc.Stream) -> None:
    await trio.sleep_forever()


async def test_streams_are_asked_for_in_one_message_and_frames_behind_the_handshake_count(
    autojump_clock: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = make_line(autojump_clock, nursery, monkeypatch, shut, tail=ACK + quote(1, 1, 4999.0, 5001.0))
    assert "1012" in await line.life()
    assert [json.loads(body) for _, body in line.said] == [{"method": "SUBSCRIBE", "params": list(QUOTES), "id": 1}]
    assert line.rig.machine.table.symbols["bid"][0] == 4999.0
    assert [kind.name for kind, *_ in line.rig.tape.inputs] == ["CONNECTION", "READ", "READ", "CONNECTION"]
    assert [data for kind, _, _, data in line.rig.tape.inputs if kind.name == "CONNECTION"] == [b"\1", b"\0"]
    assert line.rig.machine.table.symbols["suspended"][:3].all()
    assert line.pumped == [1, 2], "what is older is decided before each read"


async def test_a_ping_is_answered_and_the_socket_lives_on(
    autojump_clock: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    pongs: list[tuple[int, bytes]] = []

    async def script(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"\x89\x04" + b"ping" + quote(1, 1, 1.0, 2.0))
        pongs.append(await read_frame(stream))
        await shut(stream)

    line = make_line(autojump_clock, nursery, monkeypatch, script)
    await line.life()
    assert pongs == [(10, b"ping")]


async def test_frames_in_pieces_are_read_whole(
    autojump_clock: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = b"".join(quote(n, n, 100.0 + n, 200.0 + n, n % 3) for n in range(1, 60))

    async def script(stream: trio.abc.Stream) -> None:
        random.seed(1)
        left = frames
        while left:
            cut = random.randint(1, 400)
            await stream.send_all(left[:cut])
            left = left[cut:]
            await trio.sleep(0.01)
        await shut(stream)

    line = make_line(autojump_clock, nursery, monkeypatch, script)
    await line.life()
    assert line.rig.machine.table.symbols["update_id"][:3].tolist() == [57, 58, 59]


async def test_a_socket_that_only_acknowledges_is_on_the_wrong_route(
    autojump_clock: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(stream: trio.abc.Stream) -> None:
        for _ in range(200):  # control frames are no data, however many
            await stream.send_all(b"\x89\x04ping")
            await trio.sleep(0.1)

    line = make_line(autojump_clock, nursery, monkeypatch, script, first_message_s=10.0)
    assert "subscribed, and silent for 10 s" in await line.life()
    assert trio.current_time() == pytest.approx(10, abs=0.5)


async def test_one_small_message_is_enough_to_be_heard_and_silent_streams_are_named(
    autojump_clock: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, log_lines: Any
) -> None:
    async def script(stream: trio.abc.Stream) -> None:
        await trio.sleep(1)
        await stream.send_all(quote(1, 1, 1.0, 2.0, 1))
        await trio.sleep(20)
        await shut(stream)

    line = make_line(autojump_clock, nursery, monkeypatch, script, first_message_s=10.0)
    assert "1012" in await line.life()
    (silent,) = log_lines.events("feed.silent")
    assert (silent["count"], silent["streams"]) == (2, [QUOTES[0], QUOTES[2]])


@pytest.mark.parametrize(("streams", "limit_s"), [(QUOTES, 60), ((*QUOTES, "!markPrice@arr@1s"), 10)])
async def test_a_socket_that_falls_silent_is_made_anew(
    autojump_clock: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, streams: tuple[str, ...], limit_s: int
) -> None:
    async def script(stream: trio.abc.Stream) -> None:
        for n in range(1, 50):
            await stream.send_all(b"".join(quote(n, n, 1.0, 2.0, i) for i in range(3)))
            await trio.sleep(1)
        await trio.sleep_forever()

    line = make_line(autojump_clock, nursery, monkeypatch, script, streams=streams, first_message_s=10.0)
    assert f"silent for {limit_s} s" in await line.life()
    assert limit_s < trio.current_time() - 48 <= 2.2 * limit_s


async def test_a_server_that_never_answers_is_unavailable(
    autojump_clock: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(url: str, *, ssl_context: Any = None) -> MarketSocket:
        await trio.sleep_forever()
        raise AssertionError

    line = make_line(autojump_clock, nursery, monkeypatch, mute, connect_timeout_s=3.0)
    monkeypatch.setattr("aegis.engine.feed.connect", connect)
    with pytest.raises(VenueUnavailable, match="no connection in time"):
        await line.feed.run()
    assert trio.current_time() == pytest.approx(3)
    assert line.rig.tape.inputs == []


async def test_a_server_that_takes_no_subscription_is_unavailable_and_its_socket_closed(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    closed: list[float] = []

    class Clogged:
        inbox = None

        async def send_text(self, payload: bytes) -> None:
            await trio.sleep_forever()

        async def close(self) -> None:
            closed.append(trio.current_time())

    async def connect(url: str, *, ssl_context: Any = None) -> Any:
        return Clogged()

    line = make_line(autojump_clock, nursery, monkeypatch, mute, connect_timeout_s=3.0)
    monkeypatch.setattr("aegis.engine.feed.connect", connect)
    with pytest.raises(VenueUnavailable, match="takes no subscription"):
        await line.feed.run()
    assert closed == [pytest.approx(3)]


async def test_bytes_that_are_no_websocket_end_the_life_and_not_the_run(
    autojump_clock: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"\xf7\xff garbage")
        await trio.sleep_forever()

    line = make_line(autojump_clock, nursery, monkeypatch, script)
    assert "broke the WebSocket protocol" in await line.life()


async def test_reconnects_stay_inside_the_connection_budget(
    autojump_clock: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, log_lines: Any
) -> None:
    line = make_line(autojump_clock, nursery, monkeypatch, shut, budget=ConnectionBudget(5, 300.0))
    policy = RestartPolicy(jitter=random.Random(1), cap_s=1.0, max_failures=12, window_s=10_000.0)
    with pytest.raises(RestartBudgetExceeded, match="1012"):
        await supervise("feed", line.feed.run, policy)
    assert line.feed.lives == len(line.dials) == 12
    for first in line.dials:
        assert sum(first <= dial < first + 300.0 for dial in line.dials) <= 5
    assert [event["life"] for event in log_lines.events("feed.connected")] == list(range(1, 13))


async def test_every_life_asks_for_history_again_because_trades_went_by(
    autojump_clock: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(stream: trio.abc.Stream) -> None:
        ms = line.clock.venue_ns() // MS
        await stream.send_all(trade(ms, 1, 5000.0) + marks(ms))
        await shut(stream)

    line = make_line(autojump_clock, nursery, monkeypatch, script)
    line.feed.shard = attrs.evolve(line.feed.shard, number=1, quotes=False, trades=True)
    for life in (1, 2):
        await line.life()
        assert line.rig.wanted == [0, 1, 2] * life
        assert line.feed.read_ns.count > 0


async def test_a_symbol_more_is_asked_for_on_the_live_connection_and_again_on_the_next(
    autojump_clock: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[list[dict[str, Any]]] = []

    async def script(stream: trio.abc.Stream) -> None:
        heard.append([])
        with trio.move_on_after(3.0):
            while True:
                message = json.loads((await read_frame(stream))[1])
                heard[-1].append(message)
                await stream.send_all(frame(json.dumps({"result": None, "id": message["id"]}).encode()))
        await shut(stream)

    line = make_line(autojump_clock, nursery, monkeypatch, script, tail=ACK + quote(1, 1, 1.0, 2.0))
    carried = []

    async def join() -> None:
        await trio.sleep(1.0)
        await line.feed.carry(3, "newusdt@bookTicker")
        carried.append(trio.current_time())

    async with trio.open_nursery() as inner:
        inner.start_soon(join)
        await line.life()
    assert carried == [1.0]
    assert heard == [[{"method": "SUBSCRIBE", "params": ["newusdt@bookTicker"], "id": 2}]]
    assert line.feed.shard.symbols == (0, 1, 2, 3)
    await line.life()
    assert heard[1:] == [[]]
    assert json.loads(line.said[1][1])["params"] == [*QUOTES, "newusdt@bookTicker"]


async def test_changes_of_a_moment_go_in_one_message_of_each_kind_and_then_there_is_a_pause(
    autojump_clock: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[float, str, list[str]]] = []

    async def script(stream: trio.abc.Stream) -> None:
        with trio.move_on_after(5.0):
            while True:
                message = json.loads((await read_frame(stream))[1])
                heard.append((trio.current_time(), message["method"], message["params"]))
        await shut(stream)

    line = make_line(autojump_clock, nursery, monkeypatch, script, tail=ACK + quote(1, 1, 1.0, 2.0))

    async def join() -> None:
        await trio.sleep(1.0)
        async with trio.open_nursery() as carrying:
            for number in range(3, 6):
                carrying.start_soon(line.feed.carry, number, f"s{number}@bookTicker")
            await trio.sleep(0.1)
            line.feed.leave(3)
            line.feed.leave(4)
            carrying.start_soon(line.feed.carry, 6, "s6@bookTicker")
            await trio.sleep(0.1)
            carrying.cancel_scope.cancel()

    async with trio.open_nursery() as inner:
        inner.start_soon(join)
        await line.life()
    (first, *_), (second, *_), (third, *_) = heard
    assert [(method, set(streams)) for _, method, streams in heard] == [
        ("SUBSCRIBE", {"s3@bookTicker", "s4@bookTicker", "s5@bookTicker"}),
        ("UNSUBSCRIBE", {"s3@bookTicker", "s4@bookTicker"}),
        ("SUBSCRIBE", {"s6@bookTicker"}),
    ]
    assert (first, second, third) == (1.0, pytest.approx(1.5), pytest.approx(1.5))


async def test_a_stream_that_the_venue_refuses_is_named_and_not_carried(
    autojump_clock: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, log_lines: Any
) -> None:
    async def script(stream: trio.abc.Stream) -> None:
        number = json.loads((await read_frame(stream))[1])["id"]
        await stream.send_all(frame(json.dumps({"error": {"code": 2, "msg": "no"}, "id": number}).encode()))
        await trio.sleep(5)
        await shut(stream)

    line = make_line(autojump_clock, nursery, monkeypatch, script, tail=ACK + quote(1, 1, 1.0, 2.0))
    carried = []

    async def join() -> None:
        await trio.sleep(1.0)
        with trio.move_on_after(3.0):
            await line.feed.carry(3, "newusdt@bookTicker")
            carried.append(3)

    async with trio.open_nursery() as inner:
        inner.start_soon(join)
        await line.life()
    assert carried == []
    (refused,) = log_lines.events("feed.refused")
    assert (refused["code"], refused["streams"]) == (2, ["newusdt@bookTicker"])
