"""A crash after any record of a trade's life: what is rebuilt, with the venue's answers, is the venue's truth."""

from __future__ import annotations

import copy
from decimal import Decimal
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.core.messages import CancelRequest
from aegis.core.values import AlgoType
from aegis.engine.desk import Desk
from aegis.engine.journal_format import Record
from aegis.engine.recovery import collect, recover
from tests.support.decision_rig import Rig
from tests.support.scripted_venue import ScriptedVenue

ENDS = ("stop", "target", "flatten", "part", "adl", "liquidation", "by hand", "half by hand", "added", "parts")
Crash = tuple[list[Record], ScriptedVenue, int]


def live_a_life(seed: int) -> list[Crash]:
    """One trade (sometimes two) to its end; a copy of journal and venue before each record that is written."""
    random = Random(seed)
    venue = ScriptedVenue(
        random,
        share=random.choice([Decimal(0), Decimal("0.5"), Decimal(1), Decimal(1)]),
        pieces=random.randint(1, 3),
        stop_code=random.choice([0, 0, 0, -2021]),
        lite=random.random() < 0.5,
    )
    rig = Rig.make()
    crashes: list[Crash] = []

    def watch() -> None:
        frozen = copy.deepcopy(venue)
        frozen.wire += rig.sent  # handed on, perhaps on its way
        crashes.append((list(rig.pages), frozen, rig.now_ns))

    rig.pages.watch = watch
    zone = 7
    rig.signal(zone=zone, parts=random.choice([(), ((51000.0, 0.5),), ((51000.0, 0.25), (52000.0, 0.35))]))
    ends = random.choice(ENDS)
    for tick in range(60):
        venue.wire += rig.take()
        venue.take_all()
        venue.deliver(rig.decision, rig.now_ns)
        if tick == 3 and venue.position:
            end_one(rig, venue, ends)
        rig.timer(0.3)
        check_deadlines(rig.decision.desk)
        if tick == 30 and random.random() < 0.5 and not rig.decision.desk.trades:
            rig.quote(50010.0, 50011.0)
            venue.price = Decimal(50000)
            rig.signal(zone=zone + 1)
    watch()
    assert not venue.repeated
    assert rig.decision.portfolio.realized == venue.realized
    return crashes


def end_one(rig: Rig, venue: ScriptedVenue, how: str) -> None:
    if how == "flatten":
        rig.decision.on_command("flatten", rig.now_ns)
    elif how == "adl":
        venue.liquidate(Decimal("0.001"), "adl_autoclose")
    elif how == "liquidation":
        venue.liquidate(abs(venue.position))
    elif how in ("by hand", "half by hand", "added"):
        share = {"by hand": Decimal(-1), "half by hand": Decimal("-0.5"), "added": Decimal("0.5")}[how]
        venue.trade_elsewhere((venue.position * share).quantize(Decimal("0.001")))
    elif how == "parts":  # each of them, and then the stop
        while venue.trigger(AlgoType.TAKE_PROFIT_MARKET, partial=True):
            venue.deliver(rig.decision, rig.now_ns)
        venue.trigger(AlgoType.STOP_MARKET)
    elif how == "part":
        venue.trigger(AlgoType.STOP_MARKET, Decimal("0.5"))
    else:
        venue.trigger(AlgoType.STOP_MARKET if how == "stop" else AlgoType.TAKE_PROFIT_MARKET)


def check_deadlines(desk: Desk) -> None:
    """What the desk keeps of its deadlines is what all its trades and orders say."""
    trades = [*desk.trades.values(), *(trade for tails in desk.tails.values() for trade in tails)]
    times = [*(trade.next_ns() for trade in trades), *(order.deadline_ns for order in desk.store.open())]
    assert desk.next_ns() == min((t for t in times if t is not None), default=None)


@settings(max_examples=15)
@given(st.integers(0, 2**32))
def test_after_a_crash_at_any_record_the_account_is_the_venues(seed: int) -> None:
    for number, (records, venue, now_ns) in enumerate(live_a_life(seed)):
        random = Random(seed + number)
        if random.random() < 0.5:
            venue.wire.clear()  # it never left the machine
        venue.take_all()
        if venue.position and random.random() < 0.3:  # the market does not wait
            venue.trigger(random.choice(list(AlgoType)), partial=random.random() < 0.3)
        venue.events.clear()  # nobody listened
        venue.stop_code = 0
        check_restart(records, venue, now_ns)


def check_restart(records: list[Record], venue: ScriptedVenue, now_ns: int) -> None:
    rig = Rig.make(active=False)
    decision = rig.decision
    rig.now_ns = now_ns + 2 * 10**9
    past = collect(records)
    used = {record.data["cid"] for record in records if "cid" in record.data}
    recover(decision, past, rig.now_ns)
    assert not rig.sent, "nothing is sent on the strength of a journal alone"
    venue.answer(decision, rig.now_ns)
    for _ in range(12):
        check_deadlines(decision.desk)
        requests = rig.take()
        assert not {r.cid for r in requests if not isinstance(r, CancelRequest)} & used
        for request in requests:
            venue.take(request)
        venue.deliver(decision, rig.now_ns)
        rig.timer(3.0)
        venue.answer(decision, rig.now_ns)
        venue.positions(decision, rig.now_ns)
        venue.explain(decision, rig.now_ns)
    assert not venue.repeated
    assert not decision.audit.foreign
    assert not tuple(decision.desk.doubtful())
    book = decision.portfolio
    assert (book.realized, book.fees.get("USDT", Decimal(0))) == (venue.realized, venue.fees)
    assert {order.cid for order in decision.desk.store.open()} == {row.request.cid for row in venue.live()}
    assert venue.least == 0
    if venue.position:
        (trade,) = decision.desk.open_trades()
        assert (trade.open_qty, trade.stop_confirmed) == (venue.position, True)
        assert venue.live(AlgoType.STOP_MARKET)
    else:
        assert not decision.desk.trades
        assert not decision.desk.tails
