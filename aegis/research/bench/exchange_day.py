"""A simulated day of the exchange as fast as it goes, with somebody who trades all the while."""

from __future__ import annotations

import attrs
import httpx
import msgspec
import trio

from aegis.exchange.settings import ExchangeAddresses, ExchangeSettings
from aegis.exchange.spawn import exchange_command, spawn_exchange
from aegis.research.bench.exchange_orders import Orders, signer
from aegis.research.bench.process import Unmeasured, cpu_s
from aegis.research.bench.table import Bench, Row, median_row
from aegis.venue.encode import encode
from aegis.venue.signing import signed_query

__all__ = ["simulated_day"]

_DAY_S = 86_400.0
_SYMBOLS = 50
#: A fortieth of the day at the promised pace, then what is left of it.
_WINDOW_S = 100.0
#: Between two orders: a minute of the market's time.
_PAUSE_MS = 60_000
_WINDOW_MS = 60_000
_LOOK_S = 0.02
_TOO_LATE = -1021


class _Time(msgspec.Struct):
    serverTime: int


async def simulated_day(bench: Bench, settings: ExchangeSettings) -> Row:
    """Seconds that a day takes, from how much of it passes in a window. Raises Unmeasured where nothing is filled."""
    settings = attrs.evolve(settings, symbols=_SYMBOLS, speed=0.0, rate=1.0)
    days, costs, filled = [], [], 0
    async with spawn_exchange(exchange_command(["--settings", settings.to_json()])) as running:
        for number in range(1, bench.effort.repeats + 1):
            before_s = cpu_s(running.pid)
            passed_s, spent_s, orders = await _trade(running.addresses, settings, bench.effort.seconds(_WINDOW_S))
            days.append(spent_s * _DAY_S / passed_s)
            costs.append((cpu_s(running.pid) - before_s) * _DAY_S / passed_s)
            filled += orders
            bench.say(f"a simulated day {number}: {days[-1]:.0f} s")
    return median_row(
        "exchange", f"exchange, one simulated day of {_SYMBOLS} symbols with trading", days, target=300.0, unit="s",
        better="less",
        note=f"--speed max, quotes as its trading makes them; from {passed_s / 3600:.1f} simulated hours",
        invalid="" if filled else "nothing was traded",
        detail={"CPU s a day": float(min(costs)), "orders filled": filled},
    )  # fmt: skip


async def _trade(addresses: ExchangeAddresses, settings: ExchangeSettings, seconds: float) -> tuple[float, float, int]:
    """(market seconds that passed, our seconds, orders filled)."""
    orders, sign, filled, due_ms = Orders.of(settings), signer(addresses), 0, 0
    headers = {"X-MBX-APIKEY": addresses.api_key}
    async with httpx.AsyncClient(base_url=addresses.rest, headers=headers, trust_env=False) as client:
        first_ms, begun_s = await _now_ms(client), trio.current_time()
        while trio.current_time() - begun_s < seconds:
            now_ms = await _now_ms(client)
            if now_ms < due_ms:
                await trio.sleep(_LOOK_S)
                continue
            due_ms = now_ms + _PAUSE_MS
            call = encode(orders.next())
            stamped = {**call.params, "recvWindow": _WINDOW_MS, "timestamp": now_ms}
            answer = await client.post(f"/fapi/v1/order?{signed_query(stamped, sign).decode()}")
            if answer.status_code == 200:
                filled += 1
            elif msgspec.json.decode(answer.content).get("code") == _TOO_LATE:  # 0.1 s of ours is a minute
                due_ms = now_ms
            else:
                raise Unmeasured(f"an order was refused: {answer.text[:200]}")
        return (await _now_ms(client) - first_ms) / 1e3, trio.current_time() - begun_s, filled


async def _now_ms(client: httpx.AsyncClient) -> int:
    answer = await client.get("/fapi/v1/time")
    return msgspec.json.decode(answer.content, type=_Time).serverTime
