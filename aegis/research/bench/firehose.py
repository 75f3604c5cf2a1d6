"""The other end of the bench's sockets: an endless market in a process of its own, and what came of it in the table."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import msgspec
import trio

from aegis.engine.machine import Machine
from aegis.engine.shards import Shard
from aegis.exchange.firehose import FirehoseReady, firehose_command, read_ready
from aegis.exchange.listing import Listing, synthetic_listings
from aegis.kernels.market import counts
from aegis.research.bench.process import Unmeasured, cpu_s
from aegis.runtime.clock import SystemClock

__all__ = ["Source", "Tally", "mixed_shard", "open_source", "quotes_shard"]

_SEED = 1
_READY_S = 300.0
_FLOWING_S = 30.0
_SETTLE_S = 1.0
_POLL_S = 0.02
_GRACE_S = 5.0


@attrs.frozen(kw_only=True)
class Tally:
    """Ticks of the table so far: that came, and that changed it."""

    came: int
    applied: int

    @classmethod
    def of(cls, machine: Machine) -> Tally:
        seen = counts(machine.table)
        came = seen["quotes"] + seen["agg_trades"] + seen["trades"] + seen["marks"]
        wasted = ("stale_quotes", "stale_marks", "duplicate_trades", "late_trades", "other_source_trades")
        lost = ("unknown_symbol", "malformed", "missed_ids")
        return cls(came=came + sum(seen[name] for name in lost), applied=came - sum(seen[name] for name in wasted))

    def since(self, before: Tally) -> Tally:
        return Tally(came=self.came - before.came, applied=self.applied - before.applied)

    @property
    def share(self) -> float:
        """Of those that came (or are known to be missing), how many were applied."""
        return self.applied / self.came if self.came else 0.0


@attrs.frozen(kw_only=True, eq=False)
class Source:
    """A running firehose."""

    url: str
    listings: tuple[Listing, ...]
    process: trio.Process

    def check(self) -> None:
        """Raises Unmeasured where it has ended."""
        if self.process.poll() is not None:
            raise Unmeasured(f"the feeding process ended with {self.process.returncode}")

    def cpu_s(self) -> float:
        """Processor time that it has used. Raises Unmeasured."""
        return cpu_s(self.process.pid)

    async def flowing(self, machine: Machine) -> None:
        """Wait until ticks are applied, and a moment more. Raises Unmeasured where none comes."""
        with trio.move_on_after(_FLOWING_S):
            while not Tally.of(machine).applied:
                self.check()
                await trio.sleep(_POLL_S)
            await trio.sleep(_SETTLE_S)
            return
        raise Unmeasured(f"the feeding process sent nothing for {_FLOWING_S:g} s")


def _streams(source: Source, symbols: Sequence[int], suffix: str) -> tuple[str, ...]:
    return tuple(f"{source.listings[k].symbol.lower()}@{suffix}" for k in symbols)


def quotes_shard(source: Source, number: int = 0, symbols: Sequence[int] | None = None) -> Shard:
    """bookTicker of these symbols, or of all."""
    part = tuple(range(len(source.listings))) if symbols is None else tuple(symbols)
    return Shard(
        number=number, url=f"{source.url}/public/stream", streams=_streams(source, part, "bookTicker"), symbols=part,
        quotes=True, trades=False,
    )  # fmt: skip


def mixed_shard(source: Source) -> Shard:
    """Everything of all symbols over one socket, in the proportions of a real evening."""
    every = tuple(range(len(source.listings)))
    streams = (*_streams(source, every, "bookTicker"), *_streams(source, every, "aggTrade"), "!markPrice@arr@1s")
    return Shard(
        number=0, url=f"{source.url}/public/stream", streams=streams, symbols=every, quotes=True, trades=True
    )


@asynccontextmanager
async def open_source(*arguments: str, symbols: int, rate: float | None = None) -> AsyncIterator[Source]:
    """A firehose of `rate` ticks a second (None: as fast as the reader takes them), for the length of the block.

    Raises:
        Unmeasured: it does not start.
    """
    told = ["--rate", "max" if rate is None else str(rate), "--symbols", str(symbols), "--seed", str(_SEED)]
    process = await trio.lowlevel.open_process(
        firehose_command(*told, *arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        ready = await _ready(process)
        listings = synthetic_listings(symbols, _SEED, SystemClock().wall_ns() // 1_000_000)[:symbols]
        if [listing.symbol for listing in listings] != ready.symbols:
            raise Unmeasured("the feeding process lists other symbols than this one knows")
        yield Source(url=ready.url, listings=tuple(listings), process=process)
    finally:
        with trio.move_on_after(_GRACE_S, shield=True):
            assert process.stdin is not None
            await process.stdin.aclose()
            await process.wait()
        if process.returncode is None:
            process.kill()


async def _ready(process: trio.Process) -> FirehoseReady:
    assert process.stdout is not None
    line = bytearray()
    with trio.move_on_after(_READY_S):
        while b"\n" not in line and (data := await process.stdout.receive_some()):
            line += data
    try:
        return read_ready(bytes(line).partition(b"\n")[0])
    except msgspec.DecodeError as error:
        raise Unmeasured(f"the feeding process did not start: {error}") from None
