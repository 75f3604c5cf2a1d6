"""Trades against a small venue that answers late, badly, twice or not at all; its position is the judge."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from aegis.core.algo_orders import AlgoOrder, VenueAlgo
from aegis.core.bracket import BracketPolicy, ExitReason, Trade, TradePlan, TradeState
from aegis.core.messages import Accepted, AlgoRequest, CancelRequest, OrderRequest, Refused, Request, Unknown
from aegis.core.order_life import AbsenceRule, CancelState, OrderState
from aegis.core.order_store import OrderStore
from aegis.core.orders import VenueOrder, WorkingOrder
from aegis.core.partials import Lots, Part
from aegis.core.values import AlgoStatus, AlgoType, ClientId, OrderStatus, Side, TimeInForce
from tests.support.core_cases import BTC, SECOND, Cids, D, algo_update, make_fill, make_order, order_update

TICK = SECOND // 10
RULE = AbsenceRule(recv_window_ns=SECOND, margin_ns=SECOND)
POLICY = BracketPolicy(confirm_limit_ns=3 * SECOND, exit_retry_ns=SECOND, cancel_deadline_ns=SECOND)


class Venue:
    """Position, live conditional orders and a post bag of events that arrive in a random order."""

    def __init__(self, store: OrderStore, random: Random) -> None:
        self.store, self.random = store, random
        self.position = D(0)
        self.lowest = D(0)
        self.algos: dict[ClientId, AlgoRequest] = {}
        self.rows: dict[ClientId, tuple[OrderStatus | AlgoStatus, Decimal]] = {}
        self.trades: list[tuple[Request, Decimal, int]] = []
        self.bag: list[Callable[[int], object]] = []
        self.calm = False
        self._ids = iter(range(1, 10**6))
        self._order_ids: dict[ClientId, int] = {}

    def order_id(self, cid: ClientId) -> int:
        return self._order_ids.setdefault(cid, 1000 + len(self._order_ids))

    def post(self, event: Callable[[int], object]) -> None:
        if self.calm or self.random.random() > 0.1:
            self.bag.append(event)
            if self.random.random() < 0.1:
                self.bag.append(event)

    def deliver(self, now_ns: int) -> None:
        self.random.shuffle(self.bag)
        keep = 0 if self.calm else self.random.randint(0, len(self.bag))
        for _ in range(len(self.bag) - keep):
            self.bag.pop()(now_ns)

    def submit(self, request: Request) -> None:
        fate = 1.0 if self.calm else self.random.random()
        if fate < 0.1:
            refused = Refused(request=request, code=self.random.choice([-2021, -1008]), message="")
            self.bag.append(lambda now: self.store.on_outcome(refused, now))
            return
        if fate < 0.2:  # lost on the way: nobody answers
            return
        known = self.order_id(request.cid)
        if isinstance(request, CancelRequest):
            self.cancel(request)
            return
        if isinstance(request, AlgoRequest):
            if not self.position:
                expired = Refused(request=request, code=-2022, message="")
                self.bag.append(lambda now: self.store.on_outcome(expired, now))
                return
            self.algos[request.cid] = request
            self.rows[request.cid] = (AlgoStatus.NEW, D(0))
        answer = Unknown(request=request, reason="timeout") if fate < 0.3 else Accepted(request=request, venue_id=known)
        self.post(lambda now: self.store.on_outcome(answer, now))
        if isinstance(request, OrderRequest):
            sign = request.side.sign
            room = abs(self.position) if request.reduce_only else request.qty
            share = D(self.random.randint(0, int(min(request.qty, room))))
            share = min(request.qty, room) if self.calm else share
            self.execute(request, request.qty, share, sign)

    def cancel(self, request: CancelRequest) -> None:
        algo = self.algos.pop(request.cid, None)
        if algo is None:
            refused = Refused(request=request, code=-2011, message="")
            self.post(lambda now: self.store.on_outcome(refused, now))
            return
        self.finish_algo(algo, AlgoStatus.CANCELED, D(0))

    def execute(self, request: OrderRequest | AlgoRequest, asked: Decimal, share: Decimal, sign: int) -> None:
        """An immediate order: `share` executes, the rest expires."""
        done = OrderStatus.FILLED if share == asked else OrderStatus.EXPIRED
        order_id = self.order_id(request.cid) + (500 if isinstance(request, AlgoRequest) else 0)
        if share:
            trade = next(self._ids)
            self.trades.append((request, share, trade))
            self.position += share * sign
            self.lowest = min(self.lowest, self.position)
            status = done if done is OrderStatus.FILLED else OrderStatus.PARTIALLY_FILLED
            filled = order_update(
                request, status, trade_id=trade, last_qty=share, filled_qty=share, qty=asked, order_id=order_id
            )
            self.post(lambda now: self.store.on_order_update(filled, now))
        if done is OrderStatus.EXPIRED:
            rest = order_update(request, done, filled_qty=share, qty=asked, order_id=order_id)
            self.post(lambda now: self.store.on_order_update(rest, now))
        if isinstance(request, OrderRequest):
            self.rows[request.cid] = (done, share)
        if self.position == 0:
            for algo in list(self.algos.values()):
                del self.algos[algo.cid]
                self.finish_algo(algo, AlgoStatus.EXPIRED, D(0))

    def finish_algo(self, algo: AlgoRequest, status: AlgoStatus, filled: Decimal) -> None:
        self.rows[algo.cid] = (status, filled)
        known = self.order_id(algo.cid)
        child = known + 500 if status is AlgoStatus.FINISHED else None
        event = algo_update(algo, status, algo_id=known, filled_qty=filled, order_id=child)
        self.post(lambda now: self.store.on_algo_update(event, now))

    def trigger(self) -> None:
        """One conditional order fires and closes the position, or most of it."""
        if not self.algos:
            return
        algo = self.algos.pop(self.random.choice(list(self.algos)))
        known, size = self.order_id(algo.cid), min(abs(self.position), algo.qty or D(10**6))
        event = algo_update(algo, AlgoStatus.TRIGGERING, algo_id=known)
        self.post(lambda now: self.store.on_algo_update(event, now))
        share = size if self.random.random() < 0.7 else D(self.random.randint(0, int(size)))
        self.execute(algo, size, share, algo.side.sign)
        self.finish_algo(algo, AlgoStatus.FINISHED, share)

    def reconcile(self, now_ns: int) -> None:
        """What the reconciler would ask of orders that are unknown, or whose executions are missing."""
        for order in list(self.store.open()):
            row = self.rows.get(order.cid)
            if row is None:
                order.not_found(now_ns, RULE, stream_alive=True)
            elif order.state is OrderState.UNKNOWN or self.calm:
                self._answer(order, row, now_ns)
            if order.tape.missing or self.calm:
                for request, qty, trade in self.trades:
                    if request.cid == order.cid:
                        child = 500 if isinstance(order, AlgoOrder) else 0
                        fill = make_fill(
                            request.side,
                            qty,
                            "50000",
                            trade,
                            cid=order.cid,
                            order_id=self.order_id(order.cid) + child,  # type: ignore[union-attr]
                        )
                        order.on_fill(fill, now_ns)
            self.store.changed(order.cid)

    def _answer(
        self, order: WorkingOrder | AlgoOrder, row: tuple[OrderStatus | AlgoStatus, Decimal], now_ns: int
    ) -> None:
        status, filled = row
        known = self.order_id(order.cid)
        if isinstance(order, AlgoOrder) and isinstance(status, AlgoStatus):
            child = known + 500 if status is AlgoStatus.FINISHED else None
            order.found(
                VenueAlgo(cid=order.cid, symbol=BTC, algo_id=known, status=status, order_id=child, filled_qty=filled),
                now_ns,
            )
        elif isinstance(order, WorkingOrder) and isinstance(status, OrderStatus):
            order.found(
                VenueOrder(
                    cid=order.cid,
                    symbol=BTC,
                    side=order.side,
                    order_id=known,
                    status=status,
                    qty=order.request.qty,
                    filled_qty=filled,
                ),
                now_ns,
            )


def assert_counts_are_right(store: OrderStore) -> None:
    """What the store keeps ready is what a look at every order says."""
    orders = list(store.open())
    assert list(store.working()) == [o for o in orders if isinstance(o, WorkingOrder) and o.opens and not o.state.final]
    assert store.working_count() == len(list(store.working()))
    assert store.algo_count() == sum(isinstance(order, AlgoOrder) and not order.state.final for order in orders)
    unknown = [order.cid for order in orders if order.state is OrderState.UNKNOWN]
    assert store.unknown() == unknown
    doubtful = [
        o.cid for o in orders
        if o.cid in unknown or o.tape.missing or o.tape.unpriced or o.cancel is CancelState.DOUBTFUL
    ]  # fmt: skip
    assert sorted(o.cid for o in store.in_doubt()) == sorted(doubtful)


#: Shares that leave at 50500, 51000, 51500 of a position of at most six in whole units.
PARTS = st.lists(st.sampled_from([D("0.1"), D("0.25"), D("0.3")]), max_size=3)


@given(st.integers(0, 2**32), st.integers(5, 80), PARTS)
def test_no_weather_leaves_a_position_without_a_plan(seed: int, stormy_ticks: int, shares: list[Decimal]) -> None:
    """Storm, then calm: the trade ends flat with nothing left at the venue, and never turned the position round."""
    parts = tuple(Part(price=D(50_000 + 500 * k), share=share) for k, share in enumerate(shares, 1))
    random = Random(seed)
    store, cids = OrderStore(), Cids()
    venue = Venue(store, random)
    plan = TradePlan(
        signal_id="s", symbol=BTC, side=Side.BUY, stop=D(49000), target=D(52000), stop_distance=D(1000), decision_ns=0,
        time_limit_ns=20 * SECOND, max_exit_qty=D(4), parts=parts,
        lots=Lots(step=D(1), min_qty=D(1), min_notional=D(50_000)) if parts else None,
    )  # fmt: skip
    trade = Trade(plan, store, cids, POLICY)
    entry = make_order(cid=cids(), qty=D(6), tif=TimeInForce.IOC)
    trade.enter(entry, 0)
    store.sent(entry.cid, 0, SECOND)
    venue.submit(entry)
    now = 0
    for tick in range(stormy_ticks + 1200):
        venue.calm = tick >= stormy_ticks
        now += TICK
        venue.deliver(now)
        if not venue.calm and random.random() < 0.05:
            venue.trigger()
        store.on_deadlines(now)
        if tick % 5 == 0:
            venue.reconcile(now)
        for request in trade.step(now):
            if not isinstance(request, CancelRequest):
                store.sent(request.cid, now, now + SECOND)
            venue.submit(request)
        assert trade.step(now) == ()
        assert_counts_are_right(store)
        live_exits = [order for order in trade.exits if not order.state.final]
        assert len(live_exits) <= 1
        stops = [order for order in trade.stops if order.state.live]
        assert len(stops) <= 1
        for part in trade.parts:
            assert part.request.qty is not None, "a partial target closes its part alone"
            same = [one for one in trade.parts if one.request.trigger == part.request.trigger and not one.state.final]
            assert len(same) <= 1
        if trade.state is TradeState.PROTECTED:
            assert trade.stop_confirmed or venue.position == 0 or any(o.triggered_ms is not None for o in trade.targets)
        if trade.done and not venue.bag:
            break
    assert trade.done
    assert venue.lowest == 0
    assert venue.position == 0
    assert not venue.algos
    assert trade.open_qty == 0
    if trade.state is TradeState.CLOSED:
        result = trade.result("USDT")
        assert result.qty == sum(qty for request, qty, _ in venue.trades if request.cid == entry.cid)
        assert isinstance(result.reason, ExitReason)
        told = {part.cid for part in trade.parts if part.tape.qty}
        traded = {request.cid for request, *_ in venue.trades}
        assert result.parts == len(told) == len(traded & {part.cid for part in trade.parts})
    else:
        assert not venue.trades
    assert all(stop.request.type is AlgoType.STOP_MARKET for stop in trade.stops)
