"""The private stream: key life, typed events, and every way to lose it."""

from __future__ import annotations

import json

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, serve_websocket

from aegis.core.errors import Restartable, VenueRefusal, VenueUnavailable
from aegis.core.messages import ListenKeyExpired, TradeLite
from aegis.core.secret import Secret
from aegis.venue.decode import Ignored
from aegis.venue.endpoints import DEMO, LIVE, simulated
from aegis.venue.user_socket import UserSocket
from aegis.venue.websocket import dialer
from aegis.venue.wire_types import Malformed
from tests.support.socket_stage import Script, Stage

LITE = {"e": "TRADE_LITE", "E": 2, "T": 1, "s": "BTCUSDT", "q": "1", "p": "0", "m": False, "c": "1-1", "S": "BUY",
        "L": "2.5", "l": "1", "t": 77, "i": 8389765739703625592}  # fmt: skip


class Keys:
    """The REST side; `keeps` are the answers to PUT, the last one for ever."""

    def __init__(self, *keeps: Secret | Exception) -> None:
        self.keeps = list(keeps) or [Secret("LISTENKEY")]
        self.started = 0
        self.kept: list[float] = []

    async def start_listen_key(self) -> Secret:
        self.started += 1
        return Secret("LISTENKEY")

    async def keep_listen_key(self) -> Secret:
        self.kept.append(trio.current_time())
        answer = self.keeps[0] if len(self.keeps) == 1 else self.keeps.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Post:
    def __init__(self, nursery: trio.Nursery, script: Script, keys: Keys | None = None, **options: float) -> None:
        self.stage = Stage(nursery, script)
        self.keys = keys or Keys()
        self.got: list[tuple[bytes, object]] = []
        self.why = ""
        self.socket = UserSocket(self.keys, DEMO, self._take, dial=self.stage.dial, **options)

    async def _take(self, raw: bytes, event: object) -> None:
        self.got.append((raw, event))

    async def life(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with pytest.raises(Restartable) as caught:
            await self.socket.run(task_status=task_status)
        self.why = str(caught.value)


async def idle(ws: WebSocketConnection) -> None:
    try:
        await ws.get_message()
    except ConnectionClosed:
        return


def plays(*messages: object) -> Script:
    async def venue(ws: WebSocketConnection) -> None:
        for message in messages:
            await ws.send_message(message if isinstance(message, str | bytes) else json.dumps(message))
        await idle(ws)

    return venue


async def test_events_come_typed_with_their_raw_bytes(autojump_clock, nursery):
    wrapped = {"stream": "LISTENKEY", "data": LITE}
    post = Post(nursery, plays(LITE, wrapped, {"e": "NEW_THING"}, "{", b"\xff", {"e": "TRADE_LITE"}))
    await nursery.start(post.life)
    assert post.socket.connected
    await trio.sleep(1)
    assert post.stage.paths == ["/private/ws?listenKey=LISTENKEY"]
    kinds = [type(event) for _, event in post.got]
    assert kinds == [TradeLite, TradeLite, Ignored, Malformed, Malformed, Malformed]
    assert post.got[0][0] == json.dumps(LITE).encode()
    assert b"LISTENKEY" not in post.got[1][0]
    assert len(post.got[1][0]) == len(json.dumps(wrapped))
    assert post.why == ""


async def test_an_expired_key_is_delivered_and_ends_the_life(autojump_clock, nursery):
    post = Post(nursery, plays(LITE, {"e": "listenKeyExpired", "E": 5, "listenKey": "LISTENKEY"}))
    await nursery.start(post.life)
    await trio.sleep(3)
    assert post.why == "private stream: listen key expired"
    assert post.got[1][1] == ListenKeyExpired(event_ms=5)
    assert b"LISTENKEY" not in post.got[1][0]
    assert not post.socket.connected
    await nursery.start(post.life)
    assert post.keys.started == 2


async def test_the_key_is_prolonged_well_before_the_hour(autojump_clock, nursery):
    post = Post(nursery, idle)
    await nursery.start(post.life)
    await trio.sleep(3 * 3600)
    gaps = [later - earlier for earlier, later in zip([0.0, *post.keys.kept], post.keys.kept, strict=False)]
    assert len(gaps) == 7
    assert max(gaps) <= 30 * 60
    assert post.why == ""


@pytest.mark.parametrize(
    ("answer", "told"),
    [(VenueRefusal(-1125, "This listenKey does not exist."), "-1125"), (Secret("OTHERKEY"), "changed")],
)
async def test_a_key_that_is_gone_or_another_ends_the_life_at_once(answer, told, autojump_clock, nursery):
    post = Post(nursery, idle, Keys(answer))
    await nursery.start(post.life)
    await trio.sleep(26 * 60)
    assert told in post.why
    assert "OTHERKEY" not in post.why
    assert len(post.keys.kept) == 1


async def test_a_venue_that_cannot_be_asked_is_asked_each_minute_until_the_key_is_dead(autojump_clock, nursery):
    down = VenueUnavailable("down")
    post = Post(nursery, idle, Keys(down, down, Secret("LISTENKEY"), down))
    await nursery.start(post.life)
    await trio.sleep(40 * 60)
    assert post.keys.kept == pytest.approx([1500, 1560, 1620])
    await trio.sleep(60 * 60)
    assert "not prolonged in time" in post.why
    assert post.keys.kept[-1] <= 1620 + 3600


@pytest.mark.parametrize("ending", ["close", "cut", "mute"])
async def test_every_loss_is_restartable(ending, autojump_clock, nursery):
    async def venue(ws: WebSocketConnection) -> None:
        await trio.sleep(1)
        if ending == "close":
            await ws.aclose(1001, "bye")
        elif ending == "cut":
            await post.stage.cut()
        else:
            post.stage.server_stream.send_stream.send_all_hook = trio.sleep_forever
            await trio.sleep_forever()

    post = Post(nursery, venue)
    await nursery.start(post.life)
    await trio.sleep(30)
    assert post.why.startswith("private stream: ")
    assert not post.socket.connected


async def test_it_leaves_before_the_venue_cuts_at_24_hours(autojump_clock, nursery):
    post = Post(nursery, idle, life_s=1000)
    await nursery.start(post.life)
    await trio.sleep(1003)
    assert "planned" in post.why


async def test_no_key_right_is_a_refusal_not_a_restart(autojump_clock, nursery):
    class Locked(Keys):
        async def start_listen_key(self) -> Secret:
            raise VenueRefusal(-2015, "Invalid API-key")

    post = Post(nursery, idle, Locked())
    with pytest.raises(VenueRefusal):
        await post.socket.run()
    assert post.stage.lives == 0


async def test_over_real_sockets_and_a_refused_handshake():
    async def handler(request: object) -> None:
        if request.path != "/private/ws?listenKey=LISTENKEY":
            await request.reject(404)
            return
        ws = await request.accept()
        await ws.send_message(json.dumps(LITE))
        await idle(ws)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve_websocket, handler, "127.0.0.1", 0, None)
            here = simulated(rest="http://x", stream=f"ws://127.0.0.1:{server.port}", trade=None)
            send, events = trio.open_memory_channel[object](10)

            async def take(_: bytes, event: object) -> None:
                await send.send(event)

            socket = UserSocket(Keys(), here, take, dial=dialer())
            await nursery.start(socket.run)
            assert isinstance(await events.receive(), TradeLite)

            class Stranger(Keys):
                async def start_listen_key(self) -> Secret:
                    return Secret("UNSEEN")

            with pytest.raises(Restartable, match="status 404") as caught:
                await UserSocket(Stranger(), here, take, dial=dialer()).run()
            assert "UNSEEN" not in str(caught.value)
            nursery.cancel_scope.cancel()


def test_addresses_of_each_venue():
    assert LIVE.user_stream("k") == "wss://fstream.binance.com/private/ws?listenKey=k"
    assert LIVE.market_market == "wss://fstream.binance.com/market"
    assert DEMO.rest == "https://demo-fapi.binance.com"
    assert DEMO.trade is None
    here = simulated(rest="http://h:5", stream="ws://h:6", trade="ws://h:6/ws-fapi/v1")
    assert (here.private, here.market_public, here.market_market) == (
        "ws://h:6/private", "ws://h:6/public", "ws://h:6/market",
    )  # fmt: skip
