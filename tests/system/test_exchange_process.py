"""The exchange as a process: ready line, every way to end, and what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio
from trio_websocket import open_websocket_url

from aegis.core.errors import VenueUnavailable
from aegis.exchange.settings import ExchangeAddresses
from aegis.exchange.spawn import SpawnedExchange, exchange_command, spawn_exchange

CHILD = """
import sys
from pathlib import Path
from aegis.exchange.process import run_child
from aegis.exchange.settings import ExchangeSettings
settings = ExchangeSettings(symbols=3, seed=3, rate=100.0, {arguments})
sys.exit(run_child(settings))
"""


def child(arguments: str = "") -> list[str]:
    return [sys.executable, "-c", CHILD.format(arguments=arguments)]


@asynccontextmanager
async def bounded(command: list[str]) -> AsyncIterator[SpawnedExchange]:
    """A spawned exchange; the deadline leaves room for kernels that are compiled for the first time."""
    with trio.fail_after(300):
        async with spawn_exchange(command, ready_deadline_s=250) as exchange:
            yield exchange


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def ended(pid: int) -> None:
    with trio.fail_after(10):
        while alive(pid):  # noqa: ASYNC110 - another process tells nobody
            await trio.sleep(0.01)


async def server_time(addresses: ExchangeAddresses) -> int:
    async with httpx.AsyncClient(base_url=addresses.rest, trust_env=False) as client:
        return int((await client.get("/fapi/v1/time")).json()["serverTime"])


async def test_spawned_exchange_serves_and_ends_when_its_input_does() -> None:
    async with bounded(child()) as exchange:
        assert abs(await server_time(exchange.addresses) - time.time() * 1000) < 2_000
        async with open_websocket_url(exchange.addresses.stream + "/public/ws/btcusdt@bookTicker") as ws:
            assert '"e":"bookTicker"' in await ws.get_message()
        assert os.getpgid(exchange.pid) == exchange.pid != os.getpgid(0)  # Ctrl-C on our terminal does not reach it
        assert not exchange.died.is_set()
    assert exchange.process.returncode == 0
    assert exchange.died.is_set()
    assert not alive(exchange.pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_ends_it_with_its_state_saved(tmp_path: Path, number: signal.Signals) -> None:
    async with bounded(child(f"state_dir=Path({str(tmp_path)!r})")) as exchange:
        os.kill(exchange.pid, number)
        await exchange.died.wait()
    assert exchange.process.returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["exchange.npz", "ledger.jsonl"]


async def test_state_is_restored_by_the_next_process(tmp_path: Path) -> None:
    command = child(f"state_dir=Path({str(tmp_path)!r})")
    keys = []
    for _ in range(2):
        async with bounded(command) as exchange, httpx.AsyncClient(trust_env=False) as client:
            headers = {"X-MBX-APIKEY": exchange.addresses.api_key}
            reply = await client.post(exchange.addresses.rest + "/fapi/v1/listenKey", headers=headers)
            keys.append(reply.json()["listenKey"])
        assert exchange.process.returncode == 0
    assert keys[0] == keys[1]  # an active key is handed out again: the second process knew of it


async def test_it_does_not_outlive_a_parent_that_is_killed() -> None:
    parent = f"""
import sys, trio
from aegis.exchange.spawn import spawn_exchange
async def main():
    async with spawn_exchange({child()!r}, ready_deadline_s=250) as exchange:
        sys.stdout.write(str(exchange.pid) + chr(10)); sys.stdout.flush()
        await trio.sleep_forever()
trio.run(main)
"""
    with trio.fail_after(300):
        process = await trio.lowlevel.open_process([sys.executable, "-c", parent], stdout=subprocess.PIPE)
        assert process.stdout is not None
        async with process.stdout:
            pid = int(await process.stdout.receive_some(100))
            assert alive(pid)
            process.kill()
            await process.wait()
        await ended(pid)


async def test_death_is_an_event_and_an_error_for_who_watches() -> None:
    async with bounded(child()) as exchange:
        os.kill(exchange.pid, signal.SIGKILL)
        with pytest.raises(VenueUnavailable, match=r"the simulated exchange died \(exit code -9\)"):
            await exchange.watch()


async def test_port_in_use_is_exit_code_69_with_one_line() -> None:
    async with bounded(child()) as exchange:
        port = exchange.addresses.rest.rpartition(":")[2]
        expected = rf"did not start \(exit code 69\): aegis exchange: cannot listen on 127\.0\.0\.1:{port}: Address"
        with pytest.raises(VenueUnavailable, match=expected):
            async with spawn_exchange(child(f"rest_port={port}"), ready_deadline_s=250):
                pytest.fail("started")


async def test_wrong_state_is_exit_code_78_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "exchange.npz").write_bytes(b"damaged")
    with pytest.raises(VenueUnavailable, match=r"exit code 78\): aegis exchange: .*exchange\.npz: no saved exchange"):
        async with bounded(child(f"state_dir=Path({str(tmp_path)!r})")):
            pytest.fail("started")


async def test_child_that_is_never_ready_is_killed() -> None:
    started = trio.current_time()
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(VenueUnavailable, match=r"was not ready within 0\.2 s"), trio.fail_after(20):
        async with spawn_exchange(command, ready_deadline_s=0.2, grace_s=0.2):
            pytest.fail("started")
    assert trio.current_time() - started < 15


async def test_flood_of_output_neither_blocks_nor_is_taken_for_the_ready_line() -> None:
    script = "import sys; sys.stderr.write('x' * 1_000_000 + '\\nlast words\\n'); print('y' * 1_000_000); sys.exit(3)"
    with pytest.raises(VenueUnavailable, match=r"exit code 3\): last words"), trio.fail_after(20):
        async with spawn_exchange([sys.executable, "-c", script], ready_deadline_s=15):
            pytest.fail("started")


async def test_program_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(VenueUnavailable, match="cannot start the simulated exchange"):
        async with spawn_exchange(["/no/such/program"]):
            pytest.fail("started")


def test_command_is_this_interpreters_aegis() -> None:
    assert exchange_command(["--seed", "3"]) == [sys.executable, "-P", "-m", "aegis", "exchange", "--seed", "3"]
