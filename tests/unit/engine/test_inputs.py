"""The bytes of inputs: what goes in comes out, and what is damaged is a typed error."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.core.messages import Accepted, AlgoRequest, CancelRequest, OrderRequest, Outcome, Refused, Unknown
from aegis.core.values import ClientId
from aegis.engine.inputs import (
    ConnectionChange,
    InputKind,
    NoTap,
    decode_command,
    decode_connection,
    decode_fill,
    decode_outcome,
    decode_seed,
    encode_command,
    encode_connection,
    encode_outcome,
    encode_seed,
)
from aegis.kernels.layout import BAR
from tests.support.analysis_cases import make_bars, same
from tests.support.core_cases import make_algo, make_order

PLACED: dict[ClientId, OrderRequest | AlgoRequest] = {
    ClientId("a-1"): make_order(),
    ClientId("a-2"): make_algo(cid="a-2"),
}
requests = st.sampled_from(
    [*PLACED.values()]
    + [CancelRequest(cid=r.cid, symbol=r.symbol, algo=isinstance(r, AlgoRequest)) for r in PLACED.values()]
)
outcomes = st.one_of(
    st.builds(Accepted, request=requests, venue_id=st.integers(0, 2**63 - 1)),
    st.builds(Refused, request=requests, code=st.integers(-9999, 0), message=st.text()),
    st.builds(Unknown, request=requests, reason=st.text()),
)


@given(outcome=outcomes)
def test_outcomes_come_back_whole(outcome: Outcome) -> None:
    assert decode_outcome(encode_outcome(outcome), PLACED.__getitem__) == outcome


def test_an_outcome_of_an_order_that_nobody_placed_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        decode_outcome(b'["b-1",false,"accepted",1]', PLACED.__getitem__)
    with pytest.raises(msgspec.DecodeError):
        decode_outcome(b'["b-1",fal', PLACED.__getitem__)


@given(name=st.text())
def test_commands_come_back_whole(name: str) -> None:
    assert decode_command(encode_command(name)) == name


@given(symbol=st.integers(0, 2**32 - 1), counts=st.lists(st.integers(0, 30), min_size=1, max_size=3))
def test_history_comes_back_to_the_last_bit(symbol: int, counts: list[int]) -> None:
    base, *higher = (make_bars(n, n) for n in counts)
    back, first, rest = decode_seed(encode_seed(symbol, base, tuple(higher)))
    assert back == symbol
    assert same(first, base)
    assert len(rest) == len(higher)
    assert all(same(one, other) for one, other in zip(rest, higher, strict=True))


@given(cut=st.integers(0, 1500))
def test_a_damaged_history_is_a_value_error(cut: int) -> None:
    whole = encode_seed(1, make_bars(1, 5), (np.zeros(0, BAR),))
    if cut >= len(whole):
        return
    edge = len(encode_seed(1, make_bars(1, 5), ()))
    if cut == edge:  # a shorter list of histories is a whole one
        assert len(decode_seed(whole[:cut])[2]) == 0
        return
    with pytest.raises(ValueError):
        decode_seed(whole[:cut])


def test_numbers_of_kinds_are_the_format() -> None:
    assert {kind.name: int(kind) for kind in InputKind} == {
        "HEADER": 0, "READ": 1, "BOUNDARY": 2, "ANALYSE": 3, "RESULT": 4, "PRIVATE": 5, "OUTCOME": 6, "TIMER": 7,
        "SEED": 8, "CONNECTION": 9, "COMMAND": 10, "SNAPSHOT": 11, "SLICE": 12, "FILL": 13, "TERMS": 14,
        "END": 255,
    }  # fmt: skip
    nothing: Any = NoTap().record(InputKind.READ, 0, 0, b"")
    assert nothing is None


@pytest.mark.parametrize("payload", [b"", b"\3", b"\1\0", b"\2", b"\2\0\0", b"\0\1"])
def test_a_connection_change_that_is_none_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"Change|connection change"):
        decode_connection(payload)


@pytest.mark.parametrize(("change", "held"), [(ConnectionChange.UP, 0), (ConnectionChange.TAKEN_OVER, 1 << 40)])
def test_a_connection_change_survives_its_encoding(change: ConnectionChange, held: int) -> None:
    assert decode_connection(encode_connection(change, held)) == (change, held)


@pytest.mark.parametrize("payload", [b"", b"\0\0\0", b"\0\0\0\0junk"])
def test_a_fill_that_is_none_is_refused(payload: bytes) -> None:
    with pytest.raises((ValueError, EOFError)):
        decode_fill(payload)
