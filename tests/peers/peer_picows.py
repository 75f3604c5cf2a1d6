"""picows, frames only (nothing is decoded): `URL SECONDS`."""

from __future__ import annotations

import asyncio
import sys

from meter import STRIDE, Meter
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect


class Listener(WSListener):
    """Counts frames; the first thousand are not measured."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.frames = 0
        self.running = False

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        self.frames += 1
        if self.frames < STRIDE:
            return
        self.frames = 0
        if not self.running:
            self.running = True
            self.meter.start()
        elif self.meter.over(STRIDE):
            transport.disconnect()


async def main(url: str, meter: Meter) -> None:
    transport, _ = await ws_connect(lambda: Listener(meter), url)
    await transport.wait_disconnected()
    meter.report("picows")


asyncio.run(main(sys.argv[1], Meter(float(sys.argv[2]))))
