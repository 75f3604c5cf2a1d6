"""cryptofeed's decoder of the futures feed, without its connection: `FILE SECONDS`.

What it is given is what its WebSocket client would hand over: text. Its callback does nothing.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from cryptofeed.defines import BINANCE_FUTURES, TICKER
from cryptofeed.exchanges import BinanceFutures
from cryptofeed.symbols import Symbols
from cryptofeed.types import Ticker
from meter import STRIDE, Meter


async def nothing(tick: Ticker, received_s: float) -> None:
    """The user's callback."""


async def main(messages: list[str], meter: Meter) -> None:
    names = {text.split("@", 1)[0].rpartition('"')[2].upper() for text in messages}
    # what it would fetch from the venue
    Symbols.set(BINANCE_FUTURES, {f"{name.removesuffix('USDT')}-USDT-PERP": name for name in names}, {})
    feed = BinanceFutures(callbacks={TICKER: nothing})
    feed.callbacks[TICKER] = [nothing]
    feed.requires_authentication = False
    at = 0
    meter.start()
    over = False
    while not over:
        for text in messages[at : at + STRIDE]:
            await feed.message_handler(text, None, 0.0)
        at = (at + STRIDE) % len(messages)
        over = meter.over(STRIDE)
    meter.report("cryptofeed", "yapic.json", symbols=len(names))


lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
whole = len(lines) // STRIDE * STRIDE
asyncio.run(main([line.partition(" ")[2] for line in lines[:whole]], Meter(float(sys.argv[2]))))
