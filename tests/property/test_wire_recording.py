"""The real recording: every line accounted for, and bars from conflated rows equal to bars from every trade."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from aegis.kernels import market, wire
from aegis.venue.inbox import Text
from aegis.venue.market_events import Depth, Snapshot
from tests.support.market_feed import Feed

RECORDING = Path(__file__).parents[3] / "shared" / "data" / "binance-usdm-btcusdt-20240808.gz"
BAR_MS = 1000


def recorded_lines() -> list[tuple[int, bytes]]:
    if not RECORDING.exists():
        pytest.skip(f"the recording is not at {RECORDING.name} beside the repository")
    with gzip.open(RECORDING) as lines:
        parted = [line.rstrip(b"\n").split(b" ", 1) for line in lines]
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        parted = parted[:3000]  # the interpreter is a thousand times slower than the compiled pass
    return [(int(at), payload) for at, payload in parted]


@pytest.fixture(scope="module")
def lines() -> list[tuple[int, bytes]]:
    return recorded_lines()


def recorded_feed() -> Feed:
    return Feed(market.new_table(["BTCUSDT"], [3], BAR_MS, market.TRADE, rows=8))


def test_every_line_is_accounted_for_by_kind(lines: list[tuple[int, bytes]]) -> None:
    feed = recorded_feed()
    for at_ns, payload in lines:
        feed.read(wire.frame(payload), at_ns)
    expected = Counter(json.loads(payload).get("data", {"e": "snapshot"})["e"] for _, payload in lines)
    counts = feed.counts()
    assert counts["frames"] == len(lines)
    assert counts["quotes"] == expected["bookTicker"]
    assert counts["trades"] == expected["trade"]
    assert sum(isinstance(outcome, Depth) for outcome in feed.outcomes) == expected["depthUpdate"]
    assert sum(isinstance(outcome, Snapshot) for outcome in feed.outcomes) == expected["snapshot"] == 1
    # Nothing but depth and the snapshot needed the strict decoder, and nothing was malformed or of an unknown kind.
    assert counts["slow_frames"] == expected["depthUpdate"] + 1 == len(feed.outcomes)
    assert "malformed" not in counts
    assert "ignored" not in counts
    if len(lines) == 93_954:
        assert expected == {"bookTicker": 66_089, "trade": 21_313, "depthUpdate": 6_551, "snapshot": 1}


def test_recorded_quotes_and_prices_are_bit_equal_to_json(lines: list[tuple[int, bytes]]) -> None:
    feed = recorded_feed()
    state = feed.table.symbols
    for at_ns, payload in lines[:20_000]:
        feed.read(wire.frame(payload), at_ns)
        event = json.loads(payload).get("data", {})
        if event.get("e") == "bookTicker" and event["u"] == state["update_id"][0]:
            seen = [float(state[name][0]) for name in ("bid", "bid_qty", "ask", "ask_qty")]
            assert seen == [float(event[key]) for key in "bBaA"]
        elif event.get("e") == "trade" and event["X"] == "MARKET" and event["t"] == state["last_id"][0]:
            assert float(state["last"][0]) == float(event["p"])


def test_recorded_bars_from_conflated_rows_equal_bars_from_every_trade(lines: list[tuple[int, bytes]]) -> None:
    feed = recorded_feed()
    expected: dict[int, tuple[Decimal, Decimal, int]] = {}
    for position, (at_ns, payload) in enumerate(lines):
        feed.read(wire.frame(payload), at_ns)
        if position % 37 == 0:
            feed.take()
        event = json.loads(payload).get("data", {})
        if event.get("e") == "trade" and event["X"] == "MARKET":
            bar = event["T"] // BAR_MS * BAR_MS
            volume, bought, count = expected.get(bar, (Decimal(0), Decimal(0), 0))
            qty = Decimal(event["q"])
            expected[bar] = (volume + qty, bought + (0 if event["m"] else qty), count + 1)
    feed.take()
    seen: dict[int, tuple[Decimal, Decimal, int]] = {}
    for row in feed.rows:
        if row["trades"]:
            volume, bought, count = seen.get(int(row["bar"]), (Decimal(0), Decimal(0), 0))
            lots, taken = (Decimal(int(row[name])).scaleb(-3) for name in ("volume", "taker_buy"))
            seen[int(row["bar"])] = (volume + lots, bought + taken, count + int(row["trades"]))
    assert seen == expected
    assert "late_trades" not in feed.counts()


def test_read_sizes_do_not_change_what_is_decoded(lines: list[tuple[int, bytes]]) -> None:
    stream = b"".join(wire.frame(payload) for _, payload in lines[:3000])
    tables = []
    for size in (1 << 16, 777):
        feed = recorded_feed()
        for start in range(0, len(stream), size):
            feed.read(stream[start : start + size])
        tables.append((feed.table.symbols.tobytes(), feed.table.counters.tobytes(), len(feed.outcomes)))
    assert tables[0] == tables[1]


def test_a_handed_back_frame_is_the_recorded_payload(lines: list[tuple[int, bytes]]) -> None:
    feed = recorded_feed()
    payload = next(payload for _, payload in lines if b"depthUpdate" in payload)
    feed.inbox.extend(wire.frame(payload))
    assert feed.inbox.scan(feed.table, 1) == wire.SLOW
    assert feed.inbox.slow() == Text(payload=payload)
