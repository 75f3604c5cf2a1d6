"""Sizing, the gate and the portfolio against independent arithmetic in fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction as F

import attrs
from hypothesis import event, given
from hypothesis import strategies as st

from aegis.core.approval import Approved
from aegis.core.filters import Rounding, check_order, check_price, check_qty, floor_qty, price_for
from aegis.core.portfolio import Portfolio
from aegis.core.risk import (
    Denied,
    EntryCandidate,
    EntryContext,
    Funding,
    Quote,
    RiskGate,
    RiskLimits,
    TradingState,
)
from aegis.core.sizing import Cap, Size, SizeDenial, SizeInput, size_entry
from aegis.core.values import Side, SymbolName
from tests.support.core_cases import D, make_account, make_brackets, make_candidate, make_context, make_fill, make_spec

SIDES = st.sampled_from(Side)


def decimals(low: str, high: str, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(D(low), D(high), places=places, allow_nan=False)


@given(
    x=st.floats(100, 900_000),
    side=SIDES,
    rounding=st.sampled_from(Rounding),
    tick=st.sampled_from(["0.1", "0.05", "7"]),
)
def test_a_price_is_on_the_grid_within_a_tick_on_the_right_side(
    x: float, side: Side, rounding: Rounding, tick: str
) -> None:
    spec = make_spec(tick=D(tick))
    price = price_for(spec, x, side, rounding)
    wish, got = F(str(x)), F(price)
    assert (got - F(spec.min_price)) % F(tick) == 0
    assert abs(got - wish) < F(tick)
    down = rounding is Rounding.FLOOR or (rounding is Rounding.PASSIVE and side is Side.BUY)
    down = down or (rounding is Rounding.AGGRESSIVE and side is Side.SELL)
    assert got <= wish if down else got >= wish
    assert check_price(spec, price) is None or got < F(spec.min_price)


@given(x=st.floats(0, 5000), market=st.booleans())
def test_a_floored_quantity_is_tradable_or_zero(x: float, market: bool) -> None:
    spec = make_spec()
    qty = floor_qty(spec, x, market=market)
    assert F(qty) <= F(str(x))
    assert qty == 0 or check_qty(spec, qty, market=market) is None
    if qty == 0:
        assert F(str(x)) < F(spec.min_qty)


@st.composite
def size_inputs(draw: st.DrawFn) -> SizeInput:
    side = draw(SIDES)
    price = draw(decimals("1000", "90000", 1))
    distance = draw(decimals("0.1", "900", 1))
    return SizeInput(
        spec=make_spec(min_notional=draw(st.sampled_from([D(5), D(50), D(500)]))),
        side=side,
        price=price,
        stop=price - distance * side.sign,
        mark=price + draw(decimals("-50", "50", 2)),
        equity=draw(decimals("1000", "100000", 0)),
        free_margin=draw(st.sampled_from([D(-10), D(300), D(5000), D(10**6)])),
        risk_rate=draw(decimals("0.002", "0.05", 3)),
        taker_rate=draw(decimals("0", "0.001", 5)),
        stop_slippage=draw(decimals("0", "50", 2)),
        max_notional=draw(st.sampled_from([D(40), D(4000), D(10**6)])),
        displayed_qty=draw(st.sampled_from([D("0.004"), D(1), D(500)])),
        displayed_rate=D("0.2"),
        brackets=make_brackets(),
        leverage=draw(st.integers(1, 20)),
    )


@given(size_inputs())
def test_a_size_exceeds_no_cap_and_is_the_largest_that_does_not(ask: SizeInput) -> None:
    answer = size_entry(ask)
    price, stop = F(ask.price), F(ask.stop)
    unit = abs(price - stop) + F(ask.taker_rate) * (price + stop) + F(ask.stop_slippage)
    caps = {
        Cap.RISK: F(ask.risk_rate) * F(ask.equity) / unit,
        Cap.NOTIONAL: F(ask.max_notional) / price,
        Cap.BRACKET: F(10_000_000) / max(price, F(ask.mark)),
        Cap.LOT: F(120),
        Cap.MARGIN: max(F(0), F(ask.free_margin)) * ask.leverage * F(9, 10) / price,
        Cap.DISPLAYED: F(ask.displayed_qty) / 5,
    }
    step = F(ask.spec.step)
    best = min(caps.values()) // step * step
    if isinstance(answer, Size):
        assert F(answer.qty) == best
        assert F(answer.qty) <= caps[answer.bound_by] < F(answer.qty) + step
        assert F(answer.risk) == F(answer.qty) * unit
        assert F(answer.risk) <= F(ask.risk_rate) * F(ask.equity)
        assert F(answer.qty) * min(price, F(ask.mark)) >= F(ask.spec.min_notional)
        assert check_qty(ask.spec, answer.qty) is None
    elif answer.code is SizeDenial.QTY_MIN:
        assert best < F(ask.spec.min_qty)
    elif answer.code is SizeDenial.MIN_NOTIONAL:
        assert best * min(price, F(ask.mark)) < F(ask.spec.min_notional)
    else:
        assert answer.code is SizeDenial.LIQUIDATION
        assert _dead_too_early(ask, best)
    if isinstance(answer, Size):
        assert not _dead_too_early(ask, best)


def _dead_too_early(ask: SizeInput, qty: F) -> bool:
    """The margin balance one stop distance beyond the stop does not exceed the maintenance margin there."""
    price, stop, sign = F(ask.price), F(ask.stop), ask.side.sign
    furthest = 2 * stop - price
    if furthest <= 0:  # below zero only a position that cannot die at any price is safe
        return qty * price / ask.leverage < qty * price
    notional = qty * furthest
    rate, cum = (F(4, 1000), 0) if notional < 50_000 else (F(5, 1000), 50)
    if notional >= 500_000:
        rate, cum = F(1, 100), 2550
    balance = qty * price / ask.leverage + (furthest - price) * qty * sign
    return balance < notional * rate - cum


@st.composite
def situations(draw: st.DrawFn) -> tuple[EntryCandidate, EntryContext, RiskLimits]:
    """Sound entries whose numbers lie on both sides of the limits; at most one yes-or-no control fails."""
    side = draw(SIDES)
    bid = D(50_000) + draw(decimals("-100", "100", 1))
    ask = bid + draw(decimals("0.1", "3", 1))
    touch = ask if side is Side.BUY else bid
    level = touch + draw(decimals("-60", "60", 1))
    distance = draw(decimals("150", "1200", 1))
    candidate = make_candidate(
        side=side,
        level=level,
        stop=level - distance * side.sign,
        target=level + draw(decimals("0.5", "4", 1)) * distance * side.sign,
        time_limit_ns=draw(st.integers(0, 10**14)),
    )
    equity = draw(decimals("2000", "100000", 0))
    wrong = draw(st.sampled_from([None] * 12 + ["warm", "unknown", "budget", "orders", "positions"]))
    account = make_account(
        equity=equity,
        free_margin=equity,
        positions=5 if wrong == "positions" else draw(st.integers(0, 4)),
        gross_notional=equity * draw(decimals("0", "2", 1)),
        net_notional=equity * draw(decimals("0", "2", 1)),
        open_risk=equity * draw(decimals("0", "0.02", 3)),
        unknown_total=3 if wrong == "budget" else 0,
        orders_total=50 if wrong == "orders" else 49,
    )
    context = make_context(
        quote=Quote(bid=bid, bid_qty=draw(decimals("0.1", "9", 3)), ask=ask, ask_qty=draw(decimals("0.1", "9", 3))),
        mark=touch + draw(decimals("-60", "60", 2)),
        account=account,
        warm=wrong != "warm",
        symbol_unknown=int(wrong == "unknown"),
        funding=Funding(rate=draw(decimals("-0.0005", "0.0005", 4)), due_in_ns=draw(st.integers(0, 10**14))),
    )
    return candidate, context, RiskLimits(max_cost_r=draw(st.sampled_from(["0.2", "1"])), min_net_r="0.5")


@given(situations())
def test_nothing_that_the_gate_lets_through_breaks_a_limit(
    situation: tuple[EntryCandidate, EntryContext, RiskLimits],
) -> None:
    candidate, context, limits = situation
    gate = RiskGate(limits)
    gate.set_state(TradingState.ACTIVE, "")
    answer = gate.check_entry(candidate, context, 0)
    event(answer.code.value if isinstance(answer, Denied) else "approved")
    if isinstance(answer, Denied):
        return
    assert isinstance(answer, Approved)
    order, account, sign = answer.request, context.account, candidate.side.sign
    assert order.price is not None
    price, qty, equity, mark = F(order.price), F(order.qty), F(account.equity), F(context.mark)
    stop, target, bid, ask = F(candidate.stop), F(candidate.target), F(context.quote.bid), F(context.quote.ask)
    touch = ask if sign > 0 else bid
    assert bid < ask
    assert context.warm
    assert context.symbol_unknown == 0
    assert account.unknown_total <= 2
    assert account.positions < 5
    assert account.orders_total < 50
    assert check_order(context.spec, order.side, order.qty, order.price, context.mark) is None
    assert (price - touch) * sign <= touch * F(5, 10_000)
    assert abs(price - mark) <= mark * F(50, 10_000)
    assert abs(touch - F(candidate.level)) <= F(candidate.level) * F(50, 10_000)
    distance = (touch - stop) * sign
    assert distance > 0
    due, every, until = context.funding.due_in_ns, context.funding.interval_ns, candidate.time_limit_ns
    payments = len(range(due, until + 1, every))
    cost = (
        (touch + max(stop, target)) * F("0.0005")
        + (ask - bid)
        + touch * F(1, 10_000)
        + max(F(context.spec.tick), stop * F(2, 10_000))
        + max(F(0), F(context.funding.rate) * sign) * mark * payments
    )
    assert cost <= F(limits.max_cost_r) * distance
    assert (target - touch) * sign - cost >= F(limits.min_net_r) * distance
    loss = qty * (abs(price - stop) + F("0.0005") * (price + stop) + max(F(context.spec.tick), stop * F(2, 10_000)))
    assert loss <= equity * F("0.004")
    assert F(account.open_risk) + loss <= equity * F("0.02")
    assert F(account.gross_notional) + qty * max(price, mark) <= 2 * equity
    assert F(account.net_notional) + qty * max(price, mark) <= 2 * equity
    assert qty * price <= 50_000


FILLS = st.lists(
    st.tuples(
        st.sampled_from(["BTCUSDT", "ETHUSDT"]), SIDES, st.integers(1, 9), st.integers(50, 150), st.integers(0, 3)
    ),
    max_size=25,
)


@given(FILLS, st.integers(50, 150))
def test_wallet_and_positions_are_conserved(fills: list[tuple[str, Side, int, int, int]], mark: int) -> None:
    """Cash that went out and came in, plus what is held at mark, is the equity: whatever the path."""
    book, probe = Portfolio("USDT", D(10_000), 0), Portfolio("USDT", D(0), 0)
    cash, held = F(10_000), {"BTCUSDT": 0, "ETHUSDT": 0}
    for number, (name, side, qty, price, fee) in enumerate(fills):
        symbol = SymbolName(name)
        fill = make_fill(side, D(qty), D(price), number, symbol=symbol, commission=D(fee))
        expected = probe.apply_fill(fill, number)
        assert expected is not None
        fill = attrs.evolve(fill, realized=expected.expected)
        assert book.apply_fill(fill, number) is not None
        assert book.apply_fill(fill, number) is None
        cash -= qty * price * side.sign + fee
        held[name] += qty * side.sign
    for name in held:
        book.mark(SymbolName(name), D(mark), len(fills))
    assert {name: book.position(SymbolName(name)).amount for name in held} == held
    assert abs(F(book.equity) - (cash + sum(held.values()) * mark)) < F(1, 10**15)
    assert (book.mismatches, book.duplicates) == (0, len(fills))
    assert book.compare({SymbolName(name): D(amount) for name, amount in held.items()}) == ()
