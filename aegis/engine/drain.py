"""What a session must know before it ends: what became of every order, and that every position kept has its stop."""

from __future__ import annotations

from aegis.core.bracket import TradeState
from aegis.core.order_life import CancelState
from aegis.core.order_store import Ours
from aegis.core.orders import WorkingOrder
from aegis.engine.desk import Desk

__all__ = ["patience_s", "unsettled"]

#: For answers that are on their way.
_GRACE_S = 5.0
#: The venue may have to prove so many absences one after another: a cut of the private stream makes a proof begin anew,
#: and an exit that never arrived is sent again once that is proven.
_PROOFS = 3


def patience_s(desk: Desk) -> float:
    """How long waiting may still tell what is not known: beyond it the venue does not answer."""
    return _GRACE_S + _PROOFS * desk.absence.proof_ns / 1e9


def unsettled(desk: Desk, *, flatten: bool) -> list[str]:
    """What a session must not end on, in words; with `flatten` that is any trade at all."""
    ended = {cid for trades in desk.tails.values() for trade in trades for cid in trade.roles}
    found, naked, opened = list[str](), list[str](), list[str]()
    for order in desk.store.open():
        doubt = _doubt(order, asked=order.cid not in desk.unproven, over=order.cid in ended)
        if doubt:
            found.append(f"order {order.cid} on {order.symbol} {doubt}")
    for trade in desk.open_trades():
        if trade.open_qty and not trade.stop_confirmed:
            naked.append(trade.plan.symbol)
        elif flatten or trade.state is TradeState.EXITING:
            opened.append(trade.plan.symbol)
    if naked:
        found.append(f"without a confirmed stop: {', '.join(naked)}")
    if opened:
        found.append(f"not closed yet: {', '.join(opened)}")
    return found


def _doubt(order: Ours, *, asked: bool, over: bool) -> str:
    """Empty where all is known: protection of a position that is kept rests. `over`: its trade has ended."""
    if order.state.pending or not asked:
        return "is of unknown fate"
    if order.tape.incomplete:
        return "has executions that were not seen"
    if order.cancel is not CancelState.NONE:
        return "is not known to be cancelled"
    if over:
        return "has outlived its trade"
    return "is still working" if isinstance(order, WorkingOrder) else ""
