"""Bare recordings for tests: a made-up market as `<ns> <frame>` lines, the same every time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from aegis import config as configs
from aegis.exchange.books import Books
from aegis.exchange.frames import Encoder
from aegis.exchange.history import aggregates
from aegis.exchange.listing import synthetic_listings
from aegis.exchange.synthetic import SyntheticSource
from aegis.kernels.encode import AGGREGATES, QUOTES
from tests.support.frames import texts

START_NS = 1_790_000_000_000_000_000
SECOND = 1_000_000_000
#: A recorder's clock that is behind, as they are.
BEHIND_NS = 1_270_000_000
_STEP_NS = 20_000_000


@cache
def market_lines(seconds: int = 64, symbols: int = 2, seed: int = 3) -> tuple[bytes, ...]:
    """A violent market of the first symbols: quotes and aggregated trades, 20 ms apart, then a depth snapshot."""
    listings = synthetic_listings(symbols, seed, START_NS // 1_000_000)[:symbols]
    source = SyntheticSource(listings, seed=seed, start_ns=START_NS, volatility=8.0)
    books, encoder = Books(listings, source, start_ns=START_NS), Encoder(listings)
    wanted = np.full(len(listings), QUOTES | AGGREGATES, np.uint8)
    lines: list[bytes] = []
    for now_ns in range(START_NS, START_NS + seconds * SECOND, _STEP_NS):
        books.advance(now_ns)
        records = books.published()
        for piece in encoder.frames(records, aggregates(records), wanted, wrapped=True):
            lines += [line(now_ns + 40_000_000, text) for text in texts(piece)]
    lines.append(line(START_NS + seconds * SECOND, b'{"lastUpdateId":1,"bids":[],"asks":[]}'))
    return tuple(lines)


def line(at_ns: int, payload: bytes) -> bytes:
    return b"%d %b" % (at_ns - BEHIND_NS, payload)


def write(path: Path, lines: Iterable[bytes]) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def changed(
    lines: Sequence[bytes], kind: str, change: Callable[[dict[str, Any]], dict[str, Any]], number: int | None = None
) -> tuple[bytes, ...]:
    """The lines with one event of a kind changed: the given one, or the one in the middle."""
    found = [k for k, text in enumerate(lines) if b'"e":"%b"' % kind.encode() in text]
    k = found[len(found) // 2 if number is None else number]
    stamp, _, payload = lines[k].partition(b" ")
    message = json.loads(payload)
    message["data"] = change(message["data"])
    return (*lines[:k], stamp + b" " + json.dumps(message, separators=(",", ":")).encode(), *lines[k + 1 :])


def quick_config(directory: Path, **sections: dict[str, Any]) -> str:
    """A config file: the simulator's, with bars so short that a minute is enough to warm up and trade, and changes."""
    config = configs.load("sim")
    for name, changes in {"bars": {"timeframes": ["1s", "2s"]}, **sections}.items():
        config = attrs.evolve(config, **{name: attrs.evolve(getattr(config, name), **changes)})
    path = directory / f"quick-{configs.decision_hash(config)}-{config.log.level}.toml"
    path.write_text(configs.dump(config))
    return str(path)
