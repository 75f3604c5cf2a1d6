"""Where a run writes: its account's lock, its directory, its journal, its log.

What reads an older journal is imported only where there is one: a simulated run starts without it, and at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from aegis.config import Config, decision_hash, dump
from aegis.core.errors import Interrupted
from aegis.engine import account_files, journal_format
from aegis.engine.journal import Journal
from aegis.runtime import logs
from aegis.runtime.clock import SystemClock

if TYPE_CHECKING:
    from aegis.engine.recovery import Recovered
    from aegis.engine.summary import Summary
    from aegis.venue.signing import Signer

__all__ = ["CONFIG_FILE", "RunOptions", "RunState", "open_state"]

#: In the directory of a run: what it was started with, and is resumed with.
CONFIG_FILE = "config.toml"


@attrs.frozen(kw_only=True)
class RunOptions:
    """What the command line adds to a config."""

    seconds: float | None = None
    record: Path | None = None
    flatten: bool = False
    resume: str | None = None
    home: Path | None = None


@attrs.define(kw_only=True)
class RunState:
    """Where a run writes: its directory, its journal, and what the journal knew before."""

    directory: Path
    run: str
    journal: Journal
    past: Recovered | None
    begun: bool = False
    """Trading has begun: from here on a run is settled before it ends."""
    summary: Summary | None = None

    @property
    def exchange_directory(self) -> Path:
        """Of the simulated exchange, in a simulated run."""
        return self.directory / "exchange"

    def outcome(self) -> Summary | None:
        """None: stopped before trading began. Raises Interrupted."""
        if self.begun and self.summary is None:
            raise Interrupted(f"run {self.run} ended at once, unsettled; orders and positions stay as they were")
        return self.summary


@contextmanager
def open_state(config: Config, options: RunOptions, clock: SystemClock, signer: Signer | None) -> Iterator[RunState]:
    """Lock the account, open the journal, log into its directory. Raises errors of `account_files` and `journal`."""
    home = account_files.state_home(options.home)
    resumed = options.resume
    if config.mode != "sim":
        account = account_files.open_account(account_files.account_directory(home, config.mode, config.account))
        # A paper account is flat again at every start; a real one is as its last run has left it.
        resumed = None if config.mode == "paper" else _unfinished(account)
        run = resumed or account.next_run()
    elif resumed is not None:
        run, account = resumed, account_files.open_sim_run(home, resumed)
    else:
        run, account = account_files.new_sim_run(home)
    with account:
        path = account.journal_path(run)
        durability = config.journal.durability
        past: Recovered | None = None
        if resumed is not None:
            from aegis.engine.recovery import Recovered

            past = Recovered()
            journal, _ = Journal.resume(path, past.see, durability=durability)
        else:
            (account.directory / CONFIG_FILE).write_text(dump(config), encoding="utf-8")
            journal = Journal.create(
                path, run=run, config_hash=decision_hash(config), at_ns=clock.wall_ns(), durability=durability
            )
        log = logs.LogFile(account.directory / "engine.log")
        secrets = [secret.reveal() for secret in signer.secrets] if signer is not None else []
        logs.configure(log.put, level=config.log.level, wall_ns=clock.wall_ns, secrets=secrets)
        try:
            yield RunState(directory=account.directory, run=run, journal=journal, past=past)
        finally:
            journal.close()
            log.close()


def _unfinished(account: account_files.Account) -> str | None:
    """The account's last run, where it has left trades open: its journal goes on."""
    from aegis.engine.recovery import collect

    for run in account.runs()[-1:]:
        if collect(journal_format.read(account.journal_path(run))).plans:
            return run
    return None
