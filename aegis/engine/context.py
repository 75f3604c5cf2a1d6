"""What the risk gate is told about a symbol and the account at the moment of a decision."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from aegis.core.brackets import LeverageBrackets
from aegis.core.filters import SymbolSpec, exact
from aegis.core.portfolio import Portfolio
from aegis.core.risk import AccountView, EntryContext, Fees, Freshness, Funding, Quote
from aegis.core.values import Side, SymbolName
from aegis.engine.depths import Depths
from aegis.engine.desk import Desk
from aegis.kernels.market import Table
from aegis.signals import view as views

__all__ = ["ContextMaker"]

ZERO = Decimal(0)
_NS_PER_MS = 1_000_000
#: Older than any limit: for what has never been heard.
_NEVER_NS = 10**18
#: No price and no size: the wire takes any 24 characters, exact numbers end here.
_ABSURD = 1e15


class _Row(NamedTuple):
    """What is looked at of a symbol's row in the market table, as plain numbers: one call reads them all."""

    bid: float
    bid_qty: float
    ask: float
    ask_qty: float
    quote_ms: int
    quote_recv_ns: int
    mark_ms: int
    funding: float
    next_funding_ms: int


@attrs.define(kw_only=True, eq=False)
class ContextMaker:
    """Reads the market table, the desk and the portfolio; changes nothing.

    `heard_ns(symbol)` is when the socket that carries the symbol's quotes last delivered anything.
    """

    table: Table
    specs: list[SymbolSpec]
    """In the order of the table's rows, which may be more: spare ones."""
    brackets: dict[SymbolName, LeverageBrackets]
    fees: dict[SymbolName, Fees]
    leverage: int
    specs_read_ns: int
    heard_ns: Callable[[int], int]
    lane_full: Callable[[], bool] = lambda: False
    reconciling: bool = False
    statuses: dict[SymbolName, str] = attrs.field(factory=dict)
    """Newer than the spec: what contractInfo has told."""
    dropped: set[SymbolName] = attrs.field(factory=set)
    """Symbols that have left the universe since the start: no entries, exits stay."""
    warm: npt.NDArray[np.bool_] = attrs.field(init=False)
    depths: Depths = attrs.field(init=False)
    _indices: dict[SymbolName, int] = attrs.field(init=False)
    _marks: npt.NDArray[np.float64] = attrs.field(init=False)
    _rows: npt.NDArray[np.void] = attrs.field(init=False)
    _exact: dict[SymbolName, tuple[float, Decimal]] = attrs.field(factory=dict, init=False)
    """The last mark of a symbol and its exact value: it changes once a second and is asked at every decision."""

    def __attrs_post_init__(self) -> None:
        self.warm = np.zeros(len(self.table.symbols), np.bool_)
        self.depths = Depths(self.table)
        self._marks = self.table.symbols["mark"]
        self._rows = self.table.symbols[list(_Row._fields)]
        self._indices = {spec.symbol: index for index, spec in enumerate(self.specs)}

    @property
    def all_warm(self) -> bool:
        """Every symbol that is here trades."""
        return bool(self.warm[: len(self.specs)].all())

    def index(self, name: SymbolName) -> int | None:
        """The symbol's row; None where it is unknown."""
        return self._indices.get(name)

    def add(self, spec: SymbolSpec) -> None:
        """A symbol has taken the next row."""
        self._indices[spec.symbol] = len(self.specs)
        self.specs.append(spec)

    def know(self, spec: SymbolSpec, brackets: LeverageBrackets, fees: Fees) -> None:
        """The newest terms of a symbol that is here; they overrule what contractInfo has told before."""
        self.specs[self._indices[spec.symbol]] = spec
        self.brackets[spec.symbol], self.fees[spec.symbol] = brackets, fees
        self.statuses.pop(spec.symbol, None)

    def status(self, name: SymbolName) -> str:
        """The newest status of a symbol that is here."""
        return self.statuses.get(name) or self.specs[self._indices[name]].status

    def quote(self, symbol: int) -> views.Quote:
        """What a strategy may see of the newest prices."""
        row = self.table.symbols[symbol]
        bid, ask, mark = (price if (price := float(row[name])) > 0.0 else None for name in ("bid", "ask", "mark"))
        return views.Quote(bid=bid, ask=ask, mark=mark)

    def mark(self, name: SymbolName) -> Decimal | None:
        """Mark price of a symbol by name; None where there is none yet."""
        index = self._indices.get(name)
        if index is None:
            return None
        price = float(self._marks[index])
        known, value = self._exact.get(name, (0.0, ZERO))
        if price == known:
            return value
        if not 0.0 < price < _ABSURD:
            return None
        self._exact[name] = price, exact(price)
        return self._exact[name][1]

    def entry(
        self, symbol: int, now_ns: int, *, desk: Desk, portfolio: Portfolio, foreign: bool, gapped: bool
    ) -> EntryContext:
        """Everything that the gate looks at."""
        spec, row = self.specs[symbol], _Row(*self._rows[symbol].item())
        name = spec.symbol
        if name in self.statuses:
            spec = attrs.evolve(spec, status=self.statuses[name])
        return EntryContext(
            spec=spec,
            spec_age_ns=now_ns - self.specs_read_ns,
            quote=Quote(
                bid=_known(row.bid), bid_qty=_known(row.bid_qty), ask=_known(row.ask), ask_qty=_known(row.ask_qty)
            ),
            mark=self.mark(name) or ZERO,
            fresh=Freshness(
                socket_silence_ns=now_ns - self.heard_ns(symbol),
                event_lag_ns=row.quote_recv_ns - row.quote_ms * _NS_PER_MS,
                mark_age_ns=now_ns - row.mark_ms * _NS_PER_MS if row.mark_ms >= 0 else _NEVER_NS,
            ),
            funding=_funding(row, now_ns),
            fees=self.fees[name],
            brackets=self.brackets[name],
            account=self._account(desk, portfolio),
            allowed=name not in self.dropped,
            warm=bool(self.warm[symbol]),
            reconciling=self.reconciling,
            lane_full=self.lane_full(),
            foreign=foreign,
            gapped=gapped,
            book=self.depths.fresh(symbol, now_ns),
            symbol_amount=_held(desk, portfolio, name),
            symbol_orders=desk.store.working_count(name),
            symbol_unknown=len(desk.store.unknown(name)) + _left(desk, name),
        )  # fmt: skip

    def _account(self, desk: Desk, portfolio: Portfolio) -> AccountView:
        """Positions plus everything that working orders could add."""
        gross, net, buys, sells = portfolio.gross, portfolio.net, ZERO, ZERO
        for order in desk.store.working():
            price = order.request.price
            if price is not None:
                value = order.remaining * price
                buys, sells = (buys + value, sells) if order.side is Side.BUY else (buys, sells + value)
        equity = portfolio.equity
        working = buys + sells
        return AccountView(
            equity=equity,
            free_margin=equity - (gross + working) / self.leverage,
            positions=len(desk.trades),
            gross_notional=gross + working,
            net_notional=max(abs(net + buys), abs(net - sells)),
            open_risk=desk.open_risk,
            orders_total=desk.store.working_count(),
            unknown_total=len(desk.store.unknown()),
            open_algos=desk.store.algo_count(),
        )


def _held(desk: Desk, portfolio: Portfolio, name: SymbolName) -> Decimal:
    """The position; where there is none yet or any more, what the symbol's trade asked for: one trade a symbol."""
    amount = portfolio.position(name).amount
    trade = desk.trades.get(name)
    if amount or trade is None or trade.entry is None:
        return amount
    return trade.entry.request.qty * trade.plan.side.sign


def _funding(row: _Row, now_ns: int) -> Funding:
    if row.funding != row.funding:  # the venue sends none
        return Funding(due_in_ns=_NEVER_NS)
    due_in_ns = max(0, row.next_funding_ms * _NS_PER_MS - now_ns)
    return Funding(rate=exact(min(max(row.funding, -1.0), 1.0)), due_in_ns=due_in_ns)


def _left(desk: Desk, name: SymbolName) -> int:
    """Ended trades of whose partial targets one may still live: it would reduce the position of a new trade."""
    return sum(trade.parts_live for trade in desk.tails.get(name, ()))


def _known(value: float) -> Decimal:
    """A price or size off the table; 0 for what has never been heard or is absurd, which every check refuses."""
    return Decimal(repr(value)) if 0.0 < value < _ABSURD else ZERO  # the shortest text of it is what was sent
