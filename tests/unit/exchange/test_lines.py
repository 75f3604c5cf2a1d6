from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.core.errors import ConfigError
from aegis.exchange import lines
from aegis.exchange.lines import FAR_NS, LONGEST, FrameLines, read_chunks
from aegis.kernels.lines import Chunk

AT = 1_790_000_000_000_000_000


class Line(NamedTuple):
    recv_ns: int
    payload: bytes
    raw: bytes


def lines_in(chunks: Iterable[Chunk]) -> list[Line]:
    return [
        Line(
            recv_ns=int(line["recv_ns"]),
            payload=bytes(chunk.data[line["start"] : line["end"]]) if line["recv_ns"] >= 0 else b"",
            raw=bytes(chunk.data[line["raw_start"] : line["end"]]),
        )
        for chunk in chunks
        for line in chunk.lines
    ]


def read_lines(paths: Sequence[Path]) -> list[Line]:
    return lines_in(read_chunks(paths))


def taken_from(frames: FrameLines) -> list[Line]:
    """Its usable lines, after it has counted them as lines that only Python can read."""
    chunks = list(frames)
    for chunk in chunks:
        frames.count(chunk, ())
    return lines_in(chunks)

stamped = st.builds(
    lambda ns, payload: b"%d %b" % (ns, payload), st.integers(AT, AT + 10**9), st.binary(min_size=1, max_size=40)
)
any_line = st.one_of(stamped, st.binary(max_size=60)).map(lambda raw: raw.replace(b"\n", b"").replace(b"\r", b""))


@given(st.lists(any_line, min_size=1, max_size=30), st.booleans(), st.booleans())
def test_every_line_is_read_once_and_counted_once_whatever_it_holds(
    tmp_path_factory: pytest.TempPathFactory, texts: list[bytes], packed: bool, cut: bool
) -> None:
    texts = [b"%d {}" % AT, *texts]
    data = b"\n".join(texts) + (b"" if cut and texts[-1] else b"\n")
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes(gzip.compress(data) if packed else data)
    read = [line.raw for line in read_lines([path])]
    assert read == [text.strip() for text in texts]

    frames = FrameLines([path])
    taken = taken_from(frames)
    assert frames.counts.total() == len(texts)
    assert len(taken) == len(texts) - frames.counts["unreadable"] - frames.counts["time_far_off"]
    for line in taken:
        assert line.raw.strip() == b"%d %b" % (line.recv_ns, line.payload) or line.raw.lstrip().startswith(b"0")


def test_files_are_read_one_after_another(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1 a\n2 b")
    two.write_bytes(gzip.compress(b"3 c\n"))
    assert [(line.recv_ns, line.payload) for line in read_lines([one, two])] == [(1, b"a"), (2, b"b"), (3, b"c")]


@pytest.mark.parametrize("size", [LONGEST - 1, LONGEST, LONGEST + 1, 3 * LONGEST + 5])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_that_is_too_long_is_one_line_that_cannot_be_used(tmp_path: Path, size: int, end: bytes) -> None:
    head = b"%d " % AT
    raw = head + b"x" * (size - len(head) - len(end)) + end
    after = b"%d y\n" % AT if end else b""
    path = tmp_path / "long"
    path.write_bytes(raw + after)
    found = read_lines([path])
    assert len(found) == 1 + bool(after)
    assert (found[0].recv_ns == AT) == (size < LONGEST or (size == LONGEST and end != b""))
    assert not after or found[1].payload == b"y"


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_one_time_that_is_far_off_is_left_out_wherever_it_stands(tmp_path: Path, wrong: int) -> None:
    stamps = [AT, AT + 1, AT + 2]
    stamps[wrong] += FAR_NS * 100
    path = tmp_path / "times"
    path.write_bytes(b"\n".join(b"%d {}" % stamp for stamp in stamps))
    frames = FrameLines([path])
    assert [line.recv_ns - AT for line in taken_from(frames)] == [k for k in range(3) if k != wrong]
    assert frames.counts == {"no_event": 2, "time_far_off": 1}


def test_a_gap_of_hours_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "gap"
    path.write_bytes(b"%d {}\n%d {}\n" % (AT, AT + FAR_NS))
    assert len(taken_from(FrameLines([path]))) == 2


def test_kinds_are_told_from_the_line_alone(tmp_path: Path) -> None:
    payloads = {
        b'{"e":"trade","s":"A","q":"1.5"}': "trade",
        b'{"stream":"x","data":{"e":"aggTrade","s":"A","q":"2","X":"MARKET"}}': "aggTrade",
        b'{"stream":"x","data":[{"e":"markPriceUpdate"},{"e":"markPriceUpdate"}]}': "markPriceUpdate",
        b'[{"e":"forceOrder"}]': "forceOrder",
        b'{"e":"kline"}': "other_event",
        b"[]": "no_event",
        b'{"lastUpdateId":1}': "no_event",
        b'{"e":1}': "wrong_types",
        b'"text"': "wrong_types",
        b"{": "malformed",
        b"\xff": "malformed",
        b"[" * 20_000: "wrong_types",
        b'{"x":' * 20_000: "malformed",
    }
    for payload, kind in payloads.items():
        path = tmp_path / "one"
        path.write_bytes(b"%d %b\n" % (AT, payload))
        frames = FrameLines([path])
        assert len(taken_from(frames)) == 1
        assert frames.counts == {kind: 1}, payload


def test_only_quantities_of_market_trades_add_up(tmp_path: Path) -> None:
    def trade(**changes: object) -> bytes:
        event = {"e": "trade", "s": "A", "q": "0.1", "X": "MARKET"} | changes
        return b"%d %b" % (AT, json.dumps({"data": event}).encode())

    path = tmp_path / "trades"
    told = [trade() for _ in range(10)] + [trade(e="aggTrade", q="7"), trade(s="B", q="2")]
    junk = [trade(X="INSURANCE_FUND", q="5")] + [trade(q=q) for q in ("NaN", "-1", "1e400", "inf", "", "x", "9" * 30)]
    path.write_bytes(b"\n".join([*told, *junk]))
    frames = FrameLines([path])
    assert len(taken_from(frames)) == len(told) + len(junk)
    assert frames.traded == {("trade", "A"): Decimal(1), ("aggTrade", "A"): Decimal(7), ("trade", "B"): Decimal(2)}


def test_the_sum_is_over_all_lines_and_not_over_their_packing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [b"%d {}" % AT, b"rubbish", b"%d []" % (AT + 1)]
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    plain.write_bytes(b"\n".join(texts))
    packed.write_bytes(gzip.compress(b"\r\n".join(texts) + b"\r\n"))
    sums = set()
    for path, head in ((plain, 1), (plain, 20_000), (packed, 2)):
        monkeypatch.setattr(lines, "HEAD", head)
        frames = FrameLines([path])
        list(frames)
        sums.add(frames.sha256)
    assert sums == {hashlib.sha256(b"\n".join(texts) + b"\n").hexdigest()}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"text\n", "line 1: not"),
        (gzip.compress(b"1 {}\n" * 500, mtime=0)[:-9], "line "),
        (b"\x1f\x8b\0\0", "line 1"),
    ],
)
def test_a_file_that_cannot_be_read_names_itself(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        list(FrameLines([path]))
    assert str(caught.value).startswith(f"{path}: {says}")


def test_a_directory_in_place_of_a_file_names_itself(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="directory"):
        read_lines([tmp_path])
