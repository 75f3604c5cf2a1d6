"""Decisions in plain words, for a gate of every kind and a fate of every kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aegis.core.errors import ConfigError
from aegis.core.risk import DenyCode
from aegis.engine.account_files import new_sim_run
from aegis.engine.journal import Journal
from aegis.surface import reports
from aegis.surface.why import GATES, iso, moment, tell
from tests.support.decision_rig import Rig

AT = 1_790_000_000_123_000_000
SECOND = 1_000_000_000


def test_every_gate_has_its_words() -> None:
    assert set(GATES) == {code.value for code in DenyCode}


@pytest.mark.parametrize(
    "text", ["2026-09-21T14:13:20.123Z", "2026-09-21T14:13:20.123", "2026-09-21T16:13:20.123+02:00"]
)
def test_a_time_is_read_in_utc_unless_it_says_else(text: str) -> None:
    assert moment(text) == AT
    assert iso(AT) == "2026-09-21T14:13:20.123Z"


@pytest.mark.parametrize("text", ["", "yesterday", "14:13", "2026-13-01", "9" * 100])
def test_what_is_no_time_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--at: .* is no time"):
        moment(text)


def decided(rig: Rig, **changes: Any) -> dict[str, Any]:
    return {"kind": "decision", "at": rig.now_ns, **rig.signal(**changes)}


def test_what_was_displayed_is_told_where_more_than_the_touch_was_known() -> None:
    rig = Rig.make()
    row = decided(rig)
    assert "  depth " not in tell(row, [])
    row["displayed"] = {"qty": "12.5", "touch": "3", "levels": 4, "age_ns": 83_400_000}
    assert "  depth    12.5 in reach: 3 at the touch, the rest on 4 levels behind it, 83 ms old\n" in tell(row, [])


def test_a_taken_signal_tells_every_gate_it_went_through_with_value_and_limit() -> None:
    rig = Rig.make()
    row = decided(rig)
    assert row["taken"]
    codes = [code for code, _, _ in row["gates"]]
    assert codes[0] == "HALTED"
    assert codes[-1] == "ALGO_SLOTS"
    told = tell(row, [])
    assert "ok      HALTED (trading is not halted)\n" in told
    assert "ok      NET_R (reward after costs, in R): 2." in told
    assert ", at least 1\n" in told
    assert "ok      MAX_POSITIONS (positions, with this one): 1, limit 5\n" in told
    assert "ok      SPEC_OLD (the symbol's rules are fresh): " in told
    assert "limit 24.0 h" in told
    assert "verdict  taken: BUY" in told
    assert "then     nothing more is in the journal" in told
    assert ", target 53000, equity" in told


def test_partial_targets_are_told_in_the_plan_and_at_the_end() -> None:
    row = decided(Rig.make(), parts=((51000.0, 0.5), (52000.0, 0.25)))
    assert row["taken"]
    told = tell(row, [])
    assert "targets 50% at 51000, 25% at 52000, rest at 53000, equity" in told
    end = {
        "kind": "trade", "at": row["at"], "trade": row["signal"], "reason": "STOP", "qty": "1", "entry": "5",
        "exit": "6", "net": "1", "r": "1", "parts": 1,
    }  # fmt: skip
    assert "closed by STOP after 1 of 2 partial targets: 1 from 5 to 6, net 1 (1 R)" in tell(row, [end])
    assert "refused" not in told


def test_a_refused_signal_ends_at_the_gate_that_refused_it() -> None:
    row = decided(Rig.make(max_cost_r="0.001"))
    assert [row["gates"][-1][0], row["gates"][-2][0]] == ["COST", "PRICE_COLLAR"]
    told = tell(row, [])
    assert told.count("COST") == 1
    assert told.splitlines()[-1].startswith("  verdict  refused COST (round trip costs, in R): 0.0")
    assert told.splitlines()[-1].endswith(", limit 0.001")


def test_numbers_are_shown_in_units_for_people() -> None:
    row = decided(Rig.make()) | {"taken": False, "code": "EXPIRED", "value": str(AT), "limit": str(AT), "gates": []}
    last = tell(row, []).splitlines()[-1]
    assert "EXPIRED (the setup has not expired)" in last
    row |= {"code": "STALE", "value": "events late by 750000000", "limit": "500000000"}
    assert tell(row, []).splitlines()[-1].endswith("events late by 0.750 s, limit 0.500 s")


def test_what_happened_is_told_of_this_signal_alone() -> None:
    rig = Rig.make()
    row = decided(rig)
    trade = {"kind": "trade", "at": row["at"] + 2 * SECOND, "trade": row["signal"], "reason": "TARGET", "qty": "1",
             "entry": "5", "exit": "6", "net": "1", "r": "1.5"}  # fmt: skip
    state = {"kind": "state", "at": row["at"] + SECOND, "trade": row["signal"], "from": "ENTERING", "to": "PROTECTED"}
    other = trade | {"trade": "BTCUSDT:1m:8", "net": "77"}
    told = tell(row, [state, trade, other, state | {"at": row["at"] - 1, "to": "EARLIER"}])
    assert told.splitlines()[-2].endswith("entering -> protected")
    assert told.splitlines()[-1].endswith("closed by TARGET: 1 from 5 to 6, net 1 (1.5 R)")
    assert "77" not in told
    assert "earlier" not in told


def test_one_decision_is_picked_by_its_time(tmp_path: Path) -> None:
    rig = Rig.make()
    record = rig.signal()
    run, account = new_sim_run(tmp_path)
    with account:
        journal = Journal.create(account.journal_path(run), run=run, config_hash="x", at_ns=AT)
        for k in range(3):
            journal.append("decision", record | {"cid": f"1-{k}"}, AT + k * SECOND)
        quarantined = {"symbol": "BTCUSDT", "strategy": "quarantined", "reason": "KeyError: 5"}
        journal.append("state", quarantined, AT + 9 * SECOND)
        journal.close()

    def picked(at: str) -> list[str]:
        return [row["cid"] for row in json.loads(reports.why(tmp_path, None, "btcusdt", at=at, as_json=True))]

    assert picked(iso(AT + SECOND)) == picked(iso(AT + 2 * SECOND - 1_000_000)) == ["1-1"]
    assert picked("2030-01-01") == ["1-2"]
    with pytest.raises(ConfigError, match=r"--at: the first decision on BTCUSDT is of 2026-09-21T14:13:20.123Z"):
        picked("2026-01-01")
    told = reports.why(tmp_path, None, "BTCUSDT", as_json=False)
    assert told.splitlines()[-1].endswith("the strategy failed and is off for this symbol: KeyError: 5")
    assert told.count("verdict") == 3
