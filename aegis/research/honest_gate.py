"""The engine's risk gate over tapes: the account stands still but for the positions that are open."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from aegis.config import Config
from aegis.core.approval import Approved
from aegis.core.brackets import LeverageBracket, LeverageBrackets
from aegis.core.filters import Rounding, SymbolSpec, exact, price_for
from aegis.core.risk import (
    AccountView,
    EntryCandidate,
    EntryContext,
    Fees,
    Freshness,
    Funding,
    Quote,
    RiskGate,
    TradingState,
)
from aegis.core.values import ClientId, SymbolName
from aegis.engine.setups import parts_of
from aegis.exchange.listing import Listing
from aegis.research.tape import Tape
from aegis.signals.strategy import Setup

__all__ = ["HonestGate"]

_NS_PER_MS = 1_000_000
_FAR_NS = 10**18
ZERO = Decimal(0)
_BP = Decimal(10_000)


class HonestGate:
    """`check` in order of time; `opened` with what was taken."""

    def __init__(self, tapes: Sequence[Tape], config: Config) -> None:
        self._tapes = tapes
        self._gate = RiskGate(config.risk)
        self._gate.set_state(TradingState.ACTIVE, "judged")
        self._specs = [_spec(tape.listing) for tape in tapes]
        self._brackets = [_brackets(tape.listing) for tape in tapes]
        told = config.exchange
        self._fees = Fees(maker=exact(told.maker_fee_bps) / _BP, taker=exact(told.taker_fee_bps) / _BP)
        self._wallet = exact(told.wallet)
        self._leverage = config.risk.leverage
        self._open: dict[int, tuple[int, Decimal, Decimal]] = {}
        self._last = (ZERO, ZERO)

    def check(self, number: int, at: int, setup: Setup) -> str | None:
        """The code of the refusal of a setup that quote `at` of tape `number` has reached; None: taken."""
        tape, spec = self._tapes[number], self._specs[number]
        now_ns = int(tape.time_ns[at])
        self._open = {key: one for key, one in self._open.items() if one[0] > now_ns}
        exit_side = setup.side.opposite
        target = price_for(spec, setup.target, exit_side, Rounding.PASSIVE)
        candidate = EntryCandidate(
            signal_id=setup.name, cid=ClientId("h-1"), symbol=spec.symbol, side=setup.side,
            level=price_for(spec, setup.entry, setup.side),
            stop=price_for(spec, setup.stop, exit_side, Rounding.PASSIVE),
            target=target, parts=parts_of(setup, spec, target), time_limit_ns=setup.time_limit_ms * _NS_PER_MS,
            expires_ns=setup.expires_ms * _NS_PER_MS,
        )  # fmt: skip
        verdict = self._gate.check_entry(candidate, self._context(number, at), now_ns)
        self._gate.release(spec.symbol)
        if not isinstance(verdict, Approved):
            return verdict.code.value
        assert verdict.size is not None, "an approved entry has a size"
        self._last = verdict.size.notional, verdict.size.risk
        return None

    def opened(self, number: int, until_ns: int) -> None:
        """The setup that was taken last is a position, at the longest until then."""
        self._open[number] = until_ns, *self._last

    def _context(self, number: int, at: int) -> EntryContext:
        tape, spec = self._tapes[number], self._specs[number]
        bid, ask = (exact(round(float(side[at]), spec.price_decimals)) for side in (tape.bid, tape.ask))
        bid_qty, ask_qty = exact(float(tape.bid_qty[at])), exact(float(tape.ask_qty[at]))
        gross = sum((notional for _, notional, _ in self._open.values()), ZERO)
        account = AccountView(
            equity=self._wallet, free_margin=self._wallet - gross / self._leverage, positions=len(self._open),
            gross_notional=gross, net_notional=gross, open_risk=sum((risk for *_, risk in self._open.values()), ZERO),
            orders_total=0, unknown_total=0, open_algos=2 * len(self._open),
        )  # fmt: skip
        return EntryContext(
            spec=spec, spec_age_ns=0, mark=(bid + ask) / 2,
            quote=Quote(bid=bid, bid_qty=bid_qty, ask=ask, ask_qty=ask_qty),
            fresh=Freshness(socket_silence_ns=0, event_lag_ns=0, mark_age_ns=0), funding=Funding(due_in_ns=_FAR_NS),
            fees=self._fees, brackets=self._brackets[number], account=account, warm=True,
            symbol_amount=self._open[number][1] if number in self._open else ZERO,
        )  # fmt: skip


def _spec(one: Listing) -> SymbolSpec:
    return SymbolSpec(
        symbol=SymbolName(one.symbol), base=one.base, quote=one.quote, margin=one.margin,
        contract_type=one.contract_type, status=one.status, underlying_type=one.underlying_type,
        onboard_ms=one.onboard_ms, delivery_ms=one.delivery_ms, tick=one.tick, min_price=one.min_price,
        max_price=one.max_price, step=one.step, min_qty=one.min_qty, max_qty=one.max_qty, market_step=one.step,
        market_min_qty=one.min_qty, market_max_qty=one.market_max_qty, min_notional=one.min_notional,
        multiplier_up=one.multiplier_up, multiplier_down=one.multiplier_down, trigger_protect=one.trigger_protect,
        liquidation_fee=one.liquidation_fee,
    )  # fmt: skip


def _brackets(one: Listing) -> LeverageBrackets:
    rows = [
        LeverageBracket(floor=row.floor, cap=row.cap, rate=row.mmr, cum=row.cum, leverage=row.leverage)
        for row in one.brackets
    ]
    return LeverageBrackets(symbol=SymbolName(one.symbol), rows=tuple(rows))
