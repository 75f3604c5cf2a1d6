"""What the venue's account holds that no order of ours explains. Synchronous; `Decision` is its only caller.

A read of the account races with the events that are on their way, so one look proves nothing: until a second look at
least finds the same, the symbol is only kept from entries. Then the executions that made the difference are asked for.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from aegis.core.bracket import ExitReason
from aegis.core.filters import plain
from aegis.core.messages import AccountUpdate, CancelRequest
from aegis.core.movements import Movement
from aegis.core.portfolio import Portfolio
from aegis.core.values import ClientId, SymbolName
from aegis.engine.answers import IncomeAnswer, OutsideAnswer, PositionsAnswer
from aegis.engine.desk import VENUE_CLOSES, Desk, Scribe
from aegis.engine.records import describe_movement

__all__ = ["Audit"]

ZERO = Decimal(0)
_FUNDING = "FUNDING_FEE"
#: Income that comes with an execution: it is booked with the fill.
_OF_FILLS = ("REALIZED_PNL", "COMMISSION")
_PROOF = 2
#: Looks, a minute apart, after which a difference of the wallet is nothing that is on its way.
_WALLET_PROOF = 3


@attrs.frozen(kw_only=True)
class _Seen:
    """A difference, and how many looks in a row have found just this one."""

    what: tuple[Decimal, ...]
    looks: int


@attrs.define(kw_only=True, eq=False)
class Audit:
    """`wanted`: another look should come soon."""

    desk: Desk
    portfolio: Portfolio
    scribe: Scribe
    begun: bool = False
    """The wallet that the run began with is known."""
    wanted: bool = False
    _resting: set[SymbolName] = attrs.field(factory=set)
    _sighted: dict[SymbolName, int] = attrs.field(factory=dict)
    _gaps: dict[SymbolName, _Seen] = attrs.field(factory=dict)
    _strays: set[ClientId] = attrs.field(factory=set)
    _wallet: _Seen = attrs.field(factory=lambda: _Seen(what=(), looks=0))

    # -- what is not ours ----------------------------------------------------------------------------------------------
    @property
    def foreign(self) -> set[SymbolName]:
        """Symbols that are left alone: somebody else's orders or executions, or a position that is not as we know."""
        return {*self._resting, *self._sighted, *self._gaps}

    def leaves_alone(self, symbol: SymbolName) -> bool:
        """Whether the symbol is one of `foreign`."""
        return symbol in self._resting or symbol in self._sighted or symbol in self._gaps

    def unexplained(self) -> list[tuple[SymbolName, int]]:
        """Symbols whose position is not what the executions of our trade made it; the trade's decision in ms."""
        trades = self.desk.trades
        return [(name, trades[name].plan.decision_ns // 1_000_000) for name, gap in self._gaps.items()
                if gap.looks >= _PROOF and name in trades]  # fmt: skip

    def sight(self, symbol: SymbolName, now_ns: int) -> None:
        """An event of an order under somebody else's id."""
        self._sighted[symbol] = now_ns

    def positions(self, answer: PositionsAnswer, now_ns: int) -> None:
        """The whole account, positions and open orders."""
        self.wanted = False
        self._resting = {SymbolName(symbol) for symbol in answer.foreign}
        self._sighted = {name: seen_ns for name, seen_ns in self._sighted.items() if seen_ns >= answer.asked_ns}
        self._compare({SymbolName(symbol): amount for symbol, amount in answer.amounts.items()}, now_ns)
        self._cancel_strays(answer, now_ns)

    def _compare(self, venue: dict[SymbolName, Decimal], now_ns: int) -> None:
        before, self._gaps = self._gaps, {}
        for gap in self.portfolio.compare(venue):
            seen = self._gaps[gap.symbol] = _look(before.get(gap.symbol), (gap.ours, gap.venue))
            self.wanted |= seen.looks < _PROOF
            if seen.looks == _PROOF:
                data = {"symbol": gap.symbol, "ours": plain(gap.ours), "venue": plain(gap.venue)}
                self.scribe.append("reconcile", data, now_ns)

    def _cancel_strays(self, answer: PositionsAnswer, now_ns: int) -> None:
        """Orders under our ids that we know nothing of, or know to have ended: a lost journal may leave such."""
        before, self._strays = self._strays, set()
        for symbol, cid, algo in answer.ours:
            order = self.desk.store.get(ClientId(cid))
            if order is not None and not order.state.final:
                continue
            self._strays.add(ClientId(cid))
            if cid in before:
                self.desk.cancel_stray(CancelRequest(cid=ClientId(cid), symbol=SymbolName(symbol), algo=algo), now_ns)
            else:
                self.wanted = True

    def outside(self, answer: OutsideAnswer, now_ns: int) -> None:
        """Executions of a symbol that were not known, with the client ids of their orders."""
        for fill in answer.fills():
            if self.portfolio.booked(fill.symbol, fill.trade_id):
                continue
            if self.desk.store.get(fill.cid) is not None:
                self.desk.found_fill(fill, now_ns)
            else:
                reason = ExitReason.LIQUIDATION if fill.cid.startswith(VENUE_CLOSES) else ExitReason.ELSEWHERE
                self.desk.found_outside(fill, reason, now_ns)
            self.wanted = True

    # -- money ---------------------------------------------------------------------------------------------------------
    def begin(self, wallet: Decimal, now_ns: int) -> None:
        """What profit counts from."""
        self.begun = True
        self.portfolio.begin(wallet, now_ns)

    def wallet(self, wallet: Decimal, now_ns: int) -> None:
        """The wallet at the venue: at first what the run begins with, later for comparison."""
        if not self.begun:
            self.begin(wallet, now_ns)
            self.scribe.append("account", {"wallet": plain(wallet)}, now_ns)
            return
        gap = wallet - self.portfolio.wallet
        self._wallet = _look(self._wallet, (gap,))
        if gap and self._wallet.looks >= _WALLET_PROOF:
            self._move(_unexplained(gap, self.portfolio.margin_asset, now_ns), now_ns)

    def account_update(self, update: AccountUpdate, now_ns: int) -> None:
        """ACCOUNT_UPDATE; what comes with an execution is booked with the fill."""
        if update.reason == "ORDER":
            return
        for row in update.balances:
            number = (update.transaction_ms, update.reason, update.symbol or "", plain(row.wallet), plain(row.change))
            self._move(
                Movement(
                    funding=update.reason == _FUNDING, symbol=update.symbol, asset=row.asset, change=row.change,
                    time_ms=update.transaction_ms, income=False, number=number,
                ),
                now_ns,
            )  # fmt: skip

    def income(self, answer: IncomeAnswer, now_ns: int) -> None:
        """Rows of the income history: what moved while nobody listened."""
        for row in answer.rows:
            if row.type not in _OF_FILLS:
                self._move(
                    Movement(
                        funding=row.type == _FUNDING, symbol=SymbolName(row.symbol) if row.symbol else None,
                        asset=row.asset, change=row.amount, time_ms=row.time_ms, income=True,
                        number=(row.type, row.tran_id),
                    ),
                    now_ns,
                )  # fmt: skip

    def _move(self, movement: Movement, now_ns: int) -> None:
        if self.portfolio.apply_movement(movement, now_ns):
            self.scribe.append("account", describe_movement(movement), now_ns)


def _look(before: _Seen | None, what: tuple[Decimal, ...]) -> _Seen:
    return _Seen(what=what, looks=before.looks + 1 if before is not None and before.what == what else 1)


def _unexplained(gap: Decimal, asset: str, now_ns: int) -> Movement:
    """What no event and no income row has told."""
    return Movement(
        funding=False, symbol=None, asset=asset, change=gap, time_ms=now_ns // 1_000_000, income=True,
        number=("gap", now_ns),
    )  # fmt: skip

