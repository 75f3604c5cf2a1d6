"""Promise P17: damage is found, not used."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.engine.journal import Journal
from aegis.engine.journal_format import (
    FORMAT_VERSION,
    HEAD_SIZE,
    JournalCorrupt,
    Record,
    Tail,
    encode_frame,
    read,
    scan,
)

HEADER = encode_frame(0, "header", {"format": FORMAT_VERSION, "run": "1", "config": "c"}, 0)
FRAMES = [HEADER, *(encode_frame(seq, "fill", {"n": seq, "price": "1.50"}, seq) for seq in range(1, 4))]
WHOLE = b"".join(FRAMES)
ENDS = [sum(map(len, FRAMES[: count + 1])) for count in range(len(FRAMES))]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journal") / "1.journal"


def seqs(path: Path) -> list[int]:
    return [record.seq for record in read(path)]


@pytest.mark.parametrize("length", range(len(WHOLE) + 1))
def test_a_cut_at_any_length_keeps_every_whole_record(path: Path, length: int) -> None:
    path.write_bytes(WHOLE[:length])
    whole = sum(end <= length for end in ENDS)
    if whole == 0:
        with pytest.raises(JournalCorrupt, match="no header"):
            seqs(path)
        return
    assert seqs(path) == list(range(whole))
    journal, torn = Journal.resume(path, lambda record: None)
    assert torn == length - ENDS[whole - 1]
    assert journal.append("fill", {}, 0) == whole
    journal.close()
    assert seqs(path) == list(range(whole + 1))


@pytest.mark.parametrize("position", range(len(WHOLE)))
def test_any_changed_byte_is_found_at_its_record(path: Path, position: int) -> None:
    start = max([0, *(end for end in ENDS if end <= position)])
    for flip in (0x01, 0x80, 0xFF, WHOLE[position]):  # the last makes it zero
        if flip:
            path.write_bytes(WHOLE[:position] + bytes([WHOLE[position] ^ flip]) + WHOLE[position + 1 :])
            with pytest.raises(JournalCorrupt, match=rf"1\.journal: corrupt at byte {start}: "):
                seqs(path)


@given(st.binary(max_size=200), st.integers(0, len(WHOLE)))
def test_random_bytes_are_refused_or_an_unfinished_tail(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int
) -> None:
    path = tmp_path_factory.mktemp("junk") / "1.journal"
    path.write_bytes(WHOLE[:at] + junk)
    try:
        records = list(read(path))
    except JournalCorrupt:
        return
    assert b"".join(encode_frame(r.seq, r.kind, r.data, r.at_ns) for r in records) == WHOLE[: records[-1].end]


@pytest.mark.parametrize("zeros", [1, 11, 12, 13, 5_000, 3_000_000])
def test_a_tail_of_zeros_is_what_a_power_cut_leaves(path: Path, zeros: int) -> None:
    path.write_bytes(WHOLE + bytes(zeros))
    assert seqs(path) == [0, 1, 2, 3]
    journal, torn = Journal.resume(path, lambda record: None)
    journal.close()
    assert torn == zeros
    assert path.stat().st_size == len(WHOLE)


def test_zeros_before_anything_else_are_damage(path: Path) -> None:
    path.write_bytes(WHOLE + bytes(100) + b"x")
    with pytest.raises(JournalCorrupt):
        seqs(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (FRAMES[0] + FRAMES[2], "record 2 follows record 0"),
        (FRAMES[0] + FRAMES[1] + FRAMES[1], "record 1 follows record 1"),
        (FRAMES[1], "record 1 follows record -1"),
        (encode_frame(0, "fill", {}, 0), "starts with its one header"),
        (HEADER + encode_frame(1, "header", {"format": FORMAT_VERSION}, 0), "starts with its one header"),
        (encode_frame(0, "header", {"format": 99}, 0), "format 99"),
    ],
)
def test_frames_in_a_wrong_order_are_refused(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    with pytest.raises(JournalCorrupt, match=reason):
        seqs(path)


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=60).map(bytes.hex), max_size=40), st.data())
def test_reading_in_pieces_while_it_grows_equals_reading_it_whole(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("grow") / "1.journal"
    frames = [HEADER, *(encode_frame(seq, "x", {"text": text}, 0) for seq, text in enumerate(texts, 1))]
    whole = b"".join(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    tail, records = Tail(), list[Record]()
    for cut in [*cuts, len(whole)]:
        path.write_bytes(whole[:cut])
        records += scan(path, tail)
        assert tail.end + tail.torn == cut
    assert records == list(read(path))
    assert tail == Tail(end=len(whole), seq=len(texts), torn=0)


def test_the_frame_of_a_large_record_spans_reads(path: Path) -> None:
    large = encode_frame(1, "x", {"text": "y" * 3_000_000}, 0)
    path.write_bytes(HEADER + large)
    assert seqs(path) == [0, 1]
    path.write_bytes(HEADER + large[: HEAD_SIZE + 2_000_000])
    assert seqs(path) == [0]
