"""Symbols that begin to trade while the engine runs, over real sockets: they join it, and a replay has them too."""

from __future__ import annotations

import json
from pathlib import Path

from aegis.config import dump, load
from aegis.exchange.listing import synthetic_listings
from tests.support.processes import Aegis

#: Late enough for an engine on a busy machine to have started.
BEGIN_S = 20
SYMBOLS = 30
#: The busiest: halted from the very start, their history is there when trading resumes.
RESUMED = {listing.symbol for listing in synthetic_listings(12, 7, 0)[:12]}


def write_config(folder: Path) -> Path:
    steps = [(name, at_s, action) for name in RESUMED for at_s, action in ((0, "halt"), (BEGIN_S, "resume"))]
    steps.append(("NEWCOMERUSDT", BEGIN_S, "list"))
    tables = [f'[[contract]]\nsymbol = "{name}"\nat_s = {at_s}\naction = "{action}"\n' for name, at_s, action in steps]
    (folder / "begins.toml").write_text("\n".join(tables))
    text = dump(load("sim")).replace("symbols = 300", f"symbols = {SYMBOLS}")
    text = text.replace('scenario = ""', 'scenario = "begins.toml"')
    text = text.replace("min_age_days = 30.0", "min_age_days = 0.0")
    text = text.replace("min_volume_quote = 10000.0", "min_volume_quote = 0.0")
    path = folder / "newcomers.toml"
    path.write_text(text.replace("max_spread_bps = 100.0", "max_spread_bps = 1000.0"))
    return path


def test_what_begins_to_trade_joins_the_running_engine_and_is_traded(tmp_path: Path) -> None:
    (tmp_path / "cwd").mkdir()
    aegis = Aegis(home=tmp_path / "home", cwd=tmp_path / "cwd")
    config, tape = str(write_config(tmp_path)), str(tmp_path / "tape")
    ended = aegis.run(
        "run", "--config", config, "--json", "--seconds", str(2 * BEGIN_S), "--record", tape, seconds=400.0
    )
    assert (ended.code, ended.data["ledger"]) == (0, "agrees"), ended.err
    records = [json.loads(line) for line in aegis.run("journal", "export").out.splitlines()]
    states = [record["data"] for record in records if record["kind"] == "state"]
    joined = {data["symbol"] for data in states if data.get("terms") == "joined"}
    assert joined == RESUMED | {"NEWCOMERUSDT"}
    status = aegis.run("status", "--json").data
    assert status["symbols"] - status["warm"] <= 1, "only the newly listed one has no history to be warm with"
    traded = {record["data"]["symbol"] for record in records if record["kind"] == "fill"}
    assert traded & RESUMED
    replayed = aegis.run("replay", tape, "--compare", "1", "--json", seconds=400.0)
    assert (replayed.code, replayed.data["compare"]["first_difference"]) == (0, "none"), replayed.err
