"""SIGKILL of the engine at any moment, then `--resume`: the ledger says whether anything was lost or done twice."""

from __future__ import annotations

import os
import random
from pathlib import Path

from aegis.engine import journal_format
from aegis.exchange.ledger_view import AccountView, read_ledger
from tests.support.processes import Aegis, alive, children, until

FIRST_S = 400.0
#: The slice of every run; the session `faults` kills twenty times.
KILLS = int(os.environ.get("AEGIS_TEST_KILLS", "2"))
#: Bytes of journal: about as much as six trades write from signal to confirmed stop.
REACH = 9_000


def assert_protected(account: AccountView) -> None:
    stops = {row["symbol"] for row in account.open_algo_orders.values() if row["type"] == "STOP_MARKET"}
    assert set(account.open_positions) <= stops


def kill_somewhere(aegis: Aegis, moment: random.Random, *arguments: str) -> None:
    """Run until a random amount of journal has been written since trading began, and kill without a word."""
    with aegis.start("run", "--symbols", "30", "--seed", "11", "--seconds", "300", *arguments) as process:
        before = aegis.status().get("at")
        until(lambda: aegis.status().get("phase") == "RUNNING" and aegis.status()["at"] != before, "trading", FIRST_S)
        if not arguments:
            until(lambda: aegis.status().get("positions"), "a position")
        reached = aegis.journal_size() + moment.randrange(REACH)
        until(lambda: aegis.journal_size() >= reached, f"{reached} bytes of journal")
        (exchange,) = children(process.pid)
        process.kill()
        process.wait()
        until(lambda: not alive(exchange), "the end of the exchange", 10)


def test_engine_killed_again_and_again_goes_on_as_the_exchange_says(tmp_path: Path) -> None:
    (tmp_path / "cwd").mkdir()
    aegis = Aegis(home=tmp_path / "home", cwd=tmp_path / "cwd")
    moment = random.Random(5)
    kill_somewhere(aegis, moment)
    for _ in range(KILLS - 1):
        kill_somewhere(aegis, moment, "--resume", "1")
    at_kill = read_ledger(aegis.ledger()).only
    assert at_kill.accepted  # there was something to lose

    ended = aegis.run("run", "--symbols", "30", "--seed", "11", "--resume", "1", "--seconds", "10", "--json")
    assert ended.code == 0, ended.err
    assert (ended.data["ledger"], ended.data["differences"], ended.data["failure"]) == ("agrees", [], "")
    view = read_ledger(aegis.ledger())
    assert view.sessions == KILLS + 1
    assert view.only.duplicates == []
    assert_protected(view.only)
    # "agrees" was said while both lived; the exchange lives a moment longer, in which a stop may close one behind us
    assert set(view.only.open_positions) <= {line.split()[0] for line in ended.data["positions"]["open"]}
    journal = list(journal_format.read(aegis.directory() / "1.journal"))
    intents = [record.data["cid"] for record in journal if record.kind == "intent" and record.data["act"] != "cancel"]
    assert len(set(intents)) == len(intents)  # no client id was given out twice over all lives
    assert set(view.only.accepted) <= set(intents)
    assert list(aegis.cwd.iterdir()) == []
