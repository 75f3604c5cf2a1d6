"""Values of one position's life: the plan, the patience, the states, the result."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from decimal import Decimal

import attrs
from attrs import validators

from aegis.core.partials import Lots, Part
from aegis.core.values import Side, SymbolName, WorkingType

__all__ = ["TRADE_TABLE", "BracketPolicy", "ExitReason", "Role", "TradePlan", "TradeResult", "TradeState"]

ZERO = Decimal(0)


class TradeState(enum.Enum):
    PLANNED = "PLANNED"
    ENTERING = "ENTERING"
    PROTECTING = "PROTECTING"
    """Filled, and no stop is confirmed: the naked time runs."""
    PROTECTED = "PROTECTED"
    EXITING = "EXITING"
    CLOSED = "CLOSED"
    ABORTED = "ABORTED"
    """Ended without a fill."""

    @property
    def final(self) -> bool:
        return self in (TradeState.CLOSED, TradeState.ABORTED)


_S = TradeState
#: The one transition table of a trade.
TRADE_TABLE: Mapping[TradeState, frozenset[TradeState]] = {
    _S.PLANNED: frozenset({_S.ENTERING, _S.ABORTED}),
    _S.ENTERING: frozenset({_S.PROTECTING, _S.ABORTED}),
    _S.PROTECTING: frozenset({_S.PROTECTED, _S.EXITING, _S.CLOSED}),
    _S.PROTECTED: frozenset({_S.PROTECTING, _S.EXITING, _S.CLOSED}),
    _S.EXITING: frozenset({_S.CLOSED}),
    _S.CLOSED: frozenset(),
    _S.ABORTED: frozenset(),
}


class ExitReason(enum.Enum):
    STOP = "STOP"
    TARGET = "TARGET"
    TIME = "TIME"
    MANUAL = "MANUAL"
    STOP_REFUSED = "STOP_REFUSED"
    """The venue would not take the stop, or could not execute it: closed at market."""
    STOP_UNCONFIRMED = "STOP_UNCONFIRMED"
    """No stop was confirmed within the limit: closed at market."""
    LIQUIDATION = "LIQUIDATION"
    """The venue closed it (liquidation or auto-deleveraging)."""
    ELSEWHERE = "ELSEWHERE"
    """Closed by hand, or by another program."""


class Role(enum.Enum):
    ENTRY = "ENTRY"
    STOP = "STOP"
    TARGET = "TARGET"
    PART = "PART"
    """A partial target."""
    EXIT = "EXIT"


_positive = validators.gt(ZERO)


@attrs.frozen(kw_only=True)
class TradePlan:
    """What was decided. `stop_distance` is one R in price units; the time limit runs from the first fill."""

    signal_id: str
    symbol: SymbolName
    side: Side
    stop: Decimal = attrs.field(validator=_positive)
    target: Decimal = attrs.field(validator=_positive)
    stop_distance: Decimal = attrs.field(validator=_positive)
    decision_ns: int
    time_limit_ns: int = attrs.field(validator=validators.gt(0))
    entry_ttl_ns: int | None = None
    """Life of a resting entry from the decision; None for one that never rests."""
    stop_working: WorkingType = WorkingType.CONTRACT_PRICE
    target_working: WorkingType = WorkingType.CONTRACT_PRICE
    max_exit_qty: Decimal = attrs.field(validator=_positive)
    """MARKET_LOT_SIZE: a larger position is closed in slices."""
    parts: tuple[Part, ...] = ()
    """Targets before `target`, the nearest first."""
    lots: Lots | None = None
    """What a part must be; None where there are none."""


@attrs.frozen(kw_only=True)
class BracketPolicy:
    """How patient a trade is."""

    stop_attempts: int = attrs.field(default=3, validator=validators.gt(0))
    target_attempts: int = attrs.field(default=3, validator=validators.gt(0))
    confirm_limit_ns: int = attrs.field(default=5_000_000_000, validator=validators.gt(0))
    """Longest naked time, and longest wait for a triggered child, before the position is closed at market."""
    exit_retry_ns: int = attrs.field(default=500_000_000, validator=validators.gt(0))
    cancel_deadline_ns: int = attrs.field(default=2_000_000_000, validator=validators.gt(0))
    sibling_grace_ns: int = attrs.field(default=0, validator=validators.ge(0))
    """How long the venue has to expire the protection of a position that is gone, before it is cancelled."""


@attrs.frozen(kw_only=True)
class TradeResult:
    """A closed trade in numbers; money in the margin asset, fees by asset."""

    signal_id: str
    symbol: SymbolName
    side: Side
    reason: ExitReason
    qty: Decimal
    average_entry: Decimal
    average_exit: Decimal
    risk: Decimal
    """One R in money: the planned stop distance times the quantity."""
    realized: Decimal
    """The venue's own figure, before fees."""
    fees: Mapping[str, Decimal]
    margin_asset: str
    decision_ns: int
    first_fill_ns: int
    closed_ns: int
    naked_ns: int
    """Total time with a position and without a confirmed stop."""
    trigger_to_fill_ms: int | None
    """From the stop's trigger to its last execution, in venue time; None when the stop was not executed."""
    fills: int
    maker_fills: int
    parts: int = 0
    """Partial targets that were executed."""

    @property
    def net(self) -> Decimal:
        """Realised profit less the fees that were paid in the margin asset; funding is the account's."""
        return self.realized - self.fees.get(self.margin_asset, ZERO)

    @property
    def r(self) -> Decimal:
        """Net R multiple."""
        return self.net / self.risk
