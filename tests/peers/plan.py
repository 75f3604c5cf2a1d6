"""What is measured beside what."""

from __future__ import annotations

import enum

import attrs

__all__ = ["PLANS", "Feed", "Plan"]


class Feed(enum.Enum):
    """Where a measurement takes its messages from; the first two are the same market, made by the same encoder."""

    SOCKET = enum.auto()  # a WebSocket that sends as fast as it is read
    FILE = enum.auto()  # what such a socket sent at 100,000 ticks a second, as lines `<receive time, ns> <json>`
    BARS = enum.auto()  # a million bars of one symbol as columns: float64[6, n], time to volume, saved by numpy


@attrs.frozen(kw_only=True)
class Plan:
    """One peer.

    Attributes:
        peer: its name, as the noxfile has it.
        script: what runs in its environment, given the feed and the seconds.
        what: the work that is measured.
        task: the same work of ours, a name in `ours.py`.
        row: the row of `aegis bench` that measures that work at length, on the whole engine.
        unit: of that row: us/tick, frames/s, ns a bar, or s for a million bars.
        target: how many times as fast we want to be.
    """

    peer: str
    script: str
    what: str
    feed: Feed
    task: str
    row: str
    target: float
    unit: str = "us/tick"

    def figure(self, rate: float) -> float:
        """What the row would show at so many messages a second."""
        return _PARTS[self.unit] / rate if self.unit in _PARTS else rate


#: From messages a second to the figure of a row, where that is a time.
_PARTS = {"us/tick": 1e6, "ns": 1e9, "s": 1e6}

_WIRE = "wire, bookTicker, CPU of a tick"

PLANS = (
    Plan(
        peer="trio-websocket", script="peer_trio_websocket.py", what="receive, decode with msgspec",
        feed=Feed.SOCKET, task="wire", row=_WIRE, target=50,
    ),
    Plan(
        peer="websockets", script="peer_websockets.py", what="receive, decode with msgspec",
        feed=Feed.SOCKET, task="wire", row=_WIRE, target=10,
    ),
    Plan(
        peer="picows", script="peer_picows.py", what="receive frames, decode nothing",
        feed=Feed.SOCKET, task="wire", row=_WIRE, target=1.5,
    ),
    Plan(
        peer="cryptofeed", script="peer_cryptofeed.py", what="decode, no socket",
        feed=Feed.FILE, task="scan", row=_WIRE, target=15,
    ),
    Plan(
        peer="nautilus", script="peer_nautilus.py", what="backtest, strategy does nothing",
        feed=Feed.FILE, task="replay", row="replay, full engine on 300 generated symbols",
        target=5, unit="frames/s",
    ),
    Plan(
        peer="smartmoneyconcepts", script="peer_smartmoneyconcepts.py",
        what="patterns at a new bar, of 500 bars; ours of all bars", feed=Feed.BARS, task="patterns",
        row="one closed bar, indicators and patterns, everything on", target=10_000, unit="ns",
    ),
    Plan(
        peer="talib", script="peer_talib.py", what="ATR, RSI, Bollinger of 1,000,000 bars", feed=Feed.BARS,
        task="batch", row="ATR, RSI and Bollinger over 1,000,000 bars", target=1 / 3, unit="s",
    ),
)  # fmt: skip
