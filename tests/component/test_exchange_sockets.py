"""Connections, sessions and hubs over real loopback sockets, with another implementation's client."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from aegis.core.errors import VenueUnavailable
from aegis.exchange.connection import Connection
from aegis.exchange.private_server import PrivateHub
from aegis.exchange.session import Hub, Session
from aegis.exchange.settings import SocketLimits
from aegis.exchange.socket_server import bind_listener, serve_sockets
from aegis.exchange.subscriptions import Endpoint
from aegis.exchange.trade_server import TradeSession
from aegis.exchange.websocket import Opcode, encode_frame


class EchoingHub:
    """Pushes what a test tells it to everybody who named a stream."""

    def __init__(self) -> None:
        self.sessions: dict[str, set[Session]] = {}
        self.added = trio.Event()

    def add(self, session: Session, name: str) -> None:
        self.sessions.setdefault(name, set()).add(session)
        self.added.set()

    def discard(self, session: Session, name: str) -> None:
        self.sessions[name].discard(session)

    def push(self, name: str, payload: bytes) -> None:
        for session in self.sessions.get(name, ()):
            session.connection.send_text(payload)


@asynccontextmanager
async def serving(hub: Hub, limits: SocketLimits | None = None) -> AsyncIterator[str]:
    limits = limits or SocketLimits()

    async def serve(connection: Connection, endpoint: Endpoint) -> None:
        await Session(connection, endpoint, hub, limits).run()

    async with running(serve, limits) as url:
        yield url


@asynccontextmanager
async def running(serve: Callable, limits: SocketLimits) -> AsyncIterator[str]:
    listener = bind_listener("127.0.0.1", 0)
    port = listener.getsockname()[1]
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_sockets, listener, limits, serve)
            yield f"ws://127.0.0.1:{port}"
            nursery.cancel_scope.cancel()


async def ask(ws: WebSocketConnection, **request: object) -> object:
    await ws.send_message(json.dumps(request))
    return json.loads(await ws.get_message())


async def closed_with(ws: WebSocketConnection) -> tuple[int, str | None]:
    try:
        while True:
            await ws.get_message()
    except ConnectionClosed as ended:
        await ws._stream.aclose()  # this client leaves its socket to the garbage collector when the server closes
        return ended.reason.code, ended.reason.reason


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that leaves no event; bounded by the deadline of `running`."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.001)


async def test_subscriptions_reach_the_hub_and_leave_it_with_the_client() -> None:
    hub = EchoingHub()
    async with serving(hub) as url:
        async with open_websocket_url(url + "/public/ws/a@trade") as ws:
            assert await ask(ws, method="SUBSCRIBE", params=["b@trade"], id=1) == {"result": None, "id": 1}
            hub.push("b@trade", b'{"x":1}')
            assert await ws.get_message() == '{"x":1}'
            await ask(ws, method="UNSUBSCRIBE", params=["b@trade"], id=2)
            hub.push("b@trade", b'{"x":2}')
            hub.push("a@trade", b'{"x":3}')
            assert await ws.get_message() == '{"x":3}'
        await until(lambda: not any(hub.sessions.values()))


async def test_eleventh_message_within_a_second_closes_with_1008() -> None:
    async with serving(EchoingHub()) as url, open_websocket_url(url + "/market/stream") as ws:
        for n in range(10):
            assert await ask(ws, method="LIST_SUBSCRIPTIONS", id=n) == {"result": [], "id": n}
        await ws.send_message('{"method":"LIST_SUBSCRIPTIONS","id":11}')
        assert await closed_with(ws) == (1008, "Too many requests")


async def test_too_many_streams_close_with_1008() -> None:
    async with serving(EchoingHub(), SocketLimits(streams=2)) as url:
        async with open_websocket_url(url + "/public/ws/a@trade/b@trade/c@trade") as ws:
            assert await closed_with(ws) == (1008, "Too many streams")
        async with open_websocket_url(url + "/public/ws/a@trade/b@trade") as ws:
            await ws.send_message('{"method":"SUBSCRIBE","params":["c@trade"],"id":1}')
            assert await closed_with(ws) == (1008, "Too many streams")


async def test_fragmented_and_pinging_client_is_served() -> None:
    async with serving(EchoingHub()) as url, open_websocket_url(url + "/ws") as ws:
        await ws.ping(b"hello")  # returns when the pong with this payload is here
        await ws._send(_text('{"method":"LIST_SUB', final=False))
        await ws._send(_text('SCRIPTIONS","id":5}', final=True))
        assert json.loads(await ws.get_message()) == {"result": [], "id": 5}


def _text(data: str, *, final: bool) -> object:
    from wsproto.events import TextMessage

    return TextMessage(data=data, message_finished=final)


async def test_client_that_answers_pings_stays_and_one_that_does_not_is_closed() -> None:
    limits = SocketLimits(ping_interval_s=0.02, pong_timeout_s=0.1, linger_s=0.05)
    async with serving(EchoingHub(), limits) as url:
        async with open_websocket_url(url + "/public/ws") as ws:
            await trio.sleep(0.3)
            assert (await ask(ws, method="LIST_SUBSCRIPTIONS", id=1))["id"] == 1
        mute = await _raw_client(url)
        received = await _until_closed(mute)
        assert received.count(b"\x89\x01") >= 2  # pings 1, 2, ...
        assert b"\x88" in received
        assert b"Pong timeout" in received


async def test_connection_is_cut_at_the_end_of_its_life() -> None:
    async with (
        serving(EchoingHub(), SocketLimits(life_s=0.05)) as url,
        open_websocket_url(url + "/public/ws") as ws,
    ):
        code, _ = await closed_with(ws)
        assert code == 1006  # no close frame


async def test_client_that_never_reads_is_cut_and_memory_stays_bounded() -> None:
    hub, limits = EchoingHub(), SocketLimits(backlog_bytes=1 << 16)
    async with serving(hub, limits) as url:
        lazy = await _raw_client(url, "/public/ws/a@trade")
        await hub.added.wait()
        (session,) = hub.sessions["a@trade"]
        connection, sent = session.connection, 0
        while not connection.closing:
            hub.push("a@trade", b"x" * 1000)
            sent += 1
            assert connection.backlog_bytes <= limits.backlog_bytes + 1100
            if sent % 32 == 0:
                await trio.lowlevel.checkpoint()
            assert sent < 100_000  # what a kernel may buffer on top is far below this
        assert connection.overflowed
        await until(lambda: not hub.sessions["a@trade"])
        await lazy.aclose()


async def test_waiting_for_an_empty_backlog_lets_others_run() -> None:
    """A sender that waits between its batches must hear that its client has gone, also while nothing is queued."""
    ours, _theirs = trio.testing.memory_stream_pair()
    with trio.testing.assert_checkpoints():
        await Connection(ours, SocketLimits()).drained()


async def test_one_pass_of_pushes_leaves_in_one_piece() -> None:
    hub = EchoingHub()
    async with serving(hub) as url:
        client = await _raw_client(url, "/public/ws/a@trade")
        await hub.added.wait()
        for _ in range(100):
            hub.push("a@trade", b"tick")
        expected = encode_frame(Opcode.TEXT, b"tick") * 100
        assert await client.receive_some(65_536) == expected
        await client.aclose()


@pytest.mark.parametrize(
    ("wire", "close"),
    [
        (b"\x81\x01x", b"\x03\xeaframe is not masked"),
        (b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"mask", b"\x03\xf1message too big"),
        (b"\x81\x81\0\0\0\0\xff", b"\x03\xeftext is not UTF-8"),
    ],
)
async def test_rule_breaker_gets_a_close_frame(wire: bytes, close: bytes) -> None:
    async with serving(EchoingHub()) as url:
        client = await _raw_client(url)
        await client.send_all(wire)
        assert await _until_closed(client, half_close=True) == bytes([0x88, len(close)]) + close


@pytest.mark.parametrize("path", ["/", "/other/ws", "/public/else", "/ws-fapi/v9"])
async def test_path_that_does_not_exist_is_refused(path: str) -> None:
    async with serving(EchoingHub()) as url:
        client = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
        await client.send_all(_upgrade(path))
        assert (await _until_closed(client, half_close=True)).startswith(b"HTTP/1.1 404 Not Found\r\n")


async def test_plain_http_request_gets_an_http_answer() -> None:
    async with serving(EchoingHub()) as url:
        client = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
        await client.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await _until_closed(client, half_close=True)).startswith(b"HTTP/1.1 426 Upgrade Required\r\n")


async def test_client_that_never_finishes_its_handshake_is_dropped() -> None:
    async with serving(EchoingHub(), SocketLimits(handshake_s=0.05)) as url:
        client = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
        await client.send_all(b"GET /ws HTT")
        assert await _until_closed(client) == b""


async def test_private_events_go_to_the_keys_of_their_account_only() -> None:
    keys = {"K1": "alice", "K2": "bob"}
    hub = PrivateHub(keys.get)
    async with (
        serving(hub) as url,
        open_websocket_url(url + "/private/ws/K1") as raw,
        open_websocket_url(url + "/private/stream?listenKey=K1&events=B/C&listenKey=K2&events=A") as combined,
        open_websocket_url(url + "/private/ws?listenKey=WRONG") as silent,
        open_websocket_url(url + "/market/ws/K1") as misrouted,
        open_websocket_url(url + "/private/stream") as later,
    ):
        for ws in (raw, silent, misrouted, combined):
            await ask(ws, method="LIST_SUBSCRIPTIONS", id=1)
        await ask(later, method="SUBSCRIBE", params=["K2"], id=1)
        hub.publish("alice", b'{"e":"A","n":1}')
        hub.publish("alice", b'{"e":"B","n":2}')
        hub.publish("bob", b'{"e":"A","n":3}')
        hub.publish("alice", b'{"e":"listenKeyExpired","listenKey":"K1"}')
        del keys["K1"]
        hub.publish("alice", b'{"e":"B","n":4}')
        for ws in (raw, combined, silent, misrouted, later):
            await ws.send_message('{"method":"GET_PROPERTY","params":["combined"],"id":9}')
        assert await _until_reply(raw) == [
            {"e": "A", "n": 1}, {"e": "B", "n": 2}, {"e": "listenKeyExpired", "listenKey": "K1"},
        ]  # fmt: skip
        assert await _until_reply(combined) == [
            {"stream": "K1", "data": {"e": "B", "n": 2}}, {"stream": "K2", "data": {"e": "A", "n": 3}},
        ]  # fmt: skip
        assert await _until_reply(silent) == []
        assert await _until_reply(misrouted) == []
        assert await _until_reply(later) == [{"stream": "K2", "data": {"e": "A", "n": 3}}]


class SlowCore:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[bytes, int, Callable[[bytes], None]]] = []

    def ws_api(self, message: bytes, now_ns: int, deliver: Callable[[bytes], None], connection: object) -> None:
        self.calls.append((message, now_ns, deliver))


@pytest.mark.parametrize(("query", "limits_shown"), [("", True), ("?returnRateLimits=false", False)])
async def test_trade_socket_carries_requests_in_and_replies_out(query: str, limits_shown: bool) -> None:
    core, limits = SlowCore(), SocketLimits(trade_in_flight=2)

    async def serve(connection: Connection, endpoint: Endpoint) -> None:
        await TradeSession(connection, core, lambda call: call(77), limits, rate_limits=endpoint.rate_limits).run()

    async with running(serve, limits) as url, open_websocket_url(url + "/ws-fapi/v1" + query) as ws:
        await ws.send_message('{"id":1}')
        await ws.send_message('{"id":2}')
        await until(lambda: len(core.calls) == 2)
        for message, now_ns, deliver in reversed(core.calls):
            assert now_ns == 77
            deliver(b'{"id":%d,"result":{"orderId":9007199254740993},"rateLimits":[]}' % json.loads(message)["id"])
        for request_id in (2, 1):
            reply = json.loads(await ws.get_message())
            assert (reply["id"], reply["result"]) == (request_id, {"orderId": 9007199254740993})
            assert ("rateLimits" in reply) is limits_shown
        for n in range(3):
            await ws.send_message(json.dumps({"id": n}))
        assert await closed_with(ws) == (1008, "Too many requests")
        assert len(core.calls) == 4
        core.calls[-1][2](b"{}")  # the client has left: its reply goes nowhere


async def test_ping_flood_on_the_trade_socket_closes_with_1008() -> None:
    limits = SocketLimits()

    async def serve(connection: Connection, endpoint: Endpoint) -> None:
        await TradeSession(connection, SlowCore(), lambda call: call(0), limits, rate_limits=True).run()

    async with running(serve, limits) as url:
        client = await _raw_client(url, "/ws-fapi/v1")
        await client.send_all(b"\x89\x80mask" * 6)
        expected = b"\x8a\x00" * 5 + b"\x88\x13\x03\xf0Too many requests"
        assert await _until_closed(client, half_close=True) == expected


def test_port_in_use_is_one_line() -> None:
    with bind_listener("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(VenueUnavailable, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use"):
            bind_listener("127.0.0.1", port)


async def _raw_client(url: str, path: str = "/public/ws") -> trio.SocketStream:
    client = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await client.send_all(_upgrade(path))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await client.receive_some(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    return client


def _upgrade(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


async def _until_closed(client: trio.SocketStream, *, half_close: bool = False) -> bytes:
    if half_close:
        await client.send_eof()
    received = b""
    async with client:
        while data := await client.receive_some(4096):
            received += data
    return received


async def _until_reply(ws: WebSocketConnection) -> list[object]:
    events = []
    while "result" not in (message := json.loads(await ws.get_message())):
        events.append(message)
    return events
