"""The journal's writer: what is on the disk, when it fails, and who may write."""

from __future__ import annotations

import errno
import json
import resource
import signal
import struct
import subprocess
import sys
import zlib
from decimal import Decimal
from pathlib import Path

import pytest
import trio

from aegis.core.errors import InvariantBroken
from aegis.engine.journal import Journal, JournalFailed
from aegis.engine.journal_format import FORMAT_VERSION, JournalCorrupt, Record, digest, export, read
from tests.support.chaos import FaultyDisk


def create(path: Path, disk: FaultyDisk | None = None, durability: str = "process") -> Journal:
    disk = disk if disk is not None else FaultyDisk()
    return Journal.create(path, run="1z", config_hash="c0ffee", at_ns=10, durability=durability, disk=disk)


def kinds(path: Path) -> list[tuple[int, str]]:
    return [(record.seq, record.kind) for record in read(path)]


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "1z.journal"
    journal = create(path)
    big = 2**62 + 1  # an order id that a float cannot hold
    assert journal.append("intent", {"cid": "1z-1", "price": Decimal("0.10"), "symbol": "测试USDT"}, 20) == 1
    assert journal.append("outcome", {"order": big, "none": None, "list": [1, 2]}, -5) == 2
    # no close: what append returned from is there, whatever becomes of the process
    header, intent, outcome = read(path)
    assert header.data == {"format": FORMAT_VERSION, "run": "1z", "config": "c0ffee"}
    assert (intent.seq, intent.kind, intent.at_ns) == (1, "intent", 20)
    assert intent.data == {"cid": "1z-1", "price": "0.10", "symbol": "测试USDT"}
    assert (outcome.at_ns, outcome.data) == (-5, {"order": big, "none": None, "list": [1, 2]})
    assert outcome.end == path.stat().st_size == journal.size
    journal.close()


def test_a_journal_is_never_overwritten_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "1z.journal"
    create(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(JournalFailed, match="File exists"):
        create(path)


def test_resume_continues_the_sequence_after_a_torn_record(tmp_path: Path) -> None:
    path = tmp_path / "1z.journal"
    journal = create(path)
    journal.append("fill", {"id": 1}, 0)
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[-9:])
    seen: list[Record] = []
    journal, torn = Journal.resume(path, seen.append)
    assert torn == 9
    assert [record.seq for record in seen] == [0, 1]
    assert journal.append("fill", {"id": 2}, 0) == 2
    journal.close()
    assert kinds(path) == [(0, "header"), (1, "fill"), (2, "fill")]


def test_resume_refuses_what_is_no_journal(tmp_path: Path) -> None:
    with pytest.raises(JournalFailed, match="No such file"):
        Journal.resume(tmp_path / "none.journal", lambda record: None)
    (tmp_path / "empty.journal").touch()
    with pytest.raises(JournalCorrupt, match="no header"):
        Journal.resume(tmp_path / "empty.journal", lambda record: None)


@pytest.mark.parametrize("fault", ["ENOSPC", "EIO", "short"])
def test_a_disk_that_refuses_halts_the_journal_until_it_recovers(tmp_path: Path, fault: str) -> None:
    path, disk = tmp_path / "1z.journal", FaultyDisk()
    journal = create(path, disk)
    journal.append("intent", {"n": 1}, 0)
    if fault == "short":
        disk.short = 7
    else:
        disk.write_errno = getattr(errno, fault)
    with pytest.raises(InvariantBroken, match=r"1z\.journal: "):
        journal.append("intent", {"n": 2}, 0)
    assert not journal.recover(1)  # the disk still refuses
    disk.short, disk.write_errno = None, 0
    with pytest.raises(JournalFailed):  # not by itself: somebody must decide
        journal.append("intent", {"n": 2}, 0)
    assert kinds(path) == [(0, "header"), (1, "intent")]  # readable meanwhile
    assert journal.recover(2)
    assert journal.append("intent", {"n": 3}, 3) == 3
    assert kinds(path) == [(0, "header"), (1, "intent"), (2, "state"), (3, "intent")]
    journal.close()


def test_recovery_needs_the_half_record_cut_off(tmp_path: Path) -> None:
    path, disk = tmp_path / "1z.journal", FaultyDisk()
    journal = create(path, disk)
    disk.short, disk.truncate_errno = 7, errno.EROFS
    with pytest.raises(JournalFailed):
        journal.append("intent", {}, 0)
    disk.short = None
    assert not journal.recover(1)
    with pytest.raises(JournalFailed, match="Read-only"):
        journal.append("intent", {}, 0)
    journal.close()


def test_a_process_at_its_file_size_limit_gets_an_error_not_a_loss(tmp_path: Path) -> None:
    """The real thing once: the kernel writes what fits, then refuses."""
    program = f"""
import resource, signal
from pathlib import Path
from aegis.engine.journal import Journal, JournalFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.RLIM_INFINITY}))
journal = Journal.create(Path({str(tmp_path / "1.journal")!r}), run="1", config_hash="", at_ns=0)
try:
    while True:
        journal.append("fill", {{"text": "x" * 40}}, 0)
except JournalFailed as error:
    first = str(error)
try:
    journal.append("fill", {{}}, 0)
except JournalFailed:
    resource.setrlimit(resource.RLIMIT_FSIZE, ({resource.RLIM_INFINITY}, {resource.RLIM_INFINITY}))
    assert journal.recover(1)
    print(journal.seq, first.rpartition(": ")[2])
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    seq, _, reason = result.stdout.partition(" ")
    assert reason.startswith(("only", "File too large"))
    assert [record.seq for record in read(tmp_path / "1.journal")] == list(range(int(seq) + 1))


def test_what_was_appended_survives_sigkill(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from aegis.engine.journal import Journal
journal = Journal.create(Path({str(tmp_path / "1.journal")!r}), run="1", config_hash="", at_ns=0)
for number in range(100):
    journal.append("intent", {{"n": number}}, 0)
os.kill(os.getpid(), signal.SIGKILL)
"""
    result = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert result.returncode == -signal.SIGKILL
    assert [record.data.get("n") for record in read(tmp_path / "1.journal")] == [None, *range(100)]


async def test_power_durability_waits_for_the_disk_and_shares_syncs(tmp_path: Path) -> None:
    disk = FaultyDisk()
    journal = create(tmp_path / "1z.journal", disk, durability="power")
    journal.append("intent", {}, 0)
    await journal.sync()
    assert (journal.synced_seq, disk.syncs) == (1, 1)
    await journal.sync()
    assert disk.syncs == 1
    for _ in range(3):
        journal.append("intent", {}, 0)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(journal.sync)
    assert (journal.synced_seq, disk.syncs) == (4, 2)
    journal.close()


async def test_process_durability_never_syncs(tmp_path: Path) -> None:
    disk = FaultyDisk()
    journal = create(tmp_path / "1z.journal", disk)
    await journal.sync()
    assert disk.syncs == 0
    journal.close()


async def test_a_failed_sync_cannot_be_talked_away(tmp_path: Path) -> None:
    """After EIO the system may drop the dirty pages; a second fdatasync would succeed without them."""
    disk = FaultyDisk()
    journal = create(tmp_path / "1z.journal", disk, durability="power")
    disk.sync_errno = errno.EIO
    with pytest.raises(JournalFailed, match="Input/output error"):
        await journal.sync()
    disk.sync_errno = 0
    assert not journal.recover(0)
    with pytest.raises(JournalFailed):
        journal.append("intent", {}, 0)
    with pytest.raises(JournalFailed):
        await journal.sync()
    journal.close()


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    journal = create(tmp_path / "1z.journal")
    journal.close()
    journal.close()
    with pytest.raises(JournalFailed, match="closed"):
        journal.append("intent", {}, 0)


def test_an_impossible_record_is_an_error_and_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "1z.journal"
    journal = create(path)
    with pytest.raises(TypeError):
        journal.append("intent", {"what": object()}, 0)
    with pytest.raises(ValueError, match="bytes"):
        journal.append("intent", {"what": "x" * (1 << 24)}, 0)
    assert journal.append("intent", {}, 0) == 1
    journal.close()
    assert kinds(path) == [(0, "header"), (1, "intent")]


def test_recover_without_a_failure_changes_nothing(tmp_path: Path) -> None:
    journal = create(tmp_path / "1z.journal")
    assert journal.recover(0)
    assert journal.seq == 0
    journal.close()


def test_export_holds_what_happened_and_not_when(tmp_path: Path) -> None:
    for name, shift in (("a", 0), ("b", 12_345)):
        journal = create(tmp_path / f"{name}.journal")
        journal.append("fill", {"price": "1.5", "wall_ns": shift, "cid": "1z-1"}, 7 + shift)
        journal.close()
    lines = list(export(tmp_path / "a.journal"))
    assert lines[1] == b'{"data":{"cid":"1z-1","price":"1.5"},"kind":"fill","seq":1}\n'
    assert all(json.loads(line)["seq"] == number for number, line in enumerate(lines))
    assert digest(tmp_path / "a.journal") == digest(tmp_path / "b.journal")
    journal, _ = Journal.resume(tmp_path / "b.journal", lambda record: None)
    journal.append("fill", {"price": "1.6"}, 0)
    journal.close()
    assert digest(tmp_path / "a.journal") != digest(tmp_path / "b.journal")


def test_a_journal_whose_header_cannot_be_written_is_not_opened(tmp_path: Path) -> None:
    disk = FaultyDisk()
    disk.write_errno = errno.ENOSPC
    with pytest.raises(JournalFailed, match="No space left"):
        create(tmp_path / "1z.journal", disk)


def test_a_record_that_is_no_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "1z.journal"
    create(path).close()
    payload = b'{"at":0,"data":[],"kind":"x","seq":1}'  # sums are right, the content is not
    head = struct.pack("<II", len(payload), zlib.crc32(payload))
    with path.open("ab") as file:
        file.write(head + struct.pack("<I", zlib.crc32(head)) + payload)
    with pytest.raises(JournalCorrupt, match="not a record"):
        kinds(path)
