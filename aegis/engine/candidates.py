"""Entries that compete: setups whose prices have come at once, the best first.

What competes: the levels that fired in one read of a market socket. A read is one input of the fold with one time of
receipt, so nothing in it is older or newer than the rest; what fires in the next read finds the account as this one has
left it. The whole read is applied before any of its hits is decided, which is a tenth of a millisecond for the largest
there is (64 KiB), and nothing for a read that ends with the hit. Bare lines of a recording are reads of one frame.

The order is net R after cost (fees, spread, slippage, funding), then volume, then symbol, then zone; candidates whose
prices make no sense come last. The risk gate is asked in that order, so places, open risk and order counts go to the
best. A hit that is alone is not ranked.
"""

from __future__ import annotations

from decimal import Decimal

from aegis.core.entry_price import expected_net_r
from aegis.core.filters import SymbolSpec
from aegis.core.risk import EntryContext, RiskLimits
from aegis.core.values import ClientId
from aegis.engine.entry import candidate_of
from aegis.engine.setups import Armed
from aegis.kernels.state import State

__all__ = ["NOWHERE", "Rank", "rank", "traded_value"]

#: Ascending: the best first.
Rank = tuple[Decimal, float, str, int]
#: Of a level whose setup is gone.
NOWHERE: Rank = (Decimal("Infinity"), 0.0, "", 0)


def rank(armed: Armed, context: EntryContext, limits: RiskLimits, value: float) -> Rank:
    """Where the setup's candidate stands among others; `value` is what was traded of its symbol."""
    unnamed = ClientId("")  # ids are given in the order of the decisions
    net_r = expected_net_r(candidate_of(armed, context.spec.symbol, unnamed), context, limits)
    return NOWHERE[0] if net_r is None else -net_r, -value, context.spec.symbol, armed.setup.zone


def traded_value(state: State, symbol: int, spec: SymbolSpec) -> float:
    """Volume of the closed base bars in the ring, history included, at the last price: quote asset."""
    lots = int(state.bars["volume"][symbol, 0].sum())  # whole lots: the sum is exact on every machine
    return lots * float(state.symbols["close"][symbol]) / float(10**spec.qty_decimals)
