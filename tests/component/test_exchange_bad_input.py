"""Any bytes on any port: the venue's own error shape or a clean close; no 500, traceback, hang or changed ledger."""

from __future__ import annotations

import json
import logging
import random
import time
from types import SimpleNamespace

import attrs
import httpx
import pytest
import trio
from trio_websocket import ConnectionClosed, open_websocket_url

from aegis.exchange.api import ApiRequest, ApiResponse
from aegis.exchange.api_dispatch import ROUTES
from aegis.exchange.api_ws import METHODS
from aegis.exchange.ledger import read_ledger
from aegis.exchange.settings import SocketLimits
from tests.component.test_exchange_server import SETTINGS, exchange, signed
from tests.support.whole_exchange import Whole, quiet

#: Ten thousand in all: requests to the port and to what stands behind it, frames, raw bytes.
REQUESTS, BEHIND, FRAMES, RAW = 1_000, 4_000, 4_500, 500
CHANGES = ("match", "balance", "order", "algo", "setting")
NAMES = (
    "symbol", "side", "type", "quantity", "price", "timeInForce", "orderId", "origClientOrderId", "timestamp",
    "signature", "recvWindow", "limit", "fromId", "startTime", "endTime", "interval", "pair", "contractType",
    "batchOrders", "orderIdList", "leverage", "marginType", "algoType", "triggerPrice", "closePosition", "callbackRate",
    "positionSide", "incomeType", "countdownTime", "amount", "algoId", "listenKey", "priceMatch",
)  # fmt: skip
VALUES = (
    "BTCUSDT", "btcusdt", "", "0", "-1", "1", "1e400", "NaN", "true", "BUY", "LIMIT", "GTC", "1m", "%00", "%FF%FE",
    "PERPETUAL", "[]", "[1,2", '[{"symbol":1}]', "[[[[[[[[", "9" * 400, "99999999999999999999999", "1790000000000",
    "测试USDT", "'; DROP TABLE", "\u202e", "../../etc/passwd", "CONDITIONAL", "STOP_MARKET", "1.5", "500", "x" * 3_000,
)  # fmt: skip
PATHS = sorted({path for _, path in ROUTES})


def _text(rng: random.Random) -> str:
    if rng.random() < 0.7:
        return rng.choice(VALUES)
    return "".join(chr(rng.choice((rng.randrange(1, 128), rng.randrange(1, 0xD000)))) for _ in range(rng.randrange(12)))


def _query(rng: random.Random) -> str:
    pairs = [(rng.choice(NAMES) if rng.random() < 0.9 else _text(rng), _text(rng)) for _ in range(rng.randrange(8))]
    if rng.random() < 0.3:
        return "&".join(f"{name}={value}" for name, value in pairs)  # not encoded at all
    return str(httpx.QueryParams(pairs))


def _request(rng: random.Random, addresses) -> httpx.Request:
    method = rng.choice(("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "BREW"))
    path = rng.choice(PATHS) if rng.random() < 0.85 else "/" + _text(rng)
    query = _query(rng)
    if rng.random() < 0.3:  # as somebody who is let in, and wants nothing that could be done
        query = signed(addresses, symbol=rng.choice(("NOSUCH", "", "\ud7ff")), **{rng.choice(NAMES[1:7]): _text(rng)})
    target = (path + ("?" + query if query else "")).encode("utf-8", "replace")
    target = bytes(byte for byte in target if 32 < byte < 127 and byte != 35) or b"/"
    body = rng.choice((b"", rng.randbytes(rng.randrange(200)), _query(rng).encode("utf-8", "replace"), b"x" * 70_000))
    headers = {"X-MBX-APIKEY": rng.choice((addresses.api_key, "", "nonsense", "x" * 400))}
    if rng.random() < 0.2:
        headers["Content-Type"] = rng.choice(("application/json", "multipart/form-data; boundary=x", ""))
    url = httpx.URL(addresses.rest).copy_with(raw_path=target if target.startswith(b"/") else b"/" + target)
    return httpx.Request(method, url, headers=headers, content=body)


def test_generated_requests_are_answered_behind_the_port():
    """What an exception here would be a 500 there."""
    rng, statuses = random.Random(2), set()
    whole = Whole.open(quiet(weight_limit=10**8), time.time_ns() + 4_000_000_000)  # signed just before, all the while
    addresses = SimpleNamespace(api_key=whole.exchange.settings.api_key, api_secret=whole.exchange.settings.api_secret,
                                rest="http://x")  # fmt: skip
    for _ in range(BEHIND):
        sent = _request(rng, addresses)
        path, _, query = sent.url.raw_path.partition(b"?")
        answers: list[ApiResponse] = []
        request = ApiRequest(method=sent.method, path=path.decode(), query=query, body=sent.content,
                             api_key=sent.headers.get("x-mbx-apikey"))  # fmt: skip
        whole.exchange.simulator.request(request, whole.now_ns, answers.append)
        whole.exchange.simulator.advance(whole.now_ns)
        (answer,) = answers
        statuses.add(answer.status)
        body = json.loads(answer.body)
        assert answer.status == 200 or (set(body) == {"code", "msg"} and body["code"] < 0)
    assert statuses >= {200, 400, 401, 404}
    assert max(statuses) < 500
    assert [entry["kind"] for entry in whole.exchange.ledger.entries if entry["kind"] in CHANGES] == []


@pytest.fixture
def errors(caplog):
    """What the exchange logged as a fault of its own."""
    caplog.set_level(logging.WARNING)
    return lambda: [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


def _settings(tmp_path):
    return attrs.evolve(SETTINGS, ledger=tmp_path / "ledger.jsonl", weight_limit=10**8, latency_median_ms=0.0,
                        latency_p99_ms=0.0, tick_ms=1.0)  # fmt: skip


def _changed(tmp_path) -> list[str]:
    lines = (tmp_path / "ledger.jsonl").read_text().splitlines()
    return [line for line in lines if json.loads(line)["kind"] in CHANGES]


@pytest.mark.slow
async def test_generated_requests_get_the_venues_own_error_shape(tmp_path, errors):
    rng, statuses = random.Random(1), {}
    settings = _settings(tmp_path)
    async with exchange(settings, seconds=300) as addresses, httpx.AsyncClient(trust_env=False, timeout=10) as client:
        for number in range(REQUESTS):
            request = _request(rng, addresses)
            answer = await client.send(request)
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
            assert answer.status_code < 500, (number, request.method, request.url, answer.text)
            if answer.status_code != 200 and request.method != "HEAD":
                error = answer.json()
                assert set(error) == {"code", "msg"}, (number, request.url, error)
                assert isinstance(error["code"], int)
                assert error["code"] < 0
    assert set(statuses) >= {200, 400, 401, 404}, statuses
    assert _changed(tmp_path) == []
    assert read_ledger(tmp_path / "ledger.jsonl").only.wallet == settings.wallet
    assert errors() == []


# -- sockets -----------------------------------------------------------------------------------------------------------
STREAMS = ("btcusdt@trade", "!bookTicker", "btcusdt@kline_1m", "", "@", "测试usdt@depth", "x" * 500, "!contractInfo")


def _json(rng: random.Random, depth: int = 0):
    kind = rng.randrange(8)
    if kind < 3 or depth > 3:
        return rng.choice((None, True, 0, -1, 2**70, 1.5, "", _text(rng), rng.choice(STREAMS)))
    if kind < 5:
        return [_json(rng, depth + 1) for _ in range(rng.randrange(4))]
    names = ("id", "method", "params", "apiKey", "x")
    return {rng.choice(names): _json(rng, depth + 1) for _ in range(rng.randrange(5))}


def _message(rng: random.Random, methods) -> str | bytes:
    kind = rng.randrange(6)
    if kind == 0:
        return rng.randbytes(rng.randrange(60))
    if kind == 1:
        return "[" * rng.randrange(1, 2_000) if rng.random() < 0.5 else '{"id":1,"method"'
    if kind == 2:
        return json.dumps(_json(rng))
    params = _json(rng) if kind == 3 else {name: rng.choice(VALUES) for name in rng.sample(NAMES, 4)}
    if rng.random() < 0.4:
        params = [rng.choice(STREAMS) for _ in range(rng.randrange(5))]
    request_id = rng.choice((1, "a", None, -1, [], 2**64))
    return json.dumps({"id": request_id, "method": rng.choice(methods), "params": params})


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/public/ws", "/market/stream", "/private/ws/nokey", "/ws-fapi/v1", "/ws"])
async def test_generated_frames_are_answered_or_end_the_connection_cleanly(path, tmp_path, errors):
    rng, count = random.Random(path), FRAMES // 5
    limits = SocketLimits(messages_per_s=100_000, trade_in_flight=100_000)
    methods = [*METHODS, "SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "session.logon", "nonsense"]
    settings = attrs.evolve(_settings(tmp_path), sockets=limits)
    async with exchange(settings, seconds=200) as addresses:
        left, codes = count, set()
        while left > 0:
            try:
                async with open_websocket_url(addresses.stream + path, receive_buffer_size=None) as ws:
                    while left > 0:
                        batch = [_message(rng, methods) for _ in range(min(left, 50))]
                        left -= len(batch)
                        for message in batch:
                            await ws.send_message(message)
                        await ws.send_message('{"method":"LIST_SUBSCRIPTIONS","id":777777}')
                        await _until_answered(ws)
            except ConnectionClosed as closed:
                codes.add(1006 if closed.reason is None else closed.reason.code)
    assert codes <= {1000, 1003, 1007, 1008, 1009}
    assert _changed(tmp_path) == []
    assert errors() == []


async def _until_answered(ws):
    """The answer to the last question: by then all before it were dealt with."""
    with trio.fail_after(20):
        while True:
            told = json.loads(await ws.get_message())
            if isinstance(told, dict) and told.get("id") == 777777:
                return


@pytest.mark.slow
async def test_raw_bytes_on_both_ports_end_in_an_answer_or_a_close(tmp_path, errors):
    rng = random.Random(3)
    limits = SocketLimits(handshake_s=0.2, linger_s=0.1)
    settings = attrs.evolve(_settings(tmp_path), sockets=limits)
    beginnings = (
        b"", b"GET / HTTP/1.1\r\n", b"GET /public/ws HTTP/1.1\r\nUpgrade: websocket\r\n", b"\x16\x03\x01\x02",
        b"POST /fapi/v1/order HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /fapi/v1/time HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    )  # fmt: skip
    async with exchange(settings, seconds=200) as addresses:
        ports = [int(url.rpartition(":")[2]) for url in (addresses.rest, addresses.stream)]

        async def one(data: bytes, port: int) -> None:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            answer = b""
            with trio.fail_after(30):
                try:
                    await stream.send_all(data)
                    await stream.send_eof()
                    while piece := await stream.receive_some(65_536):
                        answer += piece
                except trio.BrokenResourceError:
                    pass
            await trio.aclose_forcefully(stream)
            assert b"HTTP/1.1 5" not in answer
            assert b"Traceback" not in answer

        for _ in range(RAW // 20):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    noise = rng.randbytes(rng.randrange(300)) + rng.choice((b"", b"\r\n\r\n"))
                    nursery.start_soon(one, rng.choice(beginnings) + noise, rng.choice(ports))
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(addresses.rest + "/fapi/v1/ping")).json() == {}
    assert _changed(tmp_path) == []
    assert errors() == []


@pytest.mark.slow
async def test_valid_handshakes_followed_by_broken_frames_are_closed_with_a_code(tmp_path, errors):
    rng = random.Random(4)
    settings = attrs.evolve(_settings(tmp_path), sockets=SocketLimits(linger_s=0.1))
    async with exchange(settings, seconds=100) as addresses:
        for path in ("/public/ws", "/private/ws", "/ws-fapi/v1"):
            for _ in range(40):
                stream = await trio.open_tcp_stream("127.0.0.1", int(addresses.stream.rpartition(":")[2]))
                await stream.send_all(
                    f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
                )
                await stream.receive_some(4096)
                with trio.fail_after(10):
                    try:
                        await stream.send_all(bytes([rng.randrange(256), rng.randrange(256)]) + rng.randbytes(400))
                        await stream.send_eof()
                        while await stream.receive_some(65_536):
                            pass
                    except trio.BrokenResourceError:
                        pass
                await trio.aclose_forcefully(stream)
    assert _changed(tmp_path) == []
    assert errors() == []
