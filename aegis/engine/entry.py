"""From a setup whose level has fired to an order on its way: the candidate, and the trade that an approval begins."""

from __future__ import annotations

from decimal import Decimal

from aegis.core.approval import Approved
from aegis.core.messages import OrderRequest
from aegis.core.partials import Lots, Part
from aegis.core.risk import EntryCandidate, EntryContext
from aegis.core.trade_plan import TradePlan
from aegis.core.values import ClientId, Side, SymbolName, WorkingType
from aegis.engine.desk import Desk
from aegis.engine.setups import Armed

__all__ = ["candidate_of", "open_trade"]

_NS_PER_MS = 1_000_000


def candidate_of(armed: Armed, symbol: SymbolName, cid: ClientId, shift: Decimal = Decimal(0)) -> EntryCandidate:
    """The entry that the setup wants, its prices moved by `shift`."""
    setup = armed.setup
    return EntryCandidate(
        signal_id=armed.signal_id,
        cid=cid,
        symbol=symbol,
        side=setup.side,
        level=armed.level + shift,
        stop=armed.stop + shift,
        target=armed.target + shift,
        parts=tuple(Part(price=part.price + shift, share=part.share) for part in armed.parts),
        time_limit_ns=setup.time_limit_ms * _NS_PER_MS,
        expires_ns=setup.expires_ms * _NS_PER_MS,
    )


def open_trade(
    desk: Desk,
    candidate: EntryCandidate,
    context: EntryContext,
    approved: Approved[OrderRequest],
    *,
    working: WorkingType,
    now_ns: int,
) -> Decimal:
    """Have the desk send the entry; `working` is what its stop and target will watch. Returns the touch it was at."""
    reference = context.quote.ask if candidate.side is Side.BUY else context.quote.bid
    plan = TradePlan(
        signal_id=candidate.signal_id,
        symbol=candidate.symbol,
        side=candidate.side,
        stop=candidate.stop,
        target=candidate.target,
        stop_distance=abs(reference - candidate.stop),
        decision_ns=now_ns,
        time_limit_ns=candidate.time_limit_ns,
        stop_working=working,
        target_working=working,
        max_exit_qty=context.spec.market_max_qty or context.spec.max_qty,
        parts=candidate.parts,
        lots=Lots.of(context.spec) if candidate.parts else None,
    )
    desk.open(plan, approved, now_ns)
    return reference
