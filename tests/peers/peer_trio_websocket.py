"""trio-websocket and msgspec: `URL SECONDS`."""

from __future__ import annotations

import sys

import trio
import trio_websocket
from meter import STRIDE, Meter
from shape import Quote, decode


async def main(url: str, meter: Meter) -> None:
    table: dict[str, Quote] = {}
    async with trio_websocket.open_websocket_url(url, max_message_size=1 << 20) as socket:
        for _ in range(STRIDE):
            await socket.get_message()
        meter.start()
        over = False
        while not over:
            for _ in range(STRIDE):
                quote = decode(await socket.get_message()).data
                table[quote.s] = quote
            over = meter.over(STRIDE)
        meter.report("trio-websocket", "wsproto", "trio", "msgspec", symbols=len(table))
        # its goodbye would first read all that the feeder has under way
        await trio.to_thread.run_sync(sys.stdout.flush)
        sys.exit()


trio.run(main, sys.argv[1], Meter(float(sys.argv[2])))
