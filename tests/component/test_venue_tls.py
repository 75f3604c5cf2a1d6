"""TLS is verified on both ways to the venue: authority and host."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from aegis.core.errors import Restartable, VenueUnavailable
from aegis.venue.http import HttpTimeouts, HttpxPort
from aegis.venue.websocket import connection, dialer


def certificate(directory: Path, names: list[x509.GeneralName], days: int) -> Path:
    """A self-signed certificate and its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "venue.test")])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=10)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / "venue.pem"
    path.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    return path


@asynccontextmanager
async def serving(pem: Path, *, oldest: bool = False) -> AsyncIterator[int]:
    """Answers any request with an empty 200, over TLS; `oldest`: TLS 1.1 at most."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    if oldest:
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

    async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            await trio.sleep_forever()
        except trio.BrokenResourceError:
            return

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
            port = listener.transport_listener.socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, answer, [listener])
            yield port
            nursery.cancel_scope.cancel()


HERE = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
ELSEWHERE = [x509.DNSName("elsewhere.test")]
CASES = {
    "unknown authority": (HERE, 100, False, False),
    "wrong host": (ELSEWHERE, 100, True, False),
    "expired": (HERE, 5, True, False),
    "TLS 1.1": (HERE, 100, True, True),
}


def trusting(pem: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(pem)
    return context


@pytest.mark.parametrize("case", CASES)
async def test_a_venue_that_cannot_prove_itself_is_refused(case, tmp_path):
    names, days, trusted, oldest = CASES[case]
    pem = certificate(tmp_path, names, days)
    context = trusting(pem) if trusted else None
    async with serving(pem, oldest=oldest) as number:
        port = HttpxPort(f"https://127.0.0.1:{number}", ssl_context=context, timeouts=HttpTimeouts(read_s=2.0))
        with pytest.raises(VenueUnavailable, match="cannot connect"):
            await port.request("POST", "/fapi/v1/order", {}, b"signature=x")
        await port.aclose()
        with pytest.raises(Restartable, match="TLS handshake failed"):
            async with dialer(context)(f"wss://127.0.0.1:{number}/private/ws?listenKey=x"):
                pass


async def test_a_venue_that_can_is_answered(tmp_path):
    pem = certificate(tmp_path, HERE, 100)
    async with serving(pem) as number:
        port = HttpxPort(f"https://127.0.0.1:{number}", ssl_context=trusting(pem))
        assert (await port.request("GET", "/", {}, b"")).status == 200
        await port.aclose()


async def test_a_socket_gets_through_tls_to_the_handshake(tmp_path):
    async def serve(_: object) -> Restartable:
        raise AssertionError("the server speaks no WebSocket")

    pem = certificate(tmp_path, HERE, 100)
    async with serving(pem) as number:
        why = await connection(dialer(trusting(pem)), f"wss://127.0.0.1:{number}/ws-fapi/v1", serve)
    assert str(why) == "handshake refused with status 200"
