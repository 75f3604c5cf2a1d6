"""The engine's own market side in this process: sockets, table, conflation, analysis, strategy; no account, no orders.

What `app.py` builds for a run, less the account: `MarketFeed` tasks on real sockets, `Machine`, `Service` with its
lanes and worker threads, `Warmup` with a history made up here, the lateness probe, a heap that is frozen. Every signal
ends in a denial, because nobody gives the account a wallet.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import attrs
import msgspec
import numpy as np
import trio

from aegis.config import Config
from aegis.core.brackets import LeverageBracket, LeverageBrackets
from aegis.core.risk import Fees
from aegis.core.values import SymbolName
from aegis.engine.build import Market, build_machine
from aegis.engine.feed import MarketFeed
from aegis.engine.inputs import NoTap, Tap
from aegis.engine.machine import Machine
from aegis.engine.service import Service
from aegis.engine.shards import Shard
from aegis.engine.warmup import Warmup
from aegis.exchange.exchange_info import exchange_info
from aegis.exchange.listing import Listing
from aegis.kernels.layout import BAR
from aegis.kernels.state import Records
from aegis.runtime.clock import SystemClock, seeded_random
from aegis.runtime.cpu import Cpu
from aegis.runtime.garbage import settle as settle_garbage
from aegis.runtime.metrics import Histogram, Metrics, probe_lateness
from aegis.runtime.supervise import ConnectionBudget
from aegis.signals.timeframes import parse_timeframe
from aegis.venue.decode_exchange_info import exchange_info as decode_exchange_info

__all__ = ["Stage", "history", "market_of", "open_stage"]

_NS_PER_MS = 1_000_000
_FEES = Fees(maker=Decimal("0.0002"), taker=Decimal("0.0005"))


@attrs.frozen(kw_only=True, eq=False)
class Stage:
    """A running engine without an account."""

    machine: Machine
    service: Service
    metrics: Metrics
    late_ns: Histogram
    """How late the loop woke a task that sleeps 10 ms at a time."""


def market_of(listings: Sequence[Listing], now_ns: int) -> Market:
    """What an engine would have learnt of a venue that lists these, in their order."""
    info = decode_exchange_info(msgspec.json.encode(exchange_info(listings, now_ns // _NS_PER_MS)))
    brackets = {
        SymbolName(listing.symbol): LeverageBrackets(
            symbol=SymbolName(listing.symbol),
            rows=tuple(
                LeverageBracket(floor=row.floor, cap=row.cap, rate=row.mmr, cum=row.cum, leverage=row.leverage)
                for row in listing.brackets
            ),
        )
        for listing in listings
    }
    return Market(
        specs=info.symbols, brackets=brackets, fees=dict.fromkeys(brackets, _FEES), margin_asset="USDT", read_ns=now_ns
    )


def history(seed: int, symbol: int, timeframe: int, ms: int, count: int, end_ms: int, price: float) -> Records:
    """`count` closed bars (BAR) that end by `end_ms`, a random walk of a hundredth of a percent a bar around `price`.

    A pure function of its arguments.
    """
    draws = np.random.Generator(np.random.Philox(seed + symbol)).normal(0.0, 1e-4, (3, count))
    bars = np.zeros(count, BAR)
    bars["symbol"], bars["timeframe"] = symbol, timeframe
    bars["open_time"] = (end_ms + 1) // ms * ms - ms * np.arange(count, 0, -1)
    walk = price * np.exp(np.cumsum(draws[0]) - draws[0].sum())
    bars["close"], bars["open"] = walk, np.concatenate(([price], walk[:-1]))
    bars["high"] = np.maximum(bars["open"], bars["close"]) * (1 + np.abs(draws[1]))
    bars["low"] = np.minimum(bars["open"], bars["close"]) * (1 - np.abs(draws[2]))
    bars["volume"], bars["taker_buy"], bars["trades"] = 1000, 500, 10
    return bars


@attrs.frozen(kw_only=True)
class _MadeUp:
    """A venue that has klines of every symbol, and asks for no weight."""

    listings: Sequence[Listing]

    async def klines(
        self, symbol: SymbolName, interval: str, limit: int, start_ms: int | None = None, end_ms: int | None = None,
        *, qty_decimals: int, symbol_index: int = 0, timeframe_index: int = 0,
    ) -> Records:  # fmt: skip
        await trio.lowlevel.checkpoint()
        assert end_ms is not None, "the warm-up asks for bars up to a time"
        listing = self.listings[symbol_index]
        price = float(listing.start_ticks * listing.tick)
        return history(end_ms, symbol_index, timeframe_index, parse_timeframe(interval), limit, end_ms, price)


@asynccontextmanager
async def open_stage(
    config: Config,
    listings: Sequence[Listing],
    shards: Sequence[Shard],
    clock: SystemClock,
    *,
    tap: Tap | None = None,
    warm_up: bool = False,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[Stage]:
    """The engine on these sockets, for the length of the block; what breaks in it ends the block in a group.

    Args:
        listings: what the other side lists, in the order of the shards' symbol indexes.
        tap: sees every input.
        warm_up: give every symbol a history, so that strategies are asked.
    """
    metrics, late_ns = Metrics(), Histogram()
    wanted: list[Callable[[Iterable[int]], None]] = []
    machine = build_machine(
        config, market_of(listings, clock.venue_ns()), [shard.channel() for shard in shards],
        run="bench", start_ns=clock.venue_ns(), scribe=_Shredder(), tap=tap or NoTap(), send=_unexpected,
        lane_full=lambda: False, on_reseed=lambda symbols: wanted[0](symbols),
    )  # fmt: skip
    cpu = Cpu(trio.CapacityLimiter(4), metrics, clock.monotonic_ns)
    service = Service(
        machine, clock, cpu, metrics, interval_ms=config.conflation.interval_ms, analysis_latency_ms=0, fatal=_broken
    )
    warmup = Warmup(
        venue=_MadeUp(listings=listings), specs=machine.decision.specs, timeframes_ms=config.bars.timeframes_ms,
        bars=config.bars.warmup_bars, venue_ns=clock.venue_ns, deliver=service.seed, prepare=_prepared,
    )  # fmt: skip
    wanted.append(warmup.request if warm_up else lambda symbols: None)
    budget = ConnectionBudget(config.feed.connections_per_5min, 300.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        nursery.start_soon(warmup.run)
        nursery.start_soon(probe_lateness, late_ns)
        service.command("activate bench")
        for shard in shards:
            feed = MarketFeed(
                shard=shard, machine=machine, config=config.feed, budget=budget, venue_ns=clock.venue_ns,
                monotonic_ns=clock.monotonic_ns, pump=service.fast.pump, read_ns=MarketFeed.histogram(metrics),
                jitter=seeded_random(config.seed, "rotation", str(shard.number)), ssl_context=ssl_context,
            )  # fmt: skip
            nursery.start_soon(feed.run)
        settle_garbage()
        yield Stage(machine=machine, service=service, metrics=metrics, late_ns=late_ns)
        nursery.cancel_scope.cancel(reason="the bench has seen enough")


class _Shredder:
    """A journal that keeps nothing: what it costs is measured elsewhere."""

    def __init__(self) -> None:
        self._seq = 0

    def append(self, kind: str, data: dict[str, Any], at_ns: int) -> int:
        return self.append_all(((kind, data),), at_ns)

    def append_all(self, records: Sequence[tuple[str, dict[str, Any]]], at_ns: int) -> int:
        self._seq += len(records)
        return self._seq


def _unexpected(approved: object) -> None:
    raise AssertionError(f"an order without a wallet: {approved!r}")


def _broken(reason: str) -> None:
    raise AssertionError(f"the engine of the bench broke: {reason}")


async def _prepared(symbol: SymbolName) -> None:
    await trio.lowlevel.checkpoint()
