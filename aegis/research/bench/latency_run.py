"""One measurement from tick to order: venue, relay and engine, each in a process of its own, and what they say after.

    venue process --market--> engine process --orders--> this process --> venue process

The engine is `aegis run --config FILE`: the same composition root, gate and journal as ever, told where the venue is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import msgspec
import numpy as np
import trio

from aegis.core.errors import VenueUnavailable
from aegis.engine import journal_format
from aegis.exchange.settings import ExchangeAddresses, ExchangeSettings, SocketLimits
from aegis.exchange.spawn import SpawnedExchange, spawn_exchange
from aegis.research.bench.latency_join import Bars, Joined, Sent, join, join_closes
from aegis.research.bench.latency_relay import Relay, entries
from aegis.research.bench.latency_venue import bench_listings
from aegis.runtime.child import module_command
from aegis.runtime.clock import SystemClock

__all__ = ["Case", "Measured", "run_case"]

_READY_S = 300.0
_START_S = 120.0
_SETTLE_S = 10.0
_STOP_S = 60.0
_STALL_S = 60.0
_SEED = 7
_WALLET = Decimal(1_000_000)
#: An engine that falls behind must show as latency, not be cut off.
_BACKLOG_BYTES = 1 << 30

_CONFIG = """\
mode = "testnet"
account = "bench"
seed = {seed}

[venue]
rest = "{rest}"
stream = "{stream}"
trade = "{trade}"

[credentials]
key_env = "AEGIS_BENCH_KEY"
secret_env = "AEGIS_BENCH_SECRET"

[universe]
top = {symbols}
min_age_days = 0.0
min_volume_quote = 0.0
max_spread_bps = 1_000.0

[bars]
timeframes = ["1s", "5s"]
lateness_ms = {lateness_ms}

[conflation]
interval_ms = {flush_ms}

{strategy}
[risk]
risk_pct = 0.01
displayed_pct = 100.0
max_order_qty = 1_000_000_000
max_positions = 100
max_open_risk_pct = 20.0
max_gross_leverage = 10.0
max_net_leverage = 10.0
max_open_orders_total = 1000
max_unknown = 20
max_cost_r = 1.0
min_net_r = 0.01
collar_bps = 200.0
order_rate_pct = 100.0
orders_10s = 100_000
orders_1m = 1_000_000

[execution]
hot_loop = {hot_loop}

[journal]
durability = "{durability}"
"""

#: A level waits in the gap that a stair has left behind.
_ARMED = """\
[strategy]
min_gap_atr = 2.0
min_stop_bps = 60.0
target_r = 2.0
time_limit_bars = 4
max_zone_age_bars = 24
"""
_AT_CLOSE = f"""\
[strategy]
name = "AtClose"
file = "{Path(__file__).with_name("latency_strategy.py")}"
"""
_BAR_MS, _LATENESS_MS, _FLUSH_MS = 1_000, 250, 100


@attrs.frozen(kw_only=True)
class Case:
    """What is measured. `rate` is ticks a second of all symbols together, `orders` how many are waited for.

    `conflated`: orders follow from bars that close, at once; else from ticks that cross levels.
    """

    rate: int
    orders: int
    symbols: int = 300
    durability: str = "process"
    tick_ms: float = 1.0
    hot_loop: bool = True
    conflated: bool = False


@attrs.frozen(kw_only=True, eq=False)
class Measured:
    """What one run has shown. Latencies in ns; `rate` is what was offered over the time that counts, ticks a second.

    `stages` are (p50, p99) in ms by name, as the engine's own status tells them; `faults` is empty for a good run.
    """

    joined: Joined
    rate: float
    lateness_ns: np.ndarray[Any, np.dtype[np.int64]]
    positions: float
    stages: Mapping[str, tuple[float, float]]
    status: Mapping[str, Any]
    faults: Mapping[str, int]


async def run_case(case: Case, directory: Path) -> Measured:
    """Start everything, wait for the orders, stop everything, and join what was noted in `directory`, an empty one.

    Raises VenueUnavailable where a process did not start, died, or nothing happened for a minute.
    """
    notes = directory / "venue.npz"
    settings = ExchangeSettings(
        symbols=case.symbols, seed=_SEED, rate=float(case.rate), latency_median_ms=0.0, latency_p99_ms=0.0,
        weight_limit=1_000_000_000, wallet=_WALLET, tick_ms=case.tick_ms,
        sockets=SocketLimits(backlog_bytes=_BACKLOG_BYTES),
    )  # fmt: skip
    command = module_command("aegis.research.bench.latency_venue", settings.to_json(), str(notes))
    async with spawn_exchange(command, ready_deadline_s=_READY_S, grace_s=_STOP_S) as venue:
        place = urlsplit(venue.addresses.trade)
        relay = Relay((place.hostname or "", place.port or 0))
        try:
            config = directory / "bench.toml"
            config.write_text(_config(case, venue.addresses, relay.port), encoding="utf-8")
            watch = await _engine(case, directory, config, venue)
        finally:
            relay.close()
    return _evaluate(case, directory, notes, relay, watch)


def _config(case: Case, found: ExchangeAddresses, port: int) -> str:
    return _CONFIG.format(
        seed=_SEED, rest=found.rest, stream=found.stream, trade=f"ws://127.0.0.1:{port}/ws-fapi/v1",
        symbols=case.symbols, durability=case.durability, lateness_ms=_LATENESS_MS, flush_ms=_FLUSH_MS,
        strategy=_AT_CLOSE if case.conflated else _ARMED, hot_loop=str(case.hot_loop).lower(),
    )  # fmt: skip


@attrs.define(kw_only=True)
class _Watch:
    """What the status file of the engine has shown: since when (venue ns) it counts, positions, the last of it."""

    since_ns: int = 0
    taken_before: int = 0
    positions: list[int] = attrs.field(factory=list)
    last: dict[str, Any] = attrs.field(factory=dict)


async def _engine(case: Case, directory: Path, config: Path, venue: SpawnedExchange) -> _Watch:
    """Run the engine until it has sent the orders."""
    watch = _Watch()
    keys = {"AEGIS_BENCH_KEY": venue.addresses.api_key, "AEGIS_BENCH_SECRET": venue.addresses.api_secret}
    with (directory / "engine.txt").open("wb") as output:
        engine = await trio.lowlevel.open_process(
            module_command("aegis", "run", "--config", str(config), "--home", str(directory)),
            env={**os.environ, **keys}, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        try:
            await _watch(case, directory, engine, venue, watch)
            engine.send_signal(signal.SIGINT)
            with trio.fail_after(_STOP_S):
                await engine.wait()
        except trio.TooSlowError:
            raise VenueUnavailable(f"the engine did not stop: {_so_far(case, directory, watch)}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(engine.pid, signal.SIGKILL)
            with trio.CancelScope(shield=True):
                await engine.wait()
    return watch


async def _watch(case: Case, directory: Path, engine: trio.Process, venue: SpawnedExchange, watch: _Watch) -> None:
    """Look at the status file once a second: until all symbols are warm and settled, then until enough was taken."""
    path = directory / "testnet-bench" / "status.json"
    ready_at, moved_at, taken = None, trio.current_time(), -1
    while True:
        await trio.sleep(1.0)
        if engine.poll() is not None or venue.died.is_set():
            who = "engine" if engine.returncode is not None else "venue"
            raise VenueUnavailable(f"the {who} died: {_so_far(case, directory, watch)}")
        now = trio.current_time()
        if now - moved_at > (limit_s := _STALL_S if watch.since_ns else _START_S):
            raise VenueUnavailable(f"no order for {limit_s:g} s: {_so_far(case, directory, watch)}")
        if not path.exists():
            continue
        status = watch.last = msgspec.json.decode(path.read_bytes())
        if ready_at is None and status["warm"] == case.symbols:
            ready_at = now
        if not watch.since_ns and ready_at is not None and now - ready_at >= _SETTLE_S:
            watch.since_ns, watch.taken_before = _wall_ns(status["at"]), status["taken"]
        if status["taken"] != taken:
            taken, moved_at = status["taken"], now
        if watch.since_ns:
            watch.positions.append(len(status["positions"]))
            if taken - watch.taken_before >= case.orders:
                return


def _so_far(case: Case, directory: Path, watch: _Watch) -> str:
    """How far it came, for whoever reads why there is no figure: the files are gone by then."""
    lines = (directory / "engine.txt").read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "nothing")
    warm, taken = watch.last.get("warm", 0), watch.last.get("taken", 0)
    return f"{warm} of {case.symbols} symbols warm, {taken} of {case.orders} orders; the engine last said: {last[:200]}"


def _wall_ns(text: str) -> int:
    return int(np.datetime64(text.rstrip("Z"), "ns").astype(np.int64))


def _evaluate(case: Case, directory: Path, notes: Path, relay: Relay, watch: _Watch) -> Measured:
    listings = bench_listings(case.symbols, _SEED, 0)
    with np.load(notes, allow_pickle=False) as file:
        sent = Sent(
            moves=file["moves"], batches=file["batches"], closers=file["closers"],
            names=tuple(one.symbol for one in listings),
            ticks=tuple(float(one.tick) for one in listings),
        )  # fmt: skip
    journals = sorted((directory / "testnet-bench").glob("*.journal"))
    records = journal_format.read(journals[-1])
    arrived = entries(relay.connections)
    if case.conflated:
        clock = SystemClock()
        wall_ns = clock.wall_ns() - clock.monotonic_ns()
        bars = Bars(length_ms=_BAR_MS, lateness_ms=_LATENESS_MS, flush_ns=_FLUSH_MS * 1_000_000, wall_ns=wall_ns)
        joined = join_closes(records, arrived, sent, bars, since_ns=watch.since_ns)
    else:
        joined = join(records, arrived, sent, since_ns=watch.since_ns)
    faults = dict(joined.faults)
    if len(joined.latency_ns) < case.orders:
        faults["too few orders"] = case.orders - len(joined.latency_ns)
    used = sent.batches[joined.batches.min() : joined.batches.max() + 1] if len(joined.batches) else sent.batches[:0]
    seconds = (used[-1, 0] - used[0, 0]) / 1e9 if len(used) > 1 else 1.0
    return Measured(
        joined=joined, rate=float(used[:, 2].sum() / seconds), lateness_ns=used[:, 1],
        positions=float(np.mean(watch.positions)) if watch.positions else 0.0,
        stages=watch.last.get("latency_ms", {}), status=watch.last, faults=faults,
    )  # fmt: skip
