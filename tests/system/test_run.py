"""`aegis run` as a user has it: a process, its exchange, every way to end, what is left, what the reports say."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from aegis.exchange.ledger_view import AccountView, Entry, parse_entries, read_ledger
from tests.support.processes import Aegis, Ended, alive, children, running, until

#: The deadline leaves room for kernels that are compiled for the first time.
FIRST_S = 400.0
SMALL = ("--symbols", "30", "--json")
#: A run that a test ends itself; should the tests be killed, it does not go on for ever.
OPEN_END = (*SMALL, "--seconds", "300")


@pytest.fixture
def aegis(tmp_path: Path) -> Iterator[Aegis]:
    (tmp_path / "cwd").mkdir()
    command = Aegis(home=tmp_path / "home", cwd=tmp_path / "cwd")
    yield command
    assert list(command.cwd.iterdir()) == []  # nothing is ever written where one happens to be


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Aegis, Ended]:
    """One run that has come to its end; many tests look at it."""
    command = Aegis(home=tmp_path_factory.mktemp("home"), cwd=tmp_path_factory.mktemp("cwd"))
    return command, command.run("run", *SMALL, "--seconds", "14", seconds=FIRST_S)


def entries_of(command: Aegis, run: str = "1") -> list[Entry]:
    path = command.ledger(run)
    return parse_entries(path.read_bytes(), path)[0]


def stops_of(account: AccountView) -> dict[str, Decimal]:
    """Trigger price of the stop that is alive at the exchange, by symbol."""
    found = [row for row in account.open_algo_orders.values() if row["type"] == "STOP_MARKET"]
    assert len({row["symbol"] for row in found}) == len(found)
    return {row["symbol"]: Decimal(row["trigger"]) for row in found}


def assert_protected(account: AccountView) -> None:
    assert set(account.open_positions) <= set(stops_of(account))


# ---------------------------------------------------------------------------------------------------- a whole run


def test_a_run_trades_and_its_account_is_the_ledgers(finished: tuple[Aegis, Ended]) -> None:
    command, ended = finished
    assert (ended.code, "Traceback" in ended.err) == (0, False), ended.err
    assert (ended.data["ok"], ended.data["ledger"], ended.data["differences"]) == (True, "agrees", [])
    account = read_ledger(command.ledger()).only
    assert account.duplicates == []
    assert_protected(account)
    rows = ended.data["positions"]["open"]
    shown = {row.split()[0]: Decimal(row.rpartition("stop ")[2].split(",")[0]) for row in rows}
    stops = stops_of(account)
    # "agrees" was said while both lived; the exchange lives a moment longer, in which a stop may close one behind us
    assert {symbol: stops[symbol] for symbol in account.open_positions}.items() <= shown.items()


def test_every_entry_of_a_run_gets_a_stop_at_the_exchange_at_once(finished: tuple[Aegis, Ended]) -> None:
    command, _ = finished
    filled: dict[str, int] = {}
    held: dict[str, float] = {}
    delays_ms = []
    for entry in entries_of(command):
        if entry["kind"] == "match":
            symbol, before = entry["symbol"], held.get(entry["symbol"], 0.0)
            held[symbol] = float(entry["position"])
            if not before:
                filled[symbol] = entry["ns"]
        elif entry["kind"] == "algo" and entry["type"] == "STOP_MARKET" and entry["symbol"] in filled:
            delays_ms.append((entry["ns"] - filled.pop(entry["symbol"])) / 1e6)
    assert filled == {}  # no position ever went without
    assert len(delays_ms) >= 5
    assert max(delays_ms) < 2_000


def test_a_run_writes_below_its_home_and_nowhere_else(finished: tuple[Aegis, Ended]) -> None:
    command, _ = finished
    assert list(command.cwd.iterdir()) == []
    names = {path.name for path in command.directory().iterdir()}
    assert {"1.journal", "engine.log", "exchange", "lock", "status.json"} <= names
    saved = command.directory() / "exchange" / "exchange.npz"
    assert saved.stat().st_size < 5_000_000
    for line in (command.directory() / "engine.log").read_text().splitlines():
        assert json.loads(line)["level"] in ("info", "warning"), line


# -------------------------------------------------------------------------------------------------------- reports


def test_reports_of_a_past_run(finished: tuple[Aegis, Ended]) -> None:
    command, ended = finished
    status = command.run("status", "--json").data
    assert (status["phase"], status["run"], status["symbols"]) == ("STOPPED", "1", 30)
    assert len(status["positions"]) == len(ended.data["positions"]["open"])
    trades = command.run("trades", "--json").data
    assert len(trades) == ended.data["trades"]["closed"]
    text = command.run("trades", "--run", "1").out
    assert all(trade["symbol"] in text for trade in trades)


def test_why_tells_every_decision_of_a_symbol(finished: tuple[Aegis, Ended]) -> None:
    command, ended = finished
    lines = [json.loads(line) for line in command.run("journal", "export").out.splitlines()]
    decisions = [line["data"] for line in lines if line["kind"] == "decision"]
    assert len(decisions) == ended.data["signals"]["signals"]
    symbol = decisions[0]["symbol"]
    mine = [decision for decision in decisions if decision["symbol"] == symbol]
    told = command.run("why", "--symbol", symbol.lower(), "--json").data
    assert [row["signal"] for row in told] == [row["signal"] for row in mine]
    text = command.run("why", "--symbol", symbol).out
    assert text.count("verdict") == len(mine)


def test_signals_of_a_past_run(finished: tuple[Aegis, Ended]) -> None:
    command, ended = finished
    symbol = ended.data["positions"]["open"][0].split()[0]
    told = command.run("signals", "--symbol", symbol, "--json")
    assert (told.code, told.err) == (0, "")
    assert {"SWING", "FVG", "taken"} <= {row["what"] for row in told.data}


def test_journal_export_is_canonical_and_the_same_twice(finished: tuple[Aegis, Ended]) -> None:
    command, _ = finished
    first, second = (command.run("journal", "export").out for _ in range(2))
    assert hashlib.sha256(first.encode()).digest() == hashlib.sha256(second.encode()).digest()
    records = [json.loads(line) for line in first.splitlines()]
    assert [record["seq"] for record in records] == list(range(len(records)))
    intents = {record["data"]["cid"] for record in records if record["kind"] == "intent"}
    account = read_ledger(command.ledger()).only
    assert set(account.accepted) <= intents  # nothing reached the exchange that the journal did not know


def test_check_prints_a_config_that_loads_back_to_the_same(aegis: Aegis, tmp_path: Path) -> None:
    shown = aegis.run("check").out
    assert tomllib.loads(shown)["mode"] == "sim"
    (tmp_path / "mine.toml").write_text(shown)
    assert aegis.run("check", "--config", str(tmp_path / "mine.toml")).out == shown


def test_universe_of_the_simulated_exchange(aegis: Aegis) -> None:
    rows = aegis.run("universe", "--json", seconds=FIRST_S).data
    assert len(rows) >= 300
    assert {bool(row["why_not"]) for row in rows if row["in"] == "no"} == {True}
    assert not aegis.home.exists()  # a question leaves nothing behind


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["status"], 78, "no runs yet"),
        (["run", "--resume", "9"], 78, "no run 9"),
        (["run", "--config", "nosuch"], 78, "nosuch"),
        (["run", "--config", "live"], 78, "does not start yet"),
        (["run", "--seconds", "-1"], 2, "--seconds"),
        (["nosuch"], 2, "nosuch"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_refusal_is_one_line_and_its_exit_code(aegis: Aegis, arguments: list[str], code: int, words: str) -> None:
    ended = aegis.run(*arguments)
    assert (ended.code, ended.out) == (code, "")
    assert words in ended.last
    assert "Traceback" not in ended.err
    if code != 2:
        assert len(ended.err.splitlines()) == 1


# ---------------------------------------------------------------------------------------------------- ways to end


def test_ctrl_c_drains_and_lists_what_stays_open(aegis: Aegis) -> None:
    with aegis.start("run", *OPEN_END) as process:
        until(lambda: aegis.status().get("positions"), "a position", FIRST_S)
        (exchange,) = children(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to the whole group
        ended = aegis.ended(process)
    assert (ended.code, ended.data["run"]["stopped"]) == (0, "signal SIGINT"), ended.err
    assert ended.data["ledger"] == "agrees"
    account = read_ledger(aegis.ledger()).only
    assert_protected(account)
    assert set(account.open_positions) <= {line.split()[0] for line in ended.data["positions"]["open"]}
    assert not alive(exchange)


def test_an_account_has_one_engine_and_a_second_signal_ends_it_at_once(aegis: Aegis) -> None:
    with aegis.start("run", *OPEN_END) as process:
        until(lambda: aegis.status().get("phase") == "RUNNING", "trading", FIRST_S)
        (exchange,) = children(process.pid)
        other = aegis.run("run", *SMALL, "--resume", "1")
        assert (other.code, other.out) == (78, "")
        assert "another process uses this account" in other.last
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)  # another one: two of a kind may come as one
        ended = aegis.ended(process, 10)
    assert (ended.code, ended.out) == (1, "")
    assert "ended at once" in ended.last
    assert "Traceback" not in ended.err
    assert not alive(exchange)


def test_a_signal_before_trading_ends_it_with_nothing_done(aegis: Aegis) -> None:
    with aegis.start("run", *OPEN_END) as process:
        (exchange,) = until(lambda: running(process.pid, "exchange"), "the exchange", FIRST_S)
        process.send_signal(signal.SIGINT)
        ended = aegis.ended(process, 60)
    assert (ended.code, ended.out) == (0, ""), ended.err
    assert "Traceback" not in ended.err
    assert not alive(exchange)


def test_death_of_the_exchange_is_one_line_and_exit_69(aegis: Aegis) -> None:
    with aegis.start("run", *OPEN_END) as process:
        until(lambda: aegis.status().get("phase") == "RUNNING", "trading", FIRST_S)
        (exchange,) = children(process.pid)
        os.kill(exchange, signal.SIGKILL)
        ended = aegis.ended(process, 15)
    assert (ended.code, ended.out) == (69, "")
    assert ended.last == "aegis: the simulated exchange died (exit code -9)"
    assert "Traceback" not in ended.err
    resumed = aegis.run("run", *SMALL, "--resume", "1", "--seconds", "1")
    assert resumed.code == 69  # its state died with it: said, not guessed
    assert "its exchange was killed" in resumed.last
