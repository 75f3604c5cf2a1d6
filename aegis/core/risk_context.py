"""What the risk gate is told: plain values, gathered by the caller at the moment of the decision."""

from __future__ import annotations

import enum
from decimal import Decimal

import attrs

from aegis.core.brackets import LeverageBrackets
from aegis.core.filters import SymbolSpec
from aegis.core.partial_book import PartialBook
from aegis.core.partials import Part
from aegis.core.sizing import Cap
from aegis.core.values import ClientId, Side, SymbolName

__all__ = [
    "AccountView",
    "Denied",
    "DenyCode",
    "EntryCandidate",
    "EntryContext",
    "EntryStyle",
    "Fees",
    "Freshness",
    "Funding",
    "Quote",
    "TradingState",
]  # fmt: skip

ZERO = Decimal(0)


class TradingState(enum.Enum):
    """Control C1. Exits and cancels pass in every state."""

    HALTED = "HALTED"
    REDUCING = "REDUCING"
    """No entries; positions are kept and may be closed."""
    ACTIVE = "ACTIVE"


class DenyCode(enum.Enum):
    """Why an entry may not leave; the cheap reasons first, as they are checked."""

    HALTED = "HALTED"
    REDUCING = "REDUCING"
    RECONCILING = "RECONCILING"
    LANE_FULL = "LANE_FULL"
    NOT_ALLOWED = "NOT_ALLOWED"
    NOT_TRADING = "NOT_TRADING"
    SPEC_OLD = "SPEC_OLD"
    NOT_WARM = "NOT_WARM"
    FOREIGN_POSITION = "FOREIGN_POSITION"
    EXPIRED = "EXPIRED"
    STALE = "STALE"
    GAPPED = "GAPPED"
    BOOK_CROSSED = "BOOK_CROSSED"
    UNKNOWN_BUDGET = "UNKNOWN_BUDGET"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    POSITION_OPEN = "POSITION_OPEN"
    MAX_POSITIONS = "MAX_POSITIONS"
    MAX_ORDERS_SYMBOL = "MAX_ORDERS_SYMBOL"
    MAX_ORDERS_TOTAL = "MAX_ORDERS_TOTAL"
    BAD_LEVELS = "BAD_LEVELS"
    PRICE_COLLAR = "PRICE_COLLAR"
    FILTER = "FILTER"
    COST = "COST"
    NET_R = "NET_R"
    SIZE = "SIZE"
    MIN_NOTIONAL = "MIN_NOTIONAL"
    LIQUIDATION = "LIQUIDATION"
    ORDER_QTY = "ORDER_QTY"
    ORDER_NOTIONAL = "ORDER_NOTIONAL"
    POSITION_NOTIONAL = "POSITION_NOTIONAL"
    OPEN_RISK = "OPEN_RISK"
    GROSS_LEVERAGE = "GROSS_LEVERAGE"
    NET_LEVERAGE = "NET_LEVERAGE"
    ORDER_RATE = "ORDER_RATE"
    ALGO_SLOTS = "ALGO_SLOTS"


@attrs.frozen(kw_only=True)
class Denied:
    """A refusal of our own: the code, the value that was seen and the limit that it passed, as text."""

    code: DenyCode
    value: str
    limit: str
    bound_by: Cap | None = None
    """For a size that came out too small: the cap that made it so."""


class EntryStyle(enum.Enum):
    IOC = "ioc"
    """LIMIT IOC at the touch plus at most the slippage limit."""
    LIMIT = "limit"
    """Rests at the level, never beyond the IOC's price."""
    POST_ONLY = "post_only"
    """Rests at the level or at its own touch, whichever is further from the market."""


@attrs.frozen(kw_only=True)
class EntryCandidate:
    """An entry that somebody would like to make."""

    signal_id: str
    cid: ClientId
    symbol: SymbolName
    side: Side
    style: EntryStyle = EntryStyle.IOC
    level: Decimal
    """The price at which the signal wanted to enter."""
    stop: Decimal
    target: Decimal
    parts: tuple[Part, ...] = ()
    """Targets before it, each for a share of the position."""
    time_limit_ns: int
    expires_ns: int


@attrs.frozen(kw_only=True)
class Quote:
    bid: Decimal
    bid_qty: Decimal
    ask: Decimal
    ask_qty: Decimal


@attrs.frozen(kw_only=True)
class Freshness:
    """Ages of the data. An unchanged quote on a talking socket is fresh."""

    socket_silence_ns: int
    """Since the socket that carries the symbol delivered anything."""
    event_lag_ns: int
    """Receive time less event time, corrected by the clock offset."""
    mark_age_ns: int


@attrs.frozen(kw_only=True)
class Funding:
    """`rate` of the next payment (positive: longs pay), when it is due, and the interval between payments."""

    rate: Decimal = ZERO
    due_in_ns: int
    interval_ns: int = attrs.field(default=8 * 3600 * 10**9, validator=attrs.validators.gt(0))

    def payments(self, within_ns: int) -> int:
        """Payments that fall due within a duration from now."""
        return 0 if within_ns < self.due_in_ns else 1 + (within_ns - self.due_in_ns) // self.interval_ns


@attrs.frozen(kw_only=True)
class Fees:
    maker: Decimal
    taker: Decimal


@attrs.frozen(kw_only=True)
class AccountView:
    """The account as the gate sees it: positions of the portfolio plus everything our working orders could add."""

    equity: Decimal
    free_margin: Decimal
    positions: int
    """Open positions plus symbols with a working entry."""
    gross_notional: Decimal
    """Sum of absolute positions at mark plus all working opening orders."""
    net_notional: Decimal
    """Largest absolute net exposure that positions and working orders can become."""
    open_risk: Decimal
    """Money lost if every open or entering trade were stopped."""
    orders_total: int
    """Working opening orders of the account; protection is not counted."""
    unknown_total: int
    open_algos: int


@attrs.frozen(kw_only=True)
class EntryContext:
    """The symbol and the account at the moment of the decision."""

    spec: SymbolSpec
    spec_age_ns: int
    quote: Quote
    mark: Decimal
    fresh: Freshness
    funding: Funding
    fees: Fees
    brackets: LeverageBrackets
    account: AccountView
    allowed: bool = True
    """The universe holds the symbol."""
    warm: bool
    reconciling: bool = False
    lane_full: bool = False
    foreign: bool = False
    """Somebody else's position or order is on the symbol."""
    gapped: bool = False
    """The tick that fired is the first after a gap."""
    book: PartialBook | None = None
    """The levels behind the touch, where they are known and fresh."""
    symbol_amount: Decimal = ZERO
    """Signed position on the symbol."""
    symbol_orders: int = 0
    """Working opening orders on the symbol."""
    symbol_unknown: int = 0
