"""A partial depth message read from its bytes leaves the book that the strict decoder would, or is left to it."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aegis.engine.depths import Depths
from aegis.kernels.market import AGG_TRADE, new_table
from aegis.venue import strict
from aegis.venue.market_events import Depth
from tests.support.depth_cases import Levels, depth_text, ladder

NOW_MS = 1_790_000_000_000
NOW_NS = NOW_MS * 1_000_000
NAMES = ["ETHUSDT", "BTCUSDT"]
STREAMS = ["depth20@100ms", "depth20@100ms", "depth20", "depth5@500ms", "depth@100ms", None]

sizes = st.lists(st.sampled_from(["1", "0.001", "2.50", "17.125", "1.0000", "0.0001", "0", "9" * 15]), max_size=22)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Mostly sound ones, in the venue's form and in others, with here and there one byte that is not its own."""
    best, gap = draw(st.integers(10, 2_000)), draw(st.sampled_from([0.1, 0.1, 0.5, 0.0, -0.1]))
    bids: Levels = ladder(best / 10, -0.1, *draw(sizes))
    asks: Levels = ladder(best / 10 + gap, draw(st.sampled_from([0.1, 0.1, 0.3, 0.0])), *draw(sizes))
    text = depth_text(
        NOW_MS + draw(st.integers(-3, 3)), draw(st.integers(1, 9)), bids, asks,
        symbol=draw(st.sampled_from([*NAMES, "XRPUSDT"])),
        stream=draw(st.sampled_from(STREAMS)),
    )  # fmt: skip
    if draw(st.integers(0, 4)):
        text = json.dumps(json.loads(text), separators=(",", ":")).encode()
    if not draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(text) - 1))
        byte = draw(st.sampled_from([*b'0123456789.,:"{}[]\\ @tumbasE-', 0x80]))
        text = text[:at] + bytes([byte]) + text[at + draw(st.integers(0, 1)) :]
    return text


def plainly(depths: Depths, text: bytes) -> None:
    for outcome in strict.decode(text, depths._table, NOW_NS):
        if isinstance(outcome, Depth) and outcome.partial:
            depths.take(outcome, NOW_NS)


def make() -> Depths:
    return Depths(new_table(NAMES, [3, 0], 60_000, AGG_TRADE))


@given(st.lists(messages(), min_size=1, max_size=12), st.integers(0, 7))
def test_books_read_from_bytes_are_those_of_the_strict_decoder(texts: list[bytes], offset: int) -> None:
    compiled, plain = make(), make()
    for text in texts:
        buffer = np.frombuffer(b"x" * offset + text, np.uint8).copy()
        if not compiled.read(buffer, offset, len(buffer), NOW_NS):
            plainly(compiled, text)
        plainly(plain, text)
        assert compiled.counts == plain.counts
        for symbol in range(2):
            assert compiled.fresh(symbol, NOW_NS) == plain.fresh(symbol, NOW_NS)
            assert compiled.books.final_id[symbol] == plain.books.final_id[symbol]


@given(st.integers(0, 20), st.integers(0, 20))
def test_what_the_venue_sends_is_read_from_its_bytes(bids: int, asks: int) -> None:
    depths = make()
    text = depth_text(NOW_MS, 5, ladder(100.0, -0.1, *["1.250"] * bids), ladder(100.1, 0.1, *["2.000"] * asks),
                      symbol="ETHUSDT")  # fmt: skip
    data = np.frombuffer(json.dumps(json.loads(text), separators=(",", ":")).encode(), np.uint8).copy()
    assert depths.read(data, 0, len(data), NOW_NS)
    assert depths.counts == {"applied": 1}
    book = depths.fresh(0, NOW_NS)
    assert book is not None
    assert book.lots[0][bids] == 1250 * bids
    assert book.lots[1][asks] == 2000 * asks
