"""The recorder as the engine's tap: inputs numbered in the order in which they were taken, and what they start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs
import msgspec

from aegis.engine.build import Market
from aegis.engine.channel import Channel
from aegis.engine.inputs import InputKind
from aegis.research.recording import Recorder, RecordingHeader
from aegis.runtime.metrics import Metrics

__all__ = ["RecordingTap", "Start"]


@attrs.frozen(kw_only=True)
class _Carrier:
    symbols: tuple[int, ...]
    quotes: bool
    trades: bool


@attrs.frozen(kw_only=True)
class Start:
    """What an engine is built from, besides its config: the first input of a recording."""

    market: Market
    carriers: tuple[_Carrier, ...]

    @classmethod
    def of(cls, market: Market, channels: Sequence[Channel]) -> Start:
        carriers = tuple(_Carrier(symbols=c.symbols, quotes=c.quotes, trades=c.trades) for c in channels)
        return cls(market=market, carriers=carriers)

    def channels(self) -> list[Channel]:
        """The market sockets, closed."""
        return [
            Channel(number=number, symbols=carrier.symbols, quotes=carrier.quotes, trades=carrier.trades)
            for number, carrier in enumerate(self.carriers)
        ]


class RecordingTap:
    """A context manager: leaving it completes the recording."""

    def __init__(
        self, directory: Path, header: RecordingHeader, metrics: Metrics, start: Start, start_ns: int
    ) -> None:
        self._recorder = Recorder(directory, header, metrics)
        self._seq = 0
        self.record(InputKind.SNAPSHOT, start_ns, 0, msgspec.json.encode(start))

    def record(self, kind: InputKind, now_ns: int, channel: int, payload: bytes | memoryview) -> None:
        """See `engine.inputs.Tap`."""
        self._seq += 1
        self._recorder.record(kind, self._seq, now_ns, channel, bytes(payload))

    def record_encoded(
        self, kind: InputKind, now_ns: int, channel: int, encode: Callable[..., bytes], *parts: Any
    ) -> None:
        """See `engine.inputs.Tap`."""
        self.record(kind, now_ns, channel, encode(*parts))

    def __enter__(self) -> RecordingTap:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._recorder.close()
