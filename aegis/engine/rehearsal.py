"""The way of an entry, walked while nothing is to be entered, so that it is warm when something is.

From a level that fires to an order on its way is some 50 us of Python where it was walked a moment ago, and ten times
that where the processor's caches and branch predictors have forgotten it: at some signals a minute they always have.
So a setup that waits is decided again and again as if its price had been reached, by the same functions, with a gate, a
desk and a journal of the rehearsal's own; the request is encoded, signed and dropped.

Nothing of it is an input, and nothing that a decision depends on changes: a replay knows nothing of rehearsals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import trio

from aegis.core.approval import Approved
from aegis.core.messages import OrderRequest
from aegis.core.risk import Denied, EntryContext, RiskGate, TradingState
from aegis.core.values import ClientId, Side
from aegis.engine.decision import Decision
from aegis.engine.desk import Desk
from aegis.engine.entry import candidate_of, open_trade
from aegis.engine.journal_format import encode_frame
from aegis.engine.setups import Armed

__all__ = ["Rehearsal"]

#: Often enough that the loop's other work in between does not push all of the way out of the caches. A walk takes 0.1
#: to 0.4 ms, which is 2 to 7 % of a core; a tenth as often leaves little of what it gains.
_PAUSE_S = 0.005
_CID = ClientId("rehearsal-0")


class Rehearsal:
    """Rehearses the entries of `decision`; `dry` does all with a request that would be done but the sending.

    With `hot` the loop polls instead of sleeping meanwhile: a core that has slept begins with what the processor has
    forgotten, and in a virtual machine has to be woken first.
    """

    def __init__(
        self, decision: Decision, dry: Callable[[OrderRequest], None], venue_ns: Callable[[], int], *, hot: bool = False
    ) -> None:
        self._hot = hot
        self._decision = decision
        self._dry = dry
        self._venue_ns = venue_ns
        self._gate = RiskGate(decision.gate.limits)
        self._gate.set_state(TradingState.ACTIVE, "rehearsal")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            again_s = trio.current_time() + _PAUSE_S
            while self._hot and trio.current_time() < again_s:
                await trio.lowlevel.checkpoint()  # a task that can run keeps Trio from waiting for the sockets
            await trio.sleep_until(again_s)
            self.walk(self._venue_ns())

    def walk(self, now_ns: int) -> Denied | None:
        """One rehearsal, as far as a real entry would come; None where it came to the end, or there is no setup."""
        decision = self._decision
        if decision.gate.state is not TradingState.ACTIVE:
            return None
        trades, specs = decision.desk.trades, decision.specs
        waiting = (one for one in decision.setups.armed.values() if specs[one.setup.symbol].symbol not in trades)
        armed = next(waiting, None)
        return self._decide(armed, now_ns) if armed is not None else None

    def _decide(self, armed: Armed, now_ns: int) -> Denied | None:
        decision = self._decision
        context = decision.context(armed.setup.symbol, now_ns, gapped=False)
        candidate = candidate_of(armed, context.spec.symbol, _CID, _shift(armed, context))
        verdict = self._gate.check_entry(candidate, context, now_ns)
        self._gate.rate.forget()
        if isinstance(verdict, Denied):
            return verdict
        open_trade(self._desk(), candidate, context, verdict, working=decision.stop_working, now_ns=now_ns)
        return None

    def _desk(self) -> Desk:
        """A desk without trades, like the real one but for its journal and its way out."""
        real = self._decision.desk
        return Desk(
            gate=self._gate, scribe=_Unwritten(), send=self._send, next_cid=lambda: _CID,
            book=lambda fill, now_ns: None, booked=real.booked, closed=lambda trade: None, policy=real.policy,
            absence=real.absence, reply_budget_ns=real.reply_budget_ns, margin_asset=real.margin_asset,
        )  # fmt: skip

    def _send(self, approved: Approved[OrderRequest]) -> None:
        self._dry(approved.request)


def _shift(armed: Armed, context: EntryContext) -> Decimal:
    """How far the touch is from the setup's level."""
    touch = context.quote.ask if armed.setup.side is Side.BUY else context.quote.bid
    return touch - armed.level


class _Unwritten:
    """A journal whose records are made and not kept."""

    def append(self, kind: str, data: dict[str, Any], at_ns: int) -> int:
        return self.append_all(((kind, data),), at_ns)

    def append_all(self, records: Sequence[tuple[str, dict[str, Any]]], at_ns: int) -> int:
        for kind, data in records:
            encode_frame(0, kind, data, at_ns)
        return 0
