"""The ledger: what is written is what the simulator holds; damage is noticed; a cut-off line is not."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest

from aegis.core.errors import ConfigError
from aegis.exchange.ledger import Ledger, fold_ledger, read_ledger
from tests.support.exchange_rig import make_rig

D = Decimal


def filled_ledger(path):
    ledger = Ledger(path)
    rig = make_rig(ledger=ledger)
    rig.order("BUY", "2", newClientOrderId="entry")
    rig.algo("SELL", "STOP_MARKET", "98.0", clientAlgoId="stop")
    rig.order("SELL", "1", "101.0", newClientOrderId="rest")
    rig.order("BUY", "0.0001")
    return ledger, rig


def test_the_file_tells_the_whole_story_while_it_is_still_open(tmp_path):
    ledger, _ = filled_ledger(tmp_path / "deep" / "ledger.jsonl")
    view = read_ledger(ledger.path).only
    assert dict(view.accepted) == {"entry": 1, "stop": 1, "rest": 1}
    assert dict(view.refused) == {-4004: 1}
    assert view.duplicates == []
    assert view.open_positions["AAAUSDT"].amount == 2
    assert view.open_positions["AAAUSDT"].entry == D("100.1")
    assert view.positions["AAAUSDT"].max_abs_notional == D("200.2")
    assert [row["client_id"] for row in view.open_orders.values()] == ["rest"]
    assert [row["client_id"] for row in view.open_algo_orders.values()] == ["stop"]
    assert view.fees == D("200.2") * D("0.0005")
    assert view.wallet == 10_000 - view.fees
    assert (view.max_open_positions, view.max_open_orders, len(view.fills)) == (1, 1, 1)
    ledger.close()
    ledger.close()


def test_a_truncated_last_line_is_tolerated_and_removed_on_continuing(tmp_path):
    path = tmp_path / "ledger.jsonl"
    ledger, _ = filled_ledger(path)
    ledger.close()
    whole = read_ledger(path)
    with path.open("ab") as file:
        file.write(b'{"seq":999,"kind":"bal')
    assert read_ledger(path) == whole
    again = Ledger(path)
    assert again.seq == whole.entries
    again.write(1, "session", {"event": "restore"})
    again.close()
    assert read_ledger(path).sessions == 2
    assert read_ledger(path).entries == whole.entries + 1


@pytest.mark.parametrize("damage", ["drop", "garbage", "array"])
def test_damage_before_the_end_is_an_error_with_its_line(tmp_path, damage):
    path = tmp_path / "ledger.jsonl"
    ledger, _ = filled_ledger(path)
    ledger.close()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3:4] = {"drop": [], "garbage": [b"{oops\n"], "array": [b"[]\n"]}[damage]
    path.write_bytes(b"".join(lines))
    with pytest.raises(ConfigError, match="line 4"):
        read_ledger(path)
    with pytest.raises(ConfigError, match="line 4"):
        Ledger(path)


@pytest.mark.parametrize(
    ("kind", "field", "value", "words"),
    [
        ("balance", "amount", "-1", "wallet"),
        ("balance", "wallet", "1", "wallet"),
        ("match", "qty", "3.000", "position"),
        ("balance", "reason", "GIFT", "unknown balance reason"),
    ],
)
def test_a_changed_amount_contradicts_the_entries_before_it(tmp_path, kind, field, value, words):
    path = tmp_path / "ledger.jsonl"
    ledger, _ = filled_ledger(path)
    ledger.close()
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    next(entry for entry in entries if entry["kind"] == kind)[field] = value
    path.write_bytes(b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
    with pytest.raises(ConfigError, match=words):
        read_ledger(path)


def test_an_empty_ledger_and_one_in_memory(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.touch()
    assert read_ledger(path).accounts == {}
    memory = Ledger()
    memory.write(5, "session", {"event": "start"})
    assert memory.entries == [{"seq": 1, "ns": 5, "kind": "session", "event": "start"}]
    assert fold_ledger(memory.entries).sessions == 1
