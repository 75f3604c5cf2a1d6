"""The server's half of the WebSocket protocol: against another implementation, and against rule breakers."""

from __future__ import annotations

import base64
import itertools

import pytest
import wsproto.frame_protocol as peer
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.exchange.websocket import (
    CloseCode,
    FrameDecoder,
    HandshakeRefused,
    Opcode,
    ProtocolViolation,
    accept_handshake,
    encode_close,
    encode_frame,
    parse_handshake,
    refuse_handshake,
)

MESSAGES = st.lists(
    st.one_of(
        st.tuples(st.just(Opcode.TEXT), st.text(max_size=200), st.lists(st.integers(0, 200), max_size=3)),
        st.tuples(st.just(Opcode.BINARY), st.binary(max_size=70_000), st.lists(st.integers(0, 70_000), max_size=3)),
        st.tuples(st.just(Opcode.PING), st.binary(max_size=125), st.just([])),
        st.tuples(st.just(Opcode.PONG), st.binary(max_size=125), st.just([])),
    ),
    max_size=5,
)


def client_bytes(opcode: Opcode, payload: str | bytes, cuts: list[int]) -> bytes:
    """One message as the other implementation's client writes it, in fragments at `cuts`."""
    protocol = peer.FrameProtocol(client=True, extensions=[])
    if opcode is Opcode.PING:
        return protocol.ping(payload)
    if opcode is Opcode.PONG:
        return protocol.pong(payload)
    edges = sorted({min(cut, len(payload)) for cut in cuts} | {0, len(payload)}) if payload else [0, 0]
    parts = [payload[a:b] for a, b in itertools.pairwise(edges)]
    return b"".join(protocol.send_data(part, fin=n == len(parts) - 1) for n, part in enumerate(parts))


@settings(max_examples=80, deadline=None)
@given(messages=MESSAGES, chunk=st.sampled_from([1, 3, 7, 4096, 65_536]))
def test_decoder_reads_what_another_clients_encoder_writes(
    messages: list[tuple[Opcode, str | bytes, list[int]]], chunk: int
) -> None:
    wire = b"".join(client_bytes(*message) for message in messages)
    chunk = chunk if len(wire) < 20_000 else max(chunk, 4096)
    decoder = FrameDecoder(1 << 20)
    got = [message for start in range(0, len(wire), chunk) for message in decoder.feed(wire[start : start + chunk])]
    assert got == [
        (opcode, payload.encode() if isinstance(payload, str) else payload) for opcode, payload, _ in messages
    ]


@settings(max_examples=60, deadline=None)
@given(payload=st.binary(max_size=70_000))
def test_another_clients_decoder_reads_our_frames(payload: bytes) -> None:
    protocol = peer.FrameProtocol(client=True, extensions=[])
    protocol.receive_bytes(encode_frame(Opcode.BINARY, payload))
    got = b"".join(bytes(frame.payload) for frame in protocol.received_frames())
    assert got == payload


def test_another_clients_decoder_reads_our_close() -> None:
    protocol = peer.FrameProtocol(client=True, extensions=[])
    protocol.receive_bytes(encode_close(1008, "Too many requests"))
    (frame,) = protocol.received_frames()
    assert tuple(frame.payload) == (1008, "Too many requests")


def frame(first: int, payload: bytes = b"", *, masked: bool = True, size: bytes | None = None) -> bytes:
    length = bytes([len(payload)]) if size is None else size
    return bytes([first, length[0] | (0x80 if masked else 0)]) + length[1:] + (b"\0\0\0\0" if masked else b"") + payload


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (frame(0x81, b"x", masked=False), CloseCode.PROTOCOL_ERROR),
        (frame(0xC1, b"x"), CloseCode.PROTOCOL_ERROR),
        (frame(0x83, b"x"), CloseCode.PROTOCOL_ERROR),
        (frame(0x80, b"x"), CloseCode.PROTOCOL_ERROR),
        (frame(0x01, b"x") + frame(0x81, b"y"), CloseCode.PROTOCOL_ERROR),
        (frame(0x09, b"x"), CloseCode.PROTOCOL_ERROR),
        (frame(0x89, b"x" * 126, size=b"\x7e\x00\x7e"), CloseCode.PROTOCOL_ERROR),
        (frame(0x81, b"x", size=b"\x7e\x00\x01"), CloseCode.PROTOCOL_ERROR),
        (frame(0x81, b"", size=b"\x7f" + (0xFFFF).to_bytes(8, "big")), CloseCode.PROTOCOL_ERROR),
        (frame(0x81, b"\xff"), CloseCode.INVALID_PAYLOAD),
        (frame(0x82, b"", size=b"\x7e" + (1001).to_bytes(2, "big")), CloseCode.TOO_BIG),
        (frame(0x82, b"", size=b"\x7f" + (2**64 - 1).to_bytes(8, "big")), CloseCode.TOO_BIG),
        (frame(0x02, b"x" * 100) * 1 + frame(0x00, b"", size=b"\x7e" + (901).to_bytes(2, "big")), CloseCode.TOO_BIG),
    ],
)
def test_rule_breaker_is_closed_with_the_standards_code(wire: bytes, code: CloseCode) -> None:
    with pytest.raises(ProtocolViolation) as violation:
        FrameDecoder(1000).feed(wire)
    assert violation.value.code == code


@settings(max_examples=200, deadline=None)
@given(noise=st.binary(max_size=300))
def test_any_bytes_end_in_messages_or_a_violation(noise: bytes) -> None:
    decoder = FrameDecoder(1000)
    try:
        decoder.feed(noise)
    except ProtocolViolation:
        return
    assert all(opcode in Opcode for opcode, _ in FrameDecoder(1000).feed(noise))


KEY = base64.b64encode(b"0123456789abcdef")
GOOD = {"Host": "x", "Upgrade": "websocket", "Connection": "keep-alive, Upgrade", "Sec-WebSocket-Version": "13"}


def head(line: str = "GET /ws HTTP/1.1", key: str | None = KEY.decode(), **changes: str | None) -> bytes:
    headers: dict[str, str | None] = {**GOOD, "Sec-WebSocket-Key": key}
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    return "\r\n".join([line, *(f"{name}: {value}" for name, value in headers.items() if value is not None)]).encode()


def test_good_handshake_is_taken_apart() -> None:
    shake = parse_handshake(head("GET /public/ws/%E6%B5%8Busdt@trade?a=%2F HTTP/1.1"))
    assert (shake.path, shake.query, shake.key) == ("/public/ws/测usdt@trade", "a=%2F", KEY)


def test_accept_key_is_the_standards_example() -> None:
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in accept_handshake(b"dGhlIHNhbXBsZSBub25jZQ==")


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head("POST /ws HTTP/1.1"), 405),
        (head("GET /ws HTTP/1.0"), 400),
        (head("GET http://x/ws HTTP/1.1"), 400),
        (head("rubbish"), 400),
        (b"", 400),
        (head(Host=None), 400),
        (head(Upgrade="h2c"), 426),
        (head(Connection="close"), 426),
        (head(Sec_WebSocket_Version="8"), 426),
        (head(key=None), 400),
        (head(key="c2hvcnQ="), 400),
        (head(key="%%%"), 400),
        (head() + b"\r\nno colon", 400),
    ],
)
def test_bad_handshake_is_refused_with_a_status(request_head: bytes, status: int) -> None:
    with pytest.raises(HandshakeRefused) as refusal:
        parse_handshake(request_head)
    assert refusal.value.status == status
    assert refuse_handshake(refusal.value).startswith(b"HTTP/1.1 %d " % status)
