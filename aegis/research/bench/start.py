"""From typing the command to the first tick in the engine: with kernels from the cache, and with none.

The process is the command itself, with its exchange, on the shipped config. The cold start gets an empty cache
directory, in which both processes compile; it must say so while it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from aegis.research.bench.process import start_engine
from aegis.research.bench.table import Bench, Row, median_row

__all__ = ["measure"]

_WARM_LIMIT_S, _COLD_LIMIT_S = 60.0, 600.0
_PROGRESS = "compiling kernels"


def measure(bench: Bench) -> Iterator[Row]:
    """Cold first: it leaves nothing behind that a warm start could use."""
    cold: list[bool] = []
    with TemporaryDirectory(prefix="aegis-bench-", ignore_cleanup_errors=True) as scratch:
        root = Path(scratch)

        def once_cold() -> float:
            number = len(cold)
            seconds, told = trio.run(_start, root / f"cold-{number}", {"XDG_CACHE_HOME": str(root / f"cache-{number}")})
            cold.append(told)
            return seconds

        samples = bench.repeat("cold start, s", once_cold)
        yield median_row(
            "start", "cold start to the first tick", samples, target=45.0, unit="s", better="less",
            note="an empty kernel cache, progress on stderr", invalid="" if all(cold) else "it told no progress",
        )  # fmt: skip
        warm: list[bool] = []

        def once_warm() -> float:
            seconds, told = trio.run(_start, root / f"warm-{len(warm)}", {})
            warm.append(told)
            return seconds

        bench.say(f"to have a warm cache: {once_warm():.1f} s")
        warm.clear()
        samples = bench.repeat("warm start, s", once_warm)
        yield median_row(
            "start", "warm start to the first tick", samples, target=3.0, unit="s", better="less",
            invalid="kernels were compiled in a warm start" if any(warm) else "",
        )  # fmt: skip


async def _start(home: Path, environment: Mapping[str, str]) -> tuple[float, bool]:
    """Seconds to the first tick, and whether the engine told of compiling on the way. Raises Unmeasured."""
    async with start_engine(home, (), environment) as engine:
        seconds = await engine.said("first tick", _COLD_LIMIT_S if environment else _WARM_LIMIT_S)
        told = any(line.startswith(_PROGRESS) for _, line in engine.lines)
        engine.process.kill()  # its exchange ends by itself
        return seconds, told
