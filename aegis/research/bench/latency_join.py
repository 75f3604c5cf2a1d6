"""From tick to order: which tick triggered each order, and what the venue's two stamps say about it.

The engine is asked for one thing only, its decision record: symbol, side, level, and the price and event time that it
acted upon. The tick is looked up in what the venue itself has sent: it must be there, and it must be the first that
crossed the level. So the engine cannot name a later tick than the one that should have triggered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from aegis.core.values import ClientId
from aegis.engine.journal_format import Record

__all__ = ["Joined", "Sent", "join"]


@attrs.frozen(kw_only=True, eq=False)
class Sent:
    """What the venue has sent: `moves` (`kernels.staircase.MOVE`) in order, and [batch, (stamp, lateness, records)].

    `ticks` are price units of one tick by symbol, `names` the symbols in index order.
    """

    moves: npt.NDArray[np.void]
    batches: npt.NDArray[np.int64]
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
    for record in records:
        if record.kind != "decision" or record.at_ns < since_ns:
            continue
        data = record.data
        if not data["taken"]:
            faults[f"denied {data['code']}"] += 1
            continue
        stamp_ns = arrived.get(ClientId(data["cid"]))
        batch = _trigger(paths[data["symbol"]], sent.ticks[sent.names.index(data["symbol"])], data)
        if stamp_ns is None:
            faults["order missing"] += 1
        elif batch is None:
            faults["no such tick"] += 1
        else:
            latencies.append(stamp_ns - int(sent.batches[batch, 0]))
            batches.append(batch)
    return Joined(latency_ns=np.array(latencies, np.int64), batches=np.array(batches, np.int64), faults=dict(faults))


def _trigger(path: npt.NDArray[np.void], tick: float, data: Mapping[str, Any]) -> int | None:
    """The batch of the tick that the decision names: the first beyond the level, after one that was not."""
    buys = data["side"] == "BUY"
    prices, level = path["ask"] if buys else path["bid"], float(data["level"]) / tick
    beyond = prices <= level + 1e-6 if buys else prices >= level - 1e-6
    crossed = beyond & ~np.concatenate(([True], beyond[:-1]))
    named = crossed & (path["event_ms"] == data["event_ms"]) & (prices == round(data["seen"] / tick))
    found = np.flatnonzero(named)
    return int(path["batch"][found[0]]) if len(found) else None
