"""A made-up market as a bare recording, for measuring: many symbols, any rate, the same every time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aegis.runtime.clock import seeded_random

__all__ = ["generated_lines", "write_generated"]

_START_MS = 1_790_000_000_000
_BEHIND_NS = 40_000_000
_TRADES = 0.25
#: Ticks of 0.01: prices from 100 to 1,000.
_FIRST_TICKS = 10_000


def generated_lines(symbols: int, seconds: int, rate: int, seed: int = 7) -> Iterator[bytes]:
    """The lines of one second after another: `rate` quotes and aggregated trades, evenly spaced, and an array of marks.

    Every symbol's update ids rise, its trade ids have no holes, its price walks by single ticks.
    """
    draw = seeded_random(seed, "generated market").random
    names = [b"%cX%03dUSDT" % (65 + number % 26, number) for number in range(symbols)]
    streams = [name.lower() for name in names]
    ticks = [int(_FIRST_TICKS + 9 * _FIRST_TICKS * draw()) for _ in range(symbols)]
    updates, trades = [1] * symbols, [0] * symbols
    for second in range(seconds):
        start_ms = _START_MS + 1000 * second
        out = [_marks(names, ticks, start_ms)]
        for number in range(rate):
            offset_us = number * 1_000_000 // rate
            ms, at_ns = start_ms + offset_us // 1000, start_ms * 1_000_000 + offset_us * 1000 + _BEHIND_NS
            k, size = int(symbols * draw()), 1 + int(5_000 * draw())
            if draw() < _TRADES:
                trades[k] += 1
                out.append(
                    b'%d {"stream":"%b@aggTrade","data":{"e":"aggTrade","E":%d,"a":%d,"s":"%b","p":"%b","q":"%d.%03d",'
                    b'"f":%d,"l":%d,"T":%d,"m":%b}}'
                    % (at_ns, streams[k], ms, trades[k], names[k], _price(ticks[k]), size // 1000, size % 1000,
                       trades[k], trades[k], ms, b"true" if size & 1 else b"false")
                )  # fmt: skip
                continue
            ticks[k] += int(3 * draw()) - 1
            updates[k] += 1
            out.append(
                b'%d {"stream":"%b@bookTicker","data":{"e":"bookTicker","u":%d,"s":"%b","b":"%b","B":"%d.%03d",'
                b'"a":"%b","A":"%d.%03d","T":%d,"E":%d}}'
                % (at_ns, streams[k], updates[k], names[k], _price(ticks[k]), size // 1000, size % 1000,
                   _price(ticks[k] + 1), size // 1000, size % 1000, ms, ms)
            )  # fmt: skip
        yield b"\n".join(out) + b"\n"


def _price(ticks: int) -> bytes:
    return b"%d.%02d" % divmod(ticks, 100)


def _marks(names: list[bytes], ticks: list[int], now_ms: int) -> bytes:
    marks = b",".join(
        b'{"e":"markPriceUpdate","E":%d,"s":"%b","p":"%b","ap":"%b","P":"%b","i":"%b","r":"0.0001","T":%d}'
        % (now_ms, name, _price(price), _price(price), _price(price), _price(price), now_ms + 3_600_000)
        for name, price in zip(names, ticks, strict=True)
    )
    return b'%d {"stream":"!markPrice@arr@1s","data":[%b]}' % (now_ms * 1_000_000 + _BEHIND_NS, marks)


def write_generated(path: Path, *, symbols: int = 300, seconds: int = 20, rate: int = 100_000, seed: int = 7) -> Path:
    """Write `generated_lines` to a plain file, some 16 MB a second of data at the usual rate."""
    with path.open("wb") as file:
        file.writelines(generated_lines(symbols, seconds, rate, seed))
    return path
