"""`HttpxPort` on real loopback sockets against a small h11 server that misbehaves on request."""

from __future__ import annotations

import contextlib
import logging
import random
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import attrs
import h11
import httpx
import pytest
import trio

from aegis.core.errors import Ambiguous, ConfigError, VenueUnavailable
from aegis.core.messages import OrderRequest, Refused, Unknown
from aegis.core.secret import Secret
from aegis.core.values import ClientId, OrderType, Side, SymbolName
from aegis.venue.http import HttpTimeouts, HttpxPort
from aegis.venue.limits import Limits
from aegis.venue.rest import RestClient
from aegis.venue.signing import HmacSigner

SHORT = HttpTimeouts(connect_s=1.0, write_s=1.0, read_s=0.3, pool_s=0.2)


@attrs.define
class Server:
    """What it saw. The path's last part says what it does: /ok, /slow, /never, /reset, /truncate, /garbage, ..."""

    port: int = 0
    raw: list[bytes] = attrs.Factory(list)
    targets: list[bytes] = attrs.Factory(list)
    bodies: list[bytes] = attrs.Factory(list)
    connections: int = 0
    arrived: trio.MemorySendChannel[bytes] = attrs.field(init=False)
    seen: trio.MemoryReceiveChannel[bytes] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.arrived, self.seen = trio.open_memory_channel[bytes](1000)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        try:
            async with stream:
                connection = h11.Connection(h11.SERVER)
                while await self._one(stream, connection):
                    connection.start_next_cycle()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            return  # the client went away, as some tests want

    async def _one(self, stream: trio.SocketStream, connection: h11.Connection) -> bool:
        target, body = b"", b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                data = await stream.receive_some()
                self.raw.append(data)
                connection.receive_data(data)
            elif isinstance(event, h11.Request):
                target = event.target
                if target.startswith(b"/reset-early"):
                    _reset(stream)
                    return False
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        self.targets.append(target)
        self.arrived.send_nowait(target)
        self.bodies.append(body)
        return await self._answer(stream, connection, target)

    async def _answer(self, stream: trio.SocketStream, connection: h11.Connection, target: bytes) -> bool:
        what = target.partition(b"?")[0].rpartition(b"/")[2]
        if what == b"reset":
            _reset(stream)
            return False
        if what == b"close":
            return False
        if what == b"never":
            await trio.sleep_forever()
        if what == b"garbage":
            await stream.send_all(b"hello, I am no HTTP\r\n\r\n")
            return False
        if what == b"truncate":
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
            return False
        if what == b"slow":
            await trio.sleep(0.02)
        status = 302 if what == b"redirect" else 200
        headers = [("Content-Length", "2"), ("X-MBX-USED-WEIGHT-1M", "17"), ("Location", "/ok")]
        await stream.send_all(connection.send(h11.Response(status_code=status, headers=headers)) or b"")
        await stream.send_all(connection.send(h11.Data(data=b"{}")) or b"")
        await stream.send_all(connection.send(h11.EndOfMessage()) or b"")
        return True


def _reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            server.port = listener.socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, server.serve, [listener])
            yield server
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected(timeouts: HttpTimeouts = SHORT, concurrency: int = 4) -> AsyncIterator[tuple[Server, HttpxPort]]:
    async with serving() as server:
        port = HttpxPort(server.base, timeouts=timeouts, concurrency=concurrency)
        try:
            yield server, port
        finally:
            with trio.move_on_after(2, shield=True):
                await port.aclose()


async def test_target_and_body_arrive_byte_for_byte():
    target = (
        "/a/b//../ok?x=%EF%BC%91&list=%5B%22a%22%5D&raw=[\"']|^`{}&plus=+&tilde=~&lower=%c3%a9&empty=&signature=%2F%3D"
    )
    body = b"symbol=%E6%B5%8B&signature=ab%2Bcd"
    async with connected() as (server, port):
        reply = await port.request("POST", target, {"X-MBX-APIKEY": "k"}, body)
    assert server.targets == [target.encode()]
    assert server.bodies == [body]
    assert reply.status == 200
    assert reply.body == b"{}"
    assert reply.headers["x-mbx-used-weight-1m"] == "17"
    assert b"X-MBX-APIKEY: k\r\n" in b"".join(server.raw)


async def test_a_post_without_a_body_says_so():
    async with connected() as (server, port):
        await port.request("POST", "/ok", {}, b"")
    assert b"content-length: 0" in b"".join(server.raw).lower()


async def test_connections_are_kept_and_proxies_of_the_environment_ignored(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with connected() as (server, port):
        for _ in range(5):
            assert (await port.request("GET", "/ok", {}, b"")).status == 200
    assert server.connections == 1


async def test_no_more_than_the_limit_run_at_once():
    async with connected(concurrency=2) as (server, port):
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(port.request, "GET", "/slow", {}, b"")
        assert server.connections <= 2
        assert len(server.targets) == 8


async def test_redirects_are_answers_not_followed():
    async with connected() as (server, port):
        assert (await port.request("GET", "/redirect", {}, b"")).status == 302
    assert len(server.targets) == 1


async def test_nobody_listening_means_nothing_was_sent():
    async with serving() as server:
        base = server.base
    port = HttpxPort(base, timeouts=SHORT)
    with pytest.raises(VenueUnavailable, match="POST /fapi/v1/order: cannot connect"):
        await port.request("POST", "/fapi/v1/order", {}, b"signature=CANARY")
    await port.aclose()


@pytest.mark.parametrize("path", ["/reset-early", "/reset", "/close", "/never", "/garbage", "/truncate"])
async def test_after_the_connection_stands_every_failure_is_ambiguous(path):
    async with connected() as (_, port):
        with pytest.raises(Ambiguous) as caught:
            await port.request("POST", f"{path}?signature=CANARY", {"X-MBX-APIKEY": "CANARY"}, b"signature=CANARY")
        assert "CANARY" not in f"{caught.value} {caught.value!r}"
        assert caught.value.__suppress_context__
        assert (await port.request("GET", "/ok", {}, b"")).status == 200


async def test_a_kept_connection_that_the_server_closes_is_ambiguous_for_a_post():
    async with connected() as (_, port):
        assert (await port.request("GET", "/ok", {}, b"")).status == 200
        with pytest.raises(Ambiguous):
            await port.request("POST", "/close", {}, b"x")


async def test_a_storm_of_cancellations_leaves_a_client_that_answers():
    chance = random.Random(7)
    async with connected() as (_, port):

        async def one() -> None:
            with trio.move_on_after(chance.random() * 0.03):
                await port.request("GET", "/slow", {}, b"")

        generation = port._generation
        for _ in range(25):
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(one)
        for _ in range(10):
            assert (await port.request("GET", "/ok", {}, b"")).status == 200
        assert port._generation is generation


async def test_a_starved_pool_is_replaced_and_the_call_was_not_sent():
    async with connected() as (server, port):
        async with trio.open_nursery() as nursery:
            # Occupy every slot of the pool behind the limiter's back, as leaked slots would.
            client = port._generation.client

            async def hog() -> None:
                with contextlib.suppress(httpx.ReadError):  # the replaced client closes: it knows of no request
                    await client.get(server.base, extensions={"target": b"/slow/../never"}, timeout=5)

            for _ in range(8):
                nursery.start_soon(hog)
            for _ in range(8):
                await server.seen.receive()
            with pytest.raises(VenueUnavailable, match="pool exhausted"):
                await port.request("POST", "/order", {}, b"")
            assert port._generation.client is not client
            assert (await port.request("GET", "/ok", {}, b"")).status == 200
            nursery.cancel_scope.cancel()
        assert client.is_closed
        assert b"/order" not in server.targets


def test_an_address_without_a_scheme_is_a_config_error():
    for base in ("fapi.binance.com", "ftp://x", "http://"):
        with pytest.raises(ConfigError):
            HttpxPort(base)


ORDER = OrderRequest(
    cid=ClientId("1-1"), symbol=SymbolName("BTCUSDT"), side=Side.BUY, type=OrderType.MARKET, qty=Decimal(1)
)


async def test_keys_reach_no_log_and_no_outcome_whatever_happens(caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.DEBUG)
    logging.getLogger("httpcore").setLevel(logging.DEBUG)
    async with connected() as (server, port):
        signer = HmacSigner(Secret("CANARYKEY"), Secret("CANARYSECRET"))
        rest = RestClient(port, signer, lambda: 1_790_000_000_000_000_000, Limits())
        outcome = await rest.submit(ORDER)  # the server says {}: a success that names no order
        assert isinstance(outcome, Unknown)
        with pytest.raises(VenueUnavailable) as caught:
            await rest.positions()
        shown = f"{caught.value!r} {outcome!r} {caplog.text} {rest!r} {vars(rest)!r} {vars(port)!r}"
        sent = b"".join(server.raw)
    signature = server.bodies[0].rpartition(b"signature=")[2].decode()
    assert b"CANARYKEY" in sent
    assert len(signature) == 64
    for hidden in ("CANARY", signature, "signature="):
        assert hidden not in shown


async def test_an_order_to_a_dead_venue_is_refused_as_not_sent():
    async with serving() as server:
        base = server.base
    port = HttpxPort(base, timeouts=SHORT)
    rest = RestClient(port, HmacSigner(Secret("k"), Secret("s")), lambda: 1_790_000_000_000_000_000, Limits())
    outcome = await rest.submit(ORDER)
    assert isinstance(outcome, Refused)
    assert outcome.code == 0
    await port.aclose()
