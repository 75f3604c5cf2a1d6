"""The market socket against a scripted server: memory streams for the protocol, loopback for TLS."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from aegis.core.errors import ConfigError, Restartable, VenueUnavailable
from aegis.kernels import wire
from aegis.venue.inbox import Closed, Ping, Text
from aegis.venue.market_socket import MarketSocket, Target, connect, handshake, parse_url, subscribe, unsubscribe
from tests.support.market_feed import NOW_NS, make_quote, make_table

TARGET = Target(tls=False, host="market.test", port=80, path="/public/ws")
Script = Callable[[trio.abc.Stream], Awaitable[None]]


async def read_request(stream: trio.abc.Stream) -> dict[bytes, bytes]:
    """The upgrade request: its headers, the request line under the empty key."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some()
    lines = data.split(b"\r\n")
    return {b"": lines[0]} | {key.lower(): value.strip() for key, value in (x.split(b":", 1) for x in lines[1:] if x)}


def accept(headers: dict[bytes, bytes]) -> bytes:
    digest = hashlib.sha1(headers[b"sec-websocket-key"] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + base64.b64encode(digest)
        + b"\r\n\r\n"
    )


async def read_frame(stream: trio.abc.Stream) -> tuple[int, bytes]:
    """One client frame: (opcode, payload). A frame that is not masked fails the test."""
    data = b""

    async def upto(count: int) -> None:
        nonlocal data
        while len(data) < count:
            got = await stream.receive_some(count - len(data))
            assert got, "the client closed"
            data += got

    await upto(2)
    assert data[1] & 0x80, "client frames are masked"
    length, head = data[1] & 0x7F, 2
    if length > 125:
        head = 4 if length == 126 else 10
        await upto(head)
        length = int.from_bytes(data[2:head], "big")
    await upto(head + 4 + length)
    mask, body = data[head : head + 4], data[head + 4 :]
    return data[0] & 15, bytes(byte ^ mask[index % 4] for index, byte in enumerate(body))


async def opened(nursery: trio.Nursery, script: Script, tail: bytes = b"") -> MarketSocket:
    ours, theirs = trio.testing.memory_stream_pair()

    async def serve() -> None:
        headers = await read_request(theirs)
        await theirs.send_all(accept(headers) + tail)
        await script(theirs)

    nursery.start_soon(serve)
    return await handshake(ours, TARGET, buffer_bytes=1 << 17)


async def idle(stream: trio.abc.Stream) -> None:
    await trio.sleep_forever()


async def test_frames_behind_the_handshake_reach_the_table(autojump_clock: object, nursery: trio.Nursery) -> None:
    async def script(stream: trio.abc.Stream) -> None:
        await stream.send_all(wire.frame(make_quote(2))[:30])
        await stream.send_all(wire.frame(make_quote(2))[30:])

    sock = await opened(nursery, script, tail=wire.frame(make_quote(1)))
    table = make_table()
    assert sock.inbox.scan(table, NOW_NS) == wire.NEED_MORE
    assert table.symbols["update_id"][0] == 1
    while table.symbols["update_id"][0] != 2:
        assert await sock.receive() > 0
        assert sock.inbox.scan(table, NOW_NS) == wire.NEED_MORE


@pytest.mark.parametrize("size", [0, 125, 126, 70_000])
async def test_text_and_pongs_leave_masked(autojump_clock: object, nursery: trio.Nursery, size: int) -> None:
    seen: list[tuple[int, bytes]] = []

    async def script(stream: trio.abc.Stream) -> None:
        seen.append(await read_frame(stream))
        seen.append(await read_frame(stream))

    sock = await opened(nursery, script)
    payload = bytes(range(65, 91)) * (size // 26) + b"x" * (size % 26)
    await sock.send_text(payload)
    await sock.pong(b"1700")
    await trio.testing.wait_all_tasks_blocked()
    assert seen == [(1, payload), (10, b"1700")]


async def test_a_ping_is_answered_with_its_payload_and_a_close_ends_with_its_code(
    autojump_clock: object, nursery: trio.Nursery
) -> None:
    seen: list[tuple[int, bytes]] = []

    async def script(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"\x89\x03abc" + b"\x88\x0b\x03\xf0Too many ")
        seen.append(await read_frame(stream))
        seen.append(await read_frame(stream))

    sock = await opened(nursery, script)
    table = make_table()
    await sock.receive()
    assert sock.inbox.scan(table, NOW_NS) == wire.SLOW
    message = sock.inbox.slow()
    assert message == Ping(payload=b"abc")
    await sock.answer(message)
    while sock.inbox.scan(table, NOW_NS) != wire.SLOW:
        await sock.receive()
    message = sock.inbox.slow()
    assert isinstance(message, Closed)
    with pytest.raises(Restartable, match=r"market\.test:80: closed by the peer: 1008 Too many$"):
        await sock.answer(message)
    await trio.testing.wait_all_tasks_blocked()
    assert seen == [(10, b"abc"), (8, b"\x03\xe8")]


async def test_an_end_without_a_close_frame_is_restartable(autojump_clock: object, nursery: trio.Nursery) -> None:
    sock = await opened(nursery, lambda stream: stream.aclose())
    with pytest.raises(Restartable, match="without a close frame"):
        await sock.receive()
    with pytest.raises(Restartable, match="sending failed"):
        await sock.send_text(b"{}")
    await sock.close()
    await sock.close()
    with pytest.raises(Restartable, match="receiving failed"):
        await sock.receive()


async def test_close_does_not_wait_for_a_silent_peer(autojump_clock: object, nursery: trio.Nursery) -> None:
    sock = await opened(nursery, idle)
    start = trio.current_time()
    await sock.close()
    assert trio.current_time() - start <= 2
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "status 403 instead of 101"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "status 200 instead of 101"),
        (b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n", "Accept"),
        (b"HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "no upgrade"),
        (b"\x16\x03\x01 this is no HTTP\r\n\r\n", "handshake failed"),
        (b"HTTP/1.1 101 X\r\nA: " + b"a" * 100_000, "handshake failed"),
        (b"", "handshake failed"),
    ],
)
async def test_a_handshake_that_is_none_is_refused_in_one_line(
    autojump_clock: object, nursery: trio.Nursery, answer: bytes, reason: str
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()

    async def serve() -> None:
        await read_request(theirs)
        await theirs.send_all(answer)
        await theirs.aclose()

    nursery.start_soon(serve)
    with pytest.raises(VenueUnavailable, match=reason) as caught:
        await handshake(ours, TARGET)
    assert "\n" not in str(caught.value)
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"x")


async def test_an_extension_that_was_not_asked_for_is_refused(autojump_clock: object, nursery: trio.Nursery) -> None:
    ours, theirs = trio.testing.memory_stream_pair()

    async def serve() -> None:
        yes = accept(await read_request(theirs))
        await theirs.send_all(yes[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")

    nursery.start_soon(serve)
    with pytest.raises(VenueUnavailable, match="not asked for"):
        await handshake(ours, TARGET)


async def test_a_cancelled_handshake_closes_the_stream(autojump_clock: object) -> None:
    ours, _silent = trio.testing.memory_stream_pair()
    with trio.move_on_after(5) as scope:
        await handshake(ours, TARGET)
    assert scope.cancelled_caught
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"x")


async def test_the_request_names_host_path_and_version(autojump_clock: object, nursery: trio.Nursery) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    seen: list[dict[bytes, bytes]] = []

    async def serve() -> None:
        seen.append(await read_request(theirs))
        await theirs.send_all(accept(seen[0]))

    nursery.start_soon(serve)
    await handshake(ours, parse_url("ws://localhost:8080/public/stream?streams=测试usdt@bookTicker/!markPrice@arr@1s"))
    (headers,) = seen
    path = b"/public/stream?streams=%E6%B5%8B%E8%AF%95usdt@bookTicker/!markPrice@arr@1s"
    assert headers[b""] == b"GET " + path + b" HTTP/1.1"
    assert headers[b"host"] == b"localhost:8080"
    assert headers[b"sec-websocket-version"] == b"13"


@pytest.mark.parametrize("url", ["http://x/", "ws://", "fstream", "ws://x:99999/", "ws://[::1"])
def test_a_url_that_is_none_is_a_config_error(url: str) -> None:
    with pytest.raises(ConfigError, match="not a WebSocket URL"):
        parse_url(url)


def test_ports_default_by_scheme() -> None:
    assert parse_url("wss://h/ws").port == 443
    assert parse_url("ws://h").path == "/"


def test_subscribe_is_one_message_of_all_streams() -> None:
    message = {"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker", "测试usdt@aggTrade"], "id": 7}
    assert json.loads(subscribe(["btcusdt@bookTicker", "测试usdt@aggTrade"], 7)) == message
    assert json.loads(unsubscribe(["btcusdt@bookTicker"], 8))["method"] == "UNSUBSCRIBE"


# -- TLS ---------------------------------------------------------------------------------------------------------------
def certificate(directory: Path, name: str, hours: int = 1) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server with a throw-away certificate for `name`, which ends in so many hours, and of its client."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    alternative: x509.GeneralName
    alternative = x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=9))
        .not_valid_after(now + timedelta(hours=hours))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = directory / "server.pem"
    file.write_bytes(pem + secret)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=pem.decode())


async def serve_tls(
    context: ssl.SSLContext, script: Script, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    async def one(tcp: trio.SocketStream) -> None:
        stream = trio.SSLStream(tcp, context, server_side=True, https_compatible=True)
        try:
            headers = await read_request(stream)
            await stream.send_all(accept(headers))
            await script(stream)
        except (trio.BrokenResourceError, ssl.SSLError):
            await trio.aclose_forcefully(stream)  # the client did not like the certificate

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(listener.socket.getsockname()[1])
    async with listener:
        tcp = await listener.accept()
        await one(tcp)


async def test_tls_decrypts_into_the_scan_buffer(tmp_path: Path, nursery: trio.Nursery) -> None:
    server, client = certificate(tmp_path, "127.0.0.1")
    total = 5000
    frames = [wire.frame(make_quote(u)) for u in range(1, total + 1)]
    seen: list[tuple[int, bytes]] = []

    async def script(stream: trio.abc.Stream) -> None:
        seen.append(await read_frame(stream))
        await stream.send_all(b"".join(frames[:4000]))  # records of 16 KiB
        for framed in frames[4000:]:  # a record a frame
            await stream.send_all(framed)
        seen.append(await read_frame(stream))
        await stream.aclose()

    with trio.fail_after(60):
        port = await nursery.start(serve_tls, server, script)
        sock = await connect(f"wss://127.0.0.1:{port}/public/ws", ssl_context=client)
        await sock.send_text(subscribe(["btcusdt@bookTicker"], 1))
        table = make_table()
        while table.symbols["update_id"][0] < total:
            assert 0 < await sock.receive() <= 1 << 16
            assert sock.inbox.scan(table, NOW_NS) == wire.NEED_MORE
        assert table.counters[0] == total
        await sock.pong(b"")
        with pytest.raises(Restartable, match="without a close frame"):
            await sock.receive()
        await sock.close()
    assert [opcode for opcode, _ in seen] == [1, 10]


@pytest.mark.parametrize(
    ("name", "hours", "trusted", "reason"),
    [
        ("market.test", 1, True, "mismatch"),
        ("127.0.0.1", 1, False, "self-signed certificate"),
        ("127.0.0.1", -1, True, "certificate has expired"),
    ],
)
async def test_tls_verifies_certificate_and_host(
    tmp_path: Path, nursery: trio.Nursery, name: str, hours: int, trusted: bool, reason: str
) -> None:
    server, client = certificate(tmp_path, name, hours)
    with trio.fail_after(60):
        port = await nursery.start(serve_tls, server, idle)
        with pytest.raises(VenueUnavailable, match=f"certificate verify failed: .*{reason}"):
            await connect(f"wss://127.0.0.1:{port}/ws", ssl_context=client if trusted else None)


async def test_a_port_where_nobody_listens_is_unavailable() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with trio.fail_after(60), pytest.raises(VenueUnavailable, match=rf"cannot connect to 127\.0\.0\.1:{port}"):
        await connect(f"ws://127.0.0.1:{port}/ws")


async def test_plain_tcp_receives_into_the_buffer(nursery: trio.Nursery) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def serve() -> None:
        stream = await listener.accept()
        async with listener, stream:
            await stream.send_all(accept(await read_request(stream)) + wire.frame(b'{"result":null,"id":1}'))
            await read_frame(stream)

    nursery.start_soon(serve)
    with trio.fail_after(60):
        sock = await connect(f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/ws")
        while sock.inbox.scan(make_table(), NOW_NS) != wire.SLOW:
            await sock.receive()
        assert sock.inbox.slow() == Text(payload=b'{"result":null,"id":1}')
        await sock.close()
