"""The command line when something goes wrong: one line and a documented exit code, whatever it is."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import trio

from aegis import config as configs
from aegis.core import errors
from aegis.engine import account_files, journal_format
from aegis.research import recording

CONFIG, VENUE, INTERNAL, FAILED = 78, 69, 70, 1


def every_error() -> list[type[errors.AegisError]]:
    found: list[type[errors.AegisError]] = []
    left: list[type[errors.AegisError]] = [errors.AegisError]
    while left:
        kind = left.pop()
        found.append(kind)
        left += kind.__subclasses__()
    return sorted((kind for kind in set(found) if kind.__module__.startswith("aegis.")), key=lambda kind: kind.__name__)


#: The rest is internal.
CODES = {
    errors.ConfigError: CONFIG,
    account_files.AccountLocked: CONFIG,
    account_files.StateUnusable: CONFIG,
    journal_format.JournalCorrupt: CONFIG,
    recording.RecordingError: CONFIG,
    errors.VenueRefusal: VENUE,
    errors.VenueUnavailable: VENUE,
    errors.Interrupted: FAILED,
}


def made(kind: type[errors.AegisError]) -> errors.AegisError:
    error = kind.__new__(kind)
    Exception.__init__(error, "first line\n  second line")
    return error


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_each_of_our_errors_is_one_line_and_its_exit_code(
    kind: type[errors.AegisError], command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> Any:
        raise made(kind)

    monkeypatch.setattr(configs, "load", fail)
    code, out, err = command("check")
    assert code == next((CODES[one] for one in kind.__mro__ if one in CODES), INTERNAL)
    assert out == ""
    assert err.startswith("aegis: ")
    assert err.count("\n") == 1


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(_: str) -> Any:
        raise error

    monkeypatch.setattr(configs, "load", fail)


def test_the_reason_is_found_in_a_nest_of_groups(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    unavailable = errors.VenueUnavailable("nobody answers")
    cut = trio.BrokenResourceError("y")
    raising(monkeypatch, ExceptionGroup("a", [OSError("x"), ExceptionGroup("b", [cut, unavailable])]))
    assert command("check") == (VENUE, "", "aegis: nobody answers\n")


@pytest.mark.parametrize(
    "bug",
    [
        KeyError("k"),
        ExceptionGroup("g", [ZeroDivisionError("z")]),
        ExceptionGroup("g", [errors.VenueUnavailable("nobody answers"), ZeroDivisionError("z")]),
    ],
)
def test_a_bug_is_a_traceback_and_never_looks_like_a_failed_check(
    bug: Exception, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(monkeypatch, bug)
    code, out, err = command("check")
    assert (code, out) == (INTERNAL, "")
    assert "Traceback" in err
    assert type(bug).__name__ in err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), BaseExceptionGroup("g", [KeyboardInterrupt()])])
@pytest.mark.parametrize(("name", "code"), [("check", FAILED), ("run", 0)])
def test_ctrl_c_before_a_run_has_begun_is_a_stop_on_request_and_elsewhere_a_missing_result(
    name: str, code: int, error: BaseException, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(monkeypatch, error)
    assert command(name) == (code, "", "aegis: interrupted\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["run", "--sconds", "5"],
        ["run", "extra"],
        ["run", "--seconds", "0"],
        ["run", "--seconds", "-1"],
        ["run", "--seconds", "nan"],
        ["run", "--seconds", "1e400"],
        ["run", "--seconds", "soon"],
        ["run", "--seed", "-1"],
        ["run", "--symbols", "0"],
        ["run", "--symbols", "1001"],
        ["run", "--rate", "1000001"],
        ["run", "--rate", "4e3"],
        ["replay"],
        ["why"],
        ["journal"],
        ["exchange", "--rest-port", "65536"],
    ],
    ids=" ".join,
)
def test_a_usage_error_is_exit_code_2_with_help_on_stderr(arguments: list[str], command: Any) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert "Usage: aegis" in err


@pytest.mark.parametrize("arguments", [["--version"], ["check"], ["--help"]], ids=" ".join)
def test_a_reader_that_leaves_is_no_error(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "aegis", *arguments], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
