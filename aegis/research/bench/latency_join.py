"""From tick to order: which tick triggered each order, and what the venue's two stamps say about it.

The engine is asked for one thing only, its decision record: symbol, side, level, and the price and event time that it
acted upon. The tick is looked up in what the venue itself has sent: it must be there, and it must be the first that
crossed the level. So the engine cannot name a later tick than the one that should have triggered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from aegis.core.values import ClientId
from aegis.engine.journal_format import Record

__all__ = ["Bars", "Joined", "Sent", "join", "join_closes"]


@attrs.frozen(kw_only=True, eq=False)
class Sent:
    """What the venue has sent: `moves` (`kernels.staircase.MOVE`) in order, and [batch, (stamp, lateness, records)].

    `closers`: of each batch with trades or marks when it was published (venue time, ns) and the last event time of
    these (ms). `ticks` are price units of one tick by symbol, `names` the symbols in index order.
    """

    moves: npt.NDArray[np.void]
    batches: npt.NDArray[np.int64]
    closers: npt.NDArray[np.int64]
    names: tuple[str, ...]
    ticks: tuple[float, ...]

    def of(self, symbol: str) -> npt.NDArray[np.void]:
        """The price changes of one symbol, in the order in which they were sent."""
        found: npt.NDArray[np.void] = self.moves[self.moves["symbol"] == self.names.index(symbol)]
        return found


@attrs.frozen(kw_only=True, eq=False)
class Joined:
    """Orders with their latency, and whatever spoils the measurement, counted by reason."""

    latency_ns: npt.NDArray[np.int64]
    batches: npt.NDArray[np.int64]
    """Of each order: the batch that carried its tick."""
    faults: Mapping[str, int]
    waits_ns: npt.NDArray[np.int64] | None = None
    """On the conflated path, of each order: from the tick that let its bar close to the flush; the latency is from
    there."""


@attrs.frozen(kw_only=True)
class Bars:
    """Of the engine that is measured: its base bar, how late trades of it may be, the grid of its flushes; and what
    makes venue time (the wall) of a monotonic stamp."""

    length_ms: int
    lateness_ms: int
    flush_ns: int
    wall_ns: int


def join(records: Iterable[Record], arrived: Mapping[ClientId, int], sent: Sent, *, since_ns: int) -> Joined:
    """Match decisions, orders and ticks.

    Args:
        records: of the engine's journal; those before `since_ns` (venue time) are not looked at.
        arrived: client id -> monotonic ns.
    """
    paths = {name: sent.of(name) for name in sent.names}
    latencies: list[int] = []
    batches: list[int] = []
    faults: Counter[str] = Counter()
    for data, stamp_ns in _arrivals(records, arrived, since_ns, faults):
        batch = _trigger(paths[data["symbol"]], sent.ticks[sent.names.index(data["symbol"])], data)
        if batch is None:
            faults["no such tick"] += 1
        else:
            latencies.append(stamp_ns - int(sent.batches[batch, 0]))
            batches.append(batch)
    return Joined(latency_ns=np.array(latencies, np.int64), batches=np.array(batches, np.int64), faults=dict(faults))


def join_closes(
    records: Iterable[Record], arrived: Mapping[ClientId, int], sent: Sent, bars: Bars, *, since_ns: int
) -> Joined:
    """Match orders that follow from a closed bar with the tick that let it close.

    A bar can close once a trade or a mark is `lateness_ms` behind its end, and does at the first flush then. Flushes
    lie on the grid of venue time: the first of the grid behind that tick's publication counts, whether or not the
    engine made it.

    Args:
        records, arrived, since_ns: as for `join`.
    """
    latencies: list[int] = []
    waits: list[int] = []
    batches: list[int] = []
    faults: Counter[str] = Counter()
    published = sent.closers[:, 0]
    for data, stamp_ns in _arrivals(records, arrived, since_ns, faults):
        due_ms = int(data["bar"]["open_time"]) + bars.length_ms + bars.lateness_ms
        number = int(np.searchsorted(sent.closers[:, 1], due_ms))
        if number == len(published):
            faults["no such tick"] += 1
            continue
        tick_ns = int(published[number])
        flush_ns = -(-tick_ns // bars.flush_ns) * bars.flush_ns
        latencies.append(stamp_ns + bars.wall_ns - flush_ns)
        waits.append(flush_ns - tick_ns)
        batches.append(int(np.searchsorted(sent.batches[:, 0], tick_ns - bars.wall_ns)))
    return Joined(
        latency_ns=np.array(latencies, np.int64), waits_ns=np.array(waits, np.int64),
        batches=np.minimum(np.array(batches, np.int64), len(sent.batches) - 1), faults=dict(faults),
    )  # fmt: skip


def _arrivals(
    records: Iterable[Record], arrived: Mapping[ClientId, int], since_ns: int, faults: Counter[str]
) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Every decision that was taken with its order's arrival; what was denied, or never came, is a fault."""
    for record in records:
        if record.kind != "decision" or record.at_ns < since_ns:
            continue
        stamp_ns = arrived.get(ClientId(record.data["cid"]))
        if not record.data["taken"]:
            faults[f"denied {record.data['code']}"] += 1
        elif stamp_ns is None:
            faults["order missing"] += 1
        else:
            yield record.data, stamp_ns


def _trigger(path: npt.NDArray[np.void], tick: float, data: Mapping[str, Any]) -> int | None:
    """The batch of the tick that the decision names: the first beyond the level, after one that was not."""
    buys = data["side"] == "BUY"
    prices, level = path["ask"] if buys else path["bid"], float(data["level"]) / tick
    beyond = prices <= level + 1e-6 if buys else prices >= level - 1e-6
    crossed = beyond & ~np.concatenate(([True], beyond[:-1]))
    named = crossed & (path["event_ms"] == data["event_ms"]) & (prices == round(data["seen"] / tick))
    found = np.flatnonzero(named)
    return int(path["batch"][found[0]]) if len(found) else None
