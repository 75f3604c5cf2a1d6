"""What the life of a plain order and of a conditional order have in common.

Knowledge about an order comes by four ways that race: the reply to the request, the private stream, our own deadline,
and the reconciler's look-ups. Each input may be late, doubled or missing. So every input is read as *evidence*: old
evidence is ignored, new evidence moves the state along one table, and evidence that contradicts proof raises.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import attrs

from aegis.core.errors import InvariantBroken
from aegis.core.fills import Fill, FillTape
from aegis.core.messages import Accepted, AlgoRequest, CancelRequest, OrderRequest, Outcome, Refused
from aegis.core.values import ClientId, Side, SymbolName

__all__ = ["AbsenceRule", "CancelState", "Change", "OrderState", "TrackedOrder"]


class OrderState(enum.Enum):
    """States of both machines; each machine's table says which of them it uses."""

    INTENT = "INTENT"
    """Journalled, not yet on the wire."""
    SENT = "SENT"
    UNKNOWN = "UNKNOWN"
    """Its fate must be asked; it may live, and nobody resends it."""
    ACKED = "ACKED"
    """Alive at the venue."""
    PARTIAL = "PARTIAL"
    TRIGGERING = "TRIGGERING"
    TRIGGERED = "TRIGGERED"
    FILLED = "FILLED"
    FINISHED = "FINISHED"
    """A conditional order whose child is done."""
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    """By the matching engine, after the venue had taken the request."""
    REFUSED = "REFUSED"
    """By the venue, or never sent: proof that nothing was executed."""
    ABSENT = "ABSENT"
    """It never arrived, proven by the absence rule."""

    @cached_property  # asked for every open order at every decision: to hash an enum takes longer than all the rest
    def final(self) -> bool:
        return self in _FINAL

    @property
    def pending(self) -> bool:
        """Whether it lives is not known yet."""
        return self in (OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN)

    @property
    def live(self) -> bool:
        """Known to be alive at the venue."""
        return not self.final and not self.pending


_FINAL = frozenset(
    {
        OrderState.FILLED, OrderState.FINISHED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED,
        OrderState.REFUSED, OrderState.ABSENT,
    }
)  # fmt: skip


class CancelState(enum.Enum):
    """Fate of our own cancel request; only the order's own final state ends the order."""

    NONE = "NONE"
    SENT = "SENT"
    ACCEPTED = "ACCEPTED"
    DOUBTFUL = "DOUBTFUL"
    """Refused (the order is no longer open) or unknown: ask for the order."""


@attrs.frozen(kw_only=True)
class AbsenceRule:
    """When "not found" proves absence: asked twice, `recv_window_ns` apart, both later than send + window + margin."""

    recv_window_ns: int
    margin_ns: int

    @property
    def proof_ns(self) -> int:
        """From the send to the second of those questions, where both are asked as soon as they count."""
        return 2 * self.recv_window_ns + self.margin_ns


@attrs.frozen(kw_only=True)
class Change:
    """What an input did. `fill` is an execution seen for the first time, or the one that completes a fast copy."""

    before: OrderState
    after: OrderState
    fill: Fill | None = None

    @property
    def moved(self) -> bool:
        return self.before is not self.after


@attrs.define(kw_only=True, eq=False)
class TrackedOrder:
    """A request of ours and all that is known about it. Subclasses add the evidence that is theirs."""

    TABLE: ClassVar[Mapping[OrderState, frozenset[OrderState]]]

    request: OrderRequest | AlgoRequest
    created_ns: int
    tape: FillTape
    state: OrderState = OrderState.INTENT
    cancel: CancelState = CancelState.NONE
    venue_id: int | None = None
    refusal: Refused | None = None
    sent_ns: int | None = None
    deadline_ns: int | None = None
    acked_ns: int | None = None
    absent_since_ns: int | None = attrs.field(default=None, init=False)
    """When the first look-up that counts for the absence rule was asked."""

    @property
    def cid(self) -> ClientId:
        return self.request.cid

    @property
    def symbol(self) -> SymbolName:
        return self.request.symbol

    @property
    def side(self) -> Side:
        return self.request.side

    @property
    def settled(self) -> bool:
        """Final, and every execution that the venue has claimed has reached us, with its fee."""
        return self.state.final and not self.tape.incomplete

    @property
    def can_cancel(self) -> bool:
        """There is something to cancel, and no cancel is under way."""
        return not self.state.final and self.cancel is CancelState.NONE

    # -- our own acts --------------------------------------------------------------------------------------------------
    def sent(self, now_ns: int, deadline_ns: int) -> Change:
        """The first byte may have left. A stream event may already have overtaken this call."""
        before = self.state
        self.sent_ns = now_ns
        if self.state is OrderState.INTENT:
            self._move(OrderState.SENT)
            self.deadline_ns = deadline_ns
        return self._change(before)

    def on_deadline(self, now_ns: int) -> Change:
        """The reply to the request, or the end that a cancel should have brought, did not come in time."""
        before = self.state
        if self.deadline_ns is not None and now_ns >= self.deadline_ns:
            self._doubt(now_ns)
        return self._change(before)

    def recover(self, now_ns: int) -> Change:
        """After a crash: a request without an outcome may have left up to this moment."""
        before = self.state
        if self.state in (OrderState.INTENT, OrderState.SENT):
            self.sent_ns = now_ns
            self._doubt(now_ns)
        return self._change(before)

    def request_cancel(self, deadline_ns: int) -> CancelRequest | None:
        """The cancel to send, or None when one is under way or there is nothing to cancel."""
        if not self.can_cancel:
            return None
        self.cancel = CancelState.SENT
        self.deadline_ns = deadline_ns
        return CancelRequest(cid=self.cid, symbol=self.symbol, algo=isinstance(self.request, AlgoRequest))

    # -- evidence ------------------------------------------------------------------------------------------------------
    def on_outcome(self, outcome: Outcome, now_ns: int) -> Change:
        """The reply to the request, or to its cancel. Raises InvariantBroken on a reply that contradicts proof."""
        before = self.state
        if isinstance(outcome.request, CancelRequest):
            self._on_cancel_outcome(outcome, now_ns)
        elif isinstance(outcome, Accepted):
            self._identify(outcome.venue_id)
            self._alive(OrderState.ACKED, now_ns)
        elif isinstance(outcome, Refused):
            self._on_refused(outcome, now_ns)
        elif self.state in (OrderState.INTENT, OrderState.SENT):
            self._doubt(now_ns)
        return self._change(before)

    def not_found(self, asked_ns: int, rule: AbsenceRule, *, stream_alive: bool) -> Change:
        """A look-up of an UNKNOWN order found nothing. It counts only as the rule says and with the stream alive."""
        before = self.state
        if self.state is not OrderState.UNKNOWN or self.venue_id is not None or self.tape.qty:
            return self._change(before)  # a read that lags: the order is proven to have been there
        sent_ns = self.created_ns if self.sent_ns is None else self.sent_ns
        if not stream_alive:
            self.absent_since_ns = None
        elif asked_ns < sent_ns + rule.recv_window_ns + rule.margin_ns:
            pass
        elif self.absent_since_ns is None:
            self.absent_since_ns = asked_ns
        elif asked_ns - self.absent_since_ns >= rule.recv_window_ns:
            self._move(OrderState.ABSENT)
        return self._change(before)

    # -- inside --------------------------------------------------------------------------------------------------------
    def _change(self, before: OrderState, fill: Fill | None = None) -> Change:
        return Change(before=before, after=self.state, fill=fill)

    def _move(self, to: OrderState) -> None:
        if to is self.state:
            return
        if to not in self.TABLE[self.state]:
            raise InvariantBroken(f"order {self.cid}: {self.state.value} -> {to.value} cannot be")
        self.state = to
        if to.final:
            self.deadline_ns = None

    def _doubt(self, now_ns: int) -> None:
        self._move(OrderState.UNKNOWN)
        self.deadline_ns = None
        if self.sent_ns is None:
            self.sent_ns = now_ns  # it may have left until now: the absence rule counts from the latest moment

    def _alive(self, to: OrderState, now_ns: int, *, asked: bool = False) -> None:
        """Evidence that it is alive in state `to`; `asked` when the reconciler looked it up."""
        if self.state in (OrderState.REFUSED, OrderState.ABSENT):
            raise InvariantBroken(f"order {self.cid}: lives at the venue after it was {self.state.value}")
        if self.acked_ns is None:
            self.acked_ns = now_ns
        if self.state.final:
            return
        if self.state is OrderState.UNKNOWN:
            if asked:
                self.cancel, self.refusal = CancelState.NONE, None
            elif self.cancel is not CancelState.NONE or self.refusal is not None:
                return  # the doubt is about its end: being alive earlier proves nothing
        if self.cancel is CancelState.NONE:
            self.deadline_ns = None
        if _RANK[to] > _RANK.get(self.state, 0):
            self._move(to)

    def _identify(self, venue_id: int) -> None:
        if self.venue_id is None:
            self.venue_id = venue_id
        elif self.venue_id != venue_id:
            raise InvariantBroken(f"order {self.cid}: venue ids {self.venue_id} and {venue_id}")

    def _on_refused(self, refused: Refused, now_ns: int) -> None:
        if self.tape.qty or self.tape.reported:
            raise InvariantBroken(f"order {self.cid}: refused ({refused.code}) after it was executed")
        if self.state.final:
            return  # both say that nothing was executed
        self.refusal = refused
        if self.acked_ns is None:
            self._move(OrderState.REFUSED)
        else:
            self._doubt(now_ns)  # seen alive and refused: ask, do not choose

    def _on_cancel_outcome(self, outcome: Outcome, now_ns: int) -> None:
        if self.state.final:
            return
        if isinstance(outcome, Accepted):
            self.cancel = CancelState.ACCEPTED  # how much was filled comes with the order's own end
            return
        self.cancel = CancelState.DOUBTFUL
        self._doubt(now_ns)


_RANK = {OrderState.ACKED: 1, OrderState.PARTIAL: 2, OrderState.TRIGGERING: 2, OrderState.TRIGGERED: 3}
