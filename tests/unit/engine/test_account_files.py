from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.engine.account_files import (
    SIM_RUNS_KEPT,
    AccountLocked,
    StateUnusable,
    account_directory,
    base36,
    journal_path,
    new_sim_run,
    open_account,
    open_sim_run,
    runs_of,
    sim_runs,
    state_home,
)

OPEN = "import sys, pathlib; from aegis.engine.account_files import *; a = open_account(pathlib.Path(sys.argv[1]))"


def other_process(directory: Path, program: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", f"{OPEN}; {program}", str(directory)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@given(st.integers(0, 2**80))
def test_base36_is_the_inverse_of_int(number: int) -> None:
    assert int(base36(number), 36) == number
    assert base36(number) == base36(number).lower()


def test_run_numbers_count_up_and_outlive_the_process(tmp_path: Path) -> None:
    given_out = []
    for _ in range(3):
        with open_account(tmp_path / "demo-main") as account:
            given_out += [account.next_run() for _ in range(13)]
    assert [int(run, 36) for run in given_out] == list(range(1, 40))


def test_a_lost_counter_repeats_no_number_that_has_a_journal(tmp_path: Path) -> None:
    with open_account(tmp_path) as account:
        for _ in range(40):
            run = account.next_run()
        journal_path(tmp_path, run).touch()
        (tmp_path / "runs").unlink()
        assert account.next_run() == base36(41)


@pytest.mark.parametrize("content", [b"", b"-1\n", b"1 2\n", b"\xff\xfe", b"x" * 40])
def test_a_damaged_counter_is_refused_with_one_line(tmp_path: Path, content: bytes) -> None:
    with open_account(tmp_path) as account:
        (tmp_path / "runs").write_bytes(content)
        with pytest.raises(StateUnusable, match="run number") as caught:
            account.next_run()
        assert "\n" not in str(caught.value)


def test_runs_are_listed_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("z.journal", "10.journal", "2.journal", "aegis.log", "UPPER.journal"):
        (tmp_path / name).touch()
    assert runs_of(tmp_path) == ["2", "z", "10"]


def test_one_process_an_account(tmp_path: Path) -> None:
    holder = other_process(tmp_path, "print(a.next_run(), flush=True); sys.stdin.read()")
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "1\n"
        with pytest.raises(AccountLocked, match="another process"):
            open_account(tmp_path)
    finally:
        holder.kill()  # SIGKILL: the lock goes with the process
        holder.communicate()
    with open_account(tmp_path) as account:
        assert account.next_run() == "2"
        result = other_process(tmp_path, "print('in')")
        out, error = result.communicate(timeout=30)
        assert (out, "AccountLocked" in error) == ("", True)


def test_the_lock_is_exclusive_within_the_process_too(tmp_path: Path) -> None:
    account = open_account(tmp_path)
    with pytest.raises(AccountLocked):
        open_account(tmp_path)
    account.close()
    account.close()
    open_account(tmp_path).close()


def test_a_place_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateUnusable, match="file"):
        open_account(tmp_path / "file" / "demo-main")


def test_directories_are_private(tmp_path: Path) -> None:
    open_account(tmp_path / "new" / "live-main").close()
    assert (tmp_path / "new" / "live-main").stat().st_mode & 0o777 == 0o700


def test_places_are_named_as_the_manual_says(tmp_path: Path) -> None:
    assert state_home(tmp_path) == tmp_path
    assert state_home(None).name == "aegis"
    assert account_directory(tmp_path, "demo", "main") == tmp_path / "demo-main"
    assert journal_path(tmp_path, "1z") == tmp_path / "1z.journal"


def test_the_last_ten_simulated_runs_are_kept(tmp_path: Path) -> None:
    runs = []
    for _ in range(14):
        run, account = new_sim_run(tmp_path)
        runs.append(run)
        account.close()
    assert sim_runs(tmp_path) == runs[-SIM_RUNS_KEPT:]
    assert len(set(runs)) == 14


def test_a_simulated_run_in_use_is_never_deleted(tmp_path: Path) -> None:
    first, account = new_sim_run(tmp_path)
    for _ in range(12):
        new_sim_run(tmp_path)[1].close()
    assert sim_runs(tmp_path)[0] == first
    account.close()
    new_sim_run(tmp_path)[1].close()
    assert first not in sim_runs(tmp_path)


def test_an_existing_simulated_run_can_be_opened_again(tmp_path: Path) -> None:
    run, account = new_sim_run(tmp_path)
    with pytest.raises(AccountLocked):
        open_sim_run(tmp_path, run)
    account.close()
    with open_sim_run(tmp_path, run) as again:
        assert again.directory == tmp_path / "sim" / run
    with pytest.raises(StateUnusable, match=f"there are: {run}"):
        open_sim_run(tmp_path, "zz")
