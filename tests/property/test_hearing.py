"""A shipped strategy that is called for fewer kinds of event says the same at the same time as one that hears all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis import config as configs
from aegis.research.walk import made_up_bars, walk
from aegis.signals.fvg_retest import FvgRetest
from aegis.signals.order_block import OrderBlock
from aegis.signals.strategy import Advice
from tests.conftest import EXAMPLES


def said(name: str, seed: int) -> list[tuple[int, tuple[Advice, ...]]]:
    config = configs.loads(f"[strategy]\nname = '{name}'", "here")
    return [(step.known_ms, step.advice) for step in walk(made_up_bars(1_500, seed=seed), config) if step.advice]


KINDS = pytest.mark.parametrize(("name", "kind"), [("fvg_retest", FvgRetest), ("order_block", OrderBlock)])


@KINDS
@settings(max_examples=min(EXAMPLES, 12))  # each is 3,000 bars, one by one
@given(seed=st.integers(0, 2**32))
def test_what_it_does_not_hear_would_change_nothing(
    name: str, kind: type[FvgRetest] | type[OrderBlock], seed: int
) -> None:
    choosy = said(name, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "hears", None)
        assert said(name, seed) == choosy


@KINDS
def test_there_is_something_to_say(name: str, kind: type[FvgRetest] | type[OrderBlock]) -> None:
    assert kind.hears
    assert any(said(name, seed) for seed in range(5))
