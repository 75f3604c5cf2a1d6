"""Orders over the simulated exchange's sockets: from the first byte that leaves to the answer in hand."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from urllib.parse import urlsplit

import attrs
import numpy as np
import trio

from aegis.core.messages import Accepted, OrderRequest, Outcome
from aegis.core.secret import Secret
from aegis.core.values import ClientId, OrderType, Side, SymbolName
from aegis.exchange.listing import Listing, synthetic_listings
from aegis.exchange.settings import ExchangeAddresses, ExchangeSettings
from aegis.exchange.spawn import exchange_command, spawn_exchange
from aegis.research.bench.process import Unmeasured
from aegis.research.bench.table import Bench, Row, median_row
from aegis.runtime.clock import SystemClock
from aegis.venue.encode import encode
from aegis.venue.limits import Limits
from aegis.venue.signing import HmacSigner, signed_query
from aegis.venue.trade_socket import TradeSocket
from aegis.venue.websocket import dialer

__all__ = ["Orders", "rest_round_trips", "signer", "socket_round_trips"]

_CONNECTIONS, _ORDERS_S = 8, 500
_SECONDS = 8.0
_SOCKET_ORDERS = 2_000
_TRADED = 50
_ANSWER_S = 30.0
_LEAST_SHARE = 0.98
_UNLIMITED = 10**9
_READ = 1 << 16


@attrs.define(eq=False)
class Orders:
    """An endless list of market orders: every symbol bought, then every symbol sold, each of the least size."""

    listings: tuple[Listing, ...]
    made: int = 0

    @classmethod
    def of(cls, settings: ExchangeSettings) -> Orders:
        now_ms = SystemClock().wall_ns() // 1_000_000
        return cls(tuple(synthetic_listings(settings.symbols, settings.seed, now_ms)[:_TRADED]))

    def next(self) -> OrderRequest:
        number, self.made = self.made, self.made + 1
        listing = self.listings[number % len(self.listings)]
        least = 2 * listing.min_notional / listing.price(listing.start_ticks)  # however far the price has gone
        steps = (max(least, listing.min_qty) / listing.step).to_integral_value(ROUND_CEILING)
        return OrderRequest(
            cid=ClientId(f"bench-{number}"), symbol=SymbolName(listing.symbol), type=OrderType.MARKET,
            side=Side.SELL if number // len(self.listings) % 2 else Side.BUY, qty=Decimal(steps) * listing.step,
        )  # fmt: skip


def signer(addresses: ExchangeAddresses) -> HmacSigner:
    """Signs with the exchange's key."""
    return HmacSigner(Secret(addresses.api_key), Secret(addresses.api_secret))


# -- REST --------------------------------------------------------------------------------------------------------------
async def rest_round_trips(bench: Bench, settings: ExchangeSettings) -> Row:
    """p99 of an order's round trip, each sent when its time comes by whichever connection is free."""
    count = bench.effort.amount(round(_SECONDS * _ORDERS_S), 2 * _CONNECTIONS)
    tails, medians, slowest = [], [], float("inf")
    orders = Orders.of(settings)
    async with spawn_exchange(exchange_command(["--settings", settings.to_json()])) as running:
        for number in range(1, bench.effort.repeats + 1):
            begin_s = trio.current_time()
            spent_ms = await _rest_run(running.addresses, orders, count)
            slowest = min(slowest, count / (trio.current_time() - begin_s))
            tails.append(float(np.percentile(spent_ms, 99)))
            medians.append(float(np.median(spent_ms)))
            bench.say(f"REST order round trip p99 {number}: {tails[-1]:.3g} ms")
    return median_row(
        "exchange", "exchange, REST order round trip p99", tails, target=5.0, unit="ms", better="less",
        invalid="" if slowest >= _LEAST_SHARE * _ORDERS_S else f"only {slowest:.0f} orders/s were sent",
        note=f"{_CONNECTIONS} connections, {_ORDERS_S} orders/s", detail={"p50 ms": float(np.median(medians))},
    )  # fmt: skip


async def _rest_run(addresses: ExchangeAddresses, orders: Orders, count: int) -> list[float]:
    """Milliseconds of each of `count` orders. Raises Unmeasured where one is refused."""
    spent_ms: list[float] = []
    begin_s, due = trio.current_time(), iter(range(count))

    async def work(link: _Link) -> None:
        for number in due:
            await trio.sleep_until(begin_s + number / _ORDERS_S)
            spent_ms.append(await link.order(orders.next()) * 1e3)

    links = [await _Link.open(addresses) for _ in range(_CONNECTIONS)]
    try:
        with trio.move_on_after(_ANSWER_S + count / _ORDERS_S) as waiting:
            async with trio.open_nursery() as nursery:
                for link in links:
                    nursery.start_soon(work, link)
    finally:
        for link in links:
            await trio.aclose_forcefully(link.stream)
    if waiting.cancelled_caught:
        raise Unmeasured(f"{len(spent_ms)} of {count} orders were answered in time")
    return spent_ms


@attrs.frozen(kw_only=True, eq=False)
class _Link:
    """One kept-alive HTTP connection, as bare as can be: the client is not what is measured."""

    stream: trio.SocketStream
    signer: HmacSigner
    host: bytes

    @classmethod
    async def open(cls, addresses: ExchangeAddresses) -> _Link:
        parts = urlsplit(addresses.rest)
        assert parts.hostname is not None
        assert parts.port is not None
        stream = await trio.open_tcp_stream(parts.hostname, parts.port)
        return cls(stream=stream, signer=signer(addresses), host=parts.netloc.encode())

    async def order(self, request: OrderRequest) -> float:
        """Seconds from the send to the whole answer. Raises Unmeasured for any answer but 200."""
        call = encode(request)
        params = {**call.params, "timestamp": SystemClock().wall_ns() // 1_000_000}
        key = self.signer.api_key.reveal().encode()
        head = b"POST %b?%b HTTP/1.1\r\nHost: %b\r\nX-MBX-APIKEY: %b\r\nContent-Length: 0\r\n\r\n"
        data = head % (call.path.encode(), signed_query(params, self.signer), self.host, key)
        begin_s = trio.current_time()
        await self.stream.send_all(data)
        answer = await self._answer()
        spent_s = trio.current_time() - begin_s
        if not answer.startswith(b"HTTP/1.1 200"):
            words = answer.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")
            raise Unmeasured(f"an order was refused: {words}")
        return spent_s

    async def _answer(self) -> bytes:
        answer = b""
        while True:
            data = await self.stream.receive_some(_READ)
            if not data:
                raise Unmeasured("the exchange closed a connection")
            answer += data
            head, end, body = answer.partition(b"\r\n\r\n")
            if end and len(body) >= _length(head):
                return answer


def _length(head: bytes) -> int:
    """Content-Length of an answer; every answer of the exchange has one."""
    lines = (line.lower() for line in head.split(b"\r\n"))
    return next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))


# -- WebSocket API -----------------------------------------------------------------------------------------------------
async def socket_round_trips(bench: Bench, settings: ExchangeSettings) -> Row:
    """p50 of an order's round trip through the engine's own trade socket, one order after the other."""
    count = bench.effort.amount(_SOCKET_ORDERS, 20)
    medians, tails = [], []
    orders = Orders.of(settings)
    async with spawn_exchange(exchange_command(["--settings", settings.to_json()])) as running:
        answers_in, answers = trio.open_memory_channel[Outcome](1)
        socket = TradeSocket(
            running.addresses.trade, signer(running.addresses), SystemClock().venue_ns, answers_in.send_nowait,
            limits=Limits(weight_1m=_UNLIMITED, orders_1m=_UNLIMITED, orders_10s=_UNLIMITED), dial=dialer(),
        )  # fmt: skip
        async with trio.open_nursery() as nursery:
            await nursery.start(socket.run)
            for number in range(1, bench.effort.repeats + 1):
                spent_ms = [await _round_trip(socket, orders.next(), answers) for _ in range(count)]
                medians.append(float(np.median(spent_ms)))
                tails.append(float(np.percentile(spent_ms, 99)))
                bench.say(f"WebSocket API order round trip p50 {number}: {medians[-1]:.3g} ms")
            nursery.cancel_scope.cancel(reason="measured")
    return median_row(
        "exchange", "exchange, WebSocket API order round trip p50", medians, target=1.0, unit="ms", better="less",
        note="from the engine's trade socket taking it to the outcome", detail={"p99 ms": float(np.median(tails))},
    )  # fmt: skip


async def _round_trip(socket: TradeSocket, order: OrderRequest, answers: trio.MemoryReceiveChannel[Outcome]) -> float:
    """Milliseconds. Raises Unmeasured where the order is not accepted."""
    begin_s = trio.current_time()
    if not socket.send(order):
        raise Unmeasured("the trade socket did not take an order")
    with trio.move_on_after(_ANSWER_S):
        outcome = await answers.receive()
        if not isinstance(outcome, Accepted):
            raise Unmeasured(f"an order was not accepted: {outcome}")
        return (trio.current_time() - begin_s) * 1e3
    raise Unmeasured(f"an order had no answer within {_ANSWER_S:g} s")
