"""Puts the synchronous engine together: the same for a live run, a replay of its recording, and a backtest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from aegis.config import Config
from aegis.core.approval import Approved
from aegis.core.bracket import BracketPolicy
from aegis.core.brackets import LeverageBrackets
from aegis.core.filters import SymbolSpec
from aegis.core.order_life import AbsenceRule
from aegis.core.pool import SIGNAL, Pool
from aegis.core.portfolio import Portfolio
from aegis.core.risk import Fees, RiskGate
from aegis.core.trade_statistics import TradeStatistics
from aegis.core.values import SymbolName, WorkingType
from aegis.engine.analysis import Analysis
from aegis.engine.channel import Channel
from aegis.engine.context import ContextMaker
from aegis.engine.decision import Decision
from aegis.engine.desk import Desk, Scribe
from aegis.engine.execution import LEAVES_WITHIN_S
from aegis.engine.inputs import Tap
from aegis.engine.machine import Machine
from aegis.engine.setups import Setups
from aegis.kernels.analysis import new_state
from aegis.kernels.layout import BAR
from aegis.kernels.market import AGG_TRADE, TRADE, Table, new_table
from aegis.signals.choose import make_strategy
from aegis.signals.strategy import Strategy

__all__ = ["Market", "build_machine"]

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000
#: The longest that our clock and the venue's may disagree about when a request expired, and that one waits to leave.
_ABSENCE_MARGIN_NS = 2_000_000_000 + int(LEAVES_WITHIN_S * _NS_PER_S)
#: The venue expires the protection of a position that is gone; a cancel that comes first only earns a refusal.
_SIBLING_GRACE_NS = 500_000_000


@attrs.frozen(kw_only=True)
class Market:
    """What was learnt of the venue before the start: the traded symbols in index order, and their terms."""

    specs: tuple[SymbolSpec, ...]
    brackets: Mapping[SymbolName, LeverageBrackets]
    fees: Mapping[SymbolName, Fees]
    margin_asset: str
    read_ns: int


def build_machine(
    config: Config,
    market: Market,
    channels: Sequence[Channel],
    *,
    run: str,
    start_ns: int,
    scribe: Scribe,
    tap: Tap,
    send: Callable[[Approved[Any]], None],
    lane_full: Callable[[], bool],
    on_reseed: Callable[[Iterable[int]], None],
    on_mend: Callable[[Iterable[tuple[int, int]]], None] | None = None,
    from_first_trade: bool = False,
    spare: int = 0,
) -> Machine:
    """Everything between bytes in and requests out, HALTED and empty; `spare` symbols may join later."""
    specs = list(market.specs)
    source = AGG_TRADE if config.feed.trade_source == "aggTrade" else TRADE
    base_ms = config.bars.timeframes_ms[0]
    names, decimals = [spec.symbol for spec in specs], [spec.qty_decimals for spec in specs]
    table = new_table(names, decimals, base_ms, source, spare=spare)
    bars = config.bars
    strategy, analysis = make_strategy(config.strategy, bars.names, warm_bars=bars.warmup_bars)
    state = new_state(len(table.symbols), bars.timeframes_ms, analysis)
    carriers = _carriers(channels, len(specs))
    decision = _decision(
        config,
        market,
        specs,
        table,
        strategy,
        run=run,
        start_ns=start_ns,
        scribe=scribe,
        send=send,
        lane_full=lane_full,
        heard_ns=lambda symbol: channels[carriers[symbol]].recv_ns,
    )
    return Machine(
        table=table,
        analysis=Analysis(state),
        decision=decision,
        channels=channels,
        carriers=carriers,
        tap=tap,
        base_ms=base_ms,
        lateness_ms=config.bars.lateness_ms,
        on_reseed=on_reseed,
        on_mend=on_mend if source == AGG_TRADE else None,  # other trades cannot be fetched by id
        mend_wait_ns=int(config.feed.mend_wait_s * _NS_PER_S),
        from_first_trade=from_first_trade,
    )


def _decision(
    config: Config,
    market: Market,
    specs: list[SymbolSpec],
    table: Table,
    strategy: Strategy,
    *,
    run: str,
    start_ns: int,
    scribe: Scribe,
    send: Callable[[Approved[Any]], None],
    lane_full: Callable[[], bool],
    heard_ns: Callable[[int], int],
) -> Decision:
    # The desk reports to the decision and takes its ids from there; the decision is made last, of all the others.
    late: list[Decision] = []
    gate = RiskGate(config.risk)
    desk = Desk(
        gate=gate,
        scribe=scribe,
        send=send,
        next_cid=lambda: late[0].next_cid(),
        book=lambda fill, now_ns: late[0].book(fill, now_ns),
        booked=lambda symbol, trade_id: late[0].portfolio.booked(symbol, trade_id),
        closed=lambda trade: late[0].trade_ended(trade),
        policy=BracketPolicy(
            confirm_limit_ns=config.execution.protect_budget_ms * _NS_PER_MS, sibling_grace_ns=_SIBLING_GRACE_NS
        ),
        absence=AbsenceRule(
            recv_window_ns=config.execution.recv_window_ms * _NS_PER_MS, margin_ns=_ABSENCE_MARGIN_NS
        ),
        reply_budget_ns=config.execution.reply_budget_ms * _NS_PER_MS,
        margin_asset=market.margin_asset,
    )
    contexts = ContextMaker(
        table=table,
        specs=specs,
        brackets=dict(market.brackets),
        fees=dict(market.fees),
        leverage=config.risk.leverage,
        specs_read_ns=market.read_ns,
        heard_ns=heard_ns,
        lane_full=lane_full,
    )
    decision = Decision(
        specs=specs,
        gate=gate,
        desk=desk,
        portfolio=Portfolio(market.margin_asset, Decimal(0), start_ns),
        statistics=TradeStatistics(),
        setups=Setups(table=table, specs=specs, signals=Pool("signals", SIGNAL), candles=Pool("candles", BAR)),
        contexts=contexts,
        strategy=strategy,
        scribe=scribe,
        run=run,
        stop_working=WorkingType(config.execution.stop_working_type),
    )
    late.append(decision)
    return decision


def _carriers(channels: Sequence[Channel], symbols: int) -> list[int]:
    """For each symbol the channel of its quotes."""
    carriers = [0] * symbols
    for channel in channels:
        if channel.quotes:
            for symbol in channel.symbols:
                carriers[symbol] = channel.number
    return carriers
