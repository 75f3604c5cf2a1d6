"""The risk gate: nothing reaches a venue without passing here, and exits always pass.

`check_entry` is a pure function of its arguments, the trading state and the order rate, of which it changes the last.
Which controls it went through is left in `trail`, and what was displayed for it in `shown`, for the decision record.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TypeVar

from aegis.core import approval
from aegis.core.approval import Approved
from aegis.core.entry_price import BPS, displayed, entry_order, entry_price, round_trip, stop_slippage, touch
from aegis.core.errors import InvariantBroken
from aegis.core.filters import check_percent_price, check_price
from aegis.core.messages import AlgoRequest, CancelRequest, OrderRequest
from aegis.core.order_rate import ALGO_SLOTS, OrderRate
from aegis.core.partial_book import Displayed
from aegis.core.risk_context import (
    AccountView,
    Denied,
    DenyCode,
    EntryCandidate,
    EntryContext,
    EntryStyle,
    Fees,
    Freshness,
    Funding,
    Quote,
    TradingState,
)
from aegis.core.risk_limits import CEILING_ORDER_NOTIONAL, CEILING_ORDER_QTY, RiskLimits
from aegis.core.sizing import Size, SizeDenial, SizeDenied, SizeInput, size_entry
from aegis.core.values import SymbolName

__all__ = [
    "AccountView", "Approved", "Control", "Denied", "DenyCode", "EntryCandidate", "EntryContext", "EntryStyle", "Fees",
    "Freshness", "Funding", "Quote", "RiskGate", "RiskLimits", "TradingState",
    "told",
]  # fmt: skip

ZERO = Decimal(0)
HUNDRED = Decimal(100)
_MS = 10**6
_HOUR_NS = 3600 * 10**9
_SIZE_CODES = {
    SizeDenial.STOP_SIDE: DenyCode.BAD_LEVELS,
    SizeDenial.NO_EQUITY: DenyCode.SIZE,
    SizeDenial.QTY_MIN: DenyCode.SIZE,
    SizeDenial.MIN_NOTIONAL: DenyCode.MIN_NOTIONAL,
    SizeDenial.LIQUIDATION: DenyCode.LIQUIDATION,
}
#: A control: a code, what was seen, the limit, and whether it is broken. What was seen may be a tuple of words and
#: numbers: `told` joins them where somebody reads it, because on the way of an order nobody does.
Control = tuple[DenyCode, object, object, bool]
_Exit = TypeVar("_Exit", OrderRequest, AlgoRequest, CancelRequest)


class RiskGate:
    """Starts HALTED. One gate an account."""

    def __init__(self, limits: RiskLimits) -> None:
        self.limits = limits
        self.rate = OrderRate(limits)
        self.state = TradingState.HALTED
        self.state_reason = "not reconciled yet"
        self.trail: list[Control] = []
        self.shown: Displayed | None = None

    def set_state(self, state: TradingState, reason: str) -> None:
        """The caller journals it. ACTIVE is the caller's word that the account is reconciled."""
        self.state, self.state_reason = state, reason

    def check_entry(
        self, candidate: EntryCandidate, context: EntryContext, now_ns: int
    ) -> Approved[OrderRequest] | Denied:
        """Every control in order, cheap ones first; the first that fails is the answer.

        An approval counts the entry in the order rate and reserves its protection: `release` when it ends unfilled.
        """
        self.trail.clear()
        self.shown = None
        for controls in (self._permissions, self._data, self._counts):
            denied = self._first(controls(candidate, context, now_ns))
            if denied is not None:
                return denied
        price = entry_price(candidate, context, self.limits)
        denied = self._first(self._prices(candidate, context, price)) or self._filters(candidate, context, price)
        if denied is not None:
            return denied
        size = self._size(candidate, context, price)
        if isinstance(size, Denied):
            return size
        denied = self._first(self._exposure(candidate, context, size)) or self._room(candidate, context, now_ns)
        if denied is not None:
            return denied
        self.rate.entry(candidate.symbol, now_ns, len(candidate.parts))
        return Approved(entry_order(candidate, price, size.qty), size, key=approval._KEY)

    def approve_exit(self, request: _Exit, now_ns: int) -> Approved[_Exit]:
        """Exits, protection and cancels pass in every state. Raises InvariantBroken on an order that could open."""
        if isinstance(request, OrderRequest) and not request.reduce_only:
            raise InvariantBroken(f"{request.cid}: an order that is not reduce-only is no exit")
        if not isinstance(request, CancelRequest):
            self.rate.protection(request.symbol, now_ns)
        return Approved(request, None, key=approval._KEY)

    def release(self, symbol: SymbolName) -> None:
        """The symbol's entry ended without a fill, or its trade is over: gives its reserved order counts back."""
        self.rate.release(symbol)

    # -- controls: each yields (code, value, limit, broken) ------------------------------------------------------------
    def _permissions(self, candidate: EntryCandidate, context: EntryContext, now_ns: int) -> Iterator[Control]:
        state, spec = self.state, context.spec
        yield DenyCode.HALTED, self.state_reason, TradingState.ACTIVE.value, state is TradingState.HALTED
        yield DenyCode.REDUCING, self.state_reason, TradingState.ACTIVE.value, state is TradingState.REDUCING
        yield DenyCode.RECONCILING, "reconciling", "reconciled", context.reconciling
        yield DenyCode.LANE_FULL, "execution lane full", "room", context.lane_full
        yield DenyCode.NOT_ALLOWED, candidate.symbol, "universe", not context.allowed or spec.symbol != candidate.symbol
        yield DenyCode.NOT_TRADING, spec.status, "TRADING", spec.status != "TRADING"
        age_ns, most_ns = context.spec_age_ns, self.limits.spec_age_h * _HOUR_NS
        yield DenyCode.SPEC_OLD, age_ns, most_ns, age_ns > most_ns
        yield DenyCode.NOT_WARM, "warming up", "warm", not context.warm
        yield DenyCode.FOREIGN_POSITION, "foreign order or position", "none", context.foreign
        yield DenyCode.EXPIRED, now_ns, candidate.expires_ns, now_ns >= candidate.expires_ns

    def _data(self, candidate: EntryCandidate, context: EntryContext, now_ns: int) -> Iterator[Control]:
        limits, fresh, quote = self.limits, context.fresh, context.quote
        value, limit = fresh.socket_silence_ns, limits.socket_silence_ms * _MS
        yield DenyCode.STALE, ("socket silent for", value), limit, value > limit
        value, limit = fresh.event_lag_ns, limits.event_lag_ms * _MS
        yield DenyCode.STALE, ("events late by", value), limit, value > limit
        value, limit = fresh.mark_age_ns, limits.mark_age_ms * _MS
        yield DenyCode.STALE, ("mark aged", value), limit, value > limit
        crossed = not ZERO < quote.bid < quote.ask or context.mark <= ZERO
        yield DenyCode.BOOK_CROSSED, (quote.bid, "/", quote.ask), "bid < ask", crossed
        yield DenyCode.GAPPED, "first tick after a gap", "no gap", context.gapped

    def _counts(self, candidate: EntryCandidate, context: EntryContext, now_ns: int) -> Iterator[Control]:
        limits, account = self.limits, context.account
        # No entry leaves while so many are in doubt; it ends with the doubt: the reconciler settles every one of them.
        value, limit = account.unknown_total, limits.max_unknown
        yield DenyCode.UNKNOWN_BUDGET, value, limit, value > limit
        yield DenyCode.UNKNOWN_ORDER, context.symbol_unknown, 0, context.symbol_unknown > 0
        yield DenyCode.POSITION_OPEN, context.symbol_amount, 0, context.symbol_amount != ZERO
        value, limit = account.positions + 1, limits.max_positions
        yield DenyCode.MAX_POSITIONS, value, limit, value > limit
        value, limit = context.symbol_orders + 1, limits.max_open_orders_symbol
        yield DenyCode.MAX_ORDERS_SYMBOL, value, limit, value > limit
        value, limit = account.orders_total + 1, limits.max_open_orders_total
        yield DenyCode.MAX_ORDERS_TOTAL, value, limit, value > limit

    def _prices(self, candidate: EntryCandidate, context: EntryContext, price: Decimal) -> Iterator[Control]:
        limits, sign, now = self.limits, candidate.side.sign, touch(context.quote, candidate.side)
        positive = min(candidate.stop, candidate.target, candidate.level) > ZERO
        ordered = (price - candidate.stop) * sign > ZERO and (now - candidate.stop) * sign > ZERO
        nearest = candidate.parts[0].price if candidate.parts else candidate.target
        onward = (nearest - price) * sign > ZERO and (candidate.target - nearest) * sign >= ZERO
        levels = (candidate.stop, price, candidate.target)
        yield DenyCode.BAD_LEVELS, levels, "stop, entry, target in order", not (positive and ordered and onward)
        collar, far = limits.collar_bps, _bps(now, candidate.level)
        yield DenyCode.GAPPED, ("bps from the level", far), collar, far > collar
        far = _bps(price, context.mark)
        yield DenyCode.PRICE_COLLAR, far, collar, far > collar
        trip = round_trip(candidate, context, price, limits)
        cost_r, net_r = trip.cost_r, trip.net_r
        yield DenyCode.COST, cost_r, limits.max_cost_r, cost_r > limits.max_cost_r
        yield DenyCode.NET_R, net_r, limits.min_net_r, net_r < limits.min_net_r

    def _filters(self, candidate: EntryCandidate, context: EntryContext, price: Decimal) -> Denied | None:
        spec = context.spec
        breach = check_price(spec, price) or check_percent_price(spec, price, candidate.side, context.mark)
        if breach is None:
            return None
        return Denied(code=DenyCode.FILTER, value=f"{breach.rule.value} {breach.value}", limit=str(breach.limit))

    def _size(self, candidate: EntryCandidate, context: EntryContext, price: Decimal) -> Size | Denied:
        limits, account = self.limits, context.account
        self.shown = displayed(context, candidate.side, price)
        size = size_entry(
            SizeInput(
                spec=context.spec,
                side=candidate.side,
                price=price,
                stop=candidate.stop,
                mark=context.mark,
                equity=account.equity,
                free_margin=account.free_margin,
                risk_rate=limits.risk_pct / HUNDRED,
                taker_rate=context.fees.taker,
                stop_slippage=stop_slippage(context.spec, candidate.stop, limits),
                max_notional=limits.max_order_notional,
                displayed_qty=self.shown.qty,
                displayed_rate=limits.displayed_pct / HUNDRED,
                brackets=context.brackets,
                leverage=limits.leverage,
            )
        )
        if isinstance(size, SizeDenied):
            code = _SIZE_CODES[size.code]
            return Denied(code=code, value=str(size.value), limit=str(size.limit), bound_by=size.bound_by)
        return size

    def _exposure(self, candidate: EntryCandidate, context: EntryContext, size: Size) -> Iterator[Control]:
        limits, account = self.limits, context.account
        equity, notional = account.equity, size.qty * max(size.notional / size.qty, context.mark)
        value, limit = size.qty, min(limits.max_order_qty, CEILING_ORDER_QTY)
        yield DenyCode.ORDER_QTY, value, limit, value > limit
        value, limit = size.notional, min(limits.max_order_notional, CEILING_ORDER_NOTIONAL)
        yield DenyCode.ORDER_NOTIONAL, value, limit, value > limit
        value, limit = notional, limits.max_position_notional
        yield DenyCode.POSITION_NOTIONAL, value, limit, value > limit
        value, limit = account.open_risk + size.risk, equity * limits.max_open_risk_pct / HUNDRED
        yield DenyCode.OPEN_RISK, value, limit, value > limit
        value, limit = account.gross_notional + notional, equity * limits.max_gross_leverage
        yield DenyCode.GROSS_LEVERAGE, value, limit, value > limit
        value, limit = account.net_notional + notional, equity * limits.max_net_leverage
        yield DenyCode.NET_LEVERAGE, value, limit, value > limit

    def _room(self, candidate: EntryCandidate, context: EntryContext, now_ns: int) -> Denied | None:
        parts = len(candidate.parts)
        short = self.rate.room(now_ns, parts)
        if short is not None:
            return Denied(code=DenyCode.ORDER_RATE, value=str(short[0]), limit=str(short[1]))
        slots, limit = context.account.open_algos + self.rate.reserved + ALGO_SLOTS + parts, self.rate.algo_limit
        return self._first(iter([(DenyCode.ALGO_SLOTS, slots, limit, slots > limit)]))

    def _first(self, checks: Iterator[Control]) -> Denied | None:
        """The first control that is broken; those before it are in the trail."""
        for control in checks:
            self.trail.append(control)
            code, value, limit, broken = control
            if broken:
                return Denied(code=code, value=told(value), limit=str(limit))
        return None


def told(value: object) -> str:
    """What a control has seen, as people read it."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _bps(price: Decimal, reference: Decimal) -> Decimal:
    return abs(price - reference) / reference * BPS
