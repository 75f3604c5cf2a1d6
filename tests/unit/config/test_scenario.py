"""Scenario files: what ships loads, and what is wrong is one line with its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis import config
from aegis.config.scenario import Scenario, load_scenario, scenario_names
from aegis.core.errors import ConfigError
from aegis.exchange.settings import ExchangeSettings, exchange_settings


def test_every_shipped_scenario_loads_and_survives_the_way_to_another_process():
    assert set(scenario_names()) >= {"calm", "crash", "pump", "thin", "halt", "delisting", "listing", "edge"}
    for name in scenario_names():
        scenario = load_scenario(name)
        assert scenario != Scenario()
        settings = ExchangeSettings(scenario=scenario)
        assert ExchangeSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[phase]]\nat_s = 1.0\nfor_s = 1.0\nvolatilty = 2.0", "phase[0].volatilty: unknown key (did you mean volat"),
        ("[[phase]]\nat_s = '1m'\nfor_s = 1.0", "phase[0].at_s: must be a number, not '1m'"),
        ("[[phase]]\nat_s = 1.0\nfor_s = 1.0\ndrift_bps_per_min = -90000.0", "phase[0].drift_bps_per_min: must be"),
        ("[[phase]]\nat_s = 1.0\nfor_s = 1.0\n[[phase]]\nat_s = 1.0", "phase[1]"),
        ("[[contract]]\nat_s = 1.0\nsymbol = 'btcusdt'\naction = 'halt'", "contract[0].symbol: must be names in capit"),
        ("[[contract]]\nat_s = 1.0\nsymbol = 'A'\naction = 'stop'", "contract[0].action: must be one of list, halt,"),
        ("[[contract]]\nat_s = 1.0\nsymbol = 'A'\naction = 'brackets'", "contract[0].max_leverage: goes with action"),
        ("[[contract]]\nat_s = 1.0\nsymbol = 'A'\naction = 'delist'\nnotice_s = 2.0", "contract[0].notice_s: goes wit"),
        ("[[contract]]\nat_s = 1.0\nsymbol = 'A'\naction = 'halt'\nprice = 2.0", "contract[0].price: goes with"),
        ("phase = 3", "phase: must be a list of tables, not 3"),
        ("[phase]\nat_s = 1.0", "phase: must be a list of tables"),
        ("phase = [1]", "phase[0]: must be a table, not 1"),
        ("[edge]\nstrength = 1.0", "edge.strength: unknown key (did you mean strength_bps?)"),
        ("phase = [", ""),
    ],
)
def test_what_is_wrong_is_one_line_with_its_path(text, reason, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_scenario(str(path))
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert reason in message
    assert "\n" not in message


def test_a_config_finds_its_scenario_beside_itself_and_says_what_is_wrong_with_it(tmp_path):
    (tmp_path / "storm.toml").write_text("[[phase]]\nat_s = 1.0\nfor_s = 2.0\nvolatility = 3.0")
    (tmp_path / "mine.toml").write_text('[exchange]\nscenario = "storm.toml"')
    loaded = config.load(str(tmp_path / "mine.toml"))
    assert Path(loaded.exchange.scenario) == tmp_path / "storm.toml"
    assert exchange_settings(loaded, None).scenario.phase[0].volatility == 3.0
    assert config.loads(config.dump(loaded)) == loaded
    (tmp_path / "storm.toml").write_text("[[phase]]\nat_s = 1.0")
    with pytest.raises(ConfigError, match=r"storm\.toml: phase\[0\]"):
        config.load(str(tmp_path / "mine.toml"))


def test_a_shipped_scenario_goes_by_its_bare_name_and_a_missing_one_names_them():
    assert config.loads('[exchange]\nscenario = "crash"').exchange.scenario == "crash"
    with pytest.raises(ConfigError, match="shipped scenarios are calm, crash, delisting"):
        load_scenario("nosuch")
