"""A connection is replaced anywhere in the stream, with any overlap: bars are those of every trade exactly once."""

from __future__ import annotations

import random
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.engine.inputs import ConnectionChange, InputKind, decode_connection
from aegis.kernels.market import counts
from tests.support.engine_rig import MS, SECOND, Rig, make_rig, quote, trade

_TRADES = 60


@attrs.frozen(kw_only=True)
class Told:
    """One trade as the venue tells it, and what it must add to its bar."""

    frame: bytes
    ms: int
    bar: int
    price: float
    lots: int
    maker: bool


def tell(start_ms: int, seed: int) -> list[Told]:
    """Trades of one symbol over some seconds, on both sides of every boundary."""
    rng, ms, told = random.Random(seed), start_ms, []
    for number in range(1, _TRADES + 1):
        ms += rng.choice((0, 1, 40, 150))
        price, lots, maker = 5000.0 + rng.randrange(-90, 90), rng.randrange(1, 900), rng.random() < 0.5
        frame = trade(ms, number, price, f"{lots / 1000:.3f}", maker=maker)
        told.append(Told(frame=frame, ms=ms, bar=ms // 1000 * 1000, price=price, lots=lots, maker=maker))
    return told


def bars_of(told: list[Told]) -> dict[int, tuple[Any, ...]]:
    """Open, high, low, close, volume, taker buys, trades of each bar, from nothing but the trades."""
    bars: dict[int, list[Told]] = {}
    for one in told:
        bars.setdefault(one.bar, []).append(one)
    return {
        bar: (
            part[0].price, max(t.price for t in part), min(t.price for t in part), part[-1].price,
            sum(t.lots for t in part), sum(t.lots for t in part if not t.maker), len(part),
        )
        for bar, part in bars.items()
    }  # fmt: skip


def bars_in(rig: Rig) -> dict[int, tuple[Any, ...]]:
    """The traded base bars that the engine has closed."""
    ring = rig.machine.analysis.front.bars[0, 0]
    names = ("open", "high", "low", "close", "volume", "taker_buy", "trades")
    begin = rig.machine.analysis.front.symbols[0]["live_from"]
    return {
        int(bar["open_time"]): tuple(bar[name].item() for name in names)
        for bar in ring[(ring["open_time"] >= begin) & (ring["trades"] > 0)]
    }


def pieces(data: bytes, rng: random.Random) -> list[bytes]:
    """The same bytes, cut anywhere."""
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(6)))
    return [part for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if (part := data[a:b])]


@given(
    seed=st.integers(0, 2**20),
    left=st.integers(0, _TRADES),
    overlap=st.integers(0, _TRADES),
    ahead=st.integers(0, _TRADES),
    torn=st.integers(0, 60),
)
@settings(max_examples=60)
def test_bars_are_those_of_every_trade_once(seed: int, left: int, overlap: int, ahead: int, torn: int) -> None:
    """The old one ends after `left` trades and `torn` bytes of the next; the new one has held from `overlap` trades
    before that, up to `ahead` trades beyond it (or behind it, where it lags: `ahead` counts from its own first)."""
    rig = make_rig()
    rig.warm((0,))
    rig.now_ns = (rig.now_ns // SECOND + 1) * SECOND
    told, rng = tell(rig.now_ns // MS + 1000, seed), random.Random(seed)
    rig.now_ns += 30 * SECOND  # the watermark follows the event times
    first = max(0, left - overlap)
    until = min(_TRADES, first + ahead)
    for one in told[:left]:
        rig.read(1, one.frame)
        if rng.random() < 0.2:
            rig.analyse()
    if left < _TRADES and torn:
        rig.read(1, told[left].frame[: min(torn, len(told[left].frame) - 1)])
    rig.wanted.clear()
    rig.rotate(1, *pieces(b"".join(one.frame for one in told[first:until]), rng))
    for one in told[until:]:
        rig.read(1, one.frame)
        if rng.random() < 0.2:
            rig.analyse()
    last_bar = told[-1].bar
    rig.read(1, trade(last_bar + 9000, _TRADES + 1, 5000.0))
    rig.analyse()
    assert bars_in(rig) == bars_of(told)
    seen = counts(rig.machine.table)
    assert (seen["holes"], seen["late_trades"], rig.wanted) == (0, 0, [])
    assert seen["duplicate_trades"] == left - first
    assert rig.machine.overlapped == min(left, until) - first
    assert rig.machine.decision.contexts.warm[0]


@given(left=st.integers(1, 30), lost=st.integers(1, 20))
@settings(max_examples=20)
def test_what_neither_connection_brought_starts_the_symbol_over(left: int, lost: int) -> None:
    rig = make_rig()
    rig.warm((0,))
    told = tell(rig.now_ns // MS, left)
    for one in told[:left]:
        rig.read(1, one.frame)
    rig.wanted.clear()
    rig.rotate(1, *(one.frame for one in told[left + lost :]))
    rig.analyse()
    assert rig.wanted == [0]
    assert not rig.machine.decision.contexts.warm[0]
    assert counts(rig.machine.table)["missed_ids"] == lost


def test_an_older_quote_of_the_new_connection_changes_nothing_not_even_the_lag() -> None:
    """A repeated quote says nothing about how late the standing one came: no entry is refused for it."""
    rig = make_rig()
    rig.warm((0,))
    ms = rig.now_ns // MS
    frames = [quote(ms - 2000 + 10 * n, 10 + n, 4990.0 + n, 4991.0 + n) for n in range(100)]
    for frame in frames:
        rig.read(0, frame)
    before = rig.machine.table.symbols[0].copy()
    rig.now_ns += 2 * SECOND
    rig.rotate(0, *frames[30:])
    after = rig.machine.table.symbols[0]
    for name in ("bid", "ask", "update_id", "quote_ms", "quote_recv_ns", "suspended", "gap"):
        assert after[name] == before[name], name
    assert rig.machine.overlapped == 70
    assert rig.wanted == [0, 1, 2], "the start's"


def test_a_rotation_on_the_tape_says_what_it_was() -> None:
    rig = make_rig()
    rig.up(0, 1)
    rig.rotate(1, trade(rig.now_ns // MS, 1, 5000.0))
    rig.machine.connection(1, None, rig.now_ns)
    changes = [decode_connection(data) for kind, _, _, data in rig.tape.inputs if kind is InputKind.CONNECTION]
    size = len(trade(rig.now_ns // MS, 1, 5000.0))
    assert changes == [
        (ConnectionChange.UP, 0), (ConnectionChange.UP, 0), (ConnectionChange.TAKEN_OVER, size),
        (ConnectionChange.DOWN, 0),
    ]  # fmt: skip
