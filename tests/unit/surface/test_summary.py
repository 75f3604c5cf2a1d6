from __future__ import annotations

import attrs

from aegis.engine.summary import Summary
from aegis.surface.summary import render

GOOD = Summary(
    sections={
        "run": {"mode": "replay", "files": ["one", "two"], "inputs": 93954},
        "signals": {"taken": 0, "refused": {"COST": 2, "SIZE": 1}, "not_armed": {}, "slippage_bp": None},
        "positions": {"open": []},
    },
    notes=("prices are made up",), differences=(), failure="", ledger="agrees",
)  # fmt: skip


def test_each_figure_is_a_line() -> None:
    assert [" ".join(line.split()) for line in render(GOOD).split("\n")] == [
        "run",
        "mode replay",
        "files",
        "one",
        "two",
        "inputs 93,954",
        "signals",
        "taken 0",
        "refused COST 2, SIZE 1",
        "not armed none",
        "slippage bp -",
        "positions",
        "open none",
        "note: prices are made up",
        "ledger agrees",
    ]


def test_what_went_wrong_stands_at_the_end() -> None:
    bad = attrs.evolve(GOOD, ledger="differs", differences=("fees: engine 1, ledger 2",), failure="the venue is gone")
    assert render(bad).split("\n")[-3:] == ["ledger differs", "  fees: engine 1, ledger 2", "failed: the venue is gone"]
    assert not bad.ok
    assert GOOD.ok


def test_without_a_ledger_nothing_is_said_of_it() -> None:
    assert "ledger" not in render(attrs.evolve(GOOD, ledger="none"))
