"""Faults and a scaled clock over real sockets: how a client sees them, and the endpoint that changes them."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import attrs
import httpx
import pytest
import trio
from trio_websocket import open_websocket_url

from aegis.config.faults import ClockFaults, EventFaults, Faults, RequestFaults, SocketFaults
from aegis.exchange.ledger import read_ledger
from aegis.exchange.settings import SocketLimits
from tests.component.test_exchange_server import SETTINGS, exchange, http, listen, signed

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}


QUOTES = "/public/ws/btcusdt@bookTicker"
#: One contract and those that are always there: a market that costs little.
SMALL = attrs.evolve(SETTINGS, symbols=1, rate=1.0)
UPGRADE = (b"GET %b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")  # fmt: skip


def faulty(**changes):
    return attrs.evolve(SETTINGS, faults=Faults(**changes))


@pytest.mark.parametrize("fault", ["reset", "reset_executed", "garbled"])
async def test_12l_a_connection_breaks_off_before_or_after_the_order_is_matched(fault, tmp_path):
    settings = attrs.evolve(faulty(requests=RequestFaults(**{fault: 1.0})), ledger=tmp_path / "ledger.jsonl")
    async with exchange(settings) as addresses, http(addresses) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/fapi/v1/order?" + signed(addresses, newClientOrderId="one", **ORDER))
        assert (await client.get("/fapi/v1/ping")).status_code == 200
        await trio.sleep(0.05)
    accepted = read_ledger(tmp_path / "ledger.jsonl").only.accepted
    assert dict(accepted) == ({} if fault == "reset" else {"one": 1})


async def test_12l_an_answer_that_never_comes_leaves_nothing_behind_once_the_client_has_left(tmp_path):
    settings = attrs.evolve(faulty(requests=RequestFaults(silent=1.0)), ledger=tmp_path / "ledger.jsonl")
    async with exchange(settings) as addresses, http(addresses) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/fapi/v1/order?" + signed(addresses, **ORDER), timeout=0.3)
        assert (await client.get("/fapi/v1/ping")).status_code == 200
    assert len(read_ledger(tmp_path / "ledger.jsonl").only.fills) >= 1


async def test_12l_sockets_are_cut_in_the_middle_of_a_frame_and_a_new_one_works():
    async with exchange(faulty(sockets=SocketFaults(reset_every_s=0.2))) as addresses:
        ends = 0
        for _ in range(3):
            stream = await trio.open_tcp_stream("127.0.0.1", int(addresses.stream.rpartition(":")[2]))
            async with stream:
                await stream.send_all(UPGRADE % b"/public/ws/btcusdt@bookTicker")
                data = b""
                while piece := await stream.receive_some(65_536):
                    data += piece
                frames = data.partition(b"\r\n\r\n")[2]
                ends += _broken(frames)
        assert ends == 3


def _frames(wire):
    """(opcode, payload) of every frame; the last may lack its end."""
    at = 0
    while at < len(wire):
        length, head = wire[at + 1], 2
        if length == 126:
            length, head = int.from_bytes(wire[at + 2 : at + 4], "big"), 4
        yield wire[at] & 15, wire[at + head : at + head + length]
        at += head + length
    assert at == len(wire), "the last frame lacks its end"


def _broken(wire):
    """Whether the last frame lacks its end."""
    with pytest.raises(AssertionError, match="lacks its end"):
        list(_frames(wire))
    return True


async def test_12l_a_half_open_socket_says_nothing_and_answers_nothing():
    settings = faulty(sockets=SocketFaults(half_open_every_s=0.01))
    async with exchange(settings) as addresses, open_websocket_url(f"{addresses.stream}{QUOTES}") as ws:
        await trio.sleep(0.3)
        with trio.move_on_after(0.5) as waited:
            while True:
                await ws.get_message()
        assert waited.cancelled_caught  # no end of the connection either
        with trio.move_on_after(0.3) as unanswered:
            await ws.ping()
        assert unanswered.cancelled_caught


async def test_12l_a_slow_socket_brings_everything_late():
    settings = faulty(sockets=SocketFaults(slow_every_s=0.01, slow_bytes_per_s=2_000))
    settings = attrs.evolve(settings, rate=3_000.0)
    async with exchange(settings) as addresses, open_websocket_url(f"{addresses.stream}{QUOTES}") as ws:
        begun, lag = time.monotonic(), 0.0
        while time.monotonic() - begun < 3.0:
            lag = time.time() - json.loads(await ws.get_message())["E"] / 1000
        assert lag > 0.7


async def test_12l_the_clock_is_wrong_and_a_client_that_follows_it_is_served():
    async with exchange(faulty(clock=ClockFaults(skew_ms=-8_000.0))) as addresses, http(addresses) as client:
        told = (await client.get("/fapi/v1/time")).json()["serverTime"]
        assert -8_500 < told - time.time() * 1000 < -7_500
        refused = await client.post("/fapi/v1/order?" + signed(addresses, **ORDER))
        assert refused.json()["code"] == -1021


async def test_faults_are_changed_while_the_exchange_runs():
    settings = attrs.evolve(SETTINGS, control_port=0)
    control = httpx.AsyncClient(trust_env=False)
    async with exchange(settings) as addresses, http(addresses) as client, control:
        url = f"{addresses.control}/faults"
        assert (await client.get("/fapi/v1/depth?symbol=BTCUSDT")).status_code == 200
        told = await control.put(url, json={"requests": {"reads": 1.0}, "seed": 5})
        assert (told.status_code, told.json()["faults"]["requests"]["reads"]) == (200, 1.0)
        assert (await client.get("/fapi/v1/depth?symbol=BTCUSDT")).text == "Service Unavailable."
        assert (await control.get(url)).json()["counts"] == {"reads": 1}
        wrong = await control.put(url, json={"requests": {"raeds": 1.0}})
        assert wrong.status_code == 400
        assert wrong.json()["error"] == "faults: requests.raeds: unknown key (did you mean reads?)"
        assert (await control.put(url, content=b"{")).status_code == 400
        assert (await control.put(url, content=b"x" * 100_000)).status_code == 400
        assert (await control.post(url)).status_code == 404
        assert (await control.delete(url)).json()["faults"]["requests"]["reads"] == 0.0
        assert (await client.get("/fapi/v1/depth?symbol=BTCUSDT")).status_code == 200
        assert (await client.get("/faults")).status_code == 404  # no venue has such


async def test_12l_events_come_twice_on_the_private_stream():
    async with exchange(faulty(events=EventFaults(duplicate=1.0))) as addresses, http(addresses) as client:
        key = (await client.post("/fapi/v1/listenKey")).json()["listenKey"]
        async with open_websocket_url(f"{addresses.stream}/private/ws/{key}") as private:
            await client.post("/fapi/v1/order?" + signed(addresses, **ORDER))
            filled = [await listen(private, lambda m: m.get("o", {}).get("X") == "FILLED") for _ in range(2)]
            assert filled[0][-1] == filled[1][-1]


# -- the scaled clock --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("pong_timeout_s", "ends_s"), [(600.0, 780), (6_000.0, 900)])
async def test_12d_pings_pongs_and_the_end_of_life_follow_the_scaled_clock(pong_timeout_s, ends_s):
    """A quarter of an hour in some seconds: four pings that nobody answers, and the end."""
    limits = SocketLimits(life_s=900.0, pong_timeout_s=pong_timeout_s)  # and a ping every three minutes
    async with exchange(attrs.evolve(SMALL, speed=200.0, sockets=limits)) as addresses:
        stream = await trio.open_tcp_stream("127.0.0.1", int(addresses.stream.rpartition(":")[2]))
        async with stream:
            await stream.send_all(UPGRADE % b"/market/ws/!markPrice@arr")
            data = b""
            while piece := await stream.receive_some(65_536):
                data += piece
        found = list(_frames(data.partition(b"\r\n\r\n")[2]))
    times = [json.loads(body)[0]["E"] for opcode, body in found if opcode == 1]
    assert abs((times[-1] - times[0]) / 1000 - ends_s) < 15
    assert [body for opcode, body in found if opcode == 9] == [b"1", b"2", b"3", b"4"]
    pings = [place for place, (opcode, _) in enumerate(found) if opcode == 9]
    assert all(50 < after - before < 70 for before, after in pairwise(pings))  # marks come every three seconds
    closed = [body[2:] for opcode, body in found if opcode == 8]
    assert closed == ([b"Pong timeout"] if pong_timeout_s < 900 else [])  # at the end of its life it is cut


async def test_12j_a_listen_key_ends_after_an_hour_of_the_scaled_clock():
    async with exchange(attrs.evolve(SMALL, speed=0.0)) as addresses, http(addresses) as client:
        key = (await client.post("/fapi/v1/listenKey")).json()["listenKey"]
        first = (await client.get("/fapi/v1/time")).json()["serverTime"]
        async with open_websocket_url(f"{addresses.stream}/private/ws/{key}") as private:
            told = (await listen(private, lambda m: m["e"] == "listenKeyExpired"))[-1]
            assert told["listenKey"] == key
            assert 3_500_000 < told["E"] - first < 3_660_000
        assert (await client.put("/fapi/v1/listenKey")).json()["code"] == -1125
        assert (await client.post("/fapi/v1/listenKey")).json()["listenKey"] != key


async def test_without_a_bound_the_exchange_runs_as_fast_as_it_can_and_still_answers():
    async with exchange(attrs.evolve(SMALL, speed=0.0)) as addresses, http(addresses) as client:
        begun = time.monotonic()
        first = (await client.get("/fapi/v1/time")).json()["serverTime"]
        heard = 0
        async with open_websocket_url(f"{addresses.stream}/market/ws/btcusdt@aggTrade") as ws:
            while time.monotonic() - begun < 2:
                await ws.get_message()
                heard += 1
        assert heard > 0
        last = (await client.get("/fapi/v1/time")).json()["serverTime"]
        assert (last - first) / 1000 > 10 * (time.monotonic() - begun)
