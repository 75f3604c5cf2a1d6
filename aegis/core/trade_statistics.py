"""What the summary tells of a run: trades, R, slippage and the times that matter. Bounded memory, exact counts."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

import attrs

from aegis.core.messages import OrderRequest
from aegis.core.order_life import OrderState
from aegis.core.orders import WorkingOrder
from aegis.core.trade_plan import ExitReason, TradeResult
from aegis.core.values import TimeInForce

__all__ = ["Samples", "Spread", "TradeStatistics", "slippage_bps"]

ZERO = Decimal(0)


@attrs.frozen(kw_only=True)
class Spread:
    """Distribution of a measure; None in every field where nothing was measured."""

    count: int
    median: float | None
    p95: float | None
    p99: float | None
    highest: float | None


class Samples:
    """Count and maximum of all samples, percentiles of the newest `keep`, for which there is room from the start."""

    def __init__(self, keep: int = 10_000) -> None:
        self.count = 0
        self.highest: float | None = None
        self._ring = array("d", [0.0]) * keep

    def add(self, value: float) -> None:
        self._ring[self.count % len(self._ring)] = value
        self.count += 1
        self.highest = value if self.highest is None else max(self.highest, value)

    @property
    def spread(self) -> Spread:
        ordered = sorted(self._ring[: self.count])
        return Spread(
            count=self.count,
            median=_percentile(ordered, 50),
            p95=_percentile(ordered, 95),
            p99=_percentile(ordered, 99),
            highest=self.highest,
        )


def _percentile(ordered: Sequence[float], percent: int) -> float | None:
    """Nearest rank: a value that occurred, never an interpolation."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else None


def slippage_bps(request: OrderRequest, reference: Decimal, average: Decimal) -> Decimal:
    """How much worse than the touch at the decision an entry was filled, in bp; negative is better."""
    return (average - reference) * request.side.sign / reference * 10_000


class TradeStatistics:
    """Folds ended entries and closed trades."""

    def __init__(self, keep: int = 10_000) -> None:
        self.trades = 0
        self.wins = 0
        self.net = ZERO
        self.r_sum = ZERO
        self.reasons: Counter[ExitReason] = Counter()
        self.parts = 0
        """Partial targets that were executed."""
        self.fills = 0
        self.maker_fills = 0
        self.entries = 0
        self.entries_filled = 0
        self.ioc_asked = ZERO
        self.ioc_filled = ZERO
        self.slippage_bps = Samples(keep)
        self.decision_to_fill_ms = Samples(keep)
        self.trigger_to_fill_ms = Samples(keep)
        self.naked_ms = Samples(keep)

    def entry_ended(self, order: WorkingOrder, reference: Decimal) -> None:
        """An entry is final; `reference` is the touch at the decision."""
        self.entries += 1
        filled = order.tape.qty
        if order.request.tif is TimeInForce.IOC and order.state not in (OrderState.REFUSED, OrderState.ABSENT):
            self.ioc_asked += order.request.qty * reference
            self.ioc_filled += filled * reference
        if filled:
            self.entries_filled += 1
            self.slippage_bps.add(float(slippage_bps(order.request, reference, order.tape.average)))

    def trade_closed(self, result: TradeResult) -> None:
        self.trades += 1
        self.wins += result.net > ZERO
        self.net += result.net
        self.r_sum += result.r
        self.reasons[result.reason] += 1
        self.parts += result.parts
        self.fills += result.fills
        self.maker_fills += result.maker_fills
        self.decision_to_fill_ms.add((result.first_fill_ns - result.decision_ns) / 1e6)
        self.naked_ms.add(result.naked_ns / 1e6)
        if result.trigger_to_fill_ms is not None:
            self.trigger_to_fill_ms.add(result.trigger_to_fill_ms)

    @property
    def win_rate(self) -> Decimal | None:
        """Share of trades with a net profit; like the figures below None while there is no trade."""
        return Decimal(self.wins) / self.trades if self.trades else None

    @property
    def average_r(self) -> Decimal | None:
        return self.r_sum / self.trades if self.trades else None

    @property
    def expectancy(self) -> Decimal | None:
        """Average net profit of a trade, in the margin asset."""
        return self.net / self.trades if self.trades else None

    @property
    def maker_share(self) -> Decimal | None:
        """Share of executions as maker."""
        return Decimal(self.maker_fills) / self.fills if self.fills else None

    @property
    def ioc_fill_ratio(self) -> Decimal | None:
        """Filled notional over asked notional of the IOC entries that reached the book."""
        return self.ioc_filled / self.ioc_asked if self.ioc_asked else None
