"""websockets (asyncio, compiled parts on, no compression, bytes as received) and msgspec: `URL SECONDS`."""

from __future__ import annotations

import sys

import uvloop
from meter import STRIDE, Meter
from shape import Quote, decode
from websockets.asyncio.client import connect


async def main(url: str, meter: Meter) -> None:
    table: dict[str, Quote] = {}
    async with connect(url, compression=None, max_queue=512, ping_interval=None, close_timeout=0.1) as socket:
        for _ in range(STRIDE):
            await socket.recv(decode=False)
        meter.start()
        over = False
        while not over:
            for _ in range(STRIDE):
                quote = decode(await socket.recv(decode=False)).data
                table[quote.s] = quote
            over = meter.over(STRIDE)
        meter.report("websockets", "uvloop", "msgspec", symbols=len(table))


uvloop.run(main(sys.argv[1], Meter(float(sys.argv[2]))))
