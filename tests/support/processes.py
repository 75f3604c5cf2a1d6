"""The command as a process: started in a directory and a home of its own, watched, and ended for sure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

__all__ = ["Aegis", "Ended", "alive", "children", "running", "until"]


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """The first true value of `condition`, asked every 10 ms; another process tells nobody when it is ready."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds:g} s: {what}")


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    """Processes that `pid` has started and that still run."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return [child for child in found if alive(child)]


def running(pid: int, command: str) -> list[int]:
    """Those of its children that run `aegis COMMAND`: libraries start helpers of their own while they are imported."""
    return [child for child in children(pid) if command.encode() in _arguments(child)]


def _arguments(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


@attrs.frozen
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)

    @property
    def last(self) -> str:
        """The last line of its stderr."""
        return self.err.strip().rpartition("\n")[2]


@attrs.define
class Aegis:
    """The command with one state directory (`home`) and one current directory (`cwd`)."""

    home: Path
    cwd: Path

    def run(self, *arguments: str, seconds: float = 90.0) -> Ended:
        """Run to the end."""
        with self.start(*arguments) as process:
            return self.ended(process, seconds)

    @contextmanager
    def start(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start in a process group of its own; whatever happens, it and what it started are gone afterwards."""
        process = subprocess.Popen(
            [sys.executable, "-m", "aegis", *arguments],
            cwd=self.cwd,
            env={**os.environ, "AEGIS_HOME": str(self.home), "PYTHONWARNINGS": "error"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            left = [process.pid, *children(process.pid)] if process.returncode is None else []
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            process.communicate()

    @staticmethod
    def ended(process: subprocess.Popen[str], seconds: float = 30.0) -> Ended:
        """Wait for the end; both pipes are read meanwhile."""
        out, err = process.communicate(timeout=seconds)
        return Ended(process.returncode, out, err)

    # -- what a simulated run leaves -----------------------------------------------------------------------------------
    def directory(self, run: str = "1") -> Path:
        return self.home / "sim" / run

    def ledger(self, run: str = "1") -> Path:
        return self.directory(run) / "exchange" / "ledger.jsonl"

    def status(self, run: str = "1") -> dict[str, Any]:
        """The last snapshot; empty before the first."""
        path = self.directory(run) / "status.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def journal_size(self, run: str = "1") -> int:
        path = self.directory(run) / f"{run}.journal"
        return path.stat().st_size if path.exists() else 0
