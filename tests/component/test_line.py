"""Writing at once beside writing in turn: whatever the kernel takes, the peer reads all messages, whole, in order."""

from __future__ import annotations

import json
import socket as sockets
import ssl

import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from aegis.core.messages import Accepted, Outcome
from aegis.venue.limits import Limits
from aegis.venue.line import Line
from aegis.venue.trade_socket import TradeSocket
from aegis.venue.transport import PlainTransport, TlsTransport
from aegis.venue.websocket import dialer
from tests.component.test_venue_tls import HERE, certificate, trusting
from tests.support.venue_desk import SIGNER, T0, order


def pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    ours, theirs = trio.socket.socketpair()
    ours.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 4096)
    return trio.SocketStream(ours), trio.SocketStream(theirs)


def ends(ours, theirs, secure, directory) -> tuple[trio.abc.Stream, PlainTransport | TlsTransport]:
    """The peer's stream and our transport over a pair of sockets, with TLS between them or without."""
    if not secure:
        return theirs, PlainTransport(ours)
    pem = certificate(directory, HERE, 100)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(pem)
    peer = trio.SSLStream(theirs, server, server_side=True, https_compatible=True)
    return peer, TlsTransport(ours, trusting(pem), "127.0.0.1")


async def shake_hands(peer: trio.abc.Stream, transport: PlainTransport | TlsTransport) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.start)
        if isinstance(peer, trio.SSLStream):
            await peer.do_handshake()


def unmasked(data: bytes) -> list[bytes]:
    """Payloads of client frames below 126 bytes."""
    found = []
    while data:
        size, mask = data[1] & 0x7F, data[2:6]
        found.append(bytes(byte ^ mask[k % 4] for k, byte in enumerate(data[6 : 6 + size])))
        data = data[6 + size :]
    return found


async def fill(line: Line) -> list[bytes]:
    """Write at once until the kernel takes no more; then in turn, while the peer begins to read."""
    taken = []
    for number in range(100_000):
        payload = b"%06d" % number * 10
        if line.unsent or not line.send_text_now(payload):
            break
        taken.append(payload)
    assert 10 < len(taken) < 100_000
    assert not line.send_text_now(b"no room")
    return taken


@pytest.mark.parametrize("secure", [False, True])
async def test_what_has_come_is_read_without_waiting_and_an_end_is_told_in_turn(secure, tmp_path):
    ours, theirs = (trio.SocketStream(one) for one in trio.socket.socketpair())
    peer, transport = ends(ours, theirs, secure, tmp_path)
    room = memoryview(bytearray(10))
    with trio.fail_after(20):
        await shake_hands(peer, transport)
        assert transport.receive_now(room) == 0
        sent = bytes(range(35))
        await peer.send_all(sent)
        received = bytes(room[: await transport.receive_into(room)])
        while count := transport.receive_now(room):
            received += bytes(room[:count])
        assert received == sent
        await peer.aclose()
        assert transport.receive_now(room) == 0
        try:
            assert await transport.receive_into(room) == 0
        except trio.BrokenResourceError:  # the answer to a TLS goodbye finds nobody
            assert secure
        await transport.aclose()
        assert transport.receive_now(room) == 0


async def test_what_is_no_socket_is_never_read_without_waiting():
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"here")
    assert PlainTransport(ours).receive_now(memoryview(bytearray(10))) == 0


@pytest.mark.parametrize("secure", [False, True])
async def test_what_the_kernel_did_not_take_leaves_first(secure, tmp_path):
    ours, theirs = pair()
    peer, transport = ends(ours, theirs, secure, tmp_path)
    with trio.fail_after(20):
        await shake_hands(peer, transport)
        line = Line(transport, ours)
        taken = await fill(line)
        received = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.send_all, b"")
            while len(unmasked(bytes(received))) < len(taken) or line.unsent:
                received += await peer.receive_some(1000)
                if len(received) >= 66 * len(taken):
                    break
        assert unmasked(bytes(received)) == taken
        assert line.send_text_now(b"again")
        assert unmasked(bytes(await peer.receive_some(1000))) == [b"again"]
        await line.aclose()
        await trio.aclose_forcefully(peer)


async def test_a_closed_line_takes_nothing_and_says_so_in_turn():
    ours, theirs = pair()
    line = Line(PlainTransport(ours), ours)
    await theirs.aclose()
    await line.aclose()
    assert not line.send_text_now(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await line.send_all(b"x")


async def test_an_order_leaves_at_once_through_tls(tmp_path):
    async def handler(request: WebSocketRequest) -> None:
        ws = await request.accept()
        try:
            while True:
                asked = json.loads(await ws.get_message())
                await ws.send_message(json.dumps({"id": asked["id"], "status": 200, "result": {"orderId": 7}}))
        except ConnectionClosed:
            return

    pem = certificate(tmp_path, HERE, 100)
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(pem)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve_websocket, handler, "127.0.0.1", 0, server_context)
            got, outcomes = trio.open_memory_channel[Outcome](10)
            url = f"wss://127.0.0.1:{server.port}/ws-fapi/v1"
            socket = TradeSocket(
                url, SIGNER, lambda: T0, got.send_nowait, limits=Limits(), dial=dialer(trusting(pem))
            )
            await nursery.start(socket.run)
            for number in (1, 2, 3):
                assert socket.send(order(number))
                assert socket.in_flight == number
            found = [await outcomes.receive() for _ in range(3)]
            assert found == [Accepted(request=order(number), venue_id=7) for number in (1, 2, 3)]
            nursery.cancel_scope.cancel()
