from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.research import recording
from aegis.research.recording import (
    Input,
    InputKind,
    Recorder,
    RecordingError,
    RecordingHeader,
    read_header,
    read_recording,
)
from aegis.runtime.metrics import Metrics

HEADER = RecordingHeader(run="1z", symbols=("BTCUSDT", "测试USDT"), config_toml='mode = "sim"\n')
KINDS = [kind for kind in InputKind if kind not in (InputKind.HEADER, InputKind.END)]

#: The flush mark, the empty last block and the sums of gzip: they follow the END mark and hold no input.
GZIP_END = 15

inputs = st.builds(
    Input,
    st.sampled_from(KINDS),
    st.integers(0, 2**64 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**16 - 1),
    st.binary(max_size=300),
)


def write(directory: Path, entries: list[Input], *, compress: bool = False, segment_bytes: int = 1 << 20) -> Metrics:
    metrics = Metrics()
    with Recorder(directory, HEADER, metrics, compress=compress, segment_bytes=segment_bytes) as recorder:
        for entry in entries:
            recorder.record(*entry)
    assert recorder.broken == ""
    return metrics


def some(count: int) -> list[Input]:
    return [Input(InputKind.READ, seq, 10**18 + seq * 10**9, 1, b"{%d}" % seq) for seq in range(count)]


def files(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


@pytest.mark.parametrize("compress", [True, False])
@given(entries=st.lists(inputs, max_size=30), segment_bytes=st.sampled_from([1, 500, 1 << 20]))
def test_what_was_recorded_is_read_back_in_order(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Input], compress: bool, segment_bytes: int
) -> None:
    directory = tmp_path_factory.mktemp("recording")
    metrics = write(directory, entries, compress=compress, segment_bytes=segment_bytes)
    assert list(read_recording(directory)) == entries
    assert read_header(directory) == HEADER
    assert metrics.snapshot()["recording.inputs"] == len(entries) + 1


def test_large_inputs_and_many_segments(tmp_path: Path) -> None:
    entries = [Input(InputKind.READ, seq, seq, 0, bytes([seq % 251]) * 70_000) for seq in range(40)]
    write(tmp_path, entries, compress=True, segment_bytes=500_000)
    assert len(files(tmp_path)) >= 5
    assert list(read_recording(tmp_path)) == entries


def test_a_directory_holds_one_recording(tmp_path: Path) -> None:
    write(tmp_path, [])
    with pytest.raises(RecordingError, match="already"):
        Recorder(tmp_path, HEADER, Metrics())
    (tmp_path / "file").touch()
    with pytest.raises(RecordingError, match="x: byte 0: Not a directory"):
        Recorder(tmp_path / "file" / "x", HEADER, Metrics())


@pytest.mark.parametrize("compress", [True, False])
def test_a_cut_at_any_length_is_an_error_or_on_request_a_shorter_recording(tmp_path: Path, compress: bool) -> None:
    entries = some(5)
    write(tmp_path, entries, compress=compress)
    (file,) = files(tmp_path)
    whole = file.read_bytes()
    longest = 0
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        if compress and length >= len(whole) - GZIP_END:
            assert list(read_recording(tmp_path)) == entries
            continue
        with pytest.raises(RecordingError, match=r"recording-0000\.bin") as caught:
            list(read_recording(tmp_path))
        assert "\n" not in str(caught.value)
        shorter = list(read_recording(tmp_path, torn=True))
        assert shorter == entries[: len(shorter)]
        longest = max(longest, len(shorter))
    assert longest == 5


@pytest.mark.parametrize("compress", [True, False])
def test_any_changed_byte_is_found_or_harmless(tmp_path: Path, compress: bool) -> None:
    entries = some(5)
    write(tmp_path, entries, compress=compress)
    (file,) = files(tmp_path)
    whole = file.read_bytes()
    harmless = 0
    for position in range(len(whole)):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            assert list(read_recording(tmp_path)) == entries
        except RecordingError:
            continue
        harmless += 1
    # gzip's own header has a time, a system and a name that mean nothing; its trailer follows the END mark
    assert harmless == 0 or (compress and harmless < 60)


def test_a_missing_segment_is_found(tmp_path: Path) -> None:
    write(tmp_path, [Input(InputKind.READ, seq, 0, 0, b"x" * 70_000) for seq in range(10)], segment_bytes=100_000)
    segments = files(tmp_path)
    hidden = segments[2].rename(tmp_path / "elsewhere")
    with pytest.raises(RecordingError, match="segment 3 where 2 is missing"):
        list(read_recording(tmp_path))
    hidden.rename(segments[2])
    segments[-1].unlink()
    with pytest.raises(RecordingError, match="no end mark"):
        list(read_recording(tmp_path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"not a recording, but long enough to be one", "no recording of this version"),
        (recording._SEGMENT.pack(recording._MAGIC, 7), "segment 7 where 0 is missing"),
        (
            recording._SEGMENT.pack(recording._MAGIC, 0) + recording._frame(1, 0, 0, 0, b""),
            "starts with its one header",
        ),
        (recording._SEGMENT.pack(recording._MAGIC, 0) + recording._frame(99, 0, 0, 0, b""), "kind 99 is unknown"),
        (
            recording._SEGMENT.pack(recording._MAGIC, 0) + recording._HEAD.pack(1, 0, 0, 0, 2**32 - 1),
            "an input of 4294967295 bytes",
        ),
    ],
)
def test_what_is_no_recording_is_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "recording-0000.bin").write_bytes(content)
    with pytest.raises(RecordingError, match=reason):
        list(read_recording(tmp_path))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [(b"{}", "unreadable"), (b'{"run":"1","symbols":[],"config_toml":"","version":9}', "version 9")],
)
def test_a_header_of_another_version_is_refused(tmp_path: Path, payload: bytes, reason: str) -> None:
    content = recording._SEGMENT.pack(recording._MAGIC, 0) + recording._frame(InputKind.HEADER, 0, 0, 0, payload)
    (tmp_path / "recording-0000.bin").write_bytes(content)
    with pytest.raises(RecordingError, match=reason):
        read_header(tmp_path)


def test_an_empty_or_missing_place_is_named(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(RecordingError, match="no recording here"):
            list(read_recording(place))


def test_garbage_in_a_compressed_segment_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recording-0000.bin.gz").write_bytes(b"plain text")
    with pytest.raises(RecordingError, match="cannot be read"):
        list(read_recording(tmp_path))


def test_a_disk_that_is_too_slow_breaks_the_recording_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording.threading.Thread, "start", lambda thread: None)  # a writer that never gets its turn
    metrics = Metrics()
    recorder = Recorder(tmp_path, HEADER, metrics, queue_chunks=2)
    for entry in some(20):
        recorder.record(*entry)
    assert recorder.broken == "the disk is too slow"
    assert metrics.snapshot()["recording.broken"] == 1
    recorder.close()


def test_a_full_disk_breaks_the_recording_only(tmp_path: Path) -> None:
    program = f"""
import resource, signal
from pathlib import Path
from aegis.research.recording import *
from aegis.runtime.metrics import Metrics
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, {resource.RLIM_INFINITY}))
header = RecordingHeader(run="1", symbols=(), config_toml="")
recorder = Recorder(Path({str(tmp_path)!r}), header, Metrics(), compress=False)
for number in range(50):
    recorder.record(InputKind.READ, number, number * 10**9, 0, bytes(10_000))
recorder.close()
print(recorder.broken)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "File too large\n"
    assert len(list(read_recording(tmp_path, torn=True))) <= 10


def test_what_was_flushed_survives_sigkill(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from aegis.research.recording import *
from aegis.runtime.metrics import Metrics
recorder = Recorder(Path({str(tmp_path)!r}), RecordingHeader(run="1", symbols=(), config_toml=""), Metrics())
for number in range(100):
    recorder.record(InputKind.READ, number, number * 10**9, 0, os.urandom(1000))
while recorder._queue.qsize():
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    seqs = [entry.seq for entry in read_recording(tmp_path, torn=True)]
    assert seqs == list(range(len(seqs)))
    assert len(seqs) >= 98  # the chunk in the writer's hand may be lost
