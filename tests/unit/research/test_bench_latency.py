"""The latency bench's own arithmetic: which tick triggered, when an order arrived, and what spoils a row."""

from __future__ import annotations

import itertools
import socket
import time
from pathlib import Path
from typing import Any

import attrs
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.core.values import ClientId
from aegis.engine.journal_format import Record
from aegis.kernels import books, staircase
from aegis.research.bench.latency import rows_of
from aegis.research.bench.latency_join import Bars, Joined, Sent, join, join_closes
from aegis.research.bench.latency_relay import Chunk, Relay, client_messages, entries
from aegis.research.bench.latency_run import Case, Measured, _so_far, _Watch
from aegis.research.bench.latency_venue import Stairs, bench_listings
from aegis.research.bench.table import Verdict
from aegis.venue.market_socket import client_frame
from tests.support.compiled import compiled

START_NS = 1_700_000_000_000 * 1_000_000
MS = 1_000_000


# -- the join ----------------------------------------------------------------------------------------------------------
def sent(*quotes: tuple[int, int, int]) -> Sent:
    """Quotes of one symbol, (batch, event ms, ask) in ticks of 0.5; batch k was sent at 1,000 + 10 k."""
    moves = np.zeros(len(quotes), staircase.MOVE)
    for row, (batch, event_ms, ask) in zip(moves, quotes, strict=True):
        row["batch"], row["event_ms"], row["bid"], row["ask"] = batch, event_ms, ask - 1, ask
    batches = np.array([(1_000 + 10 * k, 0, 1) for k in range(10)], np.int64)
    closers = np.array([(1_000 + 10 * k, k) for k in range(10)], np.int64)
    return Sent(moves=moves, batches=batches, closers=closers, names=("BTCUSDT",), ticks=(0.5,))


def decision(**changes: Any) -> Record:
    data = {"cid": "1-1", "symbol": "BTCUSDT", "side": "BUY", "level": "50", "seen": 49.5, "event_ms": 7, "taken": True}
    return Record(seq=1, kind="decision", at_ns=5, data={**data, **changes}, end=1)


PATH = ((0, 5, 102), (1, 6, 101), (2, 7, 99), (3, 7, 98), (4, 8, 99))


def joined(record: Record, arrived: dict[str, int], *quotes: tuple[int, int, int]) -> Joined:
    return join([record], {ClientId(cid): ns for cid, ns in arrived.items()}, sent(*(quotes or PATH)), since_ns=0)


def test_the_clock_starts_with_the_batch_of_the_first_tick_beyond_the_level() -> None:
    found = joined(decision(), {"1-1": 1_500})
    assert found.latency_ns.tolist() == [1_500 - 1_020]
    assert found.batches.tolist() == [2]
    assert not found.faults


def test_a_sell_is_triggered_by_the_bid() -> None:
    rising = ((0, 5, 98), (1, 6, 100), (2, 7, 102))
    found = joined(decision(side="SELL", seen=50.5), {"1-1": 1_500}, *rising)
    assert found.latency_ns.tolist() == [1_500 - 1_020]


@pytest.mark.parametrize("changes", [{"seen": 49.0}, {"event_ms": 8}, {"seen": 50.5, "event_ms": 6}, {"level": "51"}])
def test_an_engine_that_names_another_tick_than_the_first_is_not_believed(changes: dict[str, Any]) -> None:
    found = joined(decision(**changes), {"1-1": 1_500})
    assert found.faults == {"no such tick": 1}
    assert len(found.latency_ns) == 0


def test_an_order_that_was_decided_and_never_arrived_is_a_fault() -> None:
    assert joined(decision(), {}).faults == {"order missing": 1}


def test_a_denial_is_a_fault_with_its_code() -> None:
    assert joined(decision(taken=False, code="STALE"), {}).faults == {"denied STALE": 1}


def test_what_was_decided_before_it_counts_is_not_looked_at() -> None:
    found = join([decision(taken=False, code="STALE")], {}, sent(*PATH), since_ns=6)
    assert not found.faults


# -- the join of the conflated path ------------------------------------------------------------------------------------
def closed(*closers: tuple[int, int], arrived: int) -> Joined:
    """An order of the bar that ends at 2,000 ms; closers as (published, last event), in ms of a wall 5 ms ahead."""
    told = attrs.evolve(sent(*PATH), closers=np.array(closers, np.int64) * (MS, 1))
    bars = Bars(length_ms=1_000, lateness_ms=250, flush_ns=100 * MS, wall_ns=5 * MS)
    return join_closes([decision(bar={"open_time": 1_000})], {ClientId("1-1"): arrived * MS}, told, bars, since_ns=0)


def test_a_bar_that_closes_is_flushed_behind_the_first_trade_that_is_late_enough() -> None:
    found = closed((2_240, 2_239), (2_251, 2_250), (2_252, 2_251), arrived=2_302)
    assert found.waits_ns is not None
    assert found.waits_ns.tolist() == [49 * MS]
    assert found.latency_ns.tolist() == [7 * MS]


def test_a_tick_that_is_published_at_a_flush_waits_for_none() -> None:
    found = closed((2_300, 2_250), arrived=2_302)
    assert found.waits_ns is not None
    assert (found.waits_ns.tolist(), found.latency_ns.tolist()) == ([0], [7 * MS])


def test_an_engine_that_misses_the_flush_pays_for_the_whole_interval() -> None:
    assert closed((2_299, 2_250), arrived=2_402).latency_ns.tolist() == [107 * MS]


@pytest.mark.parametrize(
    ("arrived", "changes", "faults"),
    [
        (None, {}, {"order missing": 1}),
        (2_302, {"taken": False, "code": "STALE"}, {"denied STALE": 1}),
        (2_302, {"bar": {"open_time": 9_000}}, {"no such tick": 1}),
    ],
)
def test_what_spoils_the_armed_path_spoils_the_conflated_one(
    arrived: int | None, changes: dict[str, Any], faults: dict[str, int]
) -> None:
    bar = changes.pop("bar", {"open_time": 1_000})
    told = attrs.evolve(sent(*PATH), closers=np.array([(2_251 * MS, 2_250)], np.int64))
    bars = Bars(length_ms=1_000, lateness_ms=250, flush_ns=100 * MS, wall_ns=0)
    stamps = {} if arrived is None else {ClientId("1-1"): arrived * MS}
    found = join_closes([decision(bar=bar, **changes)], stamps, told, bars, since_ns=0)
    assert (found.faults, len(found.latency_ns)) == (faults, 0)


# -- the relay ---------------------------------------------------------------------------------------------------------
def call(method: str, cid: str, **params: Any) -> bytes:
    return msgspec.json.encode({"id": 1, "method": method, "params": {"newClientOrderId": cid, **params}})


HANDSHAKE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@given(
    st.lists(st.tuples(st.sampled_from([1, 9]), st.binary(max_size=300)), max_size=8),
    st.lists(st.integers(1, 200), min_size=1, max_size=8),
)
def test_messages_are_found_however_the_bytes_arrive(frames: list[tuple[int, bytes]], sizes: list[int]) -> None:
    data, ends = HANDSHAKE, []
    for opcode, payload in frames:
        data += client_frame(opcode, payload, b"mask")
        ends += [(len(data), payload)] if opcode == 1 else []
    chunks: list[Chunk] = []
    at = 0
    for stamp, size in enumerate(itertools.cycle(sizes)):
        if at >= len(data):
            break
        chunks.append((stamp, data[at : at + size]))
        at += size
    bounds = np.cumsum([len(chunk) for _, chunk in chunks])
    expected = [(int(np.searchsorted(bounds, end)), payload) for end, payload in ends]
    assert list(client_messages(chunks)) == expected


def test_only_entries_are_orders_that_count() -> None:
    messages = [
        call("order.place", "1-1"), call("order.place", "1-2", reduceOnly="true"), call("algoOrder.place", "1-3"),
        call("order.place", "1-4"),
    ]  # fmt: skip
    chunks = [(0, HANDSHAKE)] + [(k, client_frame(1, text, b"mask")) for k, text in enumerate(messages, start=1)]
    assert entries([chunks]) == {"1-1": 1, "1-4": 4}


def test_an_order_that_comes_twice_is_no_measurement() -> None:
    chunks = [(0, HANDSHAKE + client_frame(1, call("order.place", "1-1"), b"mask"))]
    with pytest.raises(ValueError, match="twice"):
        entries([chunks, chunks])


def test_a_frame_that_is_not_masked_is_refused() -> None:
    with pytest.raises(ValueError, match="unmasked"):
        list(client_messages([(0, HANDSHAKE + b"\x81\x01x")]))


def test_the_relay_passes_everything_on_and_stamps_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        relay = Relay(("127.0.0.1", server.getsockname()[1]))
        with socket.create_connection(("127.0.0.1", relay.port)) as client:
            peer, _ = server.accept()
            with peer:
                before = time.monotonic_ns()
                client.sendall(b"ping")
                assert peer.recv(100) == b"ping"
                after = time.monotonic_ns()
                peer.sendall(b"pong")
                assert client.recv(100) == b"pong"
        relay.close()
    ((stamp_ns, data), *_) = relay.connections[0]
    assert data == b"ping"
    assert before <= stamp_ns <= after


# -- the market --------------------------------------------------------------------------------------------------------
def stairs(*until_ms: int, rate: int = 2_000) -> np.ndarray[Any, np.dtype[np.void]]:
    listings = bench_listings(4, 7, START_NS // MS)
    source = Stairs(listings, rate=rate, seed=7, start_ns=START_NS)
    source.events(START_NS)
    return np.concatenate([source.events(START_NS + ms * MS) for ms in until_ms])


def test_the_market_does_not_depend_on_how_often_it_is_asked() -> None:
    whole, pieces = stairs(3_000), stairs(1, 2, 700, 1_999, 3_000)
    assert [row.tolist() for row in whole] == [row.tolist() for row in pieces]


def test_the_market_keeps_its_rate_and_its_order_of_time() -> None:
    events = stairs(5_000)
    assert np.count_nonzero(events["kind"] != books.MARK) == 10_000
    assert np.count_nonzero(events["kind"] == books.MARK) == 5 * 4
    assert (np.diff(events["time_ns"]) >= 0).all()
    assert events["time_ns"].max() < START_NS + 5_000 * MS


def test_every_stair_comes_back_through_its_gap_once_and_leaves_the_old_ones_alone() -> None:
    """The climb's dip goes below the top of the impulse, and stays above everything before the impulse."""
    unit, cycle = 3, staircase.CYCLE_MS
    row = np.zeros(len(staircase.PARAMETERS), np.int64)
    row[staircase.UNIT] = unit
    offset = compiled(staircase._offset)
    for number in range(3):
        path = np.array([offset(row, 5, number * cycle + ms) for ms in range(cycle)])
        top = path[0] + 60 * unit
        impulse, rest = path[:1_000], path[3_600:]
        assert impulse.max() < top + unit, "the impulse lies inside the first second"
        beyond = rest <= top
        assert np.count_nonzero(beyond[1:] & ~beyond[:-1]) == 1
        assert rest.min() == path[-1] == path[0] + 50 * unit


def test_price_moves_are_the_quotes_that_differ_from_the_one_before() -> None:
    records = np.zeros(6, books.PUBLIC)
    for record, (symbol, kind, bid, ask) in zip(
        records,
        [(0, 1, 5, 6), (0, 1, 5, 6), (1, 1, 5, 6), (0, 2, 9, 9), (0, 1, 5, 7), (1, 1, 4, 6)],
        strict=True,
    ):
        record["symbol"], record["kind"], record["bid"], record["ask"] = symbol, kind, bid, ask
    out = np.zeros(6, staircase.MOVE)
    count = staircase.price_moves(records, 3, np.zeros((2, 2), np.int64), out)
    assert [tuple(row) for row in out[:count][["symbol", "batch", "bid", "ask"]].tolist()] == [
        (0, 3, 5, 6), (1, 3, 5, 6), (0, 3, 5, 7), (1, 3, 4, 6),
    ]  # fmt: skip


# -- the rows ----------------------------------------------------------------------------------------------------------
CASE = Case(rate=1_000, orders=100)


def measured(**changes: Any) -> Measured:
    latency_ns = np.arange(1, 101, dtype=np.int64) * 10_000
    told: dict[str, Any] = {
        "joined": Joined(latency_ns=latency_ns, batches=np.zeros(100, np.int64), faults={}), "rate": 1_000.0,
        "lateness_ns": np.array([1_000], np.int64), "positions": 50.0, "stages": {"hit": (0.1, 0.2)}, "status": {},
        "faults": {},
    }  # fmt: skip
    return Measured(**{**told, **changes})


def test_a_row_for_each_promise_with_all_percentiles_and_stages() -> None:
    median, high = rows_of("armed", {50: 600.0, 99: 900.0}, CASE, measured())
    assert (median.verdict, high.verdict) == (Verdict.MET, Verdict.MISSED)
    assert median.figure == pytest.approx(505.0)
    assert median.detail["p99_9_us"] == pytest.approx(999.0, abs=1.0)
    assert median.detail["hit_p99_us"] == 200.0


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"faults": {"denied STALE": 1}}, "1 x denied STALE"),
        ({"rate": 979.0}, "only 979 of 1,000 ticks/s were offered"),
        ({"joined": Joined(latency_ns=np.zeros(0, np.int64), batches=np.zeros(0, np.int64), faults={}),
          "faults": {"too few orders": 100}}, "100 x too few orders"),
    ],
)  # fmt: skip
def test_what_spoils_a_run_spoils_its_rows(changes: dict[str, Any], why: str) -> None:
    for row in rows_of("armed", {50: 600.0, 99: 900.0}, CASE, measured(**changes)):
        assert row.verdict is Verdict.INVALID
        assert row.invalid == why


def test_listings_of_the_bench_have_fine_ticks_and_their_own_numbers() -> None:
    listings = bench_listings(50, 7, START_NS // MS)
    assert [one.index for one in listings] == list(range(50))
    assert len({one.symbol for one in listings}) == 50
    assert min(one.start_ticks for one in listings) >= 10_000
    assert listings == tuple(attrs.evolve(one) for one in bench_listings(60, 7, START_NS // MS)[:50])


def test_a_run_without_a_figure_says_how_far_it_came(tmp_path: Path) -> None:
    (tmp_path / "engine.txt").write_text("run 1\ncompiling kernels 17/18: scan 20.2 s\n\n")
    case = Case(rate=1_000_000, orders=300)
    told = "0 of 300 symbols warm, 0 of 300 orders; the engine last said: compiling kernels 17/18: scan 20.2 s"
    assert _so_far(case, tmp_path, _Watch()) == told
    assert _so_far(case, tmp_path, _Watch(last={"warm": 7, "taken": 2})).startswith("7 of 300 symbols warm, 2 of 300")
