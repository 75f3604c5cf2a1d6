"""The only writer of orders, portfolio, risk state and armed levels. Synchronous; every input comes from `Machine`.

closed bars -> events -> strategy -> setup -> armed level ... hit -> signal -> risk gate -> order, or a denial with its
numbers. Each signal leaves exactly one decision record.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from decimal import Decimal

import attrs
import msgspec
import numpy as np
import numpy.typing as npt

from aegis.core.bracket import NOTHING_TO_REDUCE, ExitReason, Trade, TradeState
from aegis.core.errors import InvariantBroken
from aegis.core.fills import Fill
from aegis.core.filters import SymbolSpec
from aegis.core.messages import (
    AccountUpdate,
    AlgoUpdate,
    ConfigUpdate,
    ListenKeyExpired,
    MarginCall,
    OrderUpdate,
    Outcome,
    Refused,
    TradeLite,
)
from aegis.core.portfolio import Portfolio
from aegis.core.risk import Denied, EntryContext, RiskGate, TradingState
from aegis.core.trade_statistics import TradeStatistics
from aegis.core.values import ClientId, SymbolName, WorkingType
from aegis.engine.answers import (
    AccountAnswer,
    AlgoAnswer,
    FillsAnswer,
    IncomeAnswer,
    OrderAnswer,
    OutsideAnswer,
    PositionsAnswer,
)
from aegis.engine.audit import Audit
from aegis.engine.candidates import NOWHERE, Rank, rank, traded_value
from aegis.engine.context import ContextMaker
from aegis.engine.desk import VENUE_CLOSES, Desk, Scribe
from aegis.engine.entry import candidate_of, open_trade
from aegis.engine.records import describe_decision
from aegis.engine.setups import Setups
from aegis.kernels.analysis import State
from aegis.kernels.layout import BAR
from aegis.kernels.state import NEXT_OPEN, Records
from aegis.runtime.logs import get_logger
from aegis.signals.advice import fault, heard
from aegis.signals.strategy import Strategy, Withdraw
from aegis.signals.view import SymbolView

__all__ = ["Decision"]

_NS_PER_MS = 1_000_000
_STATES = {"activate": TradingState.ACTIVE, "reduce": TradingState.REDUCING, "halt": TradingState.HALTED}


def last_bar(state: State, symbol: int) -> np.void:
    """The newest closed base bar, as a row of dtype BAR; a bar's place in its ring follows from its open time."""
    ring = state.bars[symbol, 0]
    newest = int(state.clock[NEXT_OPEN]) // int(state.parameters[0]["timeframe_ms"]) - 1
    row: np.void = ring[newest & (len(ring) - 1)]
    return row


@attrs.define(kw_only=True, eq=False)
class Decision:
    """See the module. `ask` rings the reconciler, `seen` is told closed bars: effects, not inputs."""

    specs: Sequence[SymbolSpec]
    gate: RiskGate
    desk: Desk
    portfolio: Portfolio
    statistics: TradeStatistics
    setups: Setups
    contexts: ContextMaker
    strategy: Strategy
    scribe: Scribe
    run: str
    stop_working: WorkingType
    ask: Callable[[], None] = lambda: None
    seen: Callable[[Records], None] = lambda bars: None
    cids_used: int = 0
    signals: int = 0
    taken: int = 0
    refused: Counter[str] = attrs.field(factory=Counter)
    rejects: Counter[int] = attrs.field(factory=Counter)
    quarantined: bool = False
    failed: dict[int, str] = attrs.field(factory=dict)
    """Symbols that the strategy has failed on, and how."""
    malformed: int = 0
    bar_lots: npt.NDArray[np.int64] = attrs.field(init=False)
    """Volume of the closed base bars of each symbol, in lots."""
    _bars_seen: hashlib._Hash = attrs.field(factory=hashlib.sha256, init=False)
    references: dict[str, Decimal] = attrs.field(factory=dict)
    """Touch at the decision of each trade that is open, for slippage."""
    audit: Audit = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.bar_lots = np.zeros(len(self.contexts.warm), np.int64)
        self.audit = Audit(desk=self.desk, portfolio=self.portfolio, scribe=self.scribe)

    # -- analysis ------------------------------------------------------------------------------------------------------
    def on_cold(self, symbols: Iterable[int]) -> None:
        """Bars of these symbols are broken until they are seeded again: what was armed on them is void."""
        for symbol in symbols:
            self.setups.withdraw_all(symbol)
            self.contexts.warm[symbol] = False
            self._forget(symbol)

    def on_bars(self, bars: Records, front: State, cold: Collection[int]) -> list[int]:
        """A batch has been analysed; `front` is the state after it. Returns the symbols that have become warm.

        `cold` ones have gone cold since the batch was taken.
        """
        self.seen(bars)
        warm = front.symbols["warm"] != 0
        warm[list(cold)] = False
        warmed: list[int] = np.flatnonzero(warm & ~self.contexts.warm).tolist()
        self.contexts.warm[:] = warm
        if len(bars):
            self._count(bars)
        return warmed

    def _count(self, bars: Records) -> None:
        """What of the bars the journal and the summary keep: a digest, and the volume."""
        for name in BAR.names or ():  # column by column: padding between them is no fact
            self._bars_seen.update(np.ascontiguousarray(bars[name]).tobytes())
        base = bars[bars["timeframe"] == 0]
        lots = np.bincount(base["symbol"], weights=base["volume"], minlength=len(self.bar_lots))
        self.bar_lots += lots.astype(np.int64)

    def on_events(self, symbol: int, events: Records, front: State, now_ns: int) -> None:
        """New events of one symbol: ask the strategy, arm what it wants."""
        if self.quarantined or self.gate.state is not TradingState.ACTIVE or not self.contexts.warm[symbol]:
            return
        if symbol in self.failed:
            return
        view = SymbolView(front, symbol, self.specs[symbol].symbol, self.contexts.quote(symbol))
        try:
            said = heard(self.strategy.on_events(view, events, now_ns // _NS_PER_MS), symbol)
        except InvariantBroken:
            raise
        except Exception as error:  # noqa: BLE001 - it may be the user's own, and the other symbols trade on
            self._quarantine(symbol, error, now_ns)
            return
        for advice in said:
            if isinstance(advice, Withdraw):
                self.setups.withdraw(symbol, advice.zone)
            else:
                self.setups.arm(advice, last_bar(front, symbol), now_ns)

    def _quarantine(self, symbol: int, error: Exception, now_ns: int) -> None:
        """The strategy has failed on this symbol: it is not asked about it any more in this run."""
        name, reason = self.specs[symbol].symbol, fault(error)
        self.failed[symbol] = reason
        self.setups.withdraw_all(symbol)
        get_logger().error("strategy.failed", symbol=name, reason=reason)
        self.scribe.append("state", {"symbol": name, "strategy": "quarantined", "reason": reason}, now_ns)

    def _forget(self, symbol: int) -> None:
        """A strategy that cannot forget is asked again all the same: what it says is checked like any of its words."""
        try:
            self.strategy.forget(symbol)
        except Exception as error:  # noqa: BLE001 - as in `on_events`
            get_logger().error("strategy.failed", symbol=self.specs[symbol].symbol, reason=fault(error))

    def on_contract(self, symbol: str, status: str, now_ns: int) -> None:
        """contractInfo: a symbol that no longer trades takes no entries; its exits stay."""
        self.contexts.statuses[SymbolName(symbol)] = status
        self.scribe.append("state", {"symbol": symbol, "status": status}, now_ns)

    # -- signals -------------------------------------------------------------------------------------------------------
    def on_hits(self, hits: Records, front: State, now_ns: int) -> None:
        """Armed levels that were reached at one instant: the best goes first. See `engine/candidates.py`."""
        if len(hits) > 1:
            hits = hits[sorted(range(len(hits)), key=[self._rank(hit, front, now_ns) for hit in hits].__getitem__)]
        for hit in hits:
            self.on_hit(hit, now_ns)

    def _rank(self, hit: np.void, front: State, now_ns: int) -> Rank:
        symbol, zone = int(hit["symbol"]), int(hit["id"])
        armed = self.setups.armed.get((symbol, zone))
        if armed is None:
            return NOWHERE
        value = traded_value(front, symbol, self.specs[symbol])
        context = self.context(symbol, now_ns, gapped=bool(hit["first_after_gap"]))
        return rank(armed, context, self.gate.limits, value)

    def on_hit(self, hit: np.void, now_ns: int) -> None:
        """An armed level was reached: this is the signal."""
        armed = self.setups.pop(int(hit["symbol"]), int(hit["id"]))
        if armed is None:
            return
        symbol = armed.setup.symbol
        context = self.context(symbol, now_ns, gapped=bool(hit["first_after_gap"]))
        candidate = candidate_of(armed, context.spec.symbol, self.next_cid())
        verdict = self.gate.check_entry(candidate, context, now_ns)
        self.signals += 1
        try:
            if isinstance(verdict, Denied):
                self.refused[verdict.code.value] += 1
            else:
                touch = open_trade(
                    self.desk, candidate, context, verdict, working=self.stop_working, now_ns=now_ns
                )
                self.references[candidate.signal_id] = touch
                self.taken += 1
        finally:  # the order has left: what explains it need not have kept it waiting
            seen = (float(hit["price"]), int(hit["event_ms"]))
            candle, trail, shown = self.setups.candle(armed), self.gate.trail, self.gate.shown
            self.setups.release(armed)
            record = describe_decision(armed.setup, candle, seen, candidate, context, verdict, trail, shown=shown)
            self.scribe.append("decision", record, now_ns)

    def context(self, symbol: int, now_ns: int, *, gapped: bool) -> EntryContext:
        """What the gate is told about an entry on the symbol."""
        foreign = self.audit.leaves_alone(self.specs[symbol].symbol)
        return self.contexts.entry(
            symbol, now_ns, desk=self.desk, portfolio=self.portfolio, foreign=foreign, gapped=gapped
        )

    # -- the account ---------------------------------------------------------------------------------------------------
    def on_user_event(self, event: object, now_ns: int) -> None:
        """One event of the private stream, decoded; what means nothing to us is counted."""
        match event:
            case OrderUpdate():
                self._not_ours(event.symbol, event.cid, now_ns)
                self.desk.on_order_update(event, now_ns)
            case TradeLite():
                self.desk.on_trade_lite(event, now_ns)
            case AlgoUpdate():
                self._not_ours(event.symbol, event.cid, now_ns)
                self.desk.on_algo_update(event, now_ns)
            case AccountUpdate():
                self.audit.account_update(event, now_ns)
            case ConfigUpdate() | MarginCall() | ListenKeyExpired():
                self.scribe.append("account", {"event": type(event).__name__}, now_ns)
            case _:
                self.malformed += 1
        self._ask_where_doubtful()

    def _not_ours(self, symbol: SymbolName, cid: ClientId, now_ns: int) -> None:
        """An order under somebody else's id: the symbol is left alone while there is anything of theirs."""
        if not self.is_ours(cid) and not cid.startswith(VENUE_CLOSES):
            self.audit.sight(symbol, now_ns)

    def is_ours(self, cid: str) -> bool:
        """`<run>-<seq>` of this run or an earlier one of the account."""
        head, dash, tail = cid.partition("-")
        if not dash or not tail.isdecimal() or not head.isascii() or not head.isalnum() or head != head.lower():
            return False
        return int(head, 36) <= int(self.run, 36)

    def on_outcome(self, outcome: Outcome, now_ns: int) -> None:
        if isinstance(outcome, Refused):
            self.rejects[outcome.code] += 1
            self.audit.wanted |= outcome.code == NOTHING_TO_REDUCE
        self.desk.on_outcome(outcome, now_ns)
        self._ask_where_doubtful()

    def on_answer(self, what: str, payload: bytes, now_ns: int) -> None:
        """An answer of the reconciler's; see `engine/answers.py`. Raises msgspec.DecodeError on one that is none."""
        if what == "order":
            order = msgspec.json.decode(payload, type=OrderAnswer)
            row = order.venue_order()
            if row is not None:
                self.desk.found_order(row, now_ns)
            else:
                self.desk.not_found(ClientId(order.cid), order.asked_ns, now_ns, stream_alive=order.alive)
        elif what == "algo":
            algo = msgspec.json.decode(payload, type=AlgoAnswer)
            found = algo.venue_algo()
            if found is not None:
                self.desk.found_algo(found, now_ns)
            else:
                self.desk.not_found(ClientId(algo.cid), algo.asked_ns, now_ns, stream_alive=algo.alive)
        elif what == "fills":
            for fill in msgspec.json.decode(payload, type=FillsAnswer).fills():
                self.desk.found_fill(fill, now_ns)
        elif what == "account":
            self.audit.wallet(msgspec.json.decode(payload, type=AccountAnswer).wallet, now_ns)
        elif what == "income":
            self.audit.income(msgspec.json.decode(payload, type=IncomeAnswer), now_ns)
        elif what == "positions":
            self.audit.positions(msgspec.json.decode(payload, type=PositionsAnswer), now_ns)
        elif what == "outside":
            self.audit.outside(msgspec.json.decode(payload, type=OutsideAnswer), now_ns)
        else:
            raise InvariantBroken(f"an answer to what nobody asks: {what}")
        self._ask_where_doubtful()

    def _ask_where_doubtful(self) -> None:
        if self.audit.wanted or next(iter(self.desk.doubtful()), None) is not None:
            self.ask()

    # -- time and orders from outside ----------------------------------------------------------------------------------
    def on_timer(self, now_ns: int) -> None:
        marks = ((symbol, self.contexts.mark(symbol)) for symbol in self.portfolio.positions)
        self.portfolio.mark_all({symbol: mark for symbol, mark in marks if mark is not None}, now_ns)
        self.setups.expire(now_ns // _NS_PER_MS)
        self.desk.on_timer(now_ns)
        self._ask_where_doubtful()

    def on_command(self, name: str, now_ns: int) -> None:
        """`activate`, `reduce REASON`, `halt REASON`, `reconciling`, `reconciled`, `quarantine`, `finish`, `cancel`,
        `flatten`, `universe SYMBOL...` (freshly read; these symbols have left it and take no entries)."""
        verb, _, reason = name.partition(" ")
        if verb in _STATES:
            state = _STATES[verb]
            self.gate.set_state(state, reason or verb)
            if state is not TradingState.ACTIVE:
                self._withdraw_everything()
        elif verb in ("reconciling", "reconciled"):
            self.contexts.reconciling = verb == "reconciling"
        elif verb == "universe":
            self.contexts.specs_read_ns = now_ns
            self.contexts.dropped = {SymbolName(name) for name in reason.split()}
        elif verb == "finish":
            self.scribe.append("bars", {"sha256": self._bars_seen.hexdigest()}, now_ns)
        elif verb == "quarantine":
            self.quarantined = True
            self._withdraw_everything()
        elif verb in ("cancel", "flatten"):
            self._stop_trades(flatten=verb == "flatten", now_ns=now_ns)
        else:
            raise InvariantBroken(f"no such command: {name}")
        self.scribe.append("state", {"command": verb, "reason": reason}, now_ns)

    def halt(self, reason: str, now_ns: int) -> None:
        """An invariant broke: no entry leaves any more. The journal may be what broke, so its refusal is borne."""
        self.gate.set_state(TradingState.HALTED, reason)
        self._withdraw_everything()
        with suppress(InvariantBroken):
            self.scribe.append("state", {"command": "halt", "reason": reason}, now_ns)

    def _withdraw_everything(self) -> None:
        """Nothing is watched any more; the strategy starts anew when trading does."""
        self.setups.withdraw_everything()
        for symbol in range(len(self.specs)):
            self._forget(symbol)

    def _stop_trades(self, *, flatten: bool, now_ns: int) -> None:
        """Cancel what would open; with `flatten` close what is open."""
        broken: InvariantBroken | None = None
        for trade in tuple(self.desk.open_trades()):
            if flatten or trade.state in (TradeState.PLANNED, TradeState.ENTERING):
                try:
                    self.desk.exit(trade.plan.symbol, ExitReason.MANUAL, now_ns)
                except InvariantBroken as error:  # the others must not stay open for it
                    broken = broken or error
        if broken is not None:
            raise broken

    # -- what the desk reports -----------------------------------------------------------------------------------------
    def book(self, fill: Fill, now_ns: int) -> None:
        """An execution with its fee."""
        self.portfolio.apply_fill(fill, now_ns)

    def trade_ended(self, trade: Trade) -> None:
        reference = self.references.pop(trade.plan.signal_id, None)
        if trade.entry is not None and reference is not None:
            self.statistics.entry_ended(trade.entry, reference)
        if trade.state is TradeState.CLOSED:
            self.statistics.trade_closed(trade.result(self.portfolio.margin_asset))

    def next_cid(self) -> ClientId:
        """Ids rise for ever within a run; a run number is never given twice."""
        self.cids_used += 1
        return ClientId(f"{self.run}-{self.cids_used}")
