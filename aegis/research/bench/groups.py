"""The loop over the groups, and what comes before it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, cast

import trio

from aegis.core.errors import AegisError
from aegis.research.bench.table import Bench, Conditions, PeerRow, Report, Row, invalid, load
from aegis.runtime import logs
from aegis.runtime.clock import SystemClock
from aegis.runtime.warm import WarmProgress, warm

__all__ = ["measure", "prepare"]


class _Group(Protocol):
    def measure(self, bench: Bench) -> Iterator[Row]: ...


def prepare(names: Sequence[str], say: Callable[[str], None]) -> None:
    """Make this process what an engine's is: warnings to `say`, every kernel compiled and closed to compilation.

    That is every kernel that the named groups use: what they start finds most of its own in the cache then.
    """
    for name in names:
        _group(name)
    logs.configure(lambda line: say(line.decode().rstrip()), level="warning", wall_ns=SystemClock().wall_ns)

    def progress(step: WarmProgress) -> None:
        if not step.cached:
            say(f"compiling kernels {step.done}/{step.total}: {step.name} {step.seconds:.1f} s")

    trio.run(warm, progress)


def measure(names: Sequence[str], bench: Bench, peers: Sequence[PeerRow] = ()) -> Report:
    """Measure the named groups one after the other. What ends a group early is a row of it that says why."""
    before = load()
    rows: list[Row] = []
    for name in names:
        rows += _rows(name, bench)
    return Report(conditions=Conditions.read(before), rows=tuple(rows), peers=tuple(peers))


def _group(name: str) -> _Group:
    return cast(_Group, importlib.import_module(f"aegis.research.bench.{name}"))


def _rows(name: str, bench: Bench) -> Iterator[Row]:
    bench.say(f"bench {name}")
    try:
        yield from _group(name).measure(bench)
    except* (AegisError, OSError) as errors:
        found: BaseException = errors
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        yield invalid(name, f"{name}: the rest", f"{type(found).__name__}: {found}")
