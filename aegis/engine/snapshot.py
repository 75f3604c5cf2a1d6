"""What people may look at while the engine runs: plain values, taken on the loop, read anywhere."""

from __future__ import annotations

import attrs

__all__ = ["PositionView", "Snapshot"]


@attrs.frozen(kw_only=True)
class PositionView:
    """One open trade. Prices and quantities are exact decimal strings; `stop` is empty while none is confirmed."""

    symbol: str
    side: str
    qty: str
    entry: str
    stop: str
    target: str
    unrealized: str
    age_s: float


@attrs.frozen(kw_only=True)
class Snapshot:
    """The engine at one moment. Money is in the margin asset, latencies are (p50, p99) in milliseconds."""

    run: str
    mode: str
    phase: str
    trading: str
    at: str
    uptime_s: float
    ticks: int
    ticks_per_s: float
    lag_ms: float
    symbols: int
    warm: int
    levels: int
    signals: int
    taken: int
    refused: dict[str, int]
    working_orders: int
    trades: int
    equity: str
    realized: str
    fees: str
    positions: tuple[PositionView, ...]
    latency_ms: dict[str, tuple[float, float]]
    unheard: int = 0
    """Symbols of which no quote, or no trade, has come yet."""
