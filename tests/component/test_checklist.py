"""PROTOCOL.md §12, the letters about sockets and listen keys: each line of it is a test that bears its letter.

(l), faults, and the scaled halves of (d) and (j) are in test_faults.py and test_exchange_faults.py; the other letters
with the trading side's tests.
"""

from __future__ import annotations

import json

import attrs
import pytest
import trio
from trio_websocket import open_websocket_url

from aegis.exchange.settings import SocketLimits
from tests.component.test_exchange_server import SETTINGS, exchange, http, listen, signed
from tests.component.test_exchange_sockets import closed_with

PUBLIC, MARKET = "btcusdt@bookTicker", "btcusdt@markPrice@1s"


async def bought(client, addresses):
    """The answer to an order; a machine that is busy may let the venue's clock fall behind ours for a moment."""
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
    while True:
        answer = await client.post("/fapi/v1/order?" + signed(addresses, **order))
        if answer.status_code == 200 or answer.json()["code"] != -1021:
            return answer


@pytest.mark.parametrize(
    ("route", "heard"), [("/public", {PUBLIC}), ("/market", {MARKET}), ("/private", set()), ("", {PUBLIC})]
)
async def test_12a_three_routes_carry_their_own_and_the_retired_one_public_streams_alone(route, heard):
    async with exchange() as addresses, open_websocket_url(f"{addresses.stream}{route}/stream") as ws:
        await ws.send_message(json.dumps({"method": "SUBSCRIBE", "params": [PUBLIC, MARKET], "id": 1}))
        seen = set()
        with trio.move_on_after(2.5):
            while True:
                message = json.loads(await ws.get_message())
                seen |= {message["stream"]} if "stream" in message else set()
        assert seen == heard


@pytest.mark.parametrize("name", [PUBLIC, "nosuch@trade", "nonsense", "", "BTCUSDT@trade", "!nothing@arr", "x" * 400])
async def test_12b_a_subscription_is_always_acknowledged(name):
    async with exchange() as addresses, open_websocket_url(f"{addresses.stream}/market/ws") as ws:
        await ws.send_message(json.dumps({"method": "SUBSCRIBE", "params": [name], "id": 7}))
        assert json.loads(await ws.get_message()) == {"result": None, "id": 7}


@pytest.mark.parametrize("names", [1, 2])
@pytest.mark.parametrize("path", ["/ws", "/stream"])
async def test_12c_the_wrapper_follows_the_path_and_not_the_number_of_streams(path, names):
    streams = [PUBLIC, "ethusdt@bookTicker"][:names]
    query = "/" + "/".join(streams) if path == "/ws" else "?streams=" + "/".join(streams)
    async with exchange() as addresses, open_websocket_url(f"{addresses.stream}/public{path}{query}") as ws:
        message = json.loads(await ws.get_message())
        assert ("stream" in message) == (path == "/stream")
        payload = message.get("data", message)
        assert payload["e"] == "bookTicker"


async def test_12d_more_than_ten_messages_in_a_second_end_the_connection():
    settings = attrs.evolve(SETTINGS, sockets=SocketLimits())
    async with exchange(settings) as addresses, open_websocket_url(f"{addresses.stream}/market/ws") as ws:
        for number in range(11):
            await ws.send_message(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        assert await closed_with(ws) == (1008, "Too many requests")


async def test_12d_a_client_that_answers_no_ping_is_closed():
    limits = SocketLimits(ping_interval_s=0.05, pong_timeout_s=0.2, linger_s=0.1)
    async with exchange(attrs.evolve(SETTINGS, sockets=limits)) as addresses:
        stream = await trio.open_tcp_stream("127.0.0.1", int(addresses.stream.rpartition(":")[2]))
        async with stream:
            await stream.send_all(
                b"GET /market/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            data = b""
            while piece := await stream.receive_some(65_536):
                data += piece
        assert data.count(b"\x89\x01") >= 2
        assert b"Pong timeout" in data


async def test_12j_a_second_post_gives_the_same_key_and_a_key_that_is_none_is_silent():
    async with exchange() as addresses, http(addresses) as client:
        keys = [(await client.post("/fapi/v1/listenKey")).json()["listenKey"] for _ in range(2)]
        assert keys[0] == keys[1]
        assert len(keys[0]) == 64
        async with (
            open_websocket_url(f"{addresses.stream}/private/ws/{keys[0]}") as good,
            open_websocket_url(f"{addresses.stream}/private/ws/{'x' * 64}") as bad,
        ):
            assert (await bought(client, addresses)).status_code == 200
            await listen(good, lambda m: m.get("o", {}).get("X") == "FILLED")
            with trio.move_on_after(0.3) as silence:
                await bad.get_message()
            assert silence.cancelled_caught


async def test_12j_a_deleted_key_says_that_it_is_over_and_then_nothing():
    async with exchange() as addresses, http(addresses) as client:
        key = (await client.post("/fapi/v1/listenKey")).json()["listenKey"]
        async with open_websocket_url(f"{addresses.stream}/private/ws/{key}") as private:
            assert (await client.delete("/fapi/v1/listenKey")).json() == {}
            told = json.loads(await private.get_message())
            assert (told["e"], told["listenKey"]) == ("listenKeyExpired", key)
            assert (await bought(client, addresses)).status_code == 200
            with trio.move_on_after(0.3) as silence:
                await private.get_message()
            assert silence.cancelled_caught  # mute, and not closed
        assert (await client.put("/fapi/v1/listenKey")).json()["code"] == -1125


async def test_12p_fields_and_event_types_that_no_page_knows_come_now_and_then():
    settings = attrs.evolve(SETTINGS, symbols=1, rate=1.0, speed=0.0)
    async with exchange(settings) as addresses, http(addresses) as client:
        (row, *_) = (await client.get("/fapi/v1/exchangeInfo")).json()["symbols"]
        assert row["tomorrowsField"] == {"known": False}
        key = (await client.post("/fapi/v1/listenKey")).json()["listenKey"]
        async with open_websocket_url(f"{addresses.stream}/private/ws/{key}") as private:
            times = [json.loads(await private.get_message()) for _ in range(2)]
        assert {event["e"] for event in times} == {"TOMORROWS_UPDATE"}
        assert 590_000 < times[1]["E"] - times[0]["E"] < 610_000
