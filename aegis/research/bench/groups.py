"""The loop over the groups."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Protocol, cast

from aegis.core.errors import AegisError
from aegis.research.bench.table import Bench, Conditions, PeerRow, Report, Row, invalid, load

__all__ = ["measure"]


class _Group(Protocol):
    def measure(self, bench: Bench) -> Iterator[Row]: ...


def measure(names: Sequence[str], bench: Bench, peers: Sequence[PeerRow] = ()) -> Report:
    """Measure the named groups one after the other. What ends a group early is a row of it that says why."""
    before = load()
    rows: list[Row] = []
    for name in names:
        rows += _rows(name, bench)
    return Report(conditions=Conditions.read(before), rows=tuple(rows), peers=tuple(peers))


def _rows(name: str, bench: Bench) -> Iterator[Row]:
    group = cast(_Group, importlib.import_module(f"aegis.research.bench.{name}"))
    bench.say(f"bench {name}")
    try:
        yield from group.measure(bench)
    except* (AegisError, OSError) as errors:
        found: BaseException = errors
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        yield invalid(name, f"{name}: the rest", f"{type(found).__name__}: {found}")
