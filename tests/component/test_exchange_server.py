"""The whole exchange in one process over real loopback sockets, with clients that are not ours."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import attrs
import httpx
import pytest
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from aegis.core.errors import ConfigError, VenueUnavailable
from aegis.exchange.ledger import read_ledger
from aegis.exchange.server import STATE_FILE, serve_exchange
from aegis.exchange.settings import ExchangeAddresses, ExchangeSettings, SocketLimits

SETTINGS = ExchangeSettings(
    symbols=3, seed=7, rate=300.0, latency_median_ms=2.0, latency_p99_ms=5.0, sockets=SocketLimits(messages_per_s=1000)
)


def sped_up(factor: int) -> Callable[[], int]:
    """Venue time that runs `factor` times as fast as the machine's."""
    born, start = time.time_ns(), time.monotonic_ns()
    return lambda: born + factor * (time.monotonic_ns() - start)


@asynccontextmanager
async def exchange(
    settings: ExchangeSettings = SETTINGS, clock: Callable[[], int] | None = None, *, seconds: float = 60.0
) -> AsyncIterator[ExchangeAddresses]:
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(lambda **status: serve_exchange(settings, clock=clock, **status))
        with trio.fail_after(seconds):
            yield addresses
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def http(addresses: ExchangeAddresses) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"X-MBX-APIKEY": addresses.api_key}
    async with httpx.AsyncClient(base_url=addresses.rest, headers=headers, trust_env=False) as client:
        yield client


def signed(addresses: ExchangeAddresses, **params: object) -> str:
    query = urlencode({**params, "timestamp": time.time_ns() // 1_000_000})
    return f"{query}&signature=" + hmac.new(addresses.api_secret.encode(), query.encode(), hashlib.sha256).hexdigest()


async def listen(ws: WebSocketConnection, wanted: Callable[[Any], bool]) -> list[Any]:
    """Messages up to the first one that is wanted, which is the last."""
    messages = []
    while not messages or not wanted(messages[-1]):
        messages.append(json.loads(await ws.get_message()))
    return messages


PUBLIC = {"btcusdt@bookTicker", "!bookTicker", "btcusdt@trade", "btcusdt@depth20@100ms", "btcusdt@depth5",
          "btcusdt@depth@100ms", "btcusdt@depth"}  # fmt: skip
MARKET = {"btcusdt@aggTrade", "btcusdt@markPrice", "btcusdt@markPrice@1s", "!markPrice@arr", "!markPrice@arr@1s",
          "btcusdt@kline_1m", "btcusdt_perpetual@continuousKline_1s", "btcusdt@ticker", "btcusdt@miniTicker",
          "!ticker@arr", "!miniTicker@arr"}  # fmt: skip
QUIET = {"!contractInfo", "!forceOrder@arr", "nosuchusdt@trade", "BTCUSDT@trade", "btcusdt@kline_1s",
         "btcusdt@kline_1y", "btcusdt@continuousKline_1m", "nonsense"}  # fmt: skip
EVENT = {
    "bookTicker": "bookTicker", "!bookTicker": "bookTicker", "trade": "trade", "depth20@100ms": "depthUpdate",
    "depth5": "depthUpdate", "aggTrade": "aggTrade", "markPrice": "markPriceUpdate", "markPrice@1s": "markPriceUpdate",
    "depth": "depthUpdate", "depth@100ms": "depthUpdate", "kline_1m": "kline", "continuousKline_1s": "continuous_kline",
    "ticker": "24hrTicker", "miniTicker": "24hrMiniTicker",
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "pushing"),
    [("/public", PUBLIC), ("/market", MARKET), ("/private", set()), ("", PUBLIC)],
    ids=["public", "market", "private", "unrouted"],
)
async def test_each_route_pushes_its_own_streams_and_is_silent_on_all_others(path: str, pushing: set[str]) -> None:
    names = sorted(PUBLIC | MARKET | QUIET)
    seen: dict[str, list[Any]] = defaultdict(list)
    clock = sped_up(10)
    async with (
        exchange(clock=clock) as addresses,
        open_websocket_url(f"{addresses.stream}{path}/stream", receive_buffer_size=None) as ws,
    ):
        await ws.send_message(json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}))
        assert (await listen(ws, lambda m: "id" in m))[-1] == {"result": None, "id": 1}
        until_ns = clock() + 7_000_000_000
        with trio.move_on_after(0.7 if not pushing else 60):
            while clock() < until_ns or not pushing:
                message = json.loads(await ws.get_message())
                seen[message["stream"]].append(message["data"])
    assert set(seen) == pushing
    for stream, payloads in seen.items():
        kind = EVENT.get(stream.partition("@")[2] or stream)
        if kind is not None:
            assert {payload["e"] for payload in payloads} == {kind}
    if "btcusdt@markPrice" in seen:
        every = [payload["E"] // 1000 for payload in seen["btcusdt@markPrice@1s"]]
        assert every == list(range(every[0], every[0] + len(every)))
        slow = [payload["E"] // 1000 for payload in seen["btcusdt@markPrice"]]
        # of the last second only one of the two may have been heard
        assert [second for second in slow if second < every[-1]] == [second for second in every[:-1] if second % 3 == 0]
        assert {"BTCUSDT", "ETHUSDT"} <= {row["s"] for row in seen["!markPrice@arr@1s"][0]}
    if "btcusdt@bookTicker" in seen:
        ids = [payload["u"] for payload in seen["btcusdt@bookTicker"]]
        assert ids == sorted(set(ids))
        chain = [(payload["pu"], payload["u"]) for payload in seen["btcusdt@depth20@100ms"]]
        assert [before for before, _ in chain[1:]] == [after for _, after in chain[:-1]]
        assert {len(payload["b"]) for payload in seen["btcusdt@depth5"]} <= set(range(1, 6))


async def test_raw_and_combined_forms_follow_path_and_property() -> None:
    async with exchange() as addresses, open_websocket_url(f"{addresses.stream}/public/ws/btcusdt@bookTicker") as ws:
        assert (await listen(ws, lambda m: True))[0]["e"] == "bookTicker"
        await ws.send_message('{"method":"SET_PROPERTY","params":["combined",true],"id":3}')
        await listen(ws, lambda m: "id" in m)
        (wrapped,) = await listen(ws, lambda m: True)
        assert wrapped["stream"] == "btcusdt@bookTicker"
        assert wrapped["data"]["s"] == "BTCUSDT"
        await ws.send_message('{"method":"UNSUBSCRIBE","params":["btcusdt@bookTicker"],"id":4}')
        await listen(ws, lambda m: "id" in m)
        with trio.move_on_after(0.3) as silence:
            await ws.get_message()
        assert silence.cancelled_caught


async def test_symbol_that_is_not_ascii_streams_and_signs() -> None:
    async with exchange() as addresses:
        url = f"{addresses.stream}/public/stream?streams=%E6%B5%8B%E8%AF%95usdt@bookTicker"
        async with open_websocket_url(url) as ws:
            (message,) = await listen(ws, lambda m: True)
            assert (message["stream"], message["data"]["s"]) == ("测试usdt@bookTicker", "测试USDT")
        async with http(addresses) as client:
            reply = await client.get("/fapi/v1/symbolConfig?" + signed(addresses, symbol="测试USDT"))
            assert reply.status_code == 200, reply.text
            assert [row["symbol"] for row in reply.json()] == ["测试USDT"]


async def test_signatures_are_checked_over_the_bytes_that_were_sent() -> None:
    async with exchange() as addresses, http(addresses) as client:
        good = signed(addresses)
        balance = await client.get("/fapi/v3/balance?" + good)
        assert balance.status_code == 200
        assert Decimal(balance.json()[0]["balance"]) == SETTINGS.wallet
        assert int(balance.headers["X-MBX-USED-WEIGHT-1M"]) > 0
        changed = await client.get("/fapi/v3/balance?recvWindow=5000&" + good)
        assert (changed.status_code, changed.json()["code"]) == (400, -1022)
        nobody = await client.get("/fapi/v3/balance?" + good, headers={"X-MBX-APIKEY": "x" * 64})
        assert nobody.json()["code"] == -2015


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/nowhere", b"", 404),
        ("PATCH", "/fapi/v1/order", b"", 404),
        ("GET", "/fapi/v1/order/%00%ff", b"", 404),
        ("GET", "/fapi/v1/klines?symbol=%ff&interval=1m", b"", 400),
        ("POST", "/fapi/v1/order", b"\xff\xfe\x00", 400),
        ("POST", "/fapi/v1/order", b"x" * ((1 << 20) + 1), 413),
    ],
)
async def test_rubbish_gets_a_json_error_never_a_500(method: str, target: str, body: bytes, status: int) -> None:
    async with exchange() as addresses, http(addresses) as client:
        reply = await client.request(method, target, content=body)
        assert reply.status_code == status
        assert {"code", "msg"} <= set(reply.json())
        assert (await client.get("/fapi/v1/ping")).json() == {}


async def test_order_by_trade_socket_is_answered_told_and_entered_in_the_ledger(tmp_path: Path) -> None:
    settings = attrs.evolve(SETTINGS, ledger=tmp_path / "ledger.jsonl")
    async with exchange(settings) as addresses, http(addresses) as client:
        key = (await client.post("/fapi/v1/listenKey")).json()["listenKey"]
        async with (
            open_websocket_url(f"{addresses.stream}/private/stream?listenKey={key}") as private,
            open_websocket_url(addresses.trade + "?returnRateLimits=false") as trade,
        ):
            params: dict[str, Any] = {
                "apiKey": addresses.api_key, "newClientOrderId": "run-1", "quantity": "0.01", "side": "BUY",
                "symbol": "BTCUSDT", "timestamp": time.time_ns() // 1_000_000, "type": "MARKET",
            }  # fmt: skip
            payload = "&".join(f"{name}={value}" for name, value in sorted(params.items()))
            params["signature"] = hmac.new(addresses.api_secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
            await trade.send_message(json.dumps({"id": "a", "method": "order.place", "params": params}))
            reply = json.loads(await trade.get_message())
            assert (reply["id"], reply["status"]) == ("a", 200), reply
            assert "rateLimits" not in reply
            events = await listen(private, lambda m: m["data"].get("o", {}).get("X") == "FILLED")
            assert {message["stream"] for message in events} == {key}
            assert events[-1]["data"]["o"]["c"] == "run-1"
            assert events[-1]["data"]["o"]["i"] == reply["result"]["orderId"]
        position = await client.get("/fapi/v3/positionRisk?" + signed(addresses, symbol="BTCUSDT"))
        assert position.status_code == 200, position.text
        assert [Decimal(row["positionAmt"]) for row in position.json()] == [Decimal("0.01")]
    account = read_ledger(tmp_path / "ledger.jsonl").accounts["main"]
    assert account.positions["BTCUSDT"].amount == Decimal("0.01")


async def test_state_survives_a_restart(tmp_path: Path) -> None:
    settings = attrs.evolve(SETTINGS, state_dir=tmp_path)
    order = {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.02", "newClientOrderId": "a-1"}
    async with exchange(settings) as addresses, http(addresses) as client:
        reply = await client.post("/fapi/v1/order", content=signed(addresses, **order))
        assert reply.status_code == 200, reply.text
        before = (await client.get("/fapi/v3/positionRisk?" + signed(addresses, symbol="BTCUSDT"))).json()
        bars = (await client.get("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=100")).json()
    async with exchange(settings) as again, http(again) as client:
        assert (again.api_key, again.api_secret) == (addresses.api_key, addresses.api_secret)
        after = (await client.get("/fapi/v3/positionRisk?" + signed(again, symbol="BTCUSDT"))).json()
        later = (await client.get("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=102")).json()
    assert [(row["positionAmt"], row["entryPrice"]) for row in after] == [
        (row["positionAmt"], row["entryPrice"]) for row in before
    ]
    closed = {row[0]: row for row in bars[:-1]}
    assert [row for row in later if row[0] in closed] == bars[:-1][-len([row for row in later if row[0] in closed]) :]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04rubbish", b"not an archive"])
async def test_damaged_state_is_one_line_with_its_path(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / STATE_FILE).write_bytes(damage)
    with pytest.raises(ConfigError, match=r"exchange\.npz: no saved exchange state"):
        await serve_exchange(attrs.evolve(SETTINGS, state_dir=tmp_path))


async def test_state_of_another_seed_is_refused(tmp_path: Path) -> None:
    async with exchange(attrs.evolve(SETTINGS, state_dir=tmp_path)):
        pass
    with pytest.raises(ConfigError, match="saved with seed 7, started with 8"):
        await serve_exchange(attrs.evolve(SETTINGS, state_dir=tmp_path, seed=8))


async def test_ledger_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ledger cannot be opened: .*Is a directory"):
        await serve_exchange(attrs.evolve(SETTINGS, ledger=tmp_path))


async def test_state_that_cannot_be_saved_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "exchange.new").mkdir()  # the file that is written first
    with pytest.RaisesGroup(pytest.RaisesExc(ConfigError, match="could not be saved"), flatten_subgroups=True):
        async with exchange(attrs.evolve(SETTINGS, state_dir=tmp_path)):
            pass


async def test_port_in_use_is_known_before_anything_is_built() -> None:
    async with exchange() as addresses:
        port = int(addresses.rest.rpartition(":")[2])
        with pytest.raises(VenueUnavailable, match=f"cannot listen on 127.0.0.1:{port}"):
            await serve_exchange(attrs.evolve(SETTINGS, rest_port=port))


@pytest.mark.parametrize(
    "wrong",
    [
        {"symbols": 0},
        {"rate": float("nan")},
        {"wallet": Decimal("NaN")},
        {"latency_median_ms": 200.0},
        {"latency_median_ms": 0.0},
        {"taker_fee": Decimal(1)},
        {"seed": -1},
    ],
)
def test_wrong_setting_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^exchange: \w+ must"):
        ExchangeSettings(**wrong)


def test_ready_line_round_trip_and_secrets_out_of_reprs() -> None:
    addresses = ExchangeAddresses(
        rest="http://h:1", stream="ws://h:2", trade="ws://h:2/t", api_key="k", api_secret="s3cret", seed=1, symbols=2
    )
    assert ExchangeAddresses.from_json(addresses.to_json()) == addresses
    assert "s3cret" not in repr(addresses)
    assert SETTINGS.api_secret not in repr(SETTINGS)
    for line in (b"", b"{}", b'{"event":"ready"}', b"[1]", b'{"event":"ready","rest":{}}'):
        with pytest.raises(ValueError, match="no ready line"):
            ExchangeAddresses.from_json(line)
