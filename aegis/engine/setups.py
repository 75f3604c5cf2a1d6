"""Setups that wait for their price: each is an armed level, a row of the signal pool and the candle it came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs
import numpy as np

from aegis.core.filters import Rounding, SymbolSpec, exact, price_for
from aegis.core.partials import Part
from aegis.core.pool import Pool, PoolExhausted
from aegis.engine.decided import Decided
from aegis.kernels import levels
from aegis.kernels.market import Table
from aegis.signals.strategy import Setup

__all__ = ["Armed", "Setups", "parts_of"]

_NS_PER_MS = 1_000_000
#: Prices from here on are none.
_ABSURD = 1e15
_REFUSALS = {
    levels.FULL: "slots_full",
    levels.PASSED: "passed",
    levels.RING_FULL: "ring_full",
    levels.REFUSED: "refused",
}


def parts_of(setup: Setup, spec: SymbolSpec, target: Decimal) -> tuple[Part, ...]:
    """Its partial targets on the grid; what comes to the price of the next one, or of `target`, is added to that."""
    found: dict[Decimal, Decimal] = {}
    for price, share in setup.parts:
        exact_price = price_for(spec, price, setup.side.opposite, Rounding.PASSIVE)
        found[exact_price] = found.get(exact_price, Decimal(0)) + exact(share)
    found.pop(target, None)
    return tuple(Part(price=price, share=share) for price, share in found.items())


@attrs.frozen(kw_only=True)
class Armed:
    """A setup, its exact prices, and the pool rows that it holds until it is decided, withdrawn or expired."""

    setup: Setup
    signal: int
    candle: int
    signal_id: str
    level: Decimal
    stop: Decimal
    target: Decimal
    parts: tuple[Part, ...]


@attrs.define(kw_only=True, eq=False)
class Setups:
    """Writes the level table; on the loop thread only."""

    table: Table
    specs: Sequence[SymbolSpec]
    signals: Pool
    candles: Pool
    armed: dict[tuple[int, int], Armed] = attrs.field(factory=dict)
    not_armed: Counter[str] = attrs.field(factory=Counter)
    decided: Decided = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.decided = Decided(len(self.table.symbols))

    def arm(self, setup: Setup, candle: np.void, now_ns: int) -> bool:
        """Watch for the setup's price. False (and counted) where it has been passed or decided, or there is no room."""
        key = (setup.symbol, setup.zone)
        self.withdraw(*key)
        if self.decided.told(*key):
            self.not_armed["decided"] += 1
            return False
        if max(setup.stop, setup.target) >= _ABSURD:
            self.not_armed["absurd"] += 1
            return False
        slot = levels.arm(
            self.table, setup.symbol, setup.side.sign, levels.DEFAULT, setup.entry, setup.zone,
            setup.expires_ms * _NS_PER_MS, setup.at_once, now_ns,
        )  # fmt: skip
        if slot < 0:
            self.not_armed[_REFUSALS[slot]] += 1
            return False
        try:
            held = self._hold(setup, candle)
        except PoolExhausted:
            levels.disarm(self.table, *key)
            self.not_armed["pool_full"] += 1
            return False
        self.armed[key] = held
        return True

    def _hold(self, setup: Setup, candle: np.void) -> Armed:
        signal = self.signals.acquire()
        try:
            kept = self.candles.acquire()
        except PoolExhausted:
            self.signals.release(signal)
            raise
        self.candles.rows[self.candles.slot(kept)] = candle
        row = self.signals.row(signal)
        row["symbol"], row["side"], row["zone"] = setup.symbol, setup.side.sign, setup.zone
        row["known_at"], row["expires_at"] = setup.known_at_ms, setup.expires_ms
        row["entry"], row["stop"], row["target"] = setup.entry, setup.stop, setup.target
        spec, exit_side = self.specs[setup.symbol], setup.side.opposite
        target = price_for(spec, setup.target, exit_side, Rounding.PASSIVE)
        return Armed(
            setup=setup, signal=signal, candle=kept,
            signal_id=f"{spec.symbol}:{setup.timeframe}:{setup.zone}",
            level=price_for(spec, setup.entry, setup.side),
            stop=price_for(spec, setup.stop, exit_side, Rounding.PASSIVE),
            target=target,
            parts=parts_of(setup, spec, target),
        )  # fmt: skip

    def pop(self, symbol: int, zone: int) -> Armed | None:
        """The setup whose level has fired; its level has disarmed itself. `release` it once it is decided."""
        armed = self.armed.pop((symbol, zone), None)
        if armed is not None:
            self.decided.add(symbol, zone)
        return armed

    def release(self, armed: Armed) -> None:
        """Give the pool rows back."""
        self.signals.release(armed.signal)
        self.candles.release(armed.candle)

    def candle(self, armed: Armed) -> dict[str, Any]:
        """The closed candle that the setup came from, for its decision record."""
        row = self.candles.row(armed.candle)
        prices = {name: float(row[name]) for name in ("open", "high", "low", "close")}
        return {"open_time": int(row["open_time"]), **prices, "volume_lots": int(row["volume"])}

    def withdraw(self, symbol: int, zone: int) -> None:
        """Stop watching one setup, if it is there."""
        armed = self.armed.pop((symbol, zone), None)
        if armed is not None:
            levels.disarm(self.table, symbol, zone)
            self.release(armed)

    def withdraw_all(self, symbol: int) -> None:
        for key in [key for key in self.armed if key[0] == symbol]:
            self.withdraw(*key)

    def withdraw_everything(self) -> None:
        for key in tuple(self.armed):
            self.withdraw(*key)

    def expire(self, now_ms: int) -> None:
        """Give back the rows of setups whose time is over; their levels no longer fire."""
        for key, armed in tuple(self.armed.items()):
            if armed.setup.expires_ms <= now_ms:
                self.withdraw(*key)
