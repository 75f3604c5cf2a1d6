"""A venue that listens elsewhere, as processes over real sockets: paper beside it, testnet on it. Its ledger judges."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import trio

from aegis.exchange.ledger_view import LedgerView, parse_entries, read_ledger
from aegis.exchange.settings import LEDGER_FILE, ExchangeAddresses
from aegis.exchange.spawn import exchange_command, spawn_exchange

EXCHANGE = ("--symbols", "30", "--volatility", "8", "--rate", "2000")
#: Room for kernels that are compiled for the first time, in both processes.
DEADLINE_S = 400.0
SHIPPED = Path(__file__).parents[2] / "config" / "sim.toml"


def config(mode: str, path: Path, found: ExchangeAddresses) -> Path:
    """What the simulator's config says of universe, bars, strategy and risk, on a named venue."""
    shared = SHIPPED.read_text(encoding="utf-8").partition("[exchange]")[0].replace('mode = "sim"', f'mode = "{mode}"')
    told = f'[venue]\nrest = "{found.rest}"\nstream = "{found.stream}"\n'
    path.write_text(shared + told, encoding="utf-8")
    return path


async def aegis(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command as its user would: without a key unless one is given."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AEGIS_API")}
    return await trio.run_process(
        [sys.executable, "-m", "aegis", *arguments],
        env={**environment, "AEGIS_HOME": str(home), **variables},
        stdin=subprocess.DEVNULL, capture_stdout=True, capture_stderr=True, check=False,
    )  # fmt: skip


def summary(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return json.loads(done.stdout)


def filled_entries(told: dict[str, Any]) -> int:
    """Entries with their stops: those of closed trades, and of open positions, none of which may be naked."""
    assert not [text for text in told["positions"]["open"] if "NONE CONFIRMED" in text]
    return int(told["trades"]["closed"]) + len(told["positions"]["open"])


async def test_paper_trades_on_a_venues_market_and_leaves_no_trace_there(tmp_path: Path) -> None:
    command = exchange_command([*EXCHANGE, "--state", str(tmp_path / "venue")])
    with trio.fail_after(DEADLINE_S):
        async with spawn_exchange(command, ready_deadline_s=DEADLINE_S) as exchange:
            path = config("paper", tmp_path / "paper.toml", exchange.addresses)
            told = summary(await aegis(tmp_path, "run", "--config", str(path), "--seconds", "25", "--json"))
            universe = await aegis(tmp_path, "universe", "--config", str(path), "--json")
    assert (told["ledger"], told["differences"], told["failure"]) == ("agrees", [], "")
    assert filled_entries(told) >= 3
    assert told["notes"] == []
    assert "sampled every 5 ms" in told["model"]["fills"]
    assert told["market"]["lost"] == told["market"]["malformed"] == 0
    assert (tmp_path / "paper-main" / "1.journal").stat().st_size > 0
    assert (tmp_path / "paper-main" / "bars" / "BTCUSDT-1s.bars").stat().st_size > 0
    assert universe.returncode == 0, universe.stderr
    assert b"BTCUSDT" in universe.stdout
    # The venue never heard of an order, a setting or a listen key: its account is as it was opened.
    entries, _ = parse_entries((tmp_path / "venue" / LEDGER_FILE).read_bytes(), tmp_path)
    assert {entry["kind"] for entry in entries} == {"session", "open"}


async def test_testnet_trades_by_rest_alone_with_a_key_from_the_environment(tmp_path: Path) -> None:
    command = exchange_command([*EXCHANGE, "--state", str(tmp_path / "venue")])
    with trio.fail_after(DEADLINE_S):
        async with spawn_exchange(command, ready_deadline_s=DEADLINE_S) as exchange:
            found = exchange.addresses
            path = config("testnet", tmp_path / "testnet.toml", found)
            keys = {"AEGIS_API_KEY": found.api_key, "AEGIS_API_SECRET": found.api_secret}
            refused = await aegis(tmp_path, "run", "--config", str(path), "--seconds", "5")
            done = await aegis(tmp_path, "run", "--config", str(path), "--seconds", "20", "--json", **keys)
            ledger = await trio.to_thread.run_sync(read_ledger, tmp_path / "venue" / LEDGER_FILE)
    told = summary(done)
    assert refused.returncode == 78
    assert b"AEGIS_API_KEY" in refused.stderr
    assert b"Traceback" not in refused.stderr
    assert filled_entries(told) >= 1
    assert (told["ledger"], told["model"]["fills"]) == ("none", "the venue's own")
    judge(ledger, told)
    assert leaks(tmp_path, found.api_secret.encode()) == []


def leaks(directory: Path, secret: bytes) -> list[Path]:
    """Files below a directory that hold the secret."""
    return [path for path in directory.rglob("*") if path.is_file() and secret in path.read_bytes()]


def judge(ledger: LedgerView, told: dict[str, Any]) -> None:
    """What the venue itself wrote down: every open position has a stop there, nothing was placed twice."""
    account = ledger.only
    assert len(account.fills) >= 1
    assert account.duplicates == []
    assert account.open_orders == {}
    stops = {entry["symbol"] for entry in account.open_algo_orders.values() if entry["type"] == "STOP_MARKET"}
    assert set(account.open_positions) <= stops
    left_open = {text.split()[0] for text in told["positions"]["open"]}
    assert set(account.open_positions) <= left_open
    if left_open == set(account.open_positions):  # the venue lives on: a stop may have closed one behind us
        assert told["money"]["realised"] == f"{account.realized.normalize():f}"
