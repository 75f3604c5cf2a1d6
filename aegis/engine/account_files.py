"""Where state lives: one locked directory an account, whose runs are numbered for ever, and the simulator's runs.

`<home>/<venue>-<account>/` holds `lock`, `runs` (the last run number given out) and `<run>.journal` for each run;
`<home>/sim/<run>/` is the same for a single simulated run, of which the last ten are kept. A run number is base-36 and
is never given twice, because order ids start with it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from pathlib import Path
from types import TracebackType

import platformdirs

from aegis.core.errors import ConfigError

__all__ = [
    "SIM_RUNS_KEPT",
    "Account",
    "AccountLocked",
    "StateUnusable",
    "account_directory",
    "base36",
    "journal_of",
    "journal_path",
    "new_sim_run",
    "open_account",
    "open_sim_run",
    "runs_of",
    "sim_runs",
    "state_home",
]

SIM_RUNS_KEPT = 10
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_RUN = re.compile(r"[0-9a-z]{1,12}")
_SUFFIX = ".journal"


class AccountLocked(ConfigError):
    """Another process trades this account."""


class StateUnusable(ConfigError):
    """The state directory cannot be used; the text names the file and why."""


def base36(number: int) -> str:
    """A number of at least 0 in lower-case base 36; `int(text, 36)` is the inverse."""
    digits = ""
    while number or not digits:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits


def state_home(home: Path | None) -> Path:
    """`home` where given (`--home`, AEGIS_HOME), else the user's state directory."""
    return home if home is not None else platformdirs.user_state_path("aegis")


def account_directory(home: Path, venue: str, account: str) -> Path:
    """Directory of one account."""
    return home / f"{venue}-{account}"


def journal_path(directory: Path, run: str) -> Path:
    """The journal of one run."""
    return directory / f"{run}{_SUFFIX}"


def runs_of(directory: Path) -> list[str]:
    """Runs that have a journal, oldest first; needs no lock."""
    names = (path.name.removesuffix(_SUFFIX) for path in directory.glob(f"*{_SUFFIX}"))
    return sorted((name for name in names if _RUN.fullmatch(name)), key=lambda run: int(run, 36))


class Account:
    """An account's directory while this process holds its lock; a context manager."""

    def __init__(self, directory: Path, lock_fd: int) -> None:
        self.directory = directory
        self._lock_fd = lock_fd

    def next_run(self) -> str:
        """A run number that nobody had and nobody will get again; it is on the disk before this returns."""
        return _next_run(self.directory, [*runs_of(self.directory)])

    def journal_path(self, run: str) -> Path:
        return journal_path(self.directory, run)

    def runs(self) -> list[str]:
        """Runs that have a journal, oldest first."""
        return runs_of(self.directory)

    def close(self) -> None:
        """Give the lock back."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def __enter__(self) -> Account:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_account(directory: Path) -> Account:
    """Make the directory where missing (0700) and lock it for this process.

    Raises AccountLocked where another process has it, StateUnusable where it cannot be made or opened.
    """
    return Account(directory, _lock(directory))


def _lock(directory: Path) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateUnusable(f"{directory}: {error.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if isinstance(error, BlockingIOError):
            raise AccountLocked(f"{directory}: another process uses this account") from None
        raise StateUnusable(f"{directory}: {error.strerror}") from None
    return fd


def _next_run(directory: Path, existing: list[str]) -> str:
    """Count up the directory's counter; runs that exist count too, so that a lost counter cannot repeat a number."""
    counter = directory / "runs"
    try:
        text = counter.read_text(encoding="ascii").strip() if counter.exists() else "0"
        if not _RUN.fullmatch(text):
            raise StateUnusable(f"{counter}: {text[:20]!r} is no run number")
        run = base36(max(int(text, 36), *(int(run, 36) for run in existing), 0) + 1)
        fresh = directory / "runs.new"
        with fresh.open("w", encoding="ascii") as file:
            file.write(run + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(counter)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise StateUnusable(f"{counter}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise StateUnusable(f"{counter}: not a run number") from None
    return run


def sim_runs(home: Path) -> list[str]:
    """Simulated runs that still exist, oldest first."""
    names = [path.name for path in (home / "sim").glob("*") if path.is_dir() and _RUN.fullmatch(path.name)]
    return sorted(names, key=lambda run: int(run, 36))


def new_sim_run(home: Path) -> tuple[str, Account]:
    """A fresh `sim/<run>/`, locked; older runs beyond the last ten are deleted unless a process still uses them."""
    parent = home / "sim"
    with open_account(parent):
        run = _next_run(parent, sim_runs(home))
        account = open_account(parent / run)
        for old in sim_runs(home)[:-SIM_RUNS_KEPT]:
            try:
                with open_account(parent / old):
                    shutil.rmtree(parent / old, ignore_errors=True)
            except AccountLocked:
                continue
    return run, account


def open_sim_run(home: Path, run: str) -> Account:
    """An existing simulated run, locked, to resume it. Raises StateUnusable where there is none."""
    if run not in sim_runs(home):
        raise StateUnusable(f"{home / 'sim'}: no run {run}; there are: {', '.join(sim_runs(home)) or 'none'}")
    return open_account(home / "sim" / run)


def journal_of(home: Path | None, run: str | None) -> Path:
    """The journal of a run, by its number or `<account>/<number>`; None: the newest of all. Raises StateUnusable."""
    root = state_home(home)
    found: dict[str, Path] = {}
    for directory in [*(root / "sim").glob("*"), *(p for p in root.glob("*") if p.name != "sim")]:
        for number in runs_of(directory):
            name = number if directory.parent.name == "sim" else f"{directory.name}/{number}"
            found[name] = journal_path(directory, number)
    if not found:
        raise StateUnusable(f"{root}: no runs yet; `aegis run` makes one")
    if run is None:
        return max(found.values(), key=lambda path: path.stat().st_mtime_ns)
    if run not in found:
        raise StateUnusable(f"{root}: no run {run}; there are: {', '.join(sorted(found))}")
    return found[run]
